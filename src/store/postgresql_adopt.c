/* clang-format off */
/*
 *   ASKING ──> BEGINNING ──> MOVING ──> LEARNING ──> PAGING ──> IMPORTING ──> ENDING ──> (done)
 *     │            │                                ^  │
 *     └────────────┴──> (done): nothing is old      │  v
 *                                                 SAVING
 *
 *   ASKING     waits for which tables there are; nothing is locked
 *   BEGINNING  waits for the transaction, for its turn among servers, and for the same answer again
 *   MOVING     waits until old tables are renamed, new ones made and the old IDs listed
 *   LEARNING   waits for the names of schemas in old rows
 *   PAGING     waits for IDs that are not understood yet
 *   SAVING     waits until what a page means is written, worked out on the thread pool before
 *   IMPORTING  waits until rows with an ID that is understood are taken over
 *   ENDING     waits for COMMIT
 *
 * Every failure ends the transaction with the connection.
 */
/* clang-format on */
#include "store/postgresql_adopt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crash.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sm.h"
#include "io/work.h"
#include "store/adopt_map.h"

enum {
    ADOPT_PAGE = 5000,
    ADOPT_TEXT_MAX = 256 * 1024,
    ADOPT_JSON_MAX = 64 * 1024 * 1024,
    ADOPT_TIMEOUT_MS = 15 * 60 * 1000, /* a history of millions of rows is copied */
    ADOPT_COLUMNS = 8,                 /* of a page */
    ADOPT_NUMBER_MAX = 24,
};

enum adopt_state {
    ADOPT_ASKING,
    ADOPT_BEGINNING,
    ADOPT_MOVING,
    ADOPT_LEARNING,
    ADOPT_PAGING,
    ADOPT_SAVING,
    ADOPT_IMPORTING,
    ADOPT_ENDING,
};

static const struct sm_state adopt_states[] = {
    [ADOPT_ASKING] = {"asking", SM_TO(ADOPT_BEGINNING)},
    [ADOPT_BEGINNING] = {"beginning", SM_TO(ADOPT_MOVING)},
    [ADOPT_MOVING] = {"moving", SM_TO(ADOPT_LEARNING)},
    [ADOPT_LEARNING] = {"learning", SM_TO(ADOPT_PAGING)},
    [ADOPT_PAGING] = {"paging", SM_TO(ADOPT_SAVING) | SM_TO(ADOPT_IMPORTING)},
    [ADOPT_SAVING] = {"saving", SM_TO(ADOPT_PAGING)},
    [ADOPT_IMPORTING] = {"importing", SM_TO(ADOPT_ENDING)},
    [ADOPT_ENDING] = {"ending", 0},
};

struct pgstore_adopt {
    struct sm sm;
    struct store_pg *pg;
    struct op *op; /* the caller's */
    struct op step;
    struct pg_conn *conn;
    bool asked;  /* ASKING: the query is under way, not only a connection */
    bool mapped; /* SAVING: the page was worked out */
    struct pg_results results;
    struct buf text, json;
    char *literal; /* the schema's name as a literal */
    struct adopt_map map;
    bool second, first;         /* old layouts to move now */
    bool has_second, has_first; /* those that were moved, now or before */
    char last[ADOPT_NUMBER_MAX], limit[ADOPT_NUMBER_MAX];
    size_t understood; /* IDs of this transaction */
};

/* --- the end --- */

static void adopt_finish(struct pgstore_adopt *adopt, int rc)
{
    struct op *op = adopt->op;
    struct err err = adopt->step.err;

    if (adopt->conn != NULL)
        pg_release(adopt->conn);
    pg_results_free(&adopt->results);
    adopt_map_free(&adopt->map);
    buf_free(&adopt->json);
    buf_free(&adopt->text);
    mem_free(adopt->literal);
    mem_free(adopt);
    if (rc == 0) {
        op_finish(op, 0);
        return;
    }
    pgstore_translate(&err);
    op_fail(op, &err);
}

static void adopt_fail_nomem(struct pgstore_adopt *adopt)
{
    adopt_finish(adopt, err_set(&adopt->step.err, ERR_NOMEM, "out of memory"));
}

/* --- texts --- */

static int adopt_quote_schema(struct pgstore_adopt *adopt)
{
    struct buf literal;

    if (pgstore_quoted_schema(adopt->pg, adopt->conn, &adopt->step.err) == NULL)
        return ERR_NOMEM;
    if (adopt->literal != NULL)
        return 0;
    buf_init(&literal, ADOPT_TEXT_MAX);
    if (pg_put_literal(&literal, adopt->conn, adopt->pg->schema) == 0)
        adopt->literal = buf_take(&literal);
    buf_free(&literal);
    return adopt->literal != NULL ? 0 : ERR_NOMEM;
}

