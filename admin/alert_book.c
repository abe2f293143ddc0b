#include "admin/alert_book.h"

#include <stdlib.h>
#include <string.h>

const char *const alert_sink_names[ALERT_SINKS] = {
    [ALERT_MAIL] = "mail", [ALERT_WEBHOOK] = "webhook"};

enum { DOMAINS = 128, QUEUES = 16, MACHINES = 48, ALONE = 4, WITH_OTHERS = 4 };
_Static_assert(DOMAINS + QUEUES + 2 * MACHINES + ALONE + WITH_OTHERS <= ALERT_MAX,
               "each rule has its places");

static const struct {
    double for_s, clear_s;
    size_t places;
    enum phrase others; /* what is said of those without a place; PHRASE_NONE: there is one only */
    bool repeats;
} rules[ALERT_RULES] = {
    [ALERT_QUEUE_AGE] = {30, 60, 1, PHRASE_NONE, true},
    /* Nothing to do about it. */
    [ALERT_DOMAIN_DOWN] = {0, 120, DOMAINS, PHRASE_ALERT_MORE_DOMAINS, false},
    /* A Sidekiq that restarts is back by then. */
    [ALERT_HANDOFF] = {60, 60, QUEUES, PHRASE_ALERT_MORE_QUEUES, true},
    [ALERT_SUSPICION] = {60, 120, MACHINES, PHRASE_ALERT_MORE_SUSPICIOUS, true},
    /* Other machines take them within two minutes. */
    [ALERT_DEAD_OWNERS] = {180, 60, 1, PHRASE_NONE, true},
    [ALERT_REDIS_MEMORY] = {60, 120, 1, PHRASE_NONE, true},
    [ALERT_KEYS] = {120, 60, MACHINES, PHRASE_ALERT_MORE_KEYS, true},
    [ALERT_LEDGER] = {60, 60, 1, PHRASE_NONE, true},
};

void alert_book_init(struct alert_book *book)
{
    *book = (struct alert_book){.factor = 1};
}

void alert_book_clear(struct alert_book *book)
{
    for (size_t i = 0; i < book->count; i++)
        free(book->alerts[i]);
    book->count = 0;
    book->changed = false;
}

static struct alert *find(const struct alert_book *book, const char *id)
{
    for (size_t i = 0; i < book->count; i++) {
        if (strcmp(book->alerts[i]->id, id) == 0)
            return book->alerts[i];
    }
    return NULL;
}

/* Only while the rule has a place, or for its others. */
static struct alert *add(struct alert_book *book, enum alert_rule rule)
{
    struct alert *alert = mem_alloc(sizeof(*alert));

    alert->rule = rule;
    book->alerts[book->count++] = alert;
    return alert;
}

static bool is_of_others(const struct alert *alert)
{
    return rules[alert->rule].others != PHRASE_NONE &&
           strcmp(alert->id, alert_rule_name(alert->rule)) == 0;
}

static void forget(struct alert_book *book, size_t i)
{
    book->changed = book->changed || book->alerts[i]->state != ALERT_PENDING;
    free(book->alerts[i]);
    book->alerts[i] = book->alerts[--book->count];
}

static void turn(struct alert_book *book, struct alert *alert, enum alert_state state, double now_s)
{
    if (state == ALERT_FIRING) {
        alert->again = alert->state == ALERT_OVER;
        alert->since_s = alert->opposite_s;
    }
    alert->state = state;
    alert->turned_s = now_s;
    alert->opposite_s = 0;
    book->changed = true;
}

/* Whether looks have said the opposite for so long. */
static bool persists(struct alert *alert, double seconds, double now_s)
{
    if (alert->opposite_s <= 0 || alert->opposite_s > now_s) /* or the clock was set back */
        alert->opposite_s = now_s;
    return now_s - alert->opposite_s >= seconds;
}

/* Whether somebody was told that it fires, and nothing since. */
static bool is_believed(const struct alert *alert)
{
    bool believed = false;

    for (int sink = 0; sink < ALERT_SINKS; sink++)
        believed = believed || alert->told[sink].firing;
    return believed;
}

/* Whether a place is free, or one is made by forgetting what has been over for longest and nobody
 * waits to hear of. */
