#!/usr/bin/env python3
"""Checks that sources include only from their own layer or those below it.

third_party -> kernels -> common -> papers -> tools, ci; no paper includes
another, and a kernel includes of kernels/ only what kernels share.
"""

import os
import re
import unittest

LAYERS = ["third_party", "kernels", "common", "papers", "tools", "ci"]
SHARED_BY_KERNELS = ["flash", "graph", "runtime", "testing"]
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)


def problem(path, included):
  """What is wrong with `path` including `included`, or None."""
  here, there = path.split("/"), included.split("/")
  if there[0] not in LAYERS:
    return None  # a library's header
  # tools and ci are one layer.
  rank = lambda layer: min(LAYERS.index(layer), LAYERS.index("tools"))
  if rank(there[0]) > rank(here[0]):
    return f"{path}: {here[0]} may not include {included}"
  if here[0] == there[0] == "papers" and here[1] != there[1]:
    return f"{path}: a paper may not include another: {included}"
  if (here[0] == there[0] == "kernels" and
      there[1] not in [here[1]] + SHARED_BY_KERNELS):
    return f"{path}: a kernel may not include another: {included}"
  return None


def problems(root):
  found = []
  for layer in LAYERS:
    for folder, _, files in os.walk(os.path.join(root, layer)):
      for name in files:
        if not name.endswith((".h", ".cc", ".cu", ".cuh")):
          continue
        path = os.path.relpath(os.path.join(folder, name), root)
        with open(os.path.join(root, path), encoding="utf-8") as source:
          for included in INCLUDE.findall(source.read()):
            wrong = problem(path, included)
            if wrong:
              found.append(wrong)
  return found


class LayersTest(unittest.TestCase):

  def test_the_rule(self):
    self.assertIsNone(problem("papers/van/van.cc", "common/nn/layers.h"))
    self.assertIsNone(problem("papers/van/van.cc", "papers/van/van.h"))
    self.assertIsNone(problem("ci/a.cc", "tools/terminal.h"))
    for path, included in [
        ("common/nn/layers.cc", "papers/van/van.h"),
        ("kernels/scan/scan.cc", "common/nn/layers.h"),
        ("papers/van/van.cc", "papers/flowformer/models.h"),
        ("papers/van/van.cc", "tools/terminal.h"),
    ]:
      self.assertIsNotNone(problem(path, included), (path, included))

  def test_the_tree(self):
    self.assertEqual(problems(os.getcwd()), [])


if __name__ == "__main__":
  unittest.main()
