#include "backend/postgresql_judge.h"

#include <stdlib.h>
#include <string.h>

enum {
    PGB_PIECE_MAX = 4096, /* bytes that one variable can render to */
    PGB_TEXT_MAX = 8 * ERR_TEXT_MAX,
};

static const char *result_field(const PGresult *result, int field)
{
    const char *text = result != NULL ? PQresultErrorField(result, field) : NULL;

    return text != NULL ? text : "";
}

void pgb_answer_read(struct pgb_answer *answer, const struct pg_results *results, int rc,
                     const char *journal_schema)
{
    const char *sqlstate;

    *answer = (struct pgb_answer){.rc = rc};
    for (size_t i = 0; i < results->count && answer->failed == NULL; i++) {
        PGresult *result = results->results[i];

        if (PQresultStatus(result) == PGRES_FATAL_ERROR) {
            answer->failed = result;
            answer->failed_at = i;
        } else if (strcmp(PQcmdStatus(result), "COMMIT") == 0) {
            answer->committed = true;
        }
    }
    sqlstate = result_field(answer->failed, PG_DIAG_SQLSTATE);
    if (strlen(sqlstate) < sizeof(answer->sqlstate))
        memcpy(answer->sqlstate, sqlstate, strlen(sqlstate) + 1);
    answer->journal_key =
        strcmp(sqlstate, "23505") == 0 &&
        strcmp(result_field(answer->failed, PG_DIAG_SCHEMA_NAME), journal_schema) == 0 &&
        strcmp(result_field(answer->failed, PG_DIAG_TABLE_NAME), "journal") == 0;
}

bool pgb_was_made_meanwhile(const char *sqlstate)
{
    static const char *const races[] = {"23505", "42P06", "42P07", "42710"};

    for (size_t i = 0; i < ARRAY_SIZE(races); i++)
        if (strcmp(sqlstate, races[i]) == 0)
            return true;
    return false;
}

bool pgb_may_pass(const char *sqlstate)
{
    static const char *const passing[] = {"57P01", "57P02", "57P03", "57P04",
                                          "57P05", "40001", "40P01", "55P03"};

    if (strncmp(sqlstate, "08", 2) == 0)
        return true;
    for (size_t i = 0; i < ARRAY_SIZE(passing); i++)
        if (strcmp(sqlstate, passing[i]) == 0)
            return true;
    return false;
}

static bool state_is(const struct pgb_answer *answer, const char *sqlstate)
{
    return strcmp(answer->sqlstate, sqlstate) == 0;
}

/* A failure within what we put in front of the script. */
static enum pgb_verdict judge_head(const struct pgb_answer *answer,
                                   const struct pgsql_layout *layout)
{
    const size_t at = answer->failed_at;

    if (at == layout->schema_at && (state_is(answer, "23505") || state_is(answer, "42P06")))
        return PGB_RACE;
    if (at == layout->journal_at && answer->journal_key)
        return PGB_ALREADY;
    if (at == layout->journal_at && at != layout->guard_at && state_is(answer, "22012"))
        return PGB_ALREADY;
    if (at == layout->journal_at && state_is(answer, "42P01"))
        return PGB_NO_JOURNAL;
    if (at == layout->guard_at &&
        (state_is(answer, "23502") || state_is(answer, "3F000") || state_is(answer, "22012")))
        return PGB_NO_SCHEMA;
    if ((at == layout->journal_at || at == layout->schema_at) && state_is(answer, "55P03"))
        return PGB_REFUSED; /* another writer, waited for long enough */
    return pgb_may_pass(answer->sqlstate) ? PGB_RETRY : PGB_REFUSED;
}

enum pgb_verdict pgb_judge_step(const struct pgb_answer *answer, const struct pgsql_layout *layout,
                                size_t script_count)
{
    if (answer->committed)
        return PGB_APPLIED;
    if (answer->failed == NULL || answer->sqlstate[0] == '\0')
        return answer->rc == 0 ? PGB_REFUSED : PGB_UNKNOWN;
    if (answer->failed_at >= layout->script_at + script_count && answer->rc != ERR_DB)
        return PGB_UNKNOWN; /* while committing */
    if (answer->rc == ERR_CANCELED)
        return PGB_REFUSED;
    if (answer->failed_at < layout->script_at)
        return judge_head(answer, layout);
    return pgb_may_pass(answer->sqlstate) ? PGB_RETRY : PGB_REFUSED;
}

/* --- where and what --- */

size_t pgb_chars_to_bytes(const char *text, size_t chars)
{
    size_t at = 0;

    while (text[at] != '\0' && (chars > 0 || ((unsigned char)text[at] & 0xc0) == 0x80)) {
        if (((unsigned char)text[at] & 0xc0) != 0x80)
            chars--;
        at++;
    }
    return at;
}

