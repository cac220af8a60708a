/* kind_internal.h - the door of the kinds of parts: their blocks, if they are transformers. A kind is a vlk_part_kind
 * (model_internal.h) in a file of its own. */
#ifndef VLK_KIND_INTERNAL_H
#define VLK_KIND_INTERNAL_H

#include "model_internal.h"

/* The letters of a block's shapes. */
void vlk_kind_block_sizes(vlk_sizes *s, const vlk_block_config *b);
/* *block: (layers) blocks, bound. */
int vlk_kind_bind_blocks(vlk_binder *b, vlk_part *p, vlk_block_w **block, size_t layers) VLK_MUST_USE;
void vlk_kind_describe_blocks(vlk_part_info *i, const vlk_block_config *b, size_t layers);
/* Bytes that a token needs at the widest place of a block: x and h with q, k, v and the attention's result, or with the
 * hidden layer. */
size_t vlk_kind_token_bytes(const vlk_block_config *b);

#endif
