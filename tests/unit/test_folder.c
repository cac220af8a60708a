/* test_folder.c - folders walked: order, links, loops, what cannot be read. */
#include "../scratch.h"
#include "../tap.h"
#include "../../lib/stream/stream.h"

#include <sys/stat.h>
#include <unistd.h>

static vlk_err err;

/* The paths below "." each followed by '|', "!" before those of outcome 2. */
static int walk(const char *path, vlk_buf *out)
{
    const char *p;
    int rc;
    vlk_folder *f = vlk_folder_open(path, &err);
    out->len = 0;
    if (!f)
        return -1;
    if (vlk_buf_adds(out, "", &err))
        return -1;
    while ((rc = vlk_folder_next(f, &p, &err)) > 0)
        if (vlk_buf_addf(out, &err, "%s%s|", rc == 2 ? "!" : "", p) != 0)
            break;
    vlk_folder_close(f);
    return rc;
}

static int touch(const char *path)
{
    FILE *f = fopen(path, "w");
    return f ? fclose(f) : -1;
}

int main(void)
{
    char dir[] = "/tmp/vlk-folder-XXXXXX", deep[900];
    vlk_buf b = {0};
    if (!mkdtemp(dir) || chdir(dir))
        return 1;
    CHECK(mkdir("d", 0777) == 0 && walk("d", &b) == 0 && b.len == 0, "an empty folder");
    CHECK(!mkdir("d/a", 0777) && !mkdir("d/a/s", 0777) && !touch("d/a/s/x.png") && !touch("d/a/1.png") &&
              !touch("d/a-b.png") && !touch("d/a.png") && !touch("d/a0.png") && !touch("d/.hidden.png") &&
              !touch("d/\xe9.png") && !touch("d/Z.png") && !mkdir("d/empty", 0777),
          "tree");
    CHECK(walk("d", &b) == 0, "%s", err.msg);
    CHECK_STR(b.data, "d/.hidden.png|d/Z.png|d/a-b.png|d/a.png|d/a/1.png|d/a/s/x.png|d/a0.png|d/\xe9.png|",
              "sorted by the bytes of the path");
    CHECK(walk("d/", &b) == 0 && strncmp(b.data, "d/.hidden.png|", 14) == 0, "a slash at the end is not doubled");

    CHECK(!mkdir("l", 0777) && !mkdir("l/real", 0777) && !touch("l/real/1.png") && !symlink("real", "l/again") &&
              !symlink("..", "l/real/up") && !symlink("nowhere", "l/dangling.png") && !symlink("loop2", "l/loop1") &&
              !symlink("loop1", "l/loop2") && !symlink("real/1.png", "l/link.png") && !mkfifo("l/pipe", 0666),
          "links");
    CHECK(walk("l", &b) == 0, "%s", err.msg);
    CHECK_STR(b.data,
              "l/again/1.png|!l/again/up|!l/dangling.png|l/link.png|!l/loop1|!l/loop2|!l/pipe|l/real/1.png|!l/real/up|",
              "links are followed, loops are reported");
    if (geteuid() != 0) { /* root may read everything */
        CHECK(!mkdir("p", 0777) && !mkdir("p/closed", 0) && !touch("p/x") && walk("p", &b) == 0, "%s", err.msg);
        CHECK_STR(b.data, "!p/closed|p/x|", "a folder without permission");
    }
    CHECK(walk("none", &b) == -1 && strstr(err.msg, "No such file"), "%s", err.msg);
    CHECK(walk("d/a.png", &b) == -1 && strstr(err.msg, "Not a directory"), "%s", err.msg);
    size_t n = 0;
    for (int i = 0; i < 200; i++) {
        n += (size_t)snprintf(deep + n, sizeof deep - n, "%s", i ? "/zz" : "z");
        CHECK(mkdir(deep, 0777) == 0, "deep");
    }
    snprintf(deep + n, sizeof deep - n, "/x");
    CHECK(touch(deep) == 0 && walk("z", &b) == 0 && b.len == n + 3, "200 folders deep: %s", b.data);
    vlk_buf_clear(&b);
    CHECK(chdir("/") == 0 && scratch_remove(dir) == 0, "cleaned up");
    return tap_end();
}
