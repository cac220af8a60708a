/* model_file.h - checkpoints with random weights of any size, written without any reference library: Hugging Face's
 * names, and OpenAI's and open_clip's. Names are spelled out here on their own, so that a wrong one in the library
 * shows. */
#ifndef VLK_MODEL_FILE_H
#define VLK_MODEL_FILE_H

#include "../lib/stream/stream.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct clip_size {
    size_t image, patch, width, layers, heads, mlp;       /* ViT */
    size_t stage[4], stem;                                /* ResNet where stem is set */
    size_t text_width, text_layers, text_heads, text_mlp; /* texts */
    size_t context, vocab, embed;
} clip_size;

/* Rows of tables of published models: an image tower, a text tower with OpenAI's vocabulary and context. */
#define VIT(image_, patch_, width_, layers_, heads_, mlp_)                                                             \
    .image = image_, .patch = patch_, .width = width_, .layers = layers_, .heads = heads_, .mlp = mlp_
#define RESNET(image_, stem_, ...) .image = image_, .stem = stem_, .stage = {__VA_ARGS__}
#define TEXTS(width_, layers_, heads_, mlp_, embed_)                                                                   \
    .text_width = width_, .text_layers = layers_, .text_heads = heads_, .text_mlp = mlp_, .embed = embed_,             \
    .context = 77, .vocab = 49408

/* How values are stored: one type, or OpenAI's mix of f16 and f32. */
typedef enum file_type { FILE_F32, FILE_F16, FILE_BF16, FILE_OPENAI } file_type;

struct file_tensor {
    char name[128];
    vlk_dtype dtype;
    size_t dim[4];
    int rank;
    double mean, std;
};

struct file_model {
    struct file_tensor *t;
    size_t n, cap;
    file_type type;
    const char *prefix; /* of open_clip's texts: "" or "text." */
};

/* `half`: f16 in OpenAI's files. shape: up to four sizes, 0 ends it. Gains are near 1, matrices 1/sqrt(inputs). */
__attribute__((format(printf, 8, 9))) static void file_add(struct file_model *m, int half, int gain, size_t a, size_t b,
                                                           size_t c, size_t d, const char *fmt, ...)
{
    static const vlk_dtype types[] = {VLK_F32, VLK_F16, VLK_BF16};
    vlk_err err;
    if (vlk_grow(&m->t, &m->cap, m->n + 1, sizeof *m->t, &err))
        abort();
    struct file_tensor *t = &m->t[m->n++];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(t->name, sizeof t->name, fmt, ap);
    va_end(ap);
    t->dtype = m->type == FILE_OPENAI ? (half ? VLK_F16 : VLK_F32) : types[m->type];
    t->dim[0] = a, t->dim[1] = b, t->dim[2] = c, t->dim[3] = d;
    for (t->rank = 0; t->rank < 4 && t->dim[t->rank]; t->rank++)
        ;
    size_t inputs = (b ? b : 1) * (c ? c : 1) * (d ? d : 1);
    t->mean = gain;
    t->std = gain || t->rank < 2 ? 0.05 : 1 / sqrt((double)inputs);
}

#define ADD(half, gain, a, b, c, d, ...) file_add(m, half, gain, a, b, c, d, __VA_ARGS__)

static inline void file_norm(struct file_model *m, size_t w, const char *name)
{
    ADD(0, 1, w, 0, 0, 0, "%s.weight", name);
    ADD(0, 0, w, 0, 0, 0, "%s.bias", name);
}

static inline void file_linear(struct file_model *m, size_t n, size_t k, const char *name)
{
    ADD(1, 0, n, k, 0, 0, "%s.weight", name);
    ADD(1, 0, n, 0, 0, 0, "%s.bias", name);
}

static inline void file_hf_tower(struct file_model *m, const char *tower, size_t layers, size_t w, size_t mlp)
{
    static const char *const square[] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                                         "self_attn.out_proj"};
    char name[128];
    for (size_t i = 0; i < layers; i++) {
        int n = snprintf(name, sizeof name, "%s.encoder.layers.%zu.", tower, i);
#define SUB(s) (snprintf(name + n, sizeof name - (size_t)n, "%s", s), name)
        file_norm(m, w, SUB("layer_norm1"));
        file_norm(m, w, SUB("layer_norm2"));
        for (size_t j = 0; j < 4; j++)
            file_linear(m, w, w, SUB(square[j]));
        file_linear(m, mlp, w, SUB("mlp.fc1"));
        file_linear(m, w, mlp, SUB("mlp.fc2"));
    }
}

