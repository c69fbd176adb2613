#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "server/config.h"
#include "server/server.h"

enum {
    ENV_FILE_MAX = 1024 * 1024,
    SUMMARY_MAX = 16 * 1024 * 1024,
};

enum {
    OPTION_CHECK = 1,
    OPTION_ENV_FILE,
};

static struct {
    bool check;
    const char *env_file;
} serve_options;

static void serve_on_option(int option, const char *value)
{
    if (option == OPTION_CHECK)
        serve_options.check = true;
    else if (option == OPTION_ENV_FILE)
        serve_options.env_file = value;
}

/* Fits config_read_fn. At most out->max bytes. */
static int serve_read_file(const char *path, struct buf *out, struct err *err)
{
    FILE *file = fopen(path, "rb");
    char piece[4096];
    size_t got;

    if (file == NULL)
        return err_set(err, ERR_IO, "%s", strerror(errno));
    while (out->rc == 0 && (got = fread(piece, 1, sizeof(piece), file)) > 0)
        buf_append(out, piece, got);
    if (ferror(file))
        err_set(err, ERR_IO, "%s", strerror(errno));
    else if (out->rc != 0)
        err_set(err, out->rc, "%s", err_code_text(out->rc));
    fclose(file);
    return err->code;
}

/* What is wrong with an env file goes to stderr, a line each. */
static int serve_load_env_file(const char *path, struct env_file *file)
{
    struct buf content;
    struct err err = {0};
    int rc;

    *file = (struct env_file){0};
    if (path == NULL)
        return 0;
    buf_init(&content, ENV_FILE_MAX);
    rc = serve_read_file(path, &content, &err);
    if (rc != 0)
        fprintf(stderr, "%s: expected a readable env file (%s)\n", path, err_text(&err));
    else
        rc = env_file_parse(buf_str(&content), content.len, file);
    buf_free(&content);
    for (size_t i = 0; i < file->problem_count; i++)
        fprintf(stderr, "%s:%u: %s\n", path, file->problems[i].line, file->problems[i].text);
    return rc == 0 && file->problem_count > 0 ? ERR_INVALID : rc;
}

static void serve_print_notes(const struct config *config)
{
    for (size_t i = 0; i < config->errors.count; i++)
        fprintf(stderr, "%s\n", config->errors.lines[i]);
    for (size_t i = 0; i < config->warnings.count; i++)
        fprintf(stderr, "warning: %s\n", config->warnings.lines[i]);
}

static int serve_load_variables(struct config *config, struct env *env, const struct env_file *file)
{
    int rc = env_init(env, (const char *const *)environ, file);

    if (rc == 0)
        rc = config_load(config, env, serve_read_file);
    if (rc != ERR_NOMEM)
        rc = config_check_paths(config);
    return rc;
}

/* Without the file nothing is said of variables, which it may well have. */
static int serve_load(struct config *config, struct env *env)
{
    struct env_file file;
    int rc = serve_load_env_file(serve_options.env_file, &file);
    bool has_problems = file.problem_count > 0;

    if (rc == 0 || has_problems)
        rc = serve_load_variables(config, env, &file);
    env_file_free(&file);
    if (rc == ERR_NOMEM)
        fprintf(stderr, "%s\n", err_code_text(rc));
    if (rc == 0 && has_problems)
        rc = ERR_INVALID;
    if (rc != 0)
        serve_print_notes(config);
    return rc;
}

static int serve_check(const struct config *config)
{
    struct buf summary;

    buf_init(&summary, SUMMARY_MAX);
    if (config_summarize(config, &summary) != 0) {
        fprintf(stderr, "%s\n", err_code_text(summary.rc));
        buf_free(&summary);
        return CLI_FAILED;
    }
    fwrite(summary.data, 1, summary.len, stdout);
    buf_free(&summary);
    return CLI_OK;
}

static int serve_run(const struct cli_command *command, int argc, char **argv)
{
    static const struct option options[] = {{"check", no_argument, NULL, OPTION_CHECK},
                                            {"env-file", required_argument, NULL, OPTION_ENV_FILE},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    struct config config = {0};
    struct env env = {0};
    int status;

    if (!cli_read_options(command, argc, argv, options, serve_on_option, 0, 0, &status))
        return status;
    if (serve_load(&config, &env) != 0)
        status = CLI_FAILED;
    else if (serve_options.check)
        status = serve_check(&config);
    else
        status = server_run(&config) == 0 ? CLI_OK : CLI_FAILED;
    config_free(&config);
    env_free(&env);
    return status;
}

const struct cli_command cli_serve = {
    .name = "serve",
    .summary = "Run the server",
    .help =
        "Usage: bfm serve [--env-file FILE] [--check]\n"
        "\n"
        "Runs the server until SIGTERM or SIGINT; running migrations are finished first, a second\n"
        "signal cancels them. SIGHUP reads tokens and secrets again from their files. The\n"
        "configuration comes from environment variables; BFM_API_TOKEN is required, and\n"
        "{NAME}_BACKEND declares a connection.\n"
        "\n"
        "Options:\n"
        "  --env-file FILE  Read variables from FILE, too (NAME=value lines); those of the\n"
        "                   environment win\n"
        "  --check          Look at the configuration, show a summary without secrets, and exit\n"
        "  -h, --help       Show this help\n"
        "\n"
        "Exit status: 0 after a clean end, 1 if the configuration is wrong or the server could\n"
        "not start, 2 for wrong usage.\n",
    .run = serve_run,
};
