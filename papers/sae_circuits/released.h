// The authors' released data: 500 prompts of indirect object identification
// (IOI), the heads of three known circuits, and results.
//
// No LibTorch. Errors: those of ReadFile, and InvalidArgument naming file, line
// or field.
#ifndef REPRO_PAPERS_SAE_CIRCUITS_RELEASED_H_
#define REPRO_PAPERS_SAE_CIRCUITS_RELEASED_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "papers/sae_circuits/circuit.h"

namespace repro::sae_circuits {

// A positive prompt and its negative; both end before the indirect object.
struct PromptPair {
  std::string positive;
  std::string negative;
};

// From JSON Lines with id, positive, pair, text: each pair's number has one
// prompt of each kind.
absl::StatusOr<std::vector<PromptPair>> ReadPrompts(const std::string& path);

struct Lexicon {
  std::vector<std::string> names, places, objects;
  // "Then, [B] and [A] went to the [PLACE]. [B] gave a [OBJECT] to [A]".
  std::vector<std::string> templates;
};
absl::StatusOr<Lexicon> ReadLexicon(const std::string& path);

// The template with both names of its first clause exchanged (ABBA from BABA).
// InvalidArgument unless [B] is its first name and [A] the second.
absl::StatusOr<std::string> SwapFirstNames(absl::string_view name_template);

// What stands in the slots if `prompt` is `name_template` without its last
// word, every slot one word of its list ([A] and [B] different names) and the
// same wherever it is repeated; else nothing.
using Slots = std::map<std::string, std::string>;
std::optional<Slots> MatchTemplate(absl::string_view prompt,
                                   absl::string_view name_template,
                                   const Lexicon& lexicon);

// The names among the words of a text, in order.
std::vector<std::string> NamesIn(absl::string_view text,
                                 const Lexicon& lexicon);

// The negative of a positive prompt: in the first clause the indirect object
// `object` stands where the subject `subject` stood, and `third` where `object`
// stood. The subject's second mention stays.
std::string NegativeOf(absl::string_view positive, absl::string_view object,
                       absl::string_view subject, absl::string_view third);

// The heads of a known circuit.
struct Circuit {
  std::string model;
  int64_t layers = 0;
  int64_t heads_per_layer = 0;
  // (layer, head), in range, distinct.
  std::vector<std::pair<int64_t, int64_t>> heads;

  int64_t positives() const { return static_cast<int64_t>(heads.size()); }
  int64_t negatives() const { return layers * heads_per_layer - positives(); }
};
// By task: "ioi", "gt", "ds".
absl::StatusOr<std::map<std::string, Circuit>> ReadCircuits(
    const std::string& path);

struct MeanAndDeviation {
  double mean = 0;
  double standard_deviation = 0;
};

// Of circuits of falling size (by one prediction's thresholds) in a model: the
// mean KL divergence of the ablated from the whole model's predictions in nats,
// and the authors' faithfulness.
struct FaithfulnessCurve {
  std::vector<int64_t> num_heads;
  std::vector<double> kl;
  std::vector<double> faithfulness;
};

struct ReleasedResults {
  std::map<std::string, RocCurve> curves;  // by task
  // By task and "node" or "edge": areas of ten trials.
  std::map<std::string, std::map<std::string, MeanAndDeviation>> main_results;
  // Areas of single trials by setting; "examples/TASK" by the number of
  // training examples, "codes/TASK" and "codes/node" by that of features.
  std::map<std::string, std::map<int64_t, std::vector<double>>> trials;
  std::map<std::string, FaithfulnessCurve> induction;  // by model
};
absl::StatusOr<ReleasedResults> ReadResults(const std::string& path);

struct AblationScale {
  double kl = 0;                // K
  double largest_residual = 0;  // of |1 - KL / K - faithfulness|
};
// The K with the least squared error in faithfulness = 1 - KL / K.
// InvalidArgument: no point off (0, 1), or none that determines K.
absl::StatusOr<AblationScale> FitAblationScale(const FaithfulnessCurve& curve);

}  // namespace repro::sae_circuits

#endif  // REPRO_PAPERS_SAE_CIRCUITS_RELEASED_H_
