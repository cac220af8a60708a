/* stream.h - bytes on disk and in pipes: files, tars, npy, json, lists, weights.
 * Everything read is checked before it is used; limits are checked from headers. */
#ifndef VLK_STREAM_H
#define VLK_STREAM_H

#include <time.h>

#include <signal.h>

#include "../base/base.h"

/* ---- files (file.c) ----------------------------------------------------------------------- */

/* A regular file mapped read-only; size 0 is legal (data is then NULL). */
typedef struct vlk_map {
    const unsigned char *data;
    size_t size;
} vlk_map;
int vlk_map_open(vlk_map *m, const char *path, vlk_err *err) VLK_MUST_USE;
void vlk_map_close(vlk_map *m);
/* Tells the system that these bytes of a map will not be needed again soon. Their resident pages are dropped, and read
 * from the file again if they are needed after all. Only for bytes of a map: other memory would lose its content. */
void vlk_map_release(const void *p, size_t n);

enum { VLK_IMAGE_FILE_MAX = 512 << 20 }; /* bytes of an image's file, and of a member of a tar */
/* Reads a whole file (a regular one, at most max bytes) into out, which is cleared first. */
int vlk_read_file(vlk_buf *out, const char *path, size_t max, vlk_err *err) VLK_MUST_USE;
/* The first bytes of a regular file, n at most. Returns how many; 0 too if there is none that can be read. */
size_t vlk_file_head(void *p, size_t n, const char *path);
/* DIR "/" NAME, or NAME if it is absolute. Free with free(). */
char *vlk_path_join(const char *dir, const char *name, vlk_err *err) VLK_MUST_USE;
/* The folder that contains the path's last component: what is before the last slash, "/" or ".". Free with free(). */
char *vlk_path_folder(const char *path, vlk_err *err) VLK_MUST_USE;

/* ---- bytes in (input.c, inflate.c) -------------------------------------------------------- */

/* A stream of bytes from a file, standard input ("-") or memory. gzip (several members) and zstd are recognised by
 * their first bytes and decompressed; CRCs are checked; a truncated stream is an error. */
typedef struct vlk_in vlk_in;
vlk_in *vlk_in_open(const char *path, vlk_err *err) VLK_MUST_USE;
/* Opening never waits for a pipe's writer; reading does, until *stop is not 0: then VLK_ESTOPPED. `stop` is borrowed.
 */
void vlk_in_set_stop(vlk_in *in, const volatile sig_atomic_t *stop);
vlk_in *vlk_in_memory(const void *p, size_t n, const char *name, vlk_err *err) VLK_MUST_USE; /* borrows p */
void vlk_in_close(vlk_in *in);
const char *vlk_in_name(const vlk_in *in); /* for messages: the path, or "standard input" */
/* Whether the bytes are compressed (gzip, zstd); known once something was read or peeked at. */
int vlk_in_packed(const vlk_in *in);
/* Up to n bytes; *got = 0 only at the clean end. 0 or -1. Retries on EINTR. */
int vlk_in_read(vlk_in *in, void *p, size_t n, size_t *got, vlk_err *err) VLK_MUST_USE;
/* The next bytes without consuming them, up to n <= 4096; fewer only at the end. */
int vlk_in_peek(vlk_in *in, const unsigned char **p, size_t n, size_t *got, vlk_err *err) VLK_MUST_USE;
/* One line without its end (LF or CRLF; CR in a file whose lines all end so), or one record up to `end` (NUL for -0).
 * 1, 0, -1. A leading UTF-8 byte order mark of the stream is dropped. A line longer than 1 MiB is -1 with VLK_ELIMIT;
 * the stream is then at the next line, so that the reader may continue. */
int vlk_in_line(vlk_in *in, vlk_buf *line, int end, vlk_err *err) VLK_MUST_USE;
/* For lists whose records end in newlines, also after VLK_ELIMIT: -1 with VLK_EFORMAT if line `number`, of which `line`
 * is the start at least, contains a NUL. Taken for one record it would lose those after its first NUL. */
