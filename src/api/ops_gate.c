/* Whether a version has arrived everywhere: in the schemas (ops_fleet.c), and what declares a
 * schema in that one. */
#include <string.h>

#include "api/ops_fleet_private.h"
#include "base/map.h"

static int gate_check_version(const char *version, struct err *err)
{
    if (version[0] == '\0' ||
        (strlen(version) == VERSION_LEN && strspn(version, "0123456789") == VERSION_LEN))
        return 0;
    return err_set(err, ERR_INVALID, "parameter \"version\" must have %d digits", VERSION_LEN);
}

static void gate_choose_version(struct ops_gate *gate)
{
    const struct registry_group *group = fleet_group(&gate->fleet);

    gate->version = gate->fleet.request.version;
    if (gate->version[0] == '\0') {
        gate->known = true;
        if (group->count > 0)
            gate->version = group->migrations[group->count - 1]->version;
    }
    for (size_t i = 0; i < group->count && !gate->known; i++)
        gate->known = strcmp(group->migrations[i]->version, gate->version) == 0;
    gate->fleet.filter.upto_version = gate->version;
}

/* Each declared schema once. */
static int gate_add_schema(struct ops_gate *gate, struct map *seen, const char *schema)
{
    if (map_get_str(seen, schema) != NULL)
        return 0;
    gate->schemas[gate->scope.schema_count++] = schema;
    return map_put_str(seen, schema, gate);
}

static int gate_find_declared(struct ops_gate *gate)
{
    const struct registry_group *group = fleet_group(&gate->fleet);
    const struct grant *grant = gate->fleet.request.grant;
    struct map seen;
    int rc = 0;

    map_init(&seen);
    for (size_t i = 0; i < group->count && rc == 0; i++) {
        const struct migration *migration = group->migrations[i];

        if (!migration_is_fixed(migration) || strcmp(migration->version, gate->version) > 0 ||
            !grant_sees(grant, NULL, migration->schema))
            continue;
        gate->declared[gate->fixed++] = migration;
        rc = gate_add_schema(gate, &seen, migration->schema);
    }
    map_free(&seen);
    return rc;
}

int gate_expect(struct ops_gate *gate, struct err *err)
{
    size_t count = fleet_group(&gate->fleet)->count;
    struct arena *arena = &gate->fleet.arena;
    int rc = gate_check_version(gate->fleet.request.version, err);

    if (rc != 0)
        return rc;
    gate_choose_version(gate);
    gate->declared = arena_calloc(arena, count, sizeof(const struct migration *));
    gate->schemas = arena_calloc(arena, count, sizeof(*gate->schemas));
    if (gate->declared == NULL || gate->schemas == NULL || gate_find_declared(gate) != 0)
        return err_set(err, ERR_NOMEM, "out of memory");
    gate->scope.connection = gate->fleet.request.connection;
    gate->scope.schemas = gate->schemas;
    return 0;
}

int gate_ask(struct ops_gate *gate)
{
    struct store *store = gate->fleet.ops->store;

    if (gate->fixed == 0)
        return 1;
    return store->ops->get_applied(store, &gate->fleet.step, &gate->scope, 1, &gate->applied);
}

/* --- on a thread --- */

static void gate_miss(struct ops_gate *gate, const struct migration *migration)
{
    gate->fixed_missing++;
    if (gate->missing_count < OPS_GATE_NAMES)
        gate->missing[gate->missing_count++] = migration;
}

static int gate_compare_declared(struct ops_gate *gate, struct map *applied)
{
    const struct store_execution *row;

    for (size_t i = 0; i < gate->applied.count; i++) {
        const struct migration *migration;

        row = &gate->applied.rows[i];
        migration = registry_find(gate->fleet.registry, row->migration_id);
        if (migration != NULL && strcmp(migration->schema, row->schema) == 0 &&
            map_put_str(applied, migration->id, &gate->applied.rows[i]) != 0)
            return ERR_NOMEM;
    }
    for (size_t i = 0; i < gate->fixed; i++)
        if (map_get_str(applied, gate->declared[i]->id) == NULL)
            gate_miss(gate, gate->declared[i]);
    return 0;
}

int gate_judge(struct ops_gate *gate)
{
    struct map applied;
    int rc;

    map_init(&applied);
    rc = gate_compare_declared(gate, &applied);
    map_free(&applied);
    gate->passes = gate->known && gate->fleet.laggards == 0 && gate->fixed_missing == 0;
    return rc;
}

/* --- */

int ops_gate_start(struct ops *ops, struct op *op, const struct ops_fleet_request *request,
                   struct ops_gate *out)
{
    int rc;

    *out = (struct ops_gate){.passes = false};
    rc = fleet_start(ops, op, request, out, &out->fleet);
    if (rc != 0)
        ops_gate_free(out);
    return rc;
}

void ops_gate_free(struct ops_gate *gate)
{
    arena_free(&gate->applied.arena);
    ops_fleet_free(&gate->fleet);
    *gate = (struct ops_gate){0};
}

void ops_gate_put_reason(const struct ops_gate *gate, struct buf *text)
{
    const struct ops_fleet *fleet = &gate->fleet;

    if (!gate->known)
        buf_printf(text, "no migration of connection %s has version %s", fleet->request.connection,
                   gate->version);
    if (fleet->laggards > 0)
        buf_printf(text, "%s%zu of %zu schema%s lack%s migrations up to version %s (%zu failed)",
                   text->len > 0 ? "; " : "", fleet->laggards, fleet->schemas,
                   fleet->schemas == 1 ? "" : "s", fleet->laggards == 1 ? "s" : "", gate->version,
                   fleet->failed);
    if (gate->fixed_missing > 0)
        buf_printf(text, "%s%zu of %zu migration%s %s not applied in the schema declared",
                   text->len > 0 ? "; " : "", gate->fixed_missing, gate->fixed,
                   gate->fixed == 1 ? "" : "s", gate->fixed_missing == 1 ? "is" : "are");
}
