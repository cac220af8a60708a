/* model_internal.h - the model's struct, its parts and families, a place on disk: what all files of this room share.
 * Letters: B batch, T tokens, D width, E embedding. */
#ifndef VLK_MODEL_INTERNAL_H
#define VLK_MODEL_INTERNAL_H

#include "bind_internal.h"
#include "config_internal.h"
#include "model.h"

/* ---- where a model is (locate.c) -------------------------------------------------------------------------- */

typedef struct vlk_place {
    char *folder;         /* that holds the weights */
    char *weights;        /* file or index */
    char *hf, *open_clip; /* config.json, open_clip_config.json beside them, or NULL */
} vlk_place;
int vlk_locate(vlk_place *p, const char *name, const vlk_model_options *opt, vlk_err *err) VLK_MUST_USE;
/* The same, but a file or folder of that name below `folder` comes first. */
int vlk_locate_below(vlk_place *p, const char *folder, const char *name, const vlk_model_options *opt,
                     vlk_err *err) VLK_MUST_USE;
void vlk_place_clear(vlk_place *p);
int vlk_is_file(const char *path);

/* ---- sources (source.c) ------------------------------------------------------------------------------------ */

enum { VLK_CONFIG_FILES_MAX = 8 };

/* A config file that a source came with (carry.c). */
typedef struct vlk_config_file {
    const char *name; /* that it has in a saved folder, static; NULL: none, as the name of an architecture */
    vlk_buf bytes;
} vlk_config_file;
typedef struct vlk_config_files {
    vlk_config_file file[VLK_CONFIG_FILES_MAX]; /* in the order in which they were read */
    size_t n;
} vlk_config_files;

/* Where parts come from: one set of weights files, and the configs that describe it. */
typedef struct vlk_model_source {
    vlk_weights *weights;       /* NULL: a new model, whose numbers are drawn */
    const vlk_dialect *dialect; /* how its tensors are named */
    vlk_place place;            /* all NULL: a new model */
    vlk_config_files configs;
    char id[65];
} vlk_model_source;
/* Opens weights; a prefix that all names share ("module.", "model.clip.") is taken off if the names are those of a
 * dialect then (spell.c). */
vlk_weights *vlk_source_open_weights(const char *path, vlk_err *err) VLK_MUST_USE;
/* For messages: the path of the weights. */
const char *vlk_source_name(const vlk_model_source *s);
/* Parses a config file and keeps its bytes, as a file of this name; NULL: the name of the config in its layout. */
vlk_json *vlk_source_load_json(vlk_model_source *s, const char *path, const char *name, vlk_err *err);
/* Opens the weights at `name` (as -m takes it, or below the folder of the model) as one more source of the model. */
vlk_model_source *vlk_model_add_source(vlk_model *m, const char *name, vlk_err *err);
void vlk_source_close(vlk_model_source *s);

/* ---- parts ------------------------------------------------------------------------------------------- */

typedef struct vlk_part_kind vlk_part_kind;

typedef struct vlk_part {
    const char *name; /* its family's */
    const vlk_part_kind *kind;
    const void *config;          /* of its kind, in the model's arena, as all that follows */
    const void *stored;          /* the config of its checkpoint: another one where images have another size */
    void *params, *state;        /* state: what it counts in training; NULL: nothing */
    vlk_tokenizer *tokenizer;    /* of a part that reads texts; opened at the first call */
    vlk_model_source *source;    /* that it comes from */
    const vlk_part_names *names; /* how that source names its tensors */
    int ready;
} vlk_part;

/* Of a part that sees images: what its table of positions follows from. */
typedef struct vlk_image_grid {
    size_t side;  /* of the image */
    size_t cell;  /* pixels of the side for each step of the grid */
    size_t extra; /* rows of the table before those of the grid */
    size_t width;
    int whole;        /* the side must be a multiple of the cell */
    size_t positions; /* where the table is in the parameters */
} vlk_image_grid;

