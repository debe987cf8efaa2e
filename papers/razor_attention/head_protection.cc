#include "papers/razor_attention/head_protection.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/lm/control_policies.h"
#include "common/status/macros.h"
#include "common/tensor/generator.h"
#include "common/testbed/data.h"

namespace repro::razor {
namespace {

// Streams of a seed.
constexpr uint64_t kProbe = 1;
constexpr uint64_t kRandomHeads = 2;
constexpr uint64_t kRandomTokens = 3;
constexpr uint64_t kSequences = 16;  // plus the task's number

struct Heads {
  HeadSet retrieval, induction, echo, random, bottom;
};

Heads FindHeads(const lm::LanguageModel& model, const testbed::Recipe& recipe,
                const ProtectionOptions& options, uint64_t seed) {
  const lm::ModelConfig& config = model.config();
  Probe probe;
  probe.period = options.probe_period;
  probe.first_token = testbed::Vocabulary::kFirstKey;
  probe.last_token = recipe.vocabulary.size() - 1;
  probe.bos = testbed::Vocabulary::kBegin;
  const HeadScores scores =
      ScoreHeads(model, probe, MakeGenerator(seed, kProbe));
  const auto select = [&](double echo, double induction) {
    return SelectRetrievalHeads(scores, config.num_kv_heads, {echo, induction});
  };
  Heads heads;
  heads.retrieval = select(options.shares.echo, options.shares.induction);
  heads.induction = select(0, options.shares.induction);
  heads.echo = select(options.shares.echo, 0);
  const int64_t count = CountHeads(heads.retrieval);
  heads.random = RandomHeads(config.num_layers, config.num_kv_heads, count,
                             MakeGenerator(seed, kRandomHeads));
  heads.bottom = ToHeadSet(
      TopPlaces(-GroupMax(scores.induction, config.num_kv_heads), count),
      config.num_layers, config.num_kv_heads);
  return heads;
}

class Comparison {
 public:
  Comparison(const lm::LanguageModel& model, const testbed::Recipe& recipe,
             const ProtectionOptions& options, uint64_t seed)
      : model_(model),
        options_(options),
        seed_(seed),
        heads_(FindHeads(model, recipe, options, seed)) {
    for (const testbed::Task task : options.tasks) {
      sequences_.push_back(testbed::MakeSequences(
          testbed::EvaluationConfig(recipe, task, options.length,
                                    options.questions),
          options.count,
          MakeGenerator(seed, kSequences + static_cast<uint64_t>(task))));
    }
    share_ = static_cast<double>(CountHeads(heads_.retrieval)) /
             static_cast<double>(model.config().num_layers *
                                 model.config().num_kv_heads);
  }

  absl::StatusOr<testbed::Recall> Measure(const std::string& policy) const {
    testbed::ReadingOptions reading;
    reading.batch = options_.batch;
    reading.prompt_chunk = options_.length;
    return testbed::MeasureRecall(
        model_, sequences_,
        [&](const testbed::Sequences& sequences) {
          return Factory(policy, sequences.prompt_length);
        },
        reading);
  }

 private:
  lm::StateFactory Razor(const HeadSet& heads, Compensation compensation,
                         double ratio) const {
    RazorOptions razor;
    razor.least_window = 0;
    razor.ratio = ratio;
    razor.compensation = compensation;
    return [this, heads, razor] {
      return MakeRazorState(model_.config(), model_.device(), model_.dtype(),
                            heads, razor);
    };
  }

  absl::StatusOr<lm::StateFactory> Factory(const std::string& policy,
                                           int64_t prompt_tokens) const {
    const double ratio = options_.ratio;
    const auto weighted = [&](const HeadSet& heads) {
      return Razor(heads, Compensation::kWeighted, ratio);
    };
    if (policy == "retrieval") return weighted(heads_.retrieval);
    if (policy == "induction") return weighted(heads_.induction);
    if (policy == "echo") return weighted(heads_.echo);
    if (policy == "random") return weighted(heads_.random);
    if (policy == "bottom") return weighted(heads_.bottom);
    if (policy == "plain") {
      return Razor(heads_.retrieval, Compensation::kPlain, ratio);
    }
    if (policy == "dropped") {
      return Razor(heads_.retrieval, Compensation::kNone, ratio);
    }
    const HeadSet none(model_.config().num_layers);
    const double kept = LimitKeptFraction(share_, ratio);
    if (policy == "all") return Razor(none, Compensation::kWeighted, 1);
    if (policy == "window") return Razor(none, Compensation::kNone, 1 / kept);
    if (policy == "tokens_topk" || policy == "tokens_random") {
      lm::SelectionOptions selection;
      selection.sink = 4;
      selection.recent = 16;
      selection.dense_prompt = true;
      selection.budget = std::max<int64_t>(
          selection.sink + selection.recent,
          static_cast<int64_t>(kept * static_cast<double>(prompt_tokens)));
      const bool random = policy == "tokens_random";
      auto made = std::make_shared<uint64_t>(0);
      return lm::StateFactory([this, selection, random, made] {
        return random ? lm::MakeRandomState(
                            model_.config(), model_.device(), model_.dtype(),
                            selection,
                            MakeGenerator(MixSeed(seed_, kRandomTokens),
                                          (*made)++, model_.device()))
                      : lm::MakeExactTopkState(model_.config(), model_.device(),
                                               model_.dtype(), selection);
      });
    }
    return absl::InvalidArgumentError(
        absl::StrCat("head protection: no policy ", policy));
  }

  const lm::LanguageModel& model_;
  const ProtectionOptions& options_;
  const uint64_t seed_;
  Heads heads_;
  double share_ = 0;
  std::vector<testbed::Sequences> sequences_;
};

}  // namespace

std::vector<std::string> ProtectionPolicies() {
  return {"all",    "retrieval",   "induction",    "echo",
          "random", "bottom",      "plain",        "dropped",
          "window", "tokens_topk", "tokens_random"};
}

absl::StatusOr<std::map<std::string, testbed::Recall>> CompareProtection(
    const lm::LanguageModel& model, const testbed::Recipe& recipe,
    const ProtectionOptions& options, const std::set<std::string>& policies,
    uint64_t seed, const std::function<bool()>& keep_going) {
  std::map<std::string, testbed::Recall> recalls;
  try {
    const Comparison comparison(model, recipe, options, seed);
    for (const std::string& policy : policies) {
      if (!keep_going()) return absl::CancelledError("stopped");
      REPRO_ASSIGN_OR_RETURN(recalls[policy], comparison.Measure(policy));
    }
  } catch (const c10::Error& error) {
    return absl::InternalError(
        absl::StrCat("head protection: ", error.what_without_backtrace()));
  }
  return recalls;
}

}  // namespace repro::razor
