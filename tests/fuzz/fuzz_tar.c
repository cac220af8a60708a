/* fuzz_tar.c - any bytes as a tar, packed or not: members and samples. Once as they are, once with the checksum of each
 * block that looks like a header set right, so that what follows the checksum is reached too. */
#include "../../lib/stream/stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void samples(const uint8_t *data, size_t size)
{
    vlk_err err;
    vlk_sample s = {0};
    size_t total = 0;
    vlk_in *in = vlk_in_memory(data, size, "fuzz", &err);
    vlk_tar *t = vlk_tar_open(in, &err);
    int rc;
    while ((rc = vlk_tar_sample(t, &s, &err)) == 1) {
        for (size_t i = 0; i < s.parts; i++) {
            const vlk_sample_part *p = &s.part[i];
            total += strlen(p->name) + strlen(p->ext) + p->head[p->head_size - 1] + p->data[p->data_padded];
            if (p->head_size % 512 != 0 || p->data_padded % 512 != 0 || p->size > p->data_padded)
                abort();
        }
        total += strlen(s.key);
    }
    if (vlk_tar_sample(t, &s, &err) == 1 || (rc == 0 && total == SIZE_MAX))
        abort();
    vlk_tar_close(t);
    vlk_in_close(in);
    vlk_sample_clear(&s);
}

static void members(const uint8_t *data, size_t size)
{
    vlk_err err;
    vlk_tar_member m;
    vlk_in *in = vlk_in_memory(data, size, "fuzz", &err);
    vlk_tar *t = vlk_tar_open(in, &err);
    while (vlk_tar_next(t, &m, &err) == 1)
        if (m.head_size == 0 || m.size > m.data_padded)
            abort();
    vlk_tar_close(t);
    vlk_in_close(in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    samples(data, size);
    members(data, size);
    if (size < 512)
        return 0;
    uint8_t *copy = malloc(size);
    memcpy(copy, data, size);
    for (size_t at = 0; at + 512 <= size; at += 512) {
        uint8_t *h = copy + at;
        unsigned sum = 0;
        if (memcmp(h + 257, "ustar", 5) != 0)
            continue;
        memset(h + 148, ' ', 8);
        for (int i = 0; i < 512; i++)
            sum += h[i];
        snprintf((char *)h + 148, 7, "%06o", sum);
    }
    samples(copy, size);
    free(copy);
    return 0;
}
