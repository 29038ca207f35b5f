#include "api/validation/crd.h"
#include <ctype.h>
#include <string.h>
#include "api/names.h"
#include "api/validation/groups.h"
#include "base/str.h"

enum { SELECTABLE_FIELDS_MAX = 8, WARNING_BYTES_MAX = 256 };
#define APPROVAL "api-approved.kubernetes.io"
#define ENHANCEMENT "see https://github.com/kubernetes/enhancements/pull/1111"

typedef const struct apiextensionsv1_CustomResourceDefinitionVersion *version_ptr;

static void name_rule_joined(const char *value, const char *shown, const char *prefix, const struct field_path *at, struct field_errors *errs) {
    struct string_list msgs = {0};
    if (str_empty(value)) return;
    name_dns1035_label(errs->arena, value, &msgs);
    if (!msgs.len) return;
    struct buf text = BUF_INIT;
    for (size_t i = 0; i < msgs.len; i++) buf_printf(&text, "%s%s", i ? "," : "", msgs.items[i]);
    field_invalid(errs, at, shown, "%s%s", prefix, text.data);
    buf_release(&text);
}

/* Of the rule's messages an empty name breaks the same as a dash. */
static void name_rule_even_empty(const char *value, const struct field_path *at, struct field_errors *errs) { name_rule_joined(str_empty(value) ? "-" : value, str_or(value, ""), "", at, errs); }

static const char *lower(struct arena *a, const char *s) {
    char *copy = arena_strdup(a, str_or(s, ""));
    for (char *c = copy; *c; c++) *c = (char)tolower((unsigned char)*c);
    return copy;
}

static void validate_names(const struct apiextensionsv1_CustomResourceDefinitionNames *n, const struct field_path *at, struct field_errors *errs) {
    name_rule_joined(n->plural, n->plural, "", FIELD(at, "plural"), errs);
    name_rule_joined(n->singular, n->singular, "", FIELD(at, "singular"), errs);
    name_rule_joined(lower(errs->arena, n->kind), n->kind, "may have mixed case, but should otherwise match: ", FIELD(at, "kind"), errs);
    name_rule_joined(lower(errs->arena, n->listKind), n->listKind, "may have mixed case, but should otherwise match: ", FIELD(at, "listKind"), errs);
    for (size_t i = 0; i < n->shortNames.len; i++) name_rule_even_empty(n->shortNames.items[i], FIELD_INDEX(FIELD(at, "shortNames"), i), errs);
    if (!str_empty(n->kind) && str_eq(n->kind, n->listKind)) field_invalid(errs, FIELD(at, "listKind"), n->listKind, "kind and listKind may not be the same");
    for (size_t i = 0; i < n->categories.len; i++) name_rule_even_empty(n->categories.items[i], FIELD_INDEX(FIELD(at, "categories"), i), errs);
}

static void simple_path(const char *s, const struct field_path *at, struct field_errors *errs, bool *ok) {
    *ok = *s == '.';
    if (!*ok) field_invalid(errs, at, s, "must be a simple json path starting with .");
}

static void validate_column(const struct apiextensionsv1_CustomResourceColumnDefinition *c, const struct field_path *at, struct field_errors *errs) {
    static const char *const types[] = {"boolean", "date", "integer", "number", "string", NULL}, *const formats[] = {"byte", "date", "date-time", "double", "float", "int32", "int64", "password", NULL};
    bool ok;
    if (str_empty(c->name)) field_required(errs, FIELD(at, "name"), "%s", "");
    if (str_empty(c->type)) field_required(errs, FIELD(at, "type"), "must be one of boolean,date,integer,number,string");
    else if (!str_in(c->type, types)) field_invalid(errs, FIELD(at, "type"), c->type, "must be one of boolean,date,integer,number,string");
    if (!str_empty(c->format) && !str_in(c->format, formats)) field_invalid(errs, FIELD(at, "format"), c->format, "must be one of byte,date,date-time,double,float,int32,int64,password");
    if (str_empty(c->jsonPath)) field_required(errs, FIELD(at, "JSONPath"), "%s", "");
    else simple_path(c->jsonPath, FIELD(at, "JSONPath"), errs, &ok);
}

