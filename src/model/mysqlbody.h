#ifndef BFM_MODEL_MYSQLBODY_H
#define BFM_MODEL_MYSQLBODY_H

#include "model/sqlscan.h"

/*
 * Where statements of MySQL and MariaDB end: semicolons in the bodies of procedures, functions,
 * triggers and events, and of MariaDB's BEGIN NOT ATOMIC, do not end them. The walk along the
 * tokens keeps the blocks that are open; BEGIN, END, IF and the like are words of a block only
 * where a statement of the body can begin, as all of them can be names or functions elsewhere.
 */
enum {
    MYSQL_BODY_DEPTH = 64, /* blocks within each other; more cannot be told apart */
};

enum mysql_block {
    MYSQL_BLOCK_BEGIN,
    MYSQL_BLOCK_IF,
    MYSQL_BLOCK_CASE, /* the statement */
    MYSQL_BLOCK_LOOP,
    MYSQL_BLOCK_DO_HEAD, /* WHILE or FOR, in front of DO */
    MYSQL_BLOCK_DO,
    MYSQL_BLOCK_REPEAT,
    MYSQL_BLOCK_UNTIL,     /* REPEAT, behind UNTIL */
    MYSQL_BLOCK_CASE_EXPR, /* the expression */
};

struct mysql_body {
    const struct sql_scan *scan;
    const char *text;
    int phase;      /* private, as all below */
    size_t parens;  /* open parentheses */
    bool start;     /* a statement of the body may begin here */
    bool is_label;  /* the last token was the name in front of a colon */
    bool after_end; /* of a block that is not BEGIN: its word comes */
    bool declares;
    int handler;
    unsigned lead; /* words of the statement so far, in its first phase */
    struct sql_token previous;
    size_t depth;
    unsigned char blocks[MYSQL_BODY_DEPTH];
    uint32_t opened[MYSQL_BODY_DEPTH]; /* tokens */
    bool in_code;                      /* inside of an executable comment */
    /* of the statement that just ended, or of the text's end */
    bool open_end;   /* blocks were open: opened[0] says which */
    bool too_deep;   /* more than MYSQL_BODY_DEPTH */
    bool code_break; /* a semicolon stood inside of an executable comment */
    uint32_t code_break_at;
};

void mysql_body_init(struct mysql_body *body, const struct sql_scan *scan, const char *text);
/* Begins a new statement. */
void mysql_body_begin(struct mysql_body *body);
/* Goes on to token `n`, in order. True: it is a semicolon that ends the statement. */
bool mysql_body_ends(struct mysql_body *body, size_t n);

#endif
