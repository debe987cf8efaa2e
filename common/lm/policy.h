// Attention states by name, for `repro generate --policy NAME`: "dense",
// "window", ... of this library and those that papers register.
#ifndef REPRO_COMMON_LM_POLICY_H_
#define REPRO_COMMON_LM_POLICY_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/lm/attention_state.h"
#include "common/lm/model.h"

namespace repro::lm {

// A policy prepared for one model (head scores found, gates loaded, ...): makes
// the state of each new sequence.
using StateFactory = std::function<std::unique_ptr<AttentionState>()>;

// Numbers and strings by name, as given on the command line.
class PolicyOptions {
 public:
  PolicyOptions() = default;
  explicit PolicyOptions(std::map<std::string, std::string> values)
      : values_(std::move(values)) {}

  // "a=1,b=2"; an error for anything else.
  static absl::StatusOr<PolicyOptions> Parse(const std::string& text);

  // The option's value or the default; an error names the option that is not a
  // number of the range.
  absl::StatusOr<int64_t> Int(const std::string& name, int64_t default_value,
                              int64_t least, int64_t most) const;
  absl::StatusOr<double> Double(const std::string& name, double default_value,
                                double least, double most) const;
  std::string String(const std::string& name,
                     const std::string& default_value) const;
  // An error naming the first option that is not in `known`.
  absl::Status CheckNames(const std::vector<std::string>& known) const;

  const std::map<std::string, std::string>& values() const { return values_; }

 private:
  std::map<std::string, std::string> values_;
};

struct Policy {
  std::string name;
  std::string help;  // one line, with the source
  // Option, meaning with default.
  std::vector<std::pair<std::string, std::string>> options;
  std::function<absl::StatusOr<StateFactory>(const LanguageModel&,
                                             const PolicyOptions&)>
      prepare;
};

// Once a name; call it through REPRO_REGISTER_POLICY in one .cc of an
// alwayslink library.
bool RegisterPolicy(Policy policy);
#define REPRO_REGISTER_POLICY(policy)         \
  static const bool repro_policy_registered = \
      ::repro::lm::RegisterPolicy(policy)

std::vector<const Policy*> AllPolicies();  // by name
absl::StatusOr<const Policy*> FindPolicy(const std::string& name);

// One step from names to states.
absl::StatusOr<StateFactory> PreparePolicy(const std::string& name,
                                           const PolicyOptions& options,
                                           const LanguageModel& model);

}  // namespace repro::lm

#endif  // REPRO_COMMON_LM_POLICY_H_
