/* json_write.c - JSON text: quoted strings, and a document that was read, written again with some members changed.
 *
 *   {
 *     "architectures": ["CLIPModel"],
 *     "text_config": {
 *       "layer_norm_eps": 1e-05
 *     }
 *   }
 *
 * Members are one per line and keep their order, lists are on one line, and a real has the fewest digits that read back
 * as the same number, so that a document which was written here is written again in the same bytes. */
#include "stream.h"

#include <stdio.h>
#include <string.h>

int vlk_json_quote(vlk_buf *out, const char *s, size_t n, vlk_err *err)
{
    static const char letters[] = "btn\0fr"; /* of the control characters 8 to 13; 11 has none */
    if (vlk_buf_add(out, "\"", 1, err))
        return -1;
    for (size_t i = 0; i < n;) {
        unsigned char c = (unsigned char)s[i];
        char esc[8];
        size_t take = 1, put;
        const char *from = esc;
        if (c == '"' || c == '\\') {
            put = (size_t)snprintf(esc, sizeof esc, "\\%c", c);
        } else if (c >= 8 && c <= 13 && letters[c - 8]) {
            put = (size_t)snprintf(esc, sizeof esc, "\\%c", letters[c - 8]);
        } else if (c < 0x20 || c == 0x7f) {
            put = (size_t)snprintf(esc, sizeof esc, "\\u%04x", c);
        } else if (c < 0x80) { /* a run of plain bytes at once */
            while (i + take < n && (unsigned char)s[i + take] >= 0x20 && (unsigned char)s[i + take] < 0x7f &&
                   s[i + take] != '"' && s[i + take] != '\\')
                take++;
            from = s + i;
            put = take;
        } else if ((take = (size_t)vlk_utf8_next(s + i, n - i, NULL)) > 0) {
            from = s + i;
            put = take;
        } else {
            take = 1;
            put = (size_t)snprintf(esc, sizeof esc, "\\udc%02x", c);
        }
        if (vlk_buf_add(out, from, put, err))
            return -1;
        i += take;
    }
    return vlk_buf_add(out, "\"", 1, err);
}

/* ---- values ------------------------------------------------------------------------------------------- */

typedef struct writer {
    vlk_buf *out;
    const vlk_json_edits *edits;
    vlk_err *err;
} writer;

static int put_value(writer *w, const vlk_json *j, const char *in, int depth);

/* A real is one when it is read again: it has a point or an exponent. */
static int put_real(writer *w, double x)
{
    char s[VLK_F64_TEXT];
    vlk_f64_shortest(x, s);
    return vlk_buf_addf(w->out, w->err, "%s%s", s, strpbrk(s, ".e") ? "" : ".0");
}

static int put_key(writer *w, const char *separator, int depth, const char *key)
{
    if (vlk_buf_addf(w->out, w->err, "%s%*s", separator, 2 * (depth + 1), "") ||
        vlk_json_quote(w->out, key, strlen(key), w->err))
        return -1;
    return vlk_buf_adds(w->out, ": ", w->err);
}

static int put_object(writer *w, const vlk_json *j, const char *in, int depth)
{
    const vlk_json_edits *e = w->edits;
    const char *key, *separator = "\n", *text;
    const vlk_json *v;
    char room[VLK_JSON_TEXT];
    if (vlk_json_len(j) == 0)
        return vlk_buf_adds(w->out, "{}", w->err);
    if (vlk_buf_adds(w->out, "{", w->err))
        return -1;
    if (e && (key = e->added(e->arg, in, j, room))) {
        if (put_key(w, separator, depth, key) || vlk_buf_adds(w->out, room, w->err))
            return -1;
        separator = ",\n";
    }
    for (const void *it = NULL; (it = vlk_json_next(j, it, &key, &v)); separator = ",\n") {
        const vlk_json_kind k = vlk_json_type(v);
        text = !e || k == VLK_JSON_OBJECT || k == VLK_JSON_ARRAY ? NULL : e->changed(e->arg, in, key, v, room);
        if (put_key(w, separator, depth, key) ||
            (text ? vlk_buf_adds(w->out, text, w->err) : put_value(w, v, key, depth + 1)))
            return -1;
    }
    return vlk_buf_addf(w->out, w->err, "\n%*s}", 2 * depth, "");
}

static int put_array(writer *w, const vlk_json *j, int depth)
{
    if (vlk_buf_adds(w->out, "[", w->err))
        return -1;
    for (size_t i = 0; i < vlk_json_len(j); i++)
        if (vlk_buf_adds(w->out, i ? ", " : "", w->err) || put_value(w, vlk_json_at(j, i), "[]", depth))
            return -1;
    return vlk_buf_adds(w->out, "]", w->err);
}

static int put_value(writer *w, const vlk_json *j, const char *in, int depth)
{
    int64_t i = 0;
    double x = 0;
    int b = 0;
    size_t n = 0;
    const char *s;
    char found[80];
    switch (vlk_json_type(j)) {
    case VLK_JSON_NULL:
        return vlk_buf_adds(w->out, "null", w->err);
    case VLK_JSON_BOOL:
        return vlk_json_bool(j, &b, in, w->err) ? -1 : vlk_buf_adds(w->out, b ? "true" : "false", w->err);
    case VLK_JSON_INT:
        return vlk_json_int(j, INT64_MIN, INT64_MAX, &i, in, w->err) ? -1
                                                                     : vlk_buf_addf(w->out, w->err, "%jd", (intmax_t)i);
    case VLK_JSON_REAL:
        return vlk_json_num(j, &x, in, w->err) ? -1 : put_real(w, x);
    case VLK_JSON_STRING:
        if (!(s = vlk_json_str(j, &n)))
            return vlk_fail(w->err, VLK_EFORMAT, "%s: expected a string, found %s", in,
                            vlk_json_describe(j, found, sizeof found));
        return vlk_json_quote(w->out, s, n, w->err);
    case VLK_JSON_ARRAY:
        return put_array(w, j, depth);
    case VLK_JSON_OBJECT:
        return put_object(w, j, in, depth);
    }
    return -1;
}

int vlk_json_write(vlk_buf *out, const vlk_json *j, const vlk_json_edits *edits, vlk_err *err)
{
    return put_value(&(writer){.out = out, .edits = edits, .err = err}, j, "", 0);
}
