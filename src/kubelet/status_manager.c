/* Pod statuses on their way to the API server: the newest of each Pod is kept, one thread sends what has changed. Upstream: status/status_manager.go. */
#include <stdio.h>
#include <string.h>
#include "kubelet/internal.h"
#include "base/log.h"
#include "base/str.h"

enum { RESYNC_MS = 10000, RETRY_MS = 1000 };

struct entry {
    struct arena *arena; /* of status */
    struct corev1_PodStatus status;
    char *ns, *name, *uid;
    bool is_static;
    bool dirty, finish, deleted;
};

struct status_manager {
    struct kubelet *k;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    struct map *entries; /* uid -> struct entry * */
    bool stopping, news;
    pthread_t thread;
};

static void entry_free(void *p) {
    struct entry *e = p;
    arena_free(e->arena);
    free(e->ns);
    free(e->name);
    free(e->uid);
    free(e);
}

static struct entry *entry_of(struct status_manager *m, const struct pod *p) {
    struct entry *e = map_get(m->entries, p->obj->metadata.uid);
    if (e) return e;
    e = calloc(1, sizeof(*e));
    CHECK(e);
    e->ns = strdup(p->obj->metadata.namespace);
    e->name = strdup(p->obj->metadata.name);
    e->uid = strdup(p->obj->metadata.uid);
    e->is_static = p->is_static;
    map_put(m->entries, e->uid, e);
    return e;
}

static void signal_news(struct status_manager *m) {
    m->news = true;
    pthread_cond_signal(&m->cond);
}

void status_manager_set(struct status_manager *m, const struct pod *p, const struct corev1_PodStatus *st) {
    pthread_mutex_lock(&m->mutex);
    struct entry *e = entry_of(m, p);
    if (!e->arena || !object_equal(&corev1_PodStatus_desc, &e->status, st)) {
        struct arena *a = arena_new();
        struct corev1_PodStatus copy = {0};
        object_copy_into(a, &corev1_PodStatus_desc, &copy, st);
        arena_free(e->arena);
        e->arena = a;
        e->status = copy;
        e->dirty = true;
        signal_news(m);
    }
    pthread_mutex_unlock(&m->mutex);
}

bool status_manager_get(struct status_manager *m, struct arena *a, const char *uid, struct corev1_PodStatus *ret) {
    pthread_mutex_lock(&m->mutex);
    struct entry *e = map_get(m->entries, uid);
    bool found = e && e->arena;
    if (found) {
        *ret = (struct corev1_PodStatus){0};
        object_copy_into(a, &corev1_PodStatus_desc, ret, &e->status);
    }
    pthread_mutex_unlock(&m->mutex);
    return found;
}

void status_manager_finish(struct status_manager *m, const struct pod *p) {
    pthread_mutex_lock(&m->mutex);
    struct entry *e = entry_of(m, p);
    if (!e->finish) {
        e->finish = true;
        signal_news(m);
    }
    pthread_mutex_unlock(&m->mutex);
}

void status_manager_forget(struct status_manager *m, const char *uid) {
    pthread_mutex_lock(&m->mutex);
    struct entry *e = map_del(m->entries, uid);
    if (e) entry_free(e);
    pthread_mutex_unlock(&m->mutex);
}

/* ---- sending ---- */

/* Appends the object without its closing brace, and null for each of the named fields that it lacks: a merge patch removes nothing by itself. */
static void append_open(struct buf *out, const struct type_desc *type, const void *obj, const char *const *fields, const char *const *values) {
    object_encode_json(type, obj, out);
    out->data[--out->len] = 0; /* the brace */
    for (size_t i = 0; fields[i]; i++)
        if (str_empty(values[i])) buf_printf(out, ",\"%s\":null", fields[i]);
}

