"""Runs one generated program up to its answer, its failure, or a question.

Runs inside the sandbox, once for every question: the job holds the replies that
the language model gave so far, by the trace lines it was asked with, so that
the program starts again from the top and passes what was answered. There is no
channel out but the report, one JSON object on stdout; what the program itself
prints goes to stderr. The program shares this interpreter and could forge the
report, which gives it no more than `answer = ...` does: the caller believes
nothing else of it and bounds how often it asks.
"""
import collections
import json
import math
import os
import sys

MAX_DEPTH = 32  # of a value that the model is shown
MAX_NODES = 10000  # containers, scalars and characters of one variable
MAX_INT_BITS = 4096
MAX_TEXT = 4096  # characters of an answer or a message
MAX_TRACE = 1 << 22  # characters of the trace that are kept


def report(event, **fields):
    data = json.dumps({"event": event, **fields}).encode()
    while data:
        data = data[os.write(1, data) :]
    os._exit(0)  # not an exception: the program could swallow that


def fail(reason, message=""):
    report("failed", reason=reason, message=message[:MAX_TEXT])


class NotLiteral(Exception):
    pass


def literal(value, budget, depth=0):
    """A copy of value made of the builtin literal types alone.

    Raises NotLiteral for anything else and for what is too large or too deep.
    Subclasses lose what they add (a Counter becomes a dict): none of their
    methods is called.
    """
    kind = type(value)
    budget[0] -= 1
    if budget[0] < 0 or depth > MAX_DEPTH:
        raise NotLiteral
    if value is None or kind is bool:
        return value
    if issubclass(kind, int):
        if int.bit_length(value) > MAX_INT_BITS:
            raise NotLiteral
        return int.__add__(value, 0)
    if issubclass(kind, float):
        if not math.isfinite(float.__float__(value)):
            raise NotLiteral
        return float.__float__(value)
    if issubclass(kind, str):
        budget[0] -= str.__len__(value)
        return str.__str__(value)
    for builtin in (list, tuple, set):
        if issubclass(kind, builtin):
            items = builtin.__iter__(value)
            return builtin(literal(v, budget, depth + 1) for v in items)
    if issubclass(kind, dict):
        return {
            literal(k, budget, depth + 1): literal(v, budget, depth + 1)
            for k, v in dict.items(value)
        }
    raise NotLiteral


def visible_state(variables):
    state = {}
    for name, value in variables.items():
        try:
            state[name] = literal(value, [MAX_NODES])
        except NotLiteral:
            pass
    return state


def delta(state, last):
    return {k: v for k, v in state.items() if k not in last or v != last[k]}


