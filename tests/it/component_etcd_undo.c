/* Values from before, kept by a real etcd and put back. */
#include "etcd_world.h"

/* Without a down script the values from before are put back. */
static void test_generated_down(void **state)
{
    struct world *world = *state;
    const struct migration *m =
        load(world, "m",
             "[" PUT("new", "\"n\"") "," PUT("old", "\"changed\"") "," DELETE("gone") "," DELETE(
                 "never") "," PREFIX("p/") "," PUT("p/2", "\"two\"") "]",
             NULL);
    static const char before[] = "/app/t/gone=g\n/app/t/old=o\n/app/t/p/1=1\n/app/t/p/2=2\n"
                                 "/app/t/p/3=3";

    admin_put(world, "/app/t/old", "o");
    admin_put(world, "/app/t/gone", "g");
    admin_put(world, "/app/t/p/1", "1");
    admin_put(world, "/app/t/p/2", "2");
    admin_put(world, "/app/t/p/3", "3");
    for (int i = 0; i < 2; i++) {
        int64_t revision = admin_revision(world);

        up(world, m, "t", BACKEND_DONE);
        assert_int_equal(admin_revision(world), revision + 1);
        assert_keys(world, "/app/t/", "/app/t/new=n\n/app/t/old=changed\n/app/t/p/2=two");
        down(world, m, "t", BACKEND_DONE);
        assert_int_equal(admin_revision(world), revision + 2);
        assert_keys(world, "/app/t/", before);
        assert_only_tombstones(world, "/app.bfm/", 1);
    }
    down(world, m, "t", BACKEND_WAS_DONE);
}

static void assert_undo_refused(struct world *world, const struct migration *m, const char *part)
{
    int64_t revision = admin_revision(world);

    assert_fails(world, m, BACKEND_DOWN, "t", ERR_CONFLICT, part);
    assert_int_equal(admin_revision(world), revision);
}

/* What a later migration wrote goes back to what the one before it wrote, and that is no change. */
static void test_generated_downs_in_turn(void **state)
{
    struct world *world = *state;
    const struct migration *one = load(world, "one", "[" PUT("a", "\"1\"") "]", NULL);
    const struct migration *two = load(world, "two", "[" PUT("a", "\"2\"") "]", NULL);

    up(world, one, "t", BACKEND_DONE);
    up(world, two, "t", BACKEND_DONE);
    assert_undo_refused(world, one, "key \"/app/t/a\" was changed");
    down(world, two, "t", BACKEND_DONE);
    assert_keys(world, "/app/t/", "/app/t/a=1");
    down(world, one, "t", BACKEND_DONE);
    assert_only_tombstones(world, "/", 2);
}

/* Values from before that are no one answer, let alone one request: one after the other. */
static void test_large_values_from_before(void **state)
{
    struct world *world = *state;
    const struct migration *m = load(world, "m", many(0, 20, "small"), NULL);
    const size_t size = 1000000;
    char *value = malloc(size + 1), key[32];

    memset(value, 'x', size);
    value[size] = '\0';
    for (int i = 0; i < 20; i++) {
        snprintf(key, sizeof(key), "/app/t/k%04d", i);
        admin_put(world, key, value);
    }
    up(world, m, "t", BACKEND_DONE);
    assert_int_equal(admin_count(world, "/app.bfm/undo/", "/app.bfm/undo0", NULL), 20);
    down(world, m, "t", BACKEND_DONE);
    assert_only_tombstones(world, "/app.bfm/", 1);
    assert_int_equal(strlen(admin_value(world, "/app/t/k0013")), size);
    free(value);
}

static void test_generated_down_of_changed_keys(void **state)
{
    struct world *world = *state;
    const struct migration *m =
        load(world, "m", "[" PUT("a", "\"1\"") "," PUT("b", "\"2\"") "," DELETE("c") "]", NULL);
    const struct migration *scripted =
        load(world, "m", "[" PUT("a", "\"1\"") "," PUT("b", "\"2\"") "," DELETE("c") "]",
             "[" PREFIX("a") "," PREFIX("b") "]");

    admin_put(world, "/app/t/c", "c");
    up(world, m, "t", BACKEND_DONE);
    admin_put(world, "/app/t/b", "else");
    assert_undo_refused(world, m, "key \"/app/t/b\" was changed since this migration wrote it");
    admin_delete(world, "/app/t/b", "");
    assert_undo_refused(world, m, "key \"/app/t/b\" was deleted since this migration wrote it");
    admin_put(world, "/app/t/b", "2"); /* the same value: nothing is lost */
    admin_put(world, "/app/t/c", "again");
    assert_undo_refused(world, m, "key \"/app/t/c\" was made since this migration deleted it");
    admin_delete(world, "/app/t/c", "");
    down(world, m, "t", BACKEND_DONE);
    assert_keys(world, "/app/t/", "/app/t/c=c");

    up(world, m, "t", BACKEND_DONE);
    admin_put(world, "/app/t/b", "else");
    down(world, scripted, "t", BACKEND_DONE); /* a down script that came later */
    assert_keys(world, "/app/t/", "");
    assert_only_tombstones(world, "/app.bfm/", 1);

    up(world, scripted, "t", BACKEND_DONE);
    assert_undo_refused(world, m, "no values from before it were kept");
}

/* More than one transaction holds: several, in order, undone in the other order. */
static void test_chunks(void **state)
{
    struct world *world = *state;
    const struct migration *kept = load(world, "k", many(0, 300, "v"), NULL);
    const struct migration *wiped =
        load(world, "w", "[" PREFIX("k") "," PUT("k0150", "\"kept\"") "," PUT("x", "1") "]", NULL);
    static char before[1 << 16];

    up(world, kept, "t", BACKEND_DONE);
    assert_int_equal(admin_count(world, "/app/t/", "/app/t0", NULL), 300);
    assert_int_equal(admin_count(world, "/app.bfm/undo/", "/app.bfm/undo0", NULL), 3);
    up(world, kept, "t", BACKEND_WAS_DONE);
    strcpy(before, admin_show(world, "/app/t/", "/app/t0"));
    up(world, wiped, "t", BACKEND_DONE);
    assert_keys(world, "/app/t/", "/app/t/k0150=kept\n/app/t/x=1");
    admin_put(world, "/app/t/k0001", "else");
    assert_undo_refused(world, wiped, "key \"/app/t/k0001\" was made");
    admin_delete(world, "/app/t/k0001", "");
    down(world, wiped, "t", BACKEND_DONE);
    assert_string_equal(admin_show(world, "/app/t/", "/app/t0"), before);
    down(world, kept, "t", BACKEND_DONE);
    assert_only_tombstones(world, "/", 2);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        T(test_generated_down),
        T(test_generated_down_of_changed_keys),
        T(test_generated_downs_in_turn),
        T(test_large_values_from_before),
        T(test_chunks),
    };
#undef T

    return cmocka_run_group_tests(tests, NULL, NULL);
}
