/* make_model.c - a Hugging Face CLIP folder with random weights, of the size of a published model, for measuring.
 *
 * usage: make_model FOLDER b32|b16|l14|l14-336|tiny [f32|f16|bf16]
 * The folder must exist. The vocabulary is OpenAI's, from share/; run from the top of the source tree. */
#include "../model_file.h"

static const struct {
    const char *name;
    clip_size size;
} sizes[] = {
    {"b32", {VIT(224, 32, 768, 12, 12, 3072), TEXTS(512, 12, 8, 2048, 512)}},
    {"b16", {VIT(224, 16, 768, 12, 12, 3072), TEXTS(512, 12, 8, 2048, 512)}},
    {"l14", {VIT(224, 14, 1024, 24, 16, 4096), TEXTS(768, 12, 12, 3072, 768)}},
    {"l14-336", {VIT(336, 14, 1024, 24, 16, 4096), TEXTS(768, 12, 12, 3072, 768)}},
    {"tiny", {VIT(64, 16, 64, 2, 2, 256), TEXTS(64, 2, 2, 256, 32)}},
};

/* The symbol of the i-th byte in vocabulary order, as UTF-8: printable bytes first, the others above U+0100. */
static size_t symbol(size_t i, char out[4])
{
    size_t others = 0;
    if (i < 94)
        return (size_t)vlk_utf8_put((uint32_t)(33 + i), out);
    if (i < 106)
        return (size_t)vlk_utf8_put((uint32_t)(161 + i - 94), out);
    if (i < 188)
        return (size_t)vlk_utf8_put((uint32_t)(174 + i - 106), out);
    others = i - 188;
    return (size_t)vlk_utf8_put((uint32_t)(256 + others), out);
}

static int token(vlk_buf *vocab, const char *s, size_t n, const char *end, size_t id, vlk_err *err)
{
    char text[1024];
    int len = snprintf(text, sizeof text, "%.*s%s", (int)n, s, end);
    return vlk_buf_adds(vocab, id ? ", " : "{", err) || vlk_json_quote(vocab, text, (size_t)len, err) != 0
               ? -1
               : vlk_buf_addf(vocab, err, ": %zu", id);
}

/* vocab.json and merges.txt from OpenAI's file: line 0 is a version, then one merge per line. */
static int vocabulary(const char *dir, size_t size, vlk_err *err)
{
    vlk_buf vocab = {0}, merges = {0}, line = {0};
    vlk_in *in = vlk_in_open("share/bpe_simple_vocab_16e6.txt.gz", err);
    char s[4];
    size_t id = 0;
    int status = in && vlk_in_line(in, &line, '\n', err) == 1 ? vlk_buf_adds(&merges, "#version: 0.2\n", err) : -1;
    for (; id < 512 && status == 0; id++)
        status = token(&vocab, s, symbol(id % 256, s), id < 256 ? "" : "</w>", id, err);
    for (; id < size - 2 && status == 0; id++) {
        char *blank;
        if (vlk_in_line(in, &line, '\n', err) != 1 || !(blank = strchr(line.data, ' '))) {
            status = -1;
            break;
        }
        status = vlk_buf_addf(&merges, err, "%s\n", line.data);
        memmove(blank, blank + 1, strlen(blank));
        if (status == 0)
            status = token(&vocab, line.data, strlen(line.data), "", id, err);
    }
    if (status == 0)
        status = token(&vocab, "<|startoftext|>", 15, "", size - 2, err);
    if (status == 0)
        status = token(&vocab, "<|endoftext|>", 13, "", size - 1, err);
    if (status == 0)
        status = vlk_buf_adds(&vocab, "}\n", err);
    if (status == 0)
        status = file_text(dir, "vocab.json", vocab.data, vocab.len, err);
    if (status == 0)
        status = file_text(dir, "merges.txt", merges.data, merges.len, err);
    vlk_in_close(in);
    vlk_buf_clear(&vocab);
    vlk_buf_clear(&merges);
    vlk_buf_clear(&line);
    return status;
}

static int make(const char *dir, const clip_size *s, file_type type, vlk_err *err)
{
    struct file_model m = {.type = type, .prefix = ""};
    vlk_buf config = {0}, pre = {0};
    char path[1024];
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    file_hf(&m, s);
    int status = file_hf_config(&config, s, "quick_gelu", err);
    if (status == 0)
        status = file_text(dir, "config.json", config.data, config.len, err);
    if (status == 0)
        status = vlk_buf_addf(
            &pre, err,
            "{\"image_processor_type\": \"CLIPImageProcessor\", \"size\": {\"shortest_edge\": %zu}, "
            "\"crop_size\": {\"height\": %zu, \"width\": %zu}, \"resample\": 3, \"image_mean\": [0.48145466, "
            "0.4578275, 0.40821073], \"image_std\": [0.26862954, 0.26130258, 0.27577711]}\n",
            s->image, s->image, s->image);
    if (status == 0)
        status = file_text(dir, "preprocessor_config.json", pre.data, pre.len, err);
    if (status == 0)
        status = vocabulary(dir, s->vocab, err);
    if (status == 0)
        status = file_write(&m, path, 0, err);
    vlk_buf_clear(&config);
    vlk_buf_clear(&pre);
    free(m.t);
    return status;
}

int main(int argc, char **argv)
{
    static const char *const types[] = {"f32", "f16", "bf16"};
    vlk_err err = {0};
    size_t size = 0, type = 0;
    while (size < sizeof sizes / sizeof sizes[0] && argc > 2 && strcmp(argv[2], sizes[size].name) != 0)
        size++;
    while (type < 3 && argc > 3 && strcmp(argv[3], types[type]) != 0)
        type++;
    if (argc < 3 || size == sizeof sizes / sizeof sizes[0] || type == 3) {
        fprintf(stderr, "usage: make_model FOLDER b32|b16|l14|l14-336|tiny [f32|f16|bf16]\n");
        return 2;
    }
    if (make(argv[1], &sizes[size].size, (file_type)type, &err) == 0)
        return 0;
    fprintf(stderr, "make_model: %s\n", err.msg);
    return 2;
}
