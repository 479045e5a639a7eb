// verify.c - `synapse verify`: are delivered lines what the model says, and did
// the grid sign them?
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/logprobs.h"
#include "api/receipt.h"
#include "cli.h"
#include "engine/local.h"
#include "whole_model.h"

static const char help[] =
    "usage: synapse verify RESULTS.jsonl --model MODEL_DIR [options]\n"
    "       synapse verify RESULTS.jsonl --signature-only [options]\n"
    "\n"
    "Checks the receipts of result lines (batches with \"receipts\": true):\n"
    "the signature, that it is about this very text and its "
    "log-probabilities,\n"
    "and, with the model's folder, that every token and every\n"
    "log-probability comes out the same when it is computed here.\n"
    "- is stdin. The exit status is 0 only if there is a line, and every line\n"
    "with an answer has a receipt that holds. Lines that are errors are\n"
    "counted and left out.\n"
    "\n"
    "  --model DIR        made by `synapse split`; may be given several times\n"
    "  --key BASE64       the grid's public key (GET /v1/receipts/key);\n"
    "                     without it each receipt's own is believed, and told\n"
    "  --signature-only   do not compute\n"
    "  --isa NAME         " WHOLE_MODEL_ISAS " (default: best)\n"
    "  --threads N        compute on so many threads (default: 1)\n";

enum {
    OPT_MODEL = 1,
    OPT_KEY,
    OPT_SIGNATURE_ONLY,
    OPT_ISA,
    OPT_THREADS,
    OPT_HELP,

    MODELS_MAX = 16,
    LINE_MAX_BYTES = 64 << 20,
    REASON_MAX = 256,
};

static const struct option longopts[] = {
    {"model", required_argument, NULL, OPT_MODEL},
    {"key", required_argument, NULL, OPT_KEY},
    {"signature-only", no_argument, NULL, OPT_SIGNATURE_ONLY},
    {"isa", required_argument, NULL, OPT_ISA},
    {"threads", required_argument, NULL, OPT_THREADS},
    {"help", no_argument, NULL, OPT_HELP},
    {0},
};

struct verify {
    const char *file;
    const char *key; // NULL: each receipt's own
    const char *dirs[MODELS_MAX];
    size_t n_dirs;
    bool signature_only;
    struct whole_model_options options;

    struct whole_model models[MODELS_MAX];
    size_t n_models;
    char seen_key[API_SIGN_KEY_TEXT + 1]; // of the first receipt
    uint64_t n_good, n_bad, n_errors, n_tokens;
    uint64_t n_near; // choices that cannot be computed again
};

static int options_read(int argc, char **argv, struct verify *v)
{
    int opt;

    while ((opt = getopt_long(argc, argv, "", longopts, NULL)) != -1) {
        switch (opt) {
        case OPT_MODEL:
            if (v->n_dirs == MODELS_MAX)
                return cli_usage(argv[0], "--model: at most %d", MODELS_MAX);
            v->dirs[v->n_dirs++] = optarg;
            break;
        case OPT_KEY:
            if (strlen(optarg) != API_SIGN_KEY_TEXT)
                return cli_usage(argv[0], "--key: base64 of %d bytes",
                                 API_SIGN_KEY_LEN);
            v->key = optarg;
            break;
        case OPT_SIGNATURE_ONLY:
            v->signature_only = true;
            break;
        case OPT_ISA:
            if (!whole_model_isa(optarg, &v->options.isa))
                return cli_usage(argv[0], "--isa %s: not one of %s", optarg,
                                 WHOLE_MODEL_ISAS);
            break;
        case OPT_THREADS:
            if (!whole_model_threads(optarg, &v->options.n_threads))
                return cli_usage(argv[0], "--threads %s: 1 to %d", optarg,
                                 ENGINE_WORKERS_MAX);
            break;
        case OPT_HELP:
            fputs(help, stdout);
            return CLI_OK;
        default:
            return cli_usage(argv[0], "bad option");
        }
    }
    if (argc - optind != 1)
        return cli_usage(argv[0], "one RESULTS.jsonl is needed");
    if (v->signature_only == (v->n_dirs > 0))
        return cli_usage(argv[0], "give --model DIR, or --signature-only");
    v->file = argv[optind];
    return -1;
}

// ---- one line ----

__attribute__((format(printf, 2, 3))) static bool fault(char *why,
                                                        const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(why, REASON_MAX, format, args);
    va_end(args);
    return false;
}

