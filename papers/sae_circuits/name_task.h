// The paper's experiment in small: a transformer of attention alone learns to
// name the indirect object, each head's ablation shows which heads it needs,
// and the codes of 10 examples are asked for the same heads.
//
// Prompts have the form of the paper's: "<begin> w w N1 and N2 w w w S gave to"
// with fillers w whose number before the names varies. Positive: S is N1 or N2,
// and the answer is the other one. Negative: three different names, and either
// of the first two may be the answer.
#ifndef REPRO_PAPERS_SAE_CIRCUITS_NAME_TASK_H_
#define REPRO_PAPERS_SAE_CIRCUITS_NAME_TASK_H_

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/nn/layers.h"
#include "common/nn/module.h"
#include "papers/sae_circuits/sparse_autoencoder.h"

namespace repro::sae_circuits {

// Tokens: 0 begin, 1 "and", 2 "gave", 3 "to", then names, then fillers.
struct NameTask {
  int64_t names = 30;
  int64_t fillers = 20;
  int64_t length = 16;  // tokens of a prompt

  static constexpr int64_t kBegin = 0, kAnd = 1, kGave = 2, kTo = 3;
  static constexpr int64_t kFirstName = 4;
  int64_t vocabulary() const { return kFirstName + names + fillers; }
};

struct NamePrompts {
  at::Tensor tokens;    // [count, length] int64
  at::Tensor answers;   // [count] int64: a token that may come next
  at::Tensor subjects;  // [count] int64: S
};
// The first `positives` prompts are positive, the others negative. On the CPU.
NamePrompts DrawNamePrompts(const NameTask& task, int64_t positives,
                            int64_t negatives, at::Generator generator);

// Replaces what heads write: gate * r + (1 - gate) * otherwise.
struct HeadGates {
  at::Tensor gates;      // [batch or 1, layers, heads]
  at::Tensor otherwise;  // [layers, heads, length, dim] or undefined: zeros
};

struct AttentionOnlyConfig {
  int64_t layers = 3;
  int64_t heads = 8;
  int64_t dim = 64;
};

// Token and position embeddings, layers of causal attention with LayerNorm
// before them, LayerNorm and an unembedding; no MLP, no biases but the norms'.
class AttentionOnlyModel : public Module {
 public:
  AttentionOnlyModel(const NameTask& task, const AttentionOnlyConfig& config,
                     const Initializer& init);

  struct Output {
    at::Tensor logits;  // [batch, vocabulary], after the last token
    // What heads add to the residual stream, r = z W_O, before any gate:
    // [batch, layers, heads, length, dim]. Filled if asked for.
    at::Tensor heads;
  };
  // tokens: [batch, length].
  Output Forward(const at::Tensor& tokens, bool keep_heads = false,
                 const HeadGates& gates = {}) const;

  const AttentionOnlyConfig& config() const { return config_; }

 private:
  struct Layer {
    LayerNorm* norm;
    Linear* qkv;
    at::Tensor output;  // W_O: [heads, head_dim, dim]
  };

  AttentionOnlyConfig config_;
  int64_t length_;
  at::Tensor tokens_, positions_;
  std::vector<Layer> layers_;
  LayerNorm* norm_;
  Linear* unembed_;
};

// Mean of the answer's logit less the subject's.
at::Tensor LogitDifference(const at::Tensor& logits,
                           const NamePrompts& prompts);

// [layers * heads] each, head l * heads + h; `prompts` are positive.
// By how much the logit difference falls where a head's output is replaced by
// `means` [layers, heads, length, dim].
std::vector<double> AblationEffects(const AttentionOnlyModel& model,
                                    const NamePrompts& prompts,
                                    const at::Tensor& means);
// Mean over prompts of |d logit difference / d gate| at gates of 1 (head
// importance of Michel et al. 2019, arXiv 1905.10650).
std::vector<double> GradientImportance(const AttentionOnlyModel& model,
                                       const NamePrompts& prompts);

// Where the known circuit comes from.
enum class KnownCircuit {
  // The heads with the largest ablation effects of a model with all heads.
  kAblation,
  // Heads drawn at random, the same number in each layer. All others are cut
  // off: they compute, but what they write is never read, in training neither,
  // so that they are certainly outside.
  kCut,
};

struct NameStudyOptions {
  KnownCircuit known = KnownCircuit::kAblation;
  NameTask task;
  AttentionOnlyConfig model;
  int64_t steps = 1500;
  int64_t batch = 128;  // half of it positive
  double rate = 3e-3;   // AdamW, warm-up and half-cosine
  int64_t examples = 500;
  int64_t circuit_heads = 6;  // kCut: a multiple of the layers
  AutoencoderOptions autoencoder;
  // Autoencoders per model and setting, whose areas are averaged.
  int64_t repeats = 5;
};

// Measures by name, sorted:
//   accuracy            on new positive prompts, in [0, 1]
//   node, edge          areas under the ROC curve
//   node_shuffled       with labels permuted at random (mean of 20)
//   distinct            the number of codes, without labels
// and with kAblation
//   circuit_share       the circuit's share of all positive ablation effects
//   edge_lowest_first   edges with the other order of ties
//   importance          area of GradientImportance
//   node_100_examples   trained on 100 examples
//   node_5_codes        with 5 features
std::vector<std::string> NameStudyMeasures(KnownCircuit known);

// The head outputs are scaled so that the mean square of their entries is 1.
// The same seed gives the same numbers on the same device. Cancelled if
// `progress` returns false. Throws c10::Error where LibTorch does.
absl::StatusOr<std::map<std::string, double>> RunNameStudy(
    const NameStudyOptions& options, uint64_t seed, c10::Device device,
    const std::function<bool(double)>& progress);

}  // namespace repro::sae_circuits

#endif  // REPRO_PAPERS_SAE_CIRCUITS_NAME_TASK_H_
