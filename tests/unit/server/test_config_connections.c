/* Connections (bfm-api.md §1.1): every row of its tables. */
#include "cmocka_all.h"

#include <string.h>

#include "server/config.h"

static int read_nothing(const char *path, struct buf *out, struct err *err)
{
    (void)path;
    (void)out;
    return err_set(err, ERR_IO, "no files here");
}

static int load(struct config *config, const char *const *strings)
{
    const char *all[64] = {"BFM_API_TOKEN=t", "BFM_STATE_BACKEND=sqlite"};
    struct env env;
    size_t count = 2;
    int rc;

    for (size_t i = 0; strings[i] != NULL; i++)
        all[count++] = strings[i];
    assert_int_equal(env_init(&env, all, NULL), 0);
    rc = config_load(config, &env, read_nothing);
    env_free(&env);
    return rc;
}

#define LOAD(config, ...) load(config, (const char *const[]){__VA_ARGS__, NULL})

static const struct config_connection *find(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->connection_count; i++)
        if (strcmp(config->connections[i].name, name) == 0)
            return &config->connections[i];
    fail_msg("no connection %s", name);
    return NULL;
}

static void test_settings(void **state)
{
    struct config config;
    const struct config_connection *core;

    (void)state;
    assert_int_equal(LOAD(&config, "CORE_BACKEND=postgresql", "CORE_DB_HOST=h", "CORE_DB_PORT=1234",
                          "CORE_DB_USERNAME=u", "CORE_DB_PASSWORD= p'\"\\ ", "CORE_DB_NAME=d",
                          "CORE_SCHEMA=s", "CORE_JOURNAL_SCHEMA=j", "CORE_CREATE_SCHEMA=off",
                          "CORE_MAX_OPEN_CONNS=3", "CORE_SSLMODE=Require", "CORE_LOCK_TIMEOUT=2s",
                          "CORE_CONNECT_TIMEOUT=3s"),
                     0);
    assert_int_equal(config.connection_count, 1);
    core = find(&config, "core");
    assert_int_equal(core->kind, BACKEND_POSTGRESQL);
    assert_string_equal(core->host, "h");
    assert_string_equal(core->port, "1234");
    assert_string_equal(core->username, "u");
    assert_string_equal(core->password, " p'\"\\ ");
    assert_string_equal(core->database, "d");
    assert_string_equal(core->schema, "s");
    assert_string_equal(core->journal_schema, "j");
    assert_false(core->create_schema);
    assert_int_equal(core->max_open_conns, 3);
    assert_string_equal(core->sslmode, "require");
    assert_int_equal(core->lock_timeout_ms, 2000);
    assert_int_equal(core->connect_timeout_ms, 3000);
    config_free(&config);
}

static void test_defaults(void **state)
{
    struct config config;
    const struct config_connection *core;

    (void)state;
    assert_int_equal(LOAD(&config, "CORE_BACKEND= Postgres ", "BFM_DB_MAX_OPEN_CONNS=5",
                          "G_BACKEND=GreptimeDB", "E_BACKEND=etcd"),
                     0);
    core = find(&config, "core");
    assert_int_equal(core->kind, BACKEND_POSTGRESQL);
    assert_null(core->host);
    assert_string_equal(core->port, "5432");
    assert_null(core->schema);
    assert_string_equal(core->journal_schema, "bfm");
    assert_true(core->create_schema);
    assert_int_equal(core->max_open_conns, 5);
    assert_string_equal(core->sslmode, "prefer");
    assert_int_equal(core->lock_timeout_ms, 5000);
    assert_int_equal(core->connect_timeout_ms, 10000);
    assert_string_equal(find(&config, "g")->port, "4000");
    assert_string_equal(find(&config, "e")->port, "2379");
    config_free(&config);
}

static void test_reserved_and_empty_names(void **state)
{
    struct config config;

    (void)state;
    assert_int_equal(LOAD(&config, "_BACKEND=postgresql", "BFM_OTHER_BACKEND=postgresql",
                          "bfm_x_BACKEND=postgresql", "CORE_backend=postgresql"),
                     0);
    assert_int_equal(config.connection_count, 0);
    assert_int_equal(config.warnings.count, 1);
    assert_non_null(strstr(config.warnings.lines[0], "BFM_OTHER_BACKEND: not a variable"));
    config_free(&config);
}

