#include "apiserver/encryption/encryption.h"
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <string.h>
#include "apiserver/encryption/encryption_config.h"
#include "apiserver/encryption/kms.h"
#include "apiserver/registry.h"
#include "base/file.h"
#include "base/log.h"
#include "base/map.h"
#include "base/str.h"

#define ROOT "/registry/"
#define MIRROR STORE_SEALED "mirror:"
enum { PLACE_MAX = 1024, NAME_MAX_LEN = 300 };
static const char no_match[] = "no matching prefix found";

/* ---- a configuration in force ---- */

struct provider {
    const char *prefix;         /* "k8s:enc:aescbc:v1:"; "" for identity */
    const struct provider_config *config;
    struct kms *kms;            /* of a KMS alone */
};
struct rule { struct provider **items; size_t len; };
struct set {
    struct arena *arena;
    struct encryption_config config;
    struct { struct provider **items; size_t len; } all;
    struct map *rules;          /* "GROUP/RESOURCE", stars among them -> struct rule */
};

struct encryption {
    struct encryption_options options;
    char *file, *etcd_prefix;
    struct map *strategies;     /* "/registry/secrets" -> struct strategy */
    pthread_rwlock_t lock;      /* of the set: who uses it reads */
    struct set *set;
    struct cipher_key mirror_key;
    pthread_mutex_t writers_mutex;
    struct map *writers;        /* with etcd: the key of each value that is not stale -> writer_of what wrote it */
    struct file_watch *watch;
    struct store_cipher cipher;
    struct store_codec codec;
};

static void set_free(struct set *s) {
    if (!s) return;
    for (size_t i = 0; i < s->all.len; i++) kms_free(s->all.items[i]->kms);
    map_free(s->rules);
    encryption_config_wipe(&s->config);
    arena_free(s->arena);
    free(s);
}

static struct provider *provider_new(struct set *s, const struct provider_config *c) {
    static const char *const prefixes[] = {[PROVIDER_AESGCM] = "k8s:enc:aesgcm:v1:", [PROVIDER_AESCBC] = "k8s:enc:aescbc:v1:", [PROVIDER_SECRETBOX] = "k8s:enc:secretbox:v1:", [PROVIDER_IDENTITY] = ""};
    struct provider *p = ARENA_NEW(s->arena, struct provider);
    bool kms = c->kind == PROVIDER_KMS;
    *p = (struct provider){.prefix = kms ? arena_printf(s->arena, "k8s:enc:kms:v2:%s:", c->kms.name) : prefixes[c->kind], .config = c, .kms = kms ? kms_new(&c->kms) : NULL};
    *LIST_PUSH(s->arena, &s->all) = p;
    return p;
}

/* "foos.example.com" -> "example.com/foos"; "*." -> "/ *" */
static const char *rule_name(struct arena *a, const char *resource) {
    const char *dot = strchr(resource, '.');
    return dot ? arena_printf(a, "%s/%.*s", dot + 1, (int)(dot - resource), resource) : arena_printf(a, "/%s", resource);
}

static struct set *set_load(struct encryption *e, struct status *reterr) {
    _cleanup_buf_ struct buf text = BUF_INIT;
    struct set *s = calloc(1, sizeof(*s));
    CHECK(s);
    s->arena = arena_new();
    s->rules = map_new();
    if (file_read(e->file, FILE_OPTION_MAX, &text, reterr) != 0 || encryption_config_parse(s->arena, e->file, buf_cstr(&text), text.len, e->options.reload, &s->config, reterr) != 0) {
        set_free(s);
        return NULL;
    }
    LIST_FOREACH(c, &s->config.resources) {
        struct rule providers = {0};
        LIST_FOREACH(p, &c->providers) *LIST_PUSH(s->arena, &providers) = provider_new(s, p);
        for (size_t i = 0; i < c->resources.len; i++) {
            const char *name = rule_name(s->arena, c->resources.items[i]);
            struct rule *rule = map_get(s->rules, name);
            if (!rule) map_put(s->rules, name, rule = ARENA_NEW(s->arena, struct rule));
            for (size_t k = 0; k < providers.len; k++) *LIST_PUSH(s->arena, rule) = providers.items[k];
        }
    }
    return s;
}

