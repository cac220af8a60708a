/* torch_state.c - the dictionary of tensors in the object of a PyTorch file.
 *
 * Trainers save {"epoch": 3, "model_state_dict": {...}, "optimizer_state_dict": {...}} under names of their own. All
 * dictionaries and lists are looked through for dictionaries of tensors by name. The state of an optimizer (a
 * dictionary with "state" and "param_groups") and dictionaries whose keys are numbers are left out. Of several,
 * "state_dict" is taken, else "model" (open_clip, timm and Lightning; ALBEF and BLIP); else they are refused by their
 * names. A dictionary in which other values are among the tensors counts if no other one is there. */
#include "weights_internal.h"

#include <stdio.h>
#include <string.h>

enum {
    MAX_LEVELS = 16,
    MAX_VISITS = 4000000, /* shared values could make a small object endless */
    MAX_FOUND = 64,
    MAX_PATH_TEXT = 256
};

typedef struct found {
    const vlk_pkl_value *dict;
    int pure; /* all of its values are tensors */
    char path[MAX_PATH_TEXT];
} found;

typedef struct search {
    const char *file;
    size_t visits, n;
    found f[MAX_FOUND];
    vlk_err *err;
} search;

static int is_container(const vlk_pkl_value *v)
{
    return v->kind == VLK_PKL_DICT || v->kind == VLK_PKL_LIST || v->kind == VLK_PKL_TUPLE;
}

/* Notes a dictionary that has tensors by name. */
static int note(search *s, const vlk_pkl_value *dict, const char *path)
{
    size_t tensors = 0, others = 0;
    for (const vlk_pkl_cell *c = dict->u.seq.first; c; c = c->next->next) {
        const int named = c->v->kind == VLK_PKL_STR && c->next->v->kind == VLK_PKL_TENSOR;
        tensors += named;
        others += !named;
    }
    for (size_t i = 0; i < s->n; i++)
        if (s->f[i].dict == dict)
            return 0;
    if (tensors == 0)
        return 0;
    if (s->n == MAX_FOUND)
        return vlk_fail(s->err, VLK_ELIMIT, "%s: expected one dictionary of tensors, found more than %d", s->file,
                        MAX_FOUND);
    found *f = &s->f[s->n++];
    f->dict = dict;
    f->pure = others == 0;
    snprintf(f->path, sizeof f->path, "%s", path);
    return 0;
}

static int walk(search *s, const vlk_pkl_value *v, const char *path, int level);

static int walk_dict(search *s, const vlk_pkl_value *dict, const char *path, int level)
{
    char below[MAX_PATH_TEXT];
    if (vlk_pkl_get(dict, "param_groups") && vlk_pkl_get(dict, "state"))
        return 0;
    for (const vlk_pkl_cell *c = dict->u.seq.first; c; c = c->next->next) {
        if (++s->visits > MAX_VISITS)
            break;
        if (c->v->kind != VLK_PKL_STR || !is_container(c->next->v))
            continue;
        snprintf(below, sizeof below, "%s%s%.*s", path, *path ? "." : "",
                 c->v->u.str.n > 100 ? 100 : (int)c->v->u.str.n, c->v->u.str.s);
        if (walk(s, c->next->v, below, level + 1))
            return -1;
    }
    return note(s, dict, path);
}

static int walk(search *s, const vlk_pkl_value *v, const char *path, int level)
{
    char below[MAX_PATH_TEXT];
    size_t i = 0;
    if (level > MAX_LEVELS)
        return 0;
    if (v->kind == VLK_PKL_DICT)
        return walk_dict(s, v, path, level);
    for (const vlk_pkl_cell *c = v->u.seq.first; c && ++s->visits <= MAX_VISITS; c = c->next, i++) {
        snprintf(below, sizeof below, "%.200s[%zu]", path, i);
        if (is_container(c->v) && walk(s, c->v, below, level + 1))
            return -1;
    }
    return 0;
}

