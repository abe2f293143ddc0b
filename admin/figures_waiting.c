/* Which jobs wait where: for one domain, and altogether. */
#include <stdlib.h>
#include <string.h>

#include "admin/domain_hosts.h"
#include "admin/figures.h"
#include "admin/figures_value.h"
#include "admin/next_due.h"
#include "admin/waiting.h"
#include "admin/words.h"
#include "base/policy.h"

enum { MAX_CLASSES = 200, MAX_HOSTS = 20000, SHOWN_HOSTS = 100 };

static const char *const place_names[] = {"push", "pull", "retry", "schedule", "held", "dead"};
enum { PLACES = sizeof(place_names) / sizeof(place_names[0]) }; /* of `jobs` */

struct tally {
    char *name;
    int64_t count;
};

struct look {
    struct desk *desk;
    figures_progress_fn *progress;
    void *progress_arg;
    struct domain_hosts domain;               /* of one domain's look */
    struct next_due next;                     /* the same */
    int64_t length[WAITING_PLACES];           /* what stands there */
    int64_t scanned[WAITING_PLACES];          /* what was looked at */
    const struct figures_jobs_filter *filter; /* NULL: all are counted */
    int64_t matched[WAITING_PLACES];
    struct table *classes[WAITING_PLACES];
    struct table *hosts[WAITING_PLACES];
    double now_s;
};

/* --- how much there is --- */

static void on_number(void *arg, const redisReply *reply)
{
    int64_t *number = arg;
    *number = reply->type == REDIS_REPLY_INTEGER ? reply->integer : 0;
}

/* `held` isn't one key: nobody knows before it is looked through. */
static bool measure(struct look *look, struct err *err)
{
    struct session *session = &look->desk->session;
    struct redis *redis = session_redis(session, REDIS_ROLE_SIDEKIQ, err);
    const struct keys *keys = &session->keys;
    const struct {
        enum waiting_place place;
        struct str words[2];
    } asked[] = {
        {WAITING_PUSH, {STR("LLEN"), str_of(keys->queue_push)}},
        {WAITING_PULL, {STR("LLEN"), str_of(keys->queue_pull)}},
        {WAITING_RETRY, {STR("ZCARD"), str_of(keys->retry)}},
        {WAITING_SCHEDULE, {STR("ZCARD"), str_of(keys->schedule)}},
        {WAITING_DEAD, {STR("ZCARD"), str_of(keys->dead)}},
    };
    int64_t now_us;
    bool good = redis != NULL && session_time_us(session, redis, &now_us, err);

    if (good)
        look->now_s = (double)now_us / 1e6;
    for (size_t i = 0; i < sizeof(asked) / sizeof(asked[0]) && good; i++)
        good = session_command(session, redis, 2, asked[i].words, on_number,
                               &look->length[asked[i].place], err);
    return good;
}

static void on_progress(void *arg, enum waiting_place place, int64_t looked_at)
{
    struct look *look = arg;
    int64_t whole = 1;
    int64_t done = 0;

    if (look->progress == NULL)
        return;
    for (int i = 0; i < WAITING_PLACES; i++) {
        int64_t length = look->length[i] < WAITING_MAX ? look->length[i] : WAITING_MAX;
        whole += length;
        if (i < (int)place)
            done += length;
        else if (i == (int)place)
            done += looked_at < length ? looked_at : length;
    }
    look->progress(look->progress_arg, (double)done / (double)whole);
}

/* --- of one domain --- */

static bool is_wanted(void *arg, const struct url *inbox)
{
    const struct look *look = arg;
    return domain_hosts_mean(&look->domain, inbox->host);
}

/* Sentences: why hosts that only Mastodon's table knows are missing. */
static json_t *problem_of(const struct domain_hosts *domain)
{
    struct said reason;
    struct said said;

    said_init(&reason, PHRASE_TEXT_BYTES);
    said_init(&said, PHRASE_TEXT_BYTES);
    if (domain->problem.code != FP_OK) {
        err_add_said(&domain->problem, &reason);
        said_add(&said, " ", PHRASE_GIVE_LEFT_OUT, SAYS(SAY_SAID("reason", &reason)));
    }
    json_t *sentences = words_json_said(&said);
    said_clear(&said);
    said_clear(&reason);
    return sentences;
}

/* Why it isn't the time that a job stands at. */
static json_t *why_next(enum phrase why)
{
    struct said said;

    said_init(&said, PHRASE_TEXT_BYTES);
    if (why != PHRASE_NONE)
        said_add(&said, "", why, SAYS_NOTHING);
    json_t *sentences = words_json_said(&said);
    said_clear(&said);
    return sentences;
}

static json_t *places_of(const int64_t count[WAITING_PLACES])
{
    json_t *places = json_object();

    for (int place = 0; place <= WAITING_HELD; place++)
        json_object_set_new(places, place_names[place], json_integer(count[place]));
    return places;
}

