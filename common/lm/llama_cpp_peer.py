#!/usr/bin/env python3
"""Times this project's CPU language model beside llama.cpp on one GGUF file.

Prefill of a prompt, then decode of tokens after it, by both with the same
number of threads. Each round is a fresh process of each, one after the other,
the order turned every round; the table has medians and ranges over rounds.

  pip install llama-cpp-python==0.3.36
      (compiles llama.cpp for this machine: cmake, a C++ compiler, minutes; where
      that dies of SIGILL, CMAKE_ARGS="-DGGML_NATIVE=OFF -DGGML_AVX512=ON ..." names
      what the processor has)
  bazel build //common/lm:benchmark
  python3 common/lm/llama_cpp_peer.py --model SmolLM2-135M-Instruct.Q4_1.gguf
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

# As //common/lm:benchmark.
PROMPT = 512
DECODED = 64
PHASES = {f"prefill_{PROMPT}": "prefill", f"decode_{DECODED}": "decode"}
PASSES = 3


def measure_llama(path, threads):
  """Tokens a second of each phase, the mean of passes after a warm one."""
  import llama_cpp
  model = llama_cpp.Llama(
      path, n_ctx=PROMPT + DECODED, n_batch=PROMPT, n_ubatch=PROMPT,
      n_threads=threads, n_threads_batch=threads, verbose=False)
  prompt = list(range(1000, 1000 + PROMPT))
  seconds = dict.fromkeys(PHASES.values(), 0.0)
  for i in range(PASSES + 1):
    model.reset()
    start = time.perf_counter()
    model.eval(prompt)
    middle = time.perf_counter()
    for token in prompt[:DECODED]:
      model.eval([token])
    end = time.perf_counter()
    if i > 0:
      seconds["prefill"] += middle - start
      seconds["decode"] += end - middle
  print(json.dumps({"prefill": PASSES * PROMPT / seconds["prefill"],
                    "decode": PASSES * DECODED / seconds["decode"]}))


def output_of(command, environment):
  result = subprocess.run(command, env={**os.environ, **environment},
                          capture_output=True, text=True, check=False)
  if result.returncode:
    sys.exit(f"{' '.join(command)}: exit code {result.returncode}\n"
             f"{result.stderr}")
  return json.loads(result.stdout)


def repro_rates(arguments):
  environment = {"OMP_NUM_THREADS": str(arguments.threads),
                 "REPRO_ASSETS": os.path.dirname(arguments.model)}
  report = output_of(
      [arguments.benchmark, f"--threads={arguments.threads}",
       "--benchmark_filter=^smollm2", "--benchmark_format=json",
       "--benchmark_min_time=1"], environment)
  rates = {}
  for row in report["benchmarks"]:
    phase = row["name"].split("/")[1]
    if phase not in PHASES:
      sys.exit(f"{arguments.benchmark} measured {row['name']}, expected "
               f"{' and '.join(PHASES)}")
    rates[PHASES[phase]] = row["tokens/s"]
  if len(rates) < len(PHASES):
    sys.exit(f"{arguments.benchmark} did not find the model in the folder of "
             f"{arguments.model}")
  return rates


def llama_rates(arguments):
  return output_of([sys.executable, __file__, "--measure-llama", "--model",
                    arguments.model, "--threads", str(arguments.threads)],
                   {"OMP_NUM_THREADS": str(arguments.threads)})


def cpu_name():
  with open("/proc/cpuinfo", encoding="utf-8") as file:
    for line in file:
      if line.startswith("model name"):
        return line.split(":", 1)[1].strip()
  return "unknown CPU"


def main():
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  parser.add_argument("--model", required=True, type=os.path.abspath,
                      help="SmolLM2-135M-Instruct.Q4_1.gguf")
  parser.add_argument("--benchmark", default="bazel-bin/common/lm/benchmark",
                      help="this project's program")
  parser.add_argument("--threads", type=int, default=2)
  parser.add_argument("--rounds", type=int, default=5)
  parser.add_argument("--table", help="file for the table, Markdown")
  parser.add_argument("--measure-llama", action="store_true",
                      help="one round of llama.cpp alone, as JSON")
  arguments = parser.parse_args()
  if arguments.measure_llama:
    measure_llama(arguments.model, arguments.threads)
    return

  measures = [("repro", repro_rates), ("llama.cpp", llama_rates)]
  rates = {(name, phase): [] for name, _ in measures
           for phase in PHASES.values()}
  for i in range(arguments.rounds):
    for name, measure in measures if i % 2 == 0 else reversed(measures):
      for phase, rate in measure(arguments).items():
        rates[name, phase].append(rate)

  import llama_cpp
  lines = [f"{cpu_name()}, {arguments.threads} threads, "
           f"{os.path.basename(arguments.model)}, llama-cpp-python "
           f"{llama_cpp.__version__}, {arguments.rounds} rounds", "",
           "| phase | implementation | tokens/s | lowest to highest "
           "| repro / llama.cpp |",
           "| --- | --- | ---: | ---: | ---: |"]
  for label, phase in PHASES.items():
    peer = statistics.median(rates["llama.cpp", phase])
    for name, _ in measures:
      values = rates[name, phase]
      median = statistics.median(values)
      ratio = f"{median / peer:.2f}" if name == "repro" else ""
      lines.append(f"| {label.replace('_', ' of ')} | {name} | {median:.1f} "
                   f"| {min(values):.1f} to {max(values):.1f} | {ratio} |")
  table = "\n".join(lines) + "\n"
  print(table)
  if arguments.table:
    with open(arguments.table, "w", encoding="utf-8") as file:
      file.write(table)


if __name__ == "__main__":
  main()
