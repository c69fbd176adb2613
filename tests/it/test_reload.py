"""The registry follows the files while the server runs: DESIGN.md §6, bfm-api.md §3, §6.8."""
import os
import shutil

import pytest
from api_helpers import up
from harness.processes import wait_until
from once_helpers import (Background, Holder, make_effects, step_id, step_path, trace, wait_for_waiting, write_steps,
                          found_tables)


@pytest.fixture
def bfm(start_bfm, tree, postgres, database, connection_env):
    make_effects(postgres, database)
    write_steps(tree, 2)
    return start_bfm(connection_env("tenants", postgres, database), tree=tree)


def listed(bfm):
    """{base ID: item}"""
    answer = bfm.client.get("/api/v1/migrations")
    assert answer.status == 200, answer
    return {item["migration_id"]: item for item in answer.json["items"]}


def reindex(bfm):
    answer = bfm.client.post("/api/v1/migrations/reindex")
    assert answer.status == 200, answer
    return answer.json


def wait_for_status(bfm, migration_id, status):
    wait_until(lambda: listed(bfm).get(migration_id, {}).get("status") == status, 25, "status " + status)


# --- what the watcher sees ---

def test_changes_are_noticed_without_being_told(bfm, tree, postgres, database):
    assert set(listed(bfm)) == {step_id(1), step_id(2)}
    tree.write(step_path(3), "CREATE TABLE t3 (id int);")
    wait_until(lambda: step_id(3) in listed(bfm), 25, "a new file to be noticed")
    tree.write(step_path(3), "CREATE TABLE t3_changed (id int);")
    detail = "/api/v1/migrations/" + step_id(3)
    wait_until(lambda: "t3_changed" in bfm.client.get(detail).json["up_sql"], 25, "a change to be noticed")
    assert up(bfm.client, "tenants", schemas=["a"]).status == 200
    assert ("a", "t3_changed") in found_tables(postgres, database, ["a"])
    tree.remove(step_path(2))
    tree.remove(step_path(2, "down"))
    wait_until(lambda: step_id(2) not in listed(bfm), 25, "a removed file to be noticed")


def test_a_new_connection_folder_is_noticed(bfm, tree):
    tree.write("postgresql/other/20250101000000_first.up.sql", "SELECT 1;")
    other = "20250101000000_first_postgresql_other"
    wait_until(lambda: other in listed(bfm), 25, "a new folder to be noticed")
    tree.write("postgresql/other/20250102000000_second.up.sql", "SELECT 1;")
    wait_until(lambda: "20250102000000_second_postgresql_other" in listed(bfm), 25, "a file in it to be noticed")


def test_a_down_script_and_a_companion_are_noticed(bfm, tree):
    detail = "/api/v1/migrations/" + step_id(1)
    tree.remove(step_path(1, "down"))
    wait_until(lambda: "down_sql" not in bfm.client.get(detail).json, 25, "the down script to be gone")
    tree.write("postgresql/tenants/20250101000000_step1.go",
               'var m = &MigrationScript{\n\tTags: []string{"tier=gold"},\n}\n')
    wait_until(lambda: bfm.client.get(detail).json.get("tags") == ["tier=gold"], 25, "the companion to be noticed")


# --- reindex on request ---

def test_reindex_tells_what_changed(bfm, tree):
    expected = {"added": {step_id(3)}, "removed": {step_id(1)}, "updated": {step_id(2)}}
    told = None
    for _ in range(30):  # what the watcher has seen first the answer does not tell
        assert reindex(bfm)["total"] == 2
        tree.write(step_path(2), "CREATE TABLE t2_changed (id int);")
        tree.write(step_path(3), "CREATE TABLE t3 (id int);")
        tree.remove(step_path(1))
        tree.remove(step_path(1, "down"))
        answer = reindex(bfm)
        told = {key: set(answer[key]) for key in expected}
        assert answer["total"] == 2
        assert set(listed(bfm)) == {step_id(2), step_id(3)}
        assert reindex(bfm) == {"added": [], "removed": [], "updated": [], "total": 2}
        if told == expected:
            break
        assert all(told[key] <= expected[key] for key in expected), told
        tree.remove(step_path(3))
        write_steps(tree, 2)
    assert told == expected


def test_a_run_keeps_what_it_began_with(bfm, tree, postgres, database):
    tree.write(step_path(1), "SELECT pg_advisory_xact_lock(1);\nCREATE TABLE t1 (id int);")
    reindex(bfm)
    with Holder(postgres, database, "SELECT pg_advisory_lock(1)") as holder:
        run = Background(lambda: up(bfm.client, "tenants", schemas=["a"]))
        wait_for_waiting(postgres, database)
        tree.write(step_path(1), "CREATE TABLE t1_new (id int);")
        tree.write(step_path(3), "CREATE TABLE t3 (id int);")
        tree.remove(step_path(2))
        tree.remove(step_path(2, "down"))
        assert reindex(bfm)["total"] == 2
        assert set(listed(bfm)) == {step_id(1), step_id(3)}
        holder.release()
        answer = run.result()
    assert answer.status == 200, answer
    assert answer.json["applied"] == ["a_" + step_id(1), "a_" + step_id(2)]
    assert found_tables(postgres, database, ["a"]) == {("a", "t1"), ("a", "t2")}
    assert listed(bfm)[step_id(1)]["status"] == "modified"
    assert up(bfm.client, "tenants", schemas=["a"]).json["applied"] == ["a_" + step_id(3)]


