/* fuzz_safetensors.c - any bytes as a checkpoint file; seeds: safetensors files. */
#define _GNU_SOURCE /* memfd_create */
#include "fuzz_weights.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    fuzz_open("", 0, p, n);
    return 0;
}