static void scale_path(const char *path, const char *name, const char *must, const struct field_path *at, struct field_errors *errs) {
    bool ok;
    const struct field_path *f = FIELD(at, name);
    if (str_empty(path)) {
        field_required(errs, f, "%s", "");
        return;
    }
    simple_path(path, f, errs, &ok);
    if (ok && !str_has_prefix(path, must)) field_invalid(errs, f, path, "should be a json path under %.*s", (int)strlen(must) - 1, must);
}

static void validate_subresources(const struct apiextensionsv1_CustomResourceSubresources *s, const struct field_path *at, struct field_errors *errs) {
    bool ok;
    if (!s || !s->scale) return;
    scale_path(s->scale->specReplicasPath, "scale.specReplicasPath", ".spec.", at, errs);
    scale_path(s->scale->statusReplicasPath, "scale.statusReplicasPath", ".status.", at, errs);
    const char *label = s->scale->labelSelectorPath;
    if (str_empty(label)) return;
    simple_path(label, FIELD(at, "scale.labelSelectorPath"), errs, &ok);
    if (ok && !str_has_prefix(label, ".spec.") && !str_has_prefix(label, ".status.")) field_invalid(errs, FIELD(at, "scale.labelSelectorPath"), label, "should be a json path under either .spec or .status");
}

/* `missing`: what to tell where the version, or what is above it, has no schema. */
static void validate_selectable(version_ptr v, const char *missing, const struct field_path *at, struct field_errors *errs) {
    struct structural *schema = NULL;
    struct string_list seen = {0};
    struct status err = STATUS_INIT;
    if (!v->selectableFields.len) return;
    if (missing) field_invalid(errs, at, "", "%s", missing);
    if (missing || !v->schema->openAPIV3Schema) return;
    if (structural_new(errs->arena, v->schema->openAPIV3Schema, &schema, &err) != 0) {
        status_release(&err);
        return;
    }
    for (size_t i = 0; i < v->selectableFields.len; i++) {
        const struct field_path *f = FIELD(FIELD_INDEX(at, i), "jsonPath");
        const char *path = v->selectableFields.items[i].jsonPath, *why = NULL;
        static const char *const types[] = {"string", "boolean", "integer", NULL};
        if (str_empty(path)) {
            field_required(errs, f, "%s", "");
            continue;
        }
        const struct structural *found = structural_field_path(errs->arena, schema, path, false, &why);
        if (why) {
            field_invalid(errs, f, path, "is an invalid path: %s", why);
            continue;
        }
        if (strcmp(path, ".metadata") == 0 || str_has_prefix(path, ".metadata.")) field_invalid(errs, f, path, "must not point to fields in metadata");
        if (!found || str_empty(found->props->type) || !str_in(found->props->type, types))
            field_invalid(errs, f, path, "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.");
        if (string_list_has(&seen, path)) field_duplicate(errs, f, path);
        else string_list_push(errs->arena, &seen, path);
    }
    if (seen.len > SELECTABLE_FIELDS_MAX) field_too_many(errs, at, (int64_t)seen.len, SELECTABLE_FIELDS_MAX);
}

static void validate_warning(version_ptr v, const struct field_path *at, struct field_errors *errs) {
    const char *w = v->deprecationWarning;
    if (!w) return;
    if (!v->deprecated) {
        field_invalid(errs, at, w, "can only be set for deprecated versions");
        return;
    }
    if (strlen(w) > WARNING_BYTES_MAX) field_invalid(errs, at, w, "must be <= 256 characters long");
    if (!*w) field_invalid(errs, at, w, "must not be an empty string");
    for (size_t i = 0; w[i]; i++)
        if ((unsigned char)w[i] < ' ' || w[i] == 0x7F) {
            field_invalid(errs, at, w, "must only contain printable UTF-8 characters; non-printable character found at index %zu", i);
            break;
        }
}

