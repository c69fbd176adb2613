#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "store/mysql_private.h"

enum {
    MYSTORE_TRIES = 8,
    MYSTORE_FORM_MAX = 300, /* bytes of a database's name as a message has it */
};

/* Numbers of errors, which say more than the SQLSTATE. */
enum {
    MYSTORE_LOCK_WAIT = 1205,
    MYSTORE_DEADLOCK = 1213,
    MYSTORE_CHANGED = 1020,  /* a row was changed since it was read */
    MYSTORE_BAD_TEXT = 1366, /* no value of the column's type */
    MYSTORE_NO_DEFAULT = 1364,
    MYSTORE_TOO_LARGE = 1153, /* max_allowed_packet */
};

void mystore_call_init(struct mystore_call *call, struct store_my *my)
{
    *call = (struct mystore_call){.my = my};
    mystore_script_init(&call->script, my);
}

static void call_discard(struct mystore_call *call)
{
    if (call->conn != NULL)
        maria_discard(call->conn);
    call->conn = NULL;
}

static void call_empty_results(struct mystore_call *call)
{
    for (size_t i = 0; i < call->result_count; i++)
        maria_results_free(&call->results[i]);
}

static void call_drop_results(struct mystore_call *call)
{
    call_empty_results(call);
    mem_free(call->results);
    call->results = NULL;
    call->result_count = 0;
}

void mystore_call_free(struct mystore_call *call)
{
    call_discard(call);
    call_drop_results(call);
    mystore_script_free(&call->script);
}

/* --- failures --- */

static bool call_sqlstate_is(const struct err *err, const char *class)
{
    return strncmp(err->sqlstate, class, strlen(class)) == 0;
}

/* The rows themselves were at fault: data, constraints, a trigger's own refusal. */
static bool call_is_refusal(const struct mystore_call *call)
{
    const struct err *err = &call->step.err;

    return call_sqlstate_is(err, "22") || call_sqlstate_is(err, "23") ||
           call_sqlstate_is(err, "44") || call_sqlstate_is(err, "45") ||
           call->error == MYSTORE_BAD_TEXT || call->error == MYSTORE_NO_DEFAULT ||
           call->error == MYSTORE_TOO_LARGE;
}

static bool call_is_collision(const struct mystore_call *call)
{
    return call->error == MYSTORE_DEADLOCK || call->error == MYSTORE_LOCK_WAIT ||
           call->error == MYSTORE_CHANGED;
}

/* Puts `by` where `part` is in the text, unless that is the end of a longer word. */
static void call_replace(struct err *err, const char *part, const char *by)
{
    const size_t len = strlen(part);
    char rest[sizeof(err->text)];
    char *at = err->text;

    while ((at = strstr(at, part)) != NULL) {
        if (part[0] != ' ' && at > err->text && isalnum((unsigned char)at[-1])) {
            at++;
            continue;
        }
        snprintf(rest, sizeof(rest), "%s", at + len);
        at += snprintf(at, sizeof(err->text) - (size_t)(at - err->text), "%s", by);
        if (at > err->text + sizeof(err->text) - 1)
            at = err->text + sizeof(err->text) - 1;
        snprintf(at, sizeof(err->text) - (size_t)(at - err->text), "%s", rest);
        err->text[utf8_cut(err->text, strlen(err->text))] = '\0';
    }
}

/* The server names the database, alone and in front of its tables, which is nobody's business. */
static void call_hide_database(const struct mystore_call *call, struct err *err)
{
    static const char *const forms[][3] = {
        {"`", "`.", ""},
        {"'", "'.", ""},
        {" to database '", "'", " to the database"},
        {" database '", "'", " database"},
        {"'", "'", "the database"},
        {"`", "`", "the database"},
        {"", ".", ""},
    };
    char part[MYSTORE_FORM_MAX];

    for (size_t i = 0; i < ARRAY_SIZE(forms); i++)
        if (snprintf(part, sizeof(part), "%s%s%s", forms[i][0], call->my->name, forms[i][1]) <
            (int)sizeof(part))
            call_replace(err, part, forms[i][2]);
}

static void call_translate(struct mystore_call *call)
{
    struct err *err = &call->step.err;

    call_hide_database(call, err);
    if (err->code == ERR_CANCELED || err->code == ERR_NOMEM)
        return;
    if (err->code == ERR_DB && call_is_refusal(call)) {
        err_prefix(err, "the state database refused a row");
        return;
    }
    if (err->code == ERR_DB || err->code == ERR_LIMIT)
        err_prefix(err, "the state database failed");
    else
        err_prefix(err, "the state database is not reachable");
    err->code = ERR_STORE;
}

