#include "sched/share.h"

#include <stdbool.h>

const double share_all = 1e9;

/* What each may have for certain, when those who want less have got it. */
static double level_of(double rate, const double *wants, size_t count, double *left)
{
    double level = rate / (double)count;
    bool grew = true;

    *left = 0;
    while (grew) { /* each time somebody more is content, so that it ends */
        double rest = rate;
        size_t greedy = 0;
        for (size_t i = 0; i < count; i++) {
            if (wants[i] <= level)
                rest -= wants[i];
            else
                greedy++;
        }
        if (greedy == 0) {
            *left = rest;
            return level;
        }
        grew = rest / (double)greedy > level * (1 + 1e-9);
        level = rest / (double)greedy;
    }
    return level;
}

double share_of(double rate, double mine, const double *others, size_t count)
{
    double wants[SHARE_MACHINES];
    double least = rate / (double)(count + 1) / SHARE_LEAST;
    double left;

    if (count >= SHARE_MACHINES)
        return rate / (double)(count + 1);
    wants[0] = mine > least ? mine : least;
    for (size_t i = 0; i < count; i++)
        wants[i + 1] = others[i] > least ? others[i] : least;
    double level = level_of(rate, wants, count + 1, &left);
    if (left > 0)
        return wants[0] + left / (double)(count + 1);
    return wants[0] < level ? wants[0] : level;
}
