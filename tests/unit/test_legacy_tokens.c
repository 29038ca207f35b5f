/* Tokens in Secrets: their use is written down, and those that nobody asked for and nobody uses go. */
#include "controller_test.h"
#include "wire/json.h"

#define SECRETS "/api/v1/namespaces/default/secrets"
#define ACCOUNT "/api/v1/namespaces/default/serviceaccounts/sa"
#define TRACKING "/api/v1/namespaces/kube-system/configmaps/kube-apiserver-legacy-service-account-token-tracking"
#define USED "metadata.labels.kubernetes|io/legacy-token-last-used"
#define INVALID "metadata.labels.kubernetes|io/legacy-token-invalid-since"
#define DAY_MS (86400 * 1000LL)
#define TOKENS "serviceaccount-token-controller"

static char *day(struct cluster *k, struct arena *a, int days) {
    char text[16];
    time_t t = (time_t)(env_now_s(&k->env) + days * 86400LL);
    struct tm tm;
    gmtime_r(&t, &tm);
    strftime(text, sizeof(text), "%Y-%m-%d", &tm);
    return arena_strdup(a, text);
}

static void make_token(struct cluster *k, const char *name) {
    _cleanup_arena_ struct arena *a = arena_new();
    cluster_create(k, arena_printf(a, "{'apiVersion':'v1','kind':'Secret','type':'kubernetes.io/service-account-token','metadata':{'name':'%s','namespace':'default','annotations':{'kubernetes.io/service-account.name':'sa'}}}", name));
    cluster_expect(k, arena_printf(a, SECRETS "/%s", name), "data.namespace", "ZGVmYXVsdA==");
}

static void make_account(struct cluster *k) { cluster_create(k, "{'apiVersion':'v1','kind':'ServiceAccount','metadata':{'name':'sa','namespace':'default'}}"); }

/* Asks whose the token is; the answer's status. */
static void review(struct cluster *k, const char *secret, struct buf *answer) {
    _cleanup_arena_ struct arena *a = arena_new();
    unsigned char *token;
    size_t len;
    char *text = cluster_get(k, a, arena_printf(a, SECRETS "/%s", secret), "data.token");
    assert_int_equal(base64_decode(a, text, strlen(text), &token, &len, NULL), 0);
    assert_int_equal(cluster_request(k, "POST", "/apis/authentication.k8s.io/v1/tokenreviews", "application/json",
        arena_printf(a, "{'apiVersion':'authentication.k8s.io/v1','kind':'TokenReview','spec':{'token':'%.*s'}}", (int)len, (const char *)token), answer, NULL), 0);
}

static void the_use_of_a_token_is_written_down(void **state UNUSED) {
    struct cluster *k = cluster_start(TOKENS);
    _cleanup_arena_ struct arena *a = arena_new();
    _cleanup_buf_ struct buf first = BUF_INIT, refused = BUF_INIT, again = BUF_INIT;
    make_account(k);
    make_token(k, "t");
    cluster_expect_still(k, SECRETS "/t", USED, "");
    const char *before = day(k, a, 0);
    review(k, "t", &first);
    assert_non_null(strstr(buf_cstr(&first), "\"username\":\"system:serviceaccount:default:sa\""));
    for (int waited = 0; str_empty(cluster_get(k, a, SECRETS "/t", USED)); waited += 5) {
        if (waited > CLUSTER_WAIT_MS) fail_msg("the use is not written down");
        env_sleep_ms(env_real(), 5);
    }
    const char *used = cluster_get(k, a, SECRETS "/t", USED);
    assert_true(str_eq(used, before) || str_eq(used, day(k, a, 0))); /* midnight may have come */
    cluster_patch(k, SECRETS "/t", "{'metadata':{'labels':{'kubernetes.io/legacy-token-invalid-since':'2026-01-02','kubernetes.io/legacy-token-last-used':'2026-01-01'}}}");
    review(k, "t", &refused);
    assert_null(strstr(buf_cstr(&refused), "\"authenticated\":true"));
    assert_non_null(strstr(buf_cstr(&refused), "the token in secret default/t for service account default/sa has been marked invalid. Use tokens from the TokenRequest API or manually created secret-based tokens, "
        "or remove the 'kubernetes.io/legacy-token-invalid-since' label from the secret to temporarily allow use of this token"));
    for (int waited = 0; str_eq(cluster_get(k, a, SECRETS "/t", USED), "2026-01-01"); waited += 5) { /* that somebody tried is written down too */
        if (waited > CLUSTER_WAIT_MS) fail_msg("the try is not written down");
        env_sleep_ms(env_real(), 5);
    }
    cluster_patch(k, SECRETS "/t", "{'metadata':{'labels':{'kubernetes.io/legacy-token-invalid-since':null}}}");
    review(k, "t", &again);
    assert_non_null(strstr(buf_cstr(&again), "\"authenticated\":true"));
    cluster_stop(k);
}

