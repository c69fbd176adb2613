#include "backend/etcd_private.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

enum {
    ETCDB_DOUBT_WAIT_MS = 30000,
    ETCDB_MAX_OPEN = 8,
    ETCDB_MAX_TXN_OPS = 128,
    ETCDB_MIN_TXN_OPS = 8, /* a server that takes fewer than that is of no use */
    ETCDB_MAX_REQUEST = 1572864,
};

struct sched *etcdb_sched(const struct etcdb *db)
{
    return loop_sched(db->loop);
}

void etcdb_explain(const struct etcdb *db, const char *schema, const struct etcd_answer *answer,
                   struct err *err)
{
    struct buf path;

    if (err->code != ERR_FORBIDDEN || answer->grpc != 7)
        return;
    buf_init(&path, ERR_TEXT_MAX);
    if (schema != NULL)
        etcdb_put_path(&path, db->prefix, schema, "");
    else
        buf_puts(&path, db->prefix);
    err_set(err, ERR_FORBIDDEN,
            "etcd: permission denied: the user needs a role with READWRITE on all keys that begin "
            "with \"%s\", and on all that begin with \"%s\", where BfM keeps its journal",
            buf_str(&path), db->reserved);
    buf_free(&path);
}

int etcdb_take_marker(const cJSON *range, struct etcdb_marker *out, struct etcdb_kv *kv,
                      struct arena *arena, struct err *err)
{
    const cJSON *item = etcdb_range_first(range);
    int rc;

    *kv = (struct etcdb_kv){.mod = 0};
    if (range == NULL)
        return err_set(err, ERR_DB, "etcd gave an answer without the journal's entry");
    if (item == NULL)
        return ERR_NOT_FOUND;
    rc = etcdb_kv_read(item, arena, kv);
    if (rc != 0)
        return err_set(err, rc, "%s",
                       rc == ERR_NOMEM ? "out of memory" : "etcd gave a malformed key");
    rc = etcdb_marker_read(kv->value.at, kv->value.len, out, err);
    return rc == ERR_INVALID && err != NULL ? (err->code = ERR_DB) : rc;
}

bool etcdb_shrink(struct etcdb *db, size_t made_for)
{
    if (db->max_txn_ops < made_for) /* one of many that were refused at once */
        return true;
    if (db->max_txn_ops / 2 < ETCDB_MIN_TXN_OPS)
        return false;
    db->max_txn_ops /= 2;
    return true;
}

bool etcdb_is_too_many(const struct etcd_answer *answer)
{
    return strstr(answer->message, "too many operations") != NULL;
}

/* --- the end --- */

static void etcdb_free(struct etcdb *db)
{
    mem_free(db->connection);
    mem_free(db->default_schema);
    mem_free(db->prefix);
    mem_free(db->reserved);
    for (size_t i = 0; i < db->guarded_count; i++)
        mem_free(db->guarded[i]);
    mem_free(db->guarded);
    mem_free(db);
}

static void etcdb_on_client_closed(struct op *op, int rc)
{
    struct etcdb *db = container_of(op, struct etcdb, close_client);
    struct op *close_op = db->close_op;

    (void)rc;
    etcdb_free(db);
    op_finish(close_op, 0);
}

static void etcdb_close_client(struct etcdb *db)
{
    op_init(&db->close_client, etcdb_on_client_closed);
    etcd_client_close(db->client, &db->close_client);
}

void etcdb_begin(struct etcdb *db)
{
    db->active++;
}

void etcdb_end(struct etcdb *db)
{
    if (--db->active == 0 && db->close_op != NULL)
        etcdb_close_client(db);
}

static int etcdb_close(struct backend *backend, struct op *op)
{
    struct etcdb *db = container_of(backend, struct etcdb, pub);

    op_begin(op, db, NULL);
    db->close_op = op;
    if (db->active == 0)
        etcdb_close_client(db);
    return 0;
}

