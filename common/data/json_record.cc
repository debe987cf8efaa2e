#include "common/data/json_record.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "common/status/macros.h"

namespace repro {

using nlohmann::json;

absl::Status JsonRecord::Error(absl::string_view what) const {
  return absl::InvalidArgumentError(
      absl::StrCat(path_, ":", line_.line, ": ", what));
}

absl::Status JsonRecord::NotA(absl::string_view field,
                              absl::string_view type) const {
  return Error(absl::StrCat(
      "field \"", field, "\" ",
      Find(field) == nullptr ? "is missing, not " : "is not ", type));
}

const json* JsonRecord::Find(absl::string_view field) const {
  if (!line_.value.is_object()) return nullptr;
  const auto found = line_.value.find(std::string(field));
  return found == line_.value.end() ? nullptr : &*found;
}

absl::StatusOr<std::string> JsonRecord::Text(absl::string_view field) const {
  const json* value = Find(field);
  if (value == nullptr || !value->is_string()) return NotA(field, "a text");
  return value->get<std::string>();
}

absl::StatusOr<std::vector<std::string>> JsonRecord::Texts(
    absl::string_view field) const {
  const json* value = Find(field);
  if (value == nullptr || !value->is_array() ||
      !std::all_of(value->begin(), value->end(),
                   [](const json& item) { return item.is_string(); })) {
    return NotA(field, "a list of texts");
  }
  return value->get<std::vector<std::string>>();
}

absl::StatusOr<int64_t> JsonRecord::Integer(absl::string_view field) const {
  const json* value = Find(field);
  constexpr uint64_t kMost = std::numeric_limits<int64_t>::max();
  if (value == nullptr || !value->is_number_integer() ||
      (value->is_number_unsigned() && value->get<uint64_t>() > kMost)) {
    return NotA(field, "a whole number of 64 bits");
  }
  return value->get<int64_t>();
}

absl::StatusOr<int64_t> JsonRecord::Count(absl::string_view field) const {
  REPRO_ASSIGN_OR_RETURN(const int64_t value, Integer(field));
  if (value < 0) {
    return Error(absl::StrCat("field \"", field, "\" is negative"));
  }
  return value;
}

absl::StatusOr<double> JsonRecord::Number(absl::string_view field) const {
  const json* value = Find(field);
  if (value == nullptr || !value->is_number()) return NotA(field, "a number");
  return value->get<double>();
}

absl::StatusOr<std::vector<JsonLine>> ReadRecords(const std::string& path) {
  REPRO_ASSIGN_OR_RETURN(std::vector<JsonLine> lines, ReadJsonl(path));
  if (lines.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": no records"));
  }
  return lines;
}

}  // namespace repro
