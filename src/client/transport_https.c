/* The transport over HTTPS, upon wire/http_client.h: to one server, or to several of which one that answers is used.
 *
 * Servers are tried in their order; one that could not be reached, did not answer in time, or said that it cannot serve (503, or that its database is away) is left out for a while:
 * 1 s, then twice as long each time, a minute at most. So a client comes back to the first when that is well again. A request goes to the next server at once if nothing of it had been
 * sent, or if it only reads; a write that may have been done is the caller's to look after. A server that did not answer in time is given up as a whole: whatever is
 * under way there is cut, so that watches resume elsewhere and nobody waits longer. Servers are only ever added: those that are not wanted any more are not tried. */
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include "base/env.h"
#include "base/log.h"
#include "base/str.h"
#include "client/kubeconfig.h"
#include "client/metrics.h"
#include "client/transport.h"
#include "wire/http_client.h"

enum { TOKEN_FILE_AGE_S = 60, SERVERS_MAX = 32, TRY_MS = 15000, CONNECT_MS = 5000, BACKOFF_MS_MIN = 1000, BACKOFF_MS_MAX = 60000 };
#define NS_PER_MS INT64_C(1000000)

/* A call or a stream that is under way, in the transport's list. */
struct flight {
    struct flight *next;
    size_t server;
    struct http_cancel *cancel;
    bool cut; /* the server was given up */
};
struct server_entry {
    struct http_client *http;
    const char *url;             /* "https://host:port" */
    struct rest_metrics *metrics;
    bool wanted;
    int64_t left_out_until_ns;
    int backoff_ms;              /* the next; 0: it is well */
};
struct https_transport {
    struct transport base; /* first */
    struct http_client_options options;
    struct arena *arena;         /* of the options and the URLs */
    pthread_mutex_t mutex;       /* of all that follows */
    struct server_entry servers[SERVERS_MAX];
    size_t servers_len, given;   /* the first ones were given, the others learnt */
    struct flight *flights;
    char *token, *token_file;
    int64_t token_read_s;
};
struct https_stream {
    struct transport_stream base; /* first */
    struct https_transport *transport;
    struct flight flight;
    struct http_cancel cancel;
    struct http_reply *reply;
};

/* ---- servers ---- */

static int64_t now_ns(void) { return env_mono_ns(env_real()); }

/* The first that is not left out; else, of those not tried, the one that comes back first. -1: all were tried. */
static int server_pick(struct https_transport *t, uint32_t tried) {
    pthread_mutex_lock(&t->mutex);
    int best = -1;
    int64_t now = now_ns();
    for (size_t i = 0; i < t->servers_len; i++) {
        const struct server_entry *s = &t->servers[i];
        if (!s->wanted || (tried >> i & 1)) continue;
        if (s->left_out_until_ns <= now) {
            best = (int)i;
            break;
        }
        if (best < 0 || s->left_out_until_ns < t->servers[best].left_out_until_ns) best = (int)i;
    }
    pthread_mutex_unlock(&t->mutex);
    return best;
}

static bool has_others(struct https_transport *t) {
    pthread_mutex_lock(&t->mutex);
    size_t n = 0;
    for (size_t i = 0; i < t->servers_len; i++) n += t->servers[i].wanted;
    pthread_mutex_unlock(&t->mutex);
    return n > 1;
}

static void server_failed(struct https_transport *t, size_t i, bool silent) {
    pthread_mutex_lock(&t->mutex);
    struct server_entry *s = &t->servers[i];
    int64_t now = now_ns();
    if (s->left_out_until_ns <= now) { /* otherwise another call has noticed the same */
        s->backoff_ms = s->backoff_ms ? MIN(s->backoff_ms * 2, BACKOFF_MS_MAX) : BACKOFF_MS_MIN;
        s->left_out_until_ns = now + s->backoff_ms * NS_PER_MS;
    }
    for (struct flight *f = t->flights; silent && f; f = f->next) {
        if (f->server != i) continue;
        f->cut = true;
        http_cancel_fire(f->cancel);
    }
    pthread_mutex_unlock(&t->mutex);
}

static void server_worked(struct https_transport *t, size_t i) {
    pthread_mutex_lock(&t->mutex);
    t->servers[i].backoff_ms = 0;
    t->servers[i].left_out_until_ns = 0;
    pthread_mutex_unlock(&t->mutex);
}

