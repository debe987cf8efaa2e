// The paper's experiment in small: an encoder is pre-trained on random programs
// of the mini-language, frozen, and each of its layers probed for syntax and
// semantics beside the same encoder with random weights.
#ifndef REPRO_PAPERS_PROBING_CODE_MODELS_PROBING_H_
#define REPRO_PAPERS_PROBING_CODE_MODELS_PROBING_H_

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/encoder/transformer_encoder.h"
#include "papers/probing_code_models/mini_language.h"
#include "papers/probing_code_models/probe.h"

namespace repro::probing_code_models {

// "ast", "cfg", "cdg", "ddg": edges of a graph; "in_cdg", "in_ddg": membership
// in one connected part of it; "tag": syntactic types of tokens.
const std::vector<std::string>& Tasks();

enum class EncoderKind {
  kRandom,      // the control: initial weights
  kPretrained,  // by masked tokens
  kDataFlow,    // by masked tokens and edges of the data flow between tokens
};
// "random", "pretrained", "data_flow". InvalidArgument lists them.
absl::StatusOr<EncoderKind> ParseEncoderKind(absl::string_view name);

struct ProbingOptions {
  ProgramOptions programs;
  int64_t dim = 64, num_layers = 4, num_heads = 4;  // inner layer of 4 dim
  int64_t pretraining_steps = 1000, pretraining_batch = 32;
  double pretraining_rate = 2e-3, pretraining_warmup = 0.1;
  int64_t train_programs = 600, validation_programs = 200, test_programs = 300;
  int64_t max_positives = 8;  // pairs of a program and task; as many negatives
  ProbeTrainingOptions probes, tag_probes;

  // 4 layers of 64, on two cores.
  static ProbingOptions Small();
  // 6 layers of 256, on a GPU.
  static ProbingOptions Large();
};

// MCC of each layer's probe, from the embedding's output up.
struct LayerScores {
  std::vector<double> validation, test;
};

// One for each of Tasks(), in order. Seeds draw programs, weights, masks and
// pairs; kinds of encoders with one seed start from the same weights and are
// probed on the same pairs. Cancelled if `progress` returns false;
// InvalidArgument for sizes that are not positive. Throws c10::Error where
// LibTorch does.
absl::StatusOr<std::vector<LayerScores>> ProbeEncoder(
    EncoderKind kind, const ProbingOptions& options, uint64_t seed,
    c10::Device device, const std::function<bool(double)>& progress);

// The layer with the best validation MCC, the lowest of equals.
int64_t BestByValidation(const LayerScores& scores);

// Hidden states of all layers, H_0 (the embedding's output) to H_L. tokens:
// int64 [batch, seq_len], mask: bool of the same shape ->
// [layers + 1, batch, seq_len, dim], without gradients.
at::Tensor LayerStates(const encoder::TransformerEncoder& model,
                       const at::Tensor& tokens, const at::Tensor& mask);

// What a task asks about programs, which are numbered from 0; of the six
// tasks of pairs.
std::vector<PairExample> PairsOfTask(const std::string& task,
                                     const std::vector<Program>& programs,
                                     int64_t max_positives,
                                     std::mt19937_64& random);

// Tokens with a type, in programs padded to `seq_len`.
TagExamples TagsOf(const std::vector<Program>& programs, int64_t seq_len);

}  // namespace repro::probing_code_models

#endif  // REPRO_PAPERS_PROBING_CODE_MODELS_PROBING_H_
