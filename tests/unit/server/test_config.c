/* The server's own variables: defaults, what is refused, what is only warned about. */
#include "cmocka_all.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "server/config.h"

/* Files that {NAME}_FILE may name. */
static int read_fake(const char *path, struct buf *out, struct err *err)
{
    if (strcmp(path, "/secret") == 0)
        return buf_puts(out, "s3cret 'x\"\\\n\n");
    if (strcmp(path, "/nul") == 0)
        return buf_append(out, "a\0b", 3);
    if (strcmp(path, "/empty") == 0)
        return buf_puts(out, "\n");
    return err_set(err, ERR_IO, "No such file or directory");
}

/* What every configuration needs; a test adds its own in front. */
static const char *const needed[] = {"BFM_API_TOKEN=t0ken", "BFM_STATE_DB_PASSWORD=hunter2"};

static int load(struct config *config, const char *const *strings)
{
    const char *all[64];
    struct env env;
    size_t count = 0;
    int rc;

    for (; strings[count] != NULL; count++)
        all[count] = strings[count];
    for (size_t i = 0; i < ARRAY_SIZE(needed); i++)
        all[count++] = needed[i];
    all[count] = NULL;
    assert_int_equal(env_init(&env, all, NULL), 0);
    rc = config_load(config, &env, read_fake);
    env_free(&env);
    return rc;
}

#define LOAD(config, ...) load(config, (const char *const[]){__VA_ARGS__, NULL})

static bool has_line(const struct config_notes *notes, const char *start)
{
    for (size_t i = 0; i < notes->count; i++)
        if (strncmp(notes->lines[i], start, strlen(start)) == 0)
            return true;
    return false;
}

static void expect_loaded(struct config *config, int rc)
{
    if (rc != 0)
        fail_msg("%s", config->errors.count > 0 ? config->errors.lines[0] : "out of memory");
}

/* The one variable is refused, by name, and nothing else is. */
static void expect_refused(const char *setting)
{
    size_t len = strcspn(setting, "=");
    struct config config;
    char start[128];

    snprintf(start, sizeof(start), "%.*s: expected ", (int)len, setting);
    assert_int_equal(LOAD(&config, setting), ERR_INVALID);
    if (config.errors.count != 1 || !has_line(&config.errors, start))
        fail_msg("%s: %zu errors, first: %s", setting, config.errors.count,
                 config.errors.count > 0 ? config.errors.lines[0] : "none");
    config_free(&config);
}

static void expect_warned(const char *setting)
{
    size_t len = strcspn(setting, "=");
    struct config config;
    char start[128];

    snprintf(start, sizeof(start), "%.*s: ", (int)len, setting);
    expect_loaded(&config, LOAD(&config, setting));
    if (config.warnings.count != 1 || !has_line(&config.warnings, start))
        fail_msg("%s: %zu warnings", setting, config.warnings.count);
    config_free(&config);
}

static void expect_fine(const char *setting)
{
    struct config config;

    expect_loaded(&config, LOAD(&config, setting));
    if (config.warnings.count != 0)
        fail_msg("%s: %s", setting, config.warnings.lines[0]);
    config_free(&config);
}

