/* tar_sample.c - WebDataset samples: adjacent members of a tar with the same key.
 *
 * All parts of a sample are in one buffer, which is reused for the next:
 *   [name NUL][head][padding to 16][data, padded][NUL] ... [key NUL]
 * It may move while it grows, so pointers into it are set when the sample is complete (layout()).
 *
 * A sample ends where a member with another key begins, so that member's head is read ahead. Keyless members in between
 * (the "._name" files that macOS writes before each file) are kept within the sample if they are small and its key
 * continues after them, and otherwise returned one by one after it.
 *
 * A member that is too large for memory is read over: its part has a head and no data. */
#include "tar_internal.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { HELD_MAX = 8, HELD_BYTES = 64 << 10, PARTS_MAX = 1024, DATA_ALIGN = 16 };

/* 1, or 0 if it belongs to no sample. */
static int split_name(const char *name, size_t *key_len, const char **ext)
{
    const char *slash = strrchr(name, '/');
    const char *base = slash ? slash + 1 : name;
    const char *dot = strchr(base, '.');
    if (!dot || dot == base || dot[1] == 0)
        return 0;
    *key_len = (size_t)(dot - name);
    *ext = dot + 1;
    return 1;
}

void vlk_sample_clear(vlk_sample *s)
{
    free(s->part);
    vlk_buf_clear(&s->store);
    *s = (vlk_sample){0};
}

const vlk_sample_part *vlk_sample_part_find(const vlk_sample *s, const char *ext)
{
    for (size_t i = 0; i < s->parts; i++)
        if (s->part[i].type == '0' && strcasecmp(s->part[i].ext, ext) == 0)
            return &s->part[i];
    return NULL;
}

/* Pads so that data begins at a multiple of 16. */
static int align(vlk_buf *b, vlk_err *err)
{
    static const char zeros[DATA_ALIGN];
    return vlk_buf_add(b, zeros, (DATA_ALIGN - b->len % DATA_ALIGN) % DATA_ALIGN, err);
}

/* Appends name and head of a part; the caller then adds its data, and close_part a NUL. */
static int open_part(vlk_sample *s, const char *name, const vlk_sample_part *p, vlk_err *err)
{
    if (vlk_grow(&s->part, &s->cap, s->parts + 1, sizeof *s->part, err) ||
        vlk_buf_add(&s->store, name, strlen(name) + 1, err) || vlk_buf_add(&s->store, p->head, p->head_size, err) ||
        align(&s->store, err))
        return -1;
    s->part[s->parts++] = *p;
    return 0;
}

static int close_part(vlk_sample *s, vlk_err *err)
{
    return vlk_buf_add(&s->store, "", 1, err);
}

/* Copies a part of one sample into another. */
static int copy_part(vlk_sample *to, const vlk_sample_part *p, vlk_err *err)
{
    if (open_part(to, p->name, p, err) || vlk_buf_add(&to->store, p->data, p->data_padded, err))
        return -1;
    return close_part(to, err);
}

/* Sets the pointers of all parts from their sizes; returns where the last one ends. */
static size_t layout(vlk_sample *s)
{
    size_t at = 0;
    for (size_t i = 0; i < s->parts; i++) {
        vlk_sample_part *p = &s->part[i];
        const char *ext;
        size_t key_len;
        p->name = s->store.data + at;
        at += strlen(p->name) + 1;
        p->ext = split_name(p->name, &key_len, &ext) ? p->name + key_len + 1 : p->name + strlen(p->name);
        p->head = (unsigned char *)s->store.data + at;
        at += p->head_size;
        at += (DATA_ALIGN - at % DATA_ALIGN) % DATA_ALIGN;
        p->data = (unsigned char *)s->store.data + at;
        at += p->data_padded + 1;
    }
    return at;
}

