/* npy.c - reads NumPy's .npy (numpy/lib/format.py, NEP 1).
 *
 *   "\x93NUMPY" major minor | header length: u16 (1.0) or u32 (2.0, 3.0), little-endian | header | data
 *   header: {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), } and padding
 *
 * The header is a Python dictionary: its three keys may be in any order, with any spaces, in either kind of quotes;
 * anything else is refused. The data must have exactly the size that the shape implies. */
#include "stream.h"

#include <string.h>

enum { HEADER_MAX = 1 << 20 };

typedef struct scan {
    const char *p, *end;
    const char *name; /* of the file, for messages */
} scan;

static void skip_blanks(scan *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\n' || *s->p == '\r'))
        s->p++;
}

static int accept(scan *s, char c)
{
    skip_blanks(s);
    if (s->p == s->end || *s->p != c)
        return 0;
    s->p++;
    return 1;
}

static int bad_header(const scan *s, vlk_err *err, const char *what)
{
    size_t n = (size_t)(s->end - s->p);
    return vlk_fail(err, VLK_EFORMAT, "%s: npy header: expected %s, found \"%.*s\"", s->name, what,
                    (int)(n < 20 ? n : 20), s->p);
}

/* A quoted string without escapes: *text and *n, borrowed from the header. */
static int quoted(scan *s, const char **text, size_t *n, vlk_err *err)
{
    skip_blanks(s);
    if (s->p == s->end || (*s->p != '\'' && *s->p != '"'))
        return bad_header(s, err, "a string in quotes");
    const char *stop = memchr(s->p + 1, *s->p, (size_t)(s->end - s->p - 1));
    if (!stop)
        return bad_header(s, err, "the end of the string");
    *text = s->p + 1;
    *n = (size_t)(stop - *text);
    s->p = stop + 1;
    return 0;
}

/* '<f4' and friends. The first letter is the byte order: '=' means that of the machine, '|' means none. */
static int descr(scan *s, vlk_dtype *type, vlk_err *err)
{
    static const struct {
        char text[3];
        vlk_dtype type;
    } known[] = {{"f2", VLK_F16}, {"f4", VLK_F32}, {"f8", VLK_F64}, {"i4", VLK_I32}, {"i8", VLK_I64}, {"u1", VLK_U8}};
    const char *d;
    size_t n;
    skip_blanks(s);
    if (s->p < s->end && *s->p == '[')
        return vlk_fail(err, VLK_EUNSUPPORTED,
                        "%s: npy with records (a structured dtype): only f2 f4 f8 i4 i8 u1 are supported", s->name);
    if (quoted(s, &d, &n, err))
        return -1;
    if (n == 3 && memchr("<>=|", d[0], 4)) {
        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
            if (memcmp(d + 1, known[i].text, 2) != 0)
                continue;
            if (d[0] == '>' && known[i].type != VLK_U8)
                return vlk_fail(err, VLK_EUNSUPPORTED,
                                "%s: npy of big-endian numbers (%.3s): only little-endian is supported", s->name, d);
            *type = known[i].type;
            return 0;
        }
    }
    return vlk_fail(err, VLK_EUNSUPPORTED, "%s: npy of type '%.*s': only f2 f4 f8 i4 i8 u1 are supported", s->name,
                    (int)(n < 40 ? n : 40), d);
}

static int boolean(scan *s, int *value, vlk_err *err)
{
    skip_blanks(s);
    size_t n = (size_t)(s->end - s->p);
    int yes = n >= 4 && memcmp(s->p, "True", 4) == 0;
    if (!yes && !(n >= 5 && memcmp(s->p, "False", 5) == 0))
        return bad_header(s, err, "True or False");
    s->p += yes ? 4 : 5;
    *value = yes;
    return 0;
}

/* (), (3,), (3, 4), (3, 4,). Python 2 wrote long integers as 3L. */
static int shape(scan *s, vlk_tensor *t, vlk_err *err)
{
    int comma = 1, commas = 0;
    if (!accept(s, '('))
        return bad_header(s, err, "a shape in parentheses");
    for (t->rank = 0; !accept(s, ')'); t->rank++) {
        skip_blanks(s);
        if (!comma || s->p == s->end || *s->p < '0' || *s->p > '9')
            return bad_header(s, err, comma ? "a dimension" : "a comma or parenthesis");
        if (t->rank == VLK_MAX_RANK)
            return vlk_fail(err, VLK_ELIMIT, "%s: npy with more than %d dimensions", s->name, VLK_MAX_RANK);
        size_t d = 0;
        for (; s->p < s->end && *s->p >= '0' && *s->p <= '9'; s->p++)
            if (vlk_mul(d, 10, &d) || (d += (size_t)(*s->p - '0')) < (size_t)(*s->p - '0'))
                return vlk_fail(err, VLK_ELIMIT, "%s: npy dimension %d is larger than memory", s->name, t->rank);
        if (s->p < s->end && *s->p == 'L')
            s->p++;
        t->dim[t->rank] = d;
        comma = accept(s, ',');
        commas += comma;
    }
    if (t->rank == 1 && commas == 0) /* (3) is a number, not a tuple */
        return bad_header(s, err, "a comma in a shape of one dimension");
    return 0;
}

