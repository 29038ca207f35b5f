/* An audit policy and a request: refused with a reason, or a decision that is one of the policy's own. Input: the policy (YAML or JSON), then, each behind a NUL: the user, a group, the verb,
 * the namespace, the API group, the resource, the subresource and the name, or (when the resource is empty) the path. */
#include <stdint.h>
#include <string.h>
#include "apiserver/audit.h"
#include "base/str.h"

enum { USER, GROUP, VERB, NAMESPACE, API_GROUP, RESOURCE, SUBRESOURCE, NAME, WORDS };

static void check(const struct audit_policy *p, const struct authz_attributes *at) {
    struct audit_decision d = audit_policy_decide(p, at), again = audit_policy_decide(p, at);
    CHECK(d.level <= AUDIT_REQUEST_RESPONSE && d.omit_stages < 1u << (AUDIT_PANIC + 1));
    CHECK(d.level == again.level && d.omit_stages == again.omit_stages && d.omit_managed_fields == again.omit_managed_fields);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_status_ struct status st = STATUS_INIT;
    const char *words[WORDS] = {0}, *p = memchr(data, 0, size), *stop = (const char *)data + size;
    size_t len = p ? (size_t)(p - (const char *)data) : size;
    for (size_t i = 0; i < WORDS && p; i++) {
        const char *end = memchr(p + 1, 0, (size_t)(stop - p - 1));
        words[i] = arena_strndup(a, p + 1, (size_t)((end ? end : stop) - p - 1));
        p = end;
    }
    struct audit_policy *policy = audit_policy_parse((const char *)data, len, &st);
    if (!policy) {
        CHECK(*status_message(&st));
        return 0;
    }
    struct user_info user = {.name = words[USER]}, nobody = {0};
    if (words[GROUP]) string_list_push(a, &user.groups, words[GROUP]);
    struct authz_attributes of_words = {.user = &user, .resource_request = !str_empty(words[RESOURCE]), .verb = words[VERB], .namespace = words[NAMESPACE], .group = words[API_GROUP], .resource = words[RESOURCE],
        .subresource = words[SUBRESOURCE], .name = words[NAME], .path = str_empty(words[RESOURCE]) ? words[NAME] : NULL};
    struct authz_attributes pods = {.user = &nobody, .resource_request = true, .verb = "get", .namespace = "default", .resource = "pods", .subresource = "log", .name = "p"}, empty = {.user = &nobody};
    check(policy, &of_words);
    check(policy, &pods);
    check(policy, &empty);
    audit_policy_free(policy);
    return 0;
}
