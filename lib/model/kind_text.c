/* kind_text.c - the text transformer of CLIP and SigLIP as a part of a model (tower/text.c). */
#include "kind_internal.h"

static int text_bind(vlk_binder *b, vlk_part *p)
{
    const vlk_text_config *c = p->config;
    vlk_text_w *w = p->params;
    return vlk_bind_fields(b, p, VLK_FIELDS_TEXT, w, NULL, 0, 0) || vlk_kind_bind_blocks(b, p, &w->block, c->layers)
               ? -1
               : 0;
}

static void text_sizes(vlk_sizes *s, const void *config, size_t layer, size_t stage)
{
    const vlk_text_config *c = config;
    (void)stage;
    vlk_kind_block_sizes(s, &c->block);
    s->dim['c'] = c->context;
    s->dim['v'] = c->vocab;
    s->has = vlk_block_has(&c->block, layer) | (c->proj_bias ? VLK_HAS_PROJ_BIAS : 0u);
}

static void text_describe(vlk_part_info *i, const void *config)
{
    const vlk_text_config *c = config;
    vlk_kind_describe_blocks(i, &c->block, c->layers);
    i->tokens = c->context;
    i->vocab = c->vocab;
}

static size_t text_depth(const void *config)
{
    return ((const vlk_text_config *)config)->layers;
}

static vlk_var *text_read(const vlk_pass *p, const vlk_part *part, const int32_t *ids, const vlk_packed *s)
{
    return vlk_text(p, part->config, part->params, ids, s);
}

/* Ids of a text that have to be computed: up to the pooled row where the tower is causal, else all of the context. */
static int text_rows(const void *config, const int32_t *id, size_t n, size_t text, size_t *rows, vlk_err *err)
{
    const vlk_text_config *c = config;
    *rows = n;
    if (n == 0)
        return vlk_fail(err, VLK_EUSAGE, "text %zu has no tokens", text);
    size_t at = vlk_text_pooled(c, id, n);
    if (at == n)
        return vlk_fail(err, VLK_EUSAGE, "text %zu has no end token (%d)", text, (int)c->end);
    if (vlk_text_whole(c))
        return n == c->context ? 0
                               : vlk_fail(err, VLK_EUSAGE, "text %zu: this tower takes %zu tokens, padded; found %zu",
                                          text, c->context, n);
    *rows = at + 1;
    if (*rows > c->context)
        return vlk_fail(err, VLK_ELIMIT, "text %zu has %zu tokens, the context is %zu", text, *rows, c->context);
    return 0;
}

static vlk_var *text_states(const vlk_pass *p, const vlk_part *part, const int32_t *ids, const vlk_packed *s,
                            vlk_kv *cache)
{
    return vlk_text_states(p, part->config, part->params, ids, s, cache);
}

static size_t text_token_bytes(const void *config)
{
    return vlk_kind_token_bytes(&((const vlk_text_config *)config)->block);
}

const vlk_part_kind vlk_kind_text = {
    .name = "text",
    .config_bytes = sizeof(vlk_text_config),
    .params_bytes = sizeof(vlk_text_w),
    .bind = text_bind,
    .sizes = text_sizes,
    .describe = text_describe,
    .depth = text_depth,
    .openai = VLK_RULE_OPENAI_TEXT,
    .read = text_read,
    .rows = text_rows,
    .states = text_states,
    .token_bytes = text_token_bytes,
};
