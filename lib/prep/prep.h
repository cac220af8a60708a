/* prep.h - from files to what a tower sees: images to u8 pixels, texts to token ids. Bit-identical to the reference
 * implementations: Pillow 11.3 for images, OpenAI's, open_clip's and the Hugging Face (fast) tokenizers for texts. */
#ifndef VLK_PREP_H
#define VLK_PREP_H

#include "../base/base.h"
#include "../stream/stream.h"

/* ---- images ----------------------------------------------------------------------------- */

/* Pillow's modes, as a file is opened in them. */
typedef enum vlk_mode {
    VLK_MODE_1,    /* 1 byte a pixel, 0 or 255 */
    VLK_MODE_L,    /* grey */
    VLK_MODE_P,    /* index into palette */
    VLK_MODE_LA,   /* 2 bytes */
    VLK_MODE_RGB,  /* 3 bytes */
    VLK_MODE_RGBA, /* 4 bytes, not premultiplied */
    VLK_MODE_CMYK, /* 4 bytes, as Pillow holds them (inverted on load) */
    VLK_MODE_I16   /* grey, uint16_t in native order */
} vlk_mode;

typedef struct vlk_image {
    vlk_mode mode;
    size_t width, height;
    uint8_t *data; /* consecutive rows; owned, reused by the next decode */
    size_t cap;
    uint8_t *spare; /* scratch for turning and resizing; kept for the next image */
    size_t spare_cap;
    uint8_t palette[256][4]; /* VLK_MODE_P: r g b alpha; entries missing from the file are black */
    int has_alpha;           /* an alpha channel, transparent palette entries, or trns_set */
    int orientation;         /* as EXIF numbers it, 1..8; 1 if none. From EXIF or XMP: orientation.c */
    int trns_set;            /* a single transparent grey or RGB value (tRNS of colour types 0 and 2) */
    uint16_t trns[3];        /* on the scale of data; only trns[0] for 1, L and I16 */
    int repaired;            /* a JPEG whose data is damaged: the decoder filled in what it could not read */
    int clipped;             /* 16-bit grey above 255 became 255 when it was converted */
} vlk_image;

typedef enum vlk_filter { /* Pillow's numbers, as preprocessor_config.json spells them */
                          VLK_NEAREST = 0,
                          VLK_LANCZOS = 1,
                          VLK_BILINEAR = 2,
                          VLK_BICUBIC = 3,
                          VLK_BOX = 4,
                          VLK_HAMMING = 5
} vlk_filter;

typedef enum vlk_resize_mode {
    VLK_RESIZE_NONE,     /* do_resize false */
    VLK_RESIZE_SHORTEST, /* the short side to size, the long one to int(size * long / short) */
    VLK_RESIZE_LONGEST,  /* fit inside size, centre, fill the rest */
    VLK_RESIZE_SQUASH    /* both sides forced */
} vlk_resize_mode;

/* How a checkpoint wants its images: from preprocessor_config.json or preprocess_cfg. */
typedef struct vlk_preprocess {
    int rgb_first;  /* 1 Hugging Face: RGB, then resize; 0 OpenAI, open_clip: resize in the file's mode */
    int crop_floor; /* 1 Hugging Face: d / 2; 0 torchvision: half to even */
    int on_white;   /* 1 Hugging Face (5.x): transparent pixels on white before the rest; 0: alpha is dropped. The
                       config's own "alpha" comes before the dialect's habit */
    vlk_resize_mode resize;
    size_t size_w, size_h; /* for SHORTEST, size_h = size_w = the short side */
    vlk_filter filter;
    int own_rule; /* the sizes follow from a rule of the processor (ConvNext, Levit) and cannot be scaled */
    int crop;     /* centre crop to crop_w x crop_h */
    size_t crop_w, crop_h;
    int fill;               /* grey level around LONGEST */
    double rescale;         /* 1/255; 1 when do_rescale is false */
    double offset;          /* added after rescaling: EfficientNet's -1 */
    double mean[3], std[3]; /* 0 and 1 when do_normalize is false */
    double again[3];        /* divided by once more at the end: EfficientNet's std; 0: not */
} vlk_preprocess;

/* AUTO is what the dialect's reference does by default: see vlk_preprocess.on_white. */
typedef enum vlk_alpha { VLK_ALPHA_AUTO, VLK_ALPHA_DROP, VLK_ALPHA_WHITE, VLK_ALPHA_BLACK } vlk_alpha;