static void etcdb_get_stats(struct backend *backend, struct pool_stats *out)
{
    etcd_client_report(container_of(backend, struct etcdb, pub)->client, out);
}

/* --- the beginning --- */

static const struct backend_ops etcdb_ops = {
    .kind = BACKEND_ETCD,
    .execute = etcdb_execute,
    .inspect = etcdb_inspect,
    .read_journal = etcdb_read_journal,
    .adopt = etcdb_adopt,
    .ping = etcdb_ping,
    .get_stats = etcdb_get_stats,
    .close = etcdb_close,
};

static char *etcdb_make_reserved(const char *prefix)
{
    struct buf text;

    buf_init(&text, ETCDB_BODY_MAX);
    etcdb_put_reserved(&text, prefix);
    return buf_take(&text);
}

static int etcdb_copy_guarded(struct etcdb *db, const struct backend_etcd_settings *from)
{
    db->guarded = mem_calloc(1 + from->reserved_count, sizeof(*db->guarded));
    if (db->guarded == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i <= from->reserved_count; i++) {
        db->guarded[i] = mem_strdup(i == 0 ? db->reserved : from->reserved[i - 1]);
        if (db->guarded[i] == NULL)
            return ERR_NOMEM;
        db->guarded_count++;
    }
    return 0;
}

static int etcdb_copy_settings(struct etcdb *db, const struct backend_etcd_settings *from)
{
    const char *prefix = from->prefix != NULL ? from->prefix : "/";

    db->connection = mem_strdup(from->connection);
    db->prefix = mem_strdup(prefix);
    db->reserved = etcdb_make_reserved(prefix);
    if (from->default_schema != NULL)
        db->default_schema = mem_strdup(from->default_schema);
    if (db->connection == NULL || db->prefix == NULL || db->reserved == NULL ||
        (from->default_schema != NULL && db->default_schema == NULL))
        return ERR_NOMEM;
    db->has_user = from->username != NULL;
    db->max_txn_ops = from->max_txn_ops > 0 ? from->max_txn_ops : ETCDB_MAX_TXN_OPS;
    if (db->max_txn_ops < ETCDB_MIN_TXN_OPS)
        db->max_txn_ops = ETCDB_MIN_TXN_OPS;
    db->max_request = from->max_request > 0 ? from->max_request : ETCDB_MAX_REQUEST;
    db->doubt_wait_ms = from->doubt_wait_ms > 0 ? from->doubt_wait_ms : ETCDB_DOUBT_WAIT_MS;
    return etcdb_copy_guarded(db, from);
}

int backend_etcd_create(struct loop *loop, struct curl_client *client,
                        const struct backend_etcd_settings *settings, struct backend **out,
                        struct err *err)
{
    const char *prefix = settings->prefix;
    struct etcdb *db;
    int rc;

    *out = NULL;
    if (prefix != NULL && (prefix[0] == '\0' || prefix[strlen(prefix) - 1] != '/'))
        return err_set(err, ERR_INVALID, "the prefix of keys does not end in '/'");
    db = mem_calloc(1, sizeof(*db));
    if (db == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    db->loop = loop;
    rc = etcdb_copy_settings(db, settings);
    if (rc != 0) {
        err_set(err, rc, "%s", err_code_text(rc));
        goto err_after_alloc;
    }
    rc = etcd_client_create(loop, client, settings, &db->client, err);
    if (rc != 0)
        goto err_after_alloc;
    db->pub =
        (struct backend){.ops = &etcdb_ops,
                         .connection = db->connection,
                         .default_schema = db->default_schema,
                         .parallel = settings->max_open > 0 ? settings->max_open : ETCDB_MAX_OPEN};
    *out = &db->pub;
    return 0;

err_after_alloc:
    etcdb_free(db);
    return rc;
}

int backend_etcd_set_password(struct backend *backend, const char *password)
{
    return etcd_client_set_password(container_of(backend, struct etcdb, pub)->client, password);
}