/* Is the last part of its path this key? */
static int is_under(const found *f, const char *key)
{
    const char *dot = strrchr(f->path, '.');
    return strcmp(dot ? dot + 1 : f->path, key) == 0;
}

/* The only one that is pure (or not), of those under the key if there is one. NULL: none; *several: more. */
static const vlk_pkl_value *only(const search *s, int pure, const char *key, int *several)
{
    const vlk_pkl_value *hit = NULL;
    for (size_t i = 0; i < s->n; i++) {
        if (s->f[i].pure != pure || (key && !is_under(&s->f[i], key)))
            continue;
        *several |= hit != NULL;
        hit = s->f[i].dict;
    }
    return *several ? NULL : hit;
}

static const vlk_pkl_value *choose(const search *s)
{
    static const char *const known[] = {NULL, "state_dict", "model"};
    for (int pure = 1; pure >= 0; pure--) {
        int any = 0;
        for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
            int several = 0;
            const vlk_pkl_value *hit = only(s, pure, known[i], &several);
            if (hit)
                return hit;
            any |= several;
        }
        if (any)
            return NULL;
    }
    return NULL;
}

/* The names of those that were found, or of the keys. */
static void refuse(const search *s, const vlk_pkl_value *root)
{
    vlk_buf names = {0};
    char text[96];
    int rc = 0;
    const vlk_pkl_cell *c = root->kind == VLK_PKL_DICT ? root->u.seq.first : NULL;
    for (size_t i = 0; i < s->n && i < 8 && rc == 0; i++)
        rc = vlk_buf_addf(&names, s->err, "%s\"%s\"", i ? ", " : "", s->f[i].path);
    for (size_t i = 0; s->n == 0 && c && i < 8 && rc == 0; i++, c = c->next->next)
        rc = c->v->kind == VLK_PKL_STR
                 ? vlk_buf_addf(&names, s->err, "%s\"%.*s\"", i ? ", " : "",
                                c->v->u.str.n > 60 ? 60 : (int)c->v->u.str.n, c->v->u.str.s)
                 : vlk_buf_addf(&names, s->err, "%s%s", i ? ", " : "", vlk_pkl_describe(c->v, text, sizeof text));
    if (rc == 0 && s->n > 0)
        vlk_fail(s->err, VLK_EFORMAT, "%s: expected one dictionary of tensors, or one named \"state_dict\", found %s",
                 s->file, names.data);
    else if (rc == 0 && names.len > 0)
        vlk_fail(s->err, VLK_EFORMAT, "%s: expected a dictionary of tensors, found none; its keys are %s", s->file,
                 names.data);
    else if (rc == 0)
        vlk_fail(s->err, VLK_EFORMAT, "%s: expected a dictionary of tensors, found %s", s->file,
                 root->kind == VLK_PKL_DICT ? "an empty one" : vlk_pkl_describe(root, text, sizeof text));
    vlk_buf_clear(&names);
}

const vlk_pkl_value *vlk_torch_state(const vlk_pkl_value *root, const char *path, vlk_err *err)
{
    static const char *const known[] = {"state_dict", "model"};
    search s = {.file = path, .err = err};
    /* the two names of old: what is below them comes before all else */
    for (size_t i = 0; i < 2 && root->kind == VLK_PKL_DICT && s.n == 0; i++) {
        const vlk_pkl_value *v = vlk_pkl_get(root, known[i]);
        if (v && is_container(v) && walk(&s, v, known[i], 1))
            return NULL;
    }
    if (s.n == 0 && is_container(root) && walk(&s, root, "", 0))
        return NULL;
    const vlk_pkl_value *state = choose(&s);
    if (s.visits > MAX_VISITS)
        vlk_fail(err, VLK_ELIMIT, "%s: expected at most %d values, found more", path, MAX_VISITS);
    else if (state)
        return state;
    else
        refuse(&s, root);
    return NULL;
}
