#include "apiserver/flowcontrol/integrator.h"
#include <math.h>
#include "base/macros.h"

static void advance(struct integrator *i, int64_t now_ns) {
    double dt = (double)(now_ns - i->last_ns) / 1e9;
    i->last_ns = now_ns;
    i->seconds += dt;
    i->sum += dt * i->value;
    i->sum_of_squares += dt * i->value * i->value;
}

void integrator_set(struct integrator *i, double value, int64_t now_ns) {
    advance(i, now_ns);
    i->value = value;
    i->min = MIN(i->min, value);
    i->max = MAX(i->max, value);
}

struct integral integrator_reset(struct integrator *i, int64_t now_ns) {
    advance(i, now_ns);
    struct integral r = {.seconds = i->seconds, .min = i->min, .max = i->max};
    if (i->seconds > 0) {
        r.average = i->sum / i->seconds;
        double variance = i->sum_of_squares / i->seconds - r.average * r.average;
        r.deviation = variance > 0 ? sqrt(variance) : 0;
    }
    *i = (struct integrator){.last_ns = now_ns, .value = i->value, .min = i->value, .max = i->value};
    return r;
}
