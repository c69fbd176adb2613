#ifndef BFM_TESTS_FAKE_GREPTIMEDB_H
#define BFM_TESTS_FAKE_GREPTIMEDB_H

/*
 * A world for the GreptimeDB backend without a network, with virtual time: it stands in for
 * driver/curl.h, for the loop, and for whoever keeps the ledger. The server knows databases, counts
 * how often each statement took effect, and finishes what was begun even if nobody waits for it.
 *
 * A program that includes it defines the functions of driver/curl.h itself, so the real ones are
 * not linked.
 */
#include "unit/model/registry_fixture.h"

#include <stdlib.h>

#include "backend/greptimedb.h"
#include "backend/greptimedb_private.h"
#include "base/list.h"

enum fake_fault {
    FAKE_FINE,
    FAKE_REFUSED,     /* no connection */
    FAKE_LOST_BEFORE, /* it had no effect, which nobody can know */
    FAKE_LOST_BEHIND, /* it had its effect */
    FAKE_503_BEFORE,  /* of a gateway */
    FAKE_503_BEHIND,  /* of a gateway */
    FAKE_408_BEHIND,  /* without a body */
    FAKE_BUSY,        /* 6000 */
    FAKE_SYNTAX,      /* 2000 */
    FAKE_INTERNAL,    /* 1003, without an effect */
    FAKE_SLOW,        /* takes 10 s */
    FAKE_FAULTS,
};

enum fake_store_fault {
    STORE_FINE,
    STORE_FAILED,      /* without an effect */
    STORE_FAILED_DONE, /* with one */
    STORE_SLOW,        /* takes 3 s */
    STORE_FAULTS,
};

enum {
    FAKE_EFFECTS = 64,
    FAKE_ROWS = 64,
    FAKE_CALLS = 4096,
};

struct fake_effect {
    char text[512]; /* "database: statement" */
    unsigned count;
};

struct fake_row {
    bool used;
    struct ledger_row row;
    char connection[64], schema[64], id[256], checksum[80], run_id[80];
};

struct fake {
    struct sched sched;
    struct ledger ledger;

    char databases[16][64];
    size_t database_count;
    struct fake_effect effects[FAKE_EFFECTS];
    size_t effect_count;
    char log[64][512]; /* every statement that arrived, as "database: statement" */
    size_t log_count;
    unsigned answer_ms; /* how long a statement takes */

    enum fake_fault faults[FAKE_CALLS]; /* of statements of scripts, by number */
    size_t sent;
    bool is_down; /* refuses all */
    int status;   /* if set: what it answers to statements, with `body` */
    const char *body;
    bool body_is_text;

    struct fake_row rows[FAKE_ROWS];
    enum fake_store_fault store_faults[FAKE_CALLS];
    size_t swaps, reads, asked;
    bool store_is_away;
    enum fake_store_fault fail_next_swap;
    unsigned calls; /* under way, whether waited for or not */
    struct curl_request last;
    char last_header[64];
};

struct curl_peer {
    struct fake *fake;
};

struct fake_call {
    struct fake *fake;
    struct op *op; /* NULL once it has ended for the caller */
    struct curl_answer *out;
    struct timer effect, answer;
    struct task ending;
    enum fake_fault fault;
    int rc;
    bool has_effect;
    bool ended;
    char database[128];
    char sql[1024];
    int status;
    char body[600];
    bool is_json;
};

static inline struct fake *fake_of_loop(struct loop *loop)
{
    return (struct fake *)(void *)loop;
}

struct sched *loop_sched(struct loop *loop)
{
    return &fake_of_loop(loop)->sched;
}

/* --- the server --- */

static inline bool fake_has_database(const struct fake *fake, const char *name)
{
    for (size_t i = 0; i < fake->database_count; i++)
        if (strcmp(fake->databases[i], name) == 0)
            return true;
    return false;
}

static inline void fake_add_database(struct fake *fake, const char *name)
{
    if (!fake_has_database(fake, name))
        snprintf(fake->databases[fake->database_count++], 64, "%s", name);
}

static inline unsigned fake_count(const struct fake *fake, const char *text)
{
    for (size_t i = 0; i < fake->effect_count; i++)
        if (strcmp(fake->effects[i].text, text) == 0)
            return fake->effects[i].count;
    return 0;
}

static inline void fake_take_effect(struct fake *fake, const char *text)
{
    size_t i = 0;

    while (i < fake->effect_count && strcmp(fake->effects[i].text, text) != 0)
        i++;
    if (i == fake->effect_count) {
        assert_true(i < FAKE_EFFECTS);
        fake->effects[i].count = 0;
        snprintf(fake->effects[fake->effect_count++].text, 512, "%.500s", text);
    }
    fake->effects[i].count++;
}

