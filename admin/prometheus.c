#include "admin/prometheus.h"

#include <math.h>
#include <string.h>

#include "admin/figures_value.h"
#include "base/escape.h"

enum { BUCKETS = 24, MAX_LABEL_COLUMNS = 255 };

static const char *const outcomes[PROMETHEUS_OUTCOMES] = {"delivered", "retried", "rejected",
                                                          "exhausted"};
static const char *const states[PROMETHEUS_STATES] = {"healthy", "failing",     "open", "paused",
                                                      "limited", "unavailable", "idle"};

struct family {
    const char *name, *type, *help;
};

/* A member that is one number. */
struct plain {
    const char *member;
    struct family family;
    double scale;
};

static void put_family(struct buf *out, const struct family *family)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", family->name, family->help, family->name,
               family->type);
}

static void put_value(struct buf *out, double value)
{
    const double exact = 1e15; /* whole numbers up to here are printed as such */

    if (fabs(value) < exact && value == floor(value))
        buf_printf(out, " %.0f\n", value);
    else
        buf_printf(out, " %.15g\n", value);
}

static void put_number(struct buf *out, const struct family *family, double value)
{
    put_family(out, family);
    buf_put_str(out, str_of(family->name));
    put_value(out, value);
}

/* A sample with labels: pairs of name and value, NULL behind the last. */
static void put_sample(struct buf *out, const char *name, const char *const *labels, double value)
{
    buf_put_str(out, str_of(name));
    for (size_t i = 0; labels[i] != NULL; i += 2) {
        buf_printf(out, "%s%s=\"", i == 0 ? "{" : ",", labels[i]);
        escape_put(out, str_of(labels[i + 1]), ESCAPE_LABEL, MAX_LABEL_COLUMNS);
        buf_put_char(out, '"');
    }
    buf_put_char(out, '}');
    put_value(out, value);
}

static bool number_of(const json_t *value, double *out)
{
    if (!json_is_number(value) && !json_is_boolean(value))
        return false;
    *out = json_is_number(value) ? json_number_value(value) : json_is_true(value) ? 1 : 0;
    return true;
}

static void put_plain(struct buf *out, const json_t *object, const struct plain *rows, size_t count)
{
    double value = 0;

    for (size_t i = 0; i < count; i++) {
        if (number_of(json_object_get(object, rows[i].member), &value))
            put_number(out, &rows[i].family, value * rows[i].scale);
    }
}

/* A family with a sample for each element of `list` that has the member, labelled by another. */
static void put_listed(struct buf *out, const json_t *list, const char *label, const char *named_by,
                       const struct plain *row)
{
    bool begun = false;
    double value = 0;

    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        const char *labels[] = {label, figures_text_of(item, named_by), NULL};
        if (!number_of(json_object_get(item, row->member), &value))
            continue;
        if (!begun)
            put_family(out, &row->family);
        begun = true;
        put_sample(out, row->family.name, labels, value * row->scale);
    }
}

/* A family with a sample for each of the named members of `object`. */
static void put_members(struct buf *out, const json_t *object, const char *const *members,
                        size_t count, const char *label, const struct family *family)
{
    bool begun = false;
    double value = 0;

    for (size_t i = 0; i < count; i++) {
        const char *labels[] = {label, members[i], NULL};
        if (!number_of(json_object_get(object, members[i]), &value))
            continue;
        if (!begun)
            put_family(out, family);
        begun = true;
        put_sample(out, family->name, labels, value);
    }
}

/* ---- this machine ---- */