static void test_foreign_variables(void **state)
{
    struct config config;

    (void)state;
    assert_int_equal(LOAD(&config, "CELERY_RESULT_BACKEND=redis://:secret@h", "GDK_BACKEND=x11",
                          "GDK_SCHEMA=", "CELERY_RESULT_DB_PORT=none"),
                     0);
    assert_int_equal(config.connection_count, 0);
    assert_int_equal(config.warnings.count, 2);
    for (size_t i = 0; i < config.warnings.count; i++)
        assert_null(strstr(config.warnings.lines[i], "secret"));
    config_free(&config);
}

static void test_longest_prefix_owns(void **state)
{
    struct config config;
    const struct config_connection *core, *eu;

    (void)state;
    assert_int_equal(LOAD(&config, "CORE_BACKEND=postgresql", "CORE_DB_HOST=core",
                          "CORE_EU_BACKEND=postgresql", "CORE_EU_DB_HOST=eu",
                          "CORE_EU_DB_PASSWORD=p", "CORE_EUR=1", "CORE_EU_SSLMODE=disable"),
                     0);
    core = find(&config, "core");
    eu = find(&config, "core_eu");
    assert_string_equal(core->host, "core");
    assert_string_equal(eu->host, "eu");
    assert_null(core->password);
    assert_string_equal(core->sslmode, "prefer");
    assert_string_equal(eu->sslmode, "disable");
    assert_int_equal(core->extra_count, 1);
    assert_string_equal(config_extra(core, "EUR"), "1");
    assert_int_equal(eu->extra_count, 1);
    config_free(&config);
}

/* core's DB_HOST is spelt CORE_DB_HOST, which a connection core_db owns when there is one. */
static void test_longer_prefix_owns_settings_too(void **state)
{
    struct config config;

    (void)state;
    assert_int_equal(LOAD(&config, "CORE_BACKEND=postgresql", "CORE_DB_BACKEND=postgresql",
                          "CORE_DB_HOST=1", "CORE_DB_DB_HOST=h"),
                     0);
    assert_null(find(&config, "core")->host);
    assert_string_equal(find(&config, "core_db")->host, "h");
    assert_string_equal(config_extra(find(&config, "core_db"), "HOST"), "1");
    config_free(&config);
}

static void test_foreign_connection_keeps_its_variables(void **state)
{
    struct config config;

    (void)state;
    assert_int_equal(LOAD(&config, "CORE_BACKEND=postgresql", "CORE_DB_HOST=h",
                          "CORE_EU_BACKEND=redis", "CORE_EU_DB_PASSWORD=p", "CORE_EU_X=1"),
                     0);
    assert_int_equal(config.connection_count, 1);
    assert_int_equal(find(&config, "core")->extra_count, 0);
    config_free(&config);
}

static void test_extras(void **state)
{
    struct config config;
    const struct config_connection *e;

    (void)state;
    assert_int_equal(LOAD(&config, "E_BACKEND=etcd", "E_endpoints=a:1,b:2", "E_PREFIX=/x",
                          "E_DB_WHATEVER=1", "E_SCHEMA=/tenant/"),
                     0);
    e = find(&config, "e");
    assert_string_equal(config_extra(e, "ENDPOINTS"), "a:1,b:2");
    assert_string_equal(config_extra(e, "PREFIX"), "/x");
    assert_null(config_extra(e, "DB_WHATEVER"));
    assert_null(config_extra(e, "SCHEMA"));
    assert_null(config_extra(e, "BACKEND"));
    assert_int_equal(e->extra_count, 2);
    config_free(&config);
}

static void test_names_are_lower_cased(void **state)
{
    struct config config;
    const struct config_connection *core;

    (void)state;
    assert_int_equal(LOAD(&config, "Core_BACKEND=postgresql", "CORE_DB_HOST=upper",
                          "Core_DB_HOST=mixed", "CORE_sslMode=disable"),
                     0);
    core = find(&config, "core");
    assert_string_equal(core->host, "upper");
    assert_string_equal(core->sslmode, "disable");
    config_free(&config);
}

static void expect_refused(const char *variable, const char *setting, const char *other)
{
    struct config config;
    size_t len = strlen(variable);

    assert_int_equal(LOAD(&config, "CORE_BACKEND=postgresql", "CORE_DB_HOST=h", setting, other),
                     ERR_INVALID);
    assert_int_equal(config.errors.count, 1);
    if (strncmp(config.errors.lines[0], variable, len) != 0 || config.errors.lines[0][len] != ':')
        fail_msg("%s: %s", setting, config.errors.lines[0]);
    config_free(&config);
}

