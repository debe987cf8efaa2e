#!/usr/bin/env python3
"""Times this project's BM25 beside rank_bm25, bm25s and tantivy.

Two corpora: the 6,267 functions of CoSQA with its 500 test queries, and a
million synthetic functions: words drawn from a Zipf law over half a million,
lengths drawn from CoSQA's functions; 500 queries of CoSQA's lengths, each of
words of one document. Terms are the lower-case runs of Python's \\w.

Every program starts from the same terms in memory and runs on one thread. Times
are CPU seconds of its process, so that other work on the machine counts less.
  build   from lists of terms (tantivy: from terms joined by spaces, which its
          whitespace tokenizer cuts again) to an index that answers
  search  all queries, one after the other, each for its best 100 documents; the
          median of passes after one that is not counted
A round is a fresh process of each program, the order turned every round; the
table has medians and ranges over rounds.

  python3 -m venv /tmp/peers
  /tmp/peers/bin/pip install -r common/retrieval/requirements.txt
  bazel build //common/retrieval:benchmark
  /tmp/peers/bin/python common/retrieval/peers.py \\
      --functions uni_xcoder/cosqa_codebase.jsonl.gz \\
      --queries uni_xcoder/cosqa_retrieval_test500.tsv.gz
"""

import argparse
import gzip
import importlib.metadata
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

K = 100
# rank_bm25 visits every document in Python: a second a query on a million.
PASSES = {"rank_bm25": 1}
LIMITS = {("rank_bm25", "synthetic"): 10}  # queries
ENGINES = ["repro", "repro lucene", "rank_bm25", "bm25s", "tantivy"]
SCORES = {"repro": "rank_bm25's", "repro lucene": "Lucene's",
          "rank_bm25": "its own", "bm25s": "Lucene's", "tantivy": "Lucene's"}


def terms_of(text):
  return re.findall(r"\w+", text.lower())


def write_cosqa(functions, queries, folder):
  with gzip.open(functions, "rt", encoding="utf-8") as file:
    documents = [terms_of(json.loads(line)) for line in file]
  with gzip.open(queries, "rt", encoding="utf-8") as file:
    rows = [line.rstrip("\n").split("\t") for line in file]
  column = rows[0].index("query")
  return write(documents, [terms_of(row[column]) for row in rows[1:]], folder)


def write_synthetic(folder, like, num_documents, seed=1):
  import numpy
  random = numpy.random.default_rng(seed)
  documents, queries = like
  num_words = 500_000
  cumulative = numpy.cumsum(1 / (numpy.arange(num_words) + 2.7))
  cumulative /= cumulative[-1]
  lengths = random.choice([len(d) for d in documents], num_documents)
  words = numpy.searchsorted(cumulative, random.random(lengths.sum()))
  names = [f"w{i}" for i in range(num_words)]
  ends = numpy.cumsum(lengths)
  made = [[names[w] for w in words[end - n:end]]
          for end, n in zip(ends, lengths)]
  wanted = []
  for n in random.choice([len(q) for q in queries], len(queries)):
    document = made[random.integers(num_documents)]
    if document:
      wanted.append(list(random.choice(document, n)))
  return write(made, wanted, folder)


def write(documents, queries, folder):
  os.makedirs(folder)
  for name, texts in [("documents", documents), ("queries", queries)]:
    with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
      file.writelines(" ".join(text) + "\n" for text in texts)
  return documents, queries


def read(path):
  known = {}  # one string object a term, as a program with a vocabulary has
  with open(path, encoding="utf-8") as file:
    return [[known.setdefault(t, t) for t in line.split()]
            for line in file.read().split("\n")[:-1]]


class RankBm25:

  def __init__(self, documents):
    import rank_bm25
    self.index = rank_bm25.BM25Okapi(documents)

  def search(self, queries):
    import numpy
    rankings = []
    for query in queries:  # as get_top_n of the package
      scores = self.index.get_scores(query)
      best = numpy.argsort(scores)[::-1][:K]
      rankings.append((best, scores[best]))
    return rankings


