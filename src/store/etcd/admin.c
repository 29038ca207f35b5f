/* Calls to etcd's Cluster, Maintenance and KV services: see admin.h. */
#include "store/etcd/admin.h"
#include <protobuf-c/protobuf-c.h>
#include <stdio.h>
#include <string.h>
#include "base/str.h"
#include "rpc.pb-c.h"
#include "store/etcd/admin_file.h"
#include "wire/grpc.h"
#include "wire/upstream.h"

enum { SERVERS_MAX = 16, CONNECT_MS = 2000, CALL_MS = 5000, SNAPSHOT_MS = 600000 };

struct etcd_admin {
    struct upstream_tls *tls;
    struct server { char *url; struct grpc_client *grpc; } servers[SERVERS_MAX];
    size_t len;
    const atomic_bool *cancel; /* NULL: none */
};

/* "https://10.0.0.1:2379", "http://[::1]:2379": NULL if it is none. */
static struct grpc_client *client_of(struct etcd_admin *a, const char *url, size_t len) {
    char host[300];
    bool tls = str_has_prefix(url, "https://"), plain = str_has_prefix(url, "http://");
    const char *begin = url + (tls ? strlen("https://") : strlen("http://")), *end = url + len, *colon = end;
    if (!tls && !plain) return NULL;
    if (len && end[-1] == '/') end--;
    while (colon > begin && *colon != ':') colon--;
    int port = atoi(colon + 1);
    bool bracketed = *begin == '[' && colon[-1] == ']';
    if (colon <= begin || port <= 0 || port > 65535 || (size_t)(colon - begin) >= sizeof(host)) return NULL;
    snprintf(host, sizeof(host), "%.*s", (int)(colon - begin) - 2 * bracketed, begin + bracketed);
    return grpc_client_new_tcp(host, port, tls ? a->tls : NULL, CONNECT_MS);
}

struct etcd_admin *etcd_admin_new(const char *servers, const char *ca_file, const char *cert_file, const char *key_file, struct status *reterr) {
    struct etcd_admin *a = calloc(1, sizeof(*a));
    CHECK(a);
    a->tls = upstream_tls_new(&(struct upstream_tls_options){.ca_file = ca_file, .cert_file = cert_file, .key_file = key_file}, reterr);
    bool ok = a->tls != NULL;
    for (const char *p = servers; ok && *p;) {
        size_t len = strcspn(p, ",");
        if (len && a->len < SERVERS_MAX) {
            struct server *s = &a->servers[a->len++];
            s->url = strndup(p, len);
            CHECK(s->url);
            s->grpc = client_of(a, p, len);
            ok = s->grpc || status_bad_request(reterr, "\"%s\" is no address of an etcd member", s->url) == 0;
        }
        p += len + (p[len] == ',');
    }
    if (ok && !a->len) ok = status_bad_request(reterr, "no etcd member is known") == 0;
    if (ok) return a;
    etcd_admin_free(a);
    return NULL;
}

void etcd_admin_free(struct etcd_admin *a) {
    if (!a) return;
    for (size_t i = 0; i < a->len; i++) {
        grpc_client_free(a->servers[i].grpc);
        free(a->servers[i].url);
    }
    upstream_tls_unref(a->tls);
    free(a);
}

void etcd_admin_set_cancel(struct etcd_admin *a, const atomic_bool *cancel) { a->cancel = cancel; }

/* ---- calls ---- */

struct message { void *data; size_t len; };

static struct message pack(const ProtobufCMessage *m) {
    struct message out = {malloc(protobuf_c_message_get_packed_size(m) + 1), 0};
    CHECK(out.data);
    out.len = protobuf_c_message_pack(m, out.data);
    return out;
}

static void *call_one(struct etcd_admin *a, struct grpc_client *g, const char *method, const struct message *req, const ProtobufCMessageDescriptor *type, int timeout_ms, struct status *reterr) {
    _cleanup_buf_ struct buf answer = BUF_INIT;
    if (a->cancel && atomic_load(a->cancel)) {
        status_set(reterr, 499, NULL, "context canceled");
        return NULL;
    }
    if (grpc_call(g, method, req->data, req->len, timeout_ms, a->cancel, &answer, reterr) != 0) return NULL;
    void *m = protobuf_c_message_unpack(type, NULL, answer.len, (const uint8_t *)buf_cstr(&answer));
    if (!m) status_set(reterr, 500, REASON_INTERNAL_ERROR, "malformed answer from etcd");
    return m;
}

