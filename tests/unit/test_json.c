/* test_json.c - the JSON face: what is accepted, what is refused, accessors on everything, quoting. */
#include "../tap.h"

#include "../../lib/stream/stream.h"

static vlk_json *parse(const char *s)
{
    vlk_err err = {0};
    return vlk_json_parse(s, strlen(s), "test", &err);
}

static void test_refused(void)
{
    static const char *const bad[] = {"",
                                      " ",
                                      "{",
                                      "{\"a\":1,\"a\":2}",
                                      "{\"a\":1} x",
                                      "[1,]",
                                      "{\"a\" 1}",
                                      "[nan]",
                                      "[+Infinity]",
                                      "[01]",
                                      "[+1]",
                                      "['a']",
                                      "[\"\xff\"]",
                                      "[\"\xed\xa0\x80\"]",
                                      "[NaN 1]",
                                      "[1e999]",
                                      "\"\\x41\"",
                                      "[\"a\nb\"]",
                                      "\xef\xbb\xbf",
                                      "{NaN:1}",
                                      "[NaN1]",
                                      "[- NaN]",
                                      "[\"\\ud8\"]",
                                      "[-NaN]",
                                      "{NaN\n:1}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        vlk_err err = {0};
        vlk_json *j = vlk_json_parse(bad[i], strlen(bad[i]), "some.json", &err);
        CHECK(!j, "accepted: %s", bad[i]);
        CHECK(strstr(err.msg, "some.json") && !strchr(err.msg, '\n'), "message: %s", err.msg);
        vlk_json_free(j);
    }
    vlk_err err = {0};
    CHECK(!vlk_json_parse("{\n\n\"a\":}", 9, "x.json", &err) && strstr(err.msg, "line 3"), "line: %s", err.msg);
    CHECK(!vlk_json_load("tests/data/no-such.json", &err) && err.code == VLK_EIO, "missing file: %s", err.msg);
}

/* What Python's json module writes and reads: only who asks for such a value gets none. */
static void test_python(void)
{
    static const char text[] =
        "{\"a\": NaN, \"b\": [Infinity,-Infinity], \"c\": \"x\\ud800\", \"\\uDFFF\": \"\\\\ud800\", "
        "\"d\": \"\\ud83d\\ude00 \\ude00\\ud83d\", \"e\": \"NaN\", \"f\": \"\\ud83d\\ude00\"}";
    vlk_err err = {0};
    CHECK(!vlk_json_parse_as(text, sizeof text - 1, VLK_JSON_HEADER, "header", &err), "a header has none of these");
    vlk_json *j = parse(text);
    CHECK(vlk_json_len(j) == 7, "a document with what Python writes");
    static const struct {
        const char *key, *words;
        vlk_json_kind kind;
    } t[] = {{"a", "NaN", VLK_JSON_REAL},
             {"c", "a string with half a character (\\ud800)", VLK_JSON_STRING},
             {"d", "a string with half a character (\\ude00)", VLK_JSON_STRING}};
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        char words[80];
        double d = 0;
        int64_t whole = 0;
        size_t n = 1;
        const vlk_json *v = vlk_json_get(j, t[i].key);
        CHECK(vlk_json_type(v) == t[i].kind && !vlk_json_str(v, &n) && n == 0, "%s is not a text", t[i].key);
        CHECK(vlk_json_num(v, &d, "x", &err) == -1 && strstr(err.msg, t[i].words), "%s: %s", t[i].key, err.msg);
        CHECK(vlk_json_int(v, 0, 9, &whole, "x", &err) == -1 && strstr(err.msg, t[i].words), "%s", err.msg);
        CHECK_STR(vlk_json_describe(v, words, sizeof words), t[i].words, "in words");
    }
    char words[80];
    CHECK_STR(vlk_json_describe(vlk_json_at(vlk_json_get(j, "b"), 1), words, sizeof words), "-Infinity", "in words");
    CHECK_STR(vlk_json_str(vlk_json_get(j, "e"), NULL), "NaN", "a text that looks like a number");
    CHECK_STR(vlk_json_str(vlk_json_get(j, "f"), NULL), "\xf0\x9f\x98\x80", "a pair of surrogates");
    vlk_json_free(j);
    j = parse("{\"a\": \"\xf4\x8f\xbf\xbf\", \"b\": \"\\\\ud800\"}"); /* a noncharacter, an escaped backslash */
    CHECK_STR(vlk_json_str(vlk_json_get(j, "a"), NULL), "\xf4\x8f\xbf\xbf", "a noncharacter is text");
    CHECK_STR(vlk_json_str(vlk_json_get(j, "b"), NULL), "\\ud800", "an escaped backslash");
    vlk_json_free(j);
    CHECK(!vlk_json_parse("[NaN,\n\"\\ud800\",\n}", 17, "x.json", &err) && strstr(err.msg, "line 3"), "%s", err.msg);
}

