#include "cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/map.h"
#include "base/mem.h"

enum {
    KEYS = 500,
    STEPS = 20000,
};

static void test_put_get_remove(void **state)
{
    int one = 1, two = 2;
    struct map map;

    (void)state;
    map_init(&map);
    assert_null(map_get_str(&map, "a"));
    assert_null(map_remove_str(&map, "a"));
    assert_int_equal(map_put_str(&map, "a", &one), 0);
    assert_int_equal(map_put(&map, "a\0b", 3, &two), 0);
    assert_ptr_equal(map_get_str(&map, "a"), &one);
    assert_ptr_equal(map_get(&map, "a\0b", 3), &two);
    assert_null(map_get(&map, "a\0c", 3));
    assert_null(map_get(&map, "", 0));
    assert_int_equal(map_put(&map, "", 0, &two), 0);
    assert_ptr_equal(map_get(&map, "", 0), &two);
    assert_int_equal(map_put_str(&map, "a", &two), 0);
    assert_int_equal(map.len, 3);
    assert_ptr_equal(map_remove_str(&map, "a"), &two);
    assert_null(map_get_str(&map, "a"));
    assert_int_equal(map.len, 2);
    map_free(&map);
    assert_int_equal(map.len, 0);
    assert_null(map_get_str(&map, "a"));
}

/* Against a table that cannot be wrong: values[i] is what key i has, 0 for none. */
static void test_random(void **state)
{
    static char keys[KEYS][16];
    static int cells[2];
    void *values[KEYS] = {0};
    size_t len = 0;
    struct map map;

    (void)state;
    srand(20250101);
    map_init(&map);
    for (int i = 0; i < KEYS; i++)
        snprintf(keys[i], sizeof(keys[i]), "key %d", i);
    for (int step = 0; step < STEPS; step++) {
        int i = rand() % KEYS;

        if (rand() % 3 == 0) {
            assert_ptr_equal(map_remove_str(&map, keys[i]), values[i]);
            len -= values[i] != NULL;
            values[i] = NULL;
        } else {
            len += values[i] == NULL;
            values[i] = &cells[rand() % 2];
            assert_int_equal(map_put_str(&map, keys[i], values[i]), 0);
        }
        assert_int_equal(map.len, len);
        i = rand() % KEYS;
        assert_ptr_equal(map_get_str(&map, keys[i]), values[i]);
    }
    map_free(&map);
}

static void test_next_gives_each_value_once(void **state)
{
    int seen[100] = {0};
    char keys[100][8];
    struct map map;
    size_t at = 0, count = 0;
    int *value;

    (void)state;
    map_init(&map);
    assert_null(map_next(&map, &at));
    for (int i = 0; i < 100; i++) {
        snprintf(keys[i], sizeof(keys[i]), "%d", i);
        assert_int_equal(map_put_str(&map, keys[i], &seen[i]), 0);
    }
    for (int i = 0; i < 100; i += 3)
        map_remove_str(&map, keys[i]);
    while ((value = map_next(&map, &at)) != NULL) {
        ++*value;
        count++;
    }
    assert_int_equal(count, map.len);
    for (int i = 0; i < 100; i++)
        assert_int_equal(seen[i], i % 3 != 0);
    map_free(&map);
}

/* The same few places are used again and again: the table must not fill up with removed ones. */
static void test_removed_places_are_reclaimed(void **state)
{
    char key[16];
    struct map map;

    (void)state;
    map_init(&map);
    for (int i = 0; i < 100000; i++) {
        snprintf(key, sizeof(key), "%d", i);
        assert_int_equal(map_put_str(&map, key, key), 0);
        assert_ptr_equal(map_remove_str(&map, key), key);
    }
    assert_int_equal(map.len, 0);
    assert_true(map.cap <= 64);
    map_free(&map);
}

static void test_out_of_memory(void **state)
{
    static const char *const keys[] = {"a", "b", "c", "d", "e", "f", "g", "h",
                                       "i", "j", "k", "l", "m", "n", "o", "p"};
    struct map map;
    size_t put = 0;

    (void)state;
    map_init(&map);
    mem_fail_at(1, 1);
    assert_int_equal(map_put_str(&map, "a", &map), ERR_NOMEM);
    mem_fail_at(2, 1); /* the second growth fails */
    while (put < ARRAY_SIZE(keys) && map_put_str(&map, keys[put], &map) == 0)
        put++;
    mem_fail_at(0, 0);
    assert_true(put > 1 && put < ARRAY_SIZE(keys));
    assert_int_equal(map.len, put);
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
        assert_ptr_equal(map_get_str(&map, keys[i]), i < put ? &map : NULL);
    assert_int_equal(map_put_str(&map, keys[put], &map), 0);
    map_free(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_put_get_remove),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_next_gives_each_value_once),
        cmocka_unit_test(test_removed_places_are_reclaimed),
        cmocka_unit_test(test_out_of_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
