#include "admin/alert_rules.h"

#include <math.h>
#include <string.h>

#include "admin/figures_value.h"
#include "base/escape.h"
#include "base/utf8.h"

enum { DOWN_S = 900, MAX_COLUMNS = 255 };

static const char *const names[ALERT_RULES] = {
    [ALERT_QUEUE_AGE] = "queue-age",
    [ALERT_DOMAIN_DOWN] = "domain-down",
    [ALERT_HANDOFF] = "handoff",
    [ALERT_SUSPICION] = "suspicion",
    [ALERT_DEAD_OWNERS] = "dead-owners",
    [ALERT_REDIS_MEMORY] = "redis-memory",
    [ALERT_KEYS] = "keys",
    [ALERT_LEDGER] = "ledger",
};

const char *alert_rule_name(enum alert_rule rule)
{
    return names[rule];
}

enum alert_rule alert_rule_of(struct str id)
{
    unsigned rule = 0;

    id.len = str_find(id, ' ');
    while (rule < ALERT_RULES && !str_equal(id, str_of(names[rule])))
        rule++;
    return (enum alert_rule)rule;
}

void alert_copy(char *out, size_t size, struct str text)
{
    struct buf clean;

    buf_init(&clean, size);
    utf8_put_clean(&clean, text, size - 1);
    memcpy(out, buf_cstr(&clean), clean.len + 1);
    buf_clear(&clean);
}

void alert_say(struct alert_words *words, enum phrase phrase, struct says says)
{
    enum { COLUMNS = 255 };
    struct buf text;
    struct buf params;

    buf_init(&text, PHRASE_TEXT_BYTES);
    buf_init(&params, sizeof(words->params) - 1);
    phrase_put_text(&text, phrase, says);
    phrase_put_params(&params, says, COLUMNS);
    *words = (struct alert_words){.text = ""};
    alert_copy(words->text, sizeof(words->text), buf_str(&text));
    if (!params.overflow) { /* else the text must do */
        alert_copy(words->code, sizeof(words->code), str_of(phrase_code(phrase)));
        alert_copy(words->params, sizeof(words->params), buf_str(&params));
    }
    buf_clear(&params);
    buf_clear(&text);
}

void alert_looks_forget(struct alert_looks *looks)
{
    looks->looked = looks->cut = 0;
    looks->count = looks->domains = 0;
}

static bool has_room(const struct alert_looks *looks, enum alert_rule rule)
{
    return rule == ALERT_DOMAIN_DOWN ? looks->domains < ALERT_MAX_DOMAIN_LOOKS
                                     : looks->count - looks->domains < ALERT_MAX_OTHER_LOOKS;
}

/* The next look; its subject is "" for what there is one of. NULL: there are too many. */
static struct alert_look *add(struct alert_looks *looks, enum alert_rule rule, const char *subject)
{
    struct buf safe;

    if (!has_room(looks, rule)) {
        looks->cut |= 1U << rule;
        return NULL;
    }
    struct alert_look *look = &looks->list[looks->count++];
    looks->domains += rule == ALERT_DOMAIN_DOWN;
    buf_init(&safe, 4096);
    buf_printf(&safe, "%s%s", names[rule], subject[0] != '\0' ? " " : "");
    escape_put(&safe, str_of(subject), ESCAPE_TERMINAL, MAX_COLUMNS);
    *look = (struct alert_look){.rule = rule};
    alert_copy(look->id, sizeof(look->id), buf_str(&safe));
    buf_clear(&safe);
    return look;
}

/* Bad from `bad` on, good up to `good`. */
static void grade(struct alert_look *look, double value, double good, double bad)
{
    look->grade = value >= bad ? ALERT_BAD : value <= good ? ALERT_GOOD : ALERT_BETWEEN;
}

static void say(struct alert_look *look, enum phrase phrase, struct says says)
{
    alert_say(&look->words, phrase, says);
}

static void looked(struct alert_looks *looks, enum alert_rule rule)
{
    looks->looked |= 1U << rule;
}

/* What stands behind the rule's name in its id. */
static const char *subject_of(const struct alert_look *look)
{
    const char *blank = strchr(look->id, ' ');
    return blank != NULL ? blank + 1 : "";
}

