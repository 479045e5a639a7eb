// cli.h - what the verbs of the `synapse` program share.
//
// A verb is one file, x.c, with `int cli_x(int argc, char **argv)`. To add one:
// a line in CLI_VERBS, and the file in CMakeLists.txt. argv[0] is "synapse x",
// so that getopt_long's messages read right. The result is the exit status.
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <stdbool.h>
#include <stdint.h>

// X(name, arguments, what it does)
#define CLI_VERBS(X)                                                    \
    X(split, "HF_DIR OUT_DIR [--shards N] [--max-shard-bytes B] ...",   \
      "make a model folder of a Hugging Face folder")                   \
    X(volunteer, "URL [--name N] [--intensity 25|50|100] ...",          \
      "compute for the grid at URL from this machine")                  \
    X(submit, "URL FILE.jsonl [--key K] [--out FILE] ...",              \
      "send prompts to the grid at URL and wait for their results")     \
    X(run, "MODEL_DIR --prompt TEXT [--max-tokens N] ...",              \
      "continue a prompt on this machine")                              \
    X(eval, "MODEL_DIR GOLDEN.json",                                    \
      "compare a model folder with the float model's recorded answers") \
    X(verify, "RESULTS.jsonl --model MODEL_DIR [--key K] ...",          \
      "compute delivered lines again and check their receipts")         \
    X(keys, "create|list|revoke [--scopes LIST] [--data DIR] ...",      \
      "API keys of the server on this machine")                         \
    X(plan, "URL [--model M --path 2,4 | --unpin] [--volunteer V] ...", \
      "show who is to hold which part of which model, and pin it")      \
    X(bench, "MODEL_DIR [--prompt N] [--new N] [--sequences N] ...",    \
      "time a model on this machine")

#define X(name, arguments, summary) int cli_##name(int argc, char **argv);
CLI_VERBS(X)
#undef X

enum {
    CLI_OK = 0,
    CLI_FAILED = 1, // what was asked for could not be done
    CLI_USAGE = 2,  // what was asked for makes no sense
};

// Print one line, "synapse x: ..." (argv0 is argv[0]), to stderr. Return
// CLI_FAILED, or CLI_USAGE with a hint at --help.
int cli_fail(const char *argv0, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
int cli_usage(const char *argv0, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

// A decimal number in min .. max, and nothing else. False leaves *out alone.
bool cli_u64(const char *text, uint64_t min, uint64_t max, uint64_t *out);

// A number of bytes, at least 1: 1500, 64K, 100M, 2G (powers of 1024).
bool cli_bytes(const char *text, uint64_t *out);

// "on" or "off".
bool cli_switch(const char *text, bool *out);

// A progress bar on stderr where that is a terminal, a line every tenth of the
// way elsewhere. Zero it first; title and unit are borrowed.
struct cli_progress {
    const char *title;
    const char *unit; // e.g. "MB"
    double scale;     // done and total are divided by it for display
    bool started, terminal;
    int shown; // what the last output said: per cent, or tenths
};

void cli_progress_show(struct cli_progress *p, uint64_t done, uint64_t total);

// End the bar's line, if there is one.
void cli_progress_end(struct cli_progress *p);

#endif
