/* engine_explain.c - --explain: the resolved plan of a run, for people.
 *
 * Rates are measured here and now: a tower on grey images (or texts of nine tokens) for a third of a second, in the
 * arithmetic that was asked for and in the other one, so that a user can choose. */
#include "engine.h"

#include <stdlib.h>
#include <string.h>

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
            if (engine_images(e, out, px, b, 1, &bad, &err) != 0)
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
    engine_ids ids = {0};
    size_t bad, n = 0;
    double t0 = 0, rate = -1;
    float *out = vlk_calloc(b, e->info->embed_dim * sizeof(float), &err);
    int ok = out != NULL;
    for (size_t i = 0; i < b && ok; i++)
        ok = engine_ids_add(e, &ids, text, strlen(text), CLI_LONG_TRUNCATE, &err) > 0;
    for (int i = 0; i < 100000 && ok; i++) {
        if (engine_texts(e, out, &ids, 1, &bad, &err) != 0)
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
    engine_ids_clear(&ids);
    free(out);
    return rate;
}

static int add_rates(engine *e, const cli_common *c, int want_image, int want_text, const char *name, vlk_buf *out,
                     vlk_err *err)
{
    int rc = 0;
    double r;
    if (want_image && (r = rate_images(e, engine_image_batch(e, c))) > 0)
        rc = vlk_buf_addf(out, err, "rate          %-5s %.1f images/s (tower alone, batch %zu)\n", name, r,
                          engine_image_batch(e, c));
    if (rc == 0 && want_text && (r = rate_texts(e, engine_text_batch(e, c))) > 0)
        rc = vlk_buf_addf(out, err, "rate          %-5s %.1f texts/s (short ones, batch %zu)\n", name, r,
                          engine_text_batch(e, c));
    return rc;
}

static int add_other_rates(const cli_common *c, int want_image, int want_text, vlk_buf *out, vlk_err *err)
{
    engine other;
    vlk_err skip;
    cli_common oc = *c;
    oc.dtype = c->dtype == VLK_F32 ? VLK_BF16 : VLK_F32;
    const char *name = cli_word_of(cli_dtype_words, (int)oc.dtype);
    if (engine_open(&other, &oc, want_image, want_text, &skip) != 0)
        return vlk_buf_addf(out, err, "rate          %-5s not here: %s\n", name, skip.msg);
    int rc = add_rates(&other, &oc, want_image, want_text, name, out, err);
    engine_close(&other);
    return rc;
}

int engine_explain(engine *e, const cli_common *c, int want_image, int want_text, vlk_buf *out, vlk_err *err)
{
    char text[512], hash[65];
    const vlk_model_info *m = e->info;
    double mb = 1.0 / (1 << 20);
    if (vlk_model_hash(e->model, hash, err) != 0)
        return -1;
    int rc =
        vlk_buf_addf(out, err, "model         %s\nmodel id      %s\nweights       sha256 %s\n", m->path, m->id, hash);
    rc = rc ? rc
            : vlk_buf_addf(out, err, "towers        image %.1f MB, text %.1f MB, as stored\n",
                           (double)m->weight_bytes_image * mb, (double)m->weight_bytes_text * mb);
    rc = rc ? rc : vlk_buf_addf(out, err, "images      %s\n", vlk_preprocess_text(&m->preprocess, text, sizeof text));
    rc = rc ? rc : vlk_buf_addf(out, err, "share         %s\n", cli_share() ? cli_share() : "none found");
    rc = rc ? rc : vlk_buf_addf(out, err, "kernel        %s\n", vlk_kernel_text(e->kernel, text, sizeof text));
    if (rc == 0 && vlk_kernel_note(e->kernel, text, sizeof text))
        rc = vlk_buf_addf(out, err, "note          %s\n", text);
    rc = rc ? rc
            : vlk_buf_addf(out, err, "threads       %zu compute, %zu decode\nbatch         %zu images, %zu texts\n",
                           c->threads, c->threads, engine_image_batch(e, c), engine_text_batch(e, c));
    rc = rc ? rc : add_rates(e, c, want_image, want_text, cli_word_of(cli_dtype_words, (int)c->dtype), out, err);
    rc = rc ? rc : vlk_buf_addf(out, err, "memory        %.1f MB peak so far\n", (double)cli_peak_memory() * mb);
    return rc ? rc : add_other_rates(c, want_image, want_text, out, err);
}
