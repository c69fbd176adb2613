#include "model/template.h"

#include <string.h>

#include "base/json.h"
#include "model/sqlscan.h"

/* One rendering: of the bytes [start, end) of a script. */
struct rendering {
    const struct script *script;
    const struct template_values *values;
    size_t start, end;
    struct buf *out;
    struct err *err;
};

static const char *const variable_name[] = {
    [TEMPLATE_NONE] = "",           [TEMPLATE_CONNECTION] = "Connection",
    [TEMPLATE_SCHEMA] = "Schema",   [TEMPLATE_BACKEND] = "Backend",
    [TEMPLATE_VERSION] = "Version",
};

static const char *render_value(const struct rendering *rendering, enum template_var var)
{
    const struct template_values *values = rendering->values;
    const char *value = NULL;

    switch (var) {
    case TEMPLATE_NONE:
        break;
    case TEMPLATE_CONNECTION:
        value = values->connection;
        break;
    case TEMPLATE_SCHEMA:
        value = values->schema;
        break;
    case TEMPLATE_BACKEND:
        value = values->backend;
        break;
    case TEMPLATE_VERSION:
        value = values->version;
        break;
    }
    return value != NULL ? value : "";
}

static int render_refuse(const struct rendering *rendering, const struct template_part *part,
                         const char *why)
{
    unsigned line = sql_line_at(rendering->script->text, part->start);

    err_set(rendering->err, ERR_INVALID, "%s:%u: {{.%s}} %s", rendering->script->file, line,
            variable_name[part->var], why);
    if (rendering->err != NULL)
        rendering->err->line = line;
    return ERR_INVALID;
}

/* The value with `c` written twice and, if `also` is not NUL, that too. */
static void render_doubled(struct buf *out, const char *value, char c, char also)
{
    for (const char *p = value; *p != '\0'; p++) {
        if (*p == c || (*p == also && also != '\0'))
            buf_putc(out, *p);
        buf_putc(out, *p);
    }
}

/* Nothing in it can end the comment or begin one in it; and it keeps apart what is around it. */
static void render_comment(struct buf *out, const char *value)
{
    if (value[0] == '\0')
        buf_putc(out, ' ');
    for (const char *p = value; *p != '\0'; p++) {
        if (strchr("\r\n*/", *p) != NULL)
            buf_putc(out, '_');
        else
            buf_putc(out, *p);
    }
}

static void render_json(struct buf *out, const char *value)
{
    struct buf quoted;

    buf_init(&quoted, out->max);
    if (json_put_string(&quoted, value) == 0)
        buf_append(out, quoted.data + 1, quoted.len - 2);
    else
        out->rc = quoted.rc;
    buf_free(&quoted);
}

static bool render_is_digits(const char *value)
{
    return value[strspn(value, "0123456789")] == '\0';
}

static bool render_is_lower(const char *value)
{
    return value[strspn(value, "abcdefghijklmnopqrstuvwxyz0123456789_")] == '\0';
}

/* MySQL's words are many, and quotes around a name that needs none do no harm. */
static int render_plain_mysql(const struct rendering *rendering, const struct template_part *part,
                              const char *value)
{
    if (value[0] == '\0')
        return render_refuse(rendering, part, "has no value here");
    if (part->var == TEMPLATE_VERSION && render_is_digits(value))
        return buf_puts(rendering->out, value);
    buf_putc(rendering->out, '`');
    render_doubled(rendering->out, value, '`', '\0');
    return buf_putc(rendering->out, '`');
}

static int render_plain(const struct rendering *rendering, const struct template_part *part,
                        const char *value)
{
    if (value[0] == '\0')
        return render_refuse(rendering, part, "has no value here");
    if (part->var == TEMPLATE_VERSION && render_is_digits(value))
        return buf_puts(rendering->out, value);
    if (render_is_lower(value) && !(value[0] >= '0' && value[0] <= '9') && !sql_is_keyword(value))
        return buf_puts(rendering->out, value);
    buf_putc(rendering->out, '"');
    render_doubled(rendering->out, value, '"', '\0');
    return buf_putc(rendering->out, '"');
}

/* Whether something of the word is in front of the variable, so that a digit may follow. */
static bool render_goes_on(const struct rendering *rendering, const struct template_part *part)
{
    char before;

    if (part->start == 0)
        return false;
    before = rendering->script->text[part->start - 1];
    return (before >= 'a' && before <= 'z') || (before >= 'A' && before <= 'Z') ||
           (before >= '0' && before <= '9') || strchr("_$}", before) != NULL ||
           (unsigned char)before >= 0x80;
}

