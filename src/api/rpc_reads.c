#include "api/pages.h"
#include "api/rpc.h"

/* What is known of migrations. */

static void release_list(struct rpc *rpc)
{
    ops_list_free(&rpc->out.list);
}

int rpc_start_list(struct rpc *rpc)
{
    const Migration__ListMigrationsRequest *asked = (const void *)rpc->request;
    struct ops_list_filter filter = {
        .schema = asked->schema,
        .table = asked->table,
        .connection = asked->connection,
        .backend = asked->backend,
        .status = asked->status,
        .version = asked->version,
        .after = "",
        .grant = rpc->grant,
    };
    int rc = rpc_read_limit(rpc, asked->limit, OPS_LIMIT_MAX, 0, &filter.limit);

    if (rc != 0)
        return rc;
    rc = page_read_list(asked->cursor, grpc_arena(rpc->call), &filter);
    if (rc != 0)
        return rpc_refuse_cursor(rpc, "cursor", rc);
    rc = ops_list_start(&rpc->api->ops, &rpc->op, &filter, &rpc->out.list);
    if (rc == 0)
        rpc->release = release_list;
    return rc;
}

static char **tags_of(const struct migration *migration)
{
    return (char **)(uintptr_t)migration->tags;
}

static void put_item(const struct ops_list_item *from, struct buf *out)
{
    const struct migration *migration = from->migration;
    Migration__MigrationListItem item;
    char applied_at[RPC_TIME_SIZE];

    migration__migration_list_item__init(&item);
    item.migration_id = rpc_text(migration->id);
    item.schema = rpc_text(migration->schema);
    item.table = rpc_text(migration->table);
    item.version = rpc_text(migration->version);
    item.name = rpc_text(migration->name);
    item.connection = rpc_text(migration->connection);
    item.backend = rpc_text(backend_kind_name(migration->backend));
    item.applied = from->status.applied;
    item.status = rpc_text(from->status.status);
    item.applied_at = rpc_time(from->status.applied_at_us, applied_at);
    item.error_message = rpc_text(from->status.error_message);
    item.n_tags = migration->tag_count;
    item.tags = tags_of(migration);
    item.schemas_applied = from->schemas_applied;
    rpc_put_message(out, 1, &item.base);
}

static bool more_of_list(struct rpc *rpc, struct buf *out)
{
    struct ops_list *list = &rpc->out.list;
    struct ops_list_item item;
    enum ops_next next = ops_list_next(list, &item);

    if (next == OPS_NEXT_ITEM)
        put_item(&item, out);
    if (next != OPS_NEXT_END)
        return true;
    rpc_put_int(out, 2, (int64_t)list->total);
    if (list->last != NULL) {
        page_put_list(list, &rpc->line);
        rpc_put_some_of(out, 3, &rpc->line);
    }
    return false;
}

void rpc_answer_list(struct rpc *rpc)
{
    rpc_pump(rpc, more_of_list);
}

/* --- one migration --- */

static void release_lookup(struct rpc *rpc)
{
    ops_lookup_free(&rpc->out.lookup);
}

/* GetMigration, GetMigrationStatus, IsMigrationApplied: their messages have the same shape. */
int rpc_start_state(struct rpc *rpc)
{
    const Migration__GetMigrationRequest *asked = (const void *)rpc->request;
    const struct ops_lookup_request request = {
        .kind = OPS_LOOKUP_STATE, .id = asked->migration_id, .limit = 1, .grant = rpc->grant};
    int rc;

    if (asked->migration_id[0] == '\0')
        return op_refuse(&rpc->op, ERR_INVALID, "migration_id is required");
    rc = ops_lookup_start(&rpc->api->ops, &rpc->op, &request, &rpc->out.lookup);
    if (rc == 0)
        rpc->release = release_lookup;
    return rc;
}

void rpc_answer_status(struct rpc *rpc)
{
    const Migration__GetMigrationRequest *asked = (const void *)rpc->request;
    Migration__MigrationStatusResponse answer;
    char applied_at[RPC_TIME_SIZE];
    struct ops_status status;

    migration__migration_status_response__init(&answer);
    ops_lookup_status(&rpc->out.lookup, &status);
    answer.migration_id = asked->migration_id;
    answer.status = rpc_text(status.status);
    answer.applied = status.applied;
    answer.applied_at = rpc_time(status.applied_at_us, applied_at);
    answer.error_message = rpc_text(status.error_message);
    rpc_answer(rpc, &answer.base);
}

void rpc_answer_applied(struct rpc *rpc)
{
    Migration__IsMigrationAppliedResponse answer;
    struct ops_status status;

    migration__is_migration_applied_response__init(&answer);
    ops_lookup_status(&rpc->out.lookup, &status);
    answer.applied = status.applied;
    rpc_answer(rpc, &answer.base);
}

/* A migration whose script is gone: as it was recorded. */
static void fill_recorded(Migration__MigrationDetailResponse *answer,
                          const struct store_status *row)
{
    answer->migration_id = rpc_text(row->migration_id);
    answer->schema = rpc_text(row->schema);
    answer->version = rpc_text(row->version);
    answer->name = rpc_text(row->name);
    answer->connection = rpc_text(row->connection);
    answer->backend = rpc_text(row->backend);
}

static void fill_known(Migration__MigrationDetailResponse *answer,
                       const struct migration *migration)
{
    answer->migration_id = rpc_text(migration->id);
    answer->schema = rpc_text(migration->schema);
    answer->table = rpc_text(migration->table);
    answer->version = rpc_text(migration->version);
    answer->name = rpc_text(migration->name);
    answer->connection = rpc_text(migration->connection);
    answer->backend = rpc_text(backend_kind_name(migration->backend));
    answer->up_sql = rpc_text(migration->up.text);
    answer->down_sql = rpc_text(migration->down.file != NULL ? migration->down.text : "");
    answer->n_tags = migration->tag_count;
    answer->tags = tags_of(migration);
}

/* Behind the packed rest: fields may come in any order. */
static bool more_of_dependencies(struct rpc *rpc, struct buf *out)
{
    const struct migration *migration = rpc->out.lookup.resolve.migration;
    Migration__DependencyResponse item;
    const struct dependency *from;

    migration__dependency_response__init(&item);
    if (migration == NULL || rpc->at == migration->dependency_count)
        return false;
    from = &migration->dependencies[rpc->at++];
    if (from->simple) {
        rpc_put_string(out, 11, from->target);
        return true;
    }
    item.connection = rpc_text(from->connection);
    item.schema = rpc_text(from->schema);
    item.target = rpc_text(from->target);
    item.target_type = rpc_text(from->by_version ? "version" : "name");
    item.requires_table = rpc_text(from->requires_table);
    item.requires_schema = rpc_text(from->requires_schema);
    rpc_put_message(out, 12, &item.base);
    return true;
}

void rpc_answer_detail(struct rpc *rpc)
{
    const struct ops_resolve *resolve = &rpc->out.lookup.resolve;
    Migration__MigrationDetailResponse answer;
    struct ops_status status;

    migration__migration_detail_response__init(&answer);
    if (!resolve->found) {
        rpc_fail(rpc, GRPC_NOT_FOUND, "migration not found");
        return;
    }
    ops_lookup_status(&rpc->out.lookup, &status);
    answer.applied = status.applied;
    if (resolve->migration == NULL)
        fill_recorded(&answer, resolve->recorded);
    else
        fill_known(&answer, resolve->migration);
    rpc_put(&rpc->buf, &answer.base);
    rpc_pump(rpc, more_of_dependencies);
}
