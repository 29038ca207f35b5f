/* TokenReview and SelfSubjectReview. Upstream: registry/authentication. */
#include <string.h>
#include "api/time.h"
#include "apiserver/authentication.h"
#include "apiserver/handlers.h"
#include "apiserver/managers.h"
#include "base/str.h"

static struct authenticationv1_UserInfo public_user(const struct user_info *u) { return (struct authenticationv1_UserInfo){.username = u->name, .uid = u->uid, .groups = u->groups, .extra = u->extra}; }

static void *posted(struct api_request *r, const struct type_desc *type, struct status *reterr) {
    struct write_options o;
    if (negotiate(r, true, false, reterr) != 0 || read_write_options(r, &o, reterr) != 0) return NULL;
    struct object *obj = body_decode(r, type, reterr);
    if (!obj) return NULL;
    obj->metadata.namespace = NULL;
    wipe_system_fields(obj);
    request_managed_update(r, &o, type, NULL, obj);
    return obj;
}

static void *token_review(struct api_request *r, struct status *reterr) {
    struct authenticationv1_TokenReview *review = posted(r, &authenticationv1_TokenReview_desc, reterr);
    struct token_verdict v;
    if (!review) return NULL;
    if (str_empty(review->spec.token)) {
        status_bad_request(reterr, "token is required for TokenReview in authentication");
        return NULL;
    }
    const struct string_list *wanted = review->spec.audiences.len ? &review->spec.audiences : NULL;
    enum token_outcome o = authenticate_token(apiserver_authenticator(r->server), r, review->spec.token, wanted, &v);
    review->status = (struct authenticationv1_TokenReviewStatus){0};
    if (o != TOKEN_GOOD) {
        review->status.error = o == TOKEN_REFUSED ? arena_printf(r->arena, "[invalid bearer token, %s]", v.error) : "invalid bearer token";
        return review;
    }
    if (!string_list_has(&v.user.groups, "system:authenticated")) string_list_push(r->arena, &v.user.groups, "system:authenticated");
    review->status = (struct authenticationv1_TokenReviewStatus){.authenticated = true, .user = public_user(&v.user), .audiences = v.audiences};
    return review;
}

static void *self_review(struct api_request *r, struct status *reterr) {
    struct authenticationv1_SelfSubjectReview *review = posted(r, &authenticationv1_SelfSubjectReview_desc, reterr), *answer;
    if (!review) return NULL;
    answer = object_new(r->arena, &authenticationv1_SelfSubjectReview_desc);
    answer->metadata.creationTimestamp = time_from_s(env_now_s(apiserver_env(r->server)));
    answer->status.userInfo = public_user(&r->user);
    return answer;
}

bool handle_authentication_review(struct api_request *r) {
    bool token = str_eq(r->resource, "tokenreviews");
    if (!str_eq(r->group, "authentication.k8s.io") || (!token && !str_eq(r->resource, "selfsubjectreviews"))) return false;
    _cleanup_status_ struct status err = STATUS_INIT;
    void *answer = token ? token_review(r, &err) : self_review(r, &err);
    if (answer) respond_object(r, 201, token ? &authenticationv1_TokenReview_desc : &authenticationv1_SelfSubjectReview_desc, answer);
    else respond_status(r, &err);
    return true;
}
