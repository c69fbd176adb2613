#include "base/metrics.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/mem.h"

void metrics_init(struct metrics *metrics)
{
    list_init(&metrics->families);
    list_init(&metrics->samplers);
}

static void family_free(struct metric_family *family)
{
    for (size_t i = 0; i < family->count; i++)
        mem_free(family->series[i]);
    mem_free(family->series);
    map_free(&family->by_labels);
    *family = (struct metric_family){.info = NULL};
}

void metrics_free(struct metrics *metrics)
{
    struct list *node;

    while (list_pop_front(&metrics->samplers) != NULL)
        continue;
    while ((node = list_pop_front(&metrics->families)) != NULL)
        family_free(container_of(node, struct metric_family, link));
}

void metrics_add(struct metrics *metrics, struct metric_family *family,
                 const struct metric_info *info)
{
    *family = (struct metric_family){.info = info};
    map_init(&family->by_labels);
    list_push_back(&metrics->families, &family->link);
}

void metrics_add_sampler(struct metrics *metrics, struct metrics_sampler *sampler)
{
    list_push_back(&metrics->samplers, &sampler->link);
}

void metrics_sample(struct metrics *metrics)
{
    list_foreach(node, &metrics->samplers) {
        struct metrics_sampler *sampler = container_of(node, struct metrics_sampler, link);

        sampler->sample(sampler);
    }
}

/* --- series --- */

static size_t info_label_count(const struct metric_info *info)
{
    size_t count = 0;

    while (count < METRICS_LABELS_MAX && info->labels[count] != NULL)
        count++;
    return count;
}

/* Puts the values one behind the other. Their length, or 0 if they do not fit. */
static size_t labels_join(const char *const *values, size_t count, char out[METRICS_LABEL_SIZE])
{
    size_t used = 0;

    for (size_t i = 0; i < count; i++) {
        size_t size = strlen(values[i]) + 1;

        if (size > METRICS_LABEL_SIZE - used)
            return 0;
        memcpy(out + used, values[i], size);
        used += size;
    }
    return used;
}

static size_t labels_join_other(size_t count, char out[METRICS_LABEL_SIZE])
{
    static const char *const others[METRICS_LABELS_MAX] = {"other", "other", "other"};

    return labels_join(others, count, out);
}

static struct metric *series_make(const struct metric_family *family, const char *labels,
                                  size_t len)
{
    const struct metric_info *info = family->info;
    size_t buckets = info->type == METRIC_HISTOGRAM ? info->bound_count + 1 : 0;
    struct metric *metric = mem_calloc(1, sizeof(*metric) + buckets * sizeof(uint64_t) + len + 1);
    char *text;

    if (metric == NULL)
        return NULL;
    metric->buckets = (uint64_t *)(metric + 1);
    text = (char *)(metric->buckets + buckets);
    memcpy(text, labels, len);
    metric->labels = text;
    return metric;
}

static struct metric *series_add(struct metric_family *family, const char *labels, size_t len)
{
    void *items = family->series;
    struct metric *metric;

    if (mem_grow(&items, &family->cap, family->count, sizeof(*family->series)) != 0)
        return NULL;
    family->series = items;
    metric = series_make(family, labels, len);
    if (metric == NULL)
        return NULL;
    if (map_put(&family->by_labels, metric->labels, len, metric) != 0) {
        mem_free(metric);
        return NULL;
    }
    family->series[family->count++] = metric;
    return metric;
}

struct metric *metric_get(struct metric_family *family, const char *a, const char *b, const char *c)
{
    const char *const values[METRICS_LABELS_MAX] = {a, b, c};
    const struct metric_info *info = family->info;
    char labels[METRICS_LABEL_SIZE];
    struct metric *metric;
    size_t count, len;

    if (info == NULL)
        return NULL;
    count = info_label_count(info);
    len = labels_join(values, count, labels);
    if (len == 0)
        len = labels_join_other(count, labels);
    metric = map_get(&family->by_labels, labels, len);
    if (metric != NULL)
        return metric;
    if (family->count + 1 >= info->max_series && count > 0) { /* the last place is for the rest */
        len = labels_join_other(count, labels);
        metric = map_get(&family->by_labels, labels, len);
    }
    return metric != NULL ? metric : series_add(family, labels, len);
}

void metric_add(struct metric *metric, int64_t n)
{
    if (metric != NULL)
        metric->value += n;
}

void metric_set(struct metric *metric, int64_t value)
{
    if (metric != NULL)
        metric->value = value;
}

