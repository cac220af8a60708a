/* list_internal.h - shared by the list readers: list.c (kinds, names, TSV), list_csv.c, list_json.c, list_coco.c.
 */
#ifndef VLK_LIST_INTERNAL_H
#define VLK_LIST_INTERNAL_H

#include "stream.h"

typedef struct list_json list_json; /* list_json.c: a position in a JSON text */
typedef struct list_coco list_coco; /* list_coco.c: COCO's table of images */
typedef int list_next_fn(vlk_list *l, vlk_row *row, vlk_err *err);

struct vlk_list {
    vlk_in *in;
    int own;
    vlk_list_kind kind;
    list_next_fn *next; /* NULL until the first bytes were seen */
    int ended, broken;
    size_t line;      /* of the last line read, from 1 */
    vlk_row_place at; /* of the current row */
    vlk_list_columns want;
    vlk_buf text;                       /* a line, a record, or one JSON element */
    char sep;                           /* CSV and TSV with a header: the column separator */
    size_t columns, path_col, text_col; /* columns 0: no header; text_col = columns: no captions */
    vlk_buf fields;                     /* of one CSV record, each followed by a NUL */
    list_json *json;
    list_coco *coco;
};

/* The rank of a column or member name among paths or captions (0 is best), or -1. */
int list_path_rank(const char *name, size_t n);
int list_text_rank(const char *name, size_t n);

/* Fills err with "LIST: line N: ...", for an element of JSON "LIST: item N (line M): ..."; returns `outcome` (2 an
 * unusable row, -1 a broken list). */
int list_fail(const vlk_list *l, vlk_err *err, int outcome, vlk_code code, const char *fmt, ...) VLK_PRINTF(5, 6);
/* Clears the row and sets its path; checked: not empty, no NUL. 1, 2 or -1. */
int list_row_path(const vlk_list *l, vlk_row *row, const char *p, size_t n, vlk_err *err);
/* Adds a caption; checked: UTF-8, no NUL. 1, 2 or -1. */
int list_row_caption(const vlk_list *l, vlk_row *row, const char *p, size_t n, vlk_err *err);
/* The next line into l->text, empty ones skipped. 1, 0, 2 (too long), -1. */
int list_line(vlk_list *l, vlk_err *err);

int list_csv_next(vlk_list *l, vlk_row *row, vlk_err *err);
/* Recognises a header in n bytes: sets sep, columns, path_col, text_col and returns 1; 0 if it is not a header. */
int list_header(vlk_list *l, const char *p, size_t n, char sep, int quotes);
/* 1 and the number of the column, from 0, if `want` is a number from 1; else 0. NULL is none. */
int list_column_number(const char *want, size_t *col);

int list_jsonl_next(vlk_list *l, vlk_row *row, vlk_err *err);
int list_array_next(vlk_list *l, vlk_row *row, vlk_err *err);
int list_coco_next(vlk_list *l, vlk_row *row, vlk_err *err);
void list_json_free(list_json *j);
void list_coco_free(list_coco *c);

/* One object {"image": ..., "caption": ...} as a row. 1, 2, -1. */
int list_json_row(const vlk_list *l, vlk_row *row, const vlk_json *obj, vlk_err *err);
/* list_bytes.c: replaces lone surrogates \udcXX in JSON text by ones that parse; returns how many, or -1. */
int list_bytes_hide(vlk_buf *text, vlk_buf *scratch, vlk_err *err);
void list_bytes_show(vlk_buf *path);               /* and replaces these in a parsed path by the bytes they stand for */
int list_bytes_hidden(const char *text, size_t n); /* whether a parsed text contains any */
/* l->text (one JSON value) parsed, and whether it held such bytes. NULL: *outcome is 2 or -1. */
vlk_json *list_json_parse(vlk_list *l, int *bytes, int *outcome, vlk_err *err);
/* Restores the bytes of a row's path; a caption that contains such bytes is not usable. 1 or 2. */
int list_json_bytes(const vlk_list *l, vlk_row *row, vlk_err *err);
/* A position in the JSON text of l->in, created by the first call. */
list_json *list_json_open(vlk_list *l, vlk_err *err);
/* The next byte that is not white space, without consuming it: 0-255, -1 at the end, -2 an error. */
int list_json_peek(list_json *j, vlk_err *err);
void list_json_skip(list_json *j); /* consumes that byte */
/* Steps to the next element of an array and sets l->at; *number counts the elements and starts as 0. 1 there is an
 * element, 0 the array has ended, -1. */
int list_json_element(list_json *j, size_t *number, const char *table, vlk_err *err);
/* Nothing may follow. 0 or -1. */
int list_json_end(list_json *j, vlk_err *err);
/* One value: its bytes into out (NULL: discarded). 0; 2: it is longer than 16 MiB, and was passed over; -1. */
int list_json_value(list_json *j, vlk_buf *out, vlk_err *err);

#endif
