/* base.h - what every other layer uses: errors, memory, numbers, threads.
 *
 * Ownership, for all of the library: what a prototype does not declare owned is borrowed, until
 * the next call on the same handle. If the caller must free memory, the prototype names the function that frees it.
 * The library never prints, exits or asserts on outside data.
 *
 * Outcomes: functions that can fail return 0 or -1 (readers: 1 for an item, 0 for a clean end, -1 for an error)
 * or a pointer or NULL, and fill the vlk_err passed to them. */
#ifndef VLK_BASE_H
#define VLK_BASE_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#define VLK_VERSION "0.1.0"

#if defined(__GNUC__)
#define VLK_MUST_USE __attribute__((warn_unused_result))
#define VLK_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define VLK_MUST_USE
#define VLK_PRINTF(fmt, args)
#endif

/* ---- errors ------------------------------------------------------------------------------- */

typedef enum vlk_code {
    VLK_OK = 0,
    VLK_EUSAGE,       /* the caller asked for something that makes no sense */
    VLK_EIO,          /* the system refused: open, read, write, disk full */
    VLK_EFORMAT,      /* bytes that are not what they claim to be */
    VLK_EMODEL,       /* a checkpoint or config that does not fit or is inconsistent */
    VLK_ELIMIT,       /* larger than a limit allows */
    VLK_EMEM,         /* no memory */
    VLK_EUNSUPPORTED, /* well-formed, but not supported */
    VLK_EVALUE,       /* a number that is not finite */
    VLK_ESTOPPED      /* the caller's `stop` was set */
} vlk_code;

/* One sentence that names the file or item, what was expected and what was found. */
typedef struct vlk_err {
    vlk_code code;
    char msg[1024];
} vlk_err;

/* Fills err (NULL is allowed) and returns -1, so that `return vlk_fail(err, ...)` reads well.
 * Bytes outside printable UTF-8 in the sentence are written as \xNN: names come from outside. */
int vlk_fail(vlk_err *err, vlk_code code, const char *fmt, ...) VLK_PRINTF(3, 4);
/* As vlk_fail, with ": " and the text of errno after the sentence; the code is VLK_EIO. */
int vlk_fail_errno(vlk_err *err, const char *fmt, ...) VLK_PRINTF(2, 3);
/* Puts "PREFIX: " in front of the sentence already in err; returns -1. */
int vlk_err_prefix(vlk_err *err, const char *fmt, ...) VLK_PRINTF(2, 3);

/* ---- memory ------------------------------------------------------------------------------- */

/* n * size bytes, zeroed, overflow checked. NULL and err if there is no memory. Free with free(). */
void *vlk_calloc(size_t n, size_t size, vlk_err *err) VLK_MUST_USE;
/* A copy of n bytes, followed by a NUL. Free with free(). */
char *vlk_strndup(const char *s, size_t n, vlk_err *err) VLK_MUST_USE;
/* Makes *p hold at least `need` elements of `size` bytes; *cap is its current capacity in elements.
 * Grows geometrically; new elements are not zeroed. */
int vlk_grow(void *p, size_t *cap, size_t need, size_t size, vlk_err *err) VLK_MUST_USE;
/* *out = a * b, or -1 if the product does not fit. */
int vlk_mul(size_t a, size_t b, size_t *out) VLK_MUST_USE;

/* A growing byte buffer. Start from {0}; clear with vlk_buf_clear. If data is not NULL, a NUL follows the len bytes, so
 * text can be read as a string. */
typedef struct vlk_buf {
    char *data;
    size_t len, cap;
} vlk_buf;

int vlk_buf_reserve(vlk_buf *b, size_t more, vlk_err *err) VLK_MUST_USE; /* room for len+more and NUL */
int vlk_buf_add(vlk_buf *b, const void *p, size_t n, vlk_err *err) VLK_MUST_USE;
int vlk_buf_adds(vlk_buf *b, const char *s, vlk_err *err) VLK_MUST_USE;
int vlk_buf_addf(vlk_buf *b, vlk_err *err, const char *fmt, ...) VLK_PRINTF(3, 4) VLK_MUST_USE;
void vlk_buf_clear(vlk_buf *b); /* frees; b becomes {0} */

/* Memory that is freed all at once: activations of a tower, names of a checkpoint. Blocks are
 * aligned to 64 bytes, not zeroed, and 64 bytes apart, which AddressSanitizer poisons.
 * Not safe to share between threads. */
