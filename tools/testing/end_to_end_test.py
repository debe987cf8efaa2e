#!/usr/bin/env python3
"""Drives the `repro` program as a user would, over the toy paper."""

import glob
import http.server
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.abspath("tools/testing"))
import tiny_model  # pylint: disable=g-import-not-at-top

PROGRAM = os.path.abspath("tools/testing/repro_toy")
COMPILER = os.path.abspath("common/claims/claims_compiler")
TOY = os.path.abspath("tools/testing/toy.textproto")
ANSWER = "42"


class EndToEndTest(unittest.TestCase):

  def setUp(self):
    self._folder = tempfile.TemporaryDirectory()
    self.folder = self._folder.name
    self.out = os.path.join(self.folder, "out")
    self.env = dict(os.environ, XDG_CACHE_HOME=self.folder + "/cache")
    self.env.pop("REPRO_ASSETS", None)

  def tearDown(self):
    self._folder.cleanup()

  def repro(self, *arguments, code=0, **env):
    result = subprocess.run(
        [PROGRAM, *arguments], env=dict(self.env, **env), cwd=self.folder,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
    self.assertEqual(result.returncode, code, result.stdout + result.stderr)
    return result

  def start(self, *arguments):
    return subprocess.Popen(
        [PROGRAM, *arguments], env=self.env, cwd=self.folder,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

  def results(self):
    return sorted(glob.glob(self.out + "/results/*.json"))

  def wait_for_measurements(self, count):
    """Until the newest result holds `count`; every version must be whole."""
    for _ in range(300):
      paths = self.results()
      if paths:
        with open(paths[-1], encoding="utf-8") as file:
          if len(json.load(file).get("measurements", [])) >= count:
            return
      time.sleep(0.1)
    self.fail("no measurement in 30 seconds")

  def test_run_prints_and_saves(self):
    out = self.repro("run", "--out", self.out).stdout
    self.assertRegex(out, r"table1/right +4\.1 +4\.11 +M +EXACT +REPRODUCED")
    self.assertRegex(out, r"table1/wrong +38\.4 +38\.91 +G +EXACT +DIFFERS")
    last = out.strip().splitlines()[-1]
    self.assertRegex(last, r"^1 REPRODUCED, 0 HOLDS, 1 DIFFERS, 0 BLOCKED, "
                           r"0 NOT_RUN in .*; report: .*/report\.html$")
    self.assertTrue(os.path.getsize(self.out + "/report.html") > 1000)
    self.assertTrue(os.path.getsize(self.out + "/report.md") > 100)
    self.assertEqual(glob.glob(self.out + "/**/*tmp*", recursive=True), [])

  def test_json_is_for_programs(self):
    out = self.repro("run", "toy", "--claims", "table*", "--format", "json",
                     "--out", self.out).stdout
    result = json.loads(out)
    self.assertEqual(result["totals"], {"REPRODUCED": 1, "HOLDS": 0,
                                        "DIFFERS": 1, "BLOCKED": 1,
                                        "NOT_RUN": 0})
    measured = {m["claim"]: m for m in result["measurements"]}
    self.assertEqual(measured["table1/right"]["value"], 4.1058)
    for field in ("paper", "evidence", "reported", "interval", "unit",
                  "verdict", "seconds", "device", "seeds"):
      self.assertIn(field, measured["table1/right"])
    papers = json.loads(self.repro("list", "--format", "json", "--out",
                                   self.out).stdout)
    self.assertEqual(papers[0]["paper"], "toy")
    self.assertEqual(papers[0]["verdicts"]["REPRODUCED"], 1)
    self.assertEqual(papers[0]["assets"], [{"name": "runs",
                                            "state": "missing"}])

  def test_a_killed_run_keeps_what_it_measured_and_is_resumed(self):
    request = ["run", "toy", "--claims", "slow/*", "--out", self.out]
    run = self.start(*request)
    self.wait_for_measurements(2)
    run.send_signal(signal.SIGKILL)
    run.communicate()
    with open(self.results()[-1], encoding="utf-8") as file:
      killed = json.load(file)
    self.assertNotIn("complete", killed)
    kept = {m["claim"]: m for m in killed["measurements"]}
    self.assertIn(len(kept), range(2, 6))

    self.repro(*request, "--resume")
    self.assertEqual(len(self.results()), 1)
    with open(self.results()[-1], encoding="utf-8") as file:
      resumed = json.load(file)
    self.assertTrue(resumed["complete"])
    self.assertEqual(sorted(m["claim"] for m in resumed["measurements"]),
                     [f"slow/{i}" for i in range(6)])
    for measurement in resumed["measurements"]:
      if measurement["claim"] in kept:  # not measured again
        self.assertEqual(measurement, kept[measurement["claim"]])

  def test_ctrl_c_ends_cleanly(self):
    run = self.start("run", "toy", "--claims", "slow/*", "--out", self.out)
    self.wait_for_measurements(1)
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=20)
    self.assertEqual(run.returncode, 130, err)
    self.assertIn("go on with --resume", out)

  def test_budget_lists_what_it_left_out(self):
    out = self.repro("run", "--all", "--budget", "2s", "--out", self.out).stdout
    self.assertIn("outside the budget", out)
    self.assertNotRegex(out, r"slow/0 +0 +0")
    self.repro("run", "--budget", "soon", "--out", self.out, code=2)

  def test_missing_wrong_and_right_asset(self):
    replay = ["run", "toy", "--claims", "replay/*", "--out", self.out]
    out = self.repro(*replay, code=3).stdout
    self.assertIn("runs", out)
    self.assertIn("write a file toy/runs.txt", out)  # how to get it

    os.makedirs(self.folder + "/assets/toy")
    path = self.folder + "/assets/toy/runs.txt"
    with open(path, "w", encoding="utf-8") as file:
      file.write("43\n")
    out = self.repro(*replay, code=1,
                     REPRO_ASSETS=self.folder + "/assets").stdout
    self.assertIn("084c799c", out)  # the digest that was expected

    with open(path, "w", encoding="utf-8") as file:
      file.write(ANSWER + "\n")
    out = self.repro(*replay, REPRO_ASSETS=self.folder + "/assets").stdout
    self.assertRegex(out, r"replay/answer +42 +42 +REPLAY +REPRODUCED")
    self.repro("fetch", "toy", code=3)

  def test_a_broken_method_fails_compare(self):
    baselines = self.folder + "/baselines"
    os.makedirs(baselines)
    against = ["compare", "--baseline", "--baseline-dir", baselines, "--out",
               self.out]
    self.repro("run", "--out", self.out)
    self.repro(*against, "--update")
    self.repro("run", "--out", self.out)
    self.assertIn("2 same", self.repro(*against).stdout)
    self.repro("run", "--out", self.out, TOY_SIGN="-1")
    out = self.repro(*against, code=1).stdout
    self.assertIn("REPRODUCED -> DIFFERS", out)
    results = self.results()
    self.repro("compare", results[0], results[1], "--out", self.out)
    self.repro("compare", results[0], results[2], "--out", self.out, code=1)
    self.repro("compare", results[0], "--out", self.out, code=2)

  def test_wrong_use_is_one_line_and_code_2(self):
    for arguments, expected in [
        (["run", "toi"], "did you mean toy?"),
        (["run", "toy", "--claims", "table1/rigth"], "table1/right"),
        (["show", "x"], "unknown paper"),
        (["run", "--device", "tpu"], "tpu"),
        (["compare", "none", "none2"], "none"),
        (["metric", "acuracy", "--predictions", "p", "--references", "r"],
         "acuracy"),
        (["run", "--out", "/proc/nowhere"], "--out"),
    ]:
      err = self.repro(*arguments, code=2).stderr.strip()
      self.assertIn(expected, err)
      self.assertEqual(len(err.splitlines()), 1, err)
    self.repro("run", "--seeds", "0", code=2)
    self.repro("fly", code=2)
    self.repro(code=2)

  def test_every_command_has_help(self):
    self.assertIn("Exit codes", self.repro("--help").stdout)
    for command in ("run", "list", "show", "fetch", "report", "compare",
                    "metric", "doctor", "exec", "generate", "serve"):
      self.assertIn("--help", self.repro(command, "--help").stdout)

  def test_results_of_another_make_are_named_and_left_out(self):
    self.repro("run", "--out", self.out)
    with open(self.out + "/results/a.json", "w", encoding="utf-8") as file:
      file.write('{"schema_version": 99}')
    with open(self.out + "/results/b.json", "w", encoding="utf-8") as file:
      file.write('{"schema_ver')
    err = self.repro("report", "--out", self.out).stderr
    self.assertRegex(err, r"a\.json.*newer")
    self.assertIn("b.json", err)
    err = self.repro("compare", self.out + "/results/a.json",
                     self.out + "/results/a.json", code=2).stderr
    self.assertIn("newer", err)

  def test_a_full_disk_loses_nothing(self):
    disk = self.folder + "/disk"
    os.makedirs(disk)
    if subprocess.call(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk],
                       stderr=subprocess.DEVNULL):
      self.skipTest("no right to mount a tmpfs")
    try:
      with open(disk + "/filler", "wb") as filler:
        filler.write(b"x" * 56 * 1024)
      err = self.repro("run", "--out", disk, code=2).stderr
      self.assertIn(disk, err)
      for path in glob.glob(disk + "/results/*"):
        with open(path, encoding="utf-8") as file:
          json.load(file)  # whole
    finally:
      subprocess.call(["umount", disk])

  def serve_answers(self, count):
    """An OpenAI-compatible server that refuses all after `count` answers.

    Returns:
      What --model calls it, and a function that allows so many more.
    """
    left = [count]
    body = json.dumps({
        "choices": [{"index": 0, "finish_reason": "length",
                     "message": {"role": "assistant", "content": "a b c"}}],
        "usage": {"prompt_tokens": 2, "completion_tokens": 3}}).encode()

    class Handler(http.server.BaseHTTPRequestHandler):

      def log_message(self, *args):
        pass

      def do_POST(self):  # pylint: disable=invalid-name
        self.rfile.read(int(self.headers["Content-Length"]))
        left[0] -= 1
        answered = left[0] >= 0
        self.send_response(200 if answered else 403)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    self.addCleanup(server.server_close)
    self.addCleanup(server.shutdown)
    return (f"openai:m@http://127.0.0.1:{server.server_port}/v1",
            lambda more: left.__setitem__(0, more))

  def test_the_model_may_be_of_any_kind(self):
    ask = ["run", "toy", "--claims", "ask/*", "--out", self.out, "--model"]
    reproduced = r"ask/tokens +12 +12 +EXACT +REPRODUCED"
    model = self.folder + "/tiny"
    tiny_model.save(model)
    local = "local:" + model
    self.assertRegex(self.repro(*ask, local).stdout, reproduced)
    server, allow = self.serve_answers(4)
    self.assertRegex(self.repro(*ask, server).stdout, reproduced)

    # A recording that broke off is gone on with: two answers and two more.
    answers = self.folder + "/answers"
    record = f"record:{answers}:{server}"
    allow(2)
    self.assertIn("403", self.repro(*ask, record, code=1).stdout)
    self.assertEqual(len(os.listdir(answers)), 2)
    out = self.repro(*ask, "replay:" + answers, code=1).stdout
    self.assertIn(f"--model record:{answers}:SPEC", out)
    allow(2)
    self.assertRegex(self.repro(*ask, record).stdout, reproduced)
    self.assertEqual(len(os.listdir(answers)), 4)
    allow(0)
    self.assertRegex(self.repro(*ask, record).stdout, reproduced)
    self.assertRegex(self.repro(*ask, "replay:" + answers).stdout, reproduced)
    with open(self.results()[-1], encoding="utf-8") as file:
      self.assertEqual(json.load(file)["model_spec"], "replay:" + answers)
    self.repro(*ask, "gpt", code=2)

  def test_metric_reads_the_users_files(self):
    def write(name, lines):
      path = os.path.join(self.folder, name)
      with open(path, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
      return path
    predictions = write("p.jsonl", [{"label": 1}, {"label": 0}, {"label": 1}])
    references = write("r.jsonl", [{"label": 1}, {"label": 1}, {"label": 1}])
    out = self.repro("metric", "accuracy", "--predictions", predictions,
                     "--references", references).stdout
    self.assertAlmostEqual(json.loads(out)["value"], 2 / 3)
    short = write("s.jsonl", [{"label": 1}])
    self.repro("metric", "accuracy", "--predictions", predictions,
               "--references", short, code=2)
    self.assertIn("roc_auc", self.repro("metric").stdout)
    self.assertIn("roc_auc", self.repro("metric", "--list").stdout)
    self.repro("metric", "accuracy", "--list", code=2)

  def test_generate_says_what_is_wrong(self):
    for arguments, expected in [
        (["x", "--temperature", "-1"], "temperature is -1"),
        (["x", "--top-p", "0"], "top_p is 0"),
        (["x", "--model", self.folder + "/none"], "none"),
        (["x", "--device", "abacus"], "abacus"),
    ]:
      err = self.repro("generate", *arguments, code=2).stderr.strip()
      self.assertIn(expected, err)
      self.assertEqual(len(err.splitlines()), 1, err)
    self.repro("generate", code=2)
    err = self.repro("serve", "--model", self.folder + "/none", code=2).stderr
    self.assertIn("none", err)

  def test_exec_says_what_came_of_a_program(self):
    def write(name, text):
      path = os.path.join(self.folder, name)
      with open(path, "w", encoding="utf-8") as file:
        file.write(text)
      return path
    double = write("double.py", "def f(x): return 2 * x\n"
                                "print(f(int(input())))\n")
    number = write("number.txt", "21\n")
    for arguments, expected in [
        ([self.folder + "/missing.py"], "missing.py"),
        ([double, "--memory", "much"], "--memory"),
        ([double, "--time", "-1s"], "--time"),
        ([double, "--stdin", self.folder + "/none"], "none"),
    ]:
      err = self.repro("exec", *arguments, code=2).stderr.strip()
      self.assertIn(expected, err)
      self.assertEqual(len(err.splitlines()), 1, err)
    self.repro("exec", code=2)
    self.repro("exec", double, "--hostile", code=2)
    first = subprocess.run(
        [PROGRAM, "exec", double, "--stdin", number], env=self.env,
        cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, timeout=60)
    if "no sandbox can be made here" in first.stderr:
      self.skipTest(first.stderr)
    self.assertEqual(first.returncode, 0, first.stderr)
    result = json.loads(first.stdout)
    self.assertEqual(result["outcome"], "passed")
    self.assertEqual(result["stdout"], "42\n")
    self.assertGreater(result["peak_memory_bytes"], 1 << 20)
    result = json.loads(self.repro("exec", double).stdout)
    self.assertEqual(result["outcome"], "exception")
    self.assertEqual(result["exception_type"], "EOFError")
    tests = write("tests.py", "assert f(2) == 5\n")
    result = json.loads(self.repro("exec", double, "--stdin", number,
                                   "--tests", tests).stdout)
    self.assertEqual(result["outcome"], "wrong")
    loop = write("loop.py", "print(b'\\xff'.decode('latin-1'), flush=True)\n"
                            "while True: pass\n")
    result = json.loads(self.repro("exec", loop, "--time", "300ms").stdout)
    self.assertEqual(result["outcome"], "time")
    self.assertEqual(result["stdout"], "\u00ff\n")
    large = write("large.py", "x = bytearray(100 << 20)\n")
    result = json.loads(self.repro("exec", large, "--memory", "64M").stdout)
    self.assertEqual(result["outcome"], "memory")

  def test_a_truncated_textproto_does_not_compile(self):
    with open(TOY, encoding="utf-8") as file:
      text = file.read()
    for broken, expected in [
        (text[:-30], r"claims\.textproto:\d+:\d+: "),
        (text.replace('experiment: "replay"', 'experiment: "repaly"'),
         r'claims\.textproto:\d+:\d+: .*experiment: unknown .*"repaly"'),
    ]:
      path = os.path.join(self.folder, "claims.textproto")
      with open(path, "w", encoding="utf-8") as file:
        file.write(broken)
      result = subprocess.run([COMPILER, "--paper=toy", path],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True)
      self.assertEqual(result.returncode, 2)
      self.assertRegex(result.stderr, expected)
      self.assertEqual(result.stdout, "")

  def test_doctor_tells_what_is_there(self):
    report = json.loads(self.repro("doctor", "--format", "json").stdout)
    self.assertTrue(re.match(r"2\.\d+\.\d+", report["torch"]))
    self.assertIn("gnuplot", [check["name"] for check in report["checks"]])

  def torch_home(self):
    """The LibTorch folder of the program under test."""
    libraries = subprocess.run(["ldd", PROGRAM], check=True, text=True,
                               stdout=subprocess.PIPE).stdout
    path = re.search(r"libtorch_cpu.so => (\S+)", libraries).group(1)
    return os.path.dirname(os.path.dirname(os.path.realpath(path)))

  def test_bundle_runs_in_another_folder(self):
    os.makedirs(self.folder + "/assets/toy")
    with open(self.folder + "/assets/toy/runs.txt", "w",
              encoding="utf-8") as file:
      file.write(ANSWER + "\n")
    bundle = self.folder + "/packed.tar.gz"
    out = self.repro("bundle", "toy", "--out", bundle,
                     REPRO_ASSETS=self.folder + "/assets").stdout
    self.assertIn("1 of them assets", out)
    with open(bundle, "rb") as file:
      first = file.read()
    self.repro("bundle", "toy", "--out", bundle,
               REPRO_ASSETS=self.folder + "/assets")
    with open(bundle, "rb") as file:
      self.assertEqual(file.read(), first)

    there = self.folder + "/there"
    os.makedirs(there + "/work")
    subprocess.run(["tar", "-xf", bundle, "-C", there], check=True)
    self.assertEqual([f for f in os.listdir(there + "/packed/lib")
                      if f.startswith(("libtorch", "libc10", "libc.so"))], [])

    def run(*arguments, code=0, **env):
      result = subprocess.run(
          [there + "/packed/run.sh", *arguments], cwd=there + "/work",
          env=dict({"PATH": os.environ["PATH"], "HOME": there}, **env),
          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
          timeout=60)
      self.assertEqual(result.returncode, code, result.stdout + result.stderr)
      return result

    torch = self.torch_home()
    self.assertIn("toy", run("list", TORCH_HOME=torch).stdout)
    # With the asset that came along; results go where the user is.
    run("run", "toy", "--claims", "replay/*", TORCH_HOME=torch)
    results = glob.glob(there + "/work/out/results/*.json")
    with open(results[0], encoding="utf-8") as file:
      self.assertEqual(json.load(file)["measurements"][0]["verdict"],
                       "REPRODUCED")
    # A python3 without torch, so that there is none to be found.
    os.makedirs(there + "/bin")
    with open(there + "/bin/python3", "w", encoding="utf-8") as file:
      file.write("#!/bin/sh\nexit 1\n")
    os.chmod(there + "/bin/python3", 0o755)
    error = run("list", code=2,
                PATH=there + "/bin:" + os.environ["PATH"]).stderr
    self.assertIn("no LibTorch: set TORCH_HOME", error)

  def test_bundle_errors(self):
    error = self.repro("bundle", "tov", "--out", "b.tar.gz", code=2).stderr
    self.assertIn("toy", error)  # did you mean
    error = self.repro("bundle", "toy", "--out", "b.zip", code=2).stderr
    self.assertIn("NAME.tar.gz", error)
    error = self.repro("bundle", "toy", "--out", "no/folder/b.tar.gz",
                       code=2).stderr
    self.assertIn("cannot write", error)
    self.repro("bundle", "toy", code=2)  # no --out
    self.assertEqual(glob.glob(self.folder + "/*tar*"), [])

  def test_bundle_without_its_assets(self):
    result = self.repro("bundle", "toy", "--out", self.folder + "/b.tgz")
    self.assertIn("0 of them assets (1 missing)", result.stdout)
    self.assertIn("write a file toy/runs.txt", result.stderr)
    result = self.repro("bundle", "kernels", "--out", self.folder + "/k.tgz")
    self.assertIn("0 of them assets,", result.stdout)
    self.assertIn("no CUDA kernels", result.stderr)



if __name__ == "__main__":
  unittest.main(verbosity=2)
