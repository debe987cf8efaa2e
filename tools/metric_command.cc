#include <iostream>

#include "absl/strings/str_cat.h"
#include "common/metrics/registry.h"
#include "common/status/macros.h"
#include "tools/commands.h"

namespace repro {

absl::StatusOr<int> MetricCommand(
    const std::string& name, const std::string& predictions,
    const std::string& references,
    const std::map<std::string, std::string>& options) {
  REPRO_ASSIGN_OR_RETURN(
      const nlohmann::json value,
      metrics::Evaluate(name, predictions, references, options));
  std::cout << value.dump(2) << "\n";
  return kExitOk;
}

absl::StatusOr<int> ListMetricsCommand() {
  for (const metrics::MetricInfo& metric : metrics::ListMetrics()) {
    std::cout << metric.name << ": " << metric.help
              << "\n  predictions: " << metric.predictions_format << "\n";
    if (metric.needs_references) {
      std::cout << "  references: " << metric.references_format << "\n";
    }
    for (const metrics::OptionInfo& option : metric.options) {
      std::cout << "  --set " << option.name << "="
                << (option.default_value.empty() ? "..." : option.default_value)
                << ": " << option.help << "\n";
    }
  }
  return kExitOk;
}

}  // namespace repro
