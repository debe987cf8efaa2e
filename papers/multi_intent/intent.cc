#include "papers/multi_intent/intent.h"

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace repro::multi_intent {
namespace {

struct Row {
  const char* name;
  const char* label;
  const char* instruction;
};

// In the order of Intent.
constexpr Row kRows[] = {
    {"what", "what",
     "# You are an expert Java programmer, please describe the functionality "
     "of the method:"},
    {"why", "why",
     "# You are an expert Java programmer, please explain the reason why the "
     "method is provided or the design rational of the method:"},
    {"how_to_use", "usage",
     "# You are an expert Java programmer, please describe the usage or the "
     "expected set-up of using the method:"},
    {"how_it_is_done", "done",
     "# You are an expert Java programmer, please describe the implementation "
     "details of the method:"},
    {"property", "property",
     "# You are an expert Java programmer, please describe the asserts "
     "properties of the method including pre-conditions or post-conditions of "
     "the method:"},
};

const Row& RowOf(Intent intent) { return kRows[static_cast<size_t>(intent)]; }

}  // namespace

const char* IntentName(Intent intent) { return RowOf(intent).name; }

absl::StatusOr<Intent> ParseLabel(absl::string_view label) {
  std::vector<std::string> labels;
  for (const Intent intent : kIntents) {
    if (label == RowOf(intent).label) return intent;
    labels.emplace_back(RowOf(intent).label);
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "no label \"", label, "\"; there are ", absl::StrJoin(labels, ", ")));
}

absl::string_view Instruction(Intent intent) {
  return RowOf(intent).instruction;
}

}  // namespace repro::multi_intent
