/* negatives.h - neg_acc: the share of false captions (the list "negatives" of a sample's KEY.json) whose cosine with
 * the image is lower than that of the true one, its first. */
#ifndef VLK_NEGATIVES_H
#define VLK_NEGATIVES_H

#include "../../lib/feed/feed.h"
#include "engine.h"

typedef struct negative {
    size_t image, text; /* rows of the image and of its true caption */
} negative;

typedef struct negatives { /* starts as {0} */
    vlk_id_list ids;       /* of the false captions that are not counted yet */
    negative *of;
    size_t cap;
    size_t lower, all; /* counted so far */
} negatives;

/* A false caption. -1: it cannot be encoded, or no memory. */
int negatives_add(engine *e, negatives *n, const char *s, size_t len, size_t image, size_t text,
                  vlk_err *err) VLK_MUST_USE;
/* Those of an item. */
int negatives_add_item(engine *e, negatives *n, const vlk_item *it, size_t image, size_t text,
                       vlk_err *err) VLK_MUST_USE;
/* Encodes and counts what was added, against rows of unit length (any, E). */
int negatives_count(engine *e, negatives *n, const float *image, const float *text, vlk_err *err) VLK_MUST_USE;
void negatives_clear(negatives *n);

#endif
