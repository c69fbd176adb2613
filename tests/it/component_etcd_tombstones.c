/* What is undone stays known to a real etcd, so that nothing that comes late is applied again. */
#include "etcd_world.h"

/* The marker's key of migration "m" in schema "t". */
static const char marker_key[] = "/app.bfm/journal/t\0"
                                 "20250101000000_m_etcd_conf";

static int64_t marker_mod(struct world *world)
{
    return admin_mod(world, marker_key, sizeof(marker_key) - 1);
}

/* A transaction of an up that was sent when the marker was there as of that revision (0: was not
 * there) arrives now. True: it takes effect. */
static bool arrives(struct world *world, int64_t seen)
{
    const struct slice key = {.at = marker_key, .len = sizeof(marker_key) - 1};
    struct etcdb_txn txn;
    bool succeeded;
    cJSON *body;

    etcdb_txn_init(&txn, 1 << 20);
    etcdb_txn_begin(&txn);
    if (seen == 0)
        etcdb_txn_compare_create(&txn, "", key, 0);
    else
        etcdb_txn_compare_mod(&txn, "", key, seen);
    etcdb_txn_success(&txn);
    etcdb_txn_put(&txn, "", key, world_slice("late"));
    body = admin_call(world, &txn);
    succeeded = etcdb_answer_succeeded(body);
    cJSON_Delete(body);
    return succeeded;
}

/* Up and down again and again: no revision that was ever compared with comes back. */
static void check_late_copies(struct world *world, const char *up_script, const char *down_script)
{
    const struct migration *m = load(world, "m", up_script, down_script);
    int64_t seen[9] = {0};
    size_t count = 1;

    while (count < ARRAY_SIZE(seen)) {
        bool is_up = count % 2 == 1;

        if (is_up)
            up(world, m, "t", BACKEND_DONE);
        else
            down(world, m, "t", BACKEND_DONE);
        for (size_t i = 0; i < count; i++)
            assert_false(arrives(world, seen[i]));
        seen[count] = marker_mod(world);
        assert_true(seen[count] > seen[count - 1]);
        count++;
        if (!is_up)
            assert_only_tombstones(world, "/", 1);
    }
    admin_delete(world, "/app.bfm/", "/app.bfm0");
}

static void test_late_copies(void **state)
{
    struct world *world = *state;

    check_late_copies(world, "[" PUT("a", "1") "]", "[" DELETE("a") "]");
    check_late_copies(world, "[" PUT("a", "1") "," DELETE("b") "]", NULL);
    check_late_copies(world, "[" DELETE("a") "]", "[]");
    check_late_copies(world, many(0, 300, "v"), many(1, 300, NULL));
    check_late_copies(world, many(0, 300, "v"), NULL);
}

/* A tombstone is small, and says who applied what is undone. */
static void test_what_it_says(void **state)
{
    struct world *world = *state;
    const struct migration *m = load(world, "m", many(0, 300, "v"), NULL);
    char value[1024], applied[1024], part[80];
    cJSON *was, *is;

    up(world, m, "t", BACKEND_DONE);
    snprintf(applied, sizeof(applied), "%s",
             strchr(admin_show(world, "/app.bfm/journal/", "/app.bfm/journal0"), '=') + 1);
    down(world, m, "t", BACKEND_DONE);
    snprintf(value, sizeof(value), "%s",
             strchr(admin_show(world, "/app.bfm/journal/", "/app.bfm/journal0"), '=') + 1);
    assert_true(strlen(value) < 400);
    was = cJSON_Parse(applied);
    is = cJSON_Parse(value);
    snprintf(part, sizeof(part), "%s", cJSON_GetObjectItem(was, "attempt")->valuestring);
    assert_string_equal(cJSON_GetObjectItem(is, "kind")->valuestring, "undone");
    assert_string_equal(cJSON_GetObjectItem(is, "undid")->valuestring, part);
    assert_string_equal(cJSON_GetObjectItem(is, "checksum")->valuestring, m->up.checksum);
    assert_null(cJSON_GetObjectItem(is, "records"));
    cJSON_Delete(was);
    cJSON_Delete(is);
    assert_only_tombstones(world, "/", 1);
}

/* Journals of older servers, which deleted the marker, and an older part of a down. */
static void test_without_tombstones(void **state)
{
    struct world *world = *state;
    const struct migration *m = load(world, "m", "[" PUT("a", "1") "," PUT("b", "1") "]",
                                     "[" DELETE("a") "," DELETE("b") "]");

    for (int i = 0; i < 2; i++) {
        up(world, m, "t", BACKEND_DONE);
        admin_delete(world, "/app", "/app0");
        admin_delete(world, "/app.bfm/", "/app.bfm0");
        down(world, m, "t", BACKEND_WAS_DONE);
        assert_int_equal(admin_count(world, "/", "0", NULL), 0); /* nor does that leave one */
    }
    up(world, m, "t", BACKEND_DONE);
    assert_keys(world, "/app/t/", "/app/t/a=1\n/app/t/b=1");
}

/* The same migration elsewhere has one of its own. */
static void test_one_for_each_schema(void **state)
{
    struct world *world = *state;
    const struct migration *m = load(world, "m", "a=1", NULL), *n = load(world, "n", "b=1", NULL);

    for (int i = 0; i < 3; i++) {
        up(world, m, "t", BACKEND_DONE);
        up(world, n, "t", BACKEND_DONE);
        up(world, m, "u", BACKEND_DONE);
        down(world, m, "t", BACKEND_DONE);
        down(world, m, "t", BACKEND_WAS_DONE);
        up(world, m, "u", BACKEND_WAS_DONE);
        down(world, m, "u", BACKEND_DONE);
        down(world, n, "t", BACKEND_DONE);
        assert_only_tombstones(world, "/", 3);
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        T(test_late_copies),
        T(test_what_it_says),
        T(test_without_tombstones),
        T(test_one_for_each_schema),
    };
#undef T

    return cmocka_run_group_tests(tests, NULL, NULL);
}
