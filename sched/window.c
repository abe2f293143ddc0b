#include "sched/window.h"

enum { GAP_DECAY = 24 }; /* a success takes this part of the gap back */

void window_init(struct window *window, int64_t now_ms)
{
    *window = (struct window){.size = WINDOW_FIRST,
                              .counted_ms = INT64_MIN,
                              .started_ms = now_ms - WINDOW_MAX_GAP_MS,
                              .not_before_ms = now_ms};
}

void window_started(struct window *window, int64_t now_ms)
{
    if (now_ms - window->started_ms >= WINDOW_IDLE_MS && window->size > WINDOW_REST) {
        window->size = WINDOW_REST;
        window->credit = 0;
    }
    window->started_ms = now_ms;
}

void window_succeeded(struct window *window, bool limited, unsigned most)
{
    if (window->gap_ms > 0) {
        uint32_t part = window->gap_ms / GAP_DECAY + 1;
        window->gap_ms = window->gap_ms > WINDOW_FIRST_GAP_MS / 2 ? window->gap_ms - part : 0;
        return;
    }
    if (!limited || window->size >= most)
        return;
    if (++window->credit >= window->size) {
        window->credit = 0;
        window->size++;
    }
}

bool window_failed(struct window *window, int64_t started_ms, bool pushed_back, int64_t now_ms)
{
    if (started_ms < window->counted_ms)
        return false;
    window->counted_ms = now_ms;
    window->credit = 0;
    if (window->size > 1) {
        window->size /= 2;
    } else if (pushed_back) {
        window->gap_ms = window->gap_ms > 0 ? window->gap_ms * 2 : (uint32_t)WINDOW_FIRST_GAP_MS;
        if (window->gap_ms > WINDOW_MAX_GAP_MS)
            window->gap_ms = WINDOW_MAX_GAP_MS;
    }
    return true;
}

void window_hold(struct window *window, int64_t hold_ms, int64_t now_ms)
{
    if (hold_ms > WINDOW_MAX_RETRY_AFTER_MS)
        hold_ms = WINDOW_MAX_RETRY_AFTER_MS;
    if (now_ms + hold_ms > window->not_before_ms)
        window->not_before_ms = now_ms + hold_ms;
}

int64_t window_opens_ms(const struct window *window)
{
    int64_t gap_end_ms = window->started_ms + window->gap_ms;
    return gap_end_ms > window->not_before_ms ? gap_end_ms : window->not_before_ms;
}
