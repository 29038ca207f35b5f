#include "apiserver/encryption/kms.h"
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <string.h>
#include "base/env.h"
#include "base/log.h"
#include "base/map.h"
#include "base/str.h"
#include "kms.pb-c.h"
#include "wire/grpc.h"

#define SERVICE "/v2.KeyManagementService/"
static const int64_t SECOND = 1000000000, WELL_S = 60, UNWELL_S = 10, WRITE_S = 180, FRESH_WELL_S = 20, FRESH_UNWELL_S = 3, REFUSED_S = 1;
enum { ID_MAX = 1024, SOURCE_MAX = 1024, ANNOTATIONS_MAX = 32 * 1024, CACHE_MAX = 4096, SEEDED = 1, PLAIN_KEY = 0 };

/* What new values are encrypted with. Counted: a writer goes on with it while the thread puts another in its place. */
struct state {
    atomic_int refs;
    struct cipher_key seed;
    Kms__EncryptedObject *object; /* without data: the key's id, the encrypted seed, annotations */
};

struct known { struct cipher_key key; int64_t refused_until_ns; /* the key is not there: do not ask before */ };

struct kms {
    char *name;
    int timeout_ms;
    struct grpc_client *client;
    pthread_t thread;
    bool started;
    atomic_bool cancel;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    /* under it */
    bool stop, asked;
    struct state *state;      /* NULL: none yet */
    int64_t write_until_ns, checked_ns;
    struct status trouble;    /* of the last check; code 0: it was well */
    char version[16];
    struct map *keys;         /* struct known by what kind of source they come from and its bytes, hashed */
};

const char *kms_name(const struct kms *k) { return k->name; }

static int64_t now_ns(void) { return env_mono_ns(env_real()); }

/* ---- states ---- */

static void state_unref(struct state *s) {
    if (!s || atomic_fetch_sub(&s->refs, 1) != 1) return;
    OPENSSL_cleanse(&s->seed, sizeof(s->seed));
    kms__encrypted_object__free_unpacked(s->object, NULL);
    free(s);
}

static struct state *state_ref(struct kms *k, int64_t *ret_until_ns) {
    pthread_mutex_lock(&k->mutex);
    struct state *s = k->state;
    if (s) atomic_fetch_add(&s->refs, 1);
    if (ret_until_ns) *ret_until_ns = k->write_until_ns;
    pthread_mutex_unlock(&k->mutex);
    return s;
}

/* ---- what may be kept ---- */

static bool is_domain(const char *s) {
    size_t labels = 0, len = 0;
    if (strlen(s) > 253) return false;
    for (;; s++) {
        if (*s == '.' || !*s) {
            if (!len || len > 63 || s[-1] == '-') return false;
            labels++;
            len = 0;
            if (!*s) return labels > 1;
        } else if ((*s >= 'a' && *s <= 'z') || (*s >= '0' && *s <= '9') || (*s == '-' && len)) len++;
        else return false;
    }
}

static int check_annotations(size_t n, Kms__Annotation *const *items, struct status *reterr) {
    size_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        if (!is_domain(items[i]->key)) return status_set(reterr, 500, REASON_INTERNAL_ERROR, "failed to validate annotations: annotations: Invalid value: \"%s\": should be a domain with at least two segments separated by dots", items[i]->key);
        sum += strlen(items[i]->key) + items[i]->value.len;
    }
    return sum <= ANNOTATIONS_MAX ? 0 : status_set(reterr, 500, REASON_INTERNAL_ERROR, "failed to validate annotations: total size of annotations is %zu, which exceeds the max size of %d", sum, ANNOTATIONS_MAX);
}

static int check_id(const char *id, struct status *reterr) {
    size_t len = strlen(id);
    if (!len) return status_set(reterr, 500, REASON_INTERNAL_ERROR, "keyID is empty");
    return len <= ID_MAX ? 0 : status_set(reterr, 500, REASON_INTERNAL_ERROR, "keyID is %zu bytes, which exceeds the max size of %d", len, ID_MAX);
}

