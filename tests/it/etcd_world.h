#ifndef BFM_TESTS_ETCD_WORLD_H
#define BFM_TESTS_ETCD_WORLD_H

#include <signal.h>
#include <unistd.h>

#include "loop_fixture.h"

#include "backend/etcd.h"
#include "backend/etcd_answer.h"
#include "backend/etcd_client.h"
#include "backend/etcd_txn.h"
#include "model/registry.h"

/*
 * Two servers (backends) on one etcd, which BFM_TEST_ETCD_ENDPOINTS names, and somebody else who
 * reads and writes keys. It begins empty.
 */
struct world {
    struct loop *loop;
    struct curl_client *curl;
    struct backend_etcd_settings settings;
    struct backend *a, *b;
    struct etcd_client *admin;
    struct registry *registries[64]; /* of the migrations made, freed at the end */
    size_t registry_count;
};

/* What one step came to. */
struct outcome {
    int rc;
    struct err err;
    struct backend_result result;
};

static inline void close_backend(struct world *world, struct backend **backend)
{
    struct waited waited;

    if (*backend == NULL)
        return;
    waited_init(&waited, world->loop);
    assert_int_equal(wait_for(&waited, (*backend)->ops->close(*backend, &waited.op)), 0);
    *backend = NULL;
}

/* Both servers anew, with world->settings. */
static inline void reopen(struct world *world)
{
    struct err err = {0};

    close_backend(world, &world->a);
    close_backend(world, &world->b);
    if (backend_etcd_create(world->loop, world->curl, &world->settings, &world->a, &err) != 0 ||
        backend_etcd_create(world->loop, world->curl, &world->settings, &world->b, &err) != 0)
        fail_msg("%s", err_text(&err));
}

/* --- somebody else --- */

static inline cJSON *admin_call(struct world *world, struct etcdb_txn *txn)
{
    struct etcd_answer answer = {.body = NULL};
    struct waited waited;

    etcdb_txn_end(txn);
    waited_init(&waited, world->loop);
    if (wait_for(&waited, etcd_call(world->admin, &waited.op, ETCD_WRITE, "/v3/kv/txn", &txn->body,
                                    0, &answer)) != 0)
        fail_msg("%s", err_text(&waited.op.err));
    etcdb_txn_free(txn);
    return answer.body;
}

static inline struct slice world_slice(const char *text)
{
    return (struct slice){.at = text, .len = strlen(text)};
}

static inline void admin_begin(struct etcdb_txn *txn)
{
    etcdb_txn_init(txn, 1 << 24);
    etcdb_txn_begin(txn);
    etcdb_txn_success(txn);
}

static inline void admin_put(struct world *world, const char *key, const char *value)
{
    struct etcdb_txn txn;

    admin_begin(&txn);
    etcdb_txn_put(&txn, "", world_slice(key), world_slice(value));
    cJSON_Delete(admin_call(world, &txn));
}

/* All from `key` on, below `end`; "": only the key. */
static inline void admin_delete(struct world *world, const char *key, const char *end)
{
    struct etcdb_txn txn;

    admin_begin(&txn);
    etcdb_txn_delete(&txn, "", world_slice(key), world_slice(end));
    cJSON_Delete(admin_call(world, &txn));
}

/* "key=value" of every key from `key` on below `end`, one per line; good until the next call. */
static inline const char *admin_show(struct world *world, const char *key, const char *end)
{
    static char text[1 << 16];
    struct arena arena;
    struct etcdb_txn txn;
    size_t len = 0;
    cJSON *body;

    arena_init(&arena);
    admin_begin(&txn);
    etcdb_txn_range(&txn, "", world_slice(key), world_slice(end), 0, false);
    body = admin_call(world, &txn);
    text[0] = '\0';
    for (const cJSON *item = etcdb_range_first(etcdb_answer_range(body, 0)); item != NULL;
         item = item->next) {
        struct etcdb_kv kv;

        assert_int_equal(etcdb_kv_read(item, &arena, &kv), 0);
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s=%s", len > 0 ? "\n" : "",
                                kv.key.at, kv.value.at);
        assert_true(len < sizeof(text));
    }
    cJSON_Delete(body);
    arena_free(&arena);
    return text;
}

static inline void assert_keys(struct world *world, const char *path, const char *expected)
{
    char end[64];

    snprintf(end, sizeof(end), "%s", path);
    end[strlen(end) - 1]++;
    assert_string_equal(admin_show(world, path, end), expected);
}