static void look_at_queues(struct alert_looks *looks, const json_t *overview, int limit_s)
{
    const json_t *queues = json_object_get(overview, "queues");
    bool paused = json_is_object(json_object_get(overview, "paused"));
    struct alert_look *look;
    double length = 0;
    double age_s = 0;

    /* `pull` may wait: its jobs are those that nobody waits for. */
    for (size_t i = 0; i < json_array_size(queues); i++) {
        const json_t *queue = json_array_get(queues, i);
        if (strcmp(figures_text_of(queue, "name"), "push") != 0 ||
            !figures_number_of(queue, "oldest_age_s", &age_s) ||
            !figures_number_of(queue, "length", &length))
            continue;
        looked(looks, ALERT_QUEUE_AGE);
        look = add(looks, ALERT_QUEUE_AGE, "");
        if (look == NULL)
            return;
        grade(look, age_s, (double)limit_s / 2, limit_s);
        say(look, paused ? PHRASE_ALERT_QUEUE_PAUSED : PHRASE_ALERT_QUEUE_AGE,
            SAYS(SAY_NUMBER("jobs", length), SAY_NUMBER("age_s", age_s),
                 SAY_NUMBER("limit_s", limit_s)));
    }
}

static void look_at_handoff(struct alert_looks *looks, const json_t *handoff)
{
    double consumers = 0;
    double length = 0;

    if (json_is_array(handoff))
        looked(looks, ALERT_HANDOFF);
    for (size_t i = 0; i < json_array_size(handoff); i++) {
        const json_t *queue = json_array_get(handoff, i);
        if (!figures_number_of(queue, "consumers", &consumers) ||
            !figures_number_of(queue, "length", &length))
            continue;
        struct alert_look *look = add(looks, ALERT_HANDOFF, figures_text_of(queue, "queue"));
        if (look == NULL)
            return;
        look->grade = consumers > 0 ? ALERT_GOOD : ALERT_BAD;
        say(look, PHRASE_ALERT_HANDOFF,
            SAYS(SAY_TEXT("queue", subject_of(look)), SAY_NUMBER("jobs", length)));
    }
}

static void look_at_suspicion(struct alert_looks *looks, const json_t *suspicious)
{
    if (json_is_array(suspicious))
        looked(looks, ALERT_SUSPICION);
    for (size_t i = 0; i < json_array_size(suspicious); i++) {
        const char *name = json_string_value(json_array_get(suspicious, i));
        struct alert_look *look = add(looks, ALERT_SUSPICION, name != NULL ? name : "?");
        if (look == NULL)
            return;
        look->grade = ALERT_BAD;
        say(look, PHRASE_ALERT_SUSPICION, SAYS(SAY_TEXT("machine", subject_of(look))));
    }
}

static void look_at_keys(struct alert_looks *looks, const json_t *machines)
{
    double waiting = 0;

    if (json_is_array(machines))
        looked(looks, ALERT_KEYS);
    for (size_t i = 0; i < json_array_size(machines); i++) {
        const json_t *report = json_object_get(json_array_get(machines, i), "report");
        if (!figures_number_of(report, "keys_waiting", &waiting))
            continue;
        struct alert_look *look = add(looks, ALERT_KEYS, figures_text_of(report, "host"));
        if (look == NULL)
            return;
        look->grade = waiting > 0 ? ALERT_BAD : ALERT_GOOD;
        say(look, PHRASE_ALERT_KEYS,
            SAYS(SAY_TEXT("machine", subject_of(look)), SAY_NUMBER("jobs", waiting)));
    }
}

static void look_at_memory(struct alert_looks *looks, const json_t *redis, int percent)
{
    enum { APART = 5 };
    double used_bytes = 0;
    double max_bytes = 0;

    if (!figures_number_of(redis, "used_bytes", &used_bytes))
        return;
    looked(looks, ALERT_REDIS_MEMORY);
    if (!figures_number_of(redis, "max_bytes", &max_bytes) || max_bytes <= 0)
        return; /* it has no limit */
    struct alert_look *look = add(looks, ALERT_REDIS_MEMORY, "");
    if (look == NULL)
        return;
    double used_percent = 100 * used_bytes / max_bytes;
    grade(look, used_percent, percent - APART, percent);
    say(look, PHRASE_ALERT_REDIS_MEMORY,
        SAYS(SAY_NUMBER("used_bytes", used_bytes), SAY_NUMBER("max_bytes", max_bytes),
             SAY_NUMBER("percent", round(used_percent))));
}

