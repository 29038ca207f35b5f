/* The apiserver as commands start it: see apiserver_command.h. */
#include "cmd/apiserver_command.h"
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "api/time.h"
#include "apiserver/admission.h"
#include "apiserver/allocators.h"
#include "apiserver/storage_codec.h"
#include "base/file.h"
#include "base/log.h"
#include "base/str.h"
#include "cmd/pki.h"
#include "wire/host_address.h"

#define NS_PER_S 1000000000
#define NS_PER_MS 1000000

void apiserver_command_init(struct apiserver_command *c) {
    *c = (struct apiserver_command){.endpoint_reconciler = "lease", .node_ports = "30000-32767", .fairness = true, .anonymous = true, .bootstrap_tokens = true, .extend_tokens = true,
        .options = {.default_not_ready_toleration_s = 300, .default_unreachable_toleration_s = 300, .data_dir = "/var/lib/ckube", .bind_address = "0.0.0.0", .secure_port = 6443, .max_requests_inflight = 400, .max_mutating_requests_inflight = 200, .service_cluster_ip_range = "10.43.0.0/16"}};
    audit_flags_init(&c->audit, &c->options.audit);
}

size_t apiserver_command_flags(struct apiserver_command *c, struct flag *out) {
    struct apiserver_options *o = &c->options;
    const struct flag flags[] = {
        {.name = "data-dir", .text = &o->data_dir, .help = "where everything is kept"},
        {.name = "bind-address", .text = &o->bind_address, .help = "address to listen on"},
        {.name = "secure-port", .number = &o->secure_port, .help = "port to serve HTTPS on; 0 takes any free one"},
        {.name = "advertise-address", .text = &c->advertise, .help = "address that others reach this server at (default: --bind-address, or if that is none for others, the default route's)"},
        {.name = "tls-san", .text = &c->tls_san, .help = "further names and addresses that our own serving certificate is for, commas"},
        {.name = "endpoint-reconciler-type", .text = &c->endpoint_reconciler, .help = "how the endpoints of the Service kubernetes are kept: lease, all apiservers that live (default), or none"},
        {.name = "service-cluster-ip-range", .text = &o->service_cluster_ip_range, .help = "range of Services' cluster IPs, or one of each IP family with a comma between"},
        {.name = "service-node-port-range", .text = &c->node_ports, .help = "range of node ports"},
        {.name = "tls-cert-file", .text = &o->cert_file, .help = "serving certificate (default: our own)"},
        {.name = "tls-private-key-file", .text = &o->key_file, .help = "its key"},
        {.name = "client-ca-file", .text = &o->client_ca_file, .help = "authority of client certificates (default: our own)"},
        {.name = "kubelet-certificate-authority", .text = &o->kubelet_ca_file, .help = "authority of kubelets' certificates (default: they are not verified)"},
        {.name = "kubelet-client-certificate", .text = &o->kubelet_client_cert_file, .help = "client certificate for kubelets (default: our own)"},
        {.name = "kubelet-client-key", .text = &o->kubelet_client_key_file, .help = "its key"},
        {.name = "token-auth-file", .text = &o->token_file, .help = "static tokens: token,user,uid,\"group1,group2\""},
        {.name = "authentication-config", .text = &o->authentication_config, .help = "AuthenticationConfiguration: issuers of JSON Web Tokens, and anonymous requests; read again when it changes"},
        {.name = "oidc-issuer-url", .text = &o->oidc.issuer_url, .help = "https URL of the OpenID issuer whose tokens are taken"},
        {.name = "oidc-client-id", .text = &o->oidc.client_id, .help = "whom its tokens must be for"},
        {.name = "oidc-ca-file", .text = &o->oidc.ca_file, .help = "authority of its server's certificate (default: the system's)"},
        {.name = "oidc-username-claim", .text = &o->oidc.username_claim, .help = "claim that names the user (default sub)"},
        {.name = "oidc-username-prefix", .text = &o->oidc.username_prefix, .help = "what is put before it; - for nothing (default: the issuer's URL and #, but for email)"},
        {.name = "oidc-groups-claim", .text = &o->oidc.groups_claim, .help = "claim that names the user's groups (default: none)"},
        {.name = "oidc-groups-prefix", .text = &o->oidc.groups_prefix, .help = "what is put before them"},
        {.name = "oidc-signing-algs", .text = &o->oidc.signing_algs, .help = "algorithms that tokens may be signed with, commas: RS, ES and PS with 256, 384 or 512 (default RS256)"},
        {.name = "oidc-required-claim", .each = &c->required_claims, .help = "key=value that a token must have; may be given several times"},
        {.name = "authentication-token-webhook-config-file", .text = &o->authentication_token_webhook_config_file, .help = "kubeconfig of a server that is asked about bearer tokens"},
        {.name = "authentication-token-webhook-version", .text = &o->authentication_token_webhook_version, .help = "version of the TokenReviews sent to it: v1 or v1beta1 (default: v1beta1)"},
        {.name = "authentication-token-webhook-cache-ttl", .text = &c->token_webhook_ttl, .help = "how long its answers are kept (default 2m0s; 0s: not at all)"},
        {.name = "write-kubeconfig", .text = &c->write_kubeconfig, .help = "where else to write the admin's kubeconfig"},
        {.name = "authorization-mode", .text = &o->authorization_mode, .help = "authorizers in their order, of Node, RBAC, AlwaysAllow, AlwaysDeny, Webhook (default: Node,RBAC)"},
        {.name = "authorization-config", .text = &o->authorization_config, .help = "AuthorizationConfiguration: the chain of authorizers, instead of --authorization-mode and --authorization-webhook-*; read again when it changes"},
        {.name = "authorization-webhook-config-file", .text = &o->authorization_webhook_config_file, .help = "kubeconfig of the server that mode Webhook asks"},
        {.name = "authorization-webhook-version", .text = &o->authorization_webhook_version, .help = "version of the SubjectAccessReviews sent to it: v1 or v1beta1 (default: v1beta1)"},
        {.name = "authorization-webhook-cache-authorized-ttl", .text = &c->webhook_authorized_ttl, .help = "how long its yes is kept (default 5m0s; 0s: not at all)"},
        {.name = "authorization-webhook-cache-unauthorized-ttl", .text = &c->webhook_unauthorized_ttl, .help = "how long its no is kept (default 30s; 0s: not at all)"},
        {.name = "enable-admission-plugins", .text = &o->enable_admission_plugins, .help = "admission plugins besides those that are on by default, commas"},
        {.name = "disable-admission-plugins", .text = &o->disable_admission_plugins, .help = "admission plugins that are off though they are on by default, commas"},
        {.name = "admission-control-config-file", .text = &o->admission_control_config_file, .help = "configurations of admission plugins: apiserver.config.k8s.io/v1 AdmissionConfiguration"},
        {.name = "default-not-ready-toleration-seconds", .number = &o->default_not_ready_toleration_s, .help = "how long Pods stay on a node that is not ready, if they do not say (default 300)"},
        {.name = "default-unreachable-toleration-seconds", .number = &o->default_unreachable_toleration_s, .help = "how long Pods stay on a node that cannot be reached, if they do not say (default 300)"},
        {.name = "anonymous-auth", .on = &c->anonymous, .given = &o->anonymous_auth_given, .help = "requests without credentials are system:anonymous's (default true)"},
        {.name = "enable-bootstrap-token-auth", .on = &c->bootstrap_tokens, .help = "Secrets of type bootstrap.kubernetes.io/token authenticate (default true)"},
        {.name = "service-account-key-file", .text = &o->service_account_key_file, .list = true, .help = "keys that check ServiceAccounts' tokens, commas between files (default: the signing key)"},
        {.name = "service-account-signing-key-file", .text = &o->service_account_signing_key_file, .help = "private key that signs ServiceAccounts' tokens (default: our own)"},
        {.name = "service-account-issuer", .text = &o->service_account_issuer, .list = true, .help = "issuer of ServiceAccounts' tokens, then others that are accepted, commas (default: https://kubernetes.default.svc.cluster.local)"},
        {.name = "service-account-jwks-uri", .text = &o->service_account_jwks_uri, .help = "where the discovery document says that the keys are"},
        {.name = "service-account-max-token-expiration", .text = &c->max_token_expiration, .help = "longest life of a token, as 48h (default: no limit)"},
        {.name = "service-account-extend-token-expiration", .on = &c->extend_tokens, .help = "Pods' tokens of an hour live for a year (default true)"},
        {.name = "api-audiences", .text = &o->api_audiences, .list = true, .help = "what tokens for this server name as their audience, commas (default: the issuer)"},
        {.name = "requestheader-client-ca-file", .text = &o->requestheader_client_ca_file, .help = "authority of front proxies' certificates"},
        {.name = "requestheader-allowed-names", .text = &o->requestheader_allowed_names, .help = "common names of front proxies, commas (default: any)"},
        {.name = "requestheader-username-headers", .text = &o->requestheader_username_headers, .help = "headers with the user's name (default: X-Remote-User)"},
        {.name = "requestheader-uid-headers", .text = &o->requestheader_uid_headers, .help = "headers with the user's uid (default: X-Remote-Uid)"},
        {.name = "requestheader-group-headers", .text = &o->requestheader_group_headers, .help = "headers with the user's groups (default: X-Remote-Group)"},
        {.name = "requestheader-extra-headers-prefix", .text = &o->requestheader_extra_headers_prefix, .help = "how headers with more about the user begin (default: X-Remote-Extra-)"},
        {.name = "proxy-client-cert-file", .text = &o->proxy_client_cert_file, .help = "certificate by which other API servers know us as their front proxy (default: our own)"},
        {.name = "proxy-client-key-file", .text = &o->proxy_client_key_file, .help = "its key"},
        {.name = "event-ttl", .text = &c->event_ttl, .help = "how long Events are kept (default 1h0m0s)"},
        {.name = "runtime-config", .text = &o->runtime_config, .help = "which groups, versions and resources are served besides or without the defaults: api/all=true,batch/v1/jobs=false"},
        {.name = "etcd-servers", .text = &o->etcd_servers, .help = "etcd's client addresses, commas: etcd is the store then (default: the embedded store)"},
        {.name = "etcd-cafile", .text = &o->etcd_ca_file, .help = "authority of etcd's certificates"},
        {.name = "etcd-certfile", .text = &o->etcd_cert_file, .help = "client certificate for etcd"},
        {.name = "etcd-keyfile", .text = &o->etcd_key_file, .help = "its key"},
        {.name = "etcd-prefix", .text = &o->etcd_prefix, .help = "what all keys in etcd begin with (default /registry)"},
        {.name = "etcd-compaction-interval", .text = &c->etcd_compaction_interval, .help = "how often etcd is compacted; 0 never (default 5m0s)"},
        {.name = "etcd-healthcheck-timeout", .text = &c->etcd_health_timeout, .help = "how long the health check waits for etcd (default 2s)"},
        {.name = "etcd-readycheck-timeout", .text = &c->etcd_ready_timeout, .help = "how long the readiness check waits for etcd (default 2s)"},
        {.name = "storage-media-type", .text = &o->storage_media_type, .help = "how built-in kinds are kept in etcd: application/vnd.kubernetes.protobuf (default) or application/json"},
        {.name = "encryption-provider-config", .text = &o->encryption_provider_config, .help = "EncryptionConfiguration: which resources are kept encrypted, and how (default: none)"},
        {.name = "encryption-provider-config-automatic-reload", .on = &o->encryption_provider_config_reload, .help = "that file is read again when it changes (default false)"},
        {.name = "enable-priority-and-fairness", .on = &c->fairness, .help = "requests wait for seats by FlowSchemas and PriorityLevelConfigurations (default true)"},
        {.name = "max-requests-inflight", .number = &o->max_requests_inflight, .help = "requests that are served at once: their seats (default 400); without fairness, of those that read alone; 0: no limit"},
        {.name = "max-mutating-requests-inflight", .number = &o->max_mutating_requests_inflight, .help = "seats besides those (default 200); without fairness, for requests that write; 0: no limit"},
        {.name = "request-timeout", .text = &c->request_timeout, .help = "how long a request may take; a quarter of that it waits for a seat (default 1m0s)"},
        {.name = "v", .number = &c->verbosity, .help = "log verbosity"},
    };
    static_assert(ARRAY_LEN(flags) + AUDIT_FLAGS_MAX <= APISERVER_FLAGS_MAX, "room for all flags");
    memcpy(out, flags, sizeof(flags));
    return ARRAY_LEN(flags) + audit_flags_rows(&c->audit, &o->audit, out + ARRAY_LEN(flags));
}

