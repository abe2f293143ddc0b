#include "sched/judge.h"

#include <inttypes.h>
#include <stdio.h>

static void set_message(struct judgement *j, struct str text)
{
    snprintf(j->error_message, sizeof(j->error_message), "%.*s", STR_ARG(text));
}

static void judge_response(struct judgement *j, const struct message_outcome *outcome,
                           const struct mastodon_version *version, const struct job *job,
                           int sender_gone)
{
    enum verdict verdict = verdict_of_status(outcome->status);

    j->attempted = true;
    j->recorded = true;
    if (outcome->status == 401 && outcome->sender_suspended && job->account_id != -99 &&
        verdict_gone_sender_rule(version)) {
        if (sender_gone < 0) {
            j->sentence = SENTENCE_ASK;
            return;
        }
        if (sender_gone > 0)
            verdict = VERDICT_UNSALVAGEABLE;
    }
    switch (verdict) {
    case VERDICT_DELIVERED:
        j->sentence = SENTENCE_DONE;
        j->track = TRACK_SUCCESS;
        j->result = HEALTH_DELIVERED;
        break;
    case VERDICT_UNSALVAGEABLE:
        j->sentence = SENTENCE_DONE;
        j->track = verdict_unsalvageable_is_success(version) ? TRACK_SUCCESS : TRACK_NOTHING;
        j->result = HEALTH_REJECTED;
        break;
    case VERDICT_RETRY:
        j->sentence = SENTENCE_RETRY;
        j->track = TRACK_FAILURE;
        j->result = HEALTH_RETRIED;
        j->error_class = STR("Mastodon::UnexpectedResponseError");
        j->retry_after_ms = outcome->retry_after_ms;
        snprintf(j->error_message, sizeof(j->error_message), "%.*s returned code %u",
                 STR_ARG(job->inbox_url), outcome->status);
        break;
    }
}

void judge(struct judgement *j, const struct message_outcome *outcome,
           const struct mastodon_version *version, const struct job *job, int sender_gone)
{
    *j = (struct judgement){.sentence = SENTENCE_AGAIN};
    switch ((enum outcome_kind)outcome->kind) {
    case OUTCOME_RESPONSE:
        judge_response(j, outcome, version, job, sender_gone);
        break;
    case OUTCOME_TRANSPORT:
        if (outcome->failure == FAILURE_RESOLVER) {
            j->sentence = SENTENCE_WAIT;
            set_message(j, outcome->error_message);
            break;
        }
        *j = (struct judgement){.sentence = SENTENCE_RETRY,
                                .track = TRACK_FAILURE,
                                .attempted = true,
                                .transport_failure = true,
                                .failure = (enum failure_kind)outcome->failure,
                                .recorded = true,
                                .result = HEALTH_RETRIED,
                                .error_class = outcome->error_class};
        set_message(j, outcome->error_message);
        break;
    case OUTCOME_REFUSED:
        j->sentence = SENTENCE_DONE;
        j->track = TRACK_FAILURE;
        j->recorded = true;
        j->result = HEALTH_REJECTED;
        set_message(j, outcome->error_message);
        break;
    case OUTCOME_SENDER_MISSING:
        j->sentence = SENTENCE_RETRY;
        j->error_class = STR("ActiveRecord::RecordNotFound");
        snprintf(j->error_message, sizeof(j->error_message),
                 "Couldn't find Account with 'id'=%" PRId64, job->account_id);
        break;
    case OUTCOME_KEY_UNUSABLE:
        j->sentence = SENTENCE_RETRY;
        j->track = TRACK_FAILURE;
        j->error_class = outcome->error_class;
        set_message(j, outcome->error_message);
        break;
    case OUTCOME_KEY_WAIT:
        j->sentence = SENTENCE_WAIT;
        break;
    case OUTCOME_NOT_TRIED:
        break;
    }
}
