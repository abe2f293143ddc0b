#include "admin/jobs_view.h"

#include <stdlib.h>
#include <string.h>

#include "admin/words.h"

enum { NAME_COLUMNS = 40 };

static const char *const places[] = {"push", "pull", "held", "retry", "schedule", "dead"};
static const char *const titles[] = {"PUSH", "PULL", "HELD", "RETRY", "SCHEDULE", "DEAD"};
enum { PLACES = sizeof(places) / sizeof(places[0]) };

struct line {
    const char *name;
    json_int_t count[PLACES];
    json_int_t total;
};

struct lines {
    size_t count, capacity;
    struct line *list;
};

static struct line *line_of(struct lines *lines, const char *name)
{
    for (size_t i = 0; i < lines->count; i++) {
        if (strcmp(lines->list[i].name, name) == 0)
            return &lines->list[i];
    }
    if (lines->count == lines->capacity) {
        lines->capacity = lines->capacity * 2 + 16;
        lines->list = mem_realloc(lines->list, lines->capacity * sizeof(struct line));
    }
    lines->list[lines->count] = (struct line){.name = name};
    return &lines->list[lines->count++];
}

static void add(struct lines *lines, const char *name, int place, const json_t *count)
{
    struct line *line = line_of(lines, name);

    line->count[place] += json_integer_value(count);
    line->total += json_integer_value(count);
}

static int most_first(const void *a, const void *b)
{
    const struct line *one = a;
    const struct line *other = b;

    if (one->total != other->total)
        return one->total > other->total ? -1 : 1;
    return strcmp(one->name, other->name);
}

static void put_title(struct buf *out, const char *name)
{
    words_put_cell(out, str_of(name), NAME_COLUMNS);
    for (int place = 0; place < PLACES; place++)
        buf_printf(out, " %8s", titles[place]);
    buf_put_char(out, '\n');
}

static void put_lines(struct buf *out, struct lines *lines, const char *name, size_t most)
{
    if (lines->count == 0)
        return;
    put_title(out, name);
    qsort(lines->list, lines->count, sizeof(struct line), most_first);
    for (size_t i = 0; i < lines->count && i < most; i++) {
        words_put_cell(out, str_of(lines->list[i].name), NAME_COLUMNS);
        for (int place = 0; place < PLACES; place++)
            buf_printf(out, " %8" JSON_INTEGER_FORMAT, lines->list[i].count[place]);
        buf_put_char(out, '\n');
    }
    if (lines->count > most)
        buf_printf(out, "(%zu more)\n", lines->count - most);
}

static void put_totals(struct buf *out, const json_t *all)
{
    static const char *const members[] = {"total", "matched"};
    static const char *const names[] = {"all jobs", "that are meant"};

    put_title(out, "");
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        if (i == 1 && json_object_get(json_object_get(all, places[0]), members[i]) == NULL)
            break; /* all are meant */
        words_put_cell(out, str_of(names[i]), NAME_COLUMNS);
        for (int place = 0; place < PLACES; place++)
            buf_printf(out, " %8" JSON_INTEGER_FORMAT,
                       json_integer_value(
                           json_object_get(json_object_get(all, places[place]), members[i])));
        buf_put_char(out, '\n');
    }
}

void jobs_view_put(struct buf *out, const json_t *figures, size_t hosts)
{
    const json_t *all = json_object_get(figures, "places");
    struct lines by_class = {.count = 0};
    struct lines by_host = {.count = 0};

    for (int place = 0; place < PLACES; place++) {
        const json_t *found = json_object_get(all, places[place]);
        const char *name;
        const json_t *value;
        size_t index;
        json_object_foreach((json_t *)json_object_get(found, "classes"), name, value)
            add(&by_class, name, place, value);
        json_array_foreach(json_object_get(found, "domains"), index, value)
            add(&by_host, json_string_value(json_object_get(value, "host")), place,
                json_object_get(value, "count"));
    }
    put_totals(out, all);
    put_lines(out, &by_class, "CLASS", SIZE_MAX);
    put_lines(out, &by_host, "HOST", hosts);
    if (json_is_true(json_object_get(figures, "cut")))
        buf_put_str(out, STR("at least: not all jobs of a place were looked at\n"));
    free(by_class.list);
    free(by_host.list);
}