/* "30000-32767" */
static bool parse_range(const char *text, int *min, int *max) {
    return sscanf(text, "%d-%d", min, max) == 2 && *min > 0 && *max >= *min && *max < 65536;
}

/* 0, or 2 with a message. */
static int take_duration_ns(const char *command, const char *option, const char *text, int64_t *ret_ns) {
    if (duration_parse(text, ret_ns) && *ret_ns >= 0) return 0;
    fprintf(stderr, "ckube %s: --%s: \"%s\" is no duration\n", command, option, text);
    return 2;
}

/* The same in whole seconds, of which there must be at least so many; without a text *ret_s stays. */
static int take_duration(const char *command, const char *option, const char *text, int least_s, int *ret_s) {
    int64_t ns;
    if (!text) return 0;
    if (duration_parse(text, &ns) && ns / NS_PER_S >= least_s && ns / NS_PER_S <= INT32_MAX) {
        *ret_s = (int)(ns / NS_PER_S);
        return 0;
    }
    fprintf(stderr, "ckube %s: --%s: \"%s\" is no duration of %d seconds or more\n", command, option, text, least_s);
    return 2;
}

static int check_etcd(struct apiserver_command *c, const char *command) {
    struct apiserver_options *o = &c->options;
    int64_t health_ns, ready_ns;
    if (take_duration(command, "etcd-compaction-interval", str_or(c->etcd_compaction_interval, "5m0s"), 0, &o->etcd_compaction_interval_s) != 0 ||
        take_duration_ns(command, "etcd-healthcheck-timeout", str_or(c->etcd_health_timeout, "2s"), &health_ns) != 0 ||
        take_duration_ns(command, "etcd-readycheck-timeout", str_or(c->etcd_ready_timeout, "2s"), &ready_ns) != 0) return 2;
    o->etcd_health_timeout_ms = (int)MIN(health_ns / NS_PER_MS, (int64_t)INT32_MAX);
    o->etcd_ready_timeout_ms = (int)MIN(ready_ns / NS_PER_MS, (int64_t)INT32_MAX);
    if (storage_codec(o->storage_media_type)) return 0;
    fprintf(stderr, "ckube %s: --storage-media-type \"%s\" invalid, allowed values: application/vnd.kubernetes.protobuf, application/json\n", command, o->storage_media_type);
    return 2;
}