class Bm25s:

  def __init__(self, documents):
    import bm25s
    self.index = bm25s.BM25(backend="numba")
    self.index.index(documents, show_progress=False)

  def search(self, queries):
    best, scores = self.index.retrieve(queries, k=K, show_progress=False,
                                       n_threads=1)
    return list(zip(best, scores))


class Tantivy:

  def __init__(self, documents):
    import tantivy
    builder = tantivy.SchemaBuilder()
    builder.add_text_field("text", tokenizer_name="whitespace",
                           index_option="freq")
    self.schema = builder.build()
    self.index = tantivy.Index(self.schema)
    writer = self.index.writer(heap_size=4_000_000_000, num_threads=1)
    for document in documents:
      writer.add_document(tantivy.Document(text=" ".join(document)))
    writer.commit()
    writer.wait_merging_threads()
    self.index.reload()
    self.searcher = self.index.searcher()

  def search(self, queries):
    import tantivy
    rankings = []
    for query in queries:
      terms = [(tantivy.Occur.Should,
                tantivy.Query.term_query(self.schema, "text", term, "freq"))
               for term in query]
      hits = self.searcher.search(tantivy.Query.boolean_query(terms), K,
                                  count=False).hits
      rankings.append(([hit[1].doc for hit in hits], [hit[0] for hit in hits]))
    return rankings


def measure(engine, folder, passes):
  """One peer in this process: JSON on the standard output."""
  make = {"rank_bm25": RankBm25, "bm25s": Bm25s, "tantivy": Tantivy}[engine]
  queries = read(os.path.join(folder, "queries"))
  name = os.path.basename(folder)
  queries = queries[:LIMITS.get((engine, name), len(queries))]
  # What is compiled on first use is compiled here.
  make([["a", "b"], ["b"]] * K).search([["a"]])
  documents = read(os.path.join(folder, "documents"))
  begin = time.process_time()
  index = make(documents)
  build = time.process_time() - begin
  seconds = []
  passes = PASSES.get(engine, passes)
  for i in range(passes + (passes > 1)):
    begin = time.process_time()
    rankings = index.search(queries)
    seconds.append(time.process_time() - begin)
  with open(os.path.join(folder, engine), "w", encoding="utf-8") as file:
    for ids, scores in rankings:
      file.write(" ".join(f"{int(i)} {float(s):.17g}"
                          for i, s in zip(ids, scores)) + "\n")
  print(json.dumps({
      "build": build,
      "search": statistics.median(seconds[-passes:]) / len(queries)}))


def output_of(command, environment):
  result = subprocess.run(command, env={**os.environ, **environment},
                          capture_output=True, text=True, check=False)
  if result.returncode:
    sys.exit(f"{' '.join(command)}: exit code {result.returncode}\n"
             f"{result.stderr}")
  return json.loads(result.stdout.splitlines()[-1])


def run(engine, folder, arguments):
  one_thread = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1",
                "OPENBLAS_NUM_THREADS": "1"}
  if not engine.startswith("repro"):
    return output_of([sys.executable, __file__, "--engine", engine,
                      "--folder", folder, "--passes", str(arguments.passes)],
                     one_thread)
  variant = "lucene_accurate" if "lucene" in engine else "okapi_rank_bm25"
  path = lambda name: os.path.join(folder, name)
  times = output_of(
      [arguments.benchmark, path("documents"), path("queries"), variant, str(K),
       str(arguments.passes), path(engine)], one_thread)
  times["search"] /= len(read(path("queries")))
  return times


def rankings_of(path):
  with open(path, encoding="utf-8") as file:
    rows = [line.split() for line in file]
  return [[float(x) for x in row[1::2]] for row in rows]


def largest_difference(ours, theirs):
  """Of the scores at equal ranks, relative to the larger; ours end in scores
  of 0 where theirs list fewer."""
  worst = 0.0
  for a, b in zip(rankings_of(ours), rankings_of(theirs)):
    for x, y in zip(a, b):
      worst = max(worst, abs(x - y) / max(abs(x), abs(y), 1e-9))
  return worst


