#include <iterator>

#include "common/exec/hostile.h"

namespace repro::exec {
namespace {

// Numbers of system calls are x86-64's.
const HostileProgram kPrograms[] = {
    // Processes and threads.
    {"fork_bomb", "200 processes", "exception BlockingIOError | killed", R"(
import os, time
for i in range(200):
    if os.fork() == 0:
        time.sleep(1)
        os._exit(0)
time.sleep(0.5)
print("ESCAPED")
)"},
    {"fork_chain", "100 generations, each the child of the last",
     "wrong | killed", R"(
import os, sys
for i in range(100):
    try:
        child = os.fork()
    except BlockingIOError:
        os._exit(7)
    if child:
        os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print("ESCAPED")
)"},
    {"thread_bomb", "200 threads", "exception RuntimeError | killed", R"(
import threading, time
for i in range(200):
    threading.Thread(target=time.sleep, args=(1,), daemon=True).start()
time.sleep(0.5)
print("ESCAPED")
)"},
    {"daemon", "a double fork that outlives its parent", "passed", R"(
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for i in range(100):
            time.sleep(0.1)
        print("ESCAPED", flush=True)
    os._exit(0)
os.wait()
)"},
    {"daemon_silent", "the same with all descriptors closed", "passed", R"(
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.closerange(0, 64)
        time.sleep(10)
    os._exit(0)
os.wait()
)"},
    {"thread_outlives", "a thread that goes on after the main one", "time", R"(
import threading, time
threading.Thread(target=time.sleep, args=(30,)).start()
)"},
    {"thread_outlives_tests", "the same, when the tests are through", "passed",
     R"(
import threading, time
threading.Thread(target=time.sleep, args=(30,)).start()
)",
     "assert True"},
    {"vfork_and_exec", "a shell that starts 40 processes",
     "wrong | passed | killed", R"(
import subprocess, sys
done = subprocess.run(["/bin/sh", "-c", "for i in $(seq 40); do sleep 1 & done; wait"])
sys.exit(done.returncode)
)"},

    // Signals.
    {"kill_parent", "SIGKILL to its parent, pid 1", "passed", R"(
import os, signal
os.kill(os.getppid(), signal.SIGKILL)
)"},
    {"stop_parent", "SIGSTOP to its parent", "passed", R"(
import os, signal
os.kill(os.getppid(), signal.SIGSTOP)
)"},
    {"interrupt_parent", "SIGINT, SIGTERM and SIGHUP to its parent", "passed",
     R"(
import os, signal
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGSEGV):
    os.kill(os.getppid(), number)
)"},
    {"probe_host", "looks for a process of the host (signal 0)",
     "exception ProcessLookupError", R"(
import os
if {PID} <= 2:
    raise ProcessLookupError
os.kill({PID}, 0)
print("ESCAPED")
)"},
    {"kill_itself", "SIGKILL to itself", "killed", R"(
import os
os.kill(os.getpid(), 9)
)"},
    {"stop_itself", "SIGSTOP to itself", "time", R"(
import os
os.kill(os.getpid(), 19)
)"},
    {"ignore_signals", "ignores all signals and computes on", "time", R"(
import signal
for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
while True:
    pass
)"},
    {"alarm", "ends by SIGALRM", "killed", R"(
import signal
signal.alarm(1)
signal.pause()
)"},

    // Time.
    {"busy_loop", "computes for ever", "time", "while True: pass"},
    {"sleep", "sleeps for ever", "time", "import time; time.sleep(3600)"},
    {"busy_processes", "four processes compute, together above the limit",
     "time", R"(
import os
for i in range(3):
    if os.fork() == 0:
        break
for i in range(10**9):
    pass
)"},
    {"regex", "catastrophic backtracking", "time", R"(
import re
re.match(r"(a+)+$", "a" * 60 + "b")
)"},
    {"big_power", "an operation that no Python signal handler interrupts",
     "time | memory", "x = 7 ** (10 ** 9)"},
    {"pipe_block", "blocks on a pipe that nobody reads", "time", R"(
import os
end = os.pipe()[1]
for i in range(100):
    os.write(end, bytes(65536))
)"},
    {"fifo", "opens a named pipe that nobody writes", "time", R"(
import os
os.mkfifo("/tmp/fifo")
open("/tmp/fifo")
)"},
    {"lock", "waits for itself", "time", R"(
import threading
lock = threading.Lock()
lock.acquire()
lock.acquire()
)"},
    {"endless_message", "an exception whose text never comes", "time", R"(
class Odd(Exception):
    def __str__(self):
        while True:
            pass
raise Odd()
)"},
    {"set_clock", "sets the clock (to what it shows)",
     "exception PermissionError", R"(
import time
time.clock_settime(time.CLOCK_REALTIME, time.time())
print("ESCAPED")
)"},

