#ifndef REPRO_COMMON_METRICS_REGISTRY_INPUT_H_
#define REPRO_COMMON_METRICS_REGISTRY_INPUT_H_

#include <cstdint>
#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/metrics/registry.h"
#include "nlohmann/json.hpp"

// How the registry's metrics read lines; errors name file, line and field.
// Inside of common/metrics only.
namespace repro::metrics {

struct Metric {
  MetricInfo info;
  std::function<absl::StatusOr<nlohmann::json>(const JsonlFile& predictions,
                                               const JsonlFile& references,
                                               const Options& options)>
      evaluate;
};

// The entries of registry_text.cc, registry_code.cc and
// registry_long_context.cc.
std::vector<Metric> TextMetrics();
std::vector<Metric> CodeMetrics();
std::vector<Metric> LongContextMetrics();

// One line with what an error about it must name.
struct Line {
  const JsonlFile* file;
  const JsonLine* json;
};

struct Pair {
  Line prediction;
  Line reference;
};

absl::Status ErrorAt(const Line& line, absl::string_view message);
absl::Status WrongType(const Line& line, absl::string_view field,
                       const nlohmann::json& value, absl::string_view needed);

absl::StatusOr<const nlohmann::json*> Field(const Line& line,
                                            const std::string& name);
bool HasField(const Line& line, const std::string& name);

// A label or id as text.
absl::StatusOr<std::string> AsText(const Line& line, const std::string& name,
                                   const nlohmann::json& value);
absl::StatusOr<std::string> TextField(const Line& line,
                                      const std::string& name);

absl::StatusOr<double> AsNumber(const Line& line, const std::string& name,
                                const nlohmann::json& value);

absl::StatusOr<std::string> StringField(const Line& line,
                                        const std::string& name);

// A string, or an array of one or more strings.
absl::StatusOr<std::vector<std::string>> StringsField(const Line& line,
                                                      const std::string& name);

// An array of distinct ids.
absl::StatusOr<std::vector<std::string>> IdsField(const Line& line,
                                                  const std::string& name);

std::vector<Line> Lines(const JsonlFile& file);
absl::Status CheckNotEmpty(const JsonlFile& file);

// Lines by a field that names each of them once.
using LinesById = std::unordered_map<std::string, Line>;
absl::StatusOr<LinesById> IndexBy(const JsonlFile& file,
                                  const std::string& field);
absl::Status NoPartner(const Line& line, const std::string& field,
                       const std::string& id, const JsonlFile& other);

// Every prediction with its reference, by "id" or by order.
absl::StatusOr<std::vector<Pair>> Match(const JsonlFile& predictions,
                                        const JsonlFile& references);

// The field "text" of each pair: a string, and of a reference one or more.
struct Texts {
  std::vector<std::string> predictions;
  std::vector<std::vector<std::string>> references;
};
absl::StatusOr<Texts> ReadTexts(const JsonlFile& predictions,
                                const JsonlFile& references);

// The option `name`: a whole number from `least`.
absl::StatusOr<int64_t> NumberOption(const Options& options,
                                     const std::string& name, int64_t least);

// An option that is one of `choices`.
absl::Status CheckChoice(const Options& options, const std::string& name,
                         const std::vector<std::string>& choices);

}  // namespace repro::metrics

#endif  // REPRO_COMMON_METRICS_REGISTRY_INPUT_H_
