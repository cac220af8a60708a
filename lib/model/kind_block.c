/* kind_block.c - what the kinds of parts that are transformers have in common: their blocks. */
#include "kind_internal.h"

void vlk_kind_block_sizes(vlk_sizes *s, const vlk_block_config *b)
{
    s->dim['w'] = b->width;
    s->dim['T'] = 3 * b->width;
    s->dim['m'] = b->mlp;
}

int vlk_kind_bind_blocks(vlk_binder *b, vlk_part *p, vlk_block_w **block, size_t layers)
{
    if (!(*block = vlk_bind_alloc(b, layers, sizeof **block)))
        return -1;
    for (size_t i = 0; i < layers; i++)
        if (vlk_bind_fields(b, p, VLK_FIELDS_BLOCK, *block + i, NULL, i, 0))
            return -1;
    return 0;
}

void vlk_kind_describe_blocks(vlk_part_info *i, const vlk_block_config *b, size_t layers)
{
    i->width = b->width;
    i->layers = layers;
    i->heads = b->heads;
    i->mlp = b->mlp;
    i->activation = vlk_act_name(b->act);
}

size_t vlk_kind_token_bytes(const vlk_block_config *b)
{
    const size_t attention = 6 * b->width, mlp = 2 * b->width + b->mlp;
    return sizeof(float) * (attention > mlp ? attention : mlp);
}
