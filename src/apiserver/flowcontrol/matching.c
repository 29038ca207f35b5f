#include "apiserver/flowcontrol/matching.h"
#include <openssl/evp.h>
#include <string.h>
#include "base/map.h"
#include "base/str.h"

/* Upstream's: "*" stands for everything only when it is alone. */
static bool list_has(const struct string_list *list, const char *x) {
    if (list->len == 1 && strcmp(list->items[0], "*") == 0) return true;
    return string_list_has(list, x);
}

static const char *account_of(const char *user, const char *ns) {
    static const char prefix[] = "system:serviceaccount:";
    size_t len = strlen(ns);
    if (!str_has_prefix(user, prefix)) return NULL;
    user += sizeof(prefix) - 1;
    return strncmp(user, ns, len) == 0 && user[len] == ':' ? user + len + 1 : NULL;
}

static bool subject_matches(const struct flowcontrolv1_Subject *s, const struct user_info *u) {
    const char *user = str_or(u->name, "");
    if (str_eq(s->kind, "User")) return s->user && (str_eq(s->user->name, "*") || str_eq(s->user->name, user));
    if (str_eq(s->kind, "Group")) return s->group && (str_eq(s->group->name, "*") || string_list_has(&u->groups, s->group->name));
    if (!str_eq(s->kind, "ServiceAccount") || !s->serviceAccount) return false;
    const char *account = account_of(user, str_or(s->serviceAccount->namespace, ""));
    return account && (str_eq(s->serviceAccount->name, "*") || str_eq(s->serviceAccount->name, account));
}

static bool resource_is_named(const struct string_list *list, const struct api_request *r) {
    const char *resource = str_or(r->resource, ""), *sub = r->subresource;
    size_t len = strlen(resource);
    if (list->len == 1 && strcmp(list->items[0], "*") == 0) return true;
    if (str_empty(sub)) return string_list_has(list, resource);
    for (size_t i = 0; i < list->len; i++)
        if (strncmp(list->items[i], resource, len) == 0 && list->items[i][len] == '/' && strcmp(list->items[i] + len + 1, sub) == 0) return true;
    return false;
}

static bool resource_rule_matches(const struct flowcontrolv1_ResourcePolicyRule *rule, const struct api_request *r) {
    if (!list_has(&rule->verbs, r->verb) || !resource_is_named(&rule->resources, r) || !list_has(&rule->apiGroups, str_or(r->group, ""))) return false;
    return str_empty(r->namespace) ? rule->clusterScope : list_has(&rule->namespaces, r->namespace);
}

static bool path_matches(const char *rule, const char *path) {
    size_t len = strlen(rule);
    if (strcmp(rule, "*") == 0 || strcmp(rule, path) == 0) return true;
    if (len && rule[len - 1] == '*') len--;
    if (strncmp(rule, path, len) != 0) return false;
    return (len && rule[len - 1] == '/') || path[len] == '/';
}

static bool path_rule_matches(const struct flowcontrolv1_NonResourcePolicyRule *rule, const struct api_request *r) {
    if (!list_has(&rule->verbs, r->verb)) return false;
    for (size_t i = 0; i < rule->nonResourceURLs.len; i++)
        if (path_matches(rule->nonResourceURLs.items[i], r->path)) return true;
    return false;
}

static bool rules_match(const struct flowcontrolv1_PolicyRulesWithSubjects *p, const struct api_request *r) {
    if (r->is_resource) {
        LIST_FOREACH(rule, &p->resourceRules)
            if (resource_rule_matches(rule, r)) return true;
        return false;
    }
    LIST_FOREACH(rule, &p->nonResourceRules)
        if (path_rule_matches(rule, r)) return true;
    return false;
}

bool flow_schema_matches(const struct flowcontrolv1_FlowSchema *fs, const struct api_request *r) {
    LIST_FOREACH(p, &fs->spec.rules) {
        bool subject = false;
        if (r->is_resource ? !p->resourceRules.len : !p->nonResourceRules.len) continue;
        for (size_t i = 0; i < p->subjects.len && !subject; i++) subject = subject_matches(&p->subjects.items[i], &r->user);
        if (subject && rules_match(p, r)) return true;
    }
    return false;
}

const char *flow_distinguisher(const struct flowcontrolv1_FlowSchema *fs, const struct api_request *r) {
    const struct flowcontrolv1_FlowDistinguisherMethod *m = fs->spec.distinguisherMethod;
    if (!m) return "";
    return str_or(str_eq(m->type, "ByUser") ? r->user.name : r->namespace, "");
}

/* Each loop remembers the flows it has seen last: a hash costs as much as all the rest of the way to a seat. */
enum { SEEN = 64, SEEN_TEXT = 184 };
struct seen { uint64_t hash; unsigned char len; char text[SEEN_TEXT]; };

static uint64_t digest(const void *text, size_t len) {
    unsigned char sum[EVP_MAX_MD_SIZE];
    uint64_t hash = 0;
    EVP_Digest(text, len, sum, NULL, EVP_sha256(), NULL);
    for (int i = 7; i >= 0; i--) hash = hash << 8 | sum[i];
    return hash;
}

uint64_t flow_hash(const char *schema, const char *distinguisher) {
    static _Thread_local struct seen seen[SEEN];
    char text[SEEN_TEXT];
    size_t n = strlen(schema), m = strlen(distinguisher), len = n + 1 + m;
    if (len > SEEN_TEXT) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        buf_append(&b, schema, n + 1);
        buf_append(&b, distinguisher, m);
        return digest(b.data, b.len);
    }
    memcpy(text, schema, n + 1);
    memcpy(text + n + 1, distinguisher, m);
    struct seen *s = &seen[hash_bytes(text, len) % SEEN];
    if (s->len == len && memcmp(s->text, text, len) == 0) return s->hash;
    s->hash = digest(text, len);
    s->len = (unsigned char)len;
    memcpy(s->text, text, len);
    return s->hash;
}

int flow_schema_order(const struct flowcontrolv1_FlowSchema *x, const struct flowcontrolv1_FlowSchema *y) {
    if (x->spec.matchingPrecedence != y->spec.matchingPrecedence) return x->spec.matchingPrecedence < y->spec.matchingPrecedence ? -1 : 1;
    return strcmp(str_or(x->metadata.name, ""), str_or(y->metadata.name, ""));
}
