/* /stats/summary and /metrics: what the Pods use, from the runtime. Upstream: server/stats/summary.go. */
#include <stdio.h>
#include <string.h>
#include "kubelet/internal.h"
#include "base/str.h"
#include "wire/http_server.h"
#include "wire/json.h"

static void time_append(struct kubelet *k, struct buf *b, int64_t ns) {
    struct api_time t = time_from_s((ns ? ns : env_now_ns(k->env)) / 1000000000);
    buf_append_str(b, "\"time\":\"");
    time_format(&t, b);
    buf_append_char(b, '"');
}

static uint64_t value(const Runtime__V1__UInt64Value *v) { return v ? v->value : 0; }

static void container_append(struct kubelet *k, struct buf *b, const Runtime__V1__ContainerStats *s) {
    buf_append_str(b, "{\"name\":");
    json_write_string(b, s->attributes->metadata->name);
    if (s->cpu) {
        buf_append_str(b, ",\"cpu\":{");
        time_append(k, b, s->cpu->timestamp);
        buf_printf(b, ",\"usageNanoCores\":%llu,\"usageCoreNanoSeconds\":%llu}", (unsigned long long)value(s->cpu->usage_nano_cores), (unsigned long long)value(s->cpu->usage_core_nano_seconds));
    }
    if (s->memory) {
        buf_append_str(b, ",\"memory\":{");
        time_append(k, b, s->memory->timestamp);
        buf_printf(b, ",\"usageBytes\":%llu,\"workingSetBytes\":%llu,\"rssBytes\":%llu}", (unsigned long long)value(s->memory->usage_bytes),
                   (unsigned long long)value(s->memory->working_set_bytes), (unsigned long long)value(s->memory->rss_bytes));
    }
    buf_append_char(b, '}');
}

static void summary(struct kubelet *k, struct arena *a, struct buf *b, const Runtime__V1__ListContainerStatsResponse *stats) {
    struct pod **pods = kubelet_pods(k);
    bool first_pod = true;
    buf_append_str(b, "{\"node\":{\"nodeName\":");
    json_write_string(b, k->o.node_name);
    buf_append_str(b, "},\"pods\":[");
    for (size_t i = 0; pods[i]; i++) {
        const struct metav1_ObjectMeta *m = &pods[i]->obj->metadata;
        buf_append_str(b, first_pod ? "{\"podRef\":{\"name\":" : ",{\"podRef\":{\"name\":");
        first_pod = false;
        json_write_string(b, m->name);
        buf_append_str(b, ",\"namespace\":");
        json_write_string(b, m->namespace);
        buf_append_str(b, ",\"uid\":");
        json_write_string(b, m->uid);
        buf_append_str(b, "},\"containers\":[");
        bool first = true;
        for (size_t j = 0; j < stats->n_stats; j++) {
            const Runtime__V1__ContainerStats *s = stats->stats[j];
            if (!s->attributes || !s->attributes->metadata || !str_eq(CRI_MAP_GET(s->attributes->n_labels, s->attributes->labels, "io.kubernetes.pod.uid"), m->uid)) continue;
            if (!first) buf_append_char(b, ',');
            first = false;
            container_append(k, b, s);
        }
        buf_append_str(b, "]}");
    }
    buf_append_str(b, "]}");
    kubelet_pods_free(pods);
    (void)a;
}

static void metrics(struct kubelet *k, struct buf *b) {
    struct pod **pods = kubelet_pods(k);
    size_t n = 0;
    while (pods[n]) n++;
    kubelet_pods_free(pods);
    pthread_mutex_lock(&k->mutex);
    bool ready = k->runtime_ready && k->network_ready;
    pthread_mutex_unlock(&k->mutex);
    buf_printf(b, "# HELP kubelet_desired_pods The number of pods the kubelet is being instructed to run.\n# TYPE kubelet_desired_pods gauge\nkubelet_desired_pods %zu\n", n);
    buf_printf(b, "# HELP kubelet_node_name The node's name. The count is always 1.\n# TYPE kubelet_node_name gauge\nkubelet_node_name{node=\"%s\"} 1\n", k->o.node_name);
    buf_printf(b, "# HELP ckube_runtime_ready Whether the container runtime and its network are ready.\n# TYPE ckube_runtime_ready gauge\nckube_runtime_ready %d\n", ready);
}

void kubelet_stats_serve(struct kubelet *k, struct http_request *req) {
    _cleanup_buf_ struct buf b = BUF_INIT;
    _cleanup_status_ struct status err = STATUS_INIT;
    bool json = !str_has_prefix(req->path, "/metrics");
    int code = 200;
    if (json) {
        Runtime__V1__ListContainerStatsResponse *stats;
        if (cri_list_container_stats(k->cri, req->arena, &stats, &err) == 0) {
            summary(k, req->arena, &b, stats);
        } else {
            code = 500;
            buf_append_str(&b, status_message(&err));
        }
    } else {
        metrics(k, &b);
    }
    struct http_header h = {"Content-Type", json && code == 200 ? "application/json" : "text/plain; version=0.0.4"};
    struct http_slice body = {b.data, b.len};
    http_respond(req, code, &h, 1, &body, 1);
}
