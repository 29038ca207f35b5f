/* The average, deviation and bounds of a value over time. Upstream: fairqueuing/integrator.go. The owner's lock guards it. */
#ifndef CKUBE_APISERVER_FLOWCONTROL_INTEGRATOR_H
#define CKUBE_APISERVER_FLOWCONTROL_INTEGRATOR_H
#include <stdint.h>

struct integrator { int64_t last_ns; double value, seconds, sum, sum_of_squares, min, max; };
struct integral { double seconds, average, deviation, min, max; };

void integrator_set(struct integrator *i, double value, int64_t now_ns);
/* What there was since the last reset; begins anew with the present value. */
struct integral integrator_reset(struct integrator *i, int64_t now_ns);
#endif