static const struct plain of_machine[] = {
    {"started_at",
     {"fedpush_start_time_seconds", "gauge", "When its counters began, in Unix time."},
     1},
    {"workers", {"fedpush_workers", "gauge", "Worker processes."}, 1},
    {"in_flight", {"fedpush_in_flight", "gauge", "Deliveries that are with the workers."}, 1},
    {"slots", {"fedpush_slots", "gauge", "Most deliveries in flight (FEDPUSH_MAX_IN_FLIGHT)."}, 1},
    {"held", {"fedpush_held_jobs", "gauge", "Jobs that this machine has claimed."}, 1},
    {"waiting", {"fedpush_waiting_jobs", "gauge", "Jobs that wait in its lanes."}, 1},
    {"lookahead", {"fedpush_lookahead_jobs", "gauge", "Most jobs held (FEDPUSH_LOOKAHEAD)."}, 1},
    {"lanes", {"fedpush_lanes", "gauge", "Hosts that it has jobs for or remembers."}, 1},
    {"open_circuits",
     {"fedpush_open_circuits", "gauge", "Hosts that it takes for not answering."},
     1},
    {"keys_waiting",
     {"fedpush_keys_waiting_jobs", "gauge", "Jobs whose sender's key can't be read."},
     1},
    {"suspicious", {"fedpush_suspicious", "gauge", "1: it suspects its own network."}, 1},
    {"lag_ms", {"fedpush_loop_lag_seconds", "gauge", "How late its scheduler runs."}, 0.001},
    {"cpu", {"fedpush_cpu_cores", "gauge", "Cores that all its processes use."}, 1},
    {"rss_bytes", {"fedpush_resident_memory_bytes", "gauge", "Memory of all its processes."}, 1},
};

static const struct plain dns_failures = {
    "dns_failures",
    {"fedpush_dns_failures_total", "counter", "Attempts that the resolver let down."},
    1};
static const struct family up = {"fedpush_up", "gauge",
                                 "1: the scheduler of this machine reports."};
static const struct family info = {"fedpush_info", "gauge", "Versions; always 1."};
static const struct family state = {"fedpush_state", "gauge", "1 for what the scheduler is doing."};
static const struct family postgres_up = {"fedpush_postgres_up", "gauge",
                                          "1: its scheduler gets answers from PostgreSQL."};
static const struct family deliveries = {"fedpush_deliveries_total", "counter",
                                         "Attempts by what came of them, since its start."};
static const struct plain totals[] = {
    {"handed_off",
     {"fedpush_handed_off_jobs_total", "counter", "Jobs passed on to Ruby, since its start."},
     1},
    {"sent_bytes",
     {"fedpush_sent_bytes_total", "counter", "Bytes of bodies sent, since its start."},
     1},
};
static const struct family duration = {"fedpush_delivery_duration_seconds", "histogram",
                                       "Attempts by how long they took, since its start."};

/* Buckets of powers of two in milliseconds; the sum of all times is not known. */
static void put_histogram(struct buf *out, const json_t *buckets)
{
    double cumulative = 0;

    if (json_array_size(buckets) != BUCKETS)
        return;
    put_family(out, &duration);
    for (size_t i = 0; i < BUCKETS; i++) {
        cumulative += json_number_value(json_array_get(buckets, i));
        if (i + 1 < BUCKETS)
            buf_printf(out, "%s_bucket{le=\"%.15g\"}", duration.name, ldexp(0.001, (int)i));
        else
            buf_printf(out, "%s_bucket{le=\"+Inf\"}", duration.name);
        put_value(out, cumulative);
    }
    buf_printf(out, "%s_count", duration.name);
    put_value(out, cumulative);
}

/* The report of this machine's living fedpush; NULL: there is none. */
static const json_t *report_of(const json_t *overview, struct str prefix)
{
    const json_t *machines = json_object_get(overview, "machines");
    const json_t *found = NULL;

    for (size_t i = 0; i < json_array_size(machines); i++) {
        const json_t *machine = json_array_get(machines, i);
        const json_t *report = json_object_get(machine, "report");
        if (json_is_true(json_object_get(machine, "alive")) && json_is_object(report) &&
            str_starts_with(str_of(figures_text_of(machine, "identity")), prefix))
            found = report;
    }
    return found;
}

static void put_machine(struct buf *out, const json_t *overview, const json_t *report)
{
    const json_t *counted = json_object_get(report, "totals");
    const char *versions[] = {"version",  figures_text_of(report, "version"),
                              "mastodon", figures_text_of(report, "mastodon"),
                              "sidekiq",  figures_text_of(overview, "sidekiq"),
                              NULL};
    const char *now[] = {"state", figures_text_of(report, "state"), NULL};

    put_family(out, &info);
    put_sample(out, info.name, versions, 1);
    put_family(out, &state);
    put_sample(out, state.name, now, 1);
    put_number(out, &postgres_up, json_is_string(json_object_get(report, "postgres")) ? 0 : 1);
    put_plain(out, report, of_machine, sizeof(of_machine) / sizeof(of_machine[0]));
    put_plain(out, report, &dns_failures, 1);
    put_members(out, counted, outcomes, PROMETHEUS_OUTCOMES, "outcome", &deliveries);
    put_plain(out, counted, totals, sizeof(totals) / sizeof(totals[0]));
    put_histogram(out, json_object_get(report, "latency"));
}

