#include <errno.h>
#include <math.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "admin/commands.h"
#include "admin/files.h"
#include "admin/page_check.h"
#include "admin/report.h"
#include "admin/signer_check.h"
#include "admin/survey.h"
#include "admin/words.h"
#include "base/limits.h"
#include "sched/followers.h"
#include "sched/schema.h"

/* `run` makes a missing one itself, where its parent lets it. */
static bool may_make(const char *dir, uid_t uid)
{
    const char *slash = strrchr(dir, '/');
    char *parent = slash == NULL || slash == dir
                       ? str_dup(STR("/"))
                       : str_dup((struct str){dir, (size_t)(slash - dir)});
    struct stat status;
    bool may = stat(parent, &status) == 0 && S_ISDIR(status.st_mode) &&
               (uid == 0 || (status.st_mode & S_IWOTH) != 0 ||
                (status.st_uid == uid && (status.st_mode & S_IWUSR) != 0));

    free(parent);
    return may;
}

/* Before the first start it isn't there, and needn't be. */
static void check_missing_directory(struct report *report, const char *dir, uid_t uid,
                                    const char *name)
{
    if (may_make(dir, uid))
        report_line(report, GRADE_OK, "directory", "%s is made at the first start", dir);
    else if (sd_booted() > 0 && strncmp(dir, "/run/", 5) == 0)
        report_line(report, GRADE_OK, "directory",
                    "%s is made by systemd when it starts the unit (RuntimeDirectory=); to run "
                    "without the unit, make it, owned by %s",
                    dir, name);
    else
        report_line(report, GRADE_FAIL, "directory",
                    "%s doesn't exist, and %s can't make it: make it, owned by %s (systemd's unit "
                    "does), or set FEDPUSH_RUNTIME_DIR",
                    dir, name, name);
}

/* As `run` will ask: it becomes FEDPUSH_USER when root starts it. */
static void check_directory(struct report *report, const struct config *config)
{
    bool becomes = geteuid() == 0 && strcmp(config->user, "root") != 0;
    const struct passwd *user = becomes ? getpwnam(config->user) : getpwuid(geteuid());
    uid_t uid = becomes ? 0 : geteuid();
    const char *name = user != NULL ? user->pw_name : "the user that runs fedpush";
    struct stat status;

    if (becomes && user == NULL) {
        report_line(report, GRADE_FAIL, "user",
                    "there is no user %s to run as: create it (adduser --system --group %s) or "
                    "set FEDPUSH_USER",
                    config->user, config->user);
        return;
    }
    if (becomes)
        uid = user->pw_uid;
    if (stat(config->runtime_dir, &status) != 0 && errno == ENOENT)
        check_missing_directory(report, config->runtime_dir, uid, name);
    else if (stat(config->runtime_dir, &status) != 0)
        report_line(report, GRADE_FAIL, "directory", "%s: %s: make it reachable for %s",
                    config->runtime_dir, strerror(errno), name);
    else if (!S_ISDIR(status.st_mode) || status.st_uid != uid || (status.st_mode & S_IWOTH) != 0)
        report_line(report, GRADE_FAIL, "directory",
                    "%s must be a directory that belongs to %s and that others can't write: chown "
                    "it, or set FEDPUSH_RUNTIME_DIR",
                    config->runtime_dir, name);
    else
        report_line(report, GRADE_OK, "directory", "%s", config->runtime_dir);
}

static void check_descriptors(struct report *report, const struct config *config)
{
    struct limits each = limits_here(config);
    unsigned workers = limits_workers(config);
    unsigned in_flight = each.in_flight * workers;

    if (in_flight < (unsigned)config->max_in_flight)
        report_line(report, GRADE_WARN, "descriptors",
                    "%llu a process allow %u deliveries at once instead of %d, and %u kept "
                    "connections: raise LimitNOFILE=, or lower FEDPUSH_MAX_IN_FLIGHT",
                    (unsigned long long)limits_descriptors(), in_flight, config->max_in_flight,
                    each.connections * workers);
    else
        report_line(report, GRADE_OK, "descriptors",
                    "enough for %d deliveries at once and %u kept connections",
                    config->max_in_flight, each.connections * workers);
}

