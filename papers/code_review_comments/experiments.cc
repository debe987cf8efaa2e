// How each claim of claims.textproto is measured; arguments come from there.

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/claims/experiment.h"
#include "common/completion/completion.h"
#include "common/completion/open_client.h"
#include "common/completion/record_replay.h"
#include "common/count/parameters.h"
#include "common/nn/initializer.h"
#include "common/stats/descriptive.h"
#include "common/status/macros.h"
#include "common/tensor/device.h"
#include "common/tensor/generator.h"
#include "common/train/experiment.h"
#include "papers/code_review_comments/prompting.h"
#include "papers/code_review_comments/qlora.h"
#include "papers/code_review_comments/review_bleu.h"
#include "papers/code_review_comments/reviews.h"
#include "papers/code_review_comments/selection.h"
#include "papers/code_review_comments/tuning.h"

namespace repro::code_review_comments {
namespace {

constexpr char kSlug[] = "code_review_comments";

// The released files of an experiment, each read when it is first asked for.
class Released {
 public:
  explicit Released(ExperimentRun& run) : run_(run) {}

  absl::StatusOr<const std::vector<PredictedItem>*> Predictions() {
    return Get<std::vector<PredictedItem>>("predictions", ReadPredictions,
                                           &predictions_);
  }
  absl::StatusOr<const std::vector<PatchItem>*> Patches() {
    return Get<std::vector<PatchItem>>("patches", ReadPatches, &patches_);
  }
  // As the claim's argument "stop_words" says: null where they are kept.
  absl::StatusOr<const StopWords*> Removed(const Claim& claim) {
    REPRO_ASSIGN_OR_RETURN(const std::string rule,
                           run_.Arg(claim, "stop_words"));
    if (rule == "kept") return nullptr;
    if (rule != "removed") return UnknownName(claim, "stop_words", rule);
    return Get<StopWords>("stop_words", ReadStopWords, &stop_words_);
  }

 private:
  template <typename T, typename Read>
  absl::StatusOr<const T*> Get(const char* asset, const Read& read,
                               std::unique_ptr<T>* kept) {
    if (*kept == nullptr) {
      REPRO_ASSIGN_OR_RETURN(const std::string path, run_.AssetPath(asset));
      REPRO_ASSIGN_OR_RETURN(T value, read(path));
      *kept = std::make_unique<T>(std::move(value));
    }
    return kept->get();
  }

  ExperimentRun& run_;
  std::unique_ptr<std::vector<PredictedItem>> predictions_;
  std::unique_ptr<std::vector<PatchItem>> patches_;
  std::unique_ptr<StopWords> stop_words_;
};

// ------------------------------------------------------------- released_bleu

absl::Status MeasureReleasedBleu(ExperimentRun& run) {
  Released released(run);
  for (const Claim* claim : run.claims()) {
    if (run.Cancelled()) return absl::CancelledError("stopped");
    REPRO_ASSIGN_OR_RETURN(const std::string model, run.Arg(*claim, "model"));
    REPRO_ASSIGN_OR_RETURN(const StopWords* stop_words,
                           released.Removed(*claim));
    std::vector<double> scores;
    if (model == "codereviewer") {
      REPRO_ASSIGN_OR_RETURN(const auto* items, released.Predictions());
      for (const PredictedItem& item : *items) {
        scores.push_back(ReviewBleu(item.gold, item.codereviewer, stop_words));
      }
    } else {
      const auto found = std::find(kModels.begin(), kModels.end(), model);
      if (found == kModels.end()) return UnknownName(*claim, "model", model);
      REPRO_ASSIGN_OR_RETURN(const auto* patches, released.Patches());
      for (const PatchItem& item : *patches) {
        scores.push_back(ReviewBleu(
            item.gold, item.comments[found - kModels.begin()], stop_words));
      }
    }
    REPRO_ASSIGN_OR_RETURN(const double mean, Mean(scores));
    run.Record(*claim, mean);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "released_bleu", MeasureReleasedBleu);

absl::Status MeasureRetrievedBleu(ExperimentRun& run) {
  Released released(run);
  REPRO_ASSIGN_OR_RETURN(const std::string path, run.AssetPath("retrieved"));
  REPRO_ASSIGN_OR_RETURN(const std::vector<std::string> comments,
                         ReadRetrieved(path));
  REPRO_ASSIGN_OR_RETURN(const auto* items, released.Predictions());
  if (comments.size() != items->size()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", comments.size(),
                                                   " comments for ",
                                                   items->size(), " items"));
  }
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const StopWords* stop_words,
                           released.Removed(*claim));
    std::vector<double> scores;
    for (size_t i = 0; i < comments.size(); ++i) {
      scores.push_back(ReviewBleu((*items)[i].gold, comments[i], stop_words));
    }
    REPRO_ASSIGN_OR_RETURN(const double mean, Mean(scores));
    run.Record(*claim, mean);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "retrieved_bleu", MeasureRetrievedBleu);

