/* What a process gives up that it does not need. Called before the first thread is started, since what a thread has given up others keep.
 *
 * harden_secrets: no memory of this process is written to a core file, and nobody but root may look into it. For every component.
 * harden_control_plane: for processes that run no containers (`ckube server --disable-agent`, kube-apiserver, kube-controller-manager, kube-scheduler). Besides that: no new privileges by programs that are run; no
 * capabilities, also not for those programs, but what is named below; and a seccomp filter by which system calls that a control plane never makes fail (mounting, namespaces, tracing, kernel modules, BPF, keys, clocks,
 * swapping, raw input and output, io_uring): a list of what is refused, since libraries and etcd, which inherits it, may use anything else from one version to the next. Under the address sanitizer tracing and core files
 * stay, because its search for leaks traces the process; all else is as ever. Tests: tests/unit/test_harden.c, tests/integration/test_hardening.py. */
#ifndef CKUBE_CMD_HARDEN_H
#define CKUBE_CMD_HARDEN_H
#include <stdbool.h>

struct harden_options {
    bool low_port;       /* keeps CAP_NET_BIND_SERVICE: it binds a port below 1024 */
    bool runs_as_others; /* keeps CAP_CHOWN, DAC_OVERRIDE, FOWNER, KILL, SETGID, SETUID: etcd runs as another user, who has its files */
};
void harden_secrets(void);
/* What the kernel cannot do is logged and left out. */
void harden_control_plane(const struct harden_options *o);
#endif
