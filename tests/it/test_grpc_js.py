"""Every method of the gRPC API by @grpc/grpc-js, which most clients in the field are made with."""
import json
import os
import pathlib
import subprocess

from api_helpers import core  # noqa: F401
from grpc_helpers import PROTO

CLIENT = pathlib.Path(__file__).with_name("grpc_client.mjs")
PACKAGES = ["@grpc/grpc-js@1.14.7", "@grpc/proto-loader@0.8.1"]


def install(folder):
    subprocess.run(["npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--no-update-notifier",
                    "--ignore-scripts", *PACKAGES], cwd=folder, check=True, stdout=subprocess.DEVNULL, timeout=300)
    (folder / "client.mjs").write_text(CLIENT.read_text(encoding="utf-8"), encoding="utf-8")


def test_every_method(core, tmp_path):
    install(tmp_path)
    done = subprocess.run(["node", "client.mjs", str(PROTO), "127.0.0.1:" + core.env["BFM_GRPC_PORT"],
                           core.env["BFM_API_TOKEN"]], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=300, check=False, env={**os.environ, "NO_COLOR": "1"})
    assert done.returncode == 0, done.stderr
    got = json.loads(done.stdout)
    assert got["Health"]["status"] == "healthy" and got["Health"]["checks"]["executor"] == "ok"
    assert [m["status"] for m in got["StreamMigrate"]] == ["running", "success"] * 2
    assert got["Migrate"]["success"] and len(got["Migrate"]["skipped"]) == 2
    assert got["MigrateUp"]["applied"] == ["a_20250103120000_create_items_postgresql_tenants"]
    assert [item["applied"] for item in got["ListMigrations"]["items"]] == [True, True]
    assert got["GetMigration"]["table"] == "users" and got["GetMigrationStatus"]["status"] == "applied"
    assert got["IsMigrationApplied"]["applied"] and len(got["GetMigrationHistory"]["history"]) == 2
    assert len(got["ListExecutions"]["executions"]) == 1 and len(got["ListRuns"]["runs"]) == 1
    assert got["GetRun"]["run"]["status"] == "succeeded"
    assert got["WatchRun"][-1]["event"] == "run_ended" and got["CancelRun"] == {"canceling": False, "status": "succeeded"}
    assert got["ReindexMigrations"]["total"] == 3
    assert got["MigrateDown"]["success"] and got["RollbackMigration"]["success"]
    assert got["RetryRun"]["code"] == "FAILED_PRECONDITION" and got["unknown"]["code"] == "NOT_FOUND"
    assert got["wrong"]["code"] == got["missing"]["code"] == "UNAUTHENTICATED"
    assert got["many"] == 1000
    assert got["again"]["answer"] == got["key"]["answer"] and got["key"]["answer"]["applied"]
    assert got["again"]["metadata"]["idempotency-replayed"] == "true" and "idempotency-replayed" not in got["key"]["metadata"]
    assert got["WatchEvents"][-1]["event"] == "run_ended" and got["WatchEvents"][-1]["id"]
    assert [lane["steps"][0]["action"] for lane in got["PlanMigrations"]["schemas"]] == ["skip", "run"]
    assert got["ListTenants"]["schemas"] == 2 and got["CheckGate"]["pass"]
    assert sorted(row["connection"] for row in got["Reconcile"]["targets"]) == ["core", "tenants"]
    assert got["ResolveMigration"]["code"] == "NOT_FOUND"
    assert len(got["page"]["items"]) == 1 and len(got["rest"]["items"]) == 2 and not got["rest"]["next_cursor"]
    assert set(got["methods"]) <= set(got)
