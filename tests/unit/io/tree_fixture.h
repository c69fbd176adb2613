#ifndef BFM_TESTS_TREE_FIXTURE_H
#define BFM_TESTS_TREE_FIXTURE_H

#include "cmocka_all.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/loop.h"

/* A migration tree in a temporary folder, and a loop to load it with. */
struct fixture {
    struct loop *loop;
    char root[256];
};

static inline void fixture_path(const struct fixture *f, const char *path, char out[512])
{
    assert_true(snprintf(out, 512, "%s/%s", f->root, path) < 512);
}

/* Makes the folders of the path too. */
static inline void fixture_mkdir(const struct fixture *f, const char *path)
{
    char full[512];

    fixture_path(f, path, full);
    for (char *slash = full + strlen(f->root) + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        mkdir(full, 0755);
        *slash = '/';
    }
    mkdir(full, 0755);
}

/* The file is there with all of its text at once, as watching threads may look any time. */
static inline void fixture_write(const struct fixture *f, const char *path, const char *text)
{
    char full[512], hidden[512];
    FILE *file;

    snprintf(full, sizeof(full), "%s", path);
    if (strchr(full, '/') != NULL) {
        *strrchr(full, '/') = '\0';
        fixture_mkdir(f, full);
    }
    fixture_path(f, path, full);
    snprintf(hidden, sizeof(hidden), "%s", full);
    strcpy(strrchr(hidden, '/'), "/.new");
    file = fopen(hidden, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(rename(hidden, full), 0);
}

static inline int fixture_remove_one(const char *path, const struct stat *st, int flag,
                                     struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

/* A file, or a folder with all that is in it. */
static inline void fixture_remove(const struct fixture *f, const char *path)
{
    char full[512];

    fixture_path(f, path, full);
    assert_int_equal(nftw(full, fixture_remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static inline void fixture_init(struct fixture *f)
{
    const char *base = getenv("TMPDIR");

    snprintf(f->root, sizeof(f->root), "%s/bfm-tree-XXXXXX", base != NULL ? base : "/tmp");
    assert_non_null(mkdtemp(f->root));
    f->loop = loop_create();
    assert_non_null(f->loop);
}

static inline void fixture_free(struct fixture *f)
{
    loop_destroy(f->loop);
    nftw(f->root, fixture_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* An operation that ends the running of the loop. */
struct waiter {
    struct op op;
    struct loop *loop;
    bool done;
    int rc;
};

static inline void waiter_on_done(struct op *op, int rc)
{
    struct waiter *waiter = container_of(op, struct waiter, op);

    assert_false(waiter->done);
    waiter->done = true;
    waiter->rc = rc;
    loop_stop(waiter->loop);
}

static inline void waiter_init(struct waiter *waiter, const struct fixture *f)
{
    *waiter = (struct waiter){.loop = f->loop};
    op_init(&waiter->op, waiter_on_done);
}

static inline int waiter_wait(struct waiter *waiter)
{
    assert_false(waiter->done); /* never from inside the start call */
    while (!waiter->done)
        loop_run(waiter->loop);
    return waiter->rc;
}

#endif