// ----------------------------------------------------------------- selection

// The scores of several comments for each of the first items.
using ScoreTable = std::vector<std::vector<double>>;

// By the argument "of": "models" are the released models of the file of
// patches, "models_and_codereviewer" has that one behind them, "codereviewer"
// it alone, and "copies" are the human comments of the five best other patches
// by BM25.
absl::StatusOr<ScoreTable> ScoresOf(const Claim& claim, const std::string& of,
                                    const StopWords* stop_words,
                                    Released& released) {
  constexpr int64_t kCopies = 5;
  REPRO_ASSIGN_OR_RETURN(const auto* patches, released.Patches());
  ScoreTable table(patches->size());
  if (of == "models" || of == "models_and_codereviewer") {
    for (size_t i = 0; i < table.size(); ++i) {
      for (const std::string& comment : (*patches)[i].comments) {
        table[i].push_back(ReviewBleu((*patches)[i].gold, comment, stop_words));
      }
    }
  }
  if (of == "codereviewer" || of == "models_and_codereviewer") {
    REPRO_ASSIGN_OR_RETURN(const auto* items, released.Predictions());
    for (size_t i = 0; i < table.size(); ++i) {
      if (i >= items->size() || (*items)[i].gold != (*patches)[i].gold) {
        return absl::InvalidArgumentError(absl::StrCat(
            "item ", i, " of the predictions is not that of the patches"));
      }
      table[i].push_back(
          ReviewBleu((*items)[i].gold, (*items)[i].codereviewer, stop_words));
    }
  }
  if (of == "copies") {
    std::vector<std::string> processed;
    for (const PatchItem& item : *patches) {
      processed.push_back(ProcessPatch(item.patch));
    }
    REPRO_ASSIGN_OR_RETURN(const ExemplarIndex index,
                           ExemplarIndex::Build(processed));
    for (size_t i = 0; i < table.size(); ++i) {
      for (const int64_t id :
           index.Search(processed[i], kCopies, static_cast<int64_t>(i))) {
        table[i].push_back(
            ReviewBleu((*patches)[i].gold, (*patches)[id].gold, stop_words));
      }
    }
  }
  if (table[0].empty()) return UnknownName(claim, "of", of);
  return table;
}

