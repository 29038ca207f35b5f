/* EventRateLimit: how many Events a second are taken, from all, of a namespace, from a user, or from one source on one object. Upstream: plugin/pkg/admission/eventratelimit.
 *
 * A limit is a bucket of `burst` tokens a key, filled at `qps`; the buckets of a limit are kept in least-recently-used order, `cacheSize` at most. Any thread.
 * Tests: tests/unit/test_admission_plugins.c. */
#include <pthread.h>
#include <string.h>
#include "apiserver/admission/config.h"
#include "apiserver/admission/plugins.h"
#include "apiserver/apiserver.h"
#include "base/env.h"
#include "base/map.h"
#include "base/str.h"
#include "wire/json.h"

enum { CACHE_SIZE_DEFAULT = 4096, LIMITS_MAX = 16 };
#define NS_PER_S 1000000000.0

enum limit_type { LIMIT_SERVER, LIMIT_NAMESPACE, LIMIT_USER, LIMIT_SOURCE_AND_OBJECT };
static const char *const type_names[] = {"Server", "Namespace", "User", "SourceAndObject"};

struct bucket { struct bucket *newer, *older; double tokens; int64_t filled_ns; char key[]; };
struct limit {
    enum limit_type type;
    double qps, burst;
    size_t cache_size;
    struct map *buckets;           /* by key */
    struct bucket *newest, *oldest;
};
struct rate_limits { pthread_mutex_t lock; struct limit limits[LIMITS_MAX]; size_t len; };

/* ---- configuration ---- */

static int64_t number(yyjson_val *object, const char *name) { return yyjson_get_sint(yyjson_obj_get(object, name)); }

static int read_limit(struct arena *a, yyjson_val *v, size_t i, struct rate_limits *rl, struct field_errors *errs, struct status *reterr) {
    static const char *const members[] = {"type", "qps", "burst", "cacheSize", NULL}, *const types[] = {"Namespace", "Server", "SourceAndObject", "User", NULL};
    const struct field_path *at = FIELD_INDEX(FIELD(NULL, "limits"), i);
    const char *type = str_or(yyjson_get_str(yyjson_obj_get(v, "type")), "");
    struct limit *l = &rl->limits[rl->len];
    bool known = false;
    if (admission_config_members(a, v, arena_printf(a, "limits[%zu].", i), members, reterr) != 0) return -1;
    if (rl->len == LIMITS_MAX) return status_bad_request(reterr, "more than %d limits", LIMITS_MAX);
    for (size_t k = 0; k < ARRAY_LEN(type_names); k++)
        if (strcmp(type, type_names[k]) == 0) {
            l->type = (enum limit_type)k;
            known = true;
        }
    int64_t burst = number(v, "burst"), qps = number(v, "qps"), cache = number(v, "cacheSize");
    if (!known) field_not_supported(errs, FIELD(at, "type"), type, types);
    if (burst <= 0) field_invalid_int(errs, FIELD(at, "burst"), burst, "must be positive");
    if (qps <= 0) field_invalid_int(errs, FIELD(at, "qps"), qps, "must be positive");
    if (strcmp(type, "Server") != 0 && cache < 0) field_invalid_int(errs, FIELD(at, "cacheSize"), cache, "must not be negative");
    l->qps = (double)qps;
    l->burst = (double)burst;
    l->cache_size = l->type == LIMIT_SERVER ? 1 : cache > 0 ? (size_t)cache : CACHE_SIZE_DEFAULT;
    l->buckets = map_new();
    rl->len++;
    return 0;
}

int event_rate_limit_setup(const struct admission_setup *s, const char *text, size_t len, void **ret_state, struct status *reterr) {
    static const char *const versions[] = {"eventratelimit.admission.k8s.io/v1alpha1", NULL}, *const members[] = {"apiVersion", "kind", "limits", NULL};
    struct rate_limits *rl = ARENA_NEW(s->arena, struct rate_limits);
    struct field_errors errs = field_errors_in(s->arena);
    yyjson_val *root = text ? admission_config_parse(s->arena, text, len, versions, "Configuration", reterr) : NULL, *list = yyjson_obj_get(root, "limits"), *item;
    size_t i, max;
    int failed = text && (!root || admission_config_members(s->arena, root, "", members, reterr) != 0);
    if (!failed && !text) return 0; /* no limits */
    if (!failed && yyjson_arr_size(list) == 0) field_invalid_raw(&errs, FIELD(NULL, "limits"), list ? "[]" : "null", "must not be empty");
    pthread_mutex_init(&rl->lock, NULL);
    yyjson_arr_foreach(list, i, max, item) if (!failed) failed = read_limit(s->arena, item, i, rl, &errs, reterr) != 0;
    if (!failed && errs.len) failed = admission_config_refuse(&errs, "", reterr) != 0;
    if (failed) event_rate_limit_release(rl);
    else *ret_state = rl;
    return failed ? -1 : 0;
}

