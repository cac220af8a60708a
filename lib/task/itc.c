/* itc.c - image-text contrast as a task: CLIP's InfoNCE (arXiv 2103.00020) and SigLIP's sigmoid loss (arXiv
 * 2303.15343), both with false captions of the samples.
 *
 *     part 0   images, (items,E)
 *     part 1   the captions of all samples, then their false captions, (items,E)
 *     loss     head/itc_loss.c on normalised features; its gradients by log_scale and bias are the task's own
 *     scale    exp(log_scale); log_scale is held in [0, ln 100] after each step
 * With several processes a sample belongs to rank position mod ranks, image and texts. */
#include "task.h"

#include <math.h>
#include <stdlib.h>

typedef struct itc {
    vlk_task base;
    const vlk_itc_options *o;
    const vlk_model_info *info;
    vlk_tokenizer *tokenizer;
    vlk_train_param *log_scale, *bias; /* bias NULL: there is none */
    int had_bias;                      /* the model was made for the sigmoid loss */
    const vlk_load_batch *b;           /* the batch at hand */
    size_t extra;                      /* its false captions, of all ranks */
    vlk_id_list ids;                   /* texts of our samples */
    size_t *owner;                     /* (texts of the batch) the rank of each */
    size_t owner_cap;
} itc;

/* ---- opening --------------------------------------------------------------------------------------------- */

static int itc_open(vlk_task *t, vlk_err *err)
{
    itc *x = (itc *)t;
    vlk_trainable_options to = t->o.locked;
    x->o = t->o.own;
    x->info = vlk_model_describe(t->o.model);
    x->had_bias = x->info->has_logit_bias;
    to.logit_bias = x->o->loss == VLK_ITC_SIGLIP;
    to.layout = to.logit_bias && !x->had_bias ? VLK_LAYOUT_OPEN_CLIP : VLK_LAYOUT_HF;
    if (vlk_task_add_model(t, &to, err))
        return -1;
    x->tokenizer = vlk_model_tokenizer(t->o.model, err);
    if (!x->tokenizer)
        return -1;
    /* each family has its names for them */
    const vlk_param *scale = vlk_model_log_scale(t->o.model), *bias = vlk_model_logit_bias(t->o.model);
    x->log_scale = vlk_train_params_find(&t->params, scale->w.name);
    x->bias = bias ? vlk_train_params_find(&t->params, bias->w.name) : NULL;
    return x->log_scale ? 0 : vlk_fail(err, VLK_EMODEL, "%s: has no logit_scale", x->info->path);
}

static void itc_close(vlk_task *t)
{
    itc *x = (itc *)t;
    vlk_id_list_clear(&x->ids);
    free(x->owner);
}

/* Scale and bias start where the sigmoid loss wants them, unless the model was made for it. */
static void itc_begin(vlk_task *t)
{
    itc *x = (itc *)t;
    if (x->o->loss != VLK_ITC_SIGLIP || x->had_bias)
        return;
    x->log_scale->value[0] = logf(10);
    if (x->bias)
        x->bias->value[0] = -10;
}

/* Guessing gives ln(batch) with the softmax; a loss three times as large is worse than any that a run comes to. */
static double itc_max_loss(const vlk_task *t)
{
    return ((const itc *)t)->o->loss == VLK_ITC_INFONCE ? 3 * log((double)t->o.batch) : 0;
}

/* ---- texts ------------------------------------------------------------------------------------------------- */

static int add_text(itc *x, const vlk_load_row *row, const vlk_span *text, vlk_err *err)
{
    int r = vlk_id_list_add(&x->ids, x->tokenizer, text->s, text->n, x->info->context, err);
    if (r < 0)
        return vlk_err_prefix(err, "%.*s", (int)(row->key.n < 300 ? row->key.n : 300), row->key.s);
    x->base.cut += r == 2;
    return 0;
}

/* Captions of our rows, then their false ones. */
static int tokenize(itc *x, vlk_err *err)
{
    const vlk_load_batch *b = x->b;
    vlk_id_list_shorten(&x->ids, 0);
    for (size_t i = 0; i < b->owns; i++)
        if (add_text(x, &b->row[b->own[i]], &b->row[b->own[i]].caption, err))
            return -1;
    for (size_t i = 0; i < b->owns; i++) {
        const vlk_load_row *row = &b->row[b->own[i]];
        for (size_t k = 0; k < row->negatives; k++)
            if (add_text(x, row, &row->negative[k], err))
                return -1;
    }
    return 0;
}

