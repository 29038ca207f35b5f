#include "wire/tls_files.h"
#include <sys/stat.h>
#include "base/env.h"
#include "base/macros.h"

#define LOOK_NS INT64_C(1000000000)

static uint64_t mix(uint64_t h, uint64_t v) { return (h ^ v) * UINT64_C(0x9e3779b97f4a7c15) + (h >> 29); }

static uint64_t signature(const struct tls_files *f) {
    uint64_t h = 1;
    for (size_t i = 0; i < ARRAY_LEN(f->paths); i++) {
        struct stat st;
        if (!f->paths[i] || stat(f->paths[i], &st) != 0) continue;
        h = mix(mix(mix(mix(h, i), (uint64_t)st.st_ino), (uint64_t)st.st_size), (uint64_t)st.st_mtim.tv_sec * 1000000000u + (uint64_t)st.st_mtim.tv_nsec);
    }
    return h;
}

void tls_files_init(struct tls_files *f, const char *a, const char *b, const char *c) {
    *f = (struct tls_files){.paths = {a, b, c}};
    f->seen = signature(f);
    f->looked_ns = env_mono_ns(env_real());
}

bool tls_files_changed(struct tls_files *f, uint64_t *ret_now) {
    int64_t now_ns = env_mono_ns(env_real());
    if ((!f->paths[0] && !f->paths[1] && !f->paths[2]) || now_ns - f->looked_ns < LOOK_NS) return false;
    f->looked_ns = now_ns;
    *ret_now = signature(f);
    return *ret_now != f->seen;
}