typedef struct vlk_pixel_options { /* the user's choices */
    int no_exif;
    vlk_alpha alpha;
    size_t max_pixels; /* width * height, from the header, before memory is allocated; 0: 100 million */
    int strict;        /* repaired and clipped images are errors (VLK_EFORMAT) */
} vlk_pixel_options;

/* The preprocessing in a Hugging Face folder's preprocessor_config.json (old and new spellings). `model_type` is the
 * model's ("clip", "siglip"; NULL: clip), for a file that names no processor; `path` names the file in messages.
 * VLK_EMODEL for values that make no sense (size 0, std 0, resample 9), processors and members that are not known, and
 * what versions of the reference read differently. */
int vlk_preprocess_from_hf(vlk_preprocess *r, const vlk_json *config, const char *model_type, const char *path,
                           vlk_err *err) VLK_MUST_USE;
/* open_clip's preprocess_cfg; image_size is the model's, and the default of `size`. */
int vlk_preprocess_from_open_clip(vlk_preprocess *r, const vlk_json *preprocess_cfg, size_t image_size,
                                  const char *path, vlk_err *err) VLK_MUST_USE;
/* OpenAI's own: shortest side, bicubic, centre crop, CLIP's mean and standard deviation. */
void vlk_preprocess_openai(vlk_preprocess *r, size_t image_size);
/* Width and height of the preprocessed image, which do not depend on the input; VLK_EMODEL if they would (no crop after
 * SHORTEST). */
int vlk_preprocess_output(const vlk_preprocess *r, size_t *w, size_t *h, vlk_err *err) VLK_MUST_USE;
/* One line that identifies the preprocessing: "hf shortest 64 bicubic crop 64x64 mean ... std ...". Returns out. */
const char *vlk_preprocess_text(const vlk_preprocess *r, char *out, size_t size);
/* The 3 x 256 floats that pixel levels are mapped to, as the dialect computes them: table[c][level]. */
void vlk_preprocess_levels(const vlk_preprocess *r, float table[3][256]);

/* Recognises the kind by content, not by name: PNG, JPEG, and WebP if built in; GIF, BMP and others are refused, naming
 * the kind. Of animations the first frame is read. err->code: VLK_EFORMAT broken, VLK_ELIMIT too large,
 * VLK_EUNSUPPORTED an unsupported kind. `img` starts as {0} and may be reused. */
int vlk_image_decode(vlk_image *img, const void *bytes, size_t n, const vlk_pixel_options *opt,
                     vlk_err *err) VLK_MUST_USE;
void vlk_image_clear(vlk_image *img);
/* The kind of file by its first bytes (32 are enough): "png", "jpeg", "webp", which are supported; "gif", "bmp", "tiff"
 * ... for kinds that are known but not supported; NULL if it is not an image. */
const char *vlk_image_kind(const void *bytes, size_t n);
/* Pillow's convert("RGB"), in place: alpha is dropped, 16-bit grey is clipped at 255, CMYK without profiles. */
int vlk_image_to_rgb(vlk_image *img, vlk_err *err) VLK_MUST_USE;
/* Turns by img->orientation, which becomes 1 (Pillow's exif_transpose, in the image's own mode). */
int vlk_image_orient(vlk_image *img, vlk_err *err) VLK_MUST_USE;
/* To RGB on a white or black background: (c * a + ground * (255 - a)) / 255, rounded to nearest. VLK_ALPHA_DROP is
 * vlk_image_to_rgb. */
int vlk_image_composite(vlk_image *img, vlk_alpha alpha, vlk_err *err) VLK_MUST_USE;
/* Pillow 11's resize in the image's own mode (1 and P: nearest; RGBA, LA: premultiplied). */
int vlk_image_resize(vlk_image *img, size_t w, size_t h, vlk_filter filter, vlk_err *err) VLK_MUST_USE;

/* The whole path: bytes of a file to (H,W,3) u8 according to the preprocessing. `scratch` keeps its memory between
 * calls; use one per thread. */
typedef struct vlk_pixel_scratch vlk_pixel_scratch;
vlk_pixel_scratch *vlk_pixel_scratch_new(vlk_err *err) VLK_MUST_USE;
void vlk_pixel_scratch_free(vlk_pixel_scratch *s);
int vlk_pixels(uint8_t *out, const void *bytes, size_t n, const vlk_preprocess *r, const vlk_pixel_options *opt,
               vlk_pixel_scratch *scratch, vlk_err *err) VLK_MUST_USE;
