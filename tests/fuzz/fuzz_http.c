/*
 * Bytes of a connection into the request parser: requests one after another, as the connection
 * feeds them. Two readings are compared: in pieces whose sizes the input chooses, and byte by byte.
 * They must find the same requests, whatever the bytes are.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "http/http.h"
#include "http/parse.h"

enum {
    FUZZ_MAX_HEAD = 512,
    FUZZ_MAX_BODY = 256,
};

/* What one reading found. */
struct reading {
    uint64_t hash; /* of every request that was complete */
    size_t complete;
    int status; /* of the bad request that ended it, 0 if none did */
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void reading_add(struct reading *reading, const char *text)
{
    reading->hash = hash_fnv1a(reading->hash, text, strlen(text) + 1);
}

static void fuzz_decode(const char *text)
{
    struct arena arena;

    arena_init(&arena);
    http_decode(&arena, text, strlen(text), true);
    arena_free(&arena);
}

static void reading_note(struct reading *reading, const struct http_message *message)
{
    size_t host = http_message_field_count(message, "Host");

    if (message->path[0] != '/' && strcmp(message->path, "*") != 0)
        abort();
    if (host > 1 || (host == 0 && message->minor > 0) || message->body.len > FUZZ_MAX_BODY)
        abort();
    reading_add(reading, message->method);
    reading_add(reading, message->path);
    reading_add(reading, message->query);
    for (size_t i = 0; i < message->field_count; i++) {
        if (strpbrk(message->fields[i].value, "\r\n") != NULL || message->fields[i].name[0] == '\0')
            abort();
        reading_add(reading, message->fields[i].name);
        reading_add(reading, message->fields[i].value);
    }
    reading_add(reading, buf_str(&message->body));
    reading_add(reading, message->keep_alive ? "keep" : "close");
    fuzz_decode(message->path);
    fuzz_decode(message->query);
    reading->complete++;
}

/* Bytes from `data`, in pieces of at most steps[i % count] + 1. */
static struct reading reading_make(const char *data, size_t size, const uint8_t *steps,
                                   size_t count)
{
    struct reading reading = {.hash = HASH_FNV_START};
    struct http_message *message = http_message_create(FUZZ_MAX_HEAD, FUZZ_MAX_BODY);
    enum http_parsed parsed = HTTP_PARSED_PART;
    size_t at = 0, used, round = 0;

    if (message == NULL)
        abort();
    while (at < size || parsed == HTTP_PARSED_HEAD) {
        size_t step = (size_t)steps[round++ % count] + 1;

        parsed = http_message_parse(message, data + at, step < size - at ? step : size - at, &used);
        at += used;
        if (parsed == HTTP_PARSED_BAD) {
            reading.status = message->status;
            break;
        }
        if (parsed == HTTP_PARSED_ALL) {
            reading_note(&reading, message);
            http_message_free(message);
            message = http_message_create(FUZZ_MAX_HEAD, FUZZ_MAX_BODY);
            if (message == NULL)
                abort();
        }
    }
    http_message_free(message);
    return reading;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t one_byte[] = {0};
    struct reading pieces, bytes;
    size_t steps;

    if (size < 2)
        return 0;
    steps = data[0] % 8u + 1;
    if (size < 1 + steps)
        return 0;
    pieces = reading_make((const char *)data + 1 + steps, size - 1 - steps, data + 1, steps);
    bytes = reading_make((const char *)data + 1 + steps, size - 1 - steps, one_byte, 1);
    if (pieces.hash != bytes.hash || pieces.complete != bytes.complete ||
        (pieces.status != 0) != (bytes.status != 0))
        abort();
    return 0;
}
