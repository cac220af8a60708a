/* bind_internal.h - the door between names in files and parameters of towers.
 *
 *   field     a parameter in its struct: what it is, when it exists, how it starts, when it is locked. Listed once
 *   spelling  how one style of checkpoint names and shapes that field; a page of them for each style
 *   dialect   where the parts of a family are in a file: (part, prefix, style), and which tensors mean nothing
 *
 * Shapes are spelled with one letter per dimension: w width, m hidden width of the feed-forward, e embedding, p patch,
 * t tokens of an image, v vocabulary, c context, T 3 x width (query, key and value rows stacked), o i h: output, input
 * and inner planes of a ResNet's block; a digit is itself. */
#ifndef VLK_BIND_INTERNAL_H
#define VLK_BIND_INTERNAL_H

#include "model.h"

/* A static table as the first two members of a struct, within braces: its rows, and how many there are. */
#define VLK_ROWS_OF(t) t, sizeof t / sizeof t[0]

/* ---- fields (fields.c) ----------------------------------------------------------------------------------- */

typedef enum vlk_kind {
    VLK_MATRIX,    /* (n,k), stays as stored */
    VLK_EMBEDDING, /* rows that are picked by id, stays as stored */
    VLK_VECTOR,    /* widened to f32 when its part is first used */
    VLK_STATISTIC, /* such a vector, but measured, not learned: batch norm's mean and variance */
    VLK_POSITIONS, /* a table that is read as floats: widened too */
    VLK_COUNTER    /* an int64_t of the state, no parameter; 0 where a file has none */
} vlk_kind;

/* How a new parameter's numbers are drawn; w width of the tower, L its layers, m its hidden width, k inputs. */
typedef enum vlk_start {
    VLK_START_ZERO,
    VLK_START_ONE,
    VLK_START_NORMAL_02,         /* normal, deviation 0.02 */
    VLK_START_NORMAL_01,         /* 0.01 */
    VLK_START_NORMAL_WIDTH,      /* w^-1/2 */
    VLK_START_NORMAL_TWICE,      /* (2w)^-1/2 */
    VLK_START_NORMAL_DEEP,       /* (2L)^-1/2 w^-1/2, rounded after each root */
    VLK_START_NORMAL_DEEP_WIDTH, /* (2Lw)^-1/2 */
    VLK_START_UNIFORM_XAVIER,    /* uniform, bound (6 / 4w)^1/2: Xavier's of the stacked (3w,w) */
    VLK_START_UNIFORM_INPUTS,    /* k^-1/2: torch's of linear layers and convolutions */
    VLK_START_UNIFORM_WIDTH,     /* w^-1/2: of a bias whose layer has w inputs */
    VLK_START_UNIFORM_HIDDEN     /* m^-1/2 */
} vlk_start;
/* Rules to draw by: transformers', and open_clip's, which differ by tower. */
typedef enum vlk_rule { VLK_RULE_HF, VLK_RULE_OPENAI_TEXT, VLK_RULE_OPENAI_IMAGE, VLK_RULES } vlk_rule;

/* Groups of parameters that are locked together, counted from the output from 1 (open_clip's): the head; the last norm,
 * with the last layer; then a layer each; at last what comes before the layers. */
typedef enum vlk_lock_group {
    VLK_LOCK_HEAD,
    VLK_LOCK_LAST_NORM,
    VLK_LOCK_LAYER, /* by the layer, or stage, that it is in */
    VLK_LOCK_BEGIN
} vlk_lock_group;

typedef struct vlk_field {
    const char *ours; /* the member, as C spells it: "self.q_w" */
    size_t at;        /* its offset; of a counter: in the struct of the state */
    vlk_kind kind;
    unsigned when; /* VLK_HAS_ bits that must be set, or the field does not exist */
    vlk_lock_group lock;
    vlk_start start[VLK_RULES];
} vlk_field;
enum {
    VLK_HAS_PATCH_BIAS = 1,
    VLK_HAS_CLASS = 2,
    VLK_HAS_LN_PRE = 4,
    VLK_HAS_PROJ = 8,
    VLK_HAS_PROBE = 16,
    VLK_HAS_PROJ_BIAS = 32,
    VLK_HAS_DOWN = 64,
    /* of a block: */
    VLK_HAS_NORM_BIAS = 128,  /* no RMS norm */
    VLK_HAS_CROSS = 256,      /* cross-attention: to one image */
    VLK_HAS_CROSS_TWO = 512,  /* and one more, to a second */
    VLK_HAS_MERGE = 1024,     /* both side by side */
    VLK_HAS_QUERY_MLP = 2048, /* a feed-forward for query rows */
    VLK_HAS_GATE = 4096       /* in its feed-forwards */
};
/* Those bits of a block at this layer. */
unsigned vlk_block_has(const vlk_block_config *c, size_t layer);

