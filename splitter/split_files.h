// split_files.h - the names that split gives to files.
#ifndef SPLITTER_SPLIT_FILES_H
#define SPLITTER_SPLIT_FILES_H

#define SPLIT_PART        ".part" // ends the name of an unfinished file
#define SPLIT_SHARD_START "shard-"
#define SPLIT_SHARD_END   ".safetensors"

// Files copied as they are, NULL at the end. Only the first must exist.
extern const char *const split_copied[];

#endif