static size_t put(char *to, const char *s)
{
    const size_t n = strlen(s);
    memcpy(to, s, n);
    return n;
}

/* "[1,1,...]" or the like: n values in all. */
static size_t fill(char *s, const char *begin, const char *item, size_t n, const char *end)
{
    char *p = s + put(s, begin);
    for (size_t i = 0; i < n; i++)
        p += put(p, item);
    p -= n > 0; /* the last comma */
    return (size_t)(p - s) + put(p, end);
}

static void test_limits(void)
{
    static const struct {
        const char *begin, *item, *end;
        size_t each, around; /* values of an item, values of the rest */
    } t[] = {{"[", "{},", "]", 1, 1},
             {"[", "[7],", "]", 2, 1},
             {"[", "\"\",", "]", 1, 1},
             {"{\"a\": [", "{\"b\":1},", "]}", 2, 2}};
    char *s = malloc((size_t)17 << 20);
    tap_must(s != NULL, "memory", "");
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        for (size_t over = 0; over < 2; over++) {
            vlk_err err = {0};
            const size_t n = (200000 - t[i].around) / t[i].each + over;
            const size_t size = fill(s, t[i].begin, t[i].item, n, t[i].end);
            vlk_json *j = vlk_json_parse_as(s, size, VLK_JSON_SAMPLE, "x.json", &err);
            CHECK((j != NULL) == !over, "%zu of %s: %s", n, t[i].item, err.msg);
            CHECK(j || (err.code == VLK_ELIMIT && strstr(err.msg, "at most 200000 values")), "%s", err.msg);
            vlk_json_free(j);
            j = vlk_json_parse(s, size, "x.json", &err);
            CHECK(j, "a file may have more: %s", err.msg);
            vlk_json_free(j);
        }
    }
    memset(s, ' ', (size_t)17 << 20);
    s[0] = '7';
    vlk_err err = {0};
    vlk_json *j = vlk_json_parse(s, (size_t)16 << 20, "x.json", &err);
    CHECK(j, "16 MiB: %s", err.msg);
    vlk_json_free(j);
    CHECK(!vlk_json_parse(s, ((size_t)16 << 20) + 1, "x.json", &err) && err.code == VLK_ELIMIT, "more: %s", err.msg);
    free(s);
}

static void test_depth(void)
{
    static char deep[120001];
    for (size_t n = 511; n <= 60000; n += n < 513 ? 1 : 59487) {
        memset(deep, '[', n);
        memset(deep + n, ']', n);
        vlk_err err = {0};
        vlk_json *j = vlk_json_parse(deep, 2 * n, "deep", &err);
        CHECK((j != NULL) == (n <= 512), "%zu levels: %s", n, err.msg);
        CHECK(j || err.code == VLK_ELIMIT, "%zu levels: %s", n, err.msg);
        vlk_json_free(j);
    }
    memset(deep, '[', sizeof deep); /* brackets in a string do not nest */
    memcpy(deep, "[\"\\\"", 4);
    memcpy(deep + 5000, "\"]", 2);
    vlk_err err = {0};
    vlk_json *j = vlk_json_parse(deep, 5002, "deep", &err);
    CHECK(j, "brackets in a string: %s", err.msg);
    vlk_json_free(j);
}

