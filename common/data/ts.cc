#include "common/data/ts.h"

#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/data/io.h"

namespace repro {
namespace {

class TsParser {
 public:
  TsParser(absl::string_view content, const std::string& name)
      : reader_(content), name_(name) {}

  absl::StatusOr<TsFile> Parse() {
    absl::string_view line;
    bool in_data = false;
    while (reader_.Next(&line)) {
      line = absl::StripAsciiWhitespace(line);
      if (line.empty() || line.front() == '#') continue;
      if (!in_data && absl::EqualsIgnoreCase(line, "@data")) {
        in_data = true;
        continue;
      }
      absl::Status status = in_data ? ParseSeries(line) : ParseHeader(line);
      if (!status.ok()) return status;
    }
    if (!in_data) return Error("the file ends without an @data line");
    if (file_.series.empty()) return Error("no series follow @data");
    return std::move(file_);
  }

 private:
  template <typename... Args>
  absl::Status Error(const Args&... args) const {
    return absl::InvalidArgumentError(
        absl::StrCat(name_, ":", reader_.line_number(), ": ", args...));
  }

  absl::Status ParseBool(const std::string& key, absl::string_view text,
                         bool* value) const {
    if (!absl::SimpleAtob(text, value)) {
      return Error("@", key, " takes true or false, not ", Quoted(text));
    }
    return absl::OkStatus();
  }

  absl::Status ParseHeader(absl::string_view line) {
    if (line.front() != '@') {
      return Error("a series before the @data line: ", Quoted(line));
    }
    const std::vector<std::string> words = absl::StrSplit(
        line.substr(1), absl::ByAnyChar(" \t"), absl::SkipEmpty());
    if (words.empty()) return Error("'@' without a name");
    const std::string key = absl::AsciiStrToLower(words[0]);
    const std::string value = words.size() > 1 ? words[1] : "";
    if (key == "problemname") {
      file_.problem_name = value;
    } else if (key == "dimensions" || key == "dimension") {
      if (!absl::SimpleAtoi(value, &file_.num_dimensions) ||
          file_.num_dimensions < 1) {
        return Error("@dimensions takes a positive whole number, not ",
                     Quoted(value));
      }
    } else if (key == "univariate") {
      bool univariate;
      absl::Status status = ParseBool(words[0], value, &univariate);
      if (!status.ok()) return status;
      if (univariate) file_.num_dimensions = 1;
    } else if (key == "equallength") {
      return ParseBool(words[0], value, &file_.equal_length);
    } else if (key == "timestamps") {
      bool time_stamps;
      absl::Status status = ParseBool(words[0], value, &time_stamps);
      if (!status.ok()) return status;
      if (time_stamps) {
        return absl::UnimplementedError(
            absl::StrCat(name_, ":", reader_.line_number(),
                         ": series with time stamps are not supported"));
      }
    } else if (key == "classlabel") {
      bool labelled;
      absl::Status status = ParseBool(words[0], value, &labelled);
      if (!status.ok()) return status;
      if (labelled) return ParseClassLabels(words);
    }
    return absl::OkStatus();
  }

  absl::Status ParseClassLabels(const std::vector<std::string>& words) {
    if (words.size() < 3) return Error("@classLabel true lists no labels");
    for (size_t i = 2; i < words.size(); ++i) {
      if (!class_index_.emplace(words[i], file_.class_labels.size()).second) {
        return Error("@classLabel lists ", Quoted(words[i]), " twice");
      }
      file_.class_labels.push_back(words[i]);
    }
    return absl::OkStatus();
  }

  absl::Status ParseSeries(absl::string_view line) {
    std::vector<absl::string_view> fields = absl::StrSplit(line, ':');
    TimeSeries series;
    if (!file_.class_labels.empty()) {
      const absl::string_view label = absl::StripAsciiWhitespace(fields.back());
      fields.pop_back();
      auto found = class_index_.find(label);
      if (found == class_index_.end()) {
        return Error("the label ", Quoted(label),
                     " is not one that @classLabel lists");
      }
      series.label = std::string(label);
      series.class_index = found->second;
    }
    if (file_.num_dimensions == 0) file_.num_dimensions = fields.size();
    if (fields.empty() || fields.size() != file_.num_dimensions) {
      return Error("has ", fields.size(), " dimensions where ",
                   file_.num_dimensions, " are expected");
    }
    for (size_t d = 0; d < fields.size(); ++d) {
      std::vector<float> values;
      absl::Status status = ParseDimension(fields[d], d, &values);
      if (!status.ok()) return status;
      if (d > 0 && values.size() != series.dimensions[0].size()) {
        return Error("dimension ", d + 1, " has ", values.size(),
                     " values where dimension 1 has ",
                     series.dimensions[0].size());
      }
      series.dimensions.push_back(std::move(values));
    }
    if (file_.equal_length && !file_.series.empty()) {
      const size_t first = file_.series[0].dimensions[0].size();
      if (series.dimensions[0].size() != first) {
        return Error("has ", series.dimensions[0].size(), " steps where the ",
                     "first series has ", first, " and @equalLength is true");
      }
    }
    file_.series.push_back(std::move(series));
    return absl::OkStatus();
  }

  absl::Status ParseDimension(absl::string_view text, size_t dimension,
                              std::vector<float>* values) const {
    if (absl::StripAsciiWhitespace(text).empty()) {
      return Error("dimension ", dimension + 1, " is empty");
    }
    for (absl::string_view item : absl::StrSplit(text, ',')) {
      item = absl::StripAsciiWhitespace(item);
      float value = std::numeric_limits<float>::quiet_NaN();
      if (item != "?" && !absl::EqualsIgnoreCase(item, "nan") &&
          (!absl::SimpleAtof(item, &value) || !std::isfinite(value))) {
        return Error("dimension ", dimension + 1, ", value ",
                     values->size() + 1, ": ", Quoted(item),
                     " is not a finite number");
      }
      values->push_back(value);
    }
    return absl::OkStatus();
  }

  LineReader reader_;
  const std::string& name_;
  TsFile file_;
  absl::flat_hash_map<std::string, int> class_index_;
};

}  // namespace

absl::StatusOr<TsFile> ParseTs(absl::string_view content,
                               const std::string& name) {
  return TsParser(content, name).Parse();
}

absl::StatusOr<TsFile> ReadTs(const std::string& path) {
  absl::StatusOr<std::string> content = ReadFile(path);
  if (!content.ok()) return content.status();
  return ParseTs(*content, path);
}

}  // namespace repro
