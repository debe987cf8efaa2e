#include "papers/scan_snap/authors_streams.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/div.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/multinomial.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/uniform.h>

#include <cmath>
#include <vector>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "papers/scan_snap/training.h"

namespace repro::scan_snap {
namespace {

std::vector<int> Choices(uint32_t seed, int count, int number) {
  PythonRandom random(seed);
  std::vector<int> choices;
  for (int i = 0; i < number; ++i) choices.push_back(random.Choice(count));
  return choices;
}

// python3 -c "import random; random.seed(1)
//   print([random.choice(range(2)) for _ in range(16)])", and so on.
TEST(PythonRandomTest, DrawsAsCPython) {
  EXPECT_EQ(Choices(1, 2, 16),
            std::vector<int>({0, 0, 1, 0, 1, 1, 1, 1, 0, 0, 1, 0, 1, 1, 0, 1}));
  EXPECT_EQ(Choices(1, 20, 10),
            std::vector<int>({4, 18, 2, 8, 3, 15, 14, 15, 12, 6}));
  EXPECT_EQ(Choices(2, 20, 10),
            std::vector<int>({1, 2, 2, 11, 5, 9, 8, 19, 6, 19}));
  EXPECT_EQ(Choices(5, 1, 3), std::vector<int>({0, 0, 0}));
}

TEST(TorchRandomTest, DrawsAsLibTorch) {
  at::Generator generator = at::detail::createCPUGenerator(3);
  TorchRandom random(3);
  const float bound = 0.174f;
  const at::Tensor weights = at::empty({500}, at::kFloat);
  weights.uniform_(-bound, bound, generator);
  for (int i = 0; i < 500; ++i) {
    ASSERT_EQ(random.UniformFloat(-bound, bound), weights.data_ptr<float>()[i]);
  }
  at::Tensor probabilities = at::cat(
      {at::ones({10}), at::linspace(at::Scalar(0.1), at::Scalar(1), 10)});
  probabilities = probabilities.div(probabilities.sum());
  const TorchMultinomial multinomial(std::vector<float>(
      probabilities.data_ptr<float>(), probabilities.data_ptr<float>() + 20));
  for (int repeat = 0; repeat < 50; ++repeat) {
    const at::Tensor draws =
        at::multinomial(probabilities, 127, true, generator);
    for (int i = 0; i < 127; ++i) {
      ASSERT_EQ(multinomial.Draw(random), draws.data_ptr<int64_t>()[i]);
    }
  }
}

// A whole batch, with P(l|n) normalised by LibTorch first.
TEST(AuthorsStreamsTest, BatchesAreTheOnesOfTheirProgram) {
  SequenceClassOptions options;
  options.num_queries = 3;
  options.next_per_query = 2;
  const SequenceClasses classes = *SequenceClasses::Create(options);
  const int vocab = classes.vocab_size();
  OneLayerTransformer<float> model(classes);
  AuthorsStreams streams(classes, 7);
  streams.Initialize(false, &model);
  at::Generator generator = at::detail::createCPUGenerator(9);
  const float bound = 1 / std::sqrt(static_cast<float>(vocab));
  const at::Tensor k1 = at::empty({vocab, vocab}, at::kFloat);
  const at::Tensor k2 = at::empty({vocab, vocab}, at::kFloat);
  k1.uniform_(-bound, bound, generator);
  k2.uniform_(-bound, bound, generator);
  for (int i = 0; i < vocab; ++i) {
    for (int j = 0; j < vocab; ++j) {
      ASSERT_EQ(model.y()[i * vocab + j], k1.data_ptr<float>()[j * vocab + i]);
      ASSERT_EQ(model.z()[i * vocab + j], k2.data_ptr<float>()[i * vocab + j]);
    }
  }
  at::Tensor probabilities = at::cat(
      {at::ones({10}), at::linspace(at::Scalar(0.1), at::Scalar(1), 10)});
  probabilities = probabilities.div(probabilities.sum());
  PythonRandom python(7);
  const Batch<float> batch = streams.Draw(128, 128);
  for (int b = 0; b < 128; ++b) {
    ASSERT_EQ(batch.classes[b], python.Choice(6));
    std::vector<float> counts(20, 0);
    const at::Tensor draws =
        at::multinomial(probabilities, 127, true, generator);
    for (int t = 0; t < 127; ++t) counts[draws.data_ptr<int64_t>()[t]] += 1;
    for (int i = 0; i < 20; ++i) ASSERT_EQ(batch.counts[b * 20 + i], counts[i]);
  }
}

TEST(AuthorsStreamsTest, ZeroInitialisationStillDraws) {
  const SequenceClasses classes =
      *SequenceClasses::Create(SequenceClassOptions{});
  OneLayerTransformer<float> zero(classes), uniform(classes);
  AuthorsStreams a(classes, 2), b(classes, 2);
  a.Initialize(true, &zero);
  b.Initialize(false, &uniform);
  for (float weight : zero.y()) EXPECT_EQ(weight, 0);
  EXPECT_EQ(a.Draw(4, 128).counts, b.Draw(4, 128).counts);
}

TEST(AuthorsStreamsTest, SeedsBeyond32BitsAreRefused) {
  RunOptions options;
  options.authors_streams = true;
  options.seed = uint64_t{1} << 32;
  EXPECT_EQ(Train(options).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace repro::scan_snap
