/* What is known of a step before etcd is asked: names, operations, and whether it will do. */
#include <stdio.h>

#include "backend/etcd_step.h"
#include "model/ids.h"
#include "model/jsonscript.h"

enum {
    PREPARE_INLINE = 64 * 1024, /* longer scripts are rendered off the loop */
};

/* Copies what was built, and empties it for the next. */
static struct slice prepare_text(struct etcdb_step *step, struct buf *text)
{
    struct slice copy = {.at = NULL, .len = text->len};

    if (text->rc == 0)
        copy.at = arena_strndup(&step->arena, buf_str(text), text->len);
    buf_truncate(text, 0);
    return copy;
}

static int prepare_names(struct etcdb_step *step)
{
    const struct etcdb *db = step->db;
    const char *schema = step->step->schema, *id = step->step->migration->id;
    struct slice path;
    struct buf text;

    buf_init(&text, ETCDB_BODY_MAX);
    etcdb_put_path(&text, db->prefix, schema, step->step->migration->table);
    path = prepare_text(step, &text);
    etcdb_put_marker_key(&text, db->reserved, schema, id);
    step->marker_key = prepare_text(step, &text);
    etcdb_put_undo_prefix(&text, db->reserved, schema, id);
    step->undo_start = prepare_text(step, &text);
    if (step->undo_start.at != NULL)
        etcd_put_range_end(&text, step->undo_start.at, step->undo_start.len);
    step->undo_end = prepare_text(step, &text);
    buf_free(&text);
    if (path.at == NULL || step->marker_key.at == NULL || step->undo_start.at == NULL ||
        step->undo_end.at == NULL)
        return ERR_NOMEM;
    step->path = path.at;
    step->path_len = path.len;
    return 0;
}

static int prepare_refuse_at(struct etcdb_step *step, int code, const struct etcd_operation *one,
                             const char *why)
{
    err_set(&step->err, code, "operation %u of %zu: %s", one->number, step->operations.given, why);
    step->err.statement = one->number;
    step->err.line = one->line;
    return code;
}

/* Journals of other connections may be on the same cluster. */
static int prepare_check_reserved(struct etcdb_step *step)
{
    const struct etcdb *db = step->db;
    char why[400];

    for (size_t i = 0; i < db->guarded_count; i++) {
        const struct etcd_operation *bad =
            etcdb_find_reserved(&step->operations, step->path, db->guarded[i]);

        if (bad == NULL)
            continue;
        snprintf(why, sizeof(why),
                 "it touches keys that begin with \"%.200s\", where BfM keeps its journal",
                 db->guarded[i]);
        return prepare_refuse_at(step, ERR_INVALID, bad, why);
    }
    return 0;
}

/* What can be said without asking etcd. */
int etcdb_step_check(struct etcdb_step *step)
{
    const struct etcdb *db = step->db;
    int rc = prepare_check_reserved(step);
    char why[400];

    if (rc != 0)
        return rc;
    for (size_t i = 0; i < step->operations.count; i++) {
        const struct etcd_operation *one = &step->operations.items[i];
        size_t size = etcdb_size_of(one, step->path_len) + etcdb_step_own_bytes(step);

        if (size <= db->max_request)
            continue;
        snprintf(why, sizeof(why),
                 "the request is too large: with the journal's entry it has %zu bytes, and etcd "
                 "takes %zu in one (--max-request-bytes; here the connection's MAX_REQUEST_BYTES)",
                 size, db->max_request);
        return prepare_refuse_at(step, ERR_LIMIT, one, why);
    }
    return 0;
}

bool etcdb_step_is_large(const struct etcdb_step *step)
{
    return step->script != NULL && step->script->len > PREPARE_INLINE;
}

int etcdb_step_render(void *arg, struct err *err)
{
    struct etcdb_step *step = arg;
    const struct migration *migration = step->step->migration;
    const struct template_values values = {.connection = migration->connection,
                                           .schema = step->step->schema,
                                           .backend = backend_kind_name(migration->backend),
                                           .version = migration->version};
    int rc = 0;

    if (step->script != NULL)
        rc = json_script_render(step->script, &values, &step->arena, &step->operations, err);
    if (rc != 0)
        return rc;
    step->take = step->operations.count;
    etcdb_plan_of(&step->operations, step->path, step->plan);
    return 0;
}

int etcdb_step_prepare(struct etcdb_step *step)
{
    int rc = ids_check_schema(step->step->schema, BACKEND_ETCD, &step->err);

    if (rc != 0)
        return rc;
    if (prepare_names(step) != 0)
        return err_set(&step->err, ERR_NOMEM, "out of memory");
    if (etcdb_step_is_large(step))
        return 0;
    rc = etcdb_step_render(step, &step->err);
    return rc != 0 ? rc : etcdb_step_check(step);
}
