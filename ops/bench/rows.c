// rows - fingerprints of many rows by one set of kernels, on stdout.
//
//   rows ref|avx2|best FIRST PIECES
//
// ROWS_LEN bytes for each piece from number FIRST on, as tests/engine/rows.h
// says.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rows.h"

enum { PIECES_MAX = 1 << 20 };

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        enum engine_isa isa;
    } sets[] = {{"ref", ENGINE_ISA_REF},
                {"avx2", ENGINE_ISA_AVX2},
                {"best", ENGINE_ISA_BEST}};
    const struct engine_kernels *kernels = NULL;
    long first = argc == 4 ? strtol(argv[2], NULL, 10) : -1;
    long pieces = argc == 4 ? strtol(argv[3], NULL, 10) : 0;
    struct rows *rows;
    int bad = 0;

    for (size_t i = 0; argc == 4 && i < sizeof sets / sizeof *sets; i++)
        if (strcmp(argv[1], sets[i].name) == 0)
            kernels = engine_kernels_pick(sets[i].isa);
    if (!kernels || first < 0 || first > PIECES_MAX || pieces < 1 ||
        pieces > PIECES_MAX) {
        fprintf(stderr, "usage: rows ref|avx2|best FIRST PIECES\n");
        return 2;
    }
    rows = rows_new(kernels);
    for (long i = 0; rows && !bad && i < pieces; i++) {
        const uint8_t *prints = rows_piece(rows, (uint32_t)(first + i));

        bad = !prints || fwrite(prints, ROWS_LEN, 1, stdout) != 1;
    }
    bad |= !rows || fflush(stdout) != 0;
    rows_free(rows);
    return bad;
}
