"""How the server ends: cleanly, with everything recorded, whatever it was doing."""
import os
import signal
import socket
import threading
import time

from harness.processes import wait_until

VERSION = "20250101120000"


def slow(tree, seconds, name="slow"):
    tree.write("postgresql/core/core_t_%s_%s.sql" % (VERSION, name),
               "CREATE TABLE t (id int);\nSELECT pg_sleep(%g);\n" % seconds)


def request_in_background(bfm, answers, path="/api/v1/migrations/up", schemas=()):
    def run():
        try:
            answers.append(bfm.client.post(path, {"connection": "core", "target": {"connection": "core"},
                                                  "schemas": list(schemas)}))
        except OSError as error:
            answers.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def sleeping(postgres, database):
    return postgres.query("postgres", "SELECT pid FROM pg_stat_activity WHERE datname = %s AND state = 'active' "
                          "AND wait_event = 'PgSleep'", (database,))


def test_idle_server_ends_at_once(start_bfm):
    for signum in (signal.SIGTERM, signal.SIGINT):
        bfm = start_bfm()
        begin = time.monotonic()
        bfm.signal(signum)
        assert bfm.wait_exit(20) == 0, bfm.describe()
        assert time.monotonic() - begin < 20  # BFM_SHUTDOWN_TIMEOUT is 30 s
        bfm.check_output()
        assert bfm.log()[-1]["msg"] == "stopped"


def test_idle_connections_do_not_hold_it_up(start_bfm):
    bfm = start_bfm()
    sockets = [socket.create_connection(("127.0.0.1", bfm.port)) for _ in range(20)]
    keep = bfm.client.raw()
    keep.send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    assert keep.read_response().status == 200
    begin = time.monotonic()
    bfm.stop()
    assert time.monotonic() - begin < 20  # BFM_SHUTDOWN_TIMEOUT is 30 s
    assert keep.read_to_end() == b""
    for sock in sockets:
        sock.close()


def test_it_ends_while_everything_is_away(make_bfm, connection_env, state_env, postgres, database):
    class Nowhere:
        host, port = "127.0.0.1", 1

    env = connection_env("core", Nowhere, database)
    env.update(state_env(Nowhere, database))
    bfm = make_bfm(env).start(ready=False)
    bfm.wait_log(lambda line: "cannot be used" in line["msg"])
    assert bfm.client.get("/health").status == 503
    bfm.stop()


def test_it_ends_while_it_starts(make_bfm):
    bfm = make_bfm()
    bfm.start(ready=False)
    bfm.stop()


def test_a_running_migration_is_finished_and_recorded(start_bfm, tree, connection_env, postgres, database):
    slow(tree, 4)
    bfm = start_bfm(connection_env("core", postgres, database), tree=tree)
    answers = []
    thread = request_in_background(bfm, answers)
    wait_until(lambda: sleeping(postgres, database), what="the migration to run")
    bfm.signal(signal.SIGTERM)
    assert bfm.wait_exit(30) == 0, bfm.describe()
    thread.join(10)
    bfm.check_output()
    assert answers[0].status == 200, answers
    assert answers[0].json["applied"] == [VERSION + "_slow_postgresql_core"]
    assert postgres.query(database, "SELECT count(*) FROM core.t") == [(0,)]
    # The outcome is there for the next server: nothing is run again.
    bfm.start()
    answer = bfm.client.post("/api/v1/migrations/up", {"connection": "core", "target": {"connection": "core"}})
    assert answer.json["applied"] == [] and len(answer.json["skipped"]) == 1, answer
    detail = bfm.client.get("/api/v1/migrations/%s_slow_postgresql_core/status" % VERSION)
    assert detail.json["status"] == "applied"


def test_a_run_whose_client_went_away_is_finished(start_bfm, tree, connection_env, postgres, database):
    slow(tree, 4)
    bfm = start_bfm(connection_env("core", postgres, database), tree=tree)
    body = '{"connection":"core","target":{"connection":"core"}}'
    with bfm.client.raw() as client:
        client.send("POST /api/v1/migrations/up HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"
                    "Content-Length: %d\r\n\r\n%s" % (bfm.client.token, len(body), body))
        wait_until(lambda: sleeping(postgres, database), what="the migration to run")
    bfm.stop()
    assert postgres.query(database, "SELECT count(*) FROM core.t") == [(0,)]
    bfm.start()
    assert bfm.client.get("/api/v1/migrations/%s_slow_postgresql_core/applied" % VERSION).json == {"applied": True}


