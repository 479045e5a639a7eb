// rope.h - rotary position embedding from the shard's two tables.
#ifndef ENGINE_ROPE_H
#define ENGINE_ROPE_H

#include <stdint.h>

// The rotations of one position, Q14: head_dim/2 cosines, then head_dim/2
// sines, composed from low[position % 128] and high[position / 128] by one
// complex product, rounded half up. |out| <= 2^14 + 1.
void rope_compose(int32_t *out, const int16_t *low, const int16_t *high,
                  uint32_t position, uint32_t head_dim);

// Rotate one head in place: pairs are (i, i + head_dim/2). Each product is
// rounded by engine_mul_shift, then the sum saturates.
void rope_rotate(int32_t *head, const int32_t *rotation, uint32_t head_dim);

#endif
