#ifndef BFM_BACKEND_ETCD_KEYS_H
#define BFM_BACKEND_ETCD_KEYS_H

#include "base/buf.h"
#include "model/etcdscript.h"

/*
 * Where things are in the key space. Keys of scripts are below the prefix of the connection, or
 * below an absolute schema; what BfM keeps is below the reserved prefix beside it: that of "/app/"
 * is "/app.bfm/", that of "/" is ".bfm/".
 *
 *     {reserved}journal/{schema} NUL {migration id}                the marker
 *     {reserved}undo/{schema} NUL {migration id} NUL {number}      previous values
 *
 * No schema and no ID has a NUL, so markers are ordered by (schema, ID), bytewise.
 */

enum {
    ETCDB_KEY_SHOWN = 200, /* bytes of a key in an error or a log line */
};

/* Each appends and gives 0 or ERR_NOMEM. */
int etcdb_put_reserved(struct buf *out, const char *prefix);
/* What stands in front of the keys of a schema, or of a table if it is not ""; ends in '/'. */
int etcdb_put_path(struct buf *out, const char *prefix, const char *schema, const char *table);
int etcdb_put_journal(struct buf *out, const char *reserved);
int etcdb_put_marker_key(struct buf *out, const char *reserved, const char *schema, const char *id);
/* What stands in front of the number of every record. */
int etcdb_put_undo_prefix(struct buf *out, const char *reserved, const char *schema,
                          const char *id);
int etcdb_put_undo_key(struct buf *out, const char *reserved, const char *schema, const char *id,
                       size_t number);

/* Schema and ID of a marker's key, pointing into it. False: it is none. */
bool etcdb_read_marker_key(const char *reserved, struct slice key, struct slice *schema,
                           struct slice *id);

/* A key as people can read it, cut where there is no more room. */
void etcdb_show_key(struct slice key, char *out, size_t size);

/* The first operation that would touch a key that begins with `reserved`, with `path` in front of
 * its own; NULL: none does. */
const struct etcd_operation *etcdb_find_reserved(const struct etcd_operations *operations,
                                                 const char *path, const char *reserved);

#endif