def cpu_name():
  with open("/proc/cpuinfo", encoding="utf-8") as file:
    for line in file:
      if line.startswith("model name"):
        return line.split(":", 1)[1].strip()
  return "unknown CPU"


def commit():
  def git(*command):
    return subprocess.run(["git", *command], capture_output=True, text=True,
                          check=False).stdout.strip()
  changed = git("status", "--porcelain", "common/retrieval")
  return git("rev-parse", "--short", "HEAD") + (" modified" if changed else "")


def quantity(value):
  return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def table_of(name, folder, times, rounds):
  rows = [f"{name}, {rounds} rounds:", "",
          "| program | scores | build, s | queries/s | lowest to highest "
          "| largest difference of scores from ours |",
          "| --- | --- | ---: | ---: | ---: | ---: |"]
  for engine in ENGINES:
    if not times[engine]:
      continue
    build = statistics.median(t["build"] for t in times[engine])
    rates = sorted(1 / t["search"] for t in times[engine])
    difference = ""
    if engine in ("rank_bm25", "bm25s"):
      ours = "repro" if engine == "rank_bm25" else "repro lucene"
      difference = "%.1g" % largest_difference(os.path.join(folder, ours),
                                               os.path.join(folder, engine))
    rows.append(f"| {engine} | {SCORES[engine]} | {build:.3g} "
                f"| {quantity(statistics.median(rates))} "
                f"| {quantity(rates[0])} to {quantity(rates[-1])} "
                f"| {difference} |")
  return "\n".join(rows) + "\n"


def main():
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  parser.add_argument("--functions", help="cosqa_codebase.jsonl.gz")
  parser.add_argument("--queries", help="cosqa_retrieval_test500.tsv.gz")
  parser.add_argument("--benchmark",
                      default="bazel-bin/common/retrieval/benchmark",
                      help="this project's program")
  parser.add_argument("--rounds", type=int, default=5)
  parser.add_argument("--synthetic-rounds", type=int, default=3)
  parser.add_argument("--synthetic-documents", type=int, default=1_000_000)
  parser.add_argument("--passes", type=int, default=5)
  parser.add_argument("--table", help="file for the tables, Markdown")
  parser.add_argument("--engine", help="one peer alone, as JSON")
  parser.add_argument("--folder", help="of that peer's texts")
  arguments = parser.parse_args()
  if arguments.engine:
    measure(arguments.engine, arguments.folder, arguments.passes)
    return
  if not (arguments.functions and arguments.queries):
    parser.error("--functions and --queries are needed")

  versions = ", ".join(f"{p} {importlib.metadata.version(p)}"
                       for p in ["rank-bm25", "bm25s", "tantivy", "numba"])
  report = [f"{cpu_name()}, one thread, commit {commit()}, {versions}, load "
            f"average {os.getloadavg()[0]:.1f} at the start\n"]
  with tempfile.TemporaryDirectory() as scratch:
    cosqa, synthetic = (os.path.join(scratch, name)
                        for name in ["cosqa", "synthetic"])
    texts = write_cosqa(arguments.functions, arguments.queries, cosqa)
    corpora = [(f"CoSQA, {len(texts[0]):,} functions", cosqa,
                arguments.rounds)]
    if arguments.synthetic_rounds:
      write_synthetic(synthetic, texts, arguments.synthetic_documents)
      corpora.append(
          (f"{arguments.synthetic_documents:,} synthetic functions", synthetic,
           arguments.synthetic_rounds))
    for name, folder, rounds in corpora:
      times = {engine: [] for engine in ENGINES}
      for i in range(rounds):
        for engine in ENGINES if i % 2 == 0 else reversed(ENGINES):
          # Its build and search of a million take minutes and vary little.
          if LIMITS.get((engine, os.path.basename(folder))) and i > 0:
            continue
          times[engine].append(run(engine, folder, arguments))
      report.append(table_of(name, folder, times, rounds))
      print(report[-1], flush=True)
  table = "\n".join(report)
  print(table)
  if arguments.table:
    with open(arguments.table, "w", encoding="utf-8") as file:
      file.write(table)


if __name__ == "__main__":
  main()
