/*
 * What Mastodon's installation and variables mean: its version, and where its Redis servers and its
 * database are, by the precedence of that version.
 */
#ifndef FEDPUSH_BASE_MASTODON_H
#define FEDPUSH_BASE_MASTODON_H

#include "base/config.h"
#include "base/dotenv.h"

/* "4.5.15", "4.6.0-beta.1+glitch": at least 4.2. `name` is what errors call it. */
enum fp_err mastodon_version_parse(struct mastodon_version *version, const char *name,
                                   struct str text, struct err *err) FP_MUST_CHECK;
/* From the text of lib/mastodon/version.rb and MASTODON_VERSION_PRERELEASE and _METADATA. */
enum fp_err mastodon_version_read(struct mastodon_version *version, const char *file,
                                  struct str ruby, const struct dotenv *dotenv,
                                  struct err *err) FP_MUST_CHECK;
/* The Sidekiq that this version's newest release ships. A constant. */
const char *mastodon_sidekiq_version(const struct mastodon_version *version);

/* Where a role's Redis is, for redis_endpoint_parse, Sentinels included (since 4.3). `prefix`: ""
 * (base), "SIDEKIQ_" or "CACHE_". A new string in *url, with password: secret_free. */
enum fp_err mastodon_redis_url(const struct mastodon_version *version, const struct dotenv *dotenv,
                               const char *prefix, char **url, struct err *err) FP_MUST_CHECK;

/* A new string in *conninfo, libpq's keyword/value form, with password: secret_free. */
enum fp_err mastodon_database(const struct dotenv *dotenv, char **conninfo,
                              struct err *err) FP_MUST_CHECK;

#endif
