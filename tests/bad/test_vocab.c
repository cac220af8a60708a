/* test_vocab.c - damaged vocabularies of all three kinds are refused, with a sentence that names the file and the
 * reason. A good one of 518 tokens (4 merges) is damaged in one place at a time. */
#include "../tap.h"
#include "../../lib/prep/prep.h"

#include <stdlib.h>
#include <unistd.h>

static char folder[64] = "/tmp/vlk-vocab-XXXXXX";
static vlk_err err;

#define must(rc, what) tap_must((rc) == 0, (what), err.msg)

static const char *path(const char *name)
{
    static char out[128];
    snprintf(out, sizeof out, "%s/%s", folder, name);
    return out;
}

static void save(const char *name, const char *text, size_t n)
{
    FILE *f = fopen(path(name), "wb");
    must(!f || fwrite(text, 1, n, f) != n || fclose(f), name);
}

#define HEAD "#version: 0.2\n"
#define MERGES "i n\nt h\na n\nin g</w>\n"

/* vocab.json of the four merges. */
static void good_vocab(vlk_buf *out)
{
    static const char *const last[] = {"in", "th", "an", "ing</w>", "<|startoftext|>", "<|endoftext|>"};
    int id = 0;
    out->len = 0;
    for (int end = 0; end < 2; end++)
        for (uint32_t b = 0, extra = 256; b < 256; b++) { /* any order of the numbers will do */
            char text[8];
            int shown = (b > 32 && b < 127) || (b > 160 && b != 173);
            int n = vlk_utf8_put(shown ? b : extra++, text);
            must(vlk_buf_addf(out, &err, "%s%s%.*s%s\": %d", id ? ", \"" : "{\"", b == '"' || b == '\\' ? "\\" : "", n,
                              text, end ? "</w>" : "", id),
                 "memory");
            id++;
        }
    for (size_t i = 0; i < 6; i++)
        must(vlk_buf_addf(out, &err, ", \"%s\": %d", last[i], id++), "memory");
    must(vlk_buf_adds(out, "}\n", &err), "memory");
}

/* Replaces the first `from` in text. */
static void replace(vlk_buf *text, const char *from, const char *to)
{
    vlk_buf out = {0};
    const char *at = strstr(text->data, from);
    must(!at, from);
    must(vlk_buf_add(&out, text->data, (size_t)(at - text->data), &err) || vlk_buf_adds(&out, to, &err) ||
             vlk_buf_adds(&out, at + strlen(from), &err),
         "memory");
    vlk_buf_clear(text);
    *text = out;
}

static void refused(vlk_tokenizer *b, const char *what, const char *reason)
{
    CHECK(!b && strstr(err.msg, reason), "%s: %s", what, b ? "was accepted" : err.msg);
    CHECK(b || strstr(err.msg, folder), "%s: the file is reported: %s", what, err.msg);
    vlk_tokenizer_free(b);
}

static void flat(const char *what, const char *from, const char *to, const char *merges, size_t size,
                 const char *reason)
{
    vlk_buf vocab = {0};
    good_vocab(&vocab);
    if (from)
        replace(&vocab, from, to);
    save("vocab.json", vocab.data, vocab.len);
    save("merges.txt", merges, strlen(merges));
    vlk_tokenizer *b = vlk_bpe_open_hf(folder, size, &err);
    if (reason) {
        refused(b, what, reason);
    } else {
        vlk_ids ids = {0};
        static const int32_t thing[] = {516, 513, 515, 517};
        CHECK(b && vlk_tokenizer_encode(b, &ids, "Thing", 5, &err) == 0 && ids.len == 4 &&
                  memcmp(ids.id, thing, sizeof thing) == 0,
              "%s: %s", what, err.msg);
        free(ids.id);
        vlk_tokenizer_free(b);
    }
    vlk_buf_clear(&vocab);
}

