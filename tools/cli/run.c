/* run.c - the run of a program: messages, counts, progress, the errors file, the exit status.
 *
 * Messages are "PROGRAM: subject: reason", one line each, and never carry raw bytes from outside. When everything
 * succeeds in a script, nothing is printed. */
#include "cli_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../lib/stream/stream.h"
#include "row.h"

void cli_guard_stdio(void)
{
    /* Opened in the wrong direction, so that using them fails as if they were closed. */
    static const int mode[3] = {O_WRONLY, O_RDONLY, O_RDWR};
    for (int fd = 0; fd < 3; fd++) {
        if (fcntl(fd, F_GETFD) != -1 || errno != EBADF)
            continue;
        if (open("/dev/null", mode[fd]) != fd)
            _exit(2);
    }
}

static void put_name(FILE *f, const char *s, size_t n)
{
    enum { MOST = 1024 }; /* a name may be a text of megabytes; --errors has all of it */
    const size_t shown = n < MOST ? n : MOST;
    for (size_t i = 0; i < shown;) {
        int len = vlk_utf8_visible(s + i, n - i);
        if (len > 0) {
            fwrite(s + i, 1, (size_t)len, f);
            i += (size_t)len;
        } else {
            fprintf(f, "\\x%02x", (unsigned char)s[i++]);
        }
    }
    if (shown < n)
        fputs("...", f);
}

static int colored(int fd)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    return isatty(fd) && !(no && *no) && term && strcmp(term, "dumb") != 0;
}

static void clear_progress(cli_run *r)
{
    if (r->progress_shown)
        fprintf(stderr, "\r%*s\r", 70, "");
    r->progress_shown = 0;
}

static void put_prefix(cli_run *r)
{
    clear_progress(r);
    fprintf(stderr, r->color ? "\033[1m%s:\033[0m " : "%s: ", r->prog->name);
}

static void die(const cli_program *p, const vlk_err *err)
{
    fprintf(stderr, "%s: %s\n", p->name, err->msg);
    exit(2);
}

cli_run *cli_run_open(const cli_program *p, const cli_common *c)
{
    vlk_err err = {0};
    cli_run *r = vlk_calloc(1, sizeof *r, &err);
    if (!r)
        die(p, &err);
    r->prog = p;
    r->opt = c;
    r->start = cli_now();
    r->color = colored(STDERR_FILENO);
    r->progress_on =
        c->progress == CLI_PROGRESS_ALWAYS || (c->progress == CLI_PROGRESS_AUTO && isatty(STDERR_FILENO) && !c->quiet);
    if (c->errors && strcmp(c->errors, "-") == 0 && (!c->output || strcmp(c->output, "-") == 0))
        cli_usage(p, "--errors - would mix with the data on standard output");
    if (c->errors) {
        r->errors = vlk_out_open(c->errors, &err);
        if (!r->errors)
            die(p, &err);
    }
    return r;
}

/* Messages of the library often begin with the name that we print anyway. */
static const char *without_subject(const char *reason, const char *subject, size_t n)
{
    return n > 0 && strncmp(reason, subject, n) == 0 && strncmp(reason + n, ": ", 2) == 0 ? reason + n + 2 : reason;
}

void cli_item_good(cli_run *r)
{
    r->items++;
    r->good++;
}

/* {"item", "stage", "reason"} to --errors. */
static int write_error(vlk_out *to, const char *key, size_t n, const char *stage, const char *reason, vlk_err *err)
{
    table_row line = {.jsonl = 1, .terminal = vlk_out_is_terminal(to)};
    int rc = -1;
    if (row_text(&line, "item", key, n, err) || row_text(&line, "stage", stage, strlen(stage), err) ||
        row_text(&line, "reason", reason, strlen(reason), err) || row_end(&line, err))
        goto out;
    rc = vlk_out_write(to, line.text.data, line.text.len, err);
out:
    vlk_buf_clear(&line.text);
    return rc;
}

