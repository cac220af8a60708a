/* timed.c - runs a command and prints its seconds (wall, processor) and its peak memory in kB, on standard error.
 * usage: timed COMMAND [ARG]...      its status is the command's */
#define _DEFAULT_SOURCE /* wait4 */
#include "../clock.h"

#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    double start = now();
    pid_t pid = fork();
    if (pid == 0) {
        execvp(argv[1], argv + 1);
        _exit(127);
    }
    int status;
    struct rusage u;
    if (pid < 0 || wait4(pid, &status, 0, &u) != pid)
        return 2;
    double cpu =
        (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
    fprintf(stderr, "%.3f %.3f %ld\n", now() - start, cpu, u.ru_maxrss);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}
