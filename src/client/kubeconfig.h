/* Kubeconfig files: the current context's server and credentials. Upstream: client-go tools/clientcmd. */
#ifndef CKUBE_CLIENT_KUBECONFIG_H
#define CKUBE_CLIENT_KUBECONFIG_H
#include "base/arena.h"
#include "wire/http_client.h"

struct kubeconfig {
    struct http_client_options http;   /* where, and by which certificates */
    const char *path;                  /* of the server's URL; "" if it has none */
    const char *token, *token_file;    /* NULL: none */
};
/* Everything lives in the arena. Files that it names are relative to its own folder. */
int kubeconfig_read(struct arena *a, const char *file, struct kubeconfig *ret, struct status *reterr);
/* "https://HOST[:PORT][/PATH]" into host, port and tls of *ret; returns the path. */
const char *kubeconfig_server(struct arena *a, const char *url, struct http_client_options *ret);
/* A kubeconfig of one server, for one whose credentials are a token, or a file with certificate and key. Mode 0600, whole or not at all. token or pem_file NULL. */
int kubeconfig_write(const char *file, const char *server_url, const char *ca_pem, const char *token, const char *pem_file, struct status *reterr);
#endif