/* The value of a key as text, good until the next call; "" without it. */
static inline const char *admin_value(struct world *world, const char *key)
{
    static char text[1 << 21];
    struct arena arena;
    struct etcdb_kv kv = {.value = {.at = "", .len = 0}};
    struct etcdb_txn txn;
    const cJSON *item;
    cJSON *body;

    arena_init(&arena);
    admin_begin(&txn);
    etcdb_txn_range(&txn, "", world_slice(key), world_slice(""), 0, false);
    body = admin_call(world, &txn);
    item = etcdb_range_first(etcdb_answer_range(body, 0));
    if (item != NULL)
        assert_int_equal(etcdb_kv_read(item, &arena, &kv), 0);
    snprintf(text, sizeof(text), "%s", kv.value.at);
    cJSON_Delete(body);
    arena_free(&arena);
    return text;
}

/* How many keys begin so, and the revision of the cluster. */
static inline size_t admin_count(struct world *world, const char *key, const char *end,
                                 int64_t *revision)
{
    struct etcdb_txn txn;
    size_t count;
    cJSON *body;

    admin_begin(&txn);
    etcdb_txn_range(&txn, "", world_slice(key), world_slice(end), 0, true);
    body = admin_call(world, &txn);
    count = etcdb_range_count(etcdb_answer_range(body, 0));
    if (revision != NULL)
        *revision = etcdb_answer_revision(body);
    cJSON_Delete(body);
    return count;
}

static inline int64_t admin_revision(struct world *world)
{
    int64_t revision;

    admin_count(world, "none", "", &revision);
    return revision;
}

/* Of all keys that begin so there are that many, and each is the tombstone of a migration. */
static inline void assert_only_tombstones(struct world *world, const char *path, size_t expected)
{
    static const char folder[] = "/app.bfm/journal/", kind[] = "={\"kind\":\"undone\",";
    char end[64];
    size_t count = 0;

    snprintf(end, sizeof(end), "%s", path);
    end[strlen(end) - 1]++;
    assert_int_equal(admin_count(world, path, end, NULL), expected);
    for (const char *at = admin_show(world, folder, "/app.bfm/journal0"); *at != '\0'; count++) {
        const char *line = at, *value = strchr(at, '=');

        assert_true(strncmp(line, folder, strlen(folder)) == 0 && value != NULL);
        assert_true(strncmp(value, kind, strlen(kind)) == 0);
        at += strcspn(at, "\n");
        at += *at == '\n';
    }
    assert_int_equal(count, expected);
}

/* The key's last revision; 0: it is not there. */
static inline int64_t admin_mod(struct world *world, const char *key, size_t len)
{
    struct etcdb_txn txn;
    int64_t mod;
    cJSON *body;

    admin_begin(&txn);
    etcdb_txn_range(&txn, "", (struct slice){.at = key, .len = len}, world_slice(""), 0, true);
    body = admin_call(world, &txn);
    mod = etcdb_kv_mod(etcdb_range_first(etcdb_answer_range(body, 0)));
    cJSON_Delete(body);
    return mod;
}

/* --- the world --- */

static inline int world_setup(void **state)
{
    struct world *world = calloc(1, sizeof(*world));
    struct err err = {0};

    signal(SIGPIPE, SIG_IGN);
    world->loop = loop_create();
    world->curl = curl_client_create(world->loop);
    world->settings = (struct backend_etcd_settings){
        .connection = "conf",
        .endpoints = getenv("BFM_TEST_ETCD_ENDPOINTS"),
        .prefix = "/app/",
        .connect_timeout_ms = 5000,
    };
    if (etcd_client_create(world->loop, world->curl, &world->settings, &world->admin, &err) != 0)
        fail_msg("%s", err_text(&err));
    admin_delete(world, "\x01", "\x7f");
    reopen(world);
    *state = world;
    return 0;
}

static inline int world_teardown(void **state)
{
    struct world *world = *state;
    struct waited waited;

    close_backend(world, &world->a);
    close_backend(world, &world->b);
    waited_init(&waited, world->loop);
    assert_int_equal(wait_for(&waited, etcd_client_close(world->admin, &waited.op)), 0);
    waited_init(&waited, world->loop);
    assert_int_equal(wait_for(&waited, curl_client_close(world->curl, &waited.op)), 0);
    for (size_t i = 0; i < world->registry_count; i++)
        registry_unref(world->registries[i]);
    loop_destroy(world->loop);
    free(world);
    return 0;
}