/* What is to be said about the last image of vlk_pixels or vlk_augment_resized that was read without an error. */
enum {
    VLK_PIXELS_FLAT = 1,     /* the result is one colour */
    VLK_PIXELS_ALPHA = 2,    /* the file has transparency, which was dropped or put on a background: */
    VLK_PIXELS_WHITE = 4,    /* a white one */
    VLK_PIXELS_CLIPPED = 8,  /* vlk_image.clipped */
    VLK_PIXELS_REPAIRED = 16 /* vlk_image.repaired */
};
unsigned vlk_pixel_notes(const vlk_pixel_scratch *scratch);

/* ---- augmentation (augment.c): training only ------------------------------------------------- */

typedef enum vlk_augment_kind {
    VLK_AUGMENT_NONE,        /* the image as preprocessed */
    VLK_AUGMENT_CROP,        /* shortest side to S+M, centre square of S+M, then a square of S at offset 0..M in both
                                directions */
    VLK_AUGMENT_RESIZED_CROP /* torchvision's RandomResizedCrop: a part of lo..hi of the area, ratio 3/4..4/3, to S */
} vlk_augment_kind;
typedef struct vlk_augment {
    vlk_augment_kind kind;
    size_t margin; /* M; VLK_AUGMENT_EIGHTH: S/8 */
    double lo, hi; /* 0 < lo <= hi <= 1 */
    int flip;      /* mirror half of the images */
} vlk_augment;
#define VLK_AUGMENT_EIGHTH SIZE_MAX

/* The numbers in [0,1) for one image: [0] flip; [1] [2] position from the top and from the left; [3+2t] [4+2t] area and
 * ratio of try t = 0..9. Which of them are used depends on the kind; none depends on what was used before. */
enum { VLK_AUGMENT_UNIFORMS = 23 };

/* "none", "crop", "crop:M", "resized-crop", "resized-crop:LO,HI" (0.9,1), each optionally followed by ",flip".
 * VLK_EUSAGE. */
int vlk_augment_parse(vlk_augment *a, const char *s, vlk_err *err) VLK_MUST_USE;
/* The canonical spelling, which parses to the same. Returns out. */
const char *vlk_augment_text(const vlk_augment *a, char *out, size_t size);
/* For a model's preprocessing: `base` becomes the preprocessing of the image before the random part ((S+M) x (S+M) for
 * crop), which may be cached; the margin of `a` is set. VLK_EUSAGE if kind and preprocessing do not fit together. 1; 0
 * if there is no such image (resized-crop), and base is then the model's. */
int vlk_augment_base(vlk_preprocess *base, vlk_augment *a, const vlk_preprocess *model, vlk_err *err) VLK_MUST_USE;
/* From the base image (base_h, base_w, 3) to out (h, w, 3): none and crop. */
void vlk_augment_cut(uint8_t *out, size_t w, size_t h, const uint8_t *base, size_t base_w, size_t base_h,
                     const vlk_augment *a, const double u[VLK_AUGMENT_UNIFORMS]);
/* The part that resized-crop takes from a width x height image: box = {x, y, w, h}. */
void vlk_augment_box(size_t box[4], const vlk_augment *a, size_t width, size_t height,
                     const double u[VLK_AUGMENT_UNIFORMS]);
/* The whole path from a file's bytes to out (H,W,3) of the model's preprocessing, for resized-crop: decode, turn, to
 * RGB before or after as the preprocessing says, cut out the box, resize it (without pixels from outside it), flip. */
int vlk_augment_resized(uint8_t *out, const void *bytes, size_t n, const vlk_augment *a, const vlk_preprocess *model,
                        const vlk_pixel_options *opt, const double u[VLK_AUGMENT_UNIFORMS], vlk_pixel_scratch *scratch,
                        vlk_err *err) VLK_MUST_USE;

/* Writes an RGB image as PNG into `out` (contact sheets). */
int vlk_png_write(vlk_buf *out, const uint8_t *rgb, size_t w, size_t h, vlk_err *err) VLK_MUST_USE;

/* ---- texts -------------------------------------------------------------------------------- */

/* Token ids of a text. */
typedef struct vlk_ids {
    int32_t *id;
    size_t len, cap;
} vlk_ids;

/* The ids that mean something; -1: the vocabulary has none. */
typedef struct vlk_special_ids {
    int32_t start, end;
} vlk_special_ids;

/* A tokenizer, whatever its kind (tokenizer.c). Not for two threads at once: it keeps words that it has seen. */
typedef struct vlk_tokenizer vlk_tokenizer;
void vlk_tokenizer_free(vlk_tokenizer *t);
/* Token ids of one text (n bytes), including start and end token, neither padded nor truncated. Bytes that are not
 * UTF-8: VLK_EFORMAT, with the offset. `out` is replaced, and grows. */
