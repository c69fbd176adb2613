"""etcd as a target: what a client sees, and what is in etcd afterwards."""
import json

import pytest
from api_helpers import down, expect, rollback, up
from etcd_helpers import delete, delete_prefix, journal, keys, name_id, put, puts, undone, version, write
from harness.certificates import Certificates
from harness.etcd import Refused
from harness.processes import wait_until


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
        assert keys(etcd) == {} and undone(etcd) == {("t1", name_id(1))}


def test_values_keep_their_text(bfm, tree, etcd):
    write(tree, 1, '[{"key":"a","value":12345678901234567890},{"key":"b","value": [ 1.10, null, "x y" ]},'
                   '{"key":"c","value":true},{"key":"d","value":"plain"},{"key":"e","value":null}]')
    expect(up(bfm().client, "conf", schemas=["t"]), 200, applied=["t_" + name_id(1)])
    assert keys(etcd) == {"/app/t/a": "12345678901234567890", "/app/t/b": '[1.10,null,"x y"]', "/app/t/c": "true",
                          "/app/t/d": "plain", "/app/t/e": "null"}


def test_a_long_script_with_variables(bfm, tree, etcd):
    """So long that it is read off the loop, and refused from there as well."""
    write(tree, 1, [put("k%04d" % number, "{{.Schema}} " + "x" * 200) for number in range(1000)], [delete_prefix("k")])
    server = bfm()
    answer = up(server.client, "conf", schemas=["/app.bfm/journal"])
    assert "operation 1 of 1000: it touches keys" in answer.json["errors"][0], answer
    assert etcd.range() == {}
    expect(up(server.client, "conf", schemas=["t1", "t2"]), 200, applied=["t1_" + name_id(1), "t2_" + name_id(1)])
    for schema in ("t1", "t2"):
        found = keys(etcd, "/app/%s/" % schema)
        assert len(found) == 1000 and set(found.values()) == {schema + " " + "x" * 200}


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
    assert keys(etcd) == before and undone(etcd) == {("t", name_id(1))}


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


@pytest.mark.parametrize("undo", [[delete("k0000")], None])
def test_what_is_undone_is_not_found_again(bfm, tree, env, etcd, start_bfm, undo):
    write(tree, 1, puts(1), undo)
    write(tree, 2, [put("other", "1")])
    first = bfm()
    up(first.client, "conf", schemas=["t", "u"])
    expect(down(first.client, name_id(1), schemas=["t"]), 200, applied=["t_" + name_id(1)])
    first.stop()
    tombstone = journal(etcd)["t", name_id(1)]
    again = start_bfm(env, tree=tree)  # with a state database of its own
    answer = down(again.client, name_id(1), schemas=["t"])
    assert answer.json["applied"] == [] and "not applied" in json.dumps(answer.json), answer
    assert journal(etcd)["t", name_id(1)] == tombstone  # nothing is written for what is not applied
    answer = up(again.client, "conf", schemas=["t", "u"])
    expect(answer, 200, applied=["t_" + name_id(1)],
           skipped=["t_" + name_id(2), "u_" + name_id(1), "u_" + name_id(2)])
    assert {key[0]: row["kind"] for key, row in journal(etcd).items() if key[1] == name_id(1)} == {"t": "up", "u": "up"}


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
    assert undone(etcd, "/") == {("t", name_id(1))}


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
