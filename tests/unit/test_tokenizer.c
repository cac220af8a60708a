/* test_tokenizer.c - the face of tokenizers, on CLIP's byte pairs: texts to ids, ids to texts, cutting, special ids.
 * The ids of "a photo of a cat" are those of clip.tokenize. */
#include "../../lib/prep/prep.h"
#include "../tap.h"

#include <stdlib.h>

#define MERGES "share/bpe_simple_vocab_16e6.txt.gz"
enum { FULL = 49408, BYTES = 514 };

static vlk_tokenizer *open_merges(size_t vocab, vlk_bpe_dialect dialect)
{
    vlk_err err;
    vlk_tokenizer *t = vlk_bpe_open_merges(MERGES, vocab, dialect, &err);
    CHECK(t, "%s", err.msg);
    return t;
}

static void decodes(vlk_tokenizer *t, const int32_t *id, size_t n, const char *want)
{
    vlk_err err;
    vlk_buf got = {0};
    CHECK(vlk_buf_adds(&got, "> ", &err) == 0 && vlk_tokenizer_decode(t, &got, id, n, &err) == 0, "%s: %s", want,
          err.msg);
    CHECK(got.len == strlen(want) + 2 && strcmp(got.data + 2, want) == 0, "expected \"%s\", found \"%s\"", want,
          got.data + 2);
    vlk_buf_clear(&got);
}

static void goes_round(vlk_tokenizer *t, const char *text, const char *want)
{
    vlk_err err;
    vlk_ids ids = {0};
    CHECK(vlk_tokenizer_encode(t, &ids, text, strlen(text), &err) == 0, "%s: %s", text, err.msg);
    decodes(t, ids.id, ids.len, want);
    free(ids.id);
}

static void test_words(void)
{
    static const int32_t cat[] = {49406, 320, 1125, 539, 320, 2368, 49407};
    vlk_tokenizer *t = open_merges(FULL, VLK_BPE_OPENAI);
    vlk_err err;
    vlk_ids ids = {0};
    if (!t)
        return;
    CHECK(vlk_tokenizer_encode(t, &ids, "a photo of a cat", 16, &err) == 0 && ids.len == 7 &&
              memcmp(ids.id, cat, sizeof cat) == 0,
          "the ids of a photo of a cat");
    decodes(t, cat, 7, "a photo of a cat");
    decodes(t, cat + 1, 2, "a photo");
    decodes(t, cat, 0, "");
    goes_round(t, "A Photo of a CAT!", "a photo of a cat !");
    goes_round(t, "it's 42 na\xC3\xAFve caf\xC3\xA9s", "it 's 4 2 na\xC3\xAFve caf\xC3\xA9s");
    goes_round(t, "\xF0\x9F\x98\x80 incomprehensibilities", "\xF0\x9F\x98\x80 incomprehensibilities");
    goes_round(t, "", "");
    vlk_special_ids s = vlk_tokenizer_specials(t);
    CHECK(s.start == 49406 && s.end == 49407, "special ids %d, %d", (int)s.start, (int)s.end);
    CHECK(vlk_tokenizer_truncate(t, &ids, 7) == 0 && ids.len == 7, "as long as the context");
    CHECK(vlk_tokenizer_truncate(t, &ids, 4) == 1 && ids.len == 4 && ids.id[2] == 1125 && ids.id[3] == 49407,
          "cut: the last id becomes the end token");
    free(ids.id);
    vlk_tokenizer_free(t);
}

/* A vocabulary of bytes alone: 0xC3 has id 127, 0xA9 id 102; they end a word at 256 more. */
static void test_bytes(void)
{
    vlk_tokenizer *t = open_merges(BYTES, VLK_BPE_HF);
    vlk_err err;
    vlk_buf b = {0};
    if (!t)
        return;
    decodes(t, (const int32_t[]){127, 358}, 2, "\xC3\xA9");
    decodes(t, (const int32_t[]){127}, 1, "\xEF\xBF\xBD");
    decodes(t, (const int32_t[]){102, 64 + 256}, 2,
            "\xEF\xBF\xBD"
            "a");
    decodes(t, (const int32_t[]){127 + 256, 64}, 2, "\xEF\xBF\xBD a");
    goes_round(t, "two words", "two words");
    CHECK(vlk_tokenizer_decode(t, &b, (const int32_t[]){514}, 1, &err) && err.code == VLK_EUSAGE &&
              strstr(err.msg, "514"),
          "an id after the last: %s", err.msg);
    CHECK(vlk_tokenizer_decode(t, &b, (const int32_t[]){-1}, 1, &err) && b.len == 0, "an id below 0");
    vlk_buf_clear(&b);
    vlk_tokenizer_free(t);
    vlk_tokenizer_free(NULL);
}