int vlk_tokenizer_encode(vlk_tokenizer *t, vlk_ids *out, const char *text, size_t n, vlk_err *err) VLK_MUST_USE;
/* Truncates to `context` ids as the reference does (the last one becomes the end token). 1 if it was truncated. */
int vlk_tokenizer_truncate(const vlk_tokenizer *t, vlk_ids *ids, size_t context);
/* Appends the text of n ids: words separated by spaces, special tokens left out, bytes that are not UTF-8 (ids may
 * cut a character) as U+FFFD. An id that is not in the vocabulary: VLK_EUSAGE. */
int vlk_tokenizer_decode(vlk_tokenizer *t, vlk_buf *out, const int32_t *id, size_t n, vlk_err *err) VLK_MUST_USE;
vlk_special_ids vlk_tokenizer_specials(const vlk_tokenizer *t);
/* Pads every text of a vlk_id_list to n ids, for a tower that looks at all of its context. */
void vlk_tokenizer_pad(vlk_tokenizer *t, size_t n, int32_t id);
/* The ids to which a text is cut for a model of that context: fewer where its files say so (model_max_length). */
size_t vlk_tokenizer_longest(const vlk_tokenizer *t, size_t context);

/* CLIP's byte-pair encoding. The dialect decides the cleaning, which special tokens a text may spell,
 * and what happens to long texts. */
typedef enum vlk_bpe_dialect { VLK_BPE_OPENAI, VLK_BPE_OPEN_CLIP, VLK_BPE_HF } vlk_bpe_dialect;

/* From a Hugging Face folder: vocab.json and merges.txt, or tokenizer.json; and the tokens that its files add, which
 * are cut out of a text first. `vocab_size` is the number of rows of the model's table: every id of the vocabulary must
 * be below it; it may end earlier, but must have no gaps. */
vlk_tokenizer *vlk_bpe_open_hf(const char *folder, size_t vocab_size, vlk_err *err) VLK_MUST_USE;
/* From OpenAI's merges file (bpe_simple_vocab_16e6.txt[.gz], or a merges.txt); the first
 * vlk_bpe_merges_vocab(vocab_size) - 514 merges are used. */
vlk_tokenizer *vlk_bpe_open_merges(const char *path, size_t vocab_size, vlk_bpe_dialect dialect,
                                   vlk_err *err) VLK_MUST_USE;
/* The vocabulary of a table of that many rows, where it follows from the merges: 49,408 at most. */
size_t vlk_bpe_merges_vocab(size_t rows);
/* How open_clip's texts are cleaned after ftfy and html.unescape (tokenizer_kwargs.clean). */
typedef enum vlk_cleaning {
    VLK_CLEAN_LOWER,       /* lower case */
    VLK_CLEAN_WHITESPACE,  /* capitals stay */
    VLK_CLEAN_CANONICALIZE /* "_" becomes a space, ASCII punctuation goes, lower case */
} vlk_cleaning;
extern const char *const vlk_cleaning_name[]; /* "lower" ...; ends with NULL */
/* Of a tokenizer of open_clip's dialect, before its first text. */
void vlk_bpe_set_cleaning(vlk_tokenizer *t, vlk_cleaning cleaning);
/* What vlk_bpe_open_hf reads, from such a file of merges: appends to vocab.json and merges.txt; either may be NULL. */
int vlk_bpe_write_hf(const char *path, size_t vocab_size, vlk_buf *vocab, vlk_buf *merges, vlk_err *err) VLK_MUST_USE;

/* Token ids of texts, one text after another: those of text i are id[start[i]] .. id[start[i+1]-1]. Starts as {0}. */
typedef struct vlk_id_list {
    int32_t *id;
    size_t len, cap;
    size_t *start; /* (n + 1), once a text was added */
    size_t n, start_cap;
    size_t whole; /* ids of the text that was added last, before it was cut */
    vlk_ids one;
} vlk_id_list;
/* Adds a text, cut to vlk_tokenizer_longest() of `context` ids, and padded if the tokenizer does that. 1: added, 2:
 * added and cut, -1: not added, err says why. */
int vlk_id_list_add(vlk_id_list *l, vlk_tokenizer *b, const char *text, size_t n, size_t context,
                    vlk_err *err) VLK_MUST_USE;
/* Keeps the first n texts. Memory is kept. */
void vlk_id_list_shorten(vlk_id_list *l, size_t n);
void vlk_id_list_clear(vlk_id_list *l);

#endif
