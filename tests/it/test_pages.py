"""`limit` and `cursor` of the list, history, executions and skipped (README.md, "Pages"): every row once, in order,
whatever is added meanwhile, and without them the answers of always."""
import json
import urllib.parse

import pytest
from api_helpers import ORDERS, TENANT, USERS, core, expect_error, migrate, rollback, up, write_tenants  # noqa: F401
from harness.client import Client
from harness.processes import wait_until

BASE = "/api/v1/migrations"
SCHEMAS = ["s%02d" % number for number in range(12)]


@pytest.fixture(params=["sqlite", "postgresql"])
def bfm(request, start_bfm, tree, postgres, database, make_database, connection_env, state_env, tmp_path):
    write_tenants(tree)
    for number in range(25):
        tree.write("postgresql/tenants/202502%02d120000_step%d.up.sql" % (number + 1, number), "SELECT %d;" % number)
    token = {"name": "few", "token": "canary-token-of-few-0123456789", "scopes": ["read"], "schemas": SCHEMAS[1:10:2]}
    (tmp_path / "tokens.json").write_text(json.dumps([token]))
    (tmp_path / "tokens.json").chmod(0o600)
    env = connection_env("tenants", postgres, database)
    env["BFM_API_TOKENS_FILE"] = str(tmp_path / "tokens.json")
    if request.param == "postgresql":
        env.update(state_env(postgres, make_database()))
    return start_bfm(env, tree=tree)


def fill(bfm, schemas=tuple(SCHEMAS)):
    """The one migration of all schemas: a row per schema in executions, two in the history, one in skipped."""
    for _ in range(2):
        answer = up(bfm.client, "tenants", target={"version": "20250103120000"}, schemas=list(schemas))
        assert answer.status == 200, answer


def get(client, path, **params):
    answer = client.get(BASE + path + "?" + urllib.parse.urlencode(params))
    assert answer.status == 200, answer
    return answer.json


def pages(client, path, key, between=lambda: None, **params):
    """The rows of each page."""
    found = []
    cursor = {}
    while True:
        page = get(client, path, **params, **cursor)
        found.append(page[key])
        if "next_cursor" not in page:
            return found
        assert page["next_cursor"] and urllib.parse.quote(page["next_cursor"]) == page["next_cursor"]
        cursor = {"cursor": page["next_cursor"]}
        assert len(found) < 1000
        between()


def rows(found):
    return [row for page in found for row in page]


LISTS = [("", "items"), ("/%s/history" % TENANT, "history"), ("/%s/executions" % TENANT, "executions"),
         ("/%s/skipped" % TENANT, "skipped"), ("/executions/recent", "executions"), ("/skipped/recent", "skipped")]


