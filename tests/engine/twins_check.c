#include "twins_check.h"

#include <stdio.h>

#include "engine/memory.h"

enum {
    ROWS_MAX = 40,
    GROUPS_MAX = 40,
    BLOCKS_MAX = 7,
    PANELS_MAX = ROWS_MAX / MATMUL_PANEL_ROWS * GROUPS_MAX,
    OUT_MAX = ROWS_MAX * (BLOCKS_MAX + 1) * FORMAT_BLOCK,
    VALUES_MAX = 700,
    POISON = 0x5A,
};

// All that the kernels read and write, too large for a stack.
struct data {
    uint64_t random;
    _Alignas(64) uint8_t w[BLOCKS_MAX * GROUPS_MAX * FORMAT_TILE];
    _Alignas(64) uint8_t m[BLOCKS_MAX * GROUPS_MAX * FORMAT_BLOCK];
    _Alignas(64) int32_t e[BLOCKS_MAX * FORMAT_BLOCK];
    _Alignas(64) int32_t b[BLOCKS_MAX * FORMAT_BLOCK];
    _Alignas(64) int8_t q[ROWS_MAX * GROUPS_MAX * FORMAT_GROUP];
    _Alignas(64) uint8_t exp[ROWS_MAX * GROUPS_MAX];
    _Alignas(64) int32_t corr[ROWS_MAX * GROUPS_MAX];
    _Alignas(64) uint8_t exp_max[ROWS_MAX];
    _Alignas(64) struct matmul_panel panels[PANELS_MAX];
    _Alignas(64) struct matmul_panel panels_got[PANELS_MAX];
    _Alignas(64) struct matmul_quads quads[PANELS_MAX];
    _Alignas(64) int32_t want[OUT_MAX];
    _Alignas(64) int32_t got[OUT_MAX];
    _Alignas(64) int32_t x[VALUES_MAX];
    _Alignas(64) int32_t gain[VALUES_MAX];
    _Alignas(64) int32_t bias[VALUES_MAX];
    _Alignas(64) int32_t table[FORMAT_ACT_LEN];
    _Alignas(64) int32_t exp2[FORMAT_EXP2_LEN];
    _Alignas(64) int8_t k[KV_PAGE * ARCH_HEAD_MAX];
    _Alignas(64) int8_t v[KV_PAGE * ARCH_HEAD_MAX];
    _Alignas(64) uint8_t k_exp[KV_PAGE];
    _Alignas(64) uint8_t v_exp[KV_PAGE];
    _Alignas(64) uint8_t low[2][KV_PAGE];
    _Alignas(64) uint8_t high[2][KV_PAGE];
};

// splitmix64
static uint32_t random32(struct data *d)
{
    uint64_t z = d->random += UINT64_C(0x9E3779B97F4A7C15);

    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return (uint32_t)(z >> 32);
}

static int32_t between(struct data *d, int32_t from, int32_t to)
{
    uint32_t n = (uint32_t)to - (uint32_t)from + 1;

    return (int32_t)((uint32_t)from + (n ? random32(d) % n : random32(d)));
}

// Of any magnitude up to FORMAT_VALUE_MAX, so that all shifts occur; now and
// then exactly the limit.
static int32_t any_value(struct data *d)
{
    if (random32(d) % 64 == 0)
        return random32(d) % 2 ? FORMAT_VALUE_MAX : -FORMAT_VALUE_MAX;
    int32_t v = between(d, -FORMAT_VALUE_MAX, FORMAT_VALUE_MAX);
    return v >> random32(d) % 30;
}

static void values(struct data *d, int32_t *v, uint32_t n, int kind)
{
    for (uint32_t i = 0; i < n; i++)
        v[i] = kind == 0   ? any_value(d)
               : kind == 1 ? between(d, -4000, 4000)
               : kind == 2 ? 0
               : kind == 3
                   ? (i % 2 ? FORMAT_VALUE_MAX : -FORMAT_VALUE_MAX)
                   : (i == n / 2 ? FORMAT_VALUE_MAX : between(d, -9, 9));
}

enum { N_KINDS = 5 };

