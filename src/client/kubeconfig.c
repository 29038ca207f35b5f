#include "client/kubeconfig.h"
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "base/str.h"
#include "client/transport.h"
#include "wire/json.h"
#include "wire/yaml.h"

static yyjson_val *named(yyjson_val *root, const char *list, const char *name, const char *inner) {
    size_t i, max;
    yyjson_val *item;
    yyjson_arr_foreach(yyjson_obj_get(root, list), i, max, item)
        if (str_eq(yyjson_get_str(yyjson_obj_get(item, "name")), name)) return yyjson_obj_get(item, inner);
    return NULL;
}

static const char *pem(struct arena *a, yyjson_val *from, const char *key) {
    const char *text = yyjson_get_str(yyjson_obj_get(from, key));
    unsigned char *data;
    size_t len;
    if (!text || base64_decode(a, text, strlen(text), &data, &len, NULL) != 0) return NULL;
    return arena_strndup(a, (char *)data, len);
}

const char *kubeconfig_server(struct arena *a, const char *server, struct http_client_options *o) {
    o->tls = !str_has_prefix(server, "http://");
    o->port = o->tls ? 443 : 80;
    char *host = arena_strdup(a, strstr(server, "://") + 3);
    const char *path = arena_strdup(a, host + strcspn(host, "/"));
    host[strcspn(host, "/")] = 0;
    char *colon = strrchr(host, ':'), *bracket = strrchr(host, ']');
    if (colon && colon > bracket) {
        o->port = atoi(colon + 1);
        *colon = 0;
    }
    if (*host == '[') {
        host++;
        host[strcspn(host, "]")] = 0;
    }
    o->host = host;
    return path;
}

static yyjson_val *kubeconfig_load(struct arena *a, const char *path, struct status *reterr) {
    _cleanup_buf_ struct buf text = BUF_INIT, json = BUF_INIT;
    if (file_read(path, FILE_OPTION_MAX, &text, reterr) != 0) return NULL;
    if (yaml_to_json(buf_cstr(&text), text.len, &json, NULL, reterr)) return NULL;
    yyjson_doc *doc = json_parse_in(a, json.data, json.len, 0, reterr);
    return doc ? yyjson_doc_get_root(doc) : NULL;
}

/* A file that the kubeconfig names; NULL stays NULL. */
static const char *beside(struct arena *a, const char *kubeconfig, const char *file) {
    const char *slash = strrchr(kubeconfig, '/');
    if (str_empty(file) || *file == '/' || !slash) return str_empty(file) ? NULL : file;
    return arena_printf(a, "%.*s/%s", (int)(slash - kubeconfig), kubeconfig, file);
}

int kubeconfig_read(struct arena *a, const char *file, struct kubeconfig *ret, struct status *reterr) {
    yyjson_val *root = kubeconfig_load(a, file, reterr);
    if (!root) return -1;
    yyjson_val *context = named(root, "contexts", yyjson_get_str(yyjson_obj_get(root, "current-context")), "context");
    yyjson_val *cluster = named(root, "clusters", yyjson_get_str(yyjson_obj_get(context, "cluster")), "cluster"), *user = named(root, "users", yyjson_get_str(yyjson_obj_get(context, "user")), "user");
    const char *server = yyjson_get_str(yyjson_obj_get(cluster, "server"));
    if (!server || !strstr(server, "://")) return status_bad_request(reterr, "%s names no server", file);
    *ret = (struct kubeconfig){
        .http = {
            .ca_pem = pem(a, cluster, "certificate-authority-data"),
            .ca_file = beside(a, file, yyjson_get_str(yyjson_obj_get(cluster, "certificate-authority"))),
            .insecure = yyjson_get_bool(yyjson_obj_get(cluster, "insecure-skip-tls-verify")),
            .server_name = yyjson_get_str(yyjson_obj_get(cluster, "tls-server-name")),
            .cert_pem = pem(a, user, "client-certificate-data"),
            .cert_file = beside(a, file, yyjson_get_str(yyjson_obj_get(user, "client-certificate"))),
            .key_pem = pem(a, user, "client-key-data"),
            .key_file = beside(a, file, yyjson_get_str(yyjson_obj_get(user, "client-key"))),
        },
        .token = yyjson_get_str(yyjson_obj_get(user, "token")),
        .token_file = beside(a, file, yyjson_get_str(yyjson_obj_get(user, "tokenFile"))),
    };
    ret->path = kubeconfig_server(a, server, &ret->http);
    return 0;
}

int kubeconfig_write(const char *file, const char *server_url, const char *ca_pem, const char *token, const char *pem_file, struct status *reterr) {
    _cleanup_buf_ struct buf out = BUF_INIT;
    buf_append_str(&out, "apiVersion: v1\nkind: Config\nclusters:\n- name: default-cluster\n  cluster:\n    certificate-authority-data: ");
    base64_encode(&out, (const unsigned char *)ca_pem, strlen(ca_pem));
    buf_printf(&out, "\n    server: %s\ncontexts:\n- name: default-context\n  context:\n    cluster: default-cluster\n    user: default-auth\ncurrent-context: default-context\nusers:\n- name: default-auth\n  user:\n", server_url);
    if (token) buf_printf(&out, "    token: %s\n", token);
    else buf_printf(&out, "    client-certificate: %s\n    client-key: %s\n", pem_file, pem_file);
    return file_write_secret(file, out.data, out.len, reterr);
}

struct transport *transport_from_kubeconfig(const char *path, struct status *reterr) {
    _cleanup_arena_ struct arena *a = arena_new();
    struct kubeconfig k;
    return kubeconfig_read(a, path, &k, reterr) == 0 ? transport_https_new(&k.http, k.token, k.token_file, reterr) : NULL;
}

struct transport *transport_from_kubeconfig_as(const char *path, const char *cert_file, const char *key_file, struct status *reterr) {
    _cleanup_arena_ struct arena *a = arena_new();
    struct kubeconfig k;
    if (kubeconfig_read(a, path, &k, reterr) != 0) return NULL;
    k.http.cert_pem = k.http.key_pem = NULL;
    k.http.cert_file = cert_file;
    k.http.key_file = key_file;
    return transport_https_new(&k.http, NULL, NULL, reterr);
}
