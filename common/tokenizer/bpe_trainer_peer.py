#!/usr/bin/env python3
"""Trains BPE with Hugging Face's tokenizers, on one thread.

    pip install tokenizers==0.22.1
    python3 bpe_trainer_peer.py TEXT_FILE VOCAB_SIZE OUT_JSON

Prints processor seconds, and writes tokenizer.json, whose merges are those of
`bpe_trainer_benchmark TEXT_FILE VOCAB_SIZE OUT_JSON`.
"""

import os
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

path, vocab_size, out = sys.argv[1], int(sys.argv[2]), sys.argv[3]
with open(path, encoding="utf-8", newline="") as file:
    text = file.read()
tokenizer = Tokenizer(models.BPE())
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
tokenizer.decoder = decoders.ByteLevel()
trainer = trainers.BpeTrainer(
    vocab_size=vocab_size,
    special_tokens=["<s>", "</s>"],
    initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    show_progress=False,
)
begin = time.process_time()
tokenizer.train_from_iterator([text], trainer)
print(f"tokenizers: {time.process_time() - begin:.2f} processor seconds")
tokenizer.save(out)
