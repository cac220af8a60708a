/* spell.c - how a style names and shapes a field; the dialect of a file. */
#include "model_internal.h"

#include <stdio.h>
#include <string.h>

void vlk_spell(char *out, size_t size, const char *prefix, const char *name, size_t layer, size_t stage)
{
    size_t n = 0;
    if (*name == '/') {
        name++;
        prefix = "";
    }
    for (int part = 0; part < 2; part++)
        for (const char *s = part ? name : prefix; *s && n + 24 < size; s++) {
            if (*s == '#' || *s == '@')
                n += (size_t)snprintf(out + n, size - n, "%zu", *s == '#' ? layer : stage);
            else
                out[n++] = *s;
        }
    out[n] = 0;
}

int vlk_shape_of(const vlk_sizes *s, const char *letters, size_t dim[VLK_MAX_RANK])
{
    int rank = 0;
    for (; letters[rank]; rank++) {
        const unsigned char c = (unsigned char)letters[rank];
        dim[rank] = c >= '0' && c <= '9' ? (size_t)(c - '0') : s->dim[c & 127];
    }
    return rank;
}

const vlk_spelling *vlk_spelling_of(const vlk_style *style, vlk_table t, const vlk_field *f, unsigned has)
{
    const vlk_page *page = &style->page[t];
    for (size_t i = 0; i < page->n; i++) {
        const vlk_spelling *s = &page->row[i];
        if ((s->when & has) == s->when && !(s->unless & has) && strcmp(s->ours, f->ours) == 0)
            return s;
    }
    return NULL;
}

const vlk_part_names *vlk_names_of(const vlk_dialect *d, const char *part)
{
    const vlk_part_names *r = d->row;
    while (r->part && strcmp(r->part, part) != 0)
        r++;
    return r->part ? r : NULL;
}

int vlk_glob(const char *pattern, const char *text)
{
    const char *star = NULL, *from = NULL; /* the last '*', and where the text after its characters begins */
    while (*text) {
        if (*pattern == '*') {
            star = pattern++;
            from = text;
        } else if (*pattern == *text) {
            pattern++;
            text++;
        } else if (star) {
            pattern = star + 1;
            text = ++from;
        } else {
            return 0;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == 0;
}

/* Is one of the dialect's marks among the tensors, with that prefix (of n bytes)? */
static int is_marked_after(const vlk_dialect *d, const vlk_weights *w, const char *prefix, size_t n)
{
    char name[512];
    for (size_t i = 0; i < sizeof d->mark / sizeof d->mark[0]; i++) {
        if (!d->mark[i] || n + strlen(d->mark[i]) >= sizeof name)
            continue;
        memcpy(name, prefix, n);
        memcpy(name + n, d->mark[i], strlen(d->mark[i]) + 1);
        if (vlk_weights_find(w, name))
            return 1;
    }
    return 0;
}

static int is_marked(const vlk_dialect *d, const vlk_weights *w)
{
    return is_marked_after(d, w, "", 0);
}

/* Would the names be those of some dialect if they had no such prefix? */
static int fits(const vlk_weights *w, const char *prefix, size_t n)
{
    for (const vlk_family *const *f = vlk_families; *f; f++)
        for (size_t i = 0; i < (*f)->dialects; i++)
            if (is_marked_after(&(*f)->dialect[i], w, prefix, n))
                return 1;
    return 0;
}

vlk_weights *vlk_source_open_weights(const char *path, vlk_err *err)
{
    vlk_weights *w = vlk_weights_open(path, err);
    if (!w || fits(w, "", 0))
        return w;
    const char *first = vlk_weights_at(w, 0)->name;
    for (size_t n = 0; (n = vlk_weights_prefix(w, n)) > 0;) {
        if (fits(w, first, n)) {
            vlk_weights_cut(w, n);
            break;
        }
    }
    return w;
}

const vlk_dialect *vlk_dialect_of(const vlk_family *f, const vlk_weights *w, vlk_layout layout)
{
    for (size_t i = 0; w && i < f->dialects; i++)
        if (is_marked(&f->dialect[i], w))
            return &f->dialect[i];
    for (size_t i = 0; i < f->dialects; i++)
        if (f->dialect[i].layout == layout)
            return &f->dialect[i];
    return NULL;
}

vlk_layout vlk_layout_of_names(const vlk_weights *w)
{
    for (const vlk_family *const *f = vlk_families; *f; f++)
        for (size_t i = 0; i < (*f)->dialects; i++)
            if ((*f)->dialect[i].layout == VLK_LAYOUT_HF && is_marked(&(*f)->dialect[i], w))
                return VLK_LAYOUT_HF;
    return VLK_LAYOUT_OPEN_CLIP;
}