static void flight_begin(struct https_transport *t, struct flight *f) {
    pthread_mutex_lock(&t->mutex);
    f->next = t->flights;
    t->flights = f;
    pthread_mutex_unlock(&t->mutex);
}

static void flight_end(struct https_transport *t, struct flight *f) {
    pthread_mutex_lock(&t->mutex);
    struct flight **at = &t->flights;
    while (*at && *at != f) at = &(*at)->next;
    if (*at) *at = f->next;
    pthread_mutex_unlock(&t->mutex);
}

/* ---- calls ---- */

static struct http_call call_of(const struct transport_call *c, struct http_header headers[3]) {
    size_t n = 0;
    headers[n++] = (struct http_header){"Accept", str_or(c->accept, "application/json")};
    if (c->body) headers[n++] = (struct http_header){"Content-Type", str_or(c->content_type, "application/json")};
    if (c->fence) headers[n++] = (struct http_header){"Ckube-Lease-Fence", c->fence};
    return (struct http_call){.method = c->method, .target = c->target, .headers = headers, .headers_len = n, .body = c->body, .body_len = c->body_len,
                              .timeout_ms = c->timeout_ms, .body_bytes_max = (size_t)1 << 30};
}

/* Whether this server could not serve what another can: it starts or stops, or its database is away. */
static bool is_unfit(const struct http_reply *r) {
    return r->code == 503 || (r->code >= 500 && r->body && strstr(r->body, "etcdserver: "));
}

/* One request to one server. *ret_cut: it was given up meanwhile; then the call's cancel, which nobody else fires, is made new. */
static int try_one(struct https_transport *t, size_t server, struct http_call *call, bool whole, struct http_reply **ret, bool *ret_cut, struct status *reterr) {
    struct rest_metrics *metrics = t->servers[server].metrics;
    if (!whole) {
        int opened = http_client_open(t->servers[server].http, call, ret, reterr);
        rest_metrics_result(metrics, call->method, opened == 0 ? (*ret)->code : 0);
        return opened;
    }
    struct flight flight = {.server = server, .cancel = call->cancel};
    int64_t began_ns = now_ns();
    flight_begin(t, &flight);
    int rc = http_client_call(t->servers[server].http, call, ret, reterr);
    flight_end(t, &flight);
    rest_metrics_result(metrics, call->method, rc == 0 ? (*ret)->code : 0);
    rest_metrics_call(metrics, call->method, now_ns() - began_ns, call->body_len, rc == 0 ? (*ret)->body_len : 0);
    *ret_cut = flight.cut && rc != 0;
    if (*ret_cut) {
        http_cancel_release(call->cancel);
        http_cancel_init(call->cancel);
    }
    return rc;
}

/* One request, to one server after the other. *ret_server: which one answered. */
static int try_servers(struct https_transport *t, struct http_call *call, bool whole, struct http_reply **ret, size_t *ret_server, struct status *reterr) {
    bool reads = str_eq(call->method, "GET") || str_eq(call->method, "HEAD"), others = has_others(t);
    int64_t deadline_ns = call->timeout_ms > 0 ? now_ns() + call->timeout_ms * NS_PER_MS : INT64_MAX;
    uint32_t tried = 0;
    for (int i = server_pick(t, 0), next; i >= 0; i = next) {
        _cleanup_status_ struct status err = STATUS_INIT;
        bool cut = false;
        tried |= UINT32_C(1) << i;
        next = others ? server_pick(t, tried) : -1;
        int64_t left_ms = deadline_ns == INT64_MAX ? 0 : MAX((deadline_ns - now_ns()) / NS_PER_MS, (int64_t)1);
        call->timeout_ms = (int)(reads && next >= 0 && (!left_ms || left_ms > TRY_MS) ? TRY_MS : left_ms);
        call->cancel->sent = false;
        int rc = try_one(t, (size_t)i, call, whole, ret, &cut, &err);
        bool cancelled = rc != 0 && err.code == 499 && !cut;
        if (rc == 0 && !is_unfit(*ret)) {
            if (others) server_worked(t, (size_t)i);
            *ret_server = (size_t)i;
            return 0;
        }
        if (others && !cancelled && !cut) server_failed(t, (size_t)i, err.code == 504);
        if (next < 0 || cancelled || now_ns() >= deadline_ns || (!reads && (rc == 0 || cut || call->cancel->sent))) {
            if (cut) status_set(reterr, 504, REASON_TIMEOUT, "%s: it did not answer others in time", t->servers[i].url);
            else if (rc != 0) status_copy(reterr, &err);
            *ret_server = (size_t)i;
            return rc;
        }
        log_debug("%s: %s; %s is tried next", t->servers[i].url, rc ? status_message(&err) : "it cannot serve", t->servers[next].url);
        if (rc == 0) http_reply_free(*ret);
    }
    return status_set(reterr, 503, REASON_SERVICE_UNAVAILABLE, "there is no server");
}

