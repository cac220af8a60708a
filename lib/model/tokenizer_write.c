/* tokenizer_write.c - the tokenizer of a Hugging Face folder, as CLIPTokenizer reads it, from the merges of a model
 * that came without it: tokenizer_config.json, vocab.json, merges.txt. */
#include "model_internal.h"

#include <stdlib.h>

static int put_settings(vlk_buf *out, const vlk_model *m, vlk_err *err)
{
    return vlk_buf_addf(out, err,
                        "{\n  \"tokenizer_class\": \"CLIPTokenizer\",\n  \"model_max_length\": %zu,\n"
                        "  \"bos_token\": \"<|startoftext|>\",\n  \"eos_token\": \"<|endoftext|>\",\n"
                        "  \"unk_token\": \"<|endoftext|>\",\n  \"pad_token\": \"<|endoftext|>\",\n"
                        "  \"do_lower_case\": true,\n  \"errors\": \"replace\"\n}\n",
                        m->info.context);
}

static int put_vocabulary(vlk_buf *vocab, vlk_buf *merges, const vlk_model *m, vlk_err *err)
{
    char *path = NULL;
    if (vlk_model_merges(m, &path, err))
        return -1;
    const int rc = vlk_bpe_write_hf(path, m->info.vocab, vocab, merges, err);
    free(path);
    return rc;
}

int vlk_model_tokenizer_files(const vlk_model *m, vlk_put_file *put, void *arg, vlk_err *err)
{
    vlk_buf settings = {0}, vocab = {0}, merges = {0};
    int rc = -1;
    if (put_settings(&settings, m, err) || put_vocabulary(&vocab, &merges, m, err) ||
        put(arg, "tokenizer_config.json", &settings, err) || put(arg, "vocab.json", &vocab, err))
        goto out;
    rc = put(arg, "merges.txt", &merges, err);
out:
    vlk_buf_clear(&settings);
    vlk_buf_clear(&vocab);
    vlk_buf_clear(&merges);
    return rc;
}
