/* Making sure that a container's image is here: pull policies, back-off after failed pulls, pull secrets. Upstream: pkg/kubelet/images/image_manager.go. */
#include <stdio.h>
#include <string.h>
#include "kubelet/internal.h"
#include "base/str.h"
#include "wire/grpc.h"
#include "wire/json.h"

const char *image_with_tag(struct arena *a, const char *image) {
    const char *slash = strrchr(image, '/'), *colon = strchr(slash ? slash : image, ':');
    return colon || strchr(image, '@') ? image : arena_printf(a, "%s:latest", image);
}

/* The registry that an image reference names. Upstream's rule: the first part is a host if it has a dot or a colon or is localhost. */
static const char *registry_of(struct arena *a, const char *image) {
    const char *slash = strchr(image, '/');
    const char *first = slash ? arena_strndup(a, image, (size_t)(slash - image)) : "";
    return slash && (strpbrk(first, ".:") || str_eq(first, "localhost")) ? first : "docker.io";
}

static Runtime__V1__AuthConfig *auth_of(struct arena *a, yyjson_val *auths, const char *registry) {
    size_t i, max;
    yyjson_val *key, *value;
    yyjson_obj_foreach(auths, i, max, key, value) {
        const char *host = yyjson_get_str(key), *bare = strstr(host, "://") ? strstr(host, "://") + 3 : host;
        size_t n = strcspn(bare, "/");
        if (!(strlen(registry) == n && strncmp(bare, registry, n) == 0) && !(str_eq(registry, "docker.io") && n == 15 && strncmp(bare, "index.docker.io", n) == 0)) continue;
        Runtime__V1__AuthConfig *auth = CRI_NEW(a, AuthConfig, auth_config);
        auth->username = arena_strdup(a, str_or(yyjson_get_str(yyjson_obj_get(value, "username")), ""));
        auth->password = arena_strdup(a, str_or(yyjson_get_str(yyjson_obj_get(value, "password")), ""));
        auth->server_address = arena_strdup(a, registry);
        const char *both = yyjson_get_str(yyjson_obj_get(value, "auth"));
        unsigned char *decoded;
        size_t len;
        if (both && base64_decode(a, both, strlen(both), &decoded, &len, NULL) == 0) {
            char *text = arena_strndup(a, (char *)decoded, len), *colon = strchr(text, ':');
            if (colon) {
                *colon = 0;
                auth->username = text;
                auth->password = colon + 1;
            }
        }
        return auth;
    }
    return NULL;
}

static Runtime__V1__AuthConfig *pull_auth(struct kubelet *k, struct arena *a, const struct corev1_Pod *p, const char *image) {
    LIST_FOREACH(ref, &p->spec.imagePullSecrets) {
        struct corev1_Secret secret = {0};
        if (api_get(k, a, &corev1_Secret_desc, p->metadata.namespace, ref->name, &secret, NULL) != 0) {
            event_pod(k, p, NULL, EVENT_WARNING, "FailedToRetrieveImagePullSecret",
                      "Unable to retrieve some image pull secrets (%s); attempting to pull the image may not succeed.", ref->name);
            continue;
        }
        LIST_FOREACH(e, &secret.data) {
            bool config = str_eq(e->key, ".dockerconfigjson");
            if (!config && !str_eq(e->key, ".dockercfg")) continue;
            yyjson_doc *doc = json_parse_in(a, (const char *)e->value.data, e->value.len, 0, NULL);
            yyjson_val *root = doc ? yyjson_doc_get_root(doc) : NULL;
            Runtime__V1__AuthConfig *auth = auth_of(a, config ? yyjson_obj_get(root, "auths") : root, registry_of(a, image));
            if (auth) return auth;
        }
    }
    return NULL;
}

static struct backoff *backoff_of(struct pod_runtime *r, const char *image) {
    char key[600];
    snprintf(key, sizeof(key), "image/%s", image);
    struct backoff *b = map_get(r->backoffs, key);
    if (b) return b;
    b = calloc(1, sizeof(*b));
    CHECK(b);
    map_put(r->backoffs, key, b);
    return b;
}

static const char *duration_text(struct arena *a, int64_t ns) {
    return ns < 1000000000 ? arena_printf(a, "%lldms", (long long)(ns / 1000000)) : arena_printf(a, "%lld.%03llds", (long long)(ns / 1000000000), (long long)(ns / 1000000 % 1000));
}

