// What a comment is to say of a method, and how a prompt asks for it.
#ifndef REPRO_PAPERS_MULTI_INTENT_INTENT_H_
#define REPRO_PAPERS_MULTI_INTENT_INTENT_H_

#include <array>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace repro::multi_intent {

// The taxonomy of table 1 without "others", which the paper drops.
enum class Intent { kWhat, kWhy, kHowToUse, kHowItIsDone, kProperty };

inline constexpr std::array<Intent, 5> kIntents = {
    Intent::kWhat, Intent::kWhy, Intent::kHowToUse, Intent::kHowItIsDone,
    Intent::kProperty};

// "what", "why", "how_to_use", "how_it_is_done", "property".
const char* IntentName(Intent intent);

// The intent of a label in DOME's data: "what", "why", "usage", "done",
// "property". InvalidArgument for any other, listing those there are.
absl::StatusOr<Intent> ParseLabel(absl::string_view label);

// The first line of a prompt, as in the authors' script: "# You are an expert
// Java programmer, please describe the functionality of the method:", for
// example.
absl::string_view Instruction(Intent intent);

}  // namespace repro::multi_intent

#endif  // REPRO_PAPERS_MULTI_INTENT_INTENT_H_
