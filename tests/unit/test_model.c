/* test_model.c - finding, configuring and refusing models: everything around the arithmetic. Checkpoints are written on
 * the spot, in a temporary folder; the big ones are holes in a file, since opening a model reads headers only. */
#include "../scratch.h"

#include "../model_file.h"
#include "../near.h"
#include "../../lib/model/model.h"

#include <math.h>
#include <sys/stat.h>

static char dir[] = "/tmp/vlk-test-model-XXXXXX";
static const vlk_folder_options open_clip = {.layout = VLK_LAYOUT_OPEN_CLIP, .dtype = VLK_F32};
static const clip_size tiny = {VIT(16, 8, 64, 2, 2, 96), .text_width = 64, .text_layers = 1, .text_heads = 4,
                               .text_mlp = 128,          .context = 12,    .vocab = 520,     .embed = 24};

static const char *at(const char *name)
{
    static char path[4][512];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%s/%s", dir, name);
    return path[turn];
}

static void put(const char *folder, const char *name, const char *text)
{
    vlk_err err = {0};
    CHECK(file_text(at(folder), name, text, strlen(text), &err) == 0, "%s", err.msg);
}

static vlk_model *open_model(const char *name, const char *arch, vlk_err *err)
{
    vlk_model_options opt = {.arch = arch, .share = "share", .want = VLK_CAN_EMBED_TEXT};
    *err = (vlk_err){0};
    return vlk_model_open(name, &opt, err);
}

/* Opening must fail with a sentence that holds `want`. */
static void refused(const char *name, const char *arch, const char *want)
{
    vlk_err err;
    vlk_model *m = open_model(name, arch, &err);
    CHECK(!m && strstr(err.msg, want), "%s %s: expected \"%s\", found \"%s\"", name ? name : "", arch ? arch : "", want,
          err.msg);
    vlk_model_close(m);
}

static void write_weights(const char *path, const clip_size *s, file_type type, int hf, const char *prefix, int sparse)
{
    struct file_model m = {.type = type, .prefix = prefix};
    vlk_err err = {0};
    if (hf)
        file_hf(&m, s);
    else
        file_open_clip(&m, s);
    CHECK(file_write(&m, path, sparse, &err) == 0, "%s", err.msg);
    free(m.t);
}

static void make_folder(const char *name)
{
    CHECK(mkdir(at(name), 0700) == 0, "mkdir %s", name);
}

/* ---- --arch: sizes of published models, by their number of parameters ----------------------------- */

#define ARCH(name_, parameters_, act_, ...)                                                                            \
    {                                                                                                                  \
        .name = name_, .parameters = parameters_, .act = act_, .s = { __VA_ARGS__ }                                    \
    }

