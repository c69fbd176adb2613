"""A state database that cannot be had at first, for reasons of its own."""
import os

UP = {"connection": "core", "target": {"connection": "core"}}


def test_a_state_file_whose_folder_appears_later(make_bfm, tree, connection_env, postgres, database, tmp_path):
    tree.write("postgresql/core/core_t_20250101120000_create_t.sql", "CREATE TABLE t (id int);")
    folder = tmp_path / "later"
    env = connection_env("core", postgres, database)
    env["BFM_STATE_DB_PATH"] = str(folder / "state.db")
    bfm = make_bfm(env, tree=tree).start(ready=False)
    bfm.wait_log(lambda line: "cannot be used yet" in line["msg"])
    refused = bfm.client.post("/api/v1/migrations/up", UP)
    assert refused.status == 503 and refused.headers["Retry-After"], refused
    os.mkdir(folder)
    bfm.wait_healthy(20)
    assert bfm.client.post("/api/v1/migrations/up", UP).json["success"] is True