/* ---- a step ------------------------------------------------------------------------------------------------ */

/* The rank of each caption, which is that of its image, and of each false caption. */
static int assign(itc *x, vlk_err *err)
{
    const vlk_load_batch *b = x->b;
    const size_t ranks = vlk_task_ranks(&x->base);
    if (vlk_grow(&x->owner, &x->owner_cap, b->rows + x->extra, sizeof *x->owner, err))
        return -1;
    for (size_t i = 0, text = b->rows; i < b->rows; i++) {
        x->owner[i] = (size_t)(b->row[i].position % ranks);
        for (size_t k = 0; k < b->row[i].negatives; k++)
            x->owner[text++] = x->owner[i];
    }
    return 0;
}

static int itc_batch(vlk_task *t, const vlk_load_batch *b, vlk_task_part *part, size_t *parts, vlk_err *err)
{
    itc *x = (itc *)t;
    x->b = b;
    x->extra = 0;
    for (size_t i = 0; i < b->rows; i++)
        x->extra += b->row[i].negatives;
    if (tokenize(x, err) || assign(x, err))
        return -1;
    part[0] = (vlk_task_part){.items = b->owns,
                              .cols = x->info->embed_dim,
                              .piece = vlk_model_piece(t->o.model),
                              .all = b->rows,
                              .owner = x->owner};
    part[1] =
        (vlk_task_part){.items = x->ids.n, .cols = x->info->embed_dim, .all = b->rows + x->extra, .owner = x->owner};
    *parts = 2;
    return 0;
}

static vlk_var *itc_encode(vlk_task *t, const vlk_pass *p, size_t part, size_t from, size_t n)
{
    const itc *x = (itc *)t;
    if (part == 0)
        return vlk_model_images(
            t->o.model, p, &(vlk_images){.b = n, .u8 = x->b->pixels + from * x->info->image_w * x->info->image_h * 3});
    return vlk_model_texts(t->o.model, p, &(vlk_id_texts){.id = x->ids.id, .start = x->ids.start + from, .n = n});
}

static void add_grad(const vlk_train_param *p, double g)
{
    if (p && p->grad)
        p->grad[0] += (float)g;
}

static int itc_loss(vlk_task *t, vlk_tape *second, const float *const *feature, float *const *d, vlk_losses *out,
                    vlk_err *err)
{
    const itc *x = (itc *)t;
    const vlk_itc_batch in = {.image = feature[0],
                              .text = feature[1],
                              .n = x->b->rows,
                              .extra = x->extra,
                              .e = x->info->embed_dim,
                              .log_scale = x->log_scale->value[0],
                              .bias = x->bias ? x->bias->value[0] : 0};
    vlk_itc_grad g = {.image = d[0], .text = d[1]};
    (void)second;
    if (vlk_itc_loss(vlk_tape_kernel(t->o.tape), x->o->loss, &in, &g, err))
        return -1;
    out->loss = g.loss;
    vlk_losses_add(out, "scale", exp((double)in.log_scale));
    if (vlk_task_rank(t) == 0) { /* the same on all ranks: counted once */
        add_grad(x->log_scale, g.log_scale);
        add_grad(x->bias, g.bias);
    }
    return 0;
}

static void itc_updated(vlk_task *t)
{
    float *s = ((itc *)t)->log_scale->value, top = logf(100);
    s[0] = s[0] < 0 ? 0 : s[0] > top ? top : s[0];
}

const vlk_task_kind vlk_task_itc = {
    .name = "itc",
    .needs = VLK_CAN_EMBED_IMAGE | VLK_CAN_EMBED_TEXT,
    .size = sizeof(itc),
    .open = itc_open,
    .close = itc_close,
    .begin = itc_begin,
    .max_loss = itc_max_loss,
    .batch = itc_batch,
    .encode = itc_encode,
    .loss = itc_loss,
    .updated = itc_updated,
};
