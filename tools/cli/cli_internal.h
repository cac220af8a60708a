/* cli_internal.h - what the files of this folder share. */
#ifndef VLK_CLI_INTERNAL_H
#define VLK_CLI_INTERNAL_H

#include "cli.h"

/* "a, b, c" appended to out. */
int cli_join_words(vlk_buf *out, const cli_word *words, const char *between, vlk_err *err) VLK_MUST_USE;
void cli_print_help(const cli_program *p);
void cli_print_options(const cli_program *p);
void cli_print_version(const cli_program *p);
/* Flushes and closes standard output; 0, or -1 with the reason in err. */
int cli_close_stdout(vlk_err *err);
/* Opens descriptors 0-2 if they are closed, so that no file of ours takes their number. */
void cli_guard_stdio(void);
/* From now on a mapped file that becomes shorter ends the program with a message and status 2. */
void cli_watch_faults(const cli_program *p);

#endif
