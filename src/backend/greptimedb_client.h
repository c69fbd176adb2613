#ifndef BFM_BACKEND_GREPTIMEDB_CLIENT_H
#define BFM_BACKEND_GREPTIMEDB_CLIENT_H

#include "backend/greptimedb_classify.h"
#include "driver/curl.h"

/* One statement by POST /v1/sql. Embedded in whoever waits for it, and used for one after the
 * other. */
struct gtdb_call {
    struct buf path, form; /* private, as all below */
    char timeout[48];
    const char *headers[2];
    struct curl_request request;
    struct curl_answer answer;
};

void gtdb_call_init(struct gtdb_call *call);
void gtdb_call_free(struct gtdb_call *call);

struct gtdb_question {
    const char *database;
    const char *sql;
    size_t len;
    uint64_t timeout_ms; /* 0: none */
    bool brief;          /* rows of the answer do not matter */
};

/* As curl_start(). `question` is needed for the call only; judge the answer when done. */
int gtdb_call_start(struct gtdb_call *call, struct curl_peer *peer, struct op *op,
                    const struct gtdb_question *question);

/* What became of it. */
struct gtdb_result {
    enum gtdb_verdict verdict;
    int code;         /* of GreptimeDB; 0: none */
    bool unreachable; /* nobody was there to take it */
    struct err err;   /* unless it worked */
};

/* `rc` and `why`: what the op ended with, or what the start returned. */
void gtdb_call_judge(const struct gtdb_call *call, int rc, const struct err *why,
                     struct gtdb_result *out);

/* Whether a row of the answer, which worked, begins with this text. 1, 0, or ERR_NOMEM. */
int gtdb_call_find(const struct gtdb_call *call, const char *text);

#endif
