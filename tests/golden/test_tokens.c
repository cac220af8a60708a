/* test_tokens.c - token ids of 2451 strings in the dialects of OpenAI, open_clip and Hugging Face, against the
 * reference tokenizers (tests/data/tokens/README.md), with OpenAI's vocabulary of share/. The files of Hugging Face
 * are written from it: vocab.json and merges.txt for the whole, tokenizer.json for the first 3584 merges. */
#include "../tap.h"
#include "../../lib/prep/prep.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define STRINGS "tests/data/tokens/strings.tsv.gz"
#define MERGES "share/bpe_simple_vocab_16e6.txt.gz"
#define FULL 49408
#define SMALL 4098
#define FIELDS 7

static char folder[64] = "/tmp/vlk-tokens-XXXXXX";
static vlk_err err;

/* ---- Hugging Face's files from OpenAI's ---------------------------------------------------- */

#define must(rc, what) tap_must((rc) == 0, (what), err.msg)

/* The first `count` lines of the merges file after the version, each with its newline. */
static void read_lines(vlk_buf *out, size_t count)
{
    vlk_buf line = {0};
    vlk_in *in = vlk_in_open(MERGES, &err);
    must(!in, MERGES);
    must(vlk_in_line(in, &line, '\n', &err) != 1, MERGES);
    for (size_t i = 0; i < count; i++) {
        must(vlk_in_line(in, &line, '\n', &err) != 1, MERGES);
        must(vlk_buf_adds(out, line.data, &err) || vlk_buf_adds(out, "\n", &err), "memory");
    }
    vlk_in_close(in);
    vlk_buf_clear(&line);
}

static void save(const char *name, const vlk_buf *text)
{
    vlk_buf path = {0};
    must(vlk_buf_addf(&path, &err, "%s/%s", folder, name), "memory");
    FILE *f = fopen(path.data, "wb");
    must(!f || fwrite(text->data, 1, text->len, f) != text->len || fclose(f), path.data);
    vlk_buf_clear(&path);
}

/* One member "text": id; with `escape` code points above ASCII as \uXXXX (all are below U+0144). */
static void member(vlk_buf *out, const char *text, size_t n, int id, int escape)
{
    must(vlk_buf_adds(out, id ? ", \"" : "\"", &err), "memory");
    for (size_t i = 0; i < n;) {
        uint32_t cp;
        size_t k = (size_t)vlk_utf8_next(text + i, n - i, &cp);
        if (cp == '"' || cp == '\\')
            must(vlk_buf_adds(out, "\\", &err), "memory");
        must(cp >= 0x80 && escape ? vlk_buf_addf(out, &err, "\\u%04x", (unsigned)cp)
                                  : vlk_buf_add(out, text + i, k, &err),
             "memory");
        i += k;
    }
    must(vlk_buf_addf(out, &err, "\": %d", id), "memory");
}

/* {"token": id, ...} of the merges in `lines`. */
static int vocab_members(vlk_buf *out, const vlk_buf *lines, int escape)
{
    int id = 0;
    must(vlk_buf_adds(out, "{", &err), "memory");
    for (int end = 0; end < 2; end++) {
        uint32_t extra = 256;
        for (int pass = 0; pass < 2; pass++) /* printable bytes first, then the others as U+0100 and up */
            for (int b = 0; b < 256; b++) {
                int shown = (b > 32 && b < 127) || (b > 160 && b != 173);
                if (shown == pass)
                    continue;
                char text[16];
                size_t n = (size_t)vlk_utf8_put(shown ? (uint32_t)b : extra++, text);
                memcpy(text + n, "</w>", 4);
                member(out, text, n + (end ? 4 : 0), id++, escape);
            }
    }
    for (const char *p = lines->data, *e; (e = strchr(p, '\n')); p = e + 1) {
        char text[1024];
        size_t n = 0;
        for (const char *q = p; q < e && n < sizeof text; q++)
            if (*q != ' ')
                text[n++] = *q;
        member(out, text, n, id++, escape);
    }
    member(out, "<|startoftext|>", 15, id++, escape);
    member(out, "<|endoftext|>", 13, id++, escape);
    must(vlk_buf_adds(out, "}", &err), "memory");
    return id;
}

static vlk_tokenizer *open_flat(void)
{
    vlk_buf lines = {0}, vocab = {0}, merges = {0};
    read_lines(&lines, FULL - 514);
    CHECK(vocab_members(&vocab, &lines, 0) == FULL, "vocab.json of the whole vocabulary");
    must(vlk_buf_adds(&merges, "#version: 0.2\n", &err) || vlk_buf_add(&merges, lines.data, lines.len, &err), "memory");
    save("vocab.json", &vocab);
    save("merges.txt", &merges);
    vlk_buf_clear(&lines);
    vlk_buf_clear(&vocab);
    vlk_buf_clear(&merges);
    vlk_tokenizer *b = vlk_bpe_open_hf(folder, FULL, &err);
    must(!b, "vocab.json and merges.txt");
    return b;
}

