"""The papers that are linked into the `repro` program."""

# One line a paper: its folder under papers/.
PAPERS = [
    "flowformer",
    "positional_attention",
    "scan_snap",
    "van",
]
