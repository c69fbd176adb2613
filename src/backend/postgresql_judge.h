#ifndef BFM_BACKEND_POSTGRESQL_JUDGE_H
#define BFM_BACKEND_POSTGRESQL_JUDGE_H

#include "backend/postgresql_sql.h"
#include "driver/pg.h"
#include "model/migration.h"
#include "model/template.h"

/* What became of a query, read from its results. */
struct pgb_answer {
    int rc;                 /* what pg_query() ended with */
    bool committed;         /* COMMIT said COMMIT: a fact, whatever came behind it */
    const PGresult *failed; /* NULL: the server refused nothing */
    size_t failed_at;       /* statement of the query, from 0 */
    char sqlstate[6];
    bool journal_key; /* a unique violation of the journal's key */
};

void pgb_answer_read(struct pgb_answer *answer, const struct pg_results *results, int rc,
                     const char *journal_schema);

enum pgb_verdict {
    PGB_APPLIED,    /* committed */
    PGB_ALREADY,    /* the journal has the row, or on a down has none */
    PGB_NO_JOURNAL, /* the journal's table is missing */
    PGB_NO_SCHEMA,  /* the effective schema is missing, or may not be used */
    PGB_RACE,       /* somebody created the same thing: try again at once */
    PGB_RETRY,      /* nothing happened, and a later try may work */
    PGB_UNKNOWN,    /* the connection was lost: it may have happened */
    PGB_REFUSED,    /* nothing happened, and trying again is of no use */
};

/* `script_count`: statements of the script. */
enum pgb_verdict pgb_judge_step(const struct pgb_answer *answer, const struct pgsql_layout *layout,
                                size_t script_count);

/* Whether a failure with this SQLSTATE may pass by itself. */
bool pgb_may_pass(const char *sqlstate);
/* Whether making a schema or table failed as somebody else made it at the same time: by then it is
 * there. A table's row type is what they may meet at first. */
bool pgb_was_made_meanwhile(const char *sqlstate);

/* What to do about a role that may not create a schema. */
#define PGB_MAKE_SCHEMA_HINT \
    "grant the connection's role CREATE on the database, or make the schema, owned by that role"

/* What an error's place is worked out from. */
struct pgb_source {
    const struct script *script;
    const struct template_values *values;
    const char *sql; /* the query as sent */
    const struct pgsql_layout *layout;
    size_t statement_first;      /* index of the script's statement at layout->script_at */
    size_t statement_count;      /* statements of the script in the query */
    size_t text_start, text_end; /* part of the script that is in the query */
};

/*
 * The database's error, as "ERROR: ... (SQLSTATE 42P01, statement 2, file.sql:7) DETAIL: ...". What
 * failed outside of the script is named by `what` ("writing the journal"). Returns `code`.
 */
int pgb_error_of(const struct pgb_answer *answer, const struct pgb_source *source, int code,
                 struct err *err);

/* Bytes of `text` that its first `chars` characters take; at most its length. */
size_t pgb_chars_to_bytes(const char *text, size_t chars);

/* The offset in the script of an offset in its rendered text; both count from the part's start. */
size_t pgb_unrender(const struct script *script, const struct template_values *values, size_t start,
                    size_t end, size_t offset);

#endif