static bool is_today(struct cluster *k, struct arena *a, const char *day_before) {
    const char *since = cluster_get(k, a, TRACKING, "data.since");
    return str_eq(since, day_before) || str_eq(since, day(k, a, 0));
}

static void since_when_is_written_down(void **state UNUSED) {
    struct cluster *k = cluster_start(NULL);
    _cleanup_arena_ struct arena *a = arena_new();
    const char *before = day(k, a, 0);
    assert_true(is_today(k, a, day(k, a, -1)) || is_today(k, a, before));
    cluster_patch(k, TRACKING, "{'data':{'since':'2025-02-28'}}");
    cluster_expect_still(k, TRACKING, "data.since", "2025-02-28"); /* a day is left as it is */
    cluster_patch(k, TRACKING, "{'data':{'since':'2025-02-30'}}");
    for (int waited = 0; !is_today(k, a, before); waited += 5) {
        if (waited > CLUSTER_WAIT_MS) fail_msg("what is no day stays");
        env_sleep_ms(env_real(), 5);
    }
    cluster_delete(k, TRACKING, NULL);
    for (int waited = 0; !is_today(k, a, before); waited += 5) {
        if (waited > CLUSTER_WAIT_MS) fail_msg("it is not made again");
        env_sleep_ms(env_real(), 5);
    }
    cluster_stop(k);
}

static void what_nobody_uses_is_marked_and_then_deleted(void **state UNUSED) {
    struct cluster *k = cluster_start(TOKENS);
    _cleanup_arena_ struct arena *a = arena_new();
    static const char *const names[] = {"idle", "used", "mounted", "asked"};
    make_account(k);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) make_token(k, names[i]);
    cluster_patch(k, ACCOUNT, "{'secrets':[{'name':'idle'},{'name':'used'},{'name':'mounted'}]}"); /* "asked" was made by hand */
    cluster_create(k, "{'apiVersion':'v1','kind':'Pod','metadata':{'name':'p','namespace':'default'},'spec':{'containers':[{'name':'c','image':'i'}],'volumes':[{'name':'v','secret':{'secretName':'mounted'}}]}}");
    cluster_patch(k, TRACKING, arena_printf(a, "{'data':{'since':'%s'}}", day(k, a, -500)));
    k->controllers = arena_strdup(k->arena, TOKENS ",legacy-serviceaccount-token-cleaner-controller");
    cluster_restart_controllers(k);
    cluster_expect_still(k, SECRETS "/idle", INVALID, ""); /* none is a year old */
    cluster_advance(k, 366 * DAY_MS);
    cluster_patch(k, SECRETS "/used", arena_printf(a, "{'metadata':{'labels':{'kubernetes.io/legacy-token-last-used':'%s'}}}", day(k, a, -10)));
    cluster_restart_controllers(k);
    for (int waited = 0; str_empty(cluster_get(k, a, SECRETS "/idle", INVALID)); waited += 5) {
        if (waited > CLUSTER_WAIT_MS) fail_msg("it is not marked");
        env_sleep_ms(env_real(), 5);
    }
    for (size_t i = 1; i < ARRAY_LEN(names); i++) cluster_expect_still(k, arena_printf(a, SECRETS "/%s", names[i]), INVALID, "");
    cluster_advance(k, 366 * DAY_MS); /* it looks each day */
    cluster_expect_gone(k, SECRETS "/idle");
    cluster_expect(k, SECRETS "/mounted", INVALID, "");
    cluster_expect(k, SECRETS "/asked", "metadata.name", "asked");
    cluster_stop(k);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_use_of_a_token_is_written_down),
        cmocka_unit_test(since_when_is_written_down),
        cmocka_unit_test(what_nobody_uses_is_marked_and_then_deleted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
