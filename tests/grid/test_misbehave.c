// Falsified results must be well-formed, or they would test the parser instead
// of the checks.
#include <string.h>

#include "base/syn1.h"
#include "check.h"
#include "native/misbehave.h"

enum { N_TOKENS = 3, FRAME_MAX = 512 };

static const uint8_t tokens[4 * N_TOKENS] = {5, 0, 0, 0, 6, 0, 0, 0, 7};
static const uint8_t prints[N_TOKENS * SYN1_PRINT_LEN] = {1, 2, 3};

// Two sequences of three tokens and fingerprints.
static size_t result_make(uint8_t frame[FRAME_MAX])
{
    struct bytes_out out = {.ptr = frame, .cap = FRAME_MAX};
    struct syn1_header header = {
        .kind = SYN1_RESULT, .flags = SYN1_TOKENS, .span_end = 1, .unit = {9}};
    struct syn1_result_seq seq = {.n_tokens = N_TOKENS,
                                  .n_prints = N_TOKENS,
                                  .tokens = tokens,
                                  .prints = prints};

    syn1_begin(&out, &header);
    for (seq.id = 1; seq.id <= 2; seq.id++)
        syn1_put_result_seq(&out, &header, &seq);
    CHECK_EQ(syn1_end(&out), ERR_OK);
    return out.len;
}

static void first_seq(const uint8_t *frame, size_t len, struct syn1_frame *out,
                      struct syn1_result_seq *seq)
{
    struct bytes body;

    CHECK_EQ(syn1_parse(frame, len, out), ERR_OK);
    body = out->body;
    CHECK(syn1_result_next(&out->header, &body, seq));
}

static void each_mode_changes_its_part_only(void)
{
    static const struct {
        const char *name;
        bool token, print, shorter, unit;
    } modes[] = {
        {.name = "token", .token = true},
        {.name = "print", .print = true},
        {.name = "short", .shorter = true},
        {.name = "unit", .unit = true},
    };

    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        uint8_t frame[FRAME_MAX];
        struct syn1_frame parsed;
        struct syn1_result_seq seq;
        enum native_wrong mode;
        size_t len = result_make(frame);

        CHECK_EQ(native_wrong_parse(modes[i].name, &mode), ERR_OK);
        native_wrong_apply(mode, frame, &len);
        first_seq(frame, len, &parsed, &seq);
        CHECK_EQ(parsed.header.n_seqs, 2);
        CHECK_EQ(parsed.header.unit[0] == 9, !modes[i].unit);
        CHECK_EQ(seq.n_tokens, modes[i].shorter ? N_TOKENS - 1 : N_TOKENS);
        CHECK_EQ(seq.n_prints, seq.n_tokens);
        CHECK_EQ(memcmp(seq.tokens, tokens, 4 * seq.n_tokens) != 0,
                 modes[i].token);
        CHECK_EQ(memcmp(seq.prints, prints,
                        seq.n_prints * (size_t)SYN1_PRINT_LEN) != 0,
                 modes[i].print);
    }
}

static void a_broken_frame_does_not_parse(void)
{
    uint8_t frame[FRAME_MAX];
    struct syn1_frame parsed;
    size_t len = result_make(frame);

    native_wrong_apply(NATIVE_WRONG_FRAME, frame, &len);
    CHECK(syn1_parse(frame, len, &parsed) != ERR_OK);
}

static void honest_and_foreign_frames_stay(void)
{
    uint8_t frame[FRAME_MAX], copy[FRAME_MAX];
    enum native_wrong mode = NATIVE_HONEST;
    size_t len = result_make(frame);

    memcpy(copy, frame, len);
    native_wrong_apply(NATIVE_HONEST, frame, &len);
    CHECK(memcmp(copy, frame, len) == 0);
    frame[0] = 'X';
    native_wrong_apply(NATIVE_WRONG_TOKEN, frame, &len);
    CHECK(memcmp(copy + 1, frame + 1, len - 1) == 0);
    CHECK_EQ(native_wrong_parse("lies", &mode), ERR_NOT_FOUND);
    CHECK_EQ(mode, NATIVE_HONEST);
}

int main(void)
{
    each_mode_changes_its_part_only();
    a_broken_frame_does_not_parse();
    honest_and_foreign_frames_stay();
    return 0;
}
