#include "apiserver/rbac/rbac.h"
#include <pthread.h>
#include <string.h>
#include "api/field_error.h"
#include "base/log.h"
#include "base/map.h"
#include "base/str.h"

/* Both live in one block of memory each, strings included: there may be tens of thousands. */
struct role { struct rbacv1_PolicyRule_list rules; };
struct binding {
    const char *namespace, *name; /* namespace NULL: a ClusterRoleBinding */
    const char *role_kind, *role_name;
    struct rbacv1_Subject_list subjects;
};
/* The bindings that name one subject. */
struct posting { struct binding *binding; size_t subject; };
struct postings { struct posting *items; size_t len, cap; };

struct rbac {
    pthread_rwlock_t lock;
    struct map *roles;     /* store key to struct role */
    struct map *bindings;  /* store key to struct binding */
    struct map *subjects;  /* "U:name", "G:name", and with "namespace/" before it, to struct postings */
    struct store_watch *watches[4];
};

static const char *const prefixes[4] = {"/registry/clusterroles/", "/registry/roles/", "/registry/clusterrolebindings/", "/registry/rolebindings/"};
enum { CLUSTER_ROLES, ROLES, CLUSTER_BINDINGS, BINDINGS };

/* ---- packing: the same walk counts (base NULL), then copies ---- */

struct packer { char *base; size_t used; };

static void *pack(struct packer *p, const void *data, size_t len) {
    p->used = (p->used + 7) & ~(size_t)7;
    void *at = p->base ? p->base + p->used : NULL;
    if (at && len) memcpy(at, data, len);
    p->used += len;
    return at;
}

static const char *pack_str(struct packer *p, const char *s) {
    if (str_empty(s)) return NULL;
    size_t len = strlen(s) + 1;
    char *at = p->base ? p->base + p->used : NULL;
    if (at) memcpy(at, s, len);
    p->used += len;
    return at;
}

static struct string_list pack_list(struct packer *p, const struct string_list *l) {
    struct string_list copy = {NULL, l->len};
    if (l->len) copy.items = pack(p, l->items, l->len * sizeof(*l->items));
    for (size_t i = 0; i < l->len; i++) {
        const char *s = pack_str(p, l->items[i]);
        if (copy.items) copy.items[i] = s ? s : "";
    }
    return copy;
}

static void pack_rules(struct packer *p, const struct rbacv1_PolicyRule_list *rules) {
    struct role role = {{NULL, rules->len}}, *at = pack(p, &role, sizeof(role));
    struct rbacv1_PolicyRule *items = pack(p, rules->items, rules->len * sizeof(*rules->items));
    if (at) at->rules.items = items;
    for (size_t i = 0; i < rules->len; i++) {
        const struct rbacv1_PolicyRule *from = &rules->items[i];
        struct rbacv1_PolicyRule copy = {.verbs = pack_list(p, &from->verbs), .apiGroups = pack_list(p, &from->apiGroups), .resources = pack_list(p, &from->resources),
            .resourceNames = pack_list(p, &from->resourceNames), .nonResourceURLs = pack_list(p, &from->nonResourceURLs)};
        if (items) items[i] = copy;
    }
}

static void pack_binding(struct packer *p, const struct rbacv1_RoleBinding *b) {
    struct binding *at = pack(p, &(struct binding){0}, sizeof(*at));
    struct rbacv1_Subject *items = pack(p, b->subjects.items, b->subjects.len * sizeof(*items));
    struct binding copy = {.namespace = pack_str(p, b->metadata.namespace), .name = pack_str(p, b->metadata.name), .role_kind = pack_str(p, b->roleRef.kind),
        .role_name = pack_str(p, b->roleRef.name), .subjects = {items, b->subjects.len}};
    for (size_t i = 0; i < b->subjects.len; i++) {
        const struct rbacv1_Subject *from = &b->subjects.items[i];
        struct rbacv1_Subject s = {.kind = pack_str(p, from->kind), .name = pack_str(p, from->name), .namespace = pack_str(p, from->namespace)};
        if (items) items[i] = s;
    }
    if (at) *at = copy;
}

static void *packed(void (*fn)(struct packer *, const void *), const void *from) {
    struct packer p = {0};
    fn(&p, from);
    p.base = calloc(1, p.used + 8);
    CHECK(p.base);
    p.used = 0;
    fn(&p, from);
    return p.base;
}
static void pack_rules_fn(struct packer *p, const void *rules) { pack_rules(p, rules); }
static void pack_binding_fn(struct packer *p, const void *binding) { pack_binding(p, binding); }

