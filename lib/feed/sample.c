/* sample.c - what a sample holds: its image, its texts, its class. The only place that reads them, for the feed, for
 * training sets and so for all programs.
 *
 *   caption     member KEY.txt of a tar, or the file beside the image: its last suffix replaced by .txt; where there is
 *               none, "caption" of KEY.json, as img2dataset writes it: a text or a list of them
 *   lists       "captions" and "negatives" of KEY.json, where they are asked for
 *   class       KEY.cls, else "label" of KEY.json: decimal digits and a whole number are a number, all else is a name
 *
 * A byte order mark at the start and line ends at the end of a file do not belong to its text. A text that is empty or
 * holds nothing but white space is not a text: it would train and be compared as if it said something, and usually is a
 * caption that somebody failed to get. What is not UTF-8, a list that is not one, a file that cannot be read and a
 * text that is a link in a tar make the sample a bad one, since leaving them out would pass silently. */
#include "sample_internal.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "feed_internal.h"

/* ---- a text ------------------------------------------------------------------------------------- */

/* Unicode's White_Space. */
static int is_space(uint32_t c)
{
    return (c >= 9 && c <= 13) || c == ' ' || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) ||
           c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

static int is_blank(const char *s, size_t n)
{
    uint32_t c;
    for (size_t i = 0; i < n;) {
        int len = vlk_utf8_next(s + i, n - i, &c);
        if (len == 0 || !is_space(c))
            return 0;
        i += (size_t)len;
    }
    return 1;
}

int vlk_text_check(const char *s, size_t n, vlk_err *err)
{
    size_t valid = vlk_utf8_valid(s, n);
    if (valid != n)
        return vlk_fail(err, VLK_EFORMAT, "a caption is not UTF-8 at byte %zu", valid);
    return !is_blank(s, n);
}

/* Without byte order mark and line ends. */
static vlk_span text_of_file(const char *s, size_t n)
{
    if (n >= 3 && memcmp(s, "\xef\xbb\xbf", 3) == 0) {
        s += 3;
        n -= 3;
    }
    while (n > 0 && (s[n - 1] == '\n' || s[n - 1] == '\r'))
        n--;
    return (vlk_span){s, n};
}

static const char *caption_field(const vlk_texts_wanted *w)
{
    return w->text ? w->text : "caption";
}

int vlk_no_caption(const vlk_texts_wanted *w, vlk_err *err)
{
    return vlk_fail(err, VLK_EFORMAT, "no caption (KEY.%s, or \"%s\" in KEY.%s)", vlk_text_name(w), caption_field(w),
                    vlk_json_name(w));
}

/* ---- members and files -------------------------------------------------------------------------- */

typedef struct reader {
    const vlk_texts_wanted *w;
    const vlk_sample *sample; /* a tar's, or NULL */
    const char *path;         /* of the image in a file, or NULL */
    vlk_buf *scratch;
    const vlk_text_sink *out;
    int labels;   /* found so far */
    int has_text; /* there is a KEY.txt */
    const char *stage;
} reader;

/* Links and sparse members have their bytes elsewhere, or holes in them; large ones were not read. */
static int check_member(const vlk_sample_part *p, vlk_err *err)
{
    if (p->type == '0')
        return 0;
    if (p->type == VLK_TAR_TOO_LARGE)
        return vlk_fail(err, VLK_ELIMIT, "%s is too large: at most %d bytes are read of a member, %d of a sample",
                        p->name, VLK_IMAGE_FILE_MAX, VLK_SAMPLE_MAX);
    return vlk_fail(err, VLK_EUNSUPPORTED, "%s is a %s in the tar, not a file", p->name,
                    p->type == 'S' ? "sparse member" : "link");
}

/* KEY.name; a link only where there is no file of that name. */
static const vlk_sample_part *find_named(const vlk_sample *s, const char *name)
{
    const vlk_sample_part *p = vlk_sample_part_find(s, name);
    for (size_t i = 0; !p && i < s->parts; i++)
        if (strcasecmp(s->part[i].ext, name) == 0)
            p = &s->part[i];
    return p;
}

