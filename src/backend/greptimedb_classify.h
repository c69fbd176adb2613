#ifndef BFM_BACKEND_GREPTIMEDB_CLASSIFY_H
#define BFM_BACKEND_GREPTIMEDB_CLASSIFY_H

#include <stdbool.h>

/* What an answer of GreptimeDB, or the lack of one, means for a statement. Pure. */
enum gtdb_verdict {
    GTDB_WORKED,
    GTDB_REFUSED, /* it had no effect, and would not have one the next time */
    GTDB_BUSY,    /* it had no effect; the next time it may */
    GTDB_UNKNOWN, /* it may have had its effect, or may have it yet */
};

struct gtdb_code {
    int code;
    const char *name; /* as GreptimeDB names it */
    enum gtdb_verdict verdict;
};

enum {
    GTDB_TABLE_EXISTS = 4000,
    GTDB_NO_DATABASE = 4004, /* the `db` of the request: nothing of it ran */
    GTDB_NOT_PERMITTED = 7006,
};

/* NULL for a code that is not known. */
const struct gtdb_code *gtdb_find_code(int code);
/* Of an answer with a code, known or not. */
enum gtdb_verdict gtdb_judge_code(int code, int status);
/* Of an answer that is not GreptimeDB's JSON. */
enum gtdb_verdict gtdb_judge_status(int status);
/* What such a status says, for people. Never NULL. */
const char *gtdb_status_text(int status);
/* Whether the code is about who asks; its text names the user. */
bool gtdb_code_is_about_user(int code);

#endif