void cli_item_bad(cli_run *r, const char *key, size_t n, const char *stage, const char *reason)
{
    r->items++;
    r->bad++;
    reason = without_subject(reason, key, n);
    put_prefix(r);
    put_name(stderr, n > 0 ? key : "\"\"", n > 0 ? n : 2);
    fputs(": ", stderr);
    put_name(stderr, reason, strlen(reason));
    fputc('\n', stderr);
    vlk_err err = {0};
    if (r->errors && write_error(r->errors, key, n, stage, reason, &err)) {
        vlk_out_abort(r->errors);
        r->errors = NULL;
        cli_fail(r, NULL, "%s", err.msg);
    }
}

void cli_fail(cli_run *r, const char *subject, const char *fmt, ...)
{
    char msg[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    r->failed = 1;
    put_prefix(r);
    const char *reason = msg;
    if (subject && *subject && strcmp(subject, "-") != 0) { /* the library names standard input itself */
        reason = without_subject(msg, subject, strlen(subject));
        put_name(stderr, subject, strlen(subject));
        fputs(": ", stderr);
    }
    put_name(stderr, reason, strlen(reason));
    fputc('\n', stderr);
}

void cli_note(cli_run *r, const char *fmt, ...)
{
    char msg[1024];
    if (r->opt->quiet)
        return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(msg, sizeof msg, fmt, ap);
    va_end(ap);
    put_prefix(r);
    put_name(stderr, msg, strlen(msg));
    fputc('\n', stderr);
}

void cli_progress(cli_run *r)
{
    double now = r->progress_on ? cli_now() : 0;
    if (!r->progress_on || now - r->last_progress < 0.25 || now - r->start < 0.5)
        return;
    r->last_progress = now;
    fprintf(stderr, "\r%s: %zu done, %zu skipped, %.1f/s   ", r->prog->name, r->good, r->bad,
            (double)r->items / (now - r->start));
    r->progress_shown = 1;
    fflush(stderr);
}

static int too_many_bad(const cli_run *r)
{
    if (!r->opt->max_bad.set)
        return 0;
    double bad = (double)r->bad;
    double limit = r->opt->max_bad.value;
    return r->opt->max_bad.percent ? bad * 100 > limit * (double)r->items : bad > limit;
}

int cli_run_whole(cli_run *r)
{
    if (!r->failed && too_many_bad(r))
        cli_fail(r, NULL, "%zu of %zu items are bad, more than --max-bad allows", r->bad, r->items);
    return !r->failed && !cli_stop;
}

static const char *stopped_by(const cli_run *r)
{
    static const cli_word names[] = {{"SIGINT", SIGINT}, {"SIGTERM", SIGTERM}, {"SIGUSR1", SIGUSR1}, {NULL, 0}};
    const char *name = cli_stop ? cli_word_of(names, (int)cli_stop) : NULL;
    return cli_stop && !name ? "a signal" : name ? name : r->stopped;
}

void cli_run_left(cli_run *r, const char *stopped, const char *fmt, ...)
{
    r->stopped = stopped;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(r->left, sizeof r->left, fmt, ap);
    va_end(ap);
}

/* What there is of a run that did not end well. */
static void put_left(const cli_run *r, int stopped)
{
    const char *to = r->opt->output && strcmp(r->opt->output, "-") != 0 ? r->opt->output : NULL;
    fputs("; ", stderr);
    if (r->left[0]) {
        put_name(stderr, r->left, strlen(r->left));
    } else if (!to) {
        fputs("standard output is not complete", stderr);
    } else {
        if (cli_output_is_dir(r->opt))
            fputs(stopped ? "the same command continues after the finished parts in " : "finished parts stay in ",
                  stderr);
        put_name(stderr, to, strlen(to));
        if (!cli_output_is_dir(r->opt))
            fputs(" was not written", stderr);
    }
}

/* One line, if something was skipped or cut, or if the run was stopped; on a terminal always. Items are "done" only
 * where the output has them. */
static void summary(cli_run *r)
{
    const char *stopped = stopped_by(r);
    int nothing = r->items + r->done_before == 0 && (r->failed || r->opt->info || r->opt->explain);
    clear_progress(r);
    if (r->opt->quiet || (nothing && !stopped) || (!r->bad && !r->cut && !stopped && !isatty(STDERR_FILENO)))
        return;
    put_prefix(r);
    if (stopped)
        fprintf(stderr, "stopped by %s after %zu item%s", stopped, r->good, r->good == 1 ? "" : "s");
    else
        fprintf(stderr, r->failed ? "failed after %zu of %zu items" : "%zu of %zu items done", r->good, r->items);
    if (r->bad)
        fprintf(stderr, ", %zu skipped", r->bad);
    if (r->cut)
        fprintf(stderr, ", %zu text%s cut to the model's context", r->cut, r->cut == 1 ? "" : "s");
    if (r->done_before)
        fprintf(stderr, ", %zu done before", r->done_before);
    if (r->other_files)
        fprintf(stderr, ", %zu other file%s (not images)", r->other_files, r->other_files == 1 ? "" : "s");
    double s = cli_now() - r->start;
    if (isatty(STDERR_FILENO) && s > 0)
        fprintf(stderr, ", %.1f/s", (double)r->items / s);
    if (stopped || r->failed)
        put_left(r, stopped != NULL);
    fputc('\n', stderr);
}

/* What may be wrong with images that were processed. */
static void note_images(cli_run *r)
{
    const char *const are = r->flat == 1 ? " is" : "s are", *other = r->flat_white == r->flat_alpha ? "black" : "white";
    if (r->flat && r->flat == r->flat_alpha)
        cli_note(r, "%zu image%s one flat colour; transparent? --alpha %s", r->flat, are, other);
    else if (r->flat_alpha)
        cli_note(r, "%zu image%s one flat colour; %zu with transparency: --alpha %s?", r->flat, are, r->flat_alpha,
                 other);
    else if (r->flat)
        cli_note(r, "%zu image%s one flat colour", r->flat, are);
    if (r->clipped)
        cli_note(r, "%zu image%s 16-bit grey with levels above 255, which became white; --strict skips them",
                 r->clipped, r->clipped == 1 ? " is" : "s are");
    if (r->repaired)
        cli_note(r, "%zu JPEG image%s damaged data, which the decoder repaired; --strict skips them", r->repaired,
                 r->repaired == 1 ? " has" : "s have");
}

int cli_close_stdout(vlk_err *err)
{
    /* After lost output fclose alone may report EBADF for a closed descriptor: flush and check first. */
    int bad = ferror(stdout) || fflush(stdout) != 0;
    int flush_errno = errno;
    if (fclose(stdout) && !bad && errno != EBADF) {
        bad = 1;
        flush_errno = errno;
    }
    if (!bad)
        return 0;
    errno = flush_errno;
    return vlk_fail_errno(err, "standard output");
}

int cli_run_end(cli_run *r)
{
    vlk_err err = {0};
    int status;
    cli_run_whole(r);
    if (r->errors && vlk_out_commit(r->errors, &err))
        cli_fail(r, NULL, "%s", err.msg);
    if (cli_close_stdout(&err))
        cli_fail(r, NULL, "%s", err.msg);
    note_images(r);
    summary(r);
    status = r->failed ? 2 : cli_stop ? 128 + (int)cli_stop : (r->bad || r->no_match) ? 1 : 0;
    free(r);
    return status;
}

/* Line by line: ends of lines are ours, the rest may come from outside. */
static int write_visible(const char *p, size_t n)
{
    vlk_buf shown = {0};
    vlk_err err;
    int rc = 0;
    for (const char *end = p + n, *q; p < end && rc == 0; p = q + 1) {
        const char *line = memchr(p, '\n', (size_t)(end - p));
        q = line ? line : end;
        rc = vlk_buf_visible(&shown, p, (size_t)(q - p), &err) || (line && vlk_buf_adds(&shown, "\n", &err));
    }
    if (rc == 0)
        fwrite(shown.data, 1, shown.len, stdout);
    vlk_buf_clear(&shown);
    return rc;
}

void cli_write(const void *p, size_t n)
{
    if (!isatty(STDOUT_FILENO) || write_visible(p, n))
        fwrite(p, 1, n, stdout); /* stdio keeps the error for cli_run_end */
}
