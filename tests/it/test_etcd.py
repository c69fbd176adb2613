"""etcd as a target: what a client sees, what is in etcd afterwards, and what becomes of both when something dies."""
import json
import re
import signal
import threading
import time

import pytest
from api_helpers import down, expect, expect_error, rollback, up
from harness.certificates import Certificates
from harness.etcd import Refused, encode
from harness.processes import wait_until
from once_helpers import LOST

MANY = 400  # operations: with a token, or without a down script, four transactions


def version(number):
    return "20250101%06d" % number


def name_id(number):
    return "%s_step%d_etcd_conf" % (version(number), number)


def write(tree, number, operations, undo=None, **bfm):
    """Migration stepN of connection conf; without `undo` it has no down script."""
    stem = "etcd/conf/%s_step%d" % (version(number), number)
    body = operations if isinstance(operations, str) else json.dumps({"bfm": bfm, "operations": operations}
                                                                     if bfm else operations)
    tree.write(stem + ".up.json", body)
    if undo is not None:
        tree.write(stem + ".down.json", json.dumps(undo))


def put(key, value):
    return {"key": key, "value": value}


def delete(key):
    return {"operation": "delete", "key": key}


def delete_prefix(key):
    return {"operation": "delete_prefix", "key": key}


def puts(count, value="v"):
    return [put("k%04d" % number, value) for number in range(count)]


def keys(etcd, prefix="/app/"):
    return {key.decode(): value.decode() for key, value in etcd.range(prefix).items()}


def journal(etcd):
    """{(schema, base ID): what the marker says}"""
    rows = {}
    for key, value in etcd.range("/app.bfm/journal/").items():
        schema, base_id = key[len(b"/app.bfm/journal/"):].split(b"\0")
        rows[schema.decode(), base_id.decode()] = json.loads(value)
    return rows


@pytest.fixture
def env(etcd, etcd_env):
    return etcd_env("conf", etcd, PREFIX="/app")


@pytest.fixture
def bfm(start_bfm, tree, env):
    return lambda **extra: start_bfm({**env, **extra}, tree=tree)


# --- what it does ---

def test_up_again_and_down(bfm, tree, etcd):
    write(tree, 1, [put("flags/a", "on"), put("limits", {"n": 1}), delete("old")], [delete("flags/a"), delete("limits")])
    server = bfm()
    assert expect(up(server.client, "conf", schemas=["t1", "t2"], dry_run=True), 200, applied=[
        "t1_%s (dry-run)" % name_id(1), "t2_%s (dry-run)" % name_id(1)])
    assert keys(etcd) == {}
    for _ in range(2):
        expect(up(server.client, "conf", schemas=["t1"]), 200, applied=["t1_" + name_id(1)])
        assert keys(etcd) == {"/app/t1/flags/a": "on", "/app/t1/limits": '{"n":1}'}
        expect(up(server.client, "conf", schemas=["t1"]), 200, skipped=["t1_" + name_id(1)])
        expect(down(server.client, name_id(1), schemas=["t1"]), 200, applied=["t1_" + name_id(1)])
        assert keys(etcd) == {} and journal(etcd) == {}


def test_values_keep_their_text(bfm, tree, etcd):
    write(tree, 1, '[{"key":"a","value":12345678901234567890},{"key":"b","value": [ 1.10, null, "x y" ]},'
                   '{"key":"c","value":true},{"key":"d","value":"plain"},{"key":"e","value":null}]')
    expect(up(bfm().client, "conf", schemas=["t"]), 200, applied=["t_" + name_id(1)])
    assert keys(etcd) == {"/app/t/a": "12345678901234567890", "/app/t/b": '[1.10,null,"x y"]', "/app/t/c": "true",
                          "/app/t/d": "plain", "/app/t/e": "null"}


def test_where_keys_go(bfm, tree, etcd):
    write(tree, 1, [put("{{.Schema}}", "{{.Version}}")], table="users")
    write(tree, 2, "name = {{.Schema}}\n")
    server = bfm()
    assert up(server.client, "conf", schemas=["t", "/abs/x"]).status == 200
    assert keys(etcd) == {"/app/t/users/t": version(1), "/app/t/name": "t"}
    assert keys(etcd, "/abs") == {"/abs/x/users//abs/x": version(1), "/abs/x/name": "/abs/x"}
    assert set(journal(etcd)) == {(schema, name_id(number)) for schema in ("t", "/abs/x") for number in (1, 2)}


