/* test_carry.c - the config files of a saved model: all that their author wrote, with the type of the weights and the
 * size of the images that the model has now. */
#include "../scratch.h"

#include "../../lib/model/model.h"
#include "../model_file.h"
#include "../tap.h"

#include <string.h>

static char dir[] = "/tmp/vlk-test-carry-XXXXXX";
static const char clip[] = "tests/data/clip-train/model";
static char weights[64]; /* model.safetensors in dir */

/* ---- a model with configs of ours -------------------------------------------------------------------------- */

static const char text_part[] =
    "\"text_config\": {\"hidden_size\": 32, \"intermediate_size\": 128, \"num_attention_heads\": 2, "
    "\"num_hidden_layers\": 2, \"max_position_embeddings\": 24, \"vocab_size\": 634, \"eos_token_id\": 633, "
    "\"hidden_act\": \"quick_gelu\", \"torch_dtype\": null}";
#define VISION                                                                                                         \
    "\"hidden_size\": 36, \"intermediate_size\": 144, \"num_attention_heads\": 3, \"num_hidden_layers\": 2, "          \
    "\"patch_size\": 8, \"hidden_act\": \"quick_gelu\""
#define SIZES(resize, crop)                                                                                            \
    "{\"size\": {\"shortest_edge\": " resize "}, \"crop_size\": {\"height\": " crop ", \"width\": " crop "}, "         \
    "\"image_mean\": [0.48145466, 0.4578275, 0.40821073]}"

static void put_text(const char *name, const char *text)
{
    vlk_err err = {0};
    CHECK(file_text(dir, name, text, strlen(text), &err) == 0, "%s", err.msg);
}

/* The model of clip-train with these members of its own, opened for images of this size. */
static vlk_model *open_with(const char *members, const char *vision, const char *preprocessor, size_t image,
                            vlk_err *err)
{
    const vlk_model_options o = {.want = VLK_CAN_EMBED_IMAGE, .image_size = image};
    char text[2048];
    snprintf(text, sizeof text, "{%s\"model_type\": \"clip\", \"projection_dim\": 24, %s, \"vision_config\": {%s}}",
             members, text_part, vision);
    put_text("config.json", text);
    put_text("preprocessor_config.json", preprocessor);
    return vlk_model_open(dir, &o, err);
}

/* ---- what is written ---------------------------------------------------------------------------------------- */

typedef struct folder {
    vlk_buf config, preprocessor, open_clip;
    int others;
} folder;

static int take(void *arg, const char *name, const vlk_buf *bytes, vlk_err *err)
{
    folder *f = arg;
    vlk_buf *b = strcmp(name, "config.json") == 0                ? &f->config
                 : strcmp(name, "preprocessor_config.json") == 0 ? &f->preprocessor
                 : strcmp(name, "open_clip_config.json") == 0    ? &f->open_clip
                                                                 : NULL;
    f->others += !b;
    return b ? vlk_buf_add(b, bytes->data, bytes->len, err) : 0;
}

static void clear(folder *f)
{
    vlk_buf_clear(&f->config);
    vlk_buf_clear(&f->preprocessor);
    vlk_buf_clear(&f->open_clip);
}

static int save(folder *f, const vlk_model *m, vlk_layout layout, vlk_dtype dtype, vlk_err *err)
{
    *f = (folder){.others = 0};
    return vlk_model_files(m, take, f, &(vlk_folder_options){.layout = layout, .dtype = dtype}, err);
}

static void has(const vlk_buf *b, const char *text)
{
    CHECK(b->data && strstr(b->data, text), "expected %s in %s", text, b->data ? b->data : "nothing");
}

static void has_not(const vlk_buf *b, const char *text)
{
    CHECK(b->data && !strstr(b->data, text), "unexpected %s in %s", text, b->data ? b->data : "nothing");
}

/* ---- tests --------------------------------------------------------------------------------------------------- */

