#include <stdlib.h>
#include <string.h>

#include "store/mysql_private.h"
#include "store/record.h"

enum {
    PLAN_PARTS = 4, /* of a key */
};

void mystore_plan_free(struct mystore_plan *plan)
{
    map_free(&plan->lists);
    map_free(&plan->written);
    map_free(&plan->places);
    arena_free(&plan->arena);
    *plan = (struct mystore_plan){.looked = false};
}

int mystore_plan_init(struct mystore_plan *plan, size_t count)
{
    *plan = (struct mystore_plan){.keyed = true};
    arena_init(&plan->arena);
    map_init(&plan->places);
    map_init(&plan->written);
    map_init(&plan->lists);
    if (count == 0)
        return 0;
    plan->list = arena_calloc(&plan->arena, count, sizeof(*plan->list));
    plan->history = arena_calloc(&plan->arena, count, sizeof(*plan->history));
    plan->executions = arena_calloc(&plan->arena, count, sizeof(*plan->executions));
    plan->skips = arena_calloc(&plan->arena, count, sizeof(*plan->skips));
    if (plan->list != NULL && plan->history != NULL && plan->executions != NULL &&
        plan->skips != NULL)
        return 0;
    mystore_plan_free(plan);
    return ERR_NOMEM;
}

/* --- keys --- */

struct plan_key {
    const char *parts[PLAN_PARTS];
    size_t count;
    char *text; /* the parts, with NUL between them */
    size_t len;
};

/* In the arena. */
static int plan_join(struct mystore_plan *plan, struct plan_key *key)
{
    size_t at = 0;

    key->len = 0;
    for (size_t i = 0; i < key->count; i++)
        key->len += strlen(key->parts[i]) + 1;
    key->text = arena_alloc(&plan->arena, key->len);
    if (key->text == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < key->count; i++) {
        size_t len = strlen(key->parts[i]) + 1;

        memcpy(key->text + at, key->parts[i], len);
        at += len;
    }
    return 0;
}

static int plan_mark(struct mystore_plan *plan, struct plan_key *key)
{
    if (plan_join(plan, key) != 0)
        return ERR_NOMEM;
    return map_put(&plan->written, key->text, key->len, plan);
}

int mystore_plan_add_history(struct mystore_plan *plan, const char *run_id,
                             const char *migration_id, const char *schema, const char *status)
{
    struct plan_key row = {.parts = {migration_id, schema, run_id, status}, .count = 4};
    struct plan_key end = {.parts = {migration_id, schema, run_id}, .count = 3};
    int rc = plan_mark(plan, &row);

    if (rc == 0 && strcmp(status, "pending") != 0)
        rc = plan_mark(plan, &end);
    return rc;
}

int mystore_plan_add_place(struct mystore_plan *plan, const char *migration_id, const char *schema,
                           bool applied, bool there)
{
    struct plan_key key = {.parts = {migration_id, schema}, .count = 2};
    struct mystore_plan_place *place = arena_calloc(&plan->arena, 1, sizeof(*place));

    if (place == NULL || plan_join(plan, &key) != 0)
        return ERR_NOMEM;
    *place = (struct mystore_plan_place){.migration_id = key.text,
                                         .schema = key.text + strlen(key.text) + 1,
                                         .applied = applied,
                                         .there = there};
    return map_put(&plan->places, key.text, key.len, place);
}

/* Whether the run has written a row of the status, or with NULL an end, about the record's place.
 */
static int plan_is_written(struct mystore_plan *plan, const struct store_record *record,
                           const char *status, bool *written)
{
    struct plan_key key = {.parts = {record->migration->id, record->schema, record->run_id, status},
                           .count = status != NULL ? 4 : 3};

    *written = false;
    if (record->run_id == NULL || !plan->looked)
        return 0;
    if (plan_join(plan, &key) != 0)
        return ERR_NOMEM;
    *written = map_get(&plan->written, key.text, key.len) != NULL;
    return 0;
}

static int plan_get_place(struct mystore_plan *plan, const struct store_record *record,
                          struct mystore_plan_place **place)
{
    struct plan_key key = {.parts = {record->migration->id, record->schema}, .count = 2};

    if (plan_join(plan, &key) != 0)
        return ERR_NOMEM;
    *place = map_get(&plan->places, key.text, key.len);
    return 0;
}

/* --- effects --- */

static struct mystore_plan_list *plan_get_list(struct mystore_plan *plan,
                                               const struct store_record *record)
{
    void *number = map_get(&plan->lists, &record->migration, sizeof(void *));
    struct mystore_plan_list *list;

    if (number != NULL)
        return &plan->list[(uintptr_t)number - 1];
    list = &plan->list[plan->list_count];
    if (map_put(&plan->lists, &record->migration, sizeof(void *),
                (void *)(uintptr_t)(plan->list_count + 1)) != 0)
        return NULL;
    *list = (struct mystore_plan_list){.migration = record->migration};
    plan->list_count++;
    return list;
}

