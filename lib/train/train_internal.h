/* train_internal.h - shared by the files of this folder: parameters split into pieces for threads. Private to
 * lib/train. */
#ifndef VLK_TRAIN_INTERNAL_H
#define VLK_TRAIN_INTERNAL_H

#include "train.h"

/* Numbers [from, from+n) of parameter p. The split depends on shapes alone, so sums in the order of pieces have the
 * same bits for any number of threads. */
typedef struct vlk_piece {
    size_t p, from, n;
} vlk_piece;

typedef struct vlk_pieces {
    vlk_piece *piece;
    size_t n;
} vlk_pieces;

enum { VLK_PIECE = 16384 };
/* Pieces of the trained parameters. Free with free(out->piece). */
int vlk_pieces_make(vlk_pieces *out, const vlk_train_params *l, vlk_err *err);
/* As vlk_pool_run; without a pool the caller does everything. */
void vlk_pieces_run(vlk_pool *pool, vlk_pool_fn *fn, void *arg, const vlk_pieces *p);

/* Buffers of one parameter each: NULL if it is frozen. vlk_slots_free takes {0} too. */
typedef struct vlk_slots {
    float **at; /* (n parameters) */
    float *all; /* one block for all of them, 64 bytes apart */
} vlk_slots;
int vlk_slots_make(vlk_slots *s, const vlk_train_params *l, vlk_err *err);
void vlk_slots_free(vlk_slots *s);

struct vlk_adamw_numbers;

/* What the optimiser and the running mean keep from step to step (state.c saves it). */
struct vlk_adamw {
    const vlk_train_params *params;
    vlk_adamw_options o;
    vlk_pool *pool;
    vlk_pieces pieces;
    vlk_slots mean, square;            /* m, v */
    double *sums;                      /* (pieces) of squares */
    struct vlk_adamw_numbers *numbers; /* (parameters) of the step in progress */
    uint64_t steps;
};

struct vlk_ema {
    const vlk_train_params *params;
    vlk_pool *pool;
    vlk_pieces pieces;
    vlk_slots value;
    double decay;
    vlk_ema_kind kind;
    uint64_t updates;
};

#endif
