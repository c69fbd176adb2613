#ifndef BFM_MODEL_TEMPLATE_H
#define BFM_MODEL_TEMPLATE_H

#include "base/buf.h"
#include "base/err.h"
#include "model/migration.h"

struct template_values {
    const char *connection;
    const char *schema;
    const char *backend;
    const char *version;
};

/*
 * Appends the script with its variables replaced. Refused with ERR_INVALID where a value cannot
 * stand in its place (a schema that needs quotes inside a longer word), with the line.
 */
int template_render(const struct script *script, const struct template_values *values,
                    struct buf *out, struct err *err);

/* The same for the bytes [start, end) of the script. */
int template_render_span(const struct script *script, size_t start, size_t end,
                         const struct template_values *values, struct buf *out, struct err *err);

/* The same for one statement of the script. */
int template_render_statement(const struct script *script, const struct sql_statement *statement,
                              const struct template_values *values, struct buf *out,
                              struct err *err);

#endif
