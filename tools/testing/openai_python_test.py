#!/usr/bin/env python3
"""Drives `repro serve` with OpenAI's own Python client."""

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.request

sys.path.insert(0, os.path.abspath("tools/testing"))
for _site in ("external/openai_python/site", "../openai_python/site"):
  if os.path.isdir(_site):
    sys.path.insert(0, os.path.abspath(_site))

import tiny_model  # pylint: disable=g-import-not-at-top

try:
  import openai  # pylint: disable=g-import-not-at-top
except ImportError as error:
  print(f"SKIPPED: OpenAI's Python client cannot be had here: {error}")
  for _missing in ("external/openai_python/MISSING",
                   "../openai_python/MISSING"):
    if os.path.exists(_missing):
      with open(_missing, encoding="utf-8") as _file:
        print(_file.read())
  sys.exit(0)

PROGRAM = os.path.abspath("tools/testing/repro_toy")
KEY = "a-key-of-the-test"
MESSAGES = [{"role": "user", "content": "hello"}]


class OpenAiPythonTest(unittest.TestCase):

  @classmethod
  def setUpClass(cls):
    cls._folder = tempfile.TemporaryDirectory()
    model = cls._folder.name + "/tiny"
    tiny_model.save(model)
    cls.server = subprocess.Popen(
        [PROGRAM, "serve", "--model", model, "--port", "0", "--max-running",
         "2", "--max-waiting", "2", "--max-tokens", "30000",
         "--max-cached-tokens", "200000", "--threads", "1"],
        env=dict(os.environ, REPRO_API_KEY=KEY), stderr=subprocess.PIPE,
        text=True)
    line = cls.server.stderr.readline()
    found = re.search(r"http://127\.0\.0\.1:(\d+)/v1", line)
    assert found, line
    cls.root = f"http://127.0.0.1:{found.group(1)}"
    # What is said later must not fill the pipe.
    threading.Thread(target=cls.server.stderr.read, daemon=True).start()
    cls.client = cls.connect(KEY)

  @classmethod
  def tearDownClass(cls):
    cls.server.terminate()
    cls.server.wait(60)
    cls._folder.cleanup()

  @classmethod
  def connect(cls, key):
    return openai.OpenAI(base_url=cls.root + "/v1", api_key=key, max_retries=0,
                         timeout=60)

  def load(self):
    with urllib.request.urlopen(self.root + "/health", timeout=60) as answer:
      health = json.load(answer)
    return health["running"], health["waiting"]

  def wait_for_load(self, running, waiting):
    for _ in range(600):
      if self.load() == (running, waiting):
        return
      time.sleep(0.05)
    self.fail(f"{self.load()} run and wait after 30 seconds, not "
              f"{(running, waiting)}")

  def complete(self, **changes):
    arguments = dict(model="tiny", prompt="abc", max_tokens=12, temperature=0)
    return self.client.completions.create(**dict(arguments, **changes))

  def chat(self, **changes):
    arguments = dict(model="tiny", messages=MESSAGES, max_tokens=12,
                     temperature=0)
    return self.client.chat.completions.create(**dict(arguments, **changes))

  def test_models(self):
    self.assertEqual([m.id for m in self.client.models.list()], ["tiny"])
    self.assertEqual(self.client.models.retrieve("tiny").owned_by, "repro")
    with self.assertRaises(openai.NotFoundError):
      self.client.models.retrieve("other")

  def test_completion(self):
    answer = self.complete()
    self.assertEqual(answer.object, "text_completion")
    self.assertEqual(answer.choices[0].finish_reason, "length")
    self.assertEqual(answer.usage.prompt_tokens, 3)
    self.assertEqual(answer.usage.completion_tokens, 12)
    self.assertEqual(self.complete().choices[0].text, answer.choices[0].text)
    two = self.complete(prompt=["abc", "xyz"])
    self.assertEqual([c.index for c in two.choices], [0, 1])
    self.assertEqual(two.choices[0].text, answer.choices[0].text)

  def test_chat(self):
    answer = self.chat()
    self.assertEqual(answer.choices[0].message.role, "assistant")
    self.assertTrue(answer.choices[0].message.content)
    # <|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n
    self.assertEqual(answer.usage.prompt_tokens, 1 + 5 + 5 + 1 + 1 + 1 + 10)

  def test_streams_are_the_whole_in_pieces(self):
    whole = self.complete().choices[0].text
    pieces = list(self.complete(stream=True,
                                stream_options={"include_usage": True}))
    self.assertEqual(
        "".join(c.text for p in pieces for c in p.choices), whole)
    self.assertEqual(pieces[-1].usage.completion_tokens, 12)
    whole = self.chat().choices[0].message.content
    pieces = list(self.chat(stream=True))
    self.assertEqual(pieces[0].choices[0].delta.role, "assistant")
    self.assertEqual(
        "".join(p.choices[0].delta.content or "" for p in pieces), whole)
    self.assertEqual(pieces[-1].choices[0].finish_reason, "length")

  def test_stop_strings_end_the_text(self):
    whole = self.complete().choices[0].text
    stop = whole[len(whole) // 2:len(whole) // 2 + 2]
    answer = self.complete(stop=[stop, "never in it"])
    self.assertEqual(answer.choices[0].text, whole[:whole.index(stop)])
    self.assertEqual(answer.choices[0].finish_reason, "stop")
    pieces = list(self.complete(stop=stop, stream=True))
    self.assertEqual("".join(p.choices[0].text for p in pieces),
                     whole[:whole.index(stop)])

  def test_the_seed_decides(self):
    texts = [self.complete(temperature=1.5, seed=seed).choices[0].text
             for seed in (1, 1, 2)]
    self.assertEqual(texts[0], texts[1])
    self.assertNotEqual(texts[0], texts[2])

  def test_logprobs(self):
    logprobs = self.complete(logprobs=3).choices[0].logprobs
    self.assertEqual(len(logprobs.tokens), 12)
    for chosen, top in zip(logprobs.token_logprobs, logprobs.top_logprobs):
      self.assertAlmostEqual(chosen, max(top.values()))  # greedy
    content = self.chat(logprobs=True, top_logprobs=2).choices[0].logprobs
    self.assertEqual(len(content.content), 12)
    for token in content.content:
      self.assertEqual(len(token.top_logprobs), 2)
      self.assertEqual(token.token, token.top_logprobs[0].token)
      self.assertLessEqual(token.logprob, 0)

  def test_errors(self):
    with self.assertRaises(openai.AuthenticationError):
      self.connect("wrong").models.list()
    with self.assertRaises(openai.NotFoundError) as caught:
      self.complete(model="other")
    self.assertIn("tiny", str(caught.exception))
    for changes in (dict(temperature=-1), dict(max_tokens=0),
                    dict(prompt="x" * 40000), dict(n=99), dict(stop="")):
      with self.assertRaises(openai.BadRequestError):
        self.complete(**changes)
    with self.assertRaises(openai.BadRequestError):
      self.chat(messages=[])

  def test_a_full_queue_is_429_and_leaving_makes_room(self):
    long = dict(max_tokens=30000, stream=True)
    streams = []
    for running, waiting in [(1, 0), (2, 0), (2, 1), (2, 2)]:
      streams.append(self.complete(**long))
      # A request waits until the step in progress ends, even where it may run.
      self.wait_for_load(running, waiting)
    with self.assertRaises(openai.RateLimitError) as caught:
      self.complete()
    self.assertEqual(caught.exception.response.headers["retry-after"], "1")
    for stream in streams:
      stream.close()
    self.wait_for_load(0, 0)
    self.assertTrue(self.complete().choices[0].text)


if __name__ == "__main__":
  unittest.main(verbosity=2)
