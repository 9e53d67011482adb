/* Preloaded under Python by the test of allocations: counts what the decoder's threads ask of the allocator.
 * gs_allocations() is the number of calls of malloc and its kin on threads named gs-decode. */
#define _GNU_SOURCE
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static atomic_long count;

long gs_allocations(void) {
    return atomic_load(&count);
}

/* The pool names a thread after it has started, so the name is asked for each time. */
static void note(void) {
    char name[16] = "";
    if (prctl(PR_GET_NAME, name, 0, 0, 0) == 0 && strcmp(name, "gs-decode") == 0) atomic_fetch_add(&count, 1);
}

void *malloc(size_t size) {
    note();
    return __libc_malloc(size);
}

void *calloc(size_t n, size_t size) {
    note();
    return __libc_calloc(n, size);
}

void *realloc(void *old, size_t size) {
    note();
    return __libc_realloc(old, size);
}

void *memalign(size_t alignment, size_t size) {
    note();
    return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
    note();
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **to, size_t alignment, size_t size) {
    note();
    *to = __libc_memalign(alignment, size);
    return *to == NULL ? 12 : 0; /* ENOMEM */
}
