#include "apiserver/runtime_config.h"
#include "apiserver/openapi.h"
#include <openssl/sha.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>
#include "apiserver/aggregated_discovery.h"
#include "apiserver/aggregation.h"
#include "apiserver/apiserver.h"
#include "apiserver/custom_resources.h"
#include "apiserver/openapi_document.h"
#include "apiserver/openapi_merge.h"
#include "base/str.h"

#define V2_PROTO "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
#define V2_PROTO_OLD "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"

enum { FORM_JSON, FORM_PROTO, FORMS };
struct form {
    struct shared *zipped;  /* NULL until it is asked for */
    size_t len;             /* unzipped */
    char etag[SHA512_DIGEST_LENGTH * 2 + 3];
};

struct openapi {
    pthread_mutex_t mutex;
    struct form v2[FORMS];
    uint64_t generation;    /* of the custom resources that are in them */
    char others[SHA512_DIGEST_LENGTH * 2 + 3]; /* a sum of the other servers' documents that are */
};

struct openapi *openapi_new(void) {
    struct openapi *o = calloc(1, sizeof(*o));
    CHECK(o);
    pthread_mutex_init(&o->mutex, NULL);
    return o;
}

static void forget(struct openapi *o) {
    for (int i = 0; i < FORMS; i++) {
        shared_unref(o->v2[i].zipped);
        o->v2[i] = (struct form){0};
    }
}

void openapi_free(struct openapi *o) {
    if (!o) return;
    forget(o);
    pthread_mutex_destroy(&o->mutex);
    free(o);
}

/* ---- compressed answers ---- */

static struct shared *zip(const char *data, size_t len) {
    z_stream z = {0};
    CHECK(deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    struct buf out = BUF_INIT;
    buf_reserve(&out, deflateBound(&z, len));
    z.next_in = (unsigned char *)data; /* zlib's interface lacks a const */
    z.avail_in = (uInt)len;
    z.next_out = (unsigned char *)out.data;
    z.avail_out = (uInt)out.cap;
    CHECK(deflate(&z, Z_FINISH) == Z_STREAM_END);
    struct shared *s = shared_new(out.data, z.total_out);
    deflateEnd(&z);
    buf_release(&out);
    return s;
}

static struct shared *unzip(struct shared *zipped, size_t len) {
    struct buf out = BUF_INIT;
    z_stream z = {.next_in = (unsigned char *)shared_data(zipped), .avail_in = (uInt)shared_len(zipped)};
    buf_reserve(&out, len + 1);
    z.next_out = (unsigned char *)out.data;
    z.avail_out = (uInt)len;
    CHECK(inflateInit2(&z, 15 + 16) == Z_OK && inflate(&z, Z_FINISH) == Z_STREAM_END);
    inflateEnd(&z);
    out.len = len;
    return shared_from_buf(&out);
}

static bool takes_gzip(struct api_request *r) {
    const char *accept = http_request_header(r->http, "Accept-Encoding");
    return accept && strstr(accept, "gzip");
}

static void put_etag(char *to, const char *data, size_t len) {
    unsigned char sum[SHA512_DIGEST_LENGTH];
    SHA512((const unsigned char *)data, len, sum);
    *to++ = '"';
    for (size_t i = 0; i < sizeof(sum); i++, to += 2) snprintf(to, 3, "%02X", sum[i]);
    memcpy(to, "\"", 2);
}

struct answer { const char *content_type, *etag; bool zipped, forever; };

static void respond(struct api_request *r, const struct answer *a, struct shared *body) {
    struct { struct http_header *items; size_t len; } h = {0};
    const char *have = http_request_header(r->http, "If-None-Match");
    h.items = response_headers(r, a->content_type, &h.len);
    for (size_t i = 0; a->forever && i < h.len; i++)
        if (strcmp(h.items[i].name, "Cache-Control") == 0) h.items[i].value = "public, immutable";
    if (a->forever) {
        char text[64];
        time_t then = (time_t)env_now_s(apiserver_env(r->server)) + 365 * 24 * 3600;
        struct tm tm;
        strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&then, &tm));
        *LIST_PUSH(r->arena, &h) = (struct http_header){"Expires", arena_strdup(r->arena, text)};
    }
    *LIST_PUSH(r->arena, &h) = (struct http_header){"Etag", arena_strdup(r->arena, a->etag)};
    *LIST_PUSH(r->arena, &h) = (struct http_header){"Vary", "Accept-Encoding, Accept"};
    if (have && str_eq(have, a->etag)) {
        http_respond(r->http, 304, h.items, h.len, NULL, 0);
        return;
    }
    if (a->zipped) *LIST_PUSH(r->arena, &h) = (struct http_header){"Content-Encoding", "gzip"};
    http_respond(r->http, 200, h.items, h.len, &(struct http_slice){NULL, 0, body}, 1);
}

