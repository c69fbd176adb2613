#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/json.h"
#include "cli/cli.h"

enum {
    OPTION_JSON = 1,
    VERSION_TEXT_MAX = 4096,
};

static bool version_json;

static void version_on_option(int option, const char *value)
{
    (void)value;
    if (option == OPTION_JSON)
        version_json = true;
}

static int version_print_json(void)
{
    struct buf out;
    int status = CLI_OK;

    buf_init(&out, VERSION_TEXT_MAX);
    buf_putc(&out, '{');
    json_put_member(&out, "version", BFM_VERSION);
    json_put_member(&out, "build", BFM_BUILD);
    json_put_member(&out, "libraries", BFM_LIBRARIES);
    if (buf_puts(&out, "}\n") == 0) {
        fputs(buf_str(&out), stdout);
    } else {
        fprintf(stderr, "%s\n", err_code_text(out.rc));
        status = CLI_FAILED;
    }
    buf_free(&out);
    return status;
}

static int version_run(const struct cli_command *command, int argc, char **argv)
{
    static const struct option options[] = {{"json", no_argument, NULL, OPTION_JSON},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    int status;

    if (!cli_read_options(command, argc, argv, options, version_on_option, 0, 0, &status))
        return status;
    if (version_json)
        return version_print_json();
    printf("bfm %s\nbuild: %s\nlibraries: %s\n", BFM_VERSION, BFM_BUILD, BFM_LIBRARIES);
    return CLI_OK;
}

const struct cli_command cli_version = {
    .name = "version",
    .summary = "Show the version, how it was built and with which libraries",
    .help = "Usage: bfm version [--json]\n"
            "       bfm --version\n"
            "\n"
            "Shows the version, how it was built and with which libraries.\n"
            "\n"
            "Options:\n"
            "  --json      As a JSON object\n"
            "  -h, --help  Show this help\n",
    .run = version_run,
};
