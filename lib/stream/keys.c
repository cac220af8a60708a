/* keys.c - the names of a matrix's rows: X.keys beside X.npy, one per line, in the same order. A key is any bytes;
 * backslash, tab, newline and carriage return are written \\ \t \n \r, so that each line is a key and a key never
 * breaks a TSV. An empty line is an empty key. */
#include "stream.h"

#include <stdlib.h>
#include <string.h>

struct vlk_keys {
    vlk_map map;
    size_t *start; /* of line i; start[count] is the end of the file, plus 1 if its last newline is missing */
    size_t count;
};

/* What is escaped, and the letter after the backslash. */
static const char raw[] = "\\\t\n\r", letter[] = "\\tnr";

int vlk_escape(vlk_buf *out, const char *s, size_t n, vlk_err *err)
{
    size_t from = 0;
    for (size_t i = 0; i < n; i++) {
        const char *p = s[i] ? strchr(raw, s[i]) : NULL;
        if (!p)
            continue;
        char pair[2] = {'\\', letter[p - raw]};
        if (vlk_buf_add(out, s + from, i - from, err) || vlk_buf_add(out, pair, 2, err))
            return -1;
        from = i + 1;
    }
    return vlk_buf_add(out, s + from, n - from, err);
}

int vlk_unescape(vlk_buf *out, const char *s, size_t n, vlk_err *err)
{
    size_t from = 0;
    for (size_t i = 0; i + 1 < n; i++) {
        if (s[i] != '\\')
            continue;
        const char *p = s[i + 1] ? strchr(letter, s[i + 1]) : NULL;
        if (!p)
            continue;
        if (vlk_buf_add(out, s + from, i - from, err) || vlk_buf_add(out, &raw[p - letter], 1, err))
            return -1;
        from = i + 2;
        i++;
    }
    return vlk_buf_add(out, s + from, n - from, err);
}

vlk_keys *vlk_keys_open(const char *path, vlk_err *err)
{
    size_t cap = 0, at = 0;
    vlk_keys *k = vlk_calloc(1, sizeof *k, err);
    if (!k)
        return NULL;
    if (vlk_map_open(&k->map, path, err))
        goto out;
    while (at < k->map.size) {
        const unsigned char *p = k->map.data + at, *stop = memchr(p, '\n', k->map.size - at);
        if (vlk_grow(&k->start, &cap, k->count + 2, sizeof *k->start, err))
            goto out;
        k->start[k->count++] = at;
        at = stop ? (size_t)(stop - k->map.data) + 1 : k->map.size + 1;
        k->start[k->count] = at;
    }
    return k;
out:
    vlk_keys_close(k);
    return NULL;
}

void vlk_keys_close(vlk_keys *k)
{
    if (!k)
        return;
    vlk_map_close(&k->map);
    free(k->start);
    free(k);
}

size_t vlk_keys_count(const vlk_keys *k)
{
    return k->count;
}

void vlk_keys_hash(const vlk_keys *k, char out[65])
{
    vlk_sha256 s;
    vlk_sha256_init(&s);
    vlk_sha256_add(&s, k->map.data, k->map.size);
    vlk_sha256_hex(&s, out);
}

int vlk_keys_get(const vlk_keys *k, size_t i, vlk_buf *out, vlk_err *err)
{
    out->len = 0;
    if (i >= k->count)
        return vlk_fail(err, VLK_EUSAGE, "key %zu requested, there are %zu", i, k->count);
    const char *p = (const char *)k->map.data + k->start[i];
    size_t n = k->start[i + 1] - k->start[i] - 1;
    if (n > 0 && p[n - 1] == '\r') /* our own are escaped: this one comes from an editor */
        n--;
    return vlk_unescape(out, p, n, err);
}
