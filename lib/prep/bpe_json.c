/* bpe_json.c - the token tables of Hugging Face: vocab.json and tokenizer.json.
 * vocab.json is one flat object of 49,408 members. The general reader takes longer to build its tree than the rest of
 * the start-up, so the common form is scanned here; whatever this scan does not handle (surrogates, fractions,
 * mistakes) is left to the general reader, whose result and message count. */
#include "bpe_internal.h"

#include <string.h>

#define VOCAB_BYTES ((size_t)64 << 20)

/* ---- vocab.json --------------------------------------------------------------------------- */

typedef struct scan {
    const char *s;
    size_t i, n;
    vlk_buf key;
} scan;

static void skip_blanks(scan *c)
{
    while (c->i < c->n && memchr(" \t\r\n", c->s[c->i], 4))
        c->i++;
}

static int accept(scan *c, char ch)
{
    skip_blanks(c);
    if (c->i == c->n || c->s[c->i] != ch)
        return 0;
    c->i++;
    return 1;
}

/* The escape after a backslash: 1 and its code point; 0 for what is left to the general reader. */
static int escape(scan *c, uint32_t *cp)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (c->i == c->n)
        return 0;
    const char *p = memchr(from, c->s[c->i], sizeof from - 1);
    if (p) {
        c->i++;
        *cp = (uint32_t)to[p - from];
        return 1;
    }
    if (c->s[c->i] != 'u' || c->n - c->i < 5)
        return 0;
    *cp = 0;
    for (int k = 1; k <= 4; k++) {
        unsigned char h = (unsigned char)c->s[c->i + (size_t)k];
        if (h >= '0' && h <= '9')
            *cp = *cp * 16 + (h - '0');
        else if ((h | 0x20) >= 'a' && (h | 0x20) <= 'f')
            *cp = *cp * 16 + ((h | 0x20) - 'a' + 10u);
        else
            return 0;
    }
    c->i += 5;
    return *cp != 0 && (*cp < 0xD800 || *cp > 0xDFFF);
}

/* A string into c->key. 1; 0 if it is not a plain one; -1 no memory. */
static int string(scan *c, vlk_err *err)
{
    c->key.len = 0;
    if (!accept(c, '"'))
        return 0;
    for (;;) {
        size_t run = c->i;
        while (c->i < c->n && (unsigned char)c->s[c->i] >= 0x20 && c->s[c->i] != '"' && c->s[c->i] != '\\')
            c->i++;
        if (vlk_buf_add(&c->key, c->s + run, c->i - run, err))
            return -1;
        if (c->i == c->n)
            return 0;
        char ch = c->s[c->i++];
        if (ch == '"')
            return vlk_utf8_valid(c->key.data, c->key.len) == c->key.len;
        uint32_t cp;
        if (ch != '\\' || !escape(c, &cp))
            return 0;
        char utf8[4];
        const size_t n = (size_t)vlk_utf8_put(cp, utf8);
        if (vlk_buf_add(&c->key, utf8, n, err))
            return -1;
    }
}

/* A whole number below 10^9 without sign, fraction or leading zero. */
static int whole(scan *c, uint64_t *value)
{
    skip_blanks(c);
    size_t first = c->i;
    *value = 0;
    while (c->i < c->n && c->i - first < 9 && c->s[c->i] >= '0' && c->s[c->i] <= '9')
        *value = *value * 10 + (uint64_t)(c->s[c->i++] - '0');
    return c->i > first && (c->i == first + 1 || c->s[first] != '0') && c->i < c->n &&
           memchr(" \t\r\n,}", c->s[c->i], 6);
}

/* All members into v. 1; 0 if the file has another form; -1 an error. */
static int scan_members(scan *c, vlk_vocab *v, vlk_err *err)
{
    uint64_t id;
    int rc;
    c->i = 0;
    if (!accept(c, '{'))
        return 0;
    do {
        if ((rc = string(c, err)) <= 0)
            return rc;
        if (!accept(c, ':') || !whole(c, &id))
            return 0;
        if (vlk_vocab_add(v, c->key.data, c->key.len, id, err))
            return -1;
    } while (accept(c, ','));
    if (!accept(c, '}'))
        return 0;
    skip_blanks(c);
    return c->i == c->n;
}

