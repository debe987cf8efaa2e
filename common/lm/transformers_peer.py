#!/usr/bin/env python3
"""Times this project's decoding on a GPU beside Hugging Face's transformers.

Both with random bfloat16 weights of one shape, one sequence, a cache of fixed
size with random values in it; transformers with a static cache and its forward
pass compiled (CUDA graphs). One after the other on the same machine.

  pip install torch==2.11.0 transformers==5.17.0
  bazel build --config=cuda //common/lm:decode_benchmark //kernels:librepro_kernels_cuda.so
  python3 common/lm/transformers_peer.py
"""

import argparse
import json
import statistics
import subprocess
import sys

MODELS = {
    "llama3-8b": dict(vocab_size=128256, hidden_size=4096,
                      intermediate_size=14336, num_hidden_layers=32,
                      num_attention_heads=32, num_key_value_heads=8,
                      rope_theta=500000.0),
    "llama2-7b": dict(vocab_size=32000, hidden_size=4096,
                      intermediate_size=11008, num_hidden_layers=32,
                      num_attention_heads=32, num_key_value_heads=32,
                      rope_theta=10000.0),
}
STEPS = 32


def measure(name, context):
  """Seconds a token: the median of rounds of STEPS steps, as JSON."""
  import torch
  import transformers
  from transformers import LlamaConfig, LlamaForCausalLM, StaticCache

  shape = dict(MODELS[name])
  theta = shape.pop("rope_theta")
  config = LlamaConfig(
      **shape, max_position_embeddings=context + 1024,
      rope_parameters={"rope_type": "default", "rope_theta": theta})
  torch.set_default_dtype(torch.bfloat16)
  with torch.device("cuda"):
    model = LlamaForCausalLM(config).eval()
  torch.set_default_dtype(torch.float32)
  capacity = context + 8 * STEPS
  cache = StaticCache(config=config, max_cache_len=capacity)
  token = torch.zeros(1, 1, dtype=torch.long, device="cuda")
  with torch.no_grad():
    model(input_ids=torch.zeros(1, 16, dtype=torch.long, device="cuda"),
          past_key_values=cache)
    for layer in cache.layers:
      layer.keys.normal_()
      layer.values.normal_()
      layer.cumulative_length.fill_(context)
    step = torch.compile(model.forward, mode="reduce-overhead")
    position = torch.full((1, 1), context, dtype=torch.long, device="cuda")

    def run(count):
      nonlocal token
      for _ in range(count):
        torch.compiler.cudagraph_mark_step_begin()
        logits = step(input_ids=token, position_ids=position,
                      past_key_values=cache).logits
        token = logits[:, -1:].argmax(-1)
        position.add_(1)

    run(STEPS)  # compiles, records
    seconds = []
    for _ in range(5):
      start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
      start.record()
      run(STEPS)
      end.record()
      end.synchronize()
      seconds.append(start.elapsed_time(end) / STEPS / 1e3)
  print(json.dumps({"seconds": statistics.median(seconds),
                    "version": transformers.__version__,
                    "torch": torch.__version__}))


def run(command):
  """The last line of a command's output, as JSON, or what went wrong."""
  result = subprocess.run(command, capture_output=True, text=True, check=False)
  if result.returncode:
    lines = result.stderr.strip().splitlines() or ["no message"]
    return {"problem": lines[-1][:200]}
  return json.loads(result.stdout.splitlines()[-1])


def main():
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  parser.add_argument("--benchmark",
                      default="bazel-bin/common/lm/decode_benchmark",
                      help="this project's program")
  parser.add_argument("--models", nargs="*", default=list(MODELS),
                      choices=list(MODELS))
  parser.add_argument("--contexts", nargs="*", type=int,
                      default=[4096, 131072])
  parser.add_argument("--table", help="file for the table, Markdown")
  parser.add_argument("--measure-transformers", nargs=2,
                      metavar=("MODEL", "CONTEXT"),
                      help="transformers alone, as JSON")
  arguments = parser.parse_args()
  if arguments.measure_transformers:
    name, context = arguments.measure_transformers
    measure(name, int(context))
    return

  rows, heading = [], ""
  for name in arguments.models:
    for context in arguments.contexts:
      ours = run([arguments.benchmark, "--json", f"--model={name}",
                  f"--context={context}"])
      peer = run([sys.executable, __file__, "--measure-transformers", name,
                  str(context)])
      row = (ours.get("rows") or [ours])[0]
      problem = row.get("problem")
      if "copy_bytes_per_second" in ours:
        heading = (f"{ours['device']}, "
                   f"{ours['copy_bytes_per_second'] / 1e12:.2f} TB/s copied")
      if "version" in peer:
        heading += (f", transformers {peer['version']}, PyTorch "
                    f"{peer['torch']}") if "transformers" not in heading else ""
      for label, seconds, trouble in (
          ("repro", row.get("seconds"), problem),
          ("transformers, compiled", peer.get("seconds"),
           peer.get("problem"))):
        if not seconds:
          rows.append(f"| {name} | {context} | {label} | {trouble} | | | |")
          continue
        part = share = ratio = ""
        if row.get("bytes"):
          rate = row["bytes"] / seconds
          part = f"{100 * rate / 4.8e12:.1f}%"
          share = f"{100 * rate / ours['copy_bytes_per_second']:.1f}%"
        if row.get("seconds"):
          ratio = f"{seconds / row['seconds']:.2f}"
        rows.append(f"| {name} | {context} | {label} | {1e3 * seconds:.3f} "
                    f"| {part} | {share} | {ratio} |")
  table = "\n".join(
      [heading, "",
       "| model | context | implementation | ms a token | of 4.8 TB/s "
       "| of this card's copy | / repro |",
       "| --- | ---: | --- | ---: | ---: | ---: | ---: |"] + rows) + "\n"
  print(table)
  if arguments.table:
    with open(arguments.table, "w", encoding="utf-8") as file:
      file.write(table)


if __name__ == "__main__":
  main()