static int render_word(const struct rendering *rendering, const struct template_part *part,
                       const char *value)
{
    if (value[0] == '\0')
        return render_refuse(rendering, part, "has no value here");
    if (part->var == TEMPLATE_VERSION && render_is_digits(value))
        return buf_puts(rendering->out, value);
    if (!render_is_lower(value) ||
        (value[0] >= '0' && value[0] <= '9' && !render_goes_on(rendering, part)))
        return render_refuse(rendering, part,
                             "is part of a longer word or text here, where only lower-case "
                             "letters, digits and _ can stand; this value would need quotes");
    return buf_puts(rendering->out, value);
}

static int render_variable(const struct rendering *rendering, const struct template_part *part)
{
    const char *value = render_value(rendering, part->var);
    struct buf *out = rendering->out;

    if (part->in_dollar && strchr(value, '$') != NULL)
        return render_refuse(rendering, part,
                             "is inside of a dollar-quoted text, where a value with a '$' in it "
                             "cannot stand");
    if (part->in_code && strpbrk(value, "*/") != NULL)
        return render_refuse(rendering, part,
                             "is inside of an executable comment, which not every server reads as "
                             "code: a value with '*' or '/' in it could end it");
    switch (part->place) {
    case TEMPLATE_IN_PLAIN:
        return render_plain(rendering, part, value);
    case TEMPLATE_IN_PLAIN_MYSQL:
        return render_plain_mysql(rendering, part, value);
    case TEMPLATE_IN_WORD:
        return render_word(rendering, part, value);
    case TEMPLATE_IN_STRING:
        render_doubled(out, value, '\'', '\0');
        break;
    case TEMPLATE_IN_ESTRING:
        render_doubled(out, value, '\'', '\\');
        break;
    case TEMPLATE_IN_EDOUBLE:
        render_doubled(out, value, '"', '\\');
        break;
    case TEMPLATE_IN_QUOTED:
        render_doubled(out, value, '"', '\0');
        break;
    case TEMPLATE_IN_BACKQUOTED:
        render_doubled(out, value, '`', '\0');
        break;
    case TEMPLATE_IN_COMMENT:
        render_comment(out, value);
        break;
    case TEMPLATE_IN_JSON:
        render_json(out, value);
        break;
    case TEMPLATE_IN_TEXT:
        buf_puts(out, value);
        break;
    }
    return out->rc;
}

/* The first part that ends behind `start`. */
static size_t render_first(const struct script *script, size_t start)
{
    size_t low = 0, high = script->part_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (script->parts[middle].end <= start)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int render_parts(const struct rendering *rendering)
{
    const struct script *script = rendering->script;

    for (size_t i = render_first(script, rendering->start);
         i < script->part_count && script->parts[i].start < rendering->end; i++) {
        const struct template_part *part = &script->parts[i];
        size_t from = part->start > rendering->start ? part->start : rendering->start;
        size_t to = part->end < rendering->end ? part->end : rendering->end;
        int rc = part->var == TEMPLATE_NONE
                     ? buf_append(rendering->out, script->text + from, to - from)
                     : render_variable(rendering, part);

        if (rc != 0)
            return rc;
    }
    return rendering->out->rc;
}

static int render(const struct rendering *rendering)
{
    int rc;

    if (!rendering->script->has_variables)
        rc = buf_append(rendering->out, rendering->script->text + rendering->start,
                        rendering->end - rendering->start);
    else
        rc = render_parts(rendering);
    if (rc != 0 && rc != ERR_INVALID)
        err_set(rendering->err, rc, "%s", err_code_text(rc));
    return rc;
}

int template_render_span(const struct script *script, size_t start, size_t end,
                         const struct template_values *values, struct buf *out, struct err *err)
{
    struct rendering rendering = {
        .script = script, .values = values, .start = start, .end = end, .out = out, .err = err};

    return render(&rendering);
}

int template_render(const struct script *script, const struct template_values *values,
                    struct buf *out, struct err *err)
{
    return template_render_span(script, 0, script->len, values, out, err);
}

int template_render_statement(const struct script *script, const struct sql_statement *statement,
                              const struct template_values *values, struct buf *out,
                              struct err *err)
{
    int rc = template_render_span(script, statement->start, statement->end, values, out, err);

    if (rc == ERR_INVALID && err != NULL)
        err->statement = (unsigned)(statement - script->statements) + 1;
    return rc;
}
