#include "redundancy/entry.h"

uint32_t redun_entry_bits(const struct redun_entry *entry, uint32_t score)
{
    uint64_t bits;

    if (score < entry->free)
        return 0;
    bits = (uint64_t)entry->bits + (score - entry->free) / REDUN_ENTRY_STEP;
    return bits < REDUN_ENTRY_BITS_MAX ? (uint32_t)bits : REDUN_ENTRY_BITS_MAX;
}

uint32_t redun_entry_reach(const struct redun_entry *entry, uint32_t bits)
{
    uint64_t reach;

    if (bits < entry->bits)
        return entry->free;
    if (bits >= REDUN_ENTRY_BITS_MAX)
        return UINT32_MAX;
    reach = entry->free + (uint64_t)REDUN_ENTRY_STEP *
                              (bits + 1 + REDUN_ENTRY_SLACK - entry->bits);
    return reach < UINT32_MAX ? (uint32_t)reach : UINT32_MAX;
}