static void test_defaults(void **state)
{
    struct config config;

    (void)state;
    expect_loaded(&config, LOAD(&config, "UNRELATED=1"));
    assert_null(config.http_host);
    assert_int_equal(config.http_port, 7070);
    assert_int_equal(config.grpc_port, 9090);
    assert_int_equal(config.http_max_body, 1024 * 1024);
    assert_int_equal(config.http_request_timeout_ms, 30000);
    assert_int_equal(config.http_max_connections, 10240);
    assert_int_equal(config.grpc_max_connections, 256);
    assert_string_equal(config.api_token, "t0ken");
    assert_string_equal(config.cors_allowed_origins, "*");
    assert_null(config.frontend_path);
    assert_string_equal(config.frontend_api_url, "/api");
    assert_false(config.frontend_expose_token);
    assert_int_equal(config.state, CONFIG_STATE_POSTGRESQL);
    assert_string_equal(config.state_host, "localhost");
    assert_string_equal(config.state_port, "5432");
    assert_string_equal(config.state_username, "postgres");
    assert_string_equal(config.state_password, "hunter2");
    assert_string_equal(config.state_database, "migration_state");
    assert_string_equal(config.state_schema, "public");
    assert_string_equal(config.state_sslmode, "prefer");
    assert_string_equal(config.state_db_path, "bfm-state.db");
    assert_null(config.sfm_path);
    assert_int_equal(config.log_level, LOG_INFO);
    assert_int_equal(config.log_format, LOG_JSON);
    assert_int_equal(config.reindex_interval_ms, 5 * 60000);
    assert_int_equal(config.lock_wait_ms, 30000);
    assert_int_equal(config.shutdown_timeout_ms, 30000);
    assert_int_equal(config.state_wait_ms, 60000);
    assert_int_equal(config.runs_keep_ms, 90 * 86400000LL);
    assert_int_equal(config.pool.max_open_conns, 8);
    assert_int_equal(config.pool.max_idle_conns, 2);
    assert_int_equal(config.pool.max_lifetime_ms, 3 * 60000);
    assert_int_equal(config.pool.max_idle_time_ms, 60000);
    assert_int_equal(config.connection_count, 0);
    assert_int_equal(config.warnings.count, 0);
    config_free(&config);
}

static void test_values(void **state)
{
    struct config config;

    (void)state;
    expect_loaded(&config,
                  LOAD(&config, "BFM_HTTP_HOST=::1", "BFM_HTTP_PORT=1", "BFM_HTTP_MAX_BODY=2MiB",
                       "BFM_HTTP_REQUEST_TIMEOUT=1m30s", "BFM_HTTP_MAX_CONNECTIONS=5",
                       "BFM_GRPC_MAX_CONNECTIONS=6", "BFM_STATE_BACKEND= SQLite ",
                       "BFM_LOG_LEVEL=warning", "BFM_LOG_FORMAT=Plain",
                       "BFM_REINDEX_INTERVAL_MINUTES=0.5", "BFM_LOCK_WAIT=0",
                       "BFM_SHUTDOWN_TIMEOUT=250ms", "BFM_DB_CONN_MAX_IDLE_TIME_SECONDS=7",
                       "BFM_CORS_ALLOWED_ORIGINS=https://a.example, http://b.example:8080",
                       "BFM_APP_MODE=Test", "BFM_STATE_DB_PATH=/x/y.db", "BFM_METRICS=off",
                       "BFM_METRICS_AUTH=no"));
    assert_false(config.metrics);
    assert_false(config.metrics_auth);
    assert_string_equal(config.http_host, "::1");
    assert_int_equal(config.http_port, 1);
    assert_int_equal(config.http_max_body, 2 * 1024 * 1024);
    assert_int_equal(config.http_request_timeout_ms, 90000);
    assert_int_equal(config.http_max_connections, 5);
    assert_int_equal(config.grpc_max_connections, 6);
    assert_int_equal(config.state, CONFIG_STATE_SQLITE);
    assert_int_equal(config.log_level, LOG_WARN);
    assert_int_equal(config.log_format, LOG_TEXT);
    assert_int_equal(config.reindex_interval_ms, 30000);
    assert_int_equal(config.lock_wait_ms, 0);
    assert_int_equal(config.shutdown_timeout_ms, 250);
    assert_int_equal(config.pool.max_idle_time_ms, 7000);
    assert_int_equal(config.access_log_level, LOG_DEBUG);
    config_free(&config);
}

