"""Migrations of etcd, and what they leave there."""
import json


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


def undone(etcd, prefix="/app.bfm/"):
    """{(schema, base ID)} of the tombstones, beside which nothing begins with `prefix`."""
    rows = journal(etcd)
    assert {row["kind"] for row in rows.values()} <= {"undone"}, rows
    assert len(etcd.range(prefix)) == len(rows)
    return set(rows)
