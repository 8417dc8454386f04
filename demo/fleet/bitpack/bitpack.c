#include "bitpack.h"

void bitpack_put(uint8_t *out, const uint32_t *values, size_t count, unsigned width)
{
    for (size_t i = 0; i < count; i++)
        for (unsigned bit = 0; bit < width; bit++) {
            size_t at = i * width + bit;
            if (values[i] >> bit & 1u)
                out[at / 8] |= (uint8_t)(1u << at % 8);
        }
}

uint32_t bitpack_get(const uint8_t *in, size_t index, unsigned width)
{
    uint32_t value = 0;
    for (unsigned bit = 0; bit < width; bit++) {
        size_t at = index * width + bit;
        value |= (uint32_t)(in[at / 8] >> at % 8 & 1u) << bit;
    }
    return value;
}
