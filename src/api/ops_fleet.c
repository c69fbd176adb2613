/*
 * How far the schemas of a connection are.
 *
 *   TENANTS ──> SUMS (on a pool thread) ──> done
 *       └── gate: DECLARED ──^
 */
#include <stdlib.h>
#include <string.h>

#include "api/ops_fleet_private.h"
#include "base/map.h"
#include "io/work.h"

enum {
    FLEET_TENANTS,
    FLEET_DECLARED,
    FLEET_SUMS,
};

/* --- what is expected --- */

const struct registry_group *fleet_group(const struct ops_fleet *fleet)
{
    static const struct registry_group none = {0};
    const struct registry_group *group =
        registry_group(&fleet->registry->by_connection, fleet->request.connection);

    return group != NULL ? group : &none;
}

static bool fleet_counts(const struct ops_fleet *fleet, const struct migration *migration)
{
    const char *upto = fleet->filter.upto_version;

    return upto == NULL || strcmp(migration->version, upto) <= 0;
}

/* The registry is in the order of versions. */
static int fleet_expect(struct ops_fleet *fleet)
{
    const struct registry_group *group = fleet_group(fleet);

    fleet->latest = "";
    fleet->ids = arena_calloc(&fleet->arena, group->count + 1, sizeof(*fleet->ids));
    if (fleet->ids == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < group->count; i++) {
        const struct migration *migration = group->migrations[i];

        if (migration_is_fixed(migration))
            continue;
        fleet->latest = migration->version;
        if (fleet_counts(fleet, migration))
            fleet->ids[fleet->expected++] = migration->id;
    }
    fleet->filter.migration_ids = fleet->ids;
    fleet->filter.id_count = fleet->expected;
    return 0;
}

/* --- adding up, on a thread --- */

static bool fleet_knows(const struct ops_fleet *fleet, const struct store_tenant *tenant)
{
    return (tenant->applied > 0 || tenant->failed > 0) &&
           grant_sees(fleet->request.grant, NULL, tenant->schema);
}

static bool fleet_is_behind(const struct ops_fleet *fleet, const struct store_tenant *tenant)
{
    return tenant->counted < (int64_t)fleet->expected;
}

static void fleet_count(struct ops_fleet *fleet, const struct store_tenant *tenant)
{
    fleet->schemas++;
    if (!fleet_is_behind(fleet, tenant))
        return;
    fleet->laggards++;
    fleet->failed += tenant->failed > 0;
    if (strcmp(tenant->schema, fleet->request.cursor) <= 0)
        return;
    if (fleet->page_count < fleet->request.limit)
        fleet->page[fleet->page_count++] = tenant;
    else
        fleet->next_cursor = fleet->page[fleet->page_count - 1]->schema;
}

static int fleet_compare_versions(const void *a, const void *b)
{
    const struct ops_fleet_version *left = a, *right = b;

    return strcmp(right->version, left->version);
}

/* Counts a schema at this version. */
static int fleet_count_version(struct ops_fleet *fleet, struct map *seen, const char *version)
{
    struct ops_fleet_version *found = map_get_str(seen, version);

    if (found == NULL) {
        found = arena_calloc(&fleet->arena, 1, sizeof(*found));
        if (found == NULL || map_put_str(seen, version, found) != 0)
            return ERR_NOMEM;
        found->version = version;
    }
    found->schemas++;
    return 0;
}

static int fleet_order_versions(struct ops_fleet *fleet, const struct map *seen)
{
    struct ops_fleet_version *versions, *next;

    versions = arena_calloc(&fleet->arena, seen->len, sizeof(*versions));
    if (versions == NULL)
        return ERR_NOMEM;
    for (size_t at = 0; (next = map_next(seen, &at)) != NULL;)
        versions[fleet->version_count++] = *next;
    if (fleet->version_count > 0)
        qsort(versions, fleet->version_count, sizeof(*versions), fleet_compare_versions);
    fleet->versions = versions;
    return 0;
}