/* The sample is complete: the last `trailing` parts, which are keyless, are held back; the rest gets its key. */
static int finish(vlk_tar *t, vlk_sample *s, size_t key_len, size_t trailing, vlk_err *err)
{
    tar_held *h = tar_held_of(t);
    layout(s);
    h->s.parts = h->s.store.len = h->next = 0;
    for (size_t i = s->parts - trailing; i < s->parts; i++)
        if (copy_part(&h->s, &s->part[i], err))
            return -1;
    layout(&h->s);
    s->parts -= trailing;
    s->keyless = key_len == 0;
    s->store.len = layout(s);
    size_t key = s->store.len;
    if (vlk_buf_reserve(&s->store, key_len + 1, err))
        return -1;
    layout(s); /* it may have moved */
    s->key = s->store.data + key;
    memcpy(s->key, s->part[0].name, key_len);
    s->key[key_len] = 0;
    return 1;
}

/* A keyless member that was read ahead becomes a sample of its own. */
static int return_held(vlk_tar *t, vlk_sample *s, vlk_err *err)
{
    tar_held *h = tar_held_of(t);
    if (copy_part(s, &h->s.part[h->next++], err))
        return -1;
    layout(s);
    s->keyless = 1;
    s->key = s->part[0].name + strlen(s->part[0].name);
    return 1;
}

/* Whether the member belongs to a sample: files, links and sparse files with an extension do. */
static int keyed(const vlk_tar_member *m, size_t *key_len)
{
    const char *ext;
    return m->type && strchr("012S", m->type) && split_name(m->name, key_len, &ext);
}

static int add_member(vlk_tar *t, vlk_sample *s, vlk_tar_member *m, vlk_err *err)
{
    vlk_sample_part p = {
        NULL, NULL, m->type, NULL, NULL, m->head_size, m->size, m->data_padded, m->offset + m->head_size};
    union { /* the member's head is read only; a part's is not const because the caller owns it */
        const unsigned char *in;
        unsigned char *out;
    } head = {m->head};
    p.head = head.out;
    if (s->parts == PARTS_MAX)
        return vlk_fail(err, VLK_ELIMIT, "%s: more than %d consecutive members have the key of %s", tar_name(t),
                        PARTS_MAX, m->name);
    if (s->parts == 0)
        s->offset = m->offset;
    if (m->size > TAR_MEMBER_MAX || s->store.len + m->data_padded > VLK_SAMPLE_MAX) {
        p.type = VLK_TAR_TOO_LARGE;
        p.size = p.data_padded = 0;
        if (open_part(s, m->name, &p, err) || tar_skip_body(t, m, err))
            return -1;
        return close_part(s, err);
    }
    if (open_part(s, m->name, &p, err) || tar_take_body(t, m, &s->store, err))
        return -1;
    return close_part(s, err);
}

/* The head of the next member: the one that was read ahead, or a new one. */
static int next_head(vlk_tar *t, vlk_tar_member *m, vlk_err *err)
{
    tar_held *h = tar_held_of(t);
    if (!h->has_head)
        return tar_next_head(t, m, err);
    *m = h->head;
    h->has_head = 0;
    return 1;
}

int vlk_tar_sample(vlk_tar *t, vlk_sample *s, vlk_err *err)
{
    tar_held *h = tar_held_of(t);
    size_t key_len = 0, trailing = 0;
    s->parts = s->store.len = 0;
    s->key = NULL;
    s->keyless = 0;
    if (h->next < h->s.parts)
        return return_held(t, s, err);
    for (;;) {
        vlk_tar_member m;
        size_t n = 0;
        vlk_err *where = s->parts ? &h->err : err;
        int rc = h->failed ? -1 : next_head(t, &m, where);
        if (rc < 0 && s->parts) { /* the sample is returned first, then the error */
            h->failed = 1;
            break;
        }
        if (rc < 0 && h->failed && err)
            *err = h->err;
        if (rc < 0)
            return -1;
        if (rc == 0)
            break;
        int has_key = keyed(&m, &n);
        int joins = s->parts == 0 || (has_key ? n == key_len && memcmp(m.name, s->store.data, n) == 0
                                              : key_len > 0 && trailing < HELD_MAX && m.size <= HELD_BYTES);
        if (!joins) {
            h->head = m;
            h->has_head = 1;
            break;
        }
        if (s->parts == 0)
            key_len = n;
        trailing = has_key || s->parts == 0 ? 0 : trailing + 1;
        if (add_member(t, s, &m, err))
            return -1;
        if (key_len == 0)
            break; /* keyless: a sample of its own */
    }
    return s->parts == 0 ? 0 : finish(t, s, key_len, trailing, err);
}