static void test_arch(void)
{
    static const struct {
        const char *name;
        size_t parameters; /* spec of the models: without batch norm's statistics */
        const char *act;
        clip_size s;
    } archs[] = {
        ARCH("ViT-B-32", 151277313, "gelu", VIT(224, 32, 768, 12, 12, 3072), TEXTS(512, 12, 8, 2048, 512)),
        ARCH("ViT-B/32", 151277313, "quick_gelu", VIT(224, 32, 768, 12, 12, 3072), TEXTS(512, 12, 8, 2048, 512)),
        ARCH("ViT-B-32-256", 151288833, "gelu", VIT(256, 32, 768, 12, 12, 3072), TEXTS(512, 12, 8, 2048, 512)),
        ARCH("ViT-B-16-quickgelu", 149620737, "quick_gelu", VIT(224, 16, 768, 12, 12, 3072),
             TEXTS(512, 12, 8, 2048, 512)),
        ARCH("ViT-B-16-plus-240", 208377345, "gelu", VIT(240, 16, 896, 12, 14, 3584), TEXTS(640, 12, 10, 2560, 640)),
        ARCH("ViT-L-14", 427616513, "gelu", VIT(224, 14, 1024, 24, 16, 4096), TEXTS(768, 12, 12, 3072, 768)),
        ARCH("ViT-L/14@336px", 427944193, "quick_gelu", VIT(336, 14, 1024, 24, 16, 4096),
             TEXTS(768, 12, 12, 3072, 768)),
        ARCH("ViT-H-14", 986109441, "gelu", VIT(224, 14, 1280, 32, 16, 5120), TEXTS(1024, 24, 16, 4096, 1024)),
        ARCH("ViT-H-14-378", 986714881, "gelu", VIT(378, 14, 1280, 32, 16, 5120), TEXTS(1024, 24, 16, 4096, 1024)),
        ARCH("ViT-g-14", 1366678273, "gelu", VIT(224, 14, 1408, 40, 16, 6144), TEXTS(1024, 24, 16, 4096, 1024)),
        ARCH("ViT-bigG-14", 2539567105, "gelu", VIT(224, 14, 1664, 48, 16, 8192), TEXTS(1280, 32, 20, 5120, 1280)),
        ARCH("RN50-quickgelu", 102007137, "quick_gelu", RESNET(224, 64, 3, 4, 6, 3), TEXTS(512, 12, 8, 2048, 1024)),
        ARCH("RN101", 119688033, "gelu", RESNET(224, 64, 3, 4, 23, 3), TEXTS(512, 12, 8, 2048, 512)),
        ARCH("RN50x4", 178300601, "gelu", RESNET(288, 80, 4, 6, 10, 6), TEXTS(640, 12, 10, 2560, 640)),
        ARCH("RN50x16", 290979217, "gelu", RESNET(384, 96, 6, 8, 18, 8), TEXTS(768, 12, 12, 3072, 768)),
        ARCH("RN50x64", 623258305, "gelu", RESNET(448, 128, 3, 15, 36, 10), TEXTS(1024, 12, 16, 4096, 1024)),
    };
    for (size_t i = 0; i < sizeof archs / sizeof archs[0]; i++) {
        const char *path = at("big.safetensors");
        vlk_err err;
        write_weights(path, &archs[i].s, FILE_F16, 0, i % 2 ? "text." : "", 1);
        vlk_model *m = open_model(path, archs[i].name, &err);
        if (CHECK(m, "%s: %s", archs[i].name, err.msg)) {
            const vlk_model_info *info = vlk_model_describe(m);
            size_t n = vlk_model_part_that(info, VLK_SEES_IMAGES)->parameters +
                       vlk_model_part_that(info, VLK_READS_TEXTS)->parameters + 1;
            CHECK(n == archs[i].parameters, "%s: %zu parameters", archs[i].name, n);
            CHECK_STR(vlk_model_part_that(info, VLK_READS_TEXTS)->activation, archs[i].act, archs[i].name);
            CHECK(info->image_w == archs[i].s.image && info->embed_dim == archs[i].s.embed, "%s", archs[i].name);
            CHECK(archs[i].s.stem || vlk_model_part_that(info, VLK_SEES_IMAGES)->heads == archs[i].s.heads,
                  "%s: %zu heads", archs[i].name, vlk_model_part_that(info, VLK_SEES_IMAGES)->heads);
            CHECK(vlk_model_part_that(info, VLK_READS_TEXTS)->heads == archs[i].s.text_heads, "%s", archs[i].name);
        }
        vlk_model_close(m);
        if (i == 0) {
            refused(path, NULL, "weights without a config");
            refused(path, "ViT-B-16", "visual.conv1.weight: expected shape [768,3,16,16], found [768,3,32,32]");
            refused(path, "ViT-X-99", "neither an architecture that is known");
        }
        unlink(path);
    }
}

/* ---- configs ------------------------------------------------------------------------------------- */