static void look_at_dead_owners(struct alert_looks *looks, const json_t *overview)
{
    double held = 0;

    if (!figures_number_of(overview, "held_by_dead", &held))
        return;
    looked(looks, ALERT_DEAD_OWNERS);
    struct alert_look *look = add(looks, ALERT_DEAD_OWNERS, "");
    if (look == NULL)
        return;
    look->grade = held > 0 ? ALERT_BAD : ALERT_GOOD;
    say(look, PHRASE_ALERT_DEAD_OWNERS, SAYS(SAY_NUMBER("jobs", held)));
}

static void look_at_ledger(struct alert_looks *looks, const json_t *ledger)
{
    double missing = 0;

    if (!figures_number_of(ledger, "missing", &missing))
        return;
    looked(looks, ALERT_LEDGER);
    struct alert_look *look = add(looks, ALERT_LEDGER, "");
    if (look == NULL)
        return;
    look->grade = missing > 0 || missing < 0 ? ALERT_BAD : ALERT_GOOD;
    say(look, PHRASE_ALERT_LEDGER, SAYS(SAY_NUMBER("missing", missing)));
}

void alert_rules_overview(struct alert_looks *looks, const json_t *overview,
                          const struct alert_limits *limits)
{
    look_at_queues(looks, overview, limits->queue_age_s);
    look_at_handoff(looks, json_object_get(overview, "handoff"));
    look_at_dead_owners(looks, overview);
    look_at_memory(looks, json_object_get(overview, "redis"), limits->memory_percent);
    look_at_ledger(looks, json_object_get(overview, "ledger"));
    /* Last what there is one of for each machine. */
    look_at_suspicion(looks, json_object_get(overview, "suspicious"));
    look_at_keys(looks, json_object_get(overview, "machines"));
}

static void look_at_domain(struct alert_looks *looks, const json_t *item, double followers,
                           double down_s)
{
    struct alert_look *look = add(looks, ALERT_DOMAIN_DOWN, figures_text_of(item, "host"));
    struct buf error;

    if (look == NULL)
        return;
    look->grade = ALERT_BAD;
    buf_init(&error, 4096);
    escape_put(&error, str_of(figures_text_of(item, "last_error")), ESCAPE_TERMINAL, 100);
    say(look, PHRASE_ALERT_DOMAIN_DOWN,
        SAYS(SAY_TEXT("host", subject_of(look)), SAY_NUMBER("age_s", down_s),
             SAY_NUMBER("followers", followers), SAY_STR("error", buf_str(&error))));
    buf_clear(&error);
}

/* Whether the page ends amid domains with many followers. */
static bool is_cut(const json_t *page, const struct alert_limits *limits)
{
    const json_t *items = json_object_get(page, "items");
    size_t count = json_array_size(items);
    double matched = 0;
    double followers = 0;

    return figures_number_of(page, "matched", &matched) && matched > (double)count && count > 0 &&
           figures_number_of(json_array_get(items, count - 1), "followers", &followers) &&
           followers >= limits->followers;
}

void alert_rules_domains(struct alert_looks *looks, const json_t *page,
                         const struct alert_limits *limits, double now_s)
{
    const json_t *items = json_object_get(page, "items");
    double failing_since_s = 0;
    double followers = 0;

    if (limits->followers == 0)
        return;
    if (is_cut(page, limits))
        looks->cut |= 1U << ALERT_DOMAIN_DOWN;
    for (size_t i = 0; i < json_array_size(items); i++) {
        const json_t *item = json_array_get(items, i);
        const char *state = figures_text_of(item, "state");
        if (strcmp(state, "failing") != 0 && strcmp(state, "open") != 0)
            continue;
        if (figures_number_of(item, "followers", &followers) && followers >= limits->followers &&
            figures_number_of(item, "failing_since", &failing_since_s) &&
            now_s - failing_since_s >= DOWN_S)
            look_at_domain(looks, item, followers, now_s - failing_since_s);
    }
}
