/* Dynamic resources: which devices a claim gets on which node, one rule a row; then a claim's way through a scheduler, from the choice to the write and back. */
#include "api/resource_claim.h"
#include "scheduler/devices.h"
#include "scheduler_testing.h"

/* ' stands for ", and ` for the ' of expressions. */
static const char *quoted(const char *s) {
    char *copy = arena_strdup(arena, s);
    for (char *p = copy; *p; p++)
        *p = *p == '\'' ? '"' : *p == '`' ? '\'' : *p;
    return copy;
}
static void object(struct scheduler_cache *c, const struct type_desc *type, const char *json) { cluster_object(c, type, quoted(json)); }
static void slice(struct scheduler_cache *c, const char *name, const char *pool, const char *where, const char *devices) {
    object(c, &resourcev1_ResourceSlice_desc, arena_printf(arena, "{'metadata':{'name':'%s'},'spec':{'driver':'dra.io','pool':{'name':'%s','generation':1,'resourceSliceCount':1},%s,'devices':[%s]}}",
                                                           name, pool, where, devices));
}
static void class(struct scheduler_cache *c, const char *name, const char *spec) {
    object(c, &resourcev1_DeviceClass_desc, arena_printf(arena, "{'metadata':{'name':'%s'},'spec':{%s}}", name, spec));
}
static void claim_of(struct scheduler_cache *c, const char *name, const char *version, const char *devices, const char *status) {
    object(c, &resourcev1_ResourceClaim_desc, arena_printf(arena, "{'metadata':{'name':'%s','namespace':'default','uid':'u-%s','resourceVersion':'%s'},'spec':{'devices':{%s}},'status':{%s}}",
                                                           name, name, version, devices, status));
}
static const struct corev1_Pod *user(const char *pod_name, const char *claim) {
    return pod(pod_name, quoted(arena_printf(arena, "'containers':[{'name':'c'}],'resourceClaims':[{'name':'r','resourceClaimName':'%s'}]", claim)));
}

#define EXACTLY(name, more) "{'name':'" name "','exactly':{'deviceClassName':'any','allocationMode':'ExactCount','count':1" more "}}"
#define COUNT(name, n) "{'name':'" name "','exactly':{'deviceClassName':'any','allocationMode':'ExactCount','count':" n "}}"
#define CEL(text) ",'selectors':[{'cel':{'expression':'" text "'}}]"
#define ALLOCATED(driver_pool_device) "'allocation':{'devices':{'results':[{'request':'r'," driver_pool_device "}]}}"
#define D(pool, device) "'driver':'dra.io','pool':'" pool "','device':'" device "'"

/* What preemption says besides is tested elsewhere. */
static void check(struct schedule_result *r, const char *what, const char *fits, const char *says) {
    char *more = r->message ? strstr(arena_strdup(arena, r->message), ", preemption:") : NULL;
    if (more) r->message = arena_strndup(arena, r->message, strlen(r->message) - strlen(more));
    if (!r->node == !!fits) print_message("row: %s\n", what);
    assert_result(r, fits, says);
}

/* n1: two small devices, one of them of another brand; n2: a large one and a tainted one; both: a device on the network that shares counters and one that can be shared. */
static struct scheduler_cache *cluster(void) {
    struct scheduler_cache *c = cache_new();
    cluster_node(c, node("n1", quoted("'zone':'a'"), ""));
    cluster_node(c, node("n2", quoted("'zone':'b'"), ""));
    class(c, "any", "");
    class(c, "large", "'selectors':[{'cel':{'expression':'device.capacity[`dra.io`].memory.compareTo(quantity(`16Gi`)) >= 0'}}],"
                      "'config':[{'opaque':{'driver':'dra.io','parameters':{'a':1}}}]");
    slice(c, "s1", "p1", "'nodeName':'n1'",
          "{'name':'d0','attributes':{'brand':{'string':'x'},'numa':{'int':0},'version':{'version':'1.2.3'}},'capacity':{'memory':{'value':'8Gi'}}},"
          "{'name':'d1','attributes':{'brand':{'string':'y'},'numa':{'int':0},'version':{'version':'2.0.0'}},'capacity':{'memory':{'value':'8Gi'}}}");
    slice(c, "s2", "p2", "'nodeName':'n2'",
          "{'name':'d0','attributes':{'brand':{'string':'x'},'numa':{'int':1},'version':{'version':'1.2.3'}},'capacity':{'memory':{'value':'16Gi'}}},"
          "{'name':'d1','attributes':{'brand':{'string':'x'},'numa':{'int':2},'version':{'version':'1.2.3'}},'capacity':{'memory':{'value':'8Gi'}},"
          "'taints':[{'key':'sick','value':'very','effect':'NoSchedule'}]}");
    return c;
}