static inline void fake_say(struct fake_call *call, int status, const char *format, ...)
    PRINTF_LIKE(3, 4);

static inline void fake_say(struct fake_call *call, int status, const char *format, ...)
{
    va_list args;

    call->status = status;
    va_start(args, format);
    vsnprintf(call->body, sizeof(call->body), format, args);
    va_end(args);
    call->is_json = call->body[0] == '{';
}

/* SELECT x FROM y WHERE z = 'name' [AND ... = 'table'] */
static inline void fake_answer_select(struct fake_call *call)
{
    char first[64] = "", second[64] = "", whole[200];

    sscanf(call->sql, "%*[^']'%63[^']'%*[^']'%63[^']'", first, second);
    snprintf(whole, sizeof(whole), "%s: CREATE TABLE %s", first, second);
    if (strstr(call->sql, "schemata") != NULL ? fake_has_database(call->fake, first)
                                              : fake_count(call->fake, whole) > 0)
        fake_say(
            call, 200,
            "{\"output\":[{\"records\":{\"schema\":{},\"rows\":[[\"%s\"]],\"total_rows\":1}}]}",
            second[0] != '\0' ? second : first);
    else
        fake_say(call, 200,
                 "{\"output\":[{\"records\":{\"schema\":{},\"rows\":[],\"total_rows\":0}}]}");
}

static inline void fake_run(struct fake_call *call)
{
    struct fake *fake = call->fake;
    char text[1200], name[64];

    if (!fake_has_database(fake, call->database)) {
        fake_say(call, 400, "{\"code\":4004,\"error\":\"Database not found: %s\"}", call->database);
        return;
    }
    if (sscanf(call->sql, "CREATE DATABASE IF NOT EXISTS \"%63[^\"]\"", name) == 1) {
        fake_add_database(fake, name);
        fake_say(call, 200, "{\"output\":[{\"affectedrows\":1}],\"execution_time_ms\":5}");
        return;
    }
    if (strstr(call->sql, "information_schema") != NULL || strcmp(call->sql, "SELECT 1") == 0) {
        fake_answer_select(call);
        return;
    }
    snprintf(text, sizeof(text), "%s: %s", call->database, call->sql);
    fake_take_effect(fake, text);
    fake_say(call, 200, "{\"output\":[{\"affectedrows\":0}],\"execution_time_ms\":5}");
}

static inline void fake_free_call(struct fake_call *call)
{
    call->fake->calls--;
    free(call);
}

static inline void fake_on_effect(struct timer *timer)
{
    struct fake_call *call = container_of(timer, struct fake_call, effect);

    if (call->has_effect)
        fake_run(call);
    if (call->ended)
        fake_free_call(call);
}

/* The caller's operation ends; the call itself lives on until its effect. */
static inline void fake_end(struct fake_call *call, int rc, const char *why)
{
    struct op *op = call->op;
    struct err err = {.code = 0};
    bool is_over = !call->effect.armed;

    call->ended = true;
    if (is_over)
        fake_free_call(call);
    if (rc == 0) {
        op_finish(op, 0);
        return;
    }
    err_set(&err, rc, "%s", why);
    op_fail(op, &err);
}

static inline void fake_on_answer(struct timer *timer)
{
    struct fake_call *call = container_of(timer, struct fake_call, answer);
    struct curl_answer *out = call->out;

    switch (call->fault) {
    case FAKE_REFUSED:
        out->sent = CURL_NOT_SENT;
        fake_end(call, ERR_UNREACHABLE, "connection refused");
        return;
    case FAKE_LOST_BEFORE:
    case FAKE_LOST_BEHIND:
        out->sent = CURL_MAYBE_SENT;
        fake_end(call, ERR_UNREACHABLE, "the connection was lost");
        return;
    case FAKE_503_BEFORE:
    case FAKE_503_BEHIND:
        fake_say(call, 503, "<html>no upstream</html>");
        break;
    case FAKE_408_BEHIND:
        fake_say(call, 408, "%s", "");
        break;
    case FAKE_BUSY:
        fake_say(call, 500, "{\"code\":6000,\"error\":\"too busy\"}");
        break;
    case FAKE_SYNTAX:
        fake_say(call, 400, "{\"code\":2000,\"error\":\"sql parser error\"}");
        break;
    case FAKE_INTERNAL:
        fake_say(call, 500, "{\"code\":1003,\"error\":\"Internal error: 1003\"}");
        break;
    case FAKE_FINE:
    case FAKE_SLOW:
    case FAKE_FAULTS:
        if (call->status == 0) { /* it took longer than the caller waits */
            out->sent = CURL_MAYBE_SENT;
            fake_end(call, ERR_TIMEOUT, "no answer in time");
            return;
        }
        break;
    }
    out->status = call->status;
    out->is_json = call->is_json;
    mem_fail_pause(1);
    buf_init(&out->body, 100000);
    buf_puts(&out->body, call->body);
    mem_fail_pause(0);
    fake_end(call, 0, NULL);
}