@pytest.mark.parametrize("path, key", LISTS)
def test_pages_are_the_whole_in_pieces(bfm, path, key):
    fill(bfm)
    whole = get(bfm.client, path, limit=10000)
    assert "next_cursor" not in whole
    everything = whole[key]
    assert len(everything) == {"items": 26, "history": 24, "executions": 12, "skipped": 12}[key]
    for limit in (1, 5, len(everything) - 1, len(everything), len(everything) + 1):
        found = pages(bfm.client, path, key, limit=limit)
        assert rows(found) == everything
        assert [len(page) for page in found[:-1]] == [limit] * (len(found) - 1)
        assert len(found) == -(-len(everything) // limit)  # no empty page at the end
    first = get(bfm.client, path, limit=5)
    rest = get(bfm.client, path, cursor=first["next_cursor"])  # the limit of the route
    assert rest[key][:5] == everything[5:10]
    other = {name: value for name, value in whole.items() if name != key}
    for page in (first, rest):
        assert {name: value for name, value in page.items() if name not in (key, "next_cursor")} == other


@pytest.mark.parametrize("path, key", LISTS)
def test_without_limit_and_cursor_nothing_is_new(bfm, path, key):
    fill(bfm)
    keys = {"items": {"items", "total"}}.get(key, {key, "migration_id"} if TENANT in path else {key})
    count = {"items": 26, "history": 24, "executions": 12 if TENANT in path else 10, "skipped": 5}[key]
    for params in ({}, {"limit": "0"}, {"limit": "-1"}, {"limit": "x"}, {"limit": ""}, {"cursor": ""}):
        page = get(bfm.client, path, **params)
        assert set(page) == keys and len(page[key]) == count, params


@pytest.mark.parametrize("path, key", LISTS)
def test_other_cursors_are_refused(bfm, path, key):
    fill(bfm)
    mine = get(bfm.client, path, limit=1)["next_cursor"]
    wrong = ["x", "0", mine[:-1], mine + "00", "6d", "6800", "%C3%A9", "ff" * 2000, mine[:2] + "ff00", "7300" + mine[4:]]
    wrong += [get(bfm.client, other, limit=1)["next_cursor"] for other, name in LISTS if name != key]
    for cursor in wrong:
        answer = bfm.client.get("%s%s?cursor=%s" % (BASE, path, cursor))
        expect_error(answer, 400, 'parameter "cursor" is no next_cursor of this list')
    assert bfm.client.get("%s%s?cursor=%s" % (BASE, path, mine)).status == 200


def test_numbers_no_database_takes_are_refused(bfm):
    fill(bfm, ["a"])
    for kind, number in (("h", 2 ** 63), ("s", 2 ** 63), ("h", "1x"), ("h", ""), ("e", 10 ** 18)):
        text = "%s%s\0%s" % (kind, number, "a\0b\0" if kind == "e" else "")
        path = {"h": "history", "s": "skipped", "e": "executions"}[kind]
        answer = bfm.client.get("%s/%s/%s?cursor=%s" % (BASE, TENANT, path, text.encode().hex()))
        expect_error(answer, 400, 'parameter "cursor" is no next_cursor of this list')
    text = "e%d\0a\0b\0" % (253402300799999999,)
    assert len(get(bfm.client, "/%s/executions" % TENANT, cursor=text.encode().hex())["executions"]) == 1


@pytest.mark.parametrize("path, key", [entry for entry in LISTS if entry[1] != "items"])
def test_what_is_added_meanwhile_moves_nothing(bfm, path, key):
    fill(bfm, SCHEMAS[:6])
    before = get(bfm.client, path, limit=10000)[key]
    added = iter(SCHEMAS[6:])
    found = rows(pages(bfm.client, path, key, between=lambda: fill(bfm, [next(added)]), limit=max(1, len(before) // 4)))
    assert found == before
    assert len(get(bfm.client, path, limit=10000)[key]) > len(before)


def test_scripts_come_and_go_between_pages_of_the_list(bfm, tree):
    found = get(bfm.client, "", limit=10)
    cursor = found["next_cursor"]
    assert found["total"] == 26
    tree.remove("postgresql/tenants/20250209120000_step8.up.sql")  # the last one of the page
    tree.write("postgresql/tenants/20250101000000_before.up.sql", "SELECT 1;")
    tree.write("postgresql/tenants/20250210000000_behind.up.sql", "SELECT 1;")
    assert bfm.client.post("/api/v1/migrations/reindex").status == 200
    rest = get(bfm.client, "", limit=100, cursor=cursor)
    assert [item["name"] for item in rest["items"]] == ["behind"] + ["step%d" % number for number in range(9, 25)]
    assert rest["total"] == 27 and "next_cursor" not in rest


def test_filters_hold_on_every_page(bfm):
    assert up(bfm.client, "tenants", target={"version": "20250205120000"}, schemas=["a"]).status == 200
    found = pages(bfm.client, "", "items", limit=7, status="pending")
    assert [len(page) for page in found] == [7, 7, 7, 4]
    assert "step4" not in [item["name"] for item in rows(found)]
    assert get(bfm.client, "", limit=7, status="pending")["total"] == 25
    assert get(bfm.client, "", limit=1, status="applied").keys() == {"items", "total"}
    assert get(bfm.client, "", limit=1, status="failed") == {"items": [], "total": 0}


def test_a_token_that_sees_few_rows_gets_all_of_them(bfm):
    fill(bfm)
    few = Client("127.0.0.1", bfm.port, "canary-token-of-few-0123456789")
    for path, key in LISTS[1:]:
        assert {row["schema"] for row in rows(pages(few, path, key, limit=2))} == set(SCHEMAS[1:10:2]), path
    assert len(rows(pages(few, "", "items", limit=7))) == 26


def test_pages_of_one_schema(bfm):
    fill(bfm)
    for _ in range(3):
        rollback(bfm.client, TENANT, {"schemas": ["s03"]})
        up(bfm.client, "tenants", target={"version": "20250103120000"}, schemas=["s03"])
    path = "/s03_%s/history" % TENANT
    everything = get(bfm.client, path)["history"]
    assert len(everything) == 14 and {row["schema"] for row in everything} == {"s03"}
    assert rows(pages(bfm.client, path, "history", limit=4)) == everything
