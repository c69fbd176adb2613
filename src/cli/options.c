#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>

#include "cli/cli.h"

int cli_hint(const struct cli_command *command, const char *problem, const char *what)
{
    fprintf(stderr, "bfm %s: %s%s\nTry: bfm %s --help\n", command->name, problem, what,
            command->name);
    return CLI_USAGE;
}

bool cli_read_options(const struct cli_command *command, int argc, char **argv,
                      const struct option *options,
                      void (*on_option)(int option, const char *value), int least, int most,
                      int *status)
{
    int found;

    opterr = 0;
    while ((found = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
        if (found == 'h') {
            fputs(command->help, stdout);
            *status = CLI_OK;
            return false;
        }
        if (found == '?' || found == ':') {
            *status =
                cli_hint(command, found == ':' ? "a value is missing for " : "unknown option ",
                         argv[optind - 1]);
            return false;
        }
        on_option(found, optarg);
    }
    if (argc - optind > most)
        *status = cli_hint(command, "unexpected argument ", argv[optind + most]);
    else if (argc - optind < least)
        *status = cli_hint(command, "an argument is missing", "");
    else
        return true;
    return false;
}