def test_lanes_stop_behind_their_step(start_bfm, tree, connection_env, postgres, database):
    slow(tree, 4)
    tree.write("postgresql/core/core_u_20250102120000_second.sql", "CREATE TABLE u (id int);")
    bfm = start_bfm(connection_env("core", postgres, database), tree=tree)
    answers = []
    thread = request_in_background(bfm, answers)
    wait_until(lambda: sleeping(postgres, database), what="the migration to run")
    bfm.signal(signal.SIGTERM)
    assert bfm.wait_exit(30) == 0, bfm.describe()
    thread.join(10)
    bfm.check_output()
    assert postgres.query(database, "SELECT to_regclass('core.t') IS NOT NULL, to_regclass('core.u') IS NULL") == [
        (True, True)]


def test_no_new_connections_while_it_ends(start_bfm, tree, connection_env, postgres, database):
    slow(tree, 4)
    bfm = start_bfm(connection_env("core", postgres, database), tree=tree)
    answers = []
    thread = request_in_background(bfm, answers)
    wait_until(lambda: sleeping(postgres, database), what="the migration to run")
    bfm.signal(signal.SIGTERM)
    bfm.wait_log(lambda line: line["msg"] == "signal received")

    def refused():
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", bfm.port)) != 0

    wait_until(refused, what="the port to be closed")
    assert bfm.wait_exit(30) == 0, bfm.describe()
    thread.join(10)


def check_cancelled(bfm, tree, postgres, database, answers, thread):
    thread.join(10)
    bfm.check_output()
    assert bfm.log()[-1]["msg"] == "stopped"
    assert not sleeping(postgres, database)
    # The statement was cancelled, so nothing of the script is there, and that is what was recorded.
    assert postgres.query(database, "SELECT to_regclass('core.t')") == [(None,)]
    slow(tree, 0)
    bfm.start()
    status = bfm.client.get("/api/v1/migrations/%s_slow_postgresql_core/status" % VERSION).json
    assert status["applied"] is False and status["status"] in ("failed", "pending"), status
    answer = bfm.client.post("/api/v1/migrations/up", {"connection": "core", "target": {"connection": "core"}})
    assert len(answer.json["applied"]) == 1, answer


def test_a_second_signal_cancels_what_runs(start_bfm, tree, connection_env, postgres, database):
    slow(tree, 600)
    bfm = start_bfm(connection_env("core", postgres, database), tree=tree)
    answers = []
    thread = request_in_background(bfm, answers)
    wait_until(lambda: sleeping(postgres, database), what="the migration to run")
    bfm.signal(signal.SIGTERM)
    bfm.wait_log(lambda line: line["msg"] == "signal received")
    assert bfm.is_running()
    bfm.signal(signal.SIGTERM)
    assert bfm.wait_exit(30) == 0, bfm.describe()
    check_cancelled(bfm, tree, postgres, database, answers, thread)


def test_the_timeout_cancels_what_runs(start_bfm, tree, connection_env, postgres, database):
    slow(tree, 600)
    env = connection_env("core", postgres, database)
    env["BFM_SHUTDOWN_TIMEOUT"] = "500ms"
    bfm = start_bfm(env, tree=tree)
    answers = []
    thread = request_in_background(bfm, answers)
    wait_until(lambda: sleeping(postgres, database), what="the migration to run")
    bfm.signal(signal.SIGTERM)
    assert bfm.wait_exit(30) == 0, bfm.describe()
    assert any("takes too long" in line["msg"] for line in bfm.log())
    check_cancelled(bfm, tree, postgres, database, answers, thread)