static int image_pull(struct kubelet *k, struct arena *a, const struct corev1_Pod *p, const struct corev1_Container *c, const char *image, struct backoff *b,
                      struct pod_runtime *r, const char **ret_ref, const char **ret_reason, struct status *reterr) {
    event_pod(k, p, c->name, EVENT_NORMAL, "Pulling", "Pulling image \"%s\"", c->image);
    int64_t began = env_mono_ns(k->env);
    _cleanup_status_ struct status err = STATUS_INIT;
    if (cri_pull_image(k->cri, a, image, pull_auth(k, a, p, image), sandbox_config(k, a, p, 0), &r->cancel, ret_ref, &err) != 0) {
        event_pod(k, p, c->name, EVENT_WARNING, "Failed", "Failed to pull image \"%s\": %s", c->image, status_message(&err));
        backoff_next(b, env_now_ns(k->env));
        r->wake_ns = MIN(r->wake_ns, env_mono_ns(k->env) + 1000000000);
        *ret_reason = "ErrImagePull";
        status_copy(reterr, &err);
        return -1;
    }
    const char *took = duration_text(a, env_mono_ns(k->env) - began);
    Runtime__V1__Image *status = NULL;
    cri_image_status(k->cri, a, image, &status, NULL);
    event_pod(k, p, c->name, EVENT_NORMAL, "Pulled", "Successfully pulled image \"%s\" in %s (%s including waiting). Image size: %llu bytes.", c->image, took, took,
              status ? (unsigned long long)status->size : 0);
    return 0;
}

int image_ensure(struct kubelet *k, struct arena *a, const struct corev1_Pod *p, const struct corev1_Container *c, struct pod_runtime *r, const char **ret_ref,
                 const char **ret_reason, struct status *reterr) {
    const char *image = image_with_tag(a, c->image), *policy = str_or(c->imagePullPolicy, "IfNotPresent");
    Runtime__V1__Image *status = NULL;
    if (cri_image_status(k->cri, a, image, &status, reterr) != 0) {
        status_wrap(reterr, "Failed to inspect image \"%s\"", c->image);
        event_pod(k, p, c->name, EVENT_WARNING, "InspectFailed", "%s", status_message(reterr));
        *ret_reason = "ImageInspectError";
        return -1;
    }
    if (status && !str_eq(policy, "Always")) {
        event_pod(k, p, c->name, EVENT_NORMAL, "Pulled", "Container image \"%s\" already present on machine%s", c->image,
                  str_eq(policy, "Never") ? "" : " and can be accessed by the pod");
        *ret_ref = status->id;
        return 0;
    }
    if (str_eq(policy, "Never")) {
        event_pod(k, p, c->name, EVENT_WARNING, "ErrImageNeverPull", "Container image \"%s\" is not present with pull policy of Never", c->image);
        *ret_reason = "ErrImageNeverPull";
        return status_set(reterr, 500, REASON_INTERNAL_ERROR, "Container image \"%s\" is not present with pull policy of Never", c->image);
    }
    struct backoff *b = backoff_of(r, image);
    if (backoff_active_since_update(b, env_now_ns(k->env))) {
        event_pod(k, p, c->name, EVENT_NORMAL, "BackOff", "Back-off pulling image \"%s\"", c->image);
        r->wake_ns = MIN(r->wake_ns, env_mono_ns(k->env) + b->updated_ns + b->delay_ns - env_now_ns(k->env));
        const struct start_failure *last = map_get(r->failures, c->name);
        *ret_reason = "ImagePullBackOff";
        const char *why = last && str_eq(last->reason, "ErrImagePull") ? arena_printf(a, ": ErrImagePull: %s", last->message)
            : last && str_eq(last->reason, "ImagePullBackOff") && strstr(last->message, ": ErrImagePull") ? arena_strdup(a, strstr(last->message, ": ErrImagePull")) : "";
        return status_set(reterr, 500, REASON_INTERNAL_ERROR, "Back-off pulling image \"%s\"%s", c->image, why);
    }
    return image_pull(k, a, p, c, image, b, r, ret_ref, ret_reason, reterr);
}
