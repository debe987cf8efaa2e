#ifndef REPRO_COMMON_DATA_CSV_H_
#define REPRO_COMMON_DATA_CSV_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace repro {

// A table read from comma-separated values as RFC 4180 has them: fields may be
// quoted, a quoted field may hold commas, line ends and doubled quotes, records
// end with CRLF or LF. The first record is the header. Blank lines between
// records are skipped.
//
//   ASSIGN_OR_RETURN(CsvTable table, CsvTable::Read("loss.csv.gz"));
//   for (int64_t row = 0; row < table.num_rows(); ++row) {
//     absl::StatusOr<double> loss = table.Double(row, "loss");
//
// Errors begin with "file:line: ", where the line is the one on which the
// record begins (the header is line 1).
class CsvTable {
 public:
  // Reads a plain or gzip file. Errors: those of ReadFile, and InvalidArgument
  // for an empty file, an empty or repeated column name, a record with another
  // number of fields than the header, an unterminated quote, or text after a
  // closing quote.
  static absl::StatusOr<CsvTable> Read(const std::string& path);

  // The same for a text in memory; `name` stands for it in errors.
  static absl::StatusOr<CsvTable> Parse(absl::string_view content,
                                        const std::string& name);

  int64_t num_rows() const { return static_cast<int64_t>(lines_.size()); }
  const std::vector<std::string>& header() const { return header_; }
  bool HasColumn(absl::string_view column) const;

  // InvalidArgument "file:line: what", for a row that its reader refuses.
  absl::Status RowError(int64_t row, absl::string_view what) const;

  // The cell of a row (0 <= row < num_rows(), anything else is OutOfRange) and
  // a column by name (NotFound, listing the columns there are).
  absl::StatusOr<std::string> Text(int64_t row, absl::string_view column) const;

  // The cell as a number. InvalidArgument "file:line: column 'x': ..." where
  // it is not one; an empty cell is not one either.
  absl::StatusOr<double> Double(int64_t row, absl::string_view column) const;
  absl::StatusOr<int64_t> Int(int64_t row, absl::string_view column) const;

  // As Double, but an empty cell is nullopt.
  absl::StatusOr<std::optional<double>> OptionalDouble(
      int64_t row, absl::string_view column) const;

  // A whole column as numbers, in row order.
  absl::StatusOr<std::vector<double>> Doubles(absl::string_view column) const;

 private:
  absl::StatusOr<const std::string*> Cell(int64_t row,
                                          absl::string_view column) const;

  std::string name_;
  std::vector<std::string> header_;
  absl::flat_hash_map<std::string, size_t> column_index_;
  std::vector<std::string> cells_;  // num_rows() x header_.size(), row by row.
  std::vector<int64_t> lines_;
};

}  // namespace repro

#endif  // REPRO_COMMON_DATA_CSV_H_
