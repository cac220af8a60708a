/* bpe_added.c - the tokens that a Hugging Face folder adds to its vocabulary: cut out of a text before its words.
 *
 * Where they are declared, and which file wins, as AutoTokenizer (transformers 4.45 to 5.24) has it:
 *
 *     tokenizer_config.json     added_tokens_decoder {"id": token}. Where it is there, the next three are not read
 *     special_tokens_map.json   bos_token, eos_token, unk_token, sep_token, pad_token, cls_token, mask_token,
 *                               additional_special_tokens: over those of tokenizer_config.json
 *     added_tokens.json         {"text": id}
 *     tokenizer.json            added_tokens [token with id]
 *     tokenizer_config.json     the named tokens, further ..._token, additional_special_tokens, extra_special_tokens
 *
 * A token is a string, or an object {content, normalized, special, lstrip, rstrip, single_word}. Its id is that of the
 * vocabulary; one that is not there follows the largest id. Tokens with `normalized` are found in the cleaned text, the
 * others before that in the text as it is; of several at one place the longest. `lstrip` and `rstrip` take white space
 * away, which CLIP's pattern drops anyway. */
#include "bpe_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const named[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                    "pad_token", "cls_token", "mask_token"};
enum { NAMED = sizeof named / sizeof named[0], BOS = 0, EOS = 1 };

/* The files of a folder; NULL where there is none. */
typedef struct declared {
    vlk_json *config, *map, *added, *tokenizer;
    const char *folder;
} declared;

/* ---- one token -------------------------------------------------------------------------------- */

static const char *text_of(const vlk_bpe_added *a, size_t i)
{
    return a->pool.data + a->token[i].at;
}

static size_t index_of(const vlk_bpe_added *a, const char *text, size_t n)
{
    size_t i = 0;
    while (i < a->n && !(a->token[i].len == n && memcmp(text_of(a, i), text, n) == 0))
        i++;
    return i;
}

static int has_blank(const char *s, size_t n)
{
    for (size_t i = 0, k; i < n; i += k) {
        uint32_t cp = (unsigned char)s[i];
        k = cp < 0x80 ? 1 : (size_t)vlk_utf8_next(s + i, n - i, &cp);
        if (vlk_char_classify(cp) == VLK_CHAR_SPACE)
            return 1;
    }
    return 0;
}

/* A token of that text; id -1: not declared. One that is there already stays as it is. */
static int add_text(vlk_bpe_added *a, const char *text, size_t n, int64_t id, int normalized, const char *where,
                    vlk_err *err)
{
    if (n == 0)
        return 0; /* ignored there, too */
    const size_t i = index_of(a, text, n);
    if (has_blank(text, n))
        return vlk_fail(err, VLK_EUNSUPPORTED, "%s: token \"%.60s\" has white space in it, which is not supported",
                        where, text);
    if (i < a->n && id >= 0 && a->token[i].id >= 0 && a->token[i].id != id)
        return vlk_fail(err, VLK_EMODEL, "%s: token \"%.60s\" has id %lld here and %d elsewhere", where, text,
                        (long long)id, (int)a->token[i].id);
    if (i < a->n)
        return 0;
    if (a->pool.len + n >= UINT32_MAX || id > INT32_MAX)
        return vlk_fail(err, VLK_ELIMIT, "%s: token \"%.60s\" has id %lld", where, text, (long long)id);
    if (vlk_grow(&a->token, &a->cap, a->n + 1, sizeof *a->token, err))
        return -1;
    a->token[a->n++] = (vlk_bpe_added_token){
        .at = (uint32_t)a->pool.len, .len = (uint32_t)n, .id = (int32_t)id, .normalized = normalized};
    return vlk_buf_add(&a->pool, text, n, err);
}

static int flag(const vlk_json *token, const char *key, int fallback, int *out, const char *where, vlk_err *err)
{
    const vlk_json *j = vlk_json_get(token, key);
    *out = fallback;
    if (!j || vlk_json_type(j) == VLK_JSON_NULL || vlk_json_bool(j, out, key, err) == 0)
        return 0;
    return vlk_err_prefix(err, "%s", where);
}

