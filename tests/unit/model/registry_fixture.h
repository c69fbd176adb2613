#ifndef BFM_TESTS_REGISTRY_FIXTURE_H
#define BFM_TESTS_REGISTRY_FIXTURE_H

#include "cmocka_all.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "model/ids.h"
#include "model/registry.h"
#include "model/template.h"

/* A registry from a few files written down in the test. */
struct tree {
    struct registry_file files[32];
    size_t count;
    struct registry *registry;
    struct err err;
};

static inline void tree_add(struct tree *tree, const char *path, const char *text)
{
    assert_true(tree->count < ARRAY_SIZE(tree->files));
    tree->files[tree->count++] =
        (struct registry_file){.path = path, .text = text, .len = strlen(text)};
}

static inline void tree_build(struct tree *tree)
{
    assert_int_equal(registry_build(tree->files, tree->count, &tree->registry, &tree->err), 0);
}

static inline void tree_free(struct tree *tree)
{
    registry_unref(tree->registry);
    *tree = (struct tree){0};
}

static inline const struct migration *tree_get(const struct tree *tree, const char *id)
{
    const struct migration *migration = registry_find(tree->registry, id);

    if (migration == NULL)
        fail_msg("no migration %s", id);
    return migration;
}

/* The one migration of a tree of one script of the connection `core`. */
static inline const struct migration *tree_of(struct tree *tree, const char *file, const char *text)
{
    static char path[512];

    snprintf(path, sizeof(path), "postgresql/core/%s", file);
    tree_free(tree);
    tree_add(tree, path, text);
    tree_build(tree);
    assert_int_equal(tree->registry->count, 1);
    return tree->registry->migrations[0];
}

/* The same for a script in the current naming. */
static inline const struct migration *tree_of_sql(struct tree *tree, const char *text)
{
    return tree_of(tree, "20250101120000_m.up.sql", text);
}

static inline const struct migration *tree_of_json(struct tree *tree, const char *text)
{
    tree_free(tree);
    tree_add(tree, "etcd/conf/20250101120000_m.up.json", text);
    tree_build(tree);
    assert_int_equal(tree->registry->count, 1);
    return tree->registry->migrations[0];
}

static inline const struct migration *tree_of_greptimedb(struct tree *tree, const char *text)
{
    tree_free(tree);
    tree_add(tree, "greptimedb/metrics/20250101120000_m.up.sql", text);
    tree_build(tree);
    assert_int_equal(tree->registry->count, 1);
    return tree->registry->migrations[0];
}

static inline const struct migration *tree_of_companion(struct tree *tree, const char *go)
{
    tree_free(tree);
    tree_add(tree, "postgresql/core/core_users_20250101120000_m.sql", "SELECT 1;");
    tree_add(tree, "postgresql/core/core_users_20250101120000_m.go", go);
    tree_build(tree);
    assert_int_equal(tree->registry->count, 1);
    return tree->registry->migrations[0];
}

/* Text of statement `n` of a script. */
static inline const char *statement_text(const struct script *script, size_t n)
{
    static char text[1024];

    assert_true(n < script->statement_count);
    snprintf(text, sizeof(text), "%.*s",
             (int)(script->statements[n].end - script->statements[n].start),
             script->text + script->statements[n].start);
    return text;
}

static inline void assert_reason(const struct migration *migration, const char *reason)
{
    if (migration->invalid == NULL)
        fail_msg("valid, and not refused because of: %s", reason);
    assert_string_equal(migration->invalid, reason);
}

static inline void assert_runs(const struct migration *migration)
{
    if (migration->invalid != NULL)
        fail_msg("invalid: %s", migration->invalid);
}

#endif
