/* A down without a script: the values from before are put back, if nobody has changed them since.
 */
#include <stdio.h>
#include <string.h>

#include "backend/etcd_step.h"

static void undo_put_record_key(const struct etcdb_step *step, struct buf *out, size_t number)
{
    etcdb_put_undo_key(out, step->db->reserved, step->step->schema, step->step->migration->id,
                       number);
}

void etcdb_undo_put_look(struct etcdb_step *step)
{
    const struct slice none = {.len = 0};
    struct buf key;

    if (!step->record_known) {
        etcdb_txn_range_last(&step->txn, step->undo_start, step->undo_end);
        return;
    }
    buf_init(&key, ETCDB_BODY_MAX);
    undo_put_record_key(step, &key, step->record_at);
    if (key.rc != 0 && step->txn.body.rc == 0)
        step->txn.body.rc = key.rc;
    etcdb_txn_range(&step->txn, "", (struct slice){.at = buf_str(&key), .len = key.len}, none, 0,
                    false);
    buf_free(&key);
}

/* The record that was looked at, into step->record. */
static int undo_read_record(struct etcdb_step *step, const cJSON *body)
{
    const cJSON *item = etcdb_range_first(etcdb_answer_range(body, 1));
    struct etcdb_kv kv = {.mod = 0};
    struct buf key;
    bool is_it;
    int rc = item != NULL ? etcdb_kv_read(item, &step->seen_arena, &kv) : 0;

    if (rc != 0)
        return err_set(&step->err, rc, "%s",
                       rc == ERR_NOMEM ? "out of memory" : "etcd gave a malformed key");
    buf_init(&key, ETCDB_BODY_MAX);
    undo_put_record_key(step, &key, step->record_at);
    is_it = item != NULL && kv.key.len == key.len && memcmp(kv.key.at, buf_str(&key), key.len) == 0;
    rc = key.rc;
    buf_free(&key);
    if (rc != 0)
        return err_set(&step->err, rc, "out of memory");
    if (!is_it)
        return err_set(
            &step->err, ERR_CONFLICT,
            "the values from before this migration, which were kept below \"%.200sundo/\", "
            "are not there any more; nothing was changed. Give it a down script",
            step->db->reserved);
    rc = etcdb_record_read(kv.value, &step->seen_arena, &step->record, &step->err);
    return rc == ERR_INVALID ? (step->err.code = ERR_DB) : rc;
}

/* --- putting back --- */

static void undo_put_entries(struct etcdb_step *step)
{
    const struct slice none = {.len = 0};

    for (size_t i = 0; i < step->record.count; i++) {
        const struct etcdb_entry *entry = &step->record.entries[i];

        if (entry->was)
            etcdb_txn_put(&step->txn, "", entry->key, entry->before);
        else
            etcdb_txn_delete(&step->txn, "", entry->key, none);
    }
}

/* `now`: the keys as they are, in the order of the record; a revision of 0: not there. */
static bool undo_send(struct etcdb_step *step, const struct etcdb_kv *now)
{
    const struct slice none = {.len = 0};
    bool whole = step->record_at == 0;
    struct buf key;

    etcdb_step_set_next_down(step, whole ? ETCDB_UNDONE : ETCDB_UNDO_PART);
    step->next.records = step->record_at; /* which is the last one */
    etcdb_step_open(step);
    for (size_t i = 0; i < step->record.count; i++)
        etcdb_txn_compare_mod(&step->txn, "", step->record.entries[i].key, now[i].mod);
    etcdb_step_put_marker(step);
    if (!whole) {
        buf_init(&key, ETCDB_BODY_MAX);
        undo_put_record_key(step, &key, step->record_at);
        if (key.rc != 0 && step->txn.body.rc == 0)
            step->txn.body.rc = key.rc;
        etcdb_txn_delete(&step->txn, "", (struct slice){.at = buf_str(&key), .len = key.len}, none);
        buf_free(&key);
    }
    undo_put_entries(step);
    return etcdb_step_send(step);
}

static bool undo_send_nothing(struct etcdb_step *step)
{
    step->record = (struct etcdb_record){.count = 0};
    step->record_at = 0;
    return undo_send(step, NULL);
}