/* A string or an object; `normalized` holds for strings. */
static int add_token(vlk_bpe_added *a, const vlk_json *token, int64_t id, int normalized, const char *where,
                     vlk_err *err)
{
    size_t n;
    int special, single;
    const char *text = vlk_json_str(token, &n);
    if (text)
        return add_text(a, text, n, id, normalized, where, err);
    if (!(text = vlk_json_str(vlk_json_get(token, "content"), &n)))
        return vlk_fail(err, VLK_EMODEL, "%s: expected a token: a string, or an object with a string \"content\"",
                        where);
    if (flag(token, "special", 0, &special, where, err) ||
        flag(token, "normalized", !special, &normalized, where, err) ||
        flag(token, "single_word", 0, &single, where, err))
        return -1;
    if (single)
        return vlk_fail(err, VLK_EUNSUPPORTED, "%s: token \"%.60s\": single_word is not supported", where, text);
    return add_text(a, text, n, id, normalized, where, err);
}

/* ---- what the files declare ----------------------------------------------------------------------- */

/* The value of a member that is there and not null. */
static const vlk_json *given(const vlk_json *object, const char *key)
{
    const vlk_json *j = vlk_json_get(object, key);
    return j && vlk_json_type(j) != VLK_JSON_NULL ? j : NULL;
}

static int is_map_read(const declared *d)
{
    return d->map && !given(d->config, "added_tokens_decoder");
}

/* A named token, and the file that it is from. */
static const vlk_json *named_token(const declared *d, const char *key, const char **file)
{
    const vlk_json *j = is_map_read(d) ? given(d->map, key) : NULL;
    *file = j ? "special_tokens_map.json" : "tokenizer_config.json";
    return j ? j : given(d->config, key);
}

/* added_tokens_decoder. */
static int add_decoder(vlk_bpe_added *a, const vlk_json *decoder, vlk_err *err)
{
    static const char where[] = "tokenizer_config.json: added_tokens_decoder";
    const char *key;
    const vlk_json *token;
    if (vlk_json_type(decoder) != VLK_JSON_OBJECT)
        return vlk_fail(err, VLK_EMODEL, "%s: expected an object", where);
    for (const void *it = NULL; (it = vlk_json_next(decoder, it, &key, &token)) != NULL;) {
        char *end;
        const long id = strtol(key, &end, 10);
        if (*key < '0' || *key > '9' || *end || id > INT32_MAX)
            return vlk_fail(err, VLK_EMODEL, "%s: \"%.60s\" is not an id", where, key);
        if (vlk_json_type(token) != VLK_JSON_OBJECT)
            return vlk_fail(err, VLK_EMODEL, "%s: %s: expected an object", where, key);
        if (add_token(a, token, id, 0, where, err))
            return -1;
    }
    return 0;
}

static int add_listed(vlk_bpe_added *a, const vlk_json *list, const char *where, vlk_err *err)
{
    for (size_t i = 0; i < vlk_json_len(list); i++) {
        const vlk_json *token = vlk_json_at(list, i);
        int64_t id;
        if (vlk_json_int(vlk_json_get(token, "id"), 0, INT32_MAX, &id, "id of an added token", err))
            return vlk_err_prefix(err, "%s", where);
        if (add_token(a, token, id, 1, where, err))
            return -1;
    }
    return 0;
}

/* Is this text that of a special token? */
static int is_special(const declared *d, const char *text)
{
    const vlk_json *const lists[] = {given(d->config, "additional_special_tokens"),
                                     given(d->config, "extra_special_tokens"),
                                     is_map_read(d) ? given(d->map, "additional_special_tokens") : NULL};
    const char *file;
    for (size_t i = 0; i < NAMED + 3; i++) {
        const vlk_json *one = i < NAMED ? named_token(d, named[i], &file) : NULL, *list = one ? NULL : lists[i % 3];
        for (size_t k = 0; one ? k == 0 : i >= NAMED && k < vlk_json_len(list); k++) {
            const vlk_json *token = one ? one : vlk_json_at(list, k);
            const char *s = vlk_json_str(token, NULL);
            if (!s)
                s = vlk_json_str(vlk_json_get(token, "content"), NULL);
            if (s && strcmp(s, text) == 0)
                return 1;
        }
    }
    return 0;
}

