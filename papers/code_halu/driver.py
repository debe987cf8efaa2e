"""Runs one generated program against one test and reports what came of it.

Runs inside the sandbox. The job holds the program's text as the caller has made
it; the report is one line of JSON at the end of stdout. What the program prints
is kept and reported, since the caller compares it.
"""
import builtins
import contextlib
import io
import json
import os
import signal
import sys
import time
from unittest import mock

MAX_OUTPUT = 4 << 20  # characters
MAX_MESSAGE = 500

write, leave, clock = os.write, os._exit, time.monotonic


class TimeoutException(Exception):
    pass


def on_alarm(number, frame):
    print("alarm went off")  # seen by the comparison if the program goes on
    raise TimeoutException


def report(**fields):
    data = ("\n" + json.dumps(fields)).encode()
    while data:
        data = data[write(1, data) :]
    leave(0)


def set_alarm(seconds):
    signal.setitimer(signal.ITIMER_REAL, seconds)


def guard():
    """What the authors' harness takes from a program, by name."""
    import shutil
    import subprocess

    os.environ["OMP_NUM_THREADS"] = "1"
    names = {
        builtins: "exit quit help",
        os: "kill system putenv remove removedirs rmdir fchdir setuid fork "
        "forkpty killpg rename renames truncate replace unlink fchmod fchown "
        "chmod chown chroot lchflags lchmod lchown getcwd chdir",
        shutil: "rmtree move chown",
        subprocess: "Popen",
    }
    for holder, attributes in names.items():
        for name in attributes.split():
            setattr(holder, name, None)
    for name in "ipdb joblib resource psutil tkinter".split():
        sys.modules[name] = None


def define(job):
    """The function to call. An error in the definition is not reported: the
    authors' harness goes on without a function, and the call then fails."""
    holder = None
    set_alarm(job["test_seconds"])
    try:
        module = type(sys)("tmp_sol")
        exec(job["program"], module.__dict__)
        holder = module.Solution() if job["in_class"] else module
        defined = True
    except Exception:
        defined = False
    set_alarm(0)
    if defined:
        with contextlib.suppress(Exception):
            return getattr(holder, job["function"])
    return None


def call(function, arguments):
    if function is None:
        raise UnboundLocalError("the program defines no function to call")
    return function(*arguments)


@contextlib.contextmanager
def standard_input(text):
    """sys.stdin and open() give the text. The stdin of before, which the
    program may have kept under another name, gives its lines without ends."""
    lines = iter(text.split("\n"))
    real = sys.stdin
    with contextlib.ExitStack() as stack:
        for name, replacement in (
            ("read", lambda *_: text),
            ("readlines", lambda *_: text.split("\n")),
            ("readline", lambda *_: next(lines)),
        ):
            stack.enter_context(mock.patch.object(real, name, replacement))
        stack.enter_context(mock.patch("sys.stdin", io.StringIO(text)))
        stack.enter_context(
            mock.patch("builtins.open", mock.mock_open(read_data=text))
        )
        yield


def int_keyed(mapping):
    """JSON has text keys only; the authors take them for integers."""
    return {int(key): item for key, item in mapping.items()}


def with_int_keys(values):
    """Of a first element, whose successors the authors then leave out."""
    with contextlib.suppress(Exception):
        if isinstance(values[0], dict):
            return [int_keyed(values[0])]
    return values


def returned_matches(output, expected):
    if isinstance(output, tuple):
        output = list(output)
    matches = output == expected
    if isinstance(expected, list) and expected:
        matches = matches or output == expected[0]
    with contextlib.suppress(Exception):
        if isinstance(output[0], tuple):
            matches = matches or [list(x) for x in output] == expected[0]
    return bool(matches)


def run_function(job):
    arguments = with_int_keys(job["input"])
    expected = with_int_keys(job["expected"])
    if isinstance(expected, dict):
        with contextlib.suppress(ValueError):
            expected = [int_keyed(expected)]
    function = define(job)
    # Not of interest, and not for the report's stream.
    sys.stdout = io.StringIO()
    return judged(
        job,
        lambda: {
            "matches": returned_matches(call(function, arguments), expected)
        },
    )


def run_on_input(job):
    if job["as_script"]:
        variables = {"__name__": "__main__"}

        def function():
            exec(compile(job["program"], "main.py", "exec"), variables)

    else:
        function = define(job)
    captured = io.StringIO()
    captured.close = lambda: None

    def test():
        with standard_input(job["input"]):
            with contextlib.suppress(SystemExit):
                call(function, ())
        return {}

    sys.stdout = captured
    fields = judged(job, test)
    text = captured.getvalue()[:MAX_OUTPUT]
    fields["output"] = text.encode("utf-8", "replace").decode()
    return fields


def judged(job, test):
    start = clock()
    try:
        set_alarm(job["test_seconds"])
        fields = test()
        set_alarm(0)
    except Exception as error:
        set_alarm(0)
        message = ""
        with contextlib.suppress(Exception):
            message = str(error)[:MAX_MESSAGE]
        fields = {
            "error": type(error).__name__,
            "message": message.encode("utf-8", "replace").decode(),
        }
    fields["seconds"] = clock() - start
    return fields


def main():
    with open(os.path.join(os.path.dirname(__file__), "job.json")) as file:
        job = json.load(file)
    # As the authors' child process has it.
    sys.stdin = open(os.devnull)
    signal.signal(signal.SIGALRM, on_alarm)
    # The module site, which defines them elsewhere, is not loaded here.
    builtins.exit = builtins.quit = sys.exit
    if job["guard"]:
        guard()
    fields = (run_function if job["calls"] else run_on_input)(job)
    report(**fields)


main()
