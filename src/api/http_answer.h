#ifndef BFM_API_HTTP_ANSWER_H
#define BFM_API_HTTP_ANSWER_H

#include "api/ops_run.h"
#include "base/buf.h"
#include "base/err.h"
#include "http/http.h"

#define ANSWER_JSON "application/json; charset=utf-8"

/* The one place where failures become HTTP statuses. */
int answer_status(const struct err *err);
int answer_run_status(const struct ops_run *run);

/* The header that goes with a 503. (Connection: close of a stopping server is the HTTP layer's.) */
void answer_add_retry(struct http_request *request);

/* {"error":"text"}. The request must not be touched after any of these. */
void answer_error(struct http_request *request, int status, const char *text);
void answer_err(struct http_request *request, const struct err *err);
/* 503, whatever the code is: what ops_check() found. */
void answer_unavailable(struct http_request *request, const struct err *err);
/* For when Content-Type was added already; needs no memory. */
void answer_nomem(struct http_request *request);

#endif
