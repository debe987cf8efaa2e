"""Runs one program as a script and logs its memory, as mprof does from outside.

job.json: {"program": text, "interval": seconds, "repeats": how often}. The last
line of stdout is a JSON list of [MB, seconds] samples. There is no /proc in the
sandbox, so a sample is the largest resident set so far.
"""
import json
import resource
import signal
import time

with open("job.json") as file:
    job = json.load(file)
samples = []


def sample(*unused):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    samples.append((peak, time.time()))


code = compile(job["program"], "candidate.py", "exec")
signal.signal(signal.SIGALRM, sample)
sample()
signal.setitimer(signal.ITIMER_REAL, job["interval"], job["interval"])
try:
    for _ in range(job["repeats"]):
        exec(code, {"__name__": "__main__"})
finally:
    signal.setitimer(signal.ITIMER_REAL, 0)
sample()
print("\n" + json.dumps(samples))