def parse_reply(reply):
    """The dictionary that a reply writes down; it is never evaluated."""
    import ast  # here and not above: most runs come to no reply

    try:
        update = ast.literal_eval(reply.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
    if type(update) is not dict or any(type(k) is not str for k in update):
        return None
    return update


class Wrapped:
    """The program as a function, its language model lines in try and except.

    lm_lines are indices of the program's lines in the order in which they were
    found to fail. `asked` holds the positions of the lines that the model is
    asked for. As coded by the authors they are positions at the time of the
    wrapping: three lines that are later put in above make them wrong.
    """

    def __init__(self, program, lm_lines, as_coded):
        body = program.split("\n")
        self.lines = ["def get_answer():"]
        self.lines += ["  " + line for line in body]
        self.lines += ["  return answer"]
        self.origins = [None, *range(len(body)), None]
        self.asked = set()
        for origin in lm_lines:
            at = self.origins.index(origin)
            line = self.lines[at]
            indent = " " * (len(line) - len(line.lstrip()))
            self.lines[at : at + 1] = [
                indent + "try:",
                "  " + line,
                indent + "except:",
                indent + "  pass",
            ]
            self.origins[at : at + 1] = [None, origin, None, None]
            self.asked.add(at + 1)
        if not as_coded:
            found = set(lm_lines)
            positions = enumerate(self.origins)
            self.asked = {at for at, origin in positions if origin in found}
        self.source = "\n".join([*self.lines, "answer = get_answer()"])


class Tracer:
    def __init__(self, job, wrapped):
        self.job = job
        self.wrapped = wrapped
        self.last_state = None
        self.trace = collections.deque()
        self.trace_size = 0
        self.visits = 0
        self.steps = 0
        self.first_exception = None  # position, as the authors' code has it

    def __call__(self, frame, event, argument):
        if frame.f_code.co_name != "get_answer":
            return None
        if event == "line":
            self.before_line(frame)
        elif event == "exception" and self.first_exception is None:
            position = frame.f_lineno - 1
            if position not in self.wrapped.asked:
                self.first_exception = position
        return self

    def add(self, line):
        self.trace.append(line)
        self.trace_size += len(line)
        while (
            len(self.trace) > self.job["max_trace_lines"]
            or self.trace_size > MAX_TRACE
        ):
            self.trace_size -= len(self.trace.popleft())

    def last_lines(self):
        """As many lines as fit into the report, from the end on."""
        room, lines = self.job["max_tail_characters"], []
        for line in reversed(self.trace):
            room -= len(line)
            if room < 0:
                break
            lines.append(line)
        return lines[::-1]

    def before_line(self, frame):
        self.steps += 1
        if self.steps > self.job["max_steps"]:
            fail("too many steps")
        position = frame.f_lineno - 1
        line = self.wrapped.lines[position]
        if line.strip() in ("try:", "except:", "pass"):
            return
        variables = frame.f_locals
        state = visible_state(variables)
        if self.last_state is None:
            self.add("state: {}")
        else:
            self.add(f"delta state: {delta(state, self.last_state)}")
        self.last_state = state
        if position == len(self.wrapped.lines) - 1:
            return  # return answer
        asked = position in self.wrapped.asked
        self.add("line: " + line[4 if asked else 2 :])
        if asked:
            self.ask(variables)

    def ask(self, variables):
        self.visits += 1
        lines = list(self.trace)
        if self.job["context_lines"] > 0:
            lines = lines[-self.job["context_lines"] :]
        tail = "\n".join(lines)
        if len(tail) > self.job["max_tail_characters"]:
            fail("the state is too large to ask about")
        reply = self.job["replies"].get(tail)
        if reply is None:
            report("ask", tail=tail, visits=self.visits)
        update = parse_reply(reply)
        if update is None:
            if self.job["as_coded"]:
                # Out of a trace function: tracing ends for good, and the
                # program's try swallows it.
                raise ValueError("the reply is not a dictionary")
            fail("malformed reply", reply)
        # CPython writes the dictionary back into the frame's variables after
        # the trace function; f_locals must not be read again before that.
        variables.update(update)


def answer_of(value):
    try:
        return str(literal(value, [MAX_NODES]))
    except NotLiteral:
        return str(value)


def main():
    with open(os.path.join(os.path.dirname(__file__), "job.json")) as file:
        job = json.load(file)
    wrapped = Wrapped(job["program"], job["lm_lines"], job["as_coded"])
    try:
        code = compile(wrapped.source, "<program>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        wraps = bool(job["lm_lines"])
        fail("cannot be wrapped" if wraps else "syntax error", str(error))
    sys.stdout = sys.stderr
    if "random" in job["program"]:
        import random

        random.seed(0)  # a run must come to the questions of the one before
    variables = {"__name__": "__main__", "__builtins__": __builtins__}
    tracer = Tracer(job, wrapped)
    try:
        if job["traced"]:
            sys.settrace(tracer)
        exec(code, variables)
        sys.settrace(None)
        if variables.get("answer") is None:
            fail("no answer")
        answer = answer_of(variables["answer"])
    except BaseException as error:
        sys.settrace(None)
        position, step = None, error.__traceback__
        while step is not None:
            if step.tb_frame.f_code.co_name == "get_answer":
                position = step.tb_lineno - 1
                break
            step = step.tb_next
        if job["as_coded"] and job["traced"]:
            position = tracer.first_exception
        message = f"{type(error).__name__}: {error}"
        origin = None if position is None else wrapped.origins[position]
        if origin is None:
            fail("no answer", message)
        report(
            "error", line=origin, message=message[:MAX_TEXT],
            visits=tracer.visits,
        )
    report(
        "answer", answer=answer[:MAX_TEXT], visits=tracer.visits,
        trace=tracer.last_lines(),
    )


main()