/* tokenizer.json, merges as pairs or as strings. */
static vlk_tokenizer *open_tokenizer(int pairs)
{
    vlk_buf lines = {0}, json = {0};
    read_lines(&lines, SMALL - 514);
    must(
        vlk_buf_adds(&json,
                     "{\"added_tokens\": [{\"id\": 4096, \"content\": \"<|startoftext|>\"}],"
                     "\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFC\"}, {\"type\": "
                     "\"Replace\"}, {\"type\": \"Lowercase\"}]}, \"pre_tokenizer\": {\"pretokenizers\": [{\"pattern\": "
                     "{\"Regex\": \"'s|'t|'re|'ve|'m|'ll|'d|[\\\\p{L}]+|[\\\\p{N}]|[^\\\\s\\\\p{L}\\\\p{N}]+\"}}]}, "
                     "\"model\": {\"type\": \"BPE\", \"end_of_word_suffix\": \"</w>\", \"vocab\": ",
                     &err),
        "memory");
    CHECK(vocab_members(&json, &lines, 1) == SMALL, "tokenizer.json of a part");
    must(vlk_buf_adds(&json, ", \"merges\": [", &err), "memory");
    for (const char *p = lines.data, *e; (e = strchr(p, '\n')); p = e + 1) {
        const char *blank = memchr(p, ' ', (size_t)(e - p));
        must(vlk_buf_adds(&json, p == lines.data ? "" : ",", &err), "memory");
        must(vlk_buf_adds(&json, pairs ? "[" : "", &err), "memory");
        must(vlk_json_quote(&json, p, pairs ? (size_t)(blank - p) : (size_t)(e - p), &err), "memory");
        if (pairs)
            must(vlk_buf_adds(&json, ",", &err) || vlk_json_quote(&json, blank + 1, (size_t)(e - blank - 1), &err) ||
                     vlk_buf_adds(&json, "]", &err),
                 "memory");
    }
    must(vlk_buf_adds(&json, "]}}", &err), "memory");
    save("tokenizer.json", &json);
    vlk_buf_clear(&lines);
    vlk_buf_clear(&json);
    vlk_tokenizer *b = vlk_bpe_open_hf(folder, SMALL, &err);
    must(!b, "tokenizer.json");
    return b;
}

static void remove_file(const char *name)
{
    vlk_buf path = {0};
    must(vlk_buf_addf(&path, &err, "%s%s", folder, name), "memory");
    (void)!remove(path.data);
    vlk_buf_clear(&path);
}

/* ---- the strings ---------------------------------------------------------------------------- */

/* "1 2 3" with start and end around it, which are the last two of the vocabulary. */
static void expected(vlk_ids *ids, const char *field, int32_t vocab)
{
    char *stop;
    ids->len = 0;
    must(vlk_grow(&ids->id, &ids->cap, strlen(field) + 2, sizeof *ids->id, &err), "memory");
    ids->id[ids->len++] = vocab - 2;
    for (const char *p = field; *p; p = stop + (*stop == ' '))
        ids->id[ids->len++] = (int32_t)strtol(p, &stop, 10);
    ids->id[ids->len++] = vocab - 1;
}

static int same(const vlk_ids *a, const vlk_ids *b)
{
    return a->len == b->len && memcmp(a->id, b->id, a->len * sizeof *a->id) == 0;
}

static struct {
    vlk_tokenizer *openai, *open_clip, *full, *small;
    size_t rows, repaired, longer;
} t;

static void one(vlk_tokenizer *b, const char *name, const vlk_buf *text, const char *field, size_t context)
{
    vlk_ids got = {0}, want = {0};
    expected(&want, field, b == t.small ? SMALL : FULL);
    int rc = vlk_tokenizer_encode(b, &got, text->data, text->len, &err);
    if (rc == 0 && context) {
        CHECK(vlk_tokenizer_truncate(b, &got, context) == 1, "%s row %zu is cut", name, t.rows);
        CHECK(vlk_tokenizer_truncate(b, &got, context) == 0, "%s row %zu is cut once", name, t.rows);
    }
    CHECK(rc == 0 && same(&got, &want), "%s row %zu", name, t.rows);
    free(got.id);
    free(want.id);
}

