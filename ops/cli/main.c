// main.c - the `synapse` program: it finds the verb and calls it.
#include <stdio.h>
#include <string.h>

#include "cli.h"

static const struct verb {
    const char *name, *argv0, *arguments, *summary;
    int (*run)(int argc, char **argv);
} verbs[] = {
#define X(name, arguments, summary) \
    {#name, "synapse " #name, arguments, summary, cli_##name},
    CLI_VERBS(X)
#undef X
};

enum { N_VERBS = sizeof verbs / sizeof *verbs };

static void usage_print(FILE *to)
{
    fprintf(to, "usage: synapse VERB ...\n\n");
    for (size_t i = 0; i < N_VERBS; i++)
        fprintf(to, "  synapse %s %s\n      %s\n", verbs[i].name,
                verbs[i].arguments, verbs[i].summary);
    fprintf(to, "\n`synapse VERB --help` tells more.\n");
}

int main(int argc, char **argv)
{
    char name[64];

    if (argc < 2) {
        usage_print(stderr);
        return CLI_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
        usage_print(stdout);
        return CLI_OK;
    }
    for (size_t i = 0; i < N_VERBS; i++) {
        if (strcmp(argv[1], verbs[i].name) != 0)
            continue;
        (void)snprintf(name, sizeof name, "%s", verbs[i].argv0);
        argv[1] = name;
        return verbs[i].run(argc - 1, argv + 1);
    }
    fprintf(stderr, "synapse: no verb `%s`\n\n", argv[1]);
    usage_print(stderr);
    return CLI_USAGE;
}