static int add_members(vlk_vocab *v, const vlk_json *object, vlk_err *err)
{
    const char *key;
    const vlk_json *value;
    for (const void *it = NULL; (it = vlk_json_next(object, it, &key, &value));) {
        int64_t id;
        if (vlk_json_int(value, 0, INT32_MAX, &id, key, err)) {
            vlk_err_prefix(err, "%s", v->name);
            return -1;
        }
        if (vlk_vocab_add(v, key, strlen(key), (uint64_t)id, err))
            return -1;
    }
    return 0;
}

int vlk_vocab_read_json(vlk_vocab *v, const char *path, vlk_err *err)
{
    int rc = -1;
    vlk_buf file = {0};
    scan c = {0};
    vlk_json *root = NULL;
    if (vlk_read_file(&file, path, VOCAB_BYTES, err))
        goto out;
    c.s = file.data;
    c.n = file.len;
    int plain = scan_members(&c, v, err);
    if (plain) {
        rc = plain > 0 ? 0 : -1;
        goto out;
    }
    size_t size = v->size;
    const char *name = v->name;
    vlk_vocab_clear(v);
    if (vlk_vocab_init(v, size, name, err))
        goto out;
    root = vlk_json_parse(file.data, file.len, path, err);
    if (!root)
        goto out;
    if (vlk_json_type(root) != VLK_JSON_OBJECT)
        vlk_fail(err, VLK_EMODEL, "%s: expected an object of tokens and ids", path);
    else
        rc = add_members(v, root, err);
out:
    vlk_json_free(root);
    vlk_buf_clear(&c.key);
    vlk_buf_clear(&file);
    return rc;
}

/* ---- tokenizer.json ----------------------------------------------------------------------- */

static int says(const vlk_json *j, const char *what)
{
    const char *s = vlk_json_str(j, NULL);
    return s && strcmp(s, what) == 0;
}

/* Checks that this is CLIP's tokenizer: NFC, white space, lower case; the pattern; BPE with "</w>". */
static int check_kind(const vlk_json *root, const char *path, vlk_err *err)
{
    static const char pattern[] = "'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+";
    static const char *const steps[] = {"NFC", "Replace", "Lowercase"};
    const vlk_json *model = vlk_json_get(root, "model");
    if (!says(vlk_json_get(model, "type"), "BPE") || !says(vlk_json_get(model, "end_of_word_suffix"), "</w>"))
        return vlk_fail(err, VLK_EUNSUPPORTED, "%s: not a CLIP tokenizer: its model is not BPE with \"</w>\"", path);
    const vlk_json *norm = vlk_json_get(vlk_json_get(root, "normalizer"), "normalizers");
    for (size_t i = 0; i < 3; i++)
        if (vlk_json_len(norm) != 3 || !says(vlk_json_get(vlk_json_at(norm, i), "type"), steps[i]))
            return vlk_fail(err, VLK_EUNSUPPORTED, "%s: not a CLIP tokenizer: expected NFC, Replace, Lowercase", path);
    const vlk_json *split = vlk_json_at(vlk_json_get(vlk_json_get(root, "pre_tokenizer"), "pretokenizers"), 0);
    size_t n, tail = sizeof pattern - 1;
    const char *s = vlk_json_str(vlk_json_get(vlk_json_get(split, "pattern"), "Regex"), &n);
    if (!s || n < tail || strcmp(s + n - tail, pattern) != 0)
        return vlk_fail(err, VLK_EUNSUPPORTED, "%s: not a CLIP tokenizer: its pattern differs", path);
    return 0;
}

/* The start and end token of every text; transformers 5 does not read this member. */
static int check_ends(const vlk_json *root, const char *path, vlk_err *err)
{
    const vlk_json *post = vlk_json_get(root, "post_processor");
    if (!post || vlk_json_type(post) == VLK_JSON_NULL)
        return 0;
    if (says(vlk_json_get(post, "type"), "RobertaProcessing") &&
        says(vlk_json_at(vlk_json_get(post, "cls"), 0), vlk_bpe_start) &&
        says(vlk_json_at(vlk_json_get(post, "sep"), 0), vlk_bpe_end))
        return 0;
    return vlk_fail(err, VLK_EUNSUPPORTED, "%s: not a CLIP tokenizer: its post_processor differs", path);
}

