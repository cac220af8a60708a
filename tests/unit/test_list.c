/* test_list.c - lists of every kind, good and broken: the rows as "line path [caption|caption]", "!N" for a bad row. */
#include "../tap.h"
#include "../../lib/stream/stream.h"

static vlk_err err;
static char bad_row[1024]; /* what the last bad row said */

/* All rows as text; returns how the list ended. */
static int rows(const char *name, vlk_list_kind kind, const char *text, size_t n, vlk_buf *out)
{
    vlk_row row = {0};
    int rc, ok = 0;
    char *copy = malloc(n ? n : 1); /* exact, for AddressSanitizer */
    memcpy(copy, text, n);
    vlk_in *in = vlk_in_memory(copy, n, name, &err);
    vlk_list *l = vlk_list_from(in, kind, &err);
    out->len = 0;
    ok |= vlk_buf_adds(out, "", &err);
    while ((rc = vlk_list_next(l, &row, &err)) > 0) {
        if (rc == 2) {
            snprintf(bad_row, sizeof bad_row, "%s", err.msg);
            ok |= vlk_buf_adds(out, "!", &err);
            continue;
        }
        ok |= vlk_buf_addf(out, &err, "%zu %s [", row.at.line, row.path.data);
        const char *c = row.text.data;
        for (size_t i = 0; i < row.captions; i++, c += strlen(c) + 1)
            ok |= vlk_buf_addf(out, &err, i ? "|%s" : "%s", c);
        ok |= vlk_buf_adds(out, "]", &err);
    }
    if (rc == 0 && vlk_list_next(l, &row, &err))
        rc = -2; /* the end must stay the end */
    vlk_row_clear(&row);
    vlk_list_close(l);
    vlk_in_close(in);
    free(copy);
    return ok == 0 ? rc : -3;
}

typedef struct sample {
    const char *name, *text, *want;
    int rc;
} sample;

static void check_all(const sample *s, size_t count)
{
    vlk_buf b = {0};
    for (size_t i = 0; i < count; i++) {
        int rc = rows(s[i].name, VLK_LIST_AUTO, s[i].text, strlen(s[i].text), &b);
        CHECK(rc == s[i].rc, "%s %s: ended with %d: %s", s[i].name, s[i].text, rc, err.msg);
        CHECK_STR(b.data, s[i].want, s[i].text);
        if (rc == -1)
            CHECK(strstr(err.msg, s[i].name), "the list is reported: %s", err.msg);
    }
    vlk_buf_clear(&b);
}

static void lines(void)
{
    static const sample s[] = {
        {"x.tsv", "a.png\ta cat\nb/c.png\ta dog\n", "1 a.png [a cat]2 b/c.png [a dog]", 0},
        {"x.tsv",
         "\xef\xbb\xbf"
         "a.png\ta cat\r\n\r\nb.png\tdog",
         "1 a.png [a cat]3 b.png [dog]", 0},
        {"x.tsv", "a.png\ta\\tb\t0.5\nb.png\nc.png\t\n", "1 a.png [a\\tb]2 b.png []3 c.png []", 0},
        {"x.tsv", "filepath\ttitle\na.png\tx\n", "2 a.png [x]", 0},
        {"x.tsv", "title\tid\tfilepath\nx\t1\ta.png\ny\t2\n", "2 a.png [x]!", 0},
        {"x.tsv", "\tx\na.png\t\xe9\nb.png\t\xc3\xa9\n\xe9.png\tok\n", "!!3 b.png [\xc3\xa9]4 \xe9.png [ok]", 0},
        {"x.tsv", "", "", 0},
        {"x.txt", "a.png\nb c.png\r\n\n\xff.png", "1 a.png []2 b c.png []4 \xff.png []", 0},
        {"standard input", "a.png\tx\n", "1 a.png [x]", 0},
        {"standard input", "[abc].png\n{x.png\n", "1 [abc].png []2 {x.png []", 0},
        {"x.csv", "image,caption\na.png,\"a, b \"\"c\"\"\nd\"\nb.png,x\n", "2 a.png [a, b \"c\"\nd]4 b.png [x]", 0},
        {"x.csv", "id,Title,filepath\r\n1,x y,a.png\r\n2,,b.png\r\n", "2 a.png [x y]3 b.png []", 0},
        {"x.csv", "filepath\ttitle\na.png\tone, two\n", "2 a.png [one, two]", 0},
        {"x.csv", "image,caption\na.png,x,y\nb.png\nc.png,z\n", "!!4 c.png [z]", 0},
        {"x.csv", "image,caption\n\"a\"b,x\nc.png,z\n", "!3 c.png [z]", 0},
        {"x.csv", "image,caption\na.png,\xff\nc.png,z\n", "!3 c.png [z]", 0},
        {"x.csv", "image\na.png\n", "2 a.png []", 0},
        {"x.csv", "\"image\",\"caption\"\n\"a.png\",\"x\"\n", "2 a.png [x]", 0},
        {"x.csv", "image,caption\na.png,\"never closed\nb.png,x\n", "", -1},
        {"x.csv", "a.png,a cat\n", "", -1},
        {"x.csv", "", "", 0},
        {"standard input", "url,TEXT\nhttp://x/a.png,y\n", "2 http://x/a.png [y]", 0},
        {"standard input", "a,b.png\n", "1 a,b.png []", 0},
        {"x.tsv",
         "\xff\xfe"
         "a\0",
         "", -1},
    };
    check_all(s, sizeof s / sizeof s[0]);
}