static inline void fake_on_cancel(struct task *task)
{
    fake_end(container_of(task, struct fake_call, ending), ERR_CANCELED, "canceled");
}

static inline void fake_cancel(struct op *op)
{
    struct fake_call *call = op->impl;

    sched_stop_timer(&call->fake->sched, &call->answer);
    call->out->sent = CURL_MAYBE_SENT;
    call->ending.run = fake_on_cancel;
    sched_defer(&call->fake->sched, &call->ending);
}

static inline void fake_decode(const char *from, char *to, size_t size)
{
    size_t len = 0;

    for (; *from != '\0' && *from != '&' && len + 1 < size; from++) {
        unsigned byte = (unsigned char)*from;

        if (*from == '%') {
            sscanf(from + 1, "%2x", &byte);
            from += 2;
        }
        to[len++] = (char)byte;
    }
    to[len] = '\0';
}

/* The faults are for statements of scripts; what has an effect says so. */
static inline void fake_plan(struct fake_call *call)
{
    struct fake *fake = call->fake;

    call->fault = fake->sent < FAKE_CALLS ? fake->faults[fake->sent] : FAKE_FINE;
    fake->sent++;
    if (fake->is_down)
        call->fault = FAKE_REFUSED;
    call->has_effect = call->fault == FAKE_FINE || call->fault == FAKE_LOST_BEHIND ||
                       call->fault == FAKE_503_BEHIND || call->fault == FAKE_408_BEHIND ||
                       call->fault == FAKE_SLOW;
    if (fake->status != 0) {
        call->has_effect = false;
        fake_say(call, fake->status, "%s", fake->body);
        if (fake->body_is_text)
            call->is_json = false;
    }
}

int curl_start(struct curl_peer *peer, struct op *op, const struct curl_request *request,
               struct curl_answer *out)
{
    struct fake *fake = peer->fake;
    struct fake_call *call = calloc(1, sizeof(*call));
    const char *database = strstr(request->path, "db=") + 3;
    uint64_t effect_ms = fake->answer_ms, answer_ms;

    assert_string_equal(request->method, "POST");
    assert_string_equal(request->content_type, "application/x-www-form-urlencoded");
    assert_int_equal(strncmp(request->path, "/v1/sql?db=", 11), 0);
    assert_int_equal(strncmp(request->body, "sql=", 4), 0);
    assert_int_equal(strlen(request->body), request->len);
    *out = (struct curl_answer){.sent = CURL_NOT_SENT};
    call->fake = fake;
    call->op = op;
    call->out = out;
    fake_decode(database, call->database, sizeof(call->database));
    if (strncmp(call->database, "greptime-", 9) == 0)
        memmove(call->database, call->database + 9, strlen(call->database) - 8);
    fake_decode((const char *)request->body + 4, call->sql, sizeof(call->sql));
    snprintf(fake->log[fake->log_count++ % 64], 512, "%.100s: %.400s", call->database, call->sql);
    fake->last = *request;
    snprintf(fake->last_header, sizeof(fake->last_header), "%s", request->headers[0]);
    fake_plan(call);
    if (call->fault == FAKE_SLOW)
        effect_ms = 10000;
    answer_ms = effect_ms;
    if (request->timeout_ms > 0 && answer_ms > request->timeout_ms)
        answer_ms = request->timeout_ms;
    call->effect.fire = fake_on_effect;
    call->answer.fire = fake_on_answer;
    fake->calls++;
    sched_start_timer(&fake->sched, &call->effect, effect_ms);
    sched_start_timer(&fake->sched, &call->answer, answer_ms);
    op_begin(op, call, fake_cancel);
    return 0;
}

void curl_answer_free(struct curl_answer *answer)
{
    buf_free(&answer->body);
}

int curl_put_escaped(struct buf *out, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((text[i] >= 'a' && text[i] <= 'z') || (text[i] >= 'A' && text[i] <= 'Z') ||
            (text[i] >= '0' && text[i] <= '9') || strchr("-._~", text[i]) != NULL)
            buf_putc(out, text[i]);
        else
            buf_printf(out, "%%%02X", (unsigned)(unsigned char)text[i]);
    return out->rc;
}