/* ---- versions: what all share upstream keeps once, above them ---- */

struct shared_parts { bool schema, subresources, columns, selectable; const struct apiextensionsv1_CustomResourceDefinitionSpec *old; /* NULL: creation */ };

static bool same_schema(version_ptr a, version_ptr b) {
    if (!a->schema || !b->schema) return a->schema == b->schema;
    return object_equal(&apiextensionsv1_CustomResourceValidation_desc, a->schema, b->schema);
}

static bool same_subresources(version_ptr a, version_ptr b) {
    if (!a->subresources || !b->subresources) return a->subresources == b->subresources;
    return object_equal(&apiextensionsv1_CustomResourceSubresources_desc, a->subresources, b->subresources);
}

static bool same_columns(version_ptr a, version_ptr b) {
    if (a->additionalPrinterColumns.len != b->additionalPrinterColumns.len) return false;
    for (size_t i = 0; i < a->additionalPrinterColumns.len; i++)
        if (!object_equal(&apiextensionsv1_CustomResourceColumnDefinition_desc, &a->additionalPrinterColumns.items[i], &b->additionalPrinterColumns.items[i])) return false;
    return true;
}

static bool same_selectable(version_ptr a, version_ptr b) {
    if (a->selectableFields.len != b->selectableFields.len) return false;
    for (size_t i = 0; i < a->selectableFields.len; i++)
        if (!str_eq(a->selectableFields.items[i].jsonPath, b->selectableFields.items[i].jsonPath)) return false;
    return true;
}

static struct shared_parts find_shared(const struct apiextensionsv1_CustomResourceDefinitionSpec *s) {
    struct shared_parts p = {true, true, true, true, NULL};
    for (size_t i = 1; i < s->versions.len; i++) {
        version_ptr a = &s->versions.items[0], b = &s->versions.items[i];
        p.schema &= same_schema(a, b);
        p.subresources &= same_subresources(a, b);
        p.columns &= same_columns(a, b);
        p.selectable &= same_selectable(a, b);
    }
    return p;
}

static bool status_enabled(version_ptr v) { return v->subresources && v->subresources->status; }

/* Whether the version had this schema before. */
static bool is_unchanged(version_ptr v, const struct apiextensionsv1_CustomResourceDefinitionSpec *old) {
    for (size_t i = 0; old && i < old->versions.len; i++)
        if (str_eq(old->versions.items[i].name, v->name)) return same_schema(v, &old->versions.items[i]);
    return false;
}

static void validate_schema(version_ptr v, const struct shared_parts *shared, bool has_status, const struct field_path *at, struct field_errors *errs) {
    if (v->schema && v->schema->openAPIV3Schema) validate_crd_schema(v->schema->openAPIV3Schema, has_status, is_unchanged(v, shared->old), FIELD(at, "openAPIV3Schema"), errs);
}

static void validate_columns(version_ptr v, const struct field_path *at, struct field_errors *errs) {
    for (size_t i = 0; i < v->additionalPrinterColumns.len; i++) validate_column(&v->additionalPrinterColumns.items[i], FIELD_INDEX(at, i), errs);
}

static void validate_version(version_ptr v, const struct shared_parts *shared, const struct field_path *at, struct field_errors *errs) {
    validate_warning(v, FIELD(at, "deprecationWarning"), errs);
    if (!shared->schema) validate_schema(v, shared, status_enabled(v), FIELD(at, "schema"), errs);
    if (!shared->subresources) validate_subresources(v->subresources, FIELD(at, "subresources"), errs);
    if (!shared->columns) validate_columns(v, FIELD(at, "additionalPrinterColumns"), errs);
    /* a schema that all versions share is above them, where their own fields do not find it */
    if (!shared->selectable) validate_selectable(v, shared->schema || !v->schema ? "may only be set when `version.schema.openAPIV3Schema` is not included" : NULL, FIELD(at, "selectableFields"), errs);
}

