/* init.c - the numbers that a new model starts with, and a position table for another size of image.
 *
 * Hugging Face's (init hf) and open_clip's (init openai) rules; w width of the tower, L its layers. A tensor's numbers
 * are a function of the seed, its place among the parameters, and the element. */
#include "model_internal.h"

#include <math.h>
#include <string.h>

struct draw {
    double normal, uniform, constant; /* deviation; bound; value: one of them, the others 0 */
};

static int is(const vlk_bound *b, const char *ours)
{
    return strcmp(b->row->ours, ours) == 0;
}

static int ends(const vlk_bound *b, const char *end)
{
    const size_t n = strlen(b->row->ours), e = strlen(end);
    return n >= e && strcmp(b->row->ours + n - e, end) == 0;
}

static int is_gain(const vlk_bound *b)
{
    return ends(b, ".g");
}

static int is_qkv(const vlk_bound *b)
{
    return ends(b, "q_w") || ends(b, "k_w") || ends(b, "v_w");
}

/* The rules that both have in common, with deviations of their own where noted. */
static struct draw of_hf(const vlk_bound *b, double w, double layers)
{
    const double deep = 1 / sqrt(2 * layers);
    if (is_gain(b))
        return (struct draw){.constant = 1};
    if (is(b, "token") || is(b, "pos") || is(b, "patch_w"))
        return (struct draw){.normal = 0.02};
    if (is(b, "cls") || is(b, "proj") || is(b, "probe.probe"))
        return (struct draw){.normal = 1 / sqrt(w)};
    if (is_qkv(b) || ends(b, "fc2_w"))
        return (struct draw){.normal = deep / sqrt(w)};
    if (ends(b, "o_w"))
        return (struct draw){.normal = 1 / sqrt(w)};
    if (ends(b, "fc1_w"))
        return (struct draw){.normal = 1 / sqrt(2 * w)};
    return (struct draw){0}; /* biases */
}

static struct draw of_openai_text(const vlk_bound *b, double w, double mlp, double layers)
{
    if (is(b, "pos"))
        return (struct draw){.normal = 0.01};
    if (is_qkv(b))
        return (struct draw){.normal = 1 / sqrt(w)};
    if (ends(b, "o_w") || ends(b, "fc2_w"))
        return (struct draw){.normal = 1 / sqrt(2 * layers * w)};
    if (ends(b, "fc1_b") || ends(b, "fc2_b")) /* torch's: 1 / sqrt(inputs) */
        return (struct draw){.uniform = 1 / sqrt(ends(b, "fc1_b") ? w : mlp)};
    return of_hf(b, w, layers);
}

static struct draw of_openai_vit(const vlk_bound *b, double w, double mlp)
{
    if (is_gain(b))
        return (struct draw){.constant = 1};
    if (is(b, "cls") || is(b, "pos") || is(b, "proj"))
        return (struct draw){.normal = 1 / sqrt(w)};
    if (is_qkv(b)) /* Xavier of the stacked matrix */
        return (struct draw){.uniform = sqrt(6 / (4 * w))};
    if (ends(b, "fc1_b") || ends(b, "fc2_b"))
        return (struct draw){.uniform = 1 / sqrt(ends(b, "fc1_b") ? w : mlp)};
    if (b->kind == VLK_MATRIX)
        return (struct draw){.uniform = 1 / sqrt((double)b->p->w.k)};
    return (struct draw){0};
}

static struct draw of_resnet(const vlk_bound *b, double w)
{
    if (ends(b, ".var"))
        return (struct draw){.constant = 1};
    if (ends(b, ".mean"))
        return (struct draw){0};
    if (ends(b, ".weight")) /* bn3 of a bottleneck starts the block as the identity */
        return (struct draw){.constant = !(b->table == VLK_NAMES_BOTTLENECK && is(b, "bn3.weight"))};
    if (ends(b, ".bias"))
        return (struct draw){0};
    if (is(b, "pos") || is_qkv(b) || ends(b, "o_w"))
        return (struct draw){.normal = 1 / sqrt(w)};
    if (b->kind == VLK_MATRIX)
        return (struct draw){.uniform = 1 / sqrt((double)b->p->w.k)};
    return (struct draw){.uniform = 1 / sqrt(w)};
}

static struct draw rule(const vlk_model *m, const vlk_bound *b, vlk_init init)
{
    const int text = b->tower == VLK_TOWER_TEXT;
    const vlk_block_config *c = text ? &m->config.text.block : &m->config.vit.block;
    const double layers = (double)(text ? m->config.text.layers : m->config.vit.layers);
    if (!text && m->config.has_resnet)
        return of_resnet(b, 32.0 * (double)m->config.resnet.width);
    if (init == VLK_INIT_HF)
        return of_hf(b, (double)c->width, layers > 0 ? layers : 1);
    return text ? of_openai_text(b, (double)c->width, (double)c->mlp, layers > 0 ? layers : 1)
                : of_openai_vit(b, (double)c->width, (double)c->mlp);
}

