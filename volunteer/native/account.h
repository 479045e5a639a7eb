// account.h - the volunteer's account: 32 random bytes in a file that only its
// owner reads. Whoever has them earns the credit.
#ifndef NATIVE_ACCOUNT_H
#define NATIVE_ACCOUNT_H

#include <stdbool.h>

#include "base/err.h"

enum { NATIVE_ACCOUNT_HEX_LEN = 64, NATIVE_PATH_MAX = 4096 };

// Read the key in the file path as lower-case hex; make the file (mode 0600)
// and its folders if it is not there. Two programs starting at once get the
// same key. ERR_FORMAT: the file holds something else. ERR_IO.
MUST_USE enum err native_account_load(const char *path,
                                      char out[NATIVE_ACCOUNT_HEX_LEN + 1]);

// Make the folders of path that are missing (mode 0700). If is_file the
// last part is left out. ERR_IO, ERR_RANGE (longer than NATIVE_PATH_MAX).
MUST_USE enum err native_folders_make(const char *path, bool is_file);

// "$NAME/leaf" or, where the environment variable is not set,
// "$HOME/fallback/leaf". ERR_NOT_FOUND without a home, ERR_RANGE.
MUST_USE enum err native_home_path(const char *env_name, const char *fallback,
                                   const char *leaf, char out[NATIVE_PATH_MAX]);

#endif
