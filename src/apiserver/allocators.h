/* Cluster IPs and node ports: bitmaps in memory, rebuilt from the Services at start, so that no allocation can leak or be given twice. */
#ifndef CKUBE_APISERVER_ALLOCATORS_H
#define CKUBE_APISERVER_ALLOCATORS_H
#include <stdbool.h>
#include "base/arena.h"
#include "base/env.h"
#include "base/status.h"

struct ip_allocator;
struct ip_allocator *ip_allocator_new(const char *cidr, struct status *reterr);  /* IPv4 */
void ip_allocator_free(struct ip_allocator *a);
char *ip_allocator_next(struct ip_allocator *a, struct arena *arena, struct env *env); /* NULL: none is free */
enum ip_taken { IP_OK, IP_TAKEN, IP_OUTSIDE };
enum ip_taken ip_allocator_take(struct ip_allocator *a, const char *ip);
void ip_allocator_release(struct ip_allocator *a, const char *ip);
const char *ip_allocator_cidr(const struct ip_allocator *a);
char *ip_allocator_first(struct ip_allocator *a, struct arena *arena); /* the kubernetes Service's */

struct port_allocator;
struct port_allocator *port_allocator_new(int min, int max);
void port_allocator_free(struct port_allocator *a);
int port_allocator_next(struct port_allocator *a, struct env *env); /* 0: none is free */
enum ip_taken port_allocator_take(struct port_allocator *a, int port);
void port_allocator_release(struct port_allocator *a, int port);
void port_allocator_range(const struct port_allocator *a, int *min, int *max);
#endif
