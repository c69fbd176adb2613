#include "model/companion.h"

#include <string.h>
#include <strings.h>

#include "model/golex.h"

struct companion {
    struct go_lexer lexer;
    struct arena *arena;
    struct metadata *metadata;
    struct err *err;
};

static int companion_fail(struct companion *companion, int code, const char *why)
{
    if (code == ERR_NOMEM)
        why = "out of memory";
    err_set(companion->err, code, "%s", why);
    if (companion->err != NULL)
        companion->err->line = companion->lexer.token.line;
    return code;
}

static int companion_expect_more(struct companion *companion)
{
    if (companion->lexer.token.kind == GO_BROKEN)
        return companion_fail(companion, ERR_INVALID, "a string or comment does not end");
    if (companion->lexer.token.kind == GO_END)
        return companion_fail(companion, ERR_INVALID, "the file ends inside of MigrationScript{");
    return 0;
}

static bool companion_opens(const struct go_lexer *lexer)
{
    return go_is(lexer, '{') || go_is(lexer, '(') || go_is(lexer, '[');
}

static bool companion_closes(const struct go_lexer *lexer)
{
    return go_is(lexer, '}') || go_is(lexer, ')') || go_is(lexer, ']');
}

static bool companion_value_ended(const struct go_lexer *lexer)
{
    return go_is(lexer, ',') || go_is(lexer, '}');
}

/*
 * Moves behind the rest of a value, to its comma or the brace that closes the literal. Counts the
 * strings on the way and remembers the last.
 */
static int companion_skip_value(struct companion *companion, size_t *strings, struct go_token *last)
{
    struct go_lexer *lexer = &companion->lexer;
    size_t depth = 0;

    while (depth > 0 || !companion_value_ended(lexer)) {
        int rc = companion_expect_more(companion);

        if (rc != 0)
            return rc;
        if (companion_opens(lexer))
            depth++;
        else if (companion_closes(lexer) && depth > 0)
            depth--;
        if (lexer->token.kind == GO_STRING && strings != NULL) {
            ++*strings;
            *last = lexer->token;
        }
        go_next(lexer);
    }
    return 0;
}

static int companion_string(struct companion *companion, const struct go_token *token,
                            const char **out)
{
    int rc = go_string(token, companion->arena, out, companion->err);

    if (rc == ERR_INVALID && companion->err != NULL)
        companion->err->line = token->line;
    return rc;
}

/* A string literal or several with `+`; *out stays NULL for anything else. */
static int companion_text(struct companion *companion, const char **out)
{
    struct go_lexer *lexer = &companion->lexer;
    const char *text = NULL;

    while (lexer->token.kind == GO_STRING) {
        int rc = companion_string(companion, &lexer->token, &text);

        if (rc != 0)
            return rc;
        go_next(lexer);
        if (!go_is(lexer, '+'))
            break;
        go_next(lexer);
    }
    if (text != NULL && companion_value_ended(lexer))
        *out = text;
    return companion_skip_value(companion, NULL, NULL);
}

/* Table may be a pointer: nil, or an expression with one literal in it, such as ptr("users"). */
static int companion_pointer(struct companion *companion, const char **out)
{
    struct go_lexer start = companion->lexer;
    struct go_token last = {0};
    size_t strings = 0;
    int rc;

    if (go_is_name(&companion->lexer, "nil"))
        *out = "";
    rc = companion_text(companion, out);
    if (rc != 0 || *out != NULL)
        return rc;
    companion->lexer = start;
    rc = companion_skip_value(companion, &strings, &last);
    if (rc != 0 || strings != 1)
        return rc;
    return companion_string(companion, &last, out);
}

/* The type in front of a composite literal, up to its brace; false if the value is none. */
static int companion_enter(struct companion *companion, bool *entered)
{
    struct go_lexer *lexer = &companion->lexer;

    *entered = false;
    while (!companion_value_ended(lexer) && !go_is(lexer, '{')) {
        bool type = lexer->token.kind == GO_NAME || go_is(lexer, '[') || go_is(lexer, ']') ||
                    go_is(lexer, '.') || go_is(lexer, '*') || go_is(lexer, '&');

        if (!type)
            return companion_skip_value(companion, NULL, NULL);
        go_next(lexer);
    }
    if (!go_is(lexer, '{'))
        return companion_expect_more(companion);
    go_next(lexer);
    *entered = true;
    return 0;
}

/* Behind an element: passes over the comma; *more is false behind the closing brace. */
static int companion_leave_element(struct companion *companion, bool *more)
{
    int rc = companion_expect_more(companion);

    if (rc != 0)
        return rc;
    *more = go_is(&companion->lexer, ',');
    go_next(&companion->lexer);
    return 0;
}

static int companion_list(struct companion *companion, struct metadata_strings *list)
{
    bool more;
    int rc = companion_enter(companion, &more);

    list->given = true;
    while (rc == 0 && more) {
        const char *text = NULL;

        rc = companion_text(companion, &text);
        if (rc == 0 && text != NULL) {
            struct slice item = metadata_trim((struct slice){.at = text, .len = strlen(text)});

            if (item.len > 0 && metadata_add_string(list, companion->arena, item) != 0)
                rc = companion_fail(companion, ERR_NOMEM, "");
        }
        if (rc == 0)
            rc = companion_leave_element(companion, &more);
    }
    return rc;
}