/* Loads "20250101000000_<name>" of connection conf as the server would; `down` may be NULL. */
static inline const struct migration *load(struct world *world, const char *name, const char *up,
                                           const char *down)
{
    char up_path[128], down_path[128];
    struct registry_file files[2] = {{.path = up_path, .text = up, .len = strlen(up)}};
    size_t count = 1;
    struct registry *registry = NULL;
    struct err err;

    snprintf(up_path, sizeof(up_path), "etcd/conf/20250101000000_%s.up.json", name);
    snprintf(down_path, sizeof(down_path), "etcd/conf/20250101000000_%s.down.json", name);
    if (down != NULL)
        files[count++] =
            (struct registry_file){.path = down_path, .text = down, .len = strlen(down)};
    assert_int_equal(registry_build(files, count, &registry, &err), 0);
    assert_int_equal(registry->count, 1);
    assert_true(world->registry_count < ARRAY_SIZE(world->registries));
    world->registries[world->registry_count++] = registry;
    if (registry->migrations[0]->invalid != NULL)
        fail_msg("%s", registry->migrations[0]->invalid);
    return registry->migrations[0];
}

/* One operation of a script; `value` is JSON. */
#define PUT(key, value) "{\"key\":\"" key "\",\"value\":" value "}"
#define DELETE(key)     "{\"operation\":\"delete\",\"key\":\"" key "\"}"
#define PREFIX(key)     "{\"operation\":\"delete_prefix\",\"key\":\"" key "\"}"

/* `count` puts "k<n>" of `value`, deletions of them, in a buffer that is good until the next call
 * with the same `slot`. */
static inline const char *many(int slot, size_t count, const char *value)
{
    static char *texts[2];
    char *text = realloc(texts[slot], 64 + count * (80 + (value != NULL ? strlen(value) : 0)));
    size_t len = 0;

    texts[slot] = text;
    for (size_t i = 0; i < count; i++)
        len += (size_t)sprintf(text + len,
                               value != NULL ? "%c{\"key\":\"k%04zu\",\"value\":\"%s\"}"
                                             : "%c{\"operation\":\"delete\",\"key\":\"k%04zu\"}",
                               i > 0 ? ',' : '[', i, value);
    sprintf(text + len, "]");
    return text;
}

/* One step under way. */
struct going {
    struct waited waited;
    struct backend_step step;
    struct backend_result result;
    char run_id[32];
    int started;
};

static inline void go(struct world *world, struct going *going, struct backend *backend,
                      const struct migration *migration, enum backend_direction direction,
                      const char *schema)
{
    static unsigned runs;

    *going = (struct going){.started = 0};
    waited_init(&going->waited, world->loop);
    snprintf(going->run_id, sizeof(going->run_id), "run-%d-%u", (int)getpid(), ++runs);
    going->step = (struct backend_step){
        .migration = migration, .direction = direction, .schema = schema, .run_id = going->run_id};
    going->started =
        backend->ops->execute(backend, &going->waited.op, &going->step, &going->result);
}

static inline struct outcome arrive(struct going *going)
{
    struct outcome outcome = {.rc = wait_for(&going->waited, going->started)};

    outcome.err = going->waited.op.err;
    outcome.result = going->result;
    return outcome;
}

static inline struct outcome step(struct world *world, struct backend *backend,
                                  const struct migration *migration,
                                  enum backend_direction direction, const char *schema)
{
    struct going going;

    go(world, &going, backend, migration, direction, schema);
    return arrive(&going);
}

static inline void assert_outcome(const struct outcome *got, int rc, enum backend_outcome outcome)
{
    if (got->rc != rc)
        fail_msg("ended with %d: %s", got->rc, err_text(&got->err));
    if (rc == 0)
        assert_int_equal(got->result.outcome, outcome);
}

static inline void up(struct world *world, const struct migration *migration, const char *schema,
                      enum backend_outcome outcome)
{
    struct outcome got = step(world, world->a, migration, BACKEND_UP, schema);

    assert_outcome(&got, 0, outcome);
}

static inline void down(struct world *world, const struct migration *migration, const char *schema,
                        enum backend_outcome outcome)
{
    struct outcome got = step(world, world->a, migration, BACKEND_DOWN, schema);

    assert_outcome(&got, 0, outcome);
}

/* Fails with the code, and a text that has `part` in it. */
static inline void assert_fails(struct world *world, const struct migration *migration,
                                enum backend_direction direction, const char *schema, int rc,
                                const char *part)
{
    struct outcome got = step(world, world->a, migration, direction, schema);

    if (got.rc != rc || strstr(err_text(&got.err), part) == NULL)
        fail_msg("ended with %d: %s", got.rc, err_text(&got.err));
}

#endif