static void flat_cases(void)
{
    static const char good[] = HEAD MERGES;
    flat("good", NULL, NULL, good, 518, NULL);
    flat("good, CRLF", NULL, NULL, "#version: 0.2\r\ni n\r\nt h\r\na n\r\nin g</w>", 518, NULL);
    flat("good, escapes", "\"th\"", "\"\\u0074h\"", good, 518, NULL);
    flat("good, 1.0 as the general reader allows", ": 512", ": 512.0", good, 518, NULL);
    flat("merges short", NULL, NULL, HEAD "i n\nt h\na n\n", 518, "3 merges");
    flat("merges long", NULL, NULL, HEAD MERGES "i t\n", 518, "5 merges");
    flat("no version line", NULL, NULL, MERGES, 518, "#version");
    flat("empty merges", NULL, NULL, "", 518, "#version");
    flat("merge without vocabulary", NULL, NULL, HEAD "i n\nt h\na n\nq z\n", 518, "not in");
    flat("merge of a later token", NULL, NULL, HEAD "in g</w>\ni n\nt h\na n\n", 518, "no earlier merge");
    flat("merge twice", NULL, NULL, HEAD "i n\nt h\na n\na n\n", 518, "an earlier merge makes");
    flat("merge of one", NULL, NULL, HEAD "i n\nth\na n\nin g</w>\n", 518, "merge 2");
    flat("merge of three", NULL, NULL, HEAD "i n\nt h e\na n\nin g</w>\n", 518, "merge 2");
    flat("empty line inside", NULL, NULL, HEAD "i n\n\nt h\na n\nin g</w>\n", 518, "merge 2");
    flat("hole", "\": 517", "\": 518", good, 518, "id 518");
    flat("duplicate id", "\": 513", "\": 512", good, 518, "both have id 512");
    flat("duplicate token", "\"th\"", "\"in\"", good, 518, "in");
    flat("negative id", "\": 513", "\": -1", good, 518, "vocab.json");
    flat("huge id", "\": 513", "\": 99999999999999999999", good, 518, "vocab.json");
    flat("fraction", "\": 513", "\": 513.5", good, 518, "vocab.json");
    flat("string id", "\": 513", "\": \"513\"", good, 518, "vocab.json");
    flat("leading zero", "\": 513", "\": 0513", good, 518, "not valid JSON");
    flat("after the end", "}\n", "} x", good, 518, "not valid JSON");
    flat("comma at the end", "}\n", ",}", good, 518, "not valid JSON");
    flat("cut", "513, ", "\n\0", good, 518, "not valid JSON");
    flat("bad UTF-8", "\"th\"", "\"t\xffh\"", good, 518, "vocab.json");
    flat("a list", "{", "[{", good, 518, "vocab.json");
    flat("empty token", "\"th\"", "\"\"", good, 518, "without text");
    flat("a byte is missing", "\"A\"", "\"AAAA\"", good, 518, "\"A\"");
    flat("an end byte is missing", "\"A</w>\"", "\"AA</w>\"", good, 518, "\"A</w>\"");
    flat("no start token", "<|startoftext|>", "<|start|>", good, 518, "<|startoftext|>");
    flat("a token that nothing makes", "\"ing</w>\"", "\"song\"", HEAD "i n\nt h\na n\n", 518, "3 merges");
    flat("good, in a larger table", NULL, NULL, good, 525, NULL);
    flat("hole, in a larger table", "\": 517", "\": 518", good, 525, "none has id 517");
    flat("hole of a byte, in a larger table", "\": 7,", "\": 520,", good, 525, "none has id 7");
    flat("table too small", NULL, NULL, good, 517, "id 517");
    flat("size 0", NULL, NULL, good, 0, "vocabulary of 0");
    flat("size of 2^60", NULL, NULL, good, (size_t)1 << 60, "expected 514 to");
    (void)!remove(path("merges.txt"));
    refused(vlk_bpe_open_hf(folder, 518, &err), "no merges.txt", "merges.txt");
    (void)!remove(path("vocab.json"));
    refused(vlk_bpe_open_hf(folder, 518, &err), "nothing", "neither");
}