static void adopt_put(struct pgstore_adopt *adopt, const char *text)
{
    size_t len;

    for (; text[len = strcspn(text, "@~")] != '\0'; text += len + 1) {
        buf_append(&adopt->text, text, len);
        buf_puts(&adopt->text, text[len] == '@' ? adopt->pg->quoted_schema : adopt->literal);
    }
    buf_puts(&adopt->text, text);
}

static void adopt_query(struct pgstore_adopt *adopt)
{
    int rc = adopt->text.rc;

    pg_results_free(&adopt->results);
    if (rc == 0)
        rc = pg_query(adopt->conn, &adopt->step, buf_str(&adopt->text), ADOPT_TIMEOUT_MS,
                      &adopt->results);
    else
        err_set(&adopt->step.err, rc, "%s", err_code_text(rc));
    if (rc != 0)
        adopt_finish(adopt, rc);
}

/* One text of adopt_sql.c by itself, with values. */
static void adopt_query_values(struct pgstore_adopt *adopt, const char *text, size_t count,
                               const char *const *values)
{
    int rc;

    buf_truncate(&adopt->text, 0);
    adopt_put(adopt, text);
    pg_results_free(&adopt->results);
    rc = adopt->text.rc;
    if (rc == 0)
        rc = pg_query_params(adopt->conn, &adopt->step, buf_str(&adopt->text), count, values,
                             ADOPT_TIMEOUT_MS, &adopt->results);
    else
        err_set(&adopt->step.err, rc, "%s", err_code_text(rc));
    if (rc != 0)
        adopt_finish(adopt, rc);
}

static const PGresult *adopt_last(const struct pgstore_adopt *adopt)
{
    return adopt->results.results[adopt->results.count - 1];
}

/* --- what there is --- */

static void adopt_ask(struct pgstore_adopt *adopt)
{
    adopt->asked = true;
    if (adopt_quote_schema(adopt) != 0) {
        adopt_fail_nomem(adopt);
        return;
    }
    buf_truncate(&adopt->text, 0);
    adopt_put(adopt, pgadopt_inspect);
    adopt_query(adopt);
}

/* Whether there is something to do. Old tables that appear once more were made by an old server
 * behind our back, and what they say was taken over before. */
static int adopt_read_answer(struct pgstore_adopt *adopt, bool *wanted)
{
    bool there[6];

    for (int i = 0; i < 6; i++)
        there[i] = strcmp(PQgetvalue(adopt_last(adopt), 0, i), "0") != 0;
    if (there[0] && there[4])
        return err_set(&adopt->step.err, ERR_STORE,
                       "migrations_list has the layout of an older server (column last_status) "
                       "once more, and bfm_old_migrations_list is what was converted before; drop "
                       "or rename one of them");
    adopt->second = there[0];
    adopt->first = there[2] && !there[5];
    adopt->has_second = there[0] || there[4];
    adopt->has_first = adopt->first || there[5];
    *wanted = adopt->second || adopt->first || there[3];
    return 0;
}

static void adopt_on_asked(struct pgstore_adopt *adopt)
{
    bool wanted = false;
    int rc = adopt_read_answer(adopt, &wanted);

    if (rc != 0 || !wanted) {
        adopt_finish(adopt, rc);
        return;
    }
    sm_move(&adopt->sm, ADOPT_BEGINNING);
    buf_truncate(&adopt->text, 0);
    buf_puts(&adopt->text, "BEGIN;");
    buf_puts(&adopt->text, pgstore_sql_lock);
    adopt_put(adopt, pgadopt_inspect);
    adopt_query(adopt);
}

/* --- moving --- */

static void adopt_put_tables(struct pgstore_adopt *adopt)
{
    for (size_t i = 0; i < pgstore_object_count; i++)
        if (pgstore_objects[i].table[0] != '\0')
            adopt_put(adopt, pgstore_objects[i].sql);
}

static void adopt_on_begun(struct pgstore_adopt *adopt)
{
    bool wanted = false;
    int rc = adopt_read_answer(adopt, &wanted);

    if (rc != 0 || !wanted) {
        adopt_finish(adopt, rc);
        return;
    }
    sm_move(&adopt->sm, ADOPT_MOVING);
    buf_truncate(&adopt->text, 0);
    adopt_put(adopt, pgadopt_make_ids);
    if (adopt->second) {
        adopt_put(adopt, pgadopt_move_second);
        adopt_put_tables(adopt);
        adopt_put(adopt, pgadopt_relink_second);
        adopt_put(adopt, pgadopt_fill_second);
    }
    if (adopt->first) {
        adopt_put(adopt, pgadopt_move_first);
        adopt_put(adopt, pgadopt_fill_first);
    }
    adopt_query(adopt);
}

