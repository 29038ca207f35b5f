/* `ckube certificate`: what certificates a data folder holds, whether they are well, and new ones in their place. See certificates.h. */
#include <stdio.h>
#include "api/time.h"
#include "base/env.h"
#include "base/str.h"
#include "cmd/certificates.h"
#include "cmd/commands.h"
#include "cmd/flags.h"

struct command { struct arena *arena; const char *data_dir, *name; bool all; };

static int fail(const struct status *err) {
    fprintf(stderr, "ckube certificate: %s\n", status_message(err));
    return 1;
}

static int refuse(const char *text) {
    fprintf(stderr, "ckube certificate: %s\n", text);
    return 1;
}

static const char *date(struct arena *a, int64_t s) {
    _cleanup_buf_ struct buf text = BUF_INIT;
    struct api_time t = time_from_s(s);
    time_format(&t, &text);
    return arena_strdup(a, buf_cstr(&text));
}

static const char *names_of(struct arena *a, const struct x509_facts *f) {
    const char *out = "", *const *const lists[] = {f->dns_names, f->ips};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        for (size_t k = 0; lists[i][k]; k++) out = arena_printf(a, "%s%s%s", out, *out ? "," : "", lists[i][k]);
    return *out ? out : "-";
}

/* ---- list, check ---- */

static int list(struct command *x) {
    size_t seen = 0;
    printf("%-25s %-5s %-20s %9s  %s\n", "NAME", "CA", "EXPIRES", "DAYS LEFT", "SUBJECT, ISSUER, NAMES");
    for (size_t i = 0; i < certificates_len; i++) {
        const struct certificate *c = &certificates_all[i];
        struct x509_facts f;
        _cleanup_status_ struct status err = STATUS_INIT;
        if ((x->name && !str_eq(x->name, c->name)) || !certificate_exists(x->arena, x->data_dir, c)) continue;
        seen++;
        if (x509_facts_read(x->arena, arena_printf(x->arena, "%s/%s", x->data_dir, c->file), &f, &err) != 0) {
            printf("%-25s %s\n", c->name, status_message(&err));
            continue;
        }
        long long days = (long long)(f.not_after_s - env_now_s(env_real())) / 86400;
        printf("%-25s %-5s %-20s %9lld  %s, %s, %s\n", c->name, f.authority ? "yes" : "no", date(x->arena, f.not_after_s), days, f.subject, f.issuer, names_of(x->arena, &f));
    }
    return seen ? 0 : refuse(arena_printf(x->arena, "there are no certificates in %s", x->data_dir));
}

static int check(struct command *x) {
    size_t seen = 0, bad = 0;
    for (size_t i = 0; i < certificates_len; i++) {
        const struct certificate *c = &certificates_all[i];
        if ((x->name && !str_eq(x->name, c->name)) || !certificate_exists(x->arena, x->data_dir, c)) continue;
        const char *problem = certificate_problem(x->arena, x->data_dir, c, env_now_s(env_real()));
        seen++;
        bad += problem != NULL;
        printf("%-25s %s\n", c->name, problem ? problem : "ok");
    }
    if (!seen) return refuse(arena_printf(x->arena, "there are no certificates in %s", x->data_dir));
    return bad ? 1 : 0;
}

/* ---- rotate ---- */

static int rotate_one(struct command *x, const struct certificate *c) {
    _cleanup_status_ struct status err = STATUS_INIT;
    if (certificate_rotate(x->data_dir, c, &err) != 0) return fail(&err);
    printf("%s is a new certificate\n", c->name);
    return 0;
}

static int rotate(struct command *x) {
    int rc = 0;
    size_t done = 0;
    if (!x->name == !x->all) return refuse("rotate: name one certificate, see ckube certificate list, or say --all");
    if (x->name) return rotate_one(x, certificate_find(x->name));
    for (size_t i = 0; i < certificates_len; i++) {
        const struct certificate *c = &certificates_all[i];
        if (!c->authority || c->by_request || !certificate_exists(x->arena, x->data_dir, c)) continue;
        done++;
        rc |= rotate_one(x, c);
    }
    return done ? rc : refuse(arena_printf(x->arena, "there are no certificates to rotate in %s", x->data_dir));
}

/* ---- the command ---- */

static const struct { const char *name; int (*run)(struct command *); const char *help; } verbs[] = {
    {"list", list, "[NAME]  the certificates of a data folder: until when they are good, whom they name, who signed them"},
    {"check", check, "[NAME]  whether they are well; exit code 1 if one is not"},
    {"rotate", rotate, "NAME | --all  new keys and certificates in the place of leaves; a server that runs goes on with them"},
};

static int usage(FILE *to) {
    fprintf(to, "usage: ckube certificate VERB [NAME] [--all] [--data-dir DIR]\n\n");
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) fprintf(to, "  %-8s %s\n", verbs[i].name, verbs[i].help);
    return to == stdout ? 0 : 2;
}

int cmd_certificate(int argc, char **argv) {
    struct command x = {.data_dir = "/var/lib/ckube"};
    const struct flag flags[] = {{.name = "data-dir", .text = &x.data_dir, .help = "the server's or the node's (default: /var/lib/ckube)"}, {.name = "all", .on = &x.all, .help = "rotate: all leaves"}, {0}};
    size_t v = 0;
    if (argc < 2) return usage(stderr);
    while (v < ARRAY_LEN(verbs) && !str_eq(argv[1], verbs[v].name)) v++;
    if (v == ARRAY_LEN(verbs)) return usage(str_in(argv[1], (const char *const[]){"--help", "-h", "help", NULL}) ? stdout : stderr);
    int skip = argc > 2 && argv[2][0] != '-' ? 2 : 1;
    if (skip == 2) x.name = argv[2];
    int parsed = flags_parse("certificate", flags, argc - skip, argv + skip);
    if (parsed) return parsed < 0 ? 2 : 0;
    _cleanup_arena_ struct arena *a = x.arena = arena_new();
    if (x.name && !certificate_find(x.name)) return refuse(arena_printf(a, "there is no certificate named %s: see ckube certificate list", x.name));
    return verbs[v].run(&x);
}
