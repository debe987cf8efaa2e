"""Writes the files of this folder with the formats' own Python packages.

python3 -m venv venv && venv/bin/pip install gguf==0.19.0 safetensors==0.8.0
venv/bin/python make_testdata.py
"""

import json
import pathlib

import gguf
import numpy as np
import safetensors.numpy

HERE = pathlib.Path(__file__).parent
CORPUS = HERE / "corpus"
TYPES = gguf.GGMLQuantizationType


def writer(path, arch="llama"):
    return gguf.GGUFWriter(path, arch)


def finish(w):
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


# Where blocks have half-precision scales; random bits there could be NaN.
HALVES = {
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0],
    "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2],
    "Q6_K": [208],
}


def blocks(rng, name, count):
    """Random blocks of a type with scales around 0.01."""
    size = gguf.GGML_QUANT_SIZES[TYPES[name]][1]
    raw = rng.integers(0, 256, (count, size), dtype=np.uint8)
    for at in HALVES.get(name, []):
        scale = rng.normal(0, 0.01, (count, 1)).astype(np.float16)
        raw[:, at:at + 2] = scale.view(np.uint8)
    if name == "Q8_K":
        scale = rng.normal(0, 0.01, (count, 1)).astype(np.float32)
        raw[:, 0:4] = scale.view(np.uint8)
    return raw


def expected(name, raw):
    if name == "Q8_K":  # not in the package: a float and 256 signed bytes
        return raw[:, 0:4].copy().view(np.float32) * raw[:, 4:260].view(np.int8)
    return gguf.quants.dequantize(raw, TYPES[name])


def dequantize_file():
    """Two rows of one or two blocks of each type, and what they stand for."""
    rng = np.random.default_rng(5)
    w = writer(HERE / "dequantize.gguf")
    for name in [*HALVES, "Q8_K"]:
        per_row = 1 if name.endswith("_K") else 2
        raw = blocks(rng, name, 2 * per_row)
        values = expected(name, raw).reshape(2, -1)
        w.add_tensor(name, raw.reshape(2, -1), raw_dtype=TYPES[name])
        w.add_tensor(name + ".expected", values.astype(np.float32))
    values = rng.normal(0, 1, (2, 40)).astype(np.float32)
    values[0, :6] = [0, -0.0, 6e-8, 65504, 1e-5, -2]  # a half's extremes
    for name, raw in {
        "F32": values,
        "F16": values.astype(np.float16),
        "BF16": gguf.quants.quantize(values, TYPES.BF16),
    }.items():
        w.add_tensor(name, raw, raw_dtype=TYPES[name])
        w.add_tensor(name + ".expected",
                     expected(name, raw).astype(np.float32))
    finish(w)


def gguf_corpus():
    folder = CORPUS / "gguf"
    w = writer(folder / "empty.gguf")
    finish(w)

    w = writer(folder / "values.gguf")
    w.add_uint8("u8", 200)
    w.add_int8("i8", -3)
    w.add_uint16("u16", 60000)
    w.add_int16("i16", -30000)
    w.add_uint32("u32", 4000000000)
    w.add_int32("i32", -2000000000)
    w.add_uint64("u64", 2**64 - 1)
    w.add_int64("i64", -2**63)
    w.add_float32("f32", 0.5)
    w.add_float64("f64", 0.1)
    w.add_bool("yes", True)
    w.add_string("text", "caf\u00e9")
    w.add_array("ints", [1, -2, 3])
    w.add_array("floats", [0.5, -1.5])
    w.add_array("bools", [True, False])
    w.add_array("strings", ["a", "", "\u0120b"])
    w.add_array("nested", [[1, 2], [3]])
    finish(w)

    rng = np.random.default_rng(6)
    w = writer(folder / "tensors.gguf")
    w.add_custom_alignment(64)
    w.add_tensor("a", rng.normal(size=(2, 3)).astype(np.float32))
    w.add_tensor("b", rng.normal(size=(5,)).astype(np.float16))
    w.add_tensor("c", blocks(rng, "Q4_1", 4).reshape(2, -1),
                 raw_dtype=TYPES.Q4_1)
    w.add_tensor("d", blocks(rng, "Q6_K", 1), raw_dtype=TYPES.Q6_K)
    w.add_tensor("e", np.ones((1, 2, 1, 16), np.float32))
    finish(w)

    for name, head_dim in {"model.gguf": 4, "llama3.gguf": 64}.items():
        w = writer(folder / name)
        w.add_context_length(64)
        w.add_embedding_length(8)
        w.add_block_count(1)
        w.add_feed_forward_length(16)
        w.add_head_count(2)
        w.add_head_count_kv(1)
        w.add_key_length(head_dim)
        w.add_layer_norm_rms_eps(1e-5)
        w.add_token_list(["<s>", "</s>", "a", "b"])
        w.add_bos_token_id(0)
        w.add_eos_token_id(1)
        w.add_tensor("token_embd.weight", np.zeros((4, 8), np.float32))
        if name == "model.gguf":
            w.add_rope_freq_base(10000.0)
            w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
            w.add_rope_scaling_factor(2.0)
        else:
            w.add_rope_freq_base(500000.0)
            w.add_tensor("rope_freqs.weight", llama3_factors(head_dim, 5e5, 8))
        finish(w)


def llama3_factors(head_dim, theta, factor):
    """As llama.cpp's convert_hf_to_gguf.py writes them for Llama 3.1."""
    factors = []
    for i in range(0, head_dim, 2):
        wavelength = 2 * np.pi * theta ** (i / head_dim)
        if wavelength < 8192 / 4:
            factors.append(1)
        elif wavelength > 8192:
            factors.append(factor)
        else:
            smooth = (8192 / wavelength - 1) / (4 - 1)
            factors.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(factors, dtype=np.float32)


def safetensors_corpus():
    folder = CORPUS / "safetensors"
    safetensors.numpy.save_file({}, folder / "empty.safetensors")
    rng = np.random.default_rng(7)
    safetensors.numpy.save_file(
        {
            "f32": rng.normal(size=(2, 3)).astype(np.float32),
            "f16": np.arange(5, dtype=np.float16),
            "i64": np.array(-7, dtype=np.int64),
            "u8": np.arange(3, dtype=np.uint8),
            "flags": np.array([True, False]),
            "none": np.zeros((0, 4), np.float64),
        },
        folder / "mixed.safetensors",
        metadata={"format": "pt", "note": "caf\u00e9"})


def hf_config_corpus():
    folder = CORPUS / "hf_config"
    smollm2 = dict(
        architectures=["LlamaForCausalLM"], model_type="llama",
        vocab_size=49152, hidden_size=576, intermediate_size=1536,
        num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3,
        rms_norm_eps=1e-05, rope_theta=100000, rope_scaling=None,
        max_position_embeddings=8192, tie_word_embeddings=True,
        attention_bias=False, mlp_bias=False, hidden_act="silu",
        bos_token_id=1, eos_token_id=2)
    llama3 = dict(
        smollm2, vocab_size=128256, eos_token_id=[128001, 128009], head_dim=64,
        rope_scaling=dict(
            rope_type="llama3", factor=8.0, low_freq_factor=1.0,
            high_freq_factor=4.0, original_max_position_embeddings=8192))
    for name, config in {"smollm2": smollm2, "llama3": llama3}.items():
        (folder / f"{name}.json").write_text(json.dumps(config) + "\n")


if __name__ == "__main__":
    dequantize_file()
    gguf_corpus()
    safetensors_corpus()
    hf_config_corpus()
