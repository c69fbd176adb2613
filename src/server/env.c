#include "server/env.h"

#include <stdlib.h>
#include <string.h>

static int env_compare(const void *a, const void *b)
{
    const struct env_var *left = a, *right = b;

    return strcmp(left->name, right->name);
}

/* The first definition of a name counts, as for getenv(). */
static int env_add(struct env *env, const char *name, size_t name_len, const char *value)
{
    struct env_var *var = &env->vars[env->count];

    if (*value == '\0' || name_len == 0 || map_get(&env->by_name, name, name_len) != NULL)
        return 0;
    var->name = arena_strndup(&env->arena, name, name_len);
    var->value = arena_strdup(&env->arena, value);
    if (var->name == NULL || var->value == NULL)
        return ERR_NOMEM;
    if (map_put(&env->by_name, var->name, name_len, var) != 0)
        return ERR_NOMEM;
    env->count++;
    return 0;
}

/* The entries move when they are sorted, so the map is made anew. */
static int env_sort(struct env *env)
{
    if (env->count > 0)
        qsort(env->vars, env->count, sizeof(*env->vars), env_compare);
    map_free(&env->by_name);
    for (size_t i = 0; i < env->count; i++)
        if (map_put_str(&env->by_name, env->vars[i].name, &env->vars[i]) != 0)
            return ERR_NOMEM;
    return 0;
}

/* Of several definitions in a file the last one counts, as for a shell. */
static int env_add_file(struct env *env, const struct env_file *file)
{
    for (size_t i = file->count; i > 0; i--) {
        const struct env_var *var = &file->vars[i - 1];

        if (env_add(env, var->name, strlen(var->name), var->value) != 0)
            return ERR_NOMEM;
    }
    return 0;
}

int env_init(struct env *env, const char *const *strings, const struct env_file *file)
{
    size_t count = file != NULL ? file->count : 0;

    *env = (struct env){0};
    arena_init(&env->arena);
    map_init(&env->by_name);
    for (size_t i = 0; strings[i] != NULL; i++)
        count++;
    env->vars = arena_calloc(&env->arena, count > 0 ? count : 1, sizeof(*env->vars));
    if (env->vars == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; strings[i] != NULL; i++) {
        const char *equals = strchr(strings[i], '=');

        if (equals != NULL &&
            env_add(env, strings[i], (size_t)(equals - strings[i]), equals + 1) != 0)
            return ERR_NOMEM;
    }
    if (file != NULL && env_add_file(env, file) != 0)
        return ERR_NOMEM;
    return env_sort(env);
}

void env_free(struct env *env)
{
    map_free(&env->by_name);
    arena_free(&env->arena);
    env->vars = NULL;
    env->count = 0;
}

const char *env_get(const struct env *env, const char *name)
{
    const struct env_var *var = map_get_str(&env->by_name, name);

    return var != NULL ? var->value : NULL;
}