int vlk_in_check_line(const vlk_buf *line, size_t number, const char *hint, vlk_err *err) VLK_MUST_USE;
/* Decompresses raw deflate (zip members), at most max bytes; out is cleared first. The data must use all n bytes. */
int vlk_inflate_raw(vlk_buf *out, const void *p, size_t n, size_t max, vlk_err *err) VLK_MUST_USE;
/* The same for the zlib format (texts in PNG), as lenient as its readers are: a truncated stream gives what it holds,
 * and bytes after its end are ignored. VLK_EFORMAT: damaged; VLK_ELIMIT: more than max bytes. */
int vlk_inflate_zlib(vlk_buf *out, const void *p, size_t n, size_t max, vlk_err *err) VLK_MUST_USE;

/* ---- bytes out (output.c) ----------------------------------------------------------------- */

/* A file that appears complete or not at all: it is written under a temporary name in the same folder, fsynced and
 * renamed. "-" is standard output, which is written directly, as are devices and named pipes. A folder is refused; of a
 * link, the target is replaced; a file without write permission is not replaced. */
typedef struct vlk_out vlk_out;
vlk_out *vlk_out_open(const char *path, vlk_err *err) VLK_MUST_USE;
/* The name of the temporary is deterministic (".NAME.vlk-tmp"), so that a rerun after a kill replaces it and none is
 * left over. Two runs at once on one output: the second is refused (a lock on the temporary). */
int vlk_out_write(vlk_out *o, const void *p, size_t n, vlk_err *err) VLK_MUST_USE;
int vlk_out_flush(vlk_out *o, vlk_err *err) VLK_MUST_USE;
/* Overwrites n bytes at `offset` of what was written; only files, not standard output. */
int vlk_out_patch(vlk_out *o, size_t offset, const void *p, size_t n, vlk_err *err) VLK_MUST_USE;
int vlk_out_can_seek(const vlk_out *o);
int vlk_out_is_terminal(const vlk_out *o);
size_t vlk_out_tell(const vlk_out *o);      /* bytes written so far */
const char *vlk_out_name(const vlk_out *o); /* for messages */
/* Flush, fsync, rename, fsync of the folder; frees o in any case. */
int vlk_out_commit(vlk_out *o, vlk_err *err) VLK_MUST_USE;
/* Files that belong together, o[0] the main one, which is never seen beside neighbours of another set: all are complete
 * on disk before any gets its name, the old main file goes first, and the new one comes last. Frees all in any case. */
int vlk_out_commit_set(vlk_out *const *o, size_t n, vlk_err *err) VLK_MUST_USE;
/* The file's time of modification will be this one. */
void vlk_out_date(vlk_out *o, const struct timespec *when);
/* vlk_digest of what was written so far; only files. */
int vlk_out_digest(vlk_out *o, char out[65], vlk_err *err) VLK_MUST_USE;
/* Removes the temporary and frees o; NULL is allowed. Standard output is flushed. */
void vlk_out_abort(vlk_out *o);

/* ---- digests (digest.c) --------------------------------------------------------------------------- */

/* SHA-256, in hex, of a file of `size` bytes: of all of it up to 256 KiB, else of 64 blocks at even distances. */
typedef int vlk_read_at(void *arg, void *to, size_t n, size_t at, vlk_err *err);
int vlk_digest(char out[65], size_t size, vlk_read_at *read, void *arg, vlk_err *err) VLK_MUST_USE;
int vlk_map_digest(vlk_map *m, char out[65], vlk_err *err) VLK_MUST_USE;

/* ---- npy (npy.c, npy_write.c), keys (keys.c) -------------------------------------------- */

/* A matrix or tensor of a .npy file, mapped: f2 f4 f8 i4 i8 u1, C and Fortran order, versions 1 to 3; big-endian
 * numbers are refused. t.data points into the map (strides tell the order). */