/* How long one part of a template is when rendered, cut to [start, end). */
static size_t part_rendered_len(const struct script *script, const struct template_part *part,
                                const struct template_values *values, size_t start, size_t end)
{
    struct script alone = *script;
    struct buf piece;
    size_t len;

    if (part->var == TEMPLATE_NONE)
        return end - start;
    alone.parts = part;
    alone.part_count = 1;
    buf_init(&piece, PGB_PIECE_MAX);
    template_render(&alone, values, &piece, NULL);
    len = piece.len;
    buf_free(&piece);
    return len;
}

size_t pgb_unrender(const struct script *script, const struct template_values *values, size_t start,
                    size_t end, size_t offset)
{
    if (!script->has_variables)
        return start + offset < end ? start + offset : end;
    for (size_t i = 0; i < script->part_count; i++) {
        const struct template_part *part = &script->parts[i];
        size_t from = part->start > start ? part->start : start;
        size_t to = part->end < end ? part->end : end;
        size_t len;

        if (from >= to)
            continue;
        len = part_rendered_len(script, part, values, from, to);
        if (offset < len)
            return part->var == TEMPLATE_NONE ? from + offset : from;
        offset -= len;
    }
    return end;
}

static unsigned line_at(const char *text, size_t offset)
{
    unsigned line = 1;

    for (size_t i = 0; i < offset && text[i] != '\0'; i++)
        if (text[i] == '\n')
            line++;
    return line;
}

/* The last statement that starts at or before the offset. */
static size_t statement_at(const struct script *script, size_t offset)
{
    size_t at = 0;

    for (size_t i = 0; i < script->statement_count; i++)
        if (script->statements[i].start <= offset)
            at = i;
    return at;
}

/* From where the server points to, if it does, else from how many statements had worked. */
static void locate(const struct pgb_answer *answer, const struct pgb_source *source,
                   struct err *err)
{
    const struct pgsql_layout *layout = source->layout;
    const struct script *script = source->script;
    size_t chars = strtoul(result_field(answer->failed, PG_DIAG_STATEMENT_POSITION), NULL, 10);
    size_t index = SIZE_MAX;

    if (answer->failed_at >= layout->script_at &&
        answer->failed_at < layout->script_at + source->statement_count)
        index = source->statement_first + answer->failed_at - layout->script_at;
    if (index < script->statement_count)
        err->line = script->statements[index].line;
    if (chars > 0) {
        size_t at = pgb_chars_to_bytes(source->sql, chars - 1);

        if (at >= layout->script_start && at < layout->script_end) {
            at = pgb_unrender(script, source->values, source->text_start, source->text_end,
                              at - layout->script_start);
            err->line = line_at(script->text, at);
            if (index == SIZE_MAX && script->statement_count > 0)
                index = statement_at(script, at);
        }
    }
    if (index != SIZE_MAX)
        err->statement = (unsigned)index + 1;
}

static const char *outside_of_script(const struct pgb_answer *answer,
                                     const struct pgsql_layout *layout)
{
    if (answer->failed_at == layout->schema_at)
        return "creating the schema";
    if (answer->failed_at == layout->journal_at)
        return "writing the journal";
    return answer->failed_at < layout->script_at ? "beginning the step" : "committing";
}

static void put_more(struct buf *text, const struct pgb_answer *answer)
{
    const char *detail = result_field(answer->failed, PG_DIAG_MESSAGE_DETAIL);
    const char *hint = result_field(answer->failed, PG_DIAG_MESSAGE_HINT);

    if (detail[0] != '\0')
        buf_printf(text, " DETAIL: %s", detail);
    if (hint[0] != '\0')
        buf_printf(text, " HINT: %s", hint);
}

int pgb_error_of(const struct pgb_answer *answer, const struct pgb_source *source, int code,
                 struct err *err)
{
    const char *severity = result_field(answer->failed, PG_DIAG_SEVERITY);
    struct err place = {.code = code};
    struct buf text;

    locate(answer, source, &place);
    buf_init(&text, PGB_TEXT_MAX);
    buf_printf(&text, "%s: %s (SQLSTATE %s", severity[0] != '\0' ? severity : "ERROR",
               result_field(answer->failed, PG_DIAG_MESSAGE_PRIMARY), answer->sqlstate);
    if (place.statement > 0)
        buf_printf(&text, ", statement %u, %s:%u)", place.statement, source->script->file,
                   place.line);
    else
        buf_printf(&text, ", %s)", outside_of_script(answer, source->layout));
    put_more(&text, answer);
    if (answer->failed_at == source->layout->schema_at && state_is(answer, "42501"))
        buf_puts(&text, " HINT: " PGB_MAKE_SCHEMA_HINT);
    err_set(err, code, "%s", buf_str(&text));
    buf_free(&text);
    err->statement = place.statement;
    err->line = place.line;
    memcpy(err->sqlstate, answer->sqlstate, sizeof(err->sqlstate));
    return code;
}
