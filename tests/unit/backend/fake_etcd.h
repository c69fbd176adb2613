#ifndef BFM_TESTS_FAKE_ETCD_H
#define BFM_TESTS_FAKE_ETCD_H

/*
 * A world for the etcd backend without a network, with virtual time: it stands in for the calls of
 * etcd_client.h and for the loop. It keeps keys with their revisions, knows transactions, and can
 * lose an answer before, behind or long before it takes effect.
 *
 * A program that includes it has the functions of etcd_client.c from here, so those are not linked.
 */
#include "unit/model/registry_fixture.h"

#include <stdlib.h>

#include "backend/etcd_private.h"
#include "io/work.h"

enum fake_fault {
    FAKE_FINE,
    FAKE_UNREACHABLE,  /* nothing came of it */
    FAKE_TIMEOUT,      /* the same: nobody knew a leader for as long as may be */
    FAKE_LOST_BEFORE,  /* it had no effect, which nobody can know */
    FAKE_LOST_BEHIND,  /* it had its effect */
    FAKE_LOST_LATE,    /* it has its effect right before the next call that is answered */
    FAKE_SPACE_BEFORE, /* NOSPACE */
    FAKE_SPACE_BEHIND,
    FAKE_FORBIDDEN,
    FAKE_CANCEL, /* the step is canceled while the call is under way */
    FAKE_RACE,   /* somebody else writes to `race_key` right before, if it is there */
    FAKE_FAULTS,
};

enum {
    FAKE_CALLS = 1024,
    FAKE_KEYS = 4096,
    FAKE_PENDING = 8,
};

struct fake_key {
    char *key, *value;
    size_t key_len, value_len;
    int64_t create, mod;
};

struct fake_call {
    struct timer timer;
    struct op *op;
    struct etcd_answer *out;
    enum etcd_call_kind kind;
    char *body;
    enum fake_fault fault;
};

struct fake_work {
    struct timer timer;
    struct op *op;
    int (*fn)(void *arg, struct err *err);
    void *arg;
};

struct loop {
    struct sched sched;
    struct fake_key keys[FAKE_KEYS]; /* rising */
    size_t count;
    int64_t revision;
    struct fake_call calls[FAKE_PENDING];
    enum fake_fault faults[FAKE_CALLS]; /* by number of the call */
    size_t called;
    char *sent[FAKE_CALLS]; /* transactions that were to change something, and were not refused */
    size_t sent_count;
    size_t writes;                        /* transactions that changed something */
    char *late;                           /* the body of one that is still on its way */
    const char *race_key, *race_value;    /* a value of NULL: what is there */
    struct op *step;                      /* to be canceled */
    struct fake_work works[FAKE_PENDING]; /* what threads are busy with */
    bool has_auth, is_away;
    size_t max_txn_ops;
};

static struct loop *fake; /* the one world */

struct sched *loop_sched(struct loop *loop)
{
    return &loop->sched;
}

/* --- keys --- */

static int fake_compare(const char *a, size_t a_len, const char *b, size_t b_len)
{
    int order = memcmp(a, b, a_len < b_len ? a_len : b_len);

    return order != 0 ? order : a_len < b_len ? -1 : a_len > b_len;
}

/* The first key that is not before it. */
static size_t fake_find(const char *key, size_t len)
{
    size_t at = 0;

    while (at < fake->count &&
           fake_compare(fake->keys[at].key, fake->keys[at].key_len, key, len) < 0)
        at++;
    return at;
}

static bool fake_is_at(size_t at, const char *key, size_t len)
{
    return at < fake->count &&
           fake_compare(fake->keys[at].key, fake->keys[at].key_len, key, len) == 0;
}

static char *fake_copy(const char *data, size_t len)
{
    char *copy = malloc(len + 1);

    memcpy(copy, data, len);
    copy[len] = '\0';
    return copy;
}