static void test_bad_values_are_refused(void **state)
{
    static const char *const settings[] = {
        "BFM_HTTP_PORT=0",
        "BFM_HTTP_PORT=65536",
        "BFM_METRICS=sometimes",
        "BFM_METRICS_AUTH=basic",
        "BFM_HTTP_PORT=70 70",
        "BFM_HTTP_PORT=+70",
        "BFM_HTTP_PORT=99999999999999999999999",
        "BFM_GRPC_PORT=x",
        "BFM_GRPC_PORT=7070",
        "BFM_HTTP_HOST=some-name",
        "BFM_HTTP_MAX_BODY=0",
        "BFM_HTTP_MAX_BODY=1GB",
        "BFM_HTTP_MAX_BODY=MiB",
        "BFM_HTTP_REQUEST_TIMEOUT=30",
        "BFM_HTTP_REQUEST_TIMEOUT=0s",
        "BFM_HTTP_MAX_CONNECTIONS=0",
        "BFM_GRPC_MAX_CONNECTIONS=0",
        "BFM_GRPC_MAX_CONNECTIONS=many",
        "BFM_STATE_WAIT=long",
        "BFM_LOCK_WAIT=-1s",
        "BFM_LOCK_WAIT=25h",
        "BFM_SHUTDOWN_TIMEOUT=soon",
        "BFM_RUNS_KEEP=90",
        "BFM_RUNS_KEEP=-1d",
        "BFM_RUNS_KEEP=1.5d",
        "BFM_RUNS_KEEP=d",
        "BFM_RUNS_KEEP=23h",
        "BFM_RUNS_KEEP=3651d",
        "BFM_RUNS_KEEP=87601h",
        "BFM_RUNS_KEEP=99999999999999999999d",
        "BFM_STATE_BACKEND=oracle",
        "BFM_STATE_BACKEND=oracle",
        "BFM_STATE_DB_PORT=x",
        "BFM_STATE_DB_SSLMODE=maybe",
        "BFM_DB_MAX_OPEN_CONNS=0",
        "BFM_DB_MAX_OPEN_CONNS=many",
        "BFM_DB_MAX_IDLE_CONNS=-1",
        "BFM_DB_CONN_MAX_LIFETIME_MINUTES=1.5",
        "BFM_DB_CONN_MAX_IDLE_TIME_SECONDS=x",
        "BFM_DB_CONN_MAX_IDLE_TIME_MINUTES=x",
        "BFM_APP_MODE=loud",
        "BFM_CORS_ALLOWED_ORIGINS=https://a.example/path",
        "BFM_CORS_ALLOWED_ORIGINS=a.example",
        "BFM_QUEUE_TYPE=rabbit",
        "BFM_QUEUE_KAFKA_BROKERS=host",
        "BFM_QUEUE_KAFKA_BROKERS=host:1,other:x",
        "BFM_QUEUE_KAFKA_PORT=0",
        "BFM_QUEUE_PULSAR_URL=http://x",
        "BFM_GRPC_AUTH=perhaps",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(settings); i++)
        expect_refused(settings[i]);
}

static void test_what_is_not_built_in_is_warned_about(void **state)
{
    static const char *const settings[] = {
        "BFM_GRPC_AUTH=off",
        "BFM_QUEUE_ENABLED=true",
        "BFM_FRONTEND_EXPOSE_TOKEN=true",
        "BFM_REINDEX_INTERVAL_MINUTES=often",
        "BFM_REINDEX_INTERVAL_MINUTES=0",
        "BFM_AUTO_MIGRATE_RETRY_INTERVAL=x",
        "BFM_AUTO_MIGRATE_RETRY_MAX_ROUNDS=0",
        "CORE_BACKEND=postgresql", /* without a host; the warning names CORE_DB_HOST */
    };
    static const char *const fine[] = {
        "BFM_QUEUE_ENABLED=yes", "BFM_AUTO_MIGRATE= Yes ",        "BFM_LOG_LEVEL=chatty",
        "BFM_LOG_FORMAT=xml",    "BFM_QUEUE_KAFKA_HOST=k",        "BFM_GRPC_AUTH=on",
        "BFM_APP_MODE=TEST",     "BFM_FRONTEND_API_URL=/x",       "BFM_STATE_BACKEND=postgres",
        "BFM_HTTP_PORT=",        "BFM_CORS_ALLOWED_ORIGINS=none",
    };

    (void)state;
    for (size_t i = 0; i + 1 < ARRAY_SIZE(settings); i++)
        expect_warned(settings[i]);
    for (size_t i = 0; i < ARRAY_SIZE(fine); i++)
        expect_fine(fine[i]);
}

