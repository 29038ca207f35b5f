/* A front proxy tells in headers who asks, and shows by its own certificate that it may. Upstream: authentication/request/headerrequest.
 * Tests: tests/integration/test_auth.py. */
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <strings.h>
#include "apiserver/authentication.h"
#include "apiserver/impersonation.h"
#include "base/str.h"

struct front_proxy {
    struct arena *arena;
    X509_STORE *authorities;
    struct string_list allowed, names, uids, groups, extras;
};

struct front_proxy *front_proxy_new(const struct apiserver_options *o, struct status *reterr) {
    if (!o->requestheader_client_ca_file) return NULL;
    struct front_proxy *p = calloc(1, sizeof(*p));
    CHECK(p);
    p->arena = arena_new();
    p->authorities = X509_STORE_new();
    p->allowed = string_list_split(p->arena, o->requestheader_allowed_names);
    p->names = string_list_split(p->arena, str_or(o->requestheader_username_headers, "X-Remote-User"));
    p->uids = string_list_split(p->arena, str_or(o->requestheader_uid_headers, "X-Remote-Uid"));
    p->groups = string_list_split(p->arena, str_or(o->requestheader_group_headers, "X-Remote-Group"));
    p->extras = string_list_split(p->arena, str_or(o->requestheader_extra_headers_prefix, "X-Remote-Extra-"));
    if (p->authorities && X509_STORE_load_file(p->authorities, o->requestheader_client_ca_file) == 1) return p;
    status_set(reterr, 500, REASON_INTERNAL_ERROR, "reading --requestheader-client-ca-file %s failed", o->requestheader_client_ca_file);
    front_proxy_free(p);
    return NULL;
}

void front_proxy_free(struct front_proxy *p) {
    if (!p) return;
    X509_STORE_free(p->authorities);
    arena_free(p->arena);
    free(p);
}

static bool verified(struct front_proxy *p, STACK_OF(X509) *chain) {
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    CHECK(ctx);
    bool ok = X509_STORE_CTX_init(ctx, p->authorities, sk_X509_value(chain, 0), chain) == 1 && X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_SSL_CLIENT) == 1 && X509_verify_cert(ctx) == 1;
    X509_STORE_CTX_free(ctx);
    return ok;
}

static bool name_allowed(struct front_proxy *p, X509 *cert) {
    char cn[256] = "";
    if (!p->allowed.len) return true;
    X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, cn, sizeof(cn));
    return string_list_has(&p->allowed, cn);
}

static const char *first(const struct api_request *r, const struct string_list *headers) {
    for (size_t i = 0; i < headers->len; i++) {
        const char *v = http_request_header(r->http, headers->items[i]);
        if (!str_empty(v)) return v;
    }
    return NULL;
}

static void read_groups(struct front_proxy *p, struct api_request *r, struct user_info *u) {
    for (size_t h = 0; h < p->groups.len; h++)
        for (size_t i = 0; i < r->http->headers_len; i++)
            if (strcasecmp(r->http->headers[i].name, p->groups.items[h]) == 0) string_list_push(r->arena, &u->groups, r->http->headers[i].value);
}

static void read_extras(struct front_proxy *p, struct api_request *r, struct user_info *u) {
    for (size_t h = 0; h < p->extras.len; h++)
        for (size_t i = 0; i < r->http->headers_len; i++) {
            const struct http_header *head = &r->http->headers[i];
            size_t len = strlen(p->extras.items[h]);
            if (strncasecmp(head->name, p->extras.items[h], len) != 0) continue;
            char *key = arena_strdup(r->arena, head->name + len);
            for (char *c = key; *c; c++)
                if (*c >= 'A' && *c <= 'Z') *c = (char)(*c | 0x20);
            const char *plain = url_unescape(r->arena, key, strlen(key), false);
            user_add_extra(r->arena, &u->extra, plain ? plain : key, head->value);
        }
}

bool front_proxy_authenticate(struct front_proxy *p, struct api_request *r) {
    struct user_info u = {0};
    STACK_OF(X509) *chain = r->http->peer_chain;
    u.name = first(r, &p->names);
    if (str_empty(u.name) || !chain || sk_X509_num(chain) < 1 || !name_allowed(p, sk_X509_value(chain, 0)) || !verified(p, chain)) return false;
    u.uid = first(r, &p->uids);
    read_groups(p, r, &u);
    read_extras(p, r, &u);
    r->user = u;
    return true;
}
