/* SubjectAccessReview and its three siblings. Upstream: pkg/registry/authorization and pkg/apis/authorization/validation. */
#include "apiserver/access_review.h"
#include <string.h>
#include "api/field_error.h"
#include "api/validation/meta.h"
#include "apiserver/apiserver.h"
#include "apiserver/authorization.h"
#include "apiserver/handlers.h"
#include "apiserver/managers.h"
#include "apiserver/rbac/rbac.h"
#include "base/str.h"
#include "wire/json.h"

#define GROUP "authorization.k8s.io"

/* ---- validation ---- */

static const char *path_and_verb(struct arena *a, const struct authorizationv1_NonResourceAttributes *n) {
    _cleanup_buf_ struct buf out = BUF_INIT;
    buf_append_str(&out, "{\"Path\":");
    json_write_string(&out, n->path);
    buf_append_str(&out, ",\"Verb\":");
    json_write_string(&out, n->verb);
    buf_append_char(&out, '}');
    return arena_strdup(a, out.data);
}

static void validate_selector(const char *raw, size_t requirements, const struct field_path *at, struct field_errors *errs) {
    if (!str_empty(raw) && requirements) field_invalid(errs, FIELD(at, "rawSelector"), raw, "may not specified at the same time as requirements");
    if (str_empty(raw) && !requirements) field_required(errs, FIELD(at, "requirements"), "when %s is specified, requirements or rawSelector is required", field_path_string(errs->arena, at));
}

