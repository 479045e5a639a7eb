// rows - fingerprints of many rows by one set of kernels, on stdout.
//
//   rows ref|avx2|best PIECES
//
// PIECES times ROWS_LEN bytes, as tests/engine/rows.h says.
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
    long pieces = argc == 3 ? strtol(argv[2], NULL, 10) : 0;
    struct rows *rows;
    int bad = 0;

    for (size_t i = 0; argc == 3 && i < sizeof sets / sizeof *sets; i++)
        if (strcmp(argv[1], sets[i].name) == 0)
            kernels = engine_kernels_pick(sets[i].isa);
    if (!kernels || pieces < 1 || pieces > PIECES_MAX) {
        fprintf(stderr, "usage: rows ref|avx2|best PIECES\n");
        return 2;
    }
    rows = rows_new(kernels);
    for (long i = 0; rows && !bad && i < pieces; i++) {
        const uint8_t *prints = rows_piece(rows, (uint32_t)i);

        bad = !prints || fwrite(prints, ROWS_LEN, 1, stdout) != 1;
    }
    bad |= !rows || fflush(stdout) != 0;
    rows_free(rows);
    return bad;
}
