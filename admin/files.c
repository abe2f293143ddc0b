#include "admin/files.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* 0, or the errno of opening it as `user`; NULL: as who we are. A process of its own gives up what
 * root may do. */
static int open_as(const struct passwd *user, const char *path)
{
    int status = 0;
    pid_t pid = fork();

    if (pid == -1)
        return errno;
    if (pid == 0) {
        if (user != NULL && (initgroups(user->pw_name, user->pw_gid) != 0 ||
                             setgid(user->pw_gid) != 0 || setuid(user->pw_uid) != 0))
            _exit(errno);
        _exit(open(path, O_RDONLY | O_CLOEXEC) >= 0 ? 0 : errno);
    }
    while (waitpid(pid, &status, 0) == -1 && errno == EINTR)
        continue;
    return WIFEXITED(status) ? WEXITSTATUS(status) : ECHILD;
}

void files_check(struct report *report, const struct config *config)
{
    const struct {
        const char *name, *path;
    } files[] = {{"FEDPUSH_REDIS_CA_FILE", config->redis_ca_file},
                 {"FEDPUSH_REDIS_CERT_FILE", config->redis_cert_file},
                 {"FEDPUSH_REDIS_KEY_FILE", config->redis_key_file}};
    bool becomes = geteuid() == 0 && strcmp(config->user, "root") != 0;
    const struct passwd *user = becomes ? getpwnam(config->user) : NULL;

    if (becomes && user == NULL)
        return; /* said before */
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        int error = files[i].path[0] != '\0' ? open_as(user, files[i].path) : 0;
        if (error != 0)
            report_line(report, GRADE_FAIL, "file",
                        "%s: %s: %s: it must be there, and readable by the user %s", files[i].name,
                        files[i].path, strerror(error),
                        becomes ? config->user : "that runs fedpush");
    }
}
