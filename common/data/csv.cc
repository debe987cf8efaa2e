#include "common/data/csv.h"

#include <cmath>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "common/data/io.h"

namespace repro {
namespace {

// Reads records one after the other.
class RecordReader {
 public:
  RecordReader(absl::string_view content, const std::string& name)
      : text_(absl::StripPrefix(content, "\xef\xbb\xbf")), name_(name) {}

  // Moves the next record's fields to the end of `fields` and sets the line on
  // which it begins. False at the end of the text.
  absl::StatusOr<bool> Next(std::vector<std::string>* fields, int64_t* line) {
    while (AtLineEnd() && position_ < text_.size()) SkipLineEnd();
    if (position_ == text_.size()) return false;
    *line = line_;
    while (true) {
      std::string field;
      if (text_[position_] == '"') {
        absl::Status status = ReadQuoted(&field);
        if (!status.ok()) return status;
      } else {
        while (!AtLineEnd() && text_[position_] != ',') {
          field.push_back(text_[position_++]);
        }
      }
      fields->push_back(std::move(field));
      if (AtLineEnd()) {
        SkipLineEnd();
        return true;
      }
      ++position_;  // The comma; a field follows, if only an empty one.
      if (position_ == text_.size()) {
        fields->emplace_back();
        return true;
      }
    }
  }

 private:
  bool AtLineEnd() const {
    return position_ == text_.size() || text_[position_] == '\n' ||
           text_.substr(position_, 2) == "\r\n";
  }

  void SkipLineEnd() {
    if (position_ == text_.size()) return;
    position_ += text_[position_] == '\r' ? 2 : 1;
    ++line_;
  }

  absl::Status ReadQuoted(std::string* field) {
    const int64_t begin_line = line_;
    ++position_;
    for (; position_ < text_.size(); ++position_) {
      const char c = text_[position_];
      if (c == '\n') ++line_;
      if (c != '"') {
        field->push_back(c);
      } else if (text_.substr(position_, 2) == "\"\"") {
        field->push_back('"');
        ++position_;
      } else {
        ++position_;
        if (AtLineEnd() || text_[position_] == ',') return absl::OkStatus();
        return absl::InvalidArgumentError(
            absl::StrCat(name_, ":", line_,
                         ": text after a closing quote; a quote inside a "
                         "quoted field is written twice"));
      }
    }
    return absl::InvalidArgumentError(
        absl::StrCat(name_, ":", begin_line, ": a quote that never closes"));
  }

  absl::string_view text_;
  const std::string& name_;
  size_t position_ = 0;
  int64_t line_ = 1;
};

bool ParseFiniteOrNamed(absl::string_view text, double* value) {
  if (!absl::SimpleAtod(text, value)) return false;
  // SimpleAtod gives infinity for a number that is too large, too.
  return !std::isinf(*value) ||
         absl::AsciiStrToLower(text).find("inf") != std::string::npos;
}

}  // namespace

absl::StatusOr<CsvTable> CsvTable::Read(const std::string& path) {
  absl::StatusOr<std::string> content = ReadFile(path);
  if (!content.ok()) return content.status();
  return Parse(*content, path);
}

absl::StatusOr<CsvTable> CsvTable::Parse(absl::string_view content,
                                         const std::string& name) {
  CsvTable table;
  table.name_ = name;
  RecordReader reader(content, name);
  int64_t line = 1;
  absl::StatusOr<bool> more = reader.Next(&table.header_, &line);
  if (!more.ok()) return more.status();
  if (!*more) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ":1: is empty; a header row is needed"));
  }
  const size_t width = table.header_.size();
  for (size_t i = 0; i < width; ++i) {
    if (table.header_[i].empty() ||
        !table.column_index_.emplace(table.header_[i], i).second) {
      return absl::InvalidArgumentError(absl::StrCat(
          name, ":", line, ": column ", i + 1,
          table.header_[i].empty()
              ? std::string(" has no name")
              : absl::StrCat(" repeats the name ", Quoted(table.header_[i]))));
    }
  }
  while (true) {
    const size_t before = table.cells_.size();
    more = reader.Next(&table.cells_, &line);
    if (!more.ok()) return more.status();
    if (!*more) return table;
    const size_t fields = table.cells_.size() - before;
    if (fields != width) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, ":", line, ": has ", fields,
                       " fields where the header has ", width));
    }
    table.lines_.push_back(line);
  }
}

bool CsvTable::HasColumn(absl::string_view column) const {
  return column_index_.contains(column);
}

absl::Status CsvTable::RowError(int64_t row, absl::string_view what) const {
  return absl::InvalidArgumentError(
      absl::StrCat(name_, ":", lines_.at(row), ": ", what));
}

absl::StatusOr<const std::string*> CsvTable::Cell(
    int64_t row, absl::string_view column) const {
  auto found = column_index_.find(column);
  if (found == column_index_.end()) {
    return absl::NotFoundError(absl::StrCat(name_, ": has no column ",
                                            Quoted(column), "; it has ",
                                            absl::StrJoin(header_, ", ")));
  }
  if (row < 0 || row >= num_rows()) {
    return absl::OutOfRangeError(
        absl::StrCat(name_, ": row ", row, " of ", num_rows(), " rows"));
  }
  return &cells_[row * header_.size() + found->second];
}

absl::StatusOr<std::string> CsvTable::Text(int64_t row,
                                           absl::string_view column) const {
  absl::StatusOr<const std::string*> cell = Cell(row, column);
  if (!cell.ok()) return cell.status();
  return **cell;
}

absl::StatusOr<double> CsvTable::Double(int64_t row,
                                        absl::string_view column) const {
  absl::StatusOr<const std::string*> cell = Cell(row, column);
  if (!cell.ok()) return cell.status();
  double value;
  if (!ParseFiniteOrNamed(**cell, &value)) {
    return RowError(row, absl::StrCat("column ", Quoted(column), ": ",
                                      Quoted(**cell), " is not a number"));
  }
  return value;
}

absl::StatusOr<int64_t> CsvTable::Int(int64_t row,
                                      absl::string_view column) const {
  absl::StatusOr<const std::string*> cell = Cell(row, column);
  if (!cell.ok()) return cell.status();
  int64_t value;
  if (!absl::SimpleAtoi(**cell, &value)) {
    return RowError(
        row, absl::StrCat("column ", Quoted(column), ": ", Quoted(**cell),
                          " is not a whole number of 64 bits"));
  }
  return value;
}

absl::StatusOr<std::optional<double>> CsvTable::OptionalDouble(
    int64_t row, absl::string_view column) const {
  absl::StatusOr<const std::string*> cell = Cell(row, column);
  if (!cell.ok()) return cell.status();
  if ((*cell)->empty()) return std::optional<double>();
  absl::StatusOr<double> value = Double(row, column);
  if (!value.ok()) return value.status();
  return std::optional<double>(*value);
}

absl::StatusOr<std::vector<double>> CsvTable::Doubles(
    absl::string_view column) const {
  // Also where there are no rows to ask.
  if (!HasColumn(column)) return Cell(0, column).status();
  std::vector<double> values;
  values.reserve(num_rows());
  for (int64_t row = 0; row < num_rows(); ++row) {
    absl::StatusOr<double> value = Double(row, column);
    if (!value.ok()) return value.status();
    values.push_back(*value);
  }
  return values;
}

}  // namespace repro
