/* Median of three over the readings of a pressure sensor, in hectopascal. */
#include <stdint.h>

int32_t filter_median(int32_t a, int32_t b, int32_t c)
{
    if (a > b) {
        int32_t swap = a;
        a = b;
        b = swap;
    }
    if (c < a)
        return a;
    return c < b ? c : b;
}

#ifdef HOST_CHECK
int main(void)
{
    return filter_median(3, 1, 2) == 2 && filter_median(1, 9, 1) == 1 ? 0 : 1;
}
#endif
