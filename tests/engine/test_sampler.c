// The integer sampler against real numbers: noise, logarithms, the kept sets
// of top_k and top_p, and how often tokens come.
#include <math.h>
#include <string.h>

#include "check.h"
#include "engine/logarithm.h"
#include "engine/philox.h"
#include "engine/sampler.h"
#include "splitter/tables.h"

enum { Q16 = 1 << 16, TOP_P_OFF = 1 << 16, VOCAB_MAX = 5000 };

static int32_t exp2_table[FORMAT_EXP2_LEN], log2_table[FORMAT_LOG2_LEN],
    logh_table[FORMAT_LOGH_LEN];
static const struct sampler_tables tables = {exp2_table, log2_table,
                                             logh_table};

static struct sampler *sampler_of(uint32_t n_vocab)
{
    struct sampler *s;

    CHECK_EQ(sampler_new(n_vocab, &tables, &engine_kernels_ref, &s), ERR_OK);
    return s;
}

// The vectors of the Random123 distribution.
static void philox_gives_known_words(void)
{
    static const struct {
        uint32_t counter[4], key[2], want[4];
    } known[] = {
        {{0, 0, 0, 0},
         {0, 0},
         {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{~0u, ~0u, ~0u, ~0u},
         {~0u, ~0u},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        uint32_t out[4];

        philox_words(known[i].counter, known[i].key, out);
        CHECK(memcmp(out, known[i].want, sizeof out) == 0);
    }
}

static void logarithms_are_close(void)
{
    for (uint64_t v = 1; v < UINT64_C(1) << 62; v += v / 7 + 1) {
        double got = ldexp(logarithm_2(v, log2_table), -FORMAT_LOG_Q);

        CHECK(fabs(got - log2((double)v)) < 4e-7);
    }
}

static void noise_is_precise_in_both_tails(void)
{
    for (uint64_t i = 0; i < 400; i++) {
        uint32_t near_0 = (uint32_t)(i * i * i), near_1 = UINT32_MAX - near_0;
        uint32_t some[2] = {near_0, near_1};

        for (int k = 0; k < 2; k++) {
            // ln U by its complement where U is nearly 1.
            double u = ldexp(2.0 * some[k] + 1, -33);
            double e = u > 0.5 ? -log1p(-(1 - u)) : -log(u);
            double got =
                ldexp(logarithm_gumbel(some[k], log2_table, logh_table), -16);

            CHECK(fabs(got + log(e)) < 3e-5);
        }
    }
}

static int32_t logits[VOCAB_MAX];

static void random_logits(uint32_t n, int32_t spread, uint32_t stream)
{
    for (uint32_t i = 0; i < n; i++) {
        uint32_t counter[4] = {i, stream, 0, 0}, key[2] = {3, 4}, w[4];

        philox_words(counter, key, w);
        logits[i] = (int32_t)(w[0] % (uint32_t)spread) -
                    (int32_t)(w[1] % (uint32_t)spread);
    }
}

static int descending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x < y) - (x > y);
}

// Weights of all tokens in doubles, and the least weight that top_p keeps.
static double kept_from(double *w, uint32_t n, double top_p)
{
    static double sorted[VOCAB_MAX];
    double total = 0, sum = 0;
    uint32_t i = 0;

    for (uint32_t k = 0; k < n; k++)
        total += sorted[k] = w[k];
    qsort(sorted, n, sizeof *sorted, descending);
    do
        sum += sorted[i++];
    while (i < n && sum < top_p * total);
    return sorted[i - 1];
}