def test_half_a_request_does_not_hold_it_up_for_long(start_bfm):
    bfm = start_bfm({"BFM_SHUTDOWN_TIMEOUT": "300ms"})
    with bfm.client.raw() as half:
        half.send("POST /api/v1/migrate HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        assert bfm.client.get("/health").status == 200  # it was read by now
        begin = time.monotonic()
        bfm.stop()
        assert time.monotonic() - begin < 20  # a request may take 30 s


def test_targets_that_do_not_answer(start_bfm, tree, connection_env, private_postgres):
    """A run and comparisons wait for a connection to a target that is frozen: all are given up."""
    slow(tree, 0)
    database = private_postgres.create_database()
    env = connection_env("core", private_postgres, database)
    env["BFM_SHUTDOWN_TIMEOUT"] = "300ms"
    private_postgres.pause()
    bfm = start_bfm(env, tree=tree)
    answers = []
    threads = [request_in_background(bfm, answers), request_in_background(bfm, answers, "/api/v1/reconcile")]
    bfm.wait_log(lambda line: line["msg"] == "run started")
    bfm.signal(signal.SIGTERM)
    assert bfm.wait_exit(60) == 0, bfm.describe()
    bfm.check_output()
    for thread in threads:
        thread.join(10)
    private_postgres.resume()
    assert private_postgres.query(database, "SELECT to_regclass('core.t')") == [(None,)]


def test_a_state_that_does_not_answer(start_bfm, tree, private_postgres, state_env):
    """Nobody can be told goodbye: the server does not wait long for that."""
    state = private_postgres.create_database()
    bfm = start_bfm({**state_env(private_postgres, state), "BFM_SHUTDOWN_TIMEOUT": "300ms"}, tree=tree)
    wait_until(lambda: private_postgres.query(state, "SELECT count(*) FROM bfm_servers")[0][0] == 1, what="a beat")
    private_postgres.pause()
    bfm.signal(signal.SIGTERM)
    assert bfm.wait_exit(60) == 0, bfm.describe()
    bfm.check_output()


def test_a_target_that_freezes_in_the_middle_of_a_statement(start_bfm, tree, connection_env, private_postgres):
    """The cancel is taken and nothing is said, so nobody knows what became of the statement: the end is forced and
    says so, and the journal tells the next server."""
    slow(tree, 2)
    database = private_postgres.create_database()
    env = connection_env("core", private_postgres, database)
    env["BFM_SHUTDOWN_TIMEOUT"] = "300ms"
    bfm = start_bfm(env, tree=tree)
    answers = []
    thread = request_in_background(bfm, answers)
    wait_until(lambda: sleeping(private_postgres, database), what="the migration to run")
    private_postgres.pause()
    bfm.signal(signal.SIGTERM)
    assert bfm.wait_exit(60) == 1, bfm.describe()
    thread.join(10)
    bfm.check_output()
    assert bfm.log()[-1]["msg"] == "given up: something does not end" and bfm.log()[-1]["runs"] == 1
    private_postgres.resume()
    bfm.start()
    answer = bfm.client.post("/api/v1/migrations/up", {"connection": "core", "target": {"connection": "core"}})
    assert answer.status == 200 and len(answer.json["applied"] + answer.json["skipped"]) == 1, answer
    assert private_postgres.query(database, "SELECT count(*) FROM core.t") == [(0,)]


def test_any_moment_of_a_large_run(start_bfm, tree, connection_env, postgres, database):
    """Ended again and again: every schema is either done and recorded, or not touched; nothing runs twice."""
    tree.write("postgresql/tenants/20250101120000_t.up.sql",
               "CREATE TABLE t (id int);\nINSERT INTO public.trace VALUES ('{{.Schema}}');\n")
    postgres.query(database, "CREATE TABLE trace (name text)")
    schemas = ["s%d" % number for number in range(120)]
    bfm = start_bfm(connection_env("tenants", postgres, database), tree=tree)
    body = {"connection": "tenants", "target": {"connection": "tenants"}, "schemas": schemas}
    for end_after in (1, 30, 60, 90):
        answers = []
        thread = threading.Thread(target=lambda: answers.append(bfm.client.post("/api/v1/migrations/up", body)),
                                  daemon=True)
        thread.start()
        wait_until(lambda: postgres.query(database, "SELECT count(*) FROM trace")[0][0] >= end_after or answers,
                   what="%d schemas" % end_after)
        bfm.stop()
        thread.join(10)
        assert answers[0].status in (200, 206, 503), answers
        done = set(row[0] for row in postgres.query(database, "SELECT schema_name FROM bfm.journal"))
        bfm.start()
        recorded = bfm.client.get("/api/v1/migrations/20250101120000_t_postgresql_tenants/executions").json["executions"]
        assert set(row["schema"] for row in recorded if row["applied"]) == done
    answer = bfm.client.post("/api/v1/migrations/up", body)
    assert answer.status == 200, answer
    assert sorted(row[0] for row in postgres.query(database, "SELECT name FROM trace")) == sorted(schemas)


def test_a_log_nobody_reads_does_not_hold_it_up(make_bfm):
    """stdout is a pipe that is full: requests are answered, and the end is not waited for."""
    bfm = make_bfm()
    read_end, write_end = os.pipe()
    try:
        bfm.start_with_stdout(write_end)
        os.close(write_end)
        for _ in range(2000):
            assert bfm.client.get("/api/v1/migrations").status in (200, 503)
        bfm.signal(signal.SIGTERM)
        assert bfm.wait_exit(30) == 0
    finally:
        os.close(read_end)
