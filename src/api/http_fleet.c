/* GET /api/v1/tenants and /api/v1/gate. */
#include "api/cursor.h"
#include "api/http_handlers.h"
#include "api/http_json.h"
#include "base/json.h"

enum {
    GATE_ANSWER_MAX = 64 * 1024,
};

/* --- tenants --- */

static const char tenants_letter = 't'; /* of its cursors */

static void release_tenants(struct call *call)
{
    ops_fleet_free(&call->out.tenants);
}

int start_tenants(struct call *call)
{
    struct ops_fleet_request request = {
        .connection = call_param(call, "connection"),
        .version = "",
        .schema = "",
        .cursor = "",
        .limit = call->limit > 0 ? call->limit : OPS_TENANTS_DEFAULT,
        .grant = call->grant,
    };
    const char *cursor = call_param(call, "cursor");
    int rc = 0;

    if (cursor[0] != '\0')
        rc = cursor_read(cursor, tenants_letter, &call->arena, &request.cursor, 1);
    if (rc != 0)
        return call_refuse_cursor(call, rc);
    if (request.limit > OPS_TENANTS_MAX)
        request.limit = OPS_TENANTS_MAX;
    rc = ops_tenants_start(&call->api->ops, &call->op, &request, &call->out.tenants);
    if (rc == 0)
        call->release = release_tenants;
    return rc;
}

static void put_tenant(const struct ops_fleet *fleet, const struct store_tenant *tenant,
                       struct buf *out)
{
    buf_putc(out, '{');
    json_put_member(out, "schema", tenant->schema);
    json_put_member(out, "version", tenant->version);
    json_put_int(out, "pending", (int64_t)fleet->expected - tenant->counted);
    json_put_int(out, "failed", tenant->failed);
    buf_putc(out, '}');
}

enum {
    TENANTS_HEAD,
    TENANTS_VERSIONS,
    TENANTS_LAGGARDS,
    TENANTS_FAILED,
};

static void put_tenants_head(const struct ops_fleet *fleet, struct buf *out)
{
    buf_putc(out, '{');
    json_put_member(out, "connection", fleet->request.connection);
    json_put_int(out, "schemas", (int64_t)fleet->schemas);
    json_put_member(out, "latest", fleet->latest);
    json_put_int(out, "migrations", (int64_t)fleet->expected);
    json_put_int(out, "laggards_total", (int64_t)fleet->laggards);
    json_put_int(out, "failed_total", (int64_t)fleet->failed);
}

/* The next list begins. */
static bool next_list(struct call_cursor *cursor, const char *name, struct buf *out)
{
    if (cursor->stage++ != TENANTS_HEAD)
        buf_putc(out, ']');
    cursor->at = 0;
    cursor->count = 0;
    json_put_key(out, name);
    buf_putc(out, '[');
    return true;
}

static bool end_tenants(const struct ops_fleet *fleet, struct buf *line, struct buf *out)
{
    buf_putc(out, ']');
    if (fleet->next_cursor[0] != '\0') {
        cursor_put(line, tenants_letter, &fleet->next_cursor, 1);
        json_put_some_of(out, "next_cursor", line);
    }
    buf_putc(out, '}');
    return false;
}

static void put_version(const struct ops_fleet_version *version, struct buf *out)
{
    buf_putc(out, '{');
    json_put_member(out, "version", version->version);
    json_put_int(out, "schemas", (int64_t)version->schemas);
    buf_putc(out, '}');
}

static bool more_of_tenants(struct pump *pump, struct buf *out)
{
    struct call *call = container_of(pump, struct call, pump);
    const struct ops_fleet *fleet = &call->out.tenants;
    struct call_cursor *cursor = &call->cursor;
    const struct store_tenant *tenant;

    if (cursor->stage == TENANTS_HEAD) {
        put_tenants_head(fleet, out);
        return next_list(cursor, "versions", out);
    }
    if (cursor->stage == TENANTS_VERSIONS) {
        if (cursor->at == fleet->version_count)
            return next_list(cursor, "laggards", out);
        buf_puts(out, cursor->at > 0 ? "," : "");
        put_version(&fleet->versions[cursor->at++], out);
        return true;
    }
    if (cursor->at == fleet->page_count)
        return cursor->stage == TENANTS_LAGGARDS ? next_list(cursor, "failed", out)
                                                 : end_tenants(fleet, &cursor->line, out);
    tenant = fleet->page[cursor->at++];
    if (cursor->stage == TENANTS_FAILED && tenant->failed == 0)
        return true;
    buf_puts(out, cursor->count++ > 0 ? "," : "");
    put_tenant(fleet, tenant, out);
    return true;
}

void answer_tenants(struct call *call)
{
    call_pump(call, 200, more_of_tenants);
}

/* --- gate --- */

static void release_gate(struct call *call)
{
    ops_gate_free(&call->out.gate);
}

int start_gate(struct call *call)
{
    const struct ops_fleet_request request = {
        .connection = call_param(call, "connection"),
        .version = call_param(call, "version"),
        .schema = call_param(call, "schema"),
        .cursor = "",
        .limit = OPS_GATE_NAMES,
        .grant = call->grant,
    };
    int rc = ops_gate_start(&call->api->ops, &call->op, &request, &call->out.gate);

    if (rc == 0)
        call->release = release_gate;
    return rc;
}

static void put_names(const struct ops_gate *gate, struct buf *out)
{
    const struct ops_fleet *fleet = &gate->fleet;

    json_put_key(out, "laggards");
    buf_putc(out, '[');
    for (size_t i = 0; i < fleet->page_count; i++) {
        buf_puts(out, i > 0 ? "," : "");
        put_tenant(fleet, fleet->page[i], out);
    }
    buf_putc(out, ']');
    json_put_key(out, "missing");
    buf_putc(out, '[');
    for (size_t i = 0; i < gate->missing_count; i++) {
        buf_puts(out, i > 0 ? "," : "");
        json_put_string(out, gate->missing[i]->id);
    }
    buf_putc(out, ']');
}

void answer_gate(struct call *call)
{
    const struct ops_gate *gate = &call->out.gate;
    const struct ops_fleet *fleet = &gate->fleet;
    struct buf body;

    buf_init(&body, GATE_ANSWER_MAX);
    buf_putc(&body, '{');
    json_put_bool(&body, "pass", gate->passes);
    if (!gate->passes) {
        ops_gate_put_reason(gate, &call->cursor.line);
        json_put_member(&body, "error", buf_str(&call->cursor.line));
    }
    json_put_member(&body, "connection", fleet->request.connection);
    json_put_member(&body, "version", gate->version);
    json_put_int(&body, "schemas", (int64_t)fleet->schemas);
    json_put_int(&body, "ready", (int64_t)(fleet->schemas - fleet->laggards));
    json_put_int(&body, "behind", (int64_t)fleet->laggards);
    json_put_int(&body, "failed", (int64_t)fleet->failed);
    json_put_int(&body, "fixed", (int64_t)gate->fixed);
    json_put_int(&body, "fixed_missing", (int64_t)gate->fixed_missing);
    if (!gate->passes)
        put_names(gate, &body);
    buf_putc(&body, '}');
    call_answer(call, gate->passes ? 200 : 409, &body);
}
