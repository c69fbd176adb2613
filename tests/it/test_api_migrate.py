"""POST /api/v1/migrate, the brief's own route: bfm-api.md §4.4."""
import pytest
from api_helpers import (TENANT, USERS_BRIEF, core, expect, expect_error, migrate, tables, write_core,  # noqa: F401
                         write_tenants)

ORDERS_BRIEF = "core_orders_20250102120000_create_orders"


def test_the_brief_request(core, postgres, database):
    body = {"target": {"backend": "postgresql", "schema": "core", "tables": [], "version": "", "connection": "core"},
            "connection": "core", "schema": "core", "environment": "", "dry_run": False}
    answer = core.client.post("/api/v1/migrate", body)
    expect(answer, 200, applied=[USERS_BRIEF, ORDERS_BRIEF])
    assert tables(postgres, database, "core") == ["orders", "users"]
    expect(core.client.post("/api/v1/migrate", body), 200, skipped=[USERS_BRIEF, ORDERS_BRIEF])


def test_without_a_schema_the_declared_one_counts(core):
    expect(migrate(core.client), 200, applied=[USERS_BRIEF, ORDERS_BRIEF])


@pytest.mark.parametrize("fields, schema", [
    ({"schema": "a", "schema_name": "b", "environment": "c"}, "a"),
    ({"schema": "", "schema_name": "b", "environment": "c"}, "b"),
    ({"schema_name": "", "environment": "c"}, "cli_c"),
])
def test_which_schema_is_meant(core, postgres, database, fields, schema):
    expect(migrate(core.client, "tenants", **fields), 200, applied=["%s_%s" % (schema, TENANT)])
    assert tables(postgres, database, schema) == ["items"]


def test_in_another_schema_the_long_id_is_used(core):
    answer = migrate(core.client, target={"tables": ["users"]}, schema="other")
    expect(answer, 200, applied=["other_20250101120000_create_users_postgresql_core"])


def test_no_schema_for_a_dynamic_migration(core):
    expect(migrate(core.client, "tenants"), 206,
           errors=["migration 20250103120000_create_items has dynamic schema but no schema provided in request"])


def test_dry_run(core, postgres, database):
    expect(migrate(core.client, dry_run=True), 200,
           applied=[USERS_BRIEF + " (dry-run)", ORDERS_BRIEF + " (dry-run)"])
    assert tables(postgres, database, "core") == []


def test_missing_fields_are_400(core):
    expect_error(core.client.post("/api/v1/migrate", {"target": {}}), 400, 'field "connection" is required')
    expect_error(core.client.post("/api/v1/migrate", {"connection": "core"}), 400, 'field "target" is required')
    expect_error(core.client.post("/api/v1/migrate", {"connection": "core", "target": None}), 400,
                 'field "target" is required')
    expect_error(migrate(core.client, schema=1), 400, 'field "schema" must be a string')
    expect_error(migrate(core.client, schema="x" * 64), 400)
    expect_error(migrate(core.client, environment="x" * 60), 400)
    expect_error(migrate(core.client, target={"tags": ["bad"]}), 400)
    expect_error(migrate(core.client, target={"connection": "tenants"}), 400)


def test_an_unknown_connection(core, tree):
    """206 when nothing is selected, 500 when something is."""
    expect(migrate(core.client, "nowhere"), 206, errors=["connection nowhere not found"])
    tree.write("postgresql/nowhere/20250101000000_x.up.sql", "SELECT 1;")
    core.client.post("/api/v1/migrations/reindex")
    expect_error(migrate(core.client, "nowhere"), 500, "connection nowhere not found")
    expect(migrate(core.client, "nowhere", target={"version": "19990101000000"}), 206,
           errors=["connection nowhere not found"])


def test_a_failing_script_is_206(core, tree):
    tree.write("postgresql/core/core_bad_20250104120000_bad.sql", "SELECT nonsense;")
    core.client.post("/api/v1/migrations/reindex")
    answer = migrate(core.client)
    assert answer.status == 206
    assert answer.json["errors"][0].startswith("core_bad_20250104120000_bad: ")


def test_what_stops_the_whole_pass_is_500(core, tree):
    tree.write("postgresql/core/20250104120000_x.up.sql", "-- bfm-schema: core\n-- bfm-depends: nobody\nSELECT 1;")
    core.client.post("/api/v1/migrations/reindex")
    assert "nobody" in expect_error(migrate(core.client), 500)


def test_an_unreachable_target_is_500(start_bfm, tree, postgres, database, connection_env):
    write_core(tree)
    bfm = start_bfm(connection_env("core", postgres, database, DB_PORT="1"), tree=tree)
    answer = migrate(bfm.client)
    expect_error(answer, 500)
    assert postgres.password not in answer.text and "127.0.0.1" not in answer.text
