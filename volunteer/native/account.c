#include "native/account.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ACCOUNT_KEY_LEN = NATIVE_ACCOUNT_HEX_LEN / 2 };

enum err native_folders_make(const char *path, bool is_file)
{
    char part[NATIVE_PATH_MAX];
    size_t len = strlen(path);

    if (len >= sizeof part)
        return ERR_RANGE;
    memcpy(part, path, len + 1);
    for (char *p = part + 1;; p++) {
        if (*p != '/' && *p != '\0')
            continue;
        bool last = *p == '\0';

        if (last && is_file)
            return ERR_OK;
        *p = '\0';
        if (mkdir(part, 0700) && errno != EEXIST)
            return ERR_IO;
        if (last)
            return ERR_OK;
        *p = '/';
    }
}

enum err native_home_path(const char *env_name, const char *fallback,
                          const char *leaf, char out[NATIVE_PATH_MAX])
{
    const char *root = getenv(env_name);
    const char *home = getenv("HOME");
    int n;

    if (root && root[0] == '/')
        n = snprintf(out, NATIVE_PATH_MAX, "%s/%s", root, leaf);
    else if (home && home[0])
        n = snprintf(out, NATIVE_PATH_MAX, "%s/%s/%s", home, fallback, leaf);
    else
        return ERR_NOT_FOUND;
    return n > 0 && n < NATIVE_PATH_MAX ? ERR_OK : ERR_RANGE;
}

// Write a new key to a file of our own, then link it to its name: the name
// never shows a half-written key, and an existing one is not replaced.
static enum err account_make(const char *path)
{
    uint8_t key[ACCOUNT_KEY_LEN];
    char hex[NATIVE_ACCOUNT_HEX_LEN + 2], temp[NATIVE_PATH_MAX];
    enum err err = ERR_IO;
    int fd = -1;

    if (getrandom(key, sizeof key, 0) != (ssize_t)sizeof key)
        return ERR_IO;
    for (size_t i = 0; i < sizeof key; i++)
        snprintf(hex + 2 * i, 3, "%02x", key[i]);
    hex[NATIVE_ACCOUNT_HEX_LEN] = '\n';

    int n = snprintf(temp, sizeof temp, "%s.%ld", path, (long)getpid());
    if (n < 0 || n >= (int)sizeof temp)
        return ERR_RANGE;
    fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return ERR_IO;
    if (write(fd, hex, NATIVE_ACCOUNT_HEX_LEN + 1) !=
            NATIVE_ACCOUNT_HEX_LEN + 1 ||
        fsync(fd))
        goto done;
    if (link(temp, path) && errno != EEXIST)
        goto done;
    err = ERR_OK;

done:
    close(fd);
    unlink(temp);
    return err;
}

static enum err account_read(int fd, char out[NATIVE_ACCOUNT_HEX_LEN + 1])
{
    char text[NATIVE_ACCOUNT_HEX_LEN + 2];
    ssize_t n = read(fd, text, sizeof text);

    if (n < 0)
        return ERR_IO;
    if (n == NATIVE_ACCOUNT_HEX_LEN + 1 && text[n - 1] == '\n')
        n--;
    if (n != NATIVE_ACCOUNT_HEX_LEN)
        return ERR_FORMAT;
    text[n] = '\0';
    if (strspn(text, "0123456789abcdef") != NATIVE_ACCOUNT_HEX_LEN)
        return ERR_FORMAT;
    memcpy(out, text, NATIVE_ACCOUNT_HEX_LEN + 1);
    return ERR_OK;
}

enum err native_account_load(const char *path,
                             char out[NATIVE_ACCOUNT_HEX_LEN + 1])
{
    enum err err;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 && errno == ENOENT) {
        err = native_folders_make(path, true);
        if (!err)
            err = account_make(path);
        if (err)
            return err;
        fd = open(path, O_RDONLY | O_CLOEXEC);
    }
    if (fd < 0)
        return ERR_IO;
    err = account_read(fd, out);
    close(fd);
    return err;
}