typedef struct vlk_npy {
    vlk_map map;
    vlk_tensor t;
} vlk_npy;
int vlk_npy_open(vlk_npy *n, const char *path, vlk_err *err) VLK_MUST_USE;
void vlk_npy_close(vlk_npy *n);
/* Parses bytes already in memory (members of a tar). *t points into p. */
int vlk_npy_parse(vlk_tensor *t, const void *p, size_t n, const char *name, vlk_err *err) VLK_MUST_USE;
/* Appends a whole v1.0 .npy to `out`: type F32, F16, I32, I64 or U8. */
int vlk_npy_encode(vlk_buf *out, vlk_dtype type, const size_t *dim, int rank, const void *data,
                   vlk_err *err) VLK_MUST_USE;

/* Writes rows as they come and fills in the number of rows at the end. */
typedef struct vlk_npy_writer vlk_npy_writer;
/* Rows of the shape dim[0..rank-1] (rank 1: a matrix). Output must be a file. */
vlk_npy_writer *vlk_npy_writer_open(const char *path, vlk_dtype type, const size_t *dim, int rank,
                                    vlk_err *err) VLK_MUST_USE;
int vlk_npy_write_rows(vlk_npy_writer *w, const void *rows, size_t n, vlk_err *err) VLK_MUST_USE;
/* The complete matrix as an output of the caller's, to be committed, with others or alone; NULL with err. Frees w in
 * any case. */
vlk_out *vlk_npy_writer_finish(vlk_npy_writer *w, vlk_err *err) VLK_MUST_USE;
void vlk_npy_writer_abort(vlk_npy_writer *w);

/* Keys and TSV fields: backslash, tab, newline and carriage return become \\ \t \n \r. */
int vlk_escape(vlk_buf *out, const char *s, size_t n, vlk_err *err) VLK_MUST_USE; /* appends */
int vlk_unescape(vlk_buf *out, const char *s, size_t n,
                 vlk_err *err) VLK_MUST_USE; /* appends; bad escapes stay as they are */

/* X.keys: one escaped key per line. Mapped, with an index of line starts; takes 8 bytes of memory per key. */
typedef struct vlk_keys vlk_keys;
vlk_keys *vlk_keys_open(const char *path, vlk_err *err) VLK_MUST_USE;
void vlk_keys_close(vlk_keys *k);
size_t vlk_keys_count(const vlk_keys *k);
void vlk_keys_hash(const vlk_keys *k, char out[65]); /* SHA-256 of the file */
int vlk_keys_get(const vlk_keys *k, size_t i, vlk_buf *out,
                 vlk_err *err) VLK_MUST_USE; /* unescaped; out is cleared first */

/* ---- json (json.c reads: the only place that knows the JSON library; json_write.c) ------------ */

typedef struct vlk_json vlk_json;
typedef enum vlk_json_kind {
    VLK_JSON_NULL,
    VLK_JSON_BOOL,
    VLK_JSON_INT,
    VLK_JSON_REAL,
    VLK_JSON_STRING,
    VLK_JSON_ARRAY,
    VLK_JSON_OBJECT
} vlk_json_kind;

/* What a text is. All have limits, checked before anything is parsed. */
typedef enum vlk_json_use {
    VLK_JSON_FILE,   /* a file of a model or of ours: 16 MiB, 1,000,000 values */
    VLK_JSON_SAMPLE, /* of one sample, or one row of a list: 16 MiB, 200,000 values; many may be in memory at once */
    VLK_JSON_HEADER  /* of safetensors: 100,000,000 bytes, 500,000 values, RFC 8259 to the letter */
} vlk_json_use;

/* Parses a whole document: duplicate keys, trailing bytes, bad UTF-8 and nesting deeper than 512 are errors that name
 * `name` and the line. An integer beyond 64 bits makes the document's integers real, so that vlk_json_int still reads
 * those that fit into 53 bits. NaN, Infinity and lone surrogates, which Python writes, are errors in headers; elsewhere
 * they are values that nobody gets: no number, no string. Free with vlk_json_free (roots only). */
