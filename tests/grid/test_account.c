// The account key: made once, private, and never replaced.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "native/account.h"

static char folder[] = "/tmp/synapse-account-XXXXXX";

static void path_of(const char *leaf, char out[NATIVE_PATH_MAX])
{
    snprintf(out, NATIVE_PATH_MAX, "%s/%s", folder, leaf);
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    CHECK(f);
    CHECK(fputs(text, f) >= 0);
    CHECK_EQ(fclose(f), 0);
}

static void makes_a_key_once_for_its_owner_only(void)
{
    char path[NATIVE_PATH_MAX];
    char one[NATIVE_ACCOUNT_HEX_LEN + 1], two[NATIVE_ACCOUNT_HEX_LEN + 1];
    struct stat st;

    path_of("a/b/account", path);
    CHECK_EQ(native_account_load(path, one), ERR_OK);
    CHECK_EQ(strspn(one, "0123456789abcdef"), NATIVE_ACCOUNT_HEX_LEN);
    CHECK_EQ(stat(path, &st), 0);
    CHECK_EQ(st.st_mode & 0777, 0600);
    CHECK_EQ(native_account_load(path, two), ERR_OK);
    CHECK(strcmp(one, two) == 0);
    unlink(path);
    CHECK_EQ(native_account_load(path, two), ERR_OK);
    CHECK(strcmp(one, two) != 0);
    unlink(path);
}

static void refuses_what_is_no_key(void)
{
    static const char *const texts[] = {
        "",
        "\n",
        "0123456789abcdef",
        // 63, 65 and 64 with a capital
        "000000000000000000000000000000000000000000000000000000000000000",
        "00000000000000000000000000000000000000000000000000000000000000000",
        "A000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000000\n\n",
    };
    char path[NATIVE_PATH_MAX];
    char out[NATIVE_ACCOUNT_HEX_LEN + 1] = "untouched";

    path_of("account", path);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        write_file(path, texts[i]);
        CHECK_EQ(native_account_load(path, out), ERR_FORMAT);
        CHECK(strcmp(out, "untouched") == 0);
    }
    write_file(path, "00000000000000000000000000000000"
                     "0000000000000000000000000000000f");
    CHECK_EQ(native_account_load(path, out), ERR_OK);
    unlink(path);
}

static void names_places_from_the_environment(void)
{
    char out[NATIVE_PATH_MAX];

    CHECK_EQ(setenv("TEST_PLACE", "/place", 1), 0);
    CHECK_EQ(setenv("HOME", "/home/x", 1), 0);
    CHECK_EQ(native_home_path("TEST_PLACE", ".c", "leaf", out), ERR_OK);
    CHECK(strcmp(out, "/place/leaf") == 0);
    CHECK_EQ(setenv("TEST_PLACE", "relative", 1), 0);
    CHECK_EQ(native_home_path("TEST_PLACE", ".c", "leaf", out), ERR_OK);
    CHECK(strcmp(out, "/home/x/.c/leaf") == 0);
    CHECK_EQ(unsetenv("HOME"), 0);
    CHECK_EQ(native_home_path("TEST_PLACE", ".c", "leaf", out), ERR_NOT_FOUND);
}

int main(void)
{
    char path[NATIVE_PATH_MAX];

    CHECK(mkdtemp(folder));
    makes_a_key_once_for_its_owner_only();
    refuses_what_is_no_key();
    names_places_from_the_environment();
    path_of("a/b", path);
    CHECK_EQ(rmdir(path), 0); // nothing temporary is left
    path_of("a", path);
    CHECK_EQ(rmdir(path), 0);
    CHECK_EQ(rmdir(folder), 0);
    return 0;
}
