// random_model.h - a Hugging Face folder with random weights of any shape, of
// a size that makes every part of the model tell in what it says.
#ifndef TESTS_ENGINE_RANDOM_MODEL_H
#define TESTS_ENGINE_RANDOM_MODEL_H

#include "splitter/arch.h"
#include "splitter/scratch.h"

// The same bytes for the same seed, anywhere: uniform in 0 .. 2^32-1.
uint32_t random_next(uint64_t *state);

// Write config (the text of config.json) and model.safetensors with F32
// weights of arch's shapes into dir. k_bias is added to the slowest
// rotation pair of every K bias (Qwen2), as trained models have it.
void random_model_write(const struct scratch *dir, const struct arch *arch,
                        const char *config, double k_bias);

#endif