vlk_json *vlk_json_parse_as(const char *s, size_t n, vlk_json_use use, const char *name, vlk_err *err) VLK_MUST_USE;
/* As VLK_JSON_FILE. */
vlk_json *vlk_json_parse(const char *s, size_t n, const char *name, vlk_err *err) VLK_MUST_USE;
vlk_json *vlk_json_load(const char *path, vlk_err *err) VLK_MUST_USE;
void vlk_json_free(vlk_json *j);
/* Everything below accepts NULL, and then returns NULL, 0 or the default. */
vlk_json_kind vlk_json_type(const vlk_json *j);
const vlk_json *vlk_json_get(const vlk_json *obj, const char *key);
const vlk_json *vlk_json_at(const vlk_json *arr, size_t i);
size_t vlk_json_len(const vlk_json *j); /* elements of an array or object */
/* NULL if it is not a string; len may be NULL, but then a string that contains a NUL byte gives NULL, too. */
const char *vlk_json_str(const vlk_json *j, size_t *len);
/* The value in a few words, for messages: "7", "NaN", "a list". Returns out. */
const char *vlk_json_describe(const vlk_json *j, char *out, size_t size);
/* An integer in [min, max] (1.0 counts, "1" and true do not). 0 or -1; err names `what`. */
int vlk_json_int(const vlk_json *j, int64_t min, int64_t max, int64_t *out, const char *what,
                 vlk_err *err) VLK_MUST_USE;
int vlk_json_num(const vlk_json *j, double *out, const char *what, vlk_err *err) VLK_MUST_USE;
int vlk_json_bool(const vlk_json *j, int *out, const char *what, vlk_err *err) VLK_MUST_USE;
/* Members in file order: it = NULL to begin; NULL at the end. */
const void *vlk_json_next(const vlk_json *obj, const void *it, const char **key, const vlk_json **value);
/* Appends s as a JSON string with quotes; bytes that are not UTF-8 become \udcXX (surrogateescape). */
int vlk_json_quote(vlk_buf *out, const char *s, size_t n, vlk_err *err) VLK_MUST_USE;
/* What changes when a document is written again. `in` is the name of the member that the object is, "" for the document
 * and "[]" for an object in a list; `text` is room for a value as JSON. */
enum { VLK_JSON_TEXT = 64 };
typedef struct vlk_json_edits {
    /* The new value of a member that is no object and no list; NULL: it stays. */
    const char *(*changed)(void *arg, const char *in, const char *key, const vlk_json *value, char text[VLK_JSON_TEXT]);
    /* The name of a member that is put first into an object that is not empty, and its value into text; NULL: none. */
    const char *(*added)(void *arg, const char *in, const vlk_json *object, char text[VLK_JSON_TEXT]);
    void *arg;
} vlk_json_edits;
/* Appends a value, indented by 2, one member per line, without a newline at the end. edits may be NULL. */
int vlk_json_write(vlk_buf *out, const vlk_json *j, const vlk_json_edits *edits, vlk_err *err) VLK_MUST_USE;

/* ---- weights (weights.c, safetensors.c, torch.c; zip.c, pickle*.c) ---------------------- */

/* The named tensors of a checkpoint in any container: .safetensors, PyTorch's zip, its
 * format before 1.6, TorchScript archives, sharded by *.index.json. Nothing is executed, and only headers are read:
 * data points into mapped files (strided tensors are views); of deflated tensors it is NULL until vlk_weights_unpack.
 */
typedef struct vlk_weights vlk_weights;

typedef enum vlk_container { VLK_SAFETENSORS, VLK_TORCH_ZIP, VLK_TORCH_LEGACY, VLK_TORCHSCRIPT } vlk_container;

/* `path` is a weights file, recognised by its content, or an index (*.index.json; its shards are beside it, and their
 * names may not leave the folder; index and shards must agree). In a PyTorch file the only dictionary of tensors is
 * taken, wherever it is; of several, one under "state_dict" or "model" (torch_state.c). The names of PyTorch's wrappers
 * ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.") are taken out of the names. TorchScript: names
 * are attribute paths; all tensors are kept, including input_resolution, context_length, vocab_size and attn_mask.
 * Refused with the reason: what is not a checkpoint, is truncated, overlaps (including strides that reach an element
 * twice), or names anything but tensors. */