static int member(const vlk_sample *s, const char *name, size_t max, vlk_span *out, vlk_err *err)
{
    const vlk_sample_part *p = find_named(s, name);
    if (!p)
        return 0;
    if (check_member(p, err))
        return -1;
    if (p->size > max)
        return vlk_fail(err, VLK_ELIMIT, "%s has %zu bytes, but at most %zu are supported", p->name, p->size, max);
    *out = (vlk_span){(const char *)p->data, p->size};
    return 1;
}

/* PATH with the last suffix of its basename, if it has one, replaced by .NAME (".png" is a name, not a suffix). */
static int side_path(vlk_buf *out, const char *path, const char *name, vlk_err *err)
{
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path, *dot = strrchr(base, '.');
    size_t stem = dot && dot != base ? (size_t)(dot - path) : strlen(path);
    return vlk_buf_add(out, path, stem, err) ? -1 : vlk_buf_addf(out, err, ".%s", name);
}

/* Whether something has that path, as it is or with its suffix of n bytes in capitals ("UP.TXT") or with a capital
 * ("Up.Txt"), which it then gets. A tar's members are found in any case. */
static int exists(vlk_buf *path, size_t n)
{
    struct stat st;
    char *suffix = path->data + path->len - n;
    if (stat(path->data, &st) == 0 || (errno != ENOENT && errno != ENAMETOOLONG))
        return 1;
    for (size_t i = 0; i < n; i++)
        suffix[i] = (char)toupper((unsigned char)suffix[i]);
    if (stat(path->data, &st) == 0)
        return 1;
    for (size_t i = 1; i < n; i++)
        suffix[i] = (char)tolower((unsigned char)suffix[i]);
    return stat(path->data, &st) == 0;
}

int vlk_side_file(vlk_buf *out, const char *image, const char *name, vlk_err *err)
{
    out->len = 0;
    return side_path(out, image, name, err) ? -1 : exists(out, strlen(name));
}

static int side_file(const reader *r, const char *name, size_t max, vlk_span *out, vlk_err *err)
{
    vlk_buf path = {0};
    int found = vlk_side_file(&path, r->path, name, err);
    if (found == 1)
        found = vlk_read_file(r->scratch, path.data, max, err) ? -1 : 1;
    vlk_buf_clear(&path);
    *out = (vlk_span){r->scratch->data ? r->scratch->data : "", r->scratch->len};
    return found;
}

/* The bytes of KEY.name, at most `max`. 1; 0 there is none; -1: it cannot be read. */
static int find_bytes(const reader *r, const char *name, size_t max, vlk_span *out, vlk_err *err)
{
    return r->sample ? member(r->sample, name, max, out, err) : side_file(r, name, max, out, err);
}

/* ---- texts and lists ------------------------------------------------------------------------------ */

/* All of these give 0, or -1 with err: the sample is bad, or there is no memory. */

static int pass_text(const reader *r, vlk_text_kind kind, const char *s, size_t n, vlk_err *err)
{
    int is = vlk_text_check(s, n, err);
    return is > 0 ? r->out->add(r->out->arg, kind, s, n, err) : is;
}

static int read_caption(reader *r, vlk_err *err)
{
    vlk_span bytes;
    int found = find_bytes(r, vlk_text_name(r->w), VLK_FEED_CAPTION_MAX, &bytes, err);
    r->has_text = found > 0;
    if (found <= 0)
        return found;
    vlk_span text = text_of_file(bytes.s, bytes.n);
    return pass_text(r, VLK_TEXT_CAPTION, text.s, text.n, err);
}

static int read_list(reader *r, const vlk_json *j, const char *name, vlk_text_kind kind, vlk_err *err)
{
    const vlk_json *list = vlk_json_get(j, name);
    char found[80];
    if (list && vlk_json_type(list) != VLK_JSON_NULL && vlk_json_type(list) != VLK_JSON_ARRAY)
        return vlk_fail(err, VLK_EFORMAT, "KEY.%s: %s is not a list: found %s", vlk_json_name(r->w), name,
                        vlk_json_describe(list, found, sizeof found));
    for (size_t i = 0; i < vlk_json_len(list); i++) {
        size_t n = 0;
        const char *text = vlk_json_str(vlk_json_at(list, i), &n);
        if (!text)
            return vlk_fail(err, VLK_EFORMAT, "KEY.%s: %s[%zu] is not a string: found %s", vlk_json_name(r->w), name, i,
                            vlk_json_describe(vlk_json_at(list, i), found, sizeof found));
        if (pass_text(r, kind, text, n, err))
            return -1;
    }
    return 0;
}

