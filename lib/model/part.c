/* part.c - the parts of a model: the list, who does what in it, and their tokenizers. What a network is to a model is
 * in kind_*.c, a file for each kind. */
#include "model_internal.h"

#include <string.h>

/* ---- the list ---------------------------------------------------------------------------------------- */

vlk_part *vlk_model_part(const vlk_model *m, const char *name)
{
    for (size_t i = 0; i < m->parts; i++)
        if (strcmp(m->part[i].name, name) == 0)
            return (vlk_part *)(uintptr_t)&m->part[i];
    return NULL;
}

static void *zeroed(vlk_model *m, size_t bytes, vlk_err *err)
{
    void *p = vlk_arena_alloc(m->arena, bytes, err);
    return p ? memset(p, 0, bytes) : NULL;
}

/* Gives a part that sees images a config of its own for images of another size than its checkpoint's. */
static int set_side(vlk_model *m, vlk_part *p, size_t side, vlk_err *err)
{
    const vlk_image_grid g = p->kind->grid(p->stored);
    if (side == g.side)
        return 0;
    if (g.cell == 0 || side < g.cell || side > VLK_MAX_IMAGE || (g.whole && side % g.cell))
        return vlk_fail(err, VLK_EUSAGE, "%s: no model for images of %zu can be made of one for %zu", m->folder, side,
                        g.side);
    void *config = zeroed(m, p->kind->config_bytes, err);
    if (!config)
        return -1;
    p->kind->with_side(config, p->stored, side);
    p->config = config;
    return 0;
}

int vlk_model_add_part(vlk_model *m, vlk_model_source *from, const char *name, const vlk_part_kind *kind,
                       const void *config, vlk_err *err)
{
    if (m->parts == VLK_MODEL_PARTS_MAX)
        return vlk_fail(err, VLK_ELIMIT, "%s: more than %d parts", m->folder, VLK_MODEL_PARTS_MAX);
    vlk_part *p = &m->part[m->parts];
    *p = (vlk_part){.name = name, .kind = kind, .source = from};
    void *stored = zeroed(m, kind->config_bytes, err);
    p->params = stored ? zeroed(m, kind->params_bytes, err) : NULL;
    p->state = p->params && kind->state_bytes ? zeroed(m, kind->state_bytes, err) : NULL;
    if (!p->params || (kind->state_bytes && !p->state))
        return -1;
    p->config = p->stored = memcpy(stored, config, kind->config_bytes);
    if (m->image_size && kind->grid && set_side(m, p, m->image_size, err))
        return -1;
    m->parts++;
    return 0;
}

unsigned vlk_kind_does(const vlk_part_kind *k)
{
    return (k->see ? VLK_SEES_IMAGES : 0u) | (k->read ? VLK_READS_TEXTS : 0u);
}

static vlk_part *part_that(const vlk_model *m, unsigned does)
{
    for (size_t i = 0; i < m->parts; i++)
        if (vlk_kind_does(m->part[i].kind) & does)
            return (vlk_part *)(uintptr_t)&m->part[i];
    return NULL;
}

vlk_part *vlk_model_image_part(const vlk_model *m)
{
    return part_that(m, VLK_SEES_IMAGES);
}

vlk_part *vlk_model_text_part(const vlk_model *m)
{
    return part_that(m, VLK_READS_TEXTS);
}

size_t vlk_model_image_side(const vlk_model *m)
{
    vlk_part *part = vlk_model_image_part(m);
    return part ? part->kind->grid(part->config).side : 0;
}

/* ---- tokenizers ------------------------------------------------------------------------------------------ */

vlk_tokenizer *vlk_tokenizer_missing(const vlk_model *m, const char *what, vlk_err *err)
{
    vlk_fail(err, VLK_EUNSUPPORTED, "%s: the texts of this model need %s, which is not built in", m->folder, what);
    return NULL;
}

vlk_tokenizer *vlk_model_tokenizer(vlk_model *m, vlk_err *err)
{
    vlk_part *p = vlk_model_text_part(m);
    if (!p || !m->family->tokenizer)
        return vlk_tokenizer_missing(m, "a tokenizer of their own", err);
    if (!p->tokenizer)
        p->tokenizer = m->family->tokenizer(m, p, err);
    return p->tokenizer;
}

void vlk_model_drop_tokenizers(vlk_model *m)
{
    for (size_t i = 0; i < m->parts; i++) {
        vlk_tokenizer_free(m->part[i].tokenizer);
        m->part[i].tokenizer = NULL;
    }
}
