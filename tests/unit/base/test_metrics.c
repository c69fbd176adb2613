/* The text that Prometheus reads, and that no family grows beyond its limit. */
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "cmocka_all.h"

static const uint64_t bounds[] = {500, 1000, 2500000};

static const struct metric_info counter_info = {
    .name = "things_total",
    .help = "Things.\nOf \\ every kind.",
    .type = METRIC_COUNTER,
    .labels = {"kind", "place"},
    .max_series = 4,
};
static const struct metric_info gauge_info = {
    .name = "heat_seconds", .help = "Heat.", .type = METRIC_GAUGE, .unit = 1000, .max_series = 1};
static const struct metric_info histogram_info = {
    .name = "wait_seconds",
    .help = "Waits.",
    .type = METRIC_HISTOGRAM,
    .labels = {"kind"},
    .unit = 1000000,
    .bounds = bounds,
    .bound_count = ARRAY_SIZE(bounds),
    .max_series = 2,
};

static struct metrics metrics;
static struct metric_family counters, gauges, histograms;
static struct buf text;

static int set_up(void **state)
{
    (void)state;
    metrics_init(&metrics);
    metrics_add(&metrics, &counters, &counter_info);
    metrics_add(&metrics, &gauges, &gauge_info);
    metrics_add(&metrics, &histograms, &histogram_info);
    buf_init(&text, 1 << 20);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    metrics_free(&metrics);
    buf_free(&text);
    return 0;
}

/* The number of pieces. */
static size_t render(void)
{
    struct metrics_cursor cursor = {0};
    size_t pieces = 0;

    buf_truncate(&text, 0);
    while (metrics_render(&metrics, &cursor, &text))
        pieces++;
    assert_int_equal(text.rc, 0);
    return pieces;
}

static void test_counters_and_labels(void **state)
{
    (void)state;
    metric_add(metric_get(&counters, "a", "x", NULL), 2);
    metric_add(metric_get(&counters, "q\"\\\n", "", NULL), 1);
    metric_add(metric_get(&counters, "a", "x", NULL), 3);
    render();
    assert_string_equal(buf_str(&text), "# HELP things_total Things.\\nOf \\\\ every kind.\n"
                                        "# TYPE things_total counter\n"
                                        "things_total{kind=\"a\",place=\"x\"} 5\n"
                                        "things_total{kind=\"q\\\"\\\\\\n\",place=\"\"} 1\n");
}

static void expect_gauge(int64_t value, const char *shown)
{
    char line[128];

    metric_set(metric_get(&gauges, NULL, NULL, NULL), value);
    render();
    snprintf(line, sizeof(line), "\nheat_seconds %s\n", shown);
    assert_non_null(strstr(buf_str(&text), line));
}

static void test_values_are_exact(void **state)
{
    (void)state;
    expect_gauge(0, "0");
    expect_gauge(7, "0.007");
    expect_gauge(1250, "1.25");
    expect_gauge(-1250, "-1.25");
    expect_gauge(INT64_MAX, "9223372036854775.807");
    expect_gauge(INT64_MIN, "-9223372036854775.808");
}

static void observe(uint64_t value)
{
    metric_observe(&histograms, metric_get(&histograms, "k", NULL, NULL), value);
}

static void test_histograms_add_up(void **state)
{
    const uint64_t loaded[] = {0, 0, 0, 9};

    (void)state;
    observe(0);
    observe(500);
    observe(501);
    observe(2500001);
    render();
    assert_string_equal(buf_str(&text), "# HELP wait_seconds Waits.\n"
                                        "# TYPE wait_seconds histogram\n"
                                        "wait_seconds_bucket{kind=\"k\",le=\"0.0005\"} 2\n"
                                        "wait_seconds_bucket{kind=\"k\",le=\"0.001\"} 3\n"
                                        "wait_seconds_bucket{kind=\"k\",le=\"2.5\"} 3\n"
                                        "wait_seconds_bucket{kind=\"k\",le=\"+Inf\"} 4\n"
                                        "wait_seconds_sum{kind=\"k\"} 2.501002\n"
                                        "wait_seconds_count{kind=\"k\"} 4\n");
    metric_load(&histograms, metric_get(&histograms, "k", NULL, NULL), loaded, 1);
    render();
    assert_non_null(strstr(buf_str(&text), "wait_seconds_count{kind=\"k\"} 9\n"));
}

