/* dataset_internal.h - the dataset of training samples, as its files share it.
 *
 *   entry    32 bytes per sample: where its image lies, and where its texts begin
 *   text     one run of bytes for all samples: [length, bytes, NUL] of the key, each caption, each negative, the label
 *   shard    what samples lie in: a tar, or files one after another
 *   held     encoded images of packed tars: in memory up to a limit, the rest in an unlinked file
 *
 * Of a bad sample the texts are the key, the stage and the reason. Lengths are 7 bits a byte, low ones first. */
#ifndef VLK_DATASET_INTERNAL_H
#define VLK_DATASET_INTERNAL_H

#include <sys/types.h>
#include <time.h>

#include "feed_internal.h"
#include "sample_internal.h"

typedef enum vlk_place { VLK_IN_FILE, VLK_IN_TAR, VLK_IN_MEMORY, VLK_IN_SPILL, VLK_NOWHERE } vlk_place;

typedef struct vlk_entry {
    uint64_t offset; /* of the image in its tar, memory or file; NOWHERE: the vlk_code */
    uint64_t text;
    uint32_t size; /* of the image */
    uint32_t shard;
    uint16_t captions, negatives;
    uint8_t place; /* vlk_place */
    uint8_t label; /* 1: a text of its class follows the negatives: '#' and a number, or '=' and a name */
} vlk_entry;

typedef struct vlk_shard {
    char *path; /* of the tar; files: the folder that keys are relative to, or NULL */
    int fd;     /* of a plain tar that is kept open; else -1 */
    off_t size; /* of a plain tar, when it was opened */
    struct timespec time;
} vlk_shard;

typedef struct vlk_dataset_source_info {
    char *name;
    size_t first, shard; /* its first sample, its first shard */
} vlk_dataset_source_info;

struct vlk_dataset {
    vlk_dataset_options opt; /* operand is not valid any more once it is open */
    vlk_entry *entry;
    size_t entries, entry_cap;
    vlk_buf text;
    vlk_shard *shard;
    size_t *shard_samples; /* one a shard */
    size_t shards, shard_cap, samples_cap;
    vlk_dataset_source_info *source;
    size_t sources, source_cap;
    vlk_buf held;
    int spill; /* its file, or -1 */
    uint64_t spilled;
    size_t open_shards;
    vlk_dataset_sizes sizes;
};

/* Building returns 0; -1: no memory, no room, stopped; 1: the source is broken (err says why). Here err is never NULL.
 */

/* dataset.c: a sample begins with its key; texts are added; it ends with its image, or with what is wrong with it. */
int vlk_dataset_begin(vlk_dataset *ds, const char *key, size_t n, vlk_err *err) VLK_MUST_USE;
int vlk_dataset_text(vlk_dataset *ds, const char *s, size_t n, vlk_err *err) VLK_MUST_USE;
int vlk_dataset_end(vlk_dataset *ds, const vlk_entry *e, vlk_err *err) VLK_MUST_USE;
int vlk_dataset_end_bad(vlk_dataset *ds, const char *stage, const vlk_err *why, vlk_err *err) VLK_MUST_USE;
/* A new shard; the path is copied. */
int vlk_dataset_shard(vlk_dataset *ds, const char *path, vlk_err *err) VLK_MUST_USE;

/* A source was found broken: 0 if the caller allows that, after it was reported; else 1. */
int vlk_dataset_broken(vlk_dataset *ds, const char *name, vlk_err *err) VLK_MUST_USE;

/* dataset_names.c: every name that operand's part [s, s+n) stands for, in order; `each` returns 0 to go on. */
int vlk_dataset_braces(const char *s, size_t n, int (*each)(void *arg, const char *name, vlk_err *err), void *arg,
                       vlk_err *err) VLK_MUST_USE;
/* The length of the operand's first part (up to "::" or the end). A name that exists is one part. */
size_t vlk_dataset_part(const char *s);

/* dataset_source.c: a tar, folder, list or image by its name. */
int vlk_dataset_add(vlk_dataset *ds, const char *name, vlk_err *err) VLK_MUST_USE;

/* dataset_read.c */
int vlk_dataset_hold(vlk_dataset *ds, const void *p, size_t n, vlk_entry *e, vlk_err *err) VLK_MUST_USE;
/* The bytes of a sample's image, in `buf` or borrowed. 0; 1: the sample is bad (stage, err); -1: its shard is gone,
 * or no memory. Any number of threads. */
int vlk_dataset_read(const vlk_dataset *ds, size_t sample, vlk_buf *buf, const void **p, size_t *n, const char **stage,
                     vlk_err *err) VLK_MUST_USE;

#endif
