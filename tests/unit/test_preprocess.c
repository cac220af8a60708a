/* test_preprocess.c - preprocessor_config.json and preprocess_cfg in all their spellings, nonsense with its reason, and
 * the floats that a grey level becomes (hashes made with NumPy in the reference's order of operations). */
#include "../hash.h"
#include "../codes.h"
#include "../tap.h"
#include "../../lib/prep/prep.h"

#define CLIP_VALUES "mean 0.48145466,0.4578275,0.40821073 std 0.26862954,0.26130258,0.27577711"
#define HALF_VALUES "mean 0.5,0.5,0.5 std 0.5,0.5,0.5"

static int parse(vlk_preprocess *r, const char *json, int open_clip, vlk_err *err)
{
    vlk_json *j = vlk_json_parse(json, strlen(json), "x.json", err);
    int ret = -1;
    if (j)
        ret = open_clip ? vlk_preprocess_from_open_clip(r, j, 224, "x.json", err)
                        : vlk_preprocess_from_hf(r, j, NULL, "x.json", err);
    vlk_json_free(j);
    return ret;
}

static const struct spelling {
    const char *json, *text;
} hf[] =
    {
        {"{}", "hf on-white shortest 224 bicubic crop 224x224 " CLIP_VALUES},
        {"{\"size\":32,\"crop_size\":32,\"resample\":3,\"feature_extractor_type\":\"CLIPFeatureExtractor\"}",
         "hf on-white shortest 32 bicubic crop 32x32 " CLIP_VALUES},
        {"{\"size\":{\"shortest_edge\":40},\"crop_size\":{\"height\":32,\"width\":36},\"resample\":1}",
         "hf on-white shortest 40 lanczos crop 36x32 " CLIP_VALUES},
        {"{\"size\":{\"height\":48,\"width\":64},\"do_center_crop\":false,\"resample\":2}",
         "hf on-white squash 64x48 bilinear " CLIP_VALUES},
        {"{\"do_resize\":false,\"crop_size\":16}", "hf on-white as-is crop 16x16 " CLIP_VALUES},
        {"{\"alpha\":\"drop\"}", "hf shortest 224 bicubic crop 224x224 " CLIP_VALUES},
        {"{\"alpha\":\"white\"}", "hf on-white shortest 224 bicubic crop 224x224 " CLIP_VALUES},
        {"{\"resample\":null,\"do_resize\":false}", "hf on-white as-is crop 224x224 " CLIP_VALUES},
        {"{\"size\":[48,64]}", "hf on-white squash 64x48 bicubic crop 224x224 " CLIP_VALUES},
        {"{\"do_convert_rgb\":false,\"_valid_processor_keys\":[1],\"processor_class\":\"X\",\"unheard_of\":null,\"do_"
         "pad\":true}",
         "hf on-white shortest 224 bicubic crop 224x224 " CLIP_VALUES},
        {"{\"image_processor_type\":\"SiglipImageProcessor\",\"size\":{\"height\":16,\"width\":16}}",
         "hf on-white squash 16x16 bicubic " HALF_VALUES},
        {"{\"image_processor_type\":\"BlipImageProcessor\",\"size\":64}",
         "hf on-white squash 64x64 bicubic " CLIP_VALUES},
        {"{\"image_processor_type\":\"BlipImageProcessorFast\",\"size\":64,\"default_to_square\":true,\"do_center_"
         "crop\":null}",
         "hf on-white squash 64x64 bicubic " CLIP_VALUES},
        {"{\"image_processor_type\":\"ViTImageProcessorPil\"}", "hf on-white squash 224x224 bilinear " HALF_VALUES},
        {"{\"image_processor_type\":\"CLIPImageProcessor\",\"feature_extractor_type\":\"ViTFeatureExtractor\","
         "\"auto_map\":{}}",
         "hf on-white shortest 224 bicubic crop 224x224 " CLIP_VALUES},
        {"{\"image_processor_type\":\"ConvNextImageProcessorFast\",\"size\":{\"shortest_edge\":224},\"crop_pct\":0.9,"
         "\"resample\":3}",
         "hf on-white shortest 248 bicubic crop 224x224 " HALF_VALUES},
        {"{\"image_processor_type\":\"EfficientNetImageProcessor\",\"size\":64,\"resample\":3,\"rescale_offset\":true}",
         "hf on-white squash 64x64 bicubic offset -1 " HALF_VALUES " again 0.5,0.5,0.5"},
        {"{\"do_normalize\":false,\"do_rescale\":false}",
         "hf on-white shortest 224 bicubic crop 224x224 scale 1 mean 0,0,0 std 1,1,1"},
        {"{\"image_mean\":0.5,\"image_std\":[0.5,0.5,0.5],\"rescale_factor\":0.5}",
         "hf on-white shortest 224 bicubic crop 224x224 scale 0.5 " HALF_VALUES},
},
  oc[] = {
      {"{}", "openai shortest 224 bicubic crop-even 224x224 " CLIP_VALUES},
      {"{\"mean\":[0.5,0.5,0.5],\"std\":[0.5,0.5,0.5],\"interpolation\":\"random\",\"mode\":\"RGB\",\"new\":null}",
       "openai shortest 224 bicubic crop-even 224x224 " HALF_VALUES},
      {"{\"size\":64,\"interpolation\":\"bilinear\",\"resize_mode\":\"squash\"}",
       "openai squash 64x64 bilinear " CLIP_VALUES},
      {"{\"size\":[48,64],\"resize_mode\":\"longest\",\"fill_color\":7}",
       "openai longest 64x48 bicubic crop-even 64x48 fill 7 " CLIP_VALUES},
      {"{\"size\":[48,64],\"interpolation\":\"bilinear\"}",
       "openai shortest 64x48 bicubic crop-even 64x48 " CLIP_VALUES},
      {"{\"size\":null,\"mean\":null,\"interpolation\":null,\"resize_mode\":null,\"fill_color\":null}",
       "openai shortest 224 bicubic crop-even 224x224 " CLIP_VALUES},
};