static int most_waiting_first(const void *a, const void *b)
{
    const struct waiting_host *x = *(const struct waiting_host *const *)a;
    const struct waiting_host *y = *(const struct waiting_host *const *)b;
    int64_t more = 0;

    for (int place = 0; place <= WAITING_HELD; place++)
        more += y->count[place] - x->count[place];
    if (more != 0)
        return more > 0 ? 1 : -1;
    return strcmp(x->host, y->host);
}

static json_t *by_host(const struct waiting *waiting)
{
    size_t total = table_count(waiting->hosts);
    const struct waiting_host **sorted =
        mem_alloc((total + 1) * sizeof(const struct waiting_host *));
    json_t *list = json_array();
    size_t at = 0;

    for (size_t i = 0; i < total; i++)
        sorted[i] = table_next(waiting->hosts, &at);
    qsort(sorted, total, sizeof(const struct waiting_host *), most_waiting_first);
    for (size_t i = 0; i < total && i < SHOWN_HOSTS; i++)
        json_array_append_new(list, json_pack("{s:o, s:o, s:I, s:I}", "host",
                                              figures_text(str_of(sorted[i]->host)), "places",
                                              places_of(sorted[i]->count), "handoff",
                                              (json_int_t)sorted[i]->count[WAITING_HANDOFF], "dead",
                                              (json_int_t)sorted[i]->count[WAITING_DEAD]));
    free(sorted);
    return list;
}

static json_t *holders_of(const struct waiting *waiting)
{
    const struct waiting_holder *holder;
    json_t *list = json_array();
    size_t at = 0;

    while ((holder = table_next(waiting->holders, &at)) != NULL)
        json_array_append_new(list, json_pack("{s:o, s:I}", "machine",
                                              figures_text(str_of(holder->identity)), "jobs",
                                              (json_int_t)holder->jobs));
    return list;
}

static json_t *answer(const struct look *look, const struct waiting *waiting, struct str host)
{
    int64_t count[WAITING_PLACES];
    json_t *hosts = json_array();

    for (int place = 0; place < WAITING_PLACES; place++)
        count[place] = waiting_total(waiting, (enum waiting_place)place);
    for (size_t i = 0; i < look->domain.count; i++)
        json_array_append_new(hosts, figures_text(str_of(look->domain.names[i])));
    return json_pack("{s:f, s:o, s:o, s:o, s:o, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:b}", "at",
                     look->now_s, "host", figures_text(host), "hosts", hosts, "hosts_problem",
                     problem_of(&look->domain), "places", places_of(count), "handoff",
                     (json_int_t)count[WAITING_HANDOFF], "dead", (json_int_t)count[WAITING_DEAD],
                     "by_host", by_host(waiting), "holders", holders_of(waiting), "next_due_at",
                     figures_time(look->next.at_s), "next_due_says", why_next(look->next.why),
                     "next_error", figures_text_or_null(look->next.error), "cut",
                     (int)waiting->cut);
}

static bool look_for_domain(struct look *look, struct waiting *waiting, struct err *err)
{
    struct orders orders;
    bool good = orders_open(&orders, &look->desk->session, err) && measure(look, err) &&
                waiting_look(waiting, err) && next_due_find(&look->next, waiting, &orders, err);

    orders_close(&orders);
    return good;
}

json_t *figures_waiting(struct desk *desk, struct str host, figures_progress_fn *progress,
                        void *arg, struct err *err)
{
    struct look look = {.desk = desk, .progress = progress, .progress_arg = arg};
    struct waiting waiting = {.session = &desk->session,
                              .wanted = is_wanted,
                              .progress = on_progress,
                              .arg = &look,
                              .with_dead = true,
                              .with_handoff = true};
    char *name = str_dup(host);
    json_t *root = NULL;

    if (!domain_hosts_init(&look.domain, name)) {
        err_say(err, FP_INVALID, PHRASE_ASK_DOMAIN, SAYS_NOTHING);
    } else {
        domain_hosts_ask(&look.domain, &desk->session);
        if (look_for_domain(&look, &waiting, err))
            root = answer(&look, &waiting, host);
    }
    waiting_clear(&waiting);
    domain_hosts_clear(&look.domain);
    free(name);
    return root;
}

/* --- altogether --- */

static void count(struct table *table, struct str name, size_t most)
{
    struct tally *tally = table_get(table, name);

    if (tally == NULL && table_count(table) >= most) {
        name = STR("(others)");
        tally = table_get(table, name);
    }
    if (tally == NULL) {
        tally = mem_alloc(sizeof(*tally));
        tally->name = str_dup(name);
        table_put(table, str_of(tally->name), tally);
    }
    tally->count++;
}

