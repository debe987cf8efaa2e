#include "common/metrics/registry_input.h"

#include <set>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status/macros.h"

namespace repro::metrics {

using nlohmann::json;

absl::Status ErrorAt(const Line& line, absl::string_view message) {
  return absl::InvalidArgumentError(
      absl::StrCat(line.file->name, ":", line.json->line, ": ", message));
}

absl::Status WrongType(const Line& line, absl::string_view field,
                       const json& value, absl::string_view needed) {
  return ErrorAt(line, absl::StrCat("field \"", field, "\" holds ",
                                    value.type_name(), ", needed is ", needed));
}

absl::StatusOr<const json*> Field(const Line& line, const std::string& name) {
  if (!line.json->value.is_object()) {
    return ErrorAt(line, "the line is not a JSON object");
  }
  const auto found = line.json->value.find(name);
  if (found == line.json->value.end()) {
    return ErrorAt(line, absl::StrCat("field \"", name, "\" is missing"));
  }
  return &*found;
}

bool HasField(const Line& line, const std::string& name) {
  return line.json->value.is_object() && line.json->value.contains(name);
}

absl::StatusOr<std::string> AsText(const Line& line, const std::string& name,
                                   const json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number_integer() || value.is_boolean()) return value.dump();
  return WrongType(line, name, value, "a string, an integer or a boolean");
}

absl::StatusOr<std::string> TextField(const Line& line,
                                      const std::string& name) {
  REPRO_ASSIGN_OR_RETURN(const json* value, Field(line, name));
  return AsText(line, name, *value);
}

absl::StatusOr<double> AsNumber(const Line& line, const std::string& name,
                                const json& value) {
  if (value.is_number()) return value.get<double>();
  return WrongType(line, name, value, "a number");
}

absl::StatusOr<std::vector<std::string>> IdsField(const Line& line,
                                                  const std::string& name) {
  REPRO_ASSIGN_OR_RETURN(const json* value, Field(line, name));
  if (!value->is_array()) return WrongType(line, name, *value, "an array");
  std::vector<std::string> ids;
  std::set<std::string> seen;
  for (const json& element : *value) {
    REPRO_ASSIGN_OR_RETURN(std::string id, AsText(line, name, element));
    if (!seen.insert(id).second) {
      return ErrorAt(line,
                     absl::StrCat("field \"", name, "\" holds ", id, " twice"));
    }
    ids.push_back(std::move(id));
  }
  return ids;
}

std::vector<Line> Lines(const JsonlFile& file) {
  std::vector<Line> lines;
  for (const JsonLine& line : file.lines) lines.push_back({&file, &line});
  return lines;
}

absl::Status CheckNotEmpty(const JsonlFile& file) {
  if (!file.lines.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(file.name, ": the file holds no lines"));
}

absl::StatusOr<LinesById> IndexBy(const JsonlFile& file,
                                  const std::string& field) {
  LinesById index;
  for (const Line& line : Lines(file)) {
    REPRO_ASSIGN_OR_RETURN(const std::string id, TextField(line, field));
    const auto [earlier, is_new] = index.emplace(id, line);
    if (!is_new) {
      return ErrorAt(line, absl::StrCat(field, " \"", id, "\" repeats line ",
                                        earlier->second.json->line));
    }
  }
  return index;
}

absl::Status NoPartner(const Line& line, const std::string& field,
                       const std::string& id, const JsonlFile& other) {
  return ErrorAt(
      line, absl::StrCat(field, " \"", id, "\" has no line in ", other.name));
}

