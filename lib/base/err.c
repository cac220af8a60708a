/* err.c - errors as sentences. Names in them come from user data, so what is not visible UTF-8 is written as \xNN: a
 * message never breaks a terminal or a log line. */
#include "base.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void printable(char *out, size_t size, const char *s)
{
    size_t n = strlen(s), i = 0, o = 0;
    while (i < n) {
        int len = vlk_utf8_visible(s + i, n - i);
        size_t need = len > 0 ? (size_t)len : 4;
        if (o + need + 1 > size)
            break;
        if (len > 0) {
            memcpy(out + o, s + i, need);
            i += (size_t)len;
        } else {
            static const char hex[] = "0123456789abcdef";
            unsigned char c = (unsigned char)s[i++];
            memcpy(out + o, "\\x", 2);
            out[o + 2] = hex[c >> 4];
            out[o + 3] = hex[c & 15];
        }
        o += need;
    }
    out[o] = 0;
}

static void set(vlk_err *err, vlk_code code, const char *text)
{
    err->code = code;
    printable(err->msg, sizeof err->msg, text);
}

int vlk_fail(vlk_err *err, vlk_code code, const char *fmt, ...)
{
    if (!err)
        return -1;
    char text[sizeof err->msg];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    set(err, code, text);
    return -1;
}

int vlk_fail_errno(vlk_err *err, const char *fmt, ...)
{
    int saved = errno;
    if (!err)
        return -1;
    char text[sizeof err->msg];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    size_t n = strlen(text);
    char why[128];
    if (strerror_r(saved, why, sizeof why))
        snprintf(why, sizeof why, "error %d", saved);
    snprintf(text + n, sizeof text - n, ": %s", why);
    set(err, saved == ENOMEM ? VLK_EMEM : VLK_EIO, text);
    return -1;
}

int vlk_err_prefix(vlk_err *err, const char *fmt, ...)
{
    if (!err)
        return -1;
    char text[2 * sizeof err->msg];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof err->msg, fmt, ap);
    va_end(ap);
    size_t n = strlen(text);
    snprintf(text + n, sizeof text - n, ": %s", err->msg);
    set(err, err->code, text);
    return -1;
}