static void check_machine(struct report *report, const struct config *config)
{
    report_line(report, GRADE_OK, "config", "Mastodon %s, https://%s/", config->mastodon.text,
                config->web_domain);
    check_directory(report, config);
    files_check(report, config);
    check_descriptors(report, config);
}

/* A script that writes nothing: the right to run scripts, and to the keys. */
static bool may_run_scripts(struct session *session, struct redis *redis, struct err *err)
{
    char *claimed = keys_claimed(&session->keys, STR("check"));
    const struct str words[] = {
        STR("EVAL"),
        STR("redis.call('ZSCORE', KEYS[1], 'check') return redis.call('HLEN', KEYS[2]) + "
            "redis.call('LLEN', KEYS[3]) + redis.call('LLEN', KEYS[4])"),
        STR("4"),
        str_of(session->keys.identities),
        str_of(claimed),
        str_of(session->keys.queue_push),
        str_of(session->keys.queue_pull)};
    bool good =
        session_command(session, redis, sizeof(words) / sizeof(words[0]), words, NULL, NULL, err);

    free(claimed);
    return good;
}

static void check_redis_roles(struct report *report, struct session *session)
{
    static const char *const names[] = {"sidekiq", "base", "cache"};

    for (int role = REDIS_ROLE_BASE; role < REDIS_ROLES; role++) {
        struct err err;
        if (redis_endpoint_equal(&session->endpoints[role],
                                 &session->endpoints[REDIS_ROLE_SIDEKIQ]))
            continue;
        struct redis *redis = session_redis(session, (enum redis_role)role, &err);
        if (redis != NULL) {
            struct buf where;
            buf_init(&where, 512);
            redis_describe(redis, &where);
            report_line(report, GRADE_OK, "Redis", "role %s answers at %s", names[role],
                        buf_cstr(&where));
            buf_clear(&where);
        } else {
            report_line(report, GRADE_FAIL, "Redis",
                        "%s: check its address, password and TLS settings", err.message);
        }
    }
}

static void check_policy(struct report *report, const struct survey *s, const struct redis *redis)
{
    int major = 0;
    int minor = 0;
    struct buf where;

    buf_init(&where, 512);
    redis_describe(redis, &where);
    if (sscanf(s->redis_version, "%d.%d", &major, &minor) == 2 &&
        (major < 6 || (major == 6 && minor < 2)))
        report_line(report, GRADE_FAIL, "Redis", "version %s at %s: 6.2 or later is needed",
                    s->redis_version, buf_cstr(&where));
    else
        report_line(report, GRADE_OK, "Redis", "version %s at %s", s->redis_version,
                    buf_cstr(&where));
    buf_clear(&where);
    if (s->policy[0] == '\0')
        report_line(report, GRADE_WARN, "eviction",
                    "maxmemory-policy can't be read: make sure that it is noeviction");
    else if (strcmp(s->policy, "noeviction") == 0)
        report_line(report, GRADE_OK, "eviction", "noeviction");
    else
        report_line(
            report, GRADE_FAIL, "eviction",
            "maxmemory-policy is %s, jobs could vanish: CONFIG SET maxmemory-policy noeviction",
            s->policy);
}

static void check_consumers(struct report *report, const char *queue, const char *setting,
                            int64_t consumers)
{
    if (consumers > 0)
        report_line(report, GRADE_OK, "hand-off", "queue %s is served by %lld Sidekiq processes",
                    queue, (long long)consumers);
    else
        report_line(report, GRADE_FAIL, "hand-off",
                    "no live Sidekiq process serves queue %s: start one with -q %s, or set %s",
                    queue, queue, setting);
}

static void check_pull(struct report *report, const struct survey *s, const struct config *config)
{
    struct buf age;

    check_consumers(report, config->handoff_queue_pull, "FEDPUSH_HANDOFF_QUEUE_PULL",
                    s->handoff_pull_consumers);
    buf_init(&age, 64);
    words_put_age(&age, s->pull_age_s);
    report_line(report, GRADE_OK, "pull", "%lld jobs wait, the oldest for %s",
                (long long)s->pull_length, buf_cstr(&age));
    buf_clear(&age);
}

