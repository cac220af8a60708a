/* fuzz_tokens.c - any bytes as a text, in all dialects. What must hold: bytes that are not UTF-8 are an error, all
 * else has ids inside the vocabulary between start and end; a second run (from the cache) gives the same. */
#include "../../lib/prep/prep.h"

#include <stdlib.h>
#include <string.h>

#define MERGES "share/bpe_simple_vocab_16e6.txt.gz"
#define VOCAB 4098

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static vlk_tokenizer *dialect[3];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    vlk_err err;
    vlk_ids a = {0}, b = {0};
    const char *text = (const char *)data;
    int valid = vlk_utf8_valid(text, size) == size;
    for (int d = 0; d < 3; d++) {
        if (!dialect[d] && !(dialect[d] = vlk_bpe_open_merges(MERGES, VOCAB, (vlk_bpe_dialect)d, &err)))
            abort();
        int rc = vlk_tokenizer_encode(dialect[d], &a, text, size, &err);
        if (valid ? rc != 0 && err.code != VLK_ELIMIT : rc != -1 || err.code != VLK_EFORMAT)
            abort();
        if (rc)
            continue;
        if (a.len < 2 || a.id[0] != VOCAB - 2 || a.id[a.len - 1] != VOCAB - 1)
            abort();
        for (size_t i = 0; i < a.len; i++)
            if (a.id[i] < 0 || a.id[i] >= VOCAB)
                abort();
        if (vlk_tokenizer_encode(dialect[d], &b, text, size, &err) || b.len != a.len ||
            memcmp(a.id, b.id, a.len * sizeof *a.id) != 0)
            abort();
        if (vlk_tokenizer_truncate(dialect[d], &a, 77) && (a.len != 77 || a.id[76] != VOCAB - 1))
            abort();
    }
    free(a.id);
    free(b.id);
    return 0;
}
