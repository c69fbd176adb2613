#include "io/tree_walk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/mem.h"
#include "io/tree_astray.h"
#include "model/filename.h"

enum {
    WALK_SKIPPED_MAX = 100,
    WALK_FOLDER_FLAGS = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
};

static int walk_nomem(struct err *err)
{
    return err_set(err, ERR_NOMEM, "%s", err_code_text(ERR_NOMEM));
}

static int walk_error(struct err *err, const char *path)
{
    int reason = errno;

    if (path[0] == '\0')
        return err_set(err, ERR_IO, "the folder cannot be read: %s", strerror(reason));
    return err_set(err, ERR_IO, "the folder %s cannot be read: %s", path, strerror(reason));
}

static int walk_add_folder(struct tree_walk *walk, const char *path, struct err *err)
{
    void *items = walk->folders;

    if (mem_grow(&items, &walk->folder_cap, walk->folder_count, sizeof(*walk->folders)) != 0)
        return walk_nomem(err);
    walk->folders = items;
    walk->folders[walk->folder_count++] = (struct tree_folder){.path = path};
    return 0;
}

static bool walk_looks_like_script(const char *path)
{
    const char *dot = strrchr(path, '.');

    return dot != NULL && (strcmp(dot, ".sql") == 0 || strcmp(dot, ".json") == 0);
}

static int walk_add_stray(struct tree_walk *walk, const char *path, const char *why,
                          struct err *err)
{
    if (walk->strays == NULL)
        walk->strays = arena_calloc(&walk->arena, REGISTRY_STRAYS_MAX, sizeof(*walk->strays));
    if (walk->strays == NULL)
        return walk_nomem(err);
    if (walk->stray_count < REGISTRY_STRAYS_MAX)
        walk->strays[walk->stray_count] = (struct registry_problem){.path = path, .text = why};
    walk->stray_count++;
    return 0;
}

static int walk_skip(struct tree_walk *walk, const char *path, const char *why, struct err *err)
{
    if (walk_looks_like_script(path) && walk_add_stray(walk, path, why, err) != 0)
        return err->code;
    if (walk->skipped == NULL)
        walk->skipped = arena_calloc(&walk->arena, WALK_SKIPPED_MAX, sizeof(*walk->skipped));
    if (walk->skipped == NULL)
        return walk_nomem(err);
    if (walk->skipped_count < WALK_SKIPPED_MAX)
        walk->skipped[walk->skipped_count++] = path;
    return 0;
}

static int walk_add_entry(struct tree_walk *walk, const char *folder, const char *name,
                          struct err *err)
{
    char *path = arena_printf(&walk->arena, "%s/%s", folder, name);
    void *items = walk->entries;
    struct filename parsed;

    if (path == NULL)
        return walk_nomem(err);
    filename_parse(path, &parsed);
    if (parsed.role == FILENAME_OTHER)
        return walk_skip(walk, path, parsed.why_other, err);
    if (mem_grow(&items, &walk->entry_cap, walk->entry_count, sizeof(*walk->entries)) != 0)
        return walk_nomem(err);
    walk->entries = items;
    walk->entries[walk->entry_count++] = (struct tree_entry){
        .path = path, .name = path + strlen(folder) + 1, .folder = walk->folder_count - 1};
    return 0;
}

/* What is done with each name in a folder. */
typedef int walk_visit_fn(struct tree_walk *walk, int fd, const char *folder,
                          const struct dirent *item, const _Atomic bool *stop, struct err *err);

/* Notes the folder and visits what is in it. Takes over the descriptor. */
static int walk_list(struct tree_walk *walk, int fd, const char *path, walk_visit_fn *visit,
                     const _Atomic bool *stop, struct err *err)
{
    DIR *dir = fdopendir(fd);
    const struct dirent *item;
    int rc;

    if (dir == NULL) {
        rc = walk_error(err, path);
        close(fd);
        return rc;
    }
    rc = walk_add_folder(walk, path, err);
    while (rc == 0) {
        errno = 0;
        item = readdir(dir);
        if (item == NULL) {
            rc = errno != 0 ? walk_error(err, path) : 0;
            break;
        }
        if (*stop)
            rc = ERR_CANCELED;
        else if (item->d_name[0] != '.')
            rc = visit(walk, fd, path, item, stop, err);
    }
    closedir(dir);
    return rc;
}

static int walk_visit_file(struct tree_walk *walk, int fd, const char *folder,
                           const struct dirent *item, const _Atomic bool *stop, struct err *err)
{
    (void)stop;
    if (item->d_type == DT_DIR)
        return tree_astray_in_connection(walk, fd, folder, item->d_name, err);
    return walk_add_entry(walk, folder, item->d_name, err);
}

static bool walk_is_absent(int reason)
{
    return reason == ENOENT || reason == ENOTDIR || reason == ELOOP;
}