static inline void file_hf(struct file_model *m, const clip_size *s)
{
    size_t grid = s->image / s->patch;
    ADD(0, 1, 0, 0, 0, 0, "logit_scale");
    ADD(1, 0, s->width, 3, s->patch, s->patch, "vision_model.embeddings.patch_embedding.weight");
    ADD(0, 0, s->width, 0, 0, 0, "vision_model.embeddings.class_embedding");
    ADD(0, 0, grid * grid + 1, s->width, 0, 0, "vision_model.embeddings.position_embedding.weight");
    file_norm(m, s->width, "vision_model.pre_layrnorm");
    file_norm(m, s->width, "vision_model.post_layernorm");
    file_hf_tower(m, "vision_model", s->layers, s->width, s->mlp);
    ADD(1, 0, s->embed, s->width, 0, 0, "visual_projection.weight");
    ADD(0, 0, s->vocab, s->text_width, 0, 0, "text_model.embeddings.token_embedding.weight");
    ADD(0, 0, s->context, s->text_width, 0, 0, "text_model.embeddings.position_embedding.weight");
    file_norm(m, s->text_width, "text_model.final_layer_norm");
    file_hf_tower(m, "text_model", s->text_layers, s->text_width, s->text_mlp);
    ADD(1, 0, s->embed, s->text_width, 0, 0, "text_projection.weight");
}

static inline void file_oc_tower(struct file_model *m, const char *tower, size_t layers, size_t w, size_t mlp)
{
    char name[128];
    for (size_t i = 0; i < layers; i++) {
        int n = snprintf(name, sizeof name, "%stransformer.resblocks.%zu.", tower, i);
        file_norm(m, w, SUB("ln_1"));
        file_norm(m, w, SUB("ln_2"));
        ADD(1, 0, 3 * w, w, 0, 0, "%s", SUB("attn.in_proj_weight"));
        ADD(1, 0, 3 * w, 0, 0, 0, "%s", SUB("attn.in_proj_bias"));
        file_linear(m, w, w, SUB("attn.out_proj"));
        file_linear(m, mlp, w, SUB("mlp.c_fc"));
        file_linear(m, w, mlp, SUB("mlp.c_proj"));
    }
}

static inline void file_bn(struct file_model *m, size_t c, const char *name)
{
    file_norm(m, c, name);
    ADD(0, 0, c, 0, 0, 0, "%s.running_mean", name);
    ADD(0, 1, c, 0, 0, 0, "%s.running_var", name);
}

static inline void file_resnet(struct file_model *m, const clip_size *s)
{
    static const char *const pools[] = {"visual.attnpool.q_proj", "visual.attnpool.k_proj", "visual.attnpool.v_proj"};
    size_t w = s->stem, in = w, c = 32 * w, grid = s->image / 32;
    char name[128];
    ADD(1, 0, w / 2, 3, 3, 3, "visual.conv1.weight");
    ADD(1, 0, w / 2, w / 2, 3, 3, "visual.conv2.weight");
    ADD(1, 0, w, w / 2, 3, 3, "visual.conv3.weight");
    file_bn(m, w / 2, "visual.bn1");
    file_bn(m, w / 2, "visual.bn2");
    file_bn(m, w, "visual.bn3");
    for (size_t l = 0; l < 4; l++)
        for (size_t i = 0; i < s->stage[l]; i++, in = 4 * (w << l)) {
            size_t p = w << l;
            int n = snprintf(name, sizeof name, "visual.layer%zu.%zu.", l + 1, i);
            ADD(1, 0, p, in, 1, 1, "%s", SUB("conv1.weight"));
            ADD(1, 0, p, p, 3, 3, "%s", SUB("conv2.weight"));
            ADD(1, 0, 4 * p, p, 1, 1, "%s", SUB("conv3.weight"));
            file_bn(m, p, SUB("bn1"));
            file_bn(m, p, SUB("bn2"));
            file_bn(m, 4 * p, SUB("bn3"));
            if (i > 0)
                continue;
            ADD(1, 0, 4 * p, in, 1, 1, "%s", SUB("downsample.0.weight"));
            file_bn(m, 4 * p, SUB("downsample.1"));
        }
    ADD(0, 0, grid * grid + 1, c, 0, 0, "visual.attnpool.positional_embedding");
    for (size_t i = 0; i < 3; i++)
        file_linear(m, c, c, pools[i]);
    file_linear(m, s->embed, c, "visual.attnpool.c_proj");
}

static inline void file_open_clip(struct file_model *m, const clip_size *s)
{
    char tower[32], ln[64];
    size_t grid = s->patch ? s->image / s->patch : 0;
    ADD(0, 1, 0, 0, 0, 0, "logit_scale");
    if (s->stem) {
        file_resnet(m, s);
    } else {
        ADD(1, 0, s->width, 3, s->patch, s->patch, "visual.conv1.weight");
        ADD(0, 0, s->width, 0, 0, 0, "visual.class_embedding");
        ADD(0, 0, grid * grid + 1, s->width, 0, 0, "visual.positional_embedding");
        file_norm(m, s->width, "visual.ln_pre");
        file_norm(m, s->width, "visual.ln_post");
        ADD(1, 0, s->width, s->embed, 0, 0, "visual.proj");
        file_oc_tower(m, "visual.", s->layers, s->width, s->mlp);
    }
    snprintf(tower, sizeof tower, "%s", m->prefix);
    ADD(0, 0, s->vocab, s->text_width, 0, 0, "%stoken_embedding.weight", tower);
    ADD(0, 0, s->context, s->text_width, 0, 0, "%spositional_embedding", tower);
    ADD(1, 0, s->text_width, s->embed, 0, 0, "%stext_projection", tower);
    snprintf(ln, sizeof ln, "%sln_final", tower);
    file_norm(m, s->text_width, ln);
    file_oc_tower(m, tower, s->text_layers, s->text_width, s->text_mlp);
}

