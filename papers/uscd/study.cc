#include "papers/uscd/study.h"

#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <random>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/lm/dense_state.h"
#include "common/lm/from_llama.h"
#include "common/nn/initializer.h"
#include "common/nn/llama.h"
#include "common/status/macros.h"
#include "common/tensor/generator.h"
#include "common/train/optimizer.h"
#include "common/train/schedule.h"
#include "common/train/trainer.h"

namespace repro::uscd {
namespace {

enum Stream : uint64_t { kWeights, kBatches, kTasks, kDraws, kShuffle };

constexpr uint64_t kLanguageSeed = 0;
constexpr int64_t kContext = 32;
// The longest text: two examples of three tokens, "=", an answer of five.
constexpr int64_t kTextLength = 12;
constexpr int64_t kMaxAnswer = 8;
constexpr double kDefaultTheta = UscdSettings().theta;
constexpr double kDefaultEta = UscdSettings().eta;

lm::StateFactory DenseStates(const lm::LanguageModel& model) {
  return [&model] {
    return lm::MakeDenseState(model.config(), model.device(), model.dtype());
  };
}

// A batch of texts, padded on the right: all but the last token, and all but
// the first, -100 where it is not of an answer.
struct Batch {
  at::Tensor tokens, labels;  // [batch_size, kTextLength - 1]
};
Batch MakeBatch(const Study& study, const WordLanguage& language,
                uint64_t seed) {
  constexpr int64_t kIgnored = -100;
  std::mt19937_64 random(seed);
  std::vector<int64_t> tokens, labels;
  for (int64_t i = 0; i < study.batch_size; ++i) {
    const WordTask task =
        language.Draw(/*frequent=*/true, /*held_out=*/false, random);
    const double share = static_cast<double>(random() >> 11) * 0x1p-53;
    std::vector<int32_t> text = share < study.lame_share
                                    ? WordLanguage::LamePrompt(task)
                                    : language.StandardPrompt(task, random);
    const size_t prompt = text.size();
    const std::vector<int32_t> answer = language.Answer(task);
    text.insert(text.end(), answer.begin(), answer.end());
    const size_t length = text.size();
    text.resize(kTextLength, kPadToken);
    for (size_t t = 0; t + 1 < text.size(); ++t) {
      tokens.push_back(text[t]);
      const bool of_answer = t + 1 >= prompt && t + 1 < length;
      labels.push_back(of_answer ? text[t + 1] : kIgnored);
    }
  }
  const std::vector<int64_t> shape = {study.batch_size, kTextLength - 1};
  return {at::tensor(tokens, at::kLong).view(shape),
          at::tensor(labels, at::kLong).view(shape)};
}

DecodeOptions WithSettings(const UscdSettings& settings) {
  DecodeOptions options;
  options.settings = CarryOver(settings, kWordVocabulary);
  options.max_tokens = kMaxAnswer;
  options.end_ids = {kEndToken};
  options.pad_id = kEndToken;
  return options;
}

// The ways of decoding, by name.
std::map<std::string, DecodeOptions> Arms() {
  const UscdSettings script = UscdSettings::CodeLlama7b();
  std::map<std::string, DecodeOptions> arms;
  UscdSettings never = script, always = script;
  never.theta = 0;
  always.theta = 1;
  arms["plain"] = WithSettings(never);
  arms["always"] = WithSettings(always);
  arms["uscd"] = WithSettings(script);
  arms["released"] = WithSettings(script);
  arms["released"].form = Form::kReleased;
  arms["log_ratio"] = WithSettings(script);
  arms["log_ratio"].contrast = Contrast::kLogRatio;
  for (const double theta : ThetaGrid()) {
    UscdSettings settings;
    settings.theta = theta;
    arms[ThetaName(theta)] = WithSettings(settings);
  }
  for (const double eta : EtaGrid()) {
    UscdSettings settings;
    settings.eta = eta;
    arms[EtaName(eta)] = WithSettings(settings);
  }
  return arms;
}

absl::StatusOr<StudyNumbers> Measure(const lm::LanguageModel& model,
                                     const WordLanguage& language,
                                     const Study& study, uint64_t seed,
                                     const std::function<bool()>& cancelled) {
  StudyNumbers numbers;
  const std::map<std::string, DecodeOptions> arms = Arms();
  const auto solve = [&](const std::string& arm, bool frequent,
                         bool other_lame) -> absl::StatusOr<Solved> {
    if (cancelled && cancelled()) return absl::CancelledError("stopped");
    return Solve(model, language, arms.at(arm), study.tasks, seed, frequent,
                 other_lame);
  };
  for (const auto& [name, unused] : arms) {
    REPRO_ASSIGN_OR_RETURN(const Solved solved, solve(name, false, false));
    numbers[name] = solved.percent;
    if (name == "uscd") numbers["firing_rate"] = solved.contrasted;
  }
  REPRO_ASSIGN_OR_RETURN(const Solved other, solve("uscd", false, true));
  numbers["other"] = other.percent;
  REPRO_ASSIGN_OR_RETURN(const Solved plain, solve("plain", true, false));
  numbers["frequent_plain"] = plain.percent;
  REPRO_ASSIGN_OR_RETURN(const Solved uscd, solve("uscd", true, false));
  numbers["frequent_uscd"] = uscd.percent;
  REPRO_ASSIGN_OR_RETURN(NoisePositions positions,
                         MeasureNoise(model, language, study.tasks, seed));
  REPRO_ASSIGN_OR_RETURN(numbers["js"],
                         JensenShannon(positions.uncertainty, positions.noise));
  std::mt19937_64 random(MixSeed(seed, kShuffle));
  for (size_t i = positions.noise.size(); i > 1; --i) {
    std::swap(positions.noise[i - 1], positions.noise[random() % i]);
  }
  REPRO_ASSIGN_OR_RETURN(numbers["js_shuffled"],
                         JensenShannon(positions.uncertainty, positions.noise));
  return numbers;
}

}  // namespace

UscdSettings CarryOver(UscdSettings settings, int64_t vocab_size) {
  settings.theta =
      EquivalentTheta(settings.theta, kCodeLlamaVocabulary, vocab_size);
  settings.eta *= static_cast<double>(vocab_size) /
                  static_cast<double>(kCodeLlamaVocabulary);
  return settings;
}

absl::StatusOr<std::unique_ptr<lm::LanguageModel>> TrainDecoder(
    const Study& study, const WordLanguage& language, uint64_t seed,
    const GridCell& cell) {
  if (study.warmup_steps < 0 || study.warmup_steps >= study.steps ||
      study.batch_size < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat(study.steps, " steps, ", study.warmup_steps,
                     " of them warm-up, batches of ", study.batch_size));
  }
  LlamaConfig config;
  config.vocab_size = kWordVocabulary;
  config.dim = study.dim;
  config.num_layers = study.num_layers;
  config.num_heads = study.num_heads;
  config.ffn_dim = study.ffn_dim;
  Llama model(config, Initializer(MakeGenerator(seed, kWeights)));
  const auto optimizer = MakeAdamW(model.Parameters(), {});
  TrainOptions options;
  options.num_steps = study.steps;
  options.rate = WarmupCosineRate(study.rate, study.warmup_steps, study.steps);
  options.clip_norm = 1;
  options.log_every = 20;
  options.checkpoint_path = cell.checkpoint_path;
  options.identity =
      absl::StrCat("uscd study ", seed, " ", study.steps, " ", study.dim, " ",
                   study.num_layers, " ", study.batch_size);
  options.progress = cell.progress;
  options.cancelled = cell.cancelled;
  TrainState state;
  state.model = &model;
  state.optimizer = optimizer.get();
  const uint64_t batches = MixSeed(seed, kBatches);
  REPRO_ASSIGN_OR_RETURN(
      const TrainResult trained, Train(options, state, [&](int64_t step) {
        const Batch batch = MakeBatch(
            study, language, MixSeed(batches, static_cast<uint64_t>(step)));
        const at::Tensor logits = model.Forward(batch.tokens);
        return at::cross_entropy_loss(logits.flatten(0, 1),
                                      batch.labels.flatten());
      }));
  if (trained.cancelled) return absl::CancelledError("stopped");
  model.Train(false);
  return lm::FromLlama(model, kContext);
}

