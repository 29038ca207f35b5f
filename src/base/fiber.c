#include "base/fiber.h"
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include "base/loop.h"
#include "base/macros.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define WITH_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__)
#define WITH_TSAN 1
#endif

#ifdef WITH_ASAN
#include <sanitizer/common_interface_defs.h>
#define ASAN_START(save, bottom, size) __sanitizer_start_switch_fiber(save, bottom, size)
#define ASAN_FINISH(fake, bottom, size) __sanitizer_finish_switch_fiber(fake, bottom, size)
#else
#define ASAN_START(save, bottom, size) ((void)0)
#define ASAN_FINISH(fake, bottom, size) ((void)0)
#endif
#ifdef WITH_TSAN
#include <sanitizer/tsan_interface.h>
#define TSAN_SWITCH(to) __tsan_switch_to_fiber(to, 0)
#else
#define TSAN_SWITCH(to) ((void)0)
#endif
/* Address space, not memory: what has not been touched costs nothing. Documents that a client may nest to JSON_DEPTH_MAX are walked recursively. */
#if defined(WITH_ASAN) || defined(WITH_TSAN) || defined(CKUBE_DEBUG)
enum { STACK_BYTES = 8 << 20 }; /* frames are several times larger then */
#else
enum { STACK_BYTES = 1 << 20 };
#endif

enum {
    SPARE_MAX = 64,
    TRIM_EVERY = 256,       /* one stack in so many is given back to the system, but for its top, where most fibers stay */
    TRIM_KEEPS = 32 << 10,
};

/* ---- switching stacks: what the calling convention has a function preserve is pushed, the stack pointers change places, and it is popped ---- */

#if defined(__x86_64__) || defined(__aarch64__)

struct context { void *sp; };

void ckube_context_switch(struct context *save, const struct context *to);
#if defined(__x86_64__)
__asm__(".text\n.p2align 4\n.hidden ckube_context_switch\n.globl ckube_context_switch\n.type ckube_context_switch, @function\nckube_context_switch:\n"
        "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
        "movq %rsp, (%rdi)\nmovq (%rsi), %rsp\n"
        "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\nret\n"
        ".size ckube_context_switch, .-ckube_context_switch\n");
enum { SAVED_WORDS = 6, TOP_WORDS = 2 }; /* above the saved registers: where to return, and one word that keeps the stack aligned */

static void context_init(struct context *c, char *stack, size_t size, void (*entry)(void)) {
    void **sp = (void **)(void *)(stack + size) - TOP_WORDS - SAVED_WORDS;
    for (int i = 0; i < SAVED_WORDS + TOP_WORDS; i++) sp[i] = NULL;
    sp[SAVED_WORDS] = (void *)(uintptr_t)entry;
    c->sp = sp;
}
#else
__asm__(".text\n.p2align 4\n.hidden ckube_context_switch\n.globl ckube_context_switch\n.type ckube_context_switch, @function\nckube_context_switch:\n"
        "sub sp, sp, #176\nstp x19, x20, [sp]\nstp x21, x22, [sp, #16]\nstp x23, x24, [sp, #32]\nstp x25, x26, [sp, #48]\nstp x27, x28, [sp, #64]\n"
        "stp x29, x30, [sp, #80]\nstp d8, d9, [sp, #96]\nstp d10, d11, [sp, #112]\nstp d12, d13, [sp, #128]\nstp d14, d15, [sp, #144]\n"
        "mov x9, sp\nstr x9, [x0]\nldr x9, [x1]\nmov sp, x9\n"
        "ldp x19, x20, [sp]\nldp x21, x22, [sp, #16]\nldp x23, x24, [sp, #32]\nldp x25, x26, [sp, #48]\nldp x27, x28, [sp, #64]\n"
        "ldp x29, x30, [sp, #80]\nldp d8, d9, [sp, #96]\nldp d10, d11, [sp, #112]\nldp d12, d13, [sp, #128]\nldp d14, d15, [sp, #144]\n"
        "add sp, sp, #176\nret\n.size ckube_context_switch, .-ckube_context_switch\n");
