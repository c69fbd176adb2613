#include "backend/greptimedb_private.h"

#include "backend/greptimedb_sql.h"
#include "base/mem.h"

enum {
    GTDB_STATEMENT_TIMEOUT_MS = 300000,
    GTDB_PROBE_TIMEOUT_MS = 5000,
    GTDB_MAX_ATTEMPTS = 5,
    GTDB_STALE_MS = 6000,
    GTDB_STATE_WAIT_MS = 30000,
};

struct sched *gtdb_sched(const struct gtdb *gtdb)
{
    return loop_sched(gtdb->loop);
}

const char *gtdb_database_of(const struct gtdb *gtdb, const char *schema)
{
    return schema != NULL && schema[0] != '\0' ? schema : gtdb->database;
}

bool gtdb_note_away(struct gtdb *gtdb, uint64_t since_ms)
{
    uint64_t now = gtdb_sched(gtdb)->now_ms;

    return backend_down_note(&gtdb->down, now, since_ms) >= BACKEND_DOWN_GRACE_MS;
}

void gtdb_note_contact(struct gtdb *gtdb)
{
    backend_down_end(&gtdb->down);
}

/* --- the end --- */

static void gtdb_free(struct gtdb *gtdb)
{
    mem_free(gtdb->connection);
    mem_free(gtdb->default_schema);
    mem_free(gtdb->database);
    mem_free(gtdb);
}

static void gtdb_on_peer_closed(struct op *op, int rc)
{
    struct gtdb *gtdb = container_of(op, struct gtdb, close_peer);
    struct op *close_op = gtdb->close_op;

    (void)rc;
    gtdb_free(gtdb);
    op_finish(close_op, 0);
}

static void gtdb_close_peer(struct gtdb *gtdb)
{
    op_init(&gtdb->close_peer, gtdb_on_peer_closed);
    curl_peer_close(gtdb->peer, &gtdb->close_peer);
}

void gtdb_begin(struct gtdb *gtdb)
{
    gtdb->active++;
}

void gtdb_end(struct gtdb *gtdb)
{
    if (--gtdb->active == 0 && gtdb->close_op != NULL)
        gtdb_close_peer(gtdb);
}

static int gtdb_close(struct backend *backend, struct op *op)
{
    struct gtdb *gtdb = container_of(backend, struct gtdb, pub);

    op_begin(op, gtdb, NULL);
    gtdb->close_op = op;
    if (gtdb->active == 0)
        gtdb_close_peer(gtdb);
    return 0;
}

static void gtdb_get_stats(struct backend *backend, struct pool_stats *out)
{
    curl_peer_report(container_of(backend, struct gtdb, pub)->peer, out);
}

/* --- the beginning --- */

static const struct backend_ops gtdb_ops = {
    .kind = BACKEND_GREPTIMEDB,
    .execute = gtdb_execute,
    .inspect = gtdb_inspect,
    .read_journal = gtdb_read_journal,
    .adopt = gtdb_adopt,
    .resolve = gtdb_resolve,
    .ping = gtdb_ping,
    .get_stats = gtdb_get_stats,
    .close = gtdb_close,
};

static void gtdb_set_defaults(struct backend_greptimedb_settings *settings)
{
    if (settings->peer.max_open == 0)
        settings->peer.max_open = 1;
    if (settings->statement_timeout_ms == 0)
        settings->statement_timeout_ms = GTDB_STATEMENT_TIMEOUT_MS;
    if (settings->probe_timeout_ms == 0)
        settings->probe_timeout_ms = GTDB_PROBE_TIMEOUT_MS;
    if (settings->max_attempts == 0)
        settings->max_attempts = GTDB_MAX_ATTEMPTS;
    if (settings->stale_ms == 0)
        settings->stale_ms = GTDB_STALE_MS;
    if (settings->state_wait_ms == 0)
        settings->state_wait_ms = GTDB_STATE_WAIT_MS;
}

static int gtdb_copy_settings(struct gtdb *gtdb, const struct backend_greptimedb_settings *from)
{
    const char *database = from->database;

    if (database == NULL || database[0] == '\0')
        database = "public";
    gtdb->settings = *from;
    gtdb_set_defaults(&gtdb->settings);
    gtdb->connection = mem_strdup(from->connection);
    gtdb->database = mem_strdup(database);
    if (from->default_schema != NULL)
        gtdb->default_schema = mem_strdup(from->default_schema);
    if (gtdb->connection == NULL || gtdb->database == NULL ||
        (from->default_schema != NULL && gtdb->default_schema == NULL))
        return ERR_NOMEM;
    gtdb->settings.connection = gtdb->connection;
    gtdb->settings.default_schema = gtdb->default_schema;
    gtdb->settings.database = gtdb->database;
    return 0;
}

int backend_greptimedb_create(struct loop *loop, struct curl_client *client, struct ledger *ledger,
                              const struct backend_greptimedb_settings *settings,
                              struct backend **out, struct err *err)
{
    struct gtdb *gtdb = mem_calloc(1, sizeof(*gtdb));
    int rc;

    if (gtdb == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    gtdb->loop = loop;
    gtdb->ledger = ledger;
    rc = gtdb_copy_settings(gtdb, settings);
    if (rc != 0) {
        err_set(err, rc, "out of memory");
        goto err_after_alloc;
    }
    if (!gtdb_name_is_valid(gtdb->database)) {
        rc = err_set(err, ERR_INVALID, "\"%s\" cannot name a database of GreptimeDB",
                     gtdb->database);
        goto err_after_alloc;
    }
    rc = curl_peer_create(client, &gtdb->settings.peer, &gtdb->peer, err);
    if (rc != 0)
        goto err_after_alloc;
    gtdb->settings.peer = (struct curl_peer_settings){.max_open = gtdb->settings.peer.max_open};
    gtdb->pub = (struct backend){.ops = &gtdb_ops,
                                 .connection = gtdb->connection,
                                 .default_schema = gtdb->default_schema,
                                 .parallel = gtdb->settings.peer.max_open};
    *out = &gtdb->pub;
    return 0;

err_after_alloc:
    gtdb_free(gtdb);
    return rc;
}

int backend_greptimedb_set_password(struct backend *backend, const char *password)
{
    return curl_peer_set_password(container_of(backend, struct gtdb, pub)->peer, password);
}
