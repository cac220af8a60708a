/* embed.h - the modes of clip-embed: what a batch is computed to, and how an item is written. The loop around them is
 * tools/common/loop.h. */
#ifndef VLK_EMBED_H
#define VLK_EMBED_H

#include "../common/item_texts.h"
#include "../common/loop.h"

typedef enum embed_mode { EMBED_IMAGES, EMBED_TEXTS, EMBED_PAIRS, EMBED_TOKENS, EMBED_PIXELS } embed_mode;

typedef struct embed_options {
    int image, text, pairs, tokens, pixels; /* flags of the command line; image is the default */
    int raw, half, captions, replace;
} embed_options;

typedef struct embed_job {
    const cli_program *prog;
    const cli_common *c;
    const embed_options *o;
    cli_run *run;
    embed_mode mode;
    cli_format format;
    engine e;
    loop loop;
    /* of the current batch */
    float *vec, *tvec, *cos;
    size_t vec_cap, tvec_cap, cos_cap;
    item_texts texts;
} embed_job;

/* What the mode asks of the model: ENGINE_ bits. */
unsigned embed_wants(embed_mode mode);
/* From the open engine to the last item; what goes wrong is reported to the run. */
void embed_run(embed_job *j);

#endif