enum { SAVED_WORDS = 22, LINK_WORD = 11 }; /* x30 is where `ret` goes */

static void context_init(struct context *c, char *stack, size_t size, void (*entry)(void)) {
    void **sp = (void **)(void *)(stack + size) - SAVED_WORDS;
    for (int i = 0; i < SAVED_WORDS; i++) sp[i] = NULL;
    sp[LINK_WORD] = (void *)(uintptr_t)entry;
    c->sp = sp;
}
#endif

static void context_switch(struct context *save, const struct context *to) { ckube_context_switch(save, to); }

#else
#include <ucontext.h>

struct context { ucontext_t u; };

static void context_init(struct context *c, char *stack, size_t size, void (*entry)(void)) {
    CHECK(getcontext(&c->u) == 0);
    c->u.uc_stack.ss_sp = stack;
    c->u.uc_stack.ss_size = size;
    c->u.uc_link = NULL;
    makecontext(&c->u, entry, 0);
}

static void context_switch(struct context *save, const struct context *to) { swapcontext(&save->u, &to->u); }
#endif

/* ---- fibers ---- */

enum waiting { WAIT_NONE, WAIT_WAKE, WAIT_SLEEP };

struct fiber {
    struct context context;
    struct loop *loop;
    void (*fn)(void *);
    void *arg;
    char *stack; /* lowest byte; the guard page lies below it */
    void *fake_stack; /* ASan's */
    void *tsan;
    unsigned wakes; /* wakes that no suspend has taken yet; the loop thread's */
    enum waiting waiting;
    bool done;
    struct fiber *next_spare;
};

/* Per loop thread: the context that fibers return to, and stacks kept for reuse. */
static _Thread_local struct {
    struct context context;
    struct fiber *running, *spare;
    size_t spare_len, uses;
    void *fake_stack, *tsan;
    const void *stack_bottom;
    size_t stack_size;
} home;

struct fiber *fiber_current(void) { return home.running; }

static size_t guard_bytes(void) { return (size_t)sysconf(_SC_PAGESIZE); }

