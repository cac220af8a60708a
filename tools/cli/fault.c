/* fault.c - a mapped file that becomes shorter while a program reads it.
 *
 * Weights, matrices and keys are mapped. If such a file is truncated, or its disk fails, the next look at a page that
 * is no longer there is a SIGBUS. The handler says which file it was, removes the temporary files of outputs, and ends
 * the program with status 2. It asks the kernel for all it needs, so that no table of maps and outputs has to be kept:
 *
 *     /proc/self/maps     the file that is mapped at the address
 *     /proc/self/fd/N     open files, among which temporaries are known by their names
 *
 * Only functions that POSIX allows in a handler are called. Without /proc the file is not named, and temporaries are
 * left for the next run, as after kill -9. Any other SIGBUS is a mistake of ours, and ends the program as ever. */
#include "cli_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "../../lib/stream/stream.h"

enum { PATH_ROOM = 4096, FILES = 4096 /* descriptors that are looked at */ };

static const char *program_name;
static atomic_flag is_handled = ATOMIC_FLAG_INIT;

/* A file that is read byte by byte. */
typedef struct bytes {
    int fd;
    size_t at, n;
    char buf[1024];
} bytes;

/* -1 at the end. */
static int next(bytes *b)
{
    if (b->at == b->n) {
        ssize_t got;
        do {
            got = read(b->fd, b->buf, sizeof b->buf);
        } while (got < 0 && errno == EINTR);
        b->at = 0;
        b->n = got > 0 ? (size_t)got : 0;
    }
    return b->at < b->n ? (unsigned char)b->buf[b->at++] : -1;
}

/* A hexadecimal number, and the byte after it. */
static int address(bytes *b, uintptr_t *out)
{
    int c;
    *out = 0;
    while ((c = next(b)) >= 0) {
        if (c >= '0' && c <= '9')
            *out = *out << 4 | (uintptr_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            *out = *out << 4 | (uintptr_t)(c - 'a' + 10);
        else
            break;
    }
    return c;
}

/* The rest of a line, of which path gets what follows the first slash; "" if there is none. */
static void rest_of_line(bytes *b, char *path)
{
    size_t n = 0;
    for (int c; (c = next(b)) >= 0 && c != '\n';)
        if ((n > 0 || c == '/') && n + 1 < PATH_ROOM)
            path[n++] = (char)c;
    path[n] = 0;
}

/* The file that is mapped at the address: "FROM-TO rights offset device inode   PATH" are the lines. 1; 0: none. */
static int file_at(uintptr_t at, char *path)
{
    bytes b = {.fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC)};
    uintptr_t from = 0, to = 0;
    int found = 0;
    while (b.fd >= 0 && !found && address(&b, &from) == '-' && address(&b, &to) == ' ') {
        rest_of_line(&b, path);
        found = at >= from && at < to;
    }
    if (b.fd < 0)
        path[0] = 0;
    else
        close(b.fd);
    return b.fd < 0 || (found && path[0]);
}

static void say(const char *s, size_t n)
{
    while (n > 0) {
        ssize_t put = write(STDERR_FILENO, s, n);
        if (put < 0 && errno != EINTR)
            return;
        s += put > 0 ? put : 0;
        n -= put > 0 ? (size_t)put : 0;
    }
}

/* A path, without anything that a terminal would obey. */
static void say_path(const char *s)
{
    size_t n = strlen(s);
    for (size_t i = 0; i < n;) {
        uint32_t cp = 0;
        const int len = vlk_utf8_next(s + i, n - i, &cp);
        const int plain = len > 0 && cp >= 32 && !(cp >= 127 && cp < 160);
        say(plain ? s + i : "?", plain ? (size_t)len : 1);
        i += plain ? (size_t)len : 1;
    }
}

/* Removes the open file fd if an output is written to it under a temporary name. */
static void remove_temporary(int fd)
{
    char link[32] = "/proc/self/fd/", path[PATH_ROOM];
    size_t n = strlen(link);
    for (int unit = 1000; unit > 0; unit /= 10)
        if (fd >= unit || unit == 1)
            link[n++] = (char)('0' + fd / unit % 10);
    link[n] = 0;
    const ssize_t len = readlink(link, path, sizeof path - 1);
    const size_t end = strlen(VLK_TMP_SUFFIX);
    if (len <= (ssize_t)end || memcmp(path + len - end, VLK_TMP_SUFFIX, end) != 0)
        return;
    path[len] = 0;
    const char *slash = strrchr(path, '/');
    const int how = fcntl(fd, F_GETFL);
    if (slash && slash[1] == '.' && how >= 0 && (how & O_ACCMODE) != O_RDONLY)
        unlink(path);
}

static void on_fault(int sig, siginfo_t *info, void *context)
{
    static const char tail[] = "became shorter while it was read, or its disk failed\n";
    char path[PATH_ROOM];
    (void)context;
    if (info->si_code <= 0 || !file_at((uintptr_t)info->si_addr, path)) {
        signal(sig, SIG_DFL);
        raise(sig);
        return;
    }
    while (atomic_flag_test_and_set(&is_handled))
        pause(); /* another thread is at it */
    say(program_name, strlen(program_name));
    say(": ", 2);
    say_path(path[0] ? path : "a mapped file");
    say(": ", 2);
    say(tail, sizeof tail - 1);
    for (int fd = STDERR_FILENO + 1; fd < FILES; fd++)
        remove_temporary(fd);
    _exit(2);
}

void cli_watch_faults(const cli_program *p)
{
    struct sigaction a;
    program_name = p->name;
    memset(&a, 0, sizeof a);
    a.sa_sigaction = on_fault;
    a.sa_flags = SA_SIGINFO;
    sigemptyset(&a.sa_mask);
    sigaction(SIGBUS, &a, NULL);
}
