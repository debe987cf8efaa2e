#include "common/data/mqar.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/equal.h>

#include <cmath>
#include <map>
#include <set>
#include <vector>

#include "common/tensor/generator.h"
#include "gtest/gtest.h"

namespace repro {
namespace {

TEST(MqarTest, EveryKeyIsAskedOnceAndItsLabelIsItsValue) {
  MqarConfig config;
  config.seq_len = 128;
  config.num_pairs = 32;  // the query region is full
  const MqarExamples examples = GenerateMqar(config, 50, MakeGenerator(3));
  ASSERT_EQ(examples.inputs.sizes(), at::IntArrayRef({50, 128}));
  const auto inputs = examples.inputs.accessor<int64_t, 2>();
  const auto labels = examples.labels.accessor<int64_t, 2>();
  for (int64_t n = 0; n < 50; ++n) {
    std::map<int64_t, int64_t> value_of;
    for (int64_t i = 0; i < 32; ++i) {
      const int64_t key = inputs[n][2 * i], value = inputs[n][2 * i + 1];
      EXPECT_GE(key, 1);
      EXPECT_LT(key, 4096);
      EXPECT_GE(value, 4096);
      EXPECT_LT(value, 8192);
      value_of[key] = value;
    }
    EXPECT_EQ(value_of.size(), 32u);
    std::set<int64_t> asked;
    for (int64_t t = 0; t < 128; ++t) {
      if (labels[n][t] == -100) continue;
      EXPECT_GE(t, 64);
      EXPECT_EQ(t % 2, 0);
      ASSERT_EQ(value_of.count(inputs[n][t]), 1u);
      EXPECT_EQ(labels[n][t], value_of[inputs[n][t]]);
      asked.insert(inputs[n][t]);
    }
    EXPECT_EQ(asked.size(), 32u);
  }
}

// The first pair's gap is drawn first, so that however many pairs there are it
// has the stated distribution.
TEST(MqarTest, GapsFollowThePowerLaw) {
  for (const int64_t pairs : {1, 2}) {
    MqarConfig config;
    config.vocab_size = 64;
    config.seq_len = 16;
    config.num_pairs = pairs;
    config.power = 0.3;
    constexpr int64_t kExamples = 40000;
    const MqarExamples examples =
        GenerateMqar(config, kExamples, MakeGenerator(5));
    const int64_t space = (16 - 2 * pairs) / 2;
    double total = 0;
    for (int64_t i = 1; i <= space; ++i) total += std::pow(i, -0.7);
    const at::Tensor first = examples.inputs.select(1, 0).unsqueeze(1);
    for (int64_t g = 0; g < space; ++g) {
      const int64_t t = 2 * pairs + 2 * g;
      const double share = (examples.labels.select(1, t).ne(-100) &
                            examples.inputs.select(1, t).eq(first.squeeze(1)))
                               .sum()
                               .item<double>() /
                           kExamples;
      const double p = std::pow(g + 1, -0.7) / total;
      // Within five standard errors.
      EXPECT_NEAR(share, p, 5 * std::sqrt(p * (1 - p) / kExamples))
          << pairs << " pairs, gap " << g;
    }
  }
}

TEST(MqarTest, UnusedPlacesHoldTokensFromTheWholeVocabulary) {
  MqarConfig config;
  config.vocab_size = 32;
  const MqarExamples examples = GenerateMqar(config, 500, MakeGenerator(7));
  // Odd places of the query region are never a query.
  const at::Tensor noise =
      examples.inputs.slice(1, 9, std::nullopt, 2).contiguous();
  EXPECT_EQ(noise.min().item<int64_t>(), 0);
  EXPECT_EQ(noise.max().item<int64_t>(), 31);
  EXPECT_NEAR(noise.to(at::kDouble).mean().item<double>(), 15.5, 0.5);
}

TEST(MqarTest, SeedDecidesAndNoExamplesAreFine) {
  const MqarConfig config;
  const MqarExamples a = GenerateMqar(config, 9, MakeGenerator(1));
  const MqarExamples b = GenerateMqar(config, 9, MakeGenerator(1));
  const MqarExamples c = GenerateMqar(config, 9, MakeGenerator(2));
  EXPECT_TRUE(at::equal(a.inputs, b.inputs));
  EXPECT_TRUE(at::equal(a.labels, b.labels));
  EXPECT_FALSE(at::equal(a.inputs, c.inputs));
  EXPECT_EQ(GenerateMqar(config, 0, MakeGenerator(1)).inputs.sizes(),
            at::IntArrayRef({0, 64}));
}

TEST(MqarTest, SizesThatDoNotFitAreRefused) {
  const auto generate = [](int64_t vocab_size, int64_t seq_len, int64_t pairs) {
    MqarConfig config;
    config.vocab_size = vocab_size;
    config.seq_len = seq_len;
    config.num_pairs = pairs;
    GenerateMqar(config, 1, MakeGenerator(1));
  };
  EXPECT_THROW(generate(64, 15, 2), c10::Error);
  EXPECT_THROW(generate(64, 16, 5), c10::Error);
  EXPECT_THROW(generate(64, 16, 0), c10::Error);
  EXPECT_THROW(generate(8, 64, 4), c10::Error);
  EXPECT_NO_THROW(generate(10, 64, 4));
}

}  // namespace
}  // namespace repro
