#include "cmd/flags.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/arena.h"
#include "base/str.h"

static void print_help(const char *command, const struct flag *flags) {
    printf("usage: ckube %s [flags]\n\n", command);
    for (const struct flag *f = flags; f->name; f++) printf("  --%-32s %s\n", f->name, f->help);
}

/* Joined texts live as long as the process, like argv's. */
static const char *add_to_list(const char *list, const char *value) {
    static struct arena *arena;
    if (!list) return value;
    if (!arena) arena = arena_new();
    return arena_printf(arena, "%s,%s", list, value);
}

static int set(const char *command, const struct flag *f, const char *value, bool again) {
    int64_t n;
    if (f->given) *f->given = true;
    if (f->each && f->each->len == FLAG_VALUES_MAX) {
        fprintf(stderr, "ckube %s: --%s was given more than %d times\n", command, f->name, FLAG_VALUES_MAX);
        return -1;
    }
    if (f->each) f->each->items[f->each->len++] = value;
    else if (f->text) *f->text = f->list && again ? add_to_list(*f->text, value) : value;
    else if (f->number) {
        if (!str_to_i64(value, &n) || n < INT32_MIN || n > INT32_MAX) {
            fprintf(stderr, "ckube %s: --%s: \"%s\" is no number\n", command, f->name, value);
            return -1;
        }
        *f->number = (int)n;
    } else *f->on = !str_eq(value, "false");
    return 0;
}

/* "--name", "-name", either with "=value". */
static bool names(const char *arg, const char *name) {
    size_t len = strlen(name);
    if (*arg != '-') return false;
    arg += str_has_prefix(arg, "--") ? 2 : 1;
    return strncmp(arg, name, len) == 0 && (!arg[len] || arg[len] == '=');
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
        int at = i;
        const char *value = eq ? eq + 1 : f->on ? "true" : i + 1 < argc ? argv[++i] : NULL;
        if (!value) {
            fprintf(stderr, "ckube %s: --%s needs a value\n", command, f->name);
            return -1;
        }
        bool again = false;
        for (int k = 1; k < at && !again; k++) again = names(argv[k], f->name);
        if (set(command, f, value, again) != 0) return -1;
    }
    return 0;
}
