#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/json.h"
#include "cli/cli.h"
#include "model/filename.h"

enum {
    OPTION_SCHEMA = 1,
    OPTION_TABLE,
    OPTION_PATH,
    NEW_TEXT_MAX = 4096,
    NEW_VERSION_TRIES = 3600, /* seconds ahead of now */
};

static struct {
    const char *root;
    enum backend_kind backend;
    const char *connection, *name;
    const char *schema, *table; /* NULL: not declared */
    char folder[PATH_MAX];      /* {root}/{backend}/{connection} */
    char version[VERSION_LEN + 1];
} made;

static void new_on_option(int option, const char *value)
{
    if (option == OPTION_SCHEMA)
        made.schema = value;
    else if (option == OPTION_TABLE)
        made.table = value;
    else if (option == OPTION_PATH)
        made.root = value;
}

static int new_fail(const char *path, const char *why)
{
    fprintf(stderr, "%s: %s\n", path, why);
    return CLI_FAILED;
}

/* --- what is asked for --- */

static bool new_is_one_line(const char *text)
{
    return text == NULL || strpbrk(text, "\r\n") == NULL;
}

/* NULL if the server would read the name as it is meant, else why not. */
static const char *new_find_fault(void)
{
    char path[MIGRATION_ID_MAX + 64];
    size_t id = VERSION_LEN + strlen(made.name) + strlen(backend_kind_name(made.backend)) +
                strlen(made.connection) + strlen("___");
    struct filename parsed;

    if (strpbrk(made.name, "/\r\n") != NULL || strpbrk(made.connection, "/\r\n") != NULL)
        return "a name or connection must not have '/' or a line break in it";
    if (!new_is_one_line(made.schema) || !new_is_one_line(made.table))
        return "a schema or table must not have a line break in it";
    if (id > MIGRATION_ID_MAX)
        return "name and connection are too long: an ID has 255 bytes at most";
    snprintf(path, sizeof(path), "%s/%s/20250101000000_%s.up%s", backend_kind_name(made.backend),
             made.connection, made.name, filename_extension(made.backend));
    filename_parse(path, &parsed);
    if (parsed.role != FILENAME_UP)
        return parsed.why_other != NULL ? parsed.why_other : "the name cannot be used";
    return parsed.name.len == strlen(made.name) && made.name[0] != '\0' ? NULL
                                                                        : "the name cannot be used";
}

/* --- where it goes --- */

/* Makes the missing folders of {root}/{backend}/{connection}; the root has to be there. */
static int new_make_folder(void)
{
    const char *backend = backend_kind_name(made.backend);
    const size_t size = sizeof(made.folder);

    if (snprintf(made.folder, size, "%s/%s/%s", made.root, backend, made.connection) >= (int)size)
        return new_fail(made.root, strerror(ENAMETOOLONG));
    if (access(made.root, F_OK) != 0 && errno == ENOENT)
        return new_fail(made.root, "no such folder; make it, or name another tree with --path");
    snprintf(made.folder, size, "%s/%s", made.root, backend);
    if (mkdir(made.folder, 0777) != 0 && errno != EEXIST)
        return new_fail(made.folder, strerror(errno));
    snprintf(made.folder, size, "%s/%s/%s", made.root, backend, made.connection);
    if (mkdir(made.folder, 0777) != 0 && errno != EEXIST)
        return new_fail(made.folder, strerror(errno));
    return CLI_OK;
}

static bool new_has_version(DIR *dir)
{
    const struct dirent *item;

    rewinddir(dir);
    while ((item = readdir(dir)) != NULL)
        if (strstr(item->d_name, made.version) != NULL)
            return true;
    return false;
}

/* The present second or, as versions order the scripts of a folder, the next one that none has. */
static int new_pick_version(void)
{
    DIR *dir = opendir(made.folder);
    time_t now = time(NULL);
    struct tm utc;

    if (dir == NULL)
        return new_fail(made.folder, strerror(errno));
    for (int tries = 0; tries < NEW_VERSION_TRIES; tries++, now++) {
        gmtime_r(&now, &utc);
        strftime(made.version, sizeof(made.version), "%Y%m%d%H%M%S", &utc);
        if (!new_has_version(dir)) {
            closedir(dir);
            return CLI_OK;
        }
    }
    closedir(dir);
    return new_fail(made.folder, "the versions of the next hour are all taken");
}

