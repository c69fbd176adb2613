#ifndef BFM_CLI_CLI_H
#define BFM_CLI_CLI_H

/* Exit statuses of bfm-api.md §10. */
enum {
    CLI_OK = 0,
    CLI_FAILED = 1,
    CLI_USAGE = 2,
};

/* A command. argv[0] is its name; returns the exit status. */
struct cli_command {
    const char *name;
    const char *alias;   /* NULL: none */
    const char *summary; /* one line */
    const char *help;    /* all of `bfm NAME --help` */
    int (*run)(const struct cli_command *command, int argc, char **argv);
};

extern const struct cli_command cli_new;
extern const struct cli_command cli_serve;
extern const struct cli_command cli_validate;
extern const struct cli_command cli_version;

/*
 * Reads options with getopt_long(): prints the command's help for -h and --help, or what is wrong
 * with a hint. `on_option` is told each other one. From `least` to `most` arguments may stand among
 * them; they are at argv[optind] afterwards. Returns true to go on; else *status is the exit
 * status.
 */
struct option;
_Bool cli_read_options(const struct cli_command *command, int argc, char **argv,
                       const struct option *options,
                       void (*on_option)(int option, const char *value), int least, int most,
                       int *status);
/* Says what is wrong with the use of a command, with a hint; CLI_USAGE. */
int cli_hint(const struct cli_command *command, const char *problem, const char *what);

#endif
