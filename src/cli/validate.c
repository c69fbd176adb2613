#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "cli/cli.h"
#include "io/tree.h"
#include "model/plan_lint.h"

enum {
    OPTION_JSON = 1,
    OPTION_STRICT,
    VALIDATE_OUT_MAX = 1024 * 1024 * 1024,
};

static bool validate_json, validate_strict;

/* What is found goes into `out`: lines for people, or the members of a JSON array. */
struct validation {
    const char *root;
    bool is_guessed; /* nobody named the root */
    struct loop *loop;
    struct op op;
    struct registry *registry; /* NULL: it could not be read, op.err says why */
    struct buf out;
    size_t errors, warnings;
};

static void validate_on_option(int option, const char *value)
{
    (void)value;
    if (option == OPTION_JSON)
        validate_json = true;
    else if (option == OPTION_STRICT)
        validate_strict = true;
}

static void validate_on_loaded(struct op *op, int rc)
{
    struct validation *v = container_of(op, struct validation, op);

    (void)rc;
    loop_stop(v->loop);
}

static void validate_put_json(struct buf *out, const char *severity,
                              const struct registry_problem *problem)
{
    buf_puts(out, out->len > 0 && out->data[out->len - 1] == '}' ? ",{" : "{");
    json_put_member(out, "severity", severity);
    json_put_member(out, "path", problem->path);
    if (problem->line > 0)
        buf_printf(out, ",\"line\":%u", problem->line);
    json_put_member(out, "text", problem->text);
    buf_putc(out, '}');
}

static void validate_put(struct validation *v, bool is_error,
                         const struct registry_problem *problem)
{
    const char *severity = is_error ? "error" : "warning";

    v->errors += is_error;
    v->warnings += !is_error;
    if (validate_json)
        validate_put_json(&v->out, severity, problem);
    else if (problem->line > 0)
        buf_printf(&v->out, "%s:%u: %s: %s\n", problem->path, problem->line, severity,
                   problem->text);
    else
        buf_printf(&v->out, "%s: %s: %s\n", problem->path, severity, problem->text);
}

/* The reason of an invalid migration begins with "path:line: " or "path: ", which a problem has in
 * fields of its own. */
static void validate_put_invalid(struct validation *v, const struct migration *migration)
{
    const char *text = strstr(migration->invalid, ": ");
    const char *colon = strchr(migration->invalid, ':');
    size_t len = colon != NULL ? (size_t)(colon - migration->invalid) : 0;
    char *path = strndup(migration->invalid, len);
    struct registry_problem problem = {.path = path,
                                       .line = migration->invalid_line,
                                       .text = text != NULL ? text + 2 : migration->invalid};

    if (path == NULL)
        v->out.rc = ERR_NOMEM;
    else
        validate_put(v, true, &problem);
    free(path);
}

static void validate_files(struct validation *v)
{
    const struct registry *registry = v->registry;

    for (size_t i = 0; i < registry->problem_count; i++)
        validate_put(v, true, &registry->problems[i]);
    for (size_t i = 0; i < registry->stray_count && i < REGISTRY_STRAYS_MAX; i++)
        validate_put(v, true, &registry->strays[i]);
    for (size_t i = 0; i < registry->count; i++)
        if (registry->migrations[i]->invalid != NULL)
            validate_put_invalid(v, registry->migrations[i]);
    for (size_t i = 0; i < registry->misplaced_count && i < REGISTRY_STRAYS_MAX; i++)
        validate_put(v, false, &registry->misplaced[i]);
    for (size_t i = 0; i < registry->doubt_count; i++)
        validate_put(v, false, &registry->doubts[i]);
}

/* A tree without a migration is refused by the server, whatever else is in it. */
static void validate_empty(struct validation *v)
{
    static const struct registry_problem empty = {
        .path = ".",
        .text = "there is no migration in the folder; a script of one is "
                "{backend}/{connection}/{version}_{name}.up.sql, or .up.json for etcd"};

    if (v->registry->count == 0)
        validate_put(v, true, &empty);
}

static void validate_hint(const struct validation *v)
{
    if (v->is_guessed)
        fprintf(stderr, "Name the tree of scripts: bfm validate PATH, or BFM_SFM_PATH=PATH\n");
}

