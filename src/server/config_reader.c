#include "server/config_reader.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"

enum {
    CONFIG_SECRET_MAX = 64 * 1024,
    CONFIG_DAY_MS = 24 * 60 * 60 * 1000,
    CONFIG_DAYS_MAX = 3650,
};

PRINTF_LIKE(3, 0)
static void config_note(struct config_reader *reader, struct config_notes *notes,
                        const char *format, va_list args)
{
    struct arena *arena = &reader->config->arena;
    struct buf line;

    buf_init(&line, ERR_TEXT_MAX);
    buf_vprintf(&line, format, args);
    if (notes->count == notes->cap) {
        size_t cap = notes->cap > 0 ? notes->cap * 2 : 16;
        const char **lines = arena_calloc(arena, cap, sizeof(*lines));

        if (lines == NULL) {
            reader->rc = ERR_NOMEM;
            buf_free(&line);
            return;
        }
        if (notes->count > 0)
            memcpy(lines, notes->lines, notes->count * sizeof(*lines));
        notes->lines = lines;
        notes->cap = cap;
    }
    notes->lines[notes->count] = arena_strdup(arena, buf_str(&line));
    if (notes->lines[notes->count] == NULL)
        reader->rc = ERR_NOMEM;
    else
        notes->count++;
    buf_free(&line);
}

void config_error(struct config_reader *reader, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    config_note(reader, &reader->config->errors, format, args);
    va_end(args);
}

void config_warn(struct config_reader *reader, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    config_note(reader, &reader->config->warnings, format, args);
    va_end(args);
}

const char *config_keep(struct config_reader *reader, const char *text)
{
    char *copy;

    if (text == NULL)
        return NULL;
    copy = arena_strdup(&reader->config->arena, text);
    if (copy == NULL)
        reader->rc = ERR_NOMEM;
    return copy;
}

const char *config_raw(struct config_reader *reader, const char *name)
{
    return env_get(reader->env, name);
}

const char *config_text(struct config_reader *reader, const char *name, const char *fallback)
{
    const char *value = config_raw(reader, name);

    return config_keep(reader, value != NULL ? value : fallback);
}

/* The content of a file without one trailing newline; NULL if it is empty or cannot be used. */
static const char *config_read_secret(struct config_reader *reader, const char *variable,
                                      const char *path)
{
    const char *secret = NULL;
    struct buf content;
    struct err err;

    buf_init(&content, CONFIG_SECRET_MAX);
    err_clear(&err);
    if (reader->read(path, &content, &err) != 0) {
        config_error(reader, "%s: expected the path of a readable file of at most %d bytes (%s)",
                     variable, CONFIG_SECRET_MAX, err_text(&err));
    } else {
        if (content.len > 0 && content.data[content.len - 1] == '\n')
            buf_truncate(&content, content.len - 1);
        if (content.len != strlen(buf_str(&content)))
            config_error(reader, "%s: expected a file without NUL bytes", variable);
        else if (content.len > 0)
            secret = config_keep(reader, content.data);
    }
    buf_free(&content);
    return secret;
}

const char *config_secret(struct config_reader *reader, const char *name)
{
    const char *value = config_raw(reader, name);
    char variable[CONFIG_NAME_MAX];
    const char *path;

    if (snprintf(variable, sizeof(variable), "%s_FILE", name) >= (int)sizeof(variable))
        return config_keep(reader, value);
    path = config_raw(reader, variable);
    if (path == NULL)
        return config_keep(reader, value);
    if (value != NULL) {
        config_error(reader, "%s: expected only one of %s and %s", name, name, variable);
        return NULL;
    }
    return config_read_secret(reader, variable, path);
}

const char *config_required_secret(struct config_reader *reader, const char *name,
                                   const char *expected)
{
    size_t errors = reader->config->errors.count;
    const char *secret = config_secret(reader, name);

    if (secret == NULL && reader->config->errors.count == errors)
        config_error(reader, "%s: expected %s", name, expected);
    return secret;
}

bool config_parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
    size_t digits = strspn(text, "0123456789");
    uint64_t value;

    if (digits == 0 || digits > 18 || text[digits] != '\0')
        return false;
    value = strtoull(text, NULL, 10);
    if (value < min || value > max)
        return false;
    *out = value;
    return true;
}

uint64_t config_number(struct config_reader *reader, const char *name, uint64_t min, uint64_t max,
                       uint64_t fallback)
{
    const char *text = config_raw(reader, name);
    uint64_t value = fallback;

    if (text != NULL && !config_parse_number(text, min, max, &value))
        config_error(reader, "%s: expected an integer from %" PRIu64 " to %" PRIu64, name, min,
                     max);
    return value;
}

static uint64_t config_byte_unit(const char *text)
{
    static const struct {
        const char *name;
        uint64_t bytes;
    } units[] = {{"", 1}, {"KiB", 1024}, {"MiB", UINT64_C(1) << 20}};

    for (size_t i = 0; i < ARRAY_SIZE(units); i++)
        if (strcasecmp(text, units[i].name) == 0)
            return units[i].bytes;
    return 0;
}

