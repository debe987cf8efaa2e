// Numbers of trainable parameters.
#ifndef REPRO_COMMON_COUNT_PARAMETERS_H_
#define REPRO_COMMON_COUNT_PARAMETERS_H_

#include <cstdint>
#include <map>
#include <string>

#include "common/nn/module.h"

namespace repro {

// Elements of all parameters; buffers do not count.
int64_t CountParameters(const Module& module);

// The same by the first `depth` parts of the dotted name: depth 1 gives
// {"head": ..., "stage1": ...}.
std::map<std::string, int64_t> ParametersByPrefix(const Module& module,
                                                  int depth = 1);

}  // namespace repro

#endif  // REPRO_COMMON_COUNT_PARAMETERS_H_
