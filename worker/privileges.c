#include "worker/privileges.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

enum fp_err privileges_choose(uid_t euid, const char *user, struct privileges *out, struct err *err)
{
    *out = (struct privileges){.drop = false};
    if (user == NULL || user[0] == '\0')
        user = PRIVILEGES_DEFAULT_USER;
    if (euid != 0 || strcmp(user, "root") == 0)
        return FP_OK;
    if (strlen(user) >= sizeof(out->user))
        return err_set(err, FP_INVALID, "FEDPUSH_USER is longer than %zu bytes",
                       sizeof(out->user) - 1);
    errno = 0;
    const struct passwd *entry = getpwnam(user);
    if (entry == NULL)
        return err_set(err, FP_INVALID,
                       "started as root, but there is no user \"%s\" to become%s%s: create it "
                       "(adduser --system --group fedpush) or set FEDPUSH_USER",
                       user, errno != 0 ? ": " : "", errno != 0 ? strerror(errno) : "");
    if (entry->pw_uid == 0 || entry->pw_gid == 0)
        return err_set(err, FP_INVALID,
                       "FEDPUSH_USER \"%s\" has user or group id 0: choose another, or say "
                       "FEDPUSH_USER=root",
                       user);
    out->drop = true;
    out->uid = entry->pw_uid;
    out->gid = entry->pw_gid;
    memcpy(out->user, user, strlen(user) + 1);
    return FP_OK;
}

static bool has_all_ids(const struct privileges *privileges)
{
    uid_t ruid, euid, suid;
    gid_t rgid, egid, sgid;

    return getresuid(&ruid, &euid, &suid) == 0 && getresgid(&rgid, &egid, &sgid) == 0 &&
           ruid == privileges->uid && euid == privileges->uid && suid == privileges->uid &&
           rgid == privileges->gid && egid == privileges->gid && sgid == privileges->gid;
}

static bool root_is_gone(const struct privileges *privileges)
{
    return has_all_ids(privileges) && setuid(0) == -1 && seteuid(0) == -1 && setgid(0) == -1 &&
           setegid(0) == -1 && has_all_ids(privileges);
}

enum fp_err privileges_drop(const struct privileges *privileges, struct err *err)
{
    const char *failed = NULL;

    if (!privileges->drop)
        return FP_OK;
    /* No capability survives the change of user ids, whatever securebits said. */
    prctl(PR_SET_KEEPCAPS, 0);
    if (initgroups(privileges->user, privileges->gid) == -1)
        failed = "its groups";
    else if (setresgid(privileges->gid, privileges->gid, privileges->gid) == -1)
        failed = "its group id";
    else if (setresuid(privileges->uid, privileges->uid, privileges->uid) == -1)
        failed = "its user id";
    if (failed != NULL)
        return err_set(err, FP_DENIED, "root can't become \"%s\" (%s): %s", privileges->user,
                       failed, strerror(errno));
    if (!root_is_gone(privileges))
        return err_set(err, FP_DENIED, "root could be had again after becoming \"%s\": refused",
                       privileges->user);
    return FP_OK;
}
