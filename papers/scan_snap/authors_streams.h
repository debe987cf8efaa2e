// The random numbers that the authors' program draws (decoder_only.py of their
// repository, on CPython and PyTorch's CPU generator), so that a run with their
// seed is their run.
#ifndef REPRO_PAPERS_SCAN_SNAP_AUTHORS_STREAMS_H_
#define REPRO_PAPERS_SCAN_SNAP_AUTHORS_STREAMS_H_

#include <cstdint>
#include <random>
#include <vector>

#include "papers/scan_snap/one_layer_transformer.h"
#include "papers/scan_snap/sequence_classes.h"

namespace repro::scan_snap {

// random.Random(seed) of CPython: MT19937 seeded by init_by_array([seed]).
class PythonRandom {
 public:
  explicit PythonRandom(uint32_t seed);

  // The index that random.choice draws from a sequence of `count` >= 1.
  int Choice(int count);

 private:
  std::mt19937 engine_;
};

// torch.manual_seed(seed) on the CPU.
class TorchRandom {
 public:
  explicit TorchRandom(uint32_t seed) : engine_(seed) {}

  // As Tensor.uniform_(from, to) fills a float and a double in [0, 1).
  float UniformFloat(float from, float to);
  double UniformDouble();

 private:
  std::mt19937 engine_;
};

// torch.multinomial(weights, ..., replacement=True) on the CPU.
class TorchMultinomial {
 public:
  // Not empty, no negative weight, a positive sum.
  explicit TorchMultinomial(const std::vector<float>& weights);

  int Draw(TorchRandom& random) const;

 private:
  std::vector<float> cumulative_;
  std::vector<int> first_;  // where to begin to look, by the top 8 bits
};

// All draws of one run of decoder_only.py with `seed`: the weights of two
// nn.Linear(M, M), then batches. Its set_all_seeds gives Python's generator
// `seed` and PyTorch's `seed` + 2.
class AuthorsStreams {
 public:
  // `classes` must outlive it.
  AuthorsStreams(const SequenceClasses& classes, uint32_t seed);

  // Draws K1 = Y^T and K2 = Z, which are drawn also where `zero_init` then
  // clears them.
  void Initialize(bool zero_init, OneLayerTransformer<float>* model);

  Batch<float> Draw(int batch_size, int sequence_length);

 private:
  const SequenceClasses& classes_;
  PythonRandom python_;
  TorchRandom torch_;
  TorchMultinomial multinomial_;
};

}  // namespace repro::scan_snap

#endif  // REPRO_PAPERS_SCAN_SNAP_AUTHORS_STREAMS_H_
