/* tap.h - the smallest test header: counted checks, a verdict as exit status.
 * A test program runs from the top of the source tree; its files are under tests/data. */
#ifndef VLK_TAP_H
#define VLK_TAP_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int tap_passed, tap_failed;

#define CHECK(cond, ...) tap_check((cond) != 0, __FILE__, __LINE__, #cond, __VA_ARGS__)
#define CHECK_STR(a, b, ...) tap_str((a), (b), __FILE__, __LINE__, __VA_ARGS__)

__attribute__((format(printf, 5, 6))) static inline int tap_check(int ok, const char *file, int line, const char *what,
                                                                  const char *fmt, ...)
{
    if (ok) {
        tap_passed++;
        return 1;
    }
    char msg[1024];
    __builtin_va_list ap;
    __builtin_va_start(ap, fmt);
    vsnprintf(msg, sizeof msg, fmt, ap);
    __builtin_va_end(ap);
    tap_failed++;
    printf("not ok - %s (%s:%d: %s)\n", msg, file, line, what);
    return 0;
}

static inline int tap_str(const char *a, const char *b, const char *file, int line, const char *what)
{
    int ok = a && b && strcmp(a, b) == 0;
    return tap_check(ok, file, line, what, "got \"%s\", expected \"%s\"", a ? a : "(null)", b ? b : "(null)");
}

/* Ends the program where it cannot go on; `why` may be empty. */
static inline void tap_must(int ok, const char *what, const char *why)
{
    if (ok)
        return;
    printf("not ok - cannot go on: %s: %s\n%d passed, %d failed\n", what, why, tap_passed, tap_failed + 1);
    exit(1);
}

/* The last line of every test program: tests/run adds these up. */
static inline int tap_end(void)
{
    printf("%d passed, %d failed\n", tap_passed, tap_failed);
    return tap_failed != 0 || tap_passed == 0;
}

#endif
