#include "papers/token_select/extrapolation.h"

#include <c10/util/Exception.h>

#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/lm/control_policies.h"
#include "common/lm/dense_state.h"
#include "common/lm/policy.h"
#include "common/status/macros.h"
#include "common/tensor/generator.h"
#include "common/testbed/evaluate.h"

namespace repro::token_select {
namespace {

// Streams of a seed.
constexpr uint64_t kSequences = 1;
constexpr uint64_t kRandomTokens = 2;

absl::StatusOr<lm::StateFactory> Factory(const lm::LanguageModel& model,
                                         const TokenSelectOptions& base,
                                         const std::string& policy,
                                         uint64_t seed) {
  REPRO_ASSIGN_OR_RETURN(
      const lm::PolicyOptions given,
      lm::PolicyOptions::Parse(absl::StrCat("policy=", policy)));
  REPRO_RETURN_IF_ERROR(
      given.CheckNames({"policy", "selected", "theta", "first_head_factor"}));
  const std::string name = given.String("policy", "");
  const lm::ModelConfig& config = model.config();
  const c10::Device device = model.device();
  const at::ScalarType dtype = model.dtype();

  lm::SelectionOptions control;
  control.budget = base.budget();
  control.sink = base.initial;
  control.recent = base.local;
  if (name == "dense") {
    return lm::StateFactory(
        [=] { return lm::MakeDenseState(config, device, dtype); });
  }
  if (name == "window") {
    return lm::StateFactory([=] {
      return lm::MakeWindowState(config, device, dtype, base.initial,
                                 base.budget() - base.initial);
    });
  }
  if (name == "exact_topk") {
    return lm::StateFactory(
        [=] { return lm::MakeExactTopkState(config, device, dtype, control); });
  }
  if (name == "random") {
    auto made = std::make_shared<uint64_t>(0);
    return lm::StateFactory([=] {
      return lm::MakeRandomState(
          config, device, dtype, control,
          MakeGenerator(MixSeed(seed, kRandomTokens), (*made)++, device));
    });
  }

  TokenSelectOptions options = base;
  REPRO_ASSIGN_OR_RETURN(options.selected, given.Int("selected", base.selected,
                                                     1, int64_t{1} << 30));
  REPRO_ASSIGN_OR_RETURN(options.theta,
                         given.Double("theta", base.theta, -1, 2));
  REPRO_ASSIGN_OR_RETURN(options.first_head_factor,
                         given.Double("first_head_factor", 1, 0, 1e6));
  if (name == "blocks") {
    options.block = 4;
  } else if (name == "head_vote") {
    options.rule = Rule::kHeadVote;
  } else if (name == "summed_logits") {
    options.rule = Rule::kSummedLogits;
  } else if (name != "soft_vote") {
    return absl::InvalidArgumentError(
        absl::StrCat("extrapolation: no policy \"", name, "\""));
  }
  return lm::StateFactory(
      [=] { return MakeTokenSelectState(config, device, dtype, options); });
}

}  // namespace

TokenSelectOptions Shrunk(int64_t divisor) {
  TORCH_CHECK(divisor >= 1 && divisor <= 128, "token_select: sizes over ",
              divisor);
  TokenSelectOptions options;
  options.initial /= divisor;
  options.selected /= divisor;
  options.local /= divisor;
  options.chunk /= divisor;
  return options;
}

absl::StatusOr<double> Recall(const lm::LanguageModel& model,
                              const testbed::Recipe& recipe,
                              const ExtrapolationOptions& options,
                              const std::string& policy, uint64_t seed) {
  testbed::Sequences sequences;
  try {
    sequences = testbed::MakeSequences(
        testbed::EvaluationConfig(recipe, testbed::Task::kKeyValue,
                                  options.length, options.questions),
        options.sequences, MakeGenerator(seed, kSequences));
  } catch (const c10::Error& error) {
    return absl::InvalidArgumentError(
        absl::StrCat("extrapolation: ", error.what_without_backtrace()));
  }
  REPRO_ASSIGN_OR_RETURN(const lm::StateFactory factory,
                         Factory(model, options.base, policy, seed));
  testbed::ReadingOptions reading;
  reading.batch = options.sequences;
  REPRO_ASSIGN_OR_RETURN(
      const testbed::Recall recall,
      testbed::MeasureRecall(
          model, {sequences},
          [&](const testbed::Sequences&) { return factory; }, reading));
  return recall.accuracy;
}

}  // namespace repro::token_select
