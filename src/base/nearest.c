#include "base/nearest.h"

#include <stdint.h>
#include <string.h>

#include "base/base.h"

static size_t nearest_min(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Insertions, deletions and replacements that make one text of the other. */
static size_t nearest_distance(const char *a, const char *b)
{
    size_t row[256];
    size_t width = strlen(b);

    if (width >= ARRAY_SIZE(row))
        return SIZE_MAX;
    for (size_t i = 0; i <= width; i++)
        row[i] = i;
    for (size_t y = 0; a[y] != '\0'; y++) {
        size_t diagonal = row[0];

        row[0] = y + 1;
        for (size_t x = 0; x < width; x++) {
            size_t replaced = diagonal + (a[y] != b[x]);

            diagonal = row[x + 1];
            row[x + 1] = nearest_min(replaced, nearest_min(row[x], row[x + 1]) + 1);
        }
    }
    return row[width];
}

const char *nearest_name(const char *text, const char *const *names, size_t count,
                         const char *nearest, size_t *best)
{
    for (size_t i = 0; i < count; i++) {
        size_t distance = nearest_distance(text, names[i]);

        if (distance < *best) {
            *best = distance;
            nearest = names[i];
        }
    }
    return nearest;
}