int curl_peer_create(struct curl_client *client, const struct curl_peer_settings *settings,
                     struct curl_peer **out, struct err *err)
{
    *out = mem_calloc(1, sizeof(**out));
    if (*out == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    (*out)->fake = (struct fake *)(void *)client;
    (void)settings;
    return 0;
}

int curl_peer_set_password(struct curl_peer *peer, const char *password)
{
    (void)peer;
    return password != NULL ? 0 : ERR_INVALID;
}

int curl_peer_close(struct curl_peer *peer, struct op *op)
{
    op_begin(op, NULL, NULL);
    op_finish_later(op, &peer->fake->sched, 0);
    mem_free(peer);
    return 0;
}

void curl_peer_report(const struct curl_peer *peer, struct pool_stats *out)
{
    (void)peer;
    *out = (struct pool_stats){.max = 4};
}

/* --- the ledger --- */

struct fake_ask {
    struct fake *fake;
    struct op *op;
    struct timer timer;
    const struct ledger_query *query;
    struct ledger_rows *rows;
    const struct ledger_change *change;
    bool *swapped;
    enum fake_store_fault fault;
};

static inline struct fake_row *fake_row_of(struct fake *fake, const char *schema, const char *id)
{
    for (size_t i = 0; i < FAKE_ROWS; i++)
        if (fake->rows[i].used && strcmp(fake->rows[i].schema, schema) == 0 &&
            strcmp(fake->rows[i].id, id) == 0)
            return &fake->rows[i];
    return NULL;
}

static inline void fake_put_row(struct fake *fake, const struct ledger_row *row)
{
    struct fake_row *to = fake_row_of(fake, row->schema, row->migration_id);

    for (size_t i = 0; i < FAKE_ROWS && to == NULL; i++)
        if (!fake->rows[i].used)
            to = &fake->rows[i];
    assert_non_null(to);
    to->used = true;
    to->row = *row;
    snprintf(to->connection, sizeof(to->connection), "%s", row->connection);
    snprintf(to->schema, sizeof(to->schema), "%s", row->schema);
    snprintf(to->id, sizeof(to->id), "%s", row->migration_id);
    snprintf(to->checksum, sizeof(to->checksum), "%s", row->checksum);
    snprintf(to->run_id, sizeof(to->run_id), "%s", row->run_id);
}

static inline void fake_swap_now(struct fake_ask *ask)
{
    const struct ledger_change *change = ask->change;
    struct fake_row *row = fake_row_of(ask->fake, change->row.schema, change->row.migration_id);

    *ask->swapped = (row != NULL ? row->row.revision : 0) == change->expected;
    if (!*ask->swapped)
        return;
    if (change->remove) {
        if (row != NULL)
            row->used = false;
        return;
    }
    if (row != NULL)
        assert_true(change->row.revision > row->row.revision);
    fake_put_row(ask->fake, &change->row);
}

static inline int fake_compare_rows(const void *a, const void *b)
{
    const struct ledger_row *left = a, *right = b;
    int order = strcmp(left->schema, right->schema);

    return order != 0 ? order : strcmp(left->migration_id, right->migration_id);
}

static inline void fake_read_now(struct fake_ask *ask)
{
    const struct ledger_query *query = ask->query;
    struct ledger_rows *out = ask->rows;

    mem_fail_pause(1);
    *out = (struct ledger_rows){.count = 0};
    arena_init(&out->arena);
    out->rows = arena_calloc(&out->arena, FAKE_ROWS, sizeof(*out->rows));
    for (size_t i = 0; i < FAKE_ROWS; i++) {
        const struct fake_row *row = &ask->fake->rows[i];
        struct ledger_row *to = &out->rows[out->count];

        if (!row->used)
            continue;
        if (query->schema != NULL ? strcmp(row->schema, query->schema) != 0 ||
                                        strcmp(row->id, query->migration_id) != 0
                                  : strcmp(row->schema, query->after_schema) < 0 ||
                                        (strcmp(row->schema, query->after_schema) == 0 &&
                                         strcmp(row->id, query->after_id) <= 0))
            continue;
        *to = row->row;
        to->connection = arena_strdup(&out->arena, row->connection);
        to->schema = arena_strdup(&out->arena, row->schema);
        to->migration_id = arena_strdup(&out->arena, row->id);
        to->checksum = arena_strdup(&out->arena, row->checksum);
        to->run_id = arena_strdup(&out->arena, row->run_id);
        out->count++;
    }
    qsort(out->rows, out->count, sizeof(*out->rows), fake_compare_rows);
    if (out->count > query->limit)
        out->count = query->limit;
    mem_fail_pause(0);
}

static inline void fake_on_ask(struct timer *timer)
{
    struct fake_ask *ask = container_of(timer, struct fake_ask, timer);
    struct op *op = ask->op;
    bool fails = ask->fault == STORE_FAILED || ask->fault == STORE_FAILED_DONE;
    struct err err = {.code = 0};

    if (ask->change != NULL && ask->fault != STORE_FAILED)
        fake_swap_now(ask);
    if (ask->query != NULL && !fails)
        fake_read_now(ask);
    free(ask);
    if (fails) {
        err_set(&err, ERR_STORE, "the state database is away");
        op_fail(op, &err);
    } else {
        op_finish(op, 0);
    }
}

static inline int fake_ask_start(struct ledger *ledger, struct op *op, struct fake_ask ask)
{
    struct fake *fake = container_of(ledger, struct fake, ledger);
    struct fake_ask *self = malloc(sizeof(*self));

    *self = ask;
    self->fake = fake;
    self->op = op;
    self->fault = fake->asked < FAKE_CALLS ? fake->store_faults[fake->asked] : STORE_FINE;
    fake->asked++;
    if (ask.change != NULL && fake->fail_next_swap != STORE_FINE) {
        self->fault = fake->fail_next_swap;
        fake->fail_next_swap = STORE_FINE;
    }
    if (fake->store_is_away)
        self->fault = STORE_FAILED;
    self->timer.fire = fake_on_ask;
    sched_start_timer(&fake->sched, &self->timer, self->fault == STORE_SLOW ? 3000 : 1);
    op_begin(op, self, NULL);
    return 0;
}

static inline int fake_read(struct ledger *ledger, struct op *op, const struct ledger_query *query,
                            struct ledger_rows *out)
{
    container_of(ledger, struct fake, ledger)->reads++;
    return fake_ask_start(ledger, op, (struct fake_ask){.query = query, .rows = out});
}

static inline int fake_swap(struct ledger *ledger, struct op *op,
                            const struct ledger_change *change, bool *swapped)
{
    container_of(ledger, struct fake, ledger)->swaps++;
    return fake_ask_start(ledger, op, (struct fake_ask){.change = change, .swapped = swapped});
}

static const struct ledger_ops fake_ledger_ops = {.read = fake_read, .swap = fake_swap};

/* --- the world --- */

static inline void fake_init(struct fake *fake)
{
    memset(fake, 0, sizeof(*fake));
    sched_init(&fake->sched, 1000);
    fake->ledger.ops = &fake_ledger_ops;
    fake->answer_ms = 5;
    fake_add_database(fake, "public");
}

/* One turn, at the time of the next thing to happen. False when there is none. */
static inline bool fake_turn(struct fake *fake)
{
    uint64_t in_ms = 0;

    if (!sched_has_tasks(&fake->sched) && !sched_next_timer(&fake->sched, &in_ms))
        return false;
    sched_run(&fake->sched, fake->sched.now_ms + in_ms);
    return true;
}

struct fake_wait {
    struct op op;
    bool over;
    int rc;
};

static inline void fake_on_over(struct op *op, int rc)
{
    struct fake_wait *wait = container_of(op, struct fake_wait, op);

    assert_false(wait->over);
    wait->over = true;
    wait->rc = rc;
}

static inline void fake_wait_init(struct fake_wait *wait)
{
    *wait = (struct fake_wait){.over = false};
    op_init(&wait->op, fake_on_over);
}

/* `rc`: what the start returned. */
static inline int fake_finish(struct fake *fake, struct fake_wait *wait, int rc)
{
    if (rc != 0)
        return rc;
    while (!wait->over)
        if (!fake_turn(fake))
            fail_msg("nothing more happens, and the operation is not over");
    return wait->rc;
}

static inline struct backend *fake_backend(struct fake *fake,
                                           const struct backend_greptimedb_settings *settings)
{
    struct backend *backend = NULL;
    struct err err = {.code = 0};

    if (backend_greptimedb_create((struct loop *)(void *)fake, (struct curl_client *)(void *)fake,
                                  &fake->ledger, settings, &backend, &err) != 0)
        fail_msg("%s", err_text(&err));
    return backend;
}

/* Closes it and waits for all that the server has not finished yet. */
static inline void fake_close(struct fake *fake, struct backend *backend)
{
    struct fake_wait wait;

    fake_wait_init(&wait);
    assert_int_equal(fake_finish(fake, &wait, backend->ops->close(backend, &wait.op)), 0);
    while (fake->calls > 0 && fake_turn(fake))
        continue;
    assert_int_equal(fake->calls, 0);
}

#endif