static void test_how_long_runs_are_kept(void **state)
{
    static const struct {
        const char *setting;
        uint64_t ms;
    } settings[] = {
        {"BFM_RUNS_KEEP=0", 0},          {"BFM_RUNS_KEEP=0d", 0},
        {"BFM_RUNS_KEEP=1d", 86400000},  {"BFM_RUNS_KEEP= 3650d ", 3650 * UINT64_C(86400000)},
        {"BFM_RUNS_KEEP=24h", 86400000}, {"BFM_RUNS_KEEP=36h30m", 131400000}};
    struct config config;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(settings); i++) {
        expect_loaded(&config, LOAD(&config, settings[i].setting));
        assert_int_equal(config.runs_keep_ms, settings[i].ms);
        config_free(&config);
    }
}

static int load_exactly(struct config *config, const char *const *strings)
{
    struct env env;
    int rc;

    assert_int_equal(env_init(&env, strings, NULL), 0);
    rc = config_load(config, &env, read_fake);
    env_free(&env);
    return rc;
}

static void test_auto_migrate(void **state)
{
    static const struct {
        const char *on, *interval, *rounds;
        bool is_on;
        uint64_t interval_ms;
        unsigned round_count;
    } cases[] = {
        {"BFM_AUTO_MIGRATE=", "X=", "X=", false, 5000, 24},
        {"BFM_AUTO_MIGRATE= On ", "BFM_AUTO_MIGRATE_RETRY_INTERVAL=1m30s",
         "BFM_AUTO_MIGRATE_RETRY_MAX_ROUNDS=3", true, 90000, 3},
        {"BFM_AUTO_MIGRATE=1", "BFM_AUTO_MIGRATE_RETRY_INTERVAL=0",
         "BFM_AUTO_MIGRATE_RETRY_MAX_ROUNDS=3", true, 0, 1},
        {"BFM_AUTO_MIGRATE=y", "BFM_AUTO_MIGRATE_RETRY_INTERVAL=-5s",
         "BFM_AUTO_MIGRATE_RETRY_MAX_ROUNDS=x", false, 0, 1},
        {"BFM_AUTO_MIGRATE=TRUE", "BFM_AUTO_MIGRATE_RETRY_INTERVAL=soon",
         "BFM_AUTO_MIGRATE_RETRY_MAX_ROUNDS=0", true, 5000, 24},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const char *const strings[] = {"BFM_API_TOKEN=t", "BFM_STATE_BACKEND=sqlite",
                                       cases[i].on,       cases[i].interval,
                                       cases[i].rounds,   NULL};
        struct config config;

        assert_int_equal(load_exactly(&config, strings), 0);
        assert_int_equal(config.auto_migrate, cases[i].is_on);
        assert_int_equal(config.auto_migrate_interval_ms, cases[i].interval_ms);
        assert_int_equal(config.auto_migrate_rounds, cases[i].round_count);
        config_free(&config);
    }
}

static void test_all_errors_at_once(void **state)
{
    const char *const strings[] = {"BFM_HTTP_PORT=x", "CORE_BACKEND=postgresql", "CORE_DB_HOST=h",
                                   "CORE_DB_PORT=no", "CORE_SSLMODE=no",         NULL};
    static const char *const expected[] = {
        "BFM_HTTP_PORT: ", "BFM_API_TOKEN: ", "BFM_STATE_DB_PASSWORD: ", "CORE_DB_PORT: ",
        "CORE_SSLMODE: "};
    struct config config;

    (void)state;
    assert_int_equal(load_exactly(&config, strings), ERR_INVALID);
    assert_int_equal(config.errors.count, ARRAY_SIZE(expected));
    for (size_t i = 0; i < ARRAY_SIZE(expected); i++)
        assert_true(has_line(&config.errors, expected[i]));
    config_free(&config);
}

