// Seeded random generators: every draw takes one, nothing uses the global one.
#ifndef REPRO_COMMON_TENSOR_GENERATOR_H_
#define REPRO_COMMON_TENSOR_GENERATOR_H_

#include <ATen/core/Generator.h>
#include <c10/core/Device.h>

#include <cstdint>

namespace repro {

// The 64-bit finaliser of splitmix64 (Steele, Lea, Flood 2014) over the seed
// and the stream, so that neighbouring seeds and streams are unrelated.
uint64_t MixSeed(uint64_t seed, uint64_t stream);

// A generator for `seed`; `stream` separates uses of one seed (weights,
// data, shuffling, dropout: give each its own, or derive one for each epoch).
// A tensor is filled by a generator of its own device. "cuda" needs
// ParseDevice("cuda") to have succeeded.
at::Generator MakeGenerator(uint64_t seed, uint64_t stream = 0,
                            c10::Device device = c10::Device(c10::kCPU));

}  // namespace repro

#endif  // REPRO_COMMON_TENSOR_GENERATOR_H_
