"""A large tree is read, listed, planned, read again and let go in slices: the loop serves others meanwhile."""
import threading

import pytest
from api_helpers import up
from harness.processes import wait_until
from once_helpers import Background

FILES = 20000
# Of the processor's time, so that a busy machine matters little. With sanitizers the slices take up to a third of it; a
# look into every file, done in one piece, takes many times as long.
LONGEST_TURN_US = 150000


def path(number):
    return "postgresql/big/%d_step.up.sql" % (20250101000000 + number)


def migration_id(number):
    return "%d_step_postgresql_big" % (20250101000000 + number)


@pytest.fixture
def bfm(start_bfm, tree, postgres, database, connection_env):
    for number in range(FILES):
        tree.write(path(number), "SELECT %d;\n" % number)
    return start_bfm(connection_env("big", postgres, database), tree=tree)


class Health:
    """Asks /health again and again while the block runs; every answer has to be the good one."""

    def __init__(self, bfm):
        self.bfm = bfm
        self.answers = 0
        self.over = threading.Event()

    def ask(self):
        while not self.over.wait(0.05):
            assert self.bfm.client.get("/health").status == 200
            self.answers += 1

    def __enter__(self):
        self.background = Background(self.ask)
        return self

    def __exit__(self, *failure):
        self.over.set()
        self.background.result()


def longest_turn(bfm):
    bfm.stop()
    return [line for line in bfm.log() if line["msg"] == "stopped"][-1]["longest_loop_cpu_us"]


def test_nothing_keeps_the_loop(bfm, tree):
    with Health(bfm) as health:
        listed = bfm.client.get("/api/v1/migrations").json
        assert listed["total"] == FILES
        page = bfm.client.get("/api/v1/migrations?limit=10&cursor=" + bfm.client.get(
            "/api/v1/migrations?limit=10000").json["next_cursor"]).json
        assert page["items"] == listed["items"][10000:10010] and page["total"] == FILES
        assert bfm.client.get("/api/v1/migrations?limit=10&status=failed").json == {"items": [], "total": 0}
        answer = up(bfm.client, "big", schemas=["a", "b", "c"], dry_run=True)
        assert answer.status == 200
        assert len(answer.json["applied"]) == 3 * FILES
        ids = [item["migration_id"] for item in listed["items"]][:10000]
        answer = bfm.client.post("/api/v1/migrations/order-batch", {"connection": "big", "migration_ids": ids[::-1]})
        assert answer.status == 200
        for number in range(200):
            tree.write(path(number), "SELECT -%d;\n" % number)
        detail = "/api/v1/migrations/" + migration_id(199)
        wait_until(lambda: "-199" in bfm.client.get(detail).json["up_sql"], 60, "the change to be noticed")
    assert health.answers > 0
    assert longest_turn(bfm) < LONGEST_TURN_US