def test_undone_without_a_down_script(bfm, tree, etcd):
    for key, value in (("old", "o"), ("gone", "g"), ("p/1", "1"), ("p/2", "2")):
        etcd.put("/app/t/" + key, value)
    before = keys(etcd)
    write(tree, 1, [put("new", "n"), put("old", "changed"), delete("gone"), delete_prefix("p/"), put("p/2", "two")])
    server = bfm()
    up(server.client, "conf", schemas=["t"])
    assert keys(etcd) == {"/app/t/new": "n", "/app/t/old": "changed", "/app/t/p/2": "two"}
    etcd.put("/app/t/old", "by somebody else")
    left = keys(etcd)
    answer = down(server.client, name_id(1), schemas=["t"])
    assert "key \"/app/t/old\" was changed since this migration wrote it" in answer.json["errors"][0], answer
    assert keys(etcd) == left
    etcd.put("/app/t/old", "changed")
    expect(rollback(server.client, "t_" + name_id(1)), 200, applied=["t_" + name_id(1)])
    assert keys(etcd) == before and etcd.range("/app.bfm/") == {}


def test_bytes_that_are_no_text_are_put_back(bfm, tree, etcd):
    etcd.put(b"/app/t/p/\xff\xfe", b"\xff\0z")
    etcd.put(b"/app/t/p/\0", b"")
    before = etcd.range("/app/t/")
    write(tree, 1, [delete_prefix("p/")])
    server = bfm()
    expect(up(server.client, "conf", schemas=["t"]), 200, applied=["t_" + name_id(1)])
    assert etcd.range("/app/t/") == {}
    etcd.put(b"/app/t/p/\xff\xfe", b"by somebody else")
    assert "key \"/app/t/p/\\xff\\xfe\" was made" in down(server.client, name_id(1), schemas=["t"]).json["errors"][0]
    etcd.delete("/app/t/")
    expect(down(server.client, name_id(1), schemas=["t"]), 200, applied=["t_" + name_id(1)])
    assert etcd.range("/app/t/") == before


def test_a_misspelt_member_is_refused_at_load(bfm, tree, etcd):
    write(tree, 1, '[\n{"key": "a",\n "vlaue": "b"}]')
    server = bfm()
    listed = server.client.get("/api/v1/migrations").json
    text = json.dumps(listed)
    assert "operation 1" in text and "vlaue" in text, text
    assert up(server.client, "conf", schemas=["t"]).json["applied"] == []
    assert keys(etcd) == {}


def test_reserved_keys(bfm, tree, etcd):
    write(tree, 1, [put("x", "1")])
    server = bfm()
    answer = up(server.client, "conf", schemas=["/app.bfm/journal"])
    assert "where BfM keeps its journal" in answer.json["errors"][0], answer
    assert etcd.range() == {}


@pytest.mark.parametrize("schema", ["/app.bfm", "app.bfm"])
def test_journal_of_another_connection(tree, env, etcd, etcd_env, start_bfm, schema):
    write(tree, 1, [put("x", "1")])
    tree.write("etcd/root/20250101000002_wipe.up.json", json.dumps([delete_prefix("journal/")]))
    tree.write("etcd/root/20250101000002_wipe.down.json", "[]")
    server = start_bfm({**env, **etcd_env("root", etcd, PREFIX="/")}, tree=tree)
    expect(up(server.client, "conf", schemas=["t"]), 200, applied=["t_" + name_id(1)])
    before = etcd.range()
    answer = up(server.client, "root", schemas=[schema])
    assert 'begin with "/app.bfm/", where BfM keeps its journal' in answer.json["errors"][0], answer
    assert etcd.range() == before and len(journal(etcd)) == 1


def test_state_is_found_again_from_the_journal(bfm, tree, env, etcd, start_bfm):
    write(tree, 1, puts(3), [delete("k0000")])
    first = bfm()
    up(first.client, "conf", schemas=["t"])
    first.stop()
    revision = etcd.revision()
    again = start_bfm(env, tree=tree)  # with a state database of its own
    expect(up(again.client, "conf", schemas=["t"]), 200, skipped=["t_" + name_id(1)])
    assert etcd.revision() == revision


# --- limits ---

@pytest.mark.parametrize("count", [1, 127, 128, 129, 1000])
def test_one_revision_without_authentication(bfm, tree, etcd, count):
    write(tree, 1, puts(count), [delete_prefix("k")])
    server = bfm()
    before = etcd.revision()
    expect(up(server.client, "conf", schemas=["t"]), 200, applied=["t_" + name_id(1)])
    assert etcd.revision() == before + 1 and len(keys(etcd)) == count


