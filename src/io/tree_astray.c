#include "io/tree_astray.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "model/filename.h"

enum {
    ASTRAY_LOOKS_MAX = 10000, /* names in all such folders of a walk */
    ASTRAY_DEPTH = 2,         /* folders below such a folder */
    ASTRAY_FOLDER_FLAGS = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
};

/* `text` may be NULL: memory is out. */
static int astray_note(struct tree_walk *walk, char *path, char *text, struct err *err)
{
    if (walk->misplaced == NULL)
        walk->misplaced = arena_calloc(&walk->arena, REGISTRY_STRAYS_MAX, sizeof(*walk->misplaced));
    if (walk->misplaced == NULL || path == NULL || text == NULL)
        return err_set(err, ERR_NOMEM, "%s", err_code_text(ERR_NOMEM));
    if (walk->misplaced_count < REGISTRY_STRAYS_MAX)
        walk->misplaced[walk->misplaced_count] =
            (struct registry_problem){.path = path, .text = text};
    walk->misplaced_count++;
    walk->misplaced_fingerprint += hash_fnv1a(HASH_FNV_START, path, strlen(path));
    return 0;
}

/* Whether it would be a script if it lay in the right place. */
static bool astray_is_script(const char *name)
{
    char path[300];
    struct filename parsed;

    for (int kind = 0; kind < BACKEND_KINDS; kind++) {
        snprintf(path, sizeof(path), "%s/x/%s", backend_kind_name((enum backend_kind)kind), name);
        filename_parse(path, &parsed);
        if (parsed.role == FILENAME_UP || parsed.role == FILENAME_DOWN)
            return true;
    }
    return false;
}

static bool astray_ends_like_script(const char *name)
{
    const char *dot = strrchr(name, '.');

    return dot != NULL && (strcmp(dot, ".sql") == 0 || strcmp(dot, ".json") == 0);
}

/* Whether a file in the folder or below it is one that `is_meant`. */
static bool astray_holds(struct tree_walk *walk, int fd, const char *name, unsigned depth,
                         bool (*is_meant)(const char *name))
{
    int child = openat(fd, name, ASTRAY_FOLDER_FLAGS);
    DIR *dir = child >= 0 ? fdopendir(child) : NULL;
    const struct dirent *item;
    bool found = false;

    if (dir == NULL) {
        if (child >= 0)
            close(child);
        return false;
    }
    while (!found && (item = readdir(dir)) != NULL && walk->astray_looks < ASTRAY_LOOKS_MAX) {
        if (item->d_name[0] == '.')
            continue;
        walk->astray_looks++;
        found = is_meant(item->d_name) ||
                (depth > 0 && item->d_type != DT_REG &&
                 astray_holds(walk, child, item->d_name, depth - 1, is_meant));
    }
    closedir(dir);
    return found;
}

static bool astray_is_folder(int fd, const char *name)
{
    int child = openat(fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (child < 0)
        return false;
    close(child);
    return true;
}

int tree_astray_in_root(struct tree_walk *walk, int fd, const char *name, struct err *err)
{
    struct arena *arena = &walk->arena;
    enum backend_kind kind;

    if (!astray_is_folder(fd, name)) {
        if (!astray_is_script(name))
            return 0;
        return astray_note(
            walk, arena_strdup(arena, name),
            arena_strdup(arena, "not in {backend}/{connection}/, so the file is not read"), err);
    }
    if (backend_kind_guess(name, &kind))
        return astray_note(
            walk, arena_strdup(arena, name),
            arena_printf(arena,
                         "not the folder of a backend, so nothing in it is read; did you mean %s?",
                         backend_kind_name(kind)),
            err);
    if (!astray_holds(walk, fd, name, ASTRAY_DEPTH, astray_is_script))
        return 0;
    return astray_note(
        walk, arena_strdup(arena, name),
        arena_printf(arena,
                     "not the folder of a backend (%s, %s, %s, %s), so nothing in "
                     "it is read",
                     backend_kind_name(BACKEND_POSTGRESQL), backend_kind_name(BACKEND_MYSQL),
                     backend_kind_name(BACKEND_GREPTIMEDB), backend_kind_name(BACKEND_ETCD)),
        err);
}

int tree_astray_in_backend(struct tree_walk *walk, const char *backend, const char *name,
                           struct err *err)
{
    struct arena *arena = &walk->arena;

    if (!astray_ends_like_script(name))
        return 0;
    return astray_note(
        walk, arena_printf(arena, "%s/%s", backend, name),
        arena_printf(
            arena,
            "not in a connection's folder, so the file is not read; did you mean %s/{connection}/%s?",
            backend, name),
        err);
}

int tree_astray_in_connection(struct tree_walk *walk, int fd, const char *folder, const char *name,
                              struct err *err)
{
    struct arena *arena = &walk->arena;

    if (!astray_holds(walk, fd, name, ASTRAY_DEPTH, astray_ends_like_script))
        return 0;
    return astray_note(walk, arena_printf(arena, "%s/%s", folder, name),
                       arena_printf(arena,
                                    "too deep in the tree, so nothing in it is read; scripts lie "
                                    "in %s itself",
                                    folder),
                       err);
}