static void fake_put(const char *key, size_t key_len, const char *value, size_t value_len)
{
    size_t at = fake_find(key, key_len);

    if (fake_is_at(at, key, key_len)) {
        free(fake->keys[at].value);
    } else {
        assert_true(fake->count < FAKE_KEYS);
        memmove(&fake->keys[at + 1], &fake->keys[at], (fake->count - at) * sizeof(fake->keys[0]));
        fake->count++;
        fake->keys[at] = (struct fake_key){
            .key = fake_copy(key, key_len), .key_len = key_len, .create = fake->revision};
    }
    fake->keys[at].value = fake_copy(value, value_len);
    fake->keys[at].value_len = value_len;
    fake->keys[at].mod = fake->revision;
}

static void fake_remove(size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        free(fake->keys[i].key);
        free(fake->keys[i].value);
    }
    memmove(&fake->keys[from], &fake->keys[to], (fake->count - to) * sizeof(fake->keys[0]));
    fake->count -= to - from;
}

/* What somebody else does. */
static void fake_set(const char *key, const char *value)
{
    fake->revision++;
    fake_put(key, strlen(key), value, strlen(value));
}

static void fake_race(const char *key, const char *value)
{
    size_t at = fake_find(key, strlen(key));
    char *copy;

    if (!fake_is_at(at, key, strlen(key)))
        return;
    copy = fake_copy(fake->keys[at].value, fake->keys[at].value_len);
    fake_set(key, value != NULL ? value : copy);
    free(copy);
}

/* --- transactions --- */

/* The keys that an element of a request is about: [from, to). */
static void fake_range_of(const cJSON *request, size_t *from, size_t *to, struct buf *key)
{
    const cJSON *end = cJSON_GetObjectItem(request, "range_end");
    struct buf last;

    buf_init(key, 1 << 24);
    assert_int_equal(etcd_read_base64(cJSON_GetObjectItem(request, "key")->valuestring, key), 0);
    *from = fake_find(buf_str(key), key->len);
    *to = fake_is_at(*from, buf_str(key), key->len) ? *from + 1 : *from;
    if (end == NULL)
        return;
    buf_init(&last, 1 << 24);
    assert_int_equal(etcd_read_base64(end->valuestring, &last), 0);
    *to = fake_find(buf_str(&last), last.len);
    buf_free(&last);
}

static int64_t fake_number(const cJSON *item, const char *name)
{
    return strtoll(cJSON_GetObjectItem(item, name)->valuestring, NULL, 10);
}

static bool fake_holds_for(const cJSON *compare, int64_t create, int64_t mod)
{
    const char *target = cJSON_GetObjectItem(compare, "target")->valuestring;
    const char *result = cJSON_GetObjectItem(compare, "result")->valuestring;

    if (strcmp(target, "CREATE") == 0)
        return create == fake_number(compare, "create_revision");
    assert_string_equal(target, "MOD");
    if (strcmp(result, "LESS") == 0)
        return mod < fake_number(compare, "mod_revision");
    assert_string_equal(result, "EQUAL");
    return mod == fake_number(compare, "mod_revision");
}

static bool fake_holds(const cJSON *compare)
{
    size_t from, to;
    struct buf key;
    bool holds;

    fake_range_of(compare, &from, &to, &key);
    buf_free(&key);
    holds = from < to || fake_holds_for(compare, 0, 0);
    for (; from < to; from++)
        holds = holds && fake_holds_for(compare, fake->keys[from].create, fake->keys[from].mod);
    return holds;
}

static void fake_put_kv(struct buf *out, const struct fake_key *key, bool with_value)
{
    buf_puts(out, "{\"key\":");
    etcd_put_base64(out, key->key, key->key_len);
    buf_printf(out, ",\"create_revision\":\"%lld\",\"mod_revision\":\"%lld\"",
               (long long)key->create, (long long)key->mod);
    if (with_value && key->value_len > 0) {
        buf_puts(out, ",\"value\":");
        etcd_put_base64(out, key->value, key->value_len);
    }
    buf_putc(out, '}');
}

