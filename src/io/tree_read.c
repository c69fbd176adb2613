#include "io/tree_read.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int read_nomem(struct err *err)
{
    return err_set(err, ERR_NOMEM, "%s", err_code_text(ERR_NOMEM));
}

static int read_report(struct tree_slice *slice, const struct tree_entry *entry, const char *text,
                       struct err *err)
{
    struct tree_problem *problem = arena_calloc(&slice->scripts, 1, sizeof(*problem));

    if (problem == NULL)
        return read_nomem(err);
    problem->problem.path = arena_strdup(&slice->scripts, entry->path);
    problem->problem.text = arena_strdup(&slice->scripts, text);
    if (problem->problem.path == NULL || problem->problem.text == NULL)
        return read_nomem(err);
    problem->next = slice->problems;
    slice->problems = problem;
    return 0;
}

/* One file's own fault is reported; what would hit the next one as well ends the reading, as half a
 * tree is worse than the old one. */
static int read_refuse(struct tree_slice *slice, const struct tree_entry *entry, int reason,
                       struct err *err)
{
    char text[160];

    if (reason == ENOENT || reason == ENOTDIR)
        return 0; /* taken away since it was listed */
    if (reason != EACCES && reason != EPERM && reason != ELOOP && reason != ENXIO)
        return err_set(err, ERR_IO, "%s cannot be read: %s", entry->path, strerror(reason));
    snprintf(text, sizeof(text), "the file cannot be read: %s", strerror(reason));
    return read_report(slice, entry, text, err);
}

/* Reads up to `size` bytes; fewer if the file was cut meanwhile. */
static int read_bytes(int fd, char *text, size_t size, size_t *len)
{
    *len = 0;
    while (*len < size) {
        ssize_t got = read(fd, text + *len, size - *len);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        *len += (size_t)got;
    }
    text[*len] = '\0';
    return 0;
}

static bool read_is_companion(const char *name)
{
    size_t len = strlen(name);

    return len > 3 && strcmp(name + len - 3, ".go") == 0;
}

static int read_regular(struct tree_slice *slice, const struct tree_entry *entry, int fd,
                        size_t size, struct registry_file *file, struct err *err)
{
    bool companion = read_is_companion(entry->name);
    char *text = arena_alloc(companion ? &slice->companions : &slice->scripts, size + 1);

    if (text == NULL)
        return read_nomem(err);
    if (read_bytes(fd, text, size, &file->len) != 0)
        return read_refuse(slice, entry, errno, err);
    file->text = text;
    file->is_static = !companion;
    return 0;
}

static int read_open_file(struct tree_slice *slice, const struct tree_entry *entry, int fd,
                          struct registry_file *file, struct err *err)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        return read_refuse(slice, entry, errno, err);
    slice->fingerprint += tree_fingerprint_of(entry->path, &st);
    if (S_ISDIR(st.st_mode))
        return 0;
    if (!S_ISREG(st.st_mode))
        return read_report(slice, entry, "not a regular file", err);
    if (st.st_size > TREE_FILE_MAX)
        return read_report(slice, entry, "the file is larger than 16 MiB", err);
    return read_regular(slice, entry, fd, (size_t)st.st_size, file, err);
}

/* O_NONBLOCK: opening a named pipe must not wait for its other end. */
static int read_file(struct tree_slice *slice, struct tree_cursor *cursor,
                     const struct tree_entry *entry, struct registry_file *file, struct err *err)
{
    int folder = tree_cursor_at(cursor, entry);
    struct stat st;
    int fd, reason, rc;

    *file = (struct registry_file){.path = entry->path};
    fd =
        folder < 0 ? -1 : openat(folder, entry->name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0) {
        reason = errno;
        rc = folder < 0 ? -1 : fstatat(folder, entry->name, &st, 0);
        slice->fingerprint += tree_fingerprint_of(entry->path, rc == 0 ? &st : NULL);
        return read_refuse(slice, entry, reason, err);
    }
    rc = read_open_file(slice, entry, fd, file, err);
    close(fd);
    return rc;
}

int tree_read(const struct tree_walk *walk, struct tree_slice *slice, struct registry_file *files,
              const _Atomic bool *stop, struct err *err)
{
    struct tree_cursor cursor;
    int rc = 0;

    tree_cursor_init(&cursor, walk);
    for (size_t i = slice->first; rc == 0 && i < slice->first + slice->count; i++)
        rc = *stop ? ERR_CANCELED : read_file(slice, &cursor, &walk->entries[i], &files[i], err);
    tree_cursor_free(&cursor);
    return rc;
}

void tree_slice_free(struct tree_slice *slice)
{
    arena_free(&slice->scripts);
    arena_free(&slice->companions);
    slice->problems = NULL;
}