typedef struct vlk_arena vlk_arena;
typedef struct vlk_mark {
    size_t chunk, used;
} vlk_mark;

vlk_arena *vlk_arena_new(size_t chunk_bytes, vlk_err *err) VLK_MUST_USE;
void vlk_arena_free(vlk_arena *a);
void *vlk_arena_alloc(vlk_arena *a, size_t bytes, vlk_err *err) VLK_MUST_USE;
vlk_mark vlk_arena_mark(const vlk_arena *a);
void vlk_arena_reset(vlk_arena *a, vlk_mark m); /* what was allocated since m is gone; chunks stay */
size_t vlk_arena_peak(const vlk_arena *a);      /* the most bytes ever in use */

/* ---- numbers ------------------------------------------------------------------------------ */

typedef enum vlk_dtype {
    VLK_F32 = 0,
    VLK_F16,
    VLK_BF16,
    VLK_F64,
    VLK_I64,
    VLK_I32,
    VLK_I16,
    VLK_I8,
    VLK_U8,
    VLK_BOOL,
    VLK_DTYPES
} vlk_dtype;

#define VLK_MAX_RANK 8

size_t vlk_dtype_size(vlk_dtype t);
const char *vlk_dtype_name(vlk_dtype t); /* safetensors' names: "F32", "BF16" ... */
int vlk_dtype_is_float(vlk_dtype t);
float vlk_f16_to_f32(uint16_t h);
uint16_t vlk_f32_to_f16(float f); /* round to nearest even; too large becomes infinite */
float vlk_bf16_to_f32(uint16_t b);
uint16_t vlk_f32_to_bf16(float f); /* round to nearest even; NaN stays NaN */
/* n elements of a float type to f32; src need not be aligned. */
void vlk_to_f32(float *dst, const void *src, vlk_dtype t, size_t n);

/* A view of numbers owned by somebody else: a mapped weight, a matrix in a file. Strides are in
 * elements; a row-major dense tensor has stride[rank-1] = 1. Data need not be aligned. */
typedef struct vlk_tensor {
    const char *name; /* as the file spells it */
    const void *data;
    vlk_dtype dtype;
    int rank; /* 0 is a scalar */
    size_t dim[VLK_MAX_RANK];
    size_t stride[VLK_MAX_RANK];
    int mapped; /* data lies in a read-only mapping of a file: its pages may be given back once they were read */
} vlk_tensor;

size_t vlk_tensor_count(const vlk_tensor *t); /* elements; readers have checked that it fits */
int vlk_tensor_is_dense(const vlk_tensor *t);
/* "[768,3,32,32]" into out; returns out. */
const char *vlk_shape_text(const size_t *dim, int rank, char *out, size_t size);
void vlk_tensor_set_dense(vlk_tensor *t); /* row-major strides from dim */

/* Unsigned decimal in [min, max]; the whole of s must be the number. */
int vlk_parse_u64(const char *s, uint64_t min, uint64_t max, uint64_t *out) VLK_MUST_USE;
/* A finite decimal in [min, max], without spaces around it, independent of the locale. */
int vlk_parse_f64(const char *s, double min, double max, double *out) VLK_MUST_USE;
/* The shortest decimal with at least 6 digits that reads back as x. Returns out. */
enum { VLK_F64_TEXT = 32 };
const char *vlk_f64_text(double x, char out[VLK_F64_TEXT]);
/* The same without that minimum: 100000 is 1e+05. */
const char *vlk_f64_shortest(double x, char out[VLK_F64_TEXT]);

/* ---- hashes, text ------------------------------------------------------------------------- */

uint64_t vlk_fnv1a64(const void *p, size_t n); /* of keys: --shard */
/* For tables in memory whose keys come from outside: a hash from a start that differs from run to run, so that nobody
 * can choose keys that collide, which would make a file of 3 MB take a minute. No result may depend on it. */
uint64_t vlk_table_seed(void);
uint64_t vlk_table_hash(uint64_t seed, const void *p, size_t n);

typedef struct vlk_sha256 {
    uint32_t h[8];
    uint64_t bytes;
    unsigned char block[64];
    int fast; /* the CPU has SHA instructions */
} vlk_sha256;

