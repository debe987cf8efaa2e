// How CodeIF puts instructions together: templates that exclude each other,
// templates that need others, and the dependency map that RSR reads.
#ifndef REPRO_PAPERS_CODE_IF_CONSTRUCTION_H_
#define REPRO_PAPERS_CODE_IF_CONSTRUCTION_H_

#include <cstdint>
#include <random>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "papers/code_if/questions.h"

namespace repro::code_if {

// Pairs of template ids that no question may have both of.
const std::vector<std::pair<int64_t, int64_t>>& ConflictingPairs();

// The ids of the templates that this one needs, directly; empty for most.
const std::vector<int64_t>& Prerequisites(int64_t id);

// The first conflicting pair among the ids, or {0, 0}.
std::pair<int64_t, int64_t> FindConflict(const std::vector<int64_t>& ids);

// The ids with all that they need, directly or not, each once, in rising order.
std::vector<int64_t> WithPrerequisites(const std::vector<int64_t>& ids);

// Template 1 and `count` - 1 others, drawn evenly among those that conflict
// with none before, then WithPrerequisites. As coded, what is added is not
// checked against the pairs, which is of no consequence: no prerequisite is in
// one. InvalidArgument: no template 1, or fewer than `count` can go together.
absl::StatusOr<std::vector<int64_t>> DrawTemplates(
    const std::vector<InstructionTemplate>& templates, int64_t count,
    std::mt19937_64& random);

// Where the same template stands several times in a question.
enum class Repeated {
  // As coded: a template id stands for its last position, so that earlier ones
  // have no entry and lists name the last several times.
  kLastPosition,
  // Every instruction by itself.
  kEach,
};

// For each instruction whose template has prerequisites: all others that are
// one of them or of the category "global", in order. `ids` and `categories`
// belong to the question's instructions, in order, equally many.
Dependencies RebuildDependencies(const std::vector<int64_t>& ids,
                                 const std::vector<std::string>& categories,
                                 Repeated repeated = Repeated::kLastPosition);

}  // namespace repro::code_if

#endif  // REPRO_PAPERS_CODE_IF_CONSTRUCTION_H_
