#include "common/checkpoint/json.h"

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/data/io.h"

namespace repro {

absl::StatusOr<nlohmann::json> ParseJsonObject(absl::string_view text,
                                               const std::string& name,
                                               int max_depth) {
  using nlohmann::json;
  absl::Status status;
  // Of the object that is open at each depth.
  std::vector<std::set<std::string>> names(max_depth + 2);
  const auto note = [&status](std::string why) {
    if (status.ok()) status = absl::DataLossError(why);
  };
  const auto check = [&](int depth, json::parse_event_t event, json& value) {
    if (depth > max_depth) {
      note(absl::StrCat(name, ": nests deeper than ", max_depth, " levels"));
      return false;
    }
    if (event == json::parse_event_t::object_start) names[depth + 1].clear();
    if (event == json::parse_event_t::key) {
      // nlohmann::json keeps the last of two equal names without a word.
      const auto& key = value.get_ref<const std::string&>();
      if (!names[depth].insert(key).second) {
        note(absl::StrCat(name, ": the name ", Quoted(key), " comes twice"));
      }
    }
    return true;
  };
  try {
    json value = json::parse(text.begin(), text.end(), check);
    if (!status.ok()) return status;
    if (!value.is_object()) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, ": is not a JSON object"));
    }
    return value;
  } catch (const json::parse_error& error) {
    return absl::InvalidArgumentError(absl::StrCat(
        name, ": is not valid JSON at byte ", error.byte, " of it"));
  } catch (const json::exception& error) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": is not valid JSON: ", error.what()));
  }
}

}  // namespace repro