/* --- what is there now --- */

static bool undo_check(struct etcdb_step *step)
{
    struct etcdb_txn *txn = &step->txn;
    const struct slice none = {.len = 0};

    etcdb_txn_begin_reads(txn);
    etcdb_txn_range(txn, "", step->marker_key, none, 0, true);
    for (size_t i = 0; i < step->record.count; i++)
        etcdb_txn_range(txn, "", step->record.entries[i].key, none, 0, false);
    etcdb_txn_end(txn);
    return etcdb_step_ask(step, ETCDB_CHECKING);
}

bool etcdb_undo_next(struct etcdb_step *step, const cJSON *body)
{
    size_t records = step->marker.records;

    if (records == 0)
        return undo_send_nothing(step);
    if (!step->record_known) {
        step->record_known = true;
        step->record_at = records - 1;
        step->verified = records == 1;
    } else if (step->record_at >= records || (step->verified && step->record_at != records - 1)) {
        step->record_at = records - 1; /* the one that was, or somebody, is through with the last */
        body = NULL;
    }
    if (body == NULL)
        return etcdb_step_look(step);
    if (undo_read_record(step, body) != 0)
        return etcdb_step_fail(step);
    return undo_check(step);
}

/* 0: the key is as the migration left it. */
static int undo_compare(struct etcdb_step *step, const struct etcdb_entry *entry,
                        const struct etcdb_kv *now)
{
    char key[ETCDB_KEY_SHOWN], hash[HASH_SHA256_HEX] = "";
    bool is_there = now->mod != 0, is_same;

    if (is_there && hash_sha256_hex(now->value.at, now->value.len, hash) != 0)
        return err_set(&step->err, ERR_NOMEM, "out of memory");
    is_same = is_there == entry->is && (!is_there || strcmp(hash, entry->after) == 0);
    if (is_same)
        return 0;
    etcdb_show_key(entry->key, key, sizeof(key));
    return err_set(&step->err, ERR_CONFLICT,
                   "key \"%s\" was %s since this migration %s it, so the value from before is not "
                   "put back; %s. Put the key back to what the migration left, or give the "
                   "migration a down script",
                   key, is_there ? (entry->is ? "changed" : "made") : "deleted",
                   entry->is ? "wrote" : "deleted",
                   step->chunks > 0 || step->marker.kind == ETCDB_UNDO_PART
                       ? "it stopped there"
                       : "nothing was changed");
}

static int undo_compare_all(struct etcdb_step *step, struct etcdb_kv *now)
{
    int rc = 0;

    for (size_t i = 0; i < step->record.count && rc == 0; i++) {
        const cJSON *item = etcdb_range_first(etcdb_answer_range(step->answer.body, 1 + i));

        now[i].mod = 0;
        if (item != NULL)
            rc = etcdb_kv_read(item, &step->seen_arena, &now[i]);
        if (rc != 0)
            return err_set(&step->err, rc, "%s",
                           rc == ERR_NOMEM ? "out of memory" : "etcd gave a malformed key");
        rc = undo_compare(step, &step->record.entries[i], &now[i]);
    }
    return rc;
}

/* The record is not the one that is next any more: somebody else is at work on the same. */
static bool undo_was_overtaken(const struct etcdb_step *step)
{
    const cJSON *marker = etcdb_range_first(etcdb_answer_range(step->answer.body, 0));

    return etcdb_kv_mod(marker) != step->marker_mod;
}

bool etcdb_undo_checked(struct etcdb_step *step)
{
    struct etcdb_kv *now = arena_calloc(&step->seen_arena, step->record.count + 1, sizeof(*now));

    if (now == NULL)
        return etcdb_step_no_memory(step);
    if (undo_was_overtaken(step))
        return etcdb_step_look(step);
    if (undo_compare_all(step, now) != 0)
        return etcdb_step_fail(step);
    if (step->verified)
        return undo_send(step, now);
    if (step->record_at > 0) {
        step->record_at--;
    } else {
        step->verified = true;
        step->record_at = step->marker.records - 1;
    }
    return etcdb_step_look(step);
}
