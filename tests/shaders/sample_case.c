#include "sample_case.h"

#include <string.h>

#include "check.h"
#include "engine/kernels.h"
#include "engine/sampler.h"
#include "splitter/format.h"

enum { VOCAB = 203, SAMPLES = 5, CTX = 12, TOPS = 4, PROBS = 16 };

static void sampling_fill(struct syn1_sampling *s)
{
    for (int i = 0; i < SAMPLES; i++)
        s[i] = (struct syn1_sampling){.inv_temp_q16 = 1 << 16,
                                      .top_p_q16 = 1 << 16,
                                      .seed = UINT64_C(0x0123456789abcdef) +
                                              (uint64_t)i};
    s[0].inv_temp_q16 = 0;
    s[1].top_p_q16 = 60000;
    s[2].top_k = 7;
    s[2].top_p_q16 = 40000;
    s[3].inv_temp_q16 = 99999;
    s[3].presence_q16 = 1 << 15;
    s[3].frequency_q16 = -(1 << 14);
    s[4].inv_temp_q16 = 9;
}

void sample_case(struct cases_out *out, const int32_t *logs)
{
    int32_t x[SAMPLES * 208], fed[SAMPLES * CTX];
    struct sampler_tables tables = {logs, logs + FORMAT_EXP2_LEN,
                                    logs + FORMAT_EXP2_LEN + 1025};
    uint32_t ld = 208, heads[SAMPLES * 4], rows[SAMPLES * 4] = {0};
    uint32_t params[SAMPLES * 16] = {0}, ids[SAMPLES * CTX];
    uint32_t answers[PROBS + SAMPLES * 41] = {0};
    const int32_t bias[4] = {11, 3 << 16, 12, -100 * (1 << 16)};
    struct syn1_sampling s[SAMPLES];
    struct sampler_top tops[TOPS];
    struct sampler *sampler;

    CHECK_EQ(sampler_new(VOCAB, &tables, &engine_kernels_ref, &sampler),
             ERR_OK);
    sampling_fill(s);
    for (uint32_t i = 0; i < SAMPLES * CTX; i++)
        ids[i] = i * i % 7;
    for (uint32_t i = 0; i < SAMPLES * ld; i++)
        x[i] = i % ld >= VOCAB ? FORMAT_VALUE_MAX
               : i / ld == 4   ? cases_any(out)
                               : cases_between(out, -(9 << 16), 9 << 16);
    cases_begin(out, "sample", "\"VOCAB\":%d,\"LD\":%u,\"CTX\":%d,\"PROBS\":%d",
                VOCAB, ld, CTX, PROBS);
    cases_in(out, 0, x, SAMPLES * ld * 4);
    for (uint32_t i = 0; i < SAMPLES; i++) {
        uint32_t *p = params + 16 * i, position = 4 + i;
        int32_t *logits = x + i * ld;

        rows[4 * i] = i;
        rows[4 * i + 1] = position;
        memcpy(heads + 4 * i, (uint32_t[]){i, SAMPLES - 1 - i, i % 2, 0}, 16);
        memcpy(p,
               (uint32_t[]){s[i].inv_temp_q16, s[i].top_p_q16, s[i].top_k,
                            (uint32_t)s[i].seed, (uint32_t)(s[i].seed >> 32),
                            (uint32_t)s[i].presence_q16,
                            (uint32_t)s[i].frequency_q16, 2, 0, i == 3 ? 2 : 0,
                            1, TOPS},
               48);
        for (uint32_t t = 2; i == 3 && t <= position; t++)
            sampler_count(sampler, ids[i * CTX + t]);
        sampler_apply(sampler, logits, &s[i], (const uint8_t *)bias,
                      i == 3 ? 2 : 0);

        uint32_t *probs = answers + PROBS + (SAMPLES - 1 - i) * 41;
        uint32_t token = sampler_choose(sampler, logits, &s[i], position + 1);
        struct sampler_total total = sampler_total(sampler, logits);

        answers[SAMPLES - 1 - i] = token;
        probs[0] = (uint32_t)sampler_logprob(&total, logits, token);
        sampler_tops(sampler, &total, logits, TOPS, tops);
        for (int j = 0; j < TOPS; j++) {
            probs[1 + 2 * j] = tops[j].token;
            probs[2 + 2 * j] = (uint32_t)tops[j].logprob;
        }
    }
    cases_in(out, 1, heads, sizeof heads);
    cases_expect(out, 2, rows, sizeof rows, rows, sizeof rows);
    memcpy(fed, ids, sizeof ids);
    for (uint32_t i = 1; i < SAMPLES; i += 2) // those are fed
        fed[i * CTX + 5 + i] = (int32_t)answers[SAMPLES - 1 - i];
    cases_expect(out, 3, ids, sizeof ids, fed, sizeof ids);
    cases_in(out, 4, params, sizeof params);
    cases_in(out, 5, bias, sizeof bias);
    cases_in(out, 6, logs, (FORMAT_EXP2_LEN + 1025 + 257) * sizeof *logs);
    cases_expect(out, 7, NULL, sizeof answers, answers, sizeof answers);
    cases_end(out, SAMPLES, 1);
    sampler_free(sampler);
}