static void test_hf_config(void)
{
    static const char *const bad[][2] = {
        {"{\"model_type\": \"clip\", \"vision_config\": []}", "vision_config: expected an object"},
        {"{\"model_type\": \"clip\", \"vision_config\": {\"num_channels\": 4}}", "num_channels: expected 3"},
        {"{\"model_type\": \"clip\", \"vision_config\": {\"hidden_act\": 3}}", "hidden_act: expected a string"},
        {"{\"model_type\": \"clip\", \"vision_config\": {\"layer_norm_eps\": -1}}", "eps -1"},
        {"{\"model_type\": \"clip\", \"vision_config\": {\"patch_size\": 256}}",
         "patches of 256 pixels in images of 224"},
        {"{\"model_type\": \"clip\", \"text_config\": {\"vocab_size\": 600}}",
         "the end token 49407 is not in a vocabulary of 600"},
        {"{\"model_type\": \"clip\", \"text_config\": {\"eos_token_id\": \"x\"}}", "eos_token_id"},
        {"{\"model_type\": \"clip\", \"projection_dim\": 0}", "projection_dim"},
        {"{\"vision_config\": {}, \"text_config\": {}}", "model_type: expected"},
        {"{\"architectures\": [\"CLIPModel\"]}", "model_type"},
        {"[]", "model_type"},
        {"{\"model_type\": \"siglip\", \"text_config\": {\"projection_size\": 12}}", "projection_size 12"},
        {"{\"model_type\": \"siglip\", \"vision_config\": {\"vision_use_head\": false}}", "vision_use_head"},
    };
    vlk_buf config = {0};
    vlk_err err = {0};
    make_folder("hf");
    write_weights(at("hf/model.safetensors"), &tiny, FILE_F32, 1, "", 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        put("hf", "config.json", bad[i][0]);
        refused(at("hf"), NULL, bad[i][1]);
        CHECK(!vlk_model_open(at("hf"), NULL, NULL), "refused, and nobody wants to know why");
    }
    CHECK(file_hf_config(&config, &tiny, "gelu", &err) == 0, "%s", err.msg);
    put("hf", "config.json", config.data);
    vlk_model *m = open_model(at("hf"), NULL, &err);
    CHECK(m, "%s", err.msg);
    if (m) { /* no preprocessor_config.json: texts only */
        float *p = calloc(16 * 16 * 3, sizeof *p), out[24];
        vlk_kernel *k = vlk_kernel_new(NULL, &err);
        vlk_tape *t = vlk_tape_new(k, &err);
        CHECK(vlk_model_encode_images(m, &(vlk_pass){.t = t}, out, &(vlk_images){.b = 1, .u8 = (uint8_t *)p}, VLK_UNIT,
                                      &err) &&
                  strstr(err.msg, "preprocessor_config.json"),
              "%s", err.msg);
        CHECK(vlk_model_encode_images(m, &(vlk_pass){.t = t}, out, &(vlk_images){.b = 1, .f32 = p}, VLK_UNIT, &err) ==
                  0,
              "%s", err.msg);
        free(p);
        vlk_tape_free(t);
        vlk_kernel_free(k);
    }
    vlk_model_close(m);
    m = vlk_model_open(at("hf"), &(vlk_model_options){.want = VLK_CAN_EMBED_IMAGE}, &err);
    CHECK(!m && strstr(err.msg, "preprocessor_config.json"), "%s", err.msg);
    /* values of 2022's *_config_dict win over the others */
    vlk_buf_clear(&config);
    CHECK(file_hf_config(&config, &tiny, "gelu\", \"num_hidden_layers\": 1, \"x\": \"", &err) == 0, "%s", err.msg);
    put("hf", "config.json", config.data);
    refused(at("hf"), NULL, "num_hidden_layers"); /* a key twice */
    vlk_buf_clear(&config);
    CHECK(file_hf_config(&config, &tiny, "gelu", &err) == 0, "%s", err.msg);
    config.data[config.len - 2] = 0; /* the last brace */
    vlk_buf more = {0};
    CHECK(vlk_buf_addf(&more, &err,
                       "%s, \"vision_config_dict\": {\"num_hidden_layers\": 3}, \"text_config_dict\": null}",
                       config.data) == 0,
          "%s", err.msg);
    put("hf", "config.json", more.data);
    refused(at("hf"), NULL, "vision_model.encoder.layers.2.layer_norm1.weight is missing (expected [64])");
    vlk_buf_clear(&more);
    vlk_buf_clear(&config);
}

