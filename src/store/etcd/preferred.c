/* Going back to the preferred member: see etcd.h.
 *
 * The preferred one is the first that is on this machine, by its address; if none is, the first that was named. Whoever had to leave it asks it, on a connection of its own, whether it
 * serves, first after FIRST_MS and then ever more rarely, and goes back when it does. When it has to be left again soon, the next time comes later too: a member that
 * serves now and then is not run after. */
#include <ifaddrs.h>
#include <netdb.h>
#include <string.h>
#include <strings.h>
#include "store/etcd/etcd.h"

enum { FIRST_MS = 2000, LAST_MS = 60000, PROBE_MS = 2000, GOOD_MS = 120000 /* after so long there nothing of before is remembered */ };

/* ---- which one ---- */

static bool is_local(const char *host, const struct ifaddrs *own) {
    char text[NI_MAXHOST];
    if (strcasecmp(host, "localhost") == 0) return true;
    for (const struct ifaddrs *i = own; i; i = i->ifa_next) {
        int family = i->ifa_addr ? i->ifa_addr->sa_family : AF_UNSPEC;
        if (family != AF_INET && family != AF_INET6) continue;
        socklen_t len = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
        if (getnameinfo(i->ifa_addr, len, text, sizeof(text), NULL, 0, NI_NUMERICHOST) == 0 && strcmp(text, host) == 0) return true;
    }
    return false;
}

size_t preferred_choose(const struct endpoint *endpoints, size_t len) {
    struct ifaddrs *own = NULL;
    if (getifaddrs(&own) != 0) own = NULL;
    size_t i = 0;
    while (i < len && !is_local(endpoints[i].host, own)) i++;
    if (own) freeifaddrs(own);
    return i < len ? i : 0;
}

/* ---- going back ---- */

static void on_probed(void *arg, const struct status *error) {
    struct etcd *e = arg;
    e->preferred_probe = NULL;
    if (!error && e->endpoint != e->preferred) etcd_move(e, e->preferred, "the preferred member serves again");
}

static void plan(struct etcd *e, int64_t now) {
    e->preferred_pause_ms = e->preferred_pause_ms ? MIN(e->preferred_pause_ms * 2, (int64_t)LAST_MS) : FIRST_MS;
    e->preferred_at_ms = now + e->preferred_pause_ms;
}

void preferred_tick(struct etcd *e, int64_t now) {
    if (e->endpoints_len < 2 || e->preferred_probe || !e->open || e->moving) return;
    if (e->endpoint == e->preferred) {
        e->preferred_at_ms = 0;
        if (now - e->opened_ms > GOOD_MS) e->preferred_pause_ms = 0;
    } else if (!e->preferred_at_ms) plan(e, now);
    else if (now >= e->preferred_at_ms) {
        plan(e, now);
        e->preferred_probe = probe_begin(e, &e->endpoints[e->preferred], PROBE_MS, on_probed, e);
    }
}

void preferred_stop(struct etcd *e) {
    probe_cancel(e->preferred_probe);
    e->preferred_probe = NULL;
}
