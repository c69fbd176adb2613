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

static void test_without_an_address(void **state)
{
    struct config config;

    (void)state;
    assert_int_equal(LOAD(&config, "G_BACKEND=greptimedb", "E_BACKEND=etcd", "M_BACKEND=mariadb",
                          "P_BACKEND=postgres"),
                     0);
    assert_int_equal(config.connection_count, 4);
    assert_int_equal(config.warnings.count, 4);
    assert_non_null(strstr(config.warnings.lines[0], "E_ENDPOINTS: not given, nor is E_DB_HOST"));
    assert_non_null(strstr(config.warnings.lines[1], "G_DB_HOST"));
    assert_non_null(strstr(config.warnings.lines[2], "M_DB_HOST"));
    assert_non_null(strstr(config.warnings.lines[3], "P_DB_HOST"));
    assert_null(find(&config, "e")->endpoints);
    config_free(&config);
}

static void test_etcd(void **state)
{
    struct config config;
    const struct config_connection *e;

    (void)state;
    assert_int_equal(LOAD(&config, "E_BACKEND=etcd", "E_endpoints= a:1, https://b:2 ",
                          "E_DB_HOST=unused", "E_prefix=/app//", "E_TIMEOUT=250ms",
                          "E_DB_USERNAME=u", "E_DB_PASSWORD=p", "E_tls_ca=/ca", "E_TLS_CERT=/c",
                          "E_TLS_KEY=/k", "E_MAX_TXN_OPS=64", "E_MAX_REQUEST_BYTES=2MiB"),
                     0);
    e = find(&config, "e");
    assert_string_equal(e->endpoints, "a:1, https://b:2");
    assert_int_equal(config_peers(e), 2);
    assert_string_equal(e->prefix_key, "/app/");
    assert_int_equal(e->timeout_ms, 250);
    assert_true(e->tls && !e->tls_insecure);
    assert_string_equal(e->tls_ca, "/ca");
    assert_string_equal(e->tls_cert, "/c");
    assert_string_equal(e->tls_key, "/k");
    assert_int_equal(e->max_txn_ops, 64);
    assert_int_equal(e->max_request, 2 << 20);
    assert_int_equal(config.warnings.count, 0);
    config_free(&config);
    assert_int_equal(LOAD(&config, "E_BACKEND=etcd", "E_DB_HOST=h", "E_TIMEOUT=soon",
                          "F_BACKEND=etcd", "F_DB_HOST=::1", "F_DB_PORT=1", "F_PREFIX=x",
                          "F_TLS_INSECURE=true"),
                     0);
    e = find(&config, "e");
    assert_string_equal(e->endpoints, "h:2379");
    assert_int_equal(config_peers(e), 1);
    assert_string_equal(e->prefix_key, "/");
    assert_int_equal(e->timeout_ms, 5000);
    assert_false(e->tls);
    assert_int_equal(e->max_txn_ops, 128);
    assert_int_equal(e->max_request, 1572864);
    assert_string_equal(find(&config, "f")->endpoints, "[::1]:1");
    assert_string_equal(find(&config, "f")->prefix_key, "x/");
    assert_int_equal(config.warnings.count, 2);
    assert_non_null(strstr(config.warnings.lines[0], "E_TIMEOUT: expected a duration"));
    assert_non_null(strstr(config.warnings.lines[1], "F_TLS_INSECURE: the server's certificate"));
    config_free(&config);
}

static void test_greptimedb(void **state)
{
    struct config config;
    const struct config_connection *g;

    (void)state;
    assert_int_equal(LOAD(&config, "G_BACKEND=greptimedb", "G_DB_HOST=h", "G_ssl=true",
                          "G_CREATE_SCHEMA=off", "G_STATEMENT_TIMEOUT=7s", "H_BACKEND=greptimedb",
                          "H_DB_HOST=h", "H_TLS_CA=/ca", "I_BACKEND=greptimedb", "I_DB_HOST=h",
                          "I_TLS=false", "I_TLS_CA=/ca"),
                     0);
    g = find(&config, "g");
    assert_true(g->tls && !g->create_schema);
    assert_int_equal(g->statement_timeout_ms, 7000);
    assert_true(find(&config, "h")->tls && find(&config, "h")->create_schema);
    assert_int_equal(find(&config, "h")->statement_timeout_ms, 300000);
    assert_false(find(&config, "i")->tls);
    assert_int_equal(config.warnings.count, 0);
    config_free(&config);
}

