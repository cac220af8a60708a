/* fuzz_json.c - any bytes as a JSON document, of which every value is asked for everything; then as a string to be
 * quoted, which must come out as JSON again. */
#define _GNU_SOURCE /* memmem */
#include "../../lib/stream/stream.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void walk(const vlk_json *j)
{
    const char *key;
    const vlk_json *value;
    vlk_err err;
    int64_t i;
    double d;
    int b;
    size_t len;
    (void)!vlk_json_int(j, INT64_MIN, INT64_MAX, &i, "fuzz", &err);
    (void)!vlk_json_num(j, &d, "fuzz", &err);
    (void)!vlk_json_bool(j, &b, "fuzz", &err);
    vlk_json_str(j, &len);
    for (size_t k = 0; vlk_json_type(j) == VLK_JSON_ARRAY && k < vlk_json_len(j); k++)
        walk(vlk_json_at(j, k));
    for (const void *it = vlk_json_next(j, NULL, &key, &value); it; it = vlk_json_next(j, it, &key, &value)) {
        if (vlk_json_get(j, key) != value)
            abort();
        walk(value);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    vlk_err err = {0};
    vlk_json *j = vlk_json_parse((const char *)p, n, "fuzz", &err);
    if (j)
        walk(j);
    else if (err.code == VLK_OK || strchr(err.msg, '\n'))
        abort();
    vlk_json_free(j);
    vlk_buf b = {0};
    if (vlk_json_quote(&b, (const char *)p, n, &err))
        abort();
    /* other bytes become lone surrogates, of which no string is made; U+10FFFF may look like one */
    if (vlk_utf8_valid((const char *)p, n) == n && !memmem(p, n, "\xf4\x8f\xbf\xbf", 4)) {
        size_t len = 0;
        j = vlk_json_parse(b.data, b.len, "quoted", &err);
        const char *s = vlk_json_str(j, &len);
        if (!s || len != n || memcmp(s, p, n) != 0)
            abort();
        vlk_json_free(j);
    }
    vlk_buf_clear(&b);
    return 0;
}