static struct fiber *fiber_take(void) {
    struct fiber *f = home.spare;
    if (f) {
        home.spare = f->next_spare;
        home.spare_len--;
        return f;
    }
    f = calloc(1, sizeof(*f));
    CHECK(f);
    char *all = mmap(NULL, STACK_BYTES + guard_bytes(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(all != MAP_FAILED);
    CHECK(mprotect(all, guard_bytes(), PROT_NONE) == 0);
    f->stack = all + guard_bytes();
    return f;
}

static void fiber_release(struct fiber *f) {
    munmap(f->stack - guard_bytes(), STACK_BYTES + guard_bytes());
    free(f);
}

static void fiber_give_back(struct fiber *f) {
    if (home.spare_len >= SPARE_MAX) {
        fiber_release(f);
        return;
    }
    if (++home.uses % TRIM_EVERY == 0) madvise(f->stack, STACK_BYTES - TRIM_KEEPS, MADV_DONTNEED);
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
    TSAN_SWITCH(home.tsan);
    context_switch(&f->context, &home.context);
    ASAN_FINISH(f->fake_stack, &home.stack_bottom, &home.stack_size);
}

static void fiber_main(void) {
    struct fiber *f = home.running;
    ASAN_FINISH(NULL, &home.stack_bottom, &home.stack_size);
    f->fn(f->arg);
    f->done = true;
    switch_home(f);
    __builtin_unreachable();
}

static void resume(struct fiber *f) {
    CHECK(home.running == NULL);
    home.running = f;
    f->waiting = WAIT_NONE;
    ASAN_START(&home.fake_stack, f->stack, STACK_BYTES);
#ifdef WITH_TSAN
    home.tsan = __tsan_get_current_fiber();
#endif
    TSAN_SWITCH(f->tsan);
    context_switch(&home.context, &f->context);
    ASAN_FINISH(home.fake_stack, NULL, NULL);
    home.running = NULL;
    if (!f->done) return;
#ifdef WITH_TSAN
    __tsan_destroy_fiber(f->tsan);
#endif
    fiber_give_back(f);
}

static void prepare(struct fiber *f, void (*fn)(void *), void *arg) {
    f->loop = loop_current();
    f->fn = fn;
    f->arg = arg;
    f->done = false;
    f->wakes = 0;
    context_init(&f->context, f->stack, STACK_BYTES, fiber_main);
#ifdef WITH_TSAN
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

static void wait_here(struct fiber *f, enum waiting how) {
    f->waiting = how;
    switch_home(f);
}

void fiber_suspend(void) {
    struct fiber *f = home.running;
    CHECK(f);
    while (f->wakes == 0) wait_here(f, WAIT_WAKE);
    f->wakes--;
}

static void wake_here(void *arg) {
    struct fiber *f = arg;
    f->wakes++;
    if (f->waiting == WAIT_WAKE) resume(f);
}

void fiber_wake(struct fiber *f) { loop_post(f->loop, wake_here, f); }

struct sleeper {
    uv_timer_t timer;
    struct fiber *fiber;
    bool over;
};

static void sleeper_closed(uv_handle_t *h) {
    struct sleeper *s = h->data;
    s->over = true;
    if (s->fiber->waiting == WAIT_SLEEP) resume(s->fiber);
}

static void sleeper_fired(uv_timer_t *t) { uv_close((uv_handle_t *)t, sleeper_closed); }

void fiber_sleep_ms(uint64_t ms) {
    struct sleeper s = {.fiber = fiber_current()};
    CHECK(s.fiber);
    uv_timer_init(loop_uv(loop_current()), &s.timer);
    s.timer.data = &s;
    uv_update_time(s.timer.loop);
    uv_timer_start(&s.timer, sleeper_fired, ms, 0);
    while (!s.over) wait_here(s.fiber, WAIT_SLEEP);
}

/* ---- the lock ---- */

struct fiber_mutex_waiter { struct fiber *fiber; struct fiber_mutex_waiter *next; };

/* ---- calls that block ---- */

struct blocking { void (*fn)(void *arg); void *arg; struct fiber *fiber; };

static void *blocking_thread(void *arg) {
    struct blocking *b = arg;
    b->fn(b->arg);
    fiber_wake(b->fiber); /* the last touch: it is on the fiber's stack */
    return NULL;
}

bool fiber_run_blocking(void (*fn)(void *arg), void *arg) {
    struct blocking b = {fn, arg, fiber_current()};
    pthread_t t;
    if (pthread_create(&t, NULL, blocking_thread, &b) != 0) return false;
    pthread_detach(t);
    fiber_suspend();
    return true;
}

void fiber_mutex_init(struct fiber_mutex *m) {
    *m = (struct fiber_mutex){0};
    pthread_mutex_init(&m->guard, NULL);
}

void fiber_mutex_destroy(struct fiber_mutex *m) {
    CHECK(!m->held);
    pthread_mutex_destroy(&m->guard);
}

void fiber_mutex_lock(struct fiber_mutex *m) {
    struct fiber_mutex_waiter w = {.fiber = fiber_current()};
    CHECK(w.fiber);
    pthread_mutex_lock(&m->guard);
    bool wait = m->held;
    if (wait) {
        if (m->last) m->last->next = &w;
        else m->first = &w;
        m->last = &w;
    } else m->held = true;
    pthread_mutex_unlock(&m->guard);
    if (wait) fiber_suspend(); /* it is handed over: held stays true */
}

void fiber_mutex_unlock(struct fiber_mutex *m) {
    struct fiber *next = NULL;
    pthread_mutex_lock(&m->guard);
    if (m->first) {
        next = m->first->fiber;
        m->first = m->first->next;
        if (!m->first) m->last = NULL;
    } else m->held = false;
    pthread_mutex_unlock(&m->guard);
    if (next) fiber_wake(next);
}
