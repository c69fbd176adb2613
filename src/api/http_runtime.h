#ifndef BFM_API_HTTP_RUNTIME_H
#define BFM_API_HTTP_RUNTIME_H

#include "api/api.h"

/* Answers /runtime-config.js: what a dashboard build learns about its server (bfm-api.md §9). */
void runtime_answer(const struct api_config *config, struct http_request *request);

#endif
