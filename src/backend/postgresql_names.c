#include "backend/postgresql_step.h"

#include <stdio.h>
#include <string.h>

/* What the queries of a step are made of: names and values, quoted by the client library. */

void step_put_do(struct pgb_step *step, struct buf *sql, const char *schema,
                 void (*put_body)(struct buf *, const char *, const char *, uint64_t))
{
    struct buf body, literal, ident;

    buf_init(&body, PGB_SQL_MAX);
    buf_init(&literal, PGB_SQL_MAX);
    buf_init(&ident, PGB_SQL_MAX);
    pg_put_literal(&literal, step->conn, schema);
    pg_put_identifier(&ident, step->conn, schema);
    put_body(&body, buf_str(&literal), buf_str(&ident), step->pgb->settings.lock_wait_ms);
    buf_puts(sql, "DO ");
    if (body.rc != 0 || literal.rc != 0 || ident.rc != 0 ||
        pg_put_literal(sql, step->conn, buf_str(&body)) != 0)
        sql->rc = ERR_NOMEM;
    buf_free(&body);
    buf_free(&literal);
    buf_free(&ident);
}

static const char *step_quoted(struct pgb_step *step, const char *text,
                               int (*put)(struct buf *, struct pg_conn *, const char *))
{
    struct buf quoted;
    const char *kept = NULL;

    buf_init(&quoted, PGB_SQL_MAX);
    if (put(&quoted, step->conn, text) == 0)
        kept = arena_strdup(&step->arena, buf_str(&quoted));
    buf_free(&quoted);
    return kept;
}

const char *step_quote_literal(struct pgb_step *step, const char *text)
{
    return step_quoted(step, text, pg_put_literal);
}

static const char *step_put_path(struct pgb_step *step, const char *ident)
{
    const char *path = arena_printf(&step->arena, "%s, public", ident);

    return path != NULL ? step_quoted(step, path, pg_put_literal) : NULL;
}

int step_make_schema_sql(struct pgb_step *step)
{
    struct buf sql;

    if (!step->new_schema || step->names.create_schema != NULL)
        return 0;
    buf_init(&sql, PGB_SQL_MAX);
    step_put_do(step, &sql, step->step->schema, pgsql_put_create_schema_body);
    if (sql.rc == 0)
        step->names.create_schema = arena_strdup(&step->arena, buf_str(&sql));
    buf_free(&sql);
    return step->names.create_schema != NULL ? 0 : ERR_NOMEM;
}

static const char *step_put_journal(struct pgb_step *step)
{
    struct buf sql;
    const char *kept = NULL;

    buf_init(&sql, PGB_SQL_MAX);
    if (pgb_put_journal(&sql, step->pgb, step->conn) == 0)
        kept = arena_strdup(&step->arena, buf_str(&sql));
    buf_free(&sql);
    return kept;
}

/* What the queries are made of, quoted once by the first connection. */
bool step_make_names(struct pgb_step *step)
{
    const struct migration *migration = step->step->migration;
    struct pgsql_names *names = &step->names;
    const char *ident = step_quoted(step, step->step->schema, pg_put_identifier);

    names->marker = step->marker;
    names->journal_wait_ms = step->pgb->settings.lock_wait_ms;
    names->lock_timeout_ms = migration->lock_timeout_ms >= 0
                                 ? migration->lock_timeout_ms
                                 : (int64_t)step->pgb->settings.lock_timeout_ms;
    names->statement_timeout_ms = migration->statement_timeout_ms;
    names->journal = step_put_journal(step);
    names->schema = step_quoted(step, step->step->schema, pg_put_literal);
    names->ident = ident;
    names->schema_ident = ident != NULL ? step_quoted(step, ident, pg_put_literal) : NULL;
    names->path = ident != NULL ? step_put_path(step, ident) : NULL;
    names->id = step_quoted(step, migration->id, pg_put_literal);
    names->checksum = step_quoted(step, migration->up.checksum, pg_put_literal);
    names->run = step_quoted(step, step->run, pg_put_literal);
    return names->journal != NULL && names->schema != NULL && names->schema_ident != NULL &&
           names->path != NULL && names->id != NULL && names->checksum != NULL &&
           names->run != NULL;
}

void pgb_make_marker_tail(char out[PGB_TAIL_MAX], const char *schema, const char *id)
{
    uint64_t hash = hash_fnv1a(HASH_FNV_START, schema, strlen(schema) + 1);

    hash = hash_fnv1a(hash, id, strlen(id));
    snprintf(out, PGB_TAIL_MAX, " %016llx */", (unsigned long long)hash);
}

void step_set_marker(struct pgb_step *step, const char *run_id)
{
    size_t len = 0;

    for (; run_id[len] != '\0' && len < PGB_RUN_MAX - 1; len++) {
        bool plain = strchr("*/\\'\"", run_id[len]) == NULL && run_id[len] > ' ' &&
                     (unsigned char)run_id[len] < 0x7f;

        step->run[len] = '_';
        if (plain)
            step->run[len] = run_id[len];
    }
    step->run[len] = '\0';
    pgb_make_marker_tail(step->marker_tail, step->step->schema, step->step->migration->id);
    snprintf(step->marker, sizeof(step->marker), "/* bfm %s%s", step->run, step->marker_tail);
}
