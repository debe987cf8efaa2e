#include "common/data/mqar.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/DistributionsHelper.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>

#include <algorithm>
#include <cmath>
#include <mutex>
#include <numeric>
#include <utility>
#include <vector>

namespace repro {
namespace {

constexpr int64_t kIgnored = -100;

// Draws distinct numbers from [low, high).
class DistinctNumbers {
 public:
  DistinctNumbers(int64_t low, int64_t high) : numbers_(high - low) {
    std::iota(numbers_.begin(), numbers_.end(), low);
  }

  // The first steps of a Fisher-Yates shuffle. Any order is as good to start
  // from, so that of the call before need not be undone.
  const std::vector<int64_t>& Draw(int64_t count,
                                   at::CPUGeneratorImpl* random) {
    const int64_t size = numbers_.size();
    for (int64_t i = 0; i < count; ++i) {
      const int64_t j =
          i + static_cast<int64_t>(random->random64() %
                                   static_cast<uint64_t>(size - i));
      std::swap(numbers_[i], numbers_[j]);
    }
    return numbers_;
  }

 private:
  std::vector<int64_t> numbers_;
};

}  // namespace

MqarExamples GenerateMqar(const MqarConfig& config, int64_t num_examples,
                          at::Generator generator) {
  const int64_t seq_len = config.seq_len, pairs = config.num_pairs;
  const int64_t half = config.vocab_size / 2;
  TORCH_CHECK(seq_len % 2 == 0 && pairs > 0 && 4 * pairs <= seq_len,
              "mqar: seq_len ", seq_len, " must be even and at least 4 times ",
              "num_pairs ", pairs);
  TORCH_CHECK(half - 1 >= pairs, "mqar: vocab_size ", config.vocab_size,
              " has fewer keys than num_pairs ", pairs);
  TORCH_CHECK(num_examples >= 0, "mqar: num_examples is ", num_examples);
  TORCH_CHECK(config.power > 0, "mqar: power is ", config.power);

  auto* random = generator.get<at::CPUGeneratorImpl>();
  const std::lock_guard<std::mutex> lock(random->mutex_);
  at::Tensor inputs = at::empty({num_examples, seq_len}, at::kLong);
  at::Tensor labels = at::full({num_examples, seq_len}, kIgnored, at::kLong);
  DistinctNumbers keys(1, half), values(half, config.vocab_size);

  const int64_t space = (seq_len - 2 * pairs) / 2;
  std::vector<double> weights(space);
  for (int64_t g = 0; g < space; ++g) {
    weights[g] = config.power * std::pow(g + 1.0, config.power - 1);
  }
  at::uniform_real_distribution<double> uniform(0, 1);
  std::vector<std::pair<double, int64_t>> arrivals(space);
  for (int64_t n = 0; n < num_examples; ++n) {
    int64_t* input = inputs.data_ptr<int64_t>() + n * seq_len;
    int64_t* label = labels.data_ptr<int64_t>() + n * seq_len;
    for (int64_t t = 2 * pairs; t < seq_len; ++t) {
      input[t] = static_cast<int64_t>(random->random64() %
                                      static_cast<uint64_t>(config.vocab_size));
    }
    const std::vector<int64_t>& key = keys.Draw(pairs, random);
    const std::vector<int64_t>& value = values.Draw(pairs, random);
    // The order of exponential arrivals of these rates is that of weighted
    // draws without replacement (Efraimidis and Spirakis 2006).
    for (int64_t g = 0; g < space; ++g) {
      arrivals[g] = {-std::log1p(-uniform(random)) / weights[g], g};
    }
    std::partial_sort(arrivals.begin(), arrivals.begin() + pairs,
                      arrivals.end());
    for (int64_t i = 0; i < pairs; ++i) {
      input[2 * i] = key[i];
      input[2 * i + 1] = value[i];
      const int64_t t = 2 * pairs + 2 * arrivals[i].second;
      input[t] = key[i];
      label[t] = value[i];
    }
  }
  return {inputs, labels};
}

}  // namespace repro
