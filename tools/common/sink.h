/* sink.h - one output of a program, item by item in the order of the input.
 *
 *   tsv, jsonl   lines of a table: none, one or several per item
 *   npy          one row per item, of any shape; X.keys and X.json beside it
 *   tar          the members of the item's sample byte for byte, followed by the program's own (sink_tar.c)
 *
 * For each item: sink_begin; what the form asks for (lines, the row, or members); sink_end. Nothing of an item is
 * written before sink_end, so an item that turns out to be impossible to write leaves no trace. */
#ifndef VLK_SINK_H
#define VLK_SINK_H

#include "../../lib/feed/feed.h"
#include "../cli/row.h"
#include "provenance.h"

/* What all outputs of a run have in common. */
typedef struct sink_plan {
    cli_format format;
    vlk_dtype type;              /* of npy and of members: VLK_F32, VLK_F16 (values are given as floats), VLK_U8 */
    size_t dim[PROVENANCE_RANK]; /* npy: shape of an item's row */
    int rank;
    const char *const *member; /* tar: the extensions of the members that are added, NULL at the end */
    int allow_empty;           /* an output without a row may replace one with rows */
    int replace;               /* tar: given members of these names are left out; else the item is refused */
    provenance made;           /* for X.json and members; rows are counted by the sink */
} sink_plan;

typedef enum sink_sidecars { SINK_ALONE, SINK_WITH_KEYS } sink_sidecars; /* X.keys and X.json; npy always has them */

typedef struct sink_own_member {
    const char *ext;
    size_t from, size; /* in data */
} sink_own_member;

typedef struct sink {
    const sink_plan *plan;
    vlk_out *out; /* tsv, jsonl, tar */
    vlk_npy_writer *npy;
    vlk_out *keys, *json; /* X.keys, X.json; NULL: no sidecars */
    vlk_sha256 keys_hash;
    char sources[65]; /* for X.json; set by the caller before sink_commit, or "" */
    char *path;
    size_t rows; /* items written */
    /* of the current item */
    const vlk_item *item;
    table_row table;         /* tsv, jsonl: fields go here */
    const void *row;         /* npy */
    sink_own_member *member; /* tar: the program's own members of the item */
    size_t members, member_cap;
    vlk_buf data, line;
    uint16_t *half; /* a row as F16 */
} sink;

int sink_open(sink *s, const sink_plan *plan, const char *path, sink_sidecars sidecars, vlk_err *err) VLK_MUST_USE;
/* 0; 1: this item cannot be written (err); -1. */
int sink_begin(sink *s, const vlk_item *item, vlk_err *err) VLK_MUST_USE;
/* npy: the item's row, of plan->dim; borrowed until sink_end. 1: a value is too large for F16. */
int sink_row(sink *s, const void *row, vlk_err *err) VLK_MUST_USE;
/* tar: a member KEY.ext; ext is borrowed until sink_end. */
int sink_member(sink *s, const char *ext, const void *p, size_t n, vlk_err *err) VLK_MUST_USE;
/* ... that is an .npy of floats, stored as plan->type. 1: a value is too large for F16. */
int sink_member_npy(sink *s, const char *ext, const float *v, const size_t *dim, int rank, vlk_err *err) VLK_MUST_USE;
/* ... that is {FIELDS, "vlkit": {provenance}}; fields: members of a JSON object without braces, "" if there are none.
 */
int sink_member_json(sink *s, const char *ext, const char *fields, vlk_err *err) VLK_MUST_USE;
int sink_end(sink *s, vlk_err *err) VLK_MUST_USE;
/* tar: a sample to which nothing is added. */
int sink_pass(sink *s, const vlk_item *item, vlk_err *err) VLK_MUST_USE;
/* Into a pipe at once, so that a reader gets what is ready. */
int sink_flush(sink *s, vlk_err *err) VLK_MUST_USE;
/* The output and its neighbours get their names (vlk_out_commit_set). Frees in any case. */
int sink_commit(sink *s, vlk_err *err) VLK_MUST_USE;
void sink_abort(sink *s);

/* 0 if an output without a row may get this name: the file there has none either, or there is none. -1 says so. */
int sink_may_be_empty(const char *path, cli_format format, vlk_err *err) VLK_MUST_USE;

/* sink_tar.c, for sink.c */
int sink_tar_begin(sink *s, vlk_err *err) VLK_MUST_USE;
int sink_tar_end(sink *s, vlk_err *err) VLK_MUST_USE;
/* 1 if v is not finite as F16 (err says so). */
int sink_too_large(const float *v, size_t n, vlk_err *err);

#endif
