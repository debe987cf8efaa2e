// Activation checkpointing: memory for time.
#ifndef REPRO_COMMON_NN_RECOMPUTE_H_
#define REPRO_COMMON_NN_RECOMPUTE_H_

#include <ATen/core/Tensor.h>

#include <functional>

namespace repro {

// function(x), of which the backward keeps x alone and runs `function` again
// (Chen et al. 2016, arXiv 1604.06174). Gradients flow to x and to whatever
// leaves `function` reads; these accumulate in their .grad, so it works with
// Tensor::backward and not with a function that returns gradients. `function`
// must draw nothing at random and must outlive the backward. Without gradient
// mode it is function(x).
at::Tensor Recompute(std::function<at::Tensor(const at::Tensor&)> function,
                     const at::Tensor& x);

}  // namespace repro

#endif  // REPRO_COMMON_NN_RECOMPUTE_H_
