/* The apiserver: the one way in. Owns the store, the HTTP server, and what is allocated for the whole cluster. Upstream: cmd/kube-apiserver. */
#ifndef CKUBE_APISERVER_APISERVER_H
#define CKUBE_APISERVER_APISERVER_H
#include "apiserver/audit_options.h"
#include "base/env.h"
#include "base/status.h"
#include "store/store.h"
#include "wire/http_server.h"

/* --oidc-*; each may be NULL. Upstream: kubeapiserver/options OIDCAuthenticationOptions. */
struct oidc_flags {
    const char *issuer_url, *client_id, *ca_file, *username_claim, *username_prefix, *groups_claim, *groups_prefix, *signing_algs;
    const char *const *required_claims;      /* "claim=value" */
    size_t required_claims_len;
};

struct apiserver_options {
    const char *data_dir;
    const char *bind_address;
    int secure_port;
    const char *cert_file, *key_file, *client_ca_file;
    const char *kubelet_ca_file, *kubelet_client_cert_file, *kubelet_client_key_file; /* towards kubelets; each may be NULL */
    const char *service_cluster_ip_range;   /* "10.96.0.0/16"; with both families "10.96.0.0/16,fd00::/108" */
    int node_port_min, node_port_max;
    const char *token_file;                  /* static tokens, or NULL */
    const char *service_account_key_file;    /* of keys that check tokens, commas; NULL: the signing key */
    const char *service_account_signing_key_file, *service_account_issuer, *service_account_jwks_uri, *api_audiences;
    int service_account_max_token_expiration_s;
    bool no_extended_token_expiration, no_anonymous_auth, no_bootstrap_token_auth;
    bool anonymous_auth_given;               /* by its flag, so that --authentication-config must not say it too */
    const char *authentication_config;       /* see oidc/structured_authentication.h; NULL: none */
    struct oidc_flags oidc;
    const char *authentication_token_webhook_config_file, *authentication_token_webhook_version; /* see token_webhook.h; NULL: none */
    int64_t authentication_token_webhook_cache_ttl_ns;
    const char *requestheader_client_ca_file, *requestheader_allowed_names, *requestheader_username_headers, *requestheader_uid_headers, *requestheader_group_headers, *requestheader_extra_headers_prefix;
    const char *advertise_address;           /* where others reach this server; NULL: nowhere */
    bool reconcile_endpoints;                /* list it in the endpoints of the Service kubernetes: see kubernetes_service.h */
    struct audit_options audit;              /* its policy NULL: no audit */
    const char *proxy_client_cert_file, *proxy_client_key_file; /* how we show other API servers that we are their front proxy */
    const char *authorization_mode;          /* "Node,RBAC"; NULL: that */
    const char *authorization_config;        /* a file instead of modes, see authorization_config.h; NULL: none */
    const char *authorization_webhook_config_file, *authorization_webhook_version; /* see authorization_webhook.h */
    int64_t authorization_webhook_authorized_ttl_ns, authorization_webhook_unauthorized_ttl_ns;
    const char *enable_admission_plugins, *disable_admission_plugins, *admission_control_config_file; /* see admission.h; each may be NULL */
    int default_not_ready_toleration_s, default_unreachable_toleration_s;
    int event_ttl_s;                         /* how long Events are kept; 0: an hour */
    const char *runtime_config;              /* see runtime_config.h; NULL: upstream's defaults */
    const char *etcd_servers;                /* NULL: the embedded store; otherwise see store_etcd_options */
    const char *etcd_ca_file, *etcd_cert_file, *etcd_key_file, *etcd_prefix, *storage_media_type;
    int etcd_compaction_interval_s;          /* 0: never */
    int etcd_health_timeout_ms, etcd_ready_timeout_ms; /* 0: 2 s, upstream's */
    const char *encryption_provider_config;  /* NULL: values are kept as they are; see encryption/encryption.h */
    bool encryption_provider_config_reload;
    bool no_priority_and_fairness;           /* plain limits instead, see flowcontrol/flow_control.h */
    int max_requests_inflight, max_mutating_requests_inflight; /* both 0: with fairness upstream's 400 and 200, without no limits */
    int request_timeout_ms;                  /* 0: a minute */
    struct env *env;
    /* Paths that are no part of the API and are answered before anybody is asked who they are: true when this was one. On the request's fiber. May be NULL. */
    bool (*own_paths)(struct http_request *req, void *ctx);
    bool (*more_paths)(struct http_request *req, void *ctx); /* the same for those who are authorized for them, as for any path that is no resource's */
    void *own_paths_ctx;
};

struct apiserver;
struct apiserver *apiserver_new(const struct apiserver_options *options, struct status *reterr);
int apiserver_port(const struct apiserver *s);
struct http_server *apiserver_http(struct apiserver *s); /* for local_transport.h */
void apiserver_hurry(struct apiserver *s); /* it will be freed soon: see store_hurry */
void apiserver_free(struct apiserver *s);
struct store *apiserver_store(struct apiserver *s);
void apiserver_set_etcd_servers(struct apiserver *s, const char *servers, bool prefer); /* see store_set_etcd_servers */
struct env *apiserver_env(struct apiserver *s);
const struct apiserver_options *apiserver_options(struct apiserver *s);
struct watch_hub *apiserver_watch_hub(struct apiserver *s);
/* The cluster's range of Services' addresses, and the second one of a cluster with both families. NULL past the last. */
const char *apiserver_service_range(struct apiserver *s, size_t i);
bool apiserver_has_family(struct apiserver *s, const char *family); /* "IPv4", "IPv6" */
struct fiber_mutex *apiserver_node_ports_lock(struct apiserver *s); /* held by who changes the allocation of node ports */
struct openapi *apiserver_openapi(struct apiserver *s);
struct authenticator *apiserver_authenticator(struct apiserver *s);
struct custom_resources *apiserver_custom_resources(struct apiserver *s);
struct aggregated_cache *apiserver_aggregated_cache(struct apiserver *s);
struct authorizer *apiserver_authorizer(struct apiserver *s);
struct flow_control *apiserver_flow_control(struct apiserver *s);
struct admission *apiserver_admission(struct apiserver *s);
struct legacy_tokens *apiserver_legacy_tokens(struct apiserver *s); /* NULL: not started yet */
struct encryption *apiserver_encryption(struct apiserver *s); /* NULL: none */
struct upstream_tls *apiserver_kubelet_tls(struct apiserver *s);  /* how to speak to kubelets */
struct upstream_tls *apiserver_insecure_tls(struct apiserver *s); /* and to Pods and Services that are proxied to by https: upstream does not verify them */
#endif
