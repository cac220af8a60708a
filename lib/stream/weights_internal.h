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

/* A deflated storage of a zip archive, unpacked by vlk_weights_unpack; and a tensor that lies in one. */
typedef struct vlk_packed {
    const unsigned char *data; /* n bytes in a map, deflated */
    size_t n, size;
    const char *member; /* its name, member_n bytes in a map */
    size_t member_n;
    const char *path;
} vlk_packed;
typedef struct vlk_packed_tensor {
    size_t tensor, packed; /* indices */
    size_t offset;         /* bytes */
} vlk_packed_tensor;

struct vlk_weights {
    vlk_container container;
    char *path;    /* as given: the file, or the index */
    vlk_tensor *t; /* in the file's order */
    size_t count, cap;
    const vlk_tensor **sorted; /* by name; made at the end */
    vlk_weights_source *file;
    size_t files, file_cap;
    void **owned; /* names and decompressed members */
    size_t owns, owned_cap;
    char *name_block;             /* where the next name goes; the last of owned */
    size_t name_room, name_bytes; /* left in the block; of all names */
    vlk_packed *packed;
    size_t packs, packed_cap;
    vlk_packed_tensor *packed_tensor; /* in the order of tensors */
    size_t packed_tensors, packed_tensor_cap;
};

/* Real names have some 100 bytes, keys of storages 20. A pickle can spell a long one in two bytes, again and again, and
 * whatever compares it then takes hours. */
enum { VLK_MAX_NAME = 1024, VLK_MAX_KEY = 128, VLK_MAX_TENSORS = 1 << 18 };

/* Appends a tensor; its name (copied) may not hold NUL. The data must stay as long as w. At most VLK_MAX_TENSORS, with
 * names of at most VLK_MAX_NAME bytes. */
int vlk_weights_add(vlk_weights *w, const vlk_tensor *t, const char *name, size_t n, const char *path, vlk_err *err);
/* Passes ownership of p (from malloc) to w; frees it if that fails. */
int vlk_weights_own(vlk_weights *w, void *p, vlk_err *err);

/* Decompresses into memory owned by w; NULL and err if it does not give p->size bytes. */
const unsigned char *vlk_weights_inflate(vlk_weights *w, const vlk_packed *p, vlk_err *err);
/* A deflated storage; *index is its number. The tensor that was added last has its data there, from `offset` on. */
int vlk_weights_add_packed(vlk_weights *w, size_t *index, const vlk_packed *p, vlk_err *err);
int vlk_weights_in_packed(vlk_weights *w, size_t index, size_t offset, vlk_err *err);

/* Each appends the tensors of one file, mapped as m, and sets the container. */
int vlk_safetensors_read(vlk_weights *w, const vlk_map *m, const char *path, vlk_err *err);
int vlk_torch_zip_read(vlk_weights *w, const vlk_map *m, const char *path, vlk_err *err);
int vlk_torch_legacy_read(vlk_weights *w, const vlk_map *m, const char *path, vlk_err *err);

/* Whether this is the start of a safetensors file (a plausible length, then a brace). */
int vlk_safetensors_is(const vlk_map *m);

/* ---- zip (zip.c) ------------------------------------------------------------------------------ */

typedef struct vlk_zip_member {
    const char *name; /* n bytes in the map, without a NUL */
    size_t n;
    const unsigned char *data; /* compressed bytes in the map */
    size_t packed, size;
    size_t head;  /* offset of its local header */
    int method;   /* 0 stored, 8 deflated, others cannot be read */
    size_t later; /* 1 + its number among the deflated storages; 0: it is none */
} vlk_zip_member;

typedef struct vlk_zip {
    vlk_zip_member *m; /* sorted by name */
    size_t count;
    const char *path; /* borrowed, for messages */
} vlk_zip;

/* Reads the central directory of a mapped archive. Every member lies inside the file, none occurs twice or overlaps
 * another, and no name leaves the folder. */
int vlk_zip_open(vlk_zip *z, const vlk_map *m, const char *path, vlk_err *err) VLK_MUST_USE;
void vlk_zip_close(vlk_zip *z);
vlk_zip_member *vlk_zip_find(const vlk_zip *z, const char *name, size_t n); /* NULL if there is none */
/* Whether it is stored or deflated; 0 or -1. */
int vlk_zip_readable(const vlk_zip *z, const vlk_zip_member *m, vlk_err *err) VLK_MUST_USE;
/* Its m->size bytes: in the map if it is stored, else decompressed, into memory owned by w. */
int vlk_zip_data(const vlk_zip *z, const vlk_zip_member *m, const unsigned char **out, vlk_weights *w,
                 vlk_err *err) VLK_MUST_USE;

/* ---- pickle (pickle.c, pickle_call.c) --------------------------------------------------------- */

typedef enum vlk_pkl_kind {
    VLK_PKL_NONE,
    VLK_PKL_BOOL,
    VLK_PKL_INT,
    VLK_PKL_LONG, /* more than 8 bytes: the bytes, little endian */
    VLK_PKL_FLOAT,
    VLK_PKL_STR,
    VLK_PKL_BYTES,
    VLK_PKL_TUPLE,
    VLK_PKL_LIST,
    VLK_PKL_DICT, /* seq: key, value, key, value ... */
    VLK_PKL_GLOBAL,
    VLK_PKL_OBJECT, /* of a TorchScript class: a dict of attributes, or NULL */
    VLK_PKL_STORAGE,
    VLK_PKL_TENSOR,
    VLK_PKL_OPAQUE /* allowed, but never inspected */
} vlk_pkl_kind;

