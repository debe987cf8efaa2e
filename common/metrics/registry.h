#ifndef REPRO_COMMON_METRICS_REGISTRY_H_
#define REPRO_COMMON_METRICS_REGISTRY_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/data/jsonl.h"
#include "nlohmann/json.hpp"

// The metrics by name, on JSON Lines: what `./repro metric` runs.
namespace repro::metrics {

// The lines of one file and the name that stands for it in errors.
struct JsonlFile {
  std::string name;
  std::vector<JsonLine> lines;
};

// Option name to value, as given on the command line.
using Options = std::map<std::string, std::string>;

struct OptionInfo {
  std::string name;
  std::string default_value;  // empty: none is needed
  std::string help;
};

struct MetricInfo {
  std::string name;
  std::string help;                // one line
  std::string predictions_format;  // what a line of each file must hold
  std::string references_format;
  bool needs_references = true;
  std::vector<OptionInfo> options;
};

// All metrics, in the order in which help shows them.
std::vector<MetricInfo> ListMetrics();

// The metric of two files (plain or gzip): {"metric": name, "value": number,
// "n": what was averaged over (items, queries, problems or tokens), "options":
// {name: value, defaults included}} and, if the metric has more to say, fields
// of its own. `references_path` may be empty where needs_references is false.
//
// Lines are objects. If both files carry an "id" (string or integer) on their
// lines, these are matched by it, else by their order. Ids and labels are
// compared as text: 1 and "1" are the same.
//
// Errors: NotFound for an unknown name (listing those there are),
// InvalidArgument for an unknown or malformed option and for bad input, as in
// `predictions.jsonl:17: field "label" is missing`, and those of ReadJsonl.
absl::StatusOr<nlohmann::json> Evaluate(absl::string_view name,
                                        const std::string& predictions_path,
                                        const std::string& references_path,
                                        const Options& options);

// The same for lines in memory. `references` with an empty name stands for no
// references file.
absl::StatusOr<nlohmann::json> EvaluateLines(absl::string_view name,
                                             const JsonlFile& predictions,
                                             const JsonlFile& references,
                                             const Options& options);

}  // namespace repro::metrics

#endif  // REPRO_COMMON_METRICS_REGISTRY_H_