static void validate_field_requirements(const struct authorizationv1_FieldSelectorAttributes *fs, const struct field_path *at, struct field_errors *errs) {
    for (size_t i = 0; i < fs->requirements.len; i++) {
        const struct metav1_FieldSelectorRequirement *q = &fs->requirements.items[i];
        const struct field_path *p = FIELD_INDEX(FIELD(at, "requirements"), i);
        bool in = str_eq(q->operator, "In") || str_eq(q->operator, "NotIn"), exists = str_eq(q->operator, "Exists") || str_eq(q->operator, "DoesNotExist");
        if (str_empty(q->key)) field_required(errs, FIELD(p, "key"), "must be specified");
        if (in && !q->values.len) field_required(errs, FIELD(p, "values"), "must be specified when `operator` is 'In' or 'NotIn'");
        if (exists && q->values.len) field_forbidden(errs, FIELD(p, "values"), "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
    }
}

static void validate_attributes(const struct authorizationv1_ResourceAttributes *ra, const struct authorizationv1_NonResourceAttributes *na, struct field_errors *errs) {
    const struct field_path *spec = FIELD(NULL, "spec");
    if (ra && na) field_invalid_raw(errs, FIELD(spec, "nonResourceAttributes"), path_and_verb(errs->arena, na), "cannot be specified in combination with resourceAttributes");
    if (!ra && !na) field_invalid_raw(errs, FIELD(spec, "resourceAttributes"), "null", "exactly one of nonResourceAttributes or resourceAttributes must be specified");
}

static void validate_selectors(const struct authorizationv1_ResourceAttributes *ra, struct field_errors *errs) {
    const struct field_path *at = FIELD(FIELD(NULL, "spec"), "resourceAttributes");
    if (ra && ra->labelSelector) {
        validate_selector(ra->labelSelector->rawSelector, ra->labelSelector->requirements.len, FIELD(at, "labelSelector"), errs);
        for (size_t i = 0; i < ra->labelSelector->requirements.len; i++) validate_label_requirement(&ra->labelSelector->requirements.items[i], true, FIELD_INDEX(FIELD(FIELD(at, "labelSelector"), "requirements"), i), errs);
    }
    if (ra && ra->fieldSelector) {
        validate_selector(ra->fieldSelector->rawSelector, ra->fieldSelector->requirements.len, FIELD(at, "fieldSelector"), errs);
        validate_field_requirements(ra->fieldSelector, FIELD(at, "fieldSelector"), errs);
    }
}

static void validate_subject(const struct authorizationv1_SubjectAccessReviewSpec *s, struct field_errors *errs) {
    validate_attributes(s->resourceAttributes, s->nonResourceAttributes, errs);
    if (str_empty(s->user) && !s->groups.len) field_invalid(errs, FIELD(FIELD(NULL, "spec"), "user"), "", "at least one of user or group must be specified");
    validate_selectors(s->resourceAttributes, errs);
}

/* Reviews have no name, labels or the like: nothing of them would be kept. */
static void validate_no_meta(const struct type_desc *type, const struct object *obj, bool local, struct field_errors *errs) {
    struct object *bare = object_copy(errs->arena, type, obj);
    const struct field_path *at = FIELD(NULL, "metadata");
    bare->metadata.managedFields.items = NULL;
    bare->metadata.managedFields.len = 0;
    if (local) bare->metadata.namespace = NULL;
    if (object_is_zero(&metav1_ObjectMeta_desc, &bare->metadata)) return;
    field_invalid_raw(errs, at, object_json_text(errs->arena, &metav1_ObjectMeta_desc, &obj->metadata), local ? "must be empty except for namespace" : "must be empty");
}

/* ---- the question and the answer ---- */

/* Requirements that cannot be understood are left out: what is asked for is then wider, never narrower. *ret_left_out says that there were some. */
static const struct field_selector *fields_of(struct arena *a, const struct authorizationv1_FieldSelectorAttributes *fs, bool *ret_left_out) {
    struct field_selector *out = ARENA_NEW(a, struct field_selector);
    if (!fs) return NULL;
    if (!str_empty(fs->rawSelector) && field_selector_parse(a, fs->rawSelector, out, NULL) != 0) {
        *ret_left_out = true;
        return NULL;
    }
    for (size_t i = 0; i < fs->requirements.len; i++) {
        const struct metav1_FieldSelectorRequirement *q = &fs->requirements.items[i];
        if (q->values.len == 1 && (str_eq(q->operator, "In") || str_eq(q->operator, "NotIn")))
            *LIST_PUSH(a, out) = (struct field_requirement){.field = q->key, .value = q->values.items[0], .negated = str_eq(q->operator, "NotIn")};
        else *ret_left_out = true;
    }
    return out->len ? out : NULL;
}

static const struct selector *labels_of(struct arena *a, const struct authorizationv1_LabelSelectorAttributes *ls, bool *ret_left_out) {
    struct selector *out = ARENA_NEW(a, struct selector);
    if (!ls) return NULL;
    if (!str_empty(ls->rawSelector) && label_selector_parse(a, ls->rawSelector, out, NULL) != 0) {
        *ret_left_out = true;
        return NULL;
    }
    for (size_t i = 0; i < ls->requirements.len; i++) {
        struct metav1_LabelSelector one = {.matchExpressions = {&ls->requirements.items[i], 1}};
        struct selector s = {0};
        if (label_selector_from(a, &one, &s, NULL) == 0 && s.len == 1) *LIST_PUSH(a, out) = s.items[0];
        else *ret_left_out = true;
    }
    return out->len ? out : NULL;
}

/* *ret_trouble: upstream's words for selectors that were not fully understood; NULL: none. */
static struct authz_attributes attributes_of(struct arena *a, const struct user_info *user, const struct authorizationv1_ResourceAttributes *ra, const struct authorizationv1_NonResourceAttributes *na, const char **ret_trouble) {
    struct authz_attributes at = {.user = user};
    bool fields = false, labels = false;
    *ret_trouble = NULL;
    if (!ra) {
        at.path = na->path;
        at.verb = na->verb;
        return at;
    }
    at = (struct authz_attributes){.user = user, .resource_request = true, .verb = ra->verb, .namespace = ra->namespace, .group = ra->group, .version = str_or(ra->version, "*"), .resource = ra->resource,
        .subresource = ra->subresource, .name = ra->name, .fields = fields_of(a, ra->fieldSelector, &fields), .labels = labels_of(a, ra->labelSelector, &labels)};
    if (fields) *ret_trouble = arena_printf(a, "spec.resourceAttributes.fieldSelector %signored due to parse error", at.fields ? "partially " : "");
    if (labels) *ret_trouble = arena_printf(a, "%s%sspec.resourceAttributes.labelSelector %signored due to parse error", str_or(*ret_trouble, ""), fields ? "; " : "", at.labels ? "partially " : "");
    return at;
}

static void decide(struct api_request *r, const struct user_info *user, const struct authorizationv1_ResourceAttributes *ra, const struct authorizationv1_NonResourceAttributes *na,
                   struct authorizationv1_SubjectAccessReviewStatus *ret) {
    const char *reason, *error, *trouble;
    struct authz_attributes at = attributes_of(r->arena, user, ra, na, &trouble);
    enum authz_decision d = authorizer_decide_error(apiserver_authorizer(r->server), r->arena, &at, &reason, &error);
    if (trouble) error = error ? arena_printf(r->arena, "%s; %s", error, trouble) : trouble;
    *ret = (struct authorizationv1_SubjectAccessReviewStatus){.allowed = d == AUTHZ_ALLOW, .denied = d == AUTHZ_DENY, .reason = reason, .evaluationError = error};
}

static struct user_info user_of(const struct authorizationv1_SubjectAccessReviewSpec *s) {
    return (struct user_info){.name = s->user, .uid = s->uid, .groups = s->groups, .extra = s->extra};
}

/* The posted review, decoded, with its managed fields; NULL with an error. */
static void *posted(struct api_request *r, const struct type_desc *type, struct status *reterr) {
    struct write_options o;
    if (negotiate(r, true, false, reterr) != 0 || read_write_options(r, &o, reterr) != 0) return NULL;
    struct object *obj = body_decode(r, type, reterr);
    if (!obj || body_check_names(r, obj, reterr) != 0) return NULL;
    obj->metadata.namespace = r->rd->namespaced ? r->namespace : NULL;
    wipe_system_fields(obj);
    request_managed_update(r, &o, type, NULL, obj);
    return obj;
}

static void *subject_review(struct api_request *r, struct status *reterr) {
    struct authorizationv1_SubjectAccessReview *sar = posted(r, &authorizationv1_SubjectAccessReview_desc, reterr);
    struct field_errors errs = field_errors_in(r->arena);
    if (!sar) return NULL;
    validate_subject(&sar->spec, &errs);
    validate_no_meta(&authorizationv1_SubjectAccessReview_desc, (struct object *)sar, false, &errs);
    if (errs.len) {
        field_errors_status(&errs, GROUP, "", "", reterr);
        return NULL;
    }
    struct user_info user = user_of(&sar->spec);
    decide(r, &user, sar->spec.resourceAttributes, sar->spec.nonResourceAttributes, &sar->status);
    return sar;
}

static void *local_review(struct api_request *r, struct status *reterr) {
    struct authorizationv1_LocalSubjectAccessReview *sar = posted(r, &authorizationv1_LocalSubjectAccessReview_desc, reterr);
    struct field_errors errs = field_errors_in(r->arena);
    const struct field_path *spec = FIELD(NULL, "spec");
    if (!sar) return NULL;
    validate_subject(&sar->spec, &errs);
    validate_no_meta(&authorizationv1_LocalSubjectAccessReview_desc, (struct object *)sar, true, &errs);
    const struct authorizationv1_ResourceAttributes *ra = sar->spec.resourceAttributes;
    if (ra && !str_eq(ra->namespace, sar->metadata.namespace)) field_invalid(&errs, FIELD(FIELD(spec, "resourceAttributes"), "namespace"), str_or(ra->namespace, ""), "must match metadata.namespace");
    if (sar->spec.nonResourceAttributes) field_invalid_raw(&errs, FIELD(spec, "nonResourceAttributes"), path_and_verb(r->arena, sar->spec.nonResourceAttributes), "disallowed on this kind of request");
    if (errs.len) {
        field_errors_status(&errs, GROUP, "", "", reterr);
        return NULL;
    }
    struct user_info user = user_of(&sar->spec);
    decide(r, &user, ra, NULL, &sar->status);
    return sar;
}

static void *self_review(struct api_request *r, struct status *reterr) {
    struct authorizationv1_SelfSubjectAccessReview *sar = posted(r, &authorizationv1_SelfSubjectAccessReview_desc, reterr);
    struct field_errors errs = field_errors_in(r->arena);
    if (!sar) return NULL;
    validate_attributes(sar->spec.resourceAttributes, sar->spec.nonResourceAttributes, &errs);
    validate_selectors(sar->spec.resourceAttributes, &errs);
    validate_no_meta(&authorizationv1_SelfSubjectAccessReview_desc, (struct object *)sar, false, &errs);
    if (errs.len) {
        field_errors_status(&errs, GROUP, "", "", reterr);
        return NULL;
    }
    decide(r, &r->user, sar->spec.resourceAttributes, sar->spec.nonResourceAttributes, &sar->status);
    return sar;
}

static void add_rule(struct arena *a, const struct rbacv1_PolicyRule *rule, struct authorizationv1_SubjectRulesReviewStatus *s) {
    if (rule->resources.len)
        *LIST_PUSH(a, &s->resourceRules) = (struct authorizationv1_ResourceRule){.verbs = rule->verbs, .apiGroups = rule->apiGroups, .resources = rule->resources, .resourceNames = rule->resourceNames};
    if (rule->nonResourceURLs.len) *LIST_PUSH(a, &s->nonResourceRules) = (struct authorizationv1_NonResourceRule){.verbs = rule->verbs, .nonResourceURLs = rule->nonResourceURLs};
}

static void *self_rules_review(struct api_request *r, struct status *reterr) {
    struct authorizationv1_SelfSubjectRulesReview *review = posted(r, &authorizationv1_SelfSubjectRulesReview_desc, reterr);
    if (!review) return NULL;
    if (str_empty(review->spec.namespace)) {
        status_bad_request(reterr, "no namespace on request");
        return NULL;
    }
    struct authorizationv1_SelfSubjectRulesReview *answer = object_new(r->arena, &authorizationv1_SelfSubjectRulesReview_desc);
    answer->status.resourceRules.items = arena_list_alloc(r->arena, 0, sizeof(*answer->status.resourceRules.items));
    answer->status.nonResourceRules.items = arena_list_alloc(r->arena, 0, sizeof(*answer->status.nonResourceRules.items));
    authorizer_rules(apiserver_authorizer(r->server), r->arena, &r->user, review->spec.namespace, &answer->status, add_rule);
    return answer;
}

bool handle_access_review(struct api_request *r) {
    static const struct { const char *resource; void *(*fn)(struct api_request *, struct status *); const struct type_desc *type; } kinds[] = {
        {"subjectaccessreviews", subject_review, &authorizationv1_SubjectAccessReview_desc}, {"localsubjectaccessreviews", local_review, &authorizationv1_LocalSubjectAccessReview_desc},
        {"selfsubjectaccessreviews", self_review, &authorizationv1_SelfSubjectAccessReview_desc}, {"selfsubjectrulesreviews", self_rules_review, &authorizationv1_SelfSubjectRulesReview_desc}};
    if (!str_eq(r->group, GROUP)) return false;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (strcmp(kinds[i].resource, r->resource) != 0) continue;
        _cleanup_status_ struct status err = STATUS_INIT;
        void *answer = kinds[i].fn(r, &err);
        if (answer) respond_object(r, 201, kinds[i].type, answer);
        else respond_status(r, &err);
        return true;
    }
    return false;
}