/* What is refused, and what the sentence must hold. */
static const struct nonsense {
    const char *json, *key, *found;
} bad_hf[] =
    {
        {"{\"size\":{\"shortest_edge\":0}}", "x.json: size.shortest_edge", "0"},
        {"{\"size\":4097}", "x.json: size", "4097"},
        {"{\"size\":-1}", "x.json: size", "-1"},
        {"{\"size\":2.5}", "x.json: size", "2.5"},
        {"{\"size\":\"224\"}", "x.json: size", "224"},
        {"{\"size\":[224]}", "x.json: size", "1"},
        {"{\"size\":{\"height\":8,\"width\":8,\"shortest_edge\":8}}", "x.json: size", "both"},
        {"{\"size\":{\"height\":8,\"width\":8,\"depth\":8}}", "x.json: size", "depth"},
        {"{\"size\":64,\"default_to_square\":true}", "x.json: default_to_square", "shortest_edge"},
        {"{\"image_processor_type\":\"OwlViTImageProcessor\"}", "x.json: image_processor_type", "OwlViTImageProcessor"},
        {"{\"image_processor_type\":\"CLIPImageProcessorX\"}", "x.json: image_processor_type", "CLIPImageProcessorX"},
        {"{\"image_processor_type\":7}", "x.json: image_processor_type", "string"},
        {"{\"feature_extractor_type\":\"BeitFeatureExtractor\"}", "x.json: feature_extractor_type", "Beit"},
        {"{\"auto_map\":{\"AutoImageProcessor\":\"mine.Mine\"}}", "x.json: auto_map", "code"},
        {"{\"unheard_of\":1}", "x.json: unheard_of", "member"},
        {"{\"do_pad\":true,\"pad_size\":300}", "x.json: do_pad", "padded"},
        {"{\"use_square_size\":true}", "x.json: use_square_size", "true"},
        {"{\"image_processor_type\":\"ViTImageProcessor\",\"do_center_crop\":true}", "x.json: do_center_crop", "crop"},
        {"{\"image_processor_type\":\"ConvNextImageProcessor\"}", "x.json: resample", "missing"},
        {"{\"image_processor_type\":\"EfficientNetImageProcessor\"}", "x.json: resample", "missing"},
        {"{\"image_processor_type\":\"ConvNextImageProcessor\",\"size\":{\"height\":8,\"width\":8},\"resample\":3}",
         "x.json: size", "shortest_edge"},
        {"{\"image_processor_type\":\"ConvNextImageProcessor\",\"size\":8,\"crop_pct\":0,\"resample\":3}",
         "x.json: crop_pct", "0"},
        {"{\"image_processor_type\":\"ConvNextImageProcessor\",\"size\":8,\"crop_pct\":\"a\",\"resample\":3}",
         "x.json: crop_pct", "a"},
        {"{\"image_processor_type\":\"LevitImageProcessor\",\"size\":4096}", "x.json: size", "4681"},
        {"{\"resample\":null}", "x.json: resample", "null"},
        {"{\"size\":{\"longest_edge\":10}}", "x.json: size", "neither"},
        {"{\"size\":{\"shortest_edge\":10,\"longest_edge\":20}}", "x.json: size", "longest_edge"},
        {"{\"size\":{\"height\":10}}", "x.json: size", "neither"},
        {"{\"size\":{\"height\":10,\"width\":0}}", "x.json: size.width", "0"},
        {"{\"crop_size\":{\"height\":10}}", "x.json: crop_size.width", "nothing"},
        {"{\"crop_size\":true}", "x.json: crop_size", "true"},
        {"{\"image_std\":[0.2,0,0.2]}", "x.json: image_std", "0"},
        {"{\"image_std\":[0.2,0.2,-0.2]}", "x.json: image_std", "-0.2"},
        {"{\"image_mean\":[0.5,0.5]}", "x.json: image_mean", "2"},
        {"{\"image_mean\":[0.5,0.5,\"a\"]}", "x.json: image_mean", "a"},
        {"{\"image_mean\":[0.5,0.5,1e300]}", "x.json: image_mean", "1e+300"},
        {"{\"image_mean\":{}}", "x.json: image_mean", "object"},
        {"{\"resample\":9}", "x.json: resample", "9"},
        {"{\"resample\":-1}", "x.json: resample", "-1"},
        {"{\"resample\":\"bicubic\"}", "x.json: resample", "bicubic"},
        {"{\"rescale_factor\":0}", "x.json: rescale_factor", "0"},
        {"{\"rescale_factor\":[]}", "x.json: rescale_factor", "list"},
        {"{\"do_resize\":\"yes\"}", "x.json: do_resize", "yes"},
        {"{\"do_center_crop\":1}", "x.json: do_center_crop", "1"},
        {"{\"do_center_crop\":false}", "x.json", "crop"},
        {"{\"image_processor_type\":\"SiglipImageProcessor\",\"size\":16}", "x.json", "crop"},
        {"{\"do_center_crop\":false,\"do_resize\":false,\"size\":{\"height\":8,\"width\":8}}", "x.json", "crop"},
        {"{\"alpha\":\"pink\"}", "x.json: alpha", "pink"},
        {"[]", "x.json", "object"},
},
  bad_oc[] = {
      {"{\"size\":0}", "x.json: size", "0"},
      {"{\"size\":[1,2,3]}", "x.json: size", "3"},
      {"{\"size\":[64,0]}", "x.json: size", "0"},
      {"{\"interpolation\":\"nearest\"}", "x.json: interpolation", "nearest"},
      {"{\"interpolation\":3}", "x.json: interpolation", "not a string"},
      {"{\"resize_mode\":\"fit\"}", "x.json: resize_mode", "fit"},
      {"{\"mode\":\"L\"}", "x.json: mode", "L"},
      {"{\"std\":[1,1,0]}", "x.json: std", "0"},
      {"{\"mean\":[]}", "x.json: mean", "0"},
      {"{\"fill_color\":256}", "x.json: fill_color", "256"},
      {"{\"aug_cfg\":1}", "x.json: preprocess_cfg: aug_cfg", "member"},
      {"7", "x.json", "object"},
};