/* The member of a dependency that a field of the struct is about; NULL for any other field. */
static const char **companion_member(struct dependency *dependency, const struct go_token *name,
                                     const char **type)
{
    const struct {
        const char *name;
        const char **member;
    } members[] = {
        {"Connection", &dependency->connection},
        {"Schema", &dependency->schema},
        {"Target", &dependency->target},
        {"TargetType", type},
        {"RequiresTable", &dependency->requires_table},
        {"RequiresSchema", &dependency->requires_schema},
    };

    for (size_t i = 0; i < ARRAY_SIZE(members); i++)
        if (strlen(members[i].name) == name->len &&
            memcmp(members[i].name, name->at, name->len) == 0)
            return members[i].member;
    return NULL;
}

/* `Name:` in front of a value; false (nothing read) for anything else. */
static bool companion_field(struct companion *companion, struct go_token *name)
{
    struct go_lexer start = companion->lexer;

    *name = companion->lexer.token;
    if (name->kind != GO_NAME)
        return false;
    go_next(&companion->lexer);
    if (!go_is(&companion->lexer, ':')) {
        companion->lexer = start;
        return false;
    }
    go_next(&companion->lexer);
    return true;
}

static int companion_dependency_fields(struct companion *companion, struct dependency *dependency,
                                       const char **type)
{
    bool more = true;
    int rc = 0;

    while (rc == 0 && more) {
        struct go_token name;
        const char **member = NULL;

        if (companion_field(companion, &name))
            member = companion_member(dependency, &name, type);
        rc = member != NULL ? companion_text(companion, member)
                            : companion_skip_value(companion, NULL, NULL);
        if (rc == 0)
            rc = companion_leave_element(companion, &more);
    }
    return rc;
}

static int companion_dependency(struct companion *companion)
{
    struct dependency dependency = {0};
    const char *type = NULL;
    bool entered;
    int rc = companion_enter(companion, &entered);

    if (rc != 0 || !entered)
        return rc;
    rc = companion_dependency_fields(companion, &dependency, &type);
    if (rc != 0 || dependency.target == NULL || dependency.target[0] == '\0')
        return rc; /* an entry without a target is dropped */
    dependency.by_version = type != NULL && strcasecmp(type, "version") == 0;
    return metadata_add_require(companion->metadata, companion->arena, &dependency, companion->err);
}

static int companion_dependencies(struct companion *companion)
{
    bool more;
    int rc = companion_enter(companion, &more);

    companion->metadata->requires.given = true;
    while (rc == 0 && more) {
        rc = companion_dependency(companion);
        if (rc == 0)
            rc = companion_skip_value(companion, NULL, NULL);
        if (rc == 0)
            rc = companion_leave_element(companion, &more);
    }
    return rc;
}

static bool companion_is(const struct go_token *name, const char *field)
{
    return strlen(field) == name->len && memcmp(field, name->at, name->len) == 0;
}

static int companion_value(struct companion *companion, const struct go_token *name)
{
    struct metadata *metadata = companion->metadata;

    if (companion_is(name, "Schema"))
        return companion_text(companion, &metadata->schema);
    if (companion_is(name, "Table"))
        return companion_pointer(companion, &metadata->table);
    if (companion_is(name, "Dependencies"))
        return companion_list(companion, &metadata->depends);
    if (companion_is(name, "Tags"))
        return companion_list(companion, &metadata->tags);
    if (companion_is(name, "StructuredDependencies"))
        return companion_dependencies(companion);
    return companion_skip_value(companion, NULL, NULL);
}

static int companion_fields(struct companion *companion)
{
    bool more = true;
    int rc = 0;

    while (rc == 0 && more) {
        struct go_token name;

        if (companion_field(companion, &name))
            rc = companion_value(companion, &name);
        else
            rc = companion_skip_value(companion, NULL, NULL);
        if (rc == 0)
            rc = companion_leave_element(companion, &more);
    }
    return rc;
}

/* Finds `MigrationScript{` with a field or nothing in it: a function body looks otherwise. */
static bool companion_find(struct go_lexer *lexer)
{
    while (lexer->token.kind != GO_END && lexer->token.kind != GO_BROKEN) {
        struct go_lexer inside;

        if (!go_is_name(lexer, "MigrationScript")) {
            go_next(lexer);
            continue;
        }
        go_next(lexer);
        if (!go_is(lexer, '{'))
            continue;
        go_next(lexer);
        inside = *lexer;
        if (go_is(&inside, '}'))
            return true;
        if (inside.token.kind == GO_NAME)
            go_next(&inside);
        if (go_is(&inside, ':'))
            return true;
    }
    return false;
}

int companion_read(const char *text, size_t len, struct arena *arena, struct metadata *metadata,
                   struct err *err)
{
    struct companion companion = {.arena = arena, .metadata = metadata, .err = err};

    go_lexer_init(&companion.lexer, text, len);
    go_next(&companion.lexer);
    if (companion_find(&companion.lexer))
        return companion_fields(&companion);
    if (companion.lexer.token.kind == GO_BROKEN)
        return companion_expect_more(&companion);
    return 0;
}