static void test_what_comes_beyond_the_limit_is_other(void **state)
{
    char name[METRICS_LABEL_SIZE + 1];

    (void)state;
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "kind%d", i);
        metric_add(metric_get(&counters, name, "x", NULL), 1);
    }
    memset(name, 'l', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    metric_add(metric_get(&counters, name, "x", NULL), 1);
    assert_int_equal(counters.count, 4);
    assert_int_equal(metric_get(&counters, "kind2", "x", NULL)->value, 1);
    assert_int_equal(metric_get(&counters, "other", "other", NULL)->value, 998);
    assert_ptr_equal(metric_get(&counters, "new", "x", NULL),
                     metric_get(&counters, "other", "other", NULL));
}

static void test_a_family_without_series_is_left_out(void **state)
{
    (void)state;
    assert_int_equal(render(), 3); /* a piece for each family, all empty */
    assert_int_equal(text.len, 0);
}

/* What is added while an answer is under way neither breaks nor doubles anything. */
static void test_series_may_come_meanwhile(void **state)
{
    struct metrics_cursor cursor = {0};

    (void)state;
    metric_add(metric_get(&counters, "a", "x", NULL), 1);
    assert_true(metrics_render(&metrics, &cursor, &text));
    metric_add(metric_get(&counters, "b", "x", NULL), 1);
    metric_set(metric_get(&gauges, NULL, NULL, NULL), 1);
    while (metrics_render(&metrics, &cursor, &text))
        continue;
    assert_string_equal(strstr(buf_str(&text), "things_total{"),
                        "things_total{kind=\"a\",place=\"x\"} 1\n"
                        "things_total{kind=\"b\",place=\"x\"} 1\n"
                        "# HELP heat_seconds Heat.\n"
                        "# TYPE heat_seconds gauge\n"
                        "heat_seconds 0.001\n");
}

static void test_memory_may_run_out(void **state)
{
    (void)state;
    for (uint64_t nth = 1; nth < 4; nth++) {
        mem_fail_at(nth, 0);
        metric_add(metric_get(&counters, "a", "x", NULL), 1);
        mem_fail_at(0, 0);
    }
    metric_add(metric_get(&counters, "a", "x", NULL), 1);
    assert_int_equal(counters.count, 1);
    assert_true(metric_get(&counters, "a", "x", NULL)->value >= 1);
}

static void test_nothing_is_kept_in_unused_families(void **state)
{
    struct metric_family unused = {0};

    (void)state;
    assert_null(metric_get(&unused, "a", "b", "c"));
    metric_add(NULL, 1);
    metric_set(NULL, 1);
    metric_observe(&unused, NULL, 1);
    metric_load(&unused, NULL, NULL, 1);
    metrics_free(&metrics);
    assert_null(metric_get(&counters, "a", "x", NULL));
}

static unsigned samples;

static void on_sample(struct metrics_sampler *sampler)
{
    (void)sampler;
    samples++;
}

static void test_samplers_are_told(void **state)
{
    struct metrics_sampler one = {.sample = on_sample}, two = {.sample = on_sample};

    (void)state;
    samples = 0;
    metrics_add_sampler(&metrics, &one);
    metrics_add_sampler(&metrics, &two);
    metrics_sample(&metrics);
    assert_int_equal(samples, 2);
    metrics_free(&metrics);
    metrics_sample(&metrics);
    assert_int_equal(samples, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_counters_and_labels, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_values_are_exact, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_histograms_add_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_comes_beyond_the_limit_is_other, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_family_without_series_is_left_out, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_series_may_come_meanwhile, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_memory_may_run_out, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nothing_is_kept_in_unused_families, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_samplers_are_told, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