// Every token that comes is in the kept set but for rounding at its edge, and
// the frequencies are those of the kept weights.
static void frequencies_follow_the_weights(void)
{
    enum { N = 400, DRAWS = 20000 };
    static double w[N];
    static uint32_t counts[N];
    struct sampler *s = sampler_of(N);
    struct syn1_sampling how = {
        .inv_temp_q16 = Q16 * 5 / 4, .top_p_q16 = Q16 * 8 / 10, .seed = 99};
    double kept = 0, chi = 0;
    unsigned cells = 0;

    random_logits(N, 4 * Q16, 1);
    for (uint32_t i = 0; i < N; i++)
        w[i] = exp(1.25 * ldexp(logits[i], -16));
    double least = kept_from(w, N, 0.8);
    for (uint32_t i = 0; i < N; i++)
        kept += w[i] >= least ? w[i] : 0;
    for (uint32_t p = 0; p < DRAWS; p++)
        counts[sampler_choose(s, logits, &how, p)]++;
    for (uint32_t i = 0; i < N; i++) {
        double want = w[i] >= least ? DRAWS * w[i] / kept : 0;

        if (w[i] < least * 0.999)
            CHECK_EQ(counts[i], 0);
        if (want > 5) {
            chi += (counts[i] - want) * (counts[i] - want) / want;
            cells++;
        }
    }
    // About cells +- sqrt(2 cells) for a right sampler.
    CHECK(cells > 50 && chi < cells + 5 * sqrt(2.0 * cells));
    sampler_free(s);
}

// The smallest set by brute force: how many different tokens can come at most.
static void top_p_keeps_the_right_number(void)
{
    enum { N = 1500, DRAWS = 8000 };
    static double w[N];
    static bool came[N];
    struct sampler *s = sampler_of(N);
    uint32_t wanted = 0, seen = 0;
    struct syn1_sampling how = {.inv_temp_q16 = Q16, .top_p_q16 = Q16 / 2};

    // Nearly flat: any loss of precision in the sums would show.
    random_logits(N, Q16 / 100, 2);
    for (uint32_t i = 0; i < N; i++)
        w[i] = exp(ldexp(logits[i], -16));
    double least = kept_from(w, N, 0.5);
    for (uint32_t i = 0; i < N; i++)
        wanted += w[i] >= least;
    for (uint32_t p = 0; p < DRAWS; p++) {
        uint32_t token = sampler_choose(s, logits, &how, p);

        CHECK(w[token] >= least * 0.99995);
        seen += !came[token];
        came[token] = true;
    }
    CHECK(wanted > 500 && seen > wanted * 98 / 100);
    sampler_free(s);
}

static void top_k_keeps_k_and_ties(void)
{
    struct sampler *s = sampler_of(8);
    static const int32_t few[8] = {5 * Q16, 4 * Q16, 3 * Q16, 3 * Q16,
                                   2 * Q16, 1 * Q16, 0,       -5 * Q16};
    static const struct {
        uint32_t top_k, n_kept;
    } rows[] = {{1, 1}, {2, 2}, {3, 4}, {4, 4}, {5, 5}, {8, 8}, {0, 8}, {9, 8}};

    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        struct syn1_sampling how = {.inv_temp_q16 = Q16 / 100, // nearly flat
                                    .top_p_q16 = TOP_P_OFF,
                                    .top_k = rows[r].top_k};
        bool came[8] = {0};

        for (uint32_t p = 0; p < 500; p++)
            came[sampler_choose(s, few, &how, p)] = true;
        for (uint32_t i = 0; i < 8; i++)
            CHECK_EQ(came[i], i < rows[r].n_kept);
    }
    sampler_free(s);
}

static void greedy_takes_the_lowest_of_the_best(void)
{
    struct sampler *s = sampler_of(VOCAB_MAX);
    struct syn1_sampling how = {.top_p_q16 = TOP_P_OFF};

    random_logits(VOCAB_MAX, Q16, 3);
    logits[4000] = logits[123] = logits[2000] = 2 * Q16;
    CHECK_EQ(sampler_choose(s, logits, &how, 0), 123);
    sampler_free(s);
}