static int check_endpoints(const struct apiserver_command *c, const char *command) {
    if (c->advertise && address_kind(c->advertise, NULL) == ADDRESS_INVALID) {
        fprintf(stderr, "ckube %s: invalid argument \"%s\" for \"--advertise-address\" flag: failed to parse IP: \"%s\"\n", command, c->advertise, c->advertise);
        return 2;
    }
    if (str_eq(c->endpoint_reconciler, "lease") || str_eq(c->endpoint_reconciler, "none")) return 0;
    fprintf(stderr, "ckube %s: --endpoint-reconciler-type: \"%s\" is not implemented, allowed values: lease, none\n", command, c->endpoint_reconciler);
    return 2;
}

static int check_authorization(const struct apiserver_command *c, const char *command) {
    const struct apiserver_options *o = &c->options;
    bool legacy = o->authorization_mode || o->authorization_webhook_config_file || o->authorization_webhook_version || c->webhook_authorized_ttl || c->webhook_unauthorized_ttl;
    if (!o->authorization_config || !legacy) return 0;
    fprintf(stderr, "ckube %s: --authorization-config can not be specified when --authorization-mode or --authorization-webhook-* flags are defined\n", command);
    return 2;
}

static int check_limits(struct apiserver_command *c, const char *command) {
    struct apiserver_options *o = &c->options;
    int64_t timeout_ns = 0;
    o->no_priority_and_fairness = !c->fairness;
    if (take_duration_ns(command, "request-timeout", str_or(c->request_timeout, "1m0s"), &timeout_ns) != 0) return 2;
    o->request_timeout_ms = (int)MIN(timeout_ns / NS_PER_MS, (int64_t)INT32_MAX);
    if (o->encryption_provider_config_reload && !o->encryption_provider_config)
        fprintf(stderr, "ckube %s: --encryption-provider-config-automatic-reload must be set with --encryption-provider-config\n", command);
    else if (o->max_requests_inflight < 0) fprintf(stderr, "ckube %s: --max-requests-inflight can not be negative value\n", command);
    else if (o->max_mutating_requests_inflight < 0) fprintf(stderr, "ckube %s: --max-mutating-requests-inflight can not be negative value\n", command);
    else if (c->fairness && o->max_requests_inflight + o->max_mutating_requests_inflight == 0)
        fprintf(stderr, "ckube %s: invalid configuration: MaxRequestsInFlight=0 and MaxMutatingRequestsInFlight=0; they must add up to something positive\n", command);
    else return 0;
    return 2;
}

