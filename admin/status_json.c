#include "admin/status_json.h"

#include "admin/words.h"

json_t *status_json_create(void)
{
    static const char *const members[] = {"grade",  "lines", "redis",   "machines", "sidekiq",
                                          "queues", "later", "handoff", "ledger",   "health"};
    json_t *root = json_object();

    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
        json_object_set_new(root, members[i], json_null());
    return root;
}

static json_t *server_of(const struct survey *survey, const struct redis *redis)
{
    struct buf where;

    buf_init(&where, 512);
    redis_describe(redis, &where);
    json_t *server = json_pack("{s:o, s:o}", "address", words_json(buf_str(&where)), "version",
                               words_json(str_of(survey->redis_version)));
    buf_clear(&where);
    return server;
}

static json_t *machines_of(const struct survey *survey)
{
    json_t *list = json_array();

    for (size_t i = 0; i < survey->identity_count; i++) {
        const struct survey_identity *identity = &survey->identities[i];
        json_array_append_new(
            list,
            json_pack("{s:o, s:b, s:f, s:I, s:b}", "identity", words_json(str_of(identity->name)),
                      "alive", survey_is_alive(identity), "beat_age_s", identity->beat_age_s,
                      "held", (json_int_t)identity->claims, "listed", identity->listed));
    }
    return list;
}

static json_t *sidekiq_of(const struct survey *survey)
{
    struct buf found;

    buf_init(&found, 512);
    survey_put_sidekiq(survey, &found);
    size_t comma = str_find(buf_str(&found), ',');
    json_t *sidekiq =
        json_pack("{s:o, s:o}", "version", words_json((struct str){found.ptr, comma}), "found",
                  words_json(str_trim(str_slice(buf_str(&found), comma + 1))));
    buf_clear(&found);
    return sidekiq;
}

static json_t *queue_of(const char *name, int64_t length, double age_s)
{
    return json_pack("{s:s, s:I, s:f}", "name", name, "length", (json_int_t)length, "oldest_age_s",
                     age_s);
}

static json_t *handoff_of(const char *queue, int64_t length, int64_t consumers)
{
    return json_pack("{s:o, s:I, s:I}", "queue", words_json(str_of(queue)), "length",
                     (json_int_t)length, "consumers", (json_int_t)consumers);
}

void status_json_survey(json_t *root, const struct survey *survey, const struct redis *redis,
                        const struct config *config)
{
    json_t *queues = json_array();
    json_t *handoff = json_array();

    json_array_append_new(queues, queue_of("push", survey->push_length, survey->push_age_s));
    json_array_append_new(handoff, handoff_of(config->handoff_queue, survey->handoff_length,
                                              survey->handoff_consumers));
    if (config_takes_pull(config)) {
        json_array_append_new(queues, queue_of("pull", survey->pull_length, survey->pull_age_s));
        json_array_append_new(handoff,
                              handoff_of(config->handoff_queue_pull, survey->handoff_pull_length,
                                         survey->handoff_pull_consumers));
    }
    json_object_set_new(root, "redis", server_of(survey, redis));
    json_object_set_new(root, "machines", machines_of(survey));
    json_object_set_new(root, "sidekiq", sidekiq_of(survey));
    json_object_set_new(root, "queues", queues);
    json_object_set_new(root, "handoff", handoff);
    json_object_set_new(root, "later",
                        json_pack("{s:I, s:I, s:I}", "retry", (json_int_t)survey->retry_count,
                                  "schedule", (json_int_t)survey->schedule_count, "dead",
                                  (json_int_t)survey->dead_count));
}

static json_t *account_of(const struct balance *balance)
{
    json_t *outcomes = json_object();

    for (int entry = LEDGER_BY_VERB + 1; entry < LEDGER_ENTRIES; entry++)
        json_object_set_new(outcomes, ledger_word((enum ledger_entry)entry),
                            json_integer(balance->outcomes[entry]));
    json_object_set_new(outcomes, "others", json_integer(balance->others));
    return json_pack("{s:I, s:o, s:I, s:I}", "claimed", (json_int_t)balance->claimed, "outcomes",
                     outcomes, "held", (json_int_t)balance->held, "missing",
                     (json_int_t)balance_missing(balance));
}

void status_json_balances(json_t *root, const struct balances *balances)
{
    json_t *machine = balances->machine_found ? account_of(&balances->machine) : json_null();

    json_object_set_new(
        root, "ledger",
        json_pack("{s:o, s:o}", "fleet", account_of(&balances->fleet), "machine", machine));
}

void status_json_health(json_t *root, const double *age_s)
{
    json_object_set_new(
        root, "health",
        json_pack("{s:o}", "last_written_age_s", age_s != NULL ? json_real(*age_s) : json_null()));
}

void status_json_print(json_t *root, const struct report *report)
{
    json_object_set_new(root, "grade", json_string(report_grades[report->worst]));
    json_object_set(root, "lines", report->lines);
    words_print_json(root);
}