/* The versions as upstream shows them: without what is above them. */
static const char *versions_text(struct arena *a, const struct apiextensionsv1_CustomResourceDefinitionSpec *s, const struct shared_parts *shared) {
    const char *text = "";
    if (!s->versions.items) return "null";
    LIST_FOREACH(v, &s->versions) {
        struct apiextensionsv1_CustomResourceDefinitionVersion own = *v;
        if (shared->schema) own.schema = NULL;
        if (shared->subresources) own.subresources = NULL;
        if (shared->columns) own.additionalPrinterColumns = (struct apiextensionsv1_CustomResourceColumnDefinition_list){0};
        if (shared->selectable) own.selectableFields = (struct apiextensionsv1_SelectableField_list){0};
        text = arena_printf(a, "%s%s%s", text, *text ? "," : "", object_json_text(a, &apiextensionsv1_CustomResourceDefinitionVersion_desc, &own));
    }
    return arena_printf(a, "[%s]", text);
}

static void validate_versions(const struct apiextensionsv1_CustomResourceDefinitionSpec *s, const struct shared_parts *shared, const struct field_path *at, struct field_errors *errs) {
    struct string_list seen = {0};
    size_t storage = 0;
    bool unique = true;
    const struct field_path *versions = FIELD(at, "versions");
    LIST_FOREACH(v, &s->versions) {
        const struct field_path *i = FIELD_INDEX(versions, (size_t)(v - s->versions.items));
        storage += v->storage;
        unique &= !string_list_has(&seen, v->name);
        string_list_push(errs->arena, &seen, v->name);
        name_rule_even_empty(v->name, FIELD(i, "name"), errs);
        validate_version(v, shared, i, errs);
    }
    if (!unique) field_invalid_raw(errs, versions, versions_text(errs->arena, s, shared), "must contain unique version names");
    if (storage != 1) field_invalid_raw(errs, versions, versions_text(errs->arena, s, shared), "must have exactly one version marked as storage version");
    if (s->versions.len && !str_empty(s->versions.items[0].name)) name_rule_joined(s->versions.items[0].name, s->versions.items[0].name, "", FIELD(at, "version"), errs);
}

/* ---- conversion ---- */

static void validate_review_versions(const struct string_list *versions, const struct field_path *at, struct field_errors *errs) {
    struct string_list seen = {0};
    bool known = false;
    if (!versions->len) {
        field_required(errs, at, "%s", "");
        return;
    }
    for (size_t i = 0; i < versions->len; i++) {
        const char *v = versions->items[i];
        if (string_list_has(&seen, v)) {
            field_invalid(errs, FIELD_INDEX(at, i), v, "duplicate version");
            continue;
        }
        string_list_push(errs->arena, &seen, v);
        CHECK_NAME(errs, FIELD_INDEX(at, i), v, name_dns1035_label);
        known |= str_eq(v, "v1") || str_eq(v, "v1beta1");
    }
    if (known) return;
    struct buf text = BUF_INIT;
    for (size_t i = 0; i < versions->len; i++) buf_printf(&text, "%s%s", i ? "," : "[", go_quote(errs->arena, versions->items[i]));
    field_invalid_raw(errs, at, arena_printf(errs->arena, "%s]", text.data), "must include at least one of v1, v1beta1");
    buf_release(&text);
}

static void validate_client(const struct apiextensionsv1_WebhookClientConfig *c, bool trust, const struct field_path *at, struct field_errors *errs) {
    if (!c) {
        field_required(errs, at, "required when strategy is set to Webhook");
        return;
    }
    if ((c->url == NULL) == (c->service == NULL)) field_required(errs, at, "exactly one of url or service is required");
    else if (c->url) check_webhook_url(errs, FIELD(at, "url"), c->url);
    else check_webhook_service(errs, FIELD(at, "service"), c->service->namespace, c->service->name, c->service->path, c->service->port.value);
    if (c->caBundle.len && !trust) check_ca_bundle(errs, FIELD(at, "caBundle"), &c->caBundle);
}