absl::Status MeasureSelection(ExperimentRun& run) {
  Released released(run);
  std::map<std::pair<std::string, const StopWords*>, ScoreTable> tables;
  // The mean over items of a number of each item's scores.
  const auto mean_of =
      [](const ScoreTable& table,
         const std::function<absl::StatusOr<double>(
             const std::vector<double>&)>& number) -> absl::StatusOr<double> {
    std::vector<double> numbers;
    for (const std::vector<double>& scores : table) {
      REPRO_ASSIGN_OR_RETURN(numbers.emplace_back(), number(scores));
    }
    return Mean(numbers);
  };
  for (const Claim* claim : run.claims()) {
    if (run.Cancelled()) return absl::CancelledError("stopped");
    REPRO_ASSIGN_OR_RETURN(const std::string of, run.Arg(*claim, "of"));
    REPRO_ASSIGN_OR_RETURN(const std::string report, run.Arg(*claim, "report"));
    REPRO_ASSIGN_OR_RETURN(const StopWords* stop_words,
                           released.Removed(*claim));
    ScoreTable& table = tables[{of, stop_words}];
    if (table.empty()) {
      REPRO_ASSIGN_OR_RETURN(table, ScoresOf(*claim, of, stop_words, released));
    }
    absl::StatusOr<double> value;
    if (report == "first" || report == "mean" || report == "best") {
      value = mean_of(
          table,
          [&](const std::vector<double>& scores) -> absl::StatusOr<double> {
            REPRO_ASSIGN_OR_RETURN(const Selection selection, Select(scores));
            return report == "first"  ? selection.first
                   : report == "mean" ? selection.mean
                                      : selection.best;
          });
    } else if (report == "expected_best") {
      REPRO_ASSIGN_OR_RETURN(const int64_t n, run.IntArg(*claim, "n"));
      value = mean_of(table, [n](const std::vector<double>& scores) {
        return ExpectedBestOf(scores, n);
      });
    } else {
      return UnknownName(*claim, "report", report);
    }
    REPRO_RETURN_IF_ERROR(value.status());
    run.Record(*claim, *value);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "selection", MeasureSelection);

// ------------------------------------------------------------------- ratings

absl::Status MeasureRatings(ExperimentRun& run) {
  Released released(run);
  REPRO_ASSIGN_OR_RETURN(const std::string path, run.AssetPath("ratings"));
  REPRO_ASSIGN_OR_RETURN(const std::vector<RatedReview> reviews,
                         ReadRatings(path));
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string report, run.Arg(*claim, "report"));
    REPRO_ASSIGN_OR_RETURN(const std::string criterion,
                           run.Arg(*claim, "criterion"));
    absl::StatusOr<double> value;
    if (report == "mean" || report == "count") {
      REPRO_ASSIGN_OR_RETURN(const std::string system,
                             run.Arg(*claim, "system"));
      REPRO_ASSIGN_OR_RETURN(const MeanRating rating,
                             RatingOf(reviews, system, criterion));
      value =
          report == "mean" ? rating.mean : static_cast<double>(rating.count);
    } else if (report == "system_correlation" ||
               report == "review_correlation") {
      REPRO_ASSIGN_OR_RETURN(const StopWords* stop_words,
                             released.Removed(*claim));
      value = report == "system_correlation"
                  ? SystemCorrelation(reviews, criterion, stop_words)
                  : ReviewCorrelation(reviews, criterion, stop_words);
    } else {
      return UnknownName(*claim, "report", report);
    }
    REPRO_RETURN_IF_ERROR(value.status());
    run.Record(*claim, *value);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "ratings", MeasureRatings);

// ---------------------------------------------------------- qlora_arithmetic

absl::StatusOr<DecoderConfig> ConfigOf(ExperimentRun& run, const Claim& claim) {
  REPRO_ASSIGN_OR_RETURN(const std::string model, run.Arg(claim, "model"));
  if (model == "llama2_7b") return DecoderConfig::Llama2With7B();
  if (model == "llama3_8b") return DecoderConfig::Llama3With8B();
  return UnknownName(claim, "model", model);
}

// Of a real tensor, whose blocks are all full.
double BitsPerWeight(const QuantizationOptions& options) {
  const at::Tensor weight =
      Initializer(MakeGenerator(0)).Normal({1024, 1024}, 1);
  return 8 * static_cast<double>(QuantizedTensor(weight, options).Bytes()) /
         static_cast<double>(weight.numel());
}

absl::Status MeasureQloraArithmetic(ExperimentRun& run) {
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string report, run.Arg(*claim, "report"));
    QuantizationOptions options;
    if (report == "adapter_parameters") {
      REPRO_ASSIGN_OR_RETURN(const DecoderConfig config, ConfigOf(run, *claim));
      LoraOptions lora;
      REPRO_ASSIGN_OR_RETURN(lora.rank, run.IntArg(*claim, "rank"));
      const Decoder base(config, Initializer::Meta());
      run.RecordCount(*claim, static_cast<double>(CountParameters(
                                  Decoder(base, lora, Initializer::Meta()))));
    } else if (report == "projection_bytes") {
      REPRO_ASSIGN_OR_RETURN(const DecoderConfig config, ConfigOf(run, *claim));
      double bytes = 0;
      for (const at::Tensor& weight :
           Decoder(config, Initializer::Meta()).ProjectionWeights()) {
        bytes += static_cast<double>(QuantizedBytes(weight.numel(), options));
      }
      run.RecordCount(*claim, bytes);
    } else if (report == "bits") {
      run.Record(*claim, BitsPerWeight(options));
    } else if (report == "constant_bits" || report == "constant_bits_single") {
      options.double_quantize = report == "constant_bits";
      run.Record(*claim, BitsPerWeight(options) - 4);
    } else {
      return UnknownName(*claim, "report", report);
    }
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "qlora_arithmetic", MeasureQloraArithmetic);

