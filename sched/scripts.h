/* The Lua scripts, made from the .lua files of this folder by the build. NUL-terminated text. */
#ifndef FEDPUSH_SCHED_SCRIPTS_H
#define FEDPUSH_SCHED_SCRIPTS_H

extern const char script_beat[];
extern const char script_claim[];
extern const char script_settle[];
extern const char script_condemn[];
extern const char script_recover[];
extern const char script_adopt[];
extern const char script_due[];
extern const char script_enqueue[];
extern const char script_leave[];
extern const char script_yield[];
extern const char script_register[];
extern const char script_schemes[];
extern const char script_fleet[];
extern const char script_probe[];
extern const char script_release[];
extern const char script_policies[];
extern const char script_policies_merge[];
extern const char script_policies_write[];
extern const char script_resume[];
extern const char script_answer[];
extern const char script_try[];
extern const char script_unlist[];
extern const char script_attempts[];

#endif