/* ---- the index by subject ---- */

/* "namespace/K:name", short ones in the caller's buffer. */
struct key { char small[192]; char *text; };

static const char *key_make(struct key *k, const char *namespace, char kind, const char *name) {
    size_t ns = namespace ? strlen(namespace) : 0, len = strlen(name), need = ns + len + 4;
    char *p = k->text = need <= sizeof(k->small) ? k->small : malloc(need);
    CHECK(p);
    if (namespace) {
        memcpy(p, namespace, ns);
        p[ns] = '/';
        p += ns + 1;
    }
    *p++ = kind;
    *p++ = ':';
    memcpy(p, name, len + 1);
    return k->text;
}
static void key_release(struct key *k) {
    if (k->text != k->small) free(k->text);
}

static const char *const account_prefix = "system:serviceaccount:";

/* The key of one of a binding's subjects; NULL for those that match nobody. A ServiceAccount is the user of its name. */
static const char *subject_key(struct key *k, const struct binding *b, const struct rbacv1_Subject *s) {
    const char *name = str_or(s->name, "");
    if (str_eq(s->kind, "User")) return key_make(k, b->namespace, 'U', name);
    if (str_eq(s->kind, "Group")) return key_make(k, b->namespace, 'G', name);
    const char *ns = str_or(s->namespace, b->namespace);
    if (!str_eq(s->kind, "ServiceAccount") || str_empty(ns)) return NULL;
    size_t len = strlen(account_prefix) + strlen(ns) + strlen(name) + 2;
    char *full = malloc(len);
    CHECK(full);
    snprintf(full, len, "%s%s:%s", account_prefix, ns, name);
    key_make(k, b->namespace, 'U', full);
    free(full);
    return k->text;
}

static void index_add(struct rbac *c, struct binding *b, size_t i) {
    struct key k;
    const char *key = subject_key(&k, b, &b->subjects.items[i]);
    if (!key) return;
    struct postings *p = map_get(c->subjects, key);
    if (!p) {
        p = calloc(1, sizeof(*p));
        CHECK(p);
        map_put(c->subjects, key, p);
    }
    if (p->len == p->cap) {
        p->cap = p->cap ? p->cap * 2 : 1;
        p->items = realloc(p->items, p->cap * sizeof(*p->items));
        CHECK(p->items);
    }
    p->items[p->len++] = (struct posting){b, i};
    key_release(&k);
}

static void index_remove(struct rbac *c, struct binding *b, size_t i) {
    struct key k;
    const char *key = subject_key(&k, b, &b->subjects.items[i]);
    struct postings *p = key ? map_get(c->subjects, key) : NULL;
    for (size_t j = 0; p && j < p->len; j++)
        if (p->items[j].binding == b && p->items[j].subject == i) {
            p->items[j] = p->items[--p->len];
            break;
        }
    if (p && p->len == 0) {
        map_del(c->subjects, key);
        free(p->items);
        free(p);
    }
    if (key) key_release(&k);
}

static void drop_binding(struct rbac *c, struct binding *b) {
    for (size_t i = 0; b && i < b->subjects.len; i++) index_remove(c, b, i);
    free(b);
}

/* ---- feeding ---- */

static int kind_of(const char *key) {
    for (int i = 0; i < 4; i++)
        if (str_has_prefix(key, prefixes[i])) return i;
    return -1;
}

void rbac_del(struct rbac *c, const char *key) {
    int kind = kind_of(key);
    pthread_rwlock_wrlock(&c->lock);
    if (kind == ROLES || kind == CLUSTER_ROLES) free(map_del(c->roles, key));
    else if (kind >= 0) drop_binding(c, map_del(c->bindings, key));
    pthread_rwlock_unlock(&c->lock);
}

static void put_role(struct rbac *c, const char *key, const struct rbacv1_PolicyRule_list *rules) {
    void *role = packed(pack_rules_fn, rules);
    pthread_rwlock_wrlock(&c->lock);
    free(map_put(c->roles, key, role));
    pthread_rwlock_unlock(&c->lock);
}

static void put_binding(struct rbac *c, const char *key, const struct rbacv1_RoleBinding *from) {
    struct binding *b = packed(pack_binding_fn, from);
    pthread_rwlock_wrlock(&c->lock);
    drop_binding(c, map_put(c->bindings, key, b));
    for (size_t i = 0; i < b->subjects.len; i++) index_add(c, b, i);
    pthread_rwlock_unlock(&c->lock);
}

