/* arch.c - architectures by name, for weights that bring no config (--arch): open_clip's names of the ViT family and of
 * OpenAI's ResNets. A name means what open_clip means by it: exact GELU, or QuickGELU with "-quickgelu" after it.
 * OpenAI's own spelling (ViT-B/32, ViT-L/14@336px) is QuickGELU. */
#include "config_internal.h"

#include <stdio.h>
#include <string.h>

static const struct arch {
    const char *name;
    size_t embed, image, patch, layers, width, head, mlp; /* images */
    size_t text_width, text_heads, text_layers;
    size_t stage[4]; /* ResNet: layers is 0 */
} archs[] = {
    {"ViT-B-32", 512, 224, 32, 12, 768, 64, 3072, 512, 8, 12, {0}},
    {"ViT-B-32-256", 512, 256, 32, 12, 768, 64, 3072, 512, 8, 12, {0}},
    {"ViT-B-32-plus-256", 640, 256, 32, 12, 896, 64, 3584, 640, 10, 12, {0}},
    {"ViT-B-16", 512, 224, 16, 12, 768, 64, 3072, 512, 8, 12, {0}},
    {"ViT-B-16-plus", 640, 224, 16, 12, 896, 64, 3584, 640, 10, 12, {0}},
    {"ViT-B-16-plus-240", 640, 240, 16, 12, 896, 64, 3584, 640, 10, 12, {0}},
    {"ViT-S-32", 384, 224, 32, 12, 384, 64, 1536, 384, 6, 12, {0}},
    {"ViT-S-32-alt", 256, 224, 32, 12, 384, 64, 1536, 256, 4, 10, {0}},
    {"ViT-S-16", 384, 224, 16, 12, 384, 64, 1536, 384, 6, 12, {0}},
    {"ViT-S-16-alt", 256, 224, 16, 12, 384, 64, 1536, 256, 4, 10, {0}},
    {"ViT-M-32", 512, 224, 32, 12, 512, 64, 2048, 512, 8, 12, {0}},
    {"ViT-M-32-alt", 384, 224, 32, 12, 512, 64, 2048, 384, 6, 12, {0}},
    {"ViT-M-16", 512, 224, 16, 12, 512, 64, 2048, 512, 8, 12, {0}},
    {"ViT-L-16", 768, 224, 16, 24, 1024, 64, 4096, 768, 12, 12, {0}},
    {"ViT-L-16-320", 768, 320, 16, 24, 1024, 64, 4096, 768, 12, 12, {0}},
    {"ViT-L-14", 768, 224, 14, 24, 1024, 64, 4096, 768, 12, 12, {0}},
    {"ViT-L-14-280", 768, 280, 14, 24, 1024, 64, 4096, 768, 12, 12, {0}},
    {"ViT-L-14-336", 768, 336, 14, 24, 1024, 64, 4096, 768, 12, 12, {0}},
    {"ViT-H-16", 1024, 224, 16, 32, 1280, 80, 5120, 1024, 16, 24, {0}},
    {"ViT-H-14", 1024, 224, 14, 32, 1280, 80, 5120, 1024, 16, 24, {0}},
    {"ViT-H-14-378", 1024, 378, 14, 32, 1280, 80, 5120, 1024, 16, 24, {0}},
    {"ViT-g-14", 1024, 224, 14, 40, 1408, 88, 6144, 1024, 16, 24, {0}},
    {"ViT-bigG-14", 1280, 224, 14, 48, 1664, 104, 8192, 1280, 20, 32, {0}},
    {"ViT-e-14", 1280, 224, 14, 56, 1792, 112, 15360, 1280, 20, 36, {0}},
    {"RN50", 1024, 224, 0, 0, 64, 64, 0, 512, 8, 12, {3, 4, 6, 3}},
    {"RN101", 512, 224, 0, 0, 64, 64, 0, 512, 8, 12, {3, 4, 23, 3}},
    {"RN50x4", 640, 288, 0, 0, 80, 64, 0, 640, 10, 12, {4, 6, 10, 6}},
    {"RN50x16", 768, 384, 0, 0, 96, 64, 0, 768, 12, 12, {6, 8, 18, 8}},
    {"RN50x64", 1024, 448, 0, 0, 128, 64, 0, 1024, 16, 12, {3, 15, 36, 10}},
};

/* OpenAI's spelling in open_clip's. */
static const char *const openai_names[][2] = {
    {"ViT-B/32", "ViT-B-32"}, {"ViT-B/16", "ViT-B-16"}, {"ViT-L/14", "ViT-L-14"}, {"ViT-L/14@336px", "ViT-L-14-336"}};

static void fill(vlk_dual_config *c, const struct arch *a, int quick)
{
    vlk_act act = quick ? VLK_ACT_QUICK_GELU : VLK_ACT_GELU;
    vlk_vit_config *v = &c->vit;
    vlk_resnet_config *r = &c->resnet;
    *c = (vlk_dual_config){.embed = a->embed};
    if (a->layers) {
        v->block =
            (vlk_block_config){.width = a->width, .heads = a->width / a->head, .mlp = a->mlp, .act = act, .eps = 1e-5f};
        v->image = a->image;
        v->layers = a->layers;
        v->patch = a->patch;
        v->class_token = v->ln_pre = v->projection = 1;
        v->pool = VLK_POOL_FIRST;
    } else {
        c->has_resnet = 1;
        r->image = a->image;
        r->width = a->width;
        r->heads = a->width * 32 / a->head;
        r->norm = vlk_batch_norm_torch;
        memcpy(r->stage, a->stage, sizeof r->stage);
    }
    c->text.block = (vlk_block_config){.width = a->text_width,
                                       .heads = a->text_heads,
                                       .mlp = 4 * a->text_width,
                                       .act = act,
                                       .eps = 1e-5f,
                                       .causal = 1};
    c->text.layers = a->text_layers;
    c->text.context = 77;
    c->text.vocab = 49408;
    c->text.pool = VLK_POOL_LARGEST;
}

int vlk_config_arch(vlk_dual_config *c, const char *name)
{
    static const char suffix[] = "-quickgelu";
    size_t n = strlen(name), s = sizeof suffix - 1;
    int quick = n > s && strcmp(name + n - s, suffix) == 0;
    if (quick)
        n -= s;
    for (size_t i = 0; i < sizeof openai_names / sizeof openai_names[0]; i++)
        if (strcmp(name, openai_names[i][0]) == 0) {
            name = openai_names[i][1];
            n = strlen(name);
            quick = 1;
        }
    for (size_t i = 0; i < sizeof archs / sizeof archs[0]; i++)
        if (strlen(archs[i].name) == n && strncmp(name, archs[i].name, n) == 0) {
            fill(c, &archs[i], quick);
            return 1;
        }
    return 0;
}
