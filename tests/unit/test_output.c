/* test_output.c - files that appear complete or not at all; whole files read and mapped; keys. */
#include "../scratch.h"
#include "../tap.h"
#include "../../lib/stream/stream.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[] = "/tmp/vlk-output-XXXXXX";
static vlk_err err;

static const char *at(const char *name)
{
    static char path[4][512];
    static int turn;
    char *p = path[turn++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", dir, name);
    return p;
}

static int put(const char *path, const char *text)
{
    vlk_out *o = vlk_out_open(path, &err);
    if (!o)
        return -1;
    if (vlk_out_write(o, text, strlen(text), &err)) {
        vlk_out_abort(o);
        return -1;
    }
    return vlk_out_commit(o, &err);
}

static int holds(const char *path, const char *text)
{
    vlk_buf b = {0};
    int ok = vlk_read_file(&b, path, 1 << 20, &err) == 0 && b.len == strlen(text) && memcmp(b.data, text, b.len) == 0;
    vlk_buf_clear(&b);
    return ok;
}

static int exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

static int says(const char *what)
{
    return strstr(err.msg, what) != NULL;
}

static void whole_or_not(void)
{
    CHECK(put(at("a.txt"), "one") == 0, "%s", err.msg);
    CHECK(holds(at("a.txt"), "one"), "written");
    CHECK(!exists(at(".a.txt.vlk-tmp")), "no temporary stays");
    vlk_out *o = vlk_out_open(at("a.txt"), &err);
    CHECK(o && vlk_out_write(o, "two", 3, &err) == 0 && vlk_out_flush(o, &err) == 0, "begun");
    CHECK(holds(at("a.txt"), "one"), "the old file stays until the new one is complete");
    vlk_out_abort(o);
    CHECK(holds(at("a.txt"), "one") && !exists(at(".a.txt.vlk-tmp")), "aborted");

    FILE *f = fopen(at(".a.txt.vlk-tmp"), "w"); /* left by a run that was killed */
    CHECK(f && fputs("remains of a killed run, longer", f) >= 0 && fclose(f) == 0, "stale temporary");
    CHECK(put(at("a.txt"), "three") == 0 && holds(at("a.txt"), "three"), "stale temporary taken over: %s", err.msg);
    CHECK(!exists(at(".a.txt.vlk-tmp")), "no temporary stays");
}

static void two_runs(void)
{
    vlk_out *o = vlk_out_open(at("b.txt"), &err);
    CHECK(o, "first run");
    CHECK(!vlk_out_open(at("b.txt"), &err) && says("another run"), "second run refused: %s", err.msg);
    CHECK(vlk_out_write(o, "x", 1, &err) == 0 && vlk_out_commit(o, &err) == 0, "first run ends: %s", err.msg);
    CHECK(holds(at("b.txt"), "x"), "the first run's bytes");
    CHECK(put(at("b.txt"), "y") == 0 && holds(at("b.txt"), "y"), "after it, another may write");
}

/* A run is killed while it writes: its lock ends with it, and the next run takes over its temporary file. */
static void killed(void)
{
    pid_t child = fork();
    if (child == 0) {
        vlk_out *o = vlk_out_open(at("k.txt"), &err);
        if (o && vlk_out_write(o, "half", 4, &err) == 0 && vlk_out_flush(o, &err) == 0)
            raise(SIGKILL);
        _exit(1);
    }
    int status = 0;
    CHECK(child > 0 && waitpid(child, &status, 0) == child && WIFSIGNALED(status), "killed");
    CHECK(exists(at(".k.txt.vlk-tmp")) && !exists(at("k.txt")), "only its temporary is there");
    CHECK(put(at("k.txt"), "whole") == 0 && holds(at("k.txt"), "whole"), "rerun: %s", err.msg);
    CHECK(!exists(at(".k.txt.vlk-tmp")), "no temporary stays");
}

static void refused(void)
{
    CHECK(!vlk_out_open(dir, &err) && says("is a folder"), "%s", err.msg);
    CHECK(!vlk_out_open(at("no/such/x"), &err) && says("No such file"), "%s", err.msg);
    CHECK(!vlk_out_open(at("new/"), &err) && says("not the name of a file"), "%s", err.msg);
    CHECK(!vlk_out_open("", &err), "empty name");
    CHECK(!vlk_out_open(at("a.txt/x"), &err) && says("Not a directory"), "%s", err.msg);
    CHECK(symlink("nowhere", at("dangling")) == 0 && !vlk_out_open(at("dangling"), &err) && says("leads nowhere"), "%s",
          err.msg);
    CHECK(symlink("dangling", at("dangling2")) == 0 && !vlk_out_open(at("dangling2"), &err), "%s", err.msg);
    if (geteuid() != 0) { /* root may write everywhere */
        CHECK(put(at("ro.txt"), "x") == 0 && chmod(at("ro.txt"), 0444) == 0, "read-only file");
        CHECK(!vlk_out_open(at("ro.txt"), &err) && says("Permission denied"), "%s", err.msg);
        CHECK(mkdir(at("rodir"), 0555) == 0 && !vlk_out_open(at("rodir/x"), &err), "%s", err.msg);
    }
}

static void links_and_devices(void)
{
    struct stat st;
    CHECK(put(at("target.txt"), "old") == 0 && chmod(at("target.txt"), 0640) == 0, "target");
    CHECK(symlink("target.txt", at("link.txt")) == 0 && put(at("link.txt"), "new") == 0, "%s", err.msg);
    CHECK(holds(at("target.txt"), "new"), "the link's target is replaced");
    CHECK(lstat(at("link.txt"), &st) == 0 && S_ISLNK(st.st_mode), "the link stays");
    CHECK(stat(at("target.txt"), &st) == 0 && (st.st_mode & 0777) == 0640, "the mode stays");
    CHECK(put("/dev/null", "x") == 0, "devices are written directly: %s", err.msg);
    CHECK(put("/dev/full", "x") == -1 && says("No space left"), "%s", err.msg);
    vlk_out *o = vlk_out_open("/dev/null", &err);
    CHECK(o && !vlk_out_can_seek(o) && vlk_out_patch(o, 0, "", 0, &err) == -1, "no rewinding of devices");
    vlk_out_abort(o);
    char big[300];
    memset(big, 'n', sizeof big);
    big[250] = 0;
    CHECK(put(at(big), "long name") == 0 && holds(at(big), "long name"), "%s", err.msg);
}

static void patched(void)
{
    char *block = calloc(1, 700000);
    vlk_out *o = vlk_out_open(at("p"), &err);
    CHECK(o && vlk_out_can_seek(o), "%s", err.msg);
    memset(block, 'a', 700000);
    CHECK(vlk_out_write(o, block, 10, &err) == 0 && vlk_out_write(o, block, 699990, &err) == 0, "large writes");
    CHECK(vlk_out_tell(o) == 700000, "tell");
    CHECK(vlk_out_patch(o, 699999, "zz", 2, &err) == -1, "not after the end");
    CHECK(vlk_out_patch(o, 3, "XYZ", 3, &err) == 0 && vlk_out_write(o, "end", 3, &err) == 0, "patched");
    CHECK(vlk_out_commit(o, &err) == 0, "%s", err.msg);
    memcpy(block + 3, "XYZ", 3);
    vlk_map m;
    CHECK(vlk_map_open(&m, at("p"), &err) == 0 && m.size == 700003 && memcmp(m.data, block, 700000) == 0 &&
              memcmp(m.data + 700000, "end", 3) == 0,
          "bytes");
    vlk_map_release(m.data, m.size);
    CHECK(m.data[699999] == 'a', "released pages come back");
    vlk_map_close(&m);
    free(block);
}

static void whole_files(void)
{
    vlk_buf b = {0};
    vlk_map m;
    CHECK(put(at("empty"), "") == 0 && vlk_map_open(&m, at("empty"), &err) == 0 && m.size == 0, "empty map");
    vlk_map_close(&m);
    CHECK(vlk_map_open(&m, dir, &err) == -1 && says("is a folder"), "%s", err.msg);
    CHECK(vlk_map_open(&m, "/dev/null", &err) == -1 && says("is a device, expected a file"), "%s", err.msg);
    CHECK(vlk_map_open(&m, at("none"), &err) == -1 && says("No such file"), "%s", err.msg);
    CHECK(vlk_read_file(&b, at("a.txt"), 5, &err) == 0 && strcmp(b.data, "three") == 0, "just short enough");
    CHECK(vlk_read_file(&b, at("a.txt"), 4, &err) == -1 && err.code == VLK_ELIMIT, "%s", err.msg);
    CHECK(vlk_read_file(&b, at("empty"), 0, &err) == 0 && b.len == 0, "empty file");
    CHECK(vlk_read_file(&b, "/dev/zero", 100, &err) == -1 && err.code == VLK_EIO, "%s", err.msg);
    CHECK(vlk_read_file(&b, dir, 100, &err) == -1 && says("is a folder"), "%s", err.msg);
    vlk_buf_clear(&b);
    static const char *const joins[][3] = {
        {"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"a", "/b", "/b"}, {"", "b", "b"}, {"/", "b", "/b"}};
    for (size_t i = 0; i < sizeof joins / sizeof joins[0]; i++) {
        char *p = vlk_path_join(joins[i][0], joins[i][1], &err);
        CHECK_STR(p, joins[i][2], "joined");
        free(p);
    }
    static const char *const folders[][2] = {{"a/b", "a"}, {"b", "."}, {"/b", "/"}, {"/a/b", "/a"}, {"a/", "a"}};
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        char *p = vlk_path_folder(folders[i][0], &err);
        CHECK_STR(p, folders[i][1], "the folder of a path");
        free(p);
    }
}

static void keys(void)
{
    vlk_buf b = {0}, c = {0};
    CHECK(vlk_escape(&b, "a\tb\\c\nd\re\0f", 11, &err) == 0 && b.len == 15, "escaped");
    CHECK_STR(b.data, "a\\tb\\\\c\\nd\\re", "escaped");
    CHECK(vlk_unescape(&c, b.data, b.len, &err) == 0 && c.len == 11 && memcmp(c.data, "a\tb\\c\nd\re\0f", 11) == 0,
          "and back");
    c.len = 0;
    CHECK(vlk_unescape(&c, "\\x\\", 3, &err) == 0 && strcmp(c.data, "\\x\\") == 0, "bad escapes stay");
    CHECK(put(at("X.keys"), "one\n\ntwo\\twords\nlast") == 0, "%s", err.msg);
    vlk_keys *k = vlk_keys_open(at("X.keys"), &err);
    CHECK(k && vlk_keys_count(k) == 4, "four keys");
    static const char *const want[] = {"one", "", "two\twords", "last"};
    for (size_t i = 0; k && i < 4; i++)
        CHECK(vlk_keys_get(k, i, &b, &err) == 0 && strcmp(b.data, want[i]) == 0, "key %zu", i);
    CHECK(k && vlk_keys_get(k, 4, &b, &err) == -1, "out of range");
    vlk_keys_close(k);
    k = vlk_keys_open(at("empty"), &err);
    CHECK(k && vlk_keys_count(k) == 0, "no keys");
    vlk_keys_close(k);
    CHECK(!vlk_keys_open(at("none"), &err), "absent");
    vlk_buf_clear(&b);
    vlk_buf_clear(&c);
}

int main(void)
{
    if (!mkdtemp(dir))
        return 1;
    whole_or_not();
    two_runs();
    killed();
    refused();
    links_and_devices();
    patched();
    whole_files();
    keys();
    CHECK(scratch_remove(dir) == 0, "cleaned up");
    return tap_end();
}