static inline size_t file_count(const struct file_tensor *t)
{
    size_t n = 1;
    for (int i = 0; i < t->rank; i++)
        n *= t->dim[i];
    return n;
}

static int file_header(const struct file_model *m, vlk_buf *h, size_t *bytes, vlk_err *err)
{
    char shape[128];
    *bytes = 0;
    if (vlk_buf_add(h, "\0\0\0\0\0\0\0\0{", 9, err))
        return -1;
    for (size_t i = 0; i < m->n; i++) {
        const struct file_tensor *t = &m->t[i];
        size_t end = *bytes + file_count(t) * vlk_dtype_size(t->dtype);
        if (vlk_buf_addf(h, err, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%zu,%zu]}", i ? "," : "",
                         t->name, vlk_dtype_name(t->dtype), vlk_shape_text(t->dim, t->rank, shape, sizeof shape),
                         *bytes, end) != 0)
            return -1;
        *bytes = end;
    }
    if (vlk_buf_adds(h, "}", err))
        return -1;
    while (h->len % 8)
        if (vlk_buf_adds(h, " ", err))
            return -1;
    uint64_t n = h->len - 8;
    memcpy(h->data, &n, 8); /* little-endian machines only, as the library's mapped weights */
    return 0;
}

/* Values of a tensor: uniform with the mean and deviation, the same for every file type. */
static int file_values(FILE *o, const struct file_tensor *t, uint64_t seed)
{
    enum { PIECE = 1 << 16 };
    float *f = malloc(PIECE * sizeof *f);
    uint16_t *half = malloc(PIECE * sizeof *half);
    int status = f && half ? 0 : -1;
    for (size_t left = file_count(t), n; status == 0 && left; left -= n) {
        n = left < PIECE ? left : PIECE;
        for (size_t i = 0; i < n; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            double u = (double)(seed >> 11) / 9007199254740992.0;
            f[i] = (float)(t->mean + t->std * 3.4641016 * (u - 0.5));
            half[i] = t->dtype == VLK_F16 ? vlk_f32_to_f16(f[i]) : vlk_f32_to_bf16(f[i]);
        }
        size_t done = t->dtype == VLK_F32 ? fwrite(f, 4, n, o) : fwrite(half, 2, n, o);
        status = done == n ? 0 : -1;
    }
    free(f);
    free(half);
    return status;
}

/* A whole safetensors file; `sparse`: only the header is written, the values are a hole (zeros). */
static inline int file_write(const struct file_model *m, const char *path, int sparse, vlk_err *err)
{
    vlk_buf h = {0};
    size_t bytes;
    FILE *o = file_header(m, &h, &bytes, err) == 0 ? fopen(path, "wb") : NULL;
    int status = o && fwrite(h.data, 1, h.len, o) == h.len ? 0 : -1;
    for (size_t i = 0; i < m->n && status == 0 && !sparse; i++)
        status = file_values(o, &m->t[i], i + 1);
    if (o && fclose(o))
        status = -1;
    if (status != 0)
        vlk_fail_errno(err, "%s", path);
    if (status == 0 && sparse && truncate(path, (off_t)(h.len + bytes)))
        status = vlk_fail_errno(err, "%s", path);
    vlk_buf_clear(&h);
    return status;
}

/* config.json as transformers writes it, without what equals a default elsewhere. */
static inline int file_hf_config(vlk_buf *b, const clip_size *s, const char *act, vlk_err *err)
{
    return vlk_buf_addf(
        b, err,
        "{\"model_type\": \"clip\", \"projection_dim\": %zu,\n \"text_config\": {\"hidden_size\": %zu, "
        "\"intermediate_size\": %zu, "
        "\"num_hidden_layers\": %zu, \"num_attention_heads\": %zu, \"max_position_embeddings\": %zu, \"vocab_size\": "
        "%zu, "
        "\"hidden_act\": \"%s\", \"bos_token_id\": %zu, \"eos_token_id\": %zu},\n \"vision_config\": {\"hidden_size\": "
        "%zu, "
        "\"intermediate_size\": %zu, \"num_hidden_layers\": %zu, \"num_attention_heads\": %zu, \"image_size\": %zu, "
        "\"patch_size\": %zu, \"hidden_act\": \"%s\"}}\n",
        s->embed, s->text_width, s->text_mlp, s->text_layers, s->text_heads, s->context, s->vocab, act, s->vocab - 2,
        s->vocab - 1, s->width, s->mlp, s->layers, s->heads, s->image, s->patch, act);
}

static inline int file_text(const char *dir, const char *name, const char *text, size_t n, vlk_err *err)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *o = fopen(path, "wb");
    int status = o && fwrite(text, 1, n, o) == n ? 0 : -1;
    if (o && fclose(o))
        status = -1;
    return status == 0 ? 0 : vlk_fail_errno(err, "%s", path);
}

#endif
