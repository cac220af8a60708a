/* engine.h - a model ready to run: kernel, tape, weights, tokenizer; batches in, vectors out. */
#ifndef VLK_ENGINE_H
#define VLK_ENGINE_H

#include "../../lib/model/model.h"
#include "../cli/cli.h"

/* What a program will ask of its model. */
enum {
    ENGINE_IMAGES = 1,    /* vectors of images: refused where their preprocessing is unknown */
    ENGINE_TEXTS = 2,     /* vectors of texts */
    ENGINE_TOKENIZER = 4, /* token ids of texts: refused where the vocabulary is missing or broken */
    ENGINE_ANY = 8        /* with images and texts: one of the two is enough */
};

typedef struct engine {
    vlk_kernel *kernel;
    vlk_tape *tape;
    vlk_model *model;
    vlk_tokenizer *tokenizer; /* the model's; NULL: not asked for */
    const vlk_model_info *info;
} engine;

/* Opens what -m, --arch, --dtype and -j ask for; VLK_GEMM and VLK_CPU are read here. Reads no weights. */
int engine_open(engine *e, const cli_common *c, unsigned want, vlk_err *err) VLK_MUST_USE;
void engine_close(engine *e);
/* Opens the tokenizer: without it no text can be added. engine_open does so where it was asked to; again after
 * vlk_model_trainable, which may change how the model reads texts. */
int engine_tokenizer(engine *e, vlk_err *err) VLK_MUST_USE;
/* Rows of a batch: -b, else what fills the products without taking much memory. */
size_t engine_image_batch(const engine *e, const cli_common *c);
size_t engine_text_batch(const cli_common *c);
/* What the programs print for --info: the model as JSON, with a newline. */
int engine_info(const engine *e, vlk_buf *out, vlk_err *err) VLK_MUST_USE;
/* --explain: files and their hashes, memory, threads, kernel, measured rates of both towers, as text. */
int engine_explain(engine *e, const cli_common *c, vlk_buf *out, vlk_err *err) VLK_MUST_USE;

/* (n,H,W,3) u8 to out (n,E). A vector that is not finite: -1, *bad is its row (else SIZE_MAX). */
int engine_images(engine *e, float *out, const uint8_t *pixels, size_t n, vlk_length length, size_t *bad,
                  vlk_err *err) VLK_MUST_USE;

/* Adds a text. 1: added, 2: added and cut to the context, -1: not added, err says why (not UTF-8; too long and
 * CLI_LONG_ERROR). */
int engine_ids_add(engine *e, vlk_id_list *ids, const char *s, size_t n, cli_long_text long_text,
                   vlk_err *err) VLK_MUST_USE;
/* Texts to out (ids->n, E). Not finite: as engine_images. */
int engine_texts(engine *e, float *out, const vlk_id_list *ids, vlk_length length, size_t *bad,
                 vlk_err *err) VLK_MUST_USE;

#endif