// The matrix product.

enum fill {
    FILL_RANDOM,
    FILL_LARGEST, // all products 63 * 127
    FILL_OPPOSED, // all products -63 * 127, or 63 * -127 by turns
    FILL_OUTLIER, // one group of the largest exponent, the others 0
    FILL_SHIFTS,  // row exponents over their whole range
    FILL_TAME,    // all as large as they can be without a wide group
    FILL_MIXED,   // tame groups, and some that are wide by one
    N_FILLS,
};

static void fill_weight(struct data *d, enum fill fill, uint32_t n_blocks,
                        uint32_t n_groups)
{
    size_t n_tiles = (size_t)n_blocks * n_groups;
    bool extreme = fill == FILL_LARGEST || fill == FILL_OPPOSED ||
                   fill == FILL_TAME || fill == FILL_MIXED;

    for (size_t i = 0; i < n_tiles * FORMAT_TILE; i++)
        d->w[i] = (uint8_t)(!extreme               ? between(d, 1, 127)
                            : fill == FILL_LARGEST ? 127
                            : i / 4 % 2            ? 1
                                                   : 127);
    for (size_t i = 0; i < n_tiles * FORMAT_BLOCK; i++)
        d->m[i] = (uint8_t)(extreme ? 255 : between(d, 1, 255));
    for (size_t i = 0; i < (size_t)n_blocks * FORMAT_BLOCK; i++) {
        d->e[i] = fill == FILL_SHIFTS
                      ? between(d, -FORMAT_ROW_EXP_MAX, FORMAT_ROW_EXP_MAX)
                      : between(d, -22, extreme ? 2 : -4);
        d->b[i] = any_value(d);
    }
}

// Eight times 65 is just tame.
static int32_t tame_value(struct data *d, enum fill fill, uint32_t t)
{
    int32_t q = fill == FILL_MIXED && random32(d) % 999 == 0 ? 66 : 65;

    return t % 2 ? -q : q;
}

static void fill_input(struct data *d, enum fill fill, uint32_t n_rows,
                       uint32_t n_groups)
{
    for (uint32_t t = 0; t < n_rows; t++) {
        d->exp_max[t] = 0;
        for (uint32_t g = 0; g < n_groups; g++) {
            size_t i = (size_t)t * n_groups + g;
            int32_t sum = 0;

            d->exp[i] =
                (uint8_t)(fill == FILL_RANDOM    ? between(d, 0, 23)
                          : fill == FILL_OUTLIER ? 23 * (g == t % n_groups)
                                                 : 23);
            if (d->exp[i] > d->exp_max[t])
                d->exp_max[t] = d->exp[i];
            for (uint32_t k = 0; k < FORMAT_GROUP; k++) {
                int32_t q = fill == FILL_LARGEST   ? 127
                            : fill == FILL_OPPOSED ? (t % 2 ? -127 : 127)
                            : fill == FILL_TAME || fill == FILL_MIXED
                                ? tame_value(d, fill, t)
                            : t % 7 == 6 ? 0
                                         : between(d, -127, 127);

                d->q[i * FORMAT_GROUP + k] = (int8_t)q;
                sum += q;
            }
            d->corr[i] = FORMAT_WEIGHT_BIAS * sum;
        }
    }
}

// The panels of all rows, by the reference and by the twin. Each twin is given
// its own, so both must be right.
static bool panels_equal(struct data *d, const struct engine_kernels *twin,
                         uint32_t n_groups)
{
    memset(d->panels, POISON, sizeof d->panels);
    memset(d->panels_got, POISON, sizeof d->panels_got);
    for (uint32_t t = 0; t < ROWS_MAX; t++) {
        size_t i = (size_t)t * n_groups;

        matmul_lay_ref(d->panels, t, d->q + i * FORMAT_GROUP, d->exp + i,
                       d->exp_max[t], n_groups);
        twin->lay(d->panels_got, t, d->q + i * FORMAT_GROUP, d->exp + i,
                  d->exp_max[t], n_groups);
    }
    return memcmp(d->panels, d->panels_got, sizeof d->panels) == 0;
}