# --- a tree that goes ---

def check_it_still_works(bfm, schema):
    assert set(listed(bfm)) == {step_id(1), step_id(2)}
    answer = up(bfm.client, "tenants", schemas=[schema])
    assert answer.status == 200 and len(answer.json["applied"]) == 2, answer
    assert bfm.client.get("/health").status == 200


def expect_refusal(bfm):
    answer = bfm.client.post("/api/v1/migrations/reindex")
    assert answer.status == 500 and answer.json["error"], answer
    return answer.json["error"]


def test_a_tree_that_vanishes(bfm, tree):
    os.rename(tree.root, tree.root + "-away")
    expect_refusal(bfm)
    bfm.wait_log(lambda line: line.get("level") == "error" and "could not be read" in line["msg"])
    check_it_still_works(bfm, "a")
    os.rename(tree.root + "-away", tree.root)
    assert reindex(bfm) == {"added": [], "removed": [], "updated": [], "total": 2}
    tree.write(step_path(3), "SELECT 1;")
    wait_until(lambda: step_id(3) in listed(bfm), 20, "the watcher to have followed")


def test_a_tree_that_is_emptied(bfm, tree):
    shutil.rmtree(os.path.join(tree.root, "postgresql"))
    assert "no migration" in expect_refusal(bfm)
    check_it_still_works(bfm, "a")
    write_steps(tree, 2)
    assert reindex(bfm)["total"] == 2
    check_history = bfm.client.get("/api/v1/migrations/%s/history" % step_id(1))
    assert check_history.json["history"] != []


def test_a_folder_that_cannot_be_read(bfm, tree):
    """A link that leads nowhere in place of a folder with migrations."""
    folder = os.path.join(tree.root, "postgresql", "tenants")
    os.rename(folder, tree.root + "-away")
    os.symlink("/nonexistent", folder)
    expect_refusal(bfm)
    check_it_still_works(bfm, "a")


# --- what scripts become ---

@pytest.mark.parametrize("text, status", [
    ("CREATE TABLE t1 (id bigint);\n" + trace(1), "modified"),
    ("-- a comment\nCREATE TABLE t1 (id int); /* another */\n\n" + trace(1) + "\n\n  \n", "applied"),
    (("CREATE TABLE t1 (id int);\n" + trace(1)).replace("\n", "\r\n"), "applied"),
    ("-- bfm-tags: tier=gold\nCREATE TABLE t1 (id int);\n" + trace(1), "applied"),
])
def test_editing_what_was_applied(bfm, tree, postgres, database, text, status):
    assert up(bfm.client, "tenants", schemas=["a"]).status == 200
    tree.write(step_path(1), text)
    reindex(bfm)
    assert listed(bfm)[step_id(1)]["status"] == status
    assert listed(bfm)[step_id(1)]["applied"] is True
    answer = up(bfm.client, "tenants", schemas=["a"])
    assert answer.json["applied"] == [] and answer.json["errors"] == [], answer
    assert postgres.query(database, "SELECT count(*) FROM public.effects WHERE migration = 'step1'") == [(1,)]
    write_steps(tree, 2)
    reindex(bfm)
    assert listed(bfm)[step_id(1)]["status"] == "applied"


@pytest.mark.parametrize("text, line, word", [
    ("SELECT 1;\nBEGIN;\nSELECT 2;\nCOMMIT;\n", 2, "BEGIN"),
    ("SELECT 1;\n\nCOMMIT;\n", 3, "COMMIT"),
    ("SELECT 1;\nSAVEPOINT a;\n", 2, "SAVEPOINT"),
    ("SELECT 1;\n\\d users\n", 2, "psql"),
    ("SELECT 1;\n\\copy t FROM 'x'\n", 2, "psql"),
    ("CREATE TABLE t (id int);\nCOPY t FROM STDIN;\n", 2, "COPY"),
    ("CREATE TABLE t (id int);\nCOPY t TO STDOUT;\n", 2, "COPY"),
    ("-- bfm-tags: a=b\n-- bfm-transaction: maybe\nSELECT 1;\n", 2, "transaction"),
    ("-- bfm-lock-timeout: soon\nSELECT 1;\n", 1, "lock-timeout"),
    ("-- bfm-requires: connection=core\nSELECT 1;\n", 1, "requires"),
    ("SELECT 'never closed;\n", 1, ""),
    ("SELECT 1;\nSELECT $a$ never closed;\n", 2, ""),
])
def test_scripts_that_cannot_run(bfm, tree, postgres, database, text, line, word):
    tree.write(step_path(2), text)
    reindex(bfm)
    item = listed(bfm)[step_id(2)]
    assert (item["status"], item["applied"]) == ("invalid", False)
    assert "20250102000000_step2.up.sql:%d" % line in item["error_message"], item
    assert word.lower() in item["error_message"].lower(), item
    answer = up(bfm.client, "tenants", schemas=["a"])
    assert answer.status == 206 and answer.json["applied"] == ["a_" + step_id(1)], answer
    assert len(answer.json["errors"]) == 1 and "20250102000000_step2.up.sql:%d" % line in answer.json["errors"][0]
    assert found_tables(postgres, database, ["a"]) == {("a", "t1")}
    write_steps(tree, 2)
    wait_for_status(bfm, step_id(2), "pending")
    assert up(bfm.client, "tenants", schemas=["a"]).json["applied"] == ["a_" + step_id(2)]