/* ---- the fleet ---- */

static const struct plain of_fleet[] = {
    {"in_flight", {"fedpush_fleet_in_flight", "gauge", "Deliveries in flight, all machines."}, 1},
    {"held", {"fedpush_fleet_held_jobs", "gauge", "Jobs that machines have claimed."}, 1},
    {"held_by_dead",
     {"fedpush_fleet_dead_owners_jobs", "gauge", "Jobs claimed by machines that are dead."},
     1},
    {"open_circuits", {"fedpush_fleet_open_circuits", "gauge", "Hosts that don't answer."}, 1},
};
static const struct plain of_redis[] = {
    {"used_bytes", {"fedpush_fleet_redis_memory_bytes", "gauge", "Memory that Redis uses."}, 1},
    {"max_bytes", {"fedpush_fleet_redis_memory_max_bytes", "gauge", "Redis' own limit of it."}, 1},
};
static const struct plain of_ledger[] = {
    {"missing",
     {"fedpush_fleet_ledger_missing_jobs", "gauge", "Claims that nobody can account for."},
     1},
};
static const struct plain of_queue[] = {
    {"length", {"fedpush_fleet_queue_jobs", "gauge", "Jobs in a queue that fedpush empties."}, 1},
    {"oldest_age_s",
     {"fedpush_fleet_queue_oldest_age_seconds", "gauge", "How long its oldest job has waited."},
     1},
};
static const struct plain of_handoff[] = {
    {"length", {"fedpush_fleet_handoff_jobs", "gauge", "Jobs in the queues for Ruby."}, 1},
    {"consumers",
     {"fedpush_fleet_handoff_consumers", "gauge", "Live Sidekiq processes that serve them."},
     1},
};
static const struct family later = {"fedpush_fleet_later_jobs", "gauge",
                                    "Jobs in Sidekiq's sets, of all classes."};
static const struct family machines_by_state = {"fedpush_fleet_machines", "gauge",
                                                "Machines that are registered."};
static const struct family paused = {"fedpush_fleet_paused", "gauge", "1: all of it is paused."};
static const struct family suspicious = {"fedpush_fleet_suspicious_machines", "gauge",
                                         "Machines that suspect their own network."};
static const struct family alerts = {"fedpush_fleet_alerts", "gauge",
                                     "Alerts of fedpush's own that are firing."};

static void put_machines(struct buf *out, const json_t *machines)
{
    static const char *const alive_labels[] = {"state", "alive", NULL};
    static const char *const dead_labels[] = {"state", "dead", NULL};
    size_t alive = 0;

    if (!json_is_array(machines))
        return;
    for (size_t i = 0; i < json_array_size(machines); i++)
        alive += json_is_true(json_object_get(json_array_get(machines, i), "alive"));
    put_family(out, &machines_by_state);
    put_sample(out, machines_by_state.name, alive_labels, (double)alive);
    put_sample(out, machines_by_state.name, dead_labels,
               (double)(json_array_size(machines) - alive));
}

static void put_fleet(struct buf *out, const json_t *overview)
{
    static const char *const sets[] = {"retry", "schedule", "dead"};
    const json_t *queues = json_object_get(overview, "queues");
    const json_t *handoff = json_object_get(overview, "handoff");

    put_plain(out, overview, of_fleet, sizeof(of_fleet) / sizeof(of_fleet[0]));
    put_machines(out, json_object_get(overview, "machines"));
    put_number(out, &paused, json_is_object(json_object_get(overview, "paused")) ? 1 : 0);
    put_number(out, &suspicious, (double)json_array_size(json_object_get(overview, "suspicious")));
    put_number(out, &alerts, (double)json_array_size(json_object_get(overview, "alerts")));
    for (size_t i = 0; i < sizeof(of_queue) / sizeof(of_queue[0]); i++)
        put_listed(out, queues, "queue", "name", &of_queue[i]);
    for (size_t i = 0; i < sizeof(of_handoff) / sizeof(of_handoff[0]); i++)
        put_listed(out, handoff, "queue", "queue", &of_handoff[i]);
    put_members(out, json_object_get(overview, "later"), sets, sizeof(sets) / sizeof(sets[0]),
                "set", &later);
    put_plain(out, json_object_get(overview, "redis"), of_redis,
              sizeof(of_redis) / sizeof(of_redis[0]));
    put_plain(out, json_object_get(overview, "ledger"), of_ledger,
              sizeof(of_ledger) / sizeof(of_ledger[0]));
}