static const struct whole_model *model_of(const struct verify *v,
                                          const struct api_receipt *r)
{
    for (size_t i = 0; i < v->n_models; i++)
        if (memcmp(model_id(v->models[i].model), r->model_id, SHA256_LEN) == 0)
            return &v->models[i];
    return NULL;
}

// The text that was delivered must be what the tokens say, up to a stop.
static bool text_holds(const struct whole_model *m, const struct api_receipt *r,
                       const json_t *text, char *why)
{
    struct text all = {0};
    size_t len = json_string_length(text);
    enum err err =
        tokenizer_decode_text(m->tokenizer, r->ids + r->n_prompt, r->n_tokens,
                              TOKENIZER_SKIP_SPECIAL, &all);
    bool same =
        !err && len <= all.len &&
        memcmp(all.ptr ? all.ptr : "", json_string_value(text), len) == 0;
    bool whole = strcmp(r->finish_reason, "length") != 0 || len == all.len;

    text_release(&all);
    if (err)
        return fault(why, "its tokens cannot be decoded: %s", err_text(err));
    return same && whole ? true
                         : fault(why, "the text is not that of the tokens");
}

// The log-probabilities that were just computed, as they are delivered, must be
// those that the receipt vouches for.
static bool logprobs_hold(const struct whole_model *m,
                          const struct api_receipt *r, struct bytes raw,
                          const json_t *choice, size_t text_len, char *why)
{
    struct api_logprobs p;
    uint8_t hash[SHA256_LEN];
    json_t *told = NULL;
    enum err err = api_logprobs_init(&p, m->tokenizer, r->ids + r->n_prompt,
                                     r->n_tokens, raw);

    if (!err)
        told = api_logprobs_json(&p, 0, api_logprobs_within(&p, text_len),
                                 json_object_get(choice, "message") != NULL);
    if (!err)
        err = told ? api_logprobs_hash(told, hash) : ERR_NOMEM;
    api_logprobs_release(&p);
    json_decref(told);
    if (err)
        return fault(why, "its log-probabilities cannot be told: %s",
                     err_text(err));
    return memcmp(hash, r->logprobs_hash, sizeof hash) == 0
               ? true
               : fault(why, "its log-probabilities come out different");
}

static bool computes(struct verify *v, const struct api_receipt *r,
                     const json_t *choice, const json_t *text, char *why)
{
    size_t each = r->sampling.flags & SYN1_LOGPROBS
                      ? 4 + 8 * (size_t)r->sampling.n_top
                      : 0;
    const struct whole_model *m = r->near ? NULL : model_of(v, r);
    struct local_answer answer = {.n_prompt = r->n_prompt,
                                  .n_tokens = r->n_tokens,
                                  .ids = r->ids,
                                  .sampling = r->sampling,
                                  .n_bias = r->n_bias,
                                  .n_stop = r->n_stop,
                                  .bias = r->bias,
                                  .stop = r->stop_bytes};
    uint32_t n_same = 0;
    bool good;
    enum err err;

    if (r->near) { // no other machine gives the same bytes
        v->n_near++;
        return true;
    }
    if (!m)
        return fault(why, "it was computed with another model (%s)", r->model);
    if (r->n_prompt + r->n_tokens > m->manifest->arch.n_ctx)
        return fault(why, "it is longer than the model's context");
    if (each) {
        answer.logprobs = calloc(r->n_tokens, each);
        if (!answer.logprobs)
            return fault(why, "%s", err_text(ERR_NOMEM));
    }
    err = local_check(m->engine, &answer, &n_same);
    if (err)
        good = fault(why, "it cannot be computed: %s", err_text(err));
    else if (n_same < r->n_tokens)
        good =
            fault(why, "token %" PRIu32 " of %" PRIu32 " comes out different",
                  n_same + 1, r->n_tokens);
    else
        good = text_holds(m, r, text, why) &&
               (!each ||
                logprobs_hold(
                    m, r, (struct bytes){answer.logprobs, r->n_tokens * each},
                    choice, json_string_length(text), why));
    if (good)
        v->n_tokens += r->n_tokens;
    free(answer.logprobs);
    return good;
}

// Are the log-probabilities of the choice those of the receipt?
static bool logprobs_signed(const json_t *choice, const struct api_receipt *r,
                            char *why)
{
    const json_t *told = json_object_get(choice, "logprobs");
    uint8_t hash[SHA256_LEN];
    bool any = told && !json_is_null(told);

    if (any && r->version == 1)
        return fault(why, "its receipt, of version 1, does not vouch for "
                          "log-probabilities");
    if (any != ((r->sampling.flags & SYN1_LOGPROBS) != 0))
        return fault(why, any ? "the receipt knows of no log-probabilities"
                              : "its log-probabilities are missing");
    if (any && (api_logprobs_hash(told, hash) ||
                memcmp(hash, r->logprobs_hash, sizeof hash) != 0))
        return fault(why, "the receipt is about other log-probabilities");
    return true;
}

