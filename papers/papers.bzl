"""The papers that are linked into the `repro` program."""

# One line a paper: its folder under papers/.
PAPERS = [
    "asap",
    "based",
    "chain_of_code",
    "code_halu",
    "code_if",
    "code_search_net",
    "code_tree",
    "duo_attention",
    "efficient_probing",
    "flowformer",
    "graph_code_bert",
    "hip_attention",
    "infini_retri",
    "lightning_attention",
    "lightning_attention_2",
    "next_edit",
    "positional_attention",
    "probing_code_models",
    "rank_ef",
    "rat",
    "razor_attention",
    "scan_snap",
    "token_select",
    "van",
]
