/* See cluster_overview.h. */
#include "cmd/cluster_overview.h"
#include <string.h>
#include "base/str.h"
#include "cmd/cluster.h"
#include "wire/json.h"

static void text(struct buf *out, const char *name, const char *value) {
    buf_printf(out, ",\"%s\":", name);
    json_write_string(out, value);
}

static void add_member(struct buf *out, struct etcd_admin *admin, const struct etcd_member *m) {
    struct etcd_member_status s;
    buf_append_str(out, "{\"name\":");
    json_write_string(out, m->name);
    text(out, "url", str_or(m->client_url, m->peer_url));
    if (str_empty(m->client_url) || etcd_admin_status(admin, m->client_url, &s, NULL) != 0) {
        text(out, "role", m->learner ? "learner" : "member");
        text(out, "health", str_empty(m->client_url) ? "never started" : "does not answer");
    } else {
        text(out, "role", m->learner ? "learner" : s.leader == m->id ? "leader" : s.leader ? "follower" : "member");
        text(out, "health", *s.error ? s.error : s.leader ? "healthy" : "has no leader");
        text(out, "version", s.version);
        buf_printf(out, ",\"revision\":%lld,\"bytes\":%lld,\"bytesInUse\":%lld", (long long)s.revision, (long long)s.db_bytes, (long long)s.db_bytes_in_use);
    }
    buf_append_char(out, '}');
}

static bool is_member(const struct etcd_members *list, const char *name) {
    for (size_t i = 0; i < list->len; i++)
        if (str_eq(list->items[i].name, name)) return true;
    return false;
}

/* Those of members that are gone are not expected to answer. */
static void add_apiservers(struct buf *out, struct etcd_admin *admin, const struct etcd_members *list, struct arena *a) {
    struct etcd_pairs servers;
    bool any = false;
    if (etcd_admin_list(admin, CLUSTER_SERVERS_KEY, a, &servers, NULL) != 0) return;
    for (size_t i = 0; i < servers.len; i++) {
        yyjson_doc *doc = json_parse_in(a, servers.items[i].value, strlen(servers.items[i].value), 0, NULL);
        const char *url = doc ? yyjson_get_str(yyjson_obj_get(yyjson_doc_get_root(doc), "apiserver")) : NULL;
        if (!url || !is_member(list, servers.items[i].key + strlen(CLUSTER_SERVERS_KEY))) continue;
        buf_append_str(out, any ? ",{\"name\":" : "{\"name\":");
        json_write_string(out, servers.items[i].key + strlen(CLUSTER_SERVERS_KEY));
        text(out, "url", url);
        buf_append_char(out, '}');
        any = true;
    }
}

char *cluster_overview(struct etcd_admin *admin, struct arena *a, struct status *reterr) {
    struct etcd_members list;
    _cleanup_buf_ struct buf out = BUF_INIT;
    if (etcd_admin_members(admin, a, &list, reterr) != 0) return NULL;
    buf_append_str(&out, "{\"members\":[");
    for (size_t i = 0; i < list.len; i++) {
        if (i) buf_append_char(&out, ',');
        add_member(&out, admin, &list.items[i]);
    }
    bool majority = etcd_admin_quorum(admin, OVERVIEW_HEALTH_MS, NULL, NULL) == 0;
    buf_printf(&out, "],\"majority\":%s,\"apiservers\":[", majority ? "true" : "false");
    if (majority) add_apiservers(&out, admin, &list, a);
    buf_append_str(&out, "]}\n");
    return arena_strndup(a, out.data, out.len);
}