static void test_open_clip_config(void)
{
#define TEXT                                                                                                           \
    "\"text_cfg\": {\"context_length\": 12, \"vocab_size\": 520, \"width\": 64, \"heads\": 4, \"layers\": 1, "         \
    "\"mlp_ratio\": 2}"
#define VISION                                                                                                         \
    "\"image_size\": 16, \"layers\": 2, \"width\": 64, \"patch_size\": 8, \"head_width\": 32, \"mlp_ratio\": 1.5"
    static const char *const bad[][2] = {
        {"{\"embed_dim\": 24, \"vision_cfg\": {" VISION ", \"timm_model_name\": \"vit\"}, " TEXT "}",
         "vision_cfg.timm_model_name"},
        {"{\"embed_dim\": 24, \"vision_cfg\": {" VISION ", \"ls_init_value\": 0.1}, " TEXT "}",
         "vision_cfg.ls_init_value"},
        {"{\"embed_dim\": 24, \"vision_cfg\": {" VISION ", \"pool_type\": \"map\"}, " TEXT "}", "pool_type"},
        {"{\"embed_dim\": 24, \"vision_cfg\": {" VISION ", \"act_kwargs\": {\"approximate\": \"sin\"}}, " TEXT "}",
         "approximate"},
        {"{\"embed_dim\": 24, \"vision_cfg\": {" VISION ", \"no_ln_pre\": 1}, " TEXT "}", "no_ln_pre"},
        {"{\"embed_dim\": 24, \"vision_cfg\": {\"layers\": [1, 1]}, " TEXT "}", "layers: expected a number, or four"},
        {"{\"embed_dim\": 24, \"vision_cfg\": {\"image_size\": [16, 8]}, " TEXT "}", "image_size"},
        {"{\"embed_dim\": 24, \"vision_cfg\": {" VISION "}, \"text_cfg\": {\"hf_model_name\": \"roberta\"}}",
         "text_cfg.hf_model_name"},
        {"{\"embed_dim\": 24, \"vision_cfg\": {" VISION "}, \"text_cfg\": {\"pool_type\": \"mean\"}}", "pool_type"},
        {"{\"embed_dim\": 24, \"vision_cfg\": {" VISION "}, \"text_cfg\": {\"proj_type\": \"mlp\"}}", "proj_type"},
        {"{\"embed_dim\": 24, \"vision_cfg\": {" VISION "}}", "expected embed_dim, vision_cfg and text_cfg"},
    };
    vlk_err err;
    make_folder("oc");
    write_weights(at("oc/open_clip_model.safetensors"), &tiny, FILE_BF16, 0, "text.", 0);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        put("oc", "arch.json", bad[i][0]);
        refused(at("oc"), at("oc/arch.json"), bad[i][1]);
    }
    put("oc", "open_clip_config.json",
        "{\"model_cfg\": {\"embed_dim\": 24, \"vision_cfg\": {" VISION ", \"ls_init_value\": null, "
        "\"attentional_pool\": false, \"patch_dropout\": 0.5}, " TEXT "}}");
    vlk_model *m = open_model(at("oc"), NULL, &err);
    if (CHECK(m, "%s", err.msg)) {
        const vlk_model_info *i = vlk_model_describe(m);
        CHECK(vlk_model_part_that(i, VLK_SEES_IMAGES)->heads == 2 &&
                  vlk_model_part_that(i, VLK_SEES_IMAGES)->mlp == 96 &&
                  vlk_model_part_that(i, VLK_READS_TEXTS)->mlp == 128,
              "heads and hidden widths");
        CHECK_STR(vlk_model_part_that(i, VLK_SEES_IMAGES)->activation, "gelu", "without quick_gelu");
        CHECK(i->layout == VLK_LAYOUT_OPEN_CLIP, "dialect");
    }
    vlk_model_close(m);
    m = open_model(at("oc/open_clip_model.safetensors"), NULL, &err); /* the file, its config beside it */
    CHECK(m, "%s", err.msg);
    vlk_model_close(m);
    put("oc", "open_clip_config.json",
        "{\"model_cfg\": {\"init_logit_bias\": -10, \"embed_dim\": 24, \"vision_cfg\": {" VISION "}, " TEXT "}}");
    m = open_model(at("oc"), NULL, &err);
    CHECK(m && vlk_model_describe(m)->has_logit_bias && vlk_model_describe(m)->logit_bias == 0,
          "a missing logit_bias is zero: %s", err.msg);
    vlk_model_close(m);
}

/* vlk_put_file: the one file of open_clip's layout. */
static int take_bytes(void *arg, const char *name, const vlk_buf *bytes, vlk_err *err)
{
    CHECK_STR(name, "open_clip_config.json", "open_clip's layout has one config");
    return vlk_buf_add(arg, bytes->data, bytes->len, err);
}