static int https_call(struct transport *t, const struct transport_call *c, int *ret_code, struct buf *ret_body, struct status *reterr) {
    struct http_header headers[3];
    struct http_call call = call_of(c, headers);
    struct http_reply *r = NULL;
    struct http_cancel cancel;
    size_t server;
    http_cancel_init(&cancel);
    call.cancel = &cancel;
    int rc = try_servers((struct https_transport *)t, &call, true, &r, &server, reterr);
    if (rc == 0) {
        *ret_code = r->code;
        buf_append(ret_body, r->body, r->body_len);
        http_reply_free(r);
    }
    http_cancel_release(&cancel);
    return rc;
}

/* ---- streams ---- */

static int stream_open(struct transport_stream *base, const struct transport_call *c, int *ret_code, struct status *reterr) {
    struct https_stream *s = (struct https_stream *)base;
    struct https_transport *t = s->transport;
    struct http_header headers[3];
    struct http_call call = call_of(c, headers);
    size_t server;
    call.cancel = &s->cancel;
    if (try_servers(t, &call, false, &s->reply, &server, reterr) != 0) return -1;
    *ret_code = s->reply->code;
    s->flight = (struct flight){.server = server, .cancel = &s->cancel};
    flight_begin(t, &s->flight);
    return 0;
}

static ssize_t stream_read(struct transport_stream *base, void *to, size_t len, int timeout_ms, struct status *reterr) {
    return http_reply_read(((struct https_stream *)base)->reply, to, len, timeout_ms, reterr);
}

static void stream_cancel(struct transport_stream *base) { http_cancel_fire(&((struct https_stream *)base)->cancel); }

static void stream_free(struct transport_stream *base) {
    struct https_stream *s = (struct https_stream *)base;
    flight_end(s->transport, &s->flight);
    http_reply_free(s->reply);
    http_cancel_release(&s->cancel);
    free(s);
}

static struct transport_stream *stream_new(struct transport *t) {
    struct https_stream *s = calloc(1, sizeof(*s));
    CHECK(s);
    s->base = (struct transport_stream){stream_open, stream_read, stream_cancel, stream_free};
    s->transport = (struct https_transport *)t;
    http_cancel_init(&s->cancel);
    return &s->base;
}

/* ---- tokens ---- */

static void token_read(struct https_transport *t) {
    char text[16384];
    FILE *f = fopen(t->token_file, "re");
    size_t n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;
    if (f) fclose(f);
    while (n && strchr(" \r\n\t", text[n - 1])) n--;
    if (!n) return; /* the old one may still be good */
    text[n] = 0;
    free(t->token);
    t->token = strdup(text);
}

static int token_append(void *ctx, struct buf *ret, struct status *reterr UNUSED) {
    struct https_transport *t = ctx;
    pthread_mutex_lock(&t->mutex);
    int64_t now = now_ns() / 1000000000;
    if (t->token_file && (!t->token || now - t->token_read_s > TOKEN_FILE_AGE_S)) {
        token_read(t);
        t->token_read_s = now;
    }
    buf_append_str(ret, t->token);
    pthread_mutex_unlock(&t->mutex);
    return 0;
}

/* ---- life ---- */

static void https_free(struct transport *base) {
    struct https_transport *t = (struct https_transport *)base;
    for (size_t i = 0; i < t->servers_len; i++) http_client_free(t->servers[i].http);
    pthread_mutex_destroy(&t->mutex);
    free(t->token);
    free(t->token_file);
    arena_free(t->arena);
    free(t);
}