static void fake_answer_range(const cJSON *request, struct buf *out)
{
    const cJSON *limit = cJSON_GetObjectItem(request, "limit");
    bool keys_only = cJSON_GetObjectItem(request, "keys_only") != NULL;
    bool descends = cJSON_GetObjectItem(request, "sort_order") != NULL;
    size_t from, to, most = SIZE_MAX;
    struct buf key;

    fake_range_of(request, &from, &to, &key);
    buf_free(&key);
    if (limit != NULL)
        most = (size_t)fake_number(request, "limit");
    buf_puts(out, "{\"response_range\":{\"header\":{}");
    for (size_t i = 0; i < to - from && i < most; i++) {
        buf_puts(out, i == 0 ? ",\"kvs\":[" : ",");
        fake_put_kv(out, &fake->keys[descends ? to - 1 - i : from + i], !keys_only);
    }
    buf_puts(out, to > from ? "]" : "");
    buf_puts(out, to - from > most ? ",\"more\":true}}" : "}}");
}

/* Operations of one level, of which there may be `room`. */
static void fake_do(const cJSON *list, struct buf *out, bool *changes, size_t room)
{
    size_t count = (size_t)cJSON_GetArraySize(list);

    assert_true(count <= room);
    for (const cJSON *item = list->child; item != NULL; item = item->next) {
        const cJSON *request = item->child;
        size_t from, to;
        struct buf key, value;

        if (out->data[out->len - 1] != '[')
            buf_putc(out, ',');
        if (strcmp(request->string, "request_range") == 0) {
            fake_answer_range(request, out);
        } else if (strcmp(request->string, "request_txn") == 0) {
            buf_puts(out, "{\"response_txn\":{\"responses\":[");
            fake_do(cJSON_GetObjectItem(request, "success"), out, changes, room - count);
            buf_puts(out, "]}}");
        } else {
            fake_range_of(request, &from, &to, &key);
            if (strcmp(request->string, "request_put") == 0) {
                /* nothing puts the same key twice in one transaction, or within what it deleted */
                assert_true(!fake_is_at(from, buf_str(&key), key.len) ||
                            fake->keys[from].mod < fake->revision);
                buf_init(&value, 1 << 24);
                assert_int_equal(
                    etcd_read_base64(cJSON_GetObjectItem(request, "value")->valuestring, &value),
                    0);
                fake_put(buf_str(&key), key.len, buf_str(&value), value.len);
                buf_free(&value);
                *changes = true;
                buf_puts(out, "{\"response_put\":{}}");
            } else {
                assert_string_equal(request->string, "request_delete_range");
                for (size_t i = from; i < to; i++)
                    assert_true(fake->keys[i].mod < fake->revision);
                *changes = *changes || from < to;
                fake_remove(from, to);
                buf_puts(out, "{\"response_delete_range\":{}}");
            }
            buf_free(&key);
        }
    }
}

/* Takes effect, and gives the answer. */
static cJSON *fake_execute(const char *body)
{
    cJSON *root = cJSON_Parse(body), *answer;
    bool succeeded = true, changes = false;
    struct buf out;

    buf_init(&out, 1 << 26);
    buf_puts(&out, "{\"responses\":[");
    assert_true((size_t)cJSON_GetArraySize(cJSON_GetObjectItem(root, "compare")) <=
                fake->max_txn_ops);
    for (const cJSON *item = cJSON_GetObjectItem(root, "compare")->child; item != NULL;
         item = item->next)
        succeeded = succeeded && fake_holds(item);
    fake->revision++;
    if (cJSON_GetObjectItem(root, succeeded ? "success" : "failure") != NULL)
        fake_do(cJSON_GetObjectItem(root, succeeded ? "success" : "failure"), &out, &changes,
                fake->max_txn_ops);
    if (!changes)
        fake->revision--;
    else
        fake->writes++;
    buf_printf(&out, "],\"header\":{\"revision\":\"%lld\"}%s}", (long long)fake->revision,
               succeeded ? ",\"succeeded\":true" : "");
    answer = cJSON_Parse(buf_str(&out));
    assert_non_null(answer);
    buf_free(&out);
    cJSON_Delete(root);
    return answer;
}