static bool established(const struct apiextensionsv1_CustomResourceDefinition *crd) {
    LIST_FOREACH(c, &crd->status.conditions)
        if (str_eq(c->type, "Established")) return str_eq(c->status, "True");
    return false;
}

/* An invalid bundle stays allowed where there was one, and until the resource is served. */
static bool invalid_bundle_allowed(struct arena *a, const struct apiextensionsv1_CustomResourceDefinition *old) {
    struct field_errors errs = field_errors_in(a);
    const struct apiextensionsv1_CustomResourceConversion *c = old->spec.conversion;
    if (!established(old)) return true;
    if (!c || !c->webhook || !c->webhook->clientConfig || !c->webhook->clientConfig->caBundle.len) return false;
    check_ca_bundle(&errs, NULL, &c->webhook->clientConfig->caBundle);
    return errs.len > 0;
}

static void validate_conversion(const struct apiextensionsv1_CustomResourceConversion *c, bool trust, const struct field_path *at, struct field_errors *errs) {
    static const char *const strategies[] = {"None", "Webhook", NULL};
    if (!c) return;
    if (str_empty(c->strategy)) field_required(errs, FIELD(at, "strategy"), "%s", "");
    else if (!str_in(c->strategy, strategies)) field_not_supported(errs, FIELD(at, "strategy"), c->strategy, strategies);
    if (str_eq(c->strategy, "Webhook")) {
        validate_client(c->webhook ? c->webhook->clientConfig : NULL, trust, FIELD(at, "webhookClientConfig"), errs);
        validate_review_versions(c->webhook ? &c->webhook->conversionReviewVersions : &(struct string_list){0}, FIELD(at, "conversionReviewVersions"), errs);
        return;
    }
    if (c->webhook && c->webhook->clientConfig) field_forbidden(errs, FIELD(at, "webhookClientConfig"), "should not be set when strategy is not set to Webhook");
    if (c->webhook && c->webhook->conversionReviewVersions.len) field_forbidden(errs, FIELD(at, "conversionReviewVersions"), "should not be set when strategy is not set to Webhook");
}

/* ---- the whole ---- */

static void validate_group(const char *group, const struct field_path *at, struct field_errors *errs) {
    struct string_list msgs = {0};
    if (str_empty(group)) {
        field_required(errs, at, "%s", "");
        return;
    }
    name_dns1123_subdomain(errs->arena, group, &msgs);
    if (msgs.len) field_invalid(errs, at, group, "%s%s%s", msgs.items[0], msgs.len > 1 ? "," : "", msgs.len > 1 ? msgs.items[1] : "");
    else if (!strchr(group, '.')) field_invalid(errs, at, group, "should be a domain with at least one dot");
}

static void require_names(const struct apiextensionsv1_CustomResourceDefinitionNames *n, const struct field_path *at, struct field_errors *errs) {
    if (str_empty(n->plural)) field_required(errs, FIELD(at, "plural"), "%s", "");
    if (str_empty(n->singular)) field_required(errs, FIELD(at, "singular"), "%s", "");
    if (str_empty(n->kind)) field_required(errs, FIELD(at, "kind"), "%s", "");
    if (str_empty(n->listKind)) field_required(errs, FIELD(at, "listKind"), "%s", "");
}

static void note_default(void *arg, const struct structural *s) { *(bool *)arg |= s->default_ != NULL; }

static bool has_defaults(struct arena *a, const struct apiextensionsv1_CustomResourceDefinitionSpec *s) {
    bool found = false;
    struct structural *schema;
    LIST_FOREACH(v, &s->versions)
        if (v->schema && v->schema->openAPIV3Schema && structural_new(a, v->schema->openAPIV3Schema, &schema, NULL) == 0) structural_walk(schema, note_default, &found);
    return found;
}