void event_rate_limit_release(void *state) {
    struct rate_limits *rl = state;
    if (!rl) return;
    for (size_t i = 0; i < rl->len; i++) map_free_with(rl->limits[i].buckets, free);
    pthread_mutex_destroy(&rl->lock);
}

/* ---- buckets ---- */

static void unlink_bucket(struct limit *l, struct bucket *b) {
    *(b->newer ? &b->newer->older : &l->newest) = b->older;
    *(b->older ? &b->older->newer : &l->oldest) = b->newer;
}

static void link_newest(struct limit *l, struct bucket *b) {
    b->newer = NULL;
    b->older = l->newest;
    *(l->newest ? &l->newest->newer : &l->oldest) = b;
    l->newest = b;
}

static struct bucket *bucket_of(struct limit *l, const char *key, int64_t now_ns) {
    struct bucket *b = map_get(l->buckets, key);
    if (b) unlink_bucket(l, b);
    else {
        if (map_len(l->buckets) == l->cache_size) { /* the one that was not used for longest begins anew when it comes back */
            struct bucket *gone = l->oldest;
            unlink_bucket(l, gone);
            map_del(l->buckets, gone->key);
            free(gone);
        }
        b = malloc(sizeof(*b) + strlen(key) + 1);
        CHECK(b);
        *b = (struct bucket){.tokens = l->burst, .filled_ns = now_ns};
        strcpy(b->key, key);
        map_put(l->buckets, key, b);
    }
    link_newest(l, b);
    return b;
}

static bool take_token(struct limit *l, const char *key, int64_t now_ns) {
    struct bucket *b = bucket_of(l, key, now_ns);
    if (now_ns > b->filled_ns) {
        b->tokens = MIN(l->burst, b->tokens + (double)(now_ns - b->filled_ns) / NS_PER_S * l->qps);
        b->filled_ns = now_ns;
    }
    if (b->tokens < 1) return false;
    b->tokens--;
    return true;
}

/* ---- the plugin ---- */

static const char *key_of(struct admission_attributes *a, enum limit_type type) {
    if (type == LIMIT_NAMESPACE) return str_or(a->namespace, "");
    if (type == LIMIT_USER) return str_or(a->r->user.name, "");
    if (type != LIMIT_SOURCE_AND_OBJECT) return "";
    const struct corev1_EventSource *source;
    const struct corev1_ObjectReference *o;
    if (a->st->type == &corev1_Event_desc) {
        const struct corev1_Event *e = a->obj;
        source = &e->source;
        o = &e->involvedObject;
    } else {
        const struct eventsv1_Event *e = a->obj;
        source = &e->deprecatedSource;
        o = &e->regarding;
    }
    return arena_printf(a->r->arena, "%s%s%s%s%s%s%s", str_or(source->component, ""), str_or(source->host, ""), str_or(o->kind, ""), str_or(o->namespace, ""), str_or(o->name, ""), str_or(o->uid, ""), str_or(o->apiVersion, ""));
}

int event_rate_limit(struct admission_attributes *a, void *state, struct status *reterr) {
    struct rate_limits *rl = state;
    struct string_list reached = {0};
    if (!rl || a->o->dry_run) return 0;
    int64_t now_ns = env_mono_ns(apiserver_env(a->r->server));
    pthread_mutex_lock(&rl->lock);
    for (size_t i = 0; i < rl->len; i++) {
        const char *key = key_of(a, rl->limits[i].type);
        if (!take_token(&rl->limits[i], key, now_ns)) string_list_push(a->r->arena, &reached, arena_printf(a->r->arena, "limit reached on type %s for key %s", type_names[rl->limits[i].type], key));
    }
    pthread_mutex_unlock(&rl->lock);
    if (!reached.len) return 0;
    const char *all = reached.items[0];
    for (size_t i = 1; i < reached.len; i++) all = arena_printf(a->r->arena, "%s, %s", all, reached.items[i]);
    return status_set(reterr, 429, REASON_TOO_MANY_REQUESTS, reached.len > 1 ? "[%s]" : "%s", all);
}