static void not_acceptable(struct api_request *r) { respond_text(r, 406, "text/plain; charset=utf-8", ""); }

/* ---- v2 ---- */

static void put_custom(struct openapi_document *d, const struct custom_version *v) {
    openapi_put_resource(d, &v->resource);
    if (v->type.has_status) openapi_put_resource(d, &v->status);
    if (v->type.has_scale) openapi_put_resource(d, &v->scale);
}

/* The other servers' documents, each with the paths that are taken from it. */
struct foreign { struct { const char *prefix, *text; } *items; size_t len; };

static struct foreign foreign_documents(struct api_request *r, char *ret_sum) {
    struct foreign list = {0};
    struct aggregated_list others = aggregated_versions(r);
    _cleanup_buf_ struct buf all = BUF_INIT;
    for (size_t i = 0; i < others.len; i++) {
        const char *text = aggregated_openapi_v2(r, &others.items[i]), *prefix = arena_printf(r->arena, "/apis/%s/%s/", others.items[i].group, others.items[i].version);
        if (!text) continue;
        LIST_PUSH(r->arena, &list);
        list.items[list.len - 1].prefix = prefix;
        list.items[list.len - 1].text = text;
        buf_append_str(&all, prefix);
        buf_append_str(&all, text);
    }
    put_etag(ret_sum, buf_cstr(&all), all.len);
    return list;
}

static void merge_foreign(struct arena *a, struct buf *document, const struct foreign *others) {
    yyjson_doc *ours = others->len ? json_parse_in(a, document->data, document->len, 0, NULL) : NULL;
    if (!ours) return;
    yyjson_mut_doc *merged = json_mut_new(a, yyjson_doc_get_root(ours));
    for (size_t i = 0; i < others->len; i++) {
        yyjson_doc *doc = json_parse_in(a, others->items[i].text, strlen(others->items[i].text), 0, NULL);
        if (doc) openapi_v2_merge(a, merged, yyjson_doc_get_root(doc), others->items[i].prefix);
    }
    buf_clear(document);
    json_write_mut(document, yyjson_mut_doc_get_root(merged));
}

static void build_v2(struct openapi *o, int form, struct custom_resources *custom, const struct foreign *others) {
    _cleanup_arena_ struct arena *a = arena_new();
    struct openapi_document d;
    _cleanup_buf_ struct buf proto = BUF_INIT;
    openapi_document_begin(&d, a, true);
    for (size_t i = 0; i < api_resources_len; i++)
        if (resource_served(&api_resources[i])) openapi_put_resource(&d, &api_resources[i]);
    struct custom_resource_list all = custom_resources_served(custom, a);
    for (size_t i = 0; i < all.len; i++)
        for (size_t j = 0; j < all.items[i]->versions.len; j++)
            if (all.items[i]->versions.items[j].served) put_custom(&d, &all.items[i]->versions.items[j]);
    openapi_document_end(&d);
    merge_foreign(a, &d.out, others);
    struct buf *out = &d.out;
    if (form == FORM_PROTO) {
        yyjson_doc *doc = json_parse(d.out.data, d.out.len, 0, NULL);
        CHECK(doc);
        openapi_v2_to_proto(yyjson_doc_get_root(doc), &proto);
        yyjson_doc_free(doc);
        out = &proto;
    }
    o->v2[form].len = out->len;
    put_etag(o->v2[form].etag, out->data, out->len);
    o->v2[form].zipped = zip(out->data, out->len);
    openapi_document_release(&d);
}

/* -1: none of the forms is wanted. */
static int v2_form(struct api_request *r) {
    const char *accept = http_request_header(r->http, "Accept");
    if (str_empty(accept)) return FORM_JSON;
    for (const char *p = accept; *p; p += strcspn(p, ",") + (p[strcspn(p, ",")] == ',')) {
        p += strspn(p, " ");
        const char *type = arena_strndup(r->arena, p, strcspn(p, ",; "));
        if (str_eq_nocase(type, V2_PROTO) || str_eq_nocase(type, V2_PROTO_OLD)) return FORM_PROTO;
        if (str_eq_nocase(type, "application/json") || str_eq(type, "*/*") || str_eq(type, "application/*")) return FORM_JSON;
    }
    return -1;
}