void vlk_model_draw(vlk_model *m, vlk_init init, uint64_t seed)
{
    for (size_t i = 0; i < m->nbound; i++) {
        const vlk_bound *b = &m->bound[i];
        const struct draw d = rule(m, b, init);
        const uint64_t key[4] = {seed, 0, 0, vlk_random_for(VLK_RANDOM_INIT, i)};
        float *f = (float *)(uintptr_t)b->p->w.data;
        for (size_t e = 0; e < b->p->w.n * b->p->w.k; e++) {
            f[e] = (float)d.constant;
            if (d.normal != 0)
                f[e] = (float)(d.normal * vlk_random_normal(key, e));
            else if (d.uniform != 0)
                f[e] = (float)(d.uniform * (2 * vlk_random_uniform(key, e) - 1));
        }
    }
}

/* ---- another size of image ------------------------------------------------------------------------- */

/* Keys' cubic with a = -1/2, the filter of Pillow and of torch's bicubic with antialias, which open_clip takes. */
static double cubic(double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1)
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

/* Weights of `from` cells for cell i of `to`: the filter is as wide as the cells that it joins. */
static void weights(double *w, size_t from, size_t to, size_t i)
{
    const double ratio = (double)from / (double)to, wide = ratio > 1 ? ratio : 1, centre = ((double)i + 0.5) * ratio;
    double sum = 0;
    for (size_t j = 0; j < from; j++)
        sum += w[j] = cubic(((double)j + 0.5 - centre) / wide);
    for (size_t j = 0; j < from; j++)
        w[j] /= sum;
}

/* Grid of `from` x `from` rows of d to `to` x `to`. */
static int resample(vlk_model *m, float *out, const float *in, size_t from, size_t to, size_t d, vlk_err *err)
{
    double *wy = vlk_arena_alloc(m->arena, 2 * from * sizeof *wy, err), *wx = wy + from;
    double *sum = wy ? vlk_arena_alloc(m->arena, d * sizeof *sum, err) : NULL;
    if (!sum)
        return -1;
    for (size_t y = 0; y < to; y++)
        for (size_t x = 0; x < to; x++) {
            weights(wy, from, to, y);
            weights(wx, from, to, x);
            memset(sum, 0, d * sizeof *sum);
            for (size_t i = 0; i < from; i++)
                for (size_t j = 0; j < from && wy[i] != 0; j++)
                    for (size_t k = 0; k < d && wx[j] != 0; k++)
                        sum[k] += wy[i] * wx[j] * in[(i * from + j) * d + k];
            for (size_t k = 0; k < d; k++)
                out[(y * to + x) * d + k] = (float)sum[k];
        }
    return 0;
}

int vlk_model_resize(vlk_model *m, size_t image, vlk_err *err)
{
    const int resnet = m->config.has_resnet;
    const vlk_vit_config *v = &m->config.vit;
    vlk_param *p = resnet ? &m->resnet.pos : &m->vit.pos; /* a ResNet's: of its attention pool */
    size_t *side = resnet ? &m->config.resnet.image : &m->config.vit.image;
    const size_t d = resnet ? 32 * m->config.resnet.width : v->block.width, cls = resnet ? 1 : (size_t)v->class_token;
    const size_t cell = resnet ? 32 : v->patch;
    if (cell == 0 || image < cell || image > VLK_MAX_IMAGE || (resnet && image % cell))
        return vlk_fail(err, VLK_EUSAGE, "%s: no model for images of %zu can be made of one for %zu", m->folder, image,
                        *side);
    const size_t from = *side / cell, to = image / cell, rows = to * to + cls;
    float *old = vlk_arena_alloc(m->arena, p->w.n * d * sizeof *old, err);
    float *table = old ? vlk_arena_alloc(m->arena, rows * d * sizeof *table, err) : NULL;
    if (!table)
        return -1;
    vlk_to_f32(old, p->w.data, p->w.dtype, p->w.n * d);
    memcpy(table, old, cls * d * sizeof *table);
    if (resample(m, table + cls * d, old + cls * d, from, to, d, err) != 0)
        return -1;
    m->info.image.parameters = m->info.image.parameters - p->w.n * d + rows * d;
    p->w.data = table;
    p->w.dtype = VLK_F32;
    p->w.n = rows;
    p->w.map = NULL;
    p->w.map_bytes = 0;
    for (size_t i = 0; i < m->nbound; i++)
        if (m->bound[i].p == p)
            m->bound[i].dim[0][0] = m->bound[i].dim[1][0] = rows;
    vlk_preprocess *r = &m->info.preprocess; /* its sides grow with the image */
    if (m->has_preprocess) {
        r->size_w = r->size_w * image / *side;
        r->size_h = r->size_h * image / *side;
        r->crop_w = r->crop_w * image / *side;
        r->crop_h = r->crop_h * image / *side;
    }
    *side = image;
    return 0;
}
