#include "model/header.h"

#include <string.h>
#include <strings.h>

enum {
    HEADER_TAGS_LINES = 80,
};

static const char header_prefix[] = "bfm-";

static bool header_is_name_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

/* Divides `bfm-name : value`; false for any other line. */
static bool header_divide(struct slice line, struct slice *name, struct slice *value)
{
    size_t prefix = sizeof(header_prefix) - 1, end = prefix, colon;

    line = metadata_trim(line);
    if (line.len <= prefix || strncasecmp(line.at, header_prefix, prefix) != 0)
        return false;
    while (end < line.len && header_is_name_byte(line.at[end]))
        end++;
    for (colon = end; colon < line.len && (line.at[colon] == ' ' || line.at[colon] == '\t');)
        colon++;
    if (end == prefix || colon == line.len || line.at[colon] != ':')
        return false;
    *name = (struct slice){.at = line.at + prefix, .len = end - prefix};
    *value = metadata_trim((struct slice){.at = line.at + colon + 1, .len = line.len - colon - 1});
    return true;
}

/* One `key=value key=value ...` line: a structured dependency. */
static int header_requires(struct metadata *metadata, struct arena *arena, struct slice value,
                           struct err *err)
{
    struct dependency dependency = {0};
    const char *at = value.at;
    const char *end = value.at + value.len;
    int rc;

    while (at < end) {
        struct slice word = {.at = at};
        const char *equals;

        while (at < end && *at != ' ' && *at != '\t')
            at++;
        word.len = (size_t)(at - word.at);
        while (at < end && (*at == ' ' || *at == '\t'))
            at++;
        equals = memchr(word.at, '=', word.len);
        if (equals == NULL)
            return err_set(err, ERR_INVALID, "\"%.*s\" is not key=value",
                           word.len < 80 ? (int)word.len : 80, word.at);
        rc = metadata_set_require(
            &dependency, arena, (struct slice){.at = word.at, .len = (size_t)(equals - word.at)},
            (struct slice){.at = equals + 1, .len = (size_t)(word.at + word.len - equals) - 1},
            err);
        if (rc != 0)
            return rc;
    }
    return metadata_add_require(metadata, arena, &dependency, err);
}

static bool header_is(struct slice name, const char *word)
{
    return strlen(word) == name.len && strncasecmp(name.at, word, name.len) == 0;
}

static int header_line(struct slice line, bool only_tags, struct arena *arena,
                       struct metadata *metadata, struct err *err)
{
    struct slice name, value;
    int rc;

    if (!header_divide(line, &name, &value) || (only_tags && !header_is(name, "tags")))
        return 0;
    if (header_is(name, "requires")) {
        rc = header_requires(metadata, arena, value, err);
        return rc == ERR_INVALID && err != NULL ? err_prefix(err, "bfm-requires") : rc;
    }
    rc = metadata_set(metadata, arena, name, value, err);
    return rc == ERR_INVALID && err != NULL ? err_prefix(err, "bfm header") : rc;
}

/* A comment without its marks: the text of a line comment, or all lines of a block. */
static struct slice header_comment(const char *text, const struct sql_token *token)
{
    size_t mark = text[token->start] == '#' ? 1 : 2;
    struct slice inside = {.at = text + token->start + mark,
                           .len = token->end - token->start - mark};

    if (token->kind == SQL_COMMENT_BLOCK)
        inside.len -= 2;
    return inside;
}

/* Leading stars and dashes are decoration: " * bfm-tags: a=b". */
static struct slice header_undecorate(struct slice line)
{
    line = metadata_trim(line);
    while (line.len > 0 && (line.at[0] == '*' || line.at[0] == '-')) {
        line.at++;
        line.len--;
    }
    return line;
}

static int header_read_comment(struct slice comment, unsigned line, bool only_tags,
                               struct arena *arena, struct metadata *metadata, struct err *err)
{
    const char *at = comment.at;
    const char *end = comment.at + comment.len;

    for (;; line++) {
        const char *stop = at < end ? memchr(at, '\n', (size_t)(end - at)) : NULL;
        struct slice one = {.at = at, .len = (size_t)((stop != NULL ? stop : end) - at)};
        int rc;

        if (only_tags && line > HEADER_TAGS_LINES)
            return 0;
        rc = header_line(header_undecorate(one), only_tags, arena, metadata, err);
        if (rc != 0 && err != NULL)
            err->line = line;
        if (rc != 0 || stop == NULL)
            return rc;
        at = stop + 1;
    }
}

int header_read(const struct sql_scan *scan, const char *text, struct arena *arena,
                struct metadata *metadata, struct err *err)
{
    bool in_front = true;
    const char *counted = text;
    unsigned line = 1;

    for (size_t i = 0; i < scan->token_count; i++) {
        const struct sql_token *token = &scan->tokens[i];
        int rc;

        if (!sql_token_is_comment(token)) {
            in_front = in_front && token->kind == SQL_SEMICOLON;
            continue;
        }
        line += sql_line_at(counted, (size_t)(text + token->start - counted)) - 1;
        counted = text + token->start;
        rc =
            header_read_comment(header_comment(text, token), line, !in_front, arena, metadata, err);
        if (rc != 0)
            return rc;
    }
    return 0;
}
