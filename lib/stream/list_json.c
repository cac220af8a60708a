/* list_json.c - lists in JSON, one element in memory at a time.
 *
 * A small scanner finds where a value ends (it knows strings, their escapes and nesting, nothing else), then the JSON
 * library parses the value alone; so a bad element is a bad row, and a list of any length takes the memory of its
 * longest element. The rows: {"image": PATH, "caption": TEXT or [TEXT, ...]} with the names of list.c (ALBEF, BLIP,
 * LAION), {"filepath": DIR, "filename": NAME, "sentences": [{"raw": TEXT}]} (Karpathy's splits), or just PATH. */
#include "list_internal.h"

#include <stdlib.h>
#include <string.h>

enum { CHUNK = 65536, ELEMENT_MAX = 16 << 20 };

struct list_json {
    vlk_list *l;
    size_t number; /* of the outermost array's elements: see list_json_element */
    size_t line, at, len;
    unsigned char buf[CHUNK];
};

list_json *list_json_open(vlk_list *l, vlk_err *err)
{
    const unsigned char *p;
    size_t n;
    if (l->json)
        return l->json;
    l->json = vlk_calloc(1, sizeof *l->json, err);
    if (!l->json)
        return NULL;
    l->json->l = l;
    l->json->line = 1;
    if (vlk_in_peek(l->in, &p, 3, &n, err))
        return NULL;
    if (n == 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0 && vlk_in_read(l->in, l->json->buf, 3, &n, err))
        return NULL;
    return l->json;
}

void list_json_free(list_json *j)
{
    free(j);
}

/* Ensures that there is a byte at j->at. 1, 0 at the end, -1. */
static int more(list_json *j, vlk_err *err)
{
    if (j->at < j->len)
        return 1;
    j->at = j->len = 0;
    if (vlk_in_read(j->l->in, j->buf, CHUNK, &j->len, err))
        return -1;
    return j->len > 0;
}

int list_json_peek(list_json *j, vlk_err *err)
{
    for (;; j->at++) {
        int rc = more(j, err);
        j->l->line = j->line;
        if (rc <= 0)
            return rc - 1;
        unsigned char c = j->buf[j->at];
        if (c != ' ' && c != '\t' && c != '\n' && c != '\r')
            return c;
        j->line += c == '\n';
    }
}

void list_json_skip(list_json *j)
{
    j->at++;
}

typedef struct extent {
    size_t depth;
    int text, escape, scalar, done;
} extent;

/* Scans bytes of a value; returns how many belong to it. */
static size_t walk(list_json *j, extent *e, const unsigned char *p, size_t n)
{
    size_t i = 0;
    for (; i < n && !e->done; i++) {
        unsigned char c = p[i];
        j->line += c == '\n';
        if (e->text) {
            if (e->escape)
                e->escape = 0;
            else if (c == '\\')
                e->escape = 1;
            else if (c == '"')
                e->text = 0;
            e->done = !e->text && e->depth == 0;
        } else if (c == '"') {
            if (e->scalar)
                break;
            e->text = 1;
        } else if (c == '{' || c == '[') {
            e->depth++;
        } else if (c == '}' || c == ']') {
            if (e->depth == 0) { /* it closes what contains the value */
                e->done = 1;
                break;
            }
            e->done = --e->depth == 0;
        } else if (e->depth == 0) {
            if (c == ',' || c == ' ' || c == '\t' || c == '\n' || c == '\r') {
                j->line -= c == '\n';
                e->done = 1;
                break;
            }
            e->scalar = 1;
        }
    }
    if (i < n && !e->done) /* a quote inside a number or word */
        e->done = 1;
    return i;
}