static void test_members(void)
{
    vlk_err err = {0};
    folder f, again;
    vlk_model *m =
        open_with("\"author\": \"Zo\\u00eb\", \"eps\": 1e-5, \"deep\": {\"a\": [1, {\"b\": [2.5e0, null]}]}, ",
                  VISION ", \"image_size\": 32, \"dtype\": \"bfloat16\"", SIZES("32", "32"), 0, &err);
    if (CHECK(m && save(&f, m, VLK_LAYOUT_HF, VLK_F16, &err) == 0, "%s", err.msg)) {
        static const char first[] = "{\n  \"dtype\": \"float16\",\n  \"author\": \"Zo\xc3\xab\",\n  \"eps\": 1e-05,\n  "
                                    "\"deep\": {\n    \"a\": [1, {\n      \"b\": [2.5, null]\n    }]\n  },\n  "
                                    "\"model_type\": \"clip\"";
        CHECK(f.config.data && strncmp(f.config.data, first, strlen(first)) == 0, "members: %s", f.config.data);
        has(&f.config, "\"torch_dtype\": \"float16\"");
        has(&f.config, "\"image_size\": 32,\n    \"dtype\": \"float16\"");
        has(&f.preprocessor, "{\n  \"size\": {\n    \"shortest_edge\": 32\n  },\n");
        has_not(&f.preprocessor, "dtype");
        CHECK(f.others == 0 && !f.open_clip.data, "no other file");
        put_text("config.json", f.config.data);
        put_text("preprocessor_config.json", f.preprocessor.data);
        vlk_model *n = vlk_model_open(dir, NULL, &err);
        if (CHECK(n && save(&again, n, VLK_LAYOUT_HF, VLK_F16, &err) == 0, "%s", err.msg)) {
            CHECK_STR(again.config.data, f.config.data, "config.json, written again");
            CHECK_STR(again.preprocessor.data, f.preprocessor.data, "preprocessor_config.json, written again");
            clear(&again);
        }
        vlk_model_close(n);
        clear(&f);
    }
    vlk_model_close(m);
}

/* A model for 48 x 48 pixels from one for 32 x 32: what its folder says is what it does, so that it opens again with
 * the same preprocessing. */
static void test_resized(void)
{
    static const struct {
        const char *vision, *preprocessor, *config_has, *preprocessor_has;
    } t[] = {
        {VISION ", \"image_size\": 32", SIZES("32", "32"), "\"image_size\": 48", "\"shortest_edge\": 48"},
        {VISION ", \"image_size\": 32", SIZES("36", "32"), "\"image_size\": 48", "\"shortest_edge\": 54"},
        {VISION ", \"image_size\": 32", "{\"size\": 32, \"crop_size\": 32}", "\"image_size\": 48", "\"size\": 48"},
    };
    for (size_t i = 0; i < sizeof t / sizeof t[0]; i++) {
        vlk_err err = {0};
        folder f;
        vlk_preprocess a = {0}, b = {0};
        vlk_model *m = open_with("", t[i].vision, t[i].preprocessor, 48, &err);
        if (CHECK(m && save(&f, m, VLK_LAYOUT_HF, VLK_F32, &err) == 0, "case %zu: %s", i, err.msg)) {
            has(&f.config, t[i].config_has);
            has(&f.preprocessor, t[i].preprocessor_has);
            a = vlk_model_describe(m)->preprocess;
            vlk_json *j = vlk_json_parse(f.preprocessor.data, f.preprocessor.len, "preprocessor_config.json", &err);
            CHECK(j && vlk_preprocess_from_hf(&b, j, "clip", "preprocessor_config.json", &err) == 0, "case %zu: %s", i,
                  err.msg);
            CHECK(a.size_w == b.size_w && a.size_h == b.size_h && a.crop_w == b.crop_w && a.crop_h == b.crop_h,
                  "case %zu: trained with %zux%zu, crop %zux%zu, saved as %zux%zu, crop %zux%zu", i, a.size_w, a.size_h,
                  a.crop_w, a.crop_h, b.size_w, b.size_h, b.crop_w, b.crop_h);
            vlk_json_free(j);
            clear(&f);
        }
        vlk_model_close(m);
    }
}

/* Sizes that a config leaves to its readers' defaults, here 224: image_size is added, and what cannot be written out is
 * refused. */