static void test_secrets_from_files(void **state)
{
    const char *const strings[] = {"BFM_API_TOKEN_FILE=/secret", "BFM_STATE_BACKEND=sqlite",
                                   "C_BACKEND=postgresql",       "C_DB_HOST=h",
                                   "C_DB_PASSWORD_FILE=/secret", "C_EXTRA_TOKEN_FILE=/secret",
                                   "OTHER_TOKEN_FILE=/missing",  NULL};
    struct config config;

    (void)state;
    expect_loaded(&config, load_exactly(&config, strings));
    assert_string_equal(config.api_token, "s3cret 'x\"\\\n"); /* one newline went */
    assert_string_equal(config.connections[0].password, "s3cret 'x\"\\\n");
    assert_string_equal(config_extra(&config.connections[0], "EXTRA_TOKEN"), "s3cret 'x\"\\\n");
    config_free(&config);
}

static void test_bad_secret_files(void **state)
{
    static const struct {
        const char *setting, *line;
    } cases[] = {
        {"BFM_API_TOKEN_FILE=/secret", "BFM_API_TOKEN: expected only one of"},
        {"BFM_STATE_DB_PASSWORD_FILE=/missing", "BFM_STATE_DB_PASSWORD: expected only one of"},
        {"BFM_FRONTEND_AUTH_PASSWORD_FILE=/missing", "BFM_FRONTEND_AUTH_PASSWORD_FILE: expected"},
        {"BFM_FRONTEND_AUTH_PASSWORD_FILE=/nul", "BFM_FRONTEND_AUTH_PASSWORD_FILE: expected"},
    };
    const char *const empty[] = {"BFM_API_TOKEN_FILE=/empty", "BFM_STATE_BACKEND=sqlite", NULL};
    struct config config;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(LOAD(&config, cases[i].setting), ERR_INVALID);
        assert_true(has_line(&config.errors, cases[i].line));
        config_free(&config);
    }
    assert_int_equal(load_exactly(&config, empty), ERR_INVALID);
    assert_true(has_line(&config.errors, "BFM_API_TOKEN: expected"));
    config_free(&config);
}

static void test_summary_has_no_secret(void **state)
{
    struct config config;
    struct buf out;

    (void)state;
    expect_loaded(&config, LOAD(&config, "CORE_BACKEND=postgresql", "CORE_DB_HOST=db1",
                                "CORE_DB_PASSWORD=passw0rd", "CORE_API_TOKEN=extra-token",
                                "BFM_FRONTEND_AUTH_PASSWORD=frontpass"));
    buf_init(&out, 65536);
    assert_int_equal(config_summarize(&config, &out), 0);
    assert_non_null(strstr(out.data, "db1:5432"));
    assert_null(strstr(out.data, "passw0rd"));
    assert_null(strstr(out.data, "hunter2"));
    assert_null(strstr(out.data, "t0ken"));
    assert_null(strstr(out.data, "extra-token"));
    assert_null(strstr(out.data, "frontpass"));
    buf_free(&out);
    config_free(&config);
}

static void test_every_allocation_fails(void **state)
{
    const char *const strings[] = {
        "BFM_API_TOKEN=t",     "BFM_STATE_DB_PASSWORD=p", "CORE_BACKEND=postgresql",
        "CORE_DB_HOST=h",      "CORE_SSLMODE=require",    "CORE_EU_BACKEND=postgresql",
        "CORE_EU_DB_HOST=h",   "X_BACKEND=redis",         "BFM_STATE_BACKEND=postgresql",
        "BFM_LOG_LEVEL=debug", "BFM_AUTO_MIGRATE=on",     NULL};
    struct env env;

    (void)state;
    assert_int_equal(env_init(&env, strings, NULL), 0);
    for (unsigned nth = 1;; nth++) {
        struct config config;
        int rc;

        mem_fail_at(nth, 1);
        rc = config_load(&config, &env, read_fake);
        mem_fail_at(0, 0);
        config_free(&config);
        if (rc == 0)
            break;
        if (rc != ERR_NOMEM)
            fail_msg("allocation %u: code %d", nth, rc);
        assert_true(nth < 1000);
    }
    env_free(&env);
}

/* The only warning, word by word. */
static void expect_warning(const char *setting, const char *warning)
{
    struct config config;

    expect_loaded(&config, LOAD(&config, setting));
    assert_int_equal(config.warnings.count, 1);
    assert_string_equal(config.warnings.lines[0], warning);
    config_free(&config);
}

