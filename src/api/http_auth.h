#ifndef BFM_API_HTTP_AUTH_H
#define BFM_API_HTTP_AUTH_H

#include <stdbool.h>

/* Headers of a request, however it came in: NULL for one that is absent. */
typedef const char *http_header_fn(const void *arg, const char *name);

/* NULL if the value of an Authorization header (NULL: absent) carries the token, else the text of
 * the 401 answer. */
const char *auth_check(const char *header, const char *token);

/* Whether the request comes from the dashboard or a browser rather than from a program. */
bool auth_is_dashboard(http_header_fn *header, const void *arg);

#endif
