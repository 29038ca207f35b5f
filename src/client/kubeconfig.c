/* Kubeconfig files: the current context's server and credentials. Upstream: client-go tools/clientcmd. */
#include <stdio.h>
#include <string.h>
#include "base/str.h"
#include "client/transport.h"
#include "wire/http_client.h"
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

/* "https://HOST[:PORT]" into its parts. */
static void server_split(struct arena *a, const char *server, struct http_client_options *o) {
    o->tls = !str_has_prefix(server, "http://");
    o->port = o->tls ? 443 : 80;
    char *host = arena_strdup(a, strstr(server, "://") + 3);
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
}

static yyjson_val *kubeconfig_load(struct arena *a, const char *path, struct status *reterr) {
    FILE *f = fopen(path, "re");
    if (!f) return status_errno(reterr, path), NULL;
    _cleanup_buf_ struct buf text = BUF_INIT, json = BUF_INIT;
    char chunk[4096];
    for (size_t n; (n = fread(chunk, 1, sizeof(chunk), f)) > 0;) buf_append(&text, chunk, n);
    fclose(f);
    if (yaml_to_json(buf_cstr(&text), text.len, &json, NULL, reterr)) return NULL;
    yyjson_doc *doc = json_parse_in(a, json.data, json.len, 0, reterr);
    return doc ? yyjson_doc_get_root(doc) : NULL;
}

/* cert_file: another identity than the file's. */
static struct transport *from_kubeconfig(const char *path, const char *cert_file, const char *key_file, struct status *reterr) {
    _cleanup_arena_ struct arena *a = arena_new();
    yyjson_val *root = kubeconfig_load(a, path, reterr);
    if (!root) return NULL;
    yyjson_val *context = named(root, "contexts", yyjson_get_str(yyjson_obj_get(root, "current-context")), "context");
    yyjson_val *cluster = named(root, "clusters", yyjson_get_str(yyjson_obj_get(context, "cluster")), "cluster");
    yyjson_val *user = cert_file ? NULL : named(root, "users", yyjson_get_str(yyjson_obj_get(context, "user")), "user");
    const char *server = yyjson_get_str(yyjson_obj_get(cluster, "server"));
    if (!server || !strstr(server, "://")) return status_bad_request(reterr, "%s names no server", path), NULL;
    struct http_client_options o = {
        .ca_pem = pem(a, cluster, "certificate-authority-data"),
        .ca_file = yyjson_get_str(yyjson_obj_get(cluster, "certificate-authority")),
        .insecure = yyjson_get_bool(yyjson_obj_get(cluster, "insecure-skip-tls-verify")),
        .server_name = yyjson_get_str(yyjson_obj_get(cluster, "tls-server-name")),
        .cert_pem = pem(a, user, "client-certificate-data"),
        .cert_file = cert_file ? cert_file : yyjson_get_str(yyjson_obj_get(user, "client-certificate")),
        .key_pem = pem(a, user, "client-key-data"),
        .key_file = cert_file ? key_file : yyjson_get_str(yyjson_obj_get(user, "client-key")),
    };
    server_split(a, server, &o);
    return transport_https_new(&o, yyjson_get_str(yyjson_obj_get(user, "token")), yyjson_get_str(yyjson_obj_get(user, "tokenFile")), reterr);
}

struct transport *transport_from_kubeconfig(const char *path, struct status *reterr) { return from_kubeconfig(path, NULL, NULL, reterr); }

struct transport *transport_from_kubeconfig_as(const char *path, const char *cert_file, const char *key_file, struct status *reterr) {
    return from_kubeconfig(path, cert_file, key_file, reterr);
}