static int check_object(const Kms__EncryptedObject *o, struct status *reterr) {
    if (o->encrypted_dek_source_type != PLAIN_KEY && o->encrypted_dek_source_type != SEEDED) return status_set(reterr, 500, REASON_INTERNAL_ERROR, "unknown encryptedDEKSourceType: %d", o->encrypted_dek_source_type);
    if (!o->encrypted_data.len) return status_set(reterr, 500, REASON_INTERNAL_ERROR, "encrypted data is empty");
    if (!o->encrypted_dek_source.len) return status_set(reterr, 500, REASON_INTERNAL_ERROR, "failed to validate encrypted DEK source: encrypted DEK source is empty");
    if (o->encrypted_dek_source.len > SOURCE_MAX)
        return status_set(reterr, 500, REASON_INTERNAL_ERROR, "failed to validate encrypted DEK source: encrypted DEK source is %zu bytes, which exceeds the max size of %d", o->encrypted_dek_source.len, SOURCE_MAX);
    if (check_id(o->key_id, reterr) != 0) {
        status_wrap(reterr, "failed to validate key id");
        return -1;
    }
    return check_annotations(o->n_annotations, o->annotations, reterr);
}

/* ---- calls ---- */

/* The answer, to be freed as its kind; NULL with words. */
static void *call(struct kms *k, const char *method, const ProtobufCMessage *request, const ProtobufCMessageDescriptor *type, struct status *reterr) {
    _cleanup_buf_ struct buf packed = BUF_INIT, answer = BUF_INIT;
    size_t len = protobuf_c_message_get_packed_size(request);
    buf_reserve(&packed, len + 1);
    packed.len = protobuf_c_message_pack(request, (uint8_t *)packed.data);
    int failed = grpc_call(k->client, method, packed.data, packed.len, k->timeout_ms, &k->cancel, &answer, reterr);
    OPENSSL_cleanse(packed.data, packed.len);
    if (failed) return NULL;
    ProtobufCMessage *m = protobuf_c_message_unpack(type, NULL, answer.len, (const uint8_t *)buf_cstr(&answer));
    if (answer.len) OPENSSL_cleanse(answer.data, answer.len);
    if (!m) status_set(reterr, 500, REASON_INTERNAL_ERROR, "the KMS plugin's answer to %s is malformed", method);
    return m;
}

/* A new seed, encrypted by the plugin. NULL with words. */
static struct state *new_state(struct kms *k, struct status *reterr) {
    struct state *s = calloc(1, sizeof(*s));
    Kms__EncryptRequest request = KMS__ENCRYPT_REQUEST__INIT;
    char uid[37];
    CHECK(s);
    s->refs = 1;
    s->seed = (struct cipher_key){.cipher = CIPHER_SEEDED, .len = CIPHER_SEED_LEN};
    CHECK(RAND_bytes(s->seed.bytes, CIPHER_SEED_LEN) == 1);
    env_uuid(env_real(), uid);
    request.plaintext = (ProtobufCBinaryData){CIPHER_SEED_LEN, s->seed.bytes};
    request.uid = uid;
    Kms__EncryptResponse *r = call(k, SERVICE "Encrypt", &request.base, &kms__encrypt_response__descriptor, reterr);
    if (!r) status_wrap(reterr, "failed to encrypt DEK, error");
    else {
        Kms__EncryptedObject o = KMS__ENCRYPTED_OBJECT__INIT;
        uint8_t zero = 0;
        o.encrypted_data = (ProtobufCBinaryData){1, &zero};
        o.key_id = r->key_id;
        o.encrypted_dek_source = r->ciphertext;
        o.n_annotations = r->n_annotations;
        o.annotations = r->annotations;
        o.encrypted_dek_source_type = SEEDED;
        if (check_object(&o, reterr) == 0) {
            size_t len = kms__encrypted_object__get_packed_size(&o);
            uint8_t *copy = malloc(len);
            CHECK(copy);
            kms__encrypted_object__pack(&o, copy);
            s->object = kms__encrypted_object__unpack(NULL, len, copy); /* a deep copy */
            free(copy);
        }
        kms__encrypt_response__free_unpacked(r, NULL);
    }
    if (s->object) return s;
    state_unref(s);
    return NULL;
}