int list_json_value(list_json *j, vlk_buf *out, vlk_err *err)
{
    extent e = {0};
    size_t total = 0, line = j->line;
    if (out)
        out->len = 0;
    while (!e.done) {
        int rc = more(j, err);
        if (rc < 0)
            return -1;
        if (rc == 0 && e.scalar)
            break;
        if (rc == 0)
            return list_fail(j->l, err, -1, VLK_EFORMAT,
                             "the list is truncated: it ends inside the value that begins here");
        size_t n = walk(j, &e, j->buf + j->at, j->len - j->at);
        total += n;
        if (out && total <= ELEMENT_MAX && vlk_buf_add(out, j->buf + j->at, n, err))
            return -1;
        j->at += n;
    }
    j->l->line = line;
    if (out && total > ELEMENT_MAX)
        return list_fail(j->l, err, 2, VLK_ELIMIT, "a value of %zu bytes of JSON, expected at most %d", total,
                         ELEMENT_MAX);
    if (total == 0)
        return list_fail(j->l, err, -1, VLK_EFORMAT, "expected a value, found \"%c\"",
                         j->at < j->len ? j->buf[j->at] : ' ');
    return out ? vlk_buf_add(out, "", 0, err) : 0;
}

/* A string, or a list of strings (or of {"raw": string}, Karpathy's). */
static int captions(const vlk_list *l, vlk_row *row, const vlk_json *v, vlk_err *err)
{
    char found[80];
    size_t n;
    const char *s = vlk_json_str(v, &n);
    if (s)
        return list_row_caption(l, row, s, n, err);
    if (vlk_json_type(v) != VLK_JSON_ARRAY)
        return list_fail(l, err, 2, VLK_EFORMAT, "the caption is neither a string nor a list of strings: found %s",
                         vlk_json_describe(v, found, sizeof found));
    for (size_t i = 0; i < vlk_json_len(v); i++) {
        const vlk_json *item = vlk_json_at(v, i);
        item = vlk_json_type(item) == VLK_JSON_OBJECT ? vlk_json_get(item, "raw") : item;
        s = vlk_json_str(item, &n);
        if (!s)
            return list_fail(l, err, 2, VLK_EFORMAT, "caption %zu is not a string: found %s", i + 1,
                             vlk_json_describe(item, found, sizeof found));
        int rc = list_row_caption(l, row, s, n, err);
        if (rc != 1)
            return rc;
    }
    return 1;
}

/* Karpathy: the folder is separate from the name. */
static int karpathy(const vlk_list *l, vlk_row *row, const vlk_json *obj, vlk_err *err)
{
    const char *dir = vlk_json_str(vlk_json_get(obj, "filepath"), NULL);
    if (!dir || *dir == 0)
        return captions(l, row, vlk_json_get(obj, "sentences"), err);
    const char *name = vlk_json_str(vlk_json_get(obj, "filename"), NULL);
    char *path = vlk_path_join(dir, name, err);
    if (!path)
        return -1;
    row->path.len = 0;
    int rc = vlk_buf_adds(&row->path, path, err) == 0 ? 1 : -1;
    free(path);
    return rc == 1 ? captions(l, row, vlk_json_get(obj, "sentences"), err) : rc;
}

int list_json_row(const vlk_list *l, vlk_row *row, const vlk_json *obj, vlk_err *err)
{
    const vlk_json *path = NULL, *text = NULL, *value;
    int best_path = 100, best_text = 100;
    char found[80];
    const char *key, *s;
    size_t n;
    if (vlk_json_type(obj) == VLK_JSON_STRING)
        path = obj;
    else if (vlk_json_type(obj) != VLK_JSON_OBJECT)
        return list_fail(l, err, 2, VLK_EFORMAT, "expected an object with image and caption");
    const vlk_list_columns *c = &l->want;
    int split =
        !c->path && !c->text && vlk_json_get(obj, "sentences") && vlk_json_str(vlk_json_get(obj, "filename"), NULL);
    if (split)
        path = vlk_json_get(obj, "filename");
    for (const void *it = NULL; path != obj && !split && (it = vlk_json_next(obj, it, &key, &value));) {
        int p = c->path ? -(strcmp(key, c->path) != 0) : list_path_rank(key, strlen(key));
        int t = c->text ? -(strcmp(key, c->text) != 0) : list_text_rank(key, strlen(key));
        if (p >= 0 && p < best_path) {
            best_path = p;
            path = value;
        }
        if (t >= 0 && t < best_text) {
            best_text = t;
            text = value;
        }
    }
    s = vlk_json_str(path, &n);
    if (!s && path)
        return list_fail(l, err, 2, VLK_EFORMAT, "the path is not a string: found %s",
                         vlk_json_describe(path, found, sizeof found));
    if (!s)
        return c->path ? list_fail(l, err, 2, VLK_EFORMAT, "no member %s", c->path)
                       : list_fail(l, err, 2, VLK_EFORMAT, "no member image, path, file_name or url");
    int rc = list_row_path(l, row, s, n, err);
    if (rc != 1)
        return rc;
    if (split)
        return karpathy(l, row, obj, err);
    return text ? captions(l, row, text, err) : 1;
}

