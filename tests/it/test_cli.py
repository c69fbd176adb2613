"""The commands that work on files alone: validate, new, version."""
import json
import os
import re

import pytest

from harness.server import TOP, run_bfm


def write(root, path, text):
    full = os.path.join(str(root), path)
    os.makedirs(os.path.dirname(full), exist_ok=True)
    with open(full, "w", encoding="utf-8") as file:
        file.write(text)


def problems(root, *args):
    result = run_bfm("validate", "--json", *args, str(root))
    found = json.loads(result.stdout)
    assert result.returncode == (1 if found["errors"] else 0), result.stderr
    return found


def test_the_scripts_of_the_program_are_fine():
    result = run_bfm("validate", os.path.join(TOP, "migrations"))
    assert result.returncode == 0, result.stdout
    assert re.search(r"^\d+ migrations in .*: 0 errors, 0 warnings$", result.stdout, re.M)


def test_every_problem_is_shown_with_its_place(tmp_path):
    write(tmp_path, "postgresql/core/20250101000000_good.up.sql", "CREATE TABLE a (id int);\n")
    write(tmp_path, "postgresql/core/20250102000000_ends.up.sql", "SELECT 1;\n\nCOMMIT;\n")
    write(tmp_path, "postgresql/core/20250103000000_header.up.sql", "-- bfm-lock-timeout: soon\nSELECT 1;\n")
    write(tmp_path, "postgresql/core/20250104000000_needs.up.sql", "-- bfm-depends: nobody\nSELECT 1;\n")
    write(tmp_path, "postgresql/core/20250105000000_x.up.sql", "-- bfm-depends: y\nSELECT 1;\n")
    write(tmp_path, "postgresql/core/20250106000000_y.up.sql", "-- bfm-depends: x\nSELECT 1;\n")
    write(tmp_path, "postgresql/core/no_version.sql", "SELECT 1;\n")
    write(tmp_path, "postgresql/core/core_a_20250107000000_same.sql", "SELECT 1;\n")
    write(tmp_path, "postgresql/core/core_b_20250107000000_same.sql", "SELECT 1;\n")
    write(tmp_path, "postgresql/core/core_a_20250108000000_lost_down.sql", "SELECT 1;\n")
    write(tmp_path, "etcd/conf/20250101000000_broken.up.json", "[{\"operation\": \"put\"}]")
    found = problems(tmp_path)
    places = {(p["path"].split("/")[-1], p.get("line")): p for p in found["problems"]}
    assert places[("20250102000000_ends.up.sql", 3)]["severity"] == "error"
    assert places[("20250103000000_header.up.sql", 1)]["severity"] == "error"
    assert "nobody" in places[("20250104000000_needs.up.sql", 1)]["text"]
    assert "circle" in places[("20250105000000_x.up.sql", None)]["text"]
    assert ("no_version.sql", None) in places
    assert any("same" in p["path"] and "core_a" in p["text"] + p["path"] for p in found["problems"])
    assert places[("core_a_20250108000000_lost_down.sql", None)]["severity"] == "warning"
    assert any(p["path"].startswith("etcd/conf/") for p in found["problems"])
    assert found["errors"] == len([p for p in found["problems"] if p["severity"] == "error"]) == 7
    assert found["warnings"] == 1
    lines = run_bfm("validate", str(tmp_path)).stdout.splitlines()
    assert len(lines) == 9 and any(line.startswith("postgresql/core/20250102000000_ends.up.sql:3: error: ")
                                   for line in lines)


def test_the_tree_is_found_by_its_variable_and_its_folder(tmp_path):
    write(tmp_path, "migrations/postgresql/core/20250101000000_a.up.sql", "SELECT 1;\n")
    by_folder = run_bfm("build", cwd=str(tmp_path))
    by_variable = run_bfm("validate", env={"BFM_SFM_PATH": str(tmp_path / "migrations")})
    assert "1 migration in" in by_folder.stdout and by_folder.returncode == 0
    assert "1 migration in" in by_variable.stdout and by_variable.returncode == 0
    missing = run_bfm("validate", str(tmp_path / "nowhere"))
    assert missing.returncode == 1 and "nowhere" in missing.stderr
    assert "bfm validate PATH" not in missing.stderr


