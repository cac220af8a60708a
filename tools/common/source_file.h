/* source_file.h - the source files of an item, as a rerun knows them: by their sizes, and by the newest of their times.
 */
#ifndef VLK_SOURCE_FILE_H
#define VLK_SOURCE_FILE_H

#include <sys/stat.h>
#include <time.h>

#include "../../lib/feed/feed.h"

typedef struct source_files {
    int known;              /* 0: some are not regular files (a pipe, standard input), or there are none */
    vlk_buf sizes;          /* as text: of the image or tar, with pairs those of the texts beside it */
    struct timespec newest; /* time of modification */
    vlk_buf path;           /* of the newest */
    vlk_buf scratch;
} source_files;

/* What is there now. Texts have no files of their own: the key is the text. */
int source_files_look(source_files *f, const vlk_feed_options *feed, const vlk_source *src, vlk_span key,
                      vlk_err *err) VLK_MUST_USE;
void source_files_clear(source_files *f);
/* a is later than b. */
int source_later(const struct timespec *a, const struct timespec *b);

#endif