static void a_claim_gets_devices_where_they_are(void **state UNUSED) {
    static const struct { const char *what, *devices, *fits, *says; } rows[] = {
        {"any device", "'requests':[" EXACTLY("r", "") "]", "n1|n2", NULL},
        {"two devices: one of n2's is tainted", "'requests':[" COUNT("r", "2") "]", "n1", NULL},
        {"three are nowhere", "'requests':[" COUNT("r", "3") "]", NULL, "0/2 nodes are available: 2 cannot allocate all claims. still not schedulable"},
        {"two requests take two devices", "'requests':[" EXACTLY("r", "") "," EXACTLY("q", "") "]", "n1", NULL},
        {"a class's selector", "'requests':[{'name':'r','exactly':{'deviceClassName':'large','allocationMode':'ExactCount','count':1}}]", "n2", NULL},
        {"a request's selector", "'requests':[" EXACTLY("r", CEL("device.attributes[`dra.io`].brand == `y`")) "]", "n1", NULL},
        {"of a version", "'requests':[" EXACTLY("r", CEL("device.attributes[`dra.io`].version.isGreaterThan(semver(`1.9.0`))")) "]", "n1", NULL},
        {"of a driver", "'requests':[" EXACTLY("r", CEL("device.driver == `other.io`")) "]", NULL, "0/2 nodes are available: 2 cannot allocate all claims. still not schedulable"},
        {"a domain that no attribute has is an empty map", "'requests':[" EXACTLY("r", CEL("`x` in device.attributes[`other.io`]")) "]", NULL,
         "0/2 nodes are available: 2 cannot allocate all claims. still not schedulable"},
        {"an attribute that is not there is an error of the claim", "'requests':[" EXACTLY("r", CEL("device.attributes[`dra.io`].color == `x`")) "]", NULL,
         "running \"DynamicResources\" filter plugin: claim default/c: selector #0: CEL runtime error: no such key: color"},
        {"all devices of a brand; on n1 one, on n2 one is tainted", "'requests':[{'name':'r','exactly':{'deviceClassName':'any','allocationMode':'All','selectors':[{'cel':{'expression':"
         "'device.attributes[`dra.io`].brand == `x`'}}]}}]", "n1", NULL},
        {"a toleration of the taint", "'requests':[{'name':'r','exactly':{'deviceClassName':'any','allocationMode':'ExactCount','count':2,'tolerations':[{'key':'sick','operator':'Exists'}],"
         "'selectors':[{'cel':{'expression':'device.attributes[`dra.io`].brand == `x`'}}]}}]", "n2", NULL},
        {"a toleration of another value", "'requests':[{'name':'r','exactly':{'deviceClassName':'any','allocationMode':'ExactCount','count':2,'tolerations':[{'key':'sick','operator':'Equal',"
         "'value':'little'}],'selectors':[{'cel':{'expression':'device.attributes[`dra.io`].brand == `x`'}}]}}]", NULL, "0/2 nodes are available: 2 cannot allocate all claims. still not schedulable"},
        {"equal attributes", "'requests':[" COUNT("r", "2") "],'constraints':[{'matchAttribute':'dra.io/numa'}]", "n1", NULL},
        {"equal attributes that differ", "'requests':[" COUNT("r", "2") "],'constraints':[{'matchAttribute':'dra.io/brand'}]", NULL,
         "0/2 nodes are available: 2 cannot allocate all claims. still not schedulable"},
        {"a constraint on another request only", "'requests':[" EXACTLY("r", "") "," EXACTLY("q", "") "],'constraints':[{'requests':['q'],'matchAttribute':'dra.io/brand'}]", "n1", NULL},
        {"an attribute that none has", "'requests':[" EXACTLY("r", "") "],'constraints':[{'matchAttribute':'dra.io/none'}]", NULL,
         "0/2 nodes are available: 2 cannot allocate all claims. still not schedulable"},
        {"different attributes", "'requests':[" COUNT("r", "2") "],'constraints':[{'distinctAttribute':'dra.io/brand'}]", "n1", NULL},
        {"different attributes that are equal", "'requests':[" COUNT("r", "2") "],'constraints':[{'distinctAttribute':'dra.io/numa'}]", NULL,
         "0/2 nodes are available: 2 cannot allocate all claims. still not schedulable"},
        {"the first alternative that fits: no node has three, n1 has two", "'requests':[{'name':'r','firstAvailable':[{'name':'three','deviceClassName':'any','allocationMode':'ExactCount','count':3},"
         "{'name':'two','deviceClassName':'any','allocationMode':'ExactCount','count':2}]}]", "n1", NULL},
        {"an early alternative scores more", "'requests':[{'name':'r','firstAvailable':[{'name':'large','deviceClassName':'large','allocationMode':'ExactCount','count':1},"
         "{'name':'small','deviceClassName':'any','allocationMode':'ExactCount','count':1}]}]", "n2", NULL},
        {"more than a claim may have", "'requests':[" COUNT("r", "33") "]", NULL,
         "running \"DynamicResources\" filter plugin: claim default/c: number of requested devices 33 exceeds the claim limit of 32"},
        {"a class that is not there", "'requests':[{'name':'r','exactly':{'deviceClassName':'none','allocationMode':'ExactCount','count':1}}]", NULL,
         "0/2 nodes are available: request r: device class none does not exist. no new claims to deallocate"},
        {"more than the device has", "'requests':[" EXACTLY("r", ",'capacity':{'requests':{'memory':'9Gi'}}") "]", "n2", NULL},
        {"a capacity that no device has", "'requests':[" EXACTLY("r", ",'capacity':{'requests':{'none':'1'}}") "]", NULL, "0/2 nodes are available: 2 cannot allocate all claims. still not schedulable"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct scheduler_cache *c = cluster();
        claim_of(c, "c", "1", rows[i].devices, "");
        struct schedule_result r = cycle_of(c, NULL, user("p", "c"));
        check(&r, rows[i].what, rows[i].fits, rows[i].says);
        cache_free(c);
    }
}

static void what_others_have_is_not_given_again(void **state UNUSED) {
    static const struct { const char *what, *status, *fits; } rows[] = {
        {"n2's only healthy device is taken", ALLOCATED(D("p2", "d0")), "n1"},
        {"with admin access nothing is taken", ALLOCATED(D("p2", "d0") ",'adminAccess':true"), "n2"},
        {"one of n1's is taken", ALLOCATED(D("p1", "d0")), "n1|n2"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct scheduler_cache *c = cluster();
        claim_of(c, "other", "1", "'requests':[" EXACTLY("r", "") "]", rows[i].status);
        const char *only_n2 = "'requests':[" EXACTLY("r", CEL("device.attributes[`dra.io`].numa == 1")) "]";
        claim_of(c, "c", "1", i == 1 ? only_n2 : "'requests':[" EXACTLY("r", "") "]", "");
        struct schedule_result r = cycle_of(c, NULL, user("p", "c"));
        assert_result(&r, rows[i].fits, rows[i].what);
        cache_free(c);
    }
    /* It is free again when the claim is deallocated, or goes. */
    for (int gone = 0; gone < 2; gone++) {
        struct scheduler_cache *c = cluster();
        claim_of(c, "other", "1", "'requests':[" EXACTLY("r", "") "]", ALLOCATED(D("p2", "d0")));
        claim_of(c, "c", "1", "'requests':[{'name':'r','exactly':{'deviceClassName':'large','allocationMode':'ExactCount','count':1}}]", "");
        struct schedule_result r = cycle_of(c, NULL, user("p", "c"));
        check(&r, "taken", NULL, "0/2 nodes are available: 2 cannot allocate all claims. still not schedulable");
        const void *old;
        if (gone) arena_free(cache_delete(c, &resourcev1_ResourceClaim_desc, "default", "other", &old));
        else claim_of(c, "other", "2", "'requests':[" EXACTLY("r", "") "]", "");
        r = cycle_of(c, NULL, user("p", "c"));
        assert_result(&r, "n2", "");
        cache_free(c);
    }
}

static void pools_have_rules_of_their_own(void **state UNUSED) {
    static const struct { const char *what, *slices[3], *devices, *fits, *says; } rows[] = {
        {"devices for all nodes", {"'pool':{'name':'p','generation':1,'resourceSliceCount':1},'allNodes':true,'devices':[{'name':'a'}]"}, "'requests':[" EXACTLY("r", "") "]", "n1|n2", NULL},
        {"devices for some", {"'pool':{'name':'p','generation':1,'resourceSliceCount':1},'nodeSelector':{'nodeSelectorTerms':[{'matchExpressions':[{'key':'zone','operator':'In','values':['b']}]}]},"
         "'devices':[{'name':'a'}]"}, "'requests':[" EXACTLY("r", "") "]", "n2", NULL},
        {"each device says where it is", {"'pool':{'name':'p','generation':1,'resourceSliceCount':1},'perDeviceNodeSelection':true,'devices':[{'name':'a','nodeName':'n2'}]"},
         "'requests':[" EXACTLY("r", "") "]", "n2", NULL},
        {"a pool that is being updated", {"'pool':{'name':'p','generation':1,'resourceSliceCount':2},'nodeName':'n1','devices':[{'name':'a'}]"}, "'requests':[" EXACTLY("r", "") "]", NULL,
         "0/2 nodes are available: 2 cannot allocate all claims. still not schedulable"},
        {"all of a pool that is being updated", {"'pool':{'name':'p','generation':1,'resourceSliceCount':2},'allNodes':true,'devices':[{'name':'a'}]"},
         "'requests':[{'name':'r','exactly':{'deviceClassName':'any','allocationMode':'All'}}]", NULL,
         "running \"DynamicResources\" filter plugin: claim default/c, request r: asks for all devices, but resource pool dra.io/p is currently being updated"},
        {"an old generation does not count", {"'pool':{'name':'p','generation':1,'resourceSliceCount':1},'nodeName':'n1','devices':[{'name':'a'}]",
         "'pool':{'name':'p','generation':2,'resourceSliceCount':1},'nodeName':'n1','devices':[{'name':'b'}]"}, "'requests':[" COUNT("r", "2") "]", NULL,
         "0/2 nodes are available: 2 cannot allocate all claims. still not schedulable"},
        {"two slices of one pool", {"'pool':{'name':'p','generation':1,'resourceSliceCount':2},'nodeName':'n1','devices':[{'name':'a'}]",
         "'pool':{'name':'p','generation':1,'resourceSliceCount':2},'nodeName':'n1','devices':[{'name':'b'}]"}, "'requests':[" COUNT("r", "2") "]", "n1", NULL},
        {"one name twice", {"'pool':{'name':'p','generation':1,'resourceSliceCount':2},'nodeName':'n1','devices':[{'name':'a'}]",
         "'pool':{'name':'p','generation':1,'resourceSliceCount':2},'nodeName':'n1','devices':[{'name':'a'}]"}, "'requests':[" EXACTLY("r", "") "]", NULL,
         "0/2 nodes are available: 1 cannot allocate all claims, 1 invalid resource pools were encountered. still not schedulable"},
        {"partitions that do not fit together", {"'pool':{'name':'p','generation':1,'resourceSliceCount':2},'nodeName':'n1','sharedCounters':[{'name':'g','counters':{'memory':{'value':'40Gi'}}}]",
         "'pool':{'name':'p','generation':1,'resourceSliceCount':2},'nodeName':'n1','devices':[{'name':'half','consumesCounters':[{'counterSet':'g','counters':{'memory':{'value':'20Gi'}}}]},"
         "{'name':'all','consumesCounters':[{'counterSet':'g','counters':{'memory':{'value':'40Gi'}}}]}]"}, "'requests':[" COUNT("r", "2") "]", NULL,
         "0/2 nodes are available: 2 cannot allocate all claims. still not schedulable"},
        {"partitions that do", {"'pool':{'name':'p','generation':1,'resourceSliceCount':2},'nodeName':'n1','sharedCounters':[{'name':'g','counters':{'memory':{'value':'40Gi'}}}]",
         "'pool':{'name':'p','generation':1,'resourceSliceCount':2},'nodeName':'n1','devices':[{'name':'all','consumesCounters':[{'counterSet':'g','counters':{'memory':{'value':'40Gi'}}}]},"
         "{'name':'h1','consumesCounters':[{'counterSet':'g','counters':{'memory':{'value':'20Gi'}}}]},{'name':'h2','consumesCounters':[{'counterSet':'g','counters':{'memory':{'value':'20Gi'}}}]}]"},
         "'requests':[" COUNT("r", "2") "]", "n1", NULL},
        {"shares of one device", {"'pool':{'name':'p','generation':1,'resourceSliceCount':1},'nodeName':'n1','devices':[{'name':'net','allowMultipleAllocations':true,'capacity':{'bw':{'value':'10',"
         "'requestPolicy':{'default':'1','validRange':{'min':'1','step':'4'}}}}}]"}, "'requests':[" EXACTLY("r", ",'capacity':{'requests':{'bw':'4'}}") "," EXACTLY("q", ",'capacity':{'requests':{'bw':'5'}}") "]",
         "n1", NULL}, /* 5 each, rounded up to the step */
        {"shares that are too many", {"'pool':{'name':'p','generation':1,'resourceSliceCount':1},'nodeName':'n1','devices':[{'name':'net','allowMultipleAllocations':true,'capacity':{'bw':{'value':'9',"
         "'requestPolicy':{'default':'1','validRange':{'min':'1','step':'4'}}}}}]"}, "'requests':[" EXACTLY("r", ",'capacity':{'requests':{'bw':'4'}}") "," EXACTLY("q", ",'capacity':{'requests':{'bw':'5'}}") "]",
         NULL, "0/2 nodes are available: 2 cannot allocate all claims. still not schedulable"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct scheduler_cache *c = cache_new();
        cluster_node(c, node("n1", quoted("'zone':'a'"), ""));
        cluster_node(c, node("n2", quoted("'zone':'b'"), ""));
        class(c, "any", "");
        for (int s = 0; rows[i].slices[s]; s++)
            object(c, &resourcev1_ResourceSlice_desc, arena_printf(arena, "{'metadata':{'name':'s%d'},'spec':{'driver':'dra.io',%s}}", s, rows[i].slices[s]));
        claim_of(c, "c", "1", rows[i].devices, "");
        struct schedule_result r = cycle_of(c, NULL, user("p", "c"));
        check(&r, rows[i].what, rows[i].fits, rows[i].says);
        cache_free(c);
    }
}

static void claims_that_have_devices_bind_their_pod_to_them(void **state UNUSED) {
    static const struct { const char *what, *status, *pod_claim, *fits, *says; } rows[] = {
        {"it can be used on n2 only", "'allocation':{'devices':{'results':[{'request':'r'," D("p2", "d0") "}]},'nodeSelector':{'nodeSelectorTerms':[{'matchFields':[{'key':'metadata.name',"
         "'operator':'In','values':['n2']}]}]}}", "'resourceClaimName':'c'", "n2", NULL},
        {"it can be used where no node is", "'allocation':{'devices':{'results':[{'request':'r'," D("p9", "d0") "}]},'nodeSelector':{'nodeSelectorTerms':[{'matchFields':[{'key':'metadata.name',"
         "'operator':'In','values':['n9']}]}]}}", "'resourceClaimName':'c'", NULL,
         "0/2 nodes are available: 2 resourceclaim not available on the node. deallocation of ResourceClaim completed"},
        {"the same, but another Pod uses it", "'reservedFor':[{'resource':'pods','name':'x','uid':'x'}],'allocation':{'devices':{'results':[{'request':'r'," D("p9", "d0") "}]},'nodeSelector':{"
         "'nodeSelectorTerms':[{'matchFields':[{'key':'metadata.name','operator':'In','values':['n9']}]}]}}", "'resourceClaimName':'c'", NULL,
         "0/2 nodes are available: 2 resourceclaim not available on the node. still not schedulable"},
        {"no such claim", "", "'resourceClaimName':'none'", NULL, "0/2 nodes are available: could not find ResourceClaim \"default/none\". no new claims to deallocate"},
        {"not made from its template yet", "", "'resourceClaimTemplateName':'t'", NULL, "0/2 nodes are available: pod \"default/p\": ResourceClaim not created yet. no new claims to deallocate"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct scheduler_cache *c = cluster();
        claim_of(c, "c", "1", "'requests':[" EXACTLY("r", "") "]", rows[i].status);
        struct schedule_result r = cycle_of(c, NULL, pod("p", quoted(arena_printf(arena, "'containers':[{'name':'c'}],'resourceClaims':[{'name':'r',%s}]", rows[i].pod_claim))));
        check(&r, rows[i].what, rows[i].fits, rows[i].says);
        assert_int_equal(r.deallocate != NULL, i == 1);
        cache_free(c);
    }
}

/* ---- with a scheduler ---- */

static struct scheduler *scheduler_with(const char *claims) {
    seen_reset();
    struct scheduler *s = scheduler_new(&fake_env, &seen_client, &(struct scheduler_config){0});
    scheduler_set_node(s, node("n1", "", ""));
    scheduler_set_object(s, &resourcev1_DeviceClass_desc, decode(&resourcev1_DeviceClass_desc, quoted("{'metadata':{'name':'any'},'spec':{'config':[{'opaque':{'driver':'dra.io','parameters':{'a':1}}}]}}")));
    scheduler_set_object(s, &resourcev1_ResourceSlice_desc, decode(&resourcev1_ResourceSlice_desc,
        quoted("{'metadata':{'name':'s'},'spec':{'driver':'dra.io','pool':{'name':'p','generation':1,'resourceSliceCount':1},'nodeName':'n1','devices':[{'name':'d0'}]}}")));
    for (const char *p = claims; *p; p++)
        scheduler_set_object(s, &resourcev1_ResourceClaim_desc, decode(&resourcev1_ResourceClaim_desc, quoted(arena_printf(arena,
            "{'metadata':{'name':'%c','namespace':'default','uid':'u-%c','resourceVersion':'1'},'spec':{'devices':{'requests':[" EXACTLY("r", "") "]}}}", *p, *p))));
    return s;
}

static void a_pods_claim_is_written_and_reserved(void **state UNUSED) {
    struct scheduler *s = scheduler_with("ab");
    seen.resource_claim_fail_code = 409; /* somebody else wrote to it: read and tried again */
    seen.resource_claim_fails = 1;
    seen.resource_claim = decode(&resourcev1_ResourceClaim_desc, quoted("{'metadata':{'name':'a','namespace':'default','uid':'u-a','resourceVersion':'2'},'spec':{'devices':{'requests':["
                                                                        EXACTLY("r", "") "]}}}"));
    scheduler_set_pod(s, user("p1", "a"));
    assert_true(scheduler_schedule_one(s, 0));
    assert_int_equal(seen.bound, 1);
    assert_int_equal(seen.resource_claims_put, 2); /* its finalizer, its status */
    const struct resourcev1_ResourceClaim *c = seen.resource_claim;
    assert_string_equal(c->metadata.finalizers.items[0], RESOURCE_CLAIM_FINALIZER);
    assert_string_equal(c->status.reservedFor.items[0].uid, "u-p1");
    const struct resourcev1_AllocationResult *got = c->status.allocation;
    assert_string_equal(got->devices.results.items[0].device, "d0");
    assert_string_equal(got->devices.results.items[0].request, "r");
    assert_string_equal(got->devices.config.items[0].source, "FromClass");
    assert_string_equal(got->nodeSelector->nodeSelectorTerms.items[0].matchFields.items[0].values.items[0], "n1");
    assert_true(got->allocationTimestamp.set);
    /* The API has not shown it yet, or shows an older state: the device counts as taken all the same. */
    for (int i = 0; i < 2; i++) {
        scheduler_set_pod(s, user(i ? "p3" : "p2", "b"));
        assert_true(scheduler_schedule_one(s, 0));
        assert_int_equal(seen.bound, 1);
        assert_true(str_has_prefix(seen.last_message, "0/1 nodes are available: 1 cannot allocate all claims. still not schedulable"));
        struct resourcev1_ResourceClaim *older = decode(&resourcev1_ResourceClaim_desc, quoted("{'metadata':{'name':'a','namespace':'default','uid':'u-a','resourceVersion':'1001'},'spec':{}}"));
        scheduler_set_object(s, &resourcev1_ResourceClaim_desc, older);
    }
    /* Then it does, and later the claim is given back: who waits for a device is woken. */
    scheduler_set_object(s, &resourcev1_ResourceClaim_desc, c);
    clock_ns += 20 * SECOND;
    assert_false(scheduler_schedule_one(s, 0));
    struct resourcev1_ResourceClaim *freed = object_copy(arena, &resourcev1_ResourceClaim_desc, c);
    freed->status = (struct resourcev1_ResourceClaimStatus){0};
    freed->metadata.resourceVersion = "2000";
    scheduler_set_object(s, &resourcev1_ResourceClaim_desc, freed);
    clock_ns += 20 * SECOND;
    assert_true(scheduler_schedule_one(s, 0));
    assert_int_equal(seen.bound, 2);
    scheduler_free(s);
}

static void what_is_not_written_is_given_back(void **state UNUSED) {
    struct scheduler *s = scheduler_with("ab");
    seen.resource_claim_fail_code = 500;
    seen.resource_claim_fails = 1;
    scheduler_set_pod(s, user("p1", "a"));
    assert_true(scheduler_schedule_one(s, 0));
    assert_int_equal(seen.bound, 0);
    assert_string_equal(seen.last_reason, "SchedulerError");
    assert_string_equal(seen.last_message, "running PreBind plugin \"DynamicResources\": add finalizer to claim default/a: no luck");
    scheduler_set_pod(s, user("p2", "b"));
    assert_true(scheduler_schedule_one(s, 0));
    assert_int_equal(seen.bound, 1);
    scheduler_free(s);
    /* Bound to nothing after all: the reservation that was written is taken back, the allocation stays. */
    s = scheduler_with("a");
    seen.fail_code = 500;
    scheduler_set_pod(s, user("p1", "a"));
    assert_true(scheduler_schedule_one(s, 0));
    assert_int_equal(seen.unreserved, 1);
    assert_int_equal(seen.resource_claims_put, 2);
    scheduler_free(s);
}

static void a_pod_waits_for_its_claim_without_being_tried(void **state UNUSED) {
    struct scheduler *s = scheduler_with("");
    scheduler_set_pod(s, user("p1", "a"));
    assert_int_equal(scheduler_queue_lengths(s).gated, 1);
    assert_int_equal(scheduler_queue_lengths(s).unschedulable, 0);
    assert_false(scheduler_schedule_one(s, 0));
    clock_ns += 400 * SECOND; /* long waiting alone does not help */
    assert_false(scheduler_schedule_one(s, 0));
    assert_int_equal(scheduler_queue_lengths(s).gated, 1);
    scheduler_set_object(s, &resourcev1_ResourceClaim_desc, decode(&resourcev1_ResourceClaim_desc,
        quoted("{'metadata':{'name':'other','namespace':'default','uid':'o'},'spec':{'devices':{'requests':[" EXACTLY("r", "") "]}}}")));
    assert_int_equal(scheduler_queue_lengths(s).gated, 1);
    scheduler_set_object(s, &resourcev1_ResourceClaim_desc, decode(&resourcev1_ResourceClaim_desc,
        quoted("{'metadata':{'name':'a','namespace':'default','uid':'u-a'},'spec':{'devices':{'requests':[" EXACTLY("r", "") "]}}}")));
    assert_int_equal(scheduler_queue_lengths(s).gated, 0);
    assert_true(scheduler_schedule_one(s, 0));
    assert_int_equal(seen.bound, 1);
    scheduler_free(s);
}

static void a_claim_elsewhere_is_deallocated(void **state UNUSED) {
    struct scheduler *s = scheduler_with("");
    scheduler_set_object(s, &resourcev1_ResourceClaim_desc, decode(&resourcev1_ResourceClaim_desc, quoted(
        "{'metadata':{'name':'a','namespace':'default','uid':'u-a','resourceVersion':'1'},'spec':{'devices':{'requests':[" EXACTLY("r", "") "]}},'status':{'allocation':{'devices':{'results':["
        "{'request':'r'," D("p9", "d") "}]},'nodeSelector':{'nodeSelectorTerms':[{'matchFields':[{'key':'metadata.name','operator':'In','values':['n9']}]}]}}}}")));
    scheduler_set_pod(s, user("p1", "a"));
    assert_true(scheduler_schedule_one(s, 0));
    assert_int_equal(seen.resource_claims_put, 1);
    assert_null(seen.resource_claim->status.allocation);
    scheduler_set_object(s, &resourcev1_ResourceClaim_desc, seen.resource_claim);
    clock_ns += 20 * SECOND;
    assert_true(scheduler_schedule_one(s, 0));
    assert_int_equal(seen.bound, 1);
    scheduler_free(s);
}

static void binding_conditions_are_waited_for(void **state UNUSED) {
    static const struct { const char *what, *conditions; int bound; const char *message; } rows[] = {
        {"ready", "{'type':'Ready','status':'True'}", 1, NULL},
        {"failed", "{'type':'Broken','status':'True','reason':'Fire','message':'it burns'}", 0,
         "running PreBind plugin \"DynamicResources\": device binding failed: claim=a, reason=Fire, message=\"it burns\""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct scheduler *s = scheduler_with("a");
        scheduler_set_object(s, &resourcev1_ResourceSlice_desc, decode(&resourcev1_ResourceSlice_desc, quoted(
            "{'metadata':{'name':'s'},'spec':{'driver':'dra.io','pool':{'name':'p','generation':2,'resourceSliceCount':1},'nodeName':'n1','devices':[{'name':'d0','bindingConditions':['Ready'],"
            "'bindingFailureConditions':['Broken']}]}}")));
        scheduler_set_pod(s, user("p1", "a"));
        assert_true(scheduler_schedule_one(s, 0));
        assert_int_equal(seen.bound, 0);
        assert_string_equal(seen.last_event, "Normal BindingConditionsPending waiting for binding conditions for device on node n1");
        scheduler_set_object(s, &resourcev1_ResourceClaim_desc, seen.resource_claim);
        assert_int_equal(scheduler_bind_waiting(s), 1);
        struct resourcev1_ResourceClaim *c = object_copy(arena, &resourcev1_ResourceClaim_desc, seen.resource_claim);
        struct resourcev1_ResourceClaim *more = decode(&resourcev1_ResourceClaim_desc,
            quoted(arena_printf(arena, "{'metadata':{'name':'a'},'spec':{},'status':{'devices':[{" D("p", "d0") ",'conditions':[%s]}]}}", rows[i].conditions)));
        c->status.devices = more->status.devices;
        c->metadata.resourceVersion = "3000";
        scheduler_set_object(s, &resourcev1_ResourceClaim_desc, c);
        assert_int_equal(scheduler_bind_waiting(s), 0);
        assert_int_equal(seen.bound, rows[i].bound);
        if (rows[i].message) assert_string_equal(seen.last_message, rows[i].message);
        scheduler_free(s);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_claim_gets_devices_where_they_are), TEST(what_others_have_is_not_given_again), TEST(pools_have_rules_of_their_own),
        TEST(claims_that_have_devices_bind_their_pod_to_them), TEST(a_pods_claim_is_written_and_reserved), TEST(what_is_not_written_is_given_back),
        TEST(a_pod_waits_for_its_claim_without_being_tried), TEST(a_claim_elsewhere_is_deallocated), TEST(binding_conditions_are_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
