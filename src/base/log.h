#ifndef BFM_BASE_LOG_H
#define BFM_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/base.h"

/*
 * Structured log lines:
 *
 *     log_write(LOG_INFO, "migration applied", LOG_STR("schema", schema), LOG_INT("duration_ms",
 * ms));
 *
 * A line is made whole in memory and handed to the sink, which must not block; what cannot be made
 * or taken is counted and dropped. JSON keys: time, level, msg, then the fields. Control characters
 * are escaped in both forms, so that one line is one event. Nothing secret is ever passed in.
 */
enum log_level {
    LOG_DEBUG,
    LOG_INFO,
    LOG_WARN,
    LOG_ERROR,
    LOG_FATAL,
};

enum log_format {
    LOG_JSON,
    LOG_TEXT,
};

struct log_field {
    const char *key;
    const char *text; /* NULL: use number */
    int64_t number;
};

#define LOG_STR(name, value) ((struct log_field){.key = (name), .text = (value)})
#define LOG_INT(name, value) ((struct log_field){.key = (name), .number = (int64_t)(value)})

#define log_write(level, ...) \
    log_write_fields(level, LOG_ARGS(__VA_ARGS__, ((struct log_field){0})))
#define LOG_ARGS(message, ...)                          \
    (message), (const struct log_field[]){__VA_ARGS__}, \
        sizeof((struct log_field[]){__VA_ARGS__}) / sizeof(struct log_field)

/* Fields with a NULL key are passed over. Safe from any thread as long as the sink is. */
void log_write_fields(enum log_level level, const char *message, const struct log_field *fields,
                      size_t count);

bool log_is_on(enum log_level level);
void log_configure(enum log_level level, enum log_format format);
/* Where lines go, newline included; NULL writes them to stdout at once, for programs without a
 * loop. */
void log_set_sink(void (*sink)(void *arg, const char *line, size_t len), void *arg);
uint64_t log_dropped(void);

/* DEBUG, INFO, WARN or WARNING, ERROR, FATAL in any case; anything else is LOG_INFO. */
enum log_level log_parse_level(const char *text);

#endif
