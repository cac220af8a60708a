/* tokenizer.c - the tokenizer of a model: from the files beside it, opened at the first call. */
#include "model_internal.h"

#include <stdlib.h>

int vlk_model_merges(const vlk_model *m, char **out, vlk_err *err)
{
    static const char *const names[] = {"bpe_simple_vocab_16e6.txt.gz", "bpe_simple_vocab_16e6.txt", "merges.txt"};
    const char *const dirs[] = {m->folder, m->share};
    for (size_t d = 0; d < 2; d++)
        for (size_t i = 0; dirs[d] && i < sizeof names / sizeof names[0]; i++) {
            char *path = vlk_path_join(dirs[d], names[i], err);
            if (!path)
                return -1;
            if (vlk_is_file(path)) {
                *out = path;
                return 0;
            }
            free(path);
        }
    return vlk_fail(err, VLK_EMODEL, "%s: no vocabulary: looked for %s and merges.txt beside the model and in %s",
                    m->folder, names[0], m->share ? m->share : "no other place");
}

static vlk_tokenizer *open_merges(vlk_model *m, vlk_err *err)
{
    static const vlk_bpe_dialect dialect[] = {
        [VLK_LAYOUT_HF] = VLK_BPE_HF, [VLK_LAYOUT_OPENAI] = VLK_BPE_OPENAI, [VLK_LAYOUT_OPEN_CLIP] = VLK_BPE_OPEN_CLIP};
    char *path = NULL;
    if (vlk_model_merges(m, &path, err))
        return NULL;
    vlk_tokenizer *b = vlk_bpe_open_merges(path, m->info.vocab, dialect[m->info.layout], err);
    free(path);
    return b;
}

/* A tower that pools at an end token must be given one: the config's is the vocabulary's, or no text of a user could be
 * pooled. (The references pool such texts at their start token, all to the same vector.) */
static int check_end(const vlk_model *m, const vlk_tokenizer *t, vlk_err *err)
{
    const vlk_text_config *c = vlk_model_text_part(m)->config;
    const int32_t end = vlk_tokenizer_specials(t).end;
    if (c->pool != VLK_POOL_END || end == c->end)
        return 0;
    return vlk_fail(err, VLK_EMODEL, "%s: the config's end token is %d, that of the vocabulary %d", m->folder,
                    (int)c->end, (int)end);
}

vlk_tokenizer *vlk_model_tokenizer(vlk_model *m, vlk_err *err)
{
    if (m->tokenizer)
        return m->tokenizer;
    if (m->no_tokenizer) {
        vlk_fail(err, VLK_EUNSUPPORTED, "%s: the texts of this model need %s, which is not built in", m->folder,
                 m->no_tokenizer);
        return NULL;
    }
    vlk_tokenizer *b = m->info.layout == VLK_LAYOUT_HF && !m->merges_only
                           ? vlk_bpe_open_hf(m->folder, m->info.vocab, err)
                           : open_merges(m, err);
    if (b && check_end(m, b, err)) {
        vlk_tokenizer_free(b);
        return NULL;
    }
    m->tokenizer = b;
    return b;
}
