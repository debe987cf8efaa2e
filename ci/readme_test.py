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
TABLE = re.compile(r"(?:^\|.*\n)+", re.MULTILINE)


def listed(program):
  """The table of papers, verdicts from the results kept with the project."""
  with tempfile.TemporaryDirectory() as out:
    table = subprocess.run(
        [program, "list", "--format", "markdown", "--out", out],
        check=True, capture_output=True, text=True).stdout
  return re.sub(r"^\| (\w+) \| (?=\d)", r"| [`\1`](papers/\1) | ", table,
                flags=re.MULTILINE)


def of_papers(readme):
  """The match of the table whose rows link papers."""
  return next((table for table in TABLE.finditer(readme)
               if "](papers/" in table[0].split("\n")[2]
               and table[0].startswith("| paper ")), None)


class ReadmeTest(unittest.TestCase):

  def test_the_table_of_papers_is_current(self):
    with open(README, encoding="utf-8") as file:
      table = of_papers(file.read())
    self.assertIsNotNone(table, "no table of papers")
    self.assertEqual(table[0], listed(PROGRAM), "run `python3 "
                     "ci/readme_test.py --update` after `./repro list`")


def update():
  os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
  with open(README, encoding="utf-8") as file:
    readme = file.read()
  table = of_papers(readme)
  table_of = listed("./repro")
  with open(README, "w", encoding="utf-8") as file:
    file.write(readme[:table.start()] + table_of + readme[table.end():])


if __name__ == "__main__":
  if sys.argv[1:] == ["--update"]:
    update()
  else:
    unittest.main()
