/* sink_tar.c - tar to tar: the given members of a sample byte for byte, followed by the program's own.
 *
 * A given member under the name of one of ours is an error of the item; with plan->replace it is left out. Our members
 * are collected in memory, so that a sample whose last member cannot be made is written without any of them. */
#include "sink.h"

#include <stdlib.h>
#include <string.h>

static int is_ours(const sink *s, const vlk_sample *sample, const char *name)
{
    size_t n = strlen(sample->key);
    if (strncmp(name, sample->key, n) != 0 || name[n] != '.')
        return 0;
    for (const char *const *ext = s->plan->member; *ext; ext++)
        if (strcmp(name + n + 1, *ext) == 0)
            return 1;
    return 0;
}

int sink_tar_begin(sink *s, vlk_err *err)
{
    const vlk_sample *sample = s->item->sample;
    s->members = s->data.len = 0;
    if (!sample)
        return vlk_fail(err, VLK_EUSAGE, "%s: tar is written from tar only", s->item->source->path);
    for (size_t i = 0; i < sample->parts && !s->plan->replace; i++)
        if (is_ours(s, sample, sample->part[i].name)) {
            vlk_fail(err, VLK_EUSAGE, "%s is there already (--replace replaces it)", sample->part[i].name);
            return 1;
        }
    return 0;
}

/* ---- our members ----------------------------------------------------------------------------- */

/* What was added to s->data from `from` on is a member. */
static int add_member(sink *s, const char *ext, size_t from, vlk_err *err)
{
    if (vlk_grow(&s->member, &s->member_cap, s->members + 1, sizeof *s->member, err))
        return -1;
    s->member[s->members++] = (sink_own_member){.ext = ext, .from = from, .size = s->data.len - from};
    return 0;
}

int sink_member(sink *s, const char *ext, const void *p, size_t n, vlk_err *err)
{
    size_t from = s->data.len;
    return vlk_buf_add(&s->data, p, n, err) ? -1 : add_member(s, ext, from, err);
}

static int add_half(sink *s, const float *v, const size_t *dim, int rank, size_t n, vlk_err *err)
{
    uint16_t *half = vlk_calloc(n ? n : 1, sizeof *half, err);
    if (!half)
        return -1;
    for (size_t i = 0; i < n; i++)
        half[i] = vlk_f32_to_f16(v[i]);
    int rc = vlk_npy_encode(&s->data, VLK_F16, dim, rank, half, err);
    free(half);
    return rc;
}

int sink_member_npy(sink *s, const char *ext, const float *v, const size_t *dim, int rank, vlk_err *err)
{
    size_t from = s->data.len, n = 1;
    for (int i = 0; i < rank; i++)
        n *= dim[i];
    if (s->plan->type != VLK_F16)
        return vlk_npy_encode(&s->data, VLK_F32, dim, rank, v, err) ? -1 : add_member(s, ext, from, err);
    if (sink_too_large(v, n, err))
        return 1;
    return add_half(s, v, dim, rank, n, err) ? -1 : add_member(s, ext, from, err);
}

int sink_member_json(sink *s, const char *ext, const char *fields, vlk_err *err)
{
    size_t from = s->data.len;
    if (vlk_buf_addf(&s->data, err, "{%s%s\"vlkit\": {\"version\": \"%s\", ", fields, *fields ? ", " : "",
                     VLK_VERSION) ||
        provenance_members(&s->plan->made, &s->data, err) || vlk_buf_adds(&s->data, "}}\n", err))
        return -1;
    return add_member(s, ext, from, err);
}

/* ---- out ---------------------------------------------------------------------------------------- */

static int put_given(sink *s, const vlk_sample *sample, int replace, vlk_err *err)
{
    for (size_t i = 0; i < sample->parts; i++) {
        if (replace && is_ours(s, sample, sample->part[i].name))
            continue;
        if (vlk_tar_put_raw(s->out, &sample->part[i], err))
            return -1;
    }
    return 0;
}

int sink_tar_end(sink *s, vlk_err *err)
{
    const vlk_sample *sample = s->item->sample;
    if (put_given(s, sample, s->plan->replace, err))
        return -1;
    for (size_t i = 0; i < s->members; i++) {
        const sink_own_member *m = &s->member[i];
        s->line.len = 0;
        if (vlk_buf_addf(&s->line, err, "%s.%s", sample->key, m->ext) ||
            vlk_tar_put(s->out, s->line.data, s->data.data + m->from, m->size, err))
            return -1;
    }
    return 0;
}

int sink_pass(sink *s, const vlk_item *item, vlk_err *err)
{
    return s->plan->format == CLI_TAR && item->sample ? put_given(s, item->sample, 0, err) : 0;
}