/* `trust`: certificates of a webhook that cannot be read are let pass. */
static void validate_spec(const struct apiextensionsv1_CustomResourceDefinitionSpec *s, const struct apiextensionsv1_CustomResourceDefinitionSpec *old, bool trust, const struct field_path *at, struct field_errors *errs) {
    static const char *const scopes[] = {"Cluster", "Namespaced", NULL};
    struct shared_parts shared = find_shared(s);
    version_ptr first = s->versions.len ? &s->versions.items[0] : NULL;
    shared.old = old;
    bool any_status = false;
    validate_group(s->group, FIELD(at, "group"), errs);
    if (str_empty(s->scope)) field_required(errs, FIELD(at, "scope"), "%s", "");
    else if (!str_in(s->scope, scopes)) field_not_supported(errs, FIELD(at, "scope"), s->scope, scopes);
    LIST_FOREACH(v, &s->versions) {
        any_status |= status_enabled(v);
        if (!v->schema || !v->schema->openAPIV3Schema) field_required(errs, FIELD(FIELD(FIELD_INDEX(FIELD(at, "versions"), (size_t)(v - s->versions.items)), "schema"), "openAPIV3Schema"), "%s", "");
    }
    validate_versions(s, &shared, at, errs);
    require_names(&s->names, FIELD(at, "names"), errs);
    validate_names(&s->names, FIELD(at, "names"), errs);
    if (first && shared.schema) validate_schema(first, &shared, any_status, FIELD(at, "validation"), errs);
    if (first && shared.subresources) validate_subresources(first->subresources, FIELD(at, "subresources"), errs);
    if (first && shared.columns) validate_columns(first, FIELD(at, "additionalPrinterColumns"), errs);
    if (first && shared.selectable) validate_selectable(first, shared.schema && first->schema ? NULL : "may only be set when validations.schema is included", FIELD(at, "selectableFields"), errs);
    if (s->preserveUnknownFields && has_defaults(errs->arena, s)) field_invalid_bool(errs, FIELD(at, "preserveUnknownFields"), true, "must be false in order to use defaults in the schema");
    if (s->preserveUnknownFields && s->conversion && !str_eq(s->conversion->strategy, "None"))
        field_invalid(errs, FIELD(FIELD(at, "conversion"), "strategy"), str_or(s->conversion->strategy, ""), "must be None if spec.preserveUnknownFields is true");
    validate_conversion(s->conversion, trust, FIELD(at, "conversion"), errs);
}

static void validate_stored_versions(const struct apiextensionsv1_CustomResourceDefinition *crd, const struct field_path *at, struct field_errors *errs) {
    const struct string_list *stored = &crd->status.storedVersions;
    if (!stored->len) {
        field_invalid_raw(errs, at, "null", "must have at least one stored version");
        return;
    }
    LIST_FOREACH(v, &crd->spec.versions)
        if (v->storage && !string_list_has(stored, v->name)) field_invalid_raw(errs, at, string_list_json_text(errs->arena, stored), "must have the storage version %s", v->name);
    for (size_t i = 0; i < stored->len; i++) {
        bool there = false;
        LIST_FOREACH(v, &crd->spec.versions) there |= str_eq(v->name, stored->items[i]);
        const char *s = stored->items[i];
        if (!there) field_invalid(errs, FIELD_INDEX(at, i), s, "missing from spec.versions; %s was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in %s and removes %s from status.storedVersions", s, s, s);
    }
}

static bool is_protected(const char *group) {
    return str_eq(group, "k8s.io") || str_eq(group, "kubernetes.io") || str_has_suffix(str_or(group, ""), ".k8s.io") || str_has_suffix(str_or(group, ""), ".kubernetes.io");
}

enum approval { APPROVAL_MISSING, APPROVAL_BYPASSED, APPROVED, APPROVAL_INVALID };

/* GetAPIApprovalState */
static enum approval approval_of(const struct apiextensionsv1_CustomResourceDefinition *crd) {
    const char *value = str_or(string_map_get(&crd->metadata.annotations, APPROVAL), ""), *host = strstr(value, "://");
    if (!*value) return APPROVAL_MISSING;
    if (str_has_prefix(value, "unapproved")) return APPROVAL_BYPASSED;
    return host && host != value && host[3] && !strchr("/?#", host[3]) ? APPROVED : APPROVAL_INVALID;
}

