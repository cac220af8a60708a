/* pickle.c - an interpreter of pickles (protocols 2 to 5, as described in CPython's pickletools) that can execute
 * nothing: instructions make values, and a call makes a value too (pickle_call.c), or is refused by its name.
 *
 * A pickle is a program for a stack machine with a memo. Three things keep it harmless whatever it says: lengths are
 * checked against the bytes that are left; a memo index has to be smaller than the place of its instruction (real
 * picklers count up from 0, each put takes two bytes), so the memo is not larger than the pickle; all values together
 * stay under a limit. Nesting costs a place on our stack, never one of C's. Values may form cycles: who walks them
 * needs a limit of its own. */
#include "weights_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_SIZE 65536u
#define MAX_BYTES ((size_t)128 << 20) /* of values; a large model's state dict with optimizer needs a few MB */

#define MAX_SLOTS ((size_t)1 << 22) /* of the stack, the marks, the memo */

struct vlk_pkl_block {
    struct vlk_pkl_block *next;
    size_t used;
    union {
        vlk_pkl_value align;
        unsigned char data[BLOCK_SIZE];
    } u;
};

/* ---- values ------------------------------------------------------------------------------------ */

void vlk_pkl_init(vlk_pkl *k, const char *name, const unsigned char *p, size_t n)
{
    memset(k, 0, sizeof *k);
    k->name = name;
    k->p = p;
    k->n = n;
    k->none.kind = VLK_PKL_NONE;
    k->empty.kind = VLK_PKL_TUPLE;
}