/* What an allowed global stands for. */
typedef enum vlk_pkl_call {
    VLK_CALL_OPAQUE,
    VLK_CALL_DICT,
    VLK_CALL_TENSOR,
    VLK_CALL_PARAMETER,
    VLK_CALL_STORAGE,
    VLK_CALL_CLASS
} vlk_pkl_call;

typedef struct vlk_pkl_value vlk_pkl_value;
typedef struct vlk_pkl_cell {
    vlk_pkl_value *v;
    struct vlk_pkl_cell *next;
} vlk_pkl_cell;

struct vlk_pkl_value {
    vlk_pkl_kind kind;
    vlk_pkl_call call; /* GLOBAL */
    vlk_dtype dtype;   /* GLOBAL that is a storage type, STORAGE */
    union {
        int64_t i; /* BOOL, INT */
        struct {
            const char *s; /* in the pickle's bytes */
            size_t n;
        } str; /* STR, BYTES, LONG */
        struct {
            vlk_pkl_cell *first, *last;
            size_t count;     /* of cells */
        } seq;                /* TUPLE, LIST, DICT */
        vlk_pkl_value *state; /* OBJECT */
        struct {
            const char *key;
            size_t key_n, view; /* view: elements from the start of the root storage */
            size_t count;       /* elements of the root storage */
        } storage;
        struct {
            const vlk_pkl_value *storage, *size, *stride; /* the last two are tuples of INT */
            int64_t offset;
        } tensor;
    } u;
};

/* An interpreter that builds values and calls nothing: the few names that may be called are listed in pickle_call.c and
 * only make values. Memory is limited, and the C stack does not grow with nesting. */
typedef struct vlk_pkl {
    const char *name; /* for messages, borrowed */
    const unsigned char *p;
    size_t n, at; /* at: after the last byte read */
    size_t op;    /* where the current instruction began */
    struct vlk_pkl_block *block;
    size_t bytes; /* in blocks */
    vlk_pkl_value **stack, **memo;
    size_t depth, stack_cap, memos, memo_cap;
    size_t *mark, marks, mark_cap;
    vlk_pkl_value none, empty;     /* shared by all Nones and all empty tuples */
    const vlk_pkl_value **storage; /* every STORAGE made, in order */
    size_t storages, storage_cap;
} vlk_pkl;

void vlk_pkl_init(vlk_pkl *k, const char *name, const unsigned char *p, size_t n);
void vlk_pkl_clear(vlk_pkl *k);
/* Runs from k->at to STOP, and returns the one value. Values live until vlk_pkl_clear. */
int vlk_pkl_run(vlk_pkl *k, const vlk_pkl_value **out, vlk_err *err) VLK_MUST_USE;
/* "the string "x"", "a list": for messages. Returns out. */
const char *vlk_pkl_describe(const vlk_pkl_value *v, char *out, size_t size);
int vlk_pkl_is(const vlk_pkl_value *v, const char *s); /* whether it is that string */
/* The value under a key of a DICT; NULL if there is none. */
const vlk_pkl_value *vlk_pkl_get(const vlk_pkl_value *dict, const char *key);

/* The dictionary of tensors in the object of a file (torch_state.c); NULL and err if there is none, or several. */
const vlk_pkl_value *vlk_torch_state(const vlk_pkl_value *root, const char *path, vlk_err *err);

/* For pickle_call.c. */
int vlk_pkl_bad(const vlk_pkl *k, vlk_err *err, const char *fmt, ...) VLK_PRINTF(3, 4);
vlk_pkl_value *vlk_pkl_make(vlk_pkl *k, vlk_pkl_kind kind, vlk_err *err) VLK_MUST_USE;
int vlk_pkl_append(vlk_pkl *k, vlk_pkl_value *seq, vlk_pkl_value *v, vlk_err *err) VLK_MUST_USE;
const vlk_pkl_value *vlk_pkl_at(const vlk_pkl_value *seq, size_t i); /* NULL after the end */
/* Each makes the value that the instruction leaves on the stack. */
int vlk_pkl_global(vlk_pkl *k, const char *module, size_t m, const char *name, size_t n, vlk_pkl_value **out,
                   vlk_err *err) VLK_MUST_USE;
int vlk_pkl_reduce(vlk_pkl *k, const vlk_pkl_value *f, const vlk_pkl_value *args, vlk_pkl_value **out,
                   vlk_err *err) VLK_MUST_USE;
int vlk_pkl_newobj(vlk_pkl *k, const vlk_pkl_value *cls, vlk_pkl_value **out, vlk_err *err) VLK_MUST_USE;
int vlk_pkl_build(vlk_pkl *k, vlk_pkl_value *v, vlk_pkl_value *state, vlk_err *err) VLK_MUST_USE;
int vlk_pkl_persid(vlk_pkl *k, const vlk_pkl_value *id, vlk_pkl_value **out, vlk_err *err) VLK_MUST_USE;

#endif
