#ifndef REPRO_PAPERS_CHAIN_OF_CODE_PROGRAMS_H_
#define REPRO_PAPERS_CHAIN_OF_CODE_PROGRAMS_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace repro::chain_of_code {

// programs/NAME.py behind a first line `question = "..."`: a program for one
// question in the form in which a model writes it. NotFound names the programs
// that there are.
absl::StatusOr<std::string> ProgramFor(absl::string_view name,
                                       absl::string_view question);

}  // namespace repro::chain_of_code

#endif  // REPRO_PAPERS_CHAIN_OF_CODE_PROGRAMS_H_