static void test_numbers(void)
{
    static const struct {
        const char *text;
        int ok;
        int64_t value;
    } t[] = {{"7", 1, 7},
             {"-0", 1, 0},
             {"1.0", 1, 1},
             {"1e2", 1, 100},
             {"1.5", 0, 0},
             {"\"1\"", 0, 0},
             {"true", 0, 0},
             {"null", 0, 0},
             {"[1]", 0, 0},
             {"1000", 1, 1000},
             {"1001", 0, 0},
             {"-11", 0, 0},
             {"-10", 1, -10},
             {"1e300", 0, 0},
             {"9223372036854775808", 0, 0},
             {"9223372036854775807", 0, 0}};
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        vlk_err err = {0};
        int64_t v = 0;
        vlk_json *j = parse(t[i].text);
        int r = vlk_json_int(j, -10, 1000, &v, "config.json: width", &err);
        CHECK(j && (r == 0) == t[i].ok && v == t[i].value, "int of %s", t[i].text);
        CHECK(r == 0 || strstr(err.msg, "config.json: width: expected an integer"), "%s", err.msg);
        vlk_json_free(j);
    }
    vlk_json *j = parse("{\"big\": 1000000000000000019884624838656, \"n\": 77, \"x\": 0.1, \"b\": false}");
    int64_t v = 0;
    double d = 0;
    int b = 1;
    vlk_err err = {0};
    CHECK(vlk_json_int(vlk_json_get(j, "n"), 0, 100, &v, "n", &err) == 0 && v == 77, "a huge number beside others");
    CHECK(vlk_json_num(vlk_json_get(j, "big"), &d, "big", &err) == 0 && d > 9.9e29, "the huge number");
    CHECK(vlk_json_num(vlk_json_get(j, "x"), &d, "x", &err) == 0 && d == 0.1, "a number");
    CHECK(vlk_json_num(vlk_json_get(j, "b"), &d, "b", &err) == -1, "false is not a number");
    CHECK(vlk_json_bool(vlk_json_get(j, "b"), &b, "b", &err) == 0 && b == 0, "a bool");
    CHECK(vlk_json_bool(vlk_json_get(j, "n"), &b, "n", &err) == -1, "a number is not a bool");
    CHECK(vlk_json_int(vlk_json_get(j, "none"), 0, 1, &v, "none", &err) == -1 && strstr(err.msg, "nothing"), "%s",
          err.msg);
    vlk_json_free(j);
}

static void test_walk(void)
{
    vlk_json *j = parse("\xef\xbb\xbf{\"z\": [1, 2, 3], \"a\": \"x\\u0000y\", \"m\": {\"k\": null}, \"b\": \"\"}");
    char keys[16] = "";
    const char *key;
    const vlk_json *value;
    for (const void *it = vlk_json_next(j, NULL, &key, &value); it; it = vlk_json_next(j, it, &key, &value))
        strncat(keys, key, 1);
    CHECK_STR(keys, "zamb", "members in the order of the file");
    CHECK(vlk_json_len(j) == 4 && vlk_json_len(vlk_json_get(j, "z")) == 3, "lengths");
    CHECK(vlk_json_at(vlk_json_get(j, "z"), 2) && !vlk_json_at(vlk_json_get(j, "z"), 3), "elements");
    size_t n = 0;
    const char *s = vlk_json_str(vlk_json_get(j, "a"), &n);
    CHECK(s && n == 3 && memcmp(s, "x\0y", 3) == 0, "a string with NUL");
    CHECK(!vlk_json_str(vlk_json_get(j, "a"), NULL), "is not given to who asks for no length");
    s = vlk_json_str(vlk_json_get(j, "b"), &n);
    CHECK(s && n == 0, "an empty string");
    CHECK(vlk_json_type(j) == VLK_JSON_OBJECT && vlk_json_type(vlk_json_get(j, "a")) == VLK_JSON_STRING &&
              vlk_json_type(vlk_json_get(j, "z")) == VLK_JSON_ARRAY &&
              vlk_json_type(vlk_json_at(vlk_json_get(j, "z"), 0)) == VLK_JSON_INT,
          "kinds");
    vlk_json_free(j);
    CHECK(vlk_json_type(NULL) == VLK_JSON_NULL && !vlk_json_get(NULL, "a") && !vlk_json_at(NULL, 0) &&
              vlk_json_len(NULL) == 0 && !vlk_json_str(NULL, &n) && n == 0 && !vlk_json_next(NULL, NULL, &key, &value),
          "NULL answers nothing");
}

static void test_quote(void)
{
    static const struct {
        const char *in, *out;
        size_t n;
    } t[] = {{"", "\"\"", 0},
             {"plain text", "\"plain text\"", 10},
             {"a\"b\\c/", "\"a\\\"b\\\\c/\"", 6},
             {"\b\t\n\v\f\r\x01\x7f", "\"\\b\\t\\n\\u000b\\f\\r\\u0001\\u007f\"", 8},
             {"x\0y", "\"x\\u0000y\"", 3},
             {"\xc3\xa9\xf0\x9f\x98\x80", "\"\xc3\xa9\xf0\x9f\x98\x80\"", 6},
             {"a\xff\xc3", "\"a\\udcff\\udcc3\"", 3},
             {"\xed\xa0\x80", "\"\\udced\\udca0\\udc80\"", 3}};
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        vlk_buf b = {0};
        vlk_err err = {0};
        CHECK(vlk_json_quote(&b, t[i].in, t[i].n, &err) == 0, "%s", err.msg);
        CHECK_STR(b.data, t[i].out, "quoting");
        vlk_buf_clear(&b);
    }
}

