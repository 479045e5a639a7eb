// Verdicts, and what work is worth.
#include <string.h>

#include "check.h"
#include "redundancy/credit.h"
#include "redundancy/trust.h"
#include "redundancy/verdict.h"

enum { N = 6 };

struct bytes_of {
    uint8_t tokens[N * 4], prints[N * 16];
};

static struct redun_answer answer(struct bytes_of *b, uint32_t n)
{
    for (size_t i = 0; i < sizeof b->tokens; i++)
        b->tokens[i] = (uint8_t)(i * 7);
    for (size_t i = 0; i < sizeof b->prints; i++)
        b->prints[i] = (uint8_t)(i * 13);
    return (struct redun_answer){n, b->tokens, b->prints};
}

static void equal_answers_agree(void)
{
    struct bytes_of a, b;
    struct redun_answer x = answer(&a, N), y = answer(&b, N);
    struct redun_verdict v = redun_verdict_by(&x, &y, NULL);

    CHECK(v.primary_right && !v.challenger_right);
    CHECK_EQ(v.keep, N);
    v = redun_verdict_by(&x, &y, &y);
    CHECK(v.primary_right && v.challenger_right);
}

static void every_single_byte_counts(void)
{
    struct bytes_of a, b;
    struct redun_answer x = answer(&a, N), y = answer(&b, N);

    for (uint32_t i = 0; i < sizeof b.tokens; i++) {
        b.tokens[i] ^= 1;
        CHECK_EQ(redun_verdict_same(&x, &y), i / 4);
        CHECK(!redun_verdict_by(&x, &y, NULL).primary_right);
        b.tokens[i] ^= 1;
    }
    for (uint32_t i = 0; i < sizeof b.prints; i++) {
        b.prints[i] ^= 0x80;
        CHECK_EQ(redun_verdict_by(&x, &y, NULL).keep, i / 16);
        b.prints[i] ^= 0x80;
    }
}

static void a_shorter_answer_is_another_answer(void)
{
    struct bytes_of a, b;
    struct redun_answer word = answer(&a, N), other = answer(&b, N - 2);
    struct redun_verdict v = redun_verdict_by(&word, &other, &word);

    CHECK(!v.primary_right && v.challenger_right);
    CHECK_EQ(v.keep, N - 2);
    v = redun_verdict_by(&word, &word, &other);
    CHECK(v.primary_right && !v.challenger_right);
    other.n = 0;
    CHECK_EQ(redun_verdict_same(&word, &other), 0);
}

static void both_can_be_wrong(void)
{
    struct bytes_of a, b, c;
    struct redun_answer word = answer(&a, N), primary = answer(&b, N),
                        challenger = answer(&c, N);

    b.prints[3 * 16 + 5] ^= 1;
    c.tokens[0] ^= 1;
    struct redun_verdict v = redun_verdict_by(&word, &primary, &challenger);
    CHECK(!v.primary_right && !v.challenger_right);
    CHECK_EQ(v.keep, 3);
}

static void credit_follows_rows_and_parameters(void)
{
    CHECK_EQ(redun_credit_1000(124000000), 124000); // 124 a row
    CHECK_EQ(redun_credit_1000(5900000), 5900);
    CHECK_EQ(redun_credit_1000(1499), 1);
    CHECK_EQ(redun_credit_1000(1500), 2);
    CHECK_EQ(redun_credit_1000(0), 1);
}

static void trust_takes_ten_valid_checks_and_thrice_a_strike(void)
{
    CHECK(!redun_trusted(0, 0) && !redun_trusted(9, 0));
    CHECK(redun_trusted(10, 0) && redun_trusted(UINT32_MAX, 3));
    CHECK(!redun_trusted(29, 1) && redun_trusted(30, 1));
    CHECK(!redun_trusted(89, 2) && redun_trusted(90, 2));
}

// Rows of another class: off by one here and there they are right; from row 20
// on another's they are not, and that is told.
static void close_rows_are_right_and_others_are_not(void)
{
    enum { ROWS = 40, DIM = 64, ROW = DIM + 2 };
    static uint8_t rows[ROWS * ROW];
    uint8_t word[ROWS * 16], other[ROWS * 16], row[ROW];
    struct redun_rows primary = {ROWS, ROW, rows, 99};
    struct redun_stretch stretch = {ROWS, DIM, 1, true};
    struct redun_verdict v;

    for (int wrong = 0; wrong < 2; wrong++) {
        for (uint32_t r = 0; r < ROWS; r++) {
            for (uint32_t i = 0; i < DIM; i++)
                row[i] = (uint8_t)(int8_t)((int)((i * 37 + r * 11) % 199) - 99);
            row[DIM] = row[DIM + 1] = 3;
            redun_project(word + r * 16, primary.seed, r, row, DIM);
            row[(r * 5) % DIM]++;
            if (wrong && r >= 20)
                memset(row, 77, DIM);
            memcpy(rows + r * ROW, row, ROW);
        }
        CHECK_EQ(redun_verdict_near(&primary, &stretch, word, NULL, &v),
                 ERR_OK);
        CHECK_EQ(v.primary_right, !wrong);
        CHECK_EQ(v.keep, wrong ? 20 : ROWS);
        CHECK(!v.challenger_right);
    }
    memcpy(other, word, sizeof other);
    CHECK_EQ(redun_verdict_near(&primary, &stretch, word, other, &v), ERR_OK);
    CHECK(v.challenger_right);
    other[5] ^= 1;
    CHECK_EQ(redun_verdict_near(&primary, &stretch, word, other, &v), ERR_OK);
    CHECK(!v.challenger_right);
}

// Rows that are only together too far are told from where they begin, behind
// rows that are right, and not from before.
static void far_rows_are_told_from_where_they_begin(void)
{
    enum { ROWS = 160, DIM = 64, ROW = DIM + 2, OFF = 20 };
    static const uint32_t begins[] = {0, 8, 40, 64, 93, 128};
    static uint8_t rows[ROWS * ROW];
    uint8_t word[ROWS * 16], row[ROW];
    struct redun_stretch stretch = {ROWS, DIM, 1, false};
    struct redun_verdict v;

    for (uint32_t c = 0; c < sizeof begins / sizeof *begins; c++) {
        struct redun_rows primary = {ROWS, ROW, rows, 99 + c};

        for (uint32_t r = 0; r < ROWS; r++) {
            for (uint32_t i = 0; i < DIM; i++)
                row[i] = (uint8_t)(int8_t)((int)((i * 37 + r * 11) % 199) - 99);
            row[DIM] = row[DIM + 1] = 3;
            redun_project(word + r * 16, primary.seed, r, row, DIM);
            for (uint32_t i = 0; i < (r >= begins[c] ? OFF : OFF / 4); i++)
                row[i * 3]++;
            memcpy(rows + r * ROW, row, ROW);
        }
        CHECK_EQ(redun_verdict_near(&primary, &stretch, word, NULL, &v),
                 ERR_OK);
        CHECK(!v.primary_right);
        CHECK(v.keep >= begins[c] && v.keep <= begins[c] + REDUN_APART);
    }
}

int main(void)
{
    close_rows_are_right_and_others_are_not();
    far_rows_are_told_from_where_they_begin();
    equal_answers_agree();
    every_single_byte_counts();
    a_shorter_answer_is_another_answer();
    both_can_be_wrong();
    credit_follows_rows_and_parameters();
    trust_takes_ten_valid_checks_and_thrice_a_strike();
    return 0;
}
