#include "common/count/parameters.h"

namespace repro {

int64_t CountParameters(const Module& module) {
  int64_t total = 0;
  for (const auto& [name, tensor] : module.NamedParameters()) {
    total += tensor.numel();
  }
  return total;
}

std::map<std::string, int64_t> ParametersByPrefix(const Module& module,
                                                  int depth) {
  std::map<std::string, int64_t> counts;
  for (const auto& [name, tensor] : module.NamedParameters()) {
    size_t end = 0;
    for (int part = 0; part < depth && end != std::string::npos; ++part) {
      end = name.find('.', part == 0 ? 0 : end + 1);
    }
    counts[name.substr(0, end)] += tensor.numel();
  }
  return counts;
}

}  // namespace repro