// Extreme logits and temperatures stay in range.
static void extremes_are_harmless(void)
{
    enum { N = 7 };
    static const int32_t far[N] = {-FORMAT_VALUE_MAX,
                                   FORMAT_VALUE_MAX,
                                   0,
                                   -FORMAT_VALUE_MAX,
                                   FORMAT_VALUE_MAX,
                                   1,
                                   2};
    static const uint32_t temps[] = {0, 1, Q16, UINT32_MAX};
    struct sampler *s = sampler_of(N);

    for (size_t t = 0; t < sizeof temps / sizeof temps[0]; t++)
        for (uint32_t p = 0; p < 50; p++) {
            struct syn1_sampling how = {.inv_temp_q16 = temps[t],
                                        .top_p_q16 = 1 + p * 1000,
                                        .top_k = p % 4};
            uint32_t token = sampler_choose(s, far, &how, p);

            CHECK(token < N);
            if (temps[t] >= Q16 && temps[t] != 0)
                CHECK(far[token] == FORMAT_VALUE_MAX);
        }
    struct sampler_total total = sampler_total(s, far);
    CHECK(sampler_logprob(&total, far, 0) < -(1 << 29));
    CHECK(fabs(ldexp(sampler_logprob(&total, far, 1), -16) + log(2)) < 1e-4);
    sampler_free(s);
}

static void penalties_count_each_token(void)
{
    struct sampler *s = sampler_of(6);
    int32_t l[6] = {0, 0, 0, 0, 0, 0};
    struct syn1_sampling how = {.presence_q16 = Q16, .frequency_q16 = -Q16 / 2};
    uint8_t bias[16] = {4, 0, 0, 0, 0, 0, 1, 0, 4, 0, 0, 0, 1, 0, 0, 0};

    sampler_count(s, 2);
    sampler_count(s, 3);
    sampler_count(s, 2);
    sampler_count(s, 2);
    sampler_apply(s, l, &how, bias, 2);
    CHECK_EQ(l[2], 3 * Q16 / 2 - Q16);
    CHECK_EQ(l[3], Q16 / 2 - Q16);
    CHECK_EQ(l[4], Q16 + 1);
    CHECK_EQ(l[0] | l[1] | l[5], 0);
    sampler_apply(s, l, &how, bias, 0); // counts were forgotten
    CHECK_EQ(l[2], Q16 / 2);
    sampler_free(s);
}

static void totals_are_close(void)
{
    struct sampler *s = sampler_of(VOCAB_MAX);
    double sum = 0;

    random_logits(VOCAB_MAX, 6 * Q16, 4);
    for (uint32_t i = 0; i < VOCAB_MAX; i++)
        sum += exp(ldexp(logits[i], -16));
    struct sampler_total total = sampler_total(s, logits);
    for (uint32_t i = 0; i < VOCAB_MAX; i += 97) {
        double got = ldexp(sampler_logprob(&total, logits, i), -16);

        CHECK(fabs(got - (ldexp(logits[i], -16) - log(sum))) < 1e-4);
    }
    struct sampler_top tops[SYN1_TOP_MAX];
    sampler_tops(s, &total, logits, SYN1_TOP_MAX, tops);
    for (uint32_t i = 0; i < VOCAB_MAX; i++) {
        bool listed = false;

        for (int k = 0; k < SYN1_TOP_MAX; k++)
            listed |= tops[k].token == i;
        CHECK(listed || logits[i] <= logits[tops[SYN1_TOP_MAX - 1].token]);
    }
    sampler_free(s);
}

int main(void)
{
    tables_exp2(exp2_table);
    tables_log2(log2_table);
    tables_logh(logh_table);
    philox_gives_known_words();
    logarithms_are_close();
    noise_is_precise_in_both_tails();
    frequencies_follow_the_weights();
    top_p_keeps_the_right_number();
    top_k_keeps_k_and_ties();
    greedy_takes_the_lowest_of_the_best();
    extremes_are_harmless();
    penalties_count_each_token();
    totals_are_close();
    return 0;
}
