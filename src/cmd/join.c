/* Asking the server that is named: see join.h. */
#include "cmd/join.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/env.h"
#include "base/log.h"
#include "base/str.h"
#include "cmd/cluster.h"
#include "cmd/cluster_token.h"
#include "wire/http_client.h"

enum { FETCH_MS = 15000, CONNECT_MS = 3000, RETRY_MS = 500, TELL_MS = 10000 };

int join_parse_url(const char *url, struct join_place *ret, struct status *reterr) {
    const char *p = str_has_prefix(url, "https://") ? url + 8 : NULL, *end = p ? p + strcspn(p, "/") : NULL, *colon = end;
    if (!p || (*end && end[1])) return status_bad_request(reterr, "--server: \"%s\" is not of the form https://HOST:PORT", url);
    while (colon > p && *colon != ':' && *colon != ']') colon--;
    bool has_port = colon > p && *colon == ':', bracketed = *p == '[';
    const char *stop = has_port ? colon : end;
    ret->port = has_port ? atoi(colon + 1) : 6443;
    int len = (int)(stop - p) - 2 * bracketed;
    if (len <= 0 || len >= (int)sizeof(ret->host) || ret->port <= 0 || ret->port > 65535) return status_bad_request(reterr, "--server: \"%s\" is not of the form https://HOST:PORT", url);
    snprintf(ret->host, sizeof(ret->host), "%.*s", len, p + bracketed);
    return 0;
}

static int give_token(void *ctx, struct buf *ret, struct status *reterr UNUSED) {
    buf_append_str(ret, ctx);
    return 0;
}

/* Whether the server may only not be up yet: it cannot be reached, hangs up, or says so itself. Who speaks, but not as a server of a cluster does, will not later either. */
static bool not_up_yet(const struct http_reply *r, const struct status *err) {
    if (r) return r->code == 503;
    return err->code >= 502 && !strstr(status_message(err), "tls: ") && !strstr(status_message(err), "malformed");
}

/* Calls until somebody answers. NULL when what came is no answer, or this process is to end. */
static struct http_reply *call_when_up(struct http_client *c, const struct join_place *from, const char *target, struct status *reterr) {
    for (int64_t told = INT64_MIN / 2;;) {
        _cleanup_status_ struct status err = STATUS_INIT;
        struct http_reply *r = NULL;
        int rc = http_client_call(c, &(struct http_call){.target = target, .timeout_ms = FETCH_MS, .body_bytes_max = 1 << 20}, &r, &err);
        if (!not_up_yet(rc == 0 ? r : NULL, &err)) {
            if (rc == 0) return r;
            status_copy(reterr, &err);
            return NULL;
        }
        int64_t now = env_mono_ns(env_real()) / 1000000;
        if (now - told > TELL_MS) {
            told = now;
            log_info("waiting for the server at %s:%d, to join its cluster: %s", from->host, from->port, rc ? status_message(&err) : "it is not ready");
        }
        http_reply_free(rc == 0 ? r : NULL);
        if (!cluster_pause(RETRY_MS)) {
            status_set(reterr, 500, REASON_INTERNAL_ERROR, "stopped while waiting for the server at %s:%d", from->host, from->port);
            return NULL;
        }
    }
}

char *join_fetch(struct arena *a, const struct join_place *from, const char *target, const char *ca_pem, const char *secret, int *ret_code, struct status *reterr) {
    struct http_client_options o = {.host = from->host, .port = from->port, .tls = true, .insecure = !ca_pem, .ca_pem = ca_pem, .no_keep_alive = true, .connect_timeout_ms = CONNECT_MS,
        .bearer_token = secret ? give_token : NULL, .bearer_token_ctx = (void *)(uintptr_t)secret};
    struct http_client *c = http_client_new(&o, reterr);
    struct http_reply *r = c ? call_when_up(c, from, target, reterr) : NULL;
    char *body = NULL;
    if (r) {
        *ret_code = r->code;
        body = arena_strndup(a, r->body, r->body_len);
    }
    http_reply_free(r);
    http_client_free(c);
    return body;
}

int join_refuse(const char *url, int code, struct status *reterr) {
    return status_set(reterr, 500, REASON_INTERNAL_ERROR, "%s answers with %d: it is no ckube server that can be joined (servers join one that was started with --cluster-init)", url, code);
}

char *join_authority(struct arena *a, const char *url, const struct join_place *from, const char *hash, struct status *reterr) {
    int code = 0;
    char got[CLUSTER_HASH_LEN + 1], *pem = join_fetch(a, from, "/ckube/cacerts", NULL, NULL, &code, reterr);
    if (!pem) return NULL;
    if (code != 200) {
        join_refuse(url, code, reterr);
        return NULL;
    }
    if (cluster_ca_hash(pem, got, reterr) != 0) return NULL;
    if (!*hash) log_warning("the token does not say whom to trust: whoever answers at %s is taken for the cluster. A token that begins with CK1<hash>:: is safer", url);
    else if (!cluster_secrets_equal(got, hash)) {
        status_set(reterr, 500, REASON_INTERNAL_ERROR, "the server at %s is not the token's cluster: its authority's hash is %s", url, got);
        return NULL;
    }
    return pem;
}
