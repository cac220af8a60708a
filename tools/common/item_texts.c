/* item_texts.c - token ids of a batch's items; which text belongs to which item. */
#include "item_texts.h"

#include <stdlib.h>

int item_texts_add(engine *e, vlk_id_list *ids, const vlk_item *it, cli_long_text long_text, size_t *cut, vlk_err *err)
{
    const vlk_span *text = it->kind == VLK_ITEM_TEXT ? &it->key : it->caption;
    size_t n = it->kind == VLK_ITEM_TEXT ? 1 : it->captions, first = ids->n, more = 0;
    vlk_err why = {0};
    for (size_t i = 0; i < n; i++) {
        int r = engine_ids_add(e, ids, text[i].s, text[i].n, long_text, &why);
        if (r < 0) {
            vlk_id_list_shorten(ids, first);
            *err = why;
            return why.code == VLK_EMEM ? -1 : 1;
        }
        more += r == 2;
    }
    *cut += more;
    return 0;
}

static int read_item(item_texts *t, engine *e, const vlk_batch *b, size_t i, cli_long_text long_text, size_t *cut,
                     vlk_err *err)
{
    vlk_item *it = b->item[i];
    t->first[i] = t->ids.n;
    int r = item_texts_add(e, &t->ids, it, long_text, cut, &it->err);
    if (r < 0) {
        *err = it->err;
        return -1;
    }
    if (r == 1)
        it->stage = "tokens";
    if (vlk_grow(&t->item_of, &t->item_cap, t->ids.n, sizeof *t->item_of, err))
        return -1;
    for (size_t k = t->first[i]; k < t->ids.n; k++)
        t->item_of[k] = i;
    return 0;
}

int item_texts_read(item_texts *t, engine *e, const vlk_batch *b, cli_long_text long_text, size_t *cut, vlk_err *err)
{
    vlk_id_list_shorten(&t->ids, 0);
    if (vlk_grow(&t->first, &t->first_cap, b->items, sizeof *t->first, err))
        return -1;
    for (size_t i = 0; i < b->items; i++)
        if (b->item[i]->row != SIZE_MAX && read_item(t, e, b, i, long_text, cut, err))
            return -1;
    return 0;
}

void item_texts_clear(item_texts *t)
{
    vlk_id_list_clear(&t->ids);
    free(t->first);
    free(t->item_of);
    *t = (item_texts){.first = NULL};
}