void vlk_pkl_clear(vlk_pkl *k)
{
    for (struct vlk_pkl_block *b = k->block, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    free(k->stack);
    free(k->memo);
    free(k->mark);
    free(k->storage);
    memset(k, 0, sizeof *k);
}

int vlk_pkl_bad(const vlk_pkl *k, vlk_err *err, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return vlk_fail(err, VLK_EFORMAT, "%s: byte %zu: %s", k->name, k->op, text);
}

static void *take(vlk_pkl *k, size_t n, vlk_err *err)
{
    n = (n + sizeof(void *) - 1) / sizeof(void *) * sizeof(void *);
    if (!k->block || k->block->used + n > BLOCK_SIZE) {
        if (k->bytes + BLOCK_SIZE > MAX_BYTES) {
            vlk_fail(err, VLK_ELIMIT, "%s: expected at most %zu MiB of values, found more", k->name, MAX_BYTES >> 20);
            return NULL;
        }
        struct vlk_pkl_block *b = (struct vlk_pkl_block *)vlk_calloc(1, sizeof *b, err);
        if (!b)
            return NULL;
        b->next = k->block;
        k->block = b;
        k->bytes += BLOCK_SIZE;
    }
    void *p = k->block->u.data + k->block->used;
    k->block->used += n;
    return p;
}

vlk_pkl_value *vlk_pkl_make(vlk_pkl *k, vlk_pkl_kind kind, vlk_err *err)
{
    vlk_pkl_value *v = (vlk_pkl_value *)take(k, sizeof *v, err);
    if (v)
        v->kind = kind;
    return v;
}

int vlk_pkl_append(vlk_pkl *k, vlk_pkl_value *seq, vlk_pkl_value *v, vlk_err *err)
{
    vlk_pkl_cell *c = (vlk_pkl_cell *)take(k, sizeof *c, err);
    if (!c)
        return -1;
    c->v = v;
    if (seq->u.seq.last)
        seq->u.seq.last->next = c;
    else
        seq->u.seq.first = c;
    seq->u.seq.last = c;
    seq->u.seq.count++;
    return 0;
}

const vlk_pkl_value *vlk_pkl_at(const vlk_pkl_value *seq, size_t i)
{
    const vlk_pkl_cell *c = seq->u.seq.first;
    while (c && i-- > 0)
        c = c->next;
    return c ? c->v : NULL;
}

int vlk_pkl_is(const vlk_pkl_value *v, const char *s)
{
    return v && v->kind == VLK_PKL_STR && v->u.str.n == strlen(s) && memcmp(v->u.str.s, s, v->u.str.n) == 0;
}

const vlk_pkl_value *vlk_pkl_get(const vlk_pkl_value *dict, const char *key)
{
    for (const vlk_pkl_cell *c = dict->u.seq.first; c; c = c->next->next)
        if (vlk_pkl_is(c->v, key))
            return c->next->v;
    return NULL;
}

const char *vlk_pkl_describe(const vlk_pkl_value *v, char *out, size_t size)
{
    static const char *const name[] = {"None",     "a bool",    "an integer", "a huge integer", "a float",
                                       "a string", "bytes",     "a tuple",    "a list",         "a dict",
                                       "a name",   "an object", "a storage",  "a tensor",       "an object"};
    if (!v)
        snprintf(out, size, "nothing");
    else if (v->kind == VLK_PKL_STR)
        snprintf(out, size, "the string \"%.*s\"", v->u.str.n > 60 ? 60 : (int)v->u.str.n, v->u.str.s);
    else if (v->kind == VLK_PKL_INT)
        snprintf(out, size, "%lld", (long long)v->u.i);
    else
        snprintf(out, size, "%s", name[v->kind]);
    return out;
}

/* ---- bytes, stack, memo -------------------------------------------------------------------------- */

/* The next n bytes, or NULL and err. */
static const unsigned char *bytes(vlk_pkl *k, uint64_t n, vlk_err *err)
{
    if (n > k->n - k->at) {
        vlk_pkl_bad(k, err, "expected %llu bytes, found the end of the pickle after %zu", (unsigned long long)n,
                    k->n - k->at);
        return NULL;
    }
    const unsigned char *p = k->p + k->at;
    k->at += (size_t)n;
    return p;
}

/* A little-endian number of n <= 8 bytes. */
static int number(vlk_pkl *k, int n, uint64_t *out, vlk_err *err)
{
    const unsigned char *p = bytes(k, (uint64_t)n, err);
    if (!p)
        return -1;
    *out = 0;
    for (int i = n - 1; i >= 0; i--)
        *out = *out << 8 | p[i];
    return 0;
}

/* The rest of a line, without its end. */
static int line(vlk_pkl *k, const char **s, size_t *n, vlk_err *err)
{
    const unsigned char *p = k->p + k->at;
    const unsigned char *end = (const unsigned char *)memchr(p, '\n', k->n - k->at);
    if (!end)
        return vlk_pkl_bad(k, err, "expected a line, found the end of the pickle");
    *s = (const char *)p;
    *n = (size_t)(end - p);
    k->at += *n + 1;
    return 0;
}

static int push(vlk_pkl *k, vlk_pkl_value *v, vlk_err *err)
{
    if (v && k->depth == MAX_SLOTS)
        return vlk_pkl_bad(k, err, "expected at most %zu values on the stack, found more", MAX_SLOTS);
    if (!v || vlk_grow(&k->stack, &k->stack_cap, k->depth + 1, sizeof *k->stack, err))
        return -1;
    k->stack[k->depth++] = v;
    return 0;
}

/* The first place on the stack that belongs to the innermost mark. */
static size_t bottom(const vlk_pkl *k)
{
    return k->marks > 0 ? k->mark[k->marks - 1] : 0;
}

/* The top value, taken from the stack; NULL and err if there is none above the last mark. */
static vlk_pkl_value *pop(vlk_pkl *k, vlk_err *err)
{
    if (k->depth <= bottom(k)) {
        vlk_pkl_bad(k, err, "the stack is empty");
        return NULL;
    }
    return k->stack[--k->depth];
}

/* Values from *first on belong to the mark, which is gone. */
static int pop_mark(vlk_pkl *k, size_t *first, vlk_err *err)
{
    if (k->marks == 0)
        return vlk_pkl_bad(k, err, "a mark is missing");
    *first = k->mark[--k->marks];
    return 0;
}

static int put(vlk_pkl *k, uint64_t i, vlk_err *err)
{
    if (k->depth <= bottom(k))
        return vlk_pkl_bad(k, err, "the stack is empty");
    if (i >= k->op || i >= MAX_SLOTS)
        return vlk_pkl_bad(k, err, "expected a memo index below %zu, found %llu", k->op < MAX_SLOTS ? k->op : MAX_SLOTS,
                           (unsigned long long)i);
    size_t old = k->memo_cap;
    if (i >= k->memo_cap) {
        if (vlk_grow(&k->memo, &k->memo_cap, (size_t)i + 1, sizeof *k->memo, err))
            return -1;
        memset(k->memo + old, 0, (k->memo_cap - old) * sizeof *k->memo);
    }
    k->memo[i] = k->stack[k->depth - 1];
    k->memos++;
    return 0;
}

static int get(vlk_pkl *k, uint64_t i, vlk_err *err)
{
    if (i >= k->memo_cap || !k->memo[i])
        return vlk_pkl_bad(k, err, "the memo has nothing under %llu", (unsigned long long)i);
    return push(k, k->memo[i], err);
}

/* ---- instructions: each group returns 1 if the instruction is not its own ------------------------- */

static int push_int(vlk_pkl *k, vlk_pkl_kind kind, int64_t i, vlk_err *err)
{
    vlk_pkl_value *v = vlk_pkl_make(k, kind, err);
    if (v)
        v->u.i = i;
    return push(k, v, err);
}

/* A string, bytes or a long whose length is in the next `width` bytes. */
static int push_text(vlk_pkl *k, vlk_pkl_kind kind, int width, vlk_err *err)
{
    uint64_t n = 0;
    if (number(k, width, &n, err))
        return -1;
    const unsigned char *p = bytes(k, n, err);
    if (!p)
        return -1;
    if (kind == VLK_PKL_LONG && n <= 8) { /* two's complement */
        uint64_t u = n > 0 && p[n - 1] & 0x80 ? UINT64_MAX : 0;
        for (size_t i = (size_t)n; i-- > 0;)
            u = u << 8 | p[i];
        return push_int(k, VLK_PKL_INT, (int64_t)u, err);
    }
    vlk_pkl_value *v = vlk_pkl_make(k, kind, err);
    if (v) {
        v->u.str.s = (const char *)p;
        v->u.str.n = (size_t)n;
    }
    return push(k, v, err);
}

static int run_scalar(vlk_pkl *k, int op, vlk_err *err)
{
    uint64_t u = 0;
    switch (op) {
    case 'N':
        return push(k, &k->none, err);
    case 0x88: /* NEWTRUE */
    case 0x89: /* NEWFALSE */
        return push_int(k, VLK_PKL_BOOL, op == 0x88, err);
    case 'J': /* BININT, signed */
        return number(k, 4, &u, err) ? -1 : push_int(k, VLK_PKL_INT, (int32_t)(uint32_t)u, err);
    case 'K':
        return number(k, 1, &u, err) ? -1 : push_int(k, VLK_PKL_INT, (int64_t)u, err);
    case 'M':
        return number(k, 2, &u, err) ? -1 : push_int(k, VLK_PKL_INT, (int64_t)u, err);
    case 'G': /* BINFLOAT: nobody asks for its value */
        return bytes(k, 8, err) ? push(k, vlk_pkl_make(k, VLK_PKL_FLOAT, err), err) : -1;
    case 0x8a: /* LONG1 */
        return push_text(k, VLK_PKL_LONG, 1, err);
    case 0x8b: /* LONG4 */
        return push_text(k, VLK_PKL_LONG, 4, err);
    case 'X': /* BINUNICODE */
    case 'T': /* BINSTRING */
        return push_text(k, VLK_PKL_STR, 4, err);
    case 0x8c: /* SHORT_BINUNICODE */
    case 'U':  /* SHORT_BINSTRING */
        return push_text(k, VLK_PKL_STR, 1, err);
    case 0x8d: /* BINUNICODE8 */
        return push_text(k, VLK_PKL_STR, 8, err);
    case 'B': /* BINBYTES */
        return push_text(k, VLK_PKL_BYTES, 4, err);
    case 'C': /* SHORT_BINBYTES */
        return push_text(k, VLK_PKL_BYTES, 1, err);
    case 0x8e: /* BINBYTES8 */
    case 0x96: /* BYTEARRAY8 */
        return push_text(k, VLK_PKL_BYTES, 8, err);
    default:
        return 1;
    }
}

/* A tuple of the values from `first` on. */
static int make_tuple(vlk_pkl *k, size_t first, vlk_err *err)
{
    if (first == k->depth)
        return push(k, &k->empty, err);
    vlk_pkl_value *t = vlk_pkl_make(k, VLK_PKL_TUPLE, err);
    if (!t)
        return -1;
    for (size_t i = first; i < k->depth; i++)
        if (vlk_pkl_append(k, t, k->stack[i], err))
            return -1;
    k->depth = first;
    return push(k, t, err);
}

/* Puts the values from `first` on into the container below them: pairs into a dict, single ones into a list. */
static int add_items(vlk_pkl *k, size_t first, vlk_pkl_kind kind, vlk_err *err)
{
    size_t n = k->depth - first;
    if (first <= bottom(k))
        return vlk_pkl_bad(k, err, "the stack is empty");
    vlk_pkl_value *seq = k->stack[first - 1];
    if (seq->kind != kind && seq->kind != VLK_PKL_OPAQUE) {
        char text[96];
        return vlk_pkl_bad(k, err, "expected a %s to put items into, found %s", kind == VLK_PKL_DICT ? "dict" : "list",
                           vlk_pkl_describe(seq, text, sizeof text));
    }
    if (kind == VLK_PKL_DICT && n % 2 != 0)
        return vlk_pkl_bad(k, err, "a dict's key without a value");
    for (size_t i = 0; i < n && seq->kind == kind; i++)
        if (vlk_pkl_append(k, seq, k->stack[first + i], err))
            return -1;
    k->depth = first;
    return 0;
}

static int run_container(vlk_pkl *k, int op, vlk_err *err)
{
    size_t first = 0, n;
    switch (op) {
    case '}':
        return push(k, vlk_pkl_make(k, VLK_PKL_DICT, err), err);
    case ']':
    case 0x8f: /* EMPTY_SET */
        return push(k, vlk_pkl_make(k, VLK_PKL_LIST, err), err);
    case ')':
        return push(k, &k->empty, err);
    case 't':  /* TUPLE: all above the mark */
    case 0x91: /* FROZENSET */
        return pop_mark(k, &first, err) ? -1 : make_tuple(k, first, err);
    case 0x85: /* TUPLE1, 2, 3 */
    case 0x86:
    case 0x87:
        n = (size_t)op - 0x84;
        return k->depth - bottom(k) < n ? vlk_pkl_bad(k, err, "the stack is empty") : make_tuple(k, k->depth - n, err);
    case 's': /* SETITEM */
    case 'a': /* APPEND */
        n = op == 's' ? 2 : 1;
        return k->depth - bottom(k) < n ? vlk_pkl_bad(k, err, "the stack is empty")
                                        : add_items(k, k->depth - n, op == 's' ? VLK_PKL_DICT : VLK_PKL_LIST, err);
    case 'u':  /* SETITEMS */
    case 'e':  /* APPENDS */
    case 0x90: /* ADDITEMS */
        return pop_mark(k, &first, err) ? -1 : add_items(k, first, op == 'u' ? VLK_PKL_DICT : VLK_PKL_LIST, err);
    default:
        return 1;
    }
}

static int run_stack(vlk_pkl *k, int op, vlk_err *err)
{
    uint64_t u = 0;
    size_t first = 0;
    switch (op) {
    case 0x80: /* PROTO */
        if (number(k, 1, &u, err))
            return -1;
        return u > 5 ? vlk_pkl_bad(k, err, "expected pickle protocol 5 at most, found %d", (int)u) : 0;
    case 0x95: /* FRAME: a hint for buffering */
        return number(k, 8, &u, err);
    case '(':
        if (k->marks == MAX_SLOTS)
            return vlk_pkl_bad(k, err, "expected at most %zu marks, found more", MAX_SLOTS);
        if (vlk_grow(&k->mark, &k->mark_cap, k->marks + 1, sizeof *k->mark, err))
            return -1;
        k->mark[k->marks++] = k->depth;
        return 0;
    case '0': /* POP */
        return pop(k, err) ? 0 : -1;
    case '1': /* POP_MARK */
        if (pop_mark(k, &first, err))
            return -1;
        k->depth = first;
        return 0;
    case '2': /* DUP */
        return k->depth <= bottom(k) ? vlk_pkl_bad(k, err, "the stack is empty") : push(k, k->stack[k->depth - 1], err);
    case 'q': /* BINPUT */
        return number(k, 1, &u, err) ? -1 : put(k, u, err);
    case 'r': /* LONG_BINPUT */
        return number(k, 4, &u, err) ? -1 : put(k, u, err);
    case 0x94: /* MEMOIZE */
        return put(k, k->memos, err);
    case 'h': /* BINGET */
        return number(k, 1, &u, err) ? -1 : get(k, u, err);
    case 'j': /* LONG_BINGET */
        return number(k, 4, &u, err) ? -1 : get(k, u, err);
    default:
        return 1;
    }
}

static int run_global(vlk_pkl *k, int op, vlk_err *err)
{
    const char *module = NULL, *name = NULL;
    size_t m = 0, n = 0;
    vlk_pkl_value *v = NULL;
    if (op == 'c') { /* GLOBAL: two lines */
        if (line(k, &module, &m, err) || line(k, &name, &n, err))
            return -1;
    } else { /* STACK_GLOBAL */
        vlk_pkl_value *b = pop(k, err), *a = b ? pop(k, err) : NULL;
        if (!a)
            return -1;
        if (a->kind != VLK_PKL_STR || b->kind != VLK_PKL_STR)
            return vlk_pkl_bad(k, err, "expected a module and a name, found other values");
        module = a->u.str.s;
        m = a->u.str.n;
        name = b->u.str.s;
        n = b->u.str.n;
    }
    return vlk_pkl_global(k, module, m, name, n, &v, err) ? -1 : push(k, v, err);
}

static int run_call(vlk_pkl *k, int op, vlk_err *err)
{
    vlk_pkl_value *top, *below, *v = NULL;
    switch (op) {
    case 'c':
    case 0x93:
        return run_global(k, op, err);
    case 'Q': /* BINPERSID */
        top = pop(k, err);
        return !top || vlk_pkl_persid(k, top, &v, err) ? -1 : push(k, v, err);
    case 'R':  /* REDUCE */
    case 0x81: /* NEWOBJ */
        top = pop(k, err);
        below = top ? pop(k, err) : NULL;
        if (!below)
            return -1;
        if (top->kind != VLK_PKL_TUPLE)
            return vlk_pkl_bad(k, err, "expected a tuple of arguments, found something else");
        if (op == 'R' ? vlk_pkl_reduce(k, below, top, &v, err) : vlk_pkl_newobj(k, below, &v, err))
            return -1;
        return push(k, v, err);
    case 'b': /* BUILD */
        top = pop(k, err);
        if (!top)
            return -1;
        return k->depth <= bottom(k) ? vlk_pkl_bad(k, err, "the stack is empty")
                                     : vlk_pkl_build(k, k->stack[k->depth - 1], top, err);
    default:
        return 1;
    }
}

int vlk_pkl_run(vlk_pkl *k, const vlk_pkl_value **out, vlk_err *err)
{
    k->depth = k->marks = k->memos = 0;
    if (k->memo_cap > 0)
        memset(k->memo, 0, k->memo_cap * sizeof *k->memo);
    for (;;) {
        k->op = k->at;
        const unsigned char *p = bytes(k, 1, err);
        if (!p)
            return -1;
        if (*p == '.') {
            vlk_pkl_value *v = pop(k, err);
            if (!v)
                return -1;
            if (k->depth > 0 || k->marks > 0)
                return vlk_pkl_bad(k, err, "expected one value at the end, found more");
            *out = v;
            return 0;
        }
        int r = run_scalar(k, *p, err);
        if (r > 0)
            r = run_container(k, *p, err);
        if (r > 0)
            r = run_stack(k, *p, err);
        if (r > 0)
            r = run_call(k, *p, err);
        if (r > 0)
            return vlk_pkl_bad(k, err, "the instruction 0x%02x is not allowed in a checkpoint", *p);
        if (r < 0)
            return -1;
    }
}
