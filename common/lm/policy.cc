#include "common/lm/policy.h"

#include <cmath>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace repro::lm {
namespace {

std::map<std::string, Policy>& Registry() {
  static auto* const registry = new std::map<std::string, Policy>();
  return *registry;
}

}  // namespace

absl::StatusOr<PolicyOptions> PolicyOptions::Parse(const std::string& text) {
  std::map<std::string, std::string> values;
  if (text.empty()) return PolicyOptions();
  for (absl::string_view part : absl::StrSplit(text, ',')) {
    const std::pair<absl::string_view, absl::string_view> pair =
        absl::StrSplit(part, absl::MaxSplits('=', 1));
    if (pair.first.empty() || !absl::StrContains(part, '=')) {
      return absl::InvalidArgumentError(absl::StrCat(
          "policy options \"", text, "\": \"", part, "\" is not name=value"));
    }
    if (!values.emplace(pair.first, pair.second).second) {
      return absl::InvalidArgumentError(absl::StrCat(
          "policy options \"", text, "\": ", pair.first, " is given twice"));
    }
  }
  return PolicyOptions(std::move(values));
}

absl::StatusOr<int64_t> PolicyOptions::Int(const std::string& name,
                                           int64_t default_value, int64_t least,
                                           int64_t most) const {
  const auto it = values_.find(name);
  if (it == values_.end()) return default_value;
  int64_t value = 0;
  if (!absl::SimpleAtoi(it->second, &value) || value < least || value > most) {
    return absl::InvalidArgumentError(
        absl::StrCat("policy option ", name, "=", it->second,
                     ": want a whole number from ", least, " to ", most));
  }
  return value;
}

absl::StatusOr<double> PolicyOptions::Double(const std::string& name,
                                             double default_value, double least,
                                             double most) const {
  const auto it = values_.find(name);
  if (it == values_.end()) return default_value;
  double value = 0;
  if (!absl::SimpleAtod(it->second, &value) ||
      !(value >= least && value <= most)) {
    return absl::InvalidArgumentError(
        absl::StrCat("policy option ", name, "=", it->second,
                     ": want a number from ", least, " to ", most));
  }
  return value;
}

std::string PolicyOptions::String(const std::string& name,
                                  const std::string& default_value) const {
  const auto it = values_.find(name);
  return it == values_.end() ? default_value : it->second;
}

absl::Status PolicyOptions::CheckNames(
    const std::vector<std::string>& known) const {
  for (const auto& [name, value] : values_) {
    bool found = false;
    for (const std::string& other : known) found = found || other == name;
    if (!found) {
      return absl::InvalidArgumentError(absl::StrCat(
          "there is no policy option ", name,
          "; known: ", known.empty() ? "none" : absl::StrJoin(known, ", ")));
    }
  }
  return absl::OkStatus();
}

bool RegisterPolicy(Policy policy) {
  std::string name = policy.name;
  return Registry().emplace(std::move(name), std::move(policy)).second;
}

std::vector<const Policy*> AllPolicies() {
  std::vector<const Policy*> out;
  for (const auto& [name, policy] : Registry()) out.push_back(&policy);
  return out;
}

absl::StatusOr<const Policy*> FindPolicy(const std::string& name) {
  const auto it = Registry().find(name);
  if (it != Registry().end()) return &it->second;
  std::vector<std::string> names;
  for (const auto& [known, policy] : Registry()) names.push_back(known);
  return absl::NotFoundError(absl::StrCat(
      "there is no policy ", name, "; known: ", absl::StrJoin(names, ", ")));
}

absl::StatusOr<StateFactory> PreparePolicy(const std::string& name,
                                           const PolicyOptions& options,
                                           const LanguageModel& model) {
  const absl::StatusOr<const Policy*> policy = FindPolicy(name);
  if (!policy.ok()) return policy.status();
  std::vector<std::string> known;
  for (const auto& [option, help] : (*policy)->options) known.push_back(option);
  const absl::Status status = options.CheckNames(known);
  if (!status.ok()) {
    return absl::Status(status.code(),
                        absl::StrCat("policy ", name, ": ", status.message()));
  }
  return (*policy)->prepare(model, options);
}

}  // namespace repro::lm
