#!/usr/bin/env python3
"""Checks that README.md's table of papers is what `repro list` prints.

With --update, writes the table into README.md instead.
"""

import os
import re
import subprocess
import sys
import tempfile
import unittest

README = "README.md"
PROGRAM = "tools/repro"
TABLE = re.compile(r"^\| paper \|.*\n(?:\|.*\n)+", re.MULTILINE)


def listed(program):
  """The table of papers, verdicts from the results kept with the project."""
  with tempfile.TemporaryDirectory() as out:
    table = subprocess.run(
        [program, "list", "--format", "markdown", "--out", out],
        check=True, capture_output=True, text=True).stdout
  return re.sub(r"^\| (\w+) \| (?=\d)", r"| [`\1`](papers/\1) | ", table,
                flags=re.MULTILINE)


class ReadmeTest(unittest.TestCase):

  def test_the_table_of_papers_is_current(self):
    with open(README, encoding="utf-8") as file:
      table = TABLE.search(file.read())
    self.assertIsNotNone(table, "no table of papers")
    self.assertEqual(table[0], listed(PROGRAM),
                     "run `python3 ci/readme_test.py --update`")


def update():
  os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
  with open(README, encoding="utf-8") as file:
    readme = file.read()
  table = TABLE.search(readme)
  current = listed("./repro")
  with open(README, "w", encoding="utf-8") as file:
    file.write(readme[:table.start()] + current + readme[table.end():])


if __name__ == "__main__":
  if sys.argv[1:] == ["--update"]:
    update()
  else:
    unittest.main()