void rbac_put(struct rbac *c, const char *key, const char *json, size_t len) {
    static const struct type_desc *const types[4] = {&rbacv1_ClusterRole_desc, &rbacv1_Role_desc, &rbacv1_ClusterRoleBinding_desc, &rbacv1_RoleBinding_desc};
    int kind = kind_of(key);
    if (kind < 0) return;
    _cleanup_arena_ struct arena *a = arena_new();
    void *obj = arena_alloc(a, types[kind]->size);
    if (object_decode_json(a, types[kind], obj, json, len, NULL, NULL) != 0) {
        log_error("RBAC: %s cannot be decoded and grants nothing", key);
        rbac_del(c, key);
    } else if (kind == CLUSTER_ROLES) put_role(c, key, &((struct rbacv1_ClusterRole *)obj)->rules);
    else if (kind == ROLES) put_role(c, key, &((struct rbacv1_Role *)obj)->rules);
    else put_binding(c, key, obj); /* both kinds have one form: api/defaults.c asserts it */
}

static void on_event(void *arg, struct store_event *e) {
    if (e->type == STORE_DELETE) rbac_del(arg, e->key);
    else rbac_put(arg, e->key, shared_data(e->value), shared_len(e->value));
}

struct filling { struct rbac *c; struct arena *a; };
static bool on_stored(void *arg, const struct store_view *v) {
    struct filling *f = arg;
    rbac_put(f->c, arena_strndup(f->a, v->key, v->key_len), v->value, v->value_len);
    return true;
}

static int fill(struct rbac *c, struct store *store, struct status *reterr) {
    _cleanup_arena_ struct arena *a = arena_new();
    struct filling f = {c, a};
    struct store_txn *t;
    if (store_read_begin(store, &t, reterr) != 0) return -1;
    uint64_t revision = store_txn_revision(t);
    for (int i = 0; i < 4; i++) store_range(t, prefixes[i], NULL, on_stored, &f);
    store_read_end(t);
    for (int i = 0; i < 4; i++)
        if (store_watch_start(store, prefixes[i], revision, on_event, c, &c->watches[i], reterr) != 0) return -1;
    return 0;
}

struct rbac *rbac_new(struct store *store, struct status *reterr) {
    struct rbac *c = calloc(1, sizeof(*c));
    pthread_rwlockattr_t attr;
    CHECK(c);
    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP); /* the store's writer must not starve behind requests */
    pthread_rwlock_init(&c->lock, &attr);
    pthread_rwlockattr_destroy(&attr);
    c->roles = map_new();
    c->bindings = map_new();
    c->subjects = map_new();
    if (!store || fill(c, store, reterr) == 0) return c;
    rbac_free(c);
    return NULL;
}

static void free_postings(void *p) {
    free(((struct postings *)p)->items);
    free(p);
}

void rbac_free(struct rbac *c) {
    if (!c) return;
    for (int i = 0; i < 4; i++)
        if (c->watches[i]) store_watch_stop(c->watches[i]);
    map_free_with(c->roles, free);
    map_free_with(c->bindings, free);
    map_free_with(c->subjects, free_postings);
    pthread_rwlock_destroy(&c->lock);
    free(c);
}

/* ---- asking ---- */

static bool has_or_all(const struct string_list *l, const char *s) {
    for (size_t i = 0; i < l->len; i++)
        if (strcmp(l->items[i], "*") == 0 || strcmp(l->items[i], s) == 0) return true;
    return false;
}

/* "pods/log" as "*", as itself, or as a star and "/log". */
static bool resource_matches(const struct string_list *l, const char *resource, const char *sub) {
    size_t len = strlen(resource);
    for (size_t i = 0; i < l->len; i++) {
        const char *s = l->items[i];
        if (strcmp(s, "*") == 0) return true;
        if (!*sub) {
            if (strcmp(s, resource) == 0) return true;
        } else if (s[0] == '*' && s[1] == '/') {
            if (strcmp(s + 2, sub) == 0) return true;
        } else if (strncmp(s, resource, len) == 0 && s[len] == '/' && strcmp(s + len + 1, sub) == 0) return true;
    }
    return false;
}

static bool url_matches(const struct string_list *l, const char *path) {
    for (size_t i = 0; i < l->len; i++) {
        const char *s = l->items[i];
        size_t len = strlen(s);
        if (strcmp(s, path) == 0) return true;
        if (!len || s[len - 1] != '*') continue;
        while (len && s[len - 1] == '*') len--;
        if (strncmp(s, path, len) == 0) return true;
    }
    return false;
}