// Quads have one way to be laid, without a twin.
static void lay_quads(struct data *d, uint32_t n_groups)
{
    memset(d->quads, POISON, sizeof d->quads);
    for (uint32_t t = 0; t < ROWS_MAX; t++) {
        size_t i = (size_t)t * n_groups;

        matmul_lay_quads(d->quads, t, d->q + i * FORMAT_GROUP, d->exp + i,
                         d->exp_max[t], n_groups);
    }
}

static bool matmul_equal(struct data *d, const struct engine_kernels *twin,
                         uint32_t n_rows, uint32_t n_blocks, uint32_t n_groups,
                         uint32_t from)
{
    struct matmul_weight weight = {d->w,
                                   d->m,
                                   d->e,
                                   d->b,
                                   n_blocks * FORMAT_BLOCK,
                                   n_groups * FORMAT_GROUP,
                                   n_blocks,
                                   n_groups};
    const void *panels = twin->lay == matmul_lay_quads
                             ? (const void *)d->quads
                             : (const void *)d->panels_got;
    struct matmul_input in = {d->q,       d->exp, d->corr,
                              d->exp_max, n_rows, panels};
    size_t ld = ((size_t)n_blocks + n_rows % 2) * FORMAT_BLOCK;

    memset(d->want, POISON, sizeof d->want);
    memset(d->got, POISON, sizeof d->got);
    matmul_ref(d->want, ld, &in, &weight, from, n_blocks);
    twin->matmul(d->got, ld, &in, &weight, from, n_blocks);
    return memcmp(d->want, d->got, sizeof d->want) == 0;
}

static bool check_matmul(struct data *d, const struct engine_kernels *twin,
                         char *why, size_t why_len)
{
    static const struct {
        uint32_t blocks, groups, from;
    } shapes[] = {{1, 1, 0},  {2, 3, 1},  {7, 12, 0},
                  {3, 16, 0}, {2, 17, 0}, {1, 40, 0}};

    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        for (int fill = 0; fill < N_FILLS; fill++) {
            fill_weight(d, (enum fill)fill, shapes[i].blocks, shapes[i].groups);
            fill_input(d, (enum fill)fill, ROWS_MAX, shapes[i].groups);
            if (twin->lay == matmul_lay_quads)
                lay_quads(d, shapes[i].groups);
            else if (twin->lay && !panels_equal(d, twin, shapes[i].groups)) {
                snprintf(why, why_len, "lay: %u groups, fill %d",
                         (unsigned)shapes[i].groups, fill);
                return false;
            }
            for (uint32_t t = 1; t <= ROWS_MAX; t += i == 1 ? 1 : 1 + t / 2)
                if (!matmul_equal(d, twin, t, shapes[i].blocks,
                                  shapes[i].groups, shapes[i].from)) {
                    snprintf(why, why_len,
                             "matmul: %u rows, %u blocks, %u groups, fill %d",
                             (unsigned)t, (unsigned)shapes[i].blocks,
                             (unsigned)shapes[i].groups, fill);
                    return false;
                }
        }
    return true;
}

// Rows.

static bool check_quantise(struct data *d, const struct engine_kernels *twin)
{
    int8_t *q[2] = {(int8_t *)d->want, (int8_t *)d->got};
    uint8_t e[2][GROUPS_MAX + 1] = {{0}, {0}};
    int32_t corr[2][GROUPS_MAX + 1] = {{0}, {0}};

    for (uint32_t n = 1; n <= VALUES_MAX; n += 1 + n / 3)
        for (int kind = 0; kind < 3 * N_KINDS; kind++) {
            int32_t *x = d->x + (n < VALUES_MAX ? kind % 2 : 0);

            values(d, x, n, kind % N_KINDS);
            memset(d->want, POISON, VALUES_MAX + 64);
            memset(d->got, POISON, VALUES_MAX + 64);
            if (engine_quantise_ref(q[0], e[0] + 1, corr[0] + 1, x, n) !=
                    twin->quantise(q[1], e[1] + 1, corr[1] + 1, x, n) ||
                memcmp(q[0], q[1], VALUES_MAX + 64) != 0 ||
                memcmp(e[0], e[1], sizeof e[0]) != 0 ||
                memcmp(corr[0], corr[1], sizeof corr[0]) != 0)
                return false;
        }
    return true;
}