/* ---- whose value it is ---- */

/* The end of the n-th part of a key below the root. */
static size_t part_end(const char *key, size_t len, size_t from) {
    const char *slash = from < len ? memchr(key + from, '/', len - from) : NULL;
    return slash ? (size_t)(slash - key) : len;
}

static const struct strategy *strategy_at_path(struct encryption *e, const char *key, size_t len) {
    char path[NAME_MAX_LEN];
    if (len >= sizeof(path)) return NULL;
    memcpy(path, key, len);
    path[len] = '\0';
    return map_get(e->strategies, path);
}

/* False: it belongs to no resource. */
static bool resource_of(struct encryption *e, const char *key, size_t len, char group[NAME_MAX_LEN], char resource[NAME_MAX_LEN]) {
    size_t root = sizeof(ROOT) - 1, first = part_end(key, len, root), second = part_end(key, len, first + 1);
    if (len < root || memcmp(key, ROOT, root) != 0) return false;
    const struct strategy *st = first < len ? strategy_at_path(e, key, second) : NULL;
    if (!st) st = strategy_at_path(e, key, first);
    if (st) return snprintf(group, NAME_MAX_LEN, "%s", st->group) < NAME_MAX_LEN && snprintf(resource, NAME_MAX_LEN, "%s", st->resource) < NAME_MAX_LEN;
    if (first >= len || !memchr(key + root, '.', first - root)) return false; /* custom resources are kept by group and name */
    return snprintf(group, NAME_MAX_LEN, "%.*s", (int)(first - root), key + root) < NAME_MAX_LEN && snprintf(resource, NAME_MAX_LEN, "%.*s", (int)(second - first - 1), key + first + 1) < NAME_MAX_LEN;
}

/* The providers of a key's resource, or NULL. Under the lock. */
static const struct rule *rule_of(struct encryption *e, const char *key, size_t len) {
    char group[NAME_MAX_LEN], resource[NAME_MAX_LEN], name[2 * NAME_MAX_LEN];
    const struct rule *rule;
    if (!resource_of(e, key, len, group, resource)) return NULL;
    snprintf(name, sizeof(name), "%s/%s", group, resource);
    if ((rule = map_get(e->set->rules, name))) return rule;
    snprintf(name, sizeof(name), "%s/*", group);
    if ((rule = map_get(e->set->rules, name))) return rule;
    return map_get(e->set->rules, "*/*");
}

/* ---- values ---- */

/* The key in the store as upstream knows it, which is authenticated with the value. */
struct place { char text[PLACE_MAX]; size_t len; };

static void place_of(const struct encryption *e, const char *key, size_t len, struct place *p) {
    size_t skip = sizeof(ROOT) - 2;
    if (e->etcd_prefix && len >= skip) p->len = (size_t)snprintf(p->text, sizeof(p->text), "%s%.*s", e->etcd_prefix, (int)(len - skip), key + skip);
    else p->len = (size_t)snprintf(p->text, sizeof(p->text), "%.*s", (int)len, key);
    CHECK(p->len < sizeof(p->text));
}

static int to_storage(const struct rule *rule, const struct place *p, const void *data, size_t len, struct buf *ret, struct status *reterr) {
    const struct provider *first = rule->items[0];
    const struct provider_config *c = first->config;
    if (c->kind == PROVIDER_IDENTITY) return 1;
    buf_append_str(ret, first->prefix);
    if (first->kms) return kms_seal(first->kms, p->text, p->len, data, len, ret, reterr);
    buf_printf(ret, "%s:", c->keys.items[0].name);
    return cipher_seal(&c->keys.items[0].key, p->text, p->len, data, len, ret, reterr);
}

static bool has_prefix(const char *data, size_t len, const char *prefix) {
    size_t n = strlen(prefix);
    return len >= n && memcmp(data, prefix, n) == 0;
}

