#ifndef REPRO_PAPERS_CHAIN_OF_CODE_TABLE_A1_H_
#define REPRO_PAPERS_CHAIN_OF_CODE_TABLE_A1_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

// The rows of Table A1 as printed, accuracies in percent by task: what its
// averages, and Tables 1 and 2, are means of. Input of an audit, not a
// measurement.
namespace repro::chain_of_code {

// "random", "human_average", "human_maximum", "direct", "cot", "interweave",
// "try_python_except_lm_state", "try_python_except_lm", "python", "lm_state",
// "lm".
const std::vector<std::string>& TableA1Columns();

// One value for each of Tasks(). NotFound for another name.
absl::StatusOr<std::vector<double>> TableA1Column(absl::string_view name);

}  // namespace repro::chain_of_code

#endif  // REPRO_PAPERS_CHAIN_OF_CODE_TABLE_A1_H_