static void append_conditions(struct buf *out, const struct corev1_Pod *have, const struct corev1_PodStatus *want) {
    static const char *const own[] = {"PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled", NULL};
    static const char *const fields[] = {"reason", "message", NULL};
    bool first = true;
    LIST_FOREACH(c, &want->conditions) {
        bool theirs = !str_in(c->type, own);
        if (str_eq(c->type, "PodScheduled")) /* the scheduler's, unless nobody has set it */
            LIST_FOREACH(h, &have->status.conditions) theirs = theirs || (str_eq(h->type, "PodScheduled") && str_eq(h->status, "True"));
        if (theirs) continue;
        const char *values[] = {c->reason, c->message};
        if (!first) buf_append_char(out, ',');
        first = false;
        append_open(out, &corev1_PodCondition_desc, c, fields, values);
        buf_append_char(out, '}');
    }
}

/* Lists that merge by key are replaced whole where they differ. */
static void append_ips(struct buf *out, const char *name, const char *const *ips, size_t len) {
    buf_printf(out, ",\"%s\":[{\"$patch\":\"replace\"}", name);
    for (size_t i = 0; i < len; i++) buf_printf(out, ",{\"ip\":\"%s\"}", ips[i]);
    buf_append_char(out, ']');
}

/* The merge patch from what the server has to what it is to have; other writers' conditions are left alone. */
static void append_patch(struct arena *a, struct buf *out, const struct corev1_Pod *have, const struct corev1_PodStatus *want) {
    static const char *const fields[] = {"reason", "message", "podIP", NULL};
    struct corev1_PodStatus st = *want;
    const char *values[] = {str_empty(have->status.reason) ? "-" : want->reason, str_empty(have->status.message) ? "-" : want->message,
        str_empty(have->status.podIP) ? "-" : want->podIP};
    bool same_ips = have->status.podIPs.len == 0 || (have->status.podIPs.len == want->podIPs.len && have->status.podIPs.len && str_eq(have->status.podIP, want->podIP));
    st.conditions = (struct corev1_PodCondition_list){0};
    if (!same_ips) st.podIPs = (struct corev1_PodIP_list){0};
    buf_append_str(out, "{\"metadata\":{\"uid\":\"");
    buf_append_str(out, have->metadata.uid);
    buf_append_str(out, "\"},\"status\":");
    append_open(out, &corev1_PodStatus_desc, &st, fields, values);
    if (!same_ips) {
        const char **ips = arena_calloc(a, want->podIPs.len + 1, sizeof(*ips));
        for (size_t i = 0; i < want->podIPs.len; i++) ips[i] = want->podIPs.items[i].ip;
        append_ips(out, "podIPs", ips, want->podIPs.len);
    }
    buf_append_str(out, ",\"conditions\":[");
    append_conditions(out, have, want);
    buf_append_str(out, "]}}");
}

/* Does the server have all of it already? Conditions are compared by type. */
static bool same_status(const struct corev1_PodStatus *have, const struct corev1_PodStatus *want) {
    struct corev1_PodStatus x = *have, y = *want;
    LIST_FOREACH(c, &y.conditions) {
        bool found = false;
        LIST_FOREACH(h, &x.conditions)
            found = found || (str_eq(h->type, c->type) && str_eq(h->status, c->status) && str_eq(h->reason, c->reason) && str_eq(h->message, c->message)
                              && (h->observedGeneration == c->observedGeneration || str_eq(h->type, "PodScheduled")));
        if (!found) return false;
    }
    x.conditions = y.conditions = (struct corev1_PodCondition_list){0};
    return object_equal(&corev1_PodStatus_desc, &x, &y);
}