/* Any key of that name may be the one: the first that opens it is. */
static int open_with_keys(const struct provider_config *c, const struct place *p, const char *data, size_t len, struct buf *ret, bool *ret_stale, struct status *reterr) {
    bool tried = false;
    LIST_FOREACH(k, &c->keys) {
        size_t n = strlen(k->name);
        if (len <= n || memcmp(data, k->name, n) != 0 || data[n] != ':') continue;
        tried = true;
        if (cipher_open(&k->key, p->text, p->len, data + n + 1, len - n - 1, ret, reterr) != 0) continue;
        *ret_stale |= k != c->keys.items;
        return 0;
    }
    return tried ? -1 : status_set(reterr, 500, REASON_INTERNAL_ERROR, "no matching key was found for the provided %s transformer", c->kind == PROVIDER_SECRETBOX ? "Secretbox" : "AES");
}

/* 1: it is kept as it is. */
static int from_storage(const struct rule *rule, const struct place *p, const char *data, size_t len, struct buf *ret, bool *ret_stale, struct status *reterr) {
    bool tried = false;
    for (size_t i = 0; i < rule->len; i++) {
        const struct provider *x = rule->items[i];
        size_t n = strlen(x->prefix);
        *ret_stale = i > 0; /* the first would write it in its way */
        if (!n && !has_prefix(data, len, STORE_SEALED)) return 1;
        if (!n || !has_prefix(data, len, x->prefix)) continue;
        tried = true;
        buf_clear(ret);
        int failed = x->kms ? kms_open(x->kms, p->text, p->len, data + n, len - n, ret, ret_stale, reterr) : open_with_keys(x->config, p, data + n, len - n, ret, ret_stale, reterr);
        if (!failed) return 0;
    }
    return tried ? -1 : status_set(reterr, 500, REASON_INTERNAL_ERROR, "%s", no_match);
}

/* ---- the file of the embedded store ---- */

static int seal(void *ctx, const char *key, const void *value, size_t len, struct buf *ret, struct status *reterr) {
    struct encryption *e = ctx;
    struct place p;
    size_t key_len = strlen(key);
    pthread_rwlock_rdlock(&e->lock);
    const struct rule *rule = rule_of(e, key, key_len);
    if (rule) place_of(e, key, key_len, &p);
    int rc = rule ? to_storage(rule, &p, value, len, ret, reterr) : 1;
    pthread_rwlock_unlock(&e->lock);
    if (rc < 0) status_wrap(reterr, "Internal error occurred");
    return rc;
}

static int open_value(void *ctx, const char *key, size_t key_len, const void *data, size_t len, struct buf *ret, bool *ret_stale, struct status *reterr) {
    struct encryption *e = ctx;
    struct place p;
    bool stale = false;
    pthread_rwlock_rdlock(&e->lock);
    const struct rule *rule = rule_of(e, key, key_len);
    if (rule) place_of(e, key, key_len, &p);
    int rc = rule ? from_storage(rule, &p, data, len, ret, &stale, reterr) : 1;
    pthread_rwlock_unlock(&e->lock);
    if (ret_stale) *ret_stale = stale;
    if (!rule && has_prefix(data, len, STORE_SEALED)) return status_set(reterr, 500, REASON_INTERNAL_ERROR, "identity transformer tried to read encrypted data");
    return rc;
}

/* ---- the mirror of an etcd ---- */

/* What a value is written with: provider, key and, of a plugin, the key behind it, hashed. Under the lock. */
static uintptr_t writer_of(const struct rule *rule) {
    _cleanup_buf_ struct buf b = BUF_INIT;
    const struct provider *first = rule->items[0];
    buf_append_str(&b, first->prefix);
    if (first->kms) kms_key_id(first->kms, &b);
    else if (first->config->keys.len) {
        buf_append_str(&b, first->config->keys.items[0].name);
        buf_append(&b, first->config->keys.items[0].key.bytes, first->config->keys.items[0].key.len);
    }
    uintptr_t hash = (uintptr_t)hash_bytes(b.data, b.len) | 1;
    if (b.len) OPENSSL_cleanse(b.data, b.len);
    return hash;
}

/* The mirror has values alone: by whom they were written is remembered beside it. writer 0: by nobody that is the first now. */
static void note_writer(struct encryption *e, const char *key, uintptr_t writer) {
    pthread_mutex_lock(&e->writers_mutex);
    if (writer) map_put(e->writers, key, (void *)writer);
    else map_del(e->writers, key);
    pthread_mutex_unlock(&e->writers_mutex);
}

