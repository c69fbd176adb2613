#include <getopt.h>
#include <stdio.h>

#include "cli/cli.h"

static void version_on_option(int option, const char *value)
{
    (void)option;
    (void)value;
}

static int version_run(const struct cli_command *command, int argc, char **argv)
{
    static const struct option options[] = {{"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
    int status;

    if (!cli_read_options(command, argc, argv, options, version_on_option, &status))
        return status;
    printf("bfm %s\nbuild: %s\nlibraries: %s\n", BFM_VERSION, BFM_BUILD, BFM_LIBRARIES);
    return CLI_OK;
}

const struct cli_command cli_version = {
    .name = "version",
    .summary = "Show the version, how it was built and with which libraries",
    .help = "Usage: bfm version\n"
            "       bfm --version\n"
            "\n"
            "Shows the version, how it was built and with which libraries.\n",
    .run = version_run,
};
