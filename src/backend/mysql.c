#include "backend/mysql_private.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

enum {
    MYB_LOCK_TIMEOUT_MS = 5000,
    MYB_DOUBT_WAIT_MS = 30000,
    MYB_MAX_ATTEMPTS = 5,
    MYB_LOCK_HEX = 56, /* digits of the hash in a lock's name */
};

struct sched *myb_sched(const struct myb *myb)
{
    return loop_sched(myb->loop);
}

const struct maria_result *myb_last(const struct maria_results *results)
{
    return results->count > 0 ? &results->results[results->count - 1] : NULL;
}

static const char *myb_quoted(struct arena *arena, const char *text,
                              int (*put)(struct buf *, const char *))
{
    const char *kept = NULL;
    struct buf quoted;

    buf_init(&quoted, MYB_SQL_MAX);
    if (put(&quoted, text) == 0)
        kept = arena_strdup(arena, buf_str(&quoted));
    buf_free(&quoted);
    return kept;
}

const char *myb_literal(struct arena *arena, const char *text)
{
    return myb_quoted(arena, text, maria_put_literal);
}

const char *myb_identifier(struct arena *arena, const char *text)
{
    return myb_quoted(arena, text, maria_put_identifier);
}

const char *myb_lock_name(struct arena *arena, const struct myb *myb, const char *schema,
                          const char *migration_id)
{
    char hex[HASH_SHA256_HEX], name[MYB_LOCK_MAX];
    const char *const texts[] = {myb->journal_schema, schema, migration_id};
    struct buf key;
    int rc;

    buf_init(&key, MYB_SQL_MAX);
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        buf_append(&key, texts[i], strlen(texts[i]) + 1);
    rc = key.rc != 0 ? key.rc : hash_sha256_hex(buf_str(&key), key.len, hex);
    buf_free(&key);
    if (rc != 0)
        return NULL;
    snprintf(name, sizeof(name), "bfm:%.*s", (int)MYB_LOCK_HEX, hex);
    return myb_literal(arena, name);
}

void myb_put_create_journal(struct buf *sql, const struct myb *myb, bool database)
{
    if (database) {
        mysql_put_create_database(sql, myb->journal_ident);
        buf_puts(sql, " CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;");
    }
    mysql_put_create_journal(sql, myb->journal);
}

void myb_explain_journal(struct err *err, const struct myb *myb, unsigned error)
{
    bool denied = error == MYB_ACCESS_DENIED_DB || error == MYB_DENIED;

    err_prefix(
        err, "the journal table could not be created in database \"%s\"%s", myb->journal_schema,
        denied ? " (grant the connection's user CREATE, SELECT, INSERT, UPDATE and DELETE on "
                 "all of that database)"
               : "");
}

/* --- the end --- */

static void myb_free(struct myb *myb)
{
    arena_free(&myb->arena);
    mem_free(myb->connection);
    mem_free(myb->default_schema);
    mem_free(myb->journal_schema);
    mem_free(myb->database);
    mem_free(myb);
}

static void myb_on_pool_closed(struct op *op, int rc)
{
    struct myb *myb = container_of(op, struct myb, close_pool);
    struct op *close_op = myb->close_op;

    (void)rc;
    myb_free(myb);
    op_finish(close_op, 0);
}

static void myb_close_pool(struct myb *myb)
{
    op_init(&myb->close_pool, myb_on_pool_closed);
    maria_pool_close(myb->pool, &myb->close_pool);
}

void myb_begin(struct myb *myb)
{
    myb->active++;
}

void myb_end(struct myb *myb)
{
    if (--myb->active == 0 && myb->close_op != NULL)
        myb_close_pool(myb);
}

static int myb_close(struct backend *backend, struct op *op)
{
    struct myb *myb = container_of(backend, struct myb, pub);

    op_begin(op, myb, NULL);
    myb->close_op = op;
    if (myb->active == 0)
        myb_close_pool(myb);
    return 0;
}

static void myb_get_stats(struct backend *backend, struct pool_stats *out)
{
    maria_pool_report(container_of(backend, struct myb, pub)->pool, out);
}

/* --- the beginning --- */

static const struct backend_ops myb_ops = {
    .kind = BACKEND_MYSQL,
    .execute = myb_execute,
    .inspect = myb_inspect,
    .read_journal = myb_read_journal,
    .adopt = myb_adopt,
    .resolve = myb_resolve,
    .ping = myb_ping,
    .get_stats = myb_get_stats,
    .close = myb_close,
};

static int myb_copy_text(char **to, const char *from)
{
    if (from == NULL)
        return 0;
    *to = mem_strdup(from);
    return *to != NULL ? 0 : ERR_NOMEM;
}

static int myb_copy_settings(struct myb *myb, const struct backend_mysql_settings *from)
{
    struct backend_mysql_settings *to = &myb->settings;
    const char *journal = from->journal_schema != NULL ? from->journal_schema : "bfm";

    *to = *from;
    if (myb_copy_text(&myb->connection, from->connection) != 0 ||
        myb_copy_text(&myb->journal_schema, journal) != 0 ||
        myb_copy_text(&myb->default_schema, from->default_schema) != 0 ||
        myb_copy_text(&myb->database, from->pool.database) != 0)
        return ERR_NOMEM;
    to->connection = myb->connection;
    to->journal_schema = myb->journal_schema;
    to->default_schema = myb->default_schema;
    to->pool =
        (struct maria_settings){.max_open = from->pool.max_open > 0 ? from->pool.max_open : 1};
    to->lock_timeout_ms = from->lock_timeout_ms > 0 ? from->lock_timeout_ms : MYB_LOCK_TIMEOUT_MS;
    to->doubt_wait_ms = from->doubt_wait_ms > 0 ? from->doubt_wait_ms : MYB_DOUBT_WAIT_MS;
    to->max_attempts = from->max_attempts > 0 ? from->max_attempts : MYB_MAX_ATTEMPTS;
    myb->journal_ident = myb_identifier(&myb->arena, journal);
    if (myb->journal_ident == NULL)
        return ERR_NOMEM;
    myb->journal = arena_printf(&myb->arena, "%s.journal", myb->journal_ident);
    return myb->journal != NULL ? 0 : ERR_NOMEM;
}

struct backend *backend_mysql_create(struct loop *loop,
                                     const struct backend_mysql_settings *settings)
{
    struct myb *myb = mem_calloc(1, sizeof(*myb));

    if (myb == NULL)
        return NULL;
    myb->loop = loop;
    arena_init(&myb->arena);
    if (myb_copy_settings(myb, settings) != 0)
        goto err_after_alloc;
    myb->pool = maria_pool_create(loop, &settings->pool);
    if (myb->pool == NULL)
        goto err_after_alloc;
    myb->pub = (struct backend){.ops = &myb_ops,
                                .connection = myb->connection,
                                .default_schema = myb->default_schema,
                                .parallel = myb->settings.pool.max_open};
    return &myb->pub;

err_after_alloc:
    myb_free(myb);
    return NULL;
}

int backend_mysql_set_password(struct backend *backend, const char *password)
{
    return maria_pool_set_password(container_of(backend, struct myb, pub)->pool, password);
}
