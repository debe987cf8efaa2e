#ifndef REPRO_TOOLS_COMMANDS_H_
#define REPRO_TOOLS_COMMANDS_H_

#include <atomic>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/claims/runner.h"

// The commands of the `repro` program, one function each. They print to stdout,
// tell progress on stderr and return the exit code, or an error that main()
// prints as one line and turns into an exit code by ExitCode().
namespace repro {

inline constexpr int kExitOk = 0;
inline constexpr int kExitRegression = 1;  // or a failed experiment or test
inline constexpr int kExitUsage = 2;       // wrong use or bad input
inline constexpr int kExitMissingAsset = 3;
inline constexpr int kExitInterrupted = 130;

// Of an error that a command returned.
int ExitCode(const absl::Status& status);

enum class Format { kTable, kJson, kMarkdown };

// Set by Ctrl-C; the first makes a command end soon, the second kills it.
extern std::atomic<bool> g_stop;

absl::StatusOr<int> RunCommand(const RunOptions& options, Format format);
absl::StatusOr<int> ListCommand(Format format, const std::string& out_dir);
absl::StatusOr<int> ShowCommand(const std::string& paper, Format format,
                                const std::string& out_dir);
absl::StatusOr<int> FetchCommand(const std::vector<std::string>& papers,
                                 bool all);
absl::StatusOr<int> ReportCommand(const std::string& out_dir);

struct CompareOptions {
  std::vector<std::string> results;  // paths or ids
  bool baseline = false;
  bool update = false;
  std::string baseline_dir = "ci/baselines";
  std::string out_dir = "out";
  Format format = Format::kTable;
  bool everything = false;  // list what did not change, too
};
absl::StatusOr<int> CompareCommand(const CompareOptions& options);

absl::StatusOr<int> MetricCommand(
    const std::string& name, const std::string& predictions,
    const std::string& references,
    const std::map<std::string, std::string>& options);
// With no name: the list of metrics and what their files hold.
absl::StatusOr<int> ListMetricsCommand();

absl::StatusOr<int> DoctorCommand(Format format);

// Packs this program, the kernels that were built beside it and the assets of
// `papers` ("kernels": none) for a machine without Bazel, as `out`.
absl::StatusOr<int> BundleCommand(const std::vector<std::string>& papers,
                                  const std::string& out);

}  // namespace repro

#endif  // REPRO_TOOLS_COMMANDS_H_