static bool has_place(struct alert_book *book, enum alert_rule rule)
{
    size_t taken = 0;
    size_t oldest = ALERT_MAX;

    for (size_t i = 0; i < book->count; i++) {
        const struct alert *alert = book->alerts[i];
        if (alert->rule != rule || is_of_others(alert))
            continue;
        taken++;
        if (alert->state == ALERT_OVER && !is_believed(alert) &&
            (oldest == ALERT_MAX || alert->turned_s < book->alerts[oldest]->turned_s))
            oldest = i;
    }
    if (taken < rules[rule].places)
        return true;
    if (oldest < ALERT_MAX)
        forget(book, oldest);
    return oldest < ALERT_MAX;
}

/* False: forget it. */
static bool look(struct alert_book *book, struct alert *alert, enum alert_grade grade, double now_s)
{
    double clear_s = alert->again ? ALERT_AGAIN_S : rules[alert->rule].clear_s;
    double for_s = rules[alert->rule].for_s * book->factor;

    switch (alert->state) {
    case ALERT_PENDING:
        if (grade != ALERT_BAD)
            return false;
        if (persists(alert, for_s, now_s))
            turn(book, alert, ALERT_FIRING, now_s);
        return true;
    case ALERT_FIRING:
        if (grade != ALERT_GOOD)
            alert->opposite_s = 0;
        else if (persists(alert, clear_s * book->factor, now_s))
            turn(book, alert, ALERT_OVER, now_s);
        return true;
    case ALERT_OVER:
        if (grade != ALERT_BAD)
            alert->opposite_s = 0;
        else if (persists(alert, for_s, now_s))
            turn(book, alert, ALERT_FIRING, now_s);
        /* Nobody is left with the belief that it fires, unless it can't be told for a long time. */
        double keep_s = (is_believed(alert) ? 6 : 1) * ALERT_AGAIN_S * book->factor;
        return now_s - alert->turned_s < keep_s;
    }
    abort();
}

/* The worst of the looks at this alert; what isn't mentioned is good, if all was looked at. */
static enum alert_grade worst_of(const struct alert_looks *looks, struct alert *alert)
{
    bool cut = (looks->cut & 1U << alert->rule) != 0;
    enum alert_grade worst = ALERT_GOOD;

    for (size_t i = 0; i < looks->count; i++) {
        if (strcmp(looks->list[i].id, alert->id) != 0)
            continue;
        cut = false;
        if (looks->list[i].grade <= worst)
            continue;
        worst = looks->list[i].grade;
        if (alert->state != ALERT_OVER || worst == ALERT_BAD)
            alert->words = looks->list[i].words;
    }
    return cut ? ALERT_BETWEEN : worst;
}

static enum alert_grade grade_of_others(struct alert *alert, size_t count)
{
    if (count == 0)
        return ALERT_GOOD;
    alert_say(&alert->words, rules[alert->rule].others, SAYS(SAY_NUMBER("more", count)));
    return ALERT_BAD;
}

/* Gives what is bad a place; *others: how many of each rule got none. */
static void take_in(struct alert_book *book, const struct alert_looks *looks,
                    size_t others[ALERT_RULES])
{
    for (size_t i = 0; i < looks->count; i++) {
        const struct alert_look *found = &looks->list[i];
        if (found->grade != ALERT_BAD || find(book, found->id) != NULL)
            continue;
        if (has_place(book, found->rule)) {
            struct alert *alert = add(book, found->rule);
            memcpy(alert->id, found->id, sizeof(alert->id));
        } else {
            others[found->rule]++;
        }
    }
    for (int rule = 0; rule < ALERT_RULES; rule++) {
        const char *name = alert_rule_name((enum alert_rule)rule);
        if (others[rule] > 0 && rules[rule].others != PHRASE_NONE && find(book, name) == NULL)
            alert_copy(add(book, (enum alert_rule)rule)->id, ALERT_ID_BYTES, str_of(name));
    }
}

void alert_book_look(struct alert_book *book, const struct alert_looks *looks, double now_s)
{
    size_t others[ALERT_RULES] = {0};

    take_in(book, looks, others);
    for (size_t i = book->count; i-- > 0;) {
        struct alert *alert = book->alerts[i];
        if ((looks->looked & 1U << alert->rule) == 0)
            continue;
        enum alert_grade grade = is_of_others(alert) ? grade_of_others(alert, others[alert->rule])
                                                     : worst_of(looks, alert);
        if (!look(book, alert, grade, now_s))
            forget(book, i);
    }
}

