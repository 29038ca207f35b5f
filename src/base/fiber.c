#include "base/fiber.h"
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>
#include "base/loop.h"
#include "base/macros.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#define ASAN_START(save, bottom, size) __sanitizer_start_switch_fiber(save, bottom, size)
#define ASAN_FINISH(fake, bottom, size) __sanitizer_finish_switch_fiber(fake, bottom, size)
enum { STACK_BYTES = 1 << 20 };
#else
#define ASAN_START(save, bottom, size) ((void)0)
#define ASAN_FINISH(fake, bottom, size) ((void)0)
#if defined(__SANITIZE_THREAD__)
enum { STACK_BYTES = 1 << 20 };
#else
enum { STACK_BYTES = 256 << 10 };
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

enum { GUARD_BYTES = 4096, SPARE_MAX = 64 };

struct fiber {
    ucontext_t context;
    struct loop *loop;
    void (*fn)(void *);
    void *arg;
    char *stack;
    void *fake_stack; /* ASan's */
    void *tsan;
    bool done;
    struct fiber *next_spare;
};

/* Per loop thread: the context that fibers return to, and stacks kept for reuse. */
static _Thread_local struct {
    ucontext_t context;
    struct fiber *running, *spare;
    size_t spare_len;
    void *fake_stack, *tsan;
    const void *stack_bottom;
    size_t stack_size;
} home;

struct fiber *fiber_current(void) { return home.running; }

static struct fiber *fiber_take(void) {
    struct fiber *f = home.spare;
    if (f) {
        home.spare = f->next_spare;
        home.spare_len--;
        return f;
    }
    f = calloc(1, sizeof(*f));
    CHECK(f);
    f->stack = mmap(NULL, STACK_BYTES + GUARD_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(f->stack != MAP_FAILED);
    CHECK(mprotect(f->stack, GUARD_BYTES, PROT_NONE) == 0);
    return f;
}

static void fiber_release(struct fiber *f) {
    munmap(f->stack, STACK_BYTES + GUARD_BYTES);
    free(f);
}

static void fiber_give_back(struct fiber *f) {
    if (home.spare_len >= SPARE_MAX) {
        fiber_release(f);
        return;
    }
    f->next_spare = home.spare;
    home.spare = f;
    home.spare_len++;
}

void fiber_pool_drain(void) {
    while (home.spare) {
        struct fiber *f = home.spare;
        home.spare = f->next_spare;
        fiber_release(f);
    }
    home.spare_len = 0;
}

static void switch_home(struct fiber *f) {
    ASAN_START(f->done ? NULL : &f->fake_stack, home.stack_bottom, home.stack_size);
#if defined(__SANITIZE_THREAD__)
    __tsan_switch_to_fiber(home.tsan, 0);
#endif
    swapcontext(&f->context, &home.context);
    ASAN_FINISH(f->fake_stack, &home.stack_bottom, &home.stack_size);
}

static void fiber_main(void) {
    struct fiber *f = home.running;
    ASAN_FINISH(NULL, &home.stack_bottom, &home.stack_size);
    f->fn(f->arg);
    f->done = true;
    switch_home(f);
}

static void resume(struct fiber *f) {
    CHECK(home.running == NULL);
    home.running = f;
    ASAN_START(&home.fake_stack, f->stack + GUARD_BYTES, STACK_BYTES);
#if defined(__SANITIZE_THREAD__)
    home.tsan = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(f->tsan, 0);
#endif
    swapcontext(&home.context, &f->context);
    ASAN_FINISH(home.fake_stack, NULL, NULL);
    home.running = NULL;
    if (!f->done) return;
#if defined(__SANITIZE_THREAD__)
    __tsan_destroy_fiber(f->tsan);
#endif
    fiber_give_back(f);
}

static void prepare(struct fiber *f, void (*fn)(void *), void *arg) {
    f->loop = loop_current();
    f->fn = fn;
    f->arg = arg;
    f->done = false;
    CHECK(getcontext(&f->context) == 0);
    f->context.uc_stack.ss_sp = f->stack + GUARD_BYTES;
    f->context.uc_stack.ss_size = STACK_BYTES;
    f->context.uc_link = NULL;
    makecontext(&f->context, fiber_main, 0);
#if defined(__SANITIZE_THREAD__)
    f->tsan = __tsan_create_fiber(0);
#endif
}

static void start(void *arg) { resume(arg); }

void fiber_spawn(void (*fn)(void *), void *arg) {
    CHECK(loop_current());
    struct fiber *f = fiber_take();
    prepare(f, fn, arg);
    if (home.running) loop_post(f->loop, start, f); /* fibers do not nest */
    else resume(f);
}

void fiber_suspend(void) {
    CHECK(home.running);
    switch_home(home.running);
}

static void wake_here(void *arg) { resume(arg); }

void fiber_wake(struct fiber *f) { loop_post(f->loop, wake_here, f); }

struct sleeper {
    uv_timer_t timer;
    struct fiber *fiber;
};

static void sleeper_closed(uv_handle_t *h) { resume(((struct sleeper *)(void *)h)->fiber); }
static void sleeper_fired(uv_timer_t *t) { uv_close((uv_handle_t *)t, sleeper_closed); }

void fiber_sleep_ms(uint64_t ms) {
    struct sleeper s = {.fiber = fiber_current()};
    uv_timer_init(loop_uv(loop_current()), &s.timer);
    uv_timer_start(&s.timer, sleeper_fired, ms, 0);
    fiber_suspend();
}
