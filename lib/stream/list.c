/* list.c - lists of images and captions: recognising the kind of a list, and the line-based kinds.
 *
 *   names    one path per line, or up to a NUL
 *   TSV      path TAB caption, further columns ignored; no escapes, no quotes. A first line that names a path column
 *            and a caption column (filepath TAB title) is a header
 *   CSV      RFC 4180 with a header; with tabs if the header has them (open_clip's csv)   list_csv.c
 *   JSONL    one object per line                                                               list_json.c
 *   JSON     an array of objects (ALBEF, BLIP, LAION), or COCO's and Karpathy's object       list_json.c, list_coco.c
 *
 * A row that cannot be used is an item that failed: the list continues after it. */
#include "list_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static int rank(const char *const *names, const char *name, size_t n)
{
    for (int i = 0; names[i]; i++)
        if (strlen(names[i]) == n && strncasecmp(names[i], name, n) == 0)
            return i;
    return -1;
}

int list_path_rank(const char *name, size_t n)
{
    static const char *const names[] = {"image",    "image_path", "filepath", "path", "file_name", "filename",
                                        "img_path", "img",        "url",      "key",  NULL};
    return rank(names, name, n);
}

int list_text_rank(const char *name, size_t n)
{
    static const char *const names[] = {"caption", "captions", "title", "text", NULL};
    return rank(names, name, n);
}

int list_fail(const vlk_list *l, vlk_err *err, int outcome, vlk_code code, const char *fmt, ...)
{
    char what[700];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    const char *list = vlk_in_name(l->in);
    if (outcome < 0)
        vlk_fail(err, code, "%s: line %zu: %s", list, l->line, what);
    else if (l->at.number == 0)
        vlk_fail(err, code, "%s: line %zu: %s", list, l->at.line, what);
    else
        vlk_fail(err, code, "%s: %s %zu (line %zu): %s", list, l->at.table ? l->at.table : "item", l->at.number,
                 l->at.line, what);
    return outcome;
}

int vlk_row_name(vlk_buf *out, const char *list, const vlk_row *row, vlk_err *err)
{
    if (row->at.table)
        return vlk_buf_addf(out, err, "%s:%s:%zu", list, row->at.table, row->at.number);
    return vlk_buf_addf(out, err, "%s:%zu", list, row->at.number ? row->at.number : row->at.line);
}

int list_row_path(const vlk_list *l, vlk_row *row, const char *p, size_t n, vlk_err *err)
{
    row->path.len = row->text.len = 0;
    row->captions = 0;
    if (n == 0)
        return list_fail(l, err, 2, VLK_EFORMAT, "the path is empty");
    if (memchr(p, 0, n))
        return list_fail(l, err, 2, VLK_EFORMAT, "the path holds a NUL");
    return vlk_buf_add(&row->path, p, n, err) == 0 ? 1 : -1;
}

int list_row_caption(const vlk_list *l, vlk_row *row, const char *p, size_t n, vlk_err *err)
{
    size_t valid = vlk_utf8_valid(p, n);
    if (valid < n)
        return list_fail(l, err, 2, VLK_EFORMAT, "the caption is not UTF-8: byte %zu is 0x%02x", valid + 1,
                         (unsigned char)p[valid]);
    if (n > 0 && memchr(p, 0, n))
        return list_fail(l, err, 2, VLK_EFORMAT, "the caption holds a NUL");
    if (vlk_buf_add(&row->text, p, n, err) || vlk_buf_add(&row->text, "", 1, err))
        return -1;
    row->captions++;
    return 1;
}

int list_line(vlk_list *l, vlk_err *err)
{
    do {
        int rc = vlk_in_line(l->in, &l->text, '\n', err);
        l->line += rc != 0;
        l->at.line = l->line;
        if (rc < 0)
            return err->code == VLK_ELIMIT ? list_fail(l, err, 2, VLK_ELIMIT, "longer than 1 MiB") : -1;
        if (rc == 0)
            return 0;
    } while (l->text.len == 0);
    return 1;
}

static int names_next(vlk_list *l, vlk_row *row, vlk_err *err)
{
    if (l->kind == VLK_LIST_NAMES) {
        int rc = list_line(l, err);
        return rc == 1 ? list_row_path(l, row, l->text.data, l->text.len, err) : rc;
    }
    int rc = vlk_in_line(l->in, &l->text, 0, err);
    l->line += rc != 0;
    l->at.line = l->line;
    if (rc < 0 && err->code == VLK_ELIMIT)
        return list_fail(l, err, 2, VLK_ELIMIT, "a name longer than 1 MiB");
    return rc == 1 ? list_row_path(l, row, l->text.data, l->text.len, err) : rc;
}

