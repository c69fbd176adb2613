#ifndef BFM_TESTS_PAUSE_H
#define BFM_TESTS_PAUSE_H

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "cmocka_all.h"

/* Servers that stop answering for a while. */

static inline bool thread_is_stopped(const char *pid, const char *thread)
{
    char path[300], line[256] = "", *state;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%s/task/%s/stat", pid, thread);
    file = fopen(path, "re");
    if (file == NULL)
        return true; /* it has ended */
    state = fgets(line, sizeof(line), file) != NULL ? strrchr(line, ')') : NULL;
    fclose(file);
    return state == NULL || strchr("TZX", state[2]) != NULL;
}

static inline bool process_is_stopped(const char *pid)
{
    const struct dirent *entry;
    bool stopped = true;
    char path[64];
    DIR *threads;

    snprintf(path, sizeof(path), "/proc/%s/task", pid);
    threads = opendir(path);
    assert_non_null(threads);
    while (stopped && (entry = readdir(threads)) != NULL)
        stopped = entry->d_name[0] == '.' || thread_is_stopped(pid, entry->d_name);
    closedir(threads);
    return stopped;
}

/* The signal alone is only asked for: on a busy machine a thread of the process goes on for a
 * while, and may answer. */
static inline void pause_process(pid_t pid)
{
    char text[32];

    snprintf(text, sizeof(text), "%ld", (long)pid);
    assert_int_equal(kill(pid, SIGSTOP), 0);
    while (!process_is_stopped(text))
        continue;
}

#endif