@pytest.mark.parametrize("env", [{}, {"BFM_SFM_PATH": ""}])
def test_validate_says_how_to_name_a_tree(tmp_path, env):
    result = run_bfm("validate", cwd=str(tmp_path), env=env)
    assert result.returncode == 1
    assert result.stderr.startswith("migrations: the folder cannot be read: ")
    assert "bfm validate PATH, or BFM_SFM_PATH=PATH" in result.stderr


def test_counts_of_one_are_in_the_singular(tmp_path):
    write(tmp_path, "postgresql/core/20250101000000_a.up.sql", "-- bfm-depends: nobody\nSELECT 1;\n")
    write(tmp_path, "postgres/core/20250101000000_a.up.sql", "SELECT 1;\n")
    assert run_bfm("validate", str(tmp_path)).stdout.endswith("\n1 migration in %s: 1 error, 1 warning\n" % tmp_path)


def test_what_lies_where_nothing_is_read_is_a_warning(tmp_path):
    write(tmp_path, "postgresql/core/20250101000000_a.up.sql", "SELECT 1;\n")
    for path in ("postgres/core/20250101000000_a.up.sql", "mariadb/shop/20250101000000_a.up.sql",
                 "etcdd/conf/20250101000000_a.up.json", "etcd/20250101000000_a.up.json",
                 "postgresql/core/old/20250101000000_b.up.sql", "docs/core/notes.md"):
        write(tmp_path, path, "[]")
    found = problems(tmp_path)
    texts = {problem["path"]: (problem["severity"], problem["text"]) for problem in found["problems"]}
    assert set(texts) == {"postgres", "mariadb", "etcdd", "etcd/20250101000000_a.up.json", "postgresql/core/old"}
    assert {severity for severity, text in texts.values()} == {"warning"}
    assert texts["postgres"][1].endswith("did you mean postgresql?")
    assert texts["mariadb"][1].endswith("did you mean mysql?")
    assert texts["etcdd"][1].endswith("did you mean etcd?")
    assert "did you mean etcd/{connection}/20250101000000_a.up.json?" in texts["etcd/20250101000000_a.up.json"][1]


MISPLACED = ("postgres/core/x.sql", "etcd/x.up.json", "etcd/config/deep/x.json")


def test_a_tree_of_misplaced_things_alone_shows_all_of_them(tmp_path):
    for path in MISPLACED:
        write(tmp_path, path, "[]")
    found = problems(tmp_path)
    assert (found["migrations"], found["errors"], found["warnings"]) == (0, 1, 3)
    assert [(p["severity"], p["path"]) for p in found["problems"]] == [
        ("warning", "etcd/config/deep"), ("warning", "etcd/x.up.json"), ("warning", "postgres"), ("error", ".")]
    assert found["problems"][-1]["text"].startswith("there is no migration in the folder; ")
    result = run_bfm("validate", str(tmp_path))
    lines = result.stdout.splitlines()
    assert result.returncode == 1 and result.stderr == ""
    assert [line.split(": ")[1] for line in lines[:4]] == ["warning"] * 3 + ["error"]
    assert lines[4:] == ["0 migrations in %s: 1 error, 3 warnings" % tmp_path]


@pytest.mark.parametrize("guessed", [True, False])
def test_an_empty_tree_that_nobody_named_gets_a_hint(tmp_path, guessed):
    os.mkdir(tmp_path / "migrations")
    result = run_bfm("validate", *([] if guessed else ["migrations"]), cwd=str(tmp_path))
    assert result.returncode == 1
    assert result.stdout.startswith(".: error: there is no migration in the folder; ")
    assert ("bfm validate PATH, or BFM_SFM_PATH=PATH" in result.stderr) == guessed


def test_broken_json_is_shown_with_its_line(tmp_path):
    write(tmp_path, "etcd/conf/20250101000000_comma.up.json", '[\n  {"key": "a", "value": "b"},\n]\n')
    (problem,) = problems(tmp_path)["problems"]
    assert (problem["path"], problem["line"]) == ("etcd/conf/20250101000000_comma.up.json", 3)
    assert problem["text"].startswith("invalid JSON: syntax error")


def test_a_wrong_extension_is_told_the_right_one(tmp_path):
    write(tmp_path, "etcd/conf/20250101000000_a.up.sql", "a=b")
    write(tmp_path, "postgresql/core/20250101000000_a.up.json", "[]")
    texts = {problem["path"].split("/")[0]: problem["text"] for problem in problems(tmp_path)["problems"]}
    assert ".json" in texts["etcd"] and ".sql" in texts["postgresql"]


