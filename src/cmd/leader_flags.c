/* Flags of leader election: see leader_flags.h. */
#include "cmd/leader_flags.h"
#include <stdio.h>
#include <string.h>
#include "api/time.h"
#include "base/str.h"

enum { NS_PER_MS = 1000000 };

void leader_flags_init(struct leader_flags *f, const char *name) {
    *f = (struct leader_flags){.elect = true, .name = name, .ns = "kube-system"};
}

void leader_flags_rows(struct leader_flags *f, struct flag *out) {
    const struct flag rows[LEADER_FLAGS] = {
        {.name = "leader-elect-lease-duration", .text = &f->lease_duration, .help = "how long others wait after a renewal before they take the Lease over, in whole seconds (default: 4s)"},
        {.name = "leader-elect-renew-deadline", .text = &f->renew_deadline, .help = "how long the holder tries to renew before it stops acting (default: 3.5s)"},
        {.name = "leader-elect-retry-period", .text = &f->retry_period, .help = "pause between tries to acquire and to renew (default: 1s)"},
        {.name = "leader-elect", .on = &f->elect, .help = "act only while holding the Lease (default: true)"},
        {.name = "leader-elect-resource-name", .text = &f->name, .help = "name of the Lease (default: the component's)"},
        {.name = "leader-elect-resource-namespace", .text = &f->ns, .help = "its namespace (default: kube-system)"},
        {.name = "node-name", .text = &f->node, .help = "server that this runs on: holders of Leases prefer to be on different ones (default: the host's name)"},
    };
    memcpy(out, rows, sizeof(rows));
}

static int take(const char *command, const char *option, const char *text, int *ret_ms) {
    int64_t ns;
    if (duration_parse(text, &ns) && ns >= NS_PER_MS && ns / NS_PER_MS <= INT32_MAX) {
        *ret_ms = (int)(ns / NS_PER_MS);
        return 0;
    }
    fprintf(stderr, "ckube %s: --%s: \"%s\" is no duration\n", command, option, text);
    return 2;
}

int leader_flags_take(const struct leader_flags *f, const char *command, bool lone, struct leader_election_config *ret) {
    int duration_ms, deadline_ms, retry_ms;
    if (take(command, "leader-elect-lease-duration", str_or(f->lease_duration, lone ? "15s" : "4s"), &duration_ms) != 0 || take(command, "leader-elect-renew-deadline", str_or(f->renew_deadline, lone ? "10s" : "3.5s"), &deadline_ms) != 0 ||
        take(command, "leader-elect-retry-period", str_or(f->retry_period, lone ? "2s" : "1s"), &retry_ms) != 0) return 2;
    duration_ms -= duration_ms % 1000; /* a Lease counts whole seconds */
    if (duration_ms <= deadline_ms || deadline_ms <= retry_ms + retry_ms / 5) {
        fprintf(stderr, "ckube %s: %s\n", command, duration_ms <= deadline_ms ? "leaseDuration must be greater than renewDeadline" : "renewDeadline must be greater than retryPeriod*JitterFactor");
        return 2;
    }
    ret->name = f->name;
    ret->ns = f->ns;
    ret->lease_duration_ms = duration_ms;
    ret->renew_deadline_ms = deadline_ms;
    ret->retry_period_ms = retry_ms;
    return 0;
}