/* The structs of parameters that have a table of fields. */
typedef enum vlk_table {
    VLK_FIELDS_BLOCK,
    VLK_FIELDS_VIT,
    VLK_FIELDS_TEXT,
    VLK_FIELDS_STEM, /* of a ResNet, with its attention pool */
    VLK_FIELDS_BOTTLENECK,
    VLK_TABLES
} vlk_table;
const vlk_field *vlk_fields_of(vlk_table t, size_t *n);

/* ---- spellings (names_hf.c, names_open_clip.c) ------------------------------------------------------------- */

typedef enum vlk_form {
    VLK_AS_IS,
    VLK_PART_Q, /* a third of stacked rows */
    VLK_PART_K,
    VLK_PART_V,
    VLK_TURNED /* stored (k,n) */
} vlk_form;

typedef struct vlk_spelling {
    const char *ours;  /* the field. A style lacks what its page does not list */
    const char *name;  /* '#' is the layer, '@' the stage; '/' in front: not below the part's prefix */
    const char *shape; /* letters */
    vlk_form form;
    unsigned when, unless; /* VLK_HAS_ bits that must be set, or must not: where the name depends on them */
} vlk_spelling;
typedef struct vlk_page {
    const vlk_spelling *row;
    size_t n;
} vlk_page;
typedef struct vlk_style {
    const char *name;          /* for messages: "Hugging Face" */
    vlk_page page[VLK_TABLES]; /* empty: the style has no such network */
} vlk_style;
extern const vlk_style vlk_style_hf;        /* CLIPModel and SiglipModel of transformers */
extern const vlk_style vlk_style_open_clip; /* open_clip's and OpenAI's */

/* ---- dialects of a family ------------------------------------------------------------------------------------ */

typedef struct vlk_part_names {
    const char *part, *prefix;
    const vlk_style *style;
} vlk_part_names;
/* A tensor that means nothing: '*' stands for any characters. */
typedef struct vlk_ignored {
    const char *pattern;
    int integers; /* only if it holds integers */
} vlk_ignored;
typedef struct vlk_dialect {
    vlk_layout layout;          /* of the folders whose weights are named so: Hugging Face's or open_clip's */
    const char *mark[3];        /* tensors that tell the dialect: one of them is there */
    const vlk_part_names *row;  /* ends with part NULL */
    const vlk_ignored *ignored; /* ends with pattern NULL */
    const char *scale, *bias;   /* scalars: the logarithm of the scale of scores; what is added to them */
    int scalar_rank;            /* how they are saved: 0 for [], 1 for [1] */
} vlk_dialect;

/* How a dialect names a part; NULL: it has none. */
const vlk_part_names *vlk_names_of(const vlk_dialect *d, const char *part);
/* Does the text match the pattern ('*': any characters)? */
int vlk_glob(const char *pattern, const char *text);

/* ---- bound parameters (bind.c, view.c) -------------------------------------------------------------------- */

typedef struct vlk_sizes { /* what a kind of part knows at (layer, stage): letters of shapes, and what there is */
    size_t dim[128];
    unsigned has;
} vlk_sizes;

typedef struct vlk_bound {
    vlk_param *p;
    const vlk_field *field;
    struct vlk_part *part;
    vlk_table table;
    size_t layer, stage;
    const vlk_tensor *tensor; /* that it views; NULL: numbers of ours */
} vlk_bound;

typedef struct vlk_binder vlk_binder;
/* Binds all fields of a struct, in order. `state` has its counters; NULL where it has none. For the kinds of parts. */
int vlk_bind_fields(vlk_binder *b, struct vlk_part *p, vlk_table t, void *params, void *state, size_t layer,
                    size_t stage) VLK_MUST_USE;
/* Zeroed memory in the model's arena; NULL with the error noted. */
void *vlk_bind_alloc(vlk_binder *b, size_t n, size_t size);

/* How a style spells a field under these conditions; NULL: it has none. */
const vlk_spelling *vlk_spelling_of(const vlk_style *style, vlk_table t, const vlk_field *f, unsigned has);
void vlk_spell(char *out, size_t size, const char *prefix, const char *name, size_t layer, size_t stage);
/* Letters to dimensions; returns the rank. */
int vlk_shape_of(const vlk_sizes *s, const char *letters, size_t dim[VLK_MAX_RANK]);
/* The parts of a stored tensor: rank 2 and above as (n,k); a vector as (1,k); (k,n) read as n by k; a third. */
void vlk_view_form(vlk_weight *w, vlk_kind kind, vlk_form form);
/* A tensor of a file as a weight; where no view can describe its strides, a dense copy in the arena. */
int vlk_view(vlk_weight *w, const vlk_tensor *t, vlk_kind kind, const vlk_weights *file, vlk_arena *a,
             vlk_err *err) VLK_MUST_USE;

#endif