/* A hidden width is written as a ratio, from which int(width * ratio) must be it again: 61 / 56 * 56 < 61. */
static void test_mlp_ratio(void)
{
    static const size_t widths[][2] = {{56, 61}, {56, 115}, {64, 96}, {44, 157}, {7, 122}};
    vlk_err err = {0};
    make_folder("ratio");
    for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++) {
        clip_size s = tiny;
        s.image = 32; /* as the preprocessing of clip-train */
        s.width = s.text_width = widths[i][0];
        s.mlp = s.text_mlp = widths[i][1];
        s.heads = s.text_heads = 1;
        vlk_buf config = {0}, again = {0};
        CHECK(file_hf_config(&config, &s, "gelu", &err) == 0, "%s", err.msg);
        put("ratio", "config.json", config.data);
        vlk_model *a =
            vlk_model_new_from_config(at("ratio/config.json"), "tests/data/clip-train/model", VLK_INIT_HF, 1, &err);
        CHECK(a && vlk_model_files(a, take_bytes, &again, &open_clip, &err) == 0, "%s", err.msg);
        put("ratio", "open_clip_config.json", again.data ? again.data : "");
        vlk_model *b = vlk_model_new_from_config(at("ratio/open_clip_config.json"), NULL, VLK_INIT_OPENAI, 1, &err);
        if (CHECK(b, "%s", err.msg)) {
            const vlk_model_info *info = vlk_model_describe(b);
            const vlk_part_info *v = vlk_model_part_that(info, VLK_SEES_IMAGES),
                                *t = vlk_model_part_that(info, VLK_READS_TEXTS);
            CHECK(v->mlp == s.mlp && t->mlp == s.mlp, "%zu of %zu: %zu, %zu", s.mlp, s.width, v->mlp, t->mlp);
        }
        vlk_model_close(a);
        vlk_model_close(b);
        vlk_buf_clear(&config);
        vlk_buf_clear(&again);
    }
}

/* OpenAI's rules for a plain state dict with its mix of types. */
static void test_openai(void)
{
    clip_size s = tiny;
    vlk_err err;
    s.heads = s.text_heads = 1; /* width / 64 */
    write_weights(at("mix.safetensors"), &s, FILE_OPENAI, 0, "", 0);
    vlk_model *m = open_model(at("mix.safetensors"), NULL, &err);
    if (CHECK(m, "%s", err.msg)) {
        const vlk_model_info *i = vlk_model_describe(m);
        CHECK(i->layout == VLK_LAYOUT_OPENAI && vlk_model_part_that(i, VLK_SEES_IMAGES)->heads == 1 &&
                  vlk_model_part_that(i, VLK_READS_TEXTS)->heads == 1,
              "heads");
        CHECK(i->image_w == 16 && vlk_model_part_that(i, VLK_SEES_IMAGES)->patch == 8 &&
                  vlk_model_part_that(i, VLK_SEES_IMAGES)->layers == 2 &&
                  vlk_model_part_that(i, VLK_READS_TEXTS)->layers == 1,
              "sizes from shapes");
        CHECK(i->context == 12 && i->vocab == 520 && i->embed_dim == 24 &&
                  vlk_model_part_that(i, VLK_SEES_IMAGES)->mlp == 96,
              "sizes from shapes");
        CHECK_STR(vlk_model_part_that(i, VLK_SEES_IMAGES)->activation, "quick_gelu", "OpenAI's models");
    }
    vlk_model_close(m);
    write_weights(at("plain.safetensors"), &s, FILE_F32, 0, "", 0);
    refused(at("plain.safetensors"), NULL, "weights without a config");
}

/* ---- places --------------------------------------------------------------------------------------- */

static void opens(const char *name, const char *id)
{
    vlk_err err;
    vlk_model *m = open_model(name, NULL, &err);
    if (CHECK(m, "%s: %s", name ? name : "default", err.msg) && id)
        CHECK_STR(vlk_model_describe(m)->id, id, "the same model from everywhere");
    vlk_model_close(m);
}