/* One merge, "a b" or ["a", "b"], as a line. */
static int merge_line(vlk_buf *out, const vlk_json *merge, vlk_err *err)
{
    size_t n, m;
    const char *s = vlk_json_str(merge, &n);
    if (s && !memchr(s, '\n', n))
        return vlk_buf_add(out, s, n, err) || vlk_buf_add(out, "\n", 1, err) ? -1 : 0;
    const char *left = vlk_json_str(vlk_json_at(merge, 0), &n), *right = vlk_json_str(vlk_json_at(merge, 1), &m);
    if (vlk_json_len(merge) != 2 || !left || !right || memchr(left, '\n', n) || memchr(right, '\n', m))
        return vlk_fail(err, VLK_EMODEL, "a merge is neither \"left right\" nor a pair");
    return vlk_buf_add(out, left, n, err) || vlk_buf_add(out, " ", 1, err) || vlk_buf_add(out, right, m, err) ||
                   vlk_buf_add(out, "\n", 1, err)
               ? -1
               : 0;
}

int vlk_vocab_read_tokenizer(vlk_vocab *v, vlk_buf *merges, const char *path, vlk_err *err)
{
    int rc = -1;
    vlk_json *root = vlk_json_load(path, err);
    if (!root || check_kind(root, path, err))
        goto out;
    const vlk_json *model = vlk_json_get(root, "model"), *list = vlk_json_get(model, "merges");
    if (add_members(v, vlk_json_get(model, "vocab"), err))
        goto out;
    for (size_t i = 0; i < vlk_json_len(list); i++)
        if (merge_line(merges, vlk_json_at(list, i), err)) {
            vlk_err_prefix(err, "%s: merge %zu", path, i + 1);
            goto out;
        }
    rc = 0;
out:
    vlk_json_free(root);
    return rc;
}

/* ---- tokenizer.json without its tables ---------------------------------------------------- */

/* The end of the string that begins at i, after its quote; n if it has none. */
static size_t string_end(const char *s, size_t n, size_t i)
{
    for (i++; i < n && s[i] != '"'; i++)
        i += s[i] == '\\';
    return i < n ? i + 1 : n;
}

/* The end of the object or list that begins at i; n if it has none. */
static size_t value_end(const char *s, size_t n, size_t i)
{
    size_t depth = 0;
    do {
        if (s[i] == '"') {
            i = string_end(s, n, i);
            continue;
        }
        depth += s[i] == '{' || s[i] == '[';
        depth -= s[i] == '}' || s[i] == ']';
        i++;
    } while (i < n && depth);
    return i;
}

static int is_table(const char *s, size_t n)
{
    return (n == 7 && memcmp(s, "\"vocab\"", 7) == 0) || (n == 8 && memcmp(s, "\"merges\"", 8) == 0);
}

/* Copies s; objects and lists that are the value of "vocab" or "merges" become null. */
static int copy_around(vlk_buf *out, const char *s, size_t n, vlk_err *err)
{
    size_t from = 0, i = 0;
    while (i < n) {
        if (s[i] != '"') {
            i++;
            continue;
        }
        const size_t key = i;
        scan c = {.s = s, .n = n, .i = string_end(s, n, i)};
        i = c.i;
        if (!is_table(s + key, i - key) || !accept(&c, ':'))
            continue;
        skip_blanks(&c);
        if (c.i == n || (s[c.i] != '{' && s[c.i] != '['))
            continue;
        if (vlk_buf_add(out, s + from, c.i - from, err) || vlk_buf_adds(out, "null", err))
            return -1;
        from = i = value_end(s, n, c.i);
    }
    return vlk_buf_add(out, s + from, n - from, err);
}

vlk_json *vlk_bpe_load_around(const char *path, vlk_err *err)
{
    vlk_buf file = {0}, around = {0};
    vlk_json *root = NULL;
    if (vlk_read_file(&file, path, VOCAB_BYTES, err) == 0 && copy_around(&around, file.data, file.len, err) == 0)
        root = vlk_json_parse(around.data ? around.data : "", around.len, path, err);
    if (root && (check_kind(root, path, err) || check_ends(root, path, err))) {
        vlk_json_free(root);
        root = NULL;
    }
    vlk_buf_clear(&file);
    vlk_buf_clear(&around);
    return root;
}