static void respond_v2(struct api_request *r) {
    struct openapi *o = apiserver_openapi(r->server);
    int form = v2_form(r);
    if (form < 0) {
        not_acceptable(r);
        return;
    }
    struct custom_resources *custom = apiserver_custom_resources(r->server);
    uint64_t generation = custom_resources_generation(custom);
    char sum[sizeof(o->others)];
    struct foreign others = foreign_documents(r, sum);
    pthread_mutex_lock(&o->mutex);
    if (o->generation != generation || strcmp(o->others, sum) != 0) forget(o);
    o->generation = generation;
    memcpy(o->others, sum, sizeof(sum));
    if (!o->v2[form].zipped) build_v2(o, form, custom, &others);
    struct form f = o->v2[form];
    shared_ref(f.zipped);
    pthread_mutex_unlock(&o->mutex);
    bool zipped = takes_gzip(r);
    struct shared *body = zipped ? shared_ref(f.zipped) : unzip(f.zipped, f.len);
    respond(r, &(struct answer){form == FORM_PROTO ? V2_PROTO : "application/json", f.etag, zipped, false}, body);
    shared_unref(body);
    shared_unref(f.zipped);
}

/* ---- v3 ---- */

/* What an address of the index carries: it names one text of the document. */
static const char *document_hash(struct api_request *r, const char *group, const char *version) {
    struct arena *a = r->arena;
    unsigned char sum[SHA512_DIGEST_LENGTH];
    const char *text = arena_printf(a, "%s %s %s", api_schema_digest, group, version);
    struct custom_resource_list all = custom_resources_served(apiserver_custom_resources(r->server), a);
    for (size_t i = 0; i < all.len; i++)
        if (strcmp(all.items[i]->crd->spec.group, group) == 0) text = arena_printf(a, "%s %s %llu", text, all.items[i]->crd->metadata.uid, (unsigned long long)all.items[i]->crd->metadata.generation);
    SHA512((const unsigned char *)text, strlen(text), sum);
    char *hash = arena_alloc(a, sizeof(sum) * 2 + 1);
    for (size_t i = 0; i < sizeof(sum); i++) snprintf(hash + 2 * i, 3, "%02X", sum[i]);
    return hash;
}

static const char *document_path(struct arena *a, const char *group, const char *version) {
    return *group ? arena_printf(a, "apis/%s/%s", group, version) : arena_printf(a, "api/%s", version);
}

static bool put_group_version(struct api_request *r, struct openapi_document *d, const char *group, const char *version) {
    struct custom_resource_list all = custom_resources_served(apiserver_custom_resources(r->server), r->arena);
    for (size_t i = 0; i < api_resources_len; i++) {
        const struct resource_desc *rd = &api_resources[i];
        if (strcmp(rd->group, group) == 0 && strcmp(rd->version, version) == 0 && resource_served(rd)) openapi_put_resource(d, rd);
    }
    for (size_t i = 0; i < all.len; i++)
        for (size_t j = 0; strcmp(all.items[i]->crd->spec.group, group) == 0 && j < all.items[i]->versions.len; j++)
            if (all.items[i]->versions.items[j].served && strcmp(all.items[i]->versions.items[j].name, version) == 0) put_custom(d, &all.items[i]->versions.items[j]);
    return !d->first_path;
}

/* Of a server that has a v2 document alone: that as v3, and where it is to be had. NULL: it has none. */
static const char *converted(struct api_request *r, const struct aggregated_version *v, struct buf *out) {
    const char *text = aggregated_openapi_v2(r, v);
    yyjson_doc *doc = text ? json_parse_in(r->arena, text, strlen(text), 0, NULL) : NULL;
    char etag[SHA512_DIGEST_LENGTH * 2 + 3];
    if (!doc) return NULL;
    openapi_v2_to_v3(r->arena, yyjson_doc_get_root(doc), out);
    put_etag(etag, out->data, out->len);
    return arena_strndup(r->arena, etag + 1, strlen(etag) - 2);
}

static void respond_other(struct api_request *r, const struct aggregated_version *v) {
    _cleanup_buf_ struct buf out = BUF_INIT;
    const char *hash = aggregated_openapi_url(r, v) ? NULL : converted(r, v, &out);
    if (!hash) {
        aggregated_pass_on(r, v->service);
        return;
    }
    struct shared *body = shared_new(out.data, out.len);
    respond(r, &(struct answer){"application/json", arena_printf(r->arena, "\"%s\"", hash), false, str_eq(url_query_get(&r->query, "hash"), hash)}, body);
    shared_unref(body);
}

