"""Configuration, seen from outside: everything wrong is named at once, nothing secret is shown."""
import json
import os
import re
import socket

import pytest

from harness.server import TOP, run_bfm

GOOD = {"BFM_API_TOKEN": "canary-token-1", "BFM_STATE_BACKEND": "sqlite", "BFM_STATE_DB_PATH": "/nonexistent/state.db"}


def check(env=None, *args, **kwargs):
    full = dict(GOOD)
    full.update(env or {})
    return run_bfm("serve", "--check", *args, env=full, **kwargs)


def errors(result):
    """The lines of stderr that are not warnings."""
    return [line for line in result.stderr.splitlines() if not line.startswith("warning: ")]


def names(result):
    """The variables that are wrong, a line each."""
    return [line.split(":")[0] for line in errors(result)]


def test_everything_wrong_is_named_at_once(tmp_path):
    env = {
        "BFM_HTTP_PORT": "canary-port", "BFM_STATE_BACKEND": "oracle", "BFM_SFM_PATH": str(tmp_path / "missing"),
        "BFM_FRONTEND_PATH": str(tmp_path / "missing"), "CORE_BACKEND": "postgresql", "CORE_DB_HOST": "h",
        "CORE_DB_PASSWORD": "canary-password", "CORE_DB_PORT": "canary-port", "CORE_SSLMODE": "canary-mode",
        "BFM_LOCK_WAIT": "canary-wait",
    }
    for args in (["serve"], ["serve", "--check"]):
        result = run_bfm(*args, env=env)
        assert result.returncode == 1
        assert sorted(names(result)) == sorted([
            "BFM_HTTP_PORT", "BFM_STATE_BACKEND", "BFM_SFM_PATH", "BFM_FRONTEND_PATH",
            "CORE_DB_PORT", "CORE_SSLMODE", "BFM_LOCK_WAIT", "BFM_API_TOKEN"])
        assert "canary" not in result.stdout + result.stderr
        assert all(": expected " in line for line in errors(result))


def test_check_shows_a_summary_without_secrets(tmp_path):
    result = check({"CORE_BACKEND": "postgres", "CORE_DB_HOST": "db.example", "CORE_DB_PASSWORD": "canary-password",
                    "CORE_DB_NAME": "app", "BFM_SFM_PATH": str(tmp_path), "CELERY_RESULT_BACKEND": "redis://canary@x"})
    assert result.returncode == 0, result.stderr
    assert "core: postgresql at db.example:5432, database app" in result.stdout
    assert str(tmp_path) in result.stdout
    assert "warning: CELERY_RESULT_BACKEND" in result.stdout
    assert "canary" not in result.stdout + result.stderr
    assert not os.path.exists("/nonexistent/state.db")


def test_secrets_from_files(tmp_path):
    secret = tmp_path / "token"
    secret.write_text("canary-token-2\n")
    assert check({"BFM_API_TOKEN": "", "BFM_API_TOKEN_FILE": str(secret)}).returncode == 0
    both = check({"BFM_API_TOKEN_FILE": str(secret)})
    assert both.returncode == 1
    assert names(both) == ["BFM_API_TOKEN"]
    assert "BFM_API_TOKEN_FILE" in both.stderr
    missing = check({"BFM_API_TOKEN": "", "BFM_API_TOKEN_FILE": str(tmp_path / "none")})
    assert missing.returncode == 1
    assert "BFM_API_TOKEN_FILE" in names(missing)


def test_env_file(tmp_path):
    file = tmp_path / "env"
    file.write_text("# BfM\nexport BFM_API_TOKEN='canary token'\nBFM_STATE_BACKEND=sqlite # inline\n\n"
                    'BFM_HTTP_PORT=7001\nCORE_BACKEND="postgresql"\nCORE_DB_HOST="from\\\\file"\n')
    result = run_bfm("serve", "--check", "--env-file", str(file), env={"BFM_HTTP_PORT": "7002"})
    assert result.returncode == 0, result.stderr
    assert "port 7002" in result.stdout  # the environment wins
    assert "core: postgresql at from\\file:5432" in result.stdout


def test_env_file_problems_have_their_line(tmp_path):
    file = tmp_path / "env"
    file.write_text("BFM_API_TOKEN=x\nnot a variable\nBFM_HTTP_PORT='1\n")
    result = check(None, "--env-file", str(file))
    assert result.returncode == 1
    assert "%s:2: " % file in result.stderr
    assert "%s:3: " % file in result.stderr
    assert check(None, "--env-file", str(tmp_path / "none")).returncode == 1


def test_env_file_that_cannot_be_read_is_the_only_complaint(tmp_path):
    missing = tmp_path / "none"
    result = run_bfm("serve", "--check", "--env-file", str(missing))
    assert result.returncode == 1
    assert result.stderr.splitlines() == ["%s: expected a readable env file (No such file or directory)" % missing]
    assert check(None, "--env-file=%s" % tmp_path).returncode == 1


def test_misspelt_names_are_warned_about():
    result = check({"BFM_LOG_LEVL": "debug", "SHOP_BACKEND": "postgresql", "SHOP_DB_HOST": "h",
                    "SHOP_LOCK_TIMEOOT": "canary"})
    assert result.returncode == 0, result.stderr
    assert "warning: BFM_LOG_LEVL: not a variable of BfM; did you mean BFM_LOG_LEVEL?" in result.stdout
    assert "warning: SHOP_LOCK_TIMEOOT: " in result.stdout and "did you mean SHOP_LOCK_TIMEOUT?" in result.stdout
    assert "canary" not in result.stdout
    needed = run_bfm("serve", env={"BFM_API_TOKN": "canary", "BFM_STATE_BACKEND": "sqlite"})
    assert needed.returncode == 1
    assert "warning: BFM_API_TOKN: not a variable of BfM; did you mean BFM_API_TOKEN?" in needed.stderr
    assert "canary" not in needed.stderr


