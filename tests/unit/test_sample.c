/* test_sample.c - the texts of a sample: one rule for the feed and for training sets, in tars and in folders. */
#include "../scratch.h"
#include "../tap.h"

#include "../../lib/feed/feed.h"

static char dir[] = "/tmp/vlk-sample-XXXXXX";

/* A sample: its texts, and what has to come of them: "caption|caption" and "!negative", or "-stage: part of the
 * reason". A text "@sparse", "@link" is such a member (tars), "@folder" a folder (files). */
typedef struct sample_case {
    const char *name, *txt, *json, *expected;
} sample_case;

static const sample_case cases[] = {
    {"plain", "a dog\n", NULL, "a dog"},
    {"crlf", "a dog\r\n", NULL, "a dog"},
    {"inner", " two\nlines \n\n", NULL, " two\nlines "},
    {"mark",
     "\xef\xbb\xbf"
     "a dog",
     NULL, "a dog"},
    {"missing", NULL, NULL, "-caption: no caption (KEY.txt, or \"caption\" in KEY.json)"},
    {"empty", "", NULL, "-caption: no caption (KEY.txt, or \"caption\" in KEY.json)"},
    {"newline", "\n", NULL, "-caption: no caption (KEY.txt, or \"caption\" in KEY.json)"},
    {"blank", " \t\v \n", NULL, "-caption: no caption (KEY.txt, or \"caption\" in KEY.json)"},
    {"wide-blank", "\xc2\xa0\xe3\x80\x80\n", NULL, "-caption: no caption (KEY.txt, or \"caption\" in KEY.json)"},
    {"mark-alone", "\xef\xbb\xbf", NULL, "-caption: no caption (KEY.txt, or \"caption\" in KEY.json)"},
    {"latin1", "caf\xe9\n", NULL, "-caption: a caption is not UTF-8 at byte 3"},
    {"lists", "a", "{\"captions\": [\"b\", \"\", \" \", \"c\"], \"negatives\": [\"x\", \"\", \"y\"]}", "a|b|c|!x|!y"},
    {"json-alone", NULL, "{\"captions\": [\"b\"]}", "b"},
    {"json-rescues", "  ", "{\"captions\": [\"b\"]}", "b"},
    {"json-blank", "", "{\"captions\": [\"\"], \"negatives\": [\"x\"]}",
     "-caption: no caption (KEY.txt, or \"caption\" in KEY.json)"},
    {"field", NULL, "{\"caption\": \"b\", \"captions\": [\"c\"]}", "b|c"},
    {"field-list", NULL, "{\"caption\": [\"b\", \" \", \"c\"]}", "b|c"},
    {"field-null", NULL, "{\"caption\": null}", "-caption: no caption"},
    {"field-beside", "a", "{\"caption\": \"b\"}", "a"},
    {"field-blank-file", "", "{\"caption\": \"b\"}", "-caption: no caption"},
    {"field-number", NULL, "{\"caption\": 7}", "-caption: KEY.json: caption is not a list"},
    {"null-lists", "a", "{\"captions\": null}", "a"},
    {"no-list", "a", "{\"captions\": \"b\"}", "-caption: KEY.json: captions is not a list"},
    {"no-string", "a", "{\"captions\": [\"b\", 2]}", "-caption: KEY.json: captions[1] is not a string"},
    {"negative-number", "a", "{\"negatives\": [2]}", "-caption: KEY.json: negatives[0] is not a string"},
    {"broken-json", "a", "{\"captions\": [", "-caption: KEY.json"},
    {"latin1-json", "a", "{\"captions\": [\"caf\xe9\"]}", "-caption: KEY.json"},
    {"sparse", "@sparse", NULL, "-caption: sparse.txt is a sparse member in the tar, not a file"},
    {"link", "@link", NULL, "-caption: link.txt is a link in the tar, not a file"},
    {"folder", "@folder", NULL, "-caption: folder.txt"},
};
enum { CASES = sizeof cases / sizeof *cases };

static vlk_buf png;

