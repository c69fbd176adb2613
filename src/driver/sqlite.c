#include "driver/sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/map.h"
#include "base/mem.h"

enum {
    BUSY_WAIT_MS = 5000,
    BUSY_STEP_MS = 10,
};

struct sqlite {
    sqlite3 *handle;
    struct map stmts; /* address of the text -> struct sqlite_stmt */
    bool broken;
};

static pthread_once_t sqlite_once = PTHREAD_ONCE_INIT;

struct sqlite_stmt {
    const char *sql; /* its bytes are the key */
    struct sqlite *db;
    sqlite3_stmt *handle;
    int bind_rc;
};

/* --- errors --- */

static int sqlite_fail(struct sqlite *db, int rc, struct err *err)
{
    switch (rc & 0xFF) {
    case SQLITE_NOMEM:
        return err_set(err, ERR_NOMEM, "out of memory");
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
    case SQLITE_TOOBIG:
        return err_set(err, ERR_DB, "the state database refused a row: %s",
                       sqlite3_errmsg(db->handle));
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return err_set(err, ERR_STORE, "the state database is locked by another process");
    case SQLITE_FULL:
        return err_set(err, ERR_STORE, "the disk of the state database is full");
    default:
        db->broken = true;
        return err_set(err, ERR_STORE, "the state database failed: %s", sqlite3_errmsg(db->handle));
    }
}

bool sqlite_is_broken(const struct sqlite *db)
{
    return db->broken;
}

/* --- opening --- */

/* Only a file that is not there yet: closing a descriptor of one that is open elsewhere in this
 * process would drop the locks held on it. */
static void sqlite_create_file(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (fd >= 0)
        close(fd);
}

static void sqlite_pause(void)
{
    const struct timespec pause = {.tv_nsec = BUSY_STEP_MS * INT64_C(1000000)};

    nanosleep(&pause, NULL);
}

/* Going over to WAL does not wait by itself while another process does the same. */
static int sqlite_set_wal(struct sqlite *db)
{
    int rc = SQLITE_BUSY;

    for (int waited = 0; waited < BUSY_WAIT_MS; waited += BUSY_STEP_MS) {
        rc = sqlite3_exec(db->handle, "PRAGMA journal_mode=WAL", NULL, NULL, NULL);
        if ((rc & 0xFF) != SQLITE_BUSY)
            return rc;
        sqlite_pause();
    }
    return rc;
}

static int sqlite_configure(struct sqlite *db)
{
    int rc;

    sqlite3_extended_result_codes(db->handle, 1);
    sqlite3_busy_timeout(db->handle, BUSY_WAIT_MS);
    rc = sqlite_set_wal(db);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(db->handle,
                          "PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;"
                          "PRAGMA temp_store=MEMORY; PRAGMA cache_size=-16384;"
                          "PRAGMA journal_size_limit=67108864",
                          NULL, NULL, NULL);
    return rc;
}