// What else is told must not differ from the receipt.
static bool details_hold(const json_t *body, const json_t *choice,
                         const json_t *synapse, const json_t *receipt,
                         char *why)
{
    const struct {
        const char *name;
        const json_t *told, *signed_for;
    } details[] = {
        {"model", json_object_get(body, "model"),
         json_object_get(receipt, "model")},
        {"finish_reason", json_object_get(choice, "finish_reason"),
         json_object_get(receipt, "finish_reason")},
        {"tokens", json_object_get(synapse, "tokens"),
         json_object_get(receipt, "tokens")},
    };

    const json_t *exact = json_object_get(synapse, "exact");

    if (exact &&
        json_is_true(exact) !=
            (strcmp(json_string_value(json_object_get(receipt, "class")),
                    "exact") == 0))
        return fault(why, "the receipt is about another class");
    for (size_t i = 0; i < sizeof details / sizeof *details; i++)
        if (details[i].told &&
            !json_equal(details[i].told, details[i].signed_for))
            return fault(why, "the receipt is about another %s",
                         details[i].name);
    return true;
}

// Is the receipt about this choice of the line?
static bool about(const json_t *line, const json_t *text,
                  const struct api_receipt *r, char *why)
{
    const char *id = json_string_value(json_object_get(line, "custom_id"));
    uint8_t hash[SHA256_LEN];

    sha256(json_string_value(text), json_string_length(text), hash);
    if (memcmp(hash, r->text_hash, SHA256_LEN) != 0)
        return fault(why, "the receipt is about another text");
    if (!id || strcmp(id, r->custom_id) != 0)
        return fault(why, "the receipt is about another custom_id");
    return true;
}

static bool key_holds(struct verify *v, const struct api_receipt *r, char *why)
{
    const char *want = v->key ? v->key : v->seen_key;

    if (!*want)
        snprintf(v->seen_key, sizeof v->seen_key, "%s", r->key);
    else if (strcmp(r->key, want) != 0)
        return fault(why, v->key ? "it is signed with another key"
                                 : "it is signed with another key than the "
                                   "first");
    return true;
}

// What the receipts of a line's choices say together.
struct sums {
    uint64_t n_prompt; // of each
    uint64_t n_tokens; // of all
    uint64_t seed;     // of the first
};

// Do the choices belong together? Their seeds count up, so that no choice is
// told twice.
static bool joins(struct sums *sums, const struct api_receipt *r, size_t i,
                  char *why)
{
    if (i == 0)
        *sums = (struct sums){r->n_prompt, 0, r->sampling.seed};
    sums->n_tokens += r->n_tokens;
    if (r->n_prompt != sums->n_prompt)
        return fault(why, "its prompt is another than the first's");
    if (r->sampling.seed != sums->seed + i)
        return fault(why, "its seed is not that of choice %zu", i);
    return true;
}

static bool choice_holds(struct verify *v, const json_t *line,
                         const json_t *choice, const json_t *receipt, size_t i,
                         struct sums *sums, char *why)
{
    const json_t *body =
        json_object_get(json_object_get(line, "response"), "body");
    const json_t *synapse = json_object_get(i == 0 ? body : choice, "synapse");
    const json_t *text = json_object_get(choice, "text");
    struct api_receipt r;
    const char *member = "";
    bool good;
    enum err err;

    if (!text)
        text = json_object_get(json_object_get(choice, "message"), "content");
    if (!json_is_string(text))
        return fault(why, "it has no text");
    if (!receipt)
        return fault(why, "it has no receipt");
    err = api_receipt_read(receipt, &r, &member);
    if (err)
        return fault(why, "its receipt's %s: %s", member, err_text(err));
    err = api_receipt_check(receipt);
    good = err ? fault(why, err == ERR_DENIED ? "its signature does not hold"
                                              : "its signature or key is none")
               : key_holds(v, &r, why) && about(line, text, &r, why) &&
                     logprobs_signed(choice, &r, why) &&
                     joins(sums, &r, i, why) &&
                     details_hold(body, choice, synapse, receipt, why) &&
                     (v->signature_only || computes(v, &r, choice, text, why));
    api_receipt_release(&r);
    return good;
}