static bool check_norm(struct data *d, const struct engine_kernels *twin)
{
    static const uint64_t eps[] = {0, 1, UINT64_C(1) << 10, UINT64_C(1) << 40};

    for (uint32_t n = 1; n <= VALUES_MAX; n += 1 + n / 3)
        for (int kind = 0; kind < 4 * N_KINDS; kind++) {
            bool centre = kind % 2;
            const int32_t *bias = kind % 3 ? d->bias : NULL;

            values(d, d->x, n, kind % N_KINDS);
            values(d, d->gain, n, kind / N_KINDS);
            values(d, d->bias, n, 0);
            memset(d->want, POISON, sizeof d->x);
            memset(d->got, POISON, sizeof d->x);
            engine_norm_ref(d->want, d->x, d->gain, bias, n,
                            eps[kind / N_KINDS], centre);
            twin->norm(d->got, d->x, d->gain, bias, n, eps[kind / N_KINDS],
                       centre);
            if (memcmp(d->want, d->got, sizeof d->x) != 0)
                return false;
        }
    return true;
}

// A table of the kind that shards hold: steps below 2^11, then the identity.
static void fill_tables(struct data *d)
{
    d->table[0] = 0;
    for (uint32_t i = 1; i < FORMAT_ACT_LEN; i++)
        d->table[i] = d->table[i - 1] + between(d, -300, 812);
    for (int32_t i = 0; i < FORMAT_EXP2_LEN; i++)
        d->exp2[i] = (1 << 30) - (1 << 16) - i * 131000;
}

static bool check_act(struct data *d, const struct engine_kernels *twin)
{
    for (uint32_t n = 1; n <= VALUES_MAX; n += 1 + n / 3)
        for (int kind = 0; kind < 8; kind++) {
            for (uint32_t i = 0; i < n; i++) {
                d->x[i] =
                    kind % 2 ? between(d, -(17 << 16), 17 << 16) : any_value(d);
                d->gain[i] = any_value(d);
            }
            memset(d->want, POISON, sizeof d->x);
            memset(d->got, POISON, sizeof d->x);
            if (kind < 4) {
                engine_act_ref(d->want, d->x, d->table, n);
                twin->act(d->got, d->x, d->table, n);
            } else {
                engine_gate_ref(d->want, d->x, d->gain, d->table, n);
                twin->gate(d->got, d->x, d->gain, d->table, n);
            }
            if (memcmp(d->want, d->got, sizeof d->x) != 0)
                return false;
        }
    return true;
}

static bool check_max(struct data *d, const struct engine_kernels *twin)
{
    for (uint32_t n = 1; n <= 100; n++) {
        for (uint32_t i = 0; i <= n; i++)
            d->x[i] = n % 3 == 0 ? INT32_MIN : (int32_t)random32(d);
        if (engine_max_ref(d->x + 1, n) != twin->max(d->x + 1, n))
            return false;
    }
    return true;
}

// Attention.

static struct kv_tile fill_kv(struct data *d, bool extreme)
{
    for (size_t i = 0; i < sizeof d->k; i++) {
        d->k[i] =
            (int8_t)(extreme ? (i % 5 ? 127 : -127) : between(d, -127, 127));
        d->v[i] =
            (int8_t)(extreme ? (i % 3 ? -127 : 127) : between(d, -127, 127));
    }
    for (uint32_t t = 0; t < KV_PAGE; t++) {
        d->k_exp[t] = (uint8_t)between(d, 0, 23);
        d->v_exp[t] = (uint8_t)between(d, 0, 23);
    }
    return (struct kv_tile){d->k, d->v, d->k_exp, d->v_exp};
}

