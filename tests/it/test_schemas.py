"""Names that reach SQL: schemas of any spelling, {{.Schema}} in every place (DESIGN.md §5, bfm-api.md §3.2, §6.1)."""
import pytest
from api_helpers import up
from once_helpers import step_id, step_path

HOSTILE = ['quo"te', "apo'strophe", 'a"; DROP SCHEMA public CASCADE; --', "with blank", " led", "UPPER", "select",
           "Ünïcödé", "日本", "x" * 63, "ä" * 31 + "x", "back\\slash", "$$", "$1", "a.b", "a,b", "../up", "%s", "{{x}}",
           "new\nline", "tab\there", "-- comment", "/* open", "pg", "1digit", "emoji🙂"]


def schemas_of(postgres, database):
    return {row[0] for row in postgres.query(database, "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' "
                                             "AND nspname NOT IN ('information_schema', 'public', 'bfm')")}


@pytest.fixture
def start(start_bfm, tree, postgres, database, connection_env):
    def begin(**extra):
        return start_bfm(connection_env("tenants", postgres, database, **extra), tree=tree)

    return begin


def test_hostile_names_are_only_names(start, tree, postgres, database):
    """All of them in one request; each is a schema of exactly this name, with its own table and its own row."""
    tree.write(step_path(1), "CREATE TABLE seen AS SELECT '{{.Schema}}'::text AS rendered, current_schema() AS really;")
    bfm = start()
    answer = up(bfm.client, "tenants", schemas=HOSTILE)
    assert answer.status == 200, answer
    assert answer.json["applied"] == ["%s_%s" % (schema, step_id(1)) for schema in HOSTILE]
    assert schemas_of(postgres, database) == set(HOSTILE)
    for schema in HOSTILE:
        quoted = '"%s"' % schema.replace('"', '""')
        rows = postgres.query(database, "SELECT rendered, really FROM %s.seen" % quoted.replace("%", "%%"), ())
        assert rows == [(schema, schema)]
    recorded = bfm.client.get("/api/v1/migrations/%s/executions" % step_id(1)).json["executions"]
    assert {row["schema"] for row in recorded} == set(HOSTILE)
    assert {row[0] for row in postgres.query(database, "SELECT schema_name FROM bfm.journal")} == set(HOSTILE)
    assert len(up(bfm.client, "tenants", schemas=HOSTILE).json["skipped"]) == len(HOSTILE)


@pytest.mark.parametrize("schema", ["x" * 64, "ä" * 32, "nul\0byte", "pg_catalog", "pg_mine"])
def test_names_that_cannot_be_schemas(start, tree, postgres, database, schema):
    tree.write(step_path(1), "CREATE TABLE t1 (id int);")
    bfm = start()
    answer = up(bfm.client, "tenants", schemas=["good", schema])
    assert answer.status in (400, 206), answer
    if answer.status == 400:
        assert answer.json["error"]
        assert schemas_of(postgres, database) == set()
    else:
        assert answer.json["applied"] == ["good_" + step_id(1)] and len(answer.json["errors"]) == 1, answer
        assert schemas_of(postgres, database) == {"good"}


RENDERED = """
CREATE TABLE {{.Schema}}.plain (id int);
CREATE TABLE "{{.Schema}}".quoted (id int);
CREATE TABLE {{ .schema }} . spaced (id int);
CREATE TABLE words (text text DEFAULT 'it is {{.Schema}}', other text DEFAULT E'\\t{{.Schema}}');
INSERT INTO words VALUES (DEFAULT, DEFAULT);
CREATE TABLE facts AS SELECT '{{.Connection}}' AS c, '{{.Backend}}' AS b, '{{.Version}}' AS v,
    '{{1,2},{3,4}}'::int[] AS a;
CREATE FUNCTION told() RETURNS text LANGUAGE sql AS $$ SELECT '{{.Schema}}'::text $$;
CREATE FUNCTION counted() RETURNS bigint LANGUAGE plpgsql AS $body$
BEGIN
    RETURN (SELECT count(*) FROM {{.Schema}}.words); -- of {{.Schema}}
END $body$;
COMMENT ON TABLE words IS 'words of {{.Schema}}'; /* {{.Schema}} */
"""