static void json(void)
{
    static const sample s[] = {
        {"x.jsonl", "{\"image\": \"a.png\", \"caption\": \"x\"}\n\n{\"image\":\"b.png\",\"caption\":[\"y\",\"z\"]}\n",
         "1 a.png [x]3 b.png [y|z]", 0},
        {"x.jsonl",
         "{\"image\": \"a.png\"\n{\"caption\":\"x\"}\n7\n{\"image\":3}\n{\"image\":\"b.png\",\"caption\":3}\n"
         "{\"image\":\"c.png\",\"caption\":[\"x\",null]}\n{\"path\":\"d.png\"}\n",
         "!!!!!!7 d.png []", 0},
        {"x.jsonl", "{\"url\":\"u\",\"file_name\":\"f.png\",\"TEXT\":\"t\",\"extra\":{\"image\":1}}", "1 f.png [t]", 0},
        {"x.jsonl", "[{\"image\":\"a.png\"}]", "1 a.png []", 0},
        {"x.json", "{\"image\":\"a.png\",\"caption\":\"x\"}\n{\"image\":\"b.png\",\"caption\":\"y\"}\n",
         "1 a.png [x]2 b.png [y]", 0},
        {"x.json", "{\"image\":\"a.png\",\"caption\":\"x\"}", "1 a.png [x]", 0},
        {"x.json",
         "[\n{\"image\":\"a]}.png\",\n\"caption\":\"\\\"]}\"},\n\n{\"image\":\"b.png\",\"caption\":[\"y\"]}\n]\n",
         "2 a]}.png [\"]}]5 b.png [y]", 0},
        {"x.json", "\xef\xbb\xbf[\"a.png\", \"b.png\"]", "1 a.png []1 b.png []", 0},
        {"x.json", "[]", "", 0},
        {"x.json", " [ ] ", "", 0},
        {"x.json", "[{\"image\":\"a.png\",},{\"image\":\"b.png\"},3,true,[1]]", "!1 b.png []!!!", 0},
        {"x.json", "[{\"image\":\"a.png\"}", "1 a.png []", -1},
        {"x.json", "[{\"image\":\"a.png\"},", "1 a.png []", -1},
        {"x.json", "[{\"image\":\"a.png\"},]", "1 a.png []", -1},
        {"x.json", "[{\"image\":\"a.png\"}{\"image\":\"b.png\"}]", "1 a.png []", -1},
        {"x.json", "[{\"image\":\"a.png\"}] x", "1 a.png []", -1},
        {"x.json", "[{\"image\":\"a.png", "", -1},
        {"x.json", "[,]", "", -1},
        {"x.json", "[3", "!", -1},
        {"x.json", "", "", -1},
        {"x.json", "hello", "", -1},
        {"x.json", "[{\"image\":\"a\\u0000.png\",\"caption\":\"x\"},{\"image\":\"b.png\",\"caption\":\"\\u0000\"}]",
         "!!", 0},
        {"x.json", "[{\"image\":\"\xff.png\"},{\"image\":\"\"}]", "!!", 0},
        {"x.jsonl",
         "{\"key\":\"caf\\udce9.png\",\"caption\":\"x\"}\n{\"image\":\"a\",\"caption\":\"\\uDCE9\"}\n"
         "{\"image\":\"\\ud83c\\udcbf "
         "\\\\udce9\"}\n{\"image\":\"\\udc80\\udcff\"}\n{\"image\":\"\\ud83c\\udce9\\udce9\"}\n",
         "1 caf\xe9.png [x]!3 \xf0\x9f\x82\xbf \\udce9 []4 \x80\xff []5 \xf0\x9f\x83\xa9\xe9 []", 0},
        {"x.jsonl", "{\"image\":\"\\udc7f\"}\n{\"image\":\"\\ud800\"}\n", "!!", 0},
        /* what Python writes, in members that nobody asks for, and in those that are read */
        {"x.jsonl",
         "{\"image\":\"a\",\"caption\":\"x\",\"punsafe\":NaN,\"s\":[-Infinity],\"t\":\"\\ud800\",\"\\udbff\":Infinity}"
         "\n"
         "{\"image\":\"b\",\"caption\":\"\\ud800\"}\n{\"image\":NaN}\n{\"image\":\"c\",\"caption\":NaN}\n"
         "{\"image\":\"d\",\"caption\":[\"y\",\"\\ud800\"]}\n{\"image\":\"e\",\"caption\":\"NaN\",\"x\":NaN}\n",
         "1 a [x]!!!!6 e [NaN]", 0},
        {"x.json",
         "[{\"image\":\"a\",\"caption\":\"x\",\"n\":NaN},\n{\"image\":\"b\",\"n\":-Infinity,\"t\":\"\\udfff\"}]",
         "1 a [x]2 b []", 0},
        {"x.json",
         "{\"info\":NaN,\"images\":[{\"id\":1,\"file_name\":\"a\",\"score\":NaN},{\"id\":NaN,\"file_name\":\"b\"}],"
         "\"annotations\":[{\"image_id\":1,\"caption\":\"x\",\"area\":Infinity}]}",
         "!1 a [x]", 0},
        {"standard input", "[{\"image\":\"a.png\"}]", "1 a.png []", 0},
        {"standard input", "{\"image\":\"a.png\"}\n", "1 a.png []", 0},
    };
    check_all(s, sizeof s / sizeof s[0]);
}

