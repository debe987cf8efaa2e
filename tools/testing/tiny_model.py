"""A model of random weights in a folder, as `--model FOLDER` reads it."""

import json
import os
import subprocess

_PROGRAM = os.path.abspath("tools/testing/save_tiny_model")
_SPECIAL = ["<|im_start|>", "<|im_end|>"]
_TEMPLATE = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + "
    "message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")


def _characters():
  """GPT-2's character of each byte."""
  others = 0
  for byte in range(256):
    if 0x21 <= byte <= 0x7e or 0xa1 <= byte <= 0xac or byte >= 0xae:
      yield chr(byte)
    else:
      yield chr(0x100 + others)
      others += 1


def save(folder):
  """Makes the folder: each byte is a token, as in common/lm/tiny_model.h."""
  os.makedirs(folder)
  subprocess.run([_PROGRAM, folder], check=True)
  byte_level = {"type": "ByteLevel", "add_prefix_space": False,
                "trim_offsets": True, "use_regex": True}
  tokenizer = {
      "version": "1.0",
      "added_tokens": [
          {"id": 256 + i, "content": content, "single_word": False,
           "lstrip": False, "rstrip": False, "normalized": False,
           "special": True} for i, content in enumerate(_SPECIAL)],
      "normalizer": None,
      "pre_tokenizer": byte_level,
      "post_processor": None,
      "decoder": byte_level,
      "model": {"type": "BPE", "dropout": None, "unk_token": None,
                "continuing_subword_prefix": None, "end_of_word_suffix": None,
                "fuse_unk": False, "byte_fallback": False,
                "vocab": {c: i for i, c in enumerate(_characters())},
                "merges": []},
  }
  config = {"tokenizer_class": "GPT2Tokenizer", "eos_token": _SPECIAL[1],
            "chat_template": _TEMPLATE}
  for name, value in [("tokenizer.json", tokenizer),
                      ("tokenizer_config.json", config)]:
    with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
      json.dump(value, file)
