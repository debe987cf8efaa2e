#include "common/train/metrics_log.h"

#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

namespace repro {
namespace {

absl::Status WriteError(const std::string& path) {
  return absl::UnavailableError(absl::StrCat(
      "cannot write metrics log ", path, ": ", std::strerror(errno),
      "; give a folder that exists, is writable and has space"));
}

}  // namespace

absl::StatusOr<MetricsLog> MetricsLog::Open(const std::string& path,
                                            int64_t last_step) {
  std::string kept;
  std::ifstream in(path);
  std::string line;
  for (int64_t number = 1; last_step >= 0 && std::getline(in, line); ++number) {
    // Without a newline the line was cut, even if what is there parses.
    if (in.eof()) break;
    const nlohmann::json entry =
        nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!entry.is_object() || !entry.contains("step") ||
        !entry["step"].is_number_integer()) {
      return absl::DataLossError(
          absl::StrCat("metrics log ", path, ", line ", number,
                       ": not an object with an integer 'step'; delete the "
                       "line, or the file to log anew"));
    }
    if (entry["step"].get<int64_t>() <= last_step) {
      absl::StrAppend(&kept, line, "\n");
    }
  }
  in.close();

  const std::string temporary = path + ".tmp";
  std::ofstream rewrite(temporary, std::ios::trunc);
  rewrite << kept;
  rewrite.close();
  if (!rewrite || std::rename(temporary.c_str(), path.c_str()) != 0) {
    const absl::Status status = WriteError(path);
    std::remove(temporary.c_str());
    return status;
  }
  std::ofstream out(path, std::ios::app);
  if (!out) return WriteError(path);
  return MetricsLog(path, std::move(out));
}

void MetricsLog::Append(int64_t step, absl::string_view name, double value) {
  nlohmann::ordered_json entry;
  entry["step"] = step;
  entry["name"] = std::string(name);
  if (std::isfinite(value)) {
    entry["value"] = value;
  } else {
    entry["value"] = nullptr;
  }
  out_ << entry.dump() << "\n";
}

absl::Status MetricsLog::Flush() {
  out_.flush();
  return out_ ? absl::OkStatus() : WriteError(path_);
}

}  // namespace repro