// -------------------------------------------------------------------- tuning

absl::Status MeasureTuning(ExperimentRun& run) {
  Released released(run);
  REPRO_ASSIGN_OR_RETURN(const c10::Device device, ParseDevice(run.device()));
  REPRO_ASSIGN_OR_RETURN(const auto* patches, released.Patches());
  REPRO_ASSIGN_OR_RETURN(const auto* items, released.Predictions());
  REPRO_ASSIGN_OR_RETURN(const TuningData data,
                         MakeTuningData(*patches, *items));
  const TuningOptions options;
  REPRO_ASSIGN_OR_RETURN(const std::vector<TuningOutcome> outcomes,
                         CompareTuning(data, options, device, GridOfRun(run)));
  const std::map<std::string, std::function<double(const TuningOutcome&)>>
      reports = {
          {"full_gain",
           [](const TuningOutcome& o) { return (o.base - o.full) / o.base; }},
          {"lora_gain",
           [](const TuningOutcome& o) { return (o.base - o.lora) / o.base; }},
          {"lora_gap",
           [](const TuningOutcome& o) { return (o.lora - o.full) / o.full; }},
          {"trained_share",
           [](const TuningOutcome& o) { return o.trained_share; }},
          {"nf4_gap",
           [](const TuningOutcome& o) {
             return (o.lora_nf4 - o.lora) / o.lora;
           }},
          {"int4_gap",
           [](const TuningOutcome& o) {
             return (o.lora_int4 - o.lora) / o.lora;
           }},
          {"int4_error",
           [](const TuningOutcome& o) { return o.int4_over_nf4_error - 1; }}};
  TuningOutcome mean;
  for (const TuningOutcome& o : outcomes) {
    const auto size = static_cast<double>(outcomes.size());
    mean.base += o.base / size;
    mean.full += o.full / size;
    mean.lora += o.lora / size;
    mean.lora_nf4 += o.lora_nf4 / size;
    mean.lora_int4 += o.lora_int4 / size;
  }
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string report, run.Arg(*claim, "report"));
    const auto found = reports.find(report);
    if (found == reports.end()) return UnknownName(*claim, "report", report);
    Observation observation;
    for (const TuningOutcome& outcome : outcomes) {
      observation.samples.push_back(found->second(outcome));
    }
    observation.effects = observation.samples;
    observation.scale = absl::StrFormat(
        "a decoder of %d parameters on bytes, 400 instructions, %d steps in "
        "place of 8 B and 118 K; nats a byte: %.4f before, %.4f full, %.4f "
        "LoRA, %.4f over NF4, %.4f over int4",
        CountParameters(Decoder(options.decoder, Initializer::Meta())),
        options.tuning_steps, mean.base, mean.full, mean.lora, mean.lora_nf4,
        mean.lora_int4);
    run.Record(*claim, std::move(observation));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "tuning", MeasureTuning);

// ----------------------------------------------------------------- prompting

constexpr int64_t kItemsASeed = 12;
constexpr int64_t kShots = 3;

// `count` of 0 ... size - 1, distinct, in the order drawn.
std::vector<int64_t> Draw(int64_t size, int64_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<int64_t> numbers(size);
  std::iota(numbers.begin(), numbers.end(), 0);
  for (int64_t i = 0; i < count; ++i) {
    std::swap(numbers[i],
              numbers[i + static_cast<int64_t>(random() % (size - i))]);
  }
  numbers.resize(count);
  return numbers;
}

// Mean BLEU over the items of a seed.
struct PromptingScores {
  Selection samples;
  double codereviewer = 0;
};