static int validate_dependencies(struct validation *v, struct err *err)
{
    struct plan_lint lint;
    int rc = plan_lint(v->registry, &lint, err);

    for (size_t i = 0; i < lint.count; i++)
        validate_put(v, true, &lint.problems[i]);
    plan_lint_free(&lint);
    return rc;
}

static void validate_print_count(const char *before, size_t count, const char *what)
{
    printf("%s%zu %s%s", before, count, what, count == 1 ? "" : "s");
}

/* For people. */
static void validate_print_summary(const struct validation *v)
{
    validate_print_count(buf_str(&v->out), v->registry->count, "migration");
    printf(" in %s", v->root);
    validate_print_count(": ", v->errors, "error");
    validate_print_count(", ", v->warnings, "warning");
    printf("\n");
}

static int validate_print(struct validation *v)
{
    if (v->out.rc != 0) {
        fprintf(stderr, "%s\n", err_code_text(v->out.rc));
        return CLI_FAILED;
    }
    if (validate_json)
        printf("{\"migrations\":%zu,\"errors\":%zu,\"warnings\":%zu,\"problems\":[%s]}\n",
               v->registry->count, v->errors, v->warnings, buf_str(&v->out));
    else
        validate_print_summary(v);
    if (v->registry->count == 0)
        validate_hint(v);
    return v->errors > 0 || (validate_strict && v->warnings > 0) ? CLI_FAILED : CLI_OK;
}

static int validate_loaded(struct validation *v)
{
    struct err err = {0};
    int status;

    if (v->registry == NULL) {
        fprintf(stderr, "%s: %s\n", v->root, err_text(&v->op.err));
        validate_hint(v);
        return CLI_FAILED;
    }
    buf_init(&v->out, VALIDATE_OUT_MAX);
    validate_files(v);
    validate_empty(v);
    if (validate_dependencies(v, &err) == 0) {
        status = validate_print(v);
    } else {
        fprintf(stderr, "%s: %s\n", v->root, err_text(&err));
        status = CLI_FAILED;
    }
    buf_free(&v->out);
    registry_unref(v->registry);
    return status;
}

static int validate_tree(const char *root, bool is_guessed)
{
    struct validation v = {.root = root, .is_guessed = is_guessed, .loop = loop_create()};
    int status;

    if (v.loop == NULL) {
        fprintf(stderr, "%s\n", err_code_text(ERR_NOMEM));
        return CLI_FAILED;
    }
    log_configure(LOG_FATAL, LOG_TEXT); /* what the loader would log is said here */
    op_init(&v.op, validate_on_loaded);
    if (tree_load_any(v.loop, &v.op, root, &v.registry) == 0)
        loop_run(v.loop);
    status = validate_loaded(&v);
    loop_destroy(v.loop);
    return status;
}

static int validate_run(const struct cli_command *command, int argc, char **argv)
{
    static const struct option options[] = {{"json", no_argument, NULL, OPTION_JSON},
                                            {"strict", no_argument, NULL, OPTION_STRICT},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    const char *root = getenv("BFM_SFM_PATH");
    bool is_guessed = root == NULL || root[0] == '\0';
    int status;

    if (!cli_read_options(command, argc, argv, options, validate_on_option, 0, 1, &status))
        return status;
    if (optind < argc)
        return validate_tree(argv[optind], false);
    return validate_tree(is_guessed ? "migrations" : root, is_guessed);
}

const struct cli_command cli_validate = {
    .name = "validate",
    .alias = "build",
    .summary = "Check a tree of migration scripts",
    .help =
        "Usage: bfm validate [--json] [--strict] [PATH]\n"
        "\n"
        "Checks the tree of scripts at PATH (BFM_SFM_PATH if it is left out, else the folder\n"
        "migrations): names, headers, companions, statements, IDs, dependencies and circles.\n"
        "Every problem is shown with its file, and its line where it has one. Nothing is run\n"
        "and no database is asked. Also called bfm build.\n"
        "\n"
        "Options:\n"
        "  --json      As a JSON object\n"
        "  --strict    Warnings count for the exit status, too\n"
        "  -h, --help  Show this help\n"
        "\n"
        "Exit status: 0 if the tree is fine (there may be warnings, unless --strict is given), 1 if\n"
        "it is not, 2 for wrong usage.\n",
    .run = validate_run,
};
