#ifndef REPRO_COMMON_ENCODER_DROPOUT_H_
#define REPRO_COMMON_ENCODER_DROPOUT_H_

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include "common/nn/layers.h"

namespace repro::encoder {

// Dropout with a module's generator, which is undefined where there is none.
inline at::Tensor DropoutIfSeeded(const at::Tensor& x, double p, bool training,
                                  const at::Generator& generator) {
  return generator.defined() ? Dropout(x, p, training, generator) : x;
}

}  // namespace repro::encoder

#endif  // REPRO_COMMON_ENCODER_DROPOUT_H_