bool rbac_rule_allows(const struct rbacv1_PolicyRule *rule, const struct authz_attributes *at) {
    if (!has_or_all(&rule->verbs, str_or(at->verb, ""))) return false;
    if (!at->resource_request) return url_matches(&rule->nonResourceURLs, str_or(at->path, ""));
    return has_or_all(&rule->apiGroups, str_or(at->group, "")) && resource_matches(&rule->resources, str_or(at->resource, ""), str_or(at->subresource, "")) &&
           (rule->resourceNames.len == 0 || string_list_has(&rule->resourceNames, str_or(at->name, "")));
}

static bool applies(const struct binding *b, const struct rbacv1_Subject *s, const struct user_info *u) {
    if (str_eq(s->kind, "User")) return str_eq(u->name, s->name);
    if (str_eq(s->kind, "Group")) return string_list_has(&u->groups, str_or(s->name, ""));
    const char *ns = str_or(s->namespace, b->namespace), *name = u->name;
    if (!str_eq(s->kind, "ServiceAccount") || str_empty(ns) || !str_has_prefix(str_or(name, ""), account_prefix)) return false;
    name += strlen(account_prefix);
    size_t len = strlen(ns);
    return strncmp(name, ns, len) == 0 && name[len] == ':' && str_eq(name + len + 1, s->name);
}

/* A binding is visited once, for the first of its subjects that the user is. The index only finds candidates: names hold any characters, its keys' too. */
static bool is_first(const struct posting *p, const struct user_info *u) {
    if (!applies(p->binding, &p->binding->subjects.items[p->subject], u)) return false;
    for (size_t i = 0; i < p->subject; i++)
        if (applies(p->binding, &p->binding->subjects.items[i], u)) return false;
    return true;
}

struct visit {
    struct rbac *c;
    struct arena *a;
    const struct user_info *user;
    /* Returns false to end the visit. Either rules of a binding, or an error. */
    bool (*fn)(void *arg, const struct posting *from, const struct rbacv1_PolicyRule_list *rules, const char *error);
    void *arg;
};

static const struct role *role_find(struct rbac *c, const char *namespace, const char *name) {
    char small[512], *key = small;
    size_t need = strlen(prefixes[CLUSTER_ROLES]) + strlen(str_or(namespace, "")) + strlen(str_or(name, "")) + 2;
    if (need > sizeof(small)) return NULL; /* no key of the store is so long */
    snprintf(small, sizeof(small), "%s%s%s%s", prefixes[namespace ? ROLES : CLUSTER_ROLES], namespace ? namespace : "", namespace ? "/" : "", str_or(name, ""));
    return map_get(c->roles, key);
}

static bool visit_binding(struct visit *v, const struct posting *p) {
    const struct binding *b = p->binding;
    bool cluster = str_eq(b->role_kind, "ClusterRole");
    const struct role *role = cluster || (b->namespace && str_eq(b->role_kind, "Role")) ? role_find(v->c, cluster ? NULL : b->namespace, b->role_name) : NULL;
    if (role) return v->fn(v->arg, p, &role->rules, NULL);
    return v->fn(v->arg, p, NULL, arena_printf(v->a, "%s.rbac.authorization.k8s.io %s not found", cluster ? "clusterrole" : "role", go_quote(v->a, str_or(b->role_name, ""))));
}

static bool visit_key(struct visit *v, const char *namespace, char kind, const char *name) {
    struct key k;
    const struct postings *p = map_get(v->c->subjects, key_make(&k, namespace, kind, str_or(name, "")));
    key_release(&k);
    for (size_t i = 0; p && i < p->len; i++)
        if (is_first(&p->items[i], v->user) && !visit_binding(v, &p->items[i])) return false;
    return true;
}

static bool said_before(const struct string_list *groups, size_t i) {
    for (size_t j = 0; j < i; j++)
        if (str_eq(groups->items[j], groups->items[i])) return true;
    return false;
}

static bool visit_scope(struct visit *v, const char *namespace) {
    const struct string_list *groups = &v->user->groups;
    if (!visit_key(v, namespace, 'U', v->user->name)) return false;
    for (size_t i = 0; i < groups->len; i++)
        if (!said_before(groups, i) && !visit_key(v, namespace, 'G', groups->items[i])) return false;
    return true;
}

/* Cluster-wide bindings first, then those of the namespace. The lock is held. */
static void visit_all(struct visit *v, const char *namespace) {
    if (visit_scope(v, NULL) && !str_empty(namespace)) visit_scope(v, namespace);
}