/* added_tokens.json. */
static int add_encoder(vlk_bpe_added *a, const declared *d, vlk_err *err)
{
    static const char where[] = "added_tokens.json";
    const char *text;
    const vlk_json *value;
    if (d->added && vlk_json_type(d->added) != VLK_JSON_OBJECT)
        return vlk_fail(err, VLK_EMODEL, "%s: expected an object", where);
    for (const void *it = NULL; (it = vlk_json_next(d->added, it, &text, &value)) != NULL;) {
        int64_t id;
        if (vlk_json_int(value, 0, INT32_MAX, &id, text, err))
            return vlk_err_prefix(err, "%s", where);
        if (add_text(a, text, strlen(text), id, !is_special(d, text), where, err))
            return -1;
    }
    return 0;
}

static int by_id(const void *x, const void *y)
{
    const vlk_bpe_added_token *a = x, *b = y;
    return (a->id > b->id) - (a->id < b->id);
}

/* The tokens that have an id; in the order of the ids. */
static int add_with_ids(vlk_bpe_added *a, const declared *d, vlk_err *err)
{
    static const char where[] = "tokenizer.json: added_tokens";
    const vlk_json *decoder = given(d->config, "added_tokens_decoder"),
                   *list = vlk_json_get(d->tokenizer, "added_tokens");
    if (decoder && add_decoder(a, decoder, err))
        return -1;
    for (size_t i = 0; decoder && i < vlk_json_len(list); i++) {
        size_t n = 0; /* read by transformers 4, not by 5 */
        const char *text = vlk_json_str(vlk_json_get(vlk_json_at(list, i), "content"), &n);
        if (text && n && index_of(a, text, n) == a->n)
            return vlk_fail(err, VLK_EMODEL,
                            "%s: \"%.60s\" is not in added_tokens_decoder of tokenizer_config.json beside it", where,
                            text);
    }
    if (!decoder && (add_listed(a, list, where, err) || add_encoder(a, d, err)))
        return -1;
    if (a->n)
        qsort(a->token, a->n, sizeof *a->token, by_id);
    return 0;
}

/* Of start and end token others than CLIP's are refused: they begin and end every text. */
static int add_named(vlk_bpe_added *a, const declared *d, vlk_err *err)
{
    for (size_t i = 0; i < NAMED; i++) {
        const char *file, *want = i == BOS ? vlk_bpe_start : i == EOS ? vlk_bpe_end : NULL;
        const vlk_json *j = named_token(d, named[i], &file);
        char where[64];
        if (!j && !want)
            continue;
        snprintf(where, sizeof where, "%s: %s", file, named[i]);
        if (j && add_token(a, j, -1, want != NULL, where, err))
            return -1;
        const vlk_json *content = vlk_json_get(j, "content");
        const char *text = j ? vlk_json_str(content ? content : j, NULL) : want;
        if (want && strcmp(text, want) != 0)
            return vlk_fail(err, VLK_EUNSUPPORTED, "%s \"%.60s\" is not supported; expected \"%s\"", where, text, want);
        if (!j && add_text(a, want, strlen(want), -1, 1, where, err))
            return -1;
    }
    return 0;
}

/* A list of tokens, or an object of them. */
static int add_all(vlk_bpe_added *a, const vlk_json *j, const char *where, vlk_err *err)
{
    const char *key;
    const vlk_json *token;
    if (!j)
        return 0;
    if (vlk_json_type(j) == VLK_JSON_OBJECT) {
        for (const void *it = NULL; (it = vlk_json_next(j, it, &key, &token)) != NULL;)
            if (add_token(a, token, -1, 0, where, err))
                return -1;
        return 0;
    }
    if (vlk_json_type(j) != VLK_JSON_ARRAY)
        return vlk_fail(err, VLK_EMODEL, "%s: expected a list of tokens", where);
    for (size_t i = 0; i < vlk_json_len(j); i++)
        if (add_token(a, vlk_json_at(j, i), -1, 0, where, err))
            return -1;
    return 0;
}