    // Memory.
    {"memory_bomb", "2 GB in steps of 64 MB", "memory", R"(
blocks = []
for i in range(32):
    blocks.append(bytearray(b"x") * (64 << 20))
print("ESCAPED")
)"},
    {"memory_at_once", "a terabyte", "memory", "x = bytearray(1 << 40)"},
    {"memory_of_many", "6 processes of 60 MB, each below the limit", "memory",
     R"(
import os, time
for i in range(6):
    if os.fork() == 0:
        block = bytearray(b"x") * (60 << 20)
        time.sleep(5)
        os._exit(0)
time.sleep(5)
)"},
    {"memory_shared", "anonymous shared memory, 1 GB in steps",
     "exception OSError | memory", R"(
import mmap
blocks = []
for i in range(32):
    block = mmap.mmap(-1, 32 << 20)
    block.write(b"x" * (32 << 20))
    blocks.append(block)
print("ESCAPED")
)"},
    {"memory_caught", "catches MemoryError and goes on", "wrong", R"(
import sys
failures = 0
for i in range(200):
    try:
        block = bytearray(1 << 33)
    except MemoryError:
        failures += 1
sys.exit(3 if failures == 200 else 0)
)"},
    {"memory_file", "a file in memory, outside any limit",
     "exception PermissionError", R"(
import os
os.memfd_create("x")
print("ESCAPED")
)"},
    {"memory_sysv", "System V shared memory", "exception PermissionError", R"(
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
if libc.shmget(0, 4096, 0o1600) == -1:
    raise OSError(ctypes.get_errno(), "shmget")
print("ESCAPED")
)"},
    {"zip_bomb", "200 KB that unpack to 200 MB", "memory", R"(
import zlib
packer = zlib.compressobj()
packed = b"".join(packer.compress(bytes(1 << 20)) for i in range(200))
packed += packer.flush()
data = zlib.decompress(packed)
print("ESCAPED")
)"},
    {"raise_limits", "removes its own memory limit", "exception ValueError", R"(
import resource
resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
print("ESCAPED")
)"},
    {"parents_limits", "limits its parent's CPU time",
     "exception PermissionError", R"(
import os, resource
resource.prlimit(os.getppid(), resource.RLIMIT_CPU, (1, 1))
print("ESCAPED")
)"},
    {"nice", "takes a higher priority", "exception PermissionError", R"(
import os
os.nice(-5)
print("ESCAPED")
)"},
    {"real_time", "takes a real-time priority", "exception PermissionError", R"(
import os
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
print("ESCAPED")
)"},

    // The interpreter.
    {"recursion", "recursion without end", "exception RecursionError", R"(
def f():
    f()
f()
)"},
    // Where memory ends in the midst of a call, CPython 3.11 may forget to set
    // an exception, and says so.
    {"recursion_unlimited", "the same with the interpreter's limit lifted",
     "memory | killed | time | exception SystemError", R"(
import sys
sys.setrecursionlimit(10 ** 7)
def f():
    f()
f()
)"},
    {"stack_overflow", "overflows the C stack", "killed", R"(
import sys
sys.setrecursionlimit(10 ** 7)
nested = []
for i in range(300000):
    nested = [nested]
repr(nested)
)"},
    {"segfault", "reads address 0", "killed",
     "import ctypes; ctypes.string_at(0)"},
    {"abort", "aborts; no core file is to be left", "killed",
     "import os; os.abort()"},
    {"syntax", "is not a program", "exception SyntaxError", "def f(:\n"},
    {"null_bytes", "holds null bytes",
     "exception ValueError | exception SyntaxError",
     "x = 1\nimport os; os.write(1, bytes.fromhex('00')); exec('a\\0b')"},
    {"digits", "a number of a million digits as text", "exception ValueError",
     "str(7 ** 1200000)"},
    {"sitecustomize", "a start-up module in the scratch folder", "passed",
     "print(1)", nullptr, "sitecustomize.py"},
    {"harness_module", "a module that the harness imports", "passed",
     "print(1)", nullptr, "resource.py"},