static void coco(void)
{
#define IMAGES                                                                                                         \
    "\"images\":[{\"id\":1,\"file_name\":\"a.png\"},\n{\"id\":\"x\",\"file_name\":\"b.png\",\"coco_url\":\"u\"}]"
#define NOTES                                                                                                          \
    "\"annotations\":[{\"image_id\":\"x\",\"id\":9,\"caption\":\"c\"},{\"image_id\":1,\"caption\":\"d\"},"             \
    "{\"image_id\":1,\"caption\":\"e\"}]"
    static const sample s[] = {
        {"x.json", "{\"info\":{\"images\":[]}," IMAGES ",\"licenses\":[1,{\"a\":\"]\"}]," NOTES "}",
         "2 b.png [c]2 a.png [d]2 a.png [e]", 0},
        {"x.json", "{" NOTES ",\n" IMAGES "}\n", "1 b.png [c]1 a.png [d]1 a.png [e]", 0},
        {"x.json", "{" IMAGES "}", "1 a.png []2 b.png []", 0},
        {"x.json", "{" IMAGES ",\"annotations\":[]}", "", 0},
        {"x.json", "{" NOTES "}", "", -1},
        {"x.json",
         "{\"images\":[{\"id\":1,\"file_name\":\"\\udce9\"}],\"annotations\":[{\"image_id\":1,\"caption\":\"x\"}]}",
         "1 \xe9 [x]", 0},
        {"x.json", "{\"images\":[],\"annotations\":[{\"image_id\":1,\"caption\":\"x\"}]}", "!", 0},
        {"x.json",
         "{" IMAGES ",\"annotations\":[{\"image_id\":1},{\"caption\":\"x\"},{\"image_id\":1,\"caption\":\"y\"}]}",
         "!!2 a.png [y]", 0},
        {"x.json",
         "{\"images\":[{\"id\":1,\"file_name\":\"a.png\"},{\"id\":1,\"file_name\":\"b.png\"},{\"file_name\":\"c\"},"
         "{\"id\":2}],\"annotations\":[]}",
         "!!!", 0},
        {"x.json",
         "{\"images\":[{\"filepath\":\"val\",\"filename\":\"a.png\",\"sentences\":[{\"raw\":\"x\",\"tokens\":[]},"
         "{\"raw\":\"y\"}],\"split\":\"test\"}],\"dataset\":\"coco\"}",
         "1 val/a.png [x|y]", 0},
        {"x.json", "{\"images\":[{\"filename\":\"a.png\",\"sentences\":[{\"raw\":\"x\"}]}]}", "1 a.png [x]", 0},
        {"x.json", "{" IMAGES, "", -1},
        {"x.json", "{" IMAGES ",", "", -1},
        {"x.json", "{" IMAGES ",\"annotations\":[{\"image_id\":1,\"caption\":\"d\"}", "2 a.png [d]", -1},
        {"x.json", "{" IMAGES "," IMAGES "}", "", -1},
        {"x.json", "{" IMAGES ",\"annotations\":3}", "", -1},
        {"x.json", "{\"images\" []}", "", -1},
        {"x.json", "{\"images\":[]} x", "", -1},
    };
    check_all(s, sizeof s / sizeof s[0]);
    vlk_buf list = {0}, b = {0};
    int ok = vlk_buf_adds(&list, "{\"images\":[", &err); /* enough to make the table grow */
    for (int i = 0; i < 5000; i++)
        ok |= vlk_buf_addf(&list, &err, "%s{\"id\":%d,\"file_name\":\"%d.png\"}", i ? "," : "", i * 7919, i);
    ok |= vlk_buf_adds(&list, "],\"annotations\":[", &err);
    for (int i = 4999; i >= 0; i--)
        ok |= vlk_buf_addf(&list, &err, "%s{\"image_id\":%d,\"caption\":\"%d\"}", i == 4999 ? "" : ",", i * 7919, i);
    ok |= vlk_buf_adds(&list, "]}", &err);
    CHECK(ok == 0 && rows("x.json", VLK_LIST_AUTO, list.data, list.len, &b) == 0, "%s", err.msg);
    CHECK(strncmp(b.data, "1 4999.png [4999]1 4998.png [4998]", 34) == 0, "table of 5000");
    vlk_buf_clear(&list);
    vlk_buf_clear(&b);
}

