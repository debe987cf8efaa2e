#include "common/tensor/generator.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>

namespace repro {

uint64_t MixSeed(uint64_t seed, uint64_t stream) {
  const auto mix = [](uint64_t z) {
    z += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  };
  return mix(mix(seed) ^ stream);
}

at::Generator MakeGenerator(uint64_t seed, uint64_t stream,
                            c10::Device device) {
  const uint64_t mixed = MixSeed(seed, stream);
  if (device.is_cpu()) {
    return at::make_generator<at::CPUGeneratorImpl>(mixed);
  }
  at::Generator generator = at::globalContext()
                                .getAcceleratorHooksInterface(device.type())
                                .getNewGenerator(device.index());
  generator.set_current_seed(mixed);
  return generator;
}

}  // namespace repro