static void check_handoff(struct report *report, const struct survey *s,
                          const struct config *config)
{
    check_consumers(report, config->handoff_queue, "FEDPUSH_HANDOFF_QUEUE", s->handoff_consumers);
    if (config_takes_pull(config))
        check_pull(report, s, config);
    if (s->dead_claims > 0)
        report_line(report, GRADE_WARN, "claims",
                    "%lld jobs are held by dead owners: a running fedpush returns them within "
                    "two minutes, or run fedpush handback",
                    (long long)s->dead_claims);
}

static void check_clock(struct report *report, const struct survey *s, const struct clock *clock)
{
    double apart_s = fabs((double)clock_wall_us(clock) / 1e6 - s->redis_now_s);

    if (apart_s > 2)
        report_line(report, GRADE_WARN, "clock",
                    "%.0f s apart from Redis' machine: run NTP on both (signatures carry the time)",
                    apart_s);
    else
        report_line(report, GRADE_OK, "clock", "agrees with Redis'");
}

/* As the next start will find it, not as the machines that run have. */
static void check_sidekiq(struct report *report, const struct survey *s)
{
    struct buf found;

    buf_init(&found, 512);
    incumbent_describe(&s->sidekiq, &found);
    report_line(report, GRADE_OK, "Sidekiq", "%s", buf_cstr(&found));
    buf_clear(&found);
}

static void check_redis(struct report *report, struct session *session)
{
    struct survey *s = mem_alloc(sizeof(*s));
    struct err err;

    if (!survey_take(s, session, &err)) {
        report_line(report, GRADE_FAIL, "Redis",
                    "%s: check REDIS_URL (or what else of REDIS_* and SIDEKIQ_REDIS_* is set), the "
                    "password and TLS settings",
                    err.message);
    } else {
        check_policy(report, s, session->redis[REDIS_ROLE_SIDEKIQ]);
        if (!may_run_scripts(session, session->redis[REDIS_ROLE_SIDEKIQ], &err))
            report_line(report, GRADE_FAIL, "scripts",
                        "%s: its user needs +@scripting, ~fedpush:* and ~queue:*", err.message);
        check_sidekiq(report, s);
        check_handoff(report, s, session->config);
        check_clock(report, s, &session->clock);
    }
    check_redis_roles(report, session);
    free(s);
}

/* --- PostgreSQL --- */

struct rights {
    bool good;
    char missing[1024];
};

static void on_rights(void *arg, PGresult *result)
{
    struct rights *rights = arg;
    struct buf missing;

    buf_init(&missing, sizeof(rights->missing) - 1);
    for (int row = 0; row < PQntuples(result); row++) {
        if (row > 0)
            buf_put_str(&missing, STR("; "));
        buf_put_str(&missing, str_of(PQgetvalue(result, row, 0)));
    }
    rights->good = PQntuples(result) == 0;
    snprintf(rights->missing, sizeof(rights->missing), "%s", buf_cstr(&missing));
    buf_clear(&missing);
}

static void check_rights(struct report *report, struct session *session, const char *subject,
                         const char *sql)
{
    struct rights rights = {.good = false};
    struct err err;
    struct postgres *postgres = session_postgres(session, POSTGRES_ROLE_MASTODON, &err);

    if (postgres == NULL)
        report_line(report, GRADE_FAIL, subject, "%s", err.message);
    else if (!session_query(session, postgres, sql, 0, NULL, on_rights, &rights, &err))
        report_line(report, GRADE_FAIL, subject, "%s: is this Mastodon's database?", err.message);
    else if (!rights.good)
        report_line(report, GRADE_FAIL, subject, "rights are missing: run %s", rights.missing);
    else
        report_line(report, GRADE_OK, subject, "answers, and its rights suffice");
}