/* --- work --- */

static void fake_on_worked(struct timer *timer)
{
    struct fake_work *work = container_of(timer, struct fake_work, timer);
    struct op *op = work->op;
    struct err err = {0};
    int rc = work->fn(work->arg, &err);

    work->op = NULL;
    op->err = err;
    op_finish(op, rc);
}

/* As it is when the thread has begun: a cancel changes nothing. */
int work_start(struct loop *loop, struct op *op, int (*fn)(void *arg, struct err *err), void *arg)
{
    struct fake_work *work = loop->works;

    while (work->op != NULL)
        work++;
    assert_true(work < loop->works + FAKE_PENDING);
    *work = (struct fake_work){.timer = {.fire = fake_on_worked}, .op = op, .fn = fn, .arg = arg};
    op_begin(op, loop, NULL);
    sched_start_timer(&loop->sched, &work->timer, 1);
    return 0;
}

/* --- calls --- */

static void fake_settle_late(void)
{
    char *body = fake->late;

    fake->late = NULL;
    if (body != NULL)
        cJSON_Delete(fake_execute(body));
    free(body);
}

/* There may be another copy of it on the way. */
static void fake_note_sent(const struct fake_call *call)
{
    if (call->kind != ETCD_WRITE || call->fault == FAKE_UNREACHABLE ||
        call->fault == FAKE_TIMEOUT || call->fault == FAKE_SPACE_BEFORE ||
        call->fault == FAKE_FORBIDDEN)
        return;
    assert_true(fake->sent_count < FAKE_CALLS);
    fake->sent[fake->sent_count++] = fake_copy(call->body, strlen(call->body));
}

/* Copies of all that was ever sent arrive only now, the oldest first: nothing comes of them. */
static void fake_assert_late_copies(void)
{
    const size_t writes = fake->writes;

    assert_true(fake->sent_count > 0);
    for (size_t i = 0; i < fake->sent_count; i++) {
        cJSON_Delete(fake_execute(fake->sent[i]));
        if (fake->writes != writes)
            fail_msg("copy %zu of %zu took effect: %s", i, fake->sent_count, fake->sent[i]);
    }
}

static void fake_free(void)
{
    for (size_t i = 0; i < fake->sent_count; i++)
        free(fake->sent[i]);
    fake_remove(0, fake->count);
    free(fake->late);
    free(fake);
    fake = NULL;
}

static void fake_fail(struct fake_call *call, int code, int grpc, const char *message)
{
    struct op *op = call->op;
    struct err err = {0};

    err_set(&err, code, "etcd: %s", message);
    call->out->grpc = grpc;
    snprintf(call->out->message, sizeof(call->out->message), "%s", message);
    free(call->body);
    *call = (struct fake_call){.op = NULL};
    mem_fail_pause(0);
    op_fail(op, &err);
}

static void fake_lose(struct fake_call *call)
{
    fake_fail(call, call->kind == ETCD_WRITE ? ERR_IN_DOUBT : ERR_UNREACHABLE, -1,
              "the connection was lost");
}

