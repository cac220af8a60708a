/* sample_internal.h - what a sample holds, for the feed (slot.c) and for training sets (dataset_source.c). */
#ifndef VLK_SAMPLE_INTERNAL_H
#define VLK_SAMPLE_INTERNAL_H

#include "feed.h"

enum { VLK_LABEL_MAX = 510 }; /* bytes of a class's name */

typedef enum vlk_text_kind {
    VLK_TEXT_CAPTION,
    VLK_TEXT_NEGATIVE,
    VLK_TEXT_CLASS_NUMBER, /* decimal digits */
    VLK_TEXT_CLASS_NAME
} vlk_text_kind;

/* Takes a text, which is borrowed. 0; -1 with err: no memory, or the sample is a bad one. */
typedef struct vlk_text_sink {
    int (*add)(void *arg, vlk_text_kind kind, const char *s, size_t n, vlk_err *err);
    void *arg;
} vlk_text_sink;

/* The texts of a tar's sample, or of the image in the file `path`: captions (the one of KEY.txt first), then negatives;
 * the class before or after them. 0; 1: the sample is bad (*stage, err); -1: no memory. None at all is not an error
 * here.
 */
int vlk_sample_texts(const vlk_texts_wanted *w, const vlk_sample *sample, const char *path, vlk_buf *scratch,
                     const vlk_text_sink *out, const char **stage, vlk_err *err) VLK_MUST_USE;
/* The rule for one text: 1 it is one; 0 it is empty or blank, and does not count; -1 it is not UTF-8. */
int vlk_text_check(const char *s, size_t n, vlk_err *err) VLK_MUST_USE;
/* -1 with the reason of a sample without any caption. */
int vlk_no_caption(const vlk_texts_wanted *w, vlk_err *err);
/* The member of the image, whose bytes are there; NULL with the reason (stage "image"). */
const vlk_sample_part *vlk_sample_image(const vlk_texts_wanted *w, const vlk_sample *s, vlk_err *err) VLK_MUST_USE;

/* A sample has one image, and one member of each name that is read. `add` gets every other such member, with the stage
 * and the reason why it is skipped, so that none passes silently. 0 or -1. */
enum { VLK_EXTRA_IMAGES = 1, VLK_EXTRA_TEXTS = 2 };
typedef struct vlk_extra_sink {
    int (*add)(void *arg, const char *name, const char *stage, const vlk_err *why, vlk_err *err);
    void *arg;
} vlk_extra_sink;
int vlk_sample_extras(const vlk_texts_wanted *w, const vlk_sample *s, unsigned what, const vlk_extra_sink *out,
                      vlk_err *err) VLK_MUST_USE;

static inline const char *vlk_text_name(const vlk_texts_wanted *w)
{
    return w->text ? w->text : "txt";
}

static inline const char *vlk_json_name(const vlk_texts_wanted *w)
{
    return w->json ? w->json : "json";
}

#endif
