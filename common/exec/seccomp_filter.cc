#include "common/exec/seccomp_filter.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"

namespace repro::exec {
namespace {

// clang-format off
constexpr const char* kDenied[] = {
    // Other processes' memory and descriptors.
    "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise",
    "process_mrelease", "pidfd_getfd", "kcmp",
    // Namespaces, mounts and roots.
    "unshare", "setns", "mount", "umount", "umount2", "move_mount", "open_tree",
    "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr", "pivot_root",
    "chroot", "name_to_handle_at", "open_by_handle_at", "quotactl",
    "quotactl_fd", "fanotify_init", "fanotify_mark", "swapon", "swapoff",
    // Keys, tracing and other large kernel interfaces.
    "keyctl", "add_key", "request_key", "bpf", "perf_event_open", "userfaultfd",
    "io_uring_setup", "io_uring_enter", "io_uring_register", "syslog", "acct",
    "lookup_dcookie", "nfsservctl", "vmsplice", "io_setup", "io_submit",
    // The kernel and the machine.
    "kexec_load", "kexec_file_load", "init_module", "finit_module",
    "delete_module", "create_module", "reboot", "iopl", "ioperm", "modify_ldt",
    "personality", "sethostname", "setdomainname", "settimeofday",
    "clock_settime", "clock_adjtime", "adjtimex", "vhangup", "uselib",
    // Network: there is no socket to make. socketpair stays for event loops.
    "socket", "bind", "connect", "listen", "accept", "accept4",
    // Memory that no limit of the sandbox counts.
    "memfd_create", "memfd_secret", "shmget", "shmat", "shmctl", "msgget",
    "msgsnd", "mbind", "migrate_pages", "move_pages", "set_mempolicy",
};
// clang-format on

constexpr scmp_datum_t kNewNamespaces =
    CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC |
    CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;

// Numbers from this libseccomp's newest call on get ENOSYS, as on a kernel that
// lacks them.
constexpr int kFirstUnknown = 449;  // futex_waitv
constexpr int kLastUnknown = 512;   // x86-64: 512 to 547 are x32's own

}  // namespace

absl::StatusOr<std::string> SeccompFilter() {
  scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
  if (filter == nullptr) {
    return absl::InternalError("libseccomp: no filter can be made");
  }
  absl::Cleanup release = [&] { seccomp_release(filter); };
  int error = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
  const auto deny = [&](int number, auto... conditions) {
    const int result = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), number,
                                        sizeof...(conditions), conditions...);
    if (result != 0 && error == 0) error = result;
  };
  for (const char* name : kDenied) {
    const int number = seccomp_syscall_resolve_name(name);
    // Negative: not a call of this architecture.
    if (number >= 0) deny(number);
  }
  for (scmp_datum_t flag = 1; flag <= kNewNamespaces; flag <<= 1) {
    if ((flag & kNewNamespaces) == 0) continue;
    deny(SCMP_SYS(clone), SCMP_A0(SCMP_CMP_MASKED_EQ, flag, flag));
  }
  deny(SCMP_SYS(socketpair), SCMP_A0(SCMP_CMP_NE, AF_UNIX));
  // Another process's limits; one's own are lowered, never raised.
  deny(SCMP_SYS(prlimit64), SCMP_A0(SCMP_CMP_NE, 0));
  for (const unsigned int type : {S_IFCHR, S_IFBLK}) {
    deny(SCMP_SYS(mknodat), SCMP_A2(SCMP_CMP_MASKED_EQ, S_IFMT, type));
#ifdef __x86_64__
    deny(SCMP_SYS(mknod), SCMP_A1(SCMP_CMP_MASKED_EQ, S_IFMT, type));
#endif
  }
  for (const unsigned int request : {TIOCSTI, TIOCLINUX}) {
    deny(SCMP_SYS(ioctl), SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffffu, request));
  }
  const auto unknown = [&](int number) {
    const int result =
        seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), number, 0);
    if (result != 0 && error == 0) error = result;
  };
  unknown(SCMP_SYS(clone3));
  for (int number = kFirstUnknown; number < kLastUnknown; ++number) {
    unknown(number);
  }
  if (error != 0) {
    return absl::InternalError(
        absl::StrCat("libseccomp: a rule is refused: error ", -error));
  }
  const int file = memfd_create("seccomp", MFD_CLOEXEC);
  if (file < 0) return absl::ErrnoToStatus(errno, "memfd_create");
  absl::Cleanup close_file = [&] { close(file); };
  error = seccomp_export_bpf(filter, file);
  if (error != 0) {
    return absl::InternalError(
        absl::StrCat("libseccomp: no BPF program: error ", -error));
  }
  std::string program;
  char buffer[4096];
  for (ssize_t size;
       (size = pread(file, buffer, sizeof(buffer), program.size())) > 0;) {
    program.append(buffer, size);
  }
  return program;
}

}  // namespace repro::exec