vlk_weights *vlk_weights_open(const char *path, vlk_err *err) VLK_MUST_USE;
void vlk_weights_close(vlk_weights *w);
size_t vlk_weights_count(const vlk_weights *w);
const vlk_tensor *vlk_weights_at(const vlk_weights *w, size_t i);           /* in the file's order */
const vlk_tensor *vlk_weights_find(const vlk_weights *w, const char *name); /* NULL if there is none */
/* The length of a prefix that all names have: `after` bytes of it, known from an earlier call, and one more component
 * with its dot ("model."). 0: there is none. */
size_t vlk_weights_prefix(const vlk_weights *w, size_t after);
/* Takes such a prefix off all names. */
void vlk_weights_cut(vlk_weights *w, size_t n);
/* Decompresses the deflated storages of the tensors that are used (by index; NULL: all). To be called after names and
 * shapes were checked: a storage that is mostly in none of them is refused. */
int vlk_weights_is_packed(const vlk_weights *w); /* whether there are any */
int vlk_weights_unpack(vlk_weights *w, const unsigned char *used, vlk_err *err) VLK_MUST_USE;
vlk_container vlk_weights_container(const vlk_weights *w);
const char *vlk_weights_path(const vlk_weights *w); /* of the file or index */
/* The files it consists of (shards), for hashes and sizes. */
size_t vlk_weights_files(const vlk_weights *w);
const char *vlk_weights_file(const vlk_weights *w, size_t i, size_t *bytes);
/* The mapped file that contains the address (its pages can be dropped and read again); NULL: memory of our own. */
const vlk_map *vlk_weights_map_of(const vlk_weights *w, const void *data);
/* Drops the pages of the mapped files that were read so far; they come back when they are read again. Reading only the
 * start of each tensor already maps more than that: the page cache's folios have up to 2 MiB. */
void vlk_weights_drop_pages(const vlk_weights *w);

/* Writing safetensors (safetensors_write.c). */
typedef struct vlk_meta { /* an entry of __metadata__ */
    const char *key, *value;
} vlk_meta;
/* Writes dense tensors as one file that appears complete or not at all. The same arguments give the same bytes: tensors
 * are ordered by decreasing size of type, then by name, so that each is aligned to its type (the header is padded to
 * 8). `floats` is the type that float tensors are stored in: VLK_F32, VLK_F16, VLK_BF16, or VLK_DTYPES: each as it is.
 * VLK_EVALUE if a finite number does not fit into f16. Names must be valid UTF-8 and distinct. */
int vlk_safetensors_write(const char *path, const vlk_tensor *t, size_t n, vlk_dtype floats, const vlk_meta *meta,
                          size_t metas, vlk_err *err) VLK_MUST_USE;
/* Appends the value of `key` in the file's __metadata__. 1; 0 there is none; -1. */
int vlk_safetensors_meta(const char *path, const char *key, vlk_buf *out, vlk_err *err) VLK_MUST_USE;

/* ---- tar (tar.c, tar_sample.c, tar_write.c) --------------------------------------------- */

/* One member: its raw header blocks (including the pax and GNU records that belong to it) and its data. */
typedef struct vlk_tar_member {
    const char *name;          /* long names resolved; bytes as stored */
    char type;                 /* '0' a file, '5' a folder, '1' '2' links ... as in ustar */
    size_t size;               /* bytes of data */
    const unsigned char *head; /* the raw header blocks */
    size_t head_size;
    const unsigned char *data; /* size bytes, then padding up to a block: data_padded in all */
    size_t data_padded;
    size_t offset; /* of its first block in the (decompressed) archive */
} vlk_tar_member;

typedef struct vlk_tar vlk_tar;
vlk_tar *vlk_tar_open(vlk_in *in, vlk_err *err) VLK_MUST_USE; /* borrows in */
void vlk_tar_close(vlk_tar *t);
/* The next member with its data in memory (at most VLK_IMAGE_FILE_MAX). 1; 0 at the end mark; -1: a bad checksum, a
 * truncated member, a missing end mark. */
int vlk_tar_next(vlk_tar *t, vlk_tar_member *m, vlk_err *err) VLK_MUST_USE;

