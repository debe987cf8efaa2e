#!/usr/bin/env python3
"""Times this project's linear attention beside flash-linear-attention's.

That library's kernels are Triton's, so they are measured from Python, in one
run with ours and as //kernels:benchmark measures: medians by device events,
the L2 cache flushed before each call.

  pip install flash-linear-attention==0.6.0
  python3 kernels/peers.py --library bazel-bin/kernels/librepro_kernels.so
"""

import argparse
import statistics
import sys

import torch

TOKENS = 65536
HEADS = 16


def milliseconds(run, repetitions=20):
  """(median, 10% quantile, 90% quantile) of `run`."""
  flush = torch.empty(1 << 28, dtype=torch.uint8, device="cuda")
  times = []
  for i in range(repetitions + 3):
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    flush.fill_(1)
    start.record()
    run()
    end.record()
    end.synchronize()
    if i >= 3:
      times.append(start.elapsed_time(end))
  times.sort()
  return (statistics.median(times), times[len(times) // 10],
          times[-1 - len(times) // 10])


def error(actual, expected):
  actual, expected = actual.double(), expected.double()
  return ((actual - expected).norm() / expected.norm()).item()


def passes(forward, inputs):
  """(phase, function) of an operator: forward, then backward alone."""
  yield "forward", lambda: forward(*inputs)
  leaves = [x.detach().requires_grad_() for x in inputs]
  out = forward(*leaves)
  dout = torch.randn_like(out)
  yield "backward", lambda: torch.autograd.grad(
      out, leaves, dout, retain_graph=True)


def lightning(batch, length):
  """Layer 0 of 1: FLA's decay is then 8 h / H. It scales by 1 / sqrt(d)."""
  from fla.ops.lightning_attn import chunk_lightning_attn
  dim = 128
  decay = 8 / HEADS * torch.arange(HEADS, dtype=torch.float, device="cuda")
  inputs = [torch.randn(batch, length, HEADS, dim, device="cuda",
                        dtype=torch.bfloat16) for _ in range(3)]

  def ours(q, k, v):
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    return torch.ops.repro.lightning_attention(q, k, v, decay)[0]

  def fla(q, k, v):
    return chunk_lightning_attn(q, k, v, layer_idx=0, num_layers=1, scale=1.0)[0]

  assert error(ours(*inputs).transpose(1, 2), fla(*inputs)) < 1e-2
  return inputs, {"repro": ours, "FLA chunk": fla}


def taylor(batch, length):
  from fla.ops.based import fused_chunk_based, parallel_based
  inputs = [torch.randn(batch, length, HEADS, dim, device="cuda",
                        dtype=torch.bfloat16) for dim in (16, 16, 64)]

  def ours(q, k, v):
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    return torch.ops.repro.taylor_linear_attention(q, k, v)[0]

  functions = {
      "repro": ours,
      "FLA parallel": lambda q, k, v: parallel_based(q, k, v),
      "FLA fused chunk": lambda q, k, v: fused_chunk_based(q, k, v),
  }
  for name in ("FLA parallel", "FLA fused chunk"):
    difference = error(functions[name](*inputs), ours(*inputs).transpose(1, 2))
    if difference > 2e-2:
      print(f"{name} at {batch}x{length}: differs from ours by "
            f"{difference:.3g}", file=sys.stderr)
  return inputs, functions


def main():
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  parser.add_argument("--library", required=True, help="librepro_kernels.so")
  parser.add_argument("--table", help="file for the table, Markdown")
  arguments = parser.parse_args()
  torch.ops.load_library(arguments.library)

  lines = [f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}", "",
           "| op | shape | implementation | ms | 10% to 90% | / ours |",
           "| --- | --- | --- | ---: | ---: | ---: |"]
  for op, make, dims in [("lightning_attention", lightning, "D128"),
                         ("taylor_linear_attention", taylor, "K16 V64")]:
    for length in (1024, 4096, 16384, 65536):
      batch = TOKENS // length
      inputs, functions = make(batch, length)
      ours = {}
      for name, function in functions.items():
        try:
          for phase, run in passes(function, inputs):
            median, low, high = milliseconds(run)
            ours.setdefault(phase, median)
            lines.append(
                f"| {op} {phase} | B{batch} N{length} H{HEADS} {dims} | {name} "
                f"| {median:.4f} | {low:.4f} to {high:.4f} "
                f"| {median / ours[phase]:.2f} |")
        except Exception as problem:  # a peer that fails is a row, not the end
          lines.append(f"| {op} | B{batch} N{length} H{HEADS} {dims} | {name} | "
                       f"{str(problem).splitlines()[0][:80]} | | |")
  table = "\n".join(lines) + "\n"
  print(table)
  if arguments.table:
    with open(arguments.table, "w", encoding="utf-8") as file:
      file.write(table)


if __name__ == "__main__":
  main()