/* ---- making ------------------------------------------------------------------------------------ */

static int in_tar(const sample_case *c)
{
    return !c->txt || strcmp(c->txt, "@folder") != 0;
}

static int in_folder(const sample_case *c)
{
    return !c->txt || c->txt[0] != '@' || !in_tar(c);
}

static void put_file(const char *key, const char *ext, const void *p, size_t n)
{
    char name[128];
    snprintf(name, sizeof name, "f/%s.%s", key, ext);
    FILE *f = fopen(name, "wb");
    CHECK(f && fwrite(p, 1, n, f) == n, "%s", name);
    if (f)
        fclose(f);
}

static void make_folder(void)
{
    CHECK(mkdir("f", 0755) == 0, "a folder");
    for (size_t i = 0; i < CASES; i++) {
        const sample_case *c = &cases[i];
        if (!in_folder(c))
            continue;
        put_file(c->name, "png", png.data, png.len);
        if (c->txt && c->txt[0] == '@')
            CHECK(mkdir("f/folder.txt", 0755) == 0, "a folder beside an image");
        else if (c->txt)
            put_file(c->name, "txt", c->txt, strlen(c->txt));
        if (c->json)
            put_file(c->name, "json", c->json, strlen(c->json));
    }
}

/* The same member with another type in its header. */
static void put_typed(vlk_out *o, const char *name, char type)
{
    vlk_err err = {0};
    vlk_tar_member m;
    vlk_sample_part p = {0};
    unsigned char head[512];
    unsigned sum = 0;
    vlk_out *one = vlk_out_open("one.tar", &err);
    CHECK(one && !vlk_tar_put(one, name, "", 0, &err) && !vlk_tar_put_end(one, &err) && !vlk_out_commit(one, &err),
          "%s", err.msg);
    vlk_in *in = vlk_in_open("one.tar", &err);
    vlk_tar *t = in ? vlk_tar_open(in, &err) : NULL;
    if (CHECK(t && vlk_tar_next(t, &m, &err) == 1 && m.head_size == sizeof head, "%s", err.msg)) {
        memcpy(head, m.head, sizeof head);
        head[156] = (unsigned char)type;
        if (type == '2')
            memcpy(head + 157, "plain.txt", 9);
        memset(head + 148, ' ', 8);
        for (size_t i = 0; i < sizeof head; i++)
            sum += head[i];
        snprintf((char *)head + 148, 8, "%06o", sum);
        p.head = head;
        p.head_size = sizeof head;
        CHECK(vlk_tar_put_raw(o, &p, &err) == 0, "%s", err.msg);
    }
    vlk_tar_close(t);
    vlk_in_close(in);
}

static void put_member(vlk_out *o, const char *key, const char *ext, const void *p, size_t n)
{
    char name[128];
    vlk_err err = {0};
    snprintf(name, sizeof name, "%s.%s", key, ext);
    CHECK(vlk_tar_put(o, name, p, n, &err) == 0, "%s", err.msg);
}

static void make_tar(const char *path, const char *txt, const char *json)
{
    vlk_err err = {0};
    char name[128];
    vlk_out *o = vlk_out_open(path, &err);
    for (size_t i = 0; i < CASES; i++) {
        const sample_case *c = &cases[i];
        if (!in_tar(c))
            continue;
        put_member(o, c->name, "png", png.data, png.len);
        snprintf(name, sizeof name, "%s.txt", c->name);
        if (c->txt && c->txt[0] == '@')
            put_typed(o, name, c->txt[1] == 's' ? 'S' : '2');
        else if (c->txt)
            put_member(o, c->name, txt, c->txt, strlen(c->txt));
        if (c->json)
            put_member(o, c->name, json, c->json, strlen(c->json));
    }
    CHECK(!vlk_tar_put_end(o, &err) && !vlk_out_commit(o, &err), "%s", err.msg);
}

/* ---- what comes out ---------------------------------------------------------------------------- */