int apiserver_command_check(struct apiserver_command *c, const char *command) {
    struct apiserver_options *o = &c->options;
    o->no_anonymous_auth = !c->anonymous;
    o->oidc.required_claims = c->required_claims.items;
    o->oidc.required_claims_len = c->required_claims.len;
    o->no_bootstrap_token_auth = !c->bootstrap_tokens;
    o->no_extended_token_expiration = !c->extend_tokens;
    if (take_duration(command, "service-account-max-token-expiration", c->max_token_expiration, 3600, &o->service_account_max_token_expiration_s) != 0 ||
        take_duration_ns(command, "authentication-token-webhook-cache-ttl", str_or(c->token_webhook_ttl, "2m0s"), &o->authentication_token_webhook_cache_ttl_ns) != 0 ||
        take_duration(command, "event-ttl", c->event_ttl, 1, &o->event_ttl_s) != 0 ||
        take_duration_ns(command, "authorization-webhook-cache-authorized-ttl", str_or(c->webhook_authorized_ttl, "5m0s"), &o->authorization_webhook_authorized_ttl_ns) != 0 ||
        take_duration_ns(command, "authorization-webhook-cache-unauthorized-ttl", str_or(c->webhook_unauthorized_ttl, "30s"), &o->authorization_webhook_unauthorized_ttl_ns) != 0) return 2;
    if (check_etcd(c, command) != 0 || check_endpoints(c, command) != 0 || check_limits(c, command) != 0 || check_authorization(c, command) != 0 || audit_flags_check(&c->audit, &o->audit, command) != 0) return 2;
    o->audit.webhook.blocking_ns_max = (int64_t)o->request_timeout_ms * NS_PER_MS;
    _cleanup_status_ struct status err = STATUS_INIT;
    if (admission_check_flags(o->enable_admission_plugins, o->disable_admission_plugins, &err) != 0) {
        fprintf(stderr, "ckube %s: %s\n", command, status_message(&err));
        return 2;
    }
    if (parse_range(c->node_ports, &c->options.node_port_min, &c->options.node_port_max)) return 0;
    fprintf(stderr, "ckube %s: --service-node-port-range: \"%s\" is no range\n", command, c->node_ports);
    return 2;
}

