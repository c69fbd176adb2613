#ifndef BFM_API_OPENAPI_H
#define BFM_API_OPENAPI_H

#include <stddef.h>

/* openapi.json, embedded at build time (openapi.cmake). */
extern const char openapi_text[];
extern const size_t openapi_len;

#endif