/* open_clip's tokenizer_kwargs; ids of its SimpleTokenizer, with a table of more rows than it has tokens. */
static void test_cleaning(void)
{
    static const struct {
        vlk_cleaning cleaning;
        const char *text;
        int32_t id[32]; /* ends with 0 */
    } cases[] = {
        {VLK_CLEAN_LOWER, "A photo, of a Cat!", {49406, 320, 1125, 267, 539, 320, 2368, 256, 49407}},
        {VLK_CLEAN_LOWER, "UPPER CAN'T", {49406, 7067, 753, 713, 49407}},
        {VLK_CLEAN_LOWER, "a_b <END_OF_TEXT> x", {49406, 320, 318, 321, 49407, 343, 49407}},
        {VLK_CLEAN_LOWER,
         "caf"
         "\xC3\x89"
         " &LT;b&gt; "
         "\xCE\x9F"
         "\xCE\xA3"
         "!",
         {49406, 15304, 283, 321, 285, 138, 123, 139, 480, 256, 49407}},
        {VLK_CLEAN_LOWER, "<end_of_text>", {49406, 49407, 49407}},
        {VLK_CLEAN_WHITESPACE, "A photo, of a Cat!", {49406, 288, 1125, 267, 539, 320, 34, 536, 256, 49407}},
        {VLK_CLEAN_WHITESPACE, "UPPER CAN'T", {49406, 52, 47, 47, 36, 305, 34, 32, 301, 6, 307, 49407}},
        {VLK_CLEAN_WHITESPACE,
         "a_b <END_OF_TEXT> x",
         {49406, 320, 318, 321, 27, 36, 45, 35, 62, 46, 37, 62, 51, 36, 55, 51, 285, 343, 49407}},
        {VLK_CLEAN_WHITESPACE,
         "caf"
         "\xC3\x89"
         " &LT;b&gt; "
         "\xCE\x9F"
         "\xCE\xA3"
         "!",
         {49406, 3471, 127, 487, 283, 321, 285, 138, 253, 138, 352, 256, 49407}},
        {VLK_CLEAN_WHITESPACE, "<end_of_text>", {49406, 49407, 49407}},
        {VLK_CLEAN_CANONICALIZE, "A photo, of a Cat!", {49406, 320, 1125, 539, 320, 2368, 49407}},
        {VLK_CLEAN_CANONICALIZE, "UPPER CAN'T", {49406, 7067, 5784, 49407}},
        {VLK_CLEAN_CANONICALIZE, "a_b <END_OF_TEXT> x", {49406, 320, 321, 806, 539, 4160, 343, 49407}},
        {VLK_CLEAN_CANONICALIZE,
         "caf"
         "\xC3\x89"
         " &LT;b&gt; "
         "\xCE\x9F"
         "\xCE\xA3"
         "!",
         {49406, 15304, 321, 138, 123, 139, 480, 49407}},
        {VLK_CLEAN_CANONICALIZE, "<end_of_text>", {49406, 806, 539, 4160, 49407}},
    };
    vlk_err err;
    vlk_ids ids = {0};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        vlk_tokenizer *t = open_merges(FULL + 64, VLK_BPE_OPEN_CLIP);
        size_t n = 0;
        if (!t)
            break;
        vlk_bpe_set_cleaning(t, cases[i].cleaning);
        while (cases[i].id[n])
            n++;
        CHECK(vlk_tokenizer_encode(t, &ids, cases[i].text, strlen(cases[i].text), &err) == 0 && ids.len == n &&
                  memcmp(ids.id, cases[i].id, n * sizeof *ids.id) == 0,
              "%s, %s: other ids", vlk_cleaning_name[cases[i].cleaning], cases[i].text);
        vlk_tokenizer_free(t);
    }
    free(ids.id);
}

int main(void)
{
    test_words();
    test_cleaning();
    test_bytes();
    return tap_end();
}
