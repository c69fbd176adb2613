#include "backend_fixture.h"

/* Schemas of every name, made or missing, against a real PostgreSQL. */

static void test_hostile_schema_names(void **state)
{
    static const char *const names[] = {
        "pub lic",
        "a\"b'c\\d",
        "Ünï-cødé €",
        "$bfm$",
        "123",
        "-",
        "select",
        "x; DROP SCHEMA bfm CASCADE; --",
        "bfm $$ ' \" %s %I {{.Schema}}",
        "0123456789012345678901234567890123456789012345678901234567890ab",
    };
    struct world *world = *state;
    const struct migration *users = load(world, "users",
                                         "CREATE TABLE users (a text DEFAULT '{{.Schema}}'); "
                                         "INSERT INTO users DEFAULT VALUES",
                                         "DROP TABLE users");

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        struct backend_check check = {.schema = names[i], .table = "users"};
        struct waited waited;

        up(world, users, names[i], BACKEND_DONE);
        up(world, users, names[i], BACKEND_WAS_DONE);
        waited_init(&waited, world->loop);
        assert_int_equal(wait_for(&waited, world->a->ops->inspect(world->a, &waited.op, &check, 1)),
                         0);
        assert_true(check.exists);
        down(world, users, names[i], BACKEND_DONE);
        check.exists = true;
        waited_init(&waited, world->loop);
        assert_int_equal(wait_for(&waited, world->a->ops->inspect(world->a, &waited.op, &check, 1)),
                         0);
        assert_false(check.exists);
    }
    admin_text(
        world,
        "SET client_min_messages=error; DO $x$ DECLARE n text; BEGIN FOR n IN SELECT nspname FROM pg_namespace "
        "WHERE nspname NOT LIKE 'pg\\_%%' AND nspname NOT IN ('public', 'bfm', "
        "'information_schema') LOOP EXECUTE format('DROP SCHEMA %%I CASCADE', n); END "
        "LOOP; END $x$");
}

static void test_refused_schema_names(void **state)
{
    static const char *const names[] = {
        "", "$user", "bad \xff",
        "0123456789012345678901234567890123456789012345678901234567890123"};
    struct world *world = *state;
    const struct migration *users = load(world, "users", "CREATE TABLE users (a int)", NULL);

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        struct outcome got = step(world, world->a, users, BACKEND_UP, names[i]);

        assert_int_equal(got.rc, ERR_INVALID);
    }
}

static void test_missing_schema_is_found_out(void **state)
{
    struct world *world = *state;
    const struct migration *users = load(world, "users", "CREATE TABLE bfm_lost (a int)", NULL);
    struct going going;
    struct outcome got;

    go(world, &going, world->a, users, BACKEND_UP, "s", false); /* the hint is wrong */
    got = arrive(&going);
    assert_outcome(&got, 0, BACKEND_DONE);
    assert_admin(world, "SELECT to_regclass('s.bfm_lost') IS NOT NULL", "t");
    assert_admin(world, "SELECT to_regclass('public.bfm_lost') IS NULL", "t");
}

static void test_schema_creation_is_off(void **state)
{
    struct world *world = *state;
    const struct migration *users = load(world, "users", "CREATE TABLE bfm_lost (a int)", NULL);
    struct outcome got;

    world->settings.create_schema = false;
    reopen(world);
    got = step(world, world->a, users, BACKEND_UP, "s");
    assert_int_equal(got.rc, ERR_DB);
    assert_string_equal(got.err.text, "schema \"s\" does not exist, and CORE_CREATE_SCHEMA=off "
                                      "forbids to create it");
    assert_admin(world, "SELECT to_regclass('public.bfm_lost') IS NULL", "t");
    admin_text(world, "CREATE SCHEMA s");
    up(world, users, "s", BACKEND_DONE);
}

