#include "papers/mango/records.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status/macros.h"

namespace repro::mango {
namespace {

using nlohmann::json;

const json* Find(const json& value, const char* field) {
  if (!value.is_object()) return nullptr;
  const auto found = value.find(field);
  return found == value.end() ? nullptr : &*found;
}

}  // namespace

absl::Status Record::Error(const std::string& what) const {
  return absl::InvalidArgumentError(
      absl::StrCat(path_, ":", line_.line, ": ", what));
}

absl::StatusOr<std::string> Record::Text(const char* field) const {
  const json* value = Find(line_.value, field);
  if (value == nullptr || !value->is_string()) {
    return Error(absl::StrCat("field \"", field, "\" is not a text"));
  }
  return value->get<std::string>();
}

absl::StatusOr<std::vector<std::string>> Record::Texts(
    const char* field) const {
  const json* value = Find(line_.value, field);
  if (value == nullptr || !value->is_array() ||
      !std::all_of(value->begin(), value->end(),
                   [](const json& item) { return item.is_string(); })) {
    return Error(absl::StrCat("field \"", field, "\" is not a list of texts"));
  }
  return value->get<std::vector<std::string>>();
}

absl::StatusOr<int64_t> Record::Integer(const char* field) const {
  const json* value = Find(line_.value, field);
  if (value == nullptr || !value->is_number_integer()) {
    return Error(absl::StrCat("field \"", field, "\" is not a whole number"));
  }
  return value->get<int64_t>();
}

absl::StatusOr<std::vector<JsonLine>> ReadRecords(const std::string& path) {
  REPRO_ASSIGN_OR_RETURN(std::vector<JsonLine> lines, ReadJsonl(path));
  if (lines.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": no records"));
  }
  return lines;
}

}  // namespace repro::mango
