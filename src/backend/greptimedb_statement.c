#include "backend/greptimedb_step.h"

#include <string.h>

#include "backend/backoff.h"
#include "backend/greptimedb_idempotent.h"
#include "backend/greptimedb_sql.h"
#include "backend/no_schema.h"
#include "base/crash.h"

/* One statement of a script, and the database that it needs. */

enum {
    PAUSE_MIN_MS = 200,
    PAUSE_MAX_MS = 4000,
    PREPARE_MAX_MS = 30000,  /* creating a database takes no longer */
    PAUSE_AWAY_MAX_MS = 800, /* while nobody is there; well below BACKEND_DOWN_GRACE_MS */
};

static bool gts_render(struct gtdb_step *step)
{
    const struct script *script = step->script;
    int rc;

    buf_truncate(&step->sql, 0);
    rc = template_render_statement(script, &script->statements[step->at], &step->values, &step->sql,
                                   &step->err);
    if (rc == 0 && step->sql.rc != 0)
        rc = err_set(&step->err, step->sql.rc, "%s", err_code_text(step->sql.rc));
    return rc == 0;
}

bool gts_is_repeatable(struct gtdb_step *step)
{
    return gts_render(step) && gtdb_is_repeatable(&step->scan, buf_str(&step->sql), step->sql.len);
}

static uint64_t gts_timeout_ms(const struct gtdb_step *step)
{
    int64_t own = step->step->migration->statement_timeout_ms;

    return own >= 0 ? (uint64_t)own : step->gtdb->settings.statement_timeout_ms;
}

static int gts_send(struct gtdb_step *step, const char *database, uint64_t timeout_ms)
{
    const struct gtdb_question question = {.database = database,
                                           .sql = buf_str(&step->sql),
                                           .len = step->sql.len,
                                           .timeout_ms = timeout_ms,
                                           .brief = true};

    step->sent_ms = gtdb_sched(step->gtdb)->now_ms;
    return gtdb_call_start(&step->call, step->gtdb->peer, &step->work, &question);
}

/* Reads the answer; false when nobody was there and there is no time to wait for them. */
static bool gts_judge(struct gtdb_step *step)
{
    gtdb_call_judge(&step->call, step->rc, &step->work.err, &step->answer);
    if (!step->answer.unreachable) {
        if (step->rc == 0)
            gtdb_note_contact(step->gtdb);
        return true;
    }
    return !gtdb_note_away(step->gtdb, step->sent_ms);
}

/* While nobody is there, time counts and not tries. */
static bool gts_may_retry(const struct gtdb_step *step, bool in_time)
{
    if (step->canceled || step->lost || !in_time)
        return false;
    return step->answer.unreachable || step->tries + 1 < step->gtdb->settings.max_attempts;
}

static bool gts_pause(struct gtdb_step *step)
{
    const struct backend_step *given = step->step;

    if (step->answer.unreachable)
        return gts_nap(step, GTS_PAUSING,
                       backend_backoff_ms(step->misses++, PAUSE_MIN_MS, PAUSE_AWAY_MAX_MS));
    step->tries++;
    step->misses = 0;
    step->result->attempts++;
    if (given->on_attempt != NULL)
        given->on_attempt(given, step->result->attempts, &step->answer.err);
    return gts_nap(step, GTS_PAUSING,
                   backend_backoff_ms(step->tries - 1, PAUSE_MIN_MS, PAUSE_MAX_MS));
}

bool gts_paused(struct gtdb_step *step)
{
    if (step->lost)
        return gts_fail_taken(step);
    if (step->canceled)
        return gts_give_up(step);
    return step->preparing ? gts_prepare(step) : gts_run(step);
}

/* --- the database --- */

bool gts_prepare(struct gtdb_step *step)
{
    uint64_t timeout_ms = gts_timeout_ms(step);

    if (timeout_ms == 0 || timeout_ms > PREPARE_MAX_MS)
        timeout_ms = PREPARE_MAX_MS;
    step->preparing = true;
    buf_truncate(&step->sql, 0);
    buf_puts(&step->sql, "CREATE DATABASE IF NOT EXISTS ");
    if (gtdb_put_identifier(&step->sql, step->database) != 0) {
        err_set(&step->err, step->sql.rc, "%s", err_code_text(step->sql.rc));
        return gts_put_back(step);
    }
    return gts_await(step, GTS_PREPARING, gts_send(step, "public", timeout_ms));
}