absl::Status MeasurePrompting(ExperimentRun& run) {
  Released released(run);
  REPRO_ASSIGN_OR_RETURN(const auto* patches, released.Patches());
  REPRO_ASSIGN_OR_RETURN(const auto* items, released.Predictions());
  const auto size = static_cast<int64_t>(patches->size());
  if (size < kItemsASeed || items->size() < patches->size()) {
    return absl::InvalidArgumentError(
        absl::StrCat(size, " patches and ", items->size(), " predictions"));
  }
  // Answers are kept, so that a run that was killed goes on.
  completion::OpenOptions open;
  open.cancelled = [&run] { return run.Cancelled(); };
  REPRO_ASSIGN_OR_RETURN(std::unique_ptr<completion::CompletionClient> model,
                         completion::OpenClient(run.model_spec(), open));
  REPRO_ASSIGN_OR_RETURN(const auto client,
                         completion::RecordingClient::Create(
                             std::move(model), run.checkpoint_dir()));
  std::vector<ReviewedChange> changes;
  std::vector<std::string> processed;
  for (const PatchItem& item : *patches) {
    processed.push_back(ProcessPatch(item.patch));
    changes.push_back({processed.back(), "", "", item.gold});
  }
  REPRO_ASSIGN_OR_RETURN(const ExemplarIndex index,
                         ExemplarIndex::Build(processed));
  std::vector<PromptingScores> scores;
  PromptingScores mean;
  double done = 0, dropped = 0;
  const auto total = static_cast<double>(run.seeds().size()) *
                     static_cast<double>(kItemsASeed);
  for (const uint64_t seed : run.seeds()) {
    PromptingScores& of_seed = scores.emplace_back();
    for (const int64_t i : Draw(size, kItemsASeed, seed)) {
      if (run.Cancelled()) return absl::CancelledError("stopped");
      run.Progress(done++, total, absl::StrCat("items, seed ", seed));
      std::vector<ReviewedChange> exemplars;
      for (const int64_t id : index.Search(processed[i], kShots, i)) {
        exemplars.push_back(changes[id]);
      }
      GenerationOptions options;
      options.max_tokens = 64;
      options.seed = seed;
      REPRO_ASSIGN_OR_RETURN(
          const GeneratedComments comments,
          GenerateComments(*client, exemplars, changes[i], options));
      dropped += static_cast<double>(kShots - comments.exemplars);
      std::vector<double> bleu;
      for (const std::string& sample : comments.samples) {
        bleu.push_back(ReviewBleu(changes[i].comment, sample, nullptr));
      }
      REPRO_ASSIGN_OR_RETURN(const Selection selection, Select(bleu));
      const double share = 1.0 / kItemsASeed;
      of_seed.samples.first += selection.first * share;
      of_seed.samples.mean += selection.mean * share;
      of_seed.samples.best += selection.best * share;
      of_seed.codereviewer +=
          ReviewBleu((*items)[i].gold, (*items)[i].codereviewer, nullptr) *
          share;
    }
    const double share = 1 / static_cast<double>(run.seeds().size());
    mean.samples.first += of_seed.samples.first * share;
    mean.samples.mean += of_seed.samples.mean * share;
    mean.samples.best += of_seed.samples.best * share;
    mean.codereviewer += of_seed.codereviewer * share;
  }
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string report, run.Arg(*claim, "report"));
    Observation observation;
    for (const PromptingScores& of_seed : scores) {
      if (report == "best_over_mean") {
        observation.samples.push_back(
            of_seed.samples.best / of_seed.samples.mean - 1);
      } else if (report == "best_over_codereviewer") {
        observation.samples.push_back(
            of_seed.samples.best / of_seed.codereviewer - 1);
      } else if (report == "first_over_codereviewer") {
        observation.samples.push_back(
            of_seed.samples.first / of_seed.codereviewer - 1);
      } else {
        return UnknownName(*claim, "report", report);
      }
    }
    observation.effects = observation.samples;
    observation.scale = absl::StrFormat(
        "%s, %d items, exemplars from 1,000 patches in place of 118 K, no call "
        "graph; BLEU %.2f of the first sample, %.2f of the mean, %.2f of the "
        "best, %.2f of CodeReviewer; %.0f exemplars dropped",
        client->name(), kItemsASeed * static_cast<int64_t>(scores.size()),
        mean.samples.first, mean.samples.mean, mean.samples.best,
        mean.codereviewer, dropped);
    run.Record(*claim, std::move(observation));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "prompting", MeasurePrompting);

}  // namespace
}  // namespace repro::code_review_comments
