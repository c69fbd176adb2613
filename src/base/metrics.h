#ifndef BFM_BASE_METRICS_H
#define BFM_BASE_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"

/*
 * Figures in Prometheus' text format, version 0.0.4. A family is one name; each set of label values
 * seen makes a series of it. No family has more than `max_series` of them, whatever comes in: what
 * comes beyond is counted in one whose labels all say "other". Single-threaded.
 */
enum {
    METRICS_LABELS_MAX = 3,
    METRICS_LABEL_SIZE = 256, /* bytes of all values of a series; longer ones count as "other" */
};

enum metric_type {
    METRIC_COUNTER,
    METRIC_GAUGE,
    METRIC_HISTOGRAM,
};

/* What a family is. Constant, and outlives it. */
struct metric_info {
    const char *name, *help;
    enum metric_type type;
    const char *labels[METRICS_LABELS_MAX]; /* names; NULL behind the last */
    /* What is counted, divided by this, is what is shown: 1000000 for microseconds that are shown
     * as seconds. 0 stands for 1. */
    uint64_t unit;
    const uint64_t *bounds; /* histogram: the largest value of each bucket but the last, rising */
    size_t bound_count;
    size_t max_series; /* at least 1 */
};

/* One series. */
struct metric {
    int64_t value;      /* histogram: the sum */
    uint64_t *buckets;  /* histogram: bound_count + 1 counts, each of its own bucket only */
    const char *labels; /* values, each with a NUL behind it */
};

struct metric_family {
    const struct metric_info *info; /* NULL: not in use, nothing is counted */
    struct list link;
    struct map by_labels;
    struct metric **series;
    size_t count, cap;
};

/* Told before each rendering, to set what is only looked up then. */
struct metrics_sampler {
    void (*sample)(struct metrics_sampler *sampler);
    struct list link;
};

struct metrics {
    struct list families, samplers;
};

void metrics_init(struct metrics *metrics);
void metrics_free(struct metrics *metrics); /* the series of every family; families stay unused */

/* `family` is zeroed memory of its owner, and lives until metrics_free(). */
void metrics_add(struct metrics *metrics, struct metric_family *family,
                 const struct metric_info *info);
void metrics_add_sampler(struct metrics *metrics, struct metrics_sampler *sampler);
void metrics_sample(struct metrics *metrics);

/* The series of these label values, as many as the family has labels; NULL: memory is out, or the
 * family is not in use. */
struct metric *metric_get(struct metric_family *family, const char *a, const char *b,
                          const char *c);

/* Each takes NULL, and does nothing then. */
void metric_add(struct metric *metric, int64_t n);
void metric_set(struct metric *metric, int64_t value);
void metric_observe(struct metric_family *family, struct metric *metric, uint64_t value);
/* A histogram that was counted elsewhere, with the family's bounds. */
void metric_load(struct metric_family *family, struct metric *metric, const uint64_t *buckets,
                 uint64_t sum);

/* Where a rendering is; zeroed memory is its start. */
struct metrics_cursor {
    struct list *family;
    size_t series;
    bool begun;
};

/* Appends the next piece, at most one series; false: that was all. What is added meanwhile may be
 * missing, nothing comes twice. */
bool metrics_render(struct metrics *metrics, struct metrics_cursor *cursor, struct buf *out);

#endif
