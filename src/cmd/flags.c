#include "cmd/flags.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/str.h"

static void print_help(const char *command, const struct flag *flags) {
    printf("usage: ckube %s [flags]\n\n", command);
    for (const struct flag *f = flags; f->name; f++) printf("  --%-32s %s\n", f->name, f->help);
}

static int set(const char *command, const struct flag *f, const char *value) {
    int64_t n;
    if (f->given) *f->given = true;
    if (f->each && f->each->len == FLAG_VALUES_MAX) {
        fprintf(stderr, "ckube %s: --%s was given more than %d times\n", command, f->name, FLAG_VALUES_MAX);
        return -1;
    }
    if (f->each) f->each->items[f->each->len++] = value;
    else if (f->text) *f->text = value;
    else if (f->number) {
        if (!str_to_i64(value, &n) || n < INT32_MIN || n > INT32_MAX) {
            fprintf(stderr, "ckube %s: --%s: \"%s\" is no number\n", command, f->name, value);
            return -1;
        }
        *f->number = (int)n;
    } else *f->on = !str_eq(value, "false");
    return 0;
}

int flags_parse(const char *command, const struct flag *flags, int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        if (str_eq(arg, "-h") || str_eq(arg, "--help")) {
            print_help(command, flags);
            return 1;
        }
        const char *name = arg + (str_has_prefix(arg, "--") ? 2 : str_has_prefix(arg, "-") ? 1 : 0), *eq = strchr(name, '=');
        size_t len = eq ? (size_t)(eq - name) : strlen(name);
        const struct flag *f = flags;
        while (f->name && !(strlen(f->name) == len && strncmp(f->name, name, len) == 0)) f++;
        if (!f->name || name == arg) {
            fprintf(stderr, "ckube %s: unknown flag: %s\n", command, arg);
            return -1;
        }
        const char *value = eq ? eq + 1 : f->on ? "true" : i + 1 < argc ? argv[++i] : NULL;
        if (!value) {
            fprintf(stderr, "ckube %s: --%s needs a value\n", command, f->name);
            return -1;
        }
        if (set(command, f, value) != 0) return -1;
    }
    return 0;
}
