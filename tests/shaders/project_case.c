#include "project_case.h"

#include <string.h>

#include "check.h"
#include "redundancy/project.h"

enum { C_MAX = 1280, WORDS_MAX = C_MAX / 4 + C_MAX / 32, T = 8, NEAT = 5 };

// Row t of C values, as the GPU has its wire form.
static void row_fill(struct cases_out *out, uint32_t *row, uint32_t t,
                     uint32_t C)
{
    const uint32_t words = (C + 3) / 4;

    for (uint32_t g = 0; g < (C + 31) / 32; g++)
        row[words + g] = (uint32_t)cases_between(
            out, t < NEAT ? (int32_t)t : 0, t < NEAT ? 2 * (int32_t)t : 24);
    for (uint32_t i = 0; i < C && t != NEAT; i++) {
        int32_t q = t == NEAT + 1 ? -127 : cases_between(out, -127, 127);

        row[i / 4] |= (uint32_t)(uint8_t)q << 8 * (i % 4);
    }
}

// Its wire form.
static void gather(uint8_t *to, const uint32_t *from, uint32_t C)
{
    for (uint32_t i = 0; i < C; i++)
        to[i] = (uint8_t)(from[i / 4] >> 8 * (i % 4));
    for (uint32_t g = 0; g < (C + 31) / 32; g++)
        to[C + g] = (uint8_t)from[(C + 3) / 4 + g];
}

void project_case(struct cases_out *out, uint32_t C)
{
    uint32_t wires[T * WORDS_MAX] = {0}, rows[T * 4] = {0};
    uint32_t job[4] = {0x89abcdef, 0xf1234567, T, 0};
    uint32_t n = (C + 3) / 4 + (C + 31) / 32;
    uint8_t prints[T * REDUN_PRINT_LEN], wire[C_MAX + C_MAX / 32];

    CHECK(C >= 1 && C <= C_MAX);
    for (uint32_t t = 0; t < T; t++) {
        row_fill(out, wires + t * n, t, C);
        rows[4 * t + 1] = t * 1000003;
        gather(wire, wires + t * n, C);
        redun_project(prints + t * REDUN_PRINT_LEN,
                      UINT64_C(0xf123456789abcdef), rows[4 * t + 1], wire, C);
    }
    cases_begin(out, "project", "\"C\":%u", (unsigned)C);
    cases_in(out, 0, wires, (size_t)T * n * 4);
    cases_in(out, 1, job, sizeof job);
    cases_expect(out, 2, NULL, sizeof prints, prints, sizeof prints);
    cases_in(out, 3, rows, sizeof rows);
    cases_end(out, T, 1);
}
