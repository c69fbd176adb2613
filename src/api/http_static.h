#ifndef BFM_API_HTTP_STATIC_H
#define BFM_API_HTTP_STATIC_H

#include "api/http_call.h"

/*
 * Answers a GET or HEAD outside /api with a file below api->frontend_root, else with its
 * index.html; 404 when there is neither. Files are read off the loop; one that is not really below
 * the root (`..`, links that lead out) is not there.
 */
void static_start(struct api *api, struct http_request *request);

/* The Content-Type for a file name. */
const char *static_type(const char *name);

/* Whether a decoded path has no part that leads upwards or is hidden. */
bool static_path_is_safe(const char *path);

#endif