int apiserver_command_make_dir(const struct apiserver_command *c, struct status *reterr) {
    if (make_dirs(c->options.data_dir, 0700, reterr) == 0) return 0;
    status_wrap(reterr, "cannot make the data folder");
    return -1;
}

static void default_files(struct apiserver_options *o, struct arena *a) {
    if (!o->cert_file) {
        o->cert_file = arena_printf(a, "%s/tls/apiserver.crt", o->data_dir);
        o->key_file = arena_printf(a, "%s/tls/apiserver.key", o->data_dir);
    }
    if (!o->kubelet_client_cert_file) {
        o->kubelet_client_cert_file = arena_printf(a, "%s/tls/apiserver-kubelet-client.crt", o->data_dir);
        o->kubelet_client_key_file = arena_printf(a, "%s/tls/apiserver-kubelet-client.key", o->data_dir);
    }
    if (!o->service_account_signing_key_file) o->service_account_signing_key_file = arena_printf(a, "%s/tls/service-account.key", o->data_dir);
    if (!o->requestheader_client_ca_file) {
        o->requestheader_client_ca_file = arena_printf(a, "%s/tls/request-header-ca.crt", o->data_dir);
        if (!o->requestheader_allowed_names) o->requestheader_allowed_names = "front-proxy-client";
    }
    if (!o->proxy_client_cert_file) {
        o->proxy_client_cert_file = arena_printf(a, "%s/tls/front-proxy-client.crt", o->data_dir);
        o->proxy_client_key_file = arena_printf(a, "%s/tls/front-proxy-client.key", o->data_dir);
    }
    if (!o->client_ca_file) o->client_ca_file = arena_printf(a, "%s/tls/client-ca.crt", o->data_dir);
}

