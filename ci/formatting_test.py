#!/usr/bin/env python3
"""Checks that C++ sources are as clang-format 14 (Debian 12's) writes them."""

import shutil
import subprocess
import unittest

PATTERNS = ["*.h", "*.cc", "*.cu", "*.cuh"]


def clang_format():
  """Path of the pinned version, or None: versions differ in what they write."""
  for name in ("clang-format-14", "clang-format"):
    path = shutil.which(name)
    if path and "version 14." in subprocess.check_output(
        [path, "--version"], text=True):
      return path
  return None


class FormattingTest(unittest.TestCase):

  def test_the_tree(self):
    program = clang_format()
    if program is None:
      self.skipTest("clang-format 14 is not installed")
    files = subprocess.check_output(
        ["git", "ls-files", "--"] + PATTERNS, text=True).split()
    self.assertTrue(files)
    result = subprocess.run([program, "--dry-run", "--Werror"] + files,
                            stderr=subprocess.PIPE, text=True)
    wrong = sorted({line.split(":")[0] for line in result.stderr.splitlines()
                    if "clang-format-violations" in line})
    self.assertEqual(result.returncode, 0,
                     "run clang-format -i " + " ".join(wrong))


if __name__ == "__main__":
  unittest.main()
