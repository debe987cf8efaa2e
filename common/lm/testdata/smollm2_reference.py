"""Reference values of SmolLM2-135M-Instruct, by Hugging Face transformers.

Reads the GGUF file, whose blocks transformers dequantises to float32, computes
in float64 (norms and rotary angles in float32, as transformers does), and
prints what smollm2_test.cc compares with:

  pip install torch==2.11.0 transformers==5.24.0 gguf==0.19.0 accelerate==1.15.0
  python3 smollm2_reference.py SmolLM2-135M-Instruct.Q4_1.gguf \
      > smollm2_reference.json
"""

import json
import os
import re
import sys
import textwrap

import torch
import transformers

PROMPTS = [
    "The capital of France is",
    "<|im_start|>user\nWhat is 17 + 25?<|im_end|>\n<|im_start|>assistant\n",
    "def fibonacci(n):\n    if n < 2:\n        return n\n    return",
]

# Lewis Carroll, Alice's Adventures in Wonderland (1865), from chapter I.
TEXT = """Alice was beginning to get very tired of sitting by her sister on the \
bank, and of having nothing to do: once or twice she had peeped into the book \
her sister was reading, but it had no pictures or conversations in it, "and \
what is the use of a book," thought Alice "without pictures or conversations?"

So she was considering in her own mind (as well as she could, for the hot day \
made her feel very sleepy and stupid), whether the pleasure of making a \
daisy-chain would be worth the trouble of getting up and picking the daisies, \
when suddenly a White Rabbit with pink eyes ran close by her.

There was nothing so very remarkable in that; nor did Alice think it so very \
much out of the way to hear the Rabbit say to itself, "Oh dear! Oh dear! I \
shall be late!" (when she thought it over afterwards, it occurred to her that \
she ought to have wondered at this, but at the time it all seemed quite \
natural); but when the Rabbit actually took a watch out of its \
waistcoat-pocket, and looked at it, and then hurried on, Alice started to her \
feet, for it flashed across her mind that she had never before seen a rabbit \
with either a waistcoat-pocket, or a watch to take out of it, and burning with \
curiosity, she ran across the field after it, and fortunately was just in time \
to see it pop down a large rabbit-hole under the hedge.
"""


def main():
    folder, name = os.path.split(os.path.abspath(sys.argv[1]))
    tokenizer = transformers.AutoTokenizer.from_pretrained(
        folder, gguf_file=name)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, gguf_file=name, dtype=torch.float32).double().eval()

    def logits(tokens):
        with torch.no_grad():
            return model(torch.tensor([tokens])).logits[0]

    prompts = []
    for text in PROMPTS:
        tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
        last = logits(tokens)[-1]
        top = last.topk(10)
        prompts.append({
            "text": text,
            "tokens": tokens,
            "top_ids": top.indices.tolist(),
            "top_logits": top.values.tolist(),
            "sum": last.sum().item(),
            "sum_of_squares": last.square().sum().item(),
            "log_sum_exp": last.logsumexp(0).item(),
        })
    tokens = tokenizer(TEXT, add_special_tokens=False)["input_ids"]
    loss = torch.nn.functional.cross_entropy(
        logits(tokens)[:-1], torch.tensor(tokens[1:]), reduction="sum").item()
    text = json.dumps({
        "versions": {"torch": torch.__version__,
                     "transformers": transformers.__version__},
        "prompts": prompts,
        "perplexity": {"tokens": tokens,
                       "negative_log_likelihood": loss,
                       "predicted": len(tokens) - 1},
    }, indent=1)
    # Lists of numbers in lines of 80 columns.
    print(re.sub(
        r"\[[^\[\]{}\"]*\]",
        lambda m: textwrap.fill(" ".join(m.group().split()), 80), text))


main()
