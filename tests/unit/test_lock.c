/* test_lock.c - one writer at a time, and what a killed one has left. */
#include "../scratch.h"
#include "../tap.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include "../../lib/stream/stream.h"

static char dir[] = "/tmp/vlk-lock-XXXXXX";

static void touch(const char *name)
{
    FILE *f = fopen(name, "wb");
    CHECK(f && fclose(f) == 0, "%s", name);
}

/* The answer that another process gets. */
static int lock_of_another(const char *path)
{
    int status = -1;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        int fd = open(path, O_RDONLY);
        _exit(fd < 0 ? 9 : vlk_lock(fd));
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* A process that takes the lock and is killed with it. */
static void lock_and_die(const char *path)
{
    int ready[2], status;
    char c = 0;
    fflush(NULL);
    CHECK(pipe(ready) == 0, "a pipe");
    pid_t pid = fork();
    if (pid == 0) {
        int fd = open(path, O_RDONLY);
        c = fd >= 0 && vlk_lock(fd) == 0 ? 'y' : 'n';
        if (write(ready[1], &c, 1) == 1)
            pause();
        _exit(1);
    }
    CHECK(read(ready[0], &c, 1) == 1 && c == 'y', "it has the lock");
    CHECK(lock_of_another(path) == 1, "and nobody else");
    CHECK(kill(pid, SIGKILL) == 0 && waitpid(pid, &status, 0) == pid, "killed");
    close(ready[0]);
    close(ready[1]);
}

static void test_lock(void)
{
    touch("file");
    const char *path[] = {"file", "."};
    for (int i = 0; i < 2; i++) {
        int fd = open(path[i], O_RDONLY);
        CHECK(vlk_lock(fd) == 0, "%s: the first", path[i]);
        CHECK(lock_of_another(path[i]) == 1, "%s: the second", path[i]);
        close(fd);
        CHECK(lock_of_another(path[i]) == 0, "%s: after it was closed", path[i]);
        lock_and_die(path[i]);
        CHECK(lock_of_another(path[i]) == 0, "%s: after a kill", path[i]);
    }
}

static int is_own(const char *name, size_t n)
{
    return n == 1 || (n == 4 && memcmp(name, "held", 4) == 0);
}

static void test_leftovers(void)
{
    static const char *const kept[] = {"a/x",           "a/.x",      "a/x.vlk-tmp",         "a/.vlk-tmp",
                                       "a/.x.vlk-tmp2", "a/outside", "a/.other.npy.vlk-tmp"};
    enum { KEPT = sizeof kept / sizeof *kept };
    static const char *const gone[] = {"a/.x.vlk-tmp", "a/.y.vlk-old", "a/.d.vlk-tmp", "a/.l.vlk-old"};
    vlk_err err = {0};
    CHECK(mkdir("a", 0755) == 0 && mkdir("a/.d.vlk-tmp", 0755) == 0 && mkdir("a/.d.vlk-tmp/sub", 0755) == 0, "folders");
    for (int i = 0; i < KEPT; i++)
        touch(kept[i]);
    touch("a/.x.vlk-tmp");
    touch("a/.y.vlk-old");
    touch("a/.d.vlk-tmp/sub/file");
    CHECK(symlink("outside", "a/.l.vlk-old") == 0, "a link");
    touch("a/.held.vlk-tmp");
    int held = open("a/.held.vlk-tmp", O_WRONLY);
    CHECK(held >= 0 && vlk_lock(held) == 0, "an output that is being written");
    int fd = open("a", O_RDONLY | O_DIRECTORY);
    CHECK(fd >= 0 && vlk_remove_leftovers(fd, is_own, "a", &err) == 0, "%s", err.msg);
    for (int i = 0; i < KEPT; i++)
        CHECK(access(kept[i], F_OK) == 0, "%s stays", kept[i]);
    for (int i = 0; i < 4; i++) {
        struct stat st;
        CHECK(lstat(gone[i], &st) != 0, "%s is removed", gone[i]);
    }
    CHECK(access("a/.held.vlk-tmp", F_OK) == 0, "a file that is locked stays");
    close(held);
    CHECK(vlk_remove_leftovers(fd, is_own, "a", &err) == 0, "the second time: %s", err.msg);
    CHECK(access("a/.held.vlk-tmp", F_OK) != 0, "a file that is not locked any more is removed");
    CHECK(vlk_remove_leftovers(fd, is_own, "a", &err) == 0, "nothing left: %s", err.msg);
    close(fd);
}

int main(void)
{
    if (!CHECK(mkdtemp(dir) && chdir(dir) == 0, "%s", dir))
        return tap_end();
    test_lock();
    test_leftovers();
    CHECK(chdir("/") == 0 && scratch_remove(dir) == 0, "%s is removed", dir);
    return tap_end();
}