@pytest.fixture
def guarded(make_etcd, etcd_env):
    """An etcd that asks for a token, and the environment of a connection that has one."""
    server = make_etcd()
    server.enable_auth("/app")  # both /app/ and /app.bfm/
    return server, etcd_env("conf", server, PREFIX="/app/", DB_USERNAME=server.user, DB_PASSWORD=server.password)


@pytest.mark.parametrize("count", [1, 127, 128, 129, 1000])
def test_with_authentication(start_bfm, tree, guarded, count):
    etcd, env = guarded
    write(tree, 1, puts(count), [delete("k%04d" % number) for number in range(count)])
    server = start_bfm(env, tree=tree)
    before = etcd.revision()
    expect(up(server.client, "conf", schemas=["t"]), 200, applied=["t_" + name_id(1)])
    assert len(keys(etcd)) == count
    assert etcd.revision() == before + -(-count // 127)  # nothing is nested where permissions matter
    expect(down(server.client, name_id(1), schemas=["t"]), 200, applied=["t_" + name_id(1)])
    assert etcd.range("/") == {}


def test_permission_denied(start_bfm, tree, make_etcd, etcd_env):
    etcd = make_etcd()
    etcd.enable_auth("/app/")  # not the reserved prefix
    write(tree, 1, [put("a", "1")])
    server = start_bfm(etcd_env("conf", etcd, PREFIX="/app/", DB_USERNAME=etcd.user, DB_PASSWORD=etcd.password),
                       tree=tree)
    answer = up(server.client, "conf", schemas=["t"])
    error = answer.json["errors"][0]
    assert '"/app/t/"' in error and '"/app.bfm/"' in error and "READWRITE" in error, answer
    assert etcd.range() == {}


def test_tls_and_authentication(start_bfm, tree, make_etcd, etcd_env, tmp_path):
    authority = Certificates(tmp_path / "ca")
    client = authority.issue("client", subject="/O=bfm")  # without a common name, as the gateway wants it
    etcd = make_etcd(tls=authority.issue("server"), client_ca=authority.ca, ca=authority.ca, client=client)
    etcd.enable_auth("/app")
    write(tree, 1, puts(3))
    server = start_bfm(etcd_env("conf", etcd, PREFIX="/app/", TLS="true", TLS_CA=authority.ca, TLS_CERT=client[0],
                                TLS_KEY=client[1], DB_USERNAME=etcd.user, DB_PASSWORD=etcd.password), tree=tree)
    expect(up(server.client, "conf", schemas=["t"]), 200, applied=["t_" + name_id(1)])
    assert len(keys(etcd)) == 3
    expect(down(server.client, name_id(1), schemas=["t"]), 200, applied=["t_" + name_id(1)])
    assert keys(etcd) == {}


def test_too_large(bfm, tree, etcd):
    write(tree, 1, [put("a", "1"), put("b", "x" * 1572864)])
    answer = up(bfm().client, "conf", schemas=["t"])
    error = answer.json["errors"][0]
    assert "operation 2 of 2" in error and "1572864" in error and "MAX_REQUEST_BYTES" in error, answer
    assert etcd.range("/") == {}


def test_more_than_a_request(bfm, tree, etcd):
    write(tree, 1, puts(40, "x" * 100000))
    server = bfm()
    expect(up(server.client, "conf", schemas=["t"]), 200, applied=["t_" + name_id(1)])
    assert len(keys(etcd)) == 40
    expect(down(server.client, name_id(1), schemas=["t"]), 200, applied=["t_" + name_id(1)])
    assert keys(etcd) == {}


def test_no_space(start_bfm, tree, make_etcd, etcd_env):
    etcd = make_etcd(options={"quota-backend-bytes": 2 * 1024 * 1024})
    write(tree, 1, [put("a", "1")], [delete("a")])
    server = start_bfm(etcd_env("conf", etcd, PREFIX="/app/"), tree=tree)

    def is_full():
        try:
            etcd.put("/fill", "x" * 200000)
            return False
        except Refused:
            return True

    wait_until(is_full, 60, "no space to be left")
    answer = up(server.client, "conf", schemas=["t"])
    assert "space" in answer.json["errors"][0] and "nothing came of it" in answer.json["errors"][0], answer
    assert keys(etcd) == {} and journal(etcd) == {}
    etcd.disarm()
    expect(up(server.client, "conf", schemas=["t"]), 200, applied=["t_" + name_id(1)])


# --- killed, cut off, raced ---

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
    assert keys(etcd) == {} and etcd.range("/app.bfm/") == {}


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
    assert keys(etcd) == before and etcd.range("/app.bfm/") == {}


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