static void tokenizer(const char *what, const char *from, const char *to, const char *reason)
{
    vlk_buf vocab = {0}, json = {0};
    good_vocab(&vocab);
    must(vlk_buf_addf(&json, &err,
                      "{\"added_tokens\": [{\"content\": \"<|endoftext|>\", \"id\": 517}], \"normalizer\": "
                      "{\"normalizers\": [{\"type\": \"NFC\"}, {\"type\": \"Replace\"}, {\"type\": \"Lowercase\"}]}, "
                      "\"pre_tokenizer\": {\"pretokenizers\": [{\"pattern\": {\"Regex\": \"'s|'t|'re|'ve|'m|'ll|'d|"
                      "[\\\\p{L}]+|[\\\\p{N}]|[^\\\\s\\\\p{L}\\\\p{N}]+\"}}]}, \"model\": {\"type\": \"BPE\", "
                      "\"end_of_word_suffix\": \"</w>\", \"merges\": [\"i n\", [\"t\", \"h\"], \"a n\", \"in g</w>\"], "
                      "\"vocab\": %s}}",
                      vocab.data),
         "memory");
    if (from)
        replace(&json, from, to);
    save("tokenizer.json", json.data, json.len);
    vlk_tokenizer *b = vlk_bpe_open_hf(folder, 518, &err);
    if (reason)
        refused(b, what, reason);
    else
        CHECK(b, "%s: %s", what, err.msg);
    if (!reason)
        vlk_tokenizer_free(b);
    vlk_buf_clear(&vocab);
    vlk_buf_clear(&json);
}

static void tokenizer_cases(void)
{
    tokenizer("good", NULL, NULL, NULL);
    tokenizer("specials in added_tokens only", ", \"<|endoftext|>\": 517", "", NULL);
    tokenizer("specials disagree", "\"id\": 517", "\"id\": 516", "517");
    tokenizer("not JSON", "\"model\": {", "\"model\": [", "not valid JSON");
    tokenizer("another model", "\"BPE\"", "\"WordPiece\"", "not a CLIP tokenizer");
    tokenizer("another suffix", "\"</w>\", \"merges", "\"\", \"merges", "not a CLIP tokenizer");
    tokenizer("no lower-casing", "Lowercase", "Strip", "not a CLIP tokenizer");
    tokenizer("another pattern", "'ll|", "", "its pattern differs");
    tokenizer("a number for a merge", "\"a n\"", "3", "neither");
    tokenizer("a merge of three", "[\"t\", \"h\"]", "[\"t\", \"h\", \"e\"]", "neither");
    tokenizer("two merges in one", "\"a n\"", "\"a n\\nt o\"", "merge");
    tokenizer("merge less", "\"a n\", ", "", "3 merges");
    tokenizer("no vocabulary", "\"vocab\"", "\"words\"", "tokens");
    tokenizer("a list", "{\"added", "[], {\"added", "not valid JSON");
    (void)!remove(path("tokenizer.json"));
}

static void merges(const char *what, const char *text, size_t size, const char *reason)
{
    save("merges.txt", text, strlen(text));
    vlk_tokenizer *b = vlk_bpe_open_merges(path("merges.txt"), size, VLK_BPE_OPENAI, &err);
    if (reason) {
        refused(b, what, reason);
    } else {
        vlk_ids ids = {0};
        CHECK(b && vlk_tokenizer_encode(b, &ids, "", 0, &err) == 0 && ids.len == 2 && ids.id[0] == (int32_t)size - 2 &&
                  ids.id[1] == (int32_t)size - 1,
              "%s: %s", what, err.msg);
        free(ids.id);
        vlk_tokenizer_free(b);
    }
}

static void merges_cases(void)
{
    merges("good", HEAD MERGES, 518, NULL);
    merges("more than count", HEAD MERGES "this line is never read\n", 518, NULL);
    merges("none", HEAD, 514, NULL);
    merges("too few", HEAD MERGES, 519, "4 merges");
    merges("an empty file", "", 518, "#version");
    merges("text without an end", "#version: 0.2", 518, "#version");
    merges("a token of the future", HEAD "in g</w>\ni n\n", 516, "no earlier merge");
    merges("the same token in two ways", HEAD "i n\nin g\nn g\ni ng\n", 518, "is repeated");
    merges("HTML", "<!doctype html>\n<html>\n", 518, "#version");
    merges("size 10", HEAD MERGES, 10, "vocabulary of 10");
    (void)!remove(path("merges.txt"));
    refused(vlk_bpe_open_merges(path("merges.txt"), 518, VLK_BPE_OPENAI, &err), "no file", "merges.txt");
    refused(vlk_bpe_open_merges(folder, 518, VLK_BPE_OPENAI, &err), "a folder", folder);
}

int main(void)
{
    must(!mkdtemp(folder), folder);
    flat_cases();
    tokenizer_cases();
    merges_cases();
    (void)!remove(folder);
    return tap_end();
}
