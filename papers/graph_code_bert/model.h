// GraphCodeBERT's encoder, its three objectives and its heads (Guo et al. 2021,
// sections 4 and 5), on common/encoder.
#ifndef REPRO_PAPERS_GRAPH_CODE_BERT_MODEL_H_
#define REPRO_PAPERS_GRAPH_CODE_BERT_MODEL_H_

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <vector>

#include "common/encoder/masked_attention.h"
#include "common/encoder/transformer_encoder.h"
#include "common/nn/initializer.h"
#include "common/nn/layers.h"
#include "common/nn/module.h"
#include "papers/graph_code_bert/graph_input.h"

namespace repro::graph_code_bert {

// Inputs of unequal length, padded on the right to the longest.
struct GraphBatch {
  at::Tensor tokens;     // int64 [batch, seq_len]
  at::Tensor positions;  // int64 [batch, seq_len]; 0 for nodes
  at::Tensor mask;       // bool [batch, seq_len, seq_len], of AttentionMask
  // bool [batch, seq_len, seq_len]: node to the pieces of its token, also where
  // the mask hides them.
  at::Tensor node_pieces;
  at::Tensor maskable;  // bool [batch, seq_len]: comment and code
};

// options: one an input, or empty for MaskOptions(). At least one input.
GraphBatch MakeGraphBatch(const std::vector<const GraphInput*>& inputs,
                          const std::vector<MaskOptions>& options,
                          int32_t pad_id, c10::Device device);

// Word embeddings [batch, seq_len, dim] with each node's replaced by the mean
// of those of its pieces, 0 if they were cut off.
at::Tensor MeanNodeEmbeddings(const at::Tensor& words, const GraphBatch& batch);

// Encoder and pooler; the heads below go on it.
class GraphCodeBert : public Module {
 public:
  GraphCodeBert(const encoder::TransformerConfig& config,
                const Initializer& init, at::Generator generator = {});

  const encoder::TransformerEncoder& encoder() const { return *encoder_; }

  // -> [batch, seq_len, dim]. `tokens` stand in for batch.tokens if defined.
  at::Tensor Forward(const GraphBatch& batch,
                     const at::Tensor& tokens = {}) const;
  // The vector of a sequence for search: tanh(dense h_[CLS]) -> [batch, dim].
  // Its loss is encoder::SoftmaxPairLoss, the score an inner product.
  at::Tensor SearchVectors(const at::Tensor& h) const;

  // Mean cross-entropy of the masked tokens of a batch of `inputs` and, over
  // their pairs, mean binary cross-entropy of sigmoid(pair_scale <h_i, h_j>)
  // (equations 5-8, whose scale is 1). `samples`: one an input, or empty for no
  // structure objective.
  struct Losses {
    at::Tensor masked_language_model;
    at::Tensor structure;  // 0 without pairs
  };
  Losses PretrainingLosses(const GraphBatch& batch,
                           const std::vector<PairSample>& samples,
                           int32_t mask_id, int32_t first_random_id,
                           at::Generator generator,
                           double pair_scale = 1) const;

 private:
  encoder::TransformerConfig config_;
  encoder::TransformerEncoder* encoder_;
  encoder::Pooler* pooler_;
  encoder::MaskedLanguageModelHead* language_model_;
};

// Clone detection: two functions encoded apart, their [CLS] vectors side by
// side, dense, tanh, dropout, 2 logits; class 1 are clones.
class CloneHead : public Module {
 public:
  CloneHead(int64_t dim, double dropout, const Initializer& init,
            at::Generator generator = {});

  // Two times [batch, seq_len, dim] -> [batch, 2].
  at::Tensor Forward(const at::Tensor& first, const at::Tensor& second) const;

 private:
  encoder::ClassificationHead* head_;
};

struct DecoderConfig {
  int64_t num_layers = 6;
  int64_t num_heads = 12;
  int64_t ffn_dim = 2048;
  int64_t max_positions = 514;
  double dropout = 0.1;
};

class DecoderLayer;
struct DecoderCache;

// Translation and refinement: a post-norm decoder over the encoder's states,
// dense and tanh, and an output layer tied to the word embeddings.
class GenerationHead : public Module {
 public:
  GenerationHead(int64_t dim, const DecoderConfig& config,
                 const Initializer& init, at::Generator generator = {});
  ~GenerationHead() override;

  // targets: int64 [batch, target_len], what was said so far; states: [batch,
  // source_len, dim] with source_mask bool [batch, source_len]; word_embedding:
  // [vocab_size, dim] -> logits [batch, target_len, vocab_size] of what
  // follows.
  at::Tensor Forward(const at::Tensor& targets, const at::Tensor& states,
                     const at::Tensor& source_mask,
                     const at::Tensor& word_embedding) const;

  // Greedy: ids behind begin_id up to end_id or max_length, without both.
  std::vector<std::vector<int64_t>> Generate(const at::Tensor& states,
                                             const at::Tensor& source_mask,
                                             const at::Tensor& word_embedding,
                                             int64_t begin_id, int64_t end_id,
                                             int64_t max_length) const;

 private:
  // Of each layer, before anything is said.
  std::vector<DecoderCache> Start(const at::Tensor& states) const;
  // The logits behind each of `targets`, which follow what the caches hold.
  at::Tensor Extend(const at::Tensor& targets,
                    const encoder::ScoreMask& source_mask,
                    const at::Tensor& word_embedding,
                    std::vector<DecoderCache>* caches) const;

  DecoderConfig config_;
  at::Tensor position_embedding_;
  std::vector<DecoderLayer*> layers_;
  Linear* dense_;
};

}  // namespace repro::graph_code_bert

#endif  // REPRO_PAPERS_GRAPH_CODE_BERT_MODEL_H_
