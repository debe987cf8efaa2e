"""The papers that are linked into the `repro` program."""

# One line a paper: its folder under papers/.
PAPERS = [
    "based",
    "duo_attention",
    "flowformer",
    "hip_attention",
    "lightning_attention",
    "lightning_attention_2",
    "positional_attention",
    "rat",
    "razor_attention",
    "scan_snap",
    "token_select",
    "van",
]