/* Another member may do better: this one cannot be reached, has no leader, or only learns. */
static bool elsewhere(const struct status *s) {
    const char *desc = grpc_status_desc(s);
    return (s->code == 503 || s->code == 504) ? !strstr(desc, "unhealthy cluster") : strstr(desc, "not supported for learner") != NULL;
}

/* The answer of the first member that gives one, unpacked; NULL with the last failure. */
static void *call(struct etcd_admin *a, const char *method, const ProtobufCMessage *request, const ProtobufCMessageDescriptor *type, int timeout_ms, struct status *reterr) {
    _cleanup_status_ struct status err = STATUS_INIT;
    struct message req = pack(request);
    void *answer = NULL;
    for (size_t i = 0; i < a->len && !answer; i++) {
        answer = call_one(a, a->servers[i].grpc, method, &req, type, timeout_ms, &err);
        if (!answer && !elsewhere(&err)) break;
    }
    if (!answer) status_set(reterr, err.code, err.reason, "%s", grpc_status_desc(&err));
    free(req.data);
    return answer;
}

#define CALL(a, method, request, Type, timeout_ms, reterr) ((Etcdserverpb__##Type *)call((a), "/etcdserverpb." method, &(request).base, type_##Type, (timeout_ms), (reterr)))
#define type_MemberListResponse &etcdserverpb__member_list_response__descriptor
#define type_MemberAddResponse &etcdserverpb__member_add_response__descriptor
#define type_MemberPromoteResponse &etcdserverpb__member_promote_response__descriptor
#define type_MemberRemoveResponse &etcdserverpb__member_remove_response__descriptor
#define type_RangeResponse &etcdserverpb__range_response__descriptor
#define type_PutResponse &etcdserverpb__put_response__descriptor
#define type_DeleteRangeResponse &etcdserverpb__delete_range_response__descriptor
#define type_CompactionResponse &etcdserverpb__compaction_response__descriptor

static void release(void *m) {
    if (m) protobuf_c_message_free_unpacked(m, NULL);
}

static int done(void *answer) {
    release(answer);
    return answer ? 0 : -1;
}

/* ---- members ---- */

static void take_members(struct arena *arena, Etcdserverpb__Member **members, size_t n, struct etcd_members *ret) {
    *ret = (struct etcd_members){arena_calloc(arena, n + 1, sizeof(*ret->items)), n};
    for (size_t i = 0; i < n; i++) {
        const Etcdserverpb__Member *m = members[i];
        ret->items[i] = (struct etcd_member){m->id, arena_strdup(arena, m->name), m->n_peerurls ? arena_strdup(arena, m->peerurls[0]) : "", m->n_clienturls ? arena_strdup(arena, m->clienturls[0]) : "", m->islearner};
    }
}

int etcd_admin_members(struct etcd_admin *a, struct arena *arena, struct etcd_members *ret, struct status *reterr) {
    Etcdserverpb__MemberListRequest req = ETCDSERVERPB__MEMBER_LIST_REQUEST__INIT;
    Etcdserverpb__MemberListResponse *r = CALL(a, "Cluster/MemberList", req, MemberListResponse, CALL_MS, reterr);
    if (r) take_members(arena, r->members, r->n_members, ret);
    return done(r);
}

/* etcd 3.4 cannot be asked for a linearizable list; but a member that has served a linearizable read has applied all that was decided before. */
int etcd_admin_members_now(struct etcd_admin *a, struct arena *arena, struct etcd_members *ret, struct status *reterr) {
    Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
    Etcdserverpb__MemberListRequest list = ETCDSERVERPB__MEMBER_LIST_REQUEST__INIT;
    range.key = (ProtobufCBinaryData){1, (uint8_t *)(uintptr_t) "/"};
    struct message first = pack(&range.base), second = pack(&list.base);
    Etcdserverpb__MemberListResponse *r = NULL;
    for (size_t i = 0; i < a->len && !r; i++) {
        struct grpc_client *g = a->servers[i].grpc;
        void *read = call_one(a, g, "/etcdserverpb.KV/Range", &first, type_RangeResponse, CALL_MS, reterr);
        if (read) r = call_one(a, g, "/etcdserverpb.Cluster/MemberList", &second, type_MemberListResponse, CALL_MS, reterr);
        release(read);
    }
    if (r) take_members(arena, r->members, r->n_members, ret);
    free(first.data);
    free(second.data);
    return done(r);
}