/* --- what IDs mean --- */

static void adopt_page(struct pgstore_adopt *adopt)
{
    const char *const values[] = {adopt->last, adopt->limit};

    sm_move(&adopt->sm, ADOPT_PAGING);
    adopt_query_values(adopt, pgadopt_page, 2, values);
}

static void adopt_on_moved(struct pgstore_adopt *adopt)
{
    crash_point("adopt_moved");
    sm_move(&adopt->sm, ADOPT_LEARNING);
    adopt_query_values(adopt, pgadopt_schemas, 0, NULL);
}

static void adopt_on_learned(struct pgstore_adopt *adopt)
{
    const PGresult *rows = adopt_last(adopt);

    for (int i = 0; i < PQntuples(rows); i++)
        if (adopt_map_add_schema(&adopt->map, PQgetvalue(rows, i, 0)) != 0) {
            adopt_fail_nomem(adopt);
            return;
        }
    adopt_page(adopt);
}

static const char *adopt_kind_name(enum adopt_kind kind)
{
    switch (kind) {
    case ADOPT_UP:
        return "up";
    case ADOPT_UNDO:
        return "undo";
    case ADOPT_JUNK:
        return "junk";
    case ADOPT_UNKNOWN:
        return "unknown";
    case ADOPT_AMBIGUOUS:
        return "ambiguous";
    }
    return "unknown";
}

static void adopt_put_meaning(struct buf *json, const char *number,
                              const struct adopt_meaning *meaning)
{
    buf_printf(json, "%s{\"n\":%s", json->len > 1 ? "," : "", number);
    json_put_member(json, "kind", adopt_kind_name(meaning->kind));
    if (meaning->id != NULL) {
        json_put_member(json, "id", meaning->id);
        json_put_member(json, "schema", meaning->schema);
        json_put_member(json, "declared", meaning->declared);
        json_put_member(json, "version", meaning->version);
        json_put_member(json, "name", meaning->name);
        json_put_member(json, "connection", meaning->connection);
        json_put_member(json, "backend", meaning->backend);
    }
    buf_putc(json, '}');
}

static int adopt_map_on_thread(void *arg, struct err *err)
{
    struct pgstore_adopt *adopt = arg;
    const PGresult *rows = adopt_last(adopt);
    const char *cell[ADOPT_COLUMNS];
    int rc = 0;

    buf_truncate(&adopt->json, 0);
    buf_putc(&adopt->json, '[');
    for (int i = 0; i < PQntuples(rows) && rc == 0; i++) {
        struct adopt_meaning meaning;
        struct adopt_row row;

        for (int column = 0; column < ADOPT_COLUMNS; column++)
            cell[column] = PQgetvalue(rows, i, column);
        row = (struct adopt_row){.migration_id = cell[1],
                                 .schema = cell[2],
                                 .table = cell[3],
                                 .version = cell[4],
                                 .name = cell[5],
                                 .connection = cell[6],
                                 .backend = cell[7]};
        rc = adopt_map_find(&adopt->map, &row, &meaning);
        if (rc == 0)
            adopt_put_meaning(&adopt->json, cell[0], &meaning);
        if (rc == 0 && (meaning.kind == ADOPT_UP || meaning.kind == ADOPT_UNDO))
            adopt->understood++;
    }
    buf_putc(&adopt->json, ']');
    if (rc == 0)
        rc = adopt->json.rc;
    return rc == 0 ? 0 : err_set(err, rc, "%s", err_code_text(rc));
}

/* --- taking over --- */

static void adopt_import(struct pgstore_adopt *adopt)
{
    sm_move(&adopt->sm, ADOPT_IMPORTING);
    buf_truncate(&adopt->text, 0);
    if (adopt->understood > 0) {
        adopt_put(adopt, pgadopt_import_list);
        if (adopt->has_second) {
            adopt_put(adopt, pgadopt_import_second);
            adopt_put(adopt, pgadopt_judge_second);
            adopt_put(adopt, pgadopt_insert_second);
        }
        if (adopt->has_first)
            adopt_put(adopt, pgadopt_import_first);
        adopt_put(adopt, pgadopt_finish);
    }
    adopt_put(adopt, pgadopt_unknown);
    adopt_query(adopt);
}

