// Metrics as JSON lines: {"step": 20, "name": "loss", "value": 0.25}.
#ifndef REPRO_COMMON_TRAIN_METRICS_LOG_H_
#define REPRO_COMMON_TRAIN_METRICS_LOG_H_

#include <cstdint>
#include <fstream>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace repro {

class MetricsLog {
 public:
  // Opens for appending, keeping the lines with step <= last_step (-1: none).
  // A broken last line, as a killed run leaves it, is dropped; a broken line
  // before it is DataLoss with its number.
  static absl::StatusOr<MetricsLog> Open(const std::string& path,
                                         int64_t last_step);

  // A value that is not finite is written as null. Call Flush to make lines
  // durable; it reports write errors (a full disk).
  void Append(int64_t step, absl::string_view name, double value);
  absl::Status Flush();

 private:
  MetricsLog(std::string path, std::ofstream out)
      : path_(std::move(path)), out_(std::move(out)) {}

  std::string path_;
  std::ofstream out_;
};

}  // namespace repro

#endif  // REPRO_COMMON_TRAIN_METRICS_LOG_H_
