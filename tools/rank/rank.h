/* rank.h - what the files of clip-rank share.
 *
 *   texts.c     --query TEXT...
 *   query.c     texts, images or rows of a file to query vectors
 *   corpus.c    the corpus, block by block: mapped .npy files, or images that are embedded as they come
 *   file.c      X.npy with X.keys and X.json;  kept.c  keys of hits
 *   find.c      --query: the ranked table
 *   label.c     --labels: zero-shot classification
 *   recall.c    --recall;  pairs.c  of pairs embedded as they come
 *   sheet.c     --sheet: images found again by their keys
 *   out.c       where rows go
 *
 * Of tools/common: topk (the best k rows, exactly), recall (counts), texts, zero_shot, negatives, sheet (draws). */
#ifndef VLK_RANK_H
#define VLK_RANK_H

#include "../../lib/feed/feed.h"
#include "../../lib/head/head.h"
#include "../../lib/stream/stream.h"
#include "../common/loop.h"
#include "../common/recall.h"
#include "../common/zero_shot.h"

typedef struct rank_options {
    cli_strs query, like, images;
    const char *queries, *labels, *templates, *truth, *sheet;
    size_t k; /* 0: not given */
    struct rank_min {
        double value;
        int set;
    } min;
    int recall, all_captions;
} rank_options;

/* Texts that directly follow that of --query move from the operands to the queries. argv as the program got it (getopt
 * sorts it). *doubt: the last of them that may be a mistyped name, or NULL. */
int rank_more_texts(rank_options *o, cli_common *c, char *const *argv, const char **doubt, vlk_err *err) VLK_MUST_USE;

/* ---- out.c ------------------------------------------------------------------------------------- */

typedef struct rank_writer {
    vlk_out *out;
    table_row row; /* fields go here, in the order of the table; then rank_row_end */
    size_t rows;
    const cli_common *c;
} rank_writer;

int rank_writer_open(rank_writer *w, const cli_common *c, cli_format form, vlk_err *err) VLK_MUST_USE;
int rank_row_end(rank_writer *w, vlk_err *err) VLK_MUST_USE;
/* Rows so far to where they go; into a pipe or onto a terminal at once, so that a slow input is answered. */
int rank_writer_flush(rank_writer *w, vlk_err *err) VLK_MUST_USE;
/* The file gets its name, or is removed; without a row it does not replace one that has some. What is left for standard
 * output is written in both cases. Both free. */
int rank_writer_commit(rank_writer *w, vlk_err *err) VLK_MUST_USE;
int rank_writer_abort(rank_writer *w, vlk_err *err) VLK_MUST_USE;

/* ---- query.c, file.c ------------------------------------------------------------------------------------- */

/* An open X.npy with its sidecars. */
typedef struct rank_file {
    const char *path;
    vlk_npy npy;
    vlk_keys *keys;  /* NULL: there is no X.keys; rows are named by their number */
    int several;     /* it is not the whole corpus: numbers have the path in front, "X.npy:17" */
    provenance made; /* X.json; model "" if there is none */
    int normalize;   /* raw or unknown: scale rows as they are read */
} rank_file;

int rank_file_open(rank_file *f, const char *path, vlk_err *err) VLK_MUST_USE;
void rank_file_close(rank_file *f);
vector_rows rank_file_rows(const rank_file *f);
int rank_file_key(const rank_file *f, size_t row, vlk_buf *key, vlk_err *err) VLK_MUST_USE;

/* ---- the job ------------------------------------------------------------------------------------------ */

/* Operands in order: a run of images (folders, tars, lists) is one part, an .npy is one part. */
typedef struct rank_part {
    rank_file *file; /* NULL: images */
    char *const *operand;
    size_t operands;
    uint64_t base, rows; /* index of its first row; rows so far */
} rank_part;

typedef struct rank_kept { /* the key of an image that is among the best */
    uint64_t index;
    size_t part, source; /* source: vlk_source.index */
    char *key;
    size_t len;
} rank_kept;

typedef struct rank_job {
    const cli_program *prog;
    const cli_common *c;
    const rank_options *o;
    cli_run *run;
    engine e;           /* e.model NULL: no model was needed */
    vlk_kernel *kernel; /* the engine's, or own */
    rank_part *part;
    size_t parts;
    rank_kept *kept;
    size_t nkept, kept_cap, kept_limit;
    char **names; /* operands read from -T */
    size_t nnames, names_cap;
} rank_job;

int rank_job_open(rank_job *j, vlk_err *err) VLK_MUST_USE;
void rank_job_close(rank_job *j);
/* Refuses vectors of another width or another model than the rest, naming both. */
int rank_job_check(const rank_job *j, const named_vectors *q, vlk_err *err) VLK_MUST_USE;
void rank_feed_options(const rank_job *j, vlk_feed_options *f, vlk_feed_mode mode, char *const *operand,
                       size_t operands);

/* --query, --queries, --like to vectors. */
int rank_queries(rank_job *j, named_vectors *q, vlk_err *err) VLK_MUST_USE;
/* The classifier of --labels, --templates. */
int rank_labels(rank_job *j, named_vectors *q, vlk_err *err) VLK_MUST_USE;
/* What a walk sees: rows with keys. */
typedef struct rank_block {
    vector_rows rows;
    uint64_t base;
    size_t part;
    const rank_file *file;  /* or */
    const vlk_batch *batch; /* whose good items are the rows, in order */
} rank_block;
int rank_block_key(const rank_block *b, size_t row, vlk_buf *key, size_t *source, vlk_err *err) VLK_MUST_USE;
/* Every row of the corpus in order, a whole file or a batch of images at once. */
typedef int rank_visit(void *arg, const rank_block *b, vlk_err *err);
int rank_walk(rank_job *j, rank_visit *fn, void *arg, vlk_err *err) VLK_MUST_USE;
/* After the walk: says that there was nothing to search, or nothing to search for (`what`: "query"). */
void rank_say_if_empty(const rank_job *j, size_t asked, const char *what);
/* Keeps the keys of this block's images that are in the heaps, and forgets those that are not any more. */
int rank_keep(rank_job *j, const rank_block *b, const topk *tops, size_t n, vlk_err *err) VLK_MUST_USE;
/* The key of a hit, and its part and source. */
int rank_key(const rank_job *j, uint64_t index, vlk_buf *key, size_t *part, size_t *source, vlk_err *err) VLK_MUST_USE;

/* ---- the modes: 0, or -1 with err; what is wrong with items is reported to the run ----------------------------- */

int rank_find(rank_job *j, rank_writer *w, vlk_err *err) VLK_MUST_USE;
int rank_label(rank_job *j, rank_writer *w, vlk_err *err) VLK_MUST_USE;
int rank_recall(rank_job *j, rank_writer *w, vlk_err *err) VLK_MUST_USE;
/* Its parts: of pairs; the table; rows of memory. */
int rank_recall_pairs(rank_job *j, rank_writer *w, vlk_err *err) VLK_MUST_USE;
int rank_write_recall(rank_job *j, rank_writer *w, const vector_rows *images, const vector_rows *texts,
                      recall_pair *truth, size_t n, vlk_err *err) VLK_MUST_USE;
int rank_write_measure(rank_writer *w, const char *name, double value, vlk_err *err) VLK_MUST_USE;
/* Draws --sheet; tops are sorted; names of the rows. */
int rank_sheet(rank_job *j, const topk *tops, const named_vectors *q, vlk_err *err) VLK_MUST_USE;

#endif
