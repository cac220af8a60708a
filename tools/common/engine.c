/* engine.c - from the command line to a model that runs; vectors are checked before anybody sees them. */
#include "engine.h"

#include <string.h>

int engine_open(engine *e, const cli_common *c, unsigned want, vlk_err *err)
{
    vlk_kernel_options ko = {.threads = (int)c->threads, .arith = c->dtype};
    vlk_model_options mo = {.arch = c->arch,
                            .share = cli_share(),
                            .want = (want & ENGINE_IMAGES ? VLK_CAN_EMBED_IMAGE : 0u) |
                                    (want & ENGINE_TEXTS ? VLK_CAN_EMBED_TEXT : 0u) |
                                    (want & ENGINE_ANY ? VLK_CAN_ANY : 0u)};
    memset(e, 0, sizeof *e);
    if (cli_kernel_options(&ko, err))
        return -1;
    e->model = vlk_model_open(c->model ? c->model : c->default_model, &mo, err);
    e->kernel = e->model ? vlk_kernel_new(&ko, err) : NULL;
    e->tape = e->kernel ? vlk_tape_new(e->kernel, err) : NULL;
    if (!e->tape || (want & ENGINE_TOKENIZER && engine_tokenizer(e, err))) {
        engine_close(e);
        return -1;
    }
    e->info = vlk_model_describe(e->model);
    return 0;
}

int engine_tokenizer(engine *e, vlk_err *err)
{
    e->tokenizer = vlk_model_tokenizer(e->model, err);
    return e->tokenizer ? 0 : -1;
}

void engine_close(engine *e)
{
    vlk_tape_free(e->tape);
    if (e->model && e->kernel)
        vlk_model_release(e->model, e->kernel);
    vlk_model_close(e->model);
    vlk_kernel_free(e->kernel);
    memset(e, 0, sizeof *e);
}

/* Products are near their peak from some 1000 rows (tokens of all images); more only costs memory. */
size_t engine_image_batch(const engine *e, const cli_common *c)
{
    const vlk_part_info *image = vlk_model_part_that(e->info, VLK_SEES_IMAGES);
    size_t b = 1024 / (image && image->tokens ? image->tokens : 50);
    if (image && strcmp(image->kind, "resnet") == 0)
        b = 2; /* its rows are pixels of feature maps: plenty, and large */
    else
        b = b < 4 ? 4 : b > 64 ? 64 : b;
    return c->batch ? c->batch : b;
}

size_t engine_text_batch(const cli_common *c)
{
    return c->batch ? c->batch : 64;
}

int engine_info(const engine *e, vlk_buf *out, vlk_err *err)
{
    return vlk_model_json(e->model, out, err) ? -1 : vlk_buf_adds(out, "\n", err);
}

static int check_rows(const float *v, size_t n, size_t d, size_t *bad, vlk_err *err)
{
    for (size_t i = 0; i < n; i++) {
        if (vlk_all_finite(v + i * d, d))
            continue;
        *bad = i;
        return vlk_fail(err, VLK_EVALUE, "its vector is not finite");
    }
    return 0;
}

int engine_images(engine *e, float *out, const uint8_t *pixels, size_t n, vlk_length length, size_t *bad, vlk_err *err)
{
    *bad = SIZE_MAX;
    if (n == 0)
        return 0;
    if (vlk_model_encode_images(e->model, &(vlk_pass){.t = e->tape}, out, &(vlk_images){.b = n, .u8 = pixels}, length,
                                err))
        return -1;
    return check_rows(out, n, e->info->embed_dim, bad, err);
}

/* ---- texts --------------------------------------------------------------------------------- */

int engine_ids_add(engine *e, vlk_id_list *ids, const char *s, size_t n, cli_long_text long_text, vlk_err *err)
{
    int r = vlk_id_list_add(ids, e->tokenizer, s, n, e->info->context, err);
    if (r == 2 && long_text == CLI_LONG_ERROR) {
        vlk_id_list_shorten(ids, ids->n - 1);
        return vlk_fail(err, VLK_ELIMIT, "text of %zu tokens, the model takes %zu", ids->whole,
                        vlk_tokenizer_longest(e->tokenizer, e->info->context));
    }
    return r;
}

int engine_texts(engine *e, float *out, const vlk_id_list *ids, vlk_length length, size_t *bad, vlk_err *err)
{
    *bad = SIZE_MAX;
    if (ids->n == 0)
        return 0;
    if (vlk_model_encode_texts(e->model, &(vlk_pass){.t = e->tape}, out,
                               &(vlk_id_texts){.id = ids->id, .start = ids->start, .n = ids->n}, length, err))
        return -1;
    return check_rows(out, ids->n, e->info->embed_dim, bad, err);
}