static void fake_on_timer(struct timer *timer)
{
    struct fake_call *call = container_of(timer, struct fake_call, timer);
    bool writes = call->kind == ETCD_WRITE;
    struct op *op = call->op;

    mem_fail_pause(1);
    fake_note_sent(call);
    switch (call->fault) {
    case FAKE_UNREACHABLE:
        fake_fail(call, ERR_UNREACHABLE, -1, "no endpoint answers");
        return;
    case FAKE_TIMEOUT:
        fake_fail(call, ERR_TIMEOUT, 14, "etcdserver: no leader");
        return;
    case FAKE_LOST_LATE:
        fake_settle_late();
        if (writes)
            fake->late = fake_copy(call->body, strlen(call->body));
        fake_lose(call);
        return;
    case FAKE_LOST_BEHIND:
        fake_settle_late();
        if (writes)
            cJSON_Delete(fake_execute(call->body));
        fake_lose(call);
        return;
    case FAKE_LOST_BEFORE:
        fake_lose(call);
        return;
    case FAKE_SPACE_BEFORE:
    case FAKE_SPACE_BEHIND:
        if (!writes)
            break;
        if (call->fault == FAKE_SPACE_BEHIND)
            cJSON_Delete(fake_execute(call->body));
        fake_fail(call, ERR_IN_DOUBT, 8, "etcdserver: mvcc: database space exceeded");
        return;
    case FAKE_FORBIDDEN:
        fake_fail(call, ERR_FORBIDDEN, 7, "etcdserver: permission denied");
        return;
    case FAKE_RACE:
        fake_race(fake->race_key, fake->race_value);
        break;
    default:
        break;
    }
    fake_settle_late();
    call->out->body = fake_execute(call->body);
    free(call->body);
    *call = (struct fake_call){.op = NULL};
    mem_fail_pause(0);
    op_finish(op, 0);
}

int etcd_call(struct etcd_client *client, struct op *op, enum etcd_call_kind kind, const char *path,
              const struct buf *body, uint64_t limit_ms, struct etcd_answer *out)
{
    struct fake_call *call = fake->calls;

    (void)client;
    (void)limit_ms;
    assert_string_equal(path, ETCDB_TXN);
    while (call->op != NULL)
        call++;
    assert_true(call < fake->calls + FAKE_PENDING);
    *call = (struct fake_call){.op = op,
                               .out = out,
                               .kind = kind,
                               .timer = {.fire = fake_on_timer},
                               .body = fake_copy(buf_str(body), body->len),
                               .fault = fake->is_away ? FAKE_UNREACHABLE : FAKE_FINE};
    if (fake->called < FAKE_CALLS && !fake->is_away)
        call->fault = fake->faults[fake->called];
    fake->called++;
    op_begin(op, fake, NULL);
    sched_start_timer(&fake->sched, &call->timer, 1);
    return 0;
}

int etcd_client_create(struct loop *loop, struct curl_client *curl,
                       const struct backend_etcd_settings *settings, struct etcd_client **out,
                       struct err *err)
{
    (void)curl;
    (void)settings;
    (void)err;
    *out = (struct etcd_client *)loop;
    return 0;
}

int etcd_client_set_password(struct etcd_client *client, const char *password)
{
    (void)client;
    (void)password;
    return 0;
}

int etcd_client_close(struct etcd_client *client, struct op *op)
{
    (void)client;
    op_begin(op, fake, NULL);
    op_finish_later(op, &fake->sched, 0);
    return 0;
}

void etcd_client_report(const struct etcd_client *client, struct pool_stats *out)
{
    (void)client;
    *out = (struct pool_stats){.max = 1};
}

bool etcd_client_has_auth(const struct etcd_client *client)
{
    (void)client;
    return fake->has_auth;
}

void etcd_answer_free(struct etcd_answer *answer)
{
    cJSON_Delete(answer->body);
    answer->body = NULL;
}

/* --- time --- */

/* The next thing that happens: a task, or the earliest timer. False: nothing is left. */
static bool fake_turn(void)
{
    uint64_t in_ms;

    for (size_t i = 0; i < FAKE_PENDING; i++)
        if (fake->calls[i].op != NULL && fake->calls[i].fault == FAKE_CANCEL) {
            fake->calls[i].fault = FAKE_FINE;
            op_cancel(fake->step);
        }
    if (sched_has_tasks(&fake->sched)) {
        sched_run(&fake->sched, fake->sched.now_ms);
        return true;
    }
    if (!sched_next_timer(&fake->sched, &in_ms))
        return false;
    sched_run(&fake->sched, fake->sched.now_ms + in_ms);
    return true;
}

#endif
