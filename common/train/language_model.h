// Language models on a text: data, loss, evaluation, and a comparison of
// several models at equal data, steps and seeds.
//
//   REPRO_ASSIGN_OR_RETURN(std::string text, ReadFile(path));   // .gz or not
//   const TextDataset data = MakeTextDataset(text, TextUnit::kCharacter);
//   REPRO_ASSIGN_OR_RETURN(
//       LanguageModelOutcomes outcomes,
//       CompareLanguageModels(
//           data.To(device), options,
//           {{"tnl", [&](uint64_t seed) { return MakeTnl(seed); }},
//            {"llama", [&](uint64_t seed) { return MakeLlama(seed); }}},
//           grid));
//   outcomes["tnl"][0].valid_loss;   // nats a token, of the first seed
#ifndef REPRO_COMMON_TRAIN_LANGUAGE_MODEL_H_
#define REPRO_COMMON_TRAIN_LANGUAGE_MODEL_H_

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/nn/module.h"
#include "common/train/grid.h"
#include "common/train/optimizer.h"

namespace repro {

enum class TextUnit {
  kByte,       // token = byte, 256 of them
  kCharacter,  // token = index into the sorted distinct bytes of the text
};

struct TextDataset {
  at::Tensor train;  // int64 [tokens]
  at::Tensor valid;  // int64 [tokens], the end of the text
  int64_t vocab_size = 0;

  TextDataset To(c10::Device device) const;
};

// int64 [size of text] of bytes.
at::Tensor ByteTokens(absl::string_view text);

// The last `valid_fraction` of the tokens are for validation.
TextDataset MakeTextDataset(absl::string_view text, TextUnit unit,
                            double valid_fraction = 0.1);

// [batch_size, length] windows of tokens [size], at starts that depend on
// `seed` and `step` alone. Throws c10::Error if the tokens are fewer.
at::Tensor RandomWindows(const at::Tensor& tokens, int64_t batch_size,
                         int64_t length, uint64_t seed, int64_t step);
// [count, length] windows whose starts are spread evenly from the first to the
// last possible one.
at::Tensor EvenWindows(const at::Tensor& tokens, int64_t count, int64_t length);

// tokens [batch, seq_len] -> logits [batch, seq_len, vocab_size].
using LogitsFunction = std::function<at::Tensor(const at::Tensor& tokens)>;

// The mean of -log p(window[i + 1] | window[0 ... i]) in nats, windows
// [batch, length] of length - 1 predictions each; logits are taken to float32.
at::Tensor NextTokenLoss(const LogitsFunction& logits,
                         const at::Tensor& windows);

// The same mean from features [batch, seq_len, dim] and targets
// [batch, seq_len], in pieces of at most `piece` tokens whose logits the
// backward computes again: they take piece * vocab_size and not
// batch * seq_len * vocab_size numbers. `head`: [tokens, dim] -> [tokens,
// vocab_size]; call backward on the result (common/nn/recompute.h).
at::Tensor PiecewiseTokenLoss(
    const at::Tensor& features, const at::Tensor& targets,
    const std::function<at::Tensor(const at::Tensor&)>& head, int64_t piece);

// The mean loss in nats a token over windows [count, length], `batch_size` at a
// time, without gradients.
double EvaluateLanguageModel(const LogitsFunction& logits,
                             const at::Tensor& windows, int64_t batch_size);

double Perplexity(double nats);  // e^nats
double Bits(double nats);        // nats / ln 2

struct LanguageModel {
  std::unique_ptr<Module> module;  // on the data's device
  LogitsFunction logits;           // of that module
};

// The model `T` (Llama, Transnormer, ...), whose Forward gives logits.
template <typename T>
LanguageModel AsLanguageModel(std::unique_ptr<T> model) {
  T* raw = model.get();
  return {std::move(model),
          [raw](const at::Tensor& tokens) { return raw->Forward(tokens); }};
}

// A model's name and what makes it; all weights come from the seed.
struct NamedLanguageModel {
  std::string name;
  std::function<LanguageModel(uint64_t seed)> make;
};

struct LanguageModelTraining {
  int64_t steps = 0;
  int64_t batch_size = 0;
  int64_t seq_len = 0;
  // AdamW. The rate rises linearly from 0 to adam.rate over warmup_steps and
  // falls as a cosine to final_rate at the last step.
  AdamOptions adam = {/*rate=*/1e-3, /*beta1=*/0.9, /*beta2=*/0.95,
                      /*eps=*/1e-8, /*weight_decay=*/0};
  int64_t warmup_steps = 0;
  double final_rate = 0;
  double clip_norm = 1;
  int64_t valid_windows = 128;  // of seq_len predictions each
  int64_t valid_batch_size = 32;
};

struct LanguageModelOutcome {
  double valid_loss = 0;             // after the last step, nats a token
  std::vector<double> train_losses;  // of each step's batch, before its update
};

// The outcomes of each name, one a seed, in the grid's order.
using LanguageModelOutcomes =
    std::map<std::string, std::vector<LanguageModelOutcome>>;

// Trains every model with every seed of `grid`, whose names are set from
// `models`, by TrainGrid: it resumes, tells its progress and can be cancelled.
// With one seed all models see the same batches. `grid.checkpoint_dir` belongs
// to this comparison alone.
absl::StatusOr<LanguageModelOutcomes> CompareLanguageModels(
    const TextDataset& data, const LanguageModelTraining& training,
    const std::vector<NamedLanguageModel>& models, Grid grid);

}  // namespace repro

#endif  // REPRO_COMMON_TRAIN_LANGUAGE_MODEL_H_