static bool is_stale(struct encryption *e, const char *key, size_t key_len) {
    char name[PLACE_MAX];
    pthread_rwlock_rdlock(&e->lock);
    const struct rule *rule = key_len < sizeof(name) ? rule_of(e, key, key_len) : NULL;
    uintptr_t writer = rule ? writer_of(rule) : 0;
    pthread_rwlock_unlock(&e->lock);
    if (!rule) return false;
    memcpy(name, key, key_len);
    name[key_len] = '\0';
    pthread_mutex_lock(&e->writers_mutex);
    bool stale = (uintptr_t)map_get(e->writers, name) != writer;
    pthread_mutex_unlock(&e->writers_mutex);
    return stale;
}

static bool is_configured(struct encryption *e, const char *key, size_t key_len) {
    pthread_rwlock_rdlock(&e->lock);
    bool yes = rule_of(e, key, key_len) != NULL;
    pthread_rwlock_unlock(&e->lock);
    return yes;
}

static int mirror_seal(void *ctx, const char *key, const void *value, size_t len, struct buf *ret, struct status *reterr) {
    struct encryption *e = ctx;
    size_t key_len = strlen(key);
    if (!is_configured(e, key, key_len)) return 1;
    buf_append_str(ret, MIRROR);
    return cipher_seal(&e->mirror_key, key, key_len, value, len, ret, reterr);
}

/* What could not be opened when it came from etcd lies here as it was. */
static int mirror_open(void *ctx, const char *key, size_t key_len, const void *data, size_t len, struct buf *ret, bool *ret_stale, struct status *reterr) {
    struct encryption *e = ctx;
    if (ret_stale) *ret_stale = is_stale(e, key, key_len);
    size_t n = sizeof(MIRROR) - 1;
    if (!has_prefix(data, len, MIRROR)) return has_prefix(data, len, STORE_SEALED) ? status_set(reterr, 500, REASON_INTERNAL_ERROR, "identity transformer tried to read encrypted data") : 1;
    if (cipher_open(&e->mirror_key, key, key_len, (const char *)data + n, len - n, ret, reterr) != 0) return -1;
    return ret->len && ret->data[0] == '{' ? 0 : status_set(reterr, 500, REASON_INTERNAL_ERROR, "%s", no_match);
}

static int codec_decode(void *ctx, const char *key, const void *data, size_t len, struct buf *ret, uint32_t *ret_rv_offset) {
    struct encryption *e = ctx;
    const struct store_codec *base = e->options.codec;
    _cleanup_buf_ struct buf plain = BUF_INIT;
    _cleanup_status_ struct status err = STATUS_INIT;
    struct place p;
    size_t key_len = strlen(key);
    bool stale = false;
    pthread_rwlock_rdlock(&e->lock);
    const struct rule *rule = rule_of(e, key, key_len);
    if (rule) place_of(e, key, key_len, &p);
    int rc = rule ? from_storage(rule, &p, data, len, &plain, &stale, &err) : 1;
    uintptr_t writer = rule && rc >= 0 && !stale ? writer_of(rule) : 0;
    pthread_rwlock_unlock(&e->lock);
    if (rule) note_writer(e, key, writer);
    if (!rule && has_prefix(data, len, STORE_SEALED)) return 1;
    if (rc < 0) {
        log_error("the object %s in etcd cannot be decrypted: %s", key, status_message(&err));
        return 1;
    }
    return rc == 1 ? base->decode(base->ctx, key, data, len, ret, ret_rv_offset) : base->decode(base->ctx, key, plain.data, plain.len, ret, ret_rv_offset);
}

static int codec_encode(void *ctx, const char *key, const void *value, size_t len, uint32_t rv_offset, struct buf *ret, struct status *reterr) {
    struct encryption *e = ctx;
    const struct store_codec *base = e->options.codec;
    _cleanup_buf_ struct buf plain = BUF_INIT;
    if (base->encode(base->ctx, key, value, len, rv_offset, &plain, reterr) != 0) return -1;
    int rc = seal(e, key, plain.data, plain.len, ret, reterr);
    if (rc == 1) buf_append(ret, plain.data, plain.len);
    pthread_rwlock_rdlock(&e->lock);
    const struct rule *rule = rule_of(e, key, strlen(key));
    uintptr_t writer = rule ? writer_of(rule) : 0;
    pthread_rwlock_unlock(&e->lock);
    if (rule && rc >= 0) note_writer(e, key, writer);
    return rc < 0 ? -1 : 0;
}