    // Output and descriptors.
    {"endless_output", "100 MB on stdout", "output limit", R"(
for i in range(100):
    print("x" * (1 << 20))
print("ESCAPED")
)"},
    {"endless_errors", "100 MB on stderr", "output limit", R"(
import os
for i in range(1600):
    os.write(2, b"x" * 65536)
)"},
    {"long_message", "an exception with 10 MB of text", "output limit",
     "raise ValueError('x' * 10_000_000)"},
    {"write_descriptor", "writes to stdout's descriptor", "passed", R"(
import os
os.write(1, b"started\nended 0 0 0 0 0 \n")
)"},
    {"close_stdout", "closes stdout, then prints", "wrong", R"(
import os
os.close(1)
print("x")
)"},
    {"inherited", "looks for descriptors that it should not have", "passed", R"(
import fcntl, os
found = []
for i in range(3, 1024):
    try:
        flags = fcntl.fcntl(i, fcntl.F_GETFL)
    except OSError:
        continue
    found.append(i)
    if not flags & os.O_WRONLY:
        print("ESCAPED", i)
if len(found) > 1:
    print("ESCAPED", found)
)"},
    {"write_stdin", "writes to its stdin", "exception PermissionError", R"(
import os
os.write(0, b"x")
print("ESCAPED")
)"},
    {"read_stdin", "reads stdin for ever", "exception EOFError", R"(
while True:
    input()
)"},
    {"many_files", "opens 1000 files", "exception OSError", R"(
files = [open("/dev/null") for i in range(1000)]
print("ESCAPED")
)"},
    {"terminal", "puts keys into the terminal (TIOCSTI)",
     "exception PermissionError", R"(
import fcntl
fcntl.ioctl(0, 0x5412, b"x")
print("ESCAPED")
)"},
    {"huge_environment", "an environment of 6 MB", "exception OSError", R"(
import os
os.execve("/bin/true", ["true"], {f"V{i}": "x" * 100000 for i in range(64)})
)"},
    {"huge_argument", "an argument of 200 KB", "exception OSError", R"(
import os
os.execv("/bin/true", ["true", "x" * 200000])
)"},

