#!/usr/bin/env python3
"""The kernels from Python: each operator against plain PyTorch, with gradients.

  bazel build //kernels:librepro_kernels.so
  python3 kernels/example/example.py bazel-bin/kernels/librepro_kernels.so

--device cuda needs librepro_kernels_cuda.so beside that file, which is loaded
with it (bazel build --config=cuda //kernels:librepro_kernels_cuda.so). The
PyTorch must be the version that the libraries were built with.
"""

import argparse

import torch


def rms_norm(x, weight):
  return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * weight


def gated_chunk_scan(gate, k, v, chunk_size):
  k = k.repeat(1, 1, v.shape[2] // k.shape[2], 1)
  k_states, v_states = [], []
  for t in range(v.shape[1]):
    k_now, v_now = ((1 - gate[:, t]) * x[:, t] for x in (k, v))
    if t % chunk_size > 0:
      k_now = k_now + gate[:, t] * k_states[-1]
      v_now = v_now + gate[:, t] * v_states[-1]
    k_states.append(k_now)
    v_states.append(v_now)
  return torch.stack(k_states, 1), torch.stack(v_states, 1)


def compare(name, ours, plain, inputs):
  """Prints the largest differences of results and gradients."""
  results = []
  for function in (ours, plain):
    leaves = [x.detach().requires_grad_() for x in inputs]
    outputs = function(*leaves)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    sum(y.square().sum() for y in outputs).backward()
    results.append([*outputs, *(x.grad for x in leaves)])
  error = max((a - b).abs().max().item() for a, b in zip(*results))
  print(f"{name}: {len(outputs)} outputs and {len(inputs)} gradients differ by "
        f"at most {error:.1e}")
  assert error < 1e-3, error


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("library", help="librepro_kernels.so")
  parser.add_argument("--device", default="cpu", help="cpu or cuda")
  arguments = parser.parse_args()
  torch.ops.load_library(arguments.library)
  torch.manual_seed(0)

  def random(*shape):
    return torch.randn(*shape, device=arguments.device)

  compare("rms_norm", torch.ops.repro.rms_norm, rms_norm,
          [random(4, 100, 512), random(512)])
  # 4 heads share 2 groups of k; chunks of 16 tokens.
  compare("gated_chunk_scan",
          lambda *x: torch.ops.repro.gated_chunk_scan(*x, 16),
          lambda *x: gated_chunk_scan(*x, 16),
          [random(2, 100, 4, 64).sigmoid(), random(2, 100, 2, 64),
           random(2, 100, 4, 64)])


if __name__ == "__main__":
  main()