static void kinds_and_limits(void)
{
    vlk_buf b = {0};
    CHECK(rows("x", VLK_LIST_NAMES0, "a\nb\0c.png\0\0d", 12, &b) == 0, "%s", err.msg);
    CHECK_STR(b.data, "1 a\nb []2 c.png []!4 d []", "NUL between names");
    CHECK(rows("standard input", VLK_LIST_AUTO, "a.png\0b.png\0", 12, &b) == 0, "%s", err.msg);
    CHECK_STR(b.data, "1 a.png []2 b.png []", "NUL seen in the bytes");
    CHECK(rows("x.tsv", VLK_LIST_NAMES, "a.png\tx\n", 8, &b) == 0, "%s", err.msg);
    CHECK_STR(b.data, "1 a.png\tx []", "the caller's kind wins");
    CHECK(rows("x.tsv", VLK_LIST_AUTO, "a.png\tx\0y\nb\0.png\tx\nc.png\tz\n", 27, &b) == 0, "%s", err.msg);
    CHECK_STR(b.data, "!!3 c.png [z]", "NUL in a line");
    CHECK(strstr(bad_row, "x.tsv: line 2: the path holds a NUL"), "%s", bad_row);
    CHECK(rows("x.csv", VLK_LIST_AUTO, "image,caption\na,\0\nb,c\n", 22, &b) == 0, "%s", err.msg);
    CHECK_STR(b.data, "!3 b [c]", "NUL in CSV");
    size_t n = (1 << 20) + 20;
    char *text = malloc(n + 20);
    memset(text, 'a', n);
    memcpy(text + n, "\nb.png\tx\n", 9);
    CHECK(rows("x.tsv", VLK_LIST_AUTO, text, n + 9, &b) == 0 && strcmp(b.data, "!2 b.png [x]") == 0, "long line: %s",
          b.data);
    CHECK(strstr(bad_row, "line 1") && strstr(bad_row, "1 MiB"), "%s", bad_row);
    memcpy(text, "image,caption\nb,\"", 17);
    for (size_t i = 1000; i < n; i += 1000)
        text[i] = '\n';
    CHECK(rows("x.csv", VLK_LIST_AUTO, text, n, &b) == -1 && strstr(err.msg, "line 2"), "%s", err.msg);
    free(text);
    vlk_buf_clear(&b);
    CHECK(!vlk_list_open("/no/such/list.tsv", VLK_LIST_AUTO, &err), "absent");
}

