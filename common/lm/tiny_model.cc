#include "common/lm/tiny_model.h"

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

#include <string>
#include <utility>

#include "common/tensor/generator.h"
#include "common/tokenizer/loader.h"

namespace repro::lm {
namespace {

// The character of UTF-8 that stands for a byte in GPT-2's vocabulary.
std::string Character(int byte, int* others) {
  int code = byte;
  const bool printed = (byte >= 0x21 && byte <= 0x7e) ||
                       (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
  if (!printed) code = 0x100 + (*others)++;
  if (code < 0x80) return std::string(1, static_cast<char>(code));
  return {static_cast<char>(0xc0 | code >> 6),
          static_cast<char>(0x80 | (code & 0x3f))};
}

}  // namespace

std::unique_ptr<Tokenizer> TinyTokenizer() {
  constexpr int64_t kNormal = 1, kControl = 3;
  GgmlVocabulary vocabulary;
  vocabulary.model = "gpt2";
  vocabulary.pre = "gpt-2";
  int others = 0;
  for (int byte = 0; byte < 256; ++byte) {
    vocabulary.tokens.push_back(Character(byte, &others));
    vocabulary.token_types.push_back(kNormal);
  }
  for (const char* special : {"<|im_start|>", "<|im_end|>"}) {
    vocabulary.tokens.push_back(special);
    vocabulary.token_types.push_back(kControl);
  }
  vocabulary.roles.eos = kTinyEnd;
  vocabulary.chat_template =
      R"({% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %})";
  auto tokenizer = TokenizerFromGgml(std::move(vocabulary), "tiny");
  TORCH_CHECK(tokenizer.ok(), tokenizer.status().ToString());
  return *std::move(tokenizer);
}

std::unique_ptr<LanguageModel> TinyModel(int64_t max_positions) {
  ModelConfig config;
  config.vocab_size = kTinyVocabulary;
  config.hidden_size = 32;
  config.intermediate_size = 48;
  config.num_layers = 2;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 8;
  config.max_positions = max_positions;
  config.eos_ids = {kTinyEnd};
  auto model = RandomModel(config, MakeGenerator(5), at::kCPU, at::kFloat);
  // Larger weights, so that the text is not one token over and over.
  for (LayerWeights& layer : model->mutable_weights().layers) {
    layer.qkv.dense.mul_(20);
    layer.output.dense.mul_(20);
    layer.gate_up.dense.mul_(10);
    layer.down.dense.mul_(20);
  }
  model->mutable_weights().embedding.mul_(50);
  model->mutable_weights().head.dense.mul_(50);
  // A score of 0, below that of the likeliest token.
  model->mutable_weights().head.dense.select(0, kTinyEnd).zero_();
  return model;
}

}  // namespace repro::lm
