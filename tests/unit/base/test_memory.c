#include "cmocka_all.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/list.h"
#include "base/mem.h"

static void test_arena_pieces(void **state)
{
    struct arena arena;
    char *text;

    (void)state;
    arena_init(&arena);
    text = arena_strdup(&arena, "abc");
    assert_string_equal(text, "abc");
    assert_string_equal(arena_strndup(&arena, "defgh", 3), "def");
    assert_string_equal(arena_strndup(&arena, NULL, 0), "");
    assert_string_equal(arena_printf(&arena, "%s-%d", text, 12), "abc-12");
    for (size_t size = 0; size < 5000; size += 7) {
        unsigned char *piece = arena_alloc(&arena, size);

        assert_non_null(piece);
        assert_int_equal((uintptr_t)piece % alignof(max_align_t), 0);
        memset(piece, 0xff, size);
        piece = arena_calloc(&arena, size, 1);
        for (size_t i = 0; i < size; i++)
            assert_int_equal(piece[i], 0);
    }
    assert_string_equal(text, "abc");
    assert_null(arena_alloc(&arena, SIZE_MAX - 8));
    assert_null(arena_calloc(&arena, SIZE_MAX / 2, 3));
    arena_free(&arena);
    assert_int_equal(arena.used, 0);
    assert_non_null(arena_alloc(&arena, 1));
    arena_free(&arena);
}

static void test_arena_adopt(void **state)
{
    struct arena to, from;
    char *a, *b;

    (void)state;
    arena_init(&to);
    arena_init(&from);
    a = arena_strdup(&from, "from");
    arena_adopt(&to, &from);
    arena_free(&from);
    assert_string_equal(a, "from");
    b = arena_strdup(&to, "to");
    arena_adopt(&to, &from);
    assert_string_equal(a, "from");
    assert_string_equal(b, "to");
    arena_free(&to);
}

static void test_arena_out_of_memory(void **state)
{
    struct arena arena;

    (void)state;
    arena_init(&arena);
    mem_fail_at(1, 1);
    assert_null(arena_alloc(&arena, 10));
    assert_null(arena_strdup(&arena, "x"));
    assert_null(arena_printf(&arena, "%d", 1));
    assert_null(arena_calloc(&arena, 3, 3));
    mem_fail_at(0, 0);
    assert_non_null(arena_alloc(&arena, 10));
    mem_fail_at(1, 1);
    assert_non_null(arena_alloc(&arena, 10)); /* there is room left */
    assert_null(arena_alloc(&arena, 100000));
    mem_fail_at(0, 0);
    arena_free(&arena);
}

static void test_mem_fails_on_demand(void **state)
{
    void *a, *b;

    (void)state;
    mem_fail_at(2, 0);
    a = mem_alloc(1);
    assert_non_null(a);
    assert_null(mem_calloc(1, 1));
    assert_true(mem_fail_hit());
    b = mem_strdup("x");
    assert_non_null(b);
    mem_fail_at(1, 1);
    assert_null(mem_realloc(a, 2));
    assert_null(mem_strndup("x", 1));
    mem_fail_pause(1);
    a = mem_realloc(a, 2);
    assert_non_null(a);
    mem_fail_pause(0);
    assert_null(mem_alloc(1));
    mem_fail_at(0, 0);
    assert_false(mem_fail_hit());
    mem_free(a);
    mem_free(b);
    mem_free(NULL);
}

struct item {
    int number;
    struct list link;
};

static void test_arrays_grow(void **state)
{
    uint64_t *numbers = NULL;
    void *items = NULL;
    size_t cap = 0;

    (void)state;
    for (size_t i = 0; i < 1000; i++) {
        assert_int_equal(mem_grow(&items, &cap, i, sizeof(*numbers)), 0);
        assert_true(cap > i);
        numbers = items;
        numbers[i] = i;
    }
    assert_int_equal(cap, 1024);
    for (size_t i = 0; i < 1000; i++)
        assert_int_equal(numbers[i], i);
    mem_fail_at(1, 0);
    assert_int_equal(mem_grow(&items, &cap, cap - 1, sizeof(*numbers)), 0); /* there is room */
    assert_int_equal(mem_grow(&items, &cap, cap, sizeof(*numbers)), ERR_NOMEM);
    mem_fail_at(0, 0);
    assert_ptr_equal(items, numbers);
    assert_int_equal(cap, 1024);
    mem_free(items);
    items = NULL;
    cap = SIZE_MAX / 4;
    assert_int_equal(mem_grow(&items, &cap, cap, sizeof(*numbers)), ERR_NOMEM);
}

static void test_list_order(void **state)
{
    struct item items[4] = {{.number = 0}, {.number = 1}, {.number = 2}, {.number = 3}};
    struct list head, other;
    int expected = 0;

    (void)state;
    list_init(&head);
    assert_true(list_is_empty(&head));
    assert_null(list_pop_front(&head));
    list_push_back(&head, &items[2].link);
    list_push_back(&head, &items[3].link);
    list_push_front(&head, &items[0].link);
    list_insert_before(&items[2].link, &items[1].link);
    list_foreach(node, &head)
        assert_int_equal(container_of(node, struct item, link)->number, expected++);
    assert_int_equal(expected, 4);

    list_foreach_safe(node, &head)
        if (container_of(node, struct item, link)->number % 2 == 1)
            list_remove(node);
    assert_false(list_is_linked(&items[1].link));
    assert_true(list_is_linked(&items[2].link));

    list_init(&other);
    list_append_all(&other, &head);
    assert_true(list_is_empty(&head));
    list_append_all(&other, &head);
    assert_ptr_equal(list_pop_front(&other), &items[0].link);
    assert_ptr_equal(list_pop_front(&other), &items[2].link);
    assert_true(list_is_empty(&other));
    assert_false(list_is_linked(&items[2].link));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arena_pieces),        cmocka_unit_test(test_arena_adopt),
        cmocka_unit_test(test_arena_out_of_memory), cmocka_unit_test(test_mem_fails_on_demand),
        cmocka_unit_test(test_arrays_grow),         cmocka_unit_test(test_list_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