/* The names of the bad rows, and the line that each reason gives. */
static void check_bad_names(const char *name, const char *text, const char *want, const char *last)
{
    vlk_row row = {0};
    vlk_buf names = {0};
    int rc, ok = vlk_buf_adds(&names, "", &err);
    vlk_in *in = vlk_in_memory(text, strlen(text), name, &err);
    vlk_list *l = vlk_list_from(in, VLK_LIST_AUTO, &err);
    while ((rc = vlk_list_next(l, &row, &err)) > 0)
        if (rc == 2) {
            snprintf(bad_row, sizeof bad_row, "%s", err.msg);
            ok |= vlk_row_name(&names, name, &row, &err) | vlk_buf_adds(&names, " ", &err);
        }
    CHECK(rc == 0 && ok == 0, "%s: %s", name, err.msg);
    CHECK_STR(names.data, want, text);
    CHECK(strstr(bad_row, last), "%s: %s", last, bad_row);
    vlk_row_clear(&row);
    vlk_buf_clear(&names);
    vlk_list_close(l);
    vlk_in_close(in);
}

/* Whatever is wrong with a row, and whatever came before it, its name is its own place. */
static void bad_names(void)
{
    check_bad_names("x.csv", "image,caption\na,x\n\nb\nc,d,e\nd,\xe9\ne,f\n,x\n\"f\ng\",x,y\n",
                    "x.csv:4 x.csv:5 x.csv:6 x.csv:8 x.csv:9 ", "x.csv: line 9: expected 2 fields");
    check_bad_names("x.tsv", "path\tcaption\na\tx\nb\n\n\ty\nc\t\xe9\n", "x.tsv:3 x.tsv:5 x.tsv:6 ", "x.tsv: line 6: ");
    check_bad_names("x.jsonl", "{\"image\":\"a\"}\n\n{\"image\":1}\n{\n7\n{\"image\":\"a\",\"caption\":7}\n",
                    "x.jsonl:3 x.jsonl:4 x.jsonl:5 x.jsonl:6 ", "x.jsonl: line 6: ");
    check_bad_names("x.json", "[{\"image\":1},\"a\",7,{\"image\":\"a\",\n\"caption\":7}]",
                    "x.json:1 x.json:3 x.json:4 ", "x.json: item 4 (line 1): ");
    check_bad_names("x.json",
                    "{\"images\":[{\"id\":1},{\"id\":2,\"file_name\":\"a\"}],\n\"annotations\":[{\"image_id\":2,"
                    "\"caption\":\"x\"},{\"image_id\":3}]}",
                    "x.json:images:1 x.json:annotations:2 ", "x.json: annotations 2 (line 2): ");
    check_bad_names("x.json", "{\"annotations\":[{\"image_id\":3},{\"image_id\":3}],\"images\":[{\"id\":1}]}",
                    "x.json:images:1 x.json:annotations:1 x.json:annotations:2 ", "annotations 2 (line 1): ");
}

