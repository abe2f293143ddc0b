#include "sched/footprint.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"

enum { MAX_PROCESSES = 128, MAX_FILE_BYTES = 16 * 1024 };

/* What is added up over all processes. A process that ended takes its time along. */
struct process_time {
    pid_t pid;
    uint64_t used_us;
};

struct sample {
    struct process_time processes[MAX_PROCESSES];
    size_t count;
    int64_t at_ms; /* 0: none */
    int64_t rss_bytes;
};

struct footprint {
    pid_t supervisor;
    char *proc;
    char *cgroup;
    struct sample before;
};

struct footprint *footprint_create(pid_t supervisor, const char *proc, const char *cgroup)
{
    struct footprint *footprint = mem_alloc(sizeof(*footprint));

    footprint->supervisor = supervisor;
    footprint->proc = str_dup(str_of(proc));
    footprint->cgroup = str_dup(str_of(cgroup));
    return footprint;
}

void footprint_destroy(struct footprint *footprint)
{
    if (footprint == NULL)
        return;
    free(footprint->proc);
    free(footprint->cgroup);
    free(footprint);
}

/* Takes `path` over. False: there is no such file, or it isn't ours to read. */
static bool read_file(char *path, char text[MAX_FILE_BYTES])
{
    FILE *file = fopen(path, "re");
    size_t length = file != NULL ? fread(text, 1, MAX_FILE_BYTES - 1, file) : 0;

    text[length] = '\0';
    if (file != NULL)
        fclose(file);
    free(path);
    return length > 0;
}

/* proc(5): the name of the program, in parentheses, may hold anything. */
static bool add_process(const struct footprint *f, pid_t pid, struct sample *sample)
{
    char text[MAX_FILE_BYTES];
    uint64_t user;
    uint64_t system;
    int64_t pages;
    const char *rest;

    if (sample->count == MAX_PROCESSES ||
        !read_file(mem_printf("%s/%d/stat", f->proc, (int)pid), text) ||
        (rest = strrchr(text, ')')) == NULL ||
        sscanf(rest,
               ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64
               " %*d %*d %*d %*d %*d %*d %*u %*u %" SCNd64,
               &user, &system, &pages) != 3)
        return false;
    sample->processes[sample->count++] =
        (struct process_time){pid, (user + system) * 1000000 / (uint64_t)sysconf(_SC_CLK_TCK)};
    sample->rss_bytes += pages * sysconf(_SC_PAGESIZE);
    return true;
}

static bool look_at_processes(const struct footprint *f, struct sample *sample)
{
    char text[MAX_FILE_BYTES];
    int supervisor = (int)f->supervisor;

    if (!add_process(f, f->supervisor, sample) ||
        !read_file(mem_printf("%s/%d/task/%d/children", f->proc, supervisor, supervisor), text))
        return false;
    for (char *at = text;;) {
        char *end;
        long pid = strtol(at, &end, 10);
        if (end == at)
            return sample->count > 1; /* this process at least is there, if it can be seen */
        (void)add_process(f, (pid_t)pid, sample); /* it may have ended just now */
        at = end;
    }
}

/* The number behind `name` at the beginning of a line; 0 when there is none. */
static int64_t number_of(const char *text, const char *name)
{
    size_t length = strlen(name);

    for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, length) == 0 && line[length] == ' ')
            return strtoll(line + length, NULL, 10);
    }
    return 0;
}

/* Only a service's own group holds nothing but us. */
static bool look_at_group(const struct footprint *f, struct sample *sample)
{
    char text[MAX_FILE_BYTES];
    char *group;
    bool seen;

    if (!read_file(mem_printf("%s/self/cgroup", f->proc), text) || strncmp(text, "0::/", 4) != 0)
        return false;
    struct str path = str_slice(str_of(text), strlen("0::"));
    path.len = str_find(path, '\n');
    if (!str_ends_with(path, STR(".service")))
        return false;
    group = mem_printf("%s%.*s", f->cgroup, STR_ARG(path));
    seen = read_file(mem_printf("%s/cpu.stat", group), text);
    sample->processes[0] = (struct process_time){0, (uint64_t)number_of(text, "usage_usec")};
    sample->count = 1;
    seen = seen && read_file(mem_printf("%s/memory.stat", group), text);
    sample->rss_bytes = number_of(text, "anon") + number_of(text, "file_mapped");
    free(group);
    return seen;
}

static uint64_t used_before(const struct sample *sample, const struct process_time *process)
{
    for (size_t i = 0; i < sample->count; i++) {
        if (sample->processes[i].pid == process->pid)
            return sample->processes[i].used_us <= process->used_us ? sample->processes[i].used_us
                                                                    : 0;
    }
    return 0;
}

void footprint_look(struct footprint *f, int64_t now_ms, double *cores, int64_t *rss_bytes)
{
    struct sample sample = {.at_ms = now_ms};
    uint64_t used_us = 0;

    *cores = -1;
    *rss_bytes = -1;
    if (!look_at_processes(f, &sample)) {
        sample = (struct sample){.at_ms = now_ms};
        if (!look_at_group(f, &sample))
            return;
    }
    *rss_bytes = sample.rss_bytes;
    for (size_t i = 0; i < sample.count; i++)
        used_us += sample.processes[i].used_us - used_before(&f->before, &sample.processes[i]);
    if (f->before.at_ms > 0 && now_ms > f->before.at_ms)
        *cores = (double)used_us / 1000 / (double)(now_ms - f->before.at_ms);
    f->before = sample;
}