def test_warnings_count_if_validate_is_strict(tmp_path):
    write(tmp_path, "postgresql/core/20250101000000_a.up.sql", "SELECT 1;\n")
    for args in ([], ["--strict"]):
        assert run_bfm("validate", *args, str(tmp_path)).returncode == 0
    write(tmp_path, "postgres/core/20250101000000_a.up.sql", "SELECT 1;\n")
    for args, status in ([], 0), (["--strict"], 1), (["--strict", "--json"], 1):
        result = run_bfm("validate", *args, str(tmp_path))
        assert result.returncode == status and "did you mean postgresql?" in result.stdout
    assert "--strict" in run_bfm("validate", "--help").stdout


def made(result):
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


@pytest.mark.parametrize("backend,folder,extension", [("postgresql", "postgresql", "sql"), ("postgres", "postgresql", "sql"),
                                                      ("mysql", "mysql", "sql"), ("mariadb", "mysql", "sql"),
                                                      ("greptimedb", "greptimedb", "sql")])
def test_new_files_are_migrations_once_they_are_filled(tmp_path, backend, folder, extension):
    up, down = made(run_bfm("new", backend, "core", "add_x", "--schema", "core", "--table", "users", "--path", str(tmp_path)))
    assert re.fullmatch(r"%s/%s/core/\d{14}_add_x\.up\.%s" % (re.escape(str(tmp_path)), folder, extension), up)
    assert down == up.replace(".up.", ".down.")
    assert problems(tmp_path)["errors"] >= 1, "an empty script must not pass"
    for path in (up, down):
        with open(path, encoding="utf-8") as file:
            text = file.read()
        with open(path, "w", encoding="utf-8") as file:
            file.write(text + "SELECT 1;\n")
        assert ("core" in text) == (path == up)
    assert problems(tmp_path)["problems"] == []


def test_new_for_etcd_leaves_the_undo_to_the_server(tmp_path):
    """A down file, even an empty one, would take the place of the values from before."""
    (up,) = made(run_bfm("new", "etcd", "core", "add_x", "--schema", "core", "--table", "users", "--path", str(tmp_path)))
    assert re.fullmatch(r"%s/etcd/core/\d{14}_add_x\.up\.json" % re.escape(str(tmp_path)), up)
    assert os.listdir(os.path.dirname(up)) == [os.path.basename(up)]
    assert problems(tmp_path)["errors"] == 1, "an empty script must not pass"
    with open(up, encoding="utf-8") as file:
        script = json.load(file)
    assert script == {"bfm": {"schema": "core", "table": "users"}, "operations": []}
    with open(up, "w", encoding="utf-8") as file:
        json.dump(dict(script, operations=[{"key": "a", "value": "b"}]), file)
    assert problems(tmp_path)["problems"] == []


def test_new_versions_are_in_the_order_of_the_calls(tmp_path):
    names = [os.path.basename(made(run_bfm("new", "postgresql", "core", name, "--path", str(tmp_path)))[0])
             for name in ("zebra", "monkey", "ape")]
    assert names == sorted(names)


@pytest.mark.parametrize("args", [
    [], ["postgresql"], ["postgresql", "core"], ["postgresql", "core", "a", "b"], ["oracle", "core", "a"],
    ["postgresql", "core", "a/b"], ["postgresql", "../core", "a"], ["postgresql", "Core", "a"], ["postgresql", "core", ""],
    ["postgresql", "core", "x" * 240], ["postgresql", "core", "a", "--schema", "a\n-- bfm-tags: x=y"],
])
def test_new_refuses_what_the_server_could_not_read(tmp_path, args):
    result = run_bfm("new", *args, "--path", str(tmp_path))
    assert result.returncode == 2 and "bfm new --help" in result.stderr
    assert os.listdir(tmp_path) == []


def test_new_says_what_to_do_without_a_tree(tmp_path):
    result = run_bfm("new", "postgresql", "core", "add_x", "--path", str(tmp_path / "missing"))
    assert result.returncode == 1 and result.stdout == ""
    assert result.stderr == "%s: no such folder; make it, or name another tree with --path\n" % (tmp_path / "missing")
    assert os.listdir(tmp_path) == []


def test_version_as_json():
    version = json.loads(run_bfm("version", "--json").stdout)
    assert set(version) == {"version", "build", "libraries"} and "libuv" in version["libraries"]
    assert "MariaDB Connector/C" in version["libraries"] and "libcurl" in version["libraries"]
