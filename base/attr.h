/* Compiler attributes under names that say what they promise. */
#ifndef FEDPUSH_BASE_ATTR_H
#define FEDPUSH_BASE_ATTR_H

#define FP_MUST_CHECK __attribute__((warn_unused_result))
#define FP_PRINTF(at, first) __attribute__((format(printf, at, first)))
#define FP_NORETURN __attribute__((noreturn))

#endif