/* The dictionary, with only white space after it. */
static int dictionary(scan *s, vlk_tensor *t, int *fortran, vlk_err *err)
{
    static const char *const keys[] = {"descr", "fortran_order", "shape"};
    int seen[3] = {0}, comma = 1;
    if (!accept(s, '{'))
        return bad_header(s, err, "a dictionary");
    while (!accept(s, '}')) {
        const char *key;
        size_t n;
        int k = 0, rc;
        if (!comma)
            return bad_header(s, err, "a comma or }");
        if (quoted(s, &key, &n, err))
            return -1;
        while (k < 3 && !(strlen(keys[k]) == n && memcmp(keys[k], key, n) == 0))
            k++;
        if (k == 3 || seen[k]++)
            return vlk_fail(err, VLK_EFORMAT, "%s: npy header: key '%.*s' %s", s->name, (int)(n < 40 ? n : 40), key,
                            k == 3 ? "does not belong there" : "is repeated");
        if (!accept(s, ':'))
            return bad_header(s, err, "a colon");
        rc = k == 0 ? descr(s, &t->dtype, err) : k == 1 ? boolean(s, fortran, err) : shape(s, t, err);
        if (rc != 0)
            return -1;
        comma = accept(s, ',');
    }
    for (int k = 0; k < 3; k++)
        if (!seen[k])
            return vlk_fail(err, VLK_EFORMAT, "%s: npy header: key '%s' is missing", s->name, keys[k]);
    skip_blanks(s);
    if (s->p != s->end)
        return bad_header(s, err, "nothing after the dictionary");
    return 0;
}

/* Strides in elements, and the bytes of the data; the product of all non-zero dimensions must fit, so that the strides
 * of an empty tensor do, too. */
static int layout(vlk_tensor *t, int fortran, const char *name, size_t *bytes, vlk_err *err)
{
    size_t run = vlk_dtype_size(t->dtype), empty = 0;
    for (int i = 0; i < t->rank; i++) {
        empty |= t->dim[i] == 0;
        if (vlk_mul(run, t->dim[i] ? t->dim[i] : 1, &run)) {
            char text[160];
            return vlk_fail(err, VLK_ELIMIT, "%s: npy of shape %s is larger than memory", name,
                            vlk_shape_text(t->dim, t->rank, text, sizeof text));
        }
    }
    *bytes = empty ? 0 : run;
    vlk_tensor_set_dense(t);
    if (!fortran)
        return 0;
    run = 1;
    for (int i = 0; i < t->rank; i++) {
        t->stride[i] = run;
        run *= t->dim[i];
    }
    return 0;
}

/* *start: where the dictionary begins; *end: where the data begins. */
static int preamble(const unsigned char *p, size_t n, size_t *start, size_t *end, const char *name, vlk_err *err)
{
    if (n < 10 || memcmp(p, "\x93NUMPY", 6) != 0)
        return vlk_fail(err, VLK_EFORMAT, "%s: is not an npy file%s", name, n < 10 ? " (too short)" : "");
    if (p[6] < 1 || p[6] > 3 || p[7] != 0)
        return vlk_fail(err, VLK_EUNSUPPORTED, "%s: npy version %d.%d; only 1.0, 2.0 and 3.0 are supported", name, p[6],
                        p[7]);
    size_t len = p[8] | (size_t)p[9] << 8;
    *start = 10;
    if (p[6] > 1) {
        if (n < 12)
            return vlk_fail(err, VLK_EFORMAT, "%s: npy is truncated inside its header", name);
        len |= (size_t)p[10] << 16 | (size_t)p[11] << 24;
        *start = 12;
    }
    if (len > HEADER_MAX)
        return vlk_fail(err, VLK_ELIMIT, "%s: npy header of %zu bytes; at most %d are supported", name, len,
                        HEADER_MAX);
    if (len > n - *start)
        return vlk_fail(err, VLK_EFORMAT, "%s: npy is truncated inside its header: expected %zu bytes, found %zu", name,
                        len, n - *start);
    *end = *start + len;
    return 0;
}

int vlk_npy_parse(vlk_tensor *t, const void *p, size_t n, const char *name, vlk_err *err)
{
    size_t start = 0, end = 0, bytes = 0;
    int fortran = 0;
    memset(t, 0, sizeof *t);
    if (preamble(p, n, &start, &end, name, err))
        return -1;
    scan s = {(const char *)p + start, (const char *)p + end, name};
    if (dictionary(&s, t, &fortran, err) || layout(t, fortran, name, &bytes, err))
        return -1;
    if (n - end != bytes) {
        char text[160];
        return vlk_fail(err, VLK_EFORMAT, "%s: npy of shape %s and type %s: expected %zu bytes of data, found %zu",
                        name, vlk_shape_text(t->dim, t->rank, text, sizeof text), vlk_dtype_name(t->dtype), bytes,
                        n - end);
    }
    t->data = (const char *)p + end;
    return 0;
}

int vlk_npy_open(vlk_npy *n, const char *path, vlk_err *err)
{
    memset(n, 0, sizeof *n);
    if (vlk_map_open(&n->map, path, err))
        return -1;
    if (vlk_npy_parse(&n->t, n->map.data, n->map.size, path, err)) {
        vlk_npy_close(n);
        return -1;
    }
    return 0;
}

void vlk_npy_close(vlk_npy *n)
{
    vlk_map_close(&n->map);
    memset(n, 0, sizeof *n);
}
