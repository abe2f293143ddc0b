/*
 * The figures as Prometheus reads them (text format 0.0.4). What belongs to this machine is named
 * fedpush_…, what every machine says alike fedpush_fleet_… (take the maximum over machines, not the
 * sum), what is about domains fedpush_domain_…. A figure that is unknown is left out.
 */
#ifndef FEDPUSH_ADMIN_PROMETHEUS_H
#define FEDPUSH_ADMIN_PROMETHEUS_H

#include <jansson.h>

#include "base/str.h"

enum { PROMETHEUS_TOP = 20, PROMETHEUS_OUTCOMES = 4, PROMETHEUS_STATES = 7 };

/* `overview` as figures_overview gives it, or NULL; `prefix`: what this machine's identities begin
 * with. Appends. */
void prometheus_put_overview(struct buf *out, const json_t *overview, struct str prefix);

/* The busiest PROMETHEUS_TOP domains one by one, all others in one sum. */
struct prometheus_domains {
    json_t *top;                        /* items of figures_domains */
    double others[PROMETHEUS_OUTCOMES]; /* of the last 24 hours */
    int64_t states[PROMETHEUS_STATES];
};

void prometheus_domains_init(struct prometheus_domains *domains);
void prometheus_domains_clear(struct prometheus_domains *domains);
/* A page of figures_domains; all pages in the order of `delivered`, most first. */
void prometheus_domains_add(struct prometheus_domains *domains, const json_t *page);
void prometheus_put_domains(struct buf *out, const struct prometheus_domains *domains);

#endif