/* False: nothing to tell. *due: it needn't wait for others. */
static bool news_of(const struct alert_book *book, struct alert *alert, enum alert_sink sink,
                    double now_s, struct alert_news *news, bool *due)
{
    bool firing = alert->state == ALERT_FIRING;

    *news = (struct alert_news){firing ? ALERT_NEWS_FIRING : ALERT_NEWS_OVER, alert};
    if (alert->state == ALERT_PENDING)
        return false;
    if (firing != alert->told[sink].firing) {
        *due = now_s - alert->turned_s >= ALERT_GROUP_S * book->factor;
        return true;
    }
    news->kind = ALERT_NEWS_STILL;
    *due = true;
    return firing && rules[alert->rule].repeats &&
           now_s - alert->told[sink].at_s >= ALERT_AGAIN_S * book->factor;
}

size_t alert_book_news(const struct alert_book *book, enum alert_sink sink, double now_s,
                       struct alert_news news[ALERT_MAX])
{
    bool any_due = false;
    size_t count = 0;

    for (size_t i = 0; i < book->count; i++) {
        bool due = false;
        if (!news_of(book, book->alerts[i], sink, now_s, &news[count], &due))
            continue;
        any_due = any_due || due;
        count++;
    }
    return any_due ? count : 0;
}

void alert_book_told(struct alert_book *book, enum alert_sink sink, const struct alert_news *news,
                     size_t count, double now_s)
{
    for (size_t i = 0; i < count; i++) {
        news[i].alert->told[sink].firing = news[i].kind != ALERT_NEWS_OVER;
        news[i].alert->told[sink].at_s = now_s;
    }
    book->changed = book->changed || count > 0;
}

/* ---- in Redis ---- */

json_t *alert_params(const struct alert_words *words)
{
    json_t *params = json_loads(words->params, 0, NULL);
    return params != NULL ? params : json_object();
}

static void restore_words(struct alert_words *words, const char *text, const json_t *value)
{
    const char *code = json_string_value(json_object_get(value, "code"));
    char *params = json_dumps(json_object_get(value, "params"), JSON_COMPACT);

    alert_copy(words->text, sizeof(words->text), str_of(text));
    if (code != NULL && strlen(code) < sizeof(words->code) && params != NULL &&
        strlen(params) < sizeof(words->params)) {
        alert_copy(words->code, sizeof(words->code), str_of(code));
        alert_copy(words->params, sizeof(words->params), str_of(params));
    }
    free(params);
}

json_t *alert_to_json(const struct alert *alert)
{
    json_t *told = json_object();

    for (int sink = 0; sink < ALERT_SINKS; sink++)
        json_object_set_new(told, alert_sink_names[sink],
                            json_pack("{s:b, s:f}", "firing", alert->told[sink].firing, "at",
                                      alert->told[sink].at_s));
    return json_pack("{s:i, s:b, s:f, s:f, s:b, s:s, s:s, s:o, s:o}", "v", 1, "firing",
                     alert->state == ALERT_FIRING, "since", alert->since_s, "turned",
                     alert->turned_s, "again", alert->again, "text", alert->words.text, "code",
                     alert->words.code, "params", alert_params(&alert->words), "told", told);
}

bool alert_book_restore(struct alert_book *book, struct str id, const json_t *value)
{
    const char *text = json_string_value(json_object_get(value, "text"));
    enum alert_rule rule = alert_rule_of(id);

    if (rule == ALERT_RULES || id.len >= ALERT_ID_BYTES || text == NULL)
        return false;
    bool of_others =
        rules[rule].others != PHRASE_NONE && str_equal(id, str_of(alert_rule_name(rule)));
    if (!of_others && !has_place(book, rule))
        return false;
    struct alert *alert = add(book, rule);
    alert->state = json_is_true(json_object_get(value, "firing")) ? ALERT_FIRING : ALERT_OVER;
    memcpy(alert->id, id.ptr, id.len);
    restore_words(&alert->words, text, value);
    alert->since_s = json_number_value(json_object_get(value, "since"));
    alert->turned_s = json_number_value(json_object_get(value, "turned"));
    alert->again = json_is_true(json_object_get(value, "again"));
    for (int sink = 0; sink < ALERT_SINKS; sink++) {
        const json_t *told =
            json_object_get(json_object_get(value, "told"), alert_sink_names[sink]);
        alert->told[sink].firing = json_is_true(json_object_get(told, "firing"));
        alert->told[sink].at_s = json_number_value(json_object_get(told, "at"));
    }
    return true;
}
