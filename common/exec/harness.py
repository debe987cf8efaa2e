"""Pid 1 of a sandbox: runs one untrusted program as its child and reports.

Reads the job from descriptor 3 and reports on descriptor 4, which the program
never has. The kernel protects pid 1 of a namespace from signals out of the
namespace; there is no /proc, and the seccomp filter forbids ptrace and its kin,
so the exit status, the times and the memory in the report are not the
program's to forge. What the child tells about itself (that it came to its end,
the type of its exception) goes through a pipe and is marked by a random token:
a program that writes to all its descriptors is not believed, one that searches
the interpreter's frames for the token would be.
"""
import os
import resource
import signal
import sys
import time

JOB, REPORT = 3, 4
SCRATCH = "/tmp"
MAX_MESSAGE = 2000  # bytes; the status pipe must never block


def read_job():
    parts = []
    while part := os.read(JOB, 1 << 20):
        parts.append(part)
    os.close(JOB)
    job, position, entries = b"".join(parts), 0, []
    while position < len(job):
        end = job.index(b"\n", position)
        name, size = job[position:end].decode().rsplit(" ", 1)
        position = end + 1 + int(size)
        entries.append((name, job[end + 1 : position]))
    return entries


def write_file(name, data):
    path = os.path.join(SCRATCH, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)
    return path


def set_limits(limits):
    for name, value in limits:
        which = getattr(resource, "RLIMIT_" + name)
        # A second from SIGXCPU, which can be caught, to SIGKILL.
        hard = value + 1 if name == "CPU" else value
        resource.setrlimit(which, (value, hard))


def type_name(error):
    kind = type(error)
    if kind.__module__ in ("builtins", "__main__"):
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


def run_python(path, program, tests, checked, tell):
    """Returns the exit status; the interpreter then ends as it always does."""
    # The program may replace what builtins and modules hold.
    execute, write_error, leave = exec, sys.stderr.write, os._exit
    module = type(sys)("__main__")
    module.__file__ = path
    module.__builtins__ = __builtins__
    sys.modules["__main__"] = module
    sys.argv = [path]
    stage = "program"
    try:
        code = compile(program, path, "exec", dont_inherit=True)
        if checked:
            stage = "tests"
            name = os.path.join(SCRATCH, "tests.py")
            test_code = compile(tests, name, "exec", dont_inherit=True)
            stage = "program"
        execute(code, module.__dict__)
        if checked:
            stage = "tests"
            execute(test_code, module.__dict__)
    except SystemExit as error:
        if checked:
            tell(stage, "SystemExit", str(error.code))
        if error.code is None or isinstance(error.code, int):
            return error.code
        write_error(f"{error.code}\n")
        return 1
    except BaseException as error:
        kind = type_name(error)
        try:
            message = str(error)
        except BaseException:
            message = ""
        tell(stage, kind, message)
        trace = error.__traceback__
        # The harness's own frame is not part of the program's traceback.
        error.__traceback__ = trace.tb_next
        sys.excepthook(type(error), error, error.__traceback__)
        return 1
    if checked:
        tell("finished", "", "")
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            leave(0)  # threads and atexit handlers have no say in the verdict
    return 0


def main():
    if os.getpid() != 1:
        sys.exit("not pid 1: this is not a namespace of its own")
    # Unhandled signals from inside do not reach pid 1.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    limits, command, imports = [], [], []
    program = tests = b""
    checked = False
    path = ""
    for name, data in read_job():
        kind, _, rest = name.partition(" ")
        if kind == "limit":
            limits.append((rest, int(data)))
        elif kind == "file":
            write_file(rest, data)
        elif kind == "program":
            path, program = write_file(rest, data), data
        elif kind == "tests":
            checked, tests = True, data
        elif kind == "command":
            command.append(os.fsdecode(data))
        elif kind == "import":
            imports.append(os.fsdecode(data))
    token = os.urandom(16).hex().encode()
    status_in, status_out = os.pipe()
    os.set_blocking(status_in, False)
    os.write(REPORT, b"started\n")
    start = time.monotonic()
    child = os.fork()
    if child == 0:
        os.close(REPORT)
        os.close(status_in)
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)

        write = os.write

        def tell(stage, kind, message):
            text = "\0".join((stage, kind[:200], message[:MAX_MESSAGE // 4]))
            data = text.encode("utf-8", "replace")[:MAX_MESSAGE]
            try:
                write(status_out, token + data)
            except OSError:
                pass  # closed by the program: it is not believed then

        set_limits(limits)
        if command:
            argv = [path if part == "{file}" else part for part in command]
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            try:
                os.execv(argv[0], argv)
            except OSError as error:
                print(f"{argv[0]}: {error}", file=sys.stderr)
                tell("program", "OSError", f"{argv[0]}: {error}")
                return 127
        sys.path[:0] = [SCRATCH, *imports]
        return run_python(path, program, tests, checked, tell)
    os.close(status_out)
    while True:
        pid, status = os.wait()  # orphans come to pid 1, too
        if pid == child:
            break
    wall = time.monotonic() - start
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        told = os.read(status_in, 1 << 16)
    except BlockingIOError:
        told = b""
    told = told.rpartition(token)[2] if token in told else b""
    code, killer = os.waitstatus_to_exitcode(status), 0
    if code < 0:
        code, killer = 0, -code
    cpu = usage.ru_utime + usage.ru_stime
    report = f"ended {code} {killer} {int(wall * 1e6)} {int(cpu * 1e6)} "
    report += f"{usage.ru_maxrss} {told.hex()}\n"
    os.write(REPORT, report.encode())
    os._exit(0)  # the kernel now kills what the program left behind


sys.exit(main())