/* --- the machine --- */

static void call_on_step(struct op *step, int rc);

static void call_finish(struct mystore_call *call, int rc)
{
    struct op *op = call->op;

    if (rc == 0) {
        if (!call->keep) {
            maria_release(call->conn);
            call->conn = NULL;
        }
        op_finish(op, 0);
        return;
    }
    call_discard(call); /* it may be in a transaction */
    call_drop_results(call);
    call_translate(call);
    op_fail(op, &call->step.err);
}

/* Returns what the start of the step returned. */
static int call_acquire(struct mystore_call *call)
{
    call->querying = false;
    call->tries++;
    call->at = 0;
    op_init(&call->step, call_on_step);
    return maria_acquire(call->my->pool, &call->step, &call->conn);
}

static int call_query(struct mystore_call *call)
{
    const struct buf *piece = &call->script.pieces[call->at];

    call->querying = true;
    op_init(&call->step, call_on_step);
    return maria_query(call->conn, &call->step, piece->data, piece->len, call->timeout_ms,
                       &call->results[call->at]);
}

/* Whether it had no effect, or has none when it is done twice. */
static bool call_may_begin_again(const struct mystore_call *call, int rc)
{
    if (call->op->canceled)
        return false;
    if (rc == ERR_DB)
        return call_is_collision(call);
    return rc == ERR_UNREACHABLE && (call->repeatable || call->at + 1 < call->result_count);
}

static void call_on_failed(struct mystore_call *call, int rc)
{
    struct err err = call->step.err;

    call->error = call->results[call->at].error;
    call->again = call->querying && call_may_begin_again(call, rc);
    if (call->again && !call->continued && call->tries < MYSTORE_TRIES) {
        call_discard(call);
        call_empty_results(call);
        rc = call_acquire(call);
        if (rc == 0)
            return;
    } else {
        call->step.err = err;
    }
    call_finish(call, rc);
}

static void call_on_step(struct op *step, int rc)
{
    struct mystore_call *call = container_of(step, struct mystore_call, step);

    if (rc == 0 && call->querying && ++call->at == call->result_count) {
        call_finish(call, 0);
        return;
    }
    if (rc == 0)
        rc = call_query(call);
    if (rc != 0)
        call_on_failed(call, rc);
}

static void call_cancel(struct op *op)
{
    struct mystore_call *call = op->impl;

    op_cancel(&call->step);
}

static int call_refuse(struct mystore_call *call)
{
    call_discard(call);
    call_drop_results(call);
    call_translate(call);
    call->op->err = call->step.err;
    return call->op->err.code;
}

int mystore_call_start(struct mystore_call *call, struct op *op)
{
    int rc;

    call->op = op;
    call->tries = 0;
    call->error = 0;
    call->again = false;
    call->at = 0;
    call->continued = call->conn != NULL;
    if (call->timeout_ms == 0)
        call->timeout_ms = CORE_TIMEOUT_MS;
    op_init(&call->step, call_on_step);
    call_drop_results(call); /* of the call before */
    call->results = mem_calloc(call->script.count, sizeof(*call->results));
    if (call->results == NULL) {
        err_set(&call->step.err, ERR_NOMEM, "out of memory");
        return call_refuse(call);
    }
    call->result_count = call->script.count;
    rc = call->continued ? call_query(call) : call_acquire(call);
    if (rc != 0)
        return call_refuse(call);
    op_begin(op, call, call_cancel);
    return 0;
}

/* --- cells --- */

bool mystore_next(struct mystore_cursor *cursor)
{
    const struct mystore_call *call = cursor->call;

    if (cursor->result != NULL && ++cursor->row < cursor->result->rows)
        return true;
    if (cursor->result != NULL)
        cursor->statement++;
    for (; cursor->piece < call->result_count; cursor->piece++, cursor->statement = 0) {
        const struct maria_results *results = &call->results[cursor->piece];

        for (; cursor->statement < results->count; cursor->statement++) {
            cursor->result = &results->results[cursor->statement];
            cursor->row = 0;
            if (cursor->result->columns > 0 && cursor->result->rows > 0)
                return true;
        }
    }
    cursor->result = NULL;
    return false;
}

const char *mystore_text(void *arg, int column)
{
    const struct mystore_cursor *cursor = arg;

    return maria_value(cursor->result, cursor->row, (size_t)column, NULL);
}

int64_t mystore_integer(void *arg, int column)
{
    const char *text = mystore_text(arg, column);

    return text != NULL ? strtoll(text, NULL, 10) : 0;
}
