/* tokenizer_clip.c - CLIP's byte pairs, from what is beside the model: the files of a Hugging Face folder, or OpenAI's
 * merges, which may also be those that are installed. */
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

static vlk_tokenizer *open_merges(const vlk_model *m, vlk_err *err)
{
    static const vlk_bpe_dialect dialect[] = {
        [VLK_LAYOUT_HF] = VLK_BPE_HF, [VLK_LAYOUT_OPENAI] = VLK_BPE_OPENAI, [VLK_LAYOUT_OPEN_CLIP] = VLK_BPE_OPEN_CLIP};
    char *path = NULL;
    if (vlk_model_merges(m, &path, err))
        return NULL;
    vlk_tokenizer *b = vlk_bpe_open_merges(path, m->info.vocab, dialect[m->info.layout], err);
    if (b)
        vlk_bpe_set_cleaning(b, m->cleaning);
    free(path);
    return b;
}

/* 1 if the folder has a file of this name, 0 if not, -1 without memory. */
static int has_file(const char *folder, const char *name, vlk_err *err)
{
    char *path = vlk_path_join(folder, name, err);
    const int there = path ? vlk_is_file(path) : -1;
    free(path);
    return there;
}

/* Does the folder hold merges only, as open_clip's layout has them? Hugging Face's other files follow from these. */
static int has_merges_only(const char *folder, vlk_err *err)
{
    const int vocab = has_file(folder, "vocab.json", err), both = has_file(folder, "tokenizer.json", err),
              merges = has_file(folder, "merges.txt", err);
    return vocab < 0 || both < 0 || merges < 0 ? -1 : !vocab && !both && merges;
}

/* Hugging Face's files are there if the model came in that layout; a new one is content with merges. */
static int from_merges(const vlk_model *m, vlk_err *err)
{
    if (m->info.layout != VLK_LAYOUT_HF || m->came != VLK_LAYOUT_HF)
        return 1;
    return m->source->weights ? 0 : has_merges_only(m->folder, err);
}

/* A tower that pools at an end token must be given one: the config's is the vocabulary's, or no text of a user could be
 * pooled. (The references pool such texts at their start token, all to the same vector.) The same holds for the largest
 * id where that is the start token's. */
static int check_end(const vlk_model *m, const vlk_text_config *c, const vlk_tokenizer *t, vlk_err *err)
{
    const int32_t end = vlk_tokenizer_specials(t).end;
    if (c->pool == VLK_POOL_LARGEST && end < vlk_tokenizer_specials(t).start)
        return vlk_fail(err, VLK_EMODEL, "%s: texts are pooled at their largest id, which is the start token",
                        m->folder);
    if (c->pool != VLK_POOL_END || end == c->end)
        return 0;
    return vlk_fail(err, VLK_EMODEL, "%s: the config's end token is %d, that of the vocabulary %d", m->folder,
                    (int)c->end, (int)end);
}

vlk_tokenizer *vlk_clip_tokenizer(const vlk_model *m, const vlk_part *p, vlk_err *err)
{
    const int merges = from_merges(m, err);
    if (merges < 0)
        return NULL;
    vlk_tokenizer *t = merges ? open_merges(m, err) : vlk_bpe_open_hf(m->folder, m->info.vocab, err);
    const vlk_text_config *c = p->config;
    if (t && check_end(m, c, t, err) == 0) {
        if (vlk_text_whole(c))
            vlk_tokenizer_pad(t, c->context, 0);
        return t;
    }
    vlk_tokenizer_free(t);
    return NULL;
}