/* ---- keys ---- */

/* What a key is kept under: all that the plugin is told. */
static void key_of(const Kms__EncryptedObject *o, char text[2 * SHA256_DIGEST_LENGTH + 1]) {
    _cleanup_buf_ struct buf all = BUF_INIT;
    unsigned char sum[SHA256_DIGEST_LENGTH];
    buf_printf(&all, "%d %zu ", o->encrypted_dek_source_type, o->encrypted_dek_source.len);
    buf_append(&all, o->encrypted_dek_source.data, o->encrypted_dek_source.len);
    buf_printf(&all, "%zu %s", strlen(o->key_id), o->key_id);
    for (size_t i = 0; i < o->n_annotations; i++) {
        buf_printf(&all, " %zu %s %zu ", strlen(o->annotations[i]->key), o->annotations[i]->key, o->annotations[i]->value.len);
        buf_append(&all, o->annotations[i]->value.data, o->annotations[i]->value.len);
    }
    SHA256((const unsigned char *)all.data, all.len, sum);
    for (int i = 0; i < SHA256_DIGEST_LENGTH; i++) snprintf(text + 2 * i, 3, "%02x", sum[i]);
}

static void free_known(void *known) {
    OPENSSL_cleanse(known, sizeof(struct known));
    free(known);
}

static void remember(struct kms *k, const char *id, const struct known *known) {
    struct known *copy = malloc(sizeof(*copy));
    CHECK(copy);
    *copy = *known;
    pthread_mutex_lock(&k->mutex);
    if (map_len(k->keys) >= CACHE_MAX) {
        map_free_with(k->keys, free_known);
        k->keys = map_new();
    }
    struct known *old = map_put(k->keys, id, copy);
    if (old) free_known(old);
    pthread_mutex_unlock(&k->mutex);
}

static int ask_for_key(struct kms *k, const Kms__EncryptedObject *o, struct cipher_key *ret, struct status *reterr) {
    Kms__DecryptRequest request = KMS__DECRYPT_REQUEST__INIT;
    char uid[37];
    env_uuid(env_real(), uid);
    request.ciphertext = o->encrypted_dek_source;
    request.uid = uid;
    request.key_id = o->key_id;
    request.n_annotations = o->n_annotations;
    request.annotations = o->annotations;
    Kms__DecryptResponse *r = call(k, SERVICE "Decrypt", &request.base, &kms__decrypt_response__descriptor, reterr);
    if (!r) {
        status_wrap(reterr, "failed to decrypt DEK, error");
        return -1;
    }
    *ret = (struct cipher_key){.cipher = o->encrypted_dek_source_type == SEEDED ? CIPHER_SEEDED : CIPHER_AESGCM, .len = r->plaintext.len};
    bool fits = cipher_key_fits(ret->cipher, ret->len);
    if (fits) memcpy(ret->bytes, r->plaintext.data, ret->len);
    if (r->plaintext.len) OPENSSL_cleanse(r->plaintext.data, r->plaintext.len);
    kms__decrypt_response__free_unpacked(r, NULL);
    return fits ? 0 : status_set(reterr, 500, REASON_INTERNAL_ERROR, "invalid seed length %zu used for key generation", ret->len);
}

static int find_key(struct kms *k, const Kms__EncryptedObject *o, struct cipher_key *ret, struct status *reterr) {
    char id[2 * SHA256_DIGEST_LENGTH + 1];
    struct known known = {0};
    key_of(o, id);
    pthread_mutex_lock(&k->mutex);
    struct known *found = map_get(k->keys, id);
    if (found) known = *found;
    pthread_mutex_unlock(&k->mutex);
    if (known.key.len) {
        *ret = known.key;
        OPENSSL_cleanse(&known, sizeof(known));
        return 0;
    }
    if (known.refused_until_ns > now_ns()) return status_set(reterr, 500, REASON_INTERNAL_ERROR, "failed to decrypt DEK, error: the KMS plugin %s has just refused to", k->name);
    int failed = ask_for_key(k, o, ret, reterr);
    known = failed ? (struct known){.refused_until_ns = now_ns() + REFUSED_S * SECOND} : (struct known){.key = *ret};
    remember(k, id, &known);
    OPENSSL_cleanse(&known, sizeof(known));
    return failed;
}