static void test_bad_values_are_refused(void **state)
{
    (void)state;
    expect_refused("CORE_DB_PORT", "CORE_DB_PORT=tcp://10.0.0.1:5432", NULL);
    expect_refused("CORE_sslmode", "CORE_sslmode=x", NULL);
    expect_refused("CORE_CREATE_SCHEMA", "CORE_CREATE_SCHEMA=never", NULL);
    expect_refused("CORE_LOCK_TIMEOUT", "CORE_LOCK_TIMEOUT=0s", NULL);
    expect_refused("CORE_CONNECT_TIMEOUT", "CORE_CONNECT_TIMEOUT=x", NULL);
    expect_refused("CORE_MAX_OPEN_CONNS", "CORE_MAX_OPEN_CONNS=0", NULL);
    expect_refused("CORE_SCHEMA",
                   "CORE_SCHEMA=0123456789012345678901234567890123456789012345678901234567890123",
                   NULL);
    expect_refused("CORE_JOURNAL_SCHEMA", "CORE_JOURNAL_SCHEMA=pg_x", NULL);
    expect_refused("CORE_sslmode", "CORE_sslmode=disable", "CORE_SSLMODE=disable");
    expect_refused("core_BACKEND", "core_BACKEND=etcd", NULL);
    expect_refused("CORE_DB_PASSWORD", "CORE_DB_PASSWORD=x", "CORE_DB_PASSWORD_FILE=/y");
}

static void test_not_built_in_is_warned_about(void **state)
{
    struct config config;

    (void)state;
    assert_int_equal(LOAD(&config, "G_BACKEND=greptimedb", "E_BACKEND=etcd", "P_BACKEND=postgres"),
                     0);
    assert_int_equal(config.connection_count, 3);
    assert_int_equal(config.warnings.count, 3);
    assert_non_null(strstr(config.warnings.lines[0], "E_BACKEND"));
    assert_non_null(strstr(config.warnings.lines[1], "G_BACKEND"));
    assert_non_null(strstr(config.warnings.lines[2], "P_DB_HOST"));
    config_free(&config);
}

static void test_unknown_settings_are_warned_about(void **state)
{
    static const char *const expected[] = {
        "SHOP_DB_USER: not a setting of a postgresql connection; it has no effect",
        "SHOP_DB_HSOT: not a setting of a postgresql connection; did you mean SHOP_DB_HOST?",
        ("SHOP_LOCK_TIMEOOT: not a setting of a postgresql connection; did you mean "
         "SHOP_LOCK_TIMEOUT?"),
        "SHOP_SHCEMA: not a setting of a postgresql connection; did you mean SHOP_SCHEMA?",
        "SHOP_colour: not a setting of a postgresql connection; it has no effect"};
    struct config config;

    (void)state;
    assert_int_equal(LOAD(&config, "SHOP_BACKEND=postgresql", "SHOP_DB_HOST=h", "SHOP_DB_USER=u",
                          "SHOP_DB_HSOT=h", "SHOP_LOCK_TIMEOOT=1s", "SHOP_SHCEMA=s",
                          "SHOP_colour=blue", "SHOP_lock_timeout=2s", "SHOP_DB_PASSWORD=p",
                          "SHOP_SERVICE_HOST=1.2.3.4", "SHOP_PORT=tcp://1.2.3.4:5",
                          "E_BACKEND=etcd", "E_PREFIX=/x"),
                     0);
    for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
        bool found = false;

        for (size_t n = 0; n < config.warnings.count; n++)
            found = found || strcmp(config.warnings.lines[n], expected[i]) == 0;
        if (!found)
            fail_msg("no warning: %s", expected[i]);
    }
    assert_int_equal(config.warnings.count, ARRAY_SIZE(expected) + 1); /* etcd is not built in */
    assert_int_equal(find(&config, "shop")->lock_timeout_ms, 2000);
    config_free(&config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_reserved_and_empty_names),
        cmocka_unit_test(test_foreign_variables),
        cmocka_unit_test(test_longest_prefix_owns),
        cmocka_unit_test(test_longer_prefix_owns_settings_too),
        cmocka_unit_test(test_foreign_connection_keeps_its_variables),
        cmocka_unit_test(test_extras),
        cmocka_unit_test(test_names_are_lower_cased),
        cmocka_unit_test(test_bad_values_are_refused),
        cmocka_unit_test(test_not_built_in_is_warned_about),
        cmocka_unit_test(test_unknown_settings_are_warned_about),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