// A line with an answer, of one choice or several.
static bool answer_holds(struct verify *v, const json_t *line,
                         const json_t *body, char *why)
{
    const json_t *choices = json_object_get(body, "choices");
    const json_t *synapse = json_object_get(body, "synapse");
    const json_t *receipts = json_object_get(synapse, "receipts");
    const json_t *usage = json_object_get(body, "usage");
    size_t n = json_array_size(choices);
    struct sums sums = {0};

    if (receipts && json_array_size(receipts) != n)
        return fault(why, "it has %zu choices, and %zu receipts", n,
                     json_array_size(receipts));
    if (!receipts && n > 1)
        return fault(why, "it has no receipts");
    for (size_t i = 0; i < n || i == 0; i++) {
        const json_t *receipt = receipts ? json_array_get(receipts, i)
                                         : json_object_get(synapse, "receipt");
        char of[REASON_MAX / 2];

        if (choice_holds(v, line, json_array_get(choices, i), receipt, i, &sums,
                         why))
            continue;
        snprintf(of, sizeof of, "%s", why);
        return n > 1 ? fault(why, "choice %zu: %s", i, of) : false;
    }
    if ((uint64_t)json_integer_value(json_object_get(usage, "prompt_tokens")) !=
            sums.n_prompt ||
        (uint64_t)json_integer_value(
            json_object_get(usage, "completion_tokens")) != sums.n_tokens)
        return fault(why, "usage has other counts than the receipt");
    return true;
}

static void line_verify(struct verify *v, const char *text, size_t len,
                        uint64_t number)
{
    json_t *line = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
    const json_t *body =
        json_object_get(json_object_get(line, "response"), "body");
    char why[REASON_MAX] = "it is not a line of results";
    bool good = false;

    if (json_is_object(json_object_get(line, "error")))
        v->n_errors++;
    else {
        good = body && answer_holds(v, line, body, why);
        v->n_good += good;
        v->n_bad += !good;
        if (!good)
            fprintf(stderr, "line %" PRIu64 ": %s\n", number, why);
    }
    json_decref(line);
}

// ---- all of them ----

static bool lines_verify(struct verify *v, char *why)
{
    bool is_stdin = strcmp(v->file, "-") == 0;
    FILE *in = is_stdin ? stdin : fopen(v->file, "rb");
    char *line = NULL;
    size_t cap = 0;
    ssize_t len;
    bool ok = true;

    if (!in)
        return fault(why, "%s: %s", v->file, strerror(errno));
    for (uint64_t n = 1; ok && (len = getline(&line, &cap, in)) > 0; n++) {
        if (len > LINE_MAX_BYTES)
            ok = fault(why, "line %" PRIu64 " is longer than %d bytes", n,
                       LINE_MAX_BYTES);
        else if (strspn(line, " \t\r\n") < (size_t)len)
            line_verify(v, line, (size_t)len, n);
    }
    if (ok && ferror(in))
        ok = fault(why, "%s: %s", v->file, strerror(errno));
    free(line);
    if (!is_stdin)
        fclose(in);
    return ok;
}

static bool models_open(struct verify *v, char *why)
{
    for (; v->n_models < v->n_dirs; v->n_models++) {
        v->options.dir = v->dirs[v->n_models];
        if (whole_model_open(&v->options, &v->models[v->n_models], why,
                             REASON_MAX))
            return false;
    }
    return true;
}

static void report(const struct verify *v)
{
    printf("%" PRIu64 " lines hold, %" PRIu64 " do not, %" PRIu64 " are errors",
           v->n_good, v->n_bad, v->n_errors);
    if (!v->signature_only)
        printf("; %" PRIu64 " tokens computed again", v->n_tokens);
    putchar('\n');
    if (v->n_near)
        printf("%" PRIu64 " of them were computed in class f32 at least in "
               "part and cannot be computed again byte for byte: only their "
               "signatures were checked\n",
               v->n_near);
    if (!v->key && *v->seen_key)
        printf("signed with %s (compare it with GET /v1/receipts/key)\n",
               v->seen_key);
}

int cli_verify(int argc, char **argv)
{
    struct verify v = {0};
    char why[REASON_MAX] = "";
    int status = options_read(argc, argv, &v);

    if (status >= 0)
        return status;
    if (models_open(&v, why) && lines_verify(&v, why)) {
        report(&v);
        status = v.n_bad == 0 && v.n_good > 0 ? CLI_OK : CLI_FAILED;
    } else {
        status = cli_fail(argv[0], "%s", why);
    }
    for (size_t i = 0; i < v.n_models; i++)
        whole_model_release(&v.models[i]);
    return status;
}
