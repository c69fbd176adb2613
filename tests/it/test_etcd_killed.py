"""etcd as a target when something dies, is cut off or raced: what becomes of keys and journal."""
import json
import re
import signal
import threading
import time

import pytest
from api_helpers import down, up
from etcd_helpers import delete, journal, keys, name_id, put, puts, undone, version, write
from harness.etcd import encode
from harness.processes import wait_until
from once_helpers import LOST

MANY = 400  # operations: with a token, or without a down script, four transactions


@pytest.fixture
def env(etcd, etcd_env):
    return etcd_env("conf", etcd, PREFIX="/app")


def two_servers(start_bfm, tree, env):
    return [start_bfm(env, tree=tree) for _ in range(2)]


def test_two_servers_race(start_bfm, tree, env, etcd):
    write(tree, 1, puts(5))
    write(tree, 2, puts(MANY))
    schemas = ["t%d" % number for number in range(20)]
    answers = []
    servers = two_servers(start_bfm, tree, env)
    threads = [threading.Thread(target=lambda client=server.client: answers.append(
        up(client, "conf", schemas=schemas))) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ids = {"%s_%s" % (schema, name_id(number)) for schema in schemas for number in (1, 2)}
    for answer in answers:
        assert answer.status == 200 and answer.json["errors"] == [], answer
        assert set(answer.json["applied"]) | set(answer.json["skipped"]) == ids
    applied = [entry for answer in answers for entry in answer.json["applied"]]
    assert sorted(applied) == sorted(ids)  # each by one of them only
    assert len(keys(etcd)) == 20 * MANY and len(journal(etcd)) == 40
    # previous values of step2 are those that step1 left: undone twice, nothing is there
    for number in (2, 1):
        assert down(servers[0].client, name_id(number), schemas=schemas).status == 200
    assert keys(etcd) == {} and undone(etcd) == {(schema, name_id(number)) for schema in schemas for number in (1, 2)}


POINTS = [point for nth in range(1, 5) for point in ("etcd_sent_%d" % nth, "etcd_done_%d" % nth)]


@pytest.mark.parametrize("direction", ["up", "down"])
@pytest.mark.parametrize("point", POINTS + ["step_sent", "step_committed", "lane_executed", "lane_settled"])
def test_killed_in_the_middle_of_chunks(start_bfm, tree, env, etcd, tmp_path, point, direction):
    env = {**env, "BFM_STATE_DB_PATH": str(tmp_path / "shared.db")}
    etcd.put("/app/t/k0001", "before")
    before = keys(etcd)
    write(tree, 1, puts(MANY))
    if direction == "down":
        first = start_bfm(env, tree=tree)
        up(first.client, "conf", schemas=["t"])
        first.stop()
    victim = start_bfm({**env, "BFM_CRASH_AT": point}, tree=tree)
    with pytest.raises(LOST):
        if direction == "up":
            up(victim.client, "conf", schemas=["t"])
        else:
            down(victim.client, name_id(1), schemas=["t"])
    assert victim.wait_exit(30) == -signal.SIGKILL, victim.describe()
    server = start_bfm(env, tree=tree)
    if direction == "up":
        answer = up(server.client, "conf", schemas=["t"])
        assert answer.status == 200 and not answer.json["errors"], answer
        assert len(keys(etcd)) == MANY and set(keys(etcd).values()) == {"v"}
        assert journal(etcd)["t", name_id(1)]["kind"] == "up"
        answer = down(server.client, name_id(1), schemas=["t"])
        assert answer.status == 200 and not answer.json["errors"], answer
    else:
        answer = down(server.client, name_id(1), schemas=["t"])
        assert not [text for text in answer.json["errors"] if "not applied" not in text], answer
    assert keys(etcd) == before and undone(etcd) == {("t", name_id(1))}


def test_the_script_changed_half_way(start_bfm, tree, env, etcd, tmp_path):
    env = {**env, "BFM_STATE_DB_PATH": str(tmp_path / "shared.db")}
    write(tree, 1, puts(MANY))
    victim = start_bfm({**env, "BFM_CRASH_AT": "etcd_done_2"}, tree=tree)
    with pytest.raises(LOST):
        up(victim.client, "conf", schemas=["t"])
    victim.wait_exit(30)
    assert len(keys(etcd)) == 252 and journal(etcd)["t", name_id(1)]["done"] == 252
    write(tree, 1, puts(MANY + 1))
    server = start_bfm(env, tree=tree)
    answer = up(server.client, "conf", schemas=["t"])
    assert "252 of 400 operations of the up script took effect, and the script was changed" in answer.json["errors"][0]
    assert len(keys(etcd)) == 252
    server.stop()
    write(tree, 1, puts(MANY))
    answer = up(start_bfm(env, tree=tree).client, "conf", schemas=["t"])
    assert answer.status == 200, answer
    assert len(keys(etcd)) == MANY


def test_leader_killed_in_the_middle_of_a_run(start_bfm, tree, etcd_cluster, etcd_env):
    for number in range(1, 201):
        write(tree, number, [put("step", str(number)), put("s%d" % number, "1")])
    server = start_bfm(etcd_env("conf", etcd_cluster, PREFIX="/app/"), tree=tree)
    answers = []
    thread = threading.Thread(target=lambda: answers.append(up(server.client, "conf", schemas=["t"])))
    leader = etcd_cluster.leader()
    thread.start()
    survivor = next(member for member in etcd_cluster.members if member is not leader)
    wait_until(lambda: etcd_cluster.call("/v3/kv/range", {"key": encode("/app/t/s50")}, member=survivor).get("count"), 60,
               "some of them to be done")
    leader.kill()
    thread.join()
    answer = answers[0]
    assert answer.status == 200 and answer.json["errors"] == [], answer
    assert len(answer.json["applied"]) == 200
    found = keys(etcd_cluster)
    assert len(found) == 201 and found["/app/t/step"] == "200"
    assert len(journal(etcd_cluster)) == 200
    # exactly once each: the values from before say what the step before it had left
    records = {key: json.loads(value)["entries"] for key, value in etcd_cluster.range("/app.bfm/undo/").items()}
    assert len(records) == 200
    for key, entries in records.items():
        number = int(re.search(rb"_step(\d+)_", key).group(1))
        expected = encode(str(number - 1)) if number > 1 else None
        assert [entry.get("before") for entry in entries] == [expected, None], key


def test_quorum_lost_and_back(start_bfm, tree, etcd_cluster, etcd_env):
    write(tree, 1, [put("a", "1")], [delete("a")])
    write(tree, 2, [put("b", "1")], [delete("b")])
    server = start_bfm(etcd_env("conf", etcd_cluster, PREFIX="/app/", TIMEOUT="1s"), tree=tree)
    assert up(server.client, "conf", schemas=["t"], target={"version": version(1)}).status == 200
    stopped = etcd_cluster.members[1:]
    for member in stopped:
        member.kill()
    started = time.monotonic()
    answer = up(server.client, "conf", schemas=["t"], target={"version": version(2)})
    assert answer.json["errors"], answer
    assert time.monotonic() - started < 60
    assert server.client.get("/health").status == 200
    for member in stopped:
        member.start()
    answer = up(server.client, "conf", schemas=["t"], target={"version": version(2)})
    assert answer.status == 200 and answer.json["errors"] == [], answer
    assert keys(etcd_cluster) == {"/app/t/a": "1", "/app/t/b": "1"}
    assert len(journal(etcd_cluster)) == 2


def test_away_is_said_soon(start_bfm, tree, private_etcd, etcd_env):
    write(tree, 1, [put("a", "1")])
    server = start_bfm(etcd_env("conf", private_etcd, PREFIX="/app/"), tree=tree)
    private_etcd.kill()
    started = time.monotonic()
    answer = up(server.client, "conf", schemas=["t"])
    assert answer.json["errors"] and time.monotonic() - started < 20, answer
    assert "127.0.0.1" not in answer.json["errors"][0]
    private_etcd.members[0].start()
    assert up(server.client, "conf", schemas=["t"]).status == 200
    assert keys(private_etcd) == {"/app/t/a": "1"}
