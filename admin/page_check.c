#include "admin/page_check.h"

#include "base/listen.h"

static const char *logins_of(const struct config *config)
{
    bool password = config->admin_password_hash[0] != '\0';
    bool oauth = config->admin_oauth_id[0] != '\0';

    if (password && oauth)
        return "sign in with a password or an account of this Mastodon";
    if (password)
        return "sign in with a password";
    return oauth ? "sign in with an account of this Mastodon" : NULL;
}

/* An address that only this machine reaches. */
static bool is_local(const char *listen)
{
    struct str text = str_of(listen);

    return str_starts_with(text, STR("unix:")) || str_starts_with(text, STR("127.")) ||
           str_starts_with(text, STR("[::1]:"));
}

/* Without a login. */
static void check_closed_page(struct report *report, const struct config *config)
{
    const char *listen = config->admin_listen;

    if (config->admin_url[0] != '\0' || config->admin_trusted_proxies[0] != '\0')
        report_line(report, GRADE_WARN, "page",
                    "at %s, but behind a web server (FEDPUSH_ADMIN_URL, "
                    "FEDPUSH_ADMIN_TRUSTED_PROXIES) nobody gets in without a login: run `fedpush "
                    "password`",
                    listen);
    else if (is_local(listen))
        report_line(report, GRADE_OK, "page",
                    "at %s, read-only for this machine alone, and so for everybody that a web "
                    "server here sends to it: `fedpush password` makes a login",
                    listen);
    else
        report_line(report, GRADE_WARN, "page",
                    "at %s, but without a login it answers this machine alone: run `fedpush "
                    "password`, or set FEDPUSH_ADMIN_LISTEN=127.0.0.1:4480",
                    listen);
}

static void check_page(struct report *report, const struct config *config)
{
    const char *listen = config->admin_listen;
    const char *logins = logins_of(config);
    struct listen_address address;

    if (listen[0] == '\0' || !listen_parse(&address, str_of(listen)))
        report_line(report, GRADE_OK, "page", "none: FEDPUSH_ADMIN_LISTEN is empty");
    else if (logins != NULL)
        report_line(report, GRADE_OK, "page", "at %s: %s", listen, logins);
    else
        check_closed_page(report, config);
}

void page_check(struct report *report, const struct config *config)
{
    bool mail = config->alert_mail[0] != '\0';
    bool webhook = config->alert_webhook[0] != '\0';

    check_page(report, config);
    if (mail || webhook)
        report_line(report, GRADE_OK, "alerts", "go by %s%s%s; `fedpush alert --test` tries it",
                    mail ? "mail" : "", mail && webhook ? " and " : "", webhook ? "webhook" : "");
    else
        report_line(report, GRADE_OK, "alerts",
                    "reach nobody: FEDPUSH_ALERT_MAIL or FEDPUSH_ALERT_WEBHOOK changes that");
}