/* ---- values ---- */

int kms_seal(struct kms *k, const char *place, size_t place_len, const void *data, size_t len, struct buf *ret, struct status *reterr) {
    int64_t until;
    struct state *s = state_ref(k, &until);
    _cleanup_buf_ struct buf sealed = BUF_INIT;
    if (!s) return status_set(reterr, 500, REASON_INTERNAL_ERROR, "got unexpected nil transformer");
    if (now_ns() > until) {
        state_unref(s);
        return status_set(reterr, 500, REASON_INTERNAL_ERROR, "encryptedDEKSource of KMS provider %s expired: the plugin has not been healthy for %lld seconds", k->name, (long long)WRITE_S);
    }
    int failed = cipher_seal(&s->seed, place, place_len, data, len, &sealed, reterr);
    if (!failed) {
        Kms__EncryptedObject o = *s->object;
        o.encrypted_data = (ProtobufCBinaryData){sealed.len, (uint8_t *)sealed.data};
        buf_reserve(ret, kms__encrypted_object__get_packed_size(&o) + 1);
        ret->len += kms__encrypted_object__pack(&o, (uint8_t *)ret->data + ret->len);
    }
    state_unref(s);
    return failed;
}

int kms_open(struct kms *k, const char *place, size_t place_len, const void *data, size_t len, struct buf *ret, bool *ret_stale, struct status *reterr) {
    Kms__EncryptedObject *o = kms__encrypted_object__unpack(NULL, len, data);
    struct cipher_key key;
    if (!o) return status_set(reterr, 500, REASON_INTERNAL_ERROR, "the stored EncryptedObject is malformed");
    int failed = check_object(o, reterr);
    if (!failed && !(failed = find_key(k, o, &key, reterr))) {
        failed = cipher_open(&key, place, place_len, o->encrypted_data.data, o->encrypted_data.len, ret, reterr);
        OPENSSL_cleanse(&key, sizeof(key));
        struct state *s = state_ref(k, NULL);
        *ret_stale |= s && (strcmp(s->object->key_id, o->key_id) != 0 || o->encrypted_dek_source_type != SEEDED);
        state_unref(s);
    }
    kms__encrypted_object__free_unpacked(o, NULL);
    return failed;
}

void kms_key_id(struct kms *k, struct buf *ret) {
    struct state *s = state_ref(k, NULL);
    if (s) buf_append_str(ret, s->object->key_id);
    state_unref(s);
}

/* ---- the plugin's health ---- */

/* A seed under the plugin's present key. */
static int keep_state(struct kms *k, const char *key_id, struct status *reterr) {
    int64_t until = now_ns() + WRITE_S * SECOND;
    struct state *now = state_ref(k, NULL), *fresh = NULL;
    bool same = now && strcmp(now->object->key_id, key_id) == 0;
    state_unref(now);
    if (!same && !(fresh = new_state(k, reterr))) return -1;
    if (fresh && strcmp(fresh->object->key_id, key_id) != 0) {
        state_unref(fresh);
        return status_set(reterr, 500, REASON_INTERNAL_ERROR, "failed to rotate DEK: the plugin's status and its answer to Encrypt name different keys");
    }
    if (fresh) {
        char id[2 * SHA256_DIGEST_LENGTH + 1];
        key_of(fresh->object, id);
        remember(k, id, &(struct known){.key = fresh->seed});
    }
    pthread_mutex_lock(&k->mutex);
    now = k->state;
    if (fresh) k->state = fresh;
    k->write_until_ns = until;
    pthread_mutex_unlock(&k->mutex);
    if (fresh) state_unref(now);
    return 0;
}