/* Whether these 512 bytes begin a tar, intact or damaged: ustar's magic, a correct checksum, or an end mark. */
int vlk_tar_probe(const unsigned char *p, size_t n);

/* WebDataset: a sample is the adjacent members with the same key. The key is the path up to the first dot of the
 * basename, the rest is the extension. Folders, hidden files and members without an extension belong to no sample; a
 * few of them between members with the same key do not split the sample. Links and sparse members with an extension are
 * parts of their sample, but vlk_sample_part_find never finds them: their bytes are not in the archive as they are. So
 * an image that is a link is an item that fails, not one that goes missing. */
enum { VLK_TAR_TOO_LARGE = '+', VLK_SAMPLE_MAX = 1 << 30 /* bytes */ };
typedef struct vlk_sample_part {
    char *name, *ext;           /* ext points past the first dot of the basename; "" if there is none */
    char type;                  /* '0' a file; '1' '2' links, 'S' sparse ... as in vlk_tar_member; or too large */
    unsigned char *head, *data; /* a NUL follows data_padded bytes of data */
    size_t head_size, size, data_padded;
    size_t offset; /* of its data in the (decompressed) archive */
} vlk_sample_part;
typedef struct vlk_sample { /* owned by the caller, reused by each call; starts as {0} */
    char *key;              /* "" if keyless */
    vlk_sample_part *part;
    size_t parts, cap;
    size_t offset; /* of its first header block */
    int keyless;   /* a folder, a hidden file, a member without extension: only to be passed on */
    vlk_buf store;
} vlk_sample;
/* The next sample in order. 1, 0, -1. At most 1024 members per sample; a member beyond VLK_IMAGE_FILE_MAX, or with
 * which the sample is beyond VLK_SAMPLE_MAX, is VLK_TAR_TOO_LARGE and has no data. If the archive is broken after
 * complete members of a sample, that sample is returned first, and the error by the next call. */
int vlk_tar_sample(vlk_tar *t, vlk_sample *s, vlk_err *err) VLK_MUST_USE;
void vlk_sample_clear(vlk_sample *s);
/* The file with that extension ("png", "clip.npy"), case-insensitive; NULL if there is none. */
const vlk_sample_part *vlk_sample_part_find(const vlk_sample *s, const char *ext);

/* Writing: existing members byte for byte (VLK_ELIMIT for one that was too large to be read), and members of our own
 * (ustar; pax for long names; mtime, owner 0). */
int vlk_tar_put_raw(vlk_out *o, const vlk_sample_part *p, vlk_err *err) VLK_MUST_USE;
int vlk_tar_put(vlk_out *o, const char *name, const void *data, size_t n, vlk_err *err) VLK_MUST_USE;
int vlk_tar_put_end(vlk_out *o, vlk_err *err) VLK_MUST_USE; /* two zero blocks, then to 10240 */

/* ---- lists (list*.c) -------------------------------------------------------------------- */

/* Rows of path and caption(s): TSV (path<TAB>caption), CSV with a header (image|filepath|path|file_name,
 * caption|title|text; quoted fields), JSONL, and the JSON lists of ALBEF/BLIP ({"image","caption"}, caption a
 * string or a list), COCO ({"images","annotations"}) and LAION (url/path, caption). The kind is recognised by the
 * suffix, or by the content. Memory does not grow with the number of rows, except for COCO's images table. */
typedef enum vlk_list_kind {
    VLK_LIST_AUTO,
    VLK_LIST_TSV,
    VLK_LIST_CSV,
    VLK_LIST_JSONL,
    VLK_LIST_JSON,
    VLK_LIST_NAMES,
    VLK_LIST_NAMES0
} vlk_list_kind;
typedef struct vlk_row_place {
    size_t line;       /* where the row begins; 1 is the first */
    size_t number;     /* JSON: of the element in its list, from 1; else 0 */
    const char *table; /* COCO: "images" or "annotations", the list that it is in; else NULL */
} vlk_row_place;
typedef struct vlk_row { /* owned by the caller, reused; starts as {0} */
    vlk_buf path;        /* as written; relative to the list's folder */
    vlk_buf text;        /* captions, each followed by a NUL */
    size_t captions;
    vlk_row_place at; /* of bad rows too */
} vlk_row;
typedef struct vlk_list vlk_list;
/* Where path and caption are, instead of by the names above: a column by its name in any case or its number from 1, a
 * member of JSON by its name. NULL: by the names above. */