void metric_observe(struct metric_family *family, struct metric *metric, uint64_t value)
{
    size_t at = 0;

    if (metric == NULL)
        return;
    while (at < family->info->bound_count && value > family->info->bounds[at])
        at++;
    metric->buckets[at]++;
    metric->value += (int64_t)value;
}

void metric_load(struct metric_family *family, struct metric *metric, const uint64_t *buckets,
                 uint64_t sum)
{
    if (metric == NULL)
        return;
    memcpy(metric->buckets, buckets, (family->info->bound_count + 1) * sizeof(*buckets));
    metric->value = (int64_t)sum;
}

/* --- text --- */

static void put_escaped(const char *text, bool is_label, struct buf *out)
{
    for (; *text != '\0'; text++) {
        if (*text == '\n')
            buf_puts(out, "\\n");
        else if (*text == '\\' || (is_label && *text == '"'))
            buf_printf(out, "\\%c", *text);
        else
            buf_putc(out, *text);
    }
}

static void put_head(const struct metric_info *info, struct buf *out)
{
    static const char *const types[] = {
        [METRIC_COUNTER] = "counter",
        [METRIC_GAUGE] = "gauge",
        [METRIC_HISTOGRAM] = "histogram",
    };

    buf_printf(out, "# HELP %s ", info->name);
    put_escaped(info->help, false, out);
    buf_printf(out, "\n# TYPE %s %s\n", info->name, types[info->type]);
}

/* Decimal, without the rounding of a floating-point number. */
static void put_value(const struct metric_info *info, int64_t value, struct buf *out)
{
    uint64_t unit = info->unit > 0 ? info->unit : 1;
    uint64_t size = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    uint64_t rest = size % unit;

    buf_printf(out, "%s%" PRIu64, value < 0 ? "-" : "", size / unit);
    if (rest == 0)
        return;
    buf_putc(out, '.');
    while (rest > 0 && unit > 1) {
        unit /= 10;
        buf_putc(out, (char)('0' + rest / unit));
        rest %= unit;
    }
}

/* Leaves the brace open where it was opened; true: it was. */
static bool put_labels(const struct metric_info *info, const struct metric *metric, struct buf *out)
{
    const char *value = metric->labels;
    size_t count = info_label_count(info);

    for (size_t i = 0; i < count; i++) {
        buf_printf(out, "%c%s=\"", i == 0 ? '{' : ',', info->labels[i]);
        put_escaped(value, true, out);
        buf_putc(out, '"');
        value += strlen(value) + 1;
    }
    return count > 0;
}

static void put_line(const struct metric_info *info, const struct metric *metric,
                     const char *suffix, struct buf *out)
{
    buf_printf(out, "%s%s", info->name, suffix);
    buf_puts(out, put_labels(info, metric, out) ? "} " : " ");
}

static void put_histogram(const struct metric_info *info, const struct metric *metric,
                          struct buf *out)
{
    uint64_t count = 0;

    for (size_t i = 0; i <= info->bound_count; i++) {
        count += metric->buckets[i];
        buf_printf(out, "%s_bucket", info->name);
        buf_puts(out, put_labels(info, metric, out) ? ",le=\"" : "{le=\"");
        if (i < info->bound_count)
            put_value(info, (int64_t)info->bounds[i], out);
        else
            buf_puts(out, "+Inf");
        buf_printf(out, "\"} %" PRIu64 "\n", count);
    }
    put_line(info, metric, "_sum", out);
    put_value(info, metric->value, out);
    buf_putc(out, '\n');
    put_line(info, metric, "_count", out);
    buf_printf(out, "%" PRIu64 "\n", count);
}

static void put_series(const struct metric_info *info, const struct metric *metric, struct buf *out)
{
    if (info->type == METRIC_HISTOGRAM) {
        put_histogram(info, metric, out);
        return;
    }
    put_line(info, metric, "", out);
    put_value(info, metric->value, out);
    buf_putc(out, '\n');
}

/* A family that nothing was counted in is left out. */
bool metrics_render(struct metrics *metrics, struct metrics_cursor *cursor, struct buf *out)
{
    const struct metric_family *family;

    if (!cursor->begun) {
        cursor->family = metrics->families.next;
        cursor->begun = true;
    }
    if (cursor->family == &metrics->families)
        return false;
    family = container_of(cursor->family, struct metric_family, link);
    if (cursor->series == family->count) {
        cursor->family = family->link.next;
        cursor->series = 0;
        return true;
    }
    if (cursor->series == 0)
        put_head(family->info, out);
    put_series(family->info, family->series[cursor->series++], out);
    return true;
}
