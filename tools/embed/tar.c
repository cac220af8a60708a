/* embed_tar.c - tar to tar: given members byte for byte, ours behind the sample's.
 *
 *   KEY.clip.npy   (E) <f4, or <f2 with --half; --pairs: of the image
 *   KEY.text.npy   --pairs: (E), with several captions (n,E)
 *   KEY.clip.json  {"vlkit": {...}}, --pairs with "cosine": a number, with several captions a list
 *
 * A given member that stands under one of these names is an error of the item; with --replace it is left out. */
#include "embed.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int is_ours(const embed_sink *s, const vlk_sample *sample, const char *name)
{
    static const char *const ext[] = {"clip.npy", "clip.json", "text.npy"};
    size_t n = strlen(sample->key), k = s->job->mode == EMBED_PAIRS ? 3 : 2;
    if (strncmp(name, sample->key, n) != 0 || name[n] != '.')
        return 0;
    for (size_t i = 0; i < k; i++)
        if (strcmp(name + n + 1, ext[i]) == 0)
            return 1;
    return 0;
}

/* The sample's members, without those that are replaced. */
static int put_given(embed_sink *s, const vlk_sample *sample, int replace, vlk_err *err)
{
    for (size_t i = 0; i < sample->parts; i++)
        if (!(replace && is_ours(s, sample, sample->part[i].name)) &&
            vlk_tar_put_raw(s->out, &sample->part[i], err) != 0)
            return -1;
    return 0;
}

static int put_member(embed_sink *s, const char *key, const char *ext, const void *p, size_t n, vlk_err *err)
{
    s->line.len = 0;
    return vlk_buf_addf(&s->line, err, "%s.%s", key, ext) || vlk_tar_put(s->out, s->line.data, p, n, err) ? -1 : 0;
}

static int put_matrix(embed_sink *s, const char *key, const char *ext, const float *v, size_t rows, int rank,
                      vlk_err *err)
{
    size_t e = s->job->eng.info->embed_dim, dim[2] = {rank == 1 ? e : rows, e};
    uint16_t *half = NULL;
    int rc = 0;
    s->member.len = 0;
    if (s->job->o->half) {
        half = vlk_calloc(rows * e, sizeof *half, err);
        rc = half ? 0 : -1;
        for (size_t i = 0; half && i < rows * e; i++)
            half[i] = vlk_f32_to_f16(v[i]);
    }
    if (rc == 0)
        rc = vlk_npy_encode(&s->member, half ? VLK_F16 : VLK_F32, dim, rank, half ? (const void *)half : v, err);
    free(half);
    return rc == 0 ? put_member(s, key, ext, s->member.data, s->member.len, err) : -1;
}

static int put_json(embed_sink *s, const embed_row *r, const char *key, vlk_err *err)
{
    vlk_buf *b = &s->member;
    int rc;
    b->len = 0;
    rc = vlk_buf_adds(b, "{", err);
    if (rc == 0 && s->job->mode == EMBED_PAIRS) {
        rc = vlk_buf_adds(b, r->n_texts > 1 ? "\"cosine\": [" : "\"cosine\": ", err);
        for (size_t i = 0; i < r->n_texts && rc == 0; i++)
            rc = vlk_buf_addf(b, err, "%s%.9g", i ? ", " : "", (double)r->cosine[i]);
        rc = rc ? rc : vlk_buf_adds(b, r->n_texts > 1 ? "], " : ", ", err);
    }
    rc = rc || vlk_buf_addf(b, err, "\"vlkit\": {\"version\": \"%s\", ", VLK_VERSION) ||
         provenance_members(&s->job->prov, b, err) || vlk_buf_adds(b, "}}\n", err);
    return rc == 0 ? put_member(s, key, "clip.json", b->data, b->len, err) : -1;
}

int embed_tar_row(embed_sink *s, const embed_row *r, vlk_err *err)
{
    const vlk_sample *sample = r->item->sample;
    if (!sample)
        return vlk_fail(err, VLK_EUSAGE, "%s: tar is written from tar only", r->item->source->path);
    for (size_t i = 0; i < sample->parts && !s->job->o->replace; i++) {
        if (!is_ours(s, sample, sample->part[i].name))
            continue;
        vlk_fail(err, VLK_EUSAGE, "%s is there already (--replace replaces it)", sample->part[i].name);
        return 1;
    }
    for (size_t i = 0; i < s->job->eng.info->embed_dim && s->job->o->half; i++) {
        if (fabsf(r->vec[i]) < 65520) /* what rounds to a finite half */
            continue;
        vlk_fail(err, VLK_EVALUE, "its vector has %g, too large for --half", (double)r->vec[i]);
        return 1;
    }
    if (put_given(s, sample, s->job->o->replace, err) != 0 ||
        put_matrix(s, sample->key, "clip.npy", r->vec, 1, 1, err) != 0)
        return -1;
    if (s->job->mode == EMBED_PAIRS &&
        put_matrix(s, sample->key, "text.npy", r->texts, r->n_texts, r->n_texts > 1 ? 2 : 1, err) != 0)
        return -1;
    return put_json(s, r, sample->key, err);
}

int embed_tar_pass(embed_sink *s, const vlk_item *item, vlk_err *err)
{
    return item->sample ? put_given(s, item->sample, 0, err) : 0;
}
