/* list_csv.c - CSV (RFC 4180): fields separated by commas, or by tabs if the header's are; a field in double quotes
 * may hold separators, line breaks and, doubled, quotes. The first record names the columns; path and caption are
 * found among them by name. A record with another number of fields than the header is not usable: a forgotten quote
 * around a comma must not silently shorten a caption. */
#include "list_internal.h"

#include <string.h>
#include <strings.h>

enum { RECORD_MAX = 1 << 20 };

typedef enum { FIELD_START, PLAIN, QUOTED, QUOTE_SEEN } state;

/* Parses n bytes on from `*s`, appending to l->fields; each field ends with a NUL. *count counts separators. 0; 1: text
 * follows a closing quote; -1 no memory. */
static int parse(vlk_list *l, state *s, size_t *count, const char *p, size_t n, vlk_err *err)
{
    for (size_t i = 0; i < n; i++) {
        char c = p[i];
        if (*s == FIELD_START && c == '"') {
            *s = QUOTED;
            continue;
        }
        if (*s == QUOTED && c == '"') {
            *s = QUOTE_SEEN;
            continue;
        }
        if (*s == QUOTE_SEEN && c != '"' && c != l->sep)
            return 1;
        if (*s != QUOTED && c == l->sep) {
            *s = FIELD_START;
            ++*count;
            c = 0;
        } else if (*s == QUOTE_SEEN) {
            *s = QUOTED; /* a doubled quote is one */
        } else if (*s == FIELD_START) {
            *s = PLAIN;
        }
        if (vlk_buf_add(&l->fields, &c, 1, err))
            return -1;
    }
    return 0;
}

/* One record, over as many lines as its quotes span, into l->fields. 1, 0, 2, -1. */
static int record(vlk_list *l, size_t *count, vlk_err *err)
{
    state s = FIELD_START;
    int spoilt = 0, rc = list_line(l, err);
    l->fields.len = 0;
    *count = 1;
    if (rc != 1)
        return rc;
    for (;;) {
        spoilt = memchr(l->text.data, 0, l->text.len) ? 2 : parse(l, &s, count, l->text.data, l->text.len, err);
        if (spoilt < 0)
            return -1;
        if (spoilt || s != QUOTED)
            break;
        if (l->fields.len > RECORD_MAX)
            return list_fail(l, err, -1, VLK_ELIMIT,
                             "the record that begins at line %zu is longer than 1 MiB: a quote "
                             "is not closed?",
                             l->at.line);
        rc = vlk_in_line(l->in, &l->text, '\n', err);
        if (rc == 0)
            return list_fail(l, err, -1, VLK_EFORMAT, "the list ends inside the quoted field that begins at line %zu",
                             l->at.line);
        if (rc < 0)
            return -1;
        l->line++;
        if (vlk_buf_add(&l->fields, "\n", 1, err))
            return -1;
    }
    if (spoilt)
        return list_fail(l, err, 2, VLK_EFORMAT,
                         spoilt == 2 ? "the line contains a NUL" : "text follows the closing quote of a field");
    return vlk_buf_add(&l->fields, "", 1, err) == 0 ? 1 : -1;
}

static const char *field(const vlk_list *l, size_t i, size_t *n)
{
    const char *p = l->fields.data;
    while (i-- > 0)
        p += strlen(p) + 1;
    *n = strlen(p);
    return p;
}

/* Whether column `col`, of that name, is the one that is asked for. */
static int is_wanted(const char *want, size_t col, const char *name, size_t n)
{
    size_t number;
    if (list_column_number(want, &number))
        return col == number;
    return strlen(want) == n && strncasecmp(want, name, n) == 0;
}

int list_header(vlk_list *l, const char *p, size_t n, char sep, int quotes)
{
    int best_path = -1, best_text = -1;
    size_t col = 0;
    if (n > 0 && p[n - 1] == '\r')
        n--;
    for (;; col++) {
        const char *stop = n ? memchr(p, sep, n) : NULL;
        size_t len = stop ? (size_t)(stop - p) : n;
        size_t q = quotes && len >= 2 && p[0] == '"' && p[len - 1] == '"';
        const char *name = p + q;
        size_t name_len = len - 2 * q;
        int path = l->want.path ? is_wanted(l->want.path, col, name, name_len) - 1 : list_path_rank(name, name_len);
        int text = l->want.text ? is_wanted(l->want.text, col, name, name_len) - 1 : list_text_rank(name, name_len);
        if (path >= 0 && (best_path < 0 || path < best_path)) {
            best_path = path;
            l->path_col = col;
        }
        if (text >= 0 && (best_text < 0 || text < best_text)) {
            best_text = text;
            l->text_col = col;
        }
        if (!stop)
            break;
        p = stop + 1;
        n -= len + 1;
    }
    l->columns = col + 1;
    l->sep = sep;
    if (best_text < 0)
        l->text_col = l->columns;
    return best_path >= 0;
}

static int csv_header(vlk_list *l, vlk_err *err)
{
    const vlk_list_columns *c = &l->want;
    char sep = c->separator ? c->separator : memchr(l->text.data, '\t', l->text.len) ? '\t' : ',';
    const char *hint = !c->separator && memchr(l->text.data, ';', l->text.len) ? " (--separator ';'?)" : "";
    int has_path = list_header(l, l->text.data, l->text.len, sep, 1);
    if (has_path && (!c->text || l->text_col < l->columns))
        return 0;
    return list_fail(l, err, -1, VLK_EFORMAT, "expected a header with a column %s, found \"%.200s\"%s",
                     has_path  ? c->text
                     : c->path ? c->path
                               : "image, filepath, path or file_name",
                     l->text.data, hint);
}

int list_csv_next(vlk_list *l, vlk_row *row, vlk_err *err)
{
    size_t count, n;
    int rc;
    if (l->columns == 0) {
        rc = list_line(l, err);
        if (rc != 1)
            return rc == 2 ? -1 : rc;
        if (csv_header(l, err))
            return -1;
    }
    rc = record(l, &count, err);
    if (rc != 1)
        return rc;
    if (count != l->columns)
        return list_fail(l, err, 2, VLK_EFORMAT, "expected %zu fields as in the header, found %zu", l->columns, count);
    const char *p = field(l, l->path_col, &n);
    rc = list_row_path(l, row, p, n, err);
    if (rc != 1 || l->text_col == l->columns)
        return rc;
    p = field(l, l->text_col, &n);
    return list_row_caption(l, row, p, n, err);
}