bool gts_prepared(struct gtdb_step *step)
{
    bool in_time = gts_judge(step);

    if (step->lost)
        return gts_fail_taken(step);
    if (step->answer.verdict == GTDB_WORKED) {
        step->preparing = false;
        step->created = true;
        step->tries = 0;
        return step->owned ? gts_run(step) : gts_claim(step);
    }
    if (step->answer.verdict != GTDB_REFUSED && gts_may_retry(step, in_time))
        return gts_pause(step);
    if (step->canceled)
        return gts_give_up(step);
    step->err = step->answer.err;
    err_prefix(&step->err, "the database \"%s\" could not be created", step->database);
    return gts_put_back(step);
}

static bool gts_on_no_database(struct gtdb_step *step)
{
    bool may_create = step->gtdb->settings.create_schema && !gts_is_down(step);

    if (may_create && !step->created && !step->canceled && !step->lost) {
        step->tries = 0;
        return gts_prepare(step);
    }
    step->err = step->answer.err;
    if (!gts_is_down(step) && !step->gtdb->settings.create_schema)
        backend_refuse_schema(&step->err, "GreptimeDB 4004 DatabaseNotFound: the database",
                              step->database, step->gtdb->settings.connection);
    gts_add_place(step);
    return gts_put_back(step);
}

/* --- the statement --- */

bool gts_run(struct gtdb_step *step)
{
    if (step->canceled)
        return gts_give_up(step);
    if (!gts_render(step)) {
        gts_add_place(step);
        return gts_put_back(step);
    }
    crash_point_nth("greptimedb_begun", step->at + 1);
    if (gts_await(step, GTS_RUNNING, gts_send(step, step->database, gts_timeout_ms(step))))
        return true;
    crash_point_nth("greptimedb_sent", step->at + 1);
    return false;
}

/* It worked: that is recorded, together with the beginning of the next one. */
static bool gts_record(struct gtdb_step *step)
{
    struct gtdb_row *want = &step->want;
    size_t count = step->script->statement_count;

    crash_point_nth("greptimedb_ran", step->at + 1);
    step->known = step->at + 1;
    step->doubted = false;
    step->tries = 0;
    *want = step->have;
    if (step->known == count) {
        gts_finish_row(step, want);
        return gts_swap(step, THEN_SUCCEED);
    }
    want->done = (int64_t)step->known;
    return gts_swap(step, THEN_RUN);
}

static bool gts_refused(struct gtdb_step *step)
{
    if (step->canceled && step->work.err.code == ERR_CANCELED)
        return gts_give_up(step); /* it had not left */
    step->err = step->answer.err;
    gts_add_place(step);
    return gts_put_back(step);
}

static bool gts_unknown(struct gtdb_step *step)
{
    bool repeatable = gts_is_repeatable(step);

    step->doubted = true;
    if (!repeatable)
        return gts_fail_in_doubt(step, &step->answer.err);
    if (gts_may_retry(step, true))
        return gts_pause(step);
    step->err = step->answer.err;
    gts_add_place(step);
    return gts_put_back(step);
}

bool gts_ran(struct gtdb_step *step)
{
    bool in_time = gts_judge(step);

    sched_stop_timer(gtdb_sched(step->gtdb), &step->grace);
    if (step->lost && step->answer.verdict != GTDB_WORKED)
        return gts_fail_taken(step);
    switch (step->answer.verdict) {
    case GTDB_WORKED:
        return gts_record(step);
    case GTDB_REFUSED:
        if (step->answer.code == GTDB_NO_DATABASE)
            return gts_on_no_database(step);
        return gts_refused(step);
    case GTDB_BUSY:
        return gts_may_retry(step, in_time) ? gts_pause(step) : gts_refused(step);
    case GTDB_UNKNOWN:
        break;
    }
    return gts_unknown(step);
}