static void validate_approval(const struct apiextensionsv1_CustomResourceDefinition *crd, const struct apiextensionsv1_CustomResourceDefinition *old, struct field_errors *errs) {
    const struct field_path *at = FIELD_KEY(FIELD(FIELD(NULL, "metadata"), "annotations"), APPROVAL);
    enum approval state = approval_of(crd);
    if (!is_protected(crd->spec.group) || (old && approval_of(old) == state)) return;
    if (state == APPROVAL_MISSING) field_required(errs, at, "protected groups must have approval annotation \"" APPROVAL "\", " ENHANCEMENT);
    else if (state == APPROVAL_INVALID)
        field_invalid(errs, at, string_map_get(&crd->metadata.annotations, APPROVAL), "protected groups must have approval annotation \"" APPROVAL "\" with either a URL or a reason starting with \"unapproved\", " ENHANCEMENT);
}

static void validate_common(const struct apiextensionsv1_CustomResourceDefinition *crd, const struct apiextensionsv1_CustomResourceDefinition *old, struct field_errors *errs) {
    validate_names(&crd->status.acceptedNames, FIELD(FIELD(NULL, "status"), "acceptedNames"), errs);
    validate_stored_versions(crd, FIELD(FIELD(NULL, "status"), "storedVersions"), errs);
    validate_approval(crd, old, errs);
    if (crd->spec.preserveUnknownFields && !(old && old->spec.preserveUnknownFields))
        field_invalid_bool(errs, FIELD(FIELD(NULL, "spec"), "preserveUnknownFields"), true, "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead");
}

void validate_custom_resource_definition(const void *obj, struct field_errors *errs) {
    const struct apiextensionsv1_CustomResourceDefinition *crd = obj;
    const char *want = arena_printf(errs->arena, "%s.%s", str_or(crd->spec.names.plural, ""), str_or(crd->spec.group, ""));
    if (!str_empty(crd->metadata.generateName) && !str_eq(crd->metadata.generateName, want)) field_invalid(errs, FIELD(FIELD(NULL, "metadata"), "generateName"), crd->metadata.generateName, "must be spec.names.plural+\".\"+spec.group");
    if (!str_empty(crd->metadata.name) && !str_eq(crd->metadata.name, want)) field_invalid(errs, FIELD(FIELD(NULL, "metadata"), "name"), crd->metadata.name, "must be spec.names.plural+\".\"+spec.group");
    validate_spec(&crd->spec, NULL, true, FIELD(NULL, "spec"), errs);
    validate_common(crd, NULL, errs);
}

static void immutable(const char *value, const char *old, const struct field_path *at, struct field_errors *errs) { validate_immutable(str_eq(value, old), go_quote(errs->arena, str_or(value, "")), at, errs); }

void validate_custom_resource_definition_update(const void *obj, const void *old_obj, struct field_errors *errs) {
    const struct apiextensionsv1_CustomResourceDefinition *crd = obj, *old = old_obj;
    const struct field_path *spec = FIELD(NULL, "spec"), *names = FIELD(spec, "names");
    validate_spec(&crd->spec, &old->spec, invalid_bundle_allowed(errs->arena, old), spec, errs);
    if (established(old)) {
        immutable(crd->spec.scope, old->spec.scope, FIELD(spec, "scope"), errs);
        immutable(crd->spec.names.kind, old->spec.names.kind, FIELD(names, "kind"), errs);
    }
    immutable(crd->spec.group, old->spec.group, FIELD(spec, "group"), errs);
    immutable(crd->spec.names.plural, old->spec.names.plural, FIELD(names, "plural"), errs);
    validate_common(crd, old, errs);
}

void validate_custom_resource_definition_status_update(const void *obj, const void *old UNUSED, struct field_errors *errs) {
    const struct apiextensionsv1_CustomResourceDefinition *crd = obj;
    validate_names(&crd->status.acceptedNames, FIELD(FIELD(NULL, "status"), "acceptedNames"), errs);
}
