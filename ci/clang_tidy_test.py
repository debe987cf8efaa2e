#!/usr/bin/env python3
"""Runs clang-tidy on the C++ sources that the last change touched.

What counts as the change: everything since REPRO_BASE, a commit (default: the
parent of HEAD). A file that includes LibTorch takes tens of seconds, so there is
a limit of time; files beyond it, and CUDA's where no toolkit is, are named, not
passed over in silence.
"""

import os
import shutil
import subprocess
import sys
import time
import unittest

LIMIT_SECONDS = float(os.environ.get("REPRO_TIDY_SECONDS", "240"))


def changed_sources(base):
  names = subprocess.run(
      ["git", "diff", "--name-only", "--diff-filter=d", base, "--", "*.cc"],
      stdout=subprocess.PIPE, text=True).stdout.split()
  return sorted(names, key=os.path.getsize)


class ClangTidyTest(unittest.TestCase):

  def test_the_change(self):
    if shutil.which("clang-tidy") is None:
      self.skipTest("clang-tidy is not installed")
    external = os.path.join(
        subprocess.check_output(["bazel", "info", "output_base"],
                                stderr=subprocess.DEVNULL, text=True).strip(),
        "external")
    torch = os.path.join(external, "libtorch/torch/include")
    cuda = os.path.join(os.environ.get("CUDA_HOME", "/usr/local/cuda"),
                        "include")
    flags = ["-std=c++17", "-I.", "-DAT_PER_OPERATOR_HEADERS", "-DNDEBUG"]
    for folder in ["bazel-bin", "bazel-bin/common/train/gloo_headers", torch,
                   os.path.join(torch, "torch/csrc/api/include"),
                   os.path.join(external, "tree_sitter_grammars/core/include"),
                   cuda]:
      flags += ["-isystem", folder]
    start = time.monotonic()
    failures, unchecked = [], []
    for source in changed_sources(os.environ.get("REPRO_BASE", "HEAD~1")):
      needs_cuda = source.endswith("_cuda.cc") and not os.path.isdir(cuda)
      if needs_cuda or time.monotonic() - start > LIMIT_SECONDS:
        unchecked.append(source)
        continue
      result = subprocess.run(
          ["clang-tidy", "--quiet", "--warnings-as-errors=*", source, "--"]
          + flags, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
      if result.returncode:
        failures.append(result.stdout)
    if unchecked:
      print(f"clang-tidy: not checked, for want of time (over "
            f"{LIMIT_SECONDS:.0f} s) or of a CUDA toolkit: "
            + " ".join(unchecked), file=sys.stderr)
    self.assertEqual(failures, [], "\n".join(failures))


if __name__ == "__main__":
  unittest.main()