absl::StatusOr<std::vector<Pair>> Match(const JsonlFile& predictions,
                                        const JsonlFile& references) {
  REPRO_RETURN_IF_ERROR(CheckNotEmpty(predictions));
  REPRO_RETURN_IF_ERROR(CheckNotEmpty(references));
  const std::vector<Line> prediction_lines = Lines(predictions);
  const std::vector<Line> reference_lines = Lines(references);
  std::vector<Pair> pairs;
  const auto carries_ids = [](const std::vector<Line>& lines) {
    for (const Line& line : lines) {
      if (HasField(line, "id")) return true;
    }
    return false;
  };
  if (!carries_ids(prediction_lines) || !carries_ids(reference_lines)) {
    if (prediction_lines.size() != reference_lines.size()) {
      return absl::InvalidArgumentError(absl::StrCat(
          predictions.name, " holds ", prediction_lines.size(), " lines and ",
          references.name, " holds ", reference_lines.size(),
          ": without an \"id\" on the lines of both they are matched by order "
          "and must be equally many"));
    }
    for (size_t i = 0; i < prediction_lines.size(); ++i) {
      pairs.push_back({prediction_lines[i], reference_lines[i]});
    }
    return pairs;
  }
  REPRO_ASSIGN_OR_RETURN(const LinesById predictions_by_id,
                         IndexBy(predictions, "id"));
  REPRO_ASSIGN_OR_RETURN(const LinesById references_by_id,
                         IndexBy(references, "id"));
  for (const Line& line : prediction_lines) {
    REPRO_ASSIGN_OR_RETURN(const std::string id, TextField(line, "id"));
    if (references_by_id.count(id) == 0) {
      return NoPartner(line, "id", id, references);
    }
  }
  for (const Line& line : reference_lines) {
    REPRO_ASSIGN_OR_RETURN(const std::string id, TextField(line, "id"));
    const auto prediction = predictions_by_id.find(id);
    if (prediction == predictions_by_id.end()) {
      return NoPartner(line, "id", id, predictions);
    }
    pairs.push_back({prediction->second, line});
  }
  return pairs;
}

absl::Status CheckChoice(const Options& options, const std::string& name,
                         const std::vector<std::string>& choices) {
  const std::string& text = options.at(name);
  for (const std::string& choice : choices) {
    if (text == choice) return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat("option ", name, " is \"",
                                                 text, "\", needed is one of ",
                                                 absl::StrJoin(choices, ", ")));
}

absl::StatusOr<std::string> StringField(const Line& line,
                                        const std::string& name) {
  REPRO_ASSIGN_OR_RETURN(const json* value, Field(line, name));
  if (value->is_string()) return value->get<std::string>();
  return WrongType(line, name, *value, "a string");
}

absl::StatusOr<std::vector<std::string>> StringsField(const Line& line,
                                                      const std::string& name) {
  REPRO_ASSIGN_OR_RETURN(const json* value, Field(line, name));
  if (value->is_string()) return std::vector{value->get<std::string>()};
  constexpr char kNeeded[] = "a string or an array of one or more strings";
  if (!value->is_array() || value->empty()) {
    return WrongType(line, name, *value, kNeeded);
  }
  std::vector<std::string> strings;
  for (const json& element : *value) {
    if (!element.is_string()) return WrongType(line, name, *value, kNeeded);
    strings.push_back(element.get<std::string>());
  }
  return strings;
}

absl::StatusOr<Texts> ReadTexts(const JsonlFile& predictions,
                                const JsonlFile& references) {
  REPRO_ASSIGN_OR_RETURN(const auto pairs, Match(predictions, references));
  Texts texts;
  for (const Pair& pair : pairs) {
    REPRO_ASSIGN_OR_RETURN(std::string prediction,
                           StringField(pair.prediction, "text"));
    REPRO_ASSIGN_OR_RETURN(std::vector<std::string> of_prediction,
                           StringsField(pair.reference, "text"));
    texts.predictions.push_back(std::move(prediction));
    texts.references.push_back(std::move(of_prediction));
  }
  return texts;
}

absl::StatusOr<int64_t> NumberOption(const Options& options,
                                     const std::string& name, int64_t least) {
  const std::string& text = options.at(name);
  int64_t value = 0;
  if (absl::SimpleAtoi(text, &value) && value >= least) return value;
  return absl::InvalidArgumentError(
      absl::StrCat("option ", name, " is \"", text,
                   "\", needed is a whole number from ", least));
}

}  // namespace repro::metrics