static void test_places(void)
{
    char cwd[512], id[65] = "";
    vlk_err err;
    vlk_model *m = open_model("share/clip-emoji-6m", NULL, &err);
    if (!CHECK(m && getcwd(cwd, sizeof cwd), "%s", err.msg))
        return;
    snprintf(id, sizeof id, "%s", vlk_model_describe(m)->id);
    vlk_buf json = {0};
    CHECK(vlk_model_json(m, &json, &err) == 0, "%s", err.msg);
    vlk_json *j = vlk_json_parse(json.data, json.len, "--info", &err);
    CHECK(j && vlk_json_get(j, "preprocessing") && vlk_json_get(vlk_json_get(j, "image"), "tokens"), "--info: %s",
          err.msg);
    vlk_json_free(j);
    vlk_buf_clear(&json);
    char hex[65];
    CHECK(vlk_model_hash(m, hex, &err) == 0 && strlen(hex) == 64 && strcmp(hex, id) != 0, "the hash of the files");
    vlk_model_close(m);

    refused(NULL, NULL, "no model is given");
    opens("clip-emoji-6m", id);
    opens("share/clip-emoji-6m/", id);
    opens("share/clip-emoji-6m/model.safetensors", id);
    make_folder("hub");
    make_folder("hub/models--some--clip");
    make_folder("hub/models--some--clip/refs");
    make_folder("hub/models--some--clip/snapshots");
    put("hub/models--some--clip/refs", "main", "abc123");
    put("hub/models--some--clip/refs", "evil", "../../..");
    snprintf(cwd + strlen(cwd), sizeof cwd - strlen(cwd), "/share/clip-emoji-6m");
    CHECK(symlink(cwd, at("hub/models--some--clip/snapshots/abc123")) == 0, "symlink");
    setenv("HF_HUB_CACHE", at("hub"), 1);
    opens("some/clip", id);
    opens("some/clip@main", id);
    opens("some/clip@abc123", id);
    refused("some/clip@def", NULL, "nor in the cache");
    refused("some/clip@evil", NULL, "not the name of a snapshot");
    refused("some/clip@..", NULL, "is not a name");
    refused("some/clip@../x", NULL, "is not a name");
    refused("some/other", NULL, "models--some--other/snapshots/main");
    unsetenv("HF_HUB_CACHE");
    setenv("HF_HOME", dir, 1);
    opens("some/clip", id);
    setenv("HF_HOME", "/nowhere", 1);
    refused("some/clip", NULL, "/nowhere/hub/models--some--clip");
    refused("no-such-model", NULL, "share/no-such-model");
    refused("a/b/c", NULL, "no such file or folder");
    refused("tests", NULL, "no weights in this folder");
    refused("README.md", NULL, "README.md");
}

/* The id sees configs and values. */
static void test_id(void)
{
    vlk_buf config = {0};
    vlk_err err = {0};
    char id[65] = "";
    clip_size s = tiny;
    make_folder("id");
    for (int i = 0; i < 4; i++) {
        vlk_buf_clear(&config);
        s.heads = i == 1 ? 1 : 2;
        CHECK(file_hf_config(&config, &s, "gelu", &err) == 0, "%s", err.msg);
        put("id", "config.json", config.data);
        write_weights(at("id/model.safetensors"), &tiny, i == 2 ? FILE_F16 : FILE_F32, 1, "", i == 3);
        vlk_model *m = open_model(at("id"), NULL, &err);
        if (!CHECK(m, "%s", err.msg))
            continue;
        CHECK(strlen(vlk_model_describe(m)->id) == 64, "an id");
        CHECK((i == 0) == (id[0] == 0) && strcmp(id, vlk_model_describe(m)->id) != 0, "variant %d has an id of its own",
              i);
        if (i == 0)
            snprintf(id, sizeof id, "%s", vlk_model_describe(m)->id);
        vlk_model_close(m);
    }
    vlk_buf_clear(&config);
}

/* A matrix with a NaN is named by the first text; the other tower works. */
static void test_not_finite(void)
{
    vlk_buf config = {0};
    vlk_err err = {0};
    float out[24], nan = NAN, pixels[16 * 16 * 3] = {0};
    const char *path = at("nan/model.safetensors");
    make_folder("nan");
    CHECK(file_hf_config(&config, &tiny, "gelu", &err) == 0, "%s", err.msg);
    put("nan", "config.json", config.data);
    vlk_buf_clear(&config);
    write_weights(path, &tiny, FILE_F32, 1, "", 0);
    FILE *f = fopen(path, "r+b"); /* the last value of the last tensor */
    CHECK(f && fseek(f, -4, SEEK_END) == 0 && fwrite(&nan, 4, 1, f) == 1 && fclose(f) == 0, "%s", path);
    vlk_model *m = open_model(at("nan"), NULL, &err);
    vlk_kernel *k = vlk_kernel_new(NULL, &err);
    vlk_tape *t = vlk_tape_new(k, &err);
    if (CHECK(m && k && t, "%s", err.msg)) {
        CHECK(vlk_model_encode_images(m, &(vlk_pass){.t = t}, out, &(vlk_images){.b = 1, .f32 = pixels}, VLK_UNIT,
                                      &err) == 0,
              "%s", err.msg);
        CHECK(vlk_model_encode_texts(
                  m, &(vlk_pass){.t = t}, out,
                  &(vlk_id_texts){.id = (const int32_t[]){5, 519}, .start = (const size_t[]){0, 2}, .n = 1}, VLK_UNIT,
                  &err) &&
                  err.code == VLK_EVALUE && strstr(err.msg, "text_projection.weight") && strstr(err.msg, path),
              "%s", err.msg);
    }
    vlk_model_close(m);
    vlk_tape_free(t);
    vlk_kernel_free(k);
}