static void test_mysql(void **state)
{
    struct config config;
    const struct config_connection *m;

    (void)state;
    assert_int_equal(LOAD(&config, "M_BACKEND=MariaDB", "M_DB_HOST=h", "M_SSLMODE=verify-ca",
                          "M_TLS_CA=/ca", "M_JOURNAL_SCHEMA=j", "M_LOCK_TIMEOUT=1s",
                          "N_BACKEND=mysql", "N_DB_HOST=h"),
                     0);
    m = find(&config, "m");
    assert_int_equal(m->kind, BACKEND_MYSQL);
    assert_string_equal(m->port, "3306");
    assert_string_equal(m->sslmode, "verify-ca");
    assert_string_equal(m->tls_ca, "/ca");
    assert_string_equal(m->journal_schema, "j");
    assert_int_equal(m->lock_timeout_ms, 1000);
    assert_string_equal(find(&config, "n")->sslmode, "prefer");
    assert_string_equal(find(&config, "n")->journal_schema, "bfm");
    assert_true(find(&config, "n")->create_schema);
    assert_int_equal(config.warnings.count, 0);
    config_free(&config);
}

static void test_bad_values_of_other_kinds(void **state)
{
    static const char *const bad[][3] = {
        {"C_BACKEND=etcd", "C_MAX_TXN_OPS=1", "C_MAX_TXN_OPS"},
        {"C_BACKEND=etcd", "C_MAX_REQUEST_BYTES=1", "C_MAX_REQUEST_BYTES"},
        {"C_BACKEND=etcd", "C_TLS_CERT=/c", "C_TLS_KEY"},
        {"C_BACKEND=etcd", "C_TLS_KEY=/k", "C_TLS_CERT"},
        {"C_BACKEND=etcd", "C_TLS=maybe", "C_TLS"},
        {"C_BACKEND=etcd", "C_ENDPOINTS=h:1,http://user:secret@h:1", "C_ENDPOINTS"},
        {"C_BACKEND=etcd", "C_ENDPOINTS=https://h:99999", "C_ENDPOINTS"},
        {"C_BACKEND=etcd", "C_ENDPOINTS=h:1,h", "C_ENDPOINTS"},
        {"D_BACKEND=mysql", "D_DB_HOST=mysql://u:secret@h/db", "D_DB_HOST"},
        {"C_BACKEND=greptimedb", "C_STATEMENT_TIMEOUT=x", "C_STATEMENT_TIMEOUT"},
        {"C_BACKEND=greptimedb", "C_SCHEMA=a b", "C_SCHEMA"},
        {"C_BACKEND=mysql", "C_SSLMODE=x", "C_SSLMODE"},
    };
    struct config config;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        size_t len = strlen(bad[i][2]);

        assert_int_equal(LOAD(&config, bad[i][0], bad[i][1], "C_DB_HOST=h"), ERR_INVALID);
        assert_int_equal(config.errors.count, 1);
        if (strncmp(config.errors.lines[0], bad[i][2], len) != 0 ||
            config.errors.lines[0][len] != ':')
            fail_msg("%s: %s", bad[i][1], config.errors.lines[0]);
        config_free(&config);
    }
}

