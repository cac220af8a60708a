/* init.c - the numbers that a new model starts with, by the rules of its fields (fields.c).
 *
 * A tensor's numbers are a function of the seed, its place among the parameters, and the element. */
#include "model_internal.h"

#include <math.h>

struct draw {
    double normal, uniform, constant; /* deviation; bound; value: one of them, the others 0 */
};

/* w width of the part, L its layers, m its hidden width, k inputs of the tensor. */
static struct draw draw_of(vlk_start start, double w, double layers, double m, double k)
{
    switch (start) {
    case VLK_START_ZERO:
        return (struct draw){0};
    case VLK_START_ONE:
        return (struct draw){.constant = 1};
    case VLK_START_NORMAL_02:
        return (struct draw){.normal = 0.02};
    case VLK_START_NORMAL_01:
        return (struct draw){.normal = 0.01};
    case VLK_START_NORMAL_WIDTH:
        return (struct draw){.normal = 1 / sqrt(w)};
    case VLK_START_NORMAL_TWICE:
        return (struct draw){.normal = 1 / sqrt(2 * w)};
    case VLK_START_NORMAL_DEEP:
        return (struct draw){.normal = 1 / sqrt(2 * layers) / sqrt(w)};
    case VLK_START_NORMAL_DEEP_WIDTH:
        return (struct draw){.normal = 1 / sqrt(2 * layers * w)};
    case VLK_START_UNIFORM_XAVIER:
        return (struct draw){.uniform = sqrt(6 / (4 * w))};
    case VLK_START_UNIFORM_INPUTS:
        return (struct draw){.uniform = 1 / sqrt(k)};
    case VLK_START_UNIFORM_WIDTH:
        return (struct draw){.uniform = 1 / sqrt(w)};
    case VLK_START_UNIFORM_HIDDEN:
        return (struct draw){.uniform = 1 / sqrt(m)};
    }
    return (struct draw){0};
}

static struct draw draw_for(const vlk_bound *b, vlk_init init)
{
    const vlk_part_kind *kind = b->part->kind;
    const size_t layers = kind->depth(b->part->config);
    vlk_sizes s = {.has = 0};
    kind->sizes(&s, b->part->config, b->layer, b->stage);
    return draw_of(b->field->start[init == VLK_INIT_HF ? VLK_RULE_HF : kind->openai], (double)s.dim['w'],
                   layers ? (double)layers : 1, (double)s.dim['m'], (double)b->p->w.k);
}

void vlk_model_draw(vlk_model *m, vlk_init init, uint64_t seed)
{
    for (size_t i = 0; i < m->nbound; i++) {
        const vlk_bound *b = &m->bound[i];
        if (b->part->source->weights)
            continue;
        const struct draw d = draw_for(b, init);
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