/* ---- the class ------------------------------------------------------------------------------------- */

static int pass_label(reader *r, vlk_text_kind kind, const char *s, size_t n, const char *from, vlk_err *err)
{
    r->stage = "label";
    if (n == 0 || n > VLK_LABEL_MAX || vlk_utf8_valid(s, n) != n)
        return vlk_fail(err, VLK_EFORMAT, "KEY.%s: expected a class: a number or a name of at most %d bytes of UTF-8",
                        from, VLK_LABEL_MAX);
    r->labels++;
    return r->out->add(r->out->arg, kind, s, n, err);
}

static int read_cls(reader *r, vlk_err *err)
{
    vlk_span bytes;
    r->stage = "caption";
    int found = find_bytes(r, "cls", VLK_FEED_CAPTION_MAX, &bytes, err);
    if (found <= 0)
        return found;
    vlk_span text = text_of_file(bytes.s, bytes.n);
    int digits = text.n > 0 && text.n < 18;
    for (size_t i = 0; i < text.n; i++)
        digits &= text.s[i] >= '0' && text.s[i] <= '9';
    return pass_label(r, digits ? VLK_TEXT_CLASS_NUMBER : VLK_TEXT_CLASS_NAME, text.s, text.n, "cls", err);
}

static int read_json_label(reader *r, const vlk_json *j, vlk_err *err)
{
    const vlk_json *v = vlk_json_get(j, "label");
    char digits[32], from[64];
    int64_t number = 0;
    size_t n = 0;
    const char *name = vlk_json_str(v, &n);
    if (r->labels || !v || vlk_json_type(v) == VLK_JSON_NULL)
        return 0;
    if (!name && !vlk_json_int(v, 0, INT64_MAX, &number, "label", err))
        n = (size_t)snprintf(digits, sizeof digits, "%lld", (long long)number);
    snprintf(from, sizeof from, "%s: label", vlk_json_name(r->w));
    return pass_label(r, name ? VLK_TEXT_CLASS_NAME : VLK_TEXT_CLASS_NUMBER, name ? name : digits, n, from, err);
}

/* ---- all -------------------------------------------------------------------------------------------- */

/* The field that replaces a missing KEY.txt: a text, a list of texts, or null. */
static int read_caption_field(reader *r, const vlk_json *j, vlk_err *err)
{
    const char *name = caption_field(r->w);
    const vlk_json *v = vlk_json_get(j, name);
    size_t n = 0;
    const char *text = vlk_json_str(v, &n);
    if (r->has_text || !v || vlk_json_type(v) == VLK_JSON_NULL)
        return 0;
    return text ? pass_text(r, VLK_TEXT_CAPTION, text, n, err) : read_list(r, j, name, VLK_TEXT_CAPTION, err);
}

static int read_json_fields(reader *r, const vlk_json *j, vlk_err *err)
{
    if (read_caption_field(r, j, err))
        return -1;
    if (r->w->lists & VLK_TEXTS_CAPTIONS && read_list(r, j, "captions", VLK_TEXT_CAPTION, err))
        return -1;
    if (r->w->lists & VLK_TEXTS_NEGATIVES && read_list(r, j, "negatives", VLK_TEXT_NEGATIVE, err))
        return -1;
    return r->w->lists & VLK_TEXTS_LABEL ? read_json_label(r, j, err) : 0;
}

static int read_json(reader *r, vlk_err *err)
{
    char name[64];
    vlk_span bytes;
    r->stage = "caption";
    int found = find_bytes(r, vlk_json_name(r->w), VLK_FEED_JSON_MAX, &bytes, err);
    if (found <= 0)
        return found;
    snprintf(name, sizeof name, "KEY.%s", vlk_json_name(r->w));
    vlk_json *j = vlk_json_parse_as(bytes.s, bytes.n, VLK_JSON_SAMPLE, name, err);
    if (!j)
        return -1;
    int rc = read_json_fields(r, j, err);
    vlk_json_free(j);
    return rc;
}

