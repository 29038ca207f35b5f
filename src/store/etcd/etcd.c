/* Beginning and ending: options, the loop. See etcd.h. */
#include "store/etcd/etcd.h"
#include <string.h>
#include <stdio.h>
#include "base/fiber.h"
#include "base/str.h"
#include "store/lmdb.h"
#include "wire/upstream.h"

/* "https://host:port", "http://host:port", "host:port", "https://[::1]:port" */
static int parse_server(struct endpoint *ret, const char *text, size_t len, struct status *reterr) {
    char *copy = strndup(text, len), *p = copy, *colon;
    uint64_t port;
    CHECK(copy);
    ret->tls = str_has_prefix(p, "https://");
    if (ret->tls) p += 8;
    else if (str_has_prefix(p, "http://")) p += 7;
    if (str_has_suffix(p, "/")) p[strlen(p) - 1] = 0;
    colon = strrchr(p, ':');
    bool ok = colon && colon > p && str_to_u64(colon + 1, &port) && port > 0 && port < 65536;
    if (ok) {
        *colon = 0;
        ret->port = (int)port;
        if (*p == '[' && colon[-1] == ']') {
            colon[-1] = 0;
            p++;
        }
        ret->host = strdup(p);
        CHECK(ret->host);
    } else status_bad_request(reterr, "--etcd-servers: \"%.*s\" is no server's address", (int)len, text);
    free(copy);
    return ok ? 0 : -1;
}

/* Into `to`, of ETCD_ENDPOINTS_MAX. After -1 too, the hosts of the first *ret_len are the caller's to free. */
static int parse_servers(struct endpoint *to, size_t *ret_len, const char *text, struct status *reterr) {
    *ret_len = 0;
    for (const char *p = text; *p;) {
        size_t len = strcspn(p, ",");
        if (*ret_len == ETCD_ENDPOINTS_MAX) return status_bad_request(reterr, "--etcd-servers: more than %d", ETCD_ENDPOINTS_MAX);
        if (len && parse_server(&to[*ret_len], p, len, reterr) != 0) return -1;
        *ret_len += len > 0;
        p += len + (p[len] == ',');
    }
    return *ret_len ? 0 : status_bad_request(reterr, "--etcd-servers must be specified");
}

static int set_options(struct etcd *e, const struct store_etcd_options *o, struct status *reterr) {
    const char *prefix = str_or(o->prefix, "/registry");
    size_t len = strlen(prefix);
    while (len && prefix[len - 1] == '/') len--;
    CHECK((e->prefix = malloc(len + 2)));
    snprintf(e->prefix, len + 2, "%s%.*s", *prefix == '/' ? "" : "/", (int)len, prefix);
    e->codec = o->codec;
    e->compaction_interval_s = o->compaction_interval_s;
    if (parse_servers(e->endpoints, &e->endpoints_len, o->servers, reterr) != 0) return -1;
    e->endpoint = e->preferred = preferred_choose(e->endpoints, e->endpoints_len);
    struct upstream_tls_options tls = {.ca_file = o->ca_file, .cert_file = o->cert_file, .key_file = o->key_file};
    for (size_t i = 0; i < e->endpoints_len; i++)
        if (e->endpoints[i].tls && !e->tls && !(e->tls = upstream_tls_new(&tls, reterr))) return -1;
    return 0;
}

static void start(void *arg) { etcd_client_start(arg); }

int etcd_new(struct store *s, const struct store_etcd_options *o, struct status *reterr) {
    struct etcd *e = calloc(1, sizeof(*e));
    CHECK(e);
    s->etcd = e;
    e->store = s;
    e->writes = map_new();
    pthread_mutex_init(&e->mutex, NULL);
    if (set_options(e, o, reterr) != 0) return -1;
    mirror_new(e, o->load_timeout_ms ? o->load_timeout_ms : 30000);
    e->loop = loop_new();
    loop_start(e->loop);
    loop_post(e->loop, start, e);
    return mirror_wait(e, reterr);
}

/* ---- members that come and go ---- */

struct new_servers { struct etcd *etcd; struct endpoint endpoints[ETCD_ENDPOINTS_MAX]; size_t len; bool prefer; };

static void free_endpoints(struct endpoint *p, size_t len) {
    for (size_t i = 0; i < len; i++) free(p[i].host);
}

static bool same_endpoint(const struct endpoint *a, const struct endpoint *b) { return a->port == b->port && a->tls == b->tls && strcmp(a->host, b->host) == 0; }

/* A connection to a member that is still one stays, unless the first is there again and it is not to that. */
static void take_servers(void *arg) {
    struct new_servers *n = arg;
    struct etcd *e = n->etcd;
    size_t at = 0;
    while (at < n->len && !same_endpoint(&n->endpoints[at], &e->endpoints[e->endpoint])) at++;
    bool move = !e->stopping && (at == n->len || (at > 0 && n->prefer));
    free_endpoints(e->endpoints, e->endpoints_len);
    memcpy(e->endpoints, n->endpoints, sizeof(n->endpoints));
    e->endpoints_len = n->len;
    e->endpoint = at < n->len ? at : n->len - 1; /* of which the next is the first */
    e->preferred = 0;
    e->moving = false;
    if (at == n->len && !e->stopping && e->channel) {
        snprintf(e->last_error, sizeof(e->last_error), "it is no member any more");
        e->suspected = true;
    }
    if (at < n->len && move) etcd_move(e, 0, "the first one serves");
    free(n);
}

void etcd_set_servers(struct etcd *e, const char *servers, bool prefer) {
    struct new_servers *n = calloc(1, sizeof(*n));
    CHECK(n);
    n->etcd = e;
    n->prefer = prefer;
    if (parse_servers(n->endpoints, &n->len, servers, NULL) == 0) loop_post(e->loop, take_servers, n);
    else {
        free_endpoints(n->endpoints, n->len);
        free(n);
    }
}

/* ---- the end ---- */

static void hurry(void *arg) {
    struct etcd *e = arg;
    if (!e->hurried_ms) e->hurried_ms = etcd_now_ms();
}

void etcd_hurry(struct etcd *e) { loop_post(e->loop, hurry, e); }

static void stop(void *arg) {
    struct etcd *e = arg;
    etcd_client_stop(e);
    current_stop(e);
    fiber_sleep_ms(20); /* the connection's handles close in the turns that follow */
}

void etcd_stop(struct etcd *e) {
    if (!e || !e->loop) return;
    loop_call(e->loop, stop, e);
    loop_stop(e->loop);
    loop_free(e->loop);
}

void etcd_free(struct etcd *e) {
    if (!e) return;
    mirror_free(e->mirror);
    free_endpoints(e->endpoints, e->endpoints_len);
    upstream_tls_unref(e->tls);
    map_free(e->writes);
    pthread_mutex_destroy(&e->mutex);
    free(e->prefix);
    free(e);
}
