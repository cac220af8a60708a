/* engine_explain.c - --explain: the resolved plan of a run, for people.
 *
 * Rates are measured here and now: a tower on grey images (or texts of nine tokens) for a third of a second, in the
 * arithmetic that was asked for and in the other one, so that a user can choose. */
#include "engine.h"

#include <stdlib.h>
#include <string.h>

#include "../../lib/feed/feed.h"

static const double SPAN = 0.35;

/* Items a second, or -1. */
static double rate_images(engine *e, size_t b)
{
    vlk_err err;
    size_t bytes = e->info->image_h * e->info->image_w * 3, bad, n = 0;
    uint8_t *px = vlk_calloc(b, bytes, &err);
    float *out = vlk_calloc(b, e->info->embed_dim * sizeof(float), &err);
    double t0 = 0, rate = -1;
    if (px && out) {
        memset(px, 128, b * bytes);
        for (int i = 0; i < 100000; i++) {
            if (engine_images(e, out, px, b, VLK_UNIT, &bad, &err))
                break;
            if (i == 0) { /* the first one packs weights and reads them from disk */
                t0 = cli_now();
                continue;
            }
            n += b;
            rate = (double)n / (cli_now() - t0);
            if (cli_now() - t0 > SPAN)
                break;
        }
    }
    free(px);
    free(out);
    return rate;
}

static double rate_texts(engine *e, size_t b)
{
    static const char text[] = "a photo of a small red house";
    vlk_err err;
    vlk_id_list ids = {0};
    size_t bad, n = 0;
    double t0 = 0, rate = -1;
    float *out = vlk_calloc(b, e->info->embed_dim * sizeof(float), &err);
    int ok = out && !engine_tokenizer(e, &err);
    for (size_t i = 0; i < b && ok; i++)
        ok = engine_ids_add(e, &ids, text, strlen(text), CLI_LONG_TRUNCATE, &err) > 0;
    for (int i = 0; i < 100000 && ok; i++) {
        if (engine_texts(e, out, &ids, VLK_UNIT, &bad, &err))
            break;
        if (i == 0) {
            t0 = cli_now();
            continue;
        }
        n += b;
        rate = (double)n / (cli_now() - t0);
        if (cli_now() - t0 > SPAN)
            break;
    }
    vlk_id_list_clear(&ids);
    free(out);
    return rate;
}

static int add_rates(engine *e, const cli_common *c, vlk_buf *out, vlk_err *err)
{
    const char *name = cli_word_of(cli_dtype_words, (int)c->dtype);
    size_t images = engine_image_batch(e, c), texts = engine_text_batch(c);
    double r = rate_images(e, images);
    if (r > 0 && vlk_buf_addf(out, err, "rate          %-5s %.1f images/s (tower alone, batch %zu)\n", name, r, images))
        return -1;
    r = rate_texts(e, texts);
    return r > 0 ? vlk_buf_addf(out, err, "rate          %-5s %.1f texts/s (short ones, batch %zu)\n", name, r, texts)
                 : 0;
}

static int add_other_rates(const cli_common *c, vlk_buf *out, vlk_err *err)
{
    engine other;
    vlk_err skip;
    cli_common oc = *c;
    oc.dtype = c->dtype == VLK_F32 ? VLK_BF16 : VLK_F32;
    if (engine_open(&other, &oc, ENGINE_IMAGES | ENGINE_TEXTS | ENGINE_ANY, &skip))
        return vlk_buf_addf(out, err, "rate          %-5s not here: %s\n", cli_word_of(cli_dtype_words, (int)oc.dtype),
                            skip.msg);
    int rc = add_rates(&other, &oc, out, err);
    engine_close(&other);
    return rc;
}

static int add_model(const engine *e, vlk_buf *out, vlk_err *err)
{
    char text[512], hash[65];
    const vlk_model_info *m = e->info;
    double mb = 1.0 / (1 << 20);
    if (vlk_model_hash(e->model, hash, err) ||
        vlk_buf_addf(out, err, "model         %s\nmodel id      %s\nweights       sha256 %s\n", m->path, m->id, hash))
        return -1;
    for (size_t i = 0; i < m->parts; i++)
        if (vlk_buf_addf(out, err, "%s%s %.1f MB", i ? ", " : "towers        ", m->part[i].title,
                         (double)m->part[i].bytes * mb))
            return -1;
    if (vlk_buf_adds(out, ", as stored\n", err))
        return -1;
    if (m->image_w == 0)
        return 0;
    return vlk_buf_addf(out, err, "images        %s\n", vlk_preprocess_text(&m->preprocess, text, sizeof text));
}

static int add_machine(const engine *e, const cli_common *c, vlk_buf *out, vlk_err *err)
{
    char text[512];
    if (vlk_buf_addf(out, err, "share         %s\n", cli_share() ? cli_share() : "none found") ||
        vlk_buf_addf(out, err, "kernel        %s\n", vlk_kernel_text(e->kernel, text, sizeof text)))
        return -1;
    if (vlk_kernel_note(e->kernel, text, sizeof text) && vlk_buf_addf(out, err, "note          %s\n", text))
        return -1;
    return vlk_buf_addf(out, err, "threads       %zu compute, %zu decode\nbatch         %zu images, %zu texts\n",
                        c->threads, c->threads, engine_image_batch(e, c), engine_text_batch(c));
}

int engine_explain(engine *e, const cli_common *c, vlk_buf *out, vlk_err *err)
{
    if (add_model(e, out, err) || add_machine(e, c, out, err) || add_rates(e, c, out, err))
        return -1;
    if (vlk_buf_addf(out, err, "memory        %.1f MB peak so far; encoded input in flight: at most %zu MB\n",
                     (double)cli_peak_memory() / (1 << 20), vlk_feed_memory(c->threads) >> 20))
        return -1;
    return add_other_rates(c, out, err);
}
