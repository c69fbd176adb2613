#include <stdlib.h>
#include <string.h>

#include "api/rpc.h"
#include "base/hex.h"

/* What became of a run, in one message; and what is kept of it for an idempotency key: "0 HEX" with
 * that message, or "STATUS TEXT" of a call that failed. */

enum {
    OUTCOME_NOTICES = 9, /* field of MigrationOutcome */
};

static const struct rpc_run_fields migrate_fields = {
    .applied = 2,
    .skipped = 3,
    .errors = 4,
    .run_id = 5,
    .status = 6,
    .details = 7,
    .rebuilt = 8,
    .skipped_count = 9,
    .message = 10,
};
static const struct rpc_run_fields rollback_fields = {
    .message = 2,
    .errors = 3,
    .applied = 4,
    .skipped = 5,
    .run_id = 6,
    .status = 7,
    .details = 8,
    .rebuilt = 9,
    .skipped_count = 10,
};

/* --- the status --- */

static const struct err *first_unreachable(const struct run *run)
{
    for (size_t i = 0; i < run->lane_count; i++) {
        const struct run_lane_result *lane = &run->lanes[i];

        for (size_t k = 0; k < lane->count; k++)
            if (lane->items[k].kind == RUN_ITEM_FAILED &&
                lane->items[k].err->code == ERR_UNREACHABLE)
                return lane->items[k].err;
    }
    return NULL;
}

enum grpc_status rpc_run_verdict(const struct ops_run *run, struct err *why)
{
    const struct err *first;

    if (run->accepted || run->rebuild != NULL)
        return GRPC_OK;
    if (run->failure.code != 0) { /* whatever stopped a run was not the request's fault */
        bool is_told = run->failure.code == ERR_SHUTDOWN || run->failure.code == ERR_CONFLICT ||
                       run->failure.code == ERR_FORBIDDEN;

        *why = run->failure;
        return is_told ? rpc_status(why) : GRPC_INTERNAL;
    }
    if (run->nothing_to_undo) {
        err_set(why, ERR_CONFLICT, "%s", run->message);
        return GRPC_FAILED_PRECONDITION;
    }
    if (run->kind != OPS_MIGRATE || run->applied > 0)
        return GRPC_OK;
    if (run->run == NULL) {
        err_set(why, ERR_UNREACHABLE, "%s", run->lone_error);
        return GRPC_INTERNAL;
    }
    first = first_unreachable(run->run);
    if (first == NULL)
        return GRPC_OK;
    *why = *first;
    return GRPC_INTERNAL;
}

/* --- the message --- */

enum {
    WRITE_APPLIED,
    WRITE_SKIPPED,
    WRITE_ERRORS,
    WRITE_DETAILS,
    WRITE_END,
};

static bool writer_next_stage(struct rpc_run_writer *writer)
{
    writer->stage++;
    writer->count = 0;
    writer->cursor = (struct ops_cursor){0};
    return true;
}

static bool write_lines(struct rpc_run_writer *writer, enum ops_lines which, unsigned field,
                        struct buf *out)
{
    const struct ops_run *run = writer->run;
    struct buf *line = writer->line;
    enum ops_next next = run->rebuild != NULL
                             ? ops_run_again_line(run, which, &writer->cursor, line)
                             : ops_run_next_line(run, which, &writer->cursor, line);

    if (next == OPS_NEXT_END)
        return writer_next_stage(writer);
    if (next == OPS_NEXT_ITEM)
        rpc_put_string(out, field, buf_str(line));
    if (line->rc != 0)
        out->rc = line->rc;
    return true;
}

static void put_notices(const char *notices, struct buf *out)
{
    while (*notices != '\0') {
        size_t len = strcspn(notices, "\n");

        if (len > 0)
            rpc_put_bytes(out, OUTCOME_NOTICES, notices, len);
        notices += len + (notices[len] == '\n');
    }
}

static void put_outcome(const struct ops_run *run, const struct run_item *from, struct buf *out)
{
    Migration__MigrationOutcome item;

    migration__migration_outcome__init(&item);
    item.migration_id = rpc_text(from->migration->id);
    item.schema = rpc_text(from->schema);
    item.status = rpc_text(ops_run_item_status(run, from));
    item.attempts = from->attempts;
    item.duration_ms = (int64_t)from->duration_ms;
    if (from->err != NULL) {
        item.sqlstate = rpc_text(from->err->sqlstate);
        item.statement = from->err->statement;
        item.line = from->err->line;
    }
    rpc_put(out, &item.base);
    if (from->notices != NULL)
        put_notices(from->notices, out);
}

static bool write_details(struct rpc_run_writer *writer, struct buf *out)
{
    const struct run_item *item;
    struct buf *line = writer->line;

    if (writer->run->run == NULL || writer->count == OPS_DETAILS_MAX)
        return writer_next_stage(writer);
    switch (ops_run_next_detail(writer->run, &writer->cursor, &item)) {
    case OPS_NEXT_END:
        return writer_next_stage(writer);
    case OPS_NEXT_NONE:
        break;
    case OPS_NEXT_ITEM:
        writer->count++;
        buf_truncate(line, 0);
        put_outcome(writer->run, item, line);
        rpc_put_bytes(out, writer->fields->details, line->data, line->len);
        if (line->rc != 0)
            out->rc = line->rc;
        break;
    }
    return true;
}