static bool matches(const struct figures_jobs_filter *filter, struct str class_name,
                    const struct url *inbox)
{
    struct str wanted = filter->class_name;
    bool of_class = wanted.len == 0 || str_equal(class_name, wanted) ||
                    (str_ends_with(class_name, wanted) && class_name.len >= wanted.len + 2 &&
                     class_name.ptr[class_name.len - wanted.len - 1] == ':');

    return of_class && (filter->host.len == 0 ||
                        (inbox != NULL && (str_equal(inbox->host, filter->host) ||
                                           policy_name_is_below(inbox->host, filter->host))));
}

static void on_seen(void *arg, enum waiting_place place, struct str class_name,
                    const struct url *inbox)
{
    struct look *look = arg;

    look->scanned[place]++;
    if (look->filter != NULL && !matches(look->filter, class_name, inbox))
        return;
    look->matched[place]++;
    count(look->classes[place], class_name.len > 0 ? class_name : STR("(none)"), MAX_CLASSES);
    if (inbox != NULL)
        count(look->hosts[place], inbox->authority, MAX_HOSTS);
}

static void free_tallies(struct table *table)
{
    struct tally *tally;
    size_t at = 0;

    while ((tally = table_next(table, &at)) != NULL) {
        table_remove(table, str_of(tally->name));
        free(tally->name);
        free(tally);
    }
    table_destroy(table);
}

static int most_first(const void *a, const void *b)
{
    const struct tally *x = *(const struct tally *const *)a;
    const struct tally *y = *(const struct tally *const *)b;

    if (x->count != y->count)
        return x->count > y->count ? -1 : 1;
    return strcmp(x->name, y->name);
}

static json_t *hosts_of(const struct table *table)
{
    size_t total = table_count(table);
    const struct tally **sorted = mem_alloc((total + 1) * sizeof(const struct tally *));
    json_t *list = json_array();
    size_t at = 0;

    for (size_t i = 0; i < total; i++)
        sorted[i] = table_next(table, &at);
    qsort(sorted, total, sizeof(const struct tally *), most_first);
    for (size_t i = 0; i < total && i < SHOWN_HOSTS; i++)
        json_array_append_new(list,
                              json_pack("{s:o, s:I}", "host", figures_text(str_of(sorted[i]->name)),
                                        "count", (json_int_t)sorted[i]->count));
    free(sorted);
    return list;
}

static json_t *place_of(const struct look *look, enum waiting_place place)
{
    json_t *classes = json_object();
    const struct tally *tally;
    size_t at = 0;

    while ((tally = table_next(look->classes[place], &at)) != NULL) {
        json_t *name = figures_text(str_of(tally->name));
        json_object_set_new(classes, json_string_value(name), json_integer(tally->count));
        json_decref(name);
    }
    json_t *found = json_pack("{s:I, s:I, s:o, s:o, s:I}", "total", (json_int_t)look->length[place],
                              "scanned", (json_int_t)look->scanned[place], "classes", classes,
                              "domains", hosts_of(look->hosts[place]), "domains_total",
                              (json_int_t)table_count(look->hosts[place]));
    if (look->filter != NULL)
        json_object_set_new(found, "matched", json_integer(look->matched[place]));
    return found;
}

json_t *figures_jobs_of(struct desk *desk, const struct figures_jobs_filter *filter,
                        figures_progress_fn *progress, void *arg, struct err *err)
{
    struct look look = {.desk = desk, .progress = progress, .progress_arg = arg, .filter = filter};
    struct waiting waiting = {
        .session = &desk->session, .seen = on_seen, .progress = on_progress, .arg = &look};
    json_t *root = NULL;
    int64_t none;

    for (int place = 0; place < PLACES; place++) {
        look.classes[place] = table_create();
        look.hosts[place] = table_create();
    }
    bool good = measure(&look, err);
    for (int place = 0; place < PLACES && good; place++)
        good = waiting_look_at(&waiting, (enum waiting_place)place, &none, err);
    look.length[WAITING_HELD] = look.scanned[WAITING_HELD];
    if (good) {
        json_t *places = json_object();
        for (int place = 0; place < PLACES; place++)
            json_object_set_new(places, place_names[place],
                                place_of(&look, (enum waiting_place)place));
        root = json_pack("{s:f, s:o, s:b}", "at", look.now_s, "places", places, "cut",
                         (int)waiting.cut);
    }
    for (int place = 0; place < PLACES; place++) {
        free_tallies(look.classes[place]);
        free_tallies(look.hosts[place]);
    }
    waiting_clear(&waiting);
    return root;
}

json_t *figures_jobs(struct desk *desk, figures_progress_fn *progress, void *arg, struct err *err)
{
    return figures_jobs_of(desk, NULL, progress, arg, err);
}