static bool check_scores(struct data *d, const struct engine_kernels *twin,
                         uint32_t D, uint32_t n)
{
    for (int round = 0; round < 8; round++) {
        struct kv_tile tile = fill_kv(d, round % 4 == 3);
        int32_t shift = round < 4 ? between(d, -30, 0) : between(d, -90, 40);

        for (uint32_t i = 0; i < D; i++)
            d->q[i] = (int8_t)(round % 4 == 3 ? 127 : between(d, -127, 127));
        if (engine_scores_ref(d->want, d->q, shift, &tile, D, n) !=
                twin->scores(d->got, d->q, shift, &tile, D, n) ||
            memcmp(d->want, d->got, n * sizeof d->want[0]) != 0)
            return false;
    }
    return true;
}

static bool check_weights(struct data *d, const struct engine_kernels *twin,
                          uint32_t n)
{
    for (int round = 0; round < 8; round++) {
        struct kv_tile tile = fill_kv(d, false);
        int32_t max = between(d, -(1 << 26), 1 << 26);
        int32_t below = 1 << (8 + 2 * round);

        memset(d->low, POISON, sizeof d->low);
        memset(d->high, POISON, sizeof d->high);
        for (uint32_t t = 0; t < KV_PAGE; t++)
            d->x[t] = t % 9 ? max - between(d, 0, below) : max;
        if (engine_weights_ref(d->low[0], d->high[0], d->x, max, d->exp2,
                               tile.v_exp, 23, n) !=
                twin->weights(d->low[1], d->high[1], d->x, max, d->exp2,
                              tile.v_exp, 23, n) ||
            memcmp(d->low[0], d->low[1], KV_PAGE) != 0 ||
            memcmp(d->high[0], d->high[1], KV_PAGE) != 0)
            return false;
    }
    return true;
}

static bool check_mix(struct data *d, const struct engine_kernels *twin,
                      uint32_t D, uint32_t n)
{
    for (int round = 0; round < 4; round++) {
        struct kv_tile tile = fill_kv(d, round == 3);

        for (uint32_t t = 0; t < KV_PAGE; t++) {
            int32_t p = t >= n ? 0 : round == 3 ? 16383 : between(d, 0, 16383);

            d->low[0][t] = (uint8_t)(p & 127);
            d->high[0][t] = (uint8_t)(p >> 7);
        }
        memset(d->want, POISON, sizeof d->x);
        for (uint32_t i = 0; i < D; i++)
            d->want[i] = between(d, -(1 << 29), 1 << 29);
        memcpy(d->got, d->want, sizeof d->x);
        engine_mix_ref(d->want, d->low[0], d->high[0], &tile, D, n);
        twin->mix(d->got, d->low[0], d->high[0], &tile, D, n);
        if (memcmp(d->want, d->got, sizeof d->x) != 0)
            return false;
    }
    return true;
}

static bool check_attention(struct data *d, const struct engine_kernels *twin,
                            char *why, size_t why_len)
{
    for (uint32_t n = 1; n <= KV_PAGE; n++) {
        bool weights = check_weights(d, twin, n);

        for (uint32_t D = 32; D <= ARCH_HEAD_MAX; D += 16) {
            bool scores = check_scores(d, twin, D, n);
            bool mix = check_mix(d, twin, D, n);

            if (weights && scores && mix)
                continue;
            snprintf(why, why_len, "%s: %u positions, width %u",
                     !weights  ? "weights"
                     : !scores ? "scores"
                               : "mix",
                     (unsigned)n, (unsigned)D);
            return false;
        }
    }
    return true;
}

static const char *check_all(struct data *d, const struct engine_kernels *twin,
                             char *why, size_t why_len)
{
    fill_tables(d);
    if (!check_matmul(d, twin, why, why_len) ||
        !check_attention(d, twin, why, why_len))
        return why;
    return !check_quantise(d, twin) ? "quantise"
           : !check_norm(d, twin)   ? "norm"
           : !check_act(d, twin)    ? "act or gate"
           : !check_max(d, twin)    ? "max"
                                    : NULL;
}

const char *twins_check(const struct engine_kernels *twin, char *why,
                        size_t why_len)
{
    struct data *d = memory_new(1, sizeof *d);

    if (!d)
        return "no memory";
    d->random = 1;
    const char *text = check_all(d, twin, why, why_len);
    free(d);
    return text;
}