int etcd_admin_add_learner(struct etcd_admin *a, const char *peer_url, uint64_t *ret_id, struct arena *arena, struct etcd_members *ret, struct status *reterr) {
    Etcdserverpb__MemberAddRequest req = ETCDSERVERPB__MEMBER_ADD_REQUEST__INIT;
    char *urls[] = {(char *)(uintptr_t)peer_url};
    req.n_peerurls = 1;
    req.peerurls = urls;
    req.islearner = true;
    Etcdserverpb__MemberAddResponse *r = CALL(a, "Cluster/MemberAdd", req, MemberAddResponse, CALL_MS, reterr);
    if (r && r->member) *ret_id = r->member->id;
    if (r) take_members(arena, r->members, r->n_members, ret);
    return done(r);
}

int etcd_admin_promote(struct etcd_admin *a, uint64_t id, struct status *reterr) {
    Etcdserverpb__MemberPromoteRequest req = ETCDSERVERPB__MEMBER_PROMOTE_REQUEST__INIT;
    req.id = id;
    return done(CALL(a, "Cluster/MemberPromote", req, MemberPromoteResponse, CALL_MS, reterr));
}

int etcd_admin_remove(struct etcd_admin *a, uint64_t id, struct status *reterr) {
    Etcdserverpb__MemberRemoveRequest req = ETCDSERVERPB__MEMBER_REMOVE_REQUEST__INIT;
    req.id = id;
    return done(CALL(a, "Cluster/MemberRemove", req, MemberRemoveResponse, CALL_MS, reterr));
}

/* One member's own answer, whether it is among the known ones or not. */
static void *call_at(struct etcd_admin *a, const char *url, const char *method, const ProtobufCMessage *request, const ProtobufCMessageDescriptor *type, struct status *reterr) {
    struct message req = pack(request);
    struct grpc_client *known = NULL, *own = NULL;
    for (size_t i = 0; i < a->len; i++)
        if (str_eq(a->servers[i].url, url)) known = a->servers[i].grpc;
    if (!known && !(own = client_of(a, url, strlen(url)))) status_bad_request(reterr, "\"%s\" is no address of an etcd member", url);
    void *answer = known || own ? call_one(a, known ? known : own, method, &req, type, CALL_MS, reterr) : NULL;
    grpc_client_free(own);
    free(req.data);
    return answer;
}

int etcd_admin_status(struct etcd_admin *a, const char *client_url, struct etcd_member_status *ret, struct status *reterr) {
    Etcdserverpb__StatusRequest req = ETCDSERVERPB__STATUS_REQUEST__INIT;
    Etcdserverpb__StatusResponse *r = call_at(a, client_url, "/etcdserverpb.Maintenance/Status", &req.base, &etcdserverpb__status_response__descriptor, reterr);
    if (!r) return -1;
    *ret = (struct etcd_member_status){.id = r->header ? r->header->member_id : 0, .revision = r->header ? r->header->revision : 0, .leader = r->leader, .learner = r->islearner,
        .db_bytes = r->dbsize, .db_bytes_in_use = r->dbsizeinuse, .raft_index = r->raftindex, .raft_applied = r->raftappliedindex};
    snprintf(ret->version, sizeof(ret->version), "%s", r->version);
    if (r->n_errors) snprintf(ret->error, sizeof(ret->error), "%s", r->errors[0]);
    return done(r);
}

int etcd_admin_move_leader(struct etcd_admin *a, const char *leader_url, uint64_t to, struct status *reterr) {
    Etcdserverpb__MoveLeaderRequest req = ETCDSERVERPB__MOVE_LEADER_REQUEST__INIT;
    req.targetid = to;
    return done(call_at(a, leader_url, "/etcdserverpb.Maintenance/MoveLeader", &req.base, &etcdserverpb__move_leader_response__descriptor, reterr));
}

/* ---- keys ---- */

static ProtobufCBinaryData bytes_of(const char *s) { return (ProtobufCBinaryData){strlen(s), (uint8_t *)(uintptr_t)s}; }