    // Exit tricks and forged results.
    {"exit_zero", "os._exit(0) before the tests", "wrong",
     "import os; os._exit(0)", "assert False"},
    {"sys_exit", "sys.exit(0) before the tests", "wrong",
     "import sys; sys.exit(0)", "assert False"},
    {"system_exit", "raises SystemExit inside the tested function", "wrong",
     "def f(): raise SystemExit", "f(); assert False"},
    {"exit_in_atexit", "turns a failure into status 0 at exit", "wrong",
     "import atexit, os; atexit.register(os._exit, 0)", "assert False"},
    {"exit_in_excepthook", "the same in sys.excepthook", "exception ValueError",
     R"(
import os, sys
sys.excepthook = lambda *args: os._exit(0)
raise ValueError
)",
     "assert True"},
    {"exit_code", "a status of its own in a script", "wrong",
     "import sys; sys.exit(42)"},
    {"exec_true", "becomes /bin/true", "wrong",
     "import os; os.execv('/bin/true', ['true'])", "assert False"},
    {"fork_and_pass", "a child goes on with the tests, the parent leaves",
     "wrong", R"(
import os
if os.fork():
    os._exit(0)
)",
     "assert False"},
    {"forge_report", "writes a good report to every descriptor", "wrong", R"(
import os
for i in range(3, 64):
    for text in (b"started\nended 0 0 1 1 1 \n", b"finished\0\0", b"0" * 32 + b"finished\0\0"):
        try:
            os.write(i, text)
        except OSError:
            pass
os._exit(0)
)",
     "assert False"},
    {"close_all", "closes every descriptor before a failing test", "wrong",
     "import os; os.closerange(0, 64)", "assert False"},
    {"patch_builtins", "replaces exec, compile and AssertionError", "wrong", R"(
import builtins, os, sys
builtins.exec = builtins.compile = lambda *args, **kwargs: None
builtins.AssertionError = StopIteration
os._exit = sys.exit = lambda *args: None
)",
     "assert False"},
    {"catch_all", "catches the exceptions of its own test by a trace function",
     "wrong", R"(
import sys
def trace(frame, event, arg):
    return trace
sys.settrace(trace)
)",
     "assert False"},
    // The limit of what a verdict made in the program's own process can be
    // worth: README.md.
    {"forge_by_frames", "calls the harness's own report function", "passed", R"(
import os, sys
sys._getframe(1).f_locals["tell"]("finished", "", "")
os._exit(0)
)",
     "assert False"},

    // Files.
    {"shadow", "reads /etc/shadow", "exception FileNotFoundError", R"(
print(open("/etc/shadow").read())
print("ESCAPED")
)"},
    {"passwd", "reads /etc/passwd", "exception FileNotFoundError",
     "open('/etc/passwd'); print('ESCAPED')"},
    {"root_folder", "lists /root", "exception FileNotFoundError",
     "import os; os.listdir('/root'); print('ESCAPED')"},
    {"home_folder", "lists /home", "exception FileNotFoundError",
     "import os; os.listdir('/home'); print('ESCAPED')"},
    {"host_file", "reads a file of the host's /tmp",
     "exception FileNotFoundError", "open('{CANARY}'); print('ESCAPED')"},
    {"host_file_write", "writes a file of the host's /tmp",
     "exception FileNotFoundError",
     "open('{CANARY}', 'a').write('x'); print('ESCAPED')"},
    {"dot_dot", "the same by way of ..", "exception FileNotFoundError",
     "open('/tmp' + '/..' * 40 + '{CANARY}'); print('ESCAPED')"},
    {"symlink", "the same by a symbolic link", "exception FileNotFoundError",
     R"(
import os
os.symlink("{CANARY}", "/tmp/link")
open("/tmp/link")
print("ESCAPED")
)"},
    {"proc_root", "/proc/self/root", "exception FileNotFoundError",
     "import os; os.listdir('/proc/self/root/root'); print('ESCAPED')"},
    {"proc_symlink", "a link to /proc/1/root", "exception FileNotFoundError",
     R"(
import os
os.symlink("/proc/1/root", "/tmp/up")
os.listdir("/tmp/up/home")
print("ESCAPED")
)"},
    {"proc_environ", "the harness's environment", "exception FileNotFoundError",
     "open('/proc/1/environ'); print('ESCAPED')"},
    {"proc_memory", "the harness's memory", "exception FileNotFoundError",
     "open('/proc/1/mem', 'r+b'); print('ESCAPED')"},
    {"proc_sysrq", "the kernel's keys (opens, writes nothing)",
     "exception FileNotFoundError",
     "open('/proc/sysrq-trigger', 'w'); print('ESCAPED')"},
    {"sys_folder", "lists /sys", "exception FileNotFoundError",
     "import os; os.listdir('/sys'); print('ESCAPED')"},
    {"write_usr", "writes into /usr", "exception OSError",
     "open('/usr/lib/python3/repro_canary', 'w'); print('ESCAPED')"},
    {"write_root", "writes into /", "exception OSError",
     "open('/repro_canary', 'w'); print('ESCAPED')"},
    {"write_dev", "writes into /dev", "exception OSError",
     "open('/dev/repro_canary', 'w'); print('ESCAPED')"},
    {"chmod_usr", "changes the mode of an interpreter to what it is",
     "exception OSError | exception PermissionError", R"(
import os
os.chmod("/usr/bin/python3", 0o755)
print("ESCAPED")
)"},
    {"hard_link", "a hard link to a file of the system",
     "exception OSError | exception PermissionError", R"(
import os
os.link("/usr/bin/env", "/tmp/env")
print("ESCAPED")
)"},
    {"fill_scratch", "64 MB into the scratch folder", "exception OSError", R"(
for i in range(64):
    with open(f"/tmp/{i}", "wb") as file:
        file.write(bytes(1 << 20))
print("ESCAPED")
)"},
    {"fill_shm", "64 MB into /dev/shm", "exception OSError", R"(
with open("/dev/shm/x", "wb") as file:
    for i in range(64):
        file.write(bytes(1 << 20))
print("ESCAPED")
)"},
    {"sparse_file", "a file of a terabyte", "exception OSError", R"(
with open("/tmp/x", "wb") as file:
    file.truncate(1 << 40)
print("ESCAPED")
)"},
    {"deep_folders", "200 nested folders", "passed", R"(
import os
for i in range(200):
    os.mkdir("d")
    os.chdir("d")
)"},
    {"device_node", "makes a block device", "exception PermissionError", R"(
import os, stat
os.mknod("/tmp/disk", stat.S_IFBLK | 0o600, os.makedev(8, 0))
print("ESCAPED")
)"},
    {"memory_device", "opens /dev/mem", "exception FileNotFoundError",
     "open('/dev/mem', 'rb'); print('ESCAPED')"},
    {"controlling_terminal", "opens /dev/tty", "exception FileNotFoundError",
     "open('/dev/tty'); print('ESCAPED')"},
    {"environment", "looks for the caller's environment", "passed", R"(
import os
known = {"PATH", "HOME", "LANG", "PYTHONHASHSEED", "OMP_NUM_THREADS",
         "MALLOC_ARENA_MAX", "REPRO_SANDBOX", "PWD", "LC_CTYPE"}
if set(os.environ) - known:
    print("ESCAPED", set(os.environ) - known)
)"},

    // Network.
    {"tcp_connect", "a TCP connection to the host", "exception PermissionError",
     R"(
import socket
socket.create_connection(("127.0.0.1", {PORT}), 1)
print("ESCAPED")
)"},
    {"tcp_listen", "listens", "exception PermissionError", R"(
import socket
socket.create_server(("0.0.0.0", 0))
print("ESCAPED")
)"},
    {"udp", "sends a datagram", "exception PermissionError", R"(
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.sendto(b"x", ("127.0.0.1", {PORT}))
print("ESCAPED")
)"},
    {"raw_socket", "a raw socket", "exception PermissionError", R"(
import socket
socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)
print("ESCAPED")
)"},
    {"ipv6", "an IPv6 socket", "exception PermissionError", R"(
import socket
socket.socket(socket.AF_INET6)
print("ESCAPED")
)"},
    {"abstract_socket", "an abstract Unix socket of the host",
     "exception PermissionError", R"(
import socket
socket.socket(socket.AF_UNIX).connect("\0{SOCKET}")
print("ESCAPED")
)"},
    {"netlink", "asks the kernel for its networks", "exception PermissionError",
     R"(
import socket
socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
print("ESCAPED")
)"},
    {"packet_pair", "socketpair of another family", "exception PermissionError",
     R"(
import socket
socket.socketpair(socket.AF_INET)
print("ESCAPED")
)"},
    {"resolve", "looks up a name", "exception socket.gaierror", R"(
import socket
socket.getaddrinfo("example.com", 80)
print("ESCAPED")
)"},
    {"http", "fetches a page of the host", "exception urllib.error.URLError",
     R"(
import urllib.request
urllib.request.urlopen("http://127.0.0.1:{PORT}/", timeout=1)
print("ESCAPED")
)"},

    // The kernel.
    {"ptrace", "traces its parent", "exception PermissionError", R"(
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
if libc.ptrace(16, os.getppid(), 0, 0) == -1:
    raise OSError(ctypes.get_errno(), "ptrace")
print("ESCAPED")
)"},
    {"read_parent", "reads its parent's memory", "exception PermissionError",
     R"(
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
if libc.process_vm_readv(os.getppid(), 0, 0, 0, 0, 0) == -1:
    raise OSError(ctypes.get_errno(), "process_vm_readv")
print("ESCAPED")
)"},
    {"parents_descriptor", "takes the report's descriptor from its parent",
     "exception PermissionError", R"(
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
pidfd = os.pidfd_open(os.getppid())
if libc.syscall(438, pidfd, 4, 0) == -1:
    raise OSError(ctypes.get_errno(), "pidfd_getfd")
print("ESCAPED")
)"},
    {"unshare", "a user namespace of its own", "exception PermissionError", R"(
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
if libc.unshare(0x10000000) == -1:
    raise OSError(ctypes.get_errno(), "unshare")
print("ESCAPED")
)"},
    {"clone_namespace", "the same by clone", "exception PermissionError", R"(
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
child = libc.syscall(56, 0x10000000 | 17, 0, 0, 0, 0)
if child == 0:
    os._exit(0)
if child == -1:
    raise OSError(ctypes.get_errno(), "clone")
print("ESCAPED")
)"},
    {"clone3", "the same by clone3", "exception OSError", R"(
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
if libc.syscall(435, 0, 0) == -1 and ctypes.get_errno() == 38:
    raise OSError(ctypes.get_errno(), "clone3")
print("ESCAPED")
)"},
    {"mount", "mounts a file system", "exception PermissionError", R"(
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
if libc.mount(b"none", b"/tmp", b"proc", 0, None) == -1:
    raise OSError(ctypes.get_errno(), "mount")
print("ESCAPED")
)"},
    {"unmount", "takes the scratch folder away", "exception PermissionError",
     R"(
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
if libc.umount2(b"/tmp", 2) == -1:
    raise OSError(ctypes.get_errno(), "umount2")
print("ESCAPED")
)"},
    {"chroot", "another root", "exception PermissionError",
     "import os; os.chroot('/tmp'); print('ESCAPED')"},
    {"set_uid", "becomes root", "exception OSError | exception PermissionError",
     "import os; os.setuid(0); print('ESCAPED')"},
    {"set_groups", "takes groups", "exception PermissionError",
     "import os; os.setgroups([0]); print('ESCAPED')"},
    {"su", "a program that is set-uid root", "wrong", R"(
import subprocess, sys
done = subprocess.run(["/usr/bin/su", "-c", "echo ESCAPED"], stdin=subprocess.DEVNULL)
sys.exit(1 if done.returncode else 0)
)"},
    {"nested_sandbox", "bubblewrap inside", "wrong", R"(
import subprocess, sys
done = subprocess.run(["/usr/bin/bwrap", "--ro-bind", "/", "/", "/bin/echo", "ESCAPED"])
sys.exit(1 if done.returncode else 0)
)"},
    {"host_name", "another host name", "exception PermissionError",
     "import socket; socket.sethostname('x'); print('ESCAPED')"},
