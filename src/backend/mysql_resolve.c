/* What a person decided about a statement in doubt. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/mysql_private.h"
#include "base/mem.h"
#include "model/prefix.h"

enum {
    RESOLVE_LOST_S = 10, /* how long a session whose connection was lost may keep the lock */
};

/* Two queries on one session, which has the step's lock: a look, then the row's new place. When the
 * connection is lost behind the second, another look says whether it has that place. */
struct myb_resolving {
    struct backend_decision *decision;
    struct arena arena;
    struct mysql_names names;
    struct mysql_place from, to;
    bool removes;       /* the row goes away instead */
    const char *prefix; /* literal: of what is done, as it was decided */
    char run[MYB_RUN_MAX];
    bool writes;  /* the second query is under way */
    bool written; /* it was sent once */
    bool again;   /* on a second connection */
};

void myb_resolving_free(struct myb_resolving *resolving)
{
    if (resolving == NULL)
        return;
    arena_free(&resolving->arena);
    mem_free(resolving);
}

static const struct script *resolve_script(const struct backend_decision *decision)
{
    return decision->undo ? &decision->migration->down : &decision->migration->up;
}

static int resolve_put_look(struct myb_read *read)
{
    struct myb_resolving *resolving = read->resolving;

    read->soiled = true; /* until the lock is given back */
    mysql_put_lock(&read->sql, resolving->names.lock, resolving->written ? RESOLVE_LOST_S : 0);
    buf_putc(&read->sql, ';');
    mysql_put_look(&read->sql, &resolving->names);
    return 0;
}

/* Behind the statement, or in front of it; whole when it was the last, or nothing is left of it. */
static void resolve_set_goal(struct myb_resolving *resolving)
{
    const struct backend_decision *decision = resolving->decision;
    size_t done = decision->applied ? decision->statement : decision->statement - 1;
    bool whole = done == (decision->applied ? decision->statements : 0);

    resolving->to = (struct mysql_place){.kind = decision->undo ? "undo done" : "done",
                                         .run = resolving->from.run,
                                         .statement = done,
                                         .checksum = resolving->prefix};
    if (whole && decision->applied == !decision->undo) {
        resolving->to.kind = "up";
        resolving->to.checksum = NULL;
    }
    resolving->removes = whole && decision->applied == decision->undo;
}

static void resolve_put_write(struct myb_read *read)
{
    struct myb_resolving *resolving = read->resolving;

    resolving->written = true;
    if (resolving->removes)
        mysql_put_remove(&read->sql, &resolving->names, &resolving->from);
    else
        mysql_put_move(&read->sql, &resolving->names, &resolving->from, &resolving->to);
    buf_putc(&read->sql, ';');
    mysql_put_unlock(&read->sql, resolving->names.lock);
}

static int resolve_put(struct myb_read *read)
{
    struct myb_resolving *resolving = read->resolving;

    if (read->again && !resolving->again)
        resolving->writes = false;
    resolving->again = read->again;
    if (!resolving->writes)
        return resolve_put_look(read);
    resolve_put_write(read);
    return 0;
}

static bool resolve_has_lock(const struct maria_results *results)
{
    const char *got =
        results->results[0].rows == 1 ? maria_value(&results->results[0], 0, 0, NULL) : NULL;

    return got != NULL && strcmp(got, "1") == 0;
}

static const char *resolve_text(const struct maria_result *row, enum mysql_column column)
{
    const char *text = maria_value(row, 0, column, NULL);

    return text != NULL ? text : "";
}

/* The statement, and those in front of it, are in the script as they were. Rows were written before
 * with the up script's checksum, whichever script was at work. */
static int resolve_compare(struct myb_read *read, const char *checksum)
{
    const struct backend_decision *decision = read->resolving->decision;
    const struct script *script = resolve_script(decision);
    size_t count = decision->statement;
    bool same = strcmp(checksum, decision->migration->up.checksum) == 0 && count > 0 &&
                count <= script->statement_count;
    int rc = 0;

    if (!same && count > 0)
        rc = script_prefix_compare(script, count, checksum, &same);
    if (rc != 0)
        return err_set(&read->work.err, rc, "%s", err_code_text(rc));
    if (!same)
        return script_prefix_refuse(&read->work.err, ERR_CONFLICT, script, count, "started");
    return 0;
}

static int resolve_make_prefix(struct myb_resolving *resolving)
{
    const struct backend_decision *decision = resolving->decision;
    size_t done = decision->applied ? decision->statement : decision->statement - 1;
    char checksum[HASH_SHA256_HEX];
    int rc = script_prefix_checksum(resolve_script(decision), done, checksum);

    if (rc != 0)
        return rc;
    resolving->prefix = myb_literal(&resolving->arena, checksum);
    return resolving->prefix != NULL ? 0 : ERR_NOMEM;
}

