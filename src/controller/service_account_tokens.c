/* Tokens in Secrets of type kubernetes.io/service-account-token: they never expire and are made when somebody asks for them by such a Secret. Upstream:
 * pkg/controller/serviceaccount/tokens_controller.go.
 *
 * A Secret whose ServiceAccount is gone, or is another of the name, goes too. Only Secrets of that type are watched. Acts as the controller manager itself, which alone may
 * write Secrets everywhere. Tests: tests/unit/test_controller_cluster.c. */
#include "base/file.h"
#include "base/str.h"
#include "controller/controllers.h"
#include "wire/json.h"
#include "wire/jwt.h"

#define NAME_ANNOTATION "kubernetes.io/service-account.name"
#define UID_ANNOTATION "kubernetes.io/service-account.uid"

struct token_controller {
    struct controller *c;
    struct informer *secrets, *accounts;
    struct jwt_keys keys;
    char *root_ca;
};

/* ---- tokens ---- */

static void claim(struct buf *b, const char *name, const char *value) {
    if (b->len > 1) buf_append_char(b, ',');
    json_write_string(b, name);
    buf_append_char(b, ':');
    json_write_string(b, str_or(value, ""));
}

static char *make_token(struct token_controller *tc, struct arena *a, const struct corev1_Secret *s, const struct object *account, struct status *reterr) {
    _cleanup_buf_ struct buf b = BUF_INIT;
    buf_append_char(&b, '{');
    claim(&b, "iss", "kubernetes/serviceaccount");
    claim(&b, "kubernetes.io/serviceaccount/namespace", s->metadata.namespace);
    claim(&b, "kubernetes.io/serviceaccount/secret.name", s->metadata.name);
    claim(&b, "kubernetes.io/serviceaccount/service-account.name", account->metadata.name);
    claim(&b, "kubernetes.io/serviceaccount/service-account.uid", account->metadata.uid);
    claim(&b, "sub", arena_printf(a, "system:serviceaccount:%s:%s", s->metadata.namespace, account->metadata.name));
    buf_append_char(&b, '}');
    return jwt_sign(a, tc->keys.items[0], buf_cstr(&b), b.len, reterr);
}

static struct bytes_map_entry *entry(const struct corev1_Secret *s, const char *key) {
    LIST_FOREACH(e, &s->data)
        if (str_eq(e->key, key)) return e;
    return NULL;
}

static bool holds(const struct corev1_Secret *s, const char *key, const char *value) {
    const struct bytes_map_entry *e = entry(s, key);
    return e && e->value.len && (!value || (e->value.len == strlen(value) && memcmp(e->value.data, value, e->value.len) == 0));
}

static bool complete(const struct token_controller *tc, const struct corev1_Secret *s, const struct object *account) {
    return holds(s, "token", NULL) && holds(s, "namespace", s->metadata.namespace) && (!tc->root_ca || holds(s, "ca.crt", tc->root_ca)) &&
           str_eq(string_map_get(&s->metadata.annotations, UID_ANNOTATION), account->metadata.uid);
}

/* Entries are sorted by key. */
static void put(struct arena *a, struct bytes_map *m, const char *key, const char *value) {
    size_t i = 0;
    while (i < m->len && strcmp(m->items[i].key, key) < 0) i++;
    if (i == m->len || strcmp(m->items[i].key, key) != 0) {
        (void)LIST_PUSH(a, m);
        memmove(m->items + i + 1, m->items + i, (m->len - 1 - i) * sizeof(*m->items));
    }
    m->items[i] = (struct bytes_map_entry){key, {(const unsigned char *)value, strlen(value)}};
}

static int fill(struct token_controller *tc, struct arena *a, const struct corev1_Secret *now, const struct object *account, struct status *reterr) {
    struct corev1_Secret *s = object_copy(a, &corev1_Secret_desc, now);
    struct bytes_map data = {0};
    LIST_FOREACH(e, &s->data) *LIST_PUSH(a, &data) = *e;
    s->data = data;
    string_map_set(a, &s->metadata.annotations, NAME_ANNOTATION, account->metadata.name);
    string_map_set(a, &s->metadata.annotations, UID_ANNOTATION, account->metadata.uid);
    if (tc->root_ca) put(a, &s->data, "ca.crt", tc->root_ca);
    put(a, &s->data, "namespace", s->metadata.namespace);
    if (!holds(s, "token", NULL)) {
        char *token = make_token(tc, a, s, account, reterr);
        if (!token) return -1;
        put(a, &s->data, "token", token);
    }
    return client_update(tc->c->client, a, &corev1_Secret_desc, s, NULL, reterr);
}

