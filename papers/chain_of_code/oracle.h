#ifndef REPRO_PAPERS_CHAIN_OF_CODE_ORACLE_H_
#define REPRO_PAPERS_CHAIN_OF_CODE_ORACLE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/completion/completion.h"

// A language model's place taken by a table of what the helpers of
// programs/object_counting.py and programs/navigate_semantic.py return, with a
// chosen rate of errors.
namespace repro::chain_of_code {

// Whether "two carrots" of object_counting are among the "vegetables".
// NotFound for a noun or kind that is not in the table.
absl::StatusOr<bool> IsOneOf(absl::string_view noun, absl::string_view kind);

struct Thing {
  std::string claim;  // "two carrots" as "carrots is one of the vegetables"
  int count = 0;
  bool counted = false;  // of the kind that is asked for
};

// The things that a question of object_counting lists.
absl::StatusOr<std::vector<Thing>> ParseThings(absl::string_view question);

// What a model that errs at rate `error_rate`, independently, on each line that
// it emulates answers rightly:
//
// kHelperLines  it emulates only the calls of the helper (Interweave): each
//               takes the other truth value at that rate. Errors can cancel:
//               P(sum of +-counts of the flipped = 0).
// kAllLines     it emulates the additions, too (LM state): each is 1 too high
//               or 1 too low at that rate, with equal chances.
enum class Emulated { kHelperLines, kAllLines };

// The probability, exactly, by convolution over the things.
double ProbabilityRight(const std::vector<Thing>& things, double error_rate,
                        Emulated emulated);

// Answers StatePrompt after a helper's line; and TracePrompt of
// object_counting, by a trace whose helper and addition lines err as above.
// Unimplemented for other prompts. Whether a line errs follows from the seed
// and what it is asked about: it errs alike whenever it is asked again, and a
// claim about a noun errs alike in both ways of asking. Questions share nouns,
// so give each its own client.
class OracleClient : public completion::CompletionClient {
 public:
  explicit OracleClient(double error_rate = 0, uint64_t seed = 0)
      : error_rate_(error_rate), seed_(seed) {}

  absl::StatusOr<completion::Completion> Complete(
      const completion::CompletionRequest& request) override;
  std::string name() const override { return "oracle"; }

  // Whether it takes the other truth value of the thing's claim.
  bool Flips(const Thing& thing) const { return Errs(thing.claim); }

 private:
  // Uniform in [0, 1), by the seed and `key`.
  double Draw(const std::string& key) const;
  bool Errs(const std::string& claim) const {
    return Draw(claim) < error_rate_;
  }
  absl::StatusOr<std::string> Trace(absl::string_view prompt) const;

  const double error_rate_;
  const uint64_t seed_;
};

}  // namespace repro::chain_of_code

#endif  // REPRO_PAPERS_CHAIN_OF_CODE_ORACLE_H_