/* What a network is to a model: its structs, its tables of fields, how it runs. Functions that a kind lacks are NULL.
 */
struct vlk_part_kind {
    const char *name;                               /* "vit", "resnet", "text" */
    size_t config_bytes, params_bytes, state_bytes; /* state_bytes 0: it counts nothing */
    int (*bind)(vlk_binder *b, vlk_part *p); /* vlk_bind_fields of all structs, in the order in which they are listed */
    void (*sizes)(vlk_sizes *s, const void *config, size_t layer, size_t stage);
    void (*describe)(vlk_part_info *i, const void *config); /* without parameters and bytes */
    size_t (*depth)(const void *config);                    /* layers, or stages, for locks and rules of drawing */
    vlk_rule openai;                                        /* its rule with VLK_INIT_OPENAI */
    int openai_only;                                        /* there is no other rule */
    int whole_batch; /* in training: batch norm's statistics are those of the batch */
    /* images */
    vlk_image_grid (*grid)(const void *config);
    void (*with_side)(void *out, const void *config, size_t side); /* the config for images of that size */
    vlk_var *(*see)(const vlk_pass *p, const vlk_part *part, const vlk_images *images);
    size_t (*image_bytes)(const void *config); /* activations of an image */
    /* texts: to embeddings */
    vlk_var *(*read)(const vlk_pass *p, const vlk_part *part, const int32_t *ids, const vlk_packed *s);
    /* How many of a text's n ids `read` must be given: up to the row that is pooled, or all of the context. `text` is
     * its number, for messages. */
    int (*rows)(const void *config, const int32_t *id, size_t n, size_t text, size_t *rows, vlk_err *err);
    /* vlk_model_text_states; NULL: embeddings only. */
    vlk_var *(*states)(const vlk_pass *p, const vlk_part *part, const int32_t *ids, const vlk_packed *s, vlk_kv *cache);
    size_t (*token_bytes)(const void *config);
};
extern const vlk_part_kind vlk_kind_vit, vlk_kind_resnet, vlk_kind_text; /* kind_*.c */

/* ---- families ----------------------------------------------------------------------------------------- */

/* What was found where the model is: what a family is recognised by and configured from. */
typedef struct vlk_found {
    const vlk_weights *weights; /* NULL: a new model */
    const char *arch;           /* the name of an architecture, in place of a config; or NULL */
    const vlk_json *config;     /* NULL: there is none */
    const char *path;           /* of the config */
    vlk_layout layout;          /* whose members the config has: Hugging Face's or open_clip's */
    const char *folder;         /* where preprocessor_config.json is looked for */
} vlk_found;

typedef struct vlk_family {
    const char *name; /* as --info prints it */
    const char *type; /* model_type of its config.json */
    const vlk_dialect *dialect;
    size_t dialects;
    int (*recognise)(const vlk_found *f); /* 1: this family's */
    /* Adds parts, and says what else the model is: info.can, layout, embed_dim, has_logit_bias, preprocess. */
    int (*configure)(vlk_model *m, const vlk_found *f, vlk_err *err);
    /* Opens the tokenizer of a part that reads texts; refuses with the reason (vlk_tokenizer_missing) where it is not
     * built in. NULL: the family has no such part. */
    vlk_tokenizer *(*tokenizer)(const vlk_model *m, const vlk_part *p, vlk_err *err);
    /* 1 if files of this layout can say what the model is. */
    int (*describes)(const vlk_model *m, vlk_layout layout);
    /* vlk_model_files for a layout that it describes; vlk_carry_configs will do if that is the layout it comes in. */
    int (*write)(const vlk_model *m, vlk_put_file *put, void *arg, const vlk_folder_options *o, vlk_err *err);
} vlk_family;
/* All families, ends with NULL (families.c). A program may be linked with a longer list of its own. */
extern const vlk_family *const vlk_families[];
extern const vlk_family vlk_clip, vlk_siglip, vlk_clip_vision, vlk_siglip_vision, vlk_clip_text;
/* The first family that recognises it, or NULL. */
const vlk_family *vlk_family_of(const vlk_found *f);
/* The dialect of a file's tensors; where no mark is found, or without weights, the first of the layout. */
const vlk_dialect *vlk_dialect_of(const vlk_family *f, const vlk_weights *w, vlk_layout layout);
/* Whose names the tensors have, whatever the family. */
vlk_layout vlk_layout_of_names(const vlk_weights *w);

