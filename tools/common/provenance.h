/* provenance.h - what made a file of vectors: X.json beside X.npy, "vlkit" in KEY.clip.json.
 *
 *   X.json           {"vlkit": "0.1.0", "program": "clip-embed", "model": "<id>", "preprocessing": "...",
 *                     "tower": "image", "normalized": true, "arithmetic": "f32", "arguments": {...},
 *                     "dtype": "<f4", "rows": 500, "dim": 128}
 *   KEY.clip.json    {"cosine": 0.31, "vlkit": {"version": "0.1.0", "program": ... to "arguments" as above}}
 *
 * Only what changes values: never threads, batch, paths, host or times. "arguments" holds those that are not at their
 * default. For pixels "tower" is "pixels". */
#ifndef VLK_PROVENANCE_H
#define VLK_PROVENANCE_H

#include "../cli/cli.h"
#include "engine.h"

typedef struct provenance {
    char model[65];
    char preprocessing[512];
    char tower[16];      /* "image", "text", "pixels" */
    char arithmetic[8];  /* "f32", "bf16" */
    char arguments[256]; /* as JSON: "{}" */
    int normalized;
    /* of X.json only */
    char dtype[8]; /* "<f4", "<f2", "|u1" */
    size_t rows, dim;
} provenance;

/* What this run makes. */
void provenance_make(provenance *p, const engine *e, const cli_common *c, const char *tower, int normalized);
/* Appends the members without braces, from "program" to "arguments". */
int provenance_members(const provenance *p, vlk_buf *out, vlk_err *err) VLK_MUST_USE;
/* Appends all of an X.json, with a newline. */
int provenance_json(const provenance *p, vlk_buf *out, vlk_err *err) VLK_MUST_USE;
/* Reads an X.json. 0; 1 if there is no such file; -1. */
int provenance_load(provenance *p, const char *path, vlk_err *err) VLK_MUST_USE;
/* 0 if vectors of both may be compared: model, preprocessing (unless one is text), normalised or not need not agree.
 * -1 with what differs; `path` names what was loaded. */
int provenance_same_model(const provenance *loaded, const char *path, const provenance *mine,
                          vlk_err *err) VLK_MUST_USE;
/* 0 if a run with `mine` would give the same rows; -1 with the first thing that differs. */
int provenance_same(const provenance *loaded, const char *path, const provenance *mine, vlk_err *err) VLK_MUST_USE;
/* "DIR/X.npy" to "DIR/X" + suffix, appended to nothing: `out` is emptied first. */
int provenance_beside(vlk_buf *out, const char *path, const char *suffix, vlk_err *err) VLK_MUST_USE;

#endif
