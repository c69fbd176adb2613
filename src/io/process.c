#include "io/process.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    STAT_FIELDS_BEFORE_START = 19, /* from the state, behind the name, to the start time */
    STAT_TEXT_MAX = 4096,
};

/* The first bytes of a file; "" if it cannot be read. */
static void process_read_text(const char *path, char out[STAT_TEXT_MAX])
{
    FILE *file = fopen(path, "re");
    size_t len = 0;

    if (file != NULL) {
        len = fread(out, 1, STAT_TEXT_MAX - 1, file);
        fclose(file);
    }
    out[len] = '\0';
}

static void process_read_memory(struct process_figures *out)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), size = 0, resident = 0;
    char text[STAT_TEXT_MAX];

    process_read_text("/proc/self/statm", text);
    if (sscanf(text, "%" SCNu64 " %" SCNu64, &size, &resident) == 2) {
        out->virtual_bytes = size * page;
        out->resident_bytes = resident * page;
    }
}

/* Seconds since 1970 at which the system started. */
static uint64_t process_boot_s(void)
{
    char *line = NULL;
    size_t size = 0;
    uint64_t boot_s = 0;
    FILE *file = fopen("/proc/stat", "re");

    while (file != NULL && getline(&line, &size, file) > 0)
        if (sscanf(line, "btime %" SCNu64, &boot_s) == 1)
            break;
    free(line);
    if (file != NULL)
        fclose(file);
    return boot_s;
}

static void process_read_start(struct process_figures *out)
{
    uint64_t ticks = (uint64_t)sysconf(_SC_CLK_TCK);
    char text[STAT_TEXT_MAX];
    const char *at;

    process_read_text("/proc/self/stat", text);
    at = strrchr(text, ')'); /* the name may hold anything */
    for (int i = 0; at != NULL && i <= STAT_FIELDS_BEFORE_START; i++)
        at = strchr(at + 1, ' ');
    if (at != NULL && ticks > 0)
        out->started_us = process_boot_s() * 1000000 + strtoull(at, NULL, 10) * 1000000 / ticks;
}

static void process_read_files(struct process_figures *out)
{
    DIR *dir = opendir("/proc/self/fd");
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        out->max_files = limit.rlim_cur;
    if (dir == NULL)
        return;
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;)
        out->open_files += entry->d_name[0] != '.';
    closedir(dir);
    out->open_files--; /* the folder itself */
}

static uint64_t process_us(const struct timeval *time)
{
    return (uint64_t)time->tv_sec * 1000000 + (uint64_t)time->tv_usec;
}

int process_read(void *arg, struct err *err)
{
    struct process_figures *out = arg;
    struct rusage used;

    (void)err;
    *out = (struct process_figures){0};
    process_read_memory(out);
    process_read_start(out);
    process_read_files(out);
    if (getrusage(RUSAGE_SELF, &used) == 0)
        out->cpu_us = process_us(&used.ru_utime) + process_us(&used.ru_stime);
    return 0;
}