static int walk_visit_connection(struct tree_walk *walk, int fd, const char *folder,
                                 const struct dirent *item, const _Atomic bool *stop,
                                 struct err *err)
{
    char *path;
    int child;

    if (item->d_type == DT_REG)
        return tree_astray_in_backend(walk, folder, item->d_name, err);
    path = arena_printf(&walk->arena, "%s/%s", folder, item->d_name);
    if (path == NULL)
        return walk_nomem(err);
    child = openat(fd, item->d_name, WALK_FOLDER_FLAGS);
    if (child < 0 && walk_is_absent(errno))
        return tree_astray_in_backend(walk, folder, item->d_name, err);
    if (child < 0)
        return walk_error(err, path);
    return walk_list(walk, child, path, walk_visit_file, stop, err);
}

static bool walk_is_backend(const char *name)
{
    for (int kind = 0; kind < BACKEND_KINDS; kind++)
        if (strcmp(name, backend_kind_name((enum backend_kind)kind)) == 0)
            return true;
    return false;
}

static int walk_visit_backend(struct tree_walk *walk, int fd, const char *folder,
                              const struct dirent *item, const _Atomic bool *stop, struct err *err)
{
    char *path;
    int child;

    (void)folder;
    if (!walk_is_backend(item->d_name))
        return tree_astray_in_root(walk, fd, item->d_name, err);
    path = arena_strdup(&walk->arena, item->d_name);
    if (path == NULL)
        return walk_nomem(err);
    child = openat(fd, path, WALK_FOLDER_FLAGS);
    if (child < 0)
        return walk_is_absent(errno) ? 0 : walk_error(err, path);
    return walk_list(walk, child, path, walk_visit_connection, stop, err);
}

int tree_walk(struct tree_walk *walk, const char *root, const _Atomic bool *stop, struct err *err)
{
    int fd;

    *walk = (struct tree_walk){.root = -1};
    arena_init(&walk->arena);
    walk->root = open(root, WALK_FOLDER_FLAGS);
    if (walk->root < 0)
        return walk_error(err, "");
    fd = openat(walk->root, ".", WALK_FOLDER_FLAGS);
    if (fd < 0)
        return walk_error(err, "");
    return walk_list(walk, fd, "", walk_visit_backend, stop, err);
}

void tree_walk_free(struct tree_walk *walk)
{
    if (walk->root >= 0)
        close(walk->root);
    mem_free(walk->entries);
    mem_free(walk->folders);
    arena_free(&walk->arena);
    *walk = (struct tree_walk){.root = -1};
}

void tree_cursor_init(struct tree_cursor *cursor, const struct tree_walk *walk)
{
    *cursor = (struct tree_cursor){.walk = walk, .fd = -1};
}

int tree_cursor_at(struct tree_cursor *cursor, const struct tree_entry *entry)
{
    if (cursor->fd >= 0 && cursor->folder == entry->folder)
        return cursor->fd;
    tree_cursor_free(cursor);
    cursor->folder = entry->folder;
    cursor->fd = openat(cursor->walk->root, cursor->walk->folders[entry->folder].path,
                        O_PATH | O_DIRECTORY | O_CLOEXEC);
    return cursor->fd;
}

void tree_cursor_free(struct tree_cursor *cursor)
{
    if (cursor->fd >= 0)
        close(cursor->fd);
    cursor->fd = -1;
}

uint64_t tree_fingerprint_of(const char *path, const struct stat *st)
{
    uint64_t hash = hash_fnv1a(HASH_FNV_START, path, strlen(path));
    uint64_t facts[4] = {0};

    if (st != NULL) {
        facts[0] = (uint64_t)st->st_size;
        facts[1] = (uint64_t)st->st_mtim.tv_sec;
        facts[2] = (uint64_t)st->st_mtim.tv_nsec;
        facts[3] = (uint64_t)st->st_ino;
    }
    return hash_fnv1a(hash, facts, sizeof(facts));
}

int tree_fingerprint(const struct tree_walk *walk, const _Atomic bool *stop, uint64_t *out,
                     struct err *err)
{
    struct tree_cursor cursor;
    uint64_t sum = walk->misplaced_fingerprint;
    struct stat st;
    int rc = 0;

    *out = 0;
    tree_cursor_init(&cursor, walk);
    for (size_t i = 0; i < walk->entry_count && !*stop; i++) {
        const struct tree_entry *entry = &walk->entries[i];
        int fd = tree_cursor_at(&cursor, entry);
        bool seen = fd >= 0 && fstatat(fd, entry->name, &st, 0) == 0;

        sum += tree_fingerprint_of(entry->path, seen ? &st : NULL);
    }
    tree_cursor_free(&cursor);
    if (*stop)
        rc = err_set(err, ERR_CANCELED, "%s", err_code_text(ERR_CANCELED));
    else
        *out = sum != 0 ? sum : 1;
    return rc;
}
