/*
 * Orders of admins, carried out: for the commands and for the API. Each writes its entry of the
 * audit, and adds what it has done to `said`, a line each. False with err filled: FP_INVALID,
 * what was asked can't be; else it may be tried again.
 */
#ifndef FEDPUSH_ADMIN_GIVE_H
#define FEDPUSH_ADMIN_GIVE_H

#include "admin/domain.h"

struct give {
    struct session *session;
    const char *who; /* NULL: the person at this terminal */
    struct said *said;
};

/* The next line. */
static inline void give_say(struct give *give, enum phrase phrase, struct says says)
{
    said_add(give->said, "\n", phrase, says);
}

/* `machine`: its host name or identity; NULL: the fleet. `span_s` 0: until it is taken back. */
bool give_pause(struct give *give, const char *machine, int64_t span_s,
                struct err *err) FP_MUST_CHECK;
bool give_resume(struct give *give, const char *machine, struct err *err) FP_MUST_CHECK;
/* The live machines of that host name or identity stop as by Sidekiq's Stop: what is on the wire
 * ends, the rest goes back, and the processes end. */
bool give_drain(struct give *give, const char *machine, struct err *err) FP_MUST_CHECK;

/* Says which hosts domain_hosts_ask has left out. */
void give_left_out(struct give *give, const struct domain_hosts *hosts);
/* The hosts are what the domain means (domain_hosts_ask), and get those that only orders name. */
bool give_domain_pause(struct give *give, struct domain_hosts *hosts,
                       const struct domain_options *options, struct err *err) FP_MUST_CHECK;
/* What was put off meanwhile is due at once. */
bool give_domain_resume(struct give *give, struct domain_hosts *hosts,
                        struct err *err) FP_MUST_CHECK;
bool give_domain_limit(struct give *give, const struct domain_hosts *hosts,
                       const struct domain_options *options, struct err *err) FP_MUST_CHECK;
/* Waits until the machines have dropped what they hold, for 15 s at most. */
bool give_domain_drop(struct give *give, struct domain_hosts *hosts,
                      const struct domain_options *options, struct err *err) FP_MUST_CHECK;
/* One job of the host that waits for its time is due now, and so is the probe of its circuit, so
 * that the next try is made within two seconds. */
bool give_domain_try(struct give *give, struct str host, struct err *err) FP_MUST_CHECK;

/* A limit of the command line or the API: "30/m", "5/s", "0"; a minute's number. */
bool give_parse_rate(struct str text, int64_t *rate) FP_MUST_CHECK;
/* "auto", "cavage", "rfc9421". */
bool give_parse_scheme(struct str text, int *scheme) FP_MUST_CHECK;
/* Whether `policy_name` may name a machine in an order. */
bool give_is_machine(const char *machine);

#endif