static const sample_case *case_of(vlk_span key)
{
    for (size_t i = 0; i < CASES; i++)
        if (strstr(key.s, cases[i].name) &&
            strlen(cases[i].name) + (key.s[0] == 'f' && key.s[1] == '/' ? 6 : 0) == key.n)
            return &cases[i];
    return NULL;
}

static void check_case(vlk_span key, const char *got, const char *who)
{
    const sample_case *c = case_of(key);
    if (!CHECK(c, "%s: what is %s?", who, key.s))
        return;
    if (c->expected[0] != '-') {
        CHECK(strcmp(got, c->expected) == 0, "%s: %s: got \"%s\", expected \"%s\"", who, c->name, got, c->expected);
        return;
    }
    const char *colon = strchr(c->expected, ':');
    size_t n = (size_t)(colon - c->expected) + 2;
    CHECK(strncmp(got, c->expected, n) == 0 && strstr(got + n, c->expected + n), "%s: %s: got \"%s\", expected \"%s\"",
          who, c->name, got, c->expected);
}

static void add(vlk_buf *b, const char *before, vlk_span s)
{
    vlk_err err;
    CHECK(vlk_buf_addf(b, &err, "%s%s%s", b->len ? "|" : "", before, s.s) == 0, "memory");
}

static size_t check_feed(const char *operand, const vlk_texts_wanted *w, int threads, const char *who)
{
    vlk_err err = {0};
    vlk_batch batch;
    vlk_buf b = {0};
    size_t seen = 0;
    int r = -1;
    char *const operands[] = {(char *)(uintptr_t)operand};
    vlk_feed_options o = {
        .mode = VLK_FEED_PAIRS, .operand = operands, .operands = 1, .batch = 4, .threads = threads, .texts = *w};
    vlk_preprocess_openai(&o.preprocess, 16);
    vlk_feed *f = vlk_feed_open(&o, &err);
    while (f && (r = vlk_feed_next(f, &batch, &err)) == 1)
        for (size_t i = 0; i < batch.items; i++) {
            const vlk_item *it = batch.item[i];
            if (it->kind != VLK_ITEM_IMAGE)
                continue;
            b.len = 0;
            for (size_t k = 0; k < it->captions; k++)
                add(&b, "", it->caption[k]);
            for (size_t k = 0; k < it->negatives; k++)
                add(&b, "!", it->negative[k]);
            if (it->stage)
                CHECK(vlk_buf_addf(&b, &err, "-%s: %s", it->stage, it->err.msg) == 0, "memory");
            check_case(it->key, b.data ? b.data : "", who);
            seen++;
        }
    CHECK(r == 0, "%s: %s", who, err.msg);
    vlk_feed_close(f);
    vlk_buf_clear(&b);
    return seen;
}

static int in_turn(void *arg, uint64_t position, vlk_draw *d, vlk_err *err)
{
    (void)err;
    *d = (vlk_draw){.sample = (size_t)position};
    return position < *(const size_t *)arg;
}

