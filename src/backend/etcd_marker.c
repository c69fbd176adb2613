#include "backend/etcd_marker.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "base/json.h"

static const char *const kind_name[] = {
    [ETCDB_UP] = "up",
    [ETCDB_UP_PART] = "up-part",
    [ETCDB_DOWN_PART] = "down-part",
    [ETCDB_UNDO_PART] = "undo-part",
    [ETCDB_UNDONE] = "undone",
};

bool etcdb_marker_is_applied(const struct etcdb_marker *marker)
{
    return marker->kind != ETCDB_UP_PART && marker->kind != ETCDB_UNDONE;
}

/* What only a script that is at work needs to know. */
static void put_part(struct buf *out, const struct etcdb_marker *marker)
{
    buf_printf(out, ",\"done\":%zu", marker->done);
    json_put_member(out, "script", marker->script);
    json_put_member(out, "plan", marker->plan);
}

static void put_applied(struct buf *out, const struct etcdb_marker *marker)
{
    buf_printf(out, ",\"applied_at_us\":%" PRId64 ",\"operations\":%zu", marker->applied_at_us,
               marker->operations);
    if (marker->kept)
        buf_printf(out, ",\"records\":%zu", marker->records);
    if (marker->kind != ETCDB_UP)
        put_part(out, marker);
}

int etcdb_marker_put(struct buf *out, const struct etcdb_marker *marker)
{
    buf_putc(out, '{');
    json_put_member(out, "kind", kind_name[marker->kind]);
    json_put_member(out, "checksum", marker->checksum);
    json_put_member(out, "run_id", marker->run_id);
    json_put_member(out, "attempt", marker->attempt);
    if (marker->undid[0] != '\0')
        json_put_member(out, "undid", marker->undid);
    if (marker->kind != ETCDB_UNDONE)
        put_applied(out, marker);
    return buf_putc(out, '}');
}

/* An absent member is the empty text. */
static bool take_text(const cJSON *root, const char *name, char *out, size_t size)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(root, name);

    if (item == NULL)
        return true;
    if (!cJSON_IsString(item) || strlen(item->valuestring) >= size)
        return false;
    memcpy(out, item->valuestring, strlen(item->valuestring) + 1);
    return true;
}

/* An absent member is 0. */
static bool take_number(const cJSON *root, const char *name, int64_t *out)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(root, name);

    *out = 0;
    if (item == NULL)
        return true;
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0 && item->valuedouble < 9e15))
        return false;
    *out = (int64_t)item->valuedouble;
    return true;
}

static bool take_kind(const cJSON *root, enum etcdb_kind *out)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(root, "kind");

    for (size_t i = 0; i < ARRAY_SIZE(kind_name); i++) {
        if (cJSON_IsString(item) && strcmp(item->valuestring, kind_name[i]) == 0) {
            *out = (enum etcdb_kind)i;
            return true;
        }
    }
    return false;
}

static bool take_all(const cJSON *root, struct etcdb_marker *out)
{
    int64_t operations, records, done;

    if (!cJSON_IsObject(root) || !take_kind(root, &out->kind) ||
        !take_text(root, "checksum", out->checksum, sizeof(out->checksum)) ||
        !take_text(root, "run_id", out->run_id, sizeof(out->run_id)) ||
        !take_text(root, "attempt", out->attempt, sizeof(out->attempt)) ||
        !take_text(root, "undid", out->undid, sizeof(out->undid)) ||
        !take_text(root, "script", out->script, sizeof(out->script)) ||
        !take_text(root, "plan", out->plan, sizeof(out->plan)) ||
        !take_number(root, "applied_at_us", &out->applied_at_us) ||
        !take_number(root, "operations", &operations) || !take_number(root, "records", &records) ||
        !take_number(root, "done", &done))
        return false;
    out->operations = (size_t)operations;
    out->records = (size_t)records;
    out->done = (size_t)done;
    out->kept = cJSON_GetObjectItemCaseSensitive(root, "records") != NULL;
    return out->done <= out->operations && out->checksum[0] != '\0';
}

int etcdb_marker_read(const char *text, size_t len, struct etcdb_marker *out, struct err *err)
{
    cJSON *root;
    int rc = json_parse(text, len, &root, err);

    *out = (struct etcdb_marker){.kind = ETCDB_UP};
    if (rc == ERR_NOMEM)
        return rc;
    if (rc != 0 || !take_all(root, out))
        rc = err_set(err, ERR_INVALID,
                     "the key of this migration in the journal has a value that this version does "
                     "not know");
    cJSON_Delete(root);
    return rc;
}