/* 0: done; -1: try again later. */
static int send_one(struct status_manager *m, struct arena *a, const struct entry *e, bool *ret_gone) {
    struct kubelet *k = m->k;
    struct corev1_Pod have = {0};
    _cleanup_status_ struct status err = STATUS_INIT;
    *ret_gone = false;
    if (api_get(k, a, &corev1_Pod_desc, e->ns, e->name, &have, &err) != 0) {
        if (!status_is(&err, 404)) return -1;
        *ret_gone = true; /* force-deleted meanwhile */
        return 0;
    }
    bool mirror = e->is_static && pod_is_mirror(&have);
    if (!str_eq(have.metadata.uid, e->uid) && !mirror) {
        *ret_gone = true;
        return 0;
    }
    if (e->arena && !same_status(&have.status, &e->status)) {
        _cleanup_buf_ struct buf patch = BUF_INIT;
        append_patch(a, &patch, &have, &e->status);
        if (api_patch_status(k, a, &corev1_Pod_desc, e->ns, e->name, buf_cstr(&patch), &have, &err) != 0) {
            log_warning("status of %s/%s: %s", e->ns, e->name, status_message(&err));
            return status_is(&err, 404) || status_is(&err, 422) ? 0 : -1;
        }
    }
    if (e->finish && !mirror && have.metadata.deletionTimestamp.set) {
        if (api_pod_delete(k, e->ns, e->name, e->uid, 0, &err) != 0 && !status_is(&err, 404) && !status_is(&err, 409)) {
            log_warning("deleting %s/%s: %s", e->ns, e->name, status_message(&err));
            return -1;
        }
    }
    return 0;
}

/* A copy of one entry that has something to send, or NULL. */
static struct entry *next_dirty(struct status_manager *m, const struct map *failed, struct arena *a) {
    void *value;
    for (size_t i = 0; map_next(m->entries, &i, NULL, &value);) {
        struct entry *e = value;
        if ((!e->dirty && !(e->finish && !e->deleted)) || map_has(failed, e->uid)) continue;
        struct entry *copy = ARENA_NEW(a, struct entry);
        *copy = (struct entry){.ns = arena_strdup(a, e->ns), .name = arena_strdup(a, e->name), .uid = arena_strdup(a, e->uid), .is_static = e->is_static, .finish = e->finish};
        if (e->arena) {
            copy->arena = a;
            object_copy_into(a, &corev1_PodStatus_desc, &copy->status, &e->status);
        }
        e->dirty = false;
        return copy;
    }
    return NULL;
}

static void *status_thread(void *arg) {
    struct status_manager *m = arg;
    struct env *env = m->k->env;
    pthread_mutex_lock(&m->mutex);
    while (!m->stopping) {
        struct map *failed = map_new();
        bool any = false;
        for (;;) {
            _cleanup_arena_ struct arena *a = arena_new();
            struct entry *e = next_dirty(m, failed, a);
            if (!e || m->stopping) break;
            pthread_mutex_unlock(&m->mutex);
            bool gone;
            int r = send_one(m, a, e, &gone);
            pthread_mutex_lock(&m->mutex);
            struct entry *now = map_get(m->entries, e->uid);
            if (now && r != 0) {
                now->dirty = any = true;
                map_put(failed, e->uid, now);
            } else if (now && (e->finish || gone)) {
                now->deleted = true;
            }
        }
        map_free(failed);
        m->news = false;
        int64_t deadline = env_mono_ns(env) + (int64_t)(any ? RETRY_MS : RESYNC_MS) * 1000000;
        while (!m->news && !m->stopping)
            if (!env_cond_wait(env, &m->cond, &m->mutex, deadline)) break;
    }
    pthread_mutex_unlock(&m->mutex);
    return NULL;
}

struct status_manager *status_manager_new(struct kubelet *k) {
    struct status_manager *m = calloc(1, sizeof(*m));
    CHECK(m);
    m->k = k;
    m->entries = map_new();
    pthread_mutex_init(&m->mutex, NULL);
    env_cond_init(&m->cond);
    CHECK(pthread_create(&m->thread, NULL, status_thread, m) == 0);
    return m;
}

void status_manager_free(struct status_manager *m) {
    pthread_mutex_lock(&m->mutex);
    m->stopping = true;
    pthread_cond_signal(&m->cond);
    pthread_mutex_unlock(&m->mutex);
    pthread_join(m->thread, NULL);
    map_free_with(m->entries, entry_free);
    pthread_cond_destroy(&m->cond);
    pthread_mutex_destroy(&m->mutex);
    free(m);
}