void prometheus_put_overview(struct buf *out, const json_t *overview, struct str prefix)
{
    const json_t *report = report_of(overview, prefix);

    put_number(out, &up, report != NULL ? 1 : 0);
    if (report != NULL)
        put_machine(out, overview, report);
    if (overview != NULL)
        put_fleet(out, overview);
}

/* ---- domains ---- */

static const struct family domains_by_state = {"fedpush_fleet_domains", "gauge",
                                               "Domains by how they are."};
static const struct family last_day = {
    "fedpush_domain_last_day_deliveries", "gauge",
    "Attempts of the last 24 hours; the domain other sums all but the busiest."};
static const char others_label[] = "other"; /* a host of this name is one of them */
/* No "other" here: it would fall whenever a domain joins the busiest, as no counter may. */
static const struct plain delivered_total = {
    "total_delivered",
    {"fedpush_domain_delivered_total", "counter", "Deliveries to the busiest, since setup."},
    1};
static const struct plain slow = {
    "p95_ms",
    {"fedpush_domain_p95_seconds", "gauge", "Time that 95 % of its attempts stay below."},
    0.001};
static const struct plain failures = {
    "consecutive_failures",
    {"fedpush_domain_consecutive_failures", "gauge", "Failures since its last success."},
    1};

void prometheus_domains_init(struct prometheus_domains *domains)
{
    *domains = (struct prometheus_domains){.top = json_array()};
}

void prometheus_domains_clear(struct prometheus_domains *domains)
{
    json_decref(domains->top);
    domains->top = NULL;
}

void prometheus_domains_add(struct prometheus_domains *domains, const json_t *page)
{
    const json_t *items = json_object_get(page, "items");
    double value = 0;

    for (size_t i = 0; i < json_array_size(items); i++) {
        json_t *item = json_array_get(items, i);
        const char *is = figures_text_of(item, "state");
        for (size_t s = 0; s < PROMETHEUS_STATES; s++)
            domains->states[s] += strcmp(is, states[s]) == 0;
        bool has_label = strcmp(figures_text_of(item, "host"), others_label) != 0;
        if (has_label && json_array_size(domains->top) < PROMETHEUS_TOP) {
            json_array_append(domains->top, item);
            continue;
        }
        for (size_t o = 0; o < PROMETHEUS_OUTCOMES; o++) {
            if (number_of(json_object_get(item, outcomes[o]), &value))
                domains->others[o] += value;
        }
    }
}

static void put_last_day(struct buf *out, const struct prometheus_domains *domains)
{
    put_family(out, &last_day);
    for (size_t i = 0; i < json_array_size(domains->top); i++) {
        const json_t *item = json_array_get(domains->top, i);
        for (size_t o = 0; o < PROMETHEUS_OUTCOMES; o++) {
            const char *labels[] = {"domain", figures_text_of(item, "host"), "outcome", outcomes[o],
                                    NULL};
            double value = 0;
            if (number_of(json_object_get(item, outcomes[o]), &value))
                put_sample(out, last_day.name, labels, value);
        }
    }
    for (size_t o = 0; o < PROMETHEUS_OUTCOMES; o++) {
        const char *labels[] = {"domain", others_label, "outcome", outcomes[o], NULL};
        put_sample(out, last_day.name, labels, domains->others[o]);
    }
}

void prometheus_put_domains(struct buf *out, const struct prometheus_domains *domains)
{
    put_family(out, &domains_by_state);
    for (size_t s = 0; s < PROMETHEUS_STATES; s++) {
        const char *labels[] = {"state", states[s], NULL};
        put_sample(out, domains_by_state.name, labels, (double)domains->states[s]);
    }
    put_last_day(out, domains);
    put_listed(out, domains->top, "domain", "host", &delivered_total);
    put_listed(out, domains->top, "domain", "host", &slow);
    put_listed(out, domains->top, "domain", "host", &failures);
}
