// fuzz_main.c - runs a fuzz target over the files of a folder, so that the
// corpus is a test under every compiler: fuzz_x DIR.
#define _DEFAULT_SOURCE
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void run_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    CHECK(f);
    CHECK_EQ(fseek(f, 0, SEEK_END), 0);
    long len = ftell(f);
    CHECK(len >= 0);
    rewind(f);

    uint8_t *data = malloc(len ? (size_t)len : 1);
    CHECK(data);
    CHECK_EQ((intmax_t)fread(data, 1, (size_t)len, f), len);
    fclose(f);
    LLVMFuzzerTestOneInput(data, (size_t)len);
    free(data);
}

int main(int argc, char **argv)
{
    int n = 0;

    CHECK_EQ(argc, 2);
    DIR *dir = opendir(argv[1]);
    CHECK(dir);
    for (struct dirent *e; (e = readdir(dir));) {
        char path[4096];

        if (e->d_name[0] == '.')
            continue;
        CHECK(snprintf(path, sizeof path, "%s/%s", argv[1], e->d_name) <
              (int)sizeof path);
        run_file(path);
        n++;
    }
    closedir(dir);
    CHECK(n > 0);
    printf("%d inputs\n", n);
    return 0;
}
