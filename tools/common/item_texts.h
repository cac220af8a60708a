/* item_texts.h - the texts of items as token ids: captions of images, or lines of text. */
#ifndef VLK_ITEM_TEXTS_H
#define VLK_ITEM_TEXTS_H

#include "../../lib/feed/feed.h"
#include "engine.h"

/* Those of a batch; starts as {0}, item_texts_clear frees. */
typedef struct item_texts {
    vlk_id_list ids;
    size_t *first;   /* (items): the first text of each item among ids; only of good ones */
    size_t *item_of; /* (ids.n): the item of each text */
    size_t first_cap, item_cap;
} item_texts;

/* Reads the texts of all good items of a batch. An item with a text that cannot be encoded becomes a bad one (stage
 * "tokens"). Texts that were cut to the context are added to *cut. */
int item_texts_read(item_texts *t, engine *e, const vlk_batch *b, cli_long_text long_text, size_t *cut,
                    vlk_err *err) VLK_MUST_USE;
void item_texts_clear(item_texts *t);
/* Adds those of one item to ids. 0; 1: one of them cannot be encoded (err), so none was added; -1. */
int item_texts_add(engine *e, vlk_id_list *ids, const vlk_item *it, cli_long_text long_text, size_t *cut,
                   vlk_err *err) VLK_MUST_USE;

#endif