/* ---- health ---- */

bool encryption_has_health(struct encryption *e) {
    if (!e) return false;
    bool any = e->options.reload;
    pthread_rwlock_rdlock(&e->lock);
    for (size_t i = 0; i < e->set->all.len; i++) any |= e->set->all.items[i]->kms != NULL;
    pthread_rwlock_unlock(&e->lock);
    return any;
}

bool encryption_is_healthy(struct encryption *e, struct status *reterr) {
    bool well = true;
    pthread_rwlock_rdlock(&e->lock);
    for (size_t i = 0; i < e->set->all.len && well; i++)
        if (e->set->all.items[i]->kms) well = kms_is_healthy(e->set->all.items[i]->kms, reterr);
    pthread_rwlock_unlock(&e->lock);
    return well;
}

/* ---- life ---- */

static void file_changed(void *arg) {
    struct encryption *e = arg;
    _cleanup_status_ struct status err = STATUS_INIT;
    struct set *fresh = set_load(e, &err), *old;
    if (!fresh) {
        log_error("encryption configuration: %s; the one from before stays in force", status_message(&err));
        return;
    }
    pthread_rwlock_wrlock(&e->lock);
    old = e->set;
    e->set = fresh;
    pthread_rwlock_unlock(&e->lock);
    set_free(old);
    log_info("the encryption configuration was read again");
}

/* Events of both groups are kept as the core group's. */
static void name_strategies(struct encryption *e) {
    _cleanup_arena_ struct arena *a = arena_new();
    const struct strategy *st;
    for (size_t i = 0; (st = strategy_at(i)); i++) {
        char *prefix = storage_key(a, st, NULL, NULL);
        prefix[strlen(prefix) - 1] = '\0';
        if (*st->group == '\0' || !map_has(e->strategies, prefix)) map_put(e->strategies, prefix, (void *)(uintptr_t)st);
    }
}

struct encryption *encryption_new(const struct encryption_options *o, struct status *reterr) {
    struct encryption *e = calloc(1, sizeof(*e));
    CHECK(e);
    e->options = *o;
    e->file = strdup(o->file);
    e->etcd_prefix = o->etcd_prefix ? strdup(o->etcd_prefix) : NULL;
    if (e->etcd_prefix && str_has_suffix(e->etcd_prefix, "/")) e->etcd_prefix[strlen(e->etcd_prefix) - 1] = '\0';
    e->strategies = map_new();
    e->mirror_key = (struct cipher_key){.cipher = CIPHER_AESGCM, .len = 32};
    CHECK(RAND_bytes(e->mirror_key.bytes, 32) == 1);
    pthread_rwlock_init(&e->lock, NULL);
    pthread_mutex_init(&e->writers_mutex, NULL);
    e->writers = map_new();
    e->cipher = o->etcd_prefix ? (struct store_cipher){mirror_seal, mirror_open, e} : (struct store_cipher){seal, open_value, e};
    e->codec = (struct store_codec){codec_decode, codec_encode, e};
    name_strategies(e);
    if (!(e->set = set_load(e, reterr))) {
        encryption_free(e);
        return NULL;
    }
    if (o->reload) {
        e->watch = file_watch_new();
        file_watch_add(e->watch, e->file, file_changed, e);
        file_watch_start(e->watch);
    }
    return e;
}

void encryption_free(struct encryption *e) {
    if (!e) return;
    file_watch_free(e->watch);
    set_free(e->set);
    map_free(e->strategies);
    map_free(e->writers);
    pthread_mutex_destroy(&e->writers_mutex);
    pthread_rwlock_destroy(&e->lock);
    free(e->file);
    free(e->etcd_prefix);
    free(e);
}

const struct store_cipher *encryption_cipher(struct encryption *e) { return &e->cipher; }
const struct store_codec *encryption_codec(struct encryption *e) { return &e->codec; }
