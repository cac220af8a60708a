/* json.c - reading JSON documents (RFC 8259); the only file that knows the JSON library.
 *
 * A vlk_json is a value of the library under another name; only roots are freed. Stricter than the library's
 * defaults: duplicate keys are refused (two readers could see two different files), and a scan before parsing
 * (json_scan.c) limits nesting, size and the number of values. Looser in two places: integers beyond 64 bits
 * (tokenizer_config.json has model_max_length 10^30) make the document's numbers real instead of unreadable, and what
 * only Python writes (NaN, lone surrogates) is refused when it is asked for, not where it is read. */
#include "json_internal.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

#define MAX_FILE ((size_t)16 << 20)
#define MARK_SIZE (sizeof VLK_JSON_MARK - 1)

/* The library's accessors mostly take non-const pointers, but change nothing. */
static json_t *raw(const vlk_json *j)
{
    return (json_t *)(uintptr_t)j;
}

/* The string that ends where the library stopped: the duplicate key, without its quotes. */
static size_t last_string(const char *s, size_t n, const json_error_t *why, const char **start)
{
    size_t end = why->position > 0 && (size_t)why->position <= n ? (size_t)why->position : 0;
    while (end > 0 && s[end - 1] != '"')
        end--;
    size_t at = end > 0 ? end - 1 : 0;
    while (at > 0 && s[at - 1] != '"')
        at--;
    *start = s + at;
    return end > at ? end - 1 - at : 0;
}

/* Why the library did not parse s. */
static void explain(const json_error_t *why, const char *s, size_t n, const char *name, vlk_err *err)
{
    const char *key;
    if (json_error_code(why) == json_error_out_of_memory) {
        vlk_fail(err, VLK_EMEM, "%s: no memory for %zu bytes of JSON", name, n);
    } else if (json_error_code(why) == json_error_duplicate_key) {
        size_t k = last_string(s, n, why, &key);
        vlk_fail(err, VLK_EFORMAT, "%s: line %d: expected each key once, found \"%.*s\" twice", name, why->line,
                 k > 300 ? 300 : (int)k, key);
    } else {
        vlk_fail(err, VLK_EFORMAT, "%s: line %d: not valid JSON: %s", name, why->line, why->text);
    }
}

vlk_json *vlk_json_parse_as(const char *s, size_t n, vlk_json_use use, const char *name, vlk_err *err)
{
    json_t *root = NULL;
    json_error_t why;
    vlk_buf text = {0};
    size_t flags = JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL;
    if (n >= 3 && memcmp(s, "\xef\xbb\xbf", 3) == 0) {
        s += 3;
        n -= 3;
    }
    if (n == 0) {
        vlk_fail(err, VLK_EFORMAT, "%s: expected JSON, found nothing", name);
        return NULL;
    }
    if (vlk_json_scan(&text, s, n, use, name, err))
        goto out;
    if (text.len > 0) {
        s = text.data;
        n = text.len;
    }
    root = json_loadb(s, n, flags, &why);
    if (!root && json_error_code(&why) == json_error_numeric_overflow)
        root = json_loadb(s, n, flags | JSON_DECODE_INT_AS_REAL, &why);
    if (!root)
        explain(&why, s, n, name, err);
out:
    vlk_buf_clear(&text);
    return (vlk_json *)root;
}

vlk_json *vlk_json_parse(const char *s, size_t n, const char *name, vlk_err *err)
{
    return vlk_json_parse_as(s, n, VLK_JSON_FILE, name, err);
}

vlk_json *vlk_json_load(const char *path, vlk_err *err)
{
    vlk_buf text = {0};
    vlk_json *j = NULL;
    if (vlk_read_file(&text, path, MAX_FILE, err) == 0)
        j = vlk_json_parse(text.data ? text.data : "", text.len, path, err);
    vlk_buf_clear(&text);
    return j;
}

void vlk_json_free(vlk_json *j)
{
    json_decref((json_t *)j);
}

/* The word of a number that is not finite (see json_scan.c), or NULL. */
static const char *not_finite(const vlk_json *j)
{
    const char *s = json_string_value(raw(j));
    size_t n = json_string_length(raw(j));
    if (!s || n <= MARK_SIZE || memcmp(s, VLK_JSON_MARK, MARK_SIZE) != 0)
        return NULL;
    return vlk_json_not_finite(s + MARK_SIZE, n - MARK_SIZE) ? s + MARK_SIZE : NULL;
}

/* The four digits of the first lone surrogate in a string, or NULL. */
static const char *lone_surrogate(const char *s, size_t n)
{
    for (const char *end = s + n; (s = (const char *)memchr(s, (unsigned char)VLK_JSON_MARK[0], (size_t)(end - s)));
         s++) {
        const char *d = s + MARK_SIZE;
        if ((size_t)(end - s) >= MARK_SIZE + 4 && memcmp(s, VLK_JSON_MARK, MARK_SIZE) == 0 && *d == 'd' &&
            strspn(d, "0123456789abcdef") >= 4 && d[1] >= '8')
            return d;
    }
    return NULL;
}

