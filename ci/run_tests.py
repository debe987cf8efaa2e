#!/usr/bin/env python3
"""Runs all tests and closes with "N passed, N failed, N skipped".

Counts test cases: those of GoogleTest one by one, any other test as one.
Arguments are papers (their packages are tested); none means everything,
including the checks of the whole tree (layers, formatting, clang-tidy).
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from urllib.parse import unquote, urlparse

GOOD = ("PASSED", "FLAKY")

# Need the whole tree, which no Bazel target sees.
CHECKS = [
    ["python3", "ci/layers_test.py"],
    ["python3", "ci/formatting_test.py"],
    ["python3", "ci/clang_tidy_test.py"],
]


def assets_digest(roots):
  """Names, sizes and times of all assets: tests are run again if one changes."""
  digest = hashlib.sha256()
  for root in roots.split(":"):
    for folder, folders, files in os.walk(root):
      folders.sort()
      for name in sorted(files):
        path = os.path.join(folder, name)
        state = os.stat(path)
        digest.update(f"{path} {state.st_size} {state.st_mtime_ns}\n".encode())
  return digest.hexdigest()


def count_cases(xml_path):
  """(passed, failed, skipped) of a test.xml, or None if it has no cases."""
  try:
    tree = ElementTree.parse(xml_path)
  except (OSError, ElementTree.ParseError):
    return None
  passed = failed = skipped = 0
  for case in tree.iter("testcase"):
    if case.find("failure") is not None or case.find("error") is not None:
      failed += 1
    elif case.find("skipped") is not None:
      skipped += 1
    elif case.get("status") != "notrun":
      passed += 1
  total = passed + failed + skipped
  return (passed, failed, skipped) if total else None


def read_events(path):
  """Label -> status, label -> test.xml paths, and labels that did not build."""
  status, xmls, unbuilt = {}, {}, set()
  with open(path, encoding="utf-8") as events:
    for line in events:
      event = json.loads(line)
      identity = event.get("id", {})
      if "testSummary" in identity and "testSummary" in event:
        label = identity["testSummary"]["label"]
        status[label] = event["testSummary"].get("overallStatus", "NO_STATUS")
      elif "testResult" in identity and "testResult" in event:
        label = identity["testResult"]["label"]
        for output in event["testResult"].get("testActionOutput", []):
          if output["name"] == "test.xml":
            xmls.setdefault(label, []).append(
                unquote(urlparse(output["uri"]).path))
      elif "targetCompleted" in identity:
        # Targets that this configuration leaves out were not meant to build.
        skipped = event.get("aborted", {}).get("reason") == "SKIPPED"
        if not skipped and not event.get("completed", {}).get("success", False):
          unbuilt.add(identity["targetCompleted"]["label"])
  return status, xmls, unbuilt


def main(arguments):
  patterns = [f"//papers/{paper}/..." for paper in arguments] or ["//..."]
  for paper in arguments:
    if not os.path.isdir(os.path.join("papers", paper)):
      names = ", ".join(sorted(
          name for name in os.listdir("papers")
          if os.path.isdir(os.path.join("papers", name))))
      print(f"repro: unknown paper \"{paper}\"; there are {names}",
            file=sys.stderr)
      return 2
  with tempfile.TemporaryDirectory() as folder:
    events = os.path.join(folder, "events.json")
    command = ["bazel", "test", "--keep_going", f"--build_event_json_file={events}"]
    roots = os.environ.get("REPRO_ASSETS")
    if roots:
      command.append(f"--test_env=REPRO_ASSETS_DIGEST={assets_digest(roots)}")
    code = subprocess.call(command + patterns)
    try:
      status, xmls, unbuilt = read_events(events)
    except (OSError, ValueError) as error:
      print(f"repro: bazel told nothing about its tests: {error}",
            file=sys.stderr)
      print("0 passed, 1 failed")
      return 1

  passed = failed = skipped = 0
  for label, state in sorted(status.items()):
    counts = [count_cases(path) for path in xmls.get(label, [])]
    counts = [count for count in counts if count]
    if counts:
      passed += sum(count[0] for count in counts)
      skipped += sum(count[2] for count in counts)
      cases_failed = sum(count[1] for count in counts)
    else:
      passed += state in GOOD
      cases_failed = 0
    # A test that crashed or timed out may have no failed case to show.
    failed += max(cases_failed, 0 if state in GOOD else 1)
  if not arguments:
    for check in CHECKS:
      print("check:", check[-1], flush=True)
      good = subprocess.call(check) == 0
      passed += good
      failed += not good
  # What does not build cannot be tested: each such target is one failure.
  failed += len(unbuilt - set(status))
  if code not in (0, 3) and failed == 0:
    failed = 1
  closing = f"{passed} passed, {failed} failed"
  print(closing + (f", {skipped} skipped" if skipped else ""))
  return 1 if failed or code else 0


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
