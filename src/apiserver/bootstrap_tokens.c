/* Bootstrap tokens: Secrets with which a new node asks for its certificate. Upstream: plugin/pkg/auth/authenticator/token/bootstrap.
 * Tests: tests/integration/test_auth.py. */
#include <openssl/crypto.h>
#include <string.h>
#include "api/time.h"
#include "apiserver/authentication.h"
#include "apiserver/registry.h"
#include "base/str.h"

enum { ID_LEN = 6, SECRET_LEN = 16, GROUP_SUFFIX_MAX = 256 };
static const char *const group_prefix = "system:bootstrappers:";

static bool is_lower_or_digit(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

static bool well_formed(const char *token) {
    if (strlen(token) != ID_LEN + 1 + SECRET_LEN || token[ID_LEN] != '.') return false;
    for (size_t i = 0; token[i]; i++)
        if (i != ID_LEN && !is_lower_or_digit(token[i])) return false;
    return true;
}

static bool has_value(const struct corev1_Secret *s, const char *key, const char *want, size_t len) {
    LIST_FOREACH(e, &s->data)
        if (strcmp(e->key, key) == 0) return e->value.len == len && CRYPTO_memcmp(e->value.data, want, len) == 0;
    return false;
}

static const char *value(struct arena *a, const struct corev1_Secret *s, const char *key) {
    LIST_FOREACH(e, &s->data)
        if (strcmp(e->key, key) == 0) return arena_strndup(a, (const char *)e->value.data, e->value.len);
    return NULL;
}

static bool expired(struct arena *a, const struct corev1_Secret *s, int64_t now_s) {
    const char *text = value(a, s, "expiration");
    struct api_time t;
    return !str_empty(text) && (time_parse(text, &t, NULL) != 0 || t.sec <= now_s);
}

static bool group_allowed(const char *g) {
    size_t len = strlen(g), prefix = strlen(group_prefix);
    if (!str_has_prefix(g, group_prefix) || len == prefix || len - prefix > GROUP_SUFFIX_MAX || !is_lower_or_digit(g[len - 1])) return false;
    for (const char *p = g + prefix; *p; p++)
        if (!is_lower_or_digit(*p) && *p != ':' && *p != '-') return false;
    return true;
}

/* system:bootstrappers and what auth-extra-groups adds; false when one of those may not be given. */
static bool read_groups(struct arena *a, const struct corev1_Secret *s, struct string_list *groups) {
    string_list_push(a, groups, "system:bootstrappers");
    for (const char *p = str_or(value(a, s, "auth-extra-groups"), ""); *p;) {
        size_t len = strcspn(p, ",");
        const char *g = arena_strndup(a, p, len);
        if (!group_allowed(g)) return false;
        if (!string_list_has(groups, g)) string_list_push(a, groups, g);
        p += len + (p[len] == ',');
    }
    return true;
}

static const struct corev1_Secret *find(struct store *store, struct arena *a, const char *id) {
    const struct strategy *st = strategy_find("", "secrets");
    struct store_txn *t;
    struct store_view v;
    const struct corev1_Secret *s = NULL;
    if (store_read_begin(store, &t, NULL) != 0) return NULL;
    if (store_get(t, storage_key(a, st, "kube-system", arena_printf(a, "bootstrap-token-%s", id)), &v)) s = registry_decode(a, st, &v);
    store_read_end(t);
    return s;
}

enum token_outcome bootstrap_token_authenticate(struct store *store, int64_t now_s, struct arena *a, const char *token, struct user_info *ret) {
    struct string_list groups = {0};
    if (!well_formed(token)) return TOKEN_NOT_OURS;
    const char *id = arena_strndup(a, token, ID_LEN);
    const struct corev1_Secret *s = find(store, a, id);
    if (!s || s->metadata.deletionTimestamp.set || !str_eq(s->type, "bootstrap.kubernetes.io/token")) return TOKEN_NOT_OURS;
    if (!has_value(s, "token-secret", token + ID_LEN + 1, SECRET_LEN) || !has_value(s, "token-id", id, ID_LEN) || expired(a, s, now_s) || !has_value(s, "usage-bootstrap-authentication", "true", 4) ||
        !read_groups(a, s, &groups))
        return TOKEN_NOT_OURS;
    *ret = (struct user_info){.name = arena_printf(a, "system:bootstrap:%s", id), .groups = groups};
    return TOKEN_GOOD;
}