/* Other members ..._token that are strings: those of models that see or hear, too. */
static int add_further(vlk_bpe_added *a, const vlk_json *config, vlk_err *err)
{
    const char *key;
    const vlk_json *token;
    for (const void *it = NULL; (it = vlk_json_next(config, it, &key, &token)) != NULL;) {
        const size_t n = strlen(key);
        char where[128];
        snprintf(where, sizeof where, "tokenizer_config.json: %.80s", key);
        if (n > 6 && strcmp(key + n - 6, "_token") == 0 && vlk_json_type(token) == VLK_JSON_STRING &&
            add_token(a, token, -1, 0, where, err))
            return -1;
    }
    return 0;
}

/* ---- the folder --------------------------------------------------------------------------------------- */

/* Members of tokenizer_config.json that change ids in a way that is not built in. All others of that file concern
 * decoding, chats or where it came from. */
static int check_config(const vlk_json *c, vlk_err *err)
{
    static const char *const classes[] = {"CLIPTokenizer", "CLIPTokenizerFast", "PreTrainedTokenizerFast",
                                          "TokenizersBackend"};
    static const char *const sides[] = {"padding_side", "truncation_side"};
    const char *type = vlk_json_str(vlk_json_get(c, "tokenizer_class"), NULL);
    int split = 0;
    size_t i = 0;
    for (; type && i < sizeof classes / sizeof classes[0] && strcmp(type, classes[i]) != 0; i++)
        ;
    if (i == sizeof classes / sizeof classes[0])
        return vlk_fail(err, VLK_EUNSUPPORTED, "tokenizer_config.json: tokenizer_class \"%.60s\" is not built in",
                        type);
    for (i = 0; i < 2; i++) {
        const char *side = vlk_json_str(vlk_json_get(c, sides[i]), NULL);
        if (side && strcmp(side, "right") != 0)
            return vlk_fail(err, VLK_EUNSUPPORTED, "tokenizer_config.json: %s \"%.60s\" is not supported", sides[i],
                            side);
    }
    if (flag(c, "split_special_tokens", 0, &split, "tokenizer_config.json", err))
        return -1;
    return split ? vlk_fail(err, VLK_EUNSUPPORTED, "tokenizer_config.json: split_special_tokens is not supported") : 0;
}

/* model_max_length; transformers writes 10^30 for none. */
static int read_longest(size_t *longest, const vlk_json *c, vlk_err *err)
{
    const vlk_json *j = given(c, "model_max_length");
    double n = 0;
    *longest = 0;
    if (!j)
        return 0;
    if (vlk_json_num(j, &n, "tokenizer_config.json: model_max_length", err))
        return -1;
    if (!(n >= 2))
        return vlk_fail(err, VLK_EMODEL, "tokenizer_config.json: model_max_length: %g; expected 2 or more", n);
    *longest = n < 1e9 ? (size_t)n : 0;
    return 0;
}

static int load(vlk_json **out, const char *folder, const char *name, vlk_err *err)
{
    char *path = vlk_path_join(folder, name, err);
    const int there = path && access(path, F_OK) == 0;
    const int rc = !path || (there && !(*out = vlk_json_load(path, err))) ? -1 : 0;
    free(path);
    return rc;
}

static int read_declared(vlk_bpe_added *a, const declared *d, vlk_err *err)
{
    if (check_config(d->config, err) || read_longest(&a->longest, d->config, err) || add_with_ids(a, d, err) ||
        add_named(a, d, err) || add_further(a, d->config, err) ||
        add_all(a, given(d->config, "additional_special_tokens"), "tokenizer_config.json: additional_special_tokens",
                err) ||
        add_all(a, given(d->config, "extra_special_tokens"), "tokenizer_config.json: extra_special_tokens", err))
        return -1;
    return is_map_read(d) ? add_all(a, given(d->map, "additional_special_tokens"),
                                    "special_tokens_map.json: additional_special_tokens", err)
                          : 0;
}

