#ifndef BITPACK_H
#define BITPACK_H

#include <stddef.h>
#include <stdint.h>

/* Packs count values of width bits each (1 to 32) into out, which must be
   zeroed and hold (count * width + 7) / 8 bytes. */
void bitpack_put(uint8_t *out, const uint32_t *values, size_t count, unsigned width);

/* Returns value number index of a buffer packed with the same width. */
uint32_t bitpack_get(const uint8_t *in, size_t index, unsigned width);

#endif
