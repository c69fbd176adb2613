#ifndef BFM_TESTS_STORE_RAW_MYSQL_H
#define BFM_TESTS_STORE_RAW_MYSQL_H

#include <ctype.h>

#include "maria_fixture.h"

/*
 * The raw side of tests of the MySQL store: a connection of its own. SQL that all kinds of stores
 * understand has columns named as words that MySQL keeps to itself; they are put into quotes.
 */
struct raw_mysql {
    struct loop *loop;
    struct maria_pool *pool;
    struct maria_conn *conn;
    char database[64];
    bool used; /* the database is there and chosen */
};

static inline void raw_mysql_open(struct raw_mysql *raw, struct loop *loop, const char *database)
{
    struct maria_settings settings = maria_fixture_settings();

    *raw = (struct raw_mysql){.loop = loop};
    snprintf(raw->database, sizeof(raw->database), "%s", database);
    settings.database = NULL;
    settings.program_name = "bfm raw";
    raw->pool = maria_pool_create(loop, &settings);
    assert_non_null(raw->pool);
    raw->conn = maria_take(loop, raw->pool);
}

static inline void raw_mysql_close(struct raw_mysql *raw)
{
    maria_release(raw->conn);
    maria_close(raw->loop, raw->pool);
    raw->conn = NULL;
}

static inline bool raw_mysql_is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '`';
}

/* Copies a word, and quotes it where MySQL would take it for one of its own. */
static inline const char *raw_mysql_put_word(struct buf *out, const char *at)
{
    static const char *const own[] = {"schema", "key"};
    const char *end = at;
    bool quoted = false;

    while (raw_mysql_is_word(*end))
        end++;
    for (size_t i = 0; i < ARRAY_SIZE(own); i++)
        if (strlen(own[i]) == (size_t)(end - at) && strncmp(own[i], at, (size_t)(end - at)) == 0)
            quoted = true;
    buf_puts(out, quoted ? "`" : "");
    buf_append(out, at, (size_t)(end - at));
    buf_puts(out, quoted ? "`" : "");
    return end;
}

static inline void raw_mysql_put(struct buf *out, const char *sql)
{
    bool text = false;

    while (*sql != '\0') {
        if (!text && raw_mysql_is_word(*sql)) {
            sql = raw_mysql_put_word(out, sql);
            continue;
        }
        text = text != (*sql == '\'');
        buf_putc(out, *sql++);
    }
}

static inline const char *raw_mysql_ask(struct raw_mysql *raw, const char *sql)
{
    struct buf text;
    const char *answer;

    buf_init(&text, 1 << 20);
    if (!raw->used) {
        buf_printf(&text, "CREATE DATABASE IF NOT EXISTS `%s` CHARACTER SET utf8mb4;USE `%s`;",
                   raw->database, raw->database);
        maria_ask_text(raw->loop, raw->conn, buf_str(&text));
        buf_truncate(&text, 0);
    }
    raw->used = true;
    raw_mysql_put(&text, sql);
    answer = maria_ask_text(raw->loop, raw->conn, buf_str(&text));
    buf_free(&text);
    return strcmp(answer, "NULL") == 0 ? "" : answer;
}

static inline void raw_mysql_drop(struct raw_mysql *raw)
{
    char sql[128];

    snprintf(sql, sizeof(sql), "DROP DATABASE IF EXISTS `%s`", raw->database);
    maria_ask_text(raw->loop, raw->conn, sql);
    raw->used = false;
}

/* Ends the connections of stores, as a restart does. */
static inline void raw_mysql_kill_others(struct raw_mysql *raw)
{
    struct maria_results found, killed;
    struct err err;
    char sql[64];

    if (maria_ask(raw->loop, raw->conn,
                  "SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID()"
                  " AND user = SUBSTRING_INDEX(CURRENT_USER(), '@', 1)",
                  &found, &err) != 0)
        fail_msg("%s", err_text(&err));
    for (size_t i = 0; i < found.results[0].rows; i++) {
        snprintf(sql, sizeof(sql), "KILL %s", maria_value(&found.results[0], i, 0, NULL));
        (void)maria_ask(raw->loop, raw->conn, sql, &killed, NULL); /* it may be gone */
        maria_results_free(&killed);
    }
    maria_results_free(&found);
}

#endif