int vlk_bpe_added_read(vlk_bpe_added *a, const char *folder, vlk_err *err)
{
    declared d = {.folder = folder};
    int rc = -1;
    char *path = vlk_path_join(folder, "tokenizer.json", err);
    if (!path || (access(path, F_OK) == 0 && !(d.tokenizer = vlk_bpe_load_around(path, err))) ||
        load(&d.config, folder, "tokenizer_config.json", err) || load(&d.map, folder, "special_tokens_map.json", err) ||
        load(&d.added, folder, "added_tokens.json", err))
        goto out;
    rc = read_declared(a, &d, err);
    if (rc)
        (void)vlk_err_prefix(err, "%s", folder);
out:
    free(path);
    vlk_json_free(d.config);
    vlk_json_free(d.map);
    vlk_json_free(d.added);
    vlk_json_free(d.tokenizer);
    return rc;
}

int vlk_bpe_added_ends(vlk_bpe_added *a, vlk_special_ids ids, vlk_err *err)
{
    return add_text(a, vlk_bpe_start, strlen(vlk_bpe_start), ids.start, 1, vlk_bpe_start, err) ||
                   add_text(a, vlk_bpe_end, strlen(vlk_bpe_end), ids.end, 1, vlk_bpe_end, err)
               ? -1
               : 0;
}

int vlk_bpe_added_number(vlk_bpe_added *a, const vlk_vocab *v, vlk_err *err)
{
    size_t next = v->count;
    for (size_t i = 0; i < a->n; i++) {
        vlk_bpe_added_token *t = &a->token[i];
        const uint32_t known = vlk_vocab_find(v, text_of(a, i), t->len);
        const size_t id = known == VLK_BPE_NONE ? next : known;
        if (t->id >= 0 && (size_t)t->id != id)
            return vlk_fail(err, VLK_EMODEL, "%s: added token \"%.*s\" has id %d, but %s %zu", v->name,
                            (int)(t->len < 60 ? t->len : 60), text_of(a, i), (int)t->id,
                            known == VLK_BPE_NONE ? "the vocabulary's next is" : "in the vocabulary", id);
        t->id = (int32_t)id;
        next = id >= next ? id + 1 : next;
    }
    return 0;
}

/* ---- in a text ---------------------------------------------------------------------------------------- */

int vlk_bpe_added_ready(vlk_bpe_added *a, vlk_clean *c, vlk_err *err)
{
    vlk_buf clean = {0};
    int rc = -1;
    for (size_t i = 0; i < a->n; i++) {
        vlk_bpe_added_token *t = &a->token[i];
        t->find = t->at;
        t->find_len = t->len;
        if (t->normalized) {
            if (vlk_clean_text(&clean, text_of(a, i), t->len, VLK_BPE_HF, VLK_CLEAN_LOWER, c, err))
                goto out;
            t->find = (uint32_t)a->pool.len;
            t->find_len = (uint32_t)clean.len;
            if (vlk_buf_add(&a->pool, clean.data, clean.len, err))
                goto out;
        }
        if (t->find_len)
            a->begins[(unsigned char)a->pool.data[t->find]] |= t->normalized ? 2 : 1;
    }
    rc = 0;
out:
    vlk_buf_clear(&clean);
    return rc;
}

size_t vlk_bpe_added_find(const vlk_bpe_added *a, const char *s, size_t n, int normalized, size_t *len, int32_t *id)
{
    *len = 0;
    for (size_t at = 0; at < n; at++) {
        if (!(a->begins[(unsigned char)s[at]] & (normalized ? 2 : 1)))
            continue;
        for (size_t i = 0; i < a->n; i++) {
            const vlk_bpe_added_token *t = &a->token[i];
            if (t->normalized != normalized || t->find_len > n - at || t->find_len <= *len ||
                memcmp(s + at, a->pool.data + t->find, t->find_len) != 0)
                continue;
            *len = t->find_len;
            *id = t->id;
        }
        if (*len)
            return at;
    }
    return n;
}

const char *vlk_bpe_added_text(const vlk_bpe_added *a, int32_t id, size_t *n)
{
    for (size_t i = 0; i < a->n; i++)
        if (a->token[i].id == id) {
            *n = a->token[i].len;
            return text_of(a, i);
        }
    return NULL;
}

void vlk_bpe_added_clear(vlk_bpe_added *a)
{
    vlk_buf_clear(&a->pool);
    free(a->token);
    *a = (vlk_bpe_added){.token = NULL};
}
