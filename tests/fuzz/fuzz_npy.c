/* fuzz_npy.c - any bytes as .npy: what is accepted must lie inside them, and be read to its last element. */
#include "../../lib/stream/stream.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    vlk_tensor t;
    vlk_err err;
    if (vlk_npy_parse(&t, data, size, "fuzz", &err))
        return 0;
    size_t last = 0, count = vlk_tensor_count(&t);
    for (int i = 0; i < t.rank; i++)
        last += t.dim[i] ? (t.dim[i] - 1) * t.stride[i] : 0;
    if (count > 0) {
        const unsigned char *end = (const unsigned char *)t.data + (last + 1) * vlk_dtype_size(t.dtype);
        if (end != data + size || (size_t)(end - (const unsigned char *)t.data) != count * vlk_dtype_size(t.dtype))
            abort();
        volatile unsigned char touch = end[-1];
        (void)touch;
    }
    return 0;
}
