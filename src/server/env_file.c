#include <ctype.h>
#include <stdbool.h>
#include <string.h>

#include "server/env.h"

/* Where the parser stands; `line` counts with it. */
struct env_cursor {
    const char *text;
    size_t at, end;
    unsigned line;
    struct env_file *file;
    size_t vars_cap, problems_cap;
};

static bool env_is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static bool env_at_end(const struct env_cursor *cursor)
{
    return cursor->at >= cursor->end;
}

static void env_skip_blanks(struct env_cursor *cursor)
{
    while (!env_at_end(cursor) && env_is_blank(cursor->text[cursor->at]))
        cursor->at++;
}

/* To the newline, not over it. */
static void env_skip_line(struct env_cursor *cursor)
{
    while (!env_at_end(cursor) && cursor->text[cursor->at] != '\n')
        cursor->at++;
}

/* Doubles a full array of the arena. NULL when memory is out. */
static void *env_grow(struct arena *arena, void *old, size_t count, size_t *cap, size_t size)
{
    size_t wanted = *cap > 0 ? *cap * 2 : 16;
    void *grown;

    if (count < *cap)
        return old;
    grown = arena_calloc(arena, wanted, size);
    if (grown == NULL)
        return NULL;
    if (count > 0)
        memcpy(grown, old, count * size);
    *cap = wanted;
    return grown;
}

static int env_complain(struct env_cursor *cursor, unsigned line, const char *text)
{
    struct env_file *file = cursor->file;
    struct env_problem *grown = env_grow(&file->arena, file->problems, file->problem_count,
                                         &cursor->problems_cap, sizeof(*file->problems));

    if (grown == NULL)
        return ERR_NOMEM;
    file->problems = grown;
    file->problems[file->problem_count++] = (struct env_problem){.line = line, .text = text};
    env_skip_line(cursor);
    return 0;
}

static int env_keep(struct env_cursor *cursor, const char *name, size_t name_len,
                    const struct buf *value)
{
    struct env_file *file = cursor->file;
    struct env_var *grown =
        env_grow(&file->arena, file->vars, file->count, &cursor->vars_cap, sizeof(*file->vars));
    struct env_var var;

    if (grown == NULL || value->rc != 0)
        return ERR_NOMEM;
    file->vars = grown;
    var.name = arena_strndup(&file->arena, name, name_len);
    var.value = arena_strndup(&file->arena, buf_str(value), value->len);
    if (var.name == NULL || var.value == NULL)
        return ERR_NOMEM;
    file->vars[file->count++] = var;
    return 0;
}

static size_t env_name_len(const struct env_cursor *cursor)
{
    size_t at = cursor->at;

    if (at < cursor->end && isdigit((unsigned char)cursor->text[at]))
        return 0;
    while (at < cursor->end &&
           (isalnum((unsigned char)cursor->text[at]) || cursor->text[at] == '_'))
        at++;
    return at - cursor->at;
}

static void env_skip_export(struct env_cursor *cursor)
{
    const size_t len = strlen("export");

    if (cursor->end - cursor->at > len && memcmp(cursor->text + cursor->at, "export", len) == 0 &&
        env_is_blank(cursor->text[cursor->at + len])) {
        cursor->at += len;
        env_skip_blanks(cursor);
    }
}

static void env_read_plain(struct env_cursor *cursor, struct buf *value)
{
    size_t start = cursor->at, end;

    while (!env_at_end(cursor) && cursor->text[cursor->at] != '\n' &&
           !(cursor->text[cursor->at] == '#' && env_is_blank(cursor->text[cursor->at - 1])))
        cursor->at++;
    for (end = cursor->at; end > start && env_is_blank(cursor->text[end - 1]); end--)
        continue;
    buf_append(value, cursor->text + start, end - start);
    env_skip_line(cursor);
}

/* The character behind a backslash in "...". */
static void env_put_escape(struct buf *value, char c)
{
    static const char from[] = "nrt\"\\$", to[] = "\n\r\t\"\\$";
    const char *known = c != '\0' ? strchr(from, c) : NULL;

    if (c == '\n')
        return;
    if (known != NULL) {
        buf_putc(value, to[known - from]);
    } else {
        buf_putc(value, '\\');
        buf_putc(value, c);
    }
}

/* False: the closing quote is missing. */
static bool env_read_quoted(struct env_cursor *cursor, struct buf *value)
{
    char quote = cursor->text[cursor->at++];

    while (!env_at_end(cursor)) {
        char c = cursor->text[cursor->at++];

        if (c == quote)
            return true;
        if (c == '\\' && quote == '"' && !env_at_end(cursor)) {
            c = cursor->text[cursor->at++];
            env_put_escape(value, c);
        } else {
            buf_putc(value, c);
        }
        cursor->line += c == '\n';
    }
    return false;
}

static int env_parse_value(struct env_cursor *cursor, struct buf *value, const char **problem)
{
    char first = '\n';

    if (!env_at_end(cursor))
        first = cursor->text[cursor->at];
    *problem = NULL;
    if (first != '"' && first != '\'') {
        env_read_plain(cursor, value);
        return value->rc;
    }
    if (!env_read_quoted(cursor, value)) {
        *problem = "the closing quote is missing";
        return 0;
    }
    env_skip_blanks(cursor);
    if (!env_at_end(cursor) && cursor->text[cursor->at] != '\n' && cursor->text[cursor->at] != '#')
        *problem = "unexpected text behind the closing quote";
    env_skip_line(cursor);
    return value->rc;
}

static int env_parse_line(struct env_cursor *cursor)
{
    unsigned line = cursor->line;
    const char *name, *problem;
    struct buf value;
    size_t name_len;
    int rc;

    env_skip_blanks(cursor);
    if (env_at_end(cursor) || cursor->text[cursor->at] == '\n')
        return 0;
    if (cursor->text[cursor->at] == '#') {
        env_skip_line(cursor);
        return 0;
    }
    env_skip_export(cursor);
    name = cursor->text + cursor->at;
    name_len = env_name_len(cursor);
    cursor->at += name_len;
    if (name_len == 0 || env_at_end(cursor) || cursor->text[cursor->at] != '=')
        return env_complain(cursor, line, "expected NAME=value");
    cursor->at++;
    if (!env_at_end(cursor) && env_is_blank(cursor->text[cursor->at]))
        env_skip_blanks(cursor);
    buf_init(&value, cursor->end + 1);
    rc = env_parse_value(cursor, &value, &problem);
    if (rc == 0)
        rc = problem != NULL ? env_complain(cursor, line, problem)
                             : env_keep(cursor, name, name_len, &value);
    buf_free(&value);
    return rc;
}

int env_file_parse(const char *text, size_t len, struct env_file *out)
{
    struct env_cursor cursor = {.text = text, .end = len, .line = 1, .file = out};
    const char *nul = len > 0 ? memchr(text, '\0', len) : NULL;
    int rc = 0;

    *out = (struct env_file){0};
    arena_init(&out->arena);
    if (nul != NULL) {
        for (const char *at = text; at < nul; at++)
            cursor.line += *at == '\n';
        return env_complain(&cursor, cursor.line, "a NUL byte cannot be part of a variable");
    }
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        cursor.at = 3; /* a byte order mark */
    while (rc == 0 && !env_at_end(&cursor)) {
        rc = env_parse_line(&cursor);
        if (!env_at_end(&cursor))
            cursor.at++;
        cursor.line++;
    }
    return rc;
}

void env_file_free(struct env_file *file)
{
    arena_free(&file->arena);
    *file = (struct env_file){0};
}