/* ---- the model ---------------------------------------------------------------------------------------- */

enum { VLK_MODEL_PARTS_MAX = 8, VLK_MODEL_SOURCES_MAX = 4 };

struct vlk_model {
    vlk_model_info info;
    const vlk_family *family;
    vlk_model_source source[VLK_MODEL_SOURCES_MAX]; /* the first is the one that was opened */
    size_t sources;
    vlk_part part[VLK_MODEL_PARTS_MAX];
    vlk_part_info part_info[VLK_MODEL_PARTS_MAX];
    size_t parts;
    vlk_arena *arena; /* configs and parameters of the parts, widened vectors */
    vlk_bound *bound;
    size_t nbound, cap_bound;
    vlk_counter_ref *counter;
    size_t ncounter, cap_counter;
    vlk_layout came;       /* in this layout; info.layout is that which it is saved in, once it is trained */
    unsigned own;          /* bits that its family remembers */
    vlk_cleaning cleaning; /* of its texts, in open_clip's layout */
    char *folder, *share;  /* where the tokenizer's files are looked for */
    float levels[3][256];  /* of a pixel to its value, by channel */
    int has_preprocess;
    size_t image_size; /* that its images shall have; 0: that of the checkpoint */
    unsigned want;     /* VLK_CAN_ bits that the program will use */
    /* training: */
    vlk_param_ref *refs;
    size_t nrefs;
    const vlk_dialect *saved;        /* how its checkpoints name tensors */
    float scalar[2], scalar_grad[2]; /* logit_scale as stored (always), logit_bias */
    vlk_param scalar_param[2];
};

/* part.c: the part of that name, or NULL. */
vlk_part *vlk_model_part(const vlk_model *m, const char *name);
/* Adds a part from one of the model's sources, with a copy of its config. */
int vlk_model_add_part(vlk_model *m, vlk_model_source *from, const char *name, const vlk_part_kind *kind,
                       const void *config, vlk_err *err) VLK_MUST_USE;
/* What a kind of part does: VLK_SEES_IMAGES, VLK_READS_TEXTS. */
unsigned vlk_kind_does(const vlk_part_kind *k);
/* The first part that sees images, that reads texts, or NULL. */
vlk_part *vlk_model_image_part(const vlk_model *m);
vlk_part *vlk_model_text_part(const vlk_model *m);
/* Side of the images that it takes, in pixels; 0: it takes none. */
size_t vlk_model_image_side(const vlk_model *m);

