#ifndef BFM_API_OPS_HOW_H
#define BFM_API_OPS_HOW_H

#include "api/ops_run.h"

/* What clients say about how a run is to be run, into struct ops_run_how. All return 0, or
 * ERR_INVALID with the rule that is broken, or ERR_NOMEM. */

/* "continue" with a limit of failures goes on until that is reached. */
int ops_how_read_failures(const char *on_error, bool has_max, size_t max, struct ops_failures *out,
                          struct err *err);

/* NULL if it is an idempotency key, else the rule that it breaks. */
const char *ops_how_check_key(const char *key);
/* Of what makes two requests the same: what is called ("POST /path"), and what is sent. Into the
 * arena. */
int ops_how_make_fingerprint(struct arena *arena, const char *call, const void *body, size_t len,
                             const char **out);

#endif
