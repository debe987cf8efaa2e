"""Prints the constants of transformer_encoder_test and encoder_decoder_test.

    pip install torch==2.11.0 transformers==4.57.1
    python3 make_expected.py

Both sides fill their parameters alike: element j of parameter k, in the order
of Module::NamedParameters(), is 0.3 sin(1.3 k + 0.7 j).
"""

import torch
from transformers import (
    RobertaConfig,
    RobertaForMaskedLM,
    T5Config,
    T5ForConditionalGeneration,
)
from transformers.models.t5.modeling_t5 import T5Attention

torch.set_default_dtype(torch.float64)


def fill(named, names):
    parameters = dict(named)
    for k, name in enumerate(names):
        parameter = parameters.pop(name)
        j = torch.arange(parameter.numel())
        parameter.data = (0.3 * torch.sin(1.3 * k + 0.7 * j)).view_as(parameter)
    assert not parameters, parameters.keys()


def show(name, values):
    print(name, "{" + ", ".join(f"{v:.12g}" for v in values.flatten()) + "}")


def linear(name):
    return [name + ".weight", name + ".bias"]


def roberta():
    model = RobertaForMaskedLM(
        RobertaConfig(
            vocab_size=11,
            hidden_size=8,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=12,
            max_position_embeddings=12,
            type_vocab_size=1,
            layer_norm_eps=1e-5,
        )
    ).eval()
    names = [f"roberta.embeddings.{n}_embeddings.weight"
             for n in ("word", "position", "token_type")]
    names += linear("roberta.embeddings.LayerNorm")
    for i in range(2):
        layer = f"roberta.encoder.layer.{i}."
        for part in ("attention.self.query", "attention.self.key",
                     "attention.self.value", "attention.output.dense",
                     "attention.output.LayerNorm", "intermediate.dense",
                     "output.dense", "output.LayerNorm"):
            names += linear(layer + part)
    fill(model.roberta.named_parameters(),
         [n.removeprefix("roberta.") for n in names])
    head = [n for n in ("lm_head.bias", "lm_head.dense.weight",
                        "lm_head.dense.bias", "lm_head.layer_norm.weight",
                        "lm_head.layer_norm.bias")]
    fill([(n, p) for n, p in model.named_parameters()
          if n.startswith("lm_head") and "decoder" not in n], head)
    tokens = torch.tensor([[0, 5, 6, 7, 2], [0, 8, 2, 1, 1]])
    mask = (tokens != 1).long()
    hidden = model.roberta(tokens, mask).last_hidden_state
    show("roberta hidden[0][3]", hidden[0][3])
    show("roberta hidden[1][1]", hidden[1][1])
    show("roberta logits[0][1]", model(tokens, mask).logits[0][1])


def t5(gated):
    model = T5ForConditionalGeneration(
        T5Config(
            vocab_size=11,
            d_model=8,
            d_kv=4,
            num_heads=3,
            d_ff=10,
            num_layers=2,
            num_decoder_layers=2,
            relative_attention_num_buckets=8,
            relative_attention_max_distance=16,
            feed_forward_proj="gated-gelu" if gated else "relu",
            tie_word_embeddings=not gated,
            decoder_start_token_id=0,
        )
    ).eval()
    names = ["shared.weight"] + (["lm_head.weight"] if gated else [])
    for stack in ("encoder", "decoder"):
        first = f"{stack}.block.0.layer.0.SelfAttention."
        names.append(first + "relative_attention_bias.weight")
        for i in range(2):
            attentions = ["SelfAttention"]
            if stack == "decoder":
                attentions.append("EncDecAttention")
            block = f"{stack}.block.{i}.layer."
            for n, attention in enumerate(attentions):
                names.append(f"{block}{n}.layer_norm.weight")
                names += [f"{block}{n}.{attention}.{p}.weight" for p in "qkvo"]
            n = len(attentions)
            names.append(f"{block}{n}.layer_norm.weight")
            names += [f"{block}{n}.DenseReluDense.{p}.weight"
                      for p in (["wi_0", "wi_1", "wo"] if gated
                                else ["wi", "wo"])]
        names.append(f"{stack}.final_layer_norm.weight")
    fill(model.named_parameters(), names)
    source = torch.tensor([[5, 6, 7, 2, 1], [8, 3, 1, 0, 0]])
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    targets = torch.tensor([[0, 4, 9, 3], [0, 10, 2, 2]])
    out = model(input_ids=source, attention_mask=mask,
                decoder_input_ids=targets)
    name = "t5 gated " if gated else "t5 "
    show(name + "states[0][3]", out.encoder_last_hidden_state[0][3])
    show(name + "states[1][2]", out.encoder_last_hidden_state[1][2])
    show(name + "logits[0][3]", out.logits[0][3])
    show(name + "logits[1][2]", out.logits[1][2])
    for beams in (1, 3):
        generated = model.generate(
            input_ids=source, attention_mask=mask, max_new_tokens=6,
            num_beams=beams, early_stopping="never" if beams > 1 else False,
            length_penalty=1.0 if beams > 1 else None, do_sample=False,
            return_dict_in_generate=True, output_scores=True)
        print(name, beams, "beams", generated.sequences.tolist(),
              generated.sequences_scores.tolist() if beams > 1 else "")


def buckets():
    distance = torch.tensor(
        [-200, -128, -127, -91, -64, -17, -16, -15, -8, -7, -1, 0, 1, 7, 8, 9,
         12, 15, 16, 31, 45, 90, 91, 127, 128, 200])
    for bidirectional in (True, False):
        print("buckets", bidirectional, T5Attention._relative_position_bucket(
            distance, bidirectional, 32, 128).tolist())


roberta()
t5(False)
t5(True)
buckets()
