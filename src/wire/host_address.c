#include "wire/host_address.h"
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include "base/buf.h"
#include "base/file.h"

enum { ROUTES_BYTES_MAX = 4 << 20 };

static enum address_kind kind_of_four(struct in_addr address) {
    uint32_t v = ntohl(address.s_addr);
    if (v == INADDR_ANY) return ADDRESS_UNSPECIFIED;
    if (v >> 24 == IN_LOOPBACKNET) return ADDRESS_LOOPBACK;
    return v == INADDR_BROADCAST || IN_MULTICAST(v) || v >> 16 == 0xa9fe /* 169.254.0.0/16 */ ? ADDRESS_LOCAL : ADDRESS_GLOBAL;
}

static enum address_kind kind_of_six(const struct in6_addr *address) {
    if (IN6_IS_ADDR_UNSPECIFIED(address)) return ADDRESS_UNSPECIFIED;
    if (IN6_IS_ADDR_LOOPBACK(address)) return ADDRESS_LOOPBACK;
    return IN6_IS_ADDR_MULTICAST(address) || IN6_IS_ADDR_LINKLOCAL(address) ? ADDRESS_LOCAL : ADDRESS_GLOBAL;
}

enum address_kind address_kind(const char *text, bool *ret_ipv6) {
    struct in_addr four;
    struct in6_addr six;
    bool is_four = inet_pton(AF_INET, text, &four) == 1;
    if (!is_four && inet_pton(AF_INET6, text, &six) != 1) return ADDRESS_INVALID;
    if (ret_ipv6) *ret_ipv6 = !is_four;
    return is_four ? kind_of_four(four) : kind_of_six(&six);
}

/* The interface of a line of /proc/net/route ("eth0 00000000 gateway ...") or ipv6_route ("destination length source length gateway metric ... eth0") if its route is
 * the default one. */
static bool default_interface(const char *line, bool ipv6, char name[IF_NAMESIZE]) {
    unsigned long destination;
    char to[33], gateway[33];
    if (!ipv6) return sscanf(line, "%15s %lx", name, &destination) == 2 && destination == 0;
    return sscanf(line, "%32s %*s %*s %*s %32s %*s %*s %*s %*s %15s", to, gateway, name) == 3 && strspn(to, "0") == 32 && strspn(gateway, "0") != 32;
}

/* The global address of the interface (NULL: of any that is no loopback), or NULL. */
static char *address_of(struct arena *a, const struct ifaddrs *all, const char *interface, bool ipv6) {
    char text[INET6_ADDRSTRLEN];
    for (const struct ifaddrs *i = all; i; i = i->ifa_next) {
        if (!i->ifa_addr || i->ifa_addr->sa_family != (ipv6 ? AF_INET6 : AF_INET) || !(i->ifa_flags & IFF_UP)) continue;
        if (interface ? strcmp(i->ifa_name, interface) != 0 : (i->ifa_flags & (IFF_LOOPBACK | IFF_POINTOPOINT)) != 0) continue;
        const void *bytes = ipv6 ? (const void *)&((const struct sockaddr_in6 *)(const void *)i->ifa_addr)->sin6_addr : &((const struct sockaddr_in *)(const void *)i->ifa_addr)->sin_addr;
        if (inet_ntop(ipv6 ? AF_INET6 : AF_INET, bytes, text, sizeof(text)) && address_kind(text, NULL) == ADDRESS_GLOBAL) return arena_strdup(a, text);
    }
    return NULL;
}

char *host_default_address(struct arena *a, bool ipv6) {
    _cleanup_buf_ struct buf routes = BUF_INIT;
    struct ifaddrs *all = NULL;
    char *found = NULL, name[IF_NAMESIZE];
    if (getifaddrs(&all) != 0) return NULL;
    if (file_read(ipv6 ? "/proc/net/ipv6_route" : "/proc/net/route", ROUTES_BYTES_MAX, &routes, NULL) == 0) {
        buf_cstr(&routes); /* NUL at its end */
        for (char *line, *rest = routes.data; !found && rest && (line = strsep(&rest, "\n"));)
            if (default_interface(line, ipv6, name)) found = address_of(a, all, name, ipv6);
    }
    if (!found) found = address_of(a, all, NULL, ipv6);
    freeifaddrs(all);
    return found;
}