struct deciding {
    struct arena *a;
    const struct authz_attributes *attrs;
    bool allowed, want_reason;
    const char *reason;
    struct string_list errors;
};

static char *describe(struct arena *a, const struct posting *p) {
    const struct binding *b = p->binding;
    const struct rbacv1_Subject *s = &b->subjects.items[p->subject];
    bool account = str_eq(s->kind, "ServiceAccount");
    const char *who = account ? arena_printf(a, "%s/%s", str_or(s->name, ""), str_or(s->namespace, str_or(b->namespace, ""))) : str_or(s->name, "");
    const char *name = b->namespace ? arena_printf(a, "%s/%s", str_or(b->name, ""), b->namespace) : str_or(b->name, "");
    return arena_printf(a, "RBAC: allowed by %s %s of %s %s to %s %s", b->namespace ? "RoleBinding" : "ClusterRoleBinding", go_quote(a, name), str_or(b->role_kind, ""),
                        go_quote(a, str_or(b->role_name, "")), str_or(s->kind, ""), go_quote(a, who));
}

static bool decide_by(void *arg, const struct posting *from, const struct rbacv1_PolicyRule_list *rules, const char *error) {
    struct deciding *d = arg;
    if (error) string_list_push(d->a, &d->errors, error);
    for (size_t i = 0; rules && i < rules->len; i++) {
        if (!rbac_rule_allows(&rules->items[i], d->attrs)) continue;
        d->allowed = true;
        if (d->want_reason) d->reason = describe(d->a, from);
        return false;
    }
    return true;
}

char *aggregate_messages(struct arena *a, const struct string_list *messages) {
    struct string_list once = {0};
    _cleanup_buf_ struct buf out = BUF_INIT;
    for (size_t i = 0; i < messages->len; i++)
        if (!string_list_has(&once, messages->items[i])) string_list_push(a, &once, messages->items[i]);
    if (once.len > 1) buf_append_char(&out, '[');
    for (size_t i = 0; i < once.len; i++) buf_printf(&out, "%s%s", i ? ", " : "", once.items[i]);
    if (once.len > 1) buf_append_char(&out, ']');
    return arena_strdup(a, buf_cstr(&out));
}

enum authz_decision rbac_decide(struct rbac *c, struct arena *a, const struct authz_attributes *attrs, const char **ret_reason) {
    struct deciding d = {.a = a, .attrs = attrs, .want_reason = ret_reason != NULL};
    struct visit v = {c, a, attrs->user, decide_by, &d};
    pthread_rwlock_rdlock(&c->lock);
    visit_all(&v, attrs->namespace);
    pthread_rwlock_unlock(&c->lock);
    if (!d.allowed && d.errors.len) d.reason = arena_printf(a, "RBAC: %s", aggregate_messages(a, &d.errors));
    if (ret_reason) *ret_reason = str_or(d.reason, "");
    return d.allowed ? AUTHZ_ALLOW : AUTHZ_NO_OPINION;
}

struct gathering { struct arena *a; struct rbacv1_PolicyRule_list rules; struct string_list *errors; };

static bool gather(void *arg, const struct posting *from UNUSED, const struct rbacv1_PolicyRule_list *rules, const char *error) {
    struct gathering *g = arg;
    if (error && g->errors) string_list_push(g->a, g->errors, error);
    for (size_t i = 0; rules && i < rules->len; i++) object_copy_into(g->a, &rbacv1_PolicyRule_desc, LIST_PUSH(g->a, &g->rules), &rules->items[i]);
    return true;
}

struct rbacv1_PolicyRule_list rbac_rules_for(struct rbac *c, struct arena *a, const struct user_info *user, const char *namespace, struct string_list *errors) {
    struct gathering g = {a, {0}, errors};
    struct visit v = {c, a, user, gather, &g};
    pthread_rwlock_rdlock(&c->lock);
    visit_all(&v, namespace);
    pthread_rwlock_unlock(&c->lock);
    return g.rules;
}

bool rbac_role_rules(struct rbac *c, struct arena *a, const char *namespace, const char *name, struct rbacv1_PolicyRule_list *ret) {
    struct gathering g = {a, {0}, NULL};
    pthread_rwlock_rdlock(&c->lock);
    const struct role *role = role_find(c, namespace, name);
    if (role) gather(&g, NULL, &role->rules, NULL);
    pthread_rwlock_unlock(&c->lock);
    *ret = g.rules;
    return role != NULL;
}
