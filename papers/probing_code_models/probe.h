// The probes: a pair of nodes is classified from pooled spans of frozen hidden
// states, a token from its state. Probes of all layers are stacked and train
// at once, each as if it were alone.
//
//   PairProbes probes(dim, inits, 0.1, dropout_generator);  // one init a layer
//   REPRO_ASSIGN_OR_RETURN(const std::vector<double> best,
//                          TrainPairProbes(probes, train_states, train,
//                                          valid_states, valid, options,
//                                          seed));
//   std::vector<Confusion> test = TestPairProbes(probes, test_states, test);
#ifndef REPRO_PAPERS_PROBING_CODE_MODELS_PROBE_H_
#define REPRO_PAPERS_PROBING_CODE_MODELS_PROBE_H_

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "common/nn/initializer.h"
#include "common/nn/layers.h"
#include "common/nn/module.h"
#include "papers/probing_code_models/released_scores.h"
#include "papers/probing_code_models/spans.h"

namespace repro::probing_code_models {

// A pair of nodes of one program.
struct PairExample {
  int64_t program = 0;
  PairPieces nodes;
  bool linked = false;
};

struct PairTensors {
  at::Tensor program;  // int64 [pairs]
  at::Tensor begin;    // int64 [pairs, 2 nodes, 2 pieces], included
  at::Tensor end;      // int64 [pairs, 2, 2], included
  at::Tensor mask;     // float [pairs, 2, 2]: 0 for a piece that is not there
  at::Tensor labels;   // int64 [pairs]: 1 if linked
  int64_t last_token = 0;  // no span ends behind it

  int64_t size() const { return labels.size(0); }
  // Those at `rows`, int64 [n].
  PairTensors Select(const at::Tensor& rows) const;
};

// InvalidArgument: no pairs, a node with no or more than two pieces, a span
// that begins below 0 or ends before it begins.
absl::StatusOr<PairTensors> MakePairTensors(
    const std::vector<PairExample>& pairs, c10::Device device);

// For each probe: s_t = w h_t + b with (w, b) shared by both nodes; a piece's
// vector is sum_t softmax(s)_t h_t over its tokens, a node's the sum over its
// pieces; logits = W dropout([v_first; v_second]) + c. 3 dim + 3 parameters and
// 2 dim more: 3,843 with 768 dimensions.
class PairProbes : public Module {
 public:
  // One probe for each of `inits`, with torch.nn.Linear's initialisation.
  // Dropout draws from `generator`; undefined: no dropout.
  PairProbes(int64_t dim, const std::vector<Initializer>& inits,
             double dropout = 0.1, at::Generator generator = {});

  // states: [probes, programs, seq_len, dim] -> [probes, pairs, 2 dim]. Throws
  // c10::Error for other shapes and for spans that leave the sequence.
  at::Tensor Pool(const at::Tensor& states, const PairTensors& pairs) const;
  // -> logits [probes, pairs, 2].
  at::Tensor Forward(const at::Tensor& states, const PairTensors& pairs) const;

 private:
  double dropout_;
  at::Generator generator_;
  StackedLinear* score_;
  StackedLinear* classifier_;
};

// Tokens with a type, by program.
struct TagExamples {
  // Of each program: tokens as program * seq_len + position, and their tags.
  std::vector<std::vector<int64_t>> tokens, tags;
};

// logits = W dropout(h) + c for each token and probe.
class TagProbes : public Module {
 public:
  TagProbes(int64_t dim, int64_t num_tags,
            const std::vector<Initializer>& inits, double dropout = 0.1,
            at::Generator generator = {});

  // states: [probes, tokens, dim] -> [probes, tokens, num_tags].
  at::Tensor Forward(const at::Tensor& states) const;

 private:
  double dropout_;
  at::Generator generator_;
  StackedLinear* classifier_;
};

struct ProbeTrainingOptions {
  int64_t epochs = 2;
  int64_t batch_size = 64;  // pairs; programs for the tagger
  double rate = 1e-3;
  double warmup = 0.2;  // share of the steps
  double clip_norm = 1;
  int64_t validations_per_epoch = 10;
};

// Adam (without weight decay AdamW is Adam), each probe with its own clipped
// gradient. The parameters of each probe at its best validation MCC are kept;
// these MCCs are returned, one a probe. `seed` orders the pairs. Cancelled if
// `progress`, which is given the share that is done, returns false.
absl::StatusOr<std::vector<double>> TrainPairProbes(
    PairProbes& probes, const at::Tensor& train_states,
    const PairTensors& train, const at::Tensor& validation_states,
    const PairTensors& validation, const ProbeTrainingOptions& options,
    uint64_t seed, const std::function<bool(double)>& progress = nullptr);

// Counts of each probe; class 1 where its logit is the larger.
std::vector<Confusion> TestPairProbes(PairProbes& probes,
                                      const at::Tensor& states,
                                      const PairTensors& pairs);

// The same for the tagger, with the multi-class MCC over tokens that have a
// type. states: [probes, programs, seq_len, dim]. InvalidArgument: no tokens.
absl::StatusOr<std::vector<double>> TrainTagProbes(
    TagProbes& probes, const at::Tensor& train_states, const TagExamples& train,
    const at::Tensor& validation_states, const TagExamples& validation,
    const ProbeTrainingOptions& options, uint64_t seed,
    const std::function<bool(double)>& progress = nullptr);
absl::StatusOr<std::vector<double>> TestTagProbes(TagProbes& probes,
                                                  const at::Tensor& states,
                                                  const TagExamples& examples);

// Scales the gradients of each model of a stack ([models, ...] parameters) by
// min(1, max_norm / (norm + 1e-6)) with the norm of that model's own.
void ClipStackedGradients(const std::vector<at::Tensor>& parameters,
                          double max_norm);

// Milliseconds of one training step of `layers` probes on states of the given
// shape, all at once and one after the other; random values.
struct ProbeSpeed {
  double stacked_ms = 0, sequential_ms = 0;
};
ProbeSpeed MeasureProbeSpeed(int64_t layers, int64_t programs, int64_t seq_len,
                             int64_t dim, int64_t pairs, c10::Device device,
                             uint64_t seed);

}  // namespace repro::probing_code_models

#endif  // REPRO_PAPERS_PROBING_CODE_MODELS_PROBE_H_