int etcd_admin_quorum(struct etcd_admin *a, int timeout_ms, int64_t *ret_revision, struct status *reterr) {
    Etcdserverpb__RangeRequest req = ETCDSERVERPB__RANGE_REQUEST__INIT;
    req.key = bytes_of("/ckube/none");
    Etcdserverpb__RangeResponse *r = CALL(a, "KV/Range", req, RangeResponse, timeout_ms, reterr);
    if (r && r->header && ret_revision) *ret_revision = r->header->revision;
    return done(r);
}

int etcd_admin_put(struct etcd_admin *a, const char *key, const char *value, int64_t *ret_revision, struct status *reterr) {
    Etcdserverpb__PutRequest req = ETCDSERVERPB__PUT_REQUEST__INIT;
    req.key = bytes_of(key);
    req.value = bytes_of(value);
    Etcdserverpb__PutResponse *r = CALL(a, "KV/Put", req, PutResponse, CALL_MS, reterr);
    if (r && r->header && ret_revision) *ret_revision = r->header->revision;
    return done(r);
}

int etcd_admin_delete(struct etcd_admin *a, const char *key, int64_t *ret_revision, struct status *reterr) {
    Etcdserverpb__DeleteRangeRequest req = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    req.key = bytes_of(key);
    Etcdserverpb__DeleteRangeResponse *r = CALL(a, "KV/DeleteRange", req, DeleteRangeResponse, CALL_MS, reterr);
    if (r && r->header && ret_revision) *ret_revision = r->header->revision;
    return done(r);
}

int etcd_admin_compact(struct etcd_admin *a, int64_t revision, struct status *reterr) {
    Etcdserverpb__CompactionRequest req = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    req.revision = revision;
    return done(CALL(a, "KV/Compact", req, CompactionResponse, CALL_MS, reterr));
}

int etcd_admin_list(struct etcd_admin *a, const char *prefix, struct arena *arena, struct etcd_pairs *ret, struct status *reterr) {
    Etcdserverpb__RangeRequest req = ETCDSERVERPB__RANGE_REQUEST__INIT;
    char *end = arena_strdup(arena, prefix);
    end[strlen(end) - 1]++; /* the first that does not begin so: prefixes end with a slash */
    req.key = bytes_of(prefix);
    req.range_end = bytes_of(end);
    Etcdserverpb__RangeResponse *r = CALL(a, "KV/Range", req, RangeResponse, CALL_MS, reterr);
    if (!r) return -1;
    *ret = (struct etcd_pairs){arena_calloc(arena, r->n_kvs + 1, sizeof(*ret->items)), r->n_kvs};
    for (size_t i = 0; i < r->n_kvs; i++) {
        const Etcdserverpb__KeyValue *kv = r->kvs[i];
        ret->items[i] = (struct etcd_pair){arena_strndup(arena, (char *)kv->key.data, kv->key.len), kv->value.len ? arena_strndup(arena, (char *)kv->value.data, kv->value.len) : ""};
    }
    return done(r);
}

/* ---- snapshots ---- */

struct saving { struct snapshot_writer *to; struct status *reterr; };

static int on_blob(void *arg, const void *data, size_t len) {
    struct saving *s = arg;
    Etcdserverpb__SnapshotResponse *r = etcdserverpb__snapshot_response__unpack(NULL, len, data);
    if (!r) return status_set(s->reterr, 500, REASON_INTERNAL_ERROR, "malformed answer from etcd");
    int rc = snapshot_writer_add(s->to, r->blob.data, r->blob.len, s->reterr);
    etcdserverpb__snapshot_response__free_unpacked(r, NULL);
    return rc;
}

int etcd_admin_snapshot(struct etcd_admin *a, const char *path, struct status *reterr) {
    Etcdserverpb__SnapshotRequest req = ETCDSERVERPB__SNAPSHOT_REQUEST__INIT;
    struct message packed = pack(&req.base);
    _cleanup_status_ struct status err = STATUS_INIT;
    int rc = -1;
    for (size_t i = 0; i < a->len && rc != 0; i++) {
        struct snapshot_writer *w = snapshot_writer_new(path, &err);
        if (!w) break;
        struct saving s = {w, &err};
        rc = grpc_call_stream(a->servers[i].grpc, "/etcdserverpb.Maintenance/Snapshot", packed.data, packed.len, SNAPSHOT_MS, on_blob, &s, &err);
        rc = snapshot_writer_end(w, rc == 0, &err);
    }
    free(packed.data);
    if (rc != 0) status_set(reterr, err.code, err.reason, "%s", grpc_status_desc(&err));
    return rc;
}