absl::StatusOr<Solved> Solve(const lm::LanguageModel& model,
                             const WordLanguage& language,
                             const DecodeOptions& options, int64_t tasks,
                             uint64_t seed, bool frequent, bool other_lame) {
  if (tasks < 1) {
    return absl::InvalidArgumentError(absl::StrCat(tasks, " tasks"));
  }
  // Tasks and draws are the same for all ways of decoding.
  std::mt19937_64 random(MixSeed(seed, kTasks));
  DecodeOptions of_task = options;
  int64_t solved = 0, contrasted = 0, tokens = 0;
  for (int64_t i = 0; i < tasks; ++i) {
    const WordTask task = language.Draw(frequent, /*held_out=*/true, random);
    const std::vector<int32_t> standard = language.StandardPrompt(task, random);
    WordTask lame_task = task;
    if (other_lame) {
      for (WordUse& use : lame_task) {
        use.word =
            (use.word + 1 + static_cast<int>(i) % (kNumWords - 1)) % kNumWords;
      }
    }
    of_task.sampling.seed =
        MixSeed(MixSeed(seed, kDraws), static_cast<uint64_t>(i));
    LanguageModelRows rows(&model, DenseStates(model));
    REPRO_ASSIGN_OR_RETURN(
        const DecodeResult result,
        Decode(rows, standard, WordLanguage::LamePrompt(lame_task), of_task));
    solved += result.ended && language.Solves(task, result.Ids());
    for (const DecodedToken& token : result.tokens) {
      contrasted += token.contrasted;
    }
    tokens += static_cast<int64_t>(result.tokens.size());
  }
  return Solved{
      100.0 * static_cast<double>(solved) / static_cast<double>(tasks),
      100.0 * static_cast<double>(contrasted) / static_cast<double>(tokens)};
}