#define REPRO_SYSTEM_CALL(name, attempt, number, arguments) \
  {                                                         \
    name, attempt, "exception PermissionError",             \
        "import ctypes\n"                                   \
        "libc = ctypes.CDLL(None, use_errno=True)\n"        \
        "if libc.syscall(" number ", " arguments            \
        ") == -1:\n"                                        \
        "    raise OSError(ctypes.get_errno(), '" name      \
        "')\n"                                              \
        "print('ESCAPED')\n"                                \
  }
    REPRO_SYSTEM_CALL("keyctl", "the session's keys", "250", "0, -3, 0"),
    REPRO_SYSTEM_CALL("add_key", "a key", "248", "b'user', b'a', b'b', 1, -2"),
    REPRO_SYSTEM_CALL("bpf", "a BPF map", "321", "0, 0, 0"),
    REPRO_SYSTEM_CALL("perf_event_open", "counters of the kernel", "298",
                      "0, 0, -1, -1, 0"),
    REPRO_SYSTEM_CALL("userfaultfd", "page faults by hand", "323", "0"),
    REPRO_SYSTEM_CALL("io_uring_setup", "a ring of system calls", "425",
                      "1, 0"),
    REPRO_SYSTEM_CALL("kexec_file_load", "another kernel (no such file)", "320",
                      "-1, -1, 0, 0, 0"),
    REPRO_SYSTEM_CALL("init_module", "a kernel module (none given)", "175",
                      "0, 0, 0"),
    REPRO_SYSTEM_CALL("personality", "an address space without layout", "135",
                      "0x0040000"),
    REPRO_SYSTEM_CALL("name_to_handle_at", "file handles across roots", "303",
                      "-100, b'/tmp', 0, 0, 0"),
    REPRO_SYSTEM_CALL("setns", "another namespace (no such descriptor)", "308",
                      "-1, 0"),
    REPRO_SYSTEM_CALL("modify_ldt", "segments of the processor", "154",
                      "0, 0, 0"),
    REPRO_SYSTEM_CALL("syslog", "the kernel's log", "103", "10, 0, 0"),
#undef REPRO_SYSTEM_CALL
};

}  // namespace

const std::vector<HostileProgram>& HostilePrograms() {
  static const auto* programs = new std::vector<HostileProgram>(
      std::begin(kPrograms), std::end(kPrograms));
  return *programs;
}

}  // namespace repro::exec