static void adopt_on_page(struct pgstore_adopt *adopt)
{
    const PGresult *rows = adopt_last(adopt);
    int count = PQntuples(rows);
    int rc;

    if (count == 0) {
        adopt_import(adopt);
        return;
    }
    snprintf(adopt->last, sizeof(adopt->last), "%s", PQgetvalue(rows, count - 1, 0));
    sm_move(&adopt->sm, ADOPT_SAVING);
    adopt->mapped = false;
    rc = work_start(adopt->pg->loop, &adopt->step, adopt_map_on_thread, adopt);
    if (rc != 0)
        adopt_finish(adopt, rc);
}

static void adopt_on_saved(struct pgstore_adopt *adopt)
{
    const char *const values[] = {adopt->json.data};

    if (adopt->mapped) {
        adopt_page(adopt);
        return;
    }
    adopt->mapped = true;
    adopt_query_values(adopt, pgadopt_save, 1, values);
}

/* --- the end of the transaction --- */

static void adopt_report(const struct pgstore_adopt *adopt)
{
    const PGresult *rows = adopt_last(adopt);
    int count = PQntuples(rows);

    if (!adopt->second && !adopt->first && adopt->understood == 0)
        return;
    log_write(LOG_INFO, "state tables of an older server were taken over",
              LOG_STR("layout", adopt->second  ? "second"
                                : adopt->first ? "first"
                                               : "rows left from before"),
              LOG_INT("ids", adopt->understood),
              LOG_INT("not_understood", count > 0 ? strtoll(PQgetvalue(rows, 0, 2), NULL, 10) : 0));
    for (int i = 0; i < count; i++)
        log_write(LOG_WARN,
                  "an ID in the tables of an older server is not that of one known migration; its "
                  "rows are kept and tried again when migrations change (table bfm_old_ids)",
                  LOG_STR("migration_id", PQgetvalue(rows, i, 0)),
                  LOG_STR("why", PQgetvalue(rows, i, 1)));
}

static void adopt_on_imported(struct pgstore_adopt *adopt)
{
    adopt_report(adopt);
    crash_point("adopt_imported");
    sm_move(&adopt->sm, ADOPT_ENDING);
    buf_truncate(&adopt->text, 0);
    buf_puts(&adopt->text, "COMMIT");
    adopt_query(adopt);
}

/* --- the machine --- */

static void adopt_advance(struct pgstore_adopt *adopt)
{
    switch ((enum adopt_state)adopt->sm.state) {
    case ADOPT_ASKING:
        if (adopt->asked)
            adopt_on_asked(adopt);
        else
            adopt_ask(adopt);
        return;
    case ADOPT_BEGINNING:
        adopt_on_begun(adopt);
        return;
    case ADOPT_MOVING:
        adopt_on_moved(adopt);
        return;
    case ADOPT_LEARNING:
        adopt_on_learned(adopt);
        return;
    case ADOPT_PAGING:
        adopt_on_page(adopt);
        return;
    case ADOPT_SAVING:
        adopt_on_saved(adopt);
        return;
    case ADOPT_IMPORTING:
        adopt_on_imported(adopt);
        return;
    case ADOPT_ENDING:
        adopt_finish(adopt, 0);
        return;
    }
}

static void adopt_on_step(struct op *op, int rc)
{
    struct pgstore_adopt *adopt = container_of(op, struct pgstore_adopt, step);

    if (rc != 0)
        adopt_finish(adopt, rc);
    else
        adopt_advance(adopt);
}

int pgstore_adopt_start(struct store_pg *pg, const struct registry *registry, struct op *op)
{
    struct pgstore_adopt *adopt = mem_calloc(1, sizeof(*adopt));
    int rc;

    if (adopt == NULL)
        return op_refuse(op, ERR_NOMEM, "out of memory");
    sm_init(&adopt->sm, adopt_states, "adopt", ADOPT_ASKING);
    adopt->pg = pg;
    adopt->op = op;
    buf_init(&adopt->text, ADOPT_TEXT_MAX);
    buf_init(&adopt->json, ADOPT_JSON_MAX);
    adopt_map_init(&adopt->map, registry);
    snprintf(adopt->last, sizeof(adopt->last), "0");
    snprintf(adopt->limit, sizeof(adopt->limit), "%d", (int)ADOPT_PAGE);
    op_init(&adopt->step, adopt_on_step);
    rc = pg_acquire(pg->pool, &adopt->step, &adopt->conn);
    if (rc != 0) {
        pgstore_translate(&adopt->step.err);
        op->err = adopt->step.err;
        adopt_map_free(&adopt->map);
        mem_free(adopt);
        return op->err.code;
    }
    op_begin(op, adopt, NULL);
    return 0;
}
