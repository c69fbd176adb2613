#include "migrate/doubt_note.h"

#include <limits.h>
#include <string.h>

#include "base/json.h"

const char *doubt_note_add(struct arena *arena, const char *context,
                           const struct backend_decision *decision)
{
    const char *unknown = "";
    size_t len = strlen(context);

    if (len < 2 || context[len - 1] != '}')
        return NULL;
    if (decision->unknown)
        unknown = arena_printf(arena, ",\"checksum\":\"%s\",\"known\":false", decision->checksum);
    if (unknown == NULL)
        return NULL;
    return arena_printf(
        arena,
        "%.*s%s\"resolved\":{\"statement\":%u,\"as\":\"%s\",\"statements\":%u,\"direction\":\"%s\"%s}}",
        (int)(len - 1), context, len > 2 ? "," : "", decision->statement,
        decision->applied ? "applied" : "not_applied", decision->statements,
        decision->undo ? "down" : "up", unknown);
}

static bool note_number(const cJSON *note, const char *name, unsigned *out)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(note, name);

    if (!cJSON_IsNumber(item) || item->valuedouble < 1 || item->valuedouble > INT_MAX)
        return false;
    *out = (unsigned)item->valuedouble;
    return true;
}

static const char *note_text(const cJSON *note, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(note, name);

    return cJSON_IsString(item) ? item->valuestring : "";
}

static bool note_take(const cJSON *note, struct doubt_note *out)
{
    const char *checksum = note_text(note, "checksum");

    out->applied = strcmp(note_text(note, "as"), "applied") == 0;
    out->undo = strcmp(note_text(note, "direction"), "down") == 0;
    out->known = !cJSON_IsFalse(cJSON_GetObjectItemCaseSensitive(note, "known"));
    if (strlen(checksum) < sizeof(out->checksum))
        memcpy(out->checksum, checksum, strlen(checksum));
    return note_number(note, "statement", &out->statement) &&
           note_number(note, "statements", &out->statements);
}

bool doubt_note_read(const char *context, struct doubt_note *out)
{
    const cJSON *note;
    struct err err;
    cJSON *json;
    bool found;

    *out = (struct doubt_note){.known = false};
    if (json_parse(context, strlen(context), &json, &err) != 0)
        return false;
    note = cJSON_GetObjectItemCaseSensitive(json, "resolved");
    found = cJSON_IsObject(note) && note_take(note, out);
    cJSON_Delete(json);
    return found;
}