/* The row says what is in doubt. */
static int resolve_read_row(struct myb_read *read, const struct maria_result *row)
{
    struct myb_resolving *resolving = read->resolving;
    struct backend_decision *decision = resolving->decision;
    const char *kind = row->rows == 1 ? resolve_text(row, MYSQL_COLUMN_KIND) : "";
    const struct script *script;
    int rc;

    if (strcmp(kind, "started") != 0 && strcmp(kind, "undo started") != 0)
        return err_set(&read->work.err, ERR_NOT_FOUND,
                       "no statement of this migration is in doubt in that schema");
    decision->undo = kind[0] == 'u';
    script = resolve_script(decision);
    decision->statement = (unsigned)strtoul(resolve_text(row, MYSQL_COLUMN_STATEMENT), NULL, 10);
    decision->statements = (unsigned)script->statement_count;
    memcpy(decision->checksum, script->checksum, sizeof(decision->checksum));
    rc = resolve_compare(read, resolve_text(row, MYSQL_COLUMN_CHECKSUM));
    if (rc == 0)
        rc = resolve_make_prefix(resolving);
    if (rc != 0)
        return rc;
    decision->complete = decision->applied && decision->statement == decision->statements;
    snprintf(resolving->run, sizeof(resolving->run), "%s", resolve_text(row, MYSQL_COLUMN_RUN));
    resolving->from = (struct mysql_place){.kind = decision->undo ? "undo started" : "started",
                                           .statement = decision->statement,
                                           .run = myb_literal(&resolving->arena, resolving->run)};
    resolve_set_goal(resolving);
    return resolving->from.run != NULL ? 0 : ERR_NOMEM;
}

/* The row, as it is now, is what an earlier try wanted it to be. */
static bool resolve_is_over(const struct myb_resolving *resolving, const struct maria_result *row)
{
    const struct mysql_place *to = &resolving->to;

    if (!resolving->written)
        return false;
    if (row->rows != 1 || resolving->removes)
        return row->rows == 0 && resolving->removes;
    return strcmp(resolve_text(row, MYSQL_COLUMN_KIND), to->kind) == 0 &&
           strcmp(resolve_text(row, MYSQL_COLUMN_RUN), resolving->run) == 0 &&
           (strcmp(to->kind, "up") == 0 ||
            strtoul(resolve_text(row, MYSQL_COLUMN_STATEMENT), NULL, 10) == to->statement);
}

static int resolve_take(struct myb_read *read, const struct maria_result *result)
{
    struct myb_resolving *resolving = read->resolving;
    int rc;

    if (resolving->writes) {
        if (read->results.results[0].affected != 1)
            return err_set(&read->work.err, ERR_CONFLICT, "the journal was changed meanwhile");
        read->soiled = false;
        return 0;
    }
    if (!resolve_has_lock(&read->results))
        return err_set(&read->work.err, ERR_LOCKED, "migration is already being executed");
    if (resolve_is_over(resolving, result))
        return 0;
    rc = resolve_read_row(read, result);
    if (rc != 0)
        return rc;
    resolving->writes = true;
    return 1;
}

int myb_resolving_judge(struct myb_read *read, int rc)
{
    struct myb_resolving *resolving = read->resolving;
    const struct maria_results *results = &read->results;

    if (!resolving->written || rc == ERR_NOT_FOUND || rc == ERR_CONFLICT)
        return rc;
    if (resolving->writes && results->count > 0 && results->results[0].affected == 1)
        return 0; /* only the lock was not given back, which goes with the session */
    if (resolving->writes && results->count == 0 && results->error != 0)
        return rc;
    resolving->decision->unknown = true;
    if (read->work.err.code == 0)
        err_set(&read->work.err, rc, "%s", err_code_text(rc));
    err_prefix(&read->work.err, "whether the decision was recorded is not known, ask again");
    return rc;
}

static int resolve_make_names(struct myb_read *read, struct myb_resolving *resolving)
{
    const struct backend_decision *decision = resolving->decision;
    struct mysql_names *names = &resolving->names;
    struct arena *arena = &resolving->arena;

    names->journal = read->myb->journal;
    names->schema = myb_literal(arena, decision->schema);
    names->checksum = myb_literal(arena, decision->migration->up.checksum);
    names->id = myb_literal(arena, decision->migration->id);
    names->lock = myb_lock_name(arena, read->myb, decision->schema, decision->migration->id);
    return names->schema != NULL && names->checksum != NULL && names->id != NULL &&
                   names->lock != NULL
               ? 0
               : ERR_NOMEM;
}

int myb_resolve(struct backend *backend, struct op *op, struct backend_decision *decision)
{
    struct myb_read *read = myb_read_create(backend, op);
    struct myb_resolving *resolving;

    if (read == NULL)
        return ERR_NOMEM;
    resolving = mem_calloc(1, sizeof(*resolving));
    if (resolving == NULL) {
        mem_free(read);
        return op_refuse(op, ERR_NOMEM, "out of memory");
    }
    read->resolving = resolving;
    resolving->decision = decision;
    arena_init(&resolving->arena);
    if (resolve_make_names(read, resolving) != 0) {
        myb_resolving_free(resolving);
        mem_free(read);
        return op_refuse(op, ERR_NOMEM, "out of memory");
    }
    read->put = resolve_put;
    read->take = resolve_take;
    return myb_read_start(read);
}
