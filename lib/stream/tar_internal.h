/* tar_internal.h - shared by the tar files: headers (tar_head.c), members (tar.c), samples (tar_sample.c).
 */
#ifndef VLK_TAR_INTERNAL_H
#define VLK_TAR_INTERNAL_H

#include "stream.h"

enum { TAR_BLOCK = 512, TAR_META_MAX = 1 << 20 }; /* bytes of one pax record list or one long name */
#define TAR_MEMBER_MAX ((size_t)VLK_IMAGE_FILE_MAX)

/* What pax records say; has_* means that they say it. */
typedef struct tar_pax {
    vlk_buf path;
    size_t size;
    int has_path, has_size, has_sparse_name, sparse;
} tar_pax;

/* The fields of a ustar block that we use. */
typedef struct tar_block {
    char type;
    uint64_t size;
    char name[257]; /* prefix "/" name */
} tar_block;

int tar_block_is_zero(const unsigned char *h);
int tar_checksum_ok(const unsigned char *h);
/* 0, or -1 with `why` pointing at a constant phrase. */
int tar_block_parse(tar_block *b, const unsigned char *h, const char **why);
/* Adds the records of a pax header; an empty path drops an earlier one. 0, or -1 with `why`; no memory is -2. */
int tar_pax_parse(tar_pax *x, const char *p, size_t n, const char **why);
/* An old GNU sparse member: whether further blocks of its map follow this one (the member's first). */
int tar_sparse_more(const unsigned char *h, int first);

/* The first step of vlk_tar_next: the header blocks of the next member (1), the end (0), -1. Sets the member's name and
 * head, but not its data. */
int tar_next_head(vlk_tar *t, vlk_tar_member *m, vlk_err *err);
/* Appends that member's data and padding to `into`; must be called once before the next tar_next_head. */
int tar_take_body(vlk_tar *t, vlk_tar_member *m, vlk_buf *into, vlk_err *err);
/* Or reads over it. */
int tar_skip_body(vlk_tar *t, const vlk_tar_member *m, vlk_err *err);
const char *tar_name(const vlk_tar *t);

/* tar_sample.c's part of the handle: what was read ahead. */
typedef struct tar_held {
    vlk_sample s; /* keyless members */
    size_t next;  /* the first of them not yet returned */
    int has_head; /* head belongs to the member after them; its data is not read yet */
    vlk_tar_member head;
    int failed; /* the member after them could not be read: err says why */
    vlk_err err;
} tar_held;
tar_held *tar_held_of(vlk_tar *t);

#endif