static void respond_v3(struct api_request *r, const char *group, const char *version) {
    struct openapi_document d;
    const char *asked = url_query_get(&r->query, "hash"), *hash = document_hash(r, group, version);
    openapi_document_begin(&d, r->arena, false);
    if (!put_group_version(r, &d, group, version)) {
        openapi_document_release(&d);
        struct aggregated_list others = aggregated_versions(r);
        const struct aggregated_version *other = aggregated_find(&others, group, version);
        if (other) respond_other(r, other);
        else http_respond(r->http, 404, NULL, 0, NULL, 0);
        return;
    }
    if (!str_empty(asked) && !str_eq(asked, hash)) {
        const struct http_header to = {"Location", arena_printf(r->arena, "/openapi/v3/%s?hash=%s", document_path(r->arena, group, version), hash)};
        openapi_document_release(&d);
        http_respond(r->http, 301, &to, 1, NULL, 0);
        return;
    }
    openapi_document_end(&d);
    bool zipped = takes_gzip(r);
    struct shared *body = zipped ? zip(d.out.data, d.out.len) : shared_new(d.out.data, d.out.len);
    respond(r, &(struct answer){"application/json", arena_printf(r->arena, "\"%s\"", hash), zipped, !str_empty(asked)}, body);
    shared_unref(body);
    openapi_document_release(&d);
}

static void put_index(struct api_request *r, struct buf *out, struct string_list *seen, const char *group, const char *version) {
    const char *path = document_path(r->arena, group, version);
    if (string_list_has(seen, path)) return;
    buf_printf(out, "%s\"%s\":{\"serverRelativeURL\":\"/openapi/v3/%s?hash=%s\"}", seen->len ? "," : "", path, path, document_hash(r, group, version));
    string_list_push(r->arena, seen, path);
}

/* What other servers serve: their documents come from them. */
static void put_others(struct api_request *r, struct buf *out, struct string_list *seen) {
    struct aggregated_list others = aggregated_versions(r);
    for (size_t i = 0; i < others.len; i++) {
        const char *path = document_path(r->arena, others.items[i].group, others.items[i].version), *url = aggregated_openapi_url(r, &others.items[i]);
        if (string_list_has(seen, path)) continue;
        if (!url) {
            _cleanup_buf_ struct buf document = BUF_INIT;
            const char *hash = converted(r, &others.items[i], &document);
            url = hash ? arena_printf(r->arena, "/openapi/v3/%s?hash=%s", path, hash) : NULL;
        }
        if (!url) continue;
        buf_printf(out, "%s\"%s\":{\"serverRelativeURL\":", seen->len ? "," : "", path);
        json_write_string(out, url);
        buf_append_char(out, '}');
        string_list_push(r->arena, seen, path);
    }
}

static void respond_index(struct api_request *r) {
    struct buf out = BUF_INIT;
    struct string_list seen = {0};
    buf_append_str(&out, "{\"paths\":{");
    for (size_t i = 0; i < api_resources_len; i++)
        if (resource_served(&api_resources[i])) put_index(r, &out, &seen, api_resources[i].group, api_resources[i].version);
    struct custom_resource_list all = custom_resources_served(apiserver_custom_resources(r->server), r->arena);
    for (size_t i = 0; i < all.len; i++)
        for (size_t j = 0; j < all.items[i]->versions.len; j++)
            if (all.items[i]->versions.items[j].served) put_index(r, &out, &seen, all.items[i]->crd->spec.group, all.items[i]->versions.items[j].name);
    put_others(r, &out, &seen);
    buf_append_str(&out, "}}\n");
    respond_bytes(r, 200, "application/json", &(struct http_slice){out.data, out.len}, 1);
    buf_release(&out);
}

bool handle_openapi(struct api_request *r) {
    char group[256] = "", version[64] = "";
    if (strcmp(r->path, "/openapi/v2") == 0) respond_v2(r);
    else if (strcmp(r->path, "/openapi/v3") == 0 || strcmp(r->path, "/openapi/v3/") == 0) respond_index(r);
    else if (sscanf(r->path, "/openapi/v3/apis/%255[^/]/%63[^/]", group, version) == 2) respond_v3(r, group, version);
    else if (sscanf(r->path, "/openapi/v3/api/%63[^/]", version) == 1) respond_v3(r, "", version);
    else return false;
    return true;
}
