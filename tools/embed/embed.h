/* embed.h - the parts of clip-embed.
 *
 *   feed --> batch --> vectors, cosines, ids or pixels --> item by item: sink (tsv, jsonl, npy, tar)
 *            embed_run.c                                            or: parts (-o DIR): a sink a part, finished ones
 *                                                                       skipped */
#ifndef VLK_EMBED_H
#define VLK_EMBED_H

#include "../../lib/feed/feed.h"
#include "../cli/cli.h"
#include "../common/engine.h"
#include "../common/provenance.h"
#include "../cli/row.h"

typedef enum embed_mode { EMBED_IMAGES, EMBED_TEXTS, EMBED_PAIRS, EMBED_TOKENS, EMBED_PIXELS } embed_mode;

typedef struct embed_options {
    int image, text, pairs, tokens, pixels; /* flags of the command line; image is the default */
    int raw, half, captions, replace;
} embed_options;

/* One result: what a sink writes. Vectors are borrowed. */
typedef struct embed_row {
    const vlk_item *item;
    const float *vec;    /* (E) */
    const float *texts;  /* pairs: (n_texts, E) */
    const float *cosine; /* pairs: (n_texts) */
    size_t n_texts;
    const int32_t *ids; /* tokens */
    size_t n_ids;
    const uint8_t *pixels; /* (H,W,3) */
} embed_row;

struct embed_job;

typedef struct embed_sink {
    struct embed_job *job;
    cli_format format;
    vlk_out *out; /* tsv, jsonl, tar */
    vlk_npy_writer *npy;
    vlk_out *keys; /* X.keys; NULL: no sidecars */
    char *path;
    size_t rows;
    table_row row; /* tsv, jsonl */
    vlk_buf line, member;
    uint16_t *half; /* (E) */
} embed_sink;

typedef struct embed_parts embed_parts;

typedef struct embed_job {
    const cli_program *prog;
    const cli_common *c;
    const embed_options *o;
    cli_run *run;
    embed_mode mode;
    cli_format format;
    engine eng;
    provenance prov;
    vlk_feed *feed;
    embed_sink sink;    /* one output for all */
    embed_parts *parts; /* -o DIR; else NULL */
    int spoiled;        /* a vector was not finite: what is open gets no name */
    /* of the batch in hand */
    float *vec, *tvec, *cos;
    size_t vec_cap, tvec_cap, cos_cap;
    engine_ids ids;
    size_t *text_at; /* item of the batch -> its first text among ids; SIZE_MAX: none */
    size_t text_cap;
} embed_job;

/* embed_sink.c. `sidecars`: X.keys and X.json beside it (npy always has them). */
int embed_sink_open(embed_sink *s, embed_job *job, const char *path, int sidecars, vlk_err *err) VLK_MUST_USE;
/* 0; -1 the output is broken; 1 the item cannot be written (err: stage "output"), nothing was added. */
int embed_sink_row(embed_sink *s, const embed_row *r, vlk_err *err) VLK_MUST_USE;
/* A sample that is only passed on. */
int embed_sink_pass(embed_sink *s, const vlk_item *item, vlk_err *err) VLK_MUST_USE;
int embed_sink_flush(embed_sink *s, vlk_err *err) VLK_MUST_USE;
/* Keys and JSON get their names, then the output. Frees in any case. */
int embed_sink_commit(embed_sink *s, vlk_err *err) VLK_MUST_USE;
void embed_sink_abort(embed_sink *s);

/* embed_tar.c */
int embed_tar_row(embed_sink *s, const embed_row *r, vlk_err *err) VLK_MUST_USE;
int embed_tar_pass(embed_sink *s, const vlk_item *item, vlk_err *err) VLK_MUST_USE;

/* embed_parts.c */
embed_parts *embed_parts_open(embed_job *job, vlk_err *err) VLK_MUST_USE;
void embed_parts_close(embed_parts *p);
int embed_parts_want(void *arg, const vlk_source *source, vlk_span key, vlk_err *err);
/* A source begins; ends (whole or not); a good row; something to pass on. 0, -1, as of the sink 1. */
int embed_parts_begin(embed_parts *p, const vlk_source *source, vlk_err *err) VLK_MUST_USE;
int embed_parts_row(embed_parts *p, const embed_row *r, vlk_err *err) VLK_MUST_USE;
int embed_parts_pass(embed_parts *p, const vlk_item *item, vlk_err *err) VLK_MUST_USE;
int embed_parts_flush(embed_parts *p, vlk_err *err) VLK_MUST_USE;
int embed_parts_end(embed_parts *p, const vlk_source *source, int whole, vlk_err *err) VLK_MUST_USE;

/* embed_run.c: everything from the open job to the status. */
void embed_run(embed_job *job);

#endif
