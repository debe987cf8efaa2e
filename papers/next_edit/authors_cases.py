#!/usr/bin/env python3
"""The digest of 500 random cases by the authors' own functions.

next_edit_test.cc draws the same cases and compares. Below a clone of
github.com/lurf21/NextEditPrediction (commit 2c08fba), with CPython 3.11:

  PYTHONPATH=data:evaluate python3 authors_cases.py
"""

import hashlib
import sys
import types

# Imported by the authors' files, not used by these functions.
for module in ("jsonlines", "tqdm", "datasets", "pandas"):
  sys.modules[module] = types.SimpleNamespace(tqdm=None, Dataset=None)
import data_processing
import evaluate

LINES = ["a", "b", "c", "d", "e", "f", "", " ", "g", "h"]
ENDS = ["\n"] * 6 + ["\r\n", "\f", "\u2028", "\x1c"]

state = 1


def draw(k):
  global state
  state = (state * 1103515245 + 12345) % 2**31
  return (state >> 16) % k


def draw_line(k):
  line = LINES[draw(k)]
  return line + ENDS[draw(7 if k < 10 else 10)]


def edited(lines, rate, k):
  result = []
  for line in lines:
    what = draw(rate)
    if what == 0:
      result.append(draw_line(k))
    if what != 1:
      result.append(line)
  return result


def joined(lines):
  text = "".join(lines)
  return text[:-1] if draw(4) == 0 else text


def main():
  digest = hashlib.sha256()
  for _ in range(500):
    k = [3, 6, 10][draw(3)]
    old_lines = [draw_line(k) for _ in range(draw(40))]
    new_lines = []
    for line in old_lines:
      if draw(8) == 0:
        new_lines += [draw_line(k) for _ in range(1 + draw(7))]
      new_lines.append(line)
    if draw(3) == 0:
      new_lines = edited(new_lines, 30, k)
    old = joined(old_lines)
    new = joined(new_lines)
    commit = {"old_contents": old, "new_contents": new, "old_file": "x",
              "new_file": "x"}
    current = data_processing.remove_last_edit_chunk(commit)["current_contents"]
    diff = data_processing.compute_diff(commit)
    passes = [data_processing.edit_chunk_num(diff),
              data_processing.edit_chunk_len(diff, 5),
              data_processing.edit_window_size(diff, 25),
              data_processing.add_only(diff), False]
    digest.update(f"{current}|{passes.index(False)}\n".encode())
    if data_processing.edit_window_size(diff, 1000):
      for text in data_processing.extract_edit_context(commit, 4):
        digest.update(f"{text}|\n".encode())
    if current is None or not evaluate.split_diff_into_chunks(current, new):
      continue
    output = joined(edited(new.splitlines(True), 40, k))
    level = ((new == output)
             + bool(evaluate.partial_match(current, new, output))
             + bool(evaluate.position_match(current, new, output)))
    digest.update(f"{level}\n".encode())
  print(digest.hexdigest())


if __name__ == "__main__":
  main()
