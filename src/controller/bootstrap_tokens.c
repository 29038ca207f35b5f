/* Bootstrap tokens: the cluster's address in kube-public/cluster-info is signed with each, so that who knows a token can trust it; expired ones are removed.
 * Upstream: pkg/controller/bootstrap. Only Secrets of type bootstrap.kubernetes.io/token in kube-system are watched. Tests: tests/unit/test_controller_cluster.c. */
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include "api/time.h"
#include "base/str.h"
#include "controller/controllers.h"
#include "wire/json.h"

#define NS "kube-system"
#define PREFIX "bootstrap-token-"
#define JWS_PREFIX "jws-kubeconfig-"

struct bootstrap_tokens { struct controller *c; struct informer *secrets, *config_maps; };

static const char *value(struct arena *a, const struct corev1_Secret *s, const char *key) {
    LIST_FOREACH(e, &s->data)
        if (str_eq(e->key, key)) return arena_strndup(a, (const char *)e->value.data, e->value.len);
    return NULL;
}

/* How long it is still good for; -1: for ever. */
static int64_t left_ms(struct bootstrap_tokens *bt, struct arena *a, const struct corev1_Secret *s) {
    const char *text = value(a, s, "expiration");
    struct api_time end;
    if (str_empty(text)) return -1;
    if (time_parse(text, &end, NULL) != 0) return 0; /* one that cannot be read does not make a token eternal */
    return MAX(0, end.sec * 1000 - env_now_ns(bt->c->env) / 1000000);
}

/* ---- cleaning ---- */

static int sync_token(void *self, struct arena *a, const char *key, struct status *reterr) {
    struct bootstrap_tokens *bt = self;
    const char *ns, *name;
    object_key_split(a, key, &ns, &name);
    _cleanup_cached_ struct cached *cached = informer_get(bt->secrets, ns, name);
    _cleanup_status_ struct status err = STATUS_INIT;
    if (!cached) return 0;
    int64_t left = left_ms(bt, a, CACHED(cached, corev1_Secret));
    if (left > 0) work_queue_add_after(bt->c->queue, key, left);
    if (left != 0) return 0;
    if (client_delete(bt->c->client, &corev1_Secret_desc, ns, name, client_delete_options(a, cached->obj->metadata.uid, NULL), &err) == 0 || status_is(&err, 404) || status_is(&err, 409)) return 0;
    status_copy(reterr, &err);
    return -1;
}

/* ---- signing ---- */

/* A detached signature: the content is left out between the dots. */
static const char *detached_jws(struct arena *a, const char *id, const char *secret, const char *content) {
    _cleanup_buf_ struct buf header = BUF_INIT, input = BUF_INIT, out = BUF_INIT;
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned int len = 0;
    buf_append_str(&header, "{\"alg\":\"HS256\",\"kid\":");
    json_write_string(&header, id);
    buf_append_char(&header, '}');
    base64url_encode(&input, (const unsigned char *)header.data, header.len);
    buf_append(&out, input.data, input.len);
    buf_append_str(&out, "..");
    buf_append_char(&input, '.');
    base64url_encode(&input, (const unsigned char *)content, strlen(content));
    if (!HMAC(EVP_sha256(), secret, (int)strlen(secret), (const unsigned char *)input.data, input.len, mac, &len)) return NULL;
    base64url_encode(&out, mac, len);
    return arena_strdup(a, buf_cstr(&out));
}

static bool signs(struct bootstrap_tokens *bt, struct arena *a, const struct corev1_Secret *s, const char **ret_id, const char **ret_secret) {
    *ret_id = value(a, s, "token-id");
    *ret_secret = value(a, s, "token-secret");
    return !str_empty(*ret_id) && !str_empty(*ret_secret) && str_eq(s->metadata.name, arena_printf(a, PREFIX "%s", *ret_id)) && str_eq(value(a, s, "usage-bootstrap-signing"), "true") &&
           left_ms(bt, a, s) != 0;
}