static const char *double_it(void *arg, const char *in, const char *key, const vlk_json *value,
                             char text[VLK_JSON_TEXT])
{
    int64_t n = 0;
    (void)arg;
    if (strcmp(in, "deep") != 0 || strcmp(key, "n") != 0 || vlk_json_int(value, 0, 1000, &n, key, NULL))
        return NULL;
    snprintf(text, VLK_JSON_TEXT, "%d", (int)n * 2);
    return text;
}

static const char *add_it(void *arg, const char *in, const vlk_json *object, char text[VLK_JSON_TEXT])
{
    (void)object;
    snprintf(text, VLK_JSON_TEXT, "%s", (const char *)arg);
    return strcmp(in, "deep") == 0 ? "new" : NULL;
}

static const char *keep_it(void *arg, const char *in, const vlk_json *object, char text[VLK_JSON_TEXT])
{
    (void)arg, (void)in, (void)object, (void)text;
    return NULL;
}

/* What is written reads back as the same values, and is written again in the same bytes. */
static void test_write(void)
{
    static const struct {
        const char *in, *out;
    } t[] = {
        {"7", "7"},
        {"-9223372036854775808", "-9223372036854775808"},
        {"1e-05", "1e-05"},
        {"0.00001", "1e-05"},
        {"2.6592", "2.6592"},
        {"1.0", "1.0"},
        {"1e2", "1e+02"},
        {"100000.0", "1e+05"},
        {"123456.5", "123456.5"},
        {"-0.0", "-0.0"},
        {"0.1", "0.1"},
        {"0.30000000000000004", "0.30000000000000004"},
        {"0.00392156862745098", "0.00392156862745098"},
        {"1000000000000000019884624838656", "1e+30"},
        {"[ ]", "[]"},
        {"{ }", "{}"},
        {"[1,[2,3],null]", "[1, [2, 3], null]"},
        {"\"caf\\u00e9 \\ud83d\\ude00 \\u0001\\/\"", "\"caf\xc3\xa9 \xf0\x9f\x98\x80 \\u0001/\""},
        {"{\"b\":true,\"a\":{\"k\":false,\"l\":[{\"m\":{}}]}}",
         "{\n  \"b\": true,\n  \"a\": {\n    \"k\": false,\n    \"l\": [{\n      \"m\": {}\n    }]\n  }\n}"},
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        vlk_buf once = {0}, twice = {0};
        vlk_err err = {0};
        vlk_json *j = parse(t[i].in);
        CHECK(j && vlk_json_write(&once, j, NULL, &err) == 0, "%s: %s", t[i].in, err.msg);
        CHECK_STR(once.data, t[i].out, "written");
        vlk_json *k = parse(once.data ? once.data : "");
        CHECK(k && vlk_json_write(&twice, k, NULL, &err) == 0, "%s: %s", t[i].out, err.msg);
        CHECK_STR(twice.data, t[i].out, "written again");
        vlk_json_free(j);
        vlk_json_free(k);
        vlk_buf_clear(&once);
        vlk_buf_clear(&twice);
    }
}

static void test_edits(void)
{
    static const char doc[] = "{\"n\": 4, \"deep\": {\"n\": 21, \"m\": [{\"n\": 5}]}, \"x\": {\"deep\": {}}}";
    static char value[] = "\"first\"";
    vlk_err err = {0};
    vlk_buf b = {0};
    vlk_json *j = parse(doc);
    vlk_json_edits e = {.changed = double_it, .added = add_it, .arg = value};
    CHECK(vlk_json_write(&b, j, &e, &err) == 0, "%s", err.msg);
    CHECK_STR(b.data,
              "{\n  \"n\": 4,\n  \"deep\": {\n    \"new\": \"first\",\n    \"n\": 42,\n    \"m\": [{\n      "
              "\"n\": 5\n    }]\n  },\n  \"x\": {\n    \"deep\": {}\n  }\n}",
              "one member changed, one added, none in an empty object");
    e.added = keep_it;
    b.len = 0;
    CHECK(vlk_json_write(&b, vlk_json_get(j, "x"), &e, &err) == 0, "%s", err.msg);
    CHECK_STR(b.data, "{\n  \"deep\": {}\n}", "a value of a document");
    vlk_json_free(j);
    vlk_buf_clear(&b);
}

int main(void)
{
    test_refused();
    test_python();
    test_limits();
    test_depth();
    test_numbers();
    test_walk();
    test_quote();
    test_write();
    test_edits();
    return tap_end();
}
