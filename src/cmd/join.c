/* Asking the server that is named: see join.h. */
#include "cmd/join.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "base/str.h"
#include "cmd/cluster_token.h"
#include "wire/http_client.h"

enum { FETCH_MS = 15000 };

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

char *join_fetch(struct arena *a, const struct join_place *from, const char *target, const char *ca_pem, const char *secret, int *ret_code, struct status *reterr) {
    struct http_client_options o = {.host = from->host, .port = from->port, .tls = true, .insecure = !ca_pem, .ca_pem = ca_pem, .no_keep_alive = true, .connect_timeout_ms = FETCH_MS,
        .bearer_token = secret ? give_token : NULL, .bearer_token_ctx = (void *)(uintptr_t)secret};
    struct http_client *c = http_client_new(&o, reterr);
    struct http_reply *r = NULL;
    char *body = NULL;
    if (c && http_client_call(c, &(struct http_call){.target = target, .timeout_ms = FETCH_MS, .body_bytes_max = 1 << 20}, &r, reterr) == 0) {
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
