#include "papers/scan_snap/authors_streams.h"

#include <cmath>

namespace repro::scan_snap {
namespace {

// init_by_array of Matsumoto and Nishimura (2002) with a key of one word, as
// the seed sequence of a standard engine.
struct InitByArray {
  using result_type = uint32_t;

  uint32_t key;

  template <typename Iterator>
  void generate(Iterator begin, Iterator end) {
    const int n = static_cast<int>(end - begin);
    uint32_t previous = begin[0] = 19650218u;
    for (int i = 1; i < n; ++i) {
      previous = begin[i] = 1812433253u * (previous ^ (previous >> 30)) + i;
    }
    int i = 1;
    previous = begin[0];
    for (int step = 0; step < 2 * n - 1; ++step) {
      const uint32_t mixed = previous ^ (previous >> 30);
      const uint32_t word = static_cast<uint32_t>(begin[i]);
      previous = begin[i] = step < n ? (word ^ (mixed * 1664525u)) + key
                                     : (word ^ (mixed * 1566083941u)) - i;
      if (++i == n) {
        begin[0] = previous;
        i = 1;
      }
    }
    begin[0] = 0x80000000u;
  }
};

std::mt19937 SeededByArray(uint32_t seed) {
  InitByArray sequence{seed};
  return std::mt19937(sequence);
}

// P(l|n) before normalisation, as torch.ones and torch.linspace give it.
std::vector<float> Weights(const SequenceClassOptions& options) {
  std::vector<float> weights(options.num_common,
                             static_cast<float>(options.common_weight));
  const int count = options.num_distinct;
  const float start = static_cast<float>(options.distinct_min);
  const float end = static_cast<float>(options.distinct_max);
  const float step = count > 1 ? (end - start) / (count - 1) : 0;
  for (int i = 0; i < count; ++i) {
    weights.push_back(i < count / 2 || count == 1
                          ? start + step * i
                          : end - step * (count - 1 - i));
  }
  return weights;
}

}  // namespace

PythonRandom::PythonRandom(uint32_t seed) : engine_(SeededByArray(seed)) {}

int PythonRandom::Choice(int count) {
  int bits = 0;
  while (count >> bits != 0) ++bits;
  while (true) {
    const uint32_t draw = static_cast<uint32_t>(engine_()) >> (32 - bits);
    if (draw < static_cast<uint32_t>(count)) return static_cast<int>(draw);
  }
}

float TorchRandom::UniformFloat(float from, float to) {
  const uint32_t bits = static_cast<uint32_t>(engine_()) & 0xffffff;
  // PyTorch is compiled with fused multiply-add.
  return std::fma(static_cast<float>(bits) * 0x1p-24f, to - from, from);
}

double TorchRandom::UniformDouble() {
  const uint64_t high = engine_();
  const uint64_t low = engine_();
  return static_cast<double>((high << 32 | low) & ((uint64_t{1} << 53) - 1)) *
         0x1p-53;
}

TorchMultinomial::TorchMultinomial(const std::vector<float>& weights) {
  float sum = 0;
  for (float weight : weights) cumulative_.push_back(sum += weight);
  for (float& value : cumulative_) value /= sum;
  size_t place = 0;
  for (int top = 0; top < 256; ++top) {
    while (cumulative_[place] < top / 256.0) ++place;
    first_.push_back(static_cast<int>(place));
  }
}

int TorchMultinomial::Draw(TorchRandom& random) const {
  const double uniform = random.UniformDouble();
  int place = first_[static_cast<int>(uniform * 256)];
  while (cumulative_[place] < uniform) ++place;
  return place;
}

AuthorsStreams::AuthorsStreams(const SequenceClasses& classes, uint32_t seed)
    : classes_(classes),
      python_(seed),
      torch_(seed + 2),
      multinomial_(Weights(classes.options())) {}

void AuthorsStreams::Initialize(bool zero_init,
                                OneLayerTransformer<float>* model) {
  const int vocab = classes_.vocab_size();
  const float bound = 1 / std::sqrt(static_cast<float>(vocab));
  for (int j = 0; j < vocab; ++j) {
    for (int l = 0; l < vocab; ++l) {
      const float weight = torch_.UniformFloat(-bound, bound);
      model->y()[static_cast<size_t>(l) * vocab + j] = zero_init ? 0 : weight;
    }
  }
  for (float& value : model->z()) {
    const float weight = torch_.UniformFloat(-bound, bound);
    value = zero_init ? 0 : weight;
  }
}

Batch<float> AuthorsStreams::Draw(int batch_size, int sequence_length) {
  const int support = classes_.support_size();
  Batch<float> batch;
  batch.counts.assign(static_cast<size_t>(batch_size) * support, 0);
  for (int b = 0; b < batch_size; ++b) {
    batch.classes.push_back(python_.Choice(classes_.num_classes()));
    float* counts = &batch.counts[static_cast<size_t>(b) * support];
    for (int t = 1; t < sequence_length; ++t) {
      counts[multinomial_.Draw(torch_)] += 1;
    }
  }
  return batch;
}

}  // namespace repro::scan_snap
