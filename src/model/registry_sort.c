#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "model/filename.h"
#include "model/registry_parts.h"

/* Sorting out which files make up which migration. */
struct sorting {
    const struct registry_file **files; /* in the order of their paths */
    size_t count;
    struct map by_path;
    struct registry_sources *sources;
    struct buf path;    /* of a file that is looked for */
    bool out_of_memory; /* while looking */
};

enum {
    SORT_PATH_MAX = 64 * 1024,
};

static const struct registry_file *sort_find(struct sorting *sorting, const struct filename *name,
                                             struct slice stem, const char *extension)
{
    struct buf *path = &sorting->path;

    buf_truncate(path, 0);
    buf_append(path, name->folder.at, name->folder.len);
    buf_append(path, stem.at, stem.len);
    buf_puts(path, extension);
    if (path->rc != 0) {
        sorting->out_of_memory = path->rc == ERR_NOMEM;
        return NULL;
    }
    return map_get(&sorting->by_path, path->data, path->len);
}

/*
 * Whether a brief-named file is the down file of another: its stem without `_down` is an up file,
 * which that one is not if it is itself the down file of a third.
 */
static bool sort_is_down(struct sorting *sorting, const struct registry_file *file)
{
    bool is_down = false;

    for (;;) {
        struct filename name;
        struct slice base;

        filename_parse(file->path, &name);
        if (!filename_brief_down(&name, &base))
            return is_down;
        file = sort_find(sorting, &name, base, filename_extension(name.backend));
        if (file == NULL)
            return is_down;
        filename_parse(file->path, &name);
        if (name.role != FILENAME_UP)
            return is_down;
        is_down = !is_down;
    }
}

static bool sort_is_readable(const char *path)
{
    size_t len = strlen(path);

    for (size_t i = 0; i < len; i++)
        if ((unsigned char)path[i] < 0x20 || path[i] == 0x7f)
            return false;
    return utf8_is_valid(path, len);
}

static int sort_add_problem(struct sorting *sorting, const char *path, const char *why)
{
    struct arena *arena = &sorting->sources->arena;

    return problems_add(&sorting->sources->problems, arena, path, arena_strdup(arena, why));
}

/* A name that ends as those of down files do makes no down file where there is nothing to undo. */
static int sort_doubt(struct sorting *sorting, const struct registry_file *file,
                      const struct filename *name)
{
    struct arena *arena = &sorting->sources->arena;
    const char *extension = filename_extension(name->backend);
    struct slice base;

    if (!filename_brief_down(name, &base) || sort_find(sorting, name, base, extension) != NULL)
        return 0;
    return problems_add(&sorting->sources->doubts, arena, file->path,
                        arena_printf(arena,
                                     "is taken for an up migration because %.*s%s does not exist; "
                                     "a down file has the name of its up file and _down",
                                     (int)base.len, base.at, extension));
}

static const char *sort_down_extension(const struct filename *name)
{
    if (name->backend == BACKEND_ETCD)
        return name->is_brief ? "_down.json" : ".down.json";
    return name->is_brief ? "_down.sql" : ".down.sql";
}

static void sort_add_unit(struct sorting *sorting, const struct registry_file *file,
                          const struct filename *name)
{
    sorting->sources->units[sorting->sources->count++] = (struct registry_unit){
        .up = file,
        .down = sort_find(sorting, name, name->stem, sort_down_extension(name)),
        .companion = sort_find(sorting, name, name->stem, ".go"),
    };
}

static bool sort_has_up(struct sorting *sorting, const struct filename *down)
{
    return sort_find(sorting, down, down->stem,
                     down->backend == BACKEND_ETCD ? ".up.json" : ".up.sql") != NULL;
}

static int sort_file(struct sorting *sorting, const struct registry_file *file)
{
    struct filename name;

    filename_parse(file->path, &name);
    switch (name.role) {
    case FILENAME_OTHER:
        if (log_is_on(LOG_DEBUG))
            log_write(LOG_DEBUG, "file passed over", LOG_STR("path", file->path),
                      LOG_STR("reason", name.why_other));
        return 0;
    case FILENAME_COMPANION:
        return 0;
    case FILENAME_DOWN:
        if (sort_has_up(sorting, &name))
            return 0;
        return sort_add_problem(sorting, file->path, "there is no up file to this down file");
    case FILENAME_UP:
        if (!sort_is_readable(file->path))
            return sort_add_problem(sorting, file->path,
                                    "the name is not valid UTF-8 or holds control characters");
        if (sort_is_down(sorting, file))
            return 0;
        sort_add_unit(sorting, file, &name);
        return sort_doubt(sorting, file, &name);
    }
    return 0;
}

static int sort_compare(const void *a, const void *b)
{
    const struct registry_file *const *left = a;
    const struct registry_file *const *right = b;

    return strcmp((*left)->path, (*right)->path);
}

static int sort_prepare(struct sorting *sorting, const struct registry_file *files, size_t count)
{
    struct registry_sources *sources = sorting->sources;
    bool sorted = true;

    sorting->count = count;
    sorting->files = mem_alloc(count * sizeof(const struct registry_file *));
    sources->units = arena_alloc(&sources->arena, count * sizeof(*sources->units));
    if (sorting->files == NULL || sources->units == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < count; i++) {
        sorting->files[i] = &files[i];
        if (i > 0 && strcmp(files[i - 1].path, files[i].path) > 0)
            sorted = false;
    }
    if (!sorted)
        qsort(sorting->files, count, sizeof(const struct registry_file *), sort_compare);
    for (size_t i = 0; i < count; i++)
        if (map_put_str(&sorting->by_path, files[i].path, (void *)(uintptr_t)&files[i]) != 0)
            return ERR_NOMEM;
    return 0;
}

int registry_sort(const struct registry_file *files, size_t count, struct registry_sources **out,
                  struct err *err)
{
    struct registry_sources *sources = mem_calloc(1, sizeof(*sources));
    struct sorting sorting = {.sources = sources};
    int rc;

    *out = NULL;
    if (sources == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    map_init(&sorting.by_path);
    buf_init(&sorting.path, SORT_PATH_MAX);
    rc = sort_prepare(&sorting, files, count);
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = sorting.out_of_memory ? ERR_NOMEM : sort_file(&sorting, sorting.files[i]);
    if (rc == 0 && sorting.out_of_memory)
        rc = ERR_NOMEM;
    buf_free(&sorting.path);
    map_free(&sorting.by_path);
    mem_free(sorting.files);
    if (rc != 0) {
        registry_sources_free(sources);
        return err_set(err, rc, "out of memory");
    }
    *out = sources;
    return 0;
}

size_t registry_sources_count(const struct registry_sources *sources)
{
    return sources->count;
}

void registry_sources_free(struct registry_sources *sources)
{
    if (sources == NULL)
        return;
    arena_free(&sources->arena);
    mem_free(sources);
}
