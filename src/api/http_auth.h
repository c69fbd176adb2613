#ifndef BFM_API_HTTP_AUTH_H
#define BFM_API_HTTP_AUTH_H

#include <stdbool.h>

#include "api/tokens.h"

/* Headers of a request, however it came in: NULL for one that is absent. */
typedef const char *http_header_fn(const void *arg, const char *name);

/* The grant of the token in an Authorization header (NULL: absent), with a reference, or NULL with
 * the text of the 401 answer in *why. */
const struct grant *auth_find_grant(const struct tokens *tokens, const char *header,
                                    const char **why);

/* Whether the request comes from the dashboard or a browser rather than from a program. */
bool auth_is_dashboard(http_header_fn *header, const void *arg);

#endif