/* An element that is longer than the limit is a bad row, and the list goes on after it. */
static void too_long(void)
{
    const size_t n = (size_t)17 << 20;
    char *x = malloc(n);
    vlk_buf b = {0}, text = {0};
    memset(x, 'x', n);
    CHECK(vlk_buf_adds(&text, "[{\"image\":\"a\"},\n{\"image\":\"b\",\"x\":\"", &err) == 0 &&
              vlk_buf_add(&text, x, n, &err) == 0 && vlk_buf_adds(&text, "\"},\n{\"image\":\"c\"}]", &err) == 0,
          "%s", err.msg);
    CHECK(rows("x.json", VLK_LIST_AUTO, text.data, text.len, &b) == 0, "%s", err.msg);
    CHECK_STR(b.data, "1 a []!3 c []", "around a long element");
    CHECK(strstr(bad_row, "line 2") && strstr(bad_row, "16777216"), "%s", bad_row);
    vlk_buf_clear(&b);
    vlk_buf_clear(&text);
    free(x);
}

/* Columns and members that are asked for. */
static void check_columns(const char *name, const char *text, const vlk_list_columns *c, const char *want)
{
    vlk_row row = {0};
    vlk_buf out = {0};
    int rc, ok = vlk_buf_adds(&out, "", &err);
    vlk_in *in = vlk_in_memory(text, strlen(text), name, &err);
    vlk_list *l = vlk_list_from(in, VLK_LIST_AUTO, &err);
    vlk_list_choose(l, c);
    while ((rc = vlk_list_next(l, &row, &err)) > 0)
        ok |= rc == 2 ? vlk_buf_adds(&out, "! ", &err)
                      : vlk_buf_addf(&out, &err, "%s=%s ", row.path.data, row.captions ? row.text.data : "-");
    if (rc < 0)
        ok |= vlk_buf_addf(&out, &err, "<%s>", err.msg);
    CHECK(ok == 0, "no memory");
    CHECK_STR(out.data, want, text);
    vlk_row_clear(&row);
    vlk_buf_clear(&out);
    vlk_list_close(l);
    vlk_in_close(in);
}

