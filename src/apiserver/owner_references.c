/* Owner references that come twice: once is enough, and the client is told. Upstream: handlers/rest.go. */
#include "apiserver/handlers.h"
#include "base/str.h"

static bool seen(const struct metav1_OwnerReference *refs, size_t n, const struct metav1_OwnerReference *ref) {
    for (size_t i = 0; i < n; i++)
        if (str_eq(refs[i].uid, ref->uid) && object_equal(&metav1_OwnerReference_desc, &refs[i], ref)) return true;
    return false;
}

void dedup_owner_references(struct api_request *r, struct object *obj, bool after_admission) {
    struct metav1_OwnerReference_list *refs = &obj->metadata.ownerReferences;
    size_t kept = 0;
    if (refs->len < 2) return;
    _cleanup_buf_ struct buf uids = BUF_INIT;
    for (size_t i = 0; i < refs->len; i++) {
        if (seen(refs->items, kept, &refs->items[i])) buf_printf(&uids, "%s%s", uids.len ? ", " : "", str_or(refs->items[i].uid, ""));
        else refs->items[kept++] = refs->items[i];
    }
    if (kept == refs->len) return;
    refs->len = kept;
    request_warn(r, ".metadata.ownerReferences contains duplicate entries%s; API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: %s",
                 after_admission ? " after mutating admission happens" : "", buf_cstr(&uids));
}
