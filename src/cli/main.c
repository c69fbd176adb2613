#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "cli/cli.h"

static const struct cli_command *const commands[] = {&cli_serve, &cli_validate, &cli_new,
                                                     &cli_version};

static const struct cli_command *main_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
        if (strcmp(commands[i]->name, name) == 0 ||
            (commands[i]->alias != NULL && strcmp(commands[i]->alias, name) == 0))
            return commands[i];
    return NULL;
}

static void main_print_help(FILE *out)
{
    fputs("Usage: bfm COMMAND [OPTION ...]\n"
          "\n"
          "BfM applies versioned migrations to databases on request and can prove what ran where.\n"
          "\n"
          "Commands:\n",
          out);
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
        fprintf(out, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
    fputs("\n"
          "bfm COMMAND --help tells more about one of them.\n"
          "\n"
          "Exit status: 0 done, 1 failed, 2 wrong usage.\n",
          out);
}

/* The known command that `name` begins like, for the hint. */
static const char *main_guess(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
        if (name[0] != '\0' && strncmp(commands[i]->name, name, 1) == 0)
            return commands[i]->name;
    return NULL;
}

static int main_unknown(const char *name)
{
    const char *guess = main_guess(name);

    fprintf(stderr, "bfm: unknown %s %s\n", name[0] == '-' ? "option" : "command", name);
    if (guess != NULL)
        fprintf(stderr, "Did you mean: bfm %s\n", guess);
    fprintf(stderr, "Try: bfm --help\n");
    return CLI_USAGE;
}

int main(int argc, char **argv)
{
    const struct cli_command *command;
    const char *name = argc < 2 ? "" : argv[1];

    if (argc < 2) {
        main_print_help(stderr);
        return CLI_USAGE;
    }
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
        main_print_help(stdout);
        return CLI_OK;
    }
    command = main_find(strcmp(name, "--version") == 0 ? cli_version.name : name);
    if (command == NULL)
        return main_unknown(name);
    return command->run(command, argc - 1, argv + 1);
}