static char *url_of(struct arena *a, const struct http_client_options *o) {
    bool v6 = o->host && strchr(o->host, ':');
    return arena_printf(a, "%s://%s%s%s:%d", o->tls ? "https" : "http", v6 ? "[" : "", str_or(o->host, "localhost"), v6 ? "]" : "", o->port ? o->port : o->tls ? 443 : 80);
}

/* With the mutex, or before anybody knows the transport. A server that is known is wanted again. */
static int server_add(struct https_transport *t, const struct http_client_options *o, struct status *reterr) {
    const char *url = url_of(t->arena, o);
    for (size_t i = 0; i < t->servers_len; i++)
        if (strcasecmp(t->servers[i].url, url) == 0) {
            t->servers[i].wanted = true;
            return 0;
        }
    if (t->servers_len == SERVERS_MAX) return status_bad_request(reterr, "more than %d servers", SERVERS_MAX);
    struct http_client *http = http_client_new(o, reterr);
    if (!http) return -1;
    t->servers[t->servers_len++] = (struct server_entry){.http = http, .url = url, .wanted = true, .metrics = rest_metrics_of(strstr(url, "://") + 3)};
    return 0;
}

static void copy_options(struct https_transport *t, const struct http_client_options *options) {
    t->options = *options;
    const char **strings[] = {&t->options.host, &t->options.ca_pem, &t->options.ca_file, &t->options.cert_pem, &t->options.key_pem, &t->options.cert_file, &t->options.key_file,
        &t->options.server_name, &t->options.host_header, &t->options.user_agent, &t->options.unix_path};
    for (size_t i = 0; i < ARRAY_LEN(strings); i++) *strings[i] = arena_strdup(t->arena, *strings[i]);
}

struct transport *transport_https_new(const struct http_client_options *options, const char *token, const char *token_file, struct status *reterr) {
    struct https_transport *t = calloc(1, sizeof(*t));
    CHECK(t);
    t->base = (struct transport){https_call, stream_new, https_free};
    t->arena = arena_new();
    pthread_mutex_init(&t->mutex, NULL);
    CHECK(!token || (t->token = strdup(token)));
    CHECK(!token_file || (t->token_file = strdup(token_file)));
    copy_options(t, options);
    if (!t->options.connect_timeout_ms) t->options.connect_timeout_ms = CONNECT_MS;
    if (token || token_file) {
        t->options.bearer_token = token_append;
        t->options.bearer_token_ctx = t;
    }
    if (server_add(t, &t->options, reterr) == 0) {
        t->given = 1;
        return &t->base;
    }
    https_free(&t->base);
    return NULL;
}

/* "https://a:6443,https://b:6443": with the credentials of the first server. */
static int servers_add(struct https_transport *t, const char *urls, struct status *reterr) {
    _cleanup_arena_ struct arena *a = arena_new();
    char *save = NULL;
    for (char *url = strtok_r(arena_strdup(a, urls), ",\n ", &save); url; url = strtok_r(NULL, ",\n ", &save)) {
        struct http_client_options o = t->options;
        if (!strstr(url, "://")) return status_bad_request(reterr, "\"%s\" is no server's URL", url);
        kubeconfig_server(a, url, &o);
        o.host_header = NULL;
        if (server_add(t, &o, reterr) != 0) return -1;
    }
    return 0;
}

static bool is_https(const struct transport *t) { return t->call == https_call; }

int transport_https_servers(struct transport *base, const char *urls, struct status *reterr) {
    struct https_transport *t = (struct https_transport *)base;
    CHECK(is_https(base));
    pthread_mutex_lock(&t->mutex);
    int rc = servers_add(t, str_or(urls, ""), reterr);
    t->given = t->servers_len;
    pthread_mutex_unlock(&t->mutex);
    return rc;
}

bool transport_https_has_choice(struct transport *t) { return has_others((struct https_transport *)t); }

void transport_https_learn(struct transport *base, const char *urls) {
    struct https_transport *t = (struct https_transport *)base;
    _cleanup_status_ struct status err = STATUS_INIT;
    CHECK(is_https(base));
    pthread_mutex_lock(&t->mutex);
    for (size_t i = t->given; i < t->servers_len; i++) t->servers[i].wanted = false;
    if (servers_add(t, urls, &err) != 0) log_warning("further servers: %s", status_message(&err));
    pthread_mutex_unlock(&t->mutex);
}
