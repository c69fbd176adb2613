"""What a client of etcd's gateway can meet that needs no server of its own kind: forms of scripts and of addresses."""
import pytest
from api_helpers import down, expect, up
from etcd_helpers import keys, name_id, put, write
from harness.certificates import Certificates


@pytest.fixture
def env(etcd, etcd_env):
    return etcd_env("conf", etcd, PREFIX="/app")


@pytest.mark.parametrize("text,key,value", [("mode=on", "mode", "on"), ("  list = a=b, c \n", "list", "a=b, c"),
                                            ("empty=", "empty", "")])
def test_a_script_of_one_line(start_bfm, tree, env, etcd, text, key, value):
    write(tree, 1, text)
    server = start_bfm(env, tree=tree)
    expect(up(server.client, "conf", schemas=["t"]), 200, applied=["t_" + name_id(1)])
    assert keys(etcd) == {"/app/t/" + key: value}
    expect(down(server.client, name_id(1), schemas=["t"]), 200, applied=["t_" + name_id(1)])
    assert keys(etcd) == {}


def test_members_that_are_not_there_are_passed_over(start_bfm, tree, env, etcd):
    """A name that nobody knows, a port that nobody listens on: nothing was sent, so the next one is asked."""
    write(tree, 1, [put("a", "1")])
    env["CONF_ENDPOINTS"] = "nobody.invalid:2379, 127.0.0.1:1, %s" % etcd.endpoints
    server = start_bfm(env, tree=tree)
    expect(up(server.client, "conf", schemas=["t"]), 200, applied=["t_" + name_id(1)])
    assert keys(etcd) == {"/app/t/a": "1"}


def test_addresses_with_https(start_bfm, tree, make_etcd, etcd_env, tmp_path):
    authority = Certificates(tmp_path / "ca")
    etcd = make_etcd(tls=authority.issue("server"), ca=authority.ca)
    write(tree, 1, [put("a", "1")])
    addresses = ",".join("https://" + one.split("://")[-1] for one in etcd.endpoints.split(","))
    server = start_bfm({**etcd_env("conf", etcd, PREFIX="/app/", TLS_CA=authority.ca), "CONF_ENDPOINTS": addresses},
                       tree=tree)
    expect(up(server.client, "conf", schemas=["t"]), 200, applied=["t_" + name_id(1)])
    assert keys(etcd) == {"/app/t/a": "1"}


def test_plain_requests_to_a_server_with_tls(start_bfm, tree, make_etcd, etcd_env, tmp_path):
    authority = Certificates(tmp_path / "ca")
    etcd = make_etcd(tls=authority.issue("server"), ca=authority.ca)
    write(tree, 1, [put("a", "1")])
    plain = etcd.endpoints.replace("https://", "")
    server = start_bfm({**etcd_env("conf", etcd, PREFIX="/app/", TIMEOUT="2s"), "CONF_ENDPOINTS": plain}, tree=tree)
    answer = up(server.client, "conf", schemas=["t"])
    assert answer.status == 206 and answer.json["applied"] == [] and answer.json["errors"], answer
    assert keys(etcd) == {}
