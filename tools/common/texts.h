/* texts.h - lists of texts with their vectors: queries, labels, templates. */
#ifndef VLK_TEXTS_H
#define VLK_TEXTS_H

#include "engine.h"
#include "provenance.h"

/* Whether the name of a list of texts is that of a file of their vectors (.npy). */
int texts_is_npy(const char *path);

/* Named vectors of unit length; starts as {0}. */
typedef struct named_vectors {
    float *v; /* (n,dim) */
    size_t n, dim, cap;
    char **name;
    size_t *len;
    size_t name_cap, len_cap;
    provenance made;   /* model "" if not known */
    const char *where; /* the file, or "the model" */
} named_vectors;

void named_vectors_clear(named_vectors *q);
int named_vectors_add(named_vectors *q, const char *s, size_t n, vlk_err *err) VLK_MUST_USE;
/* Adds the lines of a file as names. Empty lines are texts too, unless `what` says what each line has to be. */
int named_vectors_add_lines(named_vectors *q, const char *path, const char *what, vlk_err *err) VLK_MUST_USE;
/* Room for the vectors of all names, of width dim; vectors that are there already stay. */
int named_vectors_reserve(named_vectors *q, size_t dim, vlk_err *err) VLK_MUST_USE;

typedef struct text_encoder {
    engine *e;
    const cli_common *c; /* batch, what to do with long texts */
    cli_run *run;        /* counts texts that were cut */
} text_encoder;

/* n texts (s[i], len[i]) to rows at out (n,E). */
int texts_encode(const text_encoder *t, float *out, char *const *s, const size_t *len, size_t n, vlk_length length,
                 vlk_err *err) VLK_MUST_USE;

#endif