/* --- what stands in it --- */

static void new_put_json(struct buf *text)
{
    buf_puts(text, "{\n  \"bfm\": {");
    if (made.schema != NULL)
        json_put_member(text, "schema", made.schema);
    if (made.table != NULL)
        json_put_member(text, "table", made.table);
    buf_puts(text, "},\n  \"operations\": [\n  ]\n}\n");
}

static void new_put_sql(struct buf *text, bool is_up)
{
    if (is_up && made.schema != NULL)
        buf_printf(text, "-- bfm-schema: %s\n", made.schema);
    if (is_up && made.table != NULL)
        buf_printf(text, "-- bfm-table: %s\n", made.table);
    buf_printf(text, "-- %s %s\n\n", is_up ? "Up:" : "Down:", made.name);
}

/* Writes a file that was not there before; 0, or -1 with errno. */
static int new_write(const char *path, const struct buf *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    ssize_t wrote;

    if (fd < 0)
        return -1;
    wrote = write(fd, text->data, text->len);
    if (close(fd) != 0 || wrote != (ssize_t)text->len) {
        errno = errno != 0 ? errno : EIO;
        return -1;
    }
    return 0;
}

static int new_make_file(bool is_up)
{
    char path[PATH_MAX];
    struct buf text;
    int status = CLI_OK;

    if (snprintf(path, sizeof(path), "%s/%s_%s.%s%s", made.folder, made.version, made.name,
                 is_up ? "up" : "down", filename_extension(made.backend)) >= (int)sizeof(path))
        return new_fail(made.folder, strerror(ENAMETOOLONG));
    buf_init(&text, NEW_TEXT_MAX);
    if (made.backend == BACKEND_ETCD)
        new_put_json(&text);
    else
        new_put_sql(&text, is_up);
    errno = 0;
    if (text.rc != 0)
        status = new_fail(path, err_code_text(text.rc));
    else if (new_write(path, &text) != 0)
        status = new_fail(path, strerror(errno));
    else
        printf("%s\n", path);
    buf_free(&text);
    return status;
}

static int new_make(void)
{
    int status = new_make_folder();

    if (status == CLI_OK)
        status = new_pick_version();
    if (status == CLI_OK)
        status = new_make_file(true);
    /* of etcd: even an empty one would take the place of the values from before */
    if (status == CLI_OK && made.backend != BACKEND_ETCD)
        status = new_make_file(false);
    return status;
}

static int new_run(const struct cli_command *command, int argc, char **argv)
{
    static const struct option options[] = {{"schema", required_argument, NULL, OPTION_SCHEMA},
                                            {"table", required_argument, NULL, OPTION_TABLE},
                                            {"path", required_argument, NULL, OPTION_PATH},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    const char *root = getenv("BFM_SFM_PATH");
    const char *fault;
    int status;

    made.root = root != NULL && root[0] != '\0' ? root : "migrations";
    if (!cli_read_options(command, argc, argv, options, new_on_option, 3, 3, &status))
        return status;
    if (!backend_kind_parse(argv[optind], &made.backend))
        return cli_hint(command, "unknown backend ", argv[optind]);
    made.connection = argv[optind + 1];
    made.name = argv[optind + 2];
    fault = new_find_fault();
    return fault != NULL ? cli_hint(command, fault, "") : new_make();
}

const struct cli_command cli_new = {
    .name = "new",
    .summary = "Make the files of a new migration",
    .help = "Usage: bfm new [OPTION ...] BACKEND CONNECTION NAME\n"
            "\n"
            "Makes an up and a down file with the present time (UTC) as version, in the folder\n"
            "BACKEND/CONNECTION of the tree, and shows their names. BACKEND is postgresql, mysql\n"
            "(MariaDB, too), greptimedb or etcd; etcd gets no down file, as without one an undo\n"
            "puts back what was there before. No file is ever overwritten.\n"
            "\n"
            "Options:\n"
            "  --schema S  Declare schema S; without it the request names the schema\n"
            "  --table T   Declare table T\n"
            "  --path DIR  The tree (BFM_SFM_PATH if it is left out, else the folder migrations)\n"
            "  -h, --help  Show this help\n"
            "\n"
            "Exit status: 0 when the files were made, 1 if not, 2 for wrong usage.\n",
    .run = new_run,
};