void vlk_sha256_init(vlk_sha256 *s);
void vlk_sha256_add(vlk_sha256 *s, const void *p, size_t n);
void vlk_sha256_hex(vlk_sha256 *s, char out[65]); /* ends the hash */

/* Length in bytes (1-4) of the UTF-8 character at s, of n bytes; 0 if there is none: truncated, overlong,
 * surrogate, above U+10FFFF. *cp gets the code point (cp may be NULL). */
int vlk_utf8_next(const char *s, size_t n, uint32_t *cp);
int vlk_utf8_put(uint32_t cp, char out[4]);     /* returns the number of bytes */
size_t vlk_utf8_valid(const char *s, size_t n); /* length of the valid prefix; n if all of it is valid */
/* Length of the character at s if a terminal shows it and does nothing else; 0: it is not valid UTF-8, a control (C0,
 * DEL, C1), ends a line, or changes the direction of the text around it. */
int vlk_utf8_visible(const char *s, size_t n);
/* Appends text for a terminal: each byte of what is not visible is written \xNN. */
int vlk_buf_visible(vlk_buf *out, const char *s, size_t n, vlk_err *err) VLK_MUST_USE;

/* ---- random numbers (random.c) --------------------------------------------------------------- */

/* Numbers are a function of a key and a position, not of earlier draws: threads, chunks, checkpointed blocks,
 * ranks and resumed runs see the same ones. The key of a draw is {seed, step or epoch, sample, vlk_random_for(use,
 * ordinal)}; the position is the element. Integers are the same on every platform; normals go through libm's log, cos
 * and sin. */
typedef enum vlk_random_use { /* two uses never share a key */
                              VLK_RANDOM_INIT = 1,
                              VLK_RANDOM_ORDER,
                              VLK_RANDOM_CAPTION,
                              VLK_RANDOM_AUGMENT,
                              VLK_RANDOM_DROPOUT,
                              VLK_RANDOM_PATCHES, /* patch dropout */
                              VLK_RANDOM_NEGATIVE,
                              VLK_RANDOM_OTHER
} vlk_random_use;
/* The fourth word of a key: the use and, within it, the ordinal (below 2^56) of the call or tensor. */
static inline uint64_t vlk_random_for(vlk_random_use use, uint64_t ordinal)
{
    return (uint64_t)use << 56 | (ordinal & (UINT64_MAX >> 8));
}

uint64_t vlk_random_u64(const uint64_t key[4], uint64_t place);
double vlk_random_uniform(const uint64_t key[4], uint64_t place);             /* [0, 1), 53 bits */
uint64_t vlk_random_below(const uint64_t key[4], uint64_t place, uint64_t n); /* [0, n), all equally likely; n > 0 */
double vlk_random_normal(const uint64_t key[4], uint64_t place); /* mean 0, standard deviation 1 (Box-Muller) */
/* out[i] = vlk_random_u64(key, from + i), faster. */
void vlk_random_fill(const uint64_t key[4], uint64_t from, uint64_t *out, size_t n);
/* p becomes a permutation of 0..n-1, each of the n! equally likely to the extent that the numbers are uniform. */
void vlk_random_permutation(const uint64_t key[4], uint32_t *p, size_t n);
/* Shuffles the n values of p. */
void vlk_random_shuffle(const uint64_t key[4], uint32_t *p, size_t n);

/* ---- threads ------------------------------------------------------------------------------ */

/* Cores that this process may use: affinity mask and cgroup quota, at least 1. */
int vlk_cpu_count(void);

/* A pool cuts work into tasks whose number and content do not depend on the number of threads, so
 * results have the same bits for any -j. The caller is one of the threads. */
typedef struct vlk_pool vlk_pool;
/* task: 0..ntasks-1; thread: 0..nthreads-1, for per-thread scratch. */
typedef void vlk_pool_fn(void *arg, size_t task, int thread);

vlk_pool *vlk_pool_new(int nthreads, vlk_err *err) VLK_MUST_USE;
void vlk_pool_free(vlk_pool *p);
int vlk_pool_threads(const vlk_pool *p);
/* Runs fn for each task and returns when all are done. A thread starts with its own range of adjacent tasks, in order,
 * then takes tasks from the other threads. Not reentrant: a task must not call it. */
void vlk_pool_run(vlk_pool *p, vlk_pool_fn *fn, void *arg, size_t ntasks);

#endif