static bool run_succeeded(const struct ops_run *run)
{
    if (run->accepted)
        return run->run_status == STORE_RUN_RUNNING || run->run_status == STORE_RUN_SUCCEEDED;
    if (run->rebuild != NULL)
        return run->rebuild->row.rows->status == STORE_RUN_SUCCEEDED;
    return run->errors == 0 && run->failure.code == 0;
}

static void write_end(const struct rpc_run_writer *writer, struct buf *out)
{
    const struct rpc_run_fields *fields = writer->fields;
    const struct ops_run *run = writer->run;

    rpc_put_int(out, 1, run_succeeded(run));
    if (run->message != NULL)
        rpc_put_string(out, fields->message, run->message);
    if (run->accepted) {
        rpc_put_string(out, fields->run_id, run->run_id);
        rpc_put_string(out, fields->status, store_run_status_name(run->run_status));
    } else if (run->rebuild != NULL) {
        rpc_put_string(out, fields->run_id, run->rebuild->row.rows->id);
        rpc_put_int(out, fields->rebuilt, true);
        rpc_put_int(out, fields->skipped_count, run->rebuild->row.rows->counts.skipped);
    } else if (run->run != NULL && !run->run->request->dry_run) {
        rpc_put_string(out, fields->run_id, run->run->id);
    }
}

/* Appends a piece; false: that was the last one. */
static bool writer_go_on(struct rpc_run_writer *writer, struct buf *out)
{
    const struct rpc_run_fields *fields = writer->fields;

    switch (writer->run->accepted ? WRITE_END : writer->stage) {
    case WRITE_APPLIED:
        return write_lines(writer, OPS_LINES_APPLIED, fields->applied, out);
    case WRITE_SKIPPED:
        return write_lines(writer, OPS_LINES_SKIPPED, fields->skipped, out);
    case WRITE_ERRORS:
        return write_lines(writer, OPS_LINES_ERRORS, fields->errors, out);
    case WRITE_DETAILS:
        return write_details(writer, out);
    default:
        write_end(writer, out);
        return false;
    }
}

/* --- what is kept --- */

static void keep_message(const struct ops_run *run, const struct rpc_run_fields *fields,
                         struct buf *out)
{
    struct buf message, line;
    struct rpc_run_writer writer = {.run = run, .fields = fields, .line = &line};

    buf_init(&message, out->max);
    buf_init(&line, out->max);
    while (message.rc == 0 && writer_go_on(&writer, &message))
        continue;
    buf_printf(out, "%d ", (int)GRPC_OK);
    hex_put(out, message.data, message.len);
    if (message.rc != 0)
        out->rc = message.rc;
    buf_free(&message);
    buf_free(&line);
}

/* What was the server's fault is tried again, not repeated. */
void rpc_keep_answer(struct run *run, struct buf *out)
{
    struct ops_run view;
    struct err why;
    enum grpc_status status;

    ops_run_view(run, &view);
    status = rpc_run_verdict(&view, &why);
    if (status == GRPC_OK)
        keep_message(&view,
                     view.kind == OPS_ROLLBACK && run->request->record.retry_of == NULL
                         ? &rollback_fields
                         : &migrate_fields,
                     out);
    else if (status != GRPC_INTERNAL && status != GRPC_UNAVAILABLE)
        buf_printf(out, "%d %s", (int)status, err_text(&why));
    ops_run_unview(&view);
}

static void answer_kept(struct rpc *rpc)
{
    const char *text = rpc->out.run.kept_answer;
    char *rest;
    long status = strtol(text, &rest, 10);
    size_t len;
    void *data;

    rest += *rest == ' ';
    if (status > GRPC_OK && status < GRPC_STATUSES) {
        rpc_fail(rpc, (enum grpc_status)status, rest);
        return;
    }
    len = strlen(rest) / 2;
    data = arena_alloc(grpc_arena(rpc->call), len + 1);
    if (data == NULL || hex_read(rest, len, data) != 0)
        rpc_fail(rpc, data == NULL ? GRPC_RESOURCE_EXHAUSTED : GRPC_INTERNAL,
                 data == NULL ? err_code_text(ERR_NOMEM) : "the answer on record is malformed");
    else
        rpc_answer_bytes(rpc, data, len);
}

/* --- answers --- */

static bool more_of_run(struct rpc *rpc, struct buf *out)
{
    return writer_go_on(&rpc->writer, out);
}

static void answer_as(struct rpc *rpc, const struct rpc_run_fields *fields)
{
    const struct ops_run *run = &rpc->out.run;
    enum grpc_status status;
    struct err why;

    rpc_tell_replayed(rpc);
    if (run->kept_answer != NULL) {
        answer_kept(rpc);
        return;
    }
    status = rpc_run_verdict(run, &why);
    if (status != GRPC_OK) {
        rpc_fail(rpc, status, err_text(&why));
        return;
    }
    rpc->writer = (struct rpc_run_writer){.run = run, .fields = fields, .line = &rpc->line};
    rpc_pump(rpc, more_of_run);
}

void rpc_answer_run(struct rpc *rpc)
{
    answer_as(rpc, &migrate_fields);
}

void rpc_answer_rollback(struct rpc *rpc)
{
    answer_as(rpc, &rollback_fields);
}
