#ifndef BFM_STORE_POSTGRESQL_ADOPT_H
#define BFM_STORE_POSTGRESQL_ADOPT_H

#include "store/postgresql_private.h"

/*
 * Takes over the tables of the two older layouts (bfm-api.md §7) in one transaction: whoever stops
 * in between leaves them as they were, and of several servers one does it. Old tables are kept
 * under other names; of what is in them nothing is lost, and what is not understood is tried again
 * with the next registry. Does nothing where there are none. Part of a sync, because IDs are
 * compared with those of the registry; nothing else runs on the store meanwhile.
 *
 * ERR_STORE, ERR_NOMEM. `registry` is borrowed until the op is done.
 */
int pgstore_adopt_start(struct store_pg *pg, const struct registry *registry, struct op *op);

/* postgresql_adopt_sql.c */
extern const char pgadopt_inspect[];
extern const char pgadopt_make_ids[];
extern const char pgadopt_move_second[], pgadopt_relink_second[], pgadopt_fill_second[];
extern const char pgadopt_move_first[], pgadopt_fill_first[];
extern const char pgadopt_schemas[];
extern const char pgadopt_page[]; /* $1: behind this number; $2: at most so many */
extern const char pgadopt_save[]; /* $1: rows as a JSON array */
extern const char pgadopt_import_list[], pgadopt_import_second[];
extern const char pgadopt_judge_second[], pgadopt_insert_second[]; /* one statement */
extern const char pgadopt_import_first[], pgadopt_finish[];
extern const char pgadopt_unknown[];

#endif
