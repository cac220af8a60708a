/* provenance.h - what made a file of vectors: X.json beside X.npy, "vlkit" in KEY.clip.json.
 *
 *   X.json           {"vlkit": "0.1.0", "program": "clip-embed", "model": "<id>", "preprocessing": "...",
 *                     "tower": "image", "normalized": true, "arithmetic": "f32", "arguments": {...},
 *                     "dtype": "<f4", "rows": 500, "dim": 128, "model_name": "...",
 *                     "keys_sha256": "...", "data_digest": "..."}
 *   KEY.clip.json    {"cosine": 0.31, "vlkit": {"version": "0.1.0", "program": ... to "arguments" as above}}
 *
 * Only what changes values: never threads, batch, paths, host or times. "arguments" holds those that are not at their
 * default. Parts of -o DIR have "sources_sha256", too. The last two bind the set: the hash of X.keys, and vlk_digest of
 * X.npy (or of the table or tar that X.keys belongs to). For pixels "tower" is "pixels". "dim" is a list where a key
 * has a matrix instead of a vector. */
#ifndef VLK_PROVENANCE_H
#define VLK_PROVENANCE_H

#include "../../lib/stream/stream.h"
#include "../cli/cli.h"
#include "engine.h"

enum { PROVENANCE_RANK = 3 };

typedef struct provenance {
    char program[32];          /* "clip-embed" */
    char model[65], name[128]; /* what it is, and what it was called; name "": not known (X.json only) */
    char preprocessing[512];
    char tower[16];       /* "image", "text", "pixels" */
    char arithmetic[8];   /* "f32", "bf16" */
    char arguments[2560]; /* as JSON: "{}" */
    int normalized;
    /* of X.json only */
    char dtype[8]; /* "<f4", "<f2", "|u1" */
    size_t rows, dim[PROVENANCE_RANK];
    int rank;
    char sources[65];        /* of parts: SHA-256 of the sizes of the source files of the rows; "" if not known */
    char keys[65], data[65]; /* of X.keys and of the file itself; "" in sets that are not bound */
} provenance;

/* What this run makes: for each key one vector of the model's width, <f4. */
void provenance_make(provenance *p, const cli_program *prog, const engine *e, const cli_common *c, const char *tower,
                     vlk_length length);
/* What each key has instead: F32, F16 or U8 numbers of this shape, 1 to PROVENANCE_RANK dimensions. */
void provenance_shape(provenance *p, vlk_dtype type, const size_t *dim, int rank);
/* Appends the members without braces, from "program" to "arguments". */
int provenance_members(const provenance *p, vlk_buf *out, vlk_err *err) VLK_MUST_USE;
/* Appends all of an X.json, with a newline. */
int provenance_json(const provenance *p, vlk_buf *out, vlk_err *err) VLK_MUST_USE;
/* Reads an X.json. 0; 1 if there is no such file; -1. */
int provenance_load(provenance *p, const char *path, vlk_err *err) VLK_MUST_USE;
/* 0 if vectors of both may be compared: they are of one model and, where both are of images or both of texts, of one
 * preprocessing. -1 with what differs; `path` names what was loaded. */
int provenance_same_model(const provenance *loaded, const char *path, const provenance *mine,
                          vlk_err *err) VLK_MUST_USE;
/* 0 if a run with `mine` would give the same rows; -1 with the first thing that differs. */
int provenance_same(const provenance *loaded, const char *path, const provenance *mine, vlk_err *err) VLK_MUST_USE;
/* 0 if X.json was written with this X.keys (NULL: there is none) and these bytes of the file; -1 names all three. */
int provenance_binds(const provenance *loaded, const char *path, const vlk_keys *keys, vlk_map *data,
                     vlk_err *err) VLK_MUST_USE;
/* Sets `out` to the name of X.npy's neighbour: "DIR/X.npy" to "DIR/X" + suffix. */
int provenance_beside(vlk_buf *out, const char *path, const char *suffix, vlk_err *err) VLK_MUST_USE;

#endif
