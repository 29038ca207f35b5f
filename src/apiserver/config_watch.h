/* A thread that looks at a configuration file each second and tells when its bytes have changed. Upstream: pkg/util/filesystem WatchUntil with the trackers that
 * authentication and authorization options keep. Unlike base/file.h's watch it compares contents and tries again what could not be taken for now. */
#ifndef CKUBE_APISERVER_CONFIG_WATCH_H
#define CKUBE_APISERVER_CONFIG_WATCH_H
#include <stdbool.h>
#include <stddef.h>

struct config_watch;
/* True: these bytes are settled, taken or refused. False: worth another try in a minute. Called on the thread. */
typedef bool config_changed_fn(void *arg, struct config_watch *w, const char *text, size_t len);
struct config_watch *config_watch_new(const char *path, const char *text, size_t len, config_changed_fn *changed, void *arg); /* text: what was read at start */
void config_watch_free(struct config_watch *w);          /* ends the thread first; NULL is fine */
/* For `changed`: waits a while; false when the watch is being freed. */
bool config_watch_pause(struct config_watch *w, int ms);
#endif