/* As upstream: what is bound to, or if others cannot reach that, the host's address of its family. NULL: there is none. */
static const char *advertised(const struct apiserver_command *c, struct arena *a) {
    bool ipv6 = false;
    const char *address = c->advertise && address_kind(c->advertise, NULL) != ADDRESS_UNSPECIFIED ? c->advertise : c->options.bind_address;
    enum address_kind kind = address_kind(address, &ipv6);
    if (kind != ADDRESS_UNSPECIFIED && (kind != ADDRESS_LOOPBACK || address == c->advertise)) return address;
    char *host = host_default_address(a, ipv6);
    return host ? host : host_default_address(a, !ipv6);
}

/* Of a cluster with both families the first range is the one that the Service kubernetes is of. */
static const char *primary_range(const struct apiserver_options *o, struct arena *a) { return arena_strndup(a, o->service_cluster_ip_range, strcspn(o->service_cluster_ip_range, ",")); }

static int decide_endpoints(struct apiserver_command *c, struct arena *a, struct status *reterr) {
    struct apiserver_options *o = &c->options;
    bool ipv6 = false;
    o->advertise_address = advertised(c, a);
    if (str_eq(c->endpoint_reconciler, "none")) return 0;
    if (!o->advertise_address || address_kind(o->advertise_address, &ipv6) != ADDRESS_GLOBAL) {
        log_warning("no Pod can reach this server at %s: it will not be an endpoint of the Service kubernetes; see --advertise-address", str_or(o->advertise_address, o->bind_address));
        return 0;
    }
    if (ipv6 != ip_is_v6(primary_range(o, a)))
        return status_bad_request(reterr, "service IP family \"%s\" must match public address family \"%s\"", primary_range(o, a), o->advertise_address);
    o->reconcile_endpoints = true;
    return 0;
}

/* The certificate names every address that this server is reached at, the kubernetes Service's among them. */
static int ensure_certificates(const struct apiserver_command *c, struct arena *a, struct status *reterr) {
    const struct apiserver_options *o = &c->options;
    const char *const addresses[] = {"127.0.0.1", "::1", ip_range_first(a, primary_range(o, a)), o->bind_address, o->advertise_address};
    const char *names[ARRAY_LEN(addresses) + 1] = {0};
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(addresses); i++) {
        bool known = !addresses[i] || address_kind(addresses[i], NULL) <= ADDRESS_UNSPECIFIED;
        for (size_t k = 0; k < n; k++) known |= str_eq(names[k], addresses[i]);
        if (!known) names[n++] = addresses[i];
    }
    return pki_ensure(o->data_dir, names, c->tls_san, reterr);
}

struct apiserver *apiserver_command_start(struct apiserver_command *c, struct arena *a, struct status *reterr) {
    struct apiserver_options *o = &c->options;
    if (apiserver_command_make_dir(c, reterr) != 0 || decide_endpoints(c, a, reterr) != 0 || ensure_certificates(c, a, reterr) != 0) return NULL;
    default_files(o, a);
    struct apiserver *s = apiserver_new(o, reterr);
    if (!s) return NULL;
    const char *host = str_eq(o->bind_address, "0.0.0.0") || str_eq(o->bind_address, "::") ? "127.0.0.1" : o->bind_address;
    _cleanup_status_ struct status err = STATUS_INIT;
    if (pki_write_admin_kubeconfig(o->data_dir, arena_printf(a, "%s/admin.kubeconfig", o->data_dir), host, apiserver_port(s), &err) != 0 ||
        (c->write_kubeconfig && pki_write_admin_kubeconfig(o->data_dir, c->write_kubeconfig, host, apiserver_port(s), &err) != 0))
        log_error("%s", status_message(&err));
    log_info("serving on https://%s:%d", o->bind_address, apiserver_port(s));
    return s;
}
