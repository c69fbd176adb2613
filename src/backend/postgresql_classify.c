#include "backend/postgresql_classify.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

#include "base/utf8.h"

enum {
    PGSQL_KEPT_OF_NAME = 63, /* bytes */
};

/* A position in a statement, behind the word that was read last. */
struct reader {
    const char *at, *end;
    char word[PGSQL_NAME_MAX]; /* as written; "" at the end or where no name stands */
};

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '$' || ((unsigned char)c & 0x80) != 0;
}

static bool starts(const struct reader *reader, const char *text)
{
    size_t len = strlen(text);

    return (size_t)(reader->end - reader->at) >= len && memcmp(reader->at, text, len) == 0;
}

static void skip_block_comment(struct reader *reader)
{
    unsigned depth = 0;

    do {
        if (starts(reader, "/*")) {
            depth++;
            reader->at += 2;
        } else if (starts(reader, "*/")) {
            depth--;
            reader->at += 2;
        } else {
            reader->at++;
        }
    } while (depth > 0 && reader->at < reader->end);
}

static void skip_space(struct reader *reader)
{
    for (;;) {
        if (reader->at < reader->end && is_blank(*reader->at))
            reader->at++;
        else if (starts(reader, "/*"))
            skip_block_comment(reader);
        else if (starts(reader, "--"))
            while (reader->at < reader->end && *reader->at != '\n')
                reader->at++;
        else
            return;
    }
}

static const char *quoted_end(const struct reader *reader)
{
    const char *at = reader->at + 1;

    while (at < reader->end && (*at != '"' || (at + 1 < reader->end && at[1] == '"')))
        at += *at == '"' ? 2 : 1;
    return at < reader->end ? at + 1 : at;
}

/* Reads a word or a quoted name; false, and word "", where there is none. */
static bool next_word(struct reader *reader)
{
    const char *end;
    size_t len;

    skip_space(reader);
    end = reader->at;
    reader->word[0] = '\0';
    if (end < reader->end && *end == '"')
        end = quoted_end(reader);
    else
        while (end < reader->end && is_word(*end))
            end++;
    len = (size_t)(end - reader->at);
    if (len == 0 || len >= sizeof(reader->word))
        return false;
    memcpy(reader->word, reader->at, len);
    reader->word[len] = '\0';
    reader->at = end;
    return true;
}

static bool word_is(const struct reader *reader, const char *word)
{
    return strcasecmp(reader->word, word) == 0;
}

/* Goes past `word` if it comes next. */
static bool accept(struct reader *reader, const char *word)
{
    struct reader ahead = *reader;

    if (!next_word(&ahead) || !word_is(&ahead, word))
        return false;
    *reader = ahead;
    return true;
}

/* name or schema.name, as written. */
static bool read_name(struct reader *reader, char out[PGSQL_NAME_MAX])
{
    size_t len;

    if (!next_word(reader))
        return false;
    len = strlen(reader->word);
    memcpy(out, reader->word, len + 1);
    skip_space(reader);
    if (!starts(reader, "."))
        return true;
    reader->at++;
    if (!next_word(reader) || len + 1 + strlen(reader->word) >= PGSQL_NAME_MAX)
        return false;
    out[len] = '.';
    memcpy(out + len + 1, reader->word, strlen(reader->word) + 1);
    return true;
}

/* The name as the catalog has it: folded or without its quotes, cut as PostgreSQL does. */
static void fold_name(const char *written, char out[PGSQL_NAME_MAX])
{
    bool quoted = written[0] == '"';
    size_t len = 0;

    for (const char *at = quoted ? written + 1 : written; *at != '\0'; at++) {
        if (quoted && at[0] == '"' && *++at != '"')
            break;
        out[len] = *at;
        if (!quoted && *at >= 'A' && *at <= 'Z')
            out[len] = (char)(*at + ('a' - 'A'));
        len++;
    }
    if (len > PGSQL_KEPT_OF_NAME)
        len = utf8_cut(out, PGSQL_KEPT_OF_NAME);
    out[len] = '\0';
}

static bool has_word(const char *sql, size_t len, const char *word)
{
    struct reader reader = {.at = sql, .end = sql + len};

    while (reader.at < reader.end)
        if (!next_word(&reader))
            reader.at += reader.at < reader.end;
        else if (word_is(&reader, word))
            return true;
    return false;
}

static bool is_any(const struct reader *reader, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (word_is(reader, words[i]))
            return true;
    return false;
}