vlk_json *list_json_parse(vlk_list *l, int *bytes, int *outcome, vlk_err *err)
{
    *outcome = -1;
    *bytes = list_bytes_hide(&l->text, &l->fields, err);
    if (*bytes < 0)
        return NULL;
    vlk_json *v = vlk_json_parse_as(l->text.data, l->text.len, VLK_JSON_SAMPLE, "JSON", err);
    if (v || err->code == VLK_EMEM)
        return v;
    vlk_err why = *err;
    *outcome = list_fail(l, err, 2, VLK_EFORMAT, "%.600s", why.msg);
    return NULL;
}

int list_json_bytes(const vlk_list *l, vlk_row *row, vlk_err *err)
{
    if (list_bytes_hidden(row->text.data, row->text.len))
        return list_fail(l, err, 2, VLK_EFORMAT, "the caption is not UTF-8: it contains escaped single bytes");
    list_bytes_show(&row->path);
    return 1;
}

/* l->text as a row. */
static int text_row(vlk_list *l, vlk_row *row, vlk_err *err)
{
    int bytes, rc;
    vlk_json *v = list_json_parse(l, &bytes, &rc, err);
    if (!v)
        return rc;
    rc = list_json_row(l, row, v, err);
    vlk_json_free(v);
    return rc == 1 && bytes ? list_json_bytes(l, row, err) : rc;
}

int list_jsonl_next(vlk_list *l, vlk_row *row, vlk_err *err)
{
    int rc;
    do {
        rc = list_line(l, err);
    } while (rc == 1 && strspn(l->text.data, " \t") == l->text.len);
    return rc == 1 ? text_row(l, row, err) : rc;
}

int list_json_element(list_json *j, size_t *number, const char *table, vlk_err *err)
{
    vlk_list *l = j->l;
    int c = list_json_peek(j, err);
    if (*number == 0 && c != -2) {
        if (c != '[')
            return list_fail(l, err, -1, VLK_EFORMAT, "expected a JSON list, found %s",
                             c < 0 ? "nothing" : "something else");
        list_json_skip(j);
        c = list_json_peek(j, err);
    } else if (*number > 0 && c == ',') {
        list_json_skip(j);
        c = list_json_peek(j, err);
        if (c == ']')
            return list_fail(l, err, -1, VLK_EFORMAT, "a comma before the end of the list");
    } else if (*number > 0 && c >= 0 && c != ']') {
        return list_fail(l, err, -1, VLK_EFORMAT, "expected a comma, found \"%c\"", c);
    }
    if (c == -2)
        return -1;
    if (c == -1)
        return list_fail(l, err, -1, VLK_EFORMAT, "the list is truncated: it ends without its closing bracket");
    if (c == ']') {
        list_json_skip(j);
        return 0;
    }
    ++*number;
    l->at = (vlk_row_place){.line = j->line, .number = *number, .table = table};
    return 1;
}

int list_json_end(list_json *j, vlk_err *err)
{
    int c = list_json_peek(j, err);
    if (c >= 0)
        return list_fail(j->l, err, -1, VLK_EFORMAT, "unexpected \"%c\" after the end of the list", c);
    return c == -2 ? -1 : 0;
}

int list_array_next(vlk_list *l, vlk_row *row, vlk_err *err)
{
    list_json *j = list_json_open(l, err);
    if (!j)
        return -1;
    int rc = list_json_element(j, &j->number, NULL, err);
    if (rc <= 0)
        return rc < 0 ? -1 : list_json_end(j, err);
    rc = list_json_value(j, &l->text, err);
    return rc == 0 ? text_row(l, row, err) : rc;
}
