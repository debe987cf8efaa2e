#!/usr/bin/env python3
"""A wrong sign in a method must turn verdicts and fail `repro compare`."""

import json
import os
import subprocess
import unittest

# The smallest cells of Fig. 6 of scan_snap: seconds.
CLAIMS = "fig6/queries1/*"


def measure_and_compare(program):
  """The exit code and the changes of `compare --baseline` after a run."""
  path = os.path.abspath("ci/broken_method/" + program)
  out = os.path.join(os.environ["TEST_TMPDIR"], program)
  subprocess.run([path, "run", "scan_snap", "--claims", CLAIMS, "--out", out],
                 check=True, stdout=subprocess.DEVNULL)
  compared = subprocess.run(
      [path, "compare", "--baseline", "--baseline-dir", "ci/baselines",
       "--format", "json", "--out", out], stdout=subprocess.PIPE, text=True)
  return compared.returncode, json.loads(compared.stdout)


class BrokenMethodTest(unittest.TestCase):

  def test_the_intact_method_passes(self):
    code, comparison = measure_and_compare("repro_intact")
    self.assertEqual(code, 0, comparison)
    self.assertGreater(comparison["totals"]["same"], 0)

  def test_the_flipped_sign_is_seen(self):
    code, comparison = measure_and_compare("repro_broken")
    self.assertEqual(code, 1)
    self.assertTrue(any("REPRODUCED -> DIFFERS" in change["detail"]
                        for change in comparison["changes"]), comparison)


if __name__ == "__main__":
  unittest.main()