static void spellings(const struct spelling *s, size_t n, int open_clip)
{
    for (size_t i = 0; i < n; i++) {
        vlk_preprocess r;
        vlk_err err = {0};
        char text[512];
        if (CHECK(parse(&r, s[i].json, open_clip, &err) == 0, "%s: %s", s[i].json, err.msg))
            CHECK_STR(vlk_preprocess_text(&r, text, sizeof text), s[i].text, s[i].json);
    }
}

static void nonsense(const struct nonsense *s, size_t n, int open_clip)
{
    for (size_t i = 0; i < n; i++) {
        vlk_preprocess r;
        vlk_err err = {0};
        CHECK(parse(&r, s[i].json, open_clip, &err) == -1, "%s was accepted", s[i].json);
        CHECK(err.code == VLK_EMODEL && strstr(err.msg, s[i].key) && strstr(err.msg, s[i].found), "%s: code %s: %s",
              s[i].json, code_name(err.code), err.msg);
    }
}

static void check_table(const vlk_preprocess *r, const char *want, const char *name)
{
    float table[3][256];
    char hex[17];
    vlk_preprocess_levels(r, table);
    CHECK_STR(hash_digits(hex, table, sizeof table, 16), want, name);
}

static void tables(void)
{
    vlk_preprocess r;
    vlk_err err = {0};
    vlk_preprocess_openai(&r, 32);
    check_table(&r, "5d23c0b115c373c7", "openai");
    CHECK(parse(&r, "{\"rescale_factor\":0.00392156862745098}", 0, &err) == 0, "%s", err.msg);
    check_table(&r, "5d23c0b115c373c7", "hf");
    CHECK(parse(&r, "{\"image_mean\":0.5,\"image_std\":0.5}", 0, &err) == 0, "%s", err.msg);
    check_table(&r, "59e92db758d185f3", "hf, halves");
    CHECK(parse(&r, "{\"do_normalize\":false,\"do_rescale\":false}", 0, &err) == 0, "%s", err.msg);
    check_table(&r, "e72cbab7d96b2cd4", "hf, levels");
}

int main(void)
{
    spellings(hf, sizeof hf / sizeof hf[0], 0);
    spellings(oc, sizeof oc / sizeof oc[0], 1);
    nonsense(bad_hf, sizeof bad_hf / sizeof bad_hf[0], 0);
    nonsense(bad_oc, sizeof bad_oc / sizeof bad_oc[0], 1);
    tables();
    return tap_end();
}
