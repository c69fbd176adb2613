/*
 * What a careful team would write by hand: every *.sql of a folder, in name order, against many
 * schemas, with plain libpq on a few connections in one thread. Each step is one transaction in one
 * round trip and leaves a row in a history table, as BfM's do.
 *
 *     plain_pg CONNINFO FOLDER PREFIX TENANTS CONNECTIONS
 */
#include <dirent.h>
#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    SCRIPTS_MAX = 1000,
    CONNECTIONS_MAX = 64,
    SQL_MAX = 1 << 20,
};

struct script {
    char *name;
    char *text;
};

struct worker {
    PGconn *conn;
    int tenant; /* under way, -1: none */
    int script;
};

static struct script scripts[SCRIPTS_MAX];
static int script_count;
static char sql[SQL_MAX];

static void die(const char *what, const char *why)
{
    fprintf(stderr, "plain_pg: %s: %s\n", what, why);
    exit(1);
}

static int is_script(const struct dirent *entry)
{
    const char *dot = strrchr(entry->d_name, '.');

    return dot != NULL && strcmp(dot, ".sql") == 0 && strstr(entry->d_name, ".down.") == NULL;
}

static char *read_file(const char *folder, const char *name)
{
    char path[4096];
    char *text = calloc(1, SQL_MAX / 2);
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    file = fopen(path, "r");
    if (text == NULL || file == NULL || fread(text, 1, SQL_MAX / 2 - 1, file) == 0)
        die(path, "cannot be read");
    fclose(file);
    return text;
}

static void load_scripts(const char *folder)
{
    struct dirent **entries;
    int count = scandir(folder, &entries, is_script, alphasort);

    if (count <= 0 || count > SCRIPTS_MAX)
        die(folder, "no scripts, or too many");
    for (int i = 0; i < count; i++) {
        scripts[i].name = strdup(entries[i]->d_name);
        scripts[i].text = read_file(folder, entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    script_count = count;
}

static void send_step(struct worker *worker, const char *prefix)
{
    int len = snprintf(
        sql, sizeof(sql),
        "BEGIN; SET LOCAL lock_timeout = '5s'; %s%s%d%s"
        "SET LOCAL search_path = \"%s%d\", public; "
        "INSERT INTO plain_history (schema_name, migration_id) VALUES ('%s%d', '%s');\n%s\n;COMMIT",
        worker->script == 0 ? "CREATE SCHEMA IF NOT EXISTS \"" : "/* ", prefix, worker->tenant,
        worker->script == 0 ? "\"; " : " */ ", prefix, worker->tenant, prefix, worker->tenant,
        scripts[worker->script].name, scripts[worker->script].text);

    if (len < 0 || (size_t)len >= sizeof(sql))
        die(scripts[worker->script].name, "too long");
    if (!PQsendQuery(worker->conn, sql))
        die("send", PQerrorMessage(worker->conn));
}

/* Reads what has come; 1 when the step is over. */
static int receive(struct worker *worker)
{
    PGresult *result;

    if (!PQconsumeInput(worker->conn))
        die("receive", PQerrorMessage(worker->conn));
    while (!PQisBusy(worker->conn)) {
        result = PQgetResult(worker->conn);
        if (result == NULL)
            return 1;
        if (PQresultStatus(result) == PGRES_FATAL_ERROR)
            die(scripts[worker->script].name, PQresultErrorMessage(result));
        PQclear(result);
    }
    return 0;
}

/* The next step of the worker's tenant, or the first one of another tenant. */
static int start_next(struct worker *worker, const char *prefix, int tenants, int *next_tenant)
{
    worker->script++;
    if (worker->tenant < 0 || worker->script == script_count) {
        if (*next_tenant == tenants) {
            worker->tenant = -1;
            return 0;
        }
        worker->tenant = (*next_tenant)++;
        worker->script = 0;
    }
    send_step(worker, prefix);
    return 1;
}

static void run(struct worker *workers, int count, const char *prefix, int tenants)
{
    struct pollfd fds[CONNECTIONS_MAX];
    int next_tenant = 0, busy = 0;

    for (int i = 0; i < count; i++) {
        workers[i].tenant = -1;
        busy += start_next(&workers[i], prefix, tenants, &next_tenant);
    }
    while (busy > 0) {
        for (int i = 0; i < count; i++)
            fds[i] = (struct pollfd){.fd = workers[i].tenant < 0 ? -1 : PQsocket(workers[i].conn),
                                     .events = POLLIN};
        if (poll(fds, (nfds_t)count, -1) < 0)
            die("poll", "failed");
        for (int i = 0; i < count; i++)
            if (fds[i].revents != 0 && receive(&workers[i]))
                busy -= !start_next(&workers[i], prefix, tenants, &next_tenant);
    }
}

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    struct worker workers[CONNECTIONS_MAX];
    int tenants, connections;
    double start;

    if (argc != 6)
        die("usage", "plain_pg CONNINFO FOLDER PREFIX TENANTS CONNECTIONS");
    tenants = atoi(argv[4]);
    connections = atoi(argv[5]);
    if (connections < 1 || connections > CONNECTIONS_MAX)
        die("CONNECTIONS", "1 to 64");
    load_scripts(argv[2]);
    for (int i = 0; i < connections; i++) {
        workers[i] = (struct worker){.conn = PQconnectdb(argv[1])};
        if (PQstatus(workers[i].conn) != CONNECTION_OK)
            die("connect", PQerrorMessage(workers[i].conn));
    }
    PQclear(
        PQexec(workers[0].conn,
               "CREATE TABLE IF NOT EXISTS plain_history (schema_name text, migration_id text, "
               "applied_at timestamptz DEFAULT now(), PRIMARY KEY (schema_name, migration_id))"));
    start = now();
    run(workers, connections, argv[3], tenants);
    printf("%.6f\n", now() - start);
    for (int i = 0; i < connections; i++)
        PQfinish(workers[i].conn);
    for (int i = 0; i < script_count; i++) {
        free(scripts[i].name);
        free(scripts[i].text);
    }
    return 0;
}