/* Good ones have their texts in the dataset; bad ones tell their reason when they are drawn. */
static size_t check_dataset(const char *operand, const vlk_texts_wanted *w, const char *who)
{
    vlk_err err = {0};
    vlk_buf b = {0};
    vlk_load_batch batch;
    char *const operands[] = {(char *)(uintptr_t)operand};
    vlk_dataset_options o = {.operand = operands, .operands = 1, .texts = *w, .cache_bytes = 1 << 20};
    vlk_dataset *ds = vlk_dataset_open(&o, &err);
    if (!CHECK(ds, "%s: %s", who, err.msg))
        return 0;
    size_t n = vlk_dataset_count(ds), bad = 0;
    for (size_t i = 0; i < n; i++) {
        b.len = 0;
        for (size_t k = 0; k < vlk_dataset_captions(ds, i); k++)
            add(&b, "", vlk_dataset_caption(ds, i, k));
        for (size_t k = 0; k < vlk_dataset_negatives(ds, i); k++)
            add(&b, "!", vlk_dataset_negative(ds, i, k));
        bad += b.len == 0;
        if (b.len)
            check_case(vlk_dataset_key(ds, i), b.data, who);
    }
    vlk_loader_options l = {.dataset = ds, .draw = in_turn, .draw_arg = &n, .batch = n, .threads = 1};
    vlk_preprocess_openai(&l.preprocess, 16);
    vlk_loader *loader = vlk_loader_open(&l, &err);
    if (CHECK(loader && vlk_loader_next(loader, &batch, &err) == 1, "%s: %s", who, err.msg)) {
        CHECK(batch.bads == bad && batch.rows == n - bad, "%s: %zu bad, %zu rows", who, batch.bads, batch.rows);
        for (size_t i = 0; i < batch.bads; i++) {
            b.len = 0;
            CHECK(vlk_buf_addf(&b, &err, "-%s: %s", batch.bad[i].stage, batch.bad[i].err.msg) == 0, "memory");
            check_case(batch.bad[i].key, b.data, who);
        }
    }
    vlk_loader_close(loader);
    vlk_dataset_close(ds);
    vlk_buf_clear(&b);
    return n;
}

/* Members of other names hold the texts: KEY.alt and KEY.capfilt.json. */
static void test_names(void)
{
    vlk_err err = {0};
    const vlk_texts_wanted w = {.text = "alt", .json = "capfilt.json", .lists = VLK_TEXTS_CAPTIONS};
    vlk_out *o = vlk_out_open("n.tar", &err);
    put_member(o, "k", "png", png.data, png.len);
    put_member(o, "k", "txt", "not this", 8);
    put_member(o, "k", "alt", "one", 3);
    put_member(o, "k", "json", "{\"captions\": [\"nor this\"]}", 26);
    put_member(o, "k", "capfilt.json", "{\"captions\": [\"two\"]}", 21);
    CHECK(!vlk_tar_put_end(o, &err) && !vlk_out_commit(o, &err), "%s", err.msg);
    char *operand[] = {(char[]){"n.tar"}};
    vlk_dataset_options d = {.operand = operand, .operands = 1, .texts = w};
    vlk_dataset *ds = vlk_dataset_open(&d, &err);
    if (CHECK(ds && vlk_dataset_count(ds) == 1 && vlk_dataset_captions(ds, 0) == 2, "%s", err.msg)) {
        CHECK_STR(vlk_dataset_caption(ds, 0, 0).s, "one", "KEY.alt");
        CHECK_STR(vlk_dataset_caption(ds, 0, 1).s, "two", "KEY.capfilt.json");
    }
    vlk_dataset_close(ds);
}

int main(void)
{
    const vlk_texts_wanted w = {.lists = VLK_TEXTS_CAPTIONS | VLK_TEXTS_NEGATIVES};
    vlk_err err = {0};
    uint8_t rgb[20 * 20 * 3];
    size_t tar = 0, folder = 0;
    if (!CHECK(mkdtemp(dir) && chdir(dir) == 0, "%s", dir))
        return tap_end();
    memset(rgb, 9, sizeof rgb);
    CHECK(vlk_png_write(&png, rgb, 20, 20, &err) == 0, "%s", err.msg);
    make_folder();
    make_tar("t.tar", "txt", "json");
    for (size_t i = 0; i < CASES; i++) {
        tar += (size_t)in_tar(&cases[i]);
        folder += (size_t)in_folder(&cases[i]);
    }
    for (int threads = 1; threads <= 3; threads += 2) {
        CHECK(check_feed("t.tar", &w, threads, "feed, tar") == tar, "all samples");
        CHECK(check_feed("f", &w, threads, "feed, folder") == folder, "all files");
    }
    CHECK(check_dataset("t.tar", &w, "training set, tar") == tar, "all samples");
    CHECK(check_dataset("f", &w, "training set, folder") == folder, "all files");
    test_names();
    vlk_buf_clear(&png);
    CHECK(chdir("/") == 0 && scratch_remove(dir) == 0, "%s is removed", dir);
    return tap_end();
}