/* ---- sync ---- */

static int sync_secret(void *self, struct arena *a, const char *key, struct status *reterr) {
    struct token_controller *tc = self;
    const char *ns, *name;
    object_key_split(a, key, &ns, &name);
    _cleanup_cached_ struct cached *cached = informer_get(tc->secrets, ns, name);
    if (!cached || cached->obj->metadata.deletionTimestamp.set) return 0;
    const struct corev1_Secret *s = CACHED(cached, corev1_Secret);
    const char *account_name = string_map_get(&s->metadata.annotations, NAME_ANNOTATION), *uid = string_map_get(&s->metadata.annotations, UID_ANNOTATION);
    if (str_empty(account_name)) return 0;
    struct corev1_ServiceAccount account;
    _cleanup_status_ struct status err = STATUS_INIT;
    /* The server is asked: a cache that lags must not cost anybody a token. */
    int rc = client_get(tc->c->client, a, &corev1_ServiceAccount_desc, ns, account_name, &account, &err);
    const struct object *o = (const struct object *)(const void *)&account;
    if (rc == 0 && (str_empty(uid) || str_eq(uid, account.metadata.uid))) {
        if (complete(tc, s, o) || fill(tc, a, s, o, &err) == 0 || status_is(&err, 404)) return 0;
    } else if (rc == 0 || status_is(&err, 404)) {
        if (client_delete(tc->c->client, &corev1_Secret_desc, ns, name, client_delete_options(a, s->metadata.uid, NULL), &err) == 0 || status_is(&err, 404)) return 0;
    }
    status_copy(reterr, &err);
    return -1;
}

/* ---- events and life ---- */

static void on_account_delete(void *data, struct cached *old) {
    struct token_controller *tc = data;
    _cleanup_cached_list_ struct cached_list secrets = {0};
    informer_list(tc->secrets, old->obj->metadata.namespace, &secrets);
    for (size_t i = 0; i < secrets.len; i++)
        if (str_eq(string_map_get(&secrets.items[i]->obj->metadata.annotations, NAME_ANNOTATION), old->obj->metadata.name)) controller_enqueue(tc->c, secrets.items[i]->obj);
}

/* Secrets may have been refused before their account was there. */
static void on_account_add(void *data, struct cached *now) { on_account_delete(data, now); }

static void free_self(void *self) {
    struct token_controller *tc = self;
    informer_free(tc->secrets);
    jwt_keys_release(&tc->keys);
    free(tc->root_ca);
    free(tc);
}

static void *new(struct controller *c, struct status *reterr) {
    const struct controller_options *o = c->context->options;
    if (str_empty(o->service_account_private_key_file)) return status_bad_request(reterr, "--service-account-private-key-file is not given"), NULL;
    _cleanup_buf_ struct buf root_ca = BUF_INIT;
    struct token_controller *tc = calloc(1, sizeof(*tc));
    CHECK(tc);
    tc->c = c;
    if (jwt_keys_load(o->service_account_private_key_file, &tc->keys, reterr) != 0 || (!str_empty(o->root_ca_file) && file_read(o->root_ca_file, FILE_OPTION_MAX, &root_ca, reterr) != 0)) {
        free_self(tc);
        return NULL;
    }
    if (!str_empty(o->root_ca_file)) tc->root_ca = buf_steal(&root_ca);
    tc->secrets = informer_new(c->client, c->env, &(struct reflector_source){.type = &corev1_Secret_desc, .query = "fieldSelector=type%3Dkubernetes.io%2Fservice-account-token"});
    tc->accounts = informers_get(c->context->informers, &corev1_ServiceAccount_desc);
    informer_add_handler(tc->secrets, &(struct informer_handler){c, controller_on_add, controller_on_update, NULL});
    informer_add_handler(tc->accounts, &(struct informer_handler){tc, on_account_add, NULL, on_account_delete});
    informer_start(tc->secrets);
    return tc;
}

const struct controller_desc controller_service_account_tokens = {.name = "serviceaccount-token-controller", .queue = "serviceaccount_tokens_service", .account = CONTROLLER_MANAGER_ITSELF, .workers = 5, .new = new, .sync = sync_secret, .free = free_self};