/* ---- texts ----------------------------------------------------------------------------------------- */

/* Texts as ids: where the text is pooled at its end token (Hugging Face's layout) and where it is at the largest id. */
static void check_texts(const char *name, int32_t vocab, int pooled_at_end, const char *too_long)
{
    const int32_t begin = vocab - 2, end = vocab - 1;
    const struct {
        int32_t id[40];
        size_t n;
        const char *want; /* NULL: it must work */
    } texts[] = {{{begin, 5, end}, 3, NULL},
                 {{begin, 5, end, end, 0, 7}, 6, NULL},
                 {{begin, 5}, 2, pooled_at_end ? "no end token" : NULL},
                 {{begin, 9999, end}, 3, "token id 9999"},
                 {{begin, -1, end}, 3, "token id -1"},
                 {{0}, 0, "no tokens"},
                 {{[39] = end}, 40, too_long}};
    vlk_err err = {0};
    vlk_model *m = open_model(name, NULL, &err);
    vlk_kernel *k = vlk_kernel_new(NULL, &err);
    vlk_tape *t = vlk_tape_new(k, &err);
    float *out = m ? vlk_calloc(vlk_model_describe(m)->embed_dim, sizeof *out, &err) : NULL;
    if (CHECK(out && k && t, "%s: %s", name, err.msg))
        for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
            size_t start[2] = {0, texts[i].n};
            int status =
                vlk_model_encode_texts(m, &(vlk_pass){.t = t}, out,
                                       &(vlk_id_texts){.id = texts[i].id, .start = start, .n = 1}, VLK_UNIT, &err);
            if (texts[i].want)
                CHECK(status != 0 && strstr(err.msg, texts[i].want), "%s: text %zu: %s", name, i, err.msg);
            else
                CHECK(status == 0, "%s: text %zu: %s", name, i, err.msg);
        }
    free(out);
    vlk_model_close(m);
    vlk_tape_free(t);
    vlk_kernel_free(k);
}

static void test_texts(void)
{
    vlk_err err = {0};
    float out[128];
    check_texts("tests/data/clip-train-cli/model", 1000, 1, "has 40 tokens, the context is 24");
    check_texts("clip-emoji-6m", 4096, 0, "has 40 tokens, the context is 32");
    vlk_model *m = open_model("clip-emoji-6m", NULL, &err);
    vlk_kernel *k = vlk_kernel_new(NULL, &err);
    vlk_tape *t = vlk_tape_new(k, &err);
    CHECK(m && vlk_model_tokenizer(m, &err) && vlk_model_tokenizer(m, &err) == vlk_model_tokenizer(m, &err),
          "tokenizer");
    size_t none = 0;
    CHECK(m && vlk_model_encode_texts(m, &(vlk_pass){.t = t}, NULL, &(vlk_id_texts){.id = NULL, .start = &none, .n = 0},
                                      VLK_UNIT, &err) == 0,
          "no texts at all");
    CHECK(m && vlk_model_encode_images(m, &(vlk_pass){.t = t}, NULL, &(vlk_images){.b = 0, .u8 = NULL}, VLK_UNIT,
                                       &err) == 0,
          "no images at all");
    vlk_model_close(m);
    m = open_model("tests/data/clip/siglip/hf", NULL, &err);
    CHECK(m && !vlk_model_tokenizer(m, &err) && strstr(err.msg, "SentencePiece"), "%s", err.msg);
    CHECK(m &&
              vlk_model_encode_texts(
                  m, &(vlk_pass){.t = t}, out,
                  &(vlk_id_texts){.id = (const int32_t[]){5, 1}, .start = (const size_t[]){0, 2}, .n = 1}, VLK_UNIT,
                  &err) &&
              strstr(err.msg, "takes 16 tokens"),
          "%s", err.msg);
    vlk_model_close(m);
    vlk_tape_free(t);
    vlk_kernel_free(k);
}

