/* list_bytes.c - paths that are not UTF-8 in JSON.
 *
 * Python's surrogateescape (PEP 383), which vlk_json_quote writes too, spells a byte XX that is not UTF-8 as the lone
 * surrogate \udcXX. JSON libraries refuse lone surrogates; so before parsing each becomes the pair \udbff\udcXX, which
 * is U+10FCXX of the last private plane, and afterwards that becomes the byte again. */
#include "json_internal.h"
#include "list_internal.h"

#include <string.h>

int list_bytes_hide(vlk_buf *text, vlk_buf *scratch, vlk_err *err)
{
    int count = 0, high = 0; /* high: the escape before was the first half of a pair */
    size_t from = 0, n = text->len;
    scratch->len = 0;
    for (size_t i = 0; i < n;) {
        const char *p = text->data + i;
        int u = vlk_json_unit(p, n - i), lone = u >= 0xdc80 && u <= 0xdcff && !high;
        high = u >= 0xd800 && u <= 0xdbff && !high;
        if (lone) {
            if (vlk_buf_add(scratch, text->data + from, i - from, err) || vlk_buf_adds(scratch, "\\udbff", err))
                return -1;
            from = i;
            count++;
        }
        i += u >= 0 ? 6 : *p == '\\' ? 2 : 1;
    }
    if (count == 0)
        return 0;
    if (vlk_buf_add(scratch, text->data + from, n - from, err))
        return -1;
    vlk_buf swap = *text;
    *text = *scratch;
    *scratch = swap;
    return count;
}

/* The byte that U+10FCXX at p stands for; -1 if it is something else. In UTF-8 it is F4 8F B2|B3 80-BF. */
static int hidden(const char *p, size_t n)
{
    if (n < 4 || memcmp(p, "\xf4\x8f", 2) != 0 || ((unsigned char)p[2] & 0xfe) != 0xb2)
        return -1;
    return 0x80 | ((unsigned char)p[2] & 1) << 6 | ((unsigned char)p[3] & 0x3f);
}

void list_bytes_show(vlk_buf *path)
{
    size_t to = 0;
    for (size_t i = 0; i < path->len;) {
        int byte = hidden(path->data + i, path->len - i);
        path->data[to++] = byte >= 0 ? (char)byte : path->data[i];
        i += byte >= 0 ? 4 : 1;
    }
    path->len = to;
    if (path->data)
        path->data[to] = 0;
}

int list_bytes_hidden(const char *text, size_t n)
{
    for (size_t i = 0; i + 4 <= n; i++)
        if (hidden(text + i, n - i) >= 0)
            return 1;
    return 0;
}