/* Column `want` of the tab-separated line. */
static const char *column(const vlk_list *l, size_t want, size_t *n)
{
    const char *p = l->text.data, *end = p + l->text.len;
    for (size_t i = 0;; i++) {
        const char *tab = memchr(p, '\t', (size_t)(end - p));
        *n = (size_t)((tab ? tab : end) - p);
        if (i == want)
            return p;
        if (!tab)
            return NULL;
        p = tab + 1;
    }
}

int list_column_number(const char *want, size_t *col)
{
    uint64_t number;
    if (!want || vlk_parse_u64(want, 1, 1 << 20, &number))
        return 0;
    *col = (size_t)number - 1;
    return 1;
}

/* Whether the first line is a header: columns that are asked for by name need one, and by numbers alone there is none.
 * 1, 0, -1. */
static int tsv_header(vlk_list *l, vlk_err *err)
{
    const vlk_list_columns *c = &l->want;
    size_t path = 0, text = 0;
    int path_number = list_column_number(c->path, &path), text_number = list_column_number(c->text, &text);
    int found =
        !(path_number && text_number) && list_header(l, l->text.data, l->text.len, '\t', 0) && l->text_col < l->columns;
    if (found)
        return 1;
    if ((c->path && !path_number) || (c->text && !text_number))
        return list_fail(l, err, -1, VLK_EFORMAT, "expected a header with a column %s, found \"%.200s\"",
                         c->text && !text_number ? c->text : c->path, l->text.data);
    l->columns = 0;
    l->path_col = path_number ? path : 0;
    l->text_col = text_number ? text : 1;
    return 0;
}

static int tsv_next(vlk_list *l, vlk_row *row, vlk_err *err)
{
    size_t first = l->line == 0, n;
    int rc = list_line(l, err), header = rc == 1 && first ? tsv_header(l, err) : 0;
    if (first && rc == 2) /* too long to be a header */
        l->text_col = 1;
    if (header < 0)
        return -1;
    if (header)
        rc = list_line(l, err);
    if (rc != 1)
        return rc;
    const char *p = column(l, l->path_col, &n);
    if (!p)
        return list_fail(l, err, 2, VLK_EFORMAT, "expected %zu columns, found fewer",
                         l->columns ? l->columns : l->path_col + 1);
    rc = list_row_path(l, row, p, n, err);
    if (rc != 1)
        return rc;
    p = column(l, l->text_col, &n);
    if (!p && l->columns)
        return list_fail(l, err, 2, VLK_EFORMAT, "expected %zu columns, found fewer", l->columns);
    return p ? list_row_caption(l, row, p, n, err) : 1;
}

static int has_suffix(const char *name, size_t n, const char *suffix)
{
    size_t s = strlen(suffix);
    return n > s && strncasecmp(name + n - s, suffix, s) == 0;
}

static vlk_list_kind kind_of_name(const char *name)
{
    static const struct {
        const char *suffix;
        vlk_list_kind kind;
    } known[] = {{".tsv", VLK_LIST_TSV},     {".tab", VLK_LIST_TSV},      {".csv", VLK_LIST_CSV},
                 {".jsonl", VLK_LIST_JSONL}, {".ndjson", VLK_LIST_JSONL}, {".json", VLK_LIST_JSON}};
    size_t n = strlen(name);
    if (has_suffix(name, n, ".gz"))
        n -= 3;
    else if (has_suffix(name, n, ".zst"))
        n -= 4;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (has_suffix(name, n, known[i].suffix))
            return known[i].kind;
    return VLK_LIST_AUTO;
}

static size_t skip_blanks(const unsigned char *p, size_t at, size_t n)
{
    while (at < n && (p[at] == ' ' || p[at] == '\t' || p[at] == '\n' || p[at] == '\r'))
        at++;
    return at;
}

/* The kind by the first bytes: brackets that JSON would have, a tab, a header of CSV, or else names. */
static vlk_list_kind kind_of_bytes(vlk_list *l, const unsigned char *p, size_t n)
{
    size_t a = skip_blanks(p, 0, n), b = skip_blanks(p, a + 1, n);
    const unsigned char *stop = n ? memchr(p, '\n', n) : NULL, *nul = n ? memchr(p, 0, n) : NULL;
    size_t line = stop ? (size_t)(stop - p) : n;
    if (a < n && b < n && p[a] == '[' && strchr("{]\"", p[b]) && p[b])
        return VLK_LIST_JSON;
    if (a < n && b < n && p[a] == '{' && (p[b] == '"' || p[b] == '}'))
        return VLK_LIST_JSON;
    if (nul && (size_t)(nul - p) <= line)
        return VLK_LIST_NAMES0;
    if (n > 0 && memchr(p, '\t', line))
        return VLK_LIST_TSV;
    if (list_header(l, (const char *)p, line, ',', 1) && l->text_col < l->columns)
        return VLK_LIST_CSV;
    return VLK_LIST_NAMES;
}