vlk_json_kind vlk_json_type(const vlk_json *j)
{
    switch (j ? json_typeof(raw(j)) : JSON_NULL) {
    case JSON_OBJECT:
        return VLK_JSON_OBJECT;
    case JSON_ARRAY:
        return VLK_JSON_ARRAY;
    case JSON_STRING:
        return not_finite(j) ? VLK_JSON_REAL : VLK_JSON_STRING;
    case JSON_INTEGER:
        return VLK_JSON_INT;
    case JSON_REAL:
        return VLK_JSON_REAL;
    case JSON_TRUE:
    case JSON_FALSE:
        return VLK_JSON_BOOL;
    default:
        return VLK_JSON_NULL;
    }
}

const vlk_json *vlk_json_get(const vlk_json *obj, const char *key)
{
    return (const vlk_json *)json_object_get(raw(obj), key);
}

const vlk_json *vlk_json_at(const vlk_json *arr, size_t i)
{
    return (const vlk_json *)json_array_get(raw(arr), i);
}

size_t vlk_json_len(const vlk_json *j)
{
    json_t *v = raw(j);
    return json_is_array(v) ? json_array_size(v) : json_object_size(v);
}

const char *vlk_json_str(const vlk_json *j, size_t *len)
{
    const char *s = json_string_value(raw(j));
    size_t n = json_string_length(raw(j));
    if (s && (not_finite(j) || lone_surrogate(s, n))) {
        s = NULL;
        n = 0;
    }
    if (len)
        *len = n;
    /* A caller that does not take the length would see a truncated string. */
    return s && !len && memchr(s, '\0', n) ? NULL : s;
}

const char *vlk_json_describe(const vlk_json *j, char *out, size_t size)
{
    json_t *v = raw(j);
    const char *s = json_string_value(v), *word = not_finite(j),
               *lone = s ? lone_surrogate(s, json_string_length(v)) : NULL;
    if (!v)
        snprintf(out, size, "nothing");
    else if (json_is_integer(v))
        snprintf(out, size, "%lld", (long long)json_integer_value(v));
    else if (json_is_real(v))
        snprintf(out, size, "%.9g", json_real_value(v));
    else if (word)
        snprintf(out, size, "%s", word);
    else if (lone)
        snprintf(out, size, "a string with half a character (\\u%.4s)", lone);
    else if (s)
        snprintf(out, size, "the string \"%.40s\"", s);
    else if (json_is_boolean(v))
        snprintf(out, size, "%s", json_is_true(v) ? "true" : "false");
    else
        snprintf(out, size, "%s", json_is_null(v) ? "null" : json_is_array(v) ? "a list" : "an object");
    return out;
}

int vlk_json_int(const vlk_json *j, int64_t min, int64_t max, int64_t *out, const char *what, vlk_err *err)
{
    json_t *v = raw(j);
    int64_t i = 0;
    int ok = json_is_integer(v);
    if (ok) {
        i = json_integer_value(v);
    } else if (json_is_real(v)) {
        double d = json_real_value(v);
        ok = d == floor(d) && fabs(d) < 9.2e18;
        i = ok ? (int64_t)d : 0;
    }
    if (!ok || i < min || i > max) {
        char text[80];
        return vlk_fail(err, VLK_EFORMAT, "%s: expected an integer from %lld to %lld, found %s", what, (long long)min,
                        (long long)max, vlk_json_describe(j, text, sizeof text));
    }
    *out = i;
    return 0;
}

int vlk_json_num(const vlk_json *j, double *out, const char *what, vlk_err *err)
{
    if (!json_is_number(raw(j))) {
        char text[80];
        return vlk_fail(err, VLK_EFORMAT, "%s: expected a number, found %s", what,
                        vlk_json_describe(j, text, sizeof text));
    }
    *out = json_number_value(raw(j));
    return 0;
}

int vlk_json_bool(const vlk_json *j, int *out, const char *what, vlk_err *err)
{
    if (!json_is_boolean(raw(j))) {
        char text[80];
        return vlk_fail(err, VLK_EFORMAT, "%s: expected true or false, found %s", what,
                        vlk_json_describe(j, text, sizeof text));
    }
    *out = json_is_true(raw(j));
    return 0;
}

const void *vlk_json_next(const vlk_json *obj, const void *it, const char **key, const vlk_json **value)
{
    json_t *v = raw(obj);
    void *next = it ? json_object_iter_next(v, (void *)(uintptr_t)it) : json_object_iter(v);
    if (next) {
        *key = json_object_iter_key(next);
        *value = (const vlk_json *)json_object_iter_value(next);
    }
    return next;
}