static int fleet_sum(struct ops_fleet *fleet)
{
    struct map seen;
    int rc = 0;

    fleet->page = arena_calloc(&fleet->arena, fleet->request.limit, sizeof(*fleet->page));
    if (fleet->page == NULL)
        return ERR_NOMEM;
    map_init(&seen);
    for (size_t i = 0; i < fleet->tenants.count && rc == 0; i++) {
        const struct store_tenant *tenant = &fleet->tenants.rows[i];

        if (!fleet_knows(fleet, tenant))
            continue;
        fleet_count(fleet, tenant);
        rc = fleet_count_version(fleet, &seen, tenant->version);
    }
    if (rc == 0)
        rc = fleet_order_versions(fleet, &seen);
    map_free(&seen);
    if (rc == 0 && fleet->schemas == 0 && fleet->filter.schema != NULL) {
        fleet->newcomer = (struct store_tenant){.schema = fleet->filter.schema, .version = ""};
        fleet_count(fleet, &fleet->newcomer);
    }
    return rc;
}

static int fleet_sum_on_thread(void *arg, struct err *err)
{
    struct ops_fleet *fleet = arg;
    int rc = fleet_sum(fleet);

    if (rc == 0 && fleet->gate != NULL)
        rc = gate_judge(fleet->gate);
    return rc != 0 ? err_set(err, rc, "%s", err_code_text(rc)) : 0;
}

/* --- the operation --- */

/* Starts the next step; 1: there is none. */
static int fleet_advance(struct ops_fleet *fleet)
{
    int rc;

    if (fleet->stage == FLEET_TENANTS && fleet->gate != NULL) {
        fleet->stage = FLEET_DECLARED;
        rc = gate_ask(fleet->gate);
        if (rc <= 0)
            return rc;
    }
    if (fleet->stage == FLEET_SUMS)
        return 1;
    fleet->stage = FLEET_SUMS;
    return work_start(fleet->ops->loop, &fleet->step, fleet_sum_on_thread, fleet);
}

static void fleet_on_step(struct op *step, int rc)
{
    struct ops_fleet *fleet = container_of(step, struct ops_fleet, step);

    if (rc == 0)
        rc = fleet_advance(fleet);
    if (rc == 1)
        op_finish(fleet->op, 0);
    else if (rc != 0)
        op_fail(fleet->op, &step->err);
}

static void fleet_cancel(struct op *op)
{
    struct ops_fleet *fleet = op->impl;

    op_cancel(&fleet->step);
}

static int fleet_check(const struct ops *ops, const struct ops_fleet_request *request,
                       struct err *err)
{
    const char *connection = request->connection;
    int rc;

    if (connection[0] == '\0')
        return err_set(err, ERR_INVALID, "parameter \"connection\" is required");
    rc = grant_check_place(request->grant, connection, request->schema, err);
    if (rc == 0 && engine_target(ops->engine, connection) == NULL)
        rc = err_set(err, ERR_NOT_FOUND, "connection %.300s not found", connection);
    return rc;
}

int fleet_start(struct ops *ops, struct op *op, const struct ops_fleet_request *request,
                struct ops_gate *gate, struct ops_fleet *out)
{
    struct err err = {0};
    int rc = fleet_check(ops, request, &err);

    *out = (struct ops_fleet){
        .ops = ops, .op = op, .request = *request, .next_cursor = "", .gate = gate};
    arena_init(&out->arena);
    op_init(&out->step, fleet_on_step);
    if (rc != 0)
        return op_refuse(op, rc, "%s", err_text(&err));
    out->filter.connection = request->connection;
    out->filter.schema = request->schema[0] != '\0' ? request->schema : NULL;
    out->registry = registry_ref(ops->engine->registry);
    if (gate != NULL)
        rc = gate_expect(gate, &err);
    if (rc == 0 && fleet_expect(out) != 0)
        rc = err_set(&err, ERR_NOMEM, "out of memory");
    if (rc == 0) {
        rc = ops->store->ops->get_tenants(ops->store, &out->step, &out->filter, &out->tenants);
        err = out->step.err;
    }
    if (rc != 0)
        return op_refuse(op, rc, "%s", err_text(&err));
    op_begin(op, out, fleet_cancel);
    return 0;
}

int ops_tenants_start(struct ops *ops, struct op *op, const struct ops_fleet_request *request,
                      struct ops_fleet *out)
{
    int rc = fleet_start(ops, op, request, NULL, out);

    if (rc != 0)
        ops_fleet_free(out);
    return rc;
}

void ops_fleet_free(struct ops_fleet *fleet)
{
    arena_free(&fleet->tenants.arena);
    arena_free(&fleet->arena);
    registry_unref(fleet->registry);
    *fleet = (struct ops_fleet){0};
}
