/* json_internal.h - what json.c, json_scan.c and list_bytes.c share. Private to lib/stream. */
#ifndef VLK_JSON_INTERNAL_H
#define VLK_JSON_INTERNAL_H

#include "stream.h"

/* U+10FFFF, a noncharacter: it begins what the scan puts in the place of text that no JSON parser accepts. */
#define VLK_JSON_MARK "\xf4\x8f\xbf\xbf"

/* The code unit of an escape \uXXXX at p, of n bytes; -1 if there is none. */
int vlk_json_unit(const char *p, size_t n);
/* What Python calls a number that is not finite, at s: its length; 0 if it is something else. */
size_t vlk_json_not_finite(const char *s, size_t n);
/* Checks the limits of `use` before anything is parsed. What Python writes and `use` allows is replaced: the text to
 * parse is then in out, and has the same lines; out->len is 0 if s can be parsed as it is. */
int vlk_json_scan(vlk_buf *out, const char *s, size_t n, vlk_json_use use, const char *name, vlk_err *err) VLK_MUST_USE;

#endif