def test_every_variable_of_the_readme_is_known():
    with open(os.path.join(TOP, "README.md"), encoding="utf-8") as file:
        documented = set(re.findall(r"`(BFM_[A-Z_]+)`", file.read()))
    assert len(documented) > 20
    result = run_bfm("serve", "--check", env={name: "?" for name in documented})
    assert "not a variable of BfM" not in result.stderr + result.stdout


def test_state_file_that_cannot_be_opened_is_named(start_bfm, tmp_path):
    path = str(tmp_path / "missing" / "state.db")
    result = check({"BFM_STATE_DB_PATH": path})
    assert "warning: BFM_STATE_DB_PATH: %s cannot be opened (No such file or directory)" % path in result.stdout
    bfm = start_bfm({"BFM_STATE_DB_PATH": path}, ready=False)
    line = bfm.wait_log(lambda line: line["msg"] == "state database cannot be used yet")
    assert line["file"] == path
    for route in ("/health", "/api/v1/migrations"):
        answer = bfm.client.get(route)
        assert answer.status != 200
        assert path not in json.dumps(answer.json)


def test_names_that_may_be_meant_otherwise_are_in_the_log(start_bfm, tmp_path):
    folder = tmp_path / "postgresql" / "core"
    folder.mkdir(parents=True)
    for name in ("core_users_20250101120000_take_down.sql", "zz_notes.sql", "add_users.sql", "README.md"):
        (folder / name).write_text("SELECT 1;")
    bfm = start_bfm({"BFM_SFM_PATH": str(tmp_path)})
    doubt = bfm.wait_log(lambda line: line["msg"] == "file may be misnamed")
    assert doubt["file"] == "postgresql/core/core_users_20250101120000_take_down.sql"
    assert "core_users_20250101120000_take.sql does not exist" in doubt["warning"]
    strays = bfm.wait_log(lambda line: line["msg"].startswith("files are not named like migrations"))
    assert strays["count"] == 2
    assert strays["first"] == "postgresql/core/add_users.sql"
    (folder / "more.sql").write_text("SELECT 1;")
    assert bfm.client.post("/api/v1/migrations/reindex").status == 200
    bfm.wait_log(lambda line: line["msg"].startswith("files are not named like migrations") and line["count"] == 3)


def test_a_folder_of_no_backend_is_in_the_log(start_bfm, tmp_path):
    for folder in ("postgresql", "postgres"):
        (tmp_path / folder / "core").mkdir(parents=True)
        (tmp_path / folder / "core" / "20250101000000_a.up.sql").write_text("SELECT 1;")
    bfm = start_bfm({"BFM_SFM_PATH": str(tmp_path)})
    line = bfm.wait_log(lambda line: line["msg"] == "nothing is read here")
    assert line["level"] == "warn" and line["path"] == "postgres"
    assert line["warning"].endswith("did you mean postgresql?")


@pytest.mark.parametrize("args", [["--help"], ["-h"], ["serve", "--help"], ["version", "--help"], ["--version"],
                                  ["version"]])
def test_what_is_asked_for_is_on_stdout(args):
    result = run_bfm(*args)
    assert result.returncode == 0
    assert result.stderr == ""
    assert result.stdout


def test_version_names_the_libraries():
    text = run_bfm("version").stdout
    assert re.match(r"bfm \d+\.\d+\.\d+\n", text)
    for library in ("libuv", "libpq", "SQLite", "cJSON", "llhttp", "libpg_query"):
        assert re.search(re.escape(library) + r"[^,]* \d+\.\d+", text), text


@pytest.mark.parametrize("args", [[], ["frobnicate"], ["--frobnicate"], ["serv"], ["serve", "--frob"], ["serve", "x"],
                                  ["serve", "--env-file"], ["version", "-x"], ["validate", "a", "b"], ["validate", "--frob"], ["new"], [""]])
def test_wrong_usage_is_status_2_with_a_hint(args):
    result = run_bfm(*args)
    assert result.returncode == 2
    assert result.stdout == ""
    assert "--help" in result.stderr
    if args and args[-1]:
        assert args[-1] in result.stderr


def test_guessed_command_is_in_the_hint():
    assert "Did you mean: bfm serve" in run_bfm("serv").stderr


def test_the_port_is_taken(make_bfm):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        bfm = make_bfm({"BFM_HTTP_PORT": str(port)})
        result = run_bfm("serve", env=bfm.env, cwd=bfm.folder)
    assert result.returncode == 1
    assert "port %d" % port in result.stderr
    assert "Sanitizer" not in result.stderr


def test_warnings_are_in_the_log(start_bfm):
    bfm = start_bfm({"BFM_QUEUE_ENABLED": "true", "GDK_BACKEND": "x11"})
    warnings = [line["warning"] for line in bfm.log() if line["msg"] == "configuration"]
    assert sorted(line.split(":")[0] for line in warnings) == ["BFM_QUEUE_ENABLED", "GDK_BACKEND"]


def test_text_log(start_bfm):
    bfm = start_bfm({"BFM_LOG_FORMAT": "text", "BFM_LOG_LEVEL": "info"})
    bfm.stop()
    lines = bfm.stdout.splitlines()
    assert lines
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ (info|warn|error) +\S", line) for line in lines)