static int check_version(struct kms *k, const char *version, struct status *reterr) {
    if (!str_in(version, (const char *const[]){"v2", "v2beta1", NULL})) return status_set(reterr, 500, REASON_INTERNAL_ERROR, "expected KMSv2 API version v2, got %s", version);
    if (!*k->version) snprintf(k->version, sizeof(k->version), "%s", version);
    return str_eq(k->version, version) ? 0 : status_set(reterr, 500, REASON_INTERNAL_ERROR, "KMSv2 API version should not change after the initial status response version %s, got %s", k->version, version);
}

static int check(struct kms *k, struct status *reterr) {
    Kms__StatusRequest request = KMS__STATUS_REQUEST__INIT;
    Kms__StatusResponse *r = call(k, SERVICE "Status", &request.base, &kms__status_response__descriptor, reterr);
    if (!r) {
        status_wrap(reterr, "failed to perform status section of the healthz check for KMS Provider %s, error", k->name);
        return -1;
    }
    int failed = check_version(k, r->version, reterr);
    if (!failed && check_id(r->key_id, reterr) != 0) failed = -1;
    if (!failed) failed = keep_state(k, r->key_id, reterr); /* as upstream: also while it says that it is not well */
    if (!failed && strcmp(r->healthz, "ok") != 0) failed = status_set(reterr, 500, REASON_INTERNAL_ERROR, "got unexpected healthz status: %s", r->healthz);
    if (failed) status_wrap(reterr, "kmsv2 Provider %s is not healthy, error", k->name);
    kms__status_response__free_unpacked(r, NULL);
    return failed;
}

static bool check_and_note(struct kms *k) {
    struct status err = STATUS_INIT;
    bool well = check(k, &err) == 0;
    if (!well && !atomic_load(&k->cancel)) log_error("%s", status_message(&err));
    pthread_mutex_lock(&k->mutex);
    status_release(&k->trouble);
    k->trouble = err;
    k->checked_ns = now_ns();
    pthread_mutex_unlock(&k->mutex);
    return well;
}

static void *run(void *arg) {
    struct kms *k = arg;
    bool well = !k->trouble.code, stop = false;
    while (!stop) {
        pthread_mutex_lock(&k->mutex);
        int64_t deadline = k->checked_ns + (well ? WELL_S : UNWELL_S) * SECOND;
        while (!k->stop && !k->asked && env_cond_wait(env_real(), &k->cond, &k->mutex, deadline)) continue;
        stop = k->stop;
        k->asked = false;
        pthread_mutex_unlock(&k->mutex);
        if (!stop) well = check_and_note(k);
    }
    return NULL;
}

bool kms_is_healthy(struct kms *k, struct status *reterr) {
    pthread_mutex_lock(&k->mutex);
    bool well = !k->trouble.code;
    if (now_ns() - k->checked_ns > (well ? FRESH_WELL_S : FRESH_UNWELL_S) * SECOND) {
        k->asked = true;
        pthread_cond_signal(&k->cond);
    }
    if (!well && reterr) status_copy(reterr, &k->trouble);
    pthread_mutex_unlock(&k->mutex);
    return well;
}

/* ---- life ---- */

struct kms *kms_new(const struct kms_settings *s) {
    struct kms *k = calloc(1, sizeof(*k));
    CHECK(k);
    k->name = strdup(s->name);
    k->timeout_ms = (int)MIN(s->timeout_ms, (int64_t)INT32_MAX);
    k->client = grpc_client_new(s->endpoint);
    k->keys = map_new();
    pthread_mutex_init(&k->mutex, NULL);
    env_cond_init(&k->cond);
    check_and_note(k);
    CHECK(pthread_create(&k->thread, NULL, run, k) == 0);
    k->started = true;
    return k;
}

void kms_free(struct kms *k) {
    if (!k) return;
    pthread_mutex_lock(&k->mutex);
    k->stop = true;
    atomic_store(&k->cancel, true);
    pthread_cond_signal(&k->cond);
    pthread_mutex_unlock(&k->mutex);
    if (k->started) pthread_join(k->thread, NULL);
    grpc_client_free(k->client);
    state_unref(k->state);
    map_free_with(k->keys, free_known);
    status_release(&k->trouble);
    pthread_cond_destroy(&k->cond);
    pthread_mutex_destroy(&k->mutex);
    free(k->name);
    free(k);
}