int vlk_sample_texts(const vlk_texts_wanted *w, const vlk_sample *sample, const char *path, vlk_buf *scratch,
                     const vlk_text_sink *out, const char **stage, vlk_err *err)
{
    reader r = {.w = w, .sample = sample, .path = path, .scratch = scratch, .out = out, .stage = "caption"};
    int rc = read_caption(&r, err);
    if (rc == 0 && w->lists & VLK_TEXTS_LABEL)
        rc = read_cls(&r, err);
    if (rc == 0 && (w->lists || !r.has_text))
        rc = read_json(&r, err);
    *stage = r.stage;
    return rc == 0 ? 0 : err->code == VLK_EMEM ? -1 : 1;
}

/* ---- the image ---------------------------------------------------------------------------------------- */

/* jpg, jpeg, png, webp in this order; else the first member whose last suffix is an image's; else one whose bytes are
 * an image. */
static const vlk_sample_part *find_image(const vlk_texts_wanted *w, const vlk_sample *s)
{
    if (w->image)
        return find_named(s, w->image);
    static const char *const first[] = {"jpg", "jpeg", "png", "webp"};
    for (size_t i = 0; i < sizeof first / sizeof *first; i++) {
        const vlk_sample_part *p = vlk_sample_part_find(s, first[i]);
        if (p)
            return p;
    }
    for (size_t i = 0; i < s->parts; i++)
        if (vlk_is_image_name(s->part[i].name))
            return &s->part[i];
    for (size_t i = 0; i < s->parts; i++)
        if (vlk_image_kind(s->part[i].data, s->part[i].size))
            return &s->part[i];
    return NULL;
}

const vlk_sample_part *vlk_sample_image(const vlk_texts_wanted *w, const vlk_sample *s, vlk_err *err)
{
    const vlk_sample_part *p = find_image(w, s);
    if (!p && w->image)
        vlk_fail(err, VLK_EFORMAT, "no image KEY.%s in the sample", w->image);
    else if (!p)
        vlk_fail(err, VLK_EFORMAT, "no image in the sample");
    return p && !check_member(p, err) ? p : NULL;
}

/* ---- members beyond the first --------------------------------------------------------------------- */

static int is_image(const vlk_sample_part *p)
{
    return vlk_is_image_name(p->name) || vlk_image_kind(p->data, p->size);
}

static int add_extra(const vlk_extra_sink *out, const vlk_sample_part *p, const vlk_sample_part *first,
                     const char *stage, vlk_err *err)
{
    vlk_err why;
    if (strcmp(p->name, first->name) == 0)
        vlk_fail(&why, VLK_EFORMAT, "skipped: a second member of this name; its sample has the first as its %s", stage);
    else
        vlk_fail(&why, VLK_EFORMAT, "skipped: its sample already has the %s %s", stage, first->name);
    return out->add(out->arg, p->name, stage, &why, err);
}

/* Members that are named KEY.name, but for the one that is read (member(), above). */
static int extra_named(const vlk_sample *s, const char *name, const char *stage, const vlk_extra_sink *out,
                       vlk_err *err)
{
    const vlk_sample_part *first = find_named(s, name);
    for (size_t i = 0; i < s->parts; i++) {
        const vlk_sample_part *p = &s->part[i];
        if (p != first && strcasecmp(p->ext, name) == 0 && add_extra(out, p, first, stage, err))
            return -1;
    }
    return 0;
}

static int extra_images(const vlk_texts_wanted *w, const vlk_sample *s, const vlk_extra_sink *out, vlk_err *err)
{
    const vlk_sample_part *first = find_image(w, s);
    if (w->image) /* the others were not asked for */
        return extra_named(s, w->image, "image", out, err);
    for (size_t i = 0; first && i < s->parts; i++)
        if (&s->part[i] != first && is_image(&s->part[i]) && add_extra(out, &s->part[i], first, "image", err))
            return -1;
    return 0;
}

int vlk_sample_extras(const vlk_texts_wanted *w, const vlk_sample *s, unsigned what, const vlk_extra_sink *out,
                      vlk_err *err)
{
    if (what & VLK_EXTRA_IMAGES && extra_images(w, s, out, err))
        return -1;
    if (!(what & VLK_EXTRA_TEXTS))
        return 0;
    if (extra_named(s, vlk_text_name(w), "caption", out, err) ||
        (w->lists && extra_named(s, vlk_json_name(w), "caption", out, err)))
        return -1;
    return w->lists & VLK_TEXTS_LABEL ? extra_named(s, "cls", "label", out, err) : 0;
}
