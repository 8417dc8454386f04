#include <stdio.h>

#include "bitpack.h"

int main(void)
{
    const uint32_t values[] = {0, 1, 5, 7, 2};
    uint8_t packed[2] = {0};
    bitpack_put(packed, values, 5, 3);
    for (size_t i = 0; i < 5; i++)
        if (bitpack_get(packed, i, 3) != values[i]) {
            fprintf(stderr, "value %zu differs\n", i);
            return 1;
        }
    return 0;
}