static void columns(void)
{
    static const char csv[] = "image,caption,Alt,file\na,x,y,b\n", tsv[] = "image\tcaption\tAlt\na\tx\ty\n";
    check_columns("x.csv", csv, &(vlk_list_columns){.text = "alt"}, "a=y ");
    check_columns("x.csv", csv, &(vlk_list_columns){.text = "3", .path = "4"}, "b=y ");
    check_columns("x.csv", csv, &(vlk_list_columns){.path = "file"}, "b=x ");
    check_columns("x.csv", csv, &(vlk_list_columns){.text = "none"},
                  "<x.csv: line 1: expected a header with a column none, found \"image,caption,Alt,file\">");
    check_columns("x.csv", csv, &(vlk_list_columns){.text = "5"},
                  "<x.csv: line 1: expected a header with a column 5, found \"image,caption,Alt,file\">");
    check_columns("x.csv", "image;caption\na;x, y\n", &(vlk_list_columns){.separator = ';'}, "a=x, y ");
    check_columns("x.csv", "image;caption\na;x\n", &(vlk_list_columns){.path = NULL},
                  "<x.csv: line 1: expected a header with a column image, filepath, path or file_name, found "
                  "\"image;caption\" (--separator ';'?)>");
    check_columns("x.tsv", tsv, &(vlk_list_columns){.text = "Alt"}, "a=y ");
    check_columns("x.tsv", tsv, &(vlk_list_columns){.text = "3"}, "a=y ");
    check_columns("x.tsv", "a\tx\ty\nb\n", &(vlk_list_columns){.text = "3"}, "a=y b=- ");
    check_columns("x.tsv", "1\tx\ta\n", &(vlk_list_columns){.text = "2", .path = "3"}, "a=x ");
    check_columns("x.tsv", "1\tx\n", &(vlk_list_columns){.text = "2", .path = "3"}, "! ");
    check_columns("x.tsv", "a\tx\n", &(vlk_list_columns){.text = "Alt"},
                  "<x.tsv: line 1: expected a header with a column Alt, found \"a\\x09x\">");
    check_columns("x.jsonl",
                  "{\"image\":\"a\",\"caption\":\"x\",\"alt\":\"y\",\"f\":\"b\"}\n{\"image\":\"c\",\"f\":\"d\"}\n",
                  &(vlk_list_columns){.text = "alt", .path = "f"}, "b=y d=- ");
    check_columns("x.json", "[{\"image\":\"a\"}]", &(vlk_list_columns){.path = "f"}, "! ");
    check_columns("x.json",
                  "{\"images\":[{\"id\":1,\"file_name\":\"a\"}],\"annotations\":[{\"image_id\":1,\"en\":\"x\"}]}",
                  &(vlk_list_columns){.text = "en"}, "a=x ");
    /* lines that end in carriage returns alone */
    check_columns("x.csv", "image,caption\ra,x\r\rb,y", &(vlk_list_columns){.path = NULL}, "a=x b=y ");
    check_columns("x.tsv",
                  "\xef\xbb\xbf"
                  "a\tx\rb\ty\r",
                  &(vlk_list_columns){.path = NULL}, "a=x b=y ");
    check_columns("x.csv", "image,caption\r\na,\"x\ry\"\r\n", &(vlk_list_columns){.path = NULL}, "a=x\ry ");
}

/* Cut anywhere, flipped anywhere: rows, bad rows or an error, never a crash. */
static void damaged(void)
{
    static const char *const lists[][2] = {
        {"x.csv", "image,caption\na.png,\"a, b \"\"c\"\"\nd\"\nb.png,x\n"},
        {"x.json",
         "[\n{\"image\":\"a]}.png\",\n\"caption\":\"\\\"]}\"},\n\n{\"image\":\"b.png\",\"caption\":[\"y\"]}\n]\n"},
        {"x.json", "{\"info\":{\"images\":[]}," IMAGES ",\"licenses\":[1,{\"a\":\"]\"}]," NOTES "}"},
        {"x.jsonl", "{\"image\": \"a.png\", \"caption\": \"x\"}\n\n{\"image\":\"b.png\",\"caption\":[\"y\",\"z\"]}\n"},
    };
    vlk_buf b = {0};
    char text[512];
    size_t odd = 0;
    for (size_t i = 0; i < 4; i++) {
        size_t n = strlen(lists[i][1]);
        for (size_t cut = 0; cut < n; cut++) {
            int rc = rows(lists[i][0], VLK_LIST_AUTO, lists[i][1], cut, &b);
            if (i == 2 || (i == 1 && cut + 1 < n))
                CHECK(rc == -1, "%s cut to %zu ended with %d", lists[i][1], cut, rc);
        }
        memcpy(text, lists[i][1], n);
        for (size_t k = 0; k < n; k++)
            for (int bit = 0; bit < 8; bit++) {
                text[k] = (char)(text[k] ^ (1 << bit));
                int rc = rows(lists[i][0], VLK_LIST_AUTO, text, n, &b);
                odd += rc != 0 && rc != -1;
                text[k] = (char)(text[k] ^ (1 << bit));
            }
    }
    CHECK(odd == 0, "%zu damaged lists end neither well nor with an error", odd);
    vlk_buf_clear(&b);
}

int main(void)
{
    lines();
    json();
    coco();
    kinds_and_limits();
    bad_names();
    columns();
    too_long();
    damaged();
    return tap_end();
}
