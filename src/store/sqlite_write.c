#include "base/clock.h"
#include "store/record.h"
#include "store/sqlite_private.h"

enum {
    SQLITE_WRITE_TEXT_MAX = 64 * 1024 * 1024,
};

/* --- one request --- */

static int sqlite_write_request(struct sqlite_write *write, const struct request *request,
                                struct err *err)
{
    int rc = 0;

    if (request->kind == REQUEST_PUT_RUN)
        return sqlite_write_run(write, request, err);
    if (request->kind == REQUEST_CLAIM_KEY)
        return sqlite_write_claim(write, request, err);
    if (request->kind == REQUEST_BEAT)
        return sqlite_write_beat(write, request, err);
    if (request->kind == REQUEST_SWAP_LEDGER)
        return sqlite_write_swap(write, request, err);
    for (size_t i = 0; i < request->record_count && rc == 0; i++)
        rc = sqlite_write_record(write, &request->records[i], err);
    return rc;
}

/* What was refused for a reason of its own leaves nothing behind, and the others stay. */
static int sqlite_write_apart(struct sqlite_write *write, struct request *request)
{
    struct err *err = &request->op->err;
    int rc = sqlite_exec(write->db, "SAVEPOINT request", err);

    if (rc != 0)
        return rc;
    rc = sqlite_write_request(write, request, err);
    if (rc == ERR_DB) {
        request->rc = rc;
        map_free(&write->listed); /* some of those rows are gone again */
        return sqlite_exec(write->db, "ROLLBACK TO request; RELEASE request", NULL);
    }
    return rc != 0 ? rc : sqlite_exec(write->db, "RELEASE request", err);
}

/* --- the batch --- */

/* What has to survive a loss of power, as nothing else knows it. */
static bool sqlite_write_is_outcome(const struct request *request)
{
    if (request->kind == REQUEST_CLAIM_KEY || request->kind == REQUEST_SWAP_LEDGER)
        return true;
    if (request->kind == REQUEST_PUT_RUN)
        return request->run->status != STORE_RUN_RUNNING;
    for (size_t i = 0; i < request->record_count; i++)
        if (request->records[i].event != STORE_PENDING &&
            request->records[i].event != STORE_SKIPPED)
            return true;
    return false;
}

int sqlite_write_set_synced(struct store_sqlite *lite, bool synced, struct err *err)
{
    int rc;

    if (lite->synced == synced)
        return 0;
    rc = sqlite_exec(lite->db, synced ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL",
                     err);
    if (rc == 0)
        lite->synced = synced;
    return rc;
}

/* Refuses what no row can hold. Returns how many requests are left to write. */
static size_t sqlite_write_check(struct list *batch, bool *outcomes)
{
    size_t good = 0;

    *outcomes = false;
    list_foreach(node, batch) {
        struct request *request = container_of(node, struct request, link);

        request->rc = 0;
        for (size_t i = 0; i < request->record_count && request->rc == 0; i++)
            request->rc = record_check(&request->records[i], &request->op->err);
        if (request->rc == 0) {
            good++;
            *outcomes = *outcomes || sqlite_write_is_outcome(request);
        }
    }
    return good;
}

/* One transaction. The requests that have an rc already are left out. */
static int sqlite_write_try(struct sqlite_write *write, struct list *batch, bool apart,
                            struct err *err)
{
    int rc = sqlite_exec(write->db, "BEGIN IMMEDIATE", err);

    list_foreach(node, batch) {
        struct request *request = container_of(node, struct request, link);

        if (rc != 0)
            break;
        if (request->rc != 0)
            continue;
        rc = apart ? sqlite_write_apart(write, request) : sqlite_write_request(write, request, err);
        if (apart && rc != 0)
            *err = request->op->err;
    }
    if (rc == 0)
        rc = sqlite_exec(write->db, "COMMIT", err);
    if (rc != 0) {
        sqlite_rollback(write->db);
        map_free(&write->listed);
    }
    return rc;
}

static void sqlite_write_settle(struct list *batch, int rc, const struct err *err)
{
    list_foreach(node, batch) {
        struct request *request = container_of(node, struct request, link);

        if (request->rc != 0 || rc == 0)
            continue;
        request->rc = rc;
        request->op->err = *err;
    }
}

void sqlite_write_batch(struct store_sqlite *lite, struct list *batch)
{
    struct sqlite_write write = {.db = lite->db, .now_us = clock_wall_us()};
    struct err err = {0};
    bool outcomes;
    size_t good = sqlite_write_check(batch, &outcomes);
    int rc;

    if (good == 0)
        return;
    map_init(&write.listed);
    buf_init(&write.error, SQLITE_WRITE_TEXT_MAX);
    buf_init(&write.context, SQLITE_WRITE_TEXT_MAX);
    rc = sqlite_write_set_synced(lite, outcomes, &err);
    if (rc == 0)
        rc = sqlite_write_try(&write, batch, false, &err);
    if (rc == ERR_DB && good > 1)
        rc = sqlite_write_try(&write, batch, true, &err);
    sqlite_write_settle(batch, rc, &err);
    buf_free(&write.context);
    buf_free(&write.error);
    map_free(&write.listed);
}
