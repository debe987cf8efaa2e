#ifndef REPRO_COMMON_DATA_TS_H_
#define REPRO_COMMON_DATA_TS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace repro {

// One labelled multivariate time series.
struct TimeSeries {
  // [num_dimensions][length]; every dimension of a series has the same length,
  // two series of a file may have different ones. A missing value is NaN.
  std::vector<std::vector<float>> dimensions;
  std::string label;     // As printed in the file; empty without class labels.
  int class_index = -1;  // Index of `label` in TsFile::class_labels, or -1.
};

// A classification data set in the `.ts` format of the UEA archive and sktime
// (https://www.sktime.net/en/stable/api_reference/file_specifications/ts.html).
struct TsFile {
  std::string problem_name;               // @problemName
  std::vector<std::string> class_labels;  // @classLabel true A B ...
  int num_dimensions = 0;     // @dimensions, else that of the first series.
  bool equal_length = false;  // @equalLength
  std::vector<TimeSeries> series;
};

// Reads a `.ts` file, plain or gzip: `#` comments and `@` headers, whose bytes
// may be of any encoding (the archive's are Latin-1), then after `@data` one
// series a line: dimensions split by ':', values by ',', the class label last.
// "?" and "NaN" are missing values.
//
// Errors: those of ReadFile; InvalidArgument "path:line: ..." for a header
// that cannot be read, no @data line, no series, a value that is not a finite
// number, an empty dimension, a number of dimensions other than @dimensions,
// dimensions of a series of different lengths, lengths that differ under
// `@equalLength true`, and a label that @classLabel does not list;
// Unimplemented for time stamps (`@timeStamps true`).
absl::StatusOr<TsFile> ReadTs(const std::string& path);

// The same for a text in memory; `name` stands for it in errors.
absl::StatusOr<TsFile> ParseTs(absl::string_view content,
                               const std::string& name);

}  // namespace repro

#endif  // REPRO_COMMON_DATA_TS_H_
