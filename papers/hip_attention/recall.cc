#include "papers/hip_attention/recall.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <memory>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/lm/control_policies.h"
#include "common/lm/dense_state.h"
#include "common/status/macros.h"
#include "common/tensor/generator.h"
#include "common/testbed/data.h"

namespace repro::hip {
namespace {

// Streams of a seed.
constexpr uint64_t kRandomTokens = 1;
constexpr uint64_t kSequences = 16;  // plus the task's number

absl::StatusOr<lm::StateFactory> Factory(const lm::LanguageModel& model,
                                         const RecallOptions& options,
                                         const std::string& policy,
                                         uint64_t seed) {
  const lm::ModelConfig& config = model.config();
  const c10::Device device = model.device();
  const at::ScalarType dtype = model.dtype();
  if (policy == "dense") {
    return lm::StateFactory(
        [=] { return lm::MakeDenseState(config, device, dtype); });
  }
  HipOptions hip = options.hip;
  const int64_t budget = hip.sink + hip.mask.top_k + hip.mask.window;
  if (policy == "window") {
    return lm::StateFactory([=] {
      return lm::MakeWindowState(config, device, dtype, hip.sink,
                                 budget - hip.sink);
    });
  }
  if (policy == "random" || policy == "exact_topk") {
    lm::SelectionOptions selection;
    selection.budget = budget;
    selection.sink = hip.sink;
    selection.recent = std::min<int64_t>(16, hip.mask.window);
    if (policy == "exact_topk") {
      return lm::StateFactory([=] {
        return lm::MakeExactTopkState(config, device, dtype, selection);
      });
    }
    auto made = std::make_shared<uint64_t>(0);
    return lm::StateFactory([=] {
      return lm::MakeRandomState(
          config, device, dtype, selection,
          MakeGenerator(MixSeed(seed, kRandomTokens), (*made)++, device));
    });
  }
  absl::string_view layers = policy;
  if (policy == "first") {
    hip.mask.representative = HierarchicalTopkOptions::kFirst;
  } else if (policy == "last") {
    hip.mask.representative = HierarchicalTopkOptions::kLast;
  } else if (policy == "reuse") {
    hip.refresh = 8;
  } else if (absl::ConsumePrefix(&layers, "dense_layers_") &&
             absl::SimpleAtoi(layers, &hip.dense_layers) &&
             hip.dense_layers >= 0) {
  } else if (policy != "hip") {
    return absl::InvalidArgumentError(
        absl::StrCat("recall: no policy ", policy));
  }
  return lm::StateFactory(
      [=] { return MakeHipState(config, device, dtype, hip); });
}

}  // namespace

RecallOptions RecallOptions::ForLength(int64_t length) {
  RecallOptions options;
  options.length = length;
  HipOptions& hip = options.hip;
  hip.dense_layers = 0;
  hip.refresh = 1;
  hip.mask.query_block = length < 512 ? 8 : 16;
  hip.mask.top_k = length / 16;
  hip.sink = length / 128;
  hip.mask.window = length / 8 - hip.mask.top_k - hip.sink;
  return options;
}

absl::StatusOr<std::map<std::string, testbed::Recall>> CompareRecall(
    const lm::LanguageModel& model, const testbed::Recipe& recipe,
    const RecallOptions& options, const std::set<std::string>& policies,
    uint64_t seed, const std::function<bool()>& keep_going) {
  std::map<std::string, testbed::Recall> recalls;
  try {
    std::vector<testbed::Sequences> sequences;
    for (const testbed::Task task : options.tasks) {
      sequences.push_back(testbed::MakeSequences(
          testbed::EvaluationConfig(recipe, task, options.length,
                                    options.questions),
          options.count,
          MakeGenerator(seed, kSequences + static_cast<uint64_t>(task))));
    }
    testbed::ReadingOptions reading;
    reading.batch = options.batch;
    reading.prompt_chunk = options.length;
    for (const std::string& policy : policies) {
      if (!keep_going()) return absl::CancelledError("stopped");
      // One for all tasks: `random` counts the states that it made.
      REPRO_ASSIGN_OR_RETURN(const lm::StateFactory factory,
                             Factory(model, options, policy, seed));
      REPRO_ASSIGN_OR_RETURN(
          recalls[policy],
          testbed::MeasureRecall(
              model, sequences,
              [&](const testbed::Sequences&) { return factory; }, reading));
    }
  } catch (const c10::Error& error) {
    return absl::InternalError(
        absl::StrCat("recall: ", error.what_without_backtrace()));
  }
  return recalls;
}

}  // namespace repro::hip