/* Before the first connection of the process: counting allocations takes a lock for each. */
static void sqlite_configure_process(void)
{
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

int sqlite_open(const char *path, struct sqlite **out, struct err *err)
{
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    struct sqlite *db = mem_calloc(1, sizeof(*db));
    int rc;

    *out = NULL;
    if (db == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    pthread_once(&sqlite_once, sqlite_configure_process);
    map_init(&db->stmts);
    sqlite_create_file(path);
    rc = sqlite3_open_v2(path, &db->handle, flags, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite_configure(db);
    if (rc != SQLITE_OK) {
        rc = sqlite_fail(db, rc, err);
        err_prefix(err, "cannot open the file");
        sqlite_close(db);
        return rc;
    }
    *out = db;
    return 0;
}

void sqlite_close(struct sqlite *db)
{
    struct sqlite_stmt *stmt;
    size_t at = 0;

    if (db == NULL)
        return;
    while ((stmt = map_next(&db->stmts, &at)) != NULL) {
        sqlite3_finalize(stmt->handle);
        mem_free(stmt);
    }
    map_free(&db->stmts);
    sqlite3_close(db->handle);
    mem_free(db);
}

bool sqlite_has_moved(struct sqlite *db)
{
    int moved = 0;
    int rc = sqlite3_file_control(db->handle, "main", SQLITE_FCNTL_HAS_MOVED, &moved);

    return rc == SQLITE_OK && moved != 0;
}

/* --- statements --- */

int sqlite_exec(struct sqlite *db, const char *sql, struct err *err)
{
    int rc = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);

    return rc == SQLITE_OK ? 0 : sqlite_fail(db, rc, err);
}

void sqlite_rollback(struct sqlite *db)
{
    if (sqlite3_get_autocommit(db->handle) == 0 &&
        sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL) != SQLITE_OK)
        db->broken = true;
}

static int sqlite_prepare_new(struct sqlite *db, const char *sql, struct sqlite_stmt **out,
                              struct err *err)
{
    struct sqlite_stmt *stmt = mem_calloc(1, sizeof(*stmt));
    int rc;

    if (stmt == NULL)
        return err_set(err, ERR_NOMEM, "out of memory");
    stmt->sql = sql;
    stmt->db = db;
    rc = sqlite3_prepare_v3(db->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt->handle, NULL);
    if (rc != SQLITE_OK) {
        mem_free(stmt);
        return sqlite_fail(db, rc, err);
    }
    if (map_put(&db->stmts, &stmt->sql, sizeof(stmt->sql), stmt) != 0) {
        sqlite3_finalize(stmt->handle);
        mem_free(stmt);
        return err_set(err, ERR_NOMEM, "out of memory");
    }
    *out = stmt;
    return 0;
}

int sqlite_prepare(struct sqlite *db, const char *sql, struct sqlite_stmt **out, struct err *err)
{
    *out = map_get(&db->stmts, &sql, sizeof(sql));
    return *out != NULL ? 0 : sqlite_prepare_new(db, sql, out, err);
}

static void sqlite_note_bind(struct sqlite_stmt *stmt, int rc)
{
    if (rc != SQLITE_OK)
        stmt->bind_rc = rc;
}

void sqlite_bind_text(struct sqlite_stmt *stmt, int number, const char *text)
{
    sqlite_note_bind(stmt, sqlite3_bind_text(stmt->handle, number, text, -1, SQLITE_STATIC));
}

void sqlite_bind_int(struct sqlite_stmt *stmt, int number, int64_t value)
{
    sqlite_note_bind(stmt, sqlite3_bind_int64(stmt->handle, number, value));
}

void sqlite_reset(struct sqlite_stmt *stmt)
{
    sqlite3_reset(stmt->handle);
    sqlite3_clear_bindings(stmt->handle);
    stmt->bind_rc = SQLITE_OK;
}

int sqlite_step(struct sqlite_stmt *stmt, bool *row, struct err *err)
{
    int rc = stmt->bind_rc != SQLITE_OK ? stmt->bind_rc : sqlite3_step(stmt->handle);

    *row = rc == SQLITE_ROW;
    if (rc == SQLITE_ROW)
        return 0;
    if (rc != SQLITE_DONE)
        rc = sqlite_fail(stmt->db, rc, err);
    else
        rc = 0;
    sqlite_reset(stmt);
    return rc;
}

int sqlite_run(struct sqlite_stmt *stmt, struct err *err)
{
    bool row = true;
    int rc = 0;

    while (row && rc == 0)
        rc = sqlite_step(stmt, &row, err);
    return rc;
}

int sqlite_changes(struct sqlite *db)
{
    return sqlite3_changes(db->handle);
}

const char *sqlite_text(struct sqlite_stmt *stmt, int column)
{
    return (const char *)sqlite3_column_text(stmt->handle, column);
}

int64_t sqlite_int(struct sqlite_stmt *stmt, int column)
{
    return sqlite3_column_int64(stmt->handle, column);
}