/* The GRANTs that are missing, one a row. */
static const char mastodon_rights[] =
    "SELECT format('GRANT %s ON public.unavailable_domains TO %I', string_agg(p, ', '), "
    "current_user)"
    " FROM unnest(ARRAY['SELECT','INSERT','DELETE']) AS p"
    " WHERE NOT has_table_privilege('public.unavailable_domains', p) HAVING count(*) > 0"
    " UNION ALL SELECT format('GRANT USAGE ON SEQUENCE %s TO %I', s, current_user)"
    " FROM pg_get_serial_sequence('public.unavailable_domains', 'id') AS s"
    " WHERE s IS NOT NULL AND NOT has_sequence_privilege(s, 'USAGE')"
    " UNION ALL SELECT format('GRANT SELECT (account_id) ON public.account_deletion_requests TO "
    "%I', current_user)"
    " WHERE NOT has_column_privilege('public.account_deletion_requests', 'account_id', 'SELECT')";

static void check_mastodon(struct report *report, struct session *session)
{
    bool counts = !session->config->followers_synchronization_off;
    char *sql = mem_printf("%s%s%s", mastodon_rights, counts ? " UNION ALL " : "",
                           counts ? followers_rights : "");

    check_rights(report, session, "PostgreSQL", sql);
    free(sql);
}

struct schema_answer {
    struct session *session;
    enum fp_err code;
    char message[400];
};

static void on_schema(void *arg, enum fp_err code, const char *message, int version)
{
    struct schema_answer *answer = arg;

    (void)version;
    answer->code = code;
    snprintf(answer->message, sizeof(answer->message), "%s", message);
    answer->session->done = true;
}

static void check_schema(struct report *report, struct session *session)
{
    struct schema_answer answer = {
        .session = session, .code = FP_UNAVAILABLE, .message = "no answer"};
    struct err err;
    struct postgres *postgres = session_postgres(session, POSTGRES_ROLE_FEDPUSH, &err);

    if (postgres == NULL) {
        report_line(report, GRADE_FAIL, "schema", "%s", err.message);
        return;
    }
    session->done = false;
    schema_check(postgres, on_schema, &answer);
    session_wait(session, 90000); /* the statements' own limits end it sooner */
    if (answer.code == FP_OK)
        report_line(report, GRADE_OK, "schema", "fedpush is at version %d", SCHEMA_VERSION);
    else
        report_line(report, GRADE_FAIL, "schema", "%s", answer.message);
}

/* --- DNS --- */

static void on_lookup(void *arg, const struct dns_result *result)
{
    struct session *session = arg;
    session->good = result->status != DNS_NO_ANSWER && result->status != DNS_NO_SOCKET &&
                    result->status != DNS_CANCELLED;
    session->done = true;
}

static void check_dns(struct report *report, struct session *session)
{
    session->done = false;
    dns_lookup(session->dns, str_of(session->config->web_domain), on_lookup, session);
    session_wait(session, 15000);
    if (session->done && session->good)
        report_line(report, GRADE_OK, "DNS", "the resolvers answer");
    else
        report_line(report, GRADE_FAIL, "DNS",
                    "no answer about %s: check /etc/resolv.conf, or set FEDPUSH_RESOLVERS",
                    session->config->web_domain);
}

static int check(struct session *session, bool as_json)
{
    struct report report = {.worst = GRADE_OK, .lines = as_json ? report_lines_create() : NULL};

    check_machine(&report, session->config);
    check_redis(&report, session);
    check_mastodon(&report, session);
    signer_check(&report, session);
    check_schema(&report, session);
    check_dns(&report, session);
    page_check(&report, session->config);
    bool works = report.worst != GRADE_FAIL;
    if (as_json)
        report_print_json(&report, works);
    else
        words_print(stdout, "%s",
                    works ? "`fedpush run` would work"
                          : "`fedpush run` would not work yet: see the lines with FAIL");
    return works ? FP_EXIT_OK : FP_EXIT_FAILURE;
}

int command_check(const struct config *config, int argc, char **argv)
{
    struct session session;
    struct err err;

    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--json") != 0)
            return words_unknown("check", argv[i]);
    }
    int code = session_open(&session, config, &err) ? check(&session, argc > 0)
                                                    : session_fail(&err, FP_EXIT_CONFIG);
    session_close(&session);
    return code;
}
