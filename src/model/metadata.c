#include "model/metadata.h"

#include <limits.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"

enum {
    DURATION_TEXT_MAX = 64,
};

/* Room for one more item in a list that lives in an arena: doubled, what it outgrew is left there.
 */
static void *metadata_grow(struct arena *arena, void *items, size_t count, size_t *cap, size_t size)
{
    size_t bigger = *cap > 0 ? *cap * 2 : 4;
    void *copy;

    if (count < *cap)
        return items;
    copy = arena_alloc(arena, bigger * size);
    if (copy == NULL)
        return NULL;
    if (count > 0)
        memcpy(copy, items, count * size);
    *cap = bigger;
    return copy;
}

int metadata_add_string(struct metadata_strings *list, struct arena *arena, struct slice text)
{
    const char **items =
        metadata_grow(arena, (void *)list->items, list->count, &list->cap, sizeof(*items));

    if (items == NULL)
        return ERR_NOMEM;
    list->items = items;
    items[list->count] = arena_strndup(arena, text.at, text.len);
    if (items[list->count] == NULL)
        return ERR_NOMEM;
    list->count++;
    list->given = true;
    return 0;
}

int metadata_add_dependency(struct metadata_dependencies *list, struct arena *arena,
                            const struct dependency *dependency)
{
    struct dependency *items =
        metadata_grow(arena, list->items, list->count, &list->cap, sizeof(*items));

    if (items == NULL)
        return ERR_NOMEM;
    list->items = items;
    items[list->count++] = *dependency;
    list->given = true;
    return 0;
}

struct slice metadata_trim(struct slice text)
{
    static const char blanks[] = " \t\r\n\v\f";

    while (text.len > 0 && memchr(blanks, text.at[0], sizeof(blanks) - 1) != NULL) {
        text.at++;
        text.len--;
    }
    while (text.len > 0 && memchr(blanks, text.at[text.len - 1], sizeof(blanks) - 1) != NULL)
        text.len--;
    return text;
}

bool metadata_is_tag(struct slice text)
{
    const char *equals = text.len > 0 ? memchr(text.at, '=', text.len) : NULL;
    struct slice key = {.at = text.at};

    if (equals == NULL)
        return false;
    key.len = (size_t)(equals - text.at);
    return metadata_trim(key).len > 0;
}

static bool metadata_is(struct slice text, const char *word)
{
    return strlen(word) == text.len && strncasecmp(text.at, word, text.len) == 0;
}

static int metadata_show(const struct slice *text)
{
    return text->len < 80 ? (int)text->len : 80;
}

static int metadata_set_text(const char **member, struct arena *arena, struct slice name,
                             struct slice value, struct err *err)
{
    if (*member != NULL)
        return err_set(err, ERR_INVALID, "%.*s is given twice", (int)name.len, name.at);
    if (value.len == 0)
        return err_set(err, ERR_INVALID, "%.*s has no value", (int)name.len, name.at);
    *member = arena_strndup(arena, value.at, value.len);
    return *member != NULL ? 0 : err_set(err, ERR_NOMEM, "out of memory");
}

/* A comma list; empty entries are passed over. */
static int metadata_set_list(struct metadata_strings *list, struct arena *arena, struct slice name,
                             struct slice value, bool tags, struct err *err)
{
    const char *at = value.at;
    const char *end = value.at + value.len;

    list->given = true;
    while (at < end) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        const char *next = comma != NULL ? comma : end;
        struct slice item = metadata_trim((struct slice){.at = at, .len = (size_t)(next - at)});

        if (item.len > 0 && tags && !metadata_is_tag(item))
            return err_set(err, ERR_INVALID, "%.*s: \"%.*s\" is not key=value", (int)name.len,
                           name.at, metadata_show(&item), item.at);
        if (item.len > 0 && metadata_add_string(list, arena, item) != 0)
            return err_set(err, ERR_NOMEM, "out of memory");
        at = next + 1;
    }
    return 0;
}

static int metadata_set_duration(int64_t *member, struct slice name, struct slice value,
                                 struct err *err)
{
    char text[DURATION_TEXT_MAX];

    if (*member != 0)
        return err_set(err, ERR_INVALID, "%.*s is given twice", (int)name.len, name.at);
    if (value.len < sizeof(text)) {
        memcpy(text, value.at, value.len);
        text[value.len] = '\0';
        if (clock_parse_duration(text, member) && *member > 0 && *member <= INT_MAX)
            return 0;
    }
    return err_set(err, ERR_INVALID,
                   "%.*s: \"%.*s\" is not a duration between 1ms and 596h, such as 5s",
                   (int)name.len, name.at, metadata_show(&value), value.at);
}

