/* fuzz_pickle.c - PyTorch's files: a zip archive as it is; anything else after the preamble of a legacy file, so that
 * its first byte is already the first instruction of the pickled object. Seeds: zip checkpoints, data.pkl records. */
#define _GNU_SOURCE /* memfd_create */
#include "fuzz_weights.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    /* the magic number, protocol 1001, {"little_endian": True} */
    static const char head[] = "\x80\x02\x8a\x0al\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}"
                               "X\x0d\x00\x00\x00little_endian\x88s.";
    if (n > 1 && p[0] == 'P' && p[1] == 'K')
        fuzz_open("", 0, p, n);
    else
        fuzz_open(head, sizeof head - 1, p, n);
    return 0;
}