@pytest.mark.parametrize("schema", ["plain_1", 'quo"te', "apo'strophe", "back\\slash", "UPPER", "with blank", "ünï"])
def test_the_schema_in_every_place(start, tree, postgres, database, schema):
    tree.write(step_path(1), RENDERED)
    bfm = start()
    answer = up(bfm.client, "tenants", schemas=[schema])
    assert answer.status == 200, answer
    quoted = '"%s"' % schema.replace('"', '""')
    tables = postgres.query(database, "SELECT tablename FROM pg_tables WHERE schemaname = %s ORDER BY 1", (schema,))
    assert [row[0] for row in tables] == ["facts", "plain", "quoted", "spaced", "words"]
    assert postgres.query(database, "SELECT * FROM %s.words" % quoted) == [("it is " + schema, "\t" + schema)]
    assert postgres.query(database, "SELECT * FROM %s.facts" % quoted) == [
        ("tenants", "postgresql", "20250101000000", [[1, 2], [3, 4]])]
    assert postgres.query(database, "SELECT %s.told(), %s.counted()" % (quoted, quoted)) == [(schema, 1)]
    comment = postgres.query(database, "SELECT obj_description('%s.words'::regclass)" % quoted.replace("'", "''"))
    assert comment == [("words of " + schema,)]


def test_part_of_a_word(start, tree, postgres, database):
    """Fine where it stays one word, refused with its place where quotes would change the meaning."""
    tree.write(step_path(1), "CREATE TABLE t1 (id int);\nCREATE INDEX idx_{{.Schema}} ON t1 (id);")
    bfm = start()
    answer = up(bfm.client, "tenants", schemas=["good_1", "Bad", "also bad", 'b"'])
    assert answer.status == 206 and answer.json["applied"] == ["good_1_" + step_id(1)], answer
    assert len(answer.json["errors"]) == 3
    for schema, error in zip(["Bad", "also bad", 'b"'], answer.json["errors"]):
        assert error.startswith("%s_%s: " % (schema, step_id(1))) and ":2" in error, error
    assert schemas_of(postgres, database) == {"good_1"}
    assert postgres.query(database, "SELECT to_regclass('good_1.idx_good_1') IS NOT NULL") == [(True,)]


def test_schemas_are_not_created_when_that_is_off(start, tree, postgres, database):
    tree.write(step_path(1), "CREATE TABLE t1 (id int);")
    postgres.query(database, 'CREATE SCHEMA "there"')
    bfm = start(CREATE_SCHEMA="off")
    answer = up(bfm.client, "tenants", schemas=["there", "missing"])
    assert answer.status == 206 and answer.json["applied"] == ["there_" + step_id(1)], answer
    assert len(answer.json["errors"]) == 1 and "missing" in answer.json["errors"][0], answer
    assert schemas_of(postgres, database) == {"there"}
    postgres.query(database, "CREATE SCHEMA missing")
    assert up(bfm.client, "tenants", schemas=["missing"]).json["applied"] == ["missing_" + step_id(1)]


def test_the_schema_of_the_connection(start, tree, postgres, database):
    tree.write(step_path(1), "CREATE TABLE t1 AS SELECT '{{.Schema}}'::text AS schema;")
    tree.write("postgresql/tenants/fixed_t2_20250102000000_fixed.sql", "CREATE TABLE t2 (id int);")
    bfm = start(SCHEMA="Home Schema")
    answer = up(bfm.client, "tenants")
    assert answer.status == 200, answer
    assert answer.json["applied"] == ["Home Schema_" + step_id(1), "20250102000000_fixed_postgresql_tenants"]
    assert postgres.query(database, 'SELECT schema FROM "Home Schema".t1') == [("Home Schema",)]
    assert schemas_of(postgres, database) == {"Home Schema", "fixed"}
    assert up(bfm.client, "tenants", schemas=["else"]).status == 200
    assert schemas_of(postgres, database) == {"Home Schema", "fixed", "else"}


def test_the_journal_elsewhere(start, tree, postgres, database):
    tree.write(step_path(1), "CREATE TABLE t1 (id int);")
    bfm = start(JOURNAL_SCHEMA='the "journal"')
    assert up(bfm.client, "tenants", schemas=["a"]).status == 200
    assert postgres.query(database, 'SELECT schema_name FROM "the ""journal""".journal') == [("a",)]
    assert postgres.query(database, "SELECT to_regclass('bfm.journal') IS NULL") == [(True,)]
