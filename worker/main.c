#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin/commands.h"
#include "base/secret.h"
#include "sched/scheduler.h"
#include "sig/signer.h"
#include "worker/privileges.h"
#include "worker/supervisor.h"
#include "worker/worker.h"
int main(int argc, char **argv)
{
    struct config config;
    struct err err;
    extern char **environ;
    if (sodium_init() < 0) return 1;
    process_title_init(argc, argv);
    if (argc > 3 && strcmp(argv[1], "role") == 0) {
        if (strcmp(argv[2], "scheduler") == 0) return scheduler_main();
        if (strcmp(argv[2], "signer") == 0) return signer_main();
        if (strcmp(argv[2], "worker") == 0) return worker_main((unsigned)atoi(argv[3]));
    }
    if (config_load(&config, environ, NULL, &err) != FP_OK) { fprintf(stderr, "fedpush: %s\n", err.message); return 78; }
    const char *c = argc > 1 ? argv[1] : "";
    if (!strcmp(c, "run")) return supervisor_run(&config, NULL);
    if (!strcmp(c, "check")) return command_check(&config, argc - 2, argv + 2);
    if (!strcmp(c, "setup")) return command_setup(&config, argc - 2, argv + 2);
    if (!strcmp(c, "stats")) return command_stats(&config, argc - 2, argv + 2);
    if (!strcmp(c, "status")) return command_status(&config, argc - 2, argv + 2);
    if (!strcmp(c, "handback")) return command_handback(&config, argc - 2, argv + 2);
    return 64;
}