static void plan_set_list(struct mystore_plan_list *list, const struct store_record *record,
                          const char *status, const char *error)
{
    if (!record_is_base(record))
        return;
    list->changed = true;
    list->error = error;
    if (record->at_us > list->at_us)
        list->at_us = record->at_us;
    if (status == NULL)
        return;
    list->status = status;
    if (strcmp(status, "applied") == 0 && record->checksum != NULL)
        list->checksum = record->checksum;
}

static void plan_set_execution(struct mystore_plan *plan, const struct store_record *record,
                               const char *status, struct mystore_plan_place *place)
{
    size_t number = plan->execution_count++;

    plan->executions[number] =
        (struct mystore_plan_execution){.record = record, .status = status, .number = number};
    if (place == NULL)
        return;
    place->written = true;
    place->applied = strcmp(status, "applied") == 0;
}

static void plan_take_effect(struct mystore_plan *plan, const struct store_record *record,
                             struct mystore_plan_list *list, struct mystore_plan_place *place)
{
    bool applied = place != NULL && place->applied;

    switch (record_event(record->event)->effect) {
    case RECORD_NONE:
        return;
    case RECORD_APPLIED:
        plan_set_execution(plan, record, "applied", place);
        plan_set_list(list, record, "applied", NULL);
        return;
    case RECORD_ROLLED_BACK:
        plan_set_execution(plan, record, "rolled_back", place);
        plan_set_list(list, record, "rolled_back", NULL);
        return;
    case RECORD_FAILED:
        if (!applied)
            plan_set_execution(plan, record, "failed", place);
        plan_set_list(list, record, applied ? NULL : "failed", record->error);
        return;
    case RECORD_UNDO_FAILED:
        plan_set_list(list, record, NULL, record->error);
        return;
    }
}

/* --- records --- */

/* In the batch, too: the same row is written once. */
static int plan_add_row(struct mystore_plan *plan, const struct store_record *record,
                        const char *run_id)
{
    plan->history[plan->history_count++] =
        (struct mystore_plan_history){.record = record, .run_id = run_id};
    if (run_id == NULL || !plan->looked)
        return 0;
    return mystore_plan_add_history(plan, run_id, record->migration->id, record->schema,
                                    record_event(record->event)->status);
}

/* Only what the state does not say yet. The run's own record, if it comes later, is known by the
 * history row; where an earlier record has the key already, the row goes without a run. */
static int plan_take_found(struct mystore_plan *plan, const struct store_record *record,
                           struct mystore_plan_list *list, struct mystore_plan_place *place)
{
    const struct record_event *event = record_event(record->event);
    bool applied = place != NULL && place->applied;
    bool written;
    int rc;

    if (plan->looked && applied == (event->effect == RECORD_APPLIED))
        return 0;
    rc = plan_is_written(plan, record, event->status, &written);
    if (rc == 0)
        rc = plan_add_row(plan, record, written ? NULL : record->run_id);
    if (rc == 0)
        plan_take_effect(plan, record, list, place);
    return rc;
}

static int plan_take_step(struct mystore_plan *plan, const struct store_record *record,
                          struct mystore_plan_list *list, struct mystore_plan_place *place)
{
    const struct record_event *event = record_event(record->event);
    const char *status = record->event == STORE_CUT_OFF ? NULL : event->status;
    bool written;
    int rc = plan_is_written(plan, record, status, &written);

    if (rc != 0 || written)
        return rc;
    rc = plan_add_row(plan, record, record->run_id);
    if (rc == 0)
        plan_take_effect(plan, record, list, place);
    return rc;
}

int mystore_plan_take(struct mystore_plan *plan, const struct store_record *record)
{
    const struct record_event *event = record_event(record->event);
    struct mystore_plan_list *list = plan_get_list(plan, record);
    struct mystore_plan_place *place = NULL;

    if (list == NULL)
        return ERR_NOMEM;
    plan->keyed = plan->keyed && (record->run_id != NULL || event->found);
    if (event->found || event->effect == RECORD_FAILED || record->event == STORE_CUT_OFF)
        plan->needs_look = true;
    if (event->status == NULL) {
        plan->skips[plan->skip_count++] = record;
        return 0;
    }
    if (plan->looked && event->effect != RECORD_NONE && plan_get_place(plan, record, &place) != 0)
        return ERR_NOMEM;
    return event->found ? plan_take_found(plan, record, list, place)
                        : plan_take_step(plan, record, list, place);
}

/* --- order --- */

static int plan_compare_lists(const void *left, const void *right)
{
    const struct mystore_plan_list *a = left, *b = right;

    return strcmp(a->migration->id, b->migration->id);
}

static int plan_compare_executions(const void *left, const void *right)
{
    const struct mystore_plan_execution *a = left, *b = right;
    int order = strcmp(a->record->schema, b->record->schema);

    if (order == 0)
        order = strcmp(a->record->migration->id, b->record->migration->id);
    return order != 0 ? order : (a->number > b->number) - (a->number < b->number);
}

void mystore_plan_order(struct mystore_plan *plan)
{
    if (plan->list_count > 0)
        qsort(plan->list, plan->list_count, sizeof(plan->list[0]), plan_compare_lists);
    if (plan->execution_count > 0)
        qsort(plan->executions, plan->execution_count, sizeof(plan->executions[0]),
              plan_compare_executions);
}
