"""Counts what programs cost, in interpreter instructions and traced bytes.

job.json: {"programs": [[program, tests], ...], "limit": instructions, "memory":
bool}. The tests are code that runs in the program's globals; what they and
libraries execute is not counted, nor is the program's own definition. The last
line of stdout is a JSON list, for each program [passed, instructions, peak
bytes, [[line, hits, instructions, bytes], ...]].
"""
import json
import random
import sys
import tracemalloc

FILE = "candidate.py"


class OverLimit(BaseException):
    pass


class Counter:
    def __init__(self, limit, memory):
        self.limit, self.memory = limit, memory
        self.instructions = 0
        self.lines = {}  # line: [hits, instructions, bytes]
        self.line, self.bytes = None, 0

    def trace_call(self, frame, event, _):
        if frame.f_code.co_filename != FILE:
            return None
        frame.f_trace_opcodes = True
        # Instructions that stand on no line count on the one before.
        line = self.entry(frame.f_code.co_firstlineno)

        def trace(frame, event, _):
            nonlocal line
            if event == "opcode":
                self.instructions += 1
                if self.instructions > self.limit:
                    raise OverLimit
                line[1] += 1
            elif event == "line":
                line = self.entry(frame.f_lineno)
                line[0] += 1
                if self.memory:
                    now = tracemalloc.get_traced_memory()[0]
                    if self.line is not None:
                        self.line[2] += now - self.bytes
                    self.line, self.bytes = line, now
            return trace

        return trace

    def entry(self, line):
        return self.lines.setdefault(line, [0, 0, 0])


def measure(program, tests, limit, memory):
    counter = Counter(limit, memory)
    passed, peak = True, 0
    try:
        scope = {"__name__": "__main__"}
        exec(compile(program, FILE, "exec"), scope)
        checks = compile(tests, "tests.py", "exec")
        random.seed(0)
        if memory:
            tracemalloc.start()
        sys.settrace(counter.trace_call)
        try:
            exec(checks, scope)
        finally:
            sys.settrace(None)
            if memory:
                peak = tracemalloc.get_traced_memory()[1]
                tracemalloc.stop()
    except BaseException:
        passed = False
    lines = [[n, *numbers] for n, numbers in sorted(counter.lines.items())
             if any(numbers)]
    return [passed, counter.instructions, peak, lines]


with open("job.json") as file:
    job = json.load(file)
report = [measure(*one, job["limit"], job["memory"]) for one in job["programs"]]
print("\n" + json.dumps(report))