static int metadata_set_transaction(struct metadata *metadata, struct slice name,
                                    struct slice value, struct err *err)
{
    if (metadata->transaction_given)
        return err_set(err, ERR_INVALID, "%.*s is given twice", (int)name.len, name.at);
    if (!metadata_is(value, "off") && !metadata_is(value, "on"))
        return err_set(err, ERR_INVALID, "%.*s: \"%.*s\" is neither on nor off", (int)name.len,
                       name.at, metadata_show(&value), value.at);
    metadata->transaction_given = true;
    metadata->no_transaction = metadata_is(value, "off");
    return 0;
}

int metadata_set(struct metadata *metadata, struct arena *arena, struct slice name,
                 struct slice value, struct err *err)
{
    int rc;

    if (metadata_is(name, "schema")) {
        rc = metadata_set_text(&metadata->schema, arena, name, value, err);
        if (rc == 0 && metadata_is(value, "dynamic"))
            metadata->schema = "";
        return rc;
    }
    if (metadata_is(name, "table"))
        return metadata_set_text(&metadata->table, arena, name, value, err);
    if (metadata_is(name, "tags"))
        return metadata_set_list(&metadata->tags, arena, name, value, true, err);
    if (metadata_is(name, "depends"))
        return metadata_set_list(&metadata->depends, arena, name, value, false, err);
    if (metadata_is(name, "transaction"))
        return metadata_set_transaction(metadata, name, value, err);
    if (metadata_is(name, "lock-timeout"))
        return metadata_set_duration(&metadata->lock_timeout_ms, name, value, err);
    if (metadata_is(name, "statement-timeout"))
        return metadata_set_duration(&metadata->statement_timeout_ms, name, value, err);
    return err_set(err, ERR_INVALID,
                   "%.*s is unknown; known are tags, schema, table, depends, requires, "
                   "transaction, lock-timeout and statement-timeout",
                   metadata_show(&name), name.at);
}

static int metadata_set_type(struct dependency *dependency, struct slice value, struct err *err)
{
    dependency->by_version = metadata_is(value, "version");
    if (!dependency->by_version && !metadata_is(value, "name"))
        return err_set(err, ERR_INVALID, "type: \"%.*s\" is neither name nor version",
                       metadata_show(&value), value.at);
    return 0;
}

int metadata_set_require(struct dependency *dependency, struct arena *arena, struct slice key,
                         struct slice value, struct err *err)
{
    if (metadata_is(key, "connection"))
        return metadata_set_text(&dependency->connection, arena, key, value, err);
    if (metadata_is(key, "schema"))
        return metadata_set_text(&dependency->schema, arena, key, value, err);
    if (metadata_is(key, "target"))
        return metadata_set_text(&dependency->target, arena, key, value, err);
    if (metadata_is(key, "table"))
        return metadata_set_text(&dependency->requires_table, arena, key, value, err);
    if (metadata_is(key, "requires_schema"))
        return metadata_set_text(&dependency->requires_schema, arena, key, value, err);
    if (metadata_is(key, "type"))
        return metadata_set_type(dependency, value, err);
    return err_set(err, ERR_INVALID,
                   "\"%.*s\" is unknown; known are connection, schema, target, type, table and "
                   "requires_schema",
                   metadata_show(&key), key.at);
}

int metadata_add_require(struct metadata *metadata, struct arena *arena,
                         struct dependency *dependency, struct err *err)
{
    if (dependency->target == NULL)
        return err_set(err, ERR_INVALID, "a dependency needs a target");
    if (dependency->connection == NULL)
        dependency->connection = "";
    if (dependency->schema == NULL)
        dependency->schema = "";
    if (dependency->requires_table == NULL)
        dependency->requires_table = "";
    if (dependency->requires_schema == NULL)
        dependency->requires_schema = "";
    if (metadata_add_dependency(&metadata->requires, arena, dependency) != 0)
        return err_set(err, ERR_NOMEM, "out of memory");
    return 0;
}

void metadata_fill(struct metadata *metadata, const struct metadata *other)
{
    if (metadata->schema == NULL)
        metadata->schema = other->schema;
    if (metadata->table == NULL)
        metadata->table = other->table;
    if (!metadata->tags.given)
        metadata->tags = other->tags;
    if (!metadata->depends.given)
        metadata->depends = other->depends;
    if (!metadata->requires.given)
    metadata->requires = other->requires;
    if (!metadata->transaction_given)
        metadata->no_transaction = other->no_transaction;
    if (metadata->lock_timeout_ms == 0)
        metadata->lock_timeout_ms = other->lock_timeout_ms;
    if (metadata->statement_timeout_ms == 0)
        metadata->statement_timeout_ms = other->statement_timeout_ms;
}
