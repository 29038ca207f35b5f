/* The garbage collector's graph, change by change. Upstream's cases: garbagecollector_test.go TestProcessEvent, TestConflictingData. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include "base/buf.h"
#include "base/str.h"
#include "controller/garbage_graph.h"

static struct buf told;

static void tell(void *data UNUSED, const char *uid) { buf_printf(&told, "d:%s ", uid); }
static void tell_later(void *data UNUSED, const char *uid) { buf_printf(&told, "l:%s ", uid); }
static void tell_orphan(void *data UNUSED, const char *uid) { buf_printf(&told, "o:%s ", uid); }
static void tell_namespace(void *data UNUSED, const struct gc_identity *d, const struct gc_identity *o) { buf_printf(&told, "ns:%s->%s ", d->uid, o->uid); }

struct step {
    /* "+uid ns kind owner,owner! finalizer" sets (an owner with ! blocks, with / and a kind has another kind); "-uid ns kind" deletes; "?uid ns kind" does not exist */
    const char *what, *told;
};

static void play(struct gc_graph *g, struct arena *a, const char *what) {
    char uid[32] = "", ns[32] = "", kind[32] = "", owners[96] = "", fin[64] = "";
    sscanf(what + 1, "%31s %31s %31s %95s %63s", uid, ns, kind, owners, fin);
    struct object o = {.metadata = {.uid = uid, .name = uid, .namespace = str_eq(ns, "-") ? NULL : ns}};
    struct gc_identity id = {"v1", kind, o.metadata.namespace, uid, uid};
    char *save = NULL;
    for (char *p = strtok_r(owners, ",", &save); p; p = strtok_r(NULL, ",", &save)) {
        if (str_eq(p, "-")) continue;
        bool blocks = str_has_suffix(p, "!");
        if (blocks) p[strlen(p) - 1] = 0;
        char *slash = strchr(p, '/');
        if (slash) *slash = 0;
        *LIST_PUSH(a, &o.metadata.ownerReferences) = (struct metav1_OwnerReference){.apiVersion = "v1", .kind = slash ? slash + 1 : "K", .name = p, .uid = p, .blockOwnerDeletion = {blocks, blocks}};
    }
    if (*fin) {
        o.metadata.deletionTimestamp.set = true;
        string_list_push(a, &o.metadata.finalizers, fin);
    }
    if (*what == '+') gc_graph_set(g, g, "v1", kind, &o);
    else if (*what == '-') gc_graph_delete(g, &id);
    else gc_graph_virtual_delete(g, &id);
}

static void changes_are_told(void **state UNUSED) {
    static const struct step cases[][8] = {
        {{"+child n K owner", "d:owner "}, {"+owner n K -", ""}, {"-owner n K", "d:child "}},
        {{"+child n K owner", "d:owner "}, {"?owner n K", "d:child "}, {"-child n K", ""}},
        /* foreground: the dependents, then itself; each that goes wakes it */
        {{"+owner n K -", ""}, {"+child n K owner!", ""}, {"+owner n K - foregroundDeletion", "d:child d:owner "}, {"-child n K", "d:owner "}},
        {{"+owner n K -", ""}, {"+child n K owner!", ""}, {"+child n K owner", "d:owner "}},
        {{"+owner n K -", ""}, {"+child n K owner!", ""}, {"+child n K -", "d:owner "}},
        {{"+owner n K -", ""}, {"+owner n K - orphan", "o:owner "}, {"+owner n K - orphan", ""}},
        /* another namespace: told as soon as the owner has been seen, whichever comes first */
        {{"+owner a K -", ""}, {"+child b K owner", "ns:child->owner d:child "}},
        {{"+child b K owner", "d:owner "}, {"+owner a K -", "ns:child->owner d:child "}},
        {{"+owner - K -", ""}, {"+child b K owner", ""}},
        /* two that call the owner differently: what does not exist falls, what may exist is looked for */
        {{"+one n K owner", "d:owner "}, {"+two n K owner/L", "d:two "}, {"?owner n K", "d:one l:owner "}, {"?owner n L", "d:two l:owner "}},
        {{"+one n K owner", "d:owner "}, {"+two n K owner/L", "d:two "}, {"+owner n L -", "d:one "}, {"?owner n K", "d:one "}, {"-owner n L", "d:two d:one "}},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct gc_graph *g = gc_graph_new(&(struct gc_graph_callbacks){NULL, tell, tell_later, tell_orphan, tell_namespace});
        struct arena *a = arena_new();
        for (size_t j = 0; j < ARRAY_LEN(cases[i]) && cases[i][j].what; j++) {
            buf_clear(&told);
            play(g, a, cases[i][j].what);
            if (!str_eq(buf_cstr(&told), cases[i][j].told)) fail_msg("case %zu, %s: wanted \"%s\", told \"%s\"", i, cases[i][j].what, cases[i][j].told, buf_cstr(&told));
        }
        arena_free(a);
        gc_graph_free(g);
    }
    buf_release(&told);
}

static void a_new_list_drops_what_is_not_in_it(void **state UNUSED) {
    struct gc_graph *g = gc_graph_new(&(struct gc_graph_callbacks){NULL, tell, tell_later, tell_orphan, tell_namespace});
    struct arena *a = arena_new();
    gc_graph_replace_begin(g, g);
    play(g, a, "+one n K -");
    play(g, a, "+two n K one");
    gc_graph_replace_end(g, g);
    play(g, a, "+three n K one");
    assert_int_equal(gc_graph_len(g), 3);
    buf_clear(&told);
    gc_graph_replace_begin(g, g);
    play(g, a, "+three n K one");
    gc_graph_replace_end(g, g);
    assert_int_equal(gc_graph_len(g), 1);
    if (!strstr(buf_cstr(&told), "d:three ")) fail_msg("told %s", buf_cstr(&told));
    buf_release(&told);
    arena_free(a);
    gc_graph_free(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(changes_are_told), cmocka_unit_test(a_new_list_drops_what_is_not_in_it)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