/* A role without USAGE would create in public what belongs into the schema. */
static void test_schema_without_usage(void **state)
{
    struct world *world = *state;
    const struct migration *users = load(world, "users", "CREATE TABLE bfm_lost (a int)", NULL);
    struct outcome got;

    prepare(world);
    admin_text(world, "SET client_min_messages=error; DROP ROLE IF EXISTS bfm_plain");
    admin_text(world,
               "CREATE ROLE bfm_plain LOGIN; GRANT USAGE ON SCHEMA bfm TO bfm_plain; "
               "GRANT ALL ON bfm.journal TO bfm_plain; GRANT CREATE ON SCHEMA public TO bfm_plain");
    world->settings.pool.user = "bfm_plain";
    world->settings.pool.password = NULL;
    reopen(world);
    got = step(world, world->a, users, BACKEND_UP, "s");
    assert_int_equal(got.rc, ERR_DB);
    assert_non_null(strstr(got.err.text, "lacks USAGE"));
    assert_admin(world, "SELECT to_regclass('public.bfm_lost') IS NULL", "t");
    /* With the right to use it, and none to create schemas: all that a step needs. */
    admin_text(world, "GRANT ALL ON SCHEMA s TO bfm_plain");
    up(world, users, "s", BACKEND_DONE);
    admin_text(world, "DROP OWNED BY bfm_plain; DROP ROLE bfm_plain");
}

/* Neither the schema nor the journal can be made: the text says what to do. */
static void test_schema_without_the_right_to_create(void **state)
{
    static const char *const todo =
        "grant the connection's role CREATE on the database, or make the schema, owned by that role";
    struct world *world = *state;
    const struct migration *users = load(world, "users", "CREATE TABLE users (a int)", NULL);
    struct outcome got;

    admin_text(world, "SET client_min_messages=error; DROP ROLE IF EXISTS bfm_plain");
    admin_text(world, "CREATE ROLE bfm_plain LOGIN; CREATE SCHEMA s AUTHORIZATION bfm_plain");
    world->settings.pool.user = "bfm_plain";
    world->settings.pool.password = NULL;
    reopen(world);
    got = step(world, world->a, users, BACKEND_UP, "s");
    assert_int_equal(got.rc, ERR_DB);
    assert_non_null(strstr(got.err.text, "journal table could not be created"));
    assert_non_null(strstr(got.err.text, todo));
    admin_text(world, "CREATE SCHEMA bfm AUTHORIZATION bfm_plain");
    up(world, users, "s", BACKEND_DONE);
    got = step(world, world->a, users, BACKEND_UP, "missing");
    assert_int_equal(got.rc, ERR_DB);
    assert_non_null(strstr(got.err.text, "creating the schema"));
    assert_non_null(strstr(got.err.text, todo));
    admin_text(world, "DROP OWNED BY bfm_plain; DROP ROLE bfm_plain");
}

/* Two that are the first to write into the journal: one of them makes it. */
static void test_two_make_the_journal(void **state)
{
    struct world *world = *state;
    const struct migration *users = load(world, "users", "CREATE TABLE users (a int)", NULL);

    admin_text(world, "CREATE SCHEMA s");
    admin_text(world, "CREATE SCHEMA bfm");
    for (int round = 0; round < 30; round++) {
        struct backend *const backends[] = {world->a, world->b, world->a, world->b};
        struct backend_adoption items[ARRAY_SIZE(backends)];
        struct waited waited[ARRAY_SIZE(backends)];

        admin_text(world, "SET client_min_messages=error; DROP TABLE IF EXISTS bfm.journal");
        for (size_t i = 0; i < ARRAY_SIZE(backends); i++) {
            items[i] = (struct backend_adoption){.migration = users, .schema = "s"};
            waited_init(&waited[i], world->loop);
            assert_int_equal(backends[i]->ops->adopt(backends[i], &waited[i].op, &items[i], 1), 0);
        }
        for (size_t i = 0; i < ARRAY_SIZE(backends); i++) {
            assert_int_equal(wait_for(&waited[i], 0), 0);
            assert_true(items[i].adopted);
        }
        assert_admin(world, "SELECT count(*) FROM bfm.journal", "1");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BACKEND_TEST(test_hostile_schema_names),
        BACKEND_TEST(test_refused_schema_names),
        BACKEND_TEST(test_missing_schema_is_found_out),
        BACKEND_TEST(test_schema_creation_is_off),
        BACKEND_TEST(test_schema_without_usage),
        BACKEND_TEST(test_schema_without_the_right_to_create),
        BACKEND_TEST(test_two_make_the_journal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