static void row(char *field[FIELDS])
{
    vlk_buf text = {0};
    vlk_ids ids = {0};
    const char *flags = field[1], *openai = field[3], *clip = field[4], *hf = field[5];
    int is_long = strchr(flags, 'l') != NULL;
    size_t n = (size_t)(field[3] - field[2]) - 1; /* it may contain U+0000 */
    must(vlk_unescape(&text, field[2], n, &err), "memory");
    t.repaired += strchr(flags, 'm') != NULL;
    t.longer += is_long;
    if (!strchr(flags, 'm')) {
        if (is_long) {
            size_t length = strtoul(openai, NULL, 10);
            openai = strchr(openai, ' ') + 1;
            CHECK(vlk_tokenizer_encode(t.openai, &ids, text.data, text.len, &err) == 0 && ids.len == length,
                  "row %zu has %zu ids", t.rows, length);
        }
        one(t.openai, "openai", &text, openai, is_long ? 77 : 0);
        one(t.open_clip, "open_clip", &text, *clip == '=' ? openai : clip, is_long ? 77 : 0);
    }
    one(t.full, "hf", &text, *hf == '=' ? openai : hf, 0);
    one(t.small, "hf 4098", &text, field[6], 0);
    free(ids.id);
    vlk_buf_clear(&text);
}

static void all_rows(void)
{
    vlk_buf line = {0};
    vlk_in *in = vlk_in_open(STRINGS, &err);
    must(!in, STRINGS);
    t.rows = t.repaired = t.longer = 0;
    int more;
    while ((more = vlk_in_line(in, &line, '\n', &err)) == 1) {
        char *field[FIELDS] = {line.data};
        size_t n = 1;
        t.rows++;
        for (size_t i = 0; i < line.len && n < FIELDS; i++)
            if (line.data[i] == '\t') {
                line.data[i] = 0;
                field[n++] = line.data + i + 1;
            }
        must(n != FIELDS, STRINGS);
        row(field);
    }
    must(more < 0, STRINGS);
    CHECK(t.rows == 2451 && t.repaired == 37 && t.longer == 21, "rows %zu, repaired %zu, long %zu", t.rows, t.repaired,
          t.longer);
    vlk_in_close(in);
    vlk_buf_clear(&line);
}

/* ---- beside the strings -------------------------------------------------------------------- */

static void bad_bytes(vlk_tokenizer *b)
{
    static const struct {
        const char *text, *where;
        size_t n;
    } bad[] = {{"ab\xff", "byte 2", 3},      {"\xc3", "byte 0", 1},  {"caf\xc3\xa9 \xed\xa0\x80", "byte 6", 9},
               {"\xc0\xaf", "byte 0", 2},    {"x\x80", "byte 1", 2}, {"\xf4\x90\x80\x80", "byte 0", 4},
               {"a b \xe2\x82", "byte 4", 6}};
    vlk_ids ids = {0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int rc = vlk_tokenizer_encode(b, &ids, bad[i].text, bad[i].n, &err);
        CHECK(rc == -1 && err.code == VLK_EFORMAT && strstr(err.msg, bad[i].where), "bytes %zu: %s", i, err.msg);
    }
    free(ids.id);
}

/* A word of 1 MiB is one word (a quadratic loop would take an hour), and a full cache changes nothing. */
static void long_words(vlk_tokenizer *b)
{
    enum { N = 1 << 20 };
    vlk_ids ids = {0};
    char *text = malloc(N);
    must(!text, "memory");
    memset(text, 'a', N);
    int rc = vlk_tokenizer_encode(b, &ids, text, N, &err);
    CHECK(rc == 0 && ids.len > 2 && ids.len < N / 4, "a word of 1 MiB has %zu ids", ids.len);
    for (uint32_t i = 0; i < 40000; i++) {
        int n = snprintf(text, 16, "w%c%c%c%c", 'a' + i % 26, 'a' + i / 26 % 26, 'a' + i / 676 % 26, 'a' + i / 17576);
        must(vlk_tokenizer_encode(b, &ids, text, (size_t)n, &err), text);
    }
    free(text);
    free(ids.id);
}

int main(void)
{
    must(!mkdtemp(folder), folder);
    t.openai = vlk_bpe_open_merges(MERGES, FULL, VLK_BPE_OPENAI, &err);
    must(!t.openai, MERGES);
    t.open_clip = vlk_bpe_open_merges(MERGES, FULL, VLK_BPE_OPEN_CLIP, &err);
    must(!t.open_clip, MERGES);
    t.full = open_flat();
    remove_file("/vocab.json");
    t.small = open_tokenizer(1);
    all_rows();
    bad_bytes(t.openai);
    bad_bytes(t.full);
    long_words(t.full);
    long_words(t.openai);
    vlk_tokenizer_free(t.small);
    t.small = open_tokenizer(0); /* merges as strings; and the caches of the others are new again */
    all_rows();
    remove_file("/tokenizer.json");
    remove_file("/merges.txt");
    remove_file("");
    vlk_tokenizer_free(t.openai);
    vlk_tokenizer_free(t.open_clip);
    vlk_tokenizer_free(t.full);
    vlk_tokenizer_free(t.small);
    return tap_end();
}