/* A vocabulary of 664 before a table of 666 rows: texts get the reference's ids and vectors. */
static void test_larger_table(void)
{
    static const struct {
        const char *text;
        size_t row; /* of the golden files */
    } texts[] = {{"a photo of a cat", 0}, {"", 2}, {"x", 7}};
    vlk_err err;
    vlk_npy ids, vectors;
    vlk_kernel *k = vlk_kernel_new(NULL, &err);
    vlk_tape *t = vlk_tape_new(k, &err);
    vlk_model *m = open_model("tests/data/clip/eos2/hf", NULL, &err);
    vlk_tokenizer *b = m ? vlk_model_tokenizer(m, &err) : NULL;
    int golden = vlk_npy_open(&ids, "tests/data/clip/eos2/ids_hf.npy", &err) == 0 &&
                 vlk_npy_open(&vectors, "tests/data/clip/eos2/text_embeds.npy", &err) == 0;
    if (CHECK(b && golden && ids.t.dtype == VLK_I32 && vectors.t.dtype == VLK_F32, "%s", err.msg))
        for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
            vlk_ids got = {0};
            float v[32];
            const int32_t *want = (const int32_t *)ids.t.data + texts[i].row * ids.t.dim[1];
            const float *row = (const float *)vectors.t.data + texts[i].row * 32;
            CHECK(vlk_tokenizer_encode(b, &got, texts[i].text, strlen(texts[i].text), &err) == 0 && got.len >= 2 &&
                      memcmp(got.id, want, got.len * sizeof *want) == 0 && want[got.len] == 663,
                  "ids of \"%s\"", texts[i].text);
            CHECK(vlk_model_encode_texts(m, &(vlk_pass){.t = t}, v,
                                         &(vlk_id_texts){.id = got.id, .start = (const size_t[]){0, got.len}, .n = 1},
                                         VLK_UNIT, &err) == 0,
                  "%s", err.msg);
            near c = near_floats(v, row, 32);
            CHECK_NEAR(&c, 5e-6, "embedding of \"%s\"", texts[i].text);
            free(got.id);
        }
    if (golden) {
        vlk_npy_close(&ids);
        vlk_npy_close(&vectors);
    }
    vlk_model_close(m);
    vlk_tape_free(t);
    vlk_kernel_free(k);
}

/* A config whose end token is another than the vocabulary's. */
static void test_end_token(void)
{
    static const char *const files[] = {"model.safetensors", "merges.txt", "vocab.json"};
    char from[512], cwd[256];
    vlk_err err;
    vlk_buf config = {0};
    make_folder("end");
    for (size_t i = 0; i < 3 && CHECK(getcwd(cwd, sizeof cwd), "the current folder"); i++) {
        snprintf(from, sizeof from, "%s/tests/data/clip/eos2/hf/%s", cwd, files[i]);
        CHECK(vlk_buf_addf(&config, &err, "end/%s", files[i]) == 0 && symlink(from, at(config.data)) == 0, "%s", from);
        config.len = 0;
    }
    CHECK(vlk_read_file(&config, "tests/data/clip/eos2/hf/config.json", 1 << 16, &err) == 0, "%s", err.msg);
    char *eos = strstr(config.data, "\"eos_token_id\": 2,");
    if (CHECK(eos, "the config's end token")) {
        memcpy(eos, "\"eos_token_id\":65,", 18);
        put("end", "config.json", config.data);
        vlk_model *m = open_model(at("end"), NULL, &err);
        CHECK(m && !vlk_model_tokenizer(m, &err) && strstr(err.msg, "end token is 65, that of the vocabulary 663"),
              "%s", err.msg);
        vlk_model_close(m);
    }
    vlk_buf_clear(&config);
}

int main(void)
{
    if (!CHECK(mkdtemp(dir), "temporary folder"))
        return tap_end();
    unsetenv("HF_HUB_CACHE");
    test_arch();
    test_hf_config();
    test_open_clip_config();
    test_mlp_ratio();
    test_openai();
    test_places();
    test_id();
    test_not_finite();
    test_texts();
    test_larger_table();
    test_end_token();
    CHECK(scratch_remove(dir) == 0, "%s removed", dir);
    return tap_end();
}
