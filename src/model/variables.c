#include "model/variables.h"

#include <string.h>
#include <strings.h>

#include "base/base.h"
#include "model/places.h"

static const struct {
    const char *name;
    enum template_var var;
} variable_names[] = {
    {"connection", TEMPLATE_CONNECTION},
    {"schema", TEMPLATE_SCHEMA},
    {"backend", TEMPLATE_BACKEND},
    {"version", TEMPLATE_VERSION},
};

static enum template_var variable_named(const char *name, size_t len)
{
    for (size_t i = 0; i < ARRAY_SIZE(variable_names); i++)
        if (strlen(variable_names[i].name) == len &&
            strncasecmp(variable_names[i].name, name, len) == 0)
            return variable_names[i].var;
    return TEMPLATE_NONE;
}

static size_t variable_skip_blanks(const char *text, size_t at, size_t len)
{
    while (at < len && (text[at] == ' ' || text[at] == '\t'))
        at++;
    return at;
}

static bool variable_is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Reads the variable that begins with the braces at `at`. */
static bool variable_read(const char *text, size_t at, size_t len, struct template_part *out)
{
    size_t name, end;

    out->start = at;
    at = variable_skip_blanks(text, at + 2, len);
    if (at == len || text[at] != '.')
        return false;
    name = variable_skip_blanks(text, at + 1, len);
    for (end = name; end < len && variable_is_letter(text[end]);)
        end++;
    out->var = variable_named(text + name, end - name);
    at = variable_skip_blanks(text, end, len);
    if (out->var == TEMPLATE_NONE || len - at < 2 || text[at] != '}' || text[at + 1] != '}')
        return false;
    out->end = at + 2;
    return true;
}

bool variables_next(const char *text, size_t from, size_t len, struct template_part *out)
{
    *out = (struct template_part){0};
    while (from + 1 < len) {
        const char *brace = memchr(text + from, '{', len - from - 1);

        if (brace == NULL)
            return false;
        from = (size_t)(brace - text);
        if (text[from + 1] == '{' && variable_read(text, from, len, out))
            return true;
        from++;
    }
    return false;
}

bool variables_is_at(const char *text, size_t at, size_t len)
{
    struct template_part part;

    return len - at > 1 && text[at] == '{' && text[at + 1] == '{' &&
           variable_read(text, at, len, &part);
}

void variables_mask(char *text, size_t len)
{
    struct template_part part;

    for (size_t at = 0; variables_next(text, at, len, &part); at = part.end)
        memset(text + part.start, 'x', part.end - part.start);
}

static size_t variables_count(const char *text, size_t len)
{
    struct template_part part;
    size_t count = 0;

    for (size_t at = 0; variables_next(text, at, len, &part); at = part.end)
        count++;
    return count;
}

static void variables_divide(struct template_part *parts, size_t *count, const char *text,
                             size_t len, enum template_place place)
{
    struct template_part part;
    size_t at = 0, n = 0;

    while (variables_next(text, at, len, &part)) {
        if (part.start > at)
            parts[n++] = (struct template_part){.start = at, .end = part.start};
        part.place = place;
        parts[n++] = part;
        at = part.end;
    }
    if (at < len)
        parts[n++] = (struct template_part){.start = at, .end = len};
    *count = n;
}

int variables_scan(struct script *script, const struct sql_scan *scan, enum sql_dialect dialect,
                   enum template_place place, struct arena *arena, struct err *err)
{
    size_t variables = variables_count(script->text, script->len);
    struct template_part *parts;

    script->has_variables = variables > 0;
    if (script->len == 0)
        return 0;
    parts = arena_calloc(arena, 2 * variables + 1, sizeof(*parts));
    if (parts == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    variables_divide(parts, &script->part_count, script->text, script->len, place);
    script->parts = parts;
    if (scan == NULL || variables == 0)
        return 0;
    return places_find(parts, script->part_count, script->text, script->len, scan, dialect, err);
}
