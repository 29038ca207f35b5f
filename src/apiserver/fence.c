/* Fenced writes: see fence.h. */
#include "apiserver/fence.h"
#include <string.h>
#include "apiserver/apiserver.h"
#include "base/str.h"
#include "wire/json.h"

enum { FENCE_TRIES = 100 }; /* the Lease is renewed each second or so: more than one retry is rare */

struct request_fence { const char *lease, *key, *holder; int64_t transitions; };

/* "NAMESPACE/NAME TRANSITIONS HOLDER" */
static struct request_fence *parse(struct arena *a, const char *text) {
    struct request_fence *f = ARENA_NEW(a, struct request_fence);
    char *lease = arena_strdup(a, text), *transitions = strchr(lease, ' '), *holder = transitions ? strchr(transitions + 1, ' ') : NULL;
    if (!holder || !strchr(lease, '/')) return NULL;
    *transitions++ = *holder++ = 0;
    if (!str_to_i64(transitions, &f->transitions)) return NULL;
    f->lease = lease;
    f->holder = holder;
    f->key = arena_printf(a, "/registry/leases/%s", lease);
    return f;
}

/* Whether the Lease as we see it is held as the fence says; its revision. */
static bool holds(struct api_request *r, int64_t *ret_revision) {
    struct store_txn *t;
    struct store_view v;
    bool same = false;
    if (store_read_begin(apiserver_store(r->server), &t, NULL) != 0) return false;
    if (store_get(t, r->fence->key, &v) == 1) {
        yyjson_doc *doc = json_parse_in(r->arena, v.value, v.value_len, 0, NULL);
        yyjson_val *spec = doc ? yyjson_obj_get(yyjson_doc_get_root(doc), "spec") : NULL;
        same = str_eq(yyjson_get_str(yyjson_obj_get(spec, "holderIdentity")), r->fence->holder) && yyjson_get_sint(yyjson_obj_get(spec, "leaseTransitions")) == r->fence->transitions;
        *ret_revision = (int64_t)v.mod_revision;
    }
    store_read_end(t);
    return same;
}

/* A mirror may be late: before a no it is brought up to date. */
static int look(struct api_request *r, int64_t *ret_revision, struct status *reterr) {
    if (holds(r, ret_revision)) return 0;
    if (store_wait_current(apiserver_store(r->server), reterr) != 0) return -1;
    if (holds(r, ret_revision)) return 0;
    return status_set(reterr, 412, NULL, "the write is refused: the lease %s is not held by \"%s\" any more", r->fence->lease, r->fence->holder);
}

static bool writes(const struct api_request *r) { return !str_in(r->method, (const char *const[]){"GET", "HEAD", "OPTIONS", NULL}); }

int fence_begin(struct api_request *r, struct status *reterr) {
    const char *text = http_request_header(r->http, "Ckube-Lease-Fence");
    int64_t revision;
    if (!text || !writes(r)) return 0;
    if (!(r->fence = parse(r->arena, text))) return status_bad_request(reterr, "Ckube-Lease-Fence: \"%s\" is not NAMESPACE/NAME TRANSITIONS HOLDER", text);
    return look(r, &revision, reterr);
}

void fenced_write(struct api_request *r, const struct store_op *ops, size_t ops_len, struct store_result *ret) {
    struct store *s = apiserver_store(r->server);
    if (!r->fence) {
        store_write_wait(s, ops, ops_len, ret);
        return;
    }
    struct store_op *fenced = arena_calloc(r->arena, ops_len + 1, sizeof(*fenced));
    memcpy(fenced, ops, ops_len * sizeof(*ops));
    fenced[ops_len] = (struct store_op){.key = r->fence->key, .guard = true};
    for (int tries = 0; tries < FENCE_TRIES; tries++) {
        *ret = (struct store_result){.outcome = STORE_FAILED};
        if (look(r, &fenced[ops_len].expect_mod_revision, &ret->error) != 0) return;
        store_write_wait(s, fenced, ops_len + 1, ret);
        if (ret->outcome != STORE_CONFLICT || ret->conflict_op != ops_len) return;
    }
    *ret = (struct store_result){.outcome = STORE_FAILED};
    status_set(&ret->error, 503, REASON_SERVICE_UNAVAILABLE, "the lease %s changes too often", r->fence->lease);
}
