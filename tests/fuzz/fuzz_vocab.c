/* fuzz_vocab.c - any bytes as the files of a vocabulary. The input is tokenizer.json, or, with a byte 1 in it,
 * vocab.json and, after that byte, merges.txt; the same merges are opened as OpenAI's. What is accepted must encode. */
#include "../../lib/prep/prep.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[64] = "/tmp/vlk-fuzz-vocab-XXXXXX";
static char vocab[96], merges[96], tokenizer[96];

static void clean_up(void)
{
    (void)!remove(vocab);
    (void)!remove(merges);
    (void)!remove(tokenizer);
    (void)!remove(folder);
}

static void save(const char *path, const uint8_t *data, size_t n)
{
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(data, 1, n, f) != n || fclose(f))
        abort();
}

static void use(vlk_tokenizer *b)
{
    static const char text[] = "A thing's \xC3\xA9t\xC3\xA9 in 1984!! <|endoftext|> aaaaaaaaaaaaaaaa";
    vlk_err err;
    vlk_ids ids = {0};
    if (b && (vlk_tokenizer_encode(b, &ids, text, sizeof text - 1, &err) || ids.len < 3))
        abort();
    free(ids.id);
    vlk_tokenizer_free(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    vlk_err err;
    if (!*vocab) {
        if (!mkdtemp(folder))
            abort();
        snprintf(vocab, sizeof vocab, "%s/vocab.json", folder);
        snprintf(merges, sizeof merges, "%s/merges.txt", folder);
        snprintf(tokenizer, sizeof tokenizer, "%s/tokenizer.json", folder);
        atexit(clean_up);
    }
    const uint8_t *cut = size ? memchr(data, 1, size) : NULL;
    (void)!remove(vocab);
    if (cut) {
        size_t head = (size_t)(cut - data);
        save(vocab, data, head);
        save(merges, cut + 1, size - head - 1);
        use(vlk_bpe_open_merges(merges, 518, VLK_BPE_OPENAI, &err));
        use(vlk_bpe_open_merges(merges, 515, VLK_BPE_OPEN_CLIP, &err));
    } else {
        save(tokenizer, data, size);
    }
    use(vlk_bpe_open_hf(folder, 518, &err));
    return 0;
}
