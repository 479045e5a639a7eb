// small.h - a tokenizer.json of a few tokens, in parts that tests exchange.
#ifndef TESTS_TOKENIZER_SMALL_H
#define TESTS_TOKENIZER_SMALL_H

#define SMALL_VOCAB                                                     \
    "\"vocab\":{\"<e>\":0,\"a\":1,\"b\":2,\"c\":3,\"aa\":4,\"aaaa\":5," \
    "\"ab\":6,\"bc\":7,\"\xc4\xa0\":8,\"\xc4\xa0"                       \
    "a\":9}"
#define SMALL_MERGES                                                   \
    "\"merges\":[[\"a\",\"a\"],[\"aa\",\"aa\"],\"a b\",[\"b\",\"c\"]," \
    "\"\xc4\xa0 a\"]"
#define SMALL_MODEL \
    "\"model\":{\"type\":\"BPE\"," SMALL_VOCAB "," SMALL_MERGES "}"
#define SMALL_PRETOK \
    "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false}"
#define SMALL_DECODER "\"decoder\":{\"type\":\"ByteLevel\"}"
#define SMALL_ADDED                                                      \
    "\"added_tokens\":[{\"id\":0,\"content\":\"<e>\",\"special\":true}," \
    "{\"id\":10,\"content\":\"<new>\"}]"
#define SMALL_POST                                                        \
    "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":["    \
    "{\"SpecialToken\":{\"id\":\"<e>\"}},{\"Sequence\":{\"id\":\"A\"}}]," \
    "\"special_tokens\":{\"<e>\":{\"ids\":[0]}}}"
#define SMALL                                                          \
    "{" SMALL_MODEL "," SMALL_PRETOK "," SMALL_DECODER "," SMALL_ADDED \
    "," SMALL_POST "}"

#endif
