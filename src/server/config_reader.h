#ifndef BFM_SERVER_CONFIG_READER_H
#define BFM_SERVER_CONFIG_READER_H

#include "server/config.h"

/*
 * Reading single variables, for the files of config_*. A value that is not what was expected adds
 * an error naming the variable, and the fallback stands in for it. When memory runs out `rc` is set
 * and everything later does nothing that matters.
 */
struct config_reader {
    struct config *config;
    const struct env *env;
    config_read_fn *read;
    int rc;
};

enum {
    CONFIG_NAME_MAX = 256, /* bytes of a variable's name that is put together here */
};

void config_error(struct config_reader *reader, const char *format, ...) PRINTF_LIKE(2, 3);
void config_warn(struct config_reader *reader, const char *format, ...) PRINTF_LIKE(2, 3);

/* Copies into the configuration; NULL stays NULL. */
const char *config_keep(struct config_reader *reader, const char *text);

/* NULL if unset. */
const char *config_raw(struct config_reader *reader, const char *name);
const char *config_text(struct config_reader *reader, const char *name, const char *fallback);
/* The variable or what {name}_FILE names; both is an error. */
const char *config_secret(struct config_reader *reader, const char *name);
/* The same; that it is missing is an error, too. */
const char *config_required_secret(struct config_reader *reader, const char *name,
                                   const char *expected);
uint64_t config_number(struct config_reader *reader, const char *name, uint64_t min, uint64_t max,
                       uint64_t fallback);
/* Bytes: a number, or one with KiB or MiB. */
uint64_t config_bytes(struct config_reader *reader, const char *name, uint64_t min, uint64_t max,
                      uint64_t fallback);
/* Milliseconds of a duration from min_ms to a day. */
uint64_t config_duration(struct config_reader *reader, const char *name, uint64_t min_ms,
                         uint64_t fallback_ms);
/* Milliseconds of a number of days ("90d") or a duration, from a day to 3650 days, or 0. */
uint64_t config_days(struct config_reader *reader, const char *name, uint64_t fallback_days);
/* One of the words, in any case; "true"/"1"/"on"/"yes" and their opposites for a switch. */
bool config_switch(struct config_reader *reader, const char *name, bool fallback);
const char *config_choice(struct config_reader *reader, const char *name, const char *const *words,
                          size_t count, const char *fallback);
/* Only the exact text "true" is true. */
bool config_is_true(struct config_reader *reader, const char *name);
const char *config_port(struct config_reader *reader, const char *name, const char *fallback);

/* Text that is a number between the limits, digits only. */
bool config_parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *out);
/* The text without blanks around it; in the configuration's memory. */
const char *config_trim(struct config_reader *reader, const char *text);

/* Warn about names that are most likely misspelt: those of the server, and what is behind the
 * prefix of a connection; `is_extra` as bfm-api.md §1.1, with `key` in upper case. */
void config_check_names(struct config_reader *reader);
void config_check_key(struct config_reader *reader, const struct config_connection *connection,
                      const struct env_var *var, const char *key, bool is_extra);

/* The name that an extra setting has in the environment, as it may be spelt in any case; "" if it
 * is not given. */
const char *config_extra_variable(const struct config_connection *connection, const char *key);
/* Adds an error unless `schema` (NULL: fine) can be one there. */
void config_check_schema(struct config_reader *reader, const struct config_connection *connection,
                         const char *key, const char *schema);

/* The parts, each in a file of its own. */
void config_read_connections(struct config_reader *reader);
void config_read_target(struct config_reader *reader, struct config_connection *connection);
void config_check_prefixes(struct config_reader *reader);
void config_check_target_files(struct config_reader *reader);
void config_read_auto_migrate(struct config_reader *reader);
void config_read_later(struct config_reader *reader);
void config_read_metrics(struct config_reader *reader);
void config_read_tcp(struct config_reader *reader);
void config_read_tokens(struct config_reader *reader); /* behind BFM_API_TOKEN */
void config_check_tokens_file(struct config_reader *reader);

#endif
