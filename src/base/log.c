#include "base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"

enum {
    LOG_LINE_MAX = 64 * 1024,
};

static const char *const level_name[] = {"debug", "info", "warn", "error", "fatal"};

static enum log_level minimum = LOG_INFO;
static enum log_format form = LOG_JSON;
static void (*sink)(void *arg, const char *line, size_t len);
static void *sink_arg;
static _Atomic uint64_t dropped;

bool log_is_on(enum log_level level)
{
    return level >= minimum;
}

void log_configure(enum log_level level, enum log_format format)
{
    minimum = level;
    form = format;
}

void log_set_sink(void (*new_sink)(void *arg, const char *line, size_t len), void *arg)
{
    sink = new_sink;
    sink_arg = arg;
}

uint64_t log_dropped(void)
{
    return dropped;
}

enum log_level log_parse_level(const char *text)
{
    if (strcasecmp(text, "warning") == 0)
        return LOG_WARN;
    for (size_t i = 0; i < ARRAY_SIZE(level_name); i++)
        if (strcasecmp(text, level_name[i]) == 0)
            return (enum log_level)i;
    return LOG_INFO;
}

static void log_put_json(struct buf *line, const char *time, enum log_level level,
                         const char *message, const struct log_field *fields, size_t count)
{
    buf_printf(line, "{\"time\":\"%s\",\"level\":\"%s\",\"msg\":", time, level_name[level]);
    json_put_string(line, message);
    for (size_t i = 0; i < count; i++) {
        if (fields[i].key == NULL)
            continue;
        buf_printf(line, ",\"%s\":", fields[i].key);
        if (fields[i].text != NULL)
            json_put_string(line, fields[i].text);
        else
            buf_printf(line, "%" PRId64, fields[i].number);
    }
    buf_puts(line, "}\n");
}

static void log_put_text(struct buf *line, const char *time, enum log_level level,
                         const char *message, const struct log_field *fields, size_t count)
{
    buf_printf(line, "%s %-5s %s", time, level_name[level], message);
    for (size_t i = 0; i < count; i++) {
        if (fields[i].key == NULL)
            continue;
        buf_printf(line, " %s=", fields[i].key);
        if (fields[i].text == NULL)
            buf_printf(line, "%" PRId64, fields[i].number);
        else if (fields[i].text[strcspn(fields[i].text, " \"\\\n\r\t=")] == '\0' &&
                 fields[i].text[0] != '\0')
            buf_puts(line, fields[i].text);
        else
            json_put_string(line, fields[i].text);
    }
    buf_putc(line, '\n');
}

void log_write_fields(enum log_level level, const char *message, const struct log_field *fields,
                      size_t count)
{
    char time[CLOCK_RFC3339_SIZE];
    struct buf line;

    if (!log_is_on(level))
        return;
    buf_init(&line, LOG_LINE_MAX);
    clock_format(clock_wall_us(), time);
    if (form == LOG_JSON)
        log_put_json(&line, time, level, message, fields, count);
    else
        log_put_text(&line, time, level, message, fields, count);
    if (line.rc != 0)
        dropped++;
    else if (sink != NULL)
        sink(sink_arg, line.data, line.len);
    else
        fwrite(line.data, 1, line.len, stdout);
    buf_free(&line);
}