absl::StatusOr<NoisePositions> MeasureNoise(const lm::LanguageModel& model,
                                            const WordLanguage& language,
                                            int64_t tasks, uint64_t seed) {
  std::mt19937_64 random(MixSeed(seed, kTasks));
  NoisePositions positions;
  for (int64_t i = 0; i < tasks; ++i) {
    const WordTask task =
        language.Draw(/*frequent=*/false, /*held_out=*/true, random);
    std::vector<int32_t> next = language.StandardPrompt(task, random);
    LanguageModelRows rows(&model, DenseStates(model));
    for (const int32_t right : language.Answer(task)) {
      REPRO_ASSIGN_OR_RETURN(const auto logits,
                             rows.Append({{Row::kStandard, next}}));
      REPRO_ASSIGN_OR_RETURN(const std::vector<double> p,
                             Probabilities(logits[0]));
      positions.uncertainty.push_back(
          std::max(0.0, 1 - Deviation(p) / LargestDeviation(kWordVocabulary)));
      positions.noise.push_back(1 - p[right]);
      next = {right};
    }
  }
  return positions;
}

const std::vector<double>& ThetaGrid() {
  static const auto* const grid =
      new std::vector<double>{0, 0.0025, kDefaultTheta, 0.0045, 0.0055};
  return *grid;
}

const std::vector<double>& EtaGrid() {
  static const auto* const grid =
      new std::vector<double>{0, kDefaultEta, 320, 3200};
  return *grid;
}

std::string ThetaName(double theta) { return absl::StrCat("theta_", theta); }
std::string EtaName(double eta) { return absl::StrCat("eta_", eta); }

absl::StatusOr<std::vector<StudyNumbers>> RunStudy(const Study& study,
                                                   Grid grid) {
  const WordLanguage language(kLanguageSeed);
  grid.names = {"study"};
  std::vector<std::string> names;
  for (const auto& [name, unused] : Arms()) names.push_back(name);
  for (const char* name : {"firing_rate", "other", "frequent_plain",
                           "frequent_uscd", "js", "js_shuffled"}) {
    names.emplace_back(name);
  }
  REPRO_ASSIGN_OR_RETURN(
      const GridOutcomes outcomes,
      TrainGrid(
          grid,
          [&](const GridCell& cell) -> absl::StatusOr<std::vector<double>> {
            REPRO_ASSIGN_OR_RETURN(
                const auto model,
                TrainDecoder(study, language, cell.seed, cell));
            REPRO_ASSIGN_OR_RETURN(
                const StudyNumbers numbers,
                Measure(*model, language, study, cell.seed, cell.cancelled));
            std::vector<double> values;
            for (const std::string& name : names) {
              values.push_back(numbers.at(name));
            }
            return values;
          }));
  std::vector<StudyNumbers> of_seeds;
  for (const std::vector<double>& values : outcomes.at("study")) {
    StudyNumbers& numbers = of_seeds.emplace_back();
    for (size_t i = 0; i < names.size(); ++i) {
      numbers[names[i]] = values.at(i);
    }
  }
  return of_seeds;
}

}  // namespace repro::uscd
