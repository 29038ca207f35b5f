#include "apiserver/impersonation.h"
#include <string.h>
#include <strings.h>
#include "api/names.h"
#include "apiserver/apiserver.h"
#include "apiserver/audit.h"
#include "apiserver/authorization.h"
#include "base/str.h"

static const char *const account_prefix = "system:serviceaccount:", *const extra_header = "Impersonate-Extra-";

bool service_account_split(struct arena *a, const char *user, const char **ret_namespace, const char **ret_name) {
    if (!str_has_prefix(str_or(user, ""), account_prefix)) return false;
    const char *ns = user + strlen(account_prefix), *colon = strchr(ns, ':');
    struct string_list msgs = {0};
    if (!colon || strchr(colon + 1, ':')) return false;
    char *namespace = arena_strndup(a, ns, (size_t)(colon - ns));
    object_name_dns_label(a, namespace, false, &msgs);
    object_name_dns_subdomain(a, colon + 1, false, &msgs);
    if (msgs.len) return false;
    *ret_namespace = namespace;
    *ret_name = colon + 1;
    return true;
}

void service_account_groups(struct arena *a, const char *namespace, struct string_list *groups) {
    string_list_push(a, groups, "system:serviceaccounts");
    string_list_push(a, groups, arena_printf(a, "system:serviceaccounts:%s", namespace));
}

struct wanted {
    const char *user, *uid;
    struct string_list groups;
    struct string_list_map extra; /* keys in lower case */
    bool any;
};

void user_add_extra(struct arena *a, struct string_list_map *extra, const char *key, const char *value) {
    for (size_t i = 0; i < extra->len; i++)
        if (strcmp(extra->items[i].key, key) == 0) {
            string_list_push(a, &extra->items[i].value, value);
            return;
        }
    struct string_list_map_entry *grown = arena_calloc(a, extra->len + 1, sizeof(*grown));
    size_t at = 0;
    while (at < extra->len && strcmp(extra->items[at].key, key) < 0) at++;
    if (at) memcpy(grown, extra->items, at * sizeof(*grown));
    grown[at].key = key;
    string_list_push(a, &grown[at].value, value);
    if (at < extra->len) memcpy(grown + at + 1, extra->items + at, (extra->len - at) * sizeof(*grown));
    extra->items = grown;
    extra->len++;
}

static const char *extra_key(struct arena *a, const char *header) {
    char *lower = arena_strdup(a, header + strlen(extra_header));
    for (char *p = lower; *p; p++)
        if (*p >= 'A' && *p <= 'Z') *p = (char)(*p | 0x20);
    const char *plain = url_unescape(a, lower, strlen(lower), false);
    return plain ? plain : lower;
}

static struct wanted read_headers(struct api_request *r) {
    struct wanted w = {0};
    for (size_t i = 0; i < r->http->headers_len; i++) {
        const struct http_header *h = &r->http->headers[i];
        if (strncasecmp(h->name, "Impersonate-", 12) != 0) continue;
        if (strcasecmp(h->name, "Impersonate-User") == 0) w.user = w.user ? w.user : h->value;
        else if (strcasecmp(h->name, "Impersonate-Uid") == 0) w.uid = w.uid ? w.uid : h->value;
        else if (strcasecmp(h->name, "Impersonate-Group") == 0) string_list_push(r->arena, &w.groups, h->value);
        else if (strncasecmp(h->name, extra_header, strlen(extra_header)) == 0) user_add_extra(r->arena, &w.extra, extra_key(r->arena, h->name), h->value);
    }
    w.any = !str_empty(w.user) || !str_empty(w.uid) || w.groups.len || w.extra.len;
    return w;
}

static int may(struct api_request *r, const char *group, const char *resource, const char *subresource, const char *namespace, const char *name, struct status *reterr) {
    struct authz_attributes at = {.user = &r->user, .resource_request = true, .verb = "impersonate", .group = group, .version = "v1", .resource = resource, .subresource = subresource, .namespace = namespace, .name = name};
    const char *reason;
    if (authorizer_decide(apiserver_authorizer(r->server), r->arena, &at, &reason) == AUTHZ_ALLOW) return 0;
    return authz_forbidden(r->arena, &at, reason, reterr);
}

static int may_all(struct api_request *r, const struct wanted *w, const char *namespace, const char *account, struct status *reterr) {
    const char *auth = "authentication.k8s.io";
    if ((namespace ? may(r, "", "serviceaccounts", NULL, namespace, account, reterr) : may(r, "", "users", NULL, NULL, w->user, reterr)) != 0) return -1;
    for (size_t i = 0; i < w->groups.len; i++)
        if (may(r, "", "groups", NULL, NULL, w->groups.items[i], reterr) != 0) return -1;
    for (size_t i = 0; i < w->extra.len; i++)
        for (size_t j = 0; j < w->extra.items[i].value.len; j++)
            if (may(r, auth, "userextras", w->extra.items[i].key, NULL, w->extra.items[i].value.items[j], reterr) != 0) return -1;
    return str_empty(w->uid) ? 0 : may(r, auth, "uids", NULL, NULL, w->uid, reterr);
}

/* Everybody but system:anonymous is authenticated, unless the groups asked for say otherwise. */
static void complete_groups(struct arena *a, const char *user, struct string_list *groups) {
    bool anonymous = str_eq(user, "system:anonymous"), in = string_list_has(groups, "system:authenticated"), out = string_list_has(groups, "system:unauthenticated");
    if (anonymous && !out) string_list_push(a, groups, "system:unauthenticated");
    if (!anonymous && !in && !out) string_list_push(a, groups, "system:authenticated");
}

int impersonate(struct api_request *r, struct status *reterr) {
    struct wanted w = read_headers(r);
    const char *namespace = NULL, *account = NULL;
    if (!w.any) return 0;
    if (str_empty(w.user)) return status_bad_request(reterr, "requested impersonation of %s without impersonating a user", w.groups.len ? "groups" : w.extra.len ? "extras" : "a uid");
    service_account_split(r->arena, w.user, &namespace, &account);
    if (may_all(r, &w, namespace, account, reterr) != 0) return -1;
    if (namespace && !w.groups.len) service_account_groups(r->arena, namespace, &w.groups);
    complete_groups(r->arena, w.user, &w.groups);
    r->user = (struct user_info){.name = w.user, .uid = w.uid, .groups = w.groups, .extra = w.extra};
    audit_impersonated(r, &r->user);
    return 0;
}