/* Whether these bytes are a sequence of objects: the first line holds a complete object without COCO's tables, or the
 * next object begins after it. p[at] is the first brace. */
static int is_jsonl(const unsigned char *p, size_t at, size_t n)
{
    int depth = 0, text = 0, table = 0;
    for (size_t i = at; i < n; i++) {
        if (text) {
            i += p[i] == '\\';
            text = i < n && p[i] != '"';
            continue;
        }
        text = p[i] == '"';
        if (text && depth == 1)
            table |= (n - i > 8 && memcmp(p + i, "\"images\"", 8) == 0) ||
                     (n - i > 13 && memcmp(p + i, "\"annotations\"", 13) == 0);
        depth += (p[i] == '{' || p[i] == '[') - (p[i] == '}' || p[i] == ']');
        if (depth == 0) {
            size_t next = skip_blanks(p, i + 1, n);
            return !table || (next < n && p[next] == '{');
        }
    }
    return 0;
}

/* Looks at the first bytes and chooses the reader. */
static int start(vlk_list *l, vlk_err *err)
{
    const unsigned char *p = NULL;
    size_t n;
    /* If the kind is known, a few bytes are enough: a slow writer's first name must not wait for the next ones. */
    if (vlk_in_peek(l->in, &p, l->kind == VLK_LIST_AUTO || l->kind == VLK_LIST_JSON ? 4096 : 4, &n, err))
        return -1;
    size_t bom = n >= 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    if (n > bom + 1 && ((p[0] == 0xff && p[1] == 0xfe) || (p[0] == 0xfe && p[1] == 0xff)))
        return vlk_fail(err, VLK_EUNSUPPORTED, "%s: is UTF-16 by its byte order mark; only UTF-8 is supported",
                        vlk_in_name(l->in));
    if (l->kind == VLK_LIST_AUTO)
        l->kind = kind_of_bytes(l, p + bom, n - bom);
    l->columns = 0;
    size_t at = skip_blanks(p, bom, n);
    int first = at < n ? p[at] : 0;
    switch (l->kind) {
    case VLK_LIST_TSV:
        l->next = tsv_next;
        break;
    case VLK_LIST_CSV:
        l->next = list_csv_next;
        break;
    case VLK_LIST_JSONL:
        l->next = first == '[' ? list_array_next : list_jsonl_next;
        break;
    case VLK_LIST_JSON:
        l->next = first != '{' ? list_array_next : is_jsonl(p, at, n) ? list_jsonl_next : list_coco_next;
        break;
    default:
        l->next = names_next;
    }
    return 0;
}

vlk_list *vlk_list_from(vlk_in *in, vlk_list_kind kind, vlk_err *err)
{
    vlk_list *l = vlk_calloc(1, sizeof *l, err);
    if (!l)
        return NULL;
    l->in = in;
    l->kind = kind != VLK_LIST_AUTO ? kind : kind_of_name(vlk_in_name(in));
    return l;
}

vlk_list *vlk_list_open(const char *path, vlk_list_kind kind, vlk_err *err)
{
    vlk_in *in = vlk_in_open(path, err);
    if (!in)
        return NULL;
    vlk_list *l = vlk_list_from(in, kind, err);
    if (!l)
        vlk_in_close(in);
    else
        l->own = 1;
    return l;
}

void vlk_list_choose(vlk_list *l, const vlk_list_columns *c)
{
    l->want = *c;
}

void vlk_list_close(vlk_list *l)
{
    if (!l)
        return;
    if (l->own)
        vlk_in_close(l->in);
    vlk_buf_clear(&l->text);
    vlk_buf_clear(&l->fields);
    list_json_free(l->json);
    list_coco_free(l->coco);
    free(l);
}

int vlk_list_next(vlk_list *l, vlk_row *row, vlk_err *err)
{
    vlk_err scratch; /* the readers check the error code */
    int rc = 0;
    if (!err)
        err = &scratch;
    if (l->broken)
        return vlk_fail(err, VLK_EFORMAT, "%s: the list is broken", vlk_in_name(l->in));
    if (!l->ended && !l->next)
        rc = start(l, err);
    if (!l->ended && rc == 0)
        rc = l->next(l, row, err);
    row->at = l->at;
    l->ended |= rc == 0;
    l->broken |= rc < 0;
    return rc;
}

void vlk_row_clear(vlk_row *row)
{
    vlk_buf_clear(&row->path);
    vlk_buf_clear(&row->text);
    *row = (vlk_row){0};
}