/* Behind CREATE [UNIQUE] INDEX CONCURRENTLY. */
static bool read_create_index(struct reader *reader, struct pgsql_statement *out)
{
    char written[PGSQL_NAME_MAX];

    if (accept(reader, "if") && !(accept(reader, "not") && accept(reader, "exists")))
        return false;
    if (accept(reader, "on") || !next_word(reader))
        return false; /* PostgreSQL makes up a name */
    memcpy(written, reader->word, strlen(reader->word) + 1);
    fold_name(written, out->index);
    if (!accept(reader, "on"))
        return false;
    (void)accept(reader, "only");
    return read_name(reader, out->name);
}

static enum pgsql_statement_kind classify_create(struct reader *reader, const char *sql, size_t len,
                                                 struct pgsql_statement *out)
{
    static const char *const outside[] = {"database", "tablespace", "subscription"};
    struct reader ahead = *reader;

    if (next_word(&ahead) && is_any(&ahead, outside, ARRAY_SIZE(outside)))
        return PGSQL_OPAQUE;
    (void)accept(reader, "unique");
    if (accept(reader, "index") && accept(reader, "concurrently"))
        return read_create_index(reader, out) ? PGSQL_CREATE_INDEX : PGSQL_OPAQUE;
    return has_word(sql, len, "concurrently") ? PGSQL_OPAQUE : PGSQL_ATOMIC;
}

static enum pgsql_statement_kind classify_drop(struct reader *reader, const char *sql, size_t len,
                                               struct pgsql_statement *out)
{
    static const char *const outside[] = {"database", "tablespace", "subscription"};
    struct reader ahead = *reader;

    if (next_word(&ahead) && is_any(&ahead, outside, ARRAY_SIZE(outside)))
        return PGSQL_OPAQUE;
    if (accept(reader, "index") && accept(reader, "concurrently")) {
        if (accept(reader, "if") && !accept(reader, "exists"))
            return PGSQL_OPAQUE;
        if (!read_name(reader, out->name))
            return PGSQL_OPAQUE;
        skip_space(reader);
        return starts(reader, ",") ? PGSQL_OPAQUE : PGSQL_DROP_INDEX;
    }
    return has_word(sql, len, "concurrently") ? PGSQL_OPAQUE : PGSQL_ATOMIC;
}

static enum pgsql_statement_kind classify_alter(struct reader *reader, const char *sql, size_t len)
{
    static const char *const outside[] = {"system", "database", "subscription", "tablespace"};
    struct reader ahead = *reader;

    if (next_word(&ahead) && is_any(&ahead, outside, ARRAY_SIZE(outside)))
        return PGSQL_OPAQUE;
    return has_word(sql, len, "concurrently") ? PGSQL_OPAQUE : PGSQL_ATOMIC;
}

static enum pgsql_statement_kind classify_reindex(struct reader *reader,
                                                  struct pgsql_statement *out)
{
    skip_space(reader);
    if (starts(reader, "(")) {
        while (reader->at < reader->end && *reader->at != ')')
            reader->at++;
        reader->at += reader->at < reader->end;
    }
    out->of_table = accept(reader, "table");
    if (!out->of_table && !accept(reader, "index"))
        return PGSQL_REPEATABLE;
    (void)accept(reader, "concurrently");
    return read_name(reader, out->name) ? PGSQL_REINDEX : PGSQL_REPEATABLE;
}

/* What is known to be allowed in a transaction; everything else runs outside of one. */
static bool is_atomic(const struct reader *reader)
{
    static const char *const words[] = {"insert", "update",   "delete", "select", "with",
                                        "merge",  "truncate", "grant",  "revoke", "comment",
                                        "values", "table",    "import", "refresh"};

    return is_any(reader, words, ARRAY_SIZE(words));
}

static bool is_repeatable(const struct reader *reader)
{
    static const char *const words[] = {"vacuum", "analyze", "set", "reset"};

    return is_any(reader, words, ARRAY_SIZE(words));
}

void pgsql_classify(const char *sql, size_t len, struct pgsql_statement *out)
{
    struct reader reader = {.at = sql, .end = sql + len};

    *out = (struct pgsql_statement){.kind = PGSQL_OPAQUE};
    if (!next_word(&reader))
        return;
    if (word_is(&reader, "create"))
        out->kind = classify_create(&reader, sql, len, out);
    else if (word_is(&reader, "drop"))
        out->kind = classify_drop(&reader, sql, len, out);
    else if (word_is(&reader, "alter"))
        out->kind = classify_alter(&reader, sql, len);
    else if (word_is(&reader, "reindex"))
        out->kind = classify_reindex(&reader, out);
    else if (is_repeatable(&reader))
        out->kind = PGSQL_REPEATABLE;
    else if (is_atomic(&reader))
        out->kind = PGSQL_ATOMIC;
}