static void test_defaults(void)
{
    vlk_err err = {0};
    folder f;
    const clip_size large = {VIT(224, 8, 36, 2, 3, 144),
                             .text_width = 32,
                             .text_layers = 2,
                             .text_heads = 2,
                             .text_mlp = 128,
                             .context = 24,
                             .vocab = 634,
                             .embed = 24};
    struct file_model w = {.type = FILE_F32, .prefix = ""};
    file_hf(&w, &large);
    unlink(weights);
    CHECK(file_write(&w, weights, 0, &err) == 0, "%s", err.msg);
    free(w.t);
    vlk_model *m = open_with("", VISION, SIZES("224", "224"), 48, &err);
    if (CHECK(m && save(&f, m, VLK_LAYOUT_HF, VLK_F32, &err) == 0, "%s", err.msg)) {
        has(&f.config, "\"vision_config\": {\n    \"image_size\": 48,\n");
        has(&f.preprocessor, "\"shortest_edge\": 48");
        clear(&f);
    }
    vlk_model_close(m);
    m = open_with("", VISION, "{\"image_processor_type\": \"CLIPImageProcessor\"}", 48, &err);
    if (CHECK(m, "%s", err.msg)) {
        CHECK(save(&f, m, VLK_LAYOUT_HF, VLK_F32, &err) == -1 &&
                  strstr(err.msg, "preprocessor_config.json: does not say"),
              "a size that is nowhere: %s", err.msg);
        clear(&f);
    }
    vlk_model_close(m);
}

/* SigLIP's are carried; it has no form in open_clip's layout here. */
static void test_siglip(void)
{
    vlk_err err = {0};
    folder f;
    vlk_model *m = vlk_model_open("tests/data/clip/siglip/hf", NULL, &err);
    if (CHECK(m && save(&f, m, VLK_LAYOUT_HF, VLK_BF16, &err) == 0, "%s", err.msg)) {
        has(&f.config, "\"dtype\": \"bfloat16\"");
        has(&f.config, "\"model_type\": \"siglip\"");
        has(&f.preprocessor, "\"image_processor_type\": \"Siglip");
        clear(&f);
        CHECK(save(&f, m, VLK_LAYOUT_OPEN_CLIP, VLK_F32, &err) == -1 && strstr(err.msg, "open_clip's layout"), "%s",
              err.msg);
        clear(&f);
    }
    vlk_model_close(m);
}

/* A model that came in another layout: config.json is made, laid out like those that are carried. */
static void test_made(void)
{
    vlk_err err = {0};
    folder f;
    vlk_model *m = vlk_model_open("tests/data/clip/gelu/open_clip", NULL, &err);
    if (CHECK(m && save(&f, m, VLK_LAYOUT_HF, VLK_F16, &err) == 0, "%s", err.msg)) {
        static const char first[] = "{\n  \"dtype\": \"float16\",\n  \"architectures\": [\"CLIPModel\"],\n  "
                                    "\"initializer_factor\": 1.0,\n  \"logit_scale_init_value\": 2.6592,\n";
        CHECK(f.config.data && strncmp(f.config.data, first, strlen(first)) == 0, "made: %s", f.config.data);
        has(&f.config, "\"layer_norm_eps\": 1e-05,\n");
        has(&f.preprocessor, "\"CLIPImageProcessor\"");
        CHECK(f.others == 0 && !f.open_clip.data, "no other file");
        clear(&f);
        CHECK(save(&f, m, VLK_LAYOUT_OPEN_CLIP, VLK_F16, &err) == 0, "%s", err.msg);
        has(&f.open_clip, "{\n  \"model_cfg\": {\n    \"embed_dim\": ");
        CHECK(f.others == 0 && !f.config.data && !f.preprocessor.data, "one file");
        clear(&f);
    }
    vlk_model_close(m);
}

int main(void)
{
    char cwd[512], of_clip[600];
    if (!CHECK(mkdtemp(dir) && getcwd(cwd, sizeof cwd), "%s", dir))
        return tap_end();
    snprintf(of_clip, sizeof of_clip, "%s/%s/model.safetensors", cwd, clip);
    snprintf(weights, sizeof weights, "%s/model.safetensors", dir);
    CHECK(symlink(of_clip, weights) == 0, "%s", weights);
    test_members();
    test_resized();
    test_siglip();
    test_made();
    test_defaults();
    CHECK(scratch_remove(dir) == 0, "%s: cannot be removed", dir);
    return tap_end();
}