typedef struct vlk_list_columns {
    const char *path, *text; /* borrowed */
    char separator;          /* of CSV; 0: a tab if the header has one, else a comma */
} vlk_list_columns;
vlk_list *vlk_list_open(const char *path, vlk_list_kind kind, vlk_err *err) VLK_MUST_USE; /* "-" is standard input */
vlk_list *vlk_list_from(vlk_in *in, vlk_list_kind kind, vlk_err *err) VLK_MUST_USE;       /* borrows in */
void vlk_list_close(vlk_list *l);
void vlk_list_choose(vlk_list *l, const vlk_list_columns *c); /* before the first row */
/* 1 a row; 0 the end; -1 the list is broken; 2 a row that is not usable (err says which line and why): an item that
 * failed; continue. */
int vlk_list_next(vlk_list *l, vlk_row *row, vlk_err *err) VLK_MUST_USE;
void vlk_row_clear(vlk_row *row);
/* Appends the name of a row that cannot be used: "LIST:LINE"; of JSON, which may be one line, "LIST:NUMBER", or in
 * COCO's tables "LIST:TABLE:NUMBER". */
int vlk_row_name(vlk_buf *out, const char *list, const vlk_row *row, vlk_err *err) VLK_MUST_USE;

/* ---- folders (folder.c) ----------------------------------------------------------------------- */

/* Files below a folder, recursively, sorted by the bytes of their path, names as "DIR/sub/x.png". Links to files
 * are followed, links to folders too, but no folder twice on one path (loops). Hidden files are listed as others.
 * What cannot be read (dangling link, no permission) is given with its error. */
typedef struct vlk_folder vlk_folder;
vlk_folder *vlk_folder_open(const char *path, vlk_err *err) VLK_MUST_USE;
void vlk_folder_close(vlk_folder *f);
/* 1: *path a file; 2: *path could not be looked at (err); 0 the end; -1. Borrowed until the next call. */
int vlk_folder_next(vlk_folder *f, const char **path, vlk_err *err) VLK_MUST_USE;

/* ---- locks and leftovers (lock.c), folders as wholes (tree.c) ---------------------------------- */

/* The end of a name under which something is written, and of one that waits for its removal; both begin with a dot. */
#define VLK_TMP_SUFFIX ".vlk-tmp"
#define VLK_OLD_SUFFIX ".vlk-old"

/* Locks an open file or folder until it is closed or the process ends. 0; 1: another process has it. On file systems
 * that know no locks (some network ones): 0, without a lock. */
int vlk_lock(int fd) VLK_MUST_USE;
/* Removes .NAME.vlk-tmp and .NAME.vlk-old from the open folder `dir`, whose lock the caller has, for each NAME (n
 * bytes) that is its own; but not a file that another process has locked, as an output is while it is written
 * (output.c). `path` is the folder's, for messages. */
typedef int vlk_own_fn(const char *name, size_t n);
int vlk_remove_leftovers(int dir, vlk_own_fn *is_own, const char *path, vlk_err *err) VLK_MUST_USE;

/* `name` in the open folder dir, with all that is in it: removed (links are not followed); written to disk. */
int vlk_tree_remove(int dir, const char *name, const char *path, vlk_err *err) VLK_MUST_USE;
int vlk_tree_sync(int dir, const char *name, const char *path, vlk_err *err) VLK_MUST_USE;
/* Calls fn for each name in the folder but . and .. ; ends early where fn returns -1. */
typedef int vlk_names_fn(void *arg, const char *name, vlk_err *err);
int vlk_tree_names(int dir, vlk_names_fn *fn, void *arg, const char *path, vlk_err *err) VLK_MUST_USE;

#endif
