/* row.h - a row of a table as text: the only place that knows how the programs write one.
 *
 *   TSV     values separated by tabs; texts escaped as in X.keys
 *   JSONL   {"name": value, "name": [value, value]}        spaced as by Python's json.dumps
 *
 * On a terminal, characters in texts that it would obey are written \xNN, in JSONL \uNNNN.
 *
 * Numbers have as many digits as a float needs (%.9g). A row is appended to `text`: fields in the order of the table,
 * then row_end. The caller writes the text somewhere and sets text.len to 0. */
#ifndef VLK_ROW_H
#define VLK_ROW_H

#include <stdint.h>

#include "../../lib/base/base.h"

typedef struct table_row {
    vlk_buf text;
    int jsonl;
    int terminal;  /* it is written to one */
    size_t fields; /* in the row so far */
} table_row;

/* All return 0, or -1 if there is no memory. */
int row_text(table_row *r, const char *name, const char *s, size_t n, vlk_err *err) VLK_MUST_USE;
int row_count(table_row *r, const char *name, uint64_t v, vlk_err *err) VLK_MUST_USE;
int row_number(table_row *r, const char *name, double v, vlk_err *err) VLK_MUST_USE;
/* With this many digits after the decimal point. */
int row_fixed(table_row *r, const char *name, int decimals, double v, vlk_err *err) VLK_MUST_USE;
/* A list in JSONL, one field per number in TSV. */
int row_numbers(table_row *r, const char *name, const float *v, size_t n, vlk_err *err) VLK_MUST_USE;
/* A list in JSONL, one field with the numbers separated by spaces in TSV. */
int row_ids(table_row *r, const char *name, const int32_t *id, size_t n, vlk_err *err) VLK_MUST_USE;
int row_end(table_row *r, vlk_err *err) VLK_MUST_USE;

#endif