uint64_t config_bytes(struct config_reader *reader, const char *name, uint64_t min, uint64_t max,
                      uint64_t fallback)
{
    const char *text = config_raw(reader, name);
    size_t digits;
    uint64_t value, unit;

    if (text == NULL)
        return fallback;
    digits = strspn(text, "0123456789");
    unit = config_byte_unit(text + digits + strspn(text + digits, " "));
    value = digits > 0 && digits < 12 ? strtoull(text, NULL, 10) * unit : 0;
    if (unit != 0 && value >= min && value <= max)
        return value;
    config_error(reader,
                 "%s: expected a number of bytes from %" PRIu64 " to %" PRIu64
                 ", such as 65536, 512KiB or 1MiB",
                 name, min, max);
    return fallback;
}

uint64_t config_duration(struct config_reader *reader, const char *name, uint64_t min_ms,
                         uint64_t fallback_ms)
{
    const char *text = config_raw(reader, name);
    int64_t ms;

    if (text == NULL)
        return fallback_ms;
    if (clock_parse_duration(text, &ms) && ms >= (int64_t)min_ms && ms <= CONFIG_DAY_MS)
        return (uint64_t)ms;
    config_error(reader,
                 "%s: expected a duration from %" PRIu64 "ms to 24h, such as 500ms, 30s or 1m30s",
                 name, min_ms);
    return fallback_ms;
}

static bool config_parse_days(const char *text, uint64_t *ms)
{
    size_t len = strlen(text);
    char digits[16];
    int64_t parsed;

    if (len > 1 && len <= sizeof(digits) && text[len - 1] == 'd') {
        memcpy(digits, text, len - 1);
        digits[len - 1] = '\0';
        if (!config_parse_number(digits, 0, CONFIG_DAYS_MAX, ms))
            return false;
        *ms *= CONFIG_DAY_MS;
        return true;
    }
    if (!clock_parse_duration(text, &parsed) || parsed < 0)
        return false;
    *ms = (uint64_t)parsed;
    return *ms == 0 || (*ms >= CONFIG_DAY_MS && *ms <= CONFIG_DAYS_MAX * (uint64_t)CONFIG_DAY_MS);
}

uint64_t config_days(struct config_reader *reader, const char *name, uint64_t fallback_days)
{
    const char *text = config_trim(reader, config_raw(reader, name));
    uint64_t ms;

    if (text != NULL && config_parse_days(text, &ms))
        return ms;
    if (text != NULL)
        config_error(reader, "%s: expected 0, or from 1d to %dd, such as 90d or 36h", name,
                     CONFIG_DAYS_MAX);
    return fallback_days * CONFIG_DAY_MS;
}

static bool config_is_one_of(const char *text, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcasecmp(text, words[i]) == 0)
            return true;
    return false;
}

bool config_switch(struct config_reader *reader, const char *name, bool fallback)
{
    static const char *const on[] = {"on", "true", "1", "yes"};
    static const char *const off[] = {"off", "false", "0", "no"};
    const char *text = config_trim(reader, config_raw(reader, name));

    if (text == NULL)
        return fallback;
    if (config_is_one_of(text, on, ARRAY_SIZE(on)))
        return true;
    if (!config_is_one_of(text, off, ARRAY_SIZE(off)))
        config_error(reader, "%s: expected on or off", name);
    return false;
}

const char *config_choice(struct config_reader *reader, const char *name, const char *const *words,
                          size_t count, const char *fallback)
{
    const char *text = config_trim(reader, config_raw(reader, name));
    struct buf list;

    if (text == NULL)
        return fallback;
    for (size_t i = 0; i < count; i++)
        if (strcasecmp(text, words[i]) == 0)
            return words[i];
    buf_init(&list, ERR_TEXT_MAX);
    for (size_t i = 0; i < count; i++)
        buf_printf(&list, "%s%s", i > 0 ? ", " : "", words[i]);
    config_error(reader, "%s: expected one of %s", name, buf_str(&list));
    buf_free(&list);
    return fallback;
}

bool config_is_true(struct config_reader *reader, const char *name)
{
    const char *text = config_raw(reader, name);

    return text != NULL && strcmp(text, "true") == 0;
}

const char *config_port(struct config_reader *reader, const char *name, const char *fallback)
{
    const char *text = config_raw(reader, name);
    uint64_t value;

    if (text == NULL)
        return fallback;
    if (config_parse_number(text, 1, 65535, &value))
        return config_keep(reader, text);
    config_error(reader, "%s: expected an integer from 1 to 65535", name);
    return fallback;
}

const char *config_trim(struct config_reader *reader, const char *text)
{
    size_t len;
    char *copy;

    if (text == NULL)
        return NULL;
    while (isspace((unsigned char)*text))
        text++;
    for (len = strlen(text); len > 0 && isspace((unsigned char)text[len - 1]); len--)
        continue;
    copy = arena_strndup(&reader->config->arena, text, len);
    if (copy == NULL)
        reader->rc = ERR_NOMEM;
    return copy;
}
