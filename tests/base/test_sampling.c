#include <math.h>

#include "base/sampling.h"
#include "check.h"

static void gives_the_nearest_integers(void)
{
    static const struct {
        double temperature, top_p;
        uint32_t inv_temp, p;
    } rows[] = {
        {0, 1, 0, 65536},
        {1, 1, 65536, 65536},
        {2, 0.5, 32768, 32768},
        {0.7, 0.9, 93623, 58982}, // 93622.857, 58982.4
        {0.8, 0.95, 81920, 62259},
        {1.5, 1e-9, 43691, 1},
        {1.0 / 32768, 1, INT32_MAX, 65536}, // 2^31 is one too many
        {1.0 / 16384, 1, 1 << 30, 65536},
        {5e-324, 1, INT32_MAX, 65536},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint32_t inv_temp, p;

        CHECK_EQ(sampling_from_floats(rows[i].temperature, rows[i].top_p,
                                      &inv_temp, &p),
                 ERR_OK);
        CHECK_EQ(inv_temp, rows[i].inv_temp);
        CHECK_EQ(p, rows[i].p);
    }
}

static void refuses_what_is_out_of_range(void)
{
    static const double rows[][2] = {
        {-0.001, 1}, {2.001, 1}, {(double)NAN, 1}, {(double)INFINITY, 1},
        {1, 0},      {1, -1},    {1, 1.0000001},   {1, (double)NAN},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint32_t inv_temp = 7, p = 8;

        CHECK_EQ(sampling_from_floats(rows[i][0], rows[i][1], &inv_temp, &p),
                 ERR_RANGE);
        CHECK_EQ(inv_temp, 7);
        CHECK_EQ(p, 8);
    }
}

int main(void)
{
    gives_the_nearest_integers();
    refuses_what_is_out_of_range();
    return 0;
}
