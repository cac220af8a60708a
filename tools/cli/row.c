/* row.c - rows of TSV and JSONL. The formats are described in row.h. */
#include "row.h"

#include <stdio.h>

#include "../../lib/stream/stream.h"

/* What precedes a value: a tab, or a comma and the member's name. */
static int lead(table_row *r, const char *name, vlk_err *err)
{
    int first = r->fields++ == 0;
    if (!r->jsonl)
        return first ? 0 : vlk_buf_adds(&r->text, "\t", err);
    return vlk_buf_addf(&r->text, err, "%s\"%s\": ", first ? "{" : ", ", name);
}

int row_text(table_row *r, const char *name, const char *s, size_t n, vlk_err *err)
{
    if (lead(r, name, err))
        return -1;
    return r->jsonl ? vlk_json_quote(&r->text, s, n, err) : vlk_escape(&r->text, s, n, err);
}

int row_count(table_row *r, const char *name, uint64_t v, vlk_err *err)
{
    if (lead(r, name, err))
        return -1;
    return vlk_buf_addf(&r->text, err, "%ju", (uintmax_t)v);
}

int row_number(table_row *r, const char *name, double v, vlk_err *err)
{
    if (lead(r, name, err))
        return -1;
    return vlk_buf_addf(&r->text, err, "%.9g", v);
}

int row_fixed(table_row *r, const char *name, int decimals, double v, vlk_err *err)
{
    if (lead(r, name, err))
        return -1;
    return vlk_buf_addf(&r->text, err, "%.*f", decimals, v);
}

int row_numbers(table_row *r, const char *name, const float *v, size_t n, vlk_err *err)
{
    if (lead(r, name, err) || (r->jsonl && vlk_buf_adds(&r->text, "[", err)))
        return -1;
    for (size_t i = 0; i < n; i++) {
        char t[40]; /* not vlk_buf_addf: this is the inner loop of large tables */
        int k = snprintf(t, sizeof t, "%s%.9g", i == 0 ? "" : r->jsonl ? ", " : "\t", (double)v[i]);
        if (vlk_buf_add(&r->text, t, (size_t)k, err))
            return -1;
    }
    return r->jsonl ? vlk_buf_adds(&r->text, "]", err) : 0;
}

int row_ids(table_row *r, const char *name, const int32_t *id, size_t n, vlk_err *err)
{
    if (lead(r, name, err) || (r->jsonl && vlk_buf_adds(&r->text, "[", err)))
        return -1;
    for (size_t i = 0; i < n; i++)
        if (vlk_buf_addf(&r->text, err, "%s%d", i == 0 ? "" : r->jsonl ? ", " : " ", (int)id[i]))
            return -1;
    return r->jsonl ? vlk_buf_adds(&r->text, "]", err) : 0;
}

int row_end(table_row *r, vlk_err *err)
{
    r->fields = 0;
    return vlk_buf_adds(&r->text, r->jsonl ? "}\n" : "\n", err);
}