static void test_unknown_names_are_warned_about(void **state)
{
    static const char *const links[] = {"BFM_SERVICE_HOST=10.0.0.1", "BFM_PORT=tcp://10.0.0.1:7070",
                                        "BFM_PORT_7070_TCP_ADDR=10.0.0.1",
                                        "BFM_API_SERVICE_PORT_HTTP=80", "BFMX=1"};

    (void)state;
    expect_warning("BFM_HTTP_PROT=7070",
                   "BFM_HTTP_PROT: not a variable of BfM; did you mean BFM_HTTP_PORT?");
    expect_warning("BFM_LOG_LEVL=debug",
                   "BFM_LOG_LEVL: not a variable of BfM; did you mean BFM_LOG_LEVEL?");
    expect_warning("BFM_STATE_DB_PASWORD_FILE=x", "BFM_STATE_DB_PASWORD_FILE: not a variable of "
                                                  "BfM; did you mean BFM_STATE_DB_PASSWORD_FILE?");
    expect_warning("BFM_SOMETHING=1", "BFM_SOMETHING: not a variable of BfM; it has no effect");
    expect_warning("BFM_OTHER_BACKEND=postgresql",
                   "BFM_OTHER_BACKEND: not a variable of BfM; it has no effect");
    for (size_t i = 0; i < ARRAY_SIZE(links); i++)
        expect_fine(links[i]);
}

/* What the state database needs is not known while nobody knows which one it is. */
static void test_state_backend_typo_is_one_error(void **state)
{
    const char *const strings[] = {"BFM_API_TOKEN=t", "BFM_STATE_BACKEND=sqlit", NULL};
    struct config config;

    (void)state;
    assert_int_equal(load_exactly(&config, strings), ERR_INVALID);
    assert_int_equal(config.errors.count, 1);
    assert_string_equal(config.errors.lines[0],
                        "BFM_STATE_BACKEND: expected postgresql, mysql or sqlite");
    config_free(&config);
}

/* A schema is a database there. */
static void test_state_in_mysql(void **state)
{
    struct config config;

    (void)state;
    expect_loaded(&config, LOAD(&config, "BFM_STATE_BACKEND= MySQL ", "BFM_STATE_DB_NAME=n"));
    assert_int_equal(config.state, CONFIG_STATE_MYSQL);
    assert_string_equal(config.state_port, "3306");
    assert_string_equal(config.state_username, "root");
    assert_string_equal(config.state_password, "hunter2");
    assert_string_equal(config.state_database, "n");
    config_free(&config);
    expect_loaded(&config, LOAD(&config, "BFM_STATE_BACKEND=mariadb", "BFM_STATE_DB_NAME=n",
                                "BFM_STATE_SCHEMA=s", "BFM_STATE_DB_PORT=3307",
                                "BFM_STATE_DB_TLS_CA=/no/such/file"));
    assert_string_equal(config.state_database, "s");
    assert_string_equal(config.state_port, "3307");
    assert_int_equal(config_check_paths(&config), ERR_INVALID);
    assert_true(has_line(&config.errors, "BFM_STATE_DB_TLS_CA: expected the path"));
    config_free(&config);
    expect_loaded(&config, LOAD(&config, "BFM_STATE_BACKEND=mysql", "BFM_STATE_SCHEMA=public"));
    assert_string_equal(config.state_database, "migration_state");
    config_free(&config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_state_in_mysql),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_bad_values_are_refused),
        cmocka_unit_test(test_what_is_not_built_in_is_warned_about),
        cmocka_unit_test(test_unknown_names_are_warned_about),
        cmocka_unit_test(test_state_backend_typo_is_one_error),
        cmocka_unit_test(test_how_long_runs_are_kept),
        cmocka_unit_test(test_auto_migrate),
        cmocka_unit_test(test_all_errors_at_once),
        cmocka_unit_test(test_secrets_from_files),
        cmocka_unit_test(test_bad_secret_files),
        cmocka_unit_test(test_summary_has_no_secret),
        cmocka_unit_test(test_every_allocation_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
