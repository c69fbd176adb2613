#include <stdlib.h>
#include <string.h>

#include "backend/mysql_step.h"

bool myb_may_pass(unsigned error)
{
    return error == MYB_LOCK_TIMEOUT || error == MYB_DEADLOCK;
}

/* "... at line 3": lines of the statement, where the server counts them. */
static unsigned mys_line_in_message(const char *text)
{
    static const char sign[] = "at line ";
    const char *found = NULL;

    for (const char *at = text; (at = strstr(at, sign)) != NULL; at++)
        found = at + strlen(sign);
    return found != NULL ? (unsigned)strtoul(found, NULL, 10) : 0;
}

/* The statement of the script, or SIZE_MAX. */
static size_t mys_statement_at(const struct mys_step *step, size_t at)
{
    const struct mys_layout *layout = &step->layout;

    if (layout->script_at == SIZE_MAX || at < layout->script_at ||
        at - layout->script_at >= layout->count)
        return SIZE_MAX;
    return layout->first + (at - layout->script_at);
}

static const char *mys_outside_of_script(const struct mys_step *step, size_t at)
{
    const struct mys_layout *layout = &step->layout;

    if (at == layout->database_at)
        return "creating the database";
    if (at == layout->use_at)
        return "choosing the database";
    if (at == layout->journal_at)
        return "writing the journal";
    return layout->script_at == SIZE_MAX || at < layout->script_at ? "beginning the step"
                                                                   : "recording the step";
}

/* What to do about it, "" where nobody but the reader knows. */
static const char *mys_hint(const struct mys_step *step, size_t at)
{
    if (step->results.error == MYB_ACCESS_DENIED_DB && at == step->layout.database_at)
        return "; grant the connection's user CREATE on that database, or create it";
    if (step->results.error == MYB_ACCESS_DENIED_DB && at == step->layout.use_at)
        return "; grant the connection's user rights on that database";
    if (step->results.error == MYB_DENIED && at == step->layout.journal_at)
        return "; grant the connection's user CREATE, SELECT, INSERT, UPDATE and DELETE on the "
               "journal's database";
    if (step->timed_out)
        return "; it took longer than bfm-statement-timeout allows";
    return "";
}

void mys_note_error(struct mys_step *step, size_t at)
{
    const unsigned error = step->results.error;
    const struct err why = step->work.err;
    const char *hint = mys_hint(step, at);
    size_t statement = mys_statement_at(step, at), len = strlen(err_text(&why));
    unsigned line;
    int code = error == MYB_LOCK_TIMEOUT ? ERR_LOCKED : step->rc;

    if (error == 0) {
        step->err = why;
        return;
    }
    if (step->timed_out && !step->canceled)
        code = ERR_DB;
    if (len > 0 && why.text[len - 1] == ')') /* what it says of itself is added to */
        len--;
    if (statement == SIZE_MAX) {
        err_set(&step->err, code, "ERROR: %.*s, %s)%s", (int)len, why.text,
                mys_outside_of_script(step, at), hint);
    } else {
        line = step->script->statements[statement].line;
        if (error == MYB_SYNTAX && mys_line_in_message(why.text) > 1)
            line += mys_line_in_message(why.text) - 1;
        err_set(&step->err, code, "ERROR: %.*s, statement %zu, %s:%u)%s", (int)len, why.text,
                statement + 1, step->script->file, line, hint);
        step->err.statement = (unsigned)statement + 1;
        step->err.line = line;
    }
    memcpy(step->err.sqlstate, why.sqlstate, sizeof(step->err.sqlstate));
}

bool mys_note_not_rolled_back(struct mys_step *step, const struct maria_result *warnings)
{
    struct err why = step->err;

    for (size_t row = 0; row < warnings->rows; row++) {
        const char *number = maria_value(warnings, row, 1, NULL);

        if (number == NULL || strtoul(number, NULL, 10) != MYB_NOT_ROLLED_BACK)
            continue;
        err_set(&step->err, why.code != 0 ? why.code : ERR_DB,
                "%s; the transaction was rolled back, but some tables know no transactions (MyISAM "
                "and the like): what was changed in them stays and is changed again by the next "
                "run; look at them first",
                err_text(&why));
        step->err.statement = why.statement;
        step->err.line = why.line;
        memcpy(step->err.sqlstate, why.sqlstate, sizeof(why.sqlstate));
        return true;
    }
    return false;
}
