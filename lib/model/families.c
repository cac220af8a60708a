/* families.c - the list of families, and nothing else: a program that brings one of its own is linked with a list of
 * its own in place of this file. */
#include "model_internal.h"

const vlk_family *const vlk_families[] = {&vlk_clip,          &vlk_siglip,    &vlk_clip_vision,
                                          &vlk_siglip_vision, &vlk_clip_text, NULL};
