/* weights_internal.h - what the readers of checkpoints share: the table that they fill, the zip and the pickle reader.
 * Private to lib/stream. */
#ifndef VLK_WEIGHTS_INTERNAL_H
#define VLK_WEIGHTS_INTERNAL_H

#include "stream.h"

/* ---- the table (weights.c) ------------------------------------------------------------------- */

typedef struct vlk_weights_source {
    char *path;
    vlk_map map;
} vlk_weights_source;

struct vlk_weights {
    vlk_container container;
    char *path;    /* as given: the file, or the index */
    vlk_tensor *t; /* in the file's order */
    size_t count, cap;
    const vlk_tensor **sorted; /* by name; made at the end */
    vlk_weights_source *file;
    size_t files, file_cap;
    void **owned; /* names and unpacked members */
    size_t owns, owned_cap;
    char *name_block; /* where the next name goes; the last of owned */
    size_t name_room;
};

/* Appends a tensor; its name (copied) may not hold NUL. The data must stay as long as w. */
int vlk_weights_add(vlk_weights *w, const vlk_tensor *t, const char *name, size_t n, const char *path, vlk_err *err);
/* Gives p (from malloc) to w; frees it if that fails. */
int vlk_weights_own(vlk_weights *w, void *p, vlk_err *err);

/* Each appends the tensors of one file, of which m is the map, and sets the container. */
int vlk_safetensors_read(vlk_weights *w, const vlk_map *m, const char *path, vlk_err *err);
int vlk_torch_zip_read(vlk_weights *w, const vlk_map *m, const char *path, vlk_err *err);
int vlk_torch_legacy_read(vlk_weights *w, const vlk_map *m, const char *path, vlk_err *err);

/* Is this the start of a safetensors file (a length that can be, then a brace)? */
int vlk_safetensors_is(const vlk_map *m);

#endif