enum { VLK_MODEL_ARENA = 1 << 20 };
/* preprocessor.c: the preprocessing of a Hugging Face folder; a folder without it serves texts. */
int vlk_model_load_preprocess(vlk_model *m, const char *folder, vlk_err *err) VLK_MUST_USE;
/* open.c: its sizes, and the values of pixels. */
int vlk_model_check_preprocess(vlk_model *m, vlk_err *err) VLK_MUST_USE;
/* Recognises and configures what was found, and finds the dialects of its sources. */
int vlk_model_configure(vlk_model *m, const vlk_found *f, vlk_err *err) VLK_MUST_USE;
vlk_layout vlk_layout_of_config(const vlk_json *config);
/* describe.c: fills the info from parts. */
void vlk_model_fill_info(vlk_model *m);
/* A refusal that names what is wanted and missing. */
int vlk_model_check_wants(const vlk_model *m, unsigned want, vlk_err *err) VLK_MUST_USE;
/* part.c: closes the tokenizers of all parts; they are opened again when they are asked for. */
void vlk_model_drop_tokenizers(vlk_model *m);
/* NULL, with a refusal: `what` (a name) is not built in. */
vlk_tokenizer *vlk_tokenizer_missing(const vlk_model *m, const char *what, vlk_err *err);
/* tokenizer_clip.c: CLIP's byte pairs, for a part of kind text. */
vlk_tokenizer *vlk_clip_tokenizer(const vlk_model *m, const vlk_part *p, vlk_err *err);
/* The path of OpenAI's merges: beside the model, else installed. free() it. */
int vlk_model_merges(const vlk_model *m, char **path, vlk_err *err) VLK_MUST_USE;
/* Of CLIP, in vlk_model.own: its texts need another tokenizer than byte pairs. */
enum { VLK_CLIP_OTHER_TOKENIZER = 1 };
/* config_open_clip_write.c, config_hf_write.c: the files of CLIP in these layouts, newly made. */
int vlk_write_open_clip(const vlk_model *m, vlk_put_file *put, void *arg, const vlk_folder_options *o,
                        vlk_err *err) VLK_MUST_USE;
int vlk_write_hf(const vlk_model *m, vlk_put_file *put, void *arg, const vlk_folder_options *o,
                 vlk_err *err) VLK_MUST_USE;

/* ---- config files that are kept and written (carry.c) --------------------------------------------------- */

extern const char vlk_config_name[], vlk_preprocessor_name[], vlk_processor_name[], vlk_open_clip_name[];
/* preprocessor.c. *name: the file of a Hugging Face folder that describes its images, vlk_processor_name or
 * vlk_preprocessor_name; NULL if there is neither. */
int vlk_preprocessor_of(const char **name, const char *folder, vlk_err *err) VLK_MUST_USE;
/* What such a file says of images: itself, or a member. */
const vlk_json *vlk_preprocessor_in(const char *name, const vlk_json *file);
int vlk_keep_config(vlk_model_source *s, const char *name, const void *bytes, size_t n, vlk_err *err) VLK_MUST_USE;
/* 1 if it came with a config file of this name. */
int vlk_has_config(const vlk_model_source *s, const char *name);
/* The bytes of all of them, one after another. */
void vlk_hash_configs(vlk_sha256 *sum, const vlk_model_source *s);
void vlk_clear_configs(vlk_model_source *s);
/* Puts a config file that was made: laid out as all are, with the type of the weights. */
int vlk_put_config(vlk_put_file *put, void *arg, const char *name, const vlk_buf *made, const vlk_folder_options *o,
                   vlk_err *err) VLK_MUST_USE;
/* Puts those that the model came with, edited: the `write` of a family that comes in the layout it is saved in, in one
 * source. */
int vlk_carry_configs(const vlk_model *m, vlk_put_file *put, void *arg, const vlk_folder_options *o,
                      vlk_err *err) VLK_MUST_USE;
/* init.c: draws all values of the parts whose source has no weights. */
void vlk_model_draw(vlk_model *m, vlk_init init, uint64_t seed);
/* resize.c: the position tables of parts whose images have another size than those of their checkpoint. */
int vlk_model_resize(vlk_model *m, vlk_err *err) VLK_MUST_USE;
/* bind.c: fills the parameters from the sources; each of their tensors must be used or be known to mean nothing. */
int vlk_bind(vlk_model *m, vlk_err *err) VLK_MUST_USE;
/* ready.c: widens vectors and looks for values that are not finite, once for each part. */
int vlk_part_ready(vlk_model *m, vlk_kernel *k, vlk_part *p, vlk_err *err) VLK_MUST_USE;
/* id.c: the ids of the sources, and of the model. */
int vlk_model_id(vlk_model *m, vlk_err *err) VLK_MUST_USE;

#endif
