// A small transformer in float64 for tests.
#ifndef REPRO_PAPERS_CIRCUIT_REUSE_TESTING_H_
#define REPRO_PAPERS_CIRCUIT_REUSE_TESTING_H_

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/randint.h>

#include <cstdint>
#include <string>

#include "common/nn/testing.h"
#include "common/tensor/generator.h"
#include "papers/circuit_reuse/hooked_transformer.h"
#include "papers/circuit_reuse/path_patching.h"

namespace repro::circuit_reuse {

inline TransformerConfig SmallConfig() {
  TransformerConfig config;
  config.layers = 3;
  config.heads = 2;
  config.dim = 6;
  config.mlp_dim = 8;
  config.vocabulary = 11;
  config.positions = 7;
  config.init_std = 0.6;
  return config;
}

// Parameters that start at 0 or 1 become random, too.
inline void Randomize(const Module& module, uint64_t seed) {
  const at::NoGradGuard no_grad;
  at::Generator generator = MakeGenerator(seed, 9);
  for (const auto& [name, parameter] : module.NamedParameters()) {
    at::Tensor(parameter).normal_(name.find("norm.weight") != std::string::npos,
                                  0.5, generator);
  }
}

inline at::Tensor DrawTokens(const TransformerConfig& config,
                             at::IntArrayRef shape, uint64_t seed) {
  return at::randint(config.vocabulary, shape, MakeGenerator(seed, 3),
                     at::TensorOptions().dtype(at::kLong));
}

// Random prompts; the counterfactual ends with the same token.
inline PatchingPrompts DrawPrompts(const TransformerConfig& config,
                                   int64_t count, int64_t length,
                                   uint64_t seed) {
  PatchingPrompts prompts;
  prompts.tokens = DrawTokens(config, {count, length}, seed);
  prompts.counterfactual = DrawTokens(config, {count, length}, seed + 100);
  prompts.counterfactual.select(1, length - 1)
      .copy_(prompts.tokens.select(1, length - 1));
  prompts.answers = DrawTokens(config, {count}, seed + 200);
  prompts.wrong = (prompts.answers + 1).remainder(config.vocabulary);
  return prompts;
}

}  // namespace repro::circuit_reuse

#endif  // REPRO_PAPERS_CIRCUIT_REUSE_TESTING_H_
