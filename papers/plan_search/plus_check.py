"""Runs behind a program for a HumanEval+ task, in its globals: passes if its
function gives what the reference solution gives, on every input of the task.

/tmp/job.json is the task's record; /tmp/inputs says which of its lists of
inputs to use. Equality is EvalPlus's: exact, or near where the reference gives
floats or the task states a tolerance.
"""


def _repro_check(globals_of_program):
    import contextlib
    import copy
    import io
    import json
    import math

    with open("/tmp/job.json") as file:
        task = json.load(file)
    with open("/tmp/inputs") as file:
        inputs = [i for name in file.read().split() for i in task[name]]
    name, tolerance = task["entry_point"], task["atol"]

    def number(value):
        return isinstance(value, (int, float, complex))

    def floats(value):
        if isinstance(value, (list, tuple)):
            return bool(value) and all(isinstance(v, float) for v in value)
        return isinstance(value, float)

    def near(got, expected, atol):
        if isinstance(expected, (list, tuple)):
            return (
                isinstance(got, (list, tuple))
                and len(got) == len(expected)
                and all(near(g, e, atol) for g, e in zip(got, expected))
            )
        if not (number(got) and number(expected)):
            return False
        if math.isinf(abs(expected)) or math.isinf(abs(got)):
            return got == expected
        return abs(got - expected) <= atol + 1e-7 * abs(expected)

    def same(got, expected):
        atol = tolerance
        if atol == 0 and floats(expected):
            atol = 1e-6
        if got == expected:
            return True
        if atol == 0 or type(got) is not type(expected):
            return False
        return near(got, expected, atol)

    reference = {"__name__": "reference"}
    exec(task["prompt"] + task["canonical_solution"], reference)
    tested = globals_of_program[name]
    for arguments in inputs:
        # Neither may see what the other did to its arguments.
        expected = reference[name](*copy.deepcopy(arguments))
        with contextlib.redirect_stdout(io.StringIO()):
            got = tested(*copy.deepcopy(arguments))
        if name == "find_zero":  # any root will do
            right = abs(reference["poly"](*arguments, got)) <= tolerance
        else:
            right = same(got, expected)
        assert bool(right), "another value than the reference's"


_repro_check(globals())