static int sync_cluster_info(void *self, struct arena *a, const char *key UNUSED, struct status *reterr) {
    struct bootstrap_tokens *bt = self;
    _cleanup_cached_ struct cached *cached = informer_get(bt->config_maps, "kube-public", "cluster-info");
    _cleanup_cached_list_ struct cached_list secrets = {0};
    if (!cached) return 0;
    struct corev1_ConfigMap *cm = object_copy(a, &corev1_ConfigMap_desc, cached->obj);
    const char *content = string_map_get(&cm->data, "kubeconfig");
    if (!content) return 0;
    cm->data = (struct string_map){0};
    LIST_FOREACH(e, &CACHED(cached, corev1_ConfigMap)->data)
        if (!str_has_prefix(e->key, JWS_PREFIX)) string_map_set(a, &cm->data, e->key, e->value);
    informer_list(bt->secrets, NULL, &secrets);
    CACHED_FOREACH(s, corev1_Secret, &secrets) {
        const char *id, *secret, *jws;
        if (signs(bt, a, s, &id, &secret) && (jws = detached_jws(a, id, secret, content))) string_map_set(a, &cm->data, arena_printf(a, JWS_PREFIX "%s", id), jws);
    }
    if (string_map_equal(&cm->data, &CACHED(cached, corev1_ConfigMap)->data)) return 0;
    return client_update(bt->c->client, a, &corev1_ConfigMap_desc, cm, NULL, reterr);
}

static void wake(void *data, struct cached *any UNUSED) { work_queue_add(((struct controller *)data)->queue, "cluster-info"); }
static void wake_update(void *data, struct cached *old UNUSED, struct cached *now) { wake(data, now); }

static void on_config_map(void *data, struct cached *now) {
    if (str_eq(now->obj->metadata.namespace, "kube-public") && str_eq(now->obj->metadata.name, "cluster-info")) wake(data, now);
}
static void on_config_map_update(void *data, struct cached *old UNUSED, struct cached *now) { on_config_map(data, now); }

/* ---- life ---- */

static struct bootstrap_tokens *make(struct controller *c) {
    struct bootstrap_tokens *bt = calloc(1, sizeof(*bt));
    CHECK(bt);
    bt->c = c;
    bt->secrets = informer_new(c->client, c->env, &(struct reflector_source){.type = &corev1_Secret_desc, .ns = NS, .query = "fieldSelector=type%3Dbootstrap.kubernetes.io%2Ftoken"});
    return bt;
}

static void *new_cleaner(struct controller *c, struct status *reterr UNUSED) {
    struct bootstrap_tokens *bt = make(c);
    informer_add_handler(bt->secrets, &(struct informer_handler){c, controller_on_add, controller_on_update, NULL});
    informer_start(bt->secrets);
    return bt;
}

static void *new_signer(struct controller *c, struct status *reterr UNUSED) {
    struct bootstrap_tokens *bt = make(c);
    bt->config_maps = informers_get(c->context->informers, &corev1_ConfigMap_desc);
    informer_add_handler(bt->secrets, &(struct informer_handler){c, wake, wake_update, wake});
    informer_add_handler(bt->config_maps, &(struct informer_handler){c, on_config_map, on_config_map_update, NULL});
    informer_start(bt->secrets);
    return bt;
}

static void free_self(void *self) {
    struct bootstrap_tokens *bt = self;
    informer_free(bt->secrets);
    free(bt);
}

const struct controller_desc controller_token_cleaner = {.name = "token-cleaner-controller", .queue = "token_cleaner", .account = "token-cleaner", .workers = 1, .new = new_cleaner, .sync = sync_token, .free = free_self};
const struct controller_desc controller_bootstrap_signer = {.name = "bootstrap-signer-controller", .queue = "bootstrap_signer_queue", .account = "bootstrap-signer", .workers = 1, .new = new_signer, .sync = sync_cluster_info, .free = free_self};