/* Two connections may be on one cluster: none is inside what BfM keeps of another. */
static void test_prefixes_of_etcd(void **state)
{
    static const char *const inside[][2] = {{"A_PREFIX=/app/", "B_PREFIX=/app.bfm"},
                                            {"A_PREFIX=/app", "B_PREFIX=/app.bfm/journal//"},
                                            {"A_PREFIX=/", "B_PREFIX=.bfm/x"}};
    static const char *const beside[][2] = {{"A_PREFIX=/", "B_PREFIX=/app"},
                                            {"A_PREFIX=/app", "B_PREFIX=/app"},
                                            {"A_PREFIX=/app", "B_PREFIX=/app.bfm2"},
                                            {"A_PREFIX=/app", "B_PREFIX=/app.bf"},
                                            {"A_PREFIX=/app", "B_PREFIX=/x/app.bfm"}};
    struct config config;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(inside); i++) {
        assert_int_equal(LOAD(&config, "A_BACKEND=etcd", "B_BACKEND=etcd", "A_DB_HOST=a",
                              "B_DB_HOST=b", inside[i][0], inside[i][1]),
                         ERR_INVALID);
        assert_int_equal(config.errors.count, 1);
        assert_string_equal(config.errors.lines[0],
                            i < 2 ? "B_PREFIX: expected another prefix: below \"/app.bfm/\" BfM "
                                    "keeps the journal of connection a"
                                  : "B_PREFIX: expected another prefix: below \".bfm/\" BfM "
                                    "keeps the journal of connection a");
        config_free(&config);
    }
    for (size_t i = 0; i < ARRAY_SIZE(beside); i++) {
        assert_int_equal(LOAD(&config, "A_BACKEND=etcd", "B_BACKEND=etcd", "A_DB_HOST=a",
                              "B_DB_HOST=b", beside[i][0], beside[i][1]),
                         0);
        config_free(&config);
    }
    assert_int_equal(LOAD(&config, "A_BACKEND=etcd", "B_BACKEND=greptimedb", "A_DB_HOST=a",
                          "B_DB_HOST=b", "C_BACKEND=etcd", "C_DB_HOST=c"),
                     0);
    assert_string_equal(find(&config, "a")->reserved_key, ".bfm/");
    config_free(&config);
}

static void test_files_of_tls_are_looked_for(void **state)
{
    struct config config;

    (void)state;
    assert_int_equal(LOAD(&config, "E_BACKEND=etcd", "E_DB_HOST=h", "E_tls_ca=/no/such/file",
                          "P_BACKEND=postgres", "P_DB_HOST=h", "P_TLS_CA=/no/such/file"),
                     0);
    assert_int_equal(config_check_paths(&config), ERR_INVALID);
    assert_int_equal(config.errors.count, 1);
    assert_non_null(strstr(config.errors.lines[0], "E_tls_ca: expected the path of a readable"));
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
        "SHOP_colour: not a setting of a postgresql connection; it has no effect",
        "SHOP_ENDPOINTS: not a setting of a postgresql connection; it has no effect",
        "E_PREFFIX: not a setting of an etcd connection; did you mean E_PREFIX?",
        "E_SSLMODE: not a setting of an etcd connection; it has no effect",
        "E_DB_NAME: not a setting of an etcd connection; it has no effect"};
    struct config config;

    (void)state;
    assert_int_equal(LOAD(&config, "SHOP_BACKEND=postgresql", "SHOP_DB_HOST=h", "SHOP_DB_USER=u",
                          "SHOP_DB_HSOT=h", "SHOP_LOCK_TIMEOOT=1s", "SHOP_SHCEMA=s",
                          "SHOP_colour=blue", "SHOP_lock_timeout=2s", "SHOP_DB_PASSWORD=p",
                          "SHOP_SERVICE_HOST=1.2.3.4", "SHOP_PORT=tcp://1.2.3.4:5",
                          "SHOP_ENDPOINTS=h", "E_BACKEND=etcd", "E_PREFIX=/x", "E_PREFFIX=/y",
                          "E_SSLMODE=require", "E_DB_NAME=n", "E_DB_HOST=h"),
                     0);
    for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
        bool found = false;

        for (size_t n = 0; n < config.warnings.count; n++)
            found = found || strcmp(config.warnings.lines[n], expected[i]) == 0;
        if (!found)
            fail_msg("no warning: %s", expected[i]);
    }
    assert_int_equal(config.warnings.count, ARRAY_SIZE(expected));
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
        cmocka_unit_test(test_without_an_address),
        cmocka_unit_test(test_etcd),
        cmocka_unit_test(test_prefixes_of_etcd),
        cmocka_unit_test(test_greptimedb),
        cmocka_unit_test(test_mysql),
        cmocka_unit_test(test_bad_values_of_other_kinds),
        cmocka_unit_test(test_files_of_tls_are_looked_for),
        cmocka_unit_test(test_unknown_settings_are_warned_about),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
