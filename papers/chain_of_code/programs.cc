#include "papers/chain_of_code/programs.h"

#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "papers/chain_of_code/lmulator.h"
#include "papers/chain_of_code/programs_source.h"

namespace repro::chain_of_code {

absl::StatusOr<std::string> ProgramFor(absl::string_view name,
                                       absl::string_view question) {
  std::vector<absl::string_view> names;
  for (const auto& program : kPrograms) {
    if (name == program.name) {
      return absl::StrCat("question = ", PythonLiteral(question), "\n",
                          absl::StripAsciiWhitespace(program.text));
    }
    names.push_back(program.name);
  }
  return absl::NotFoundError(absl::StrCat("no program \"", name, "\": use ",
                                          absl::StrJoin(names, ", ")));
}

}  // namespace repro::chain_of_code
