#include "papers/flowformer/models.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <string>
#include <vector>

#include "common/count/parameters.h"
#include "common/tensor/generator.h"
#include "common/tensor/testing.h"

namespace repro::flowformer {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

AttentionChoice Choice(const std::string& name) {
  return *AttentionChoice::Named(name, FlowOptions::Core());
}

at::Tensor Random(at::IntArrayRef shape, uint64_t seed) {
  return at::randn(shape, MakeGenerator(seed), at::kFloat);
}

// Counts derived by hand: n(dim, hidden) of an encoder layer is
// 4 (dim^2 + dim) + 2 dim hidden + hidden + dim + 4 dim.
TEST(ModelsTest, SeriesClassifierParameters) {
  SeriesClassifierConfig config;
  config.features = 12;
  config.max_len = 26;
  config.classes = 9;
  const int64_t layer =
      4 * (512 * 512 + 512) + 2 * 512 * 2048 + 2048 + 512 + 4 * 512;
  EXPECT_EQ(
      CountParameters(SeriesClassifier(config, Initializer::Meta())),
      (12 * 512 + 512) + 26 * 512 + 2 * layer + 2 * 512 + (26 * 512 * 9 + 9));
}

TEST(ModelsTest, SeriesClassifierZeroesPaddingOnlyAtTheEnd) {
  SeriesClassifierConfig config;
  config.features = 3;
  config.max_len = 5;
  config.classes = 4;
  config.dim = 16;
  config.heads = 2;
  config.hidden = 8;
  const at::Tensor x = Random({2, 5, 3}, 1);
  for (const std::string& name : AttentionChoice::Names()) {
    config.attention = Choice(name);
    SeriesClassifier model(config, Initializer(MakeGenerator(2)));
    model.Train(false);
    const at::Tensor all = at::ones({2, 5});
    const at::Tensor logits = model.Forward(x, all, MakeGenerator(3));
    EXPECT_EQ(logits.sizes(), at::IntArrayRef({2, 4})) << name;
    // The output's weights of a masked step have no effect.
    const at::Tensor none = at::zeros({2, 5});
    EXPECT_THAT(model.Forward(x, none, MakeGenerator(3)),
                IsIdenticalTo(model.Forward(0 * x, none, MakeGenerator(3))));
    // What a padded step holds is seen by the attention: no mask there.
    at::Tensor padded = at::ones({2, 5});
    padded.select(1, 4).zero_();
    at::Tensor changed = x.clone();
    changed.select(1, 4).add_(1);
    EXPECT_THAT(
        model.Forward(changed, padded, MakeGenerator(3)),
        Not(IsCloseTo(model.Forward(x, padded, MakeGenerator(3)), 1e-6, 1e-6)))
        << name;
  }
}

TEST(ModelsTest, VisionForwardOnEveryStage) {
  VisionConfig config;
  config.image_size = 64;
  config.dims = {24, 24, 48, 48};
  config.depths = {1, 1, 2, 1};
  config.classes = 7;
  VisionFlowformer model(config, Initializer(MakeGenerator(4)));
  const at::Tensor images = Random({2, 3, 64, 64}, 5);
  const at::Tensor logits = model.Forward(images);
  EXPECT_EQ(logits.sizes(), at::IntArrayRef({2, 7}));
  // Images do not see each other.
  EXPECT_THAT(model.Forward(images.narrow(0, 1, 1)),
              IsCloseTo(logits.narrow(0, 1, 1), 1e-4, 1e-5));
  EXPECT_THROW(model.Forward(Random({2, 3, 32, 32}, 6)), c10::Error);
  config.image_size = 50;
  EXPECT_THROW(VisionFlowformer(config, Initializer::Meta()), c10::Error);
}

TEST(ModelsTest, GptIsCausalWithEachAttention) {
  GptConfig config = *GptConfig::Named("nano", 11, 8);
  const at::Tensor tokens =
      at::randint(11, {2, 8}, MakeGenerator(7), at::kLong);
  at::Tensor changed = tokens.clone();
  changed.select(1, 6).add_(1).remainder_(11);
  for (const std::string name : {"flow", "flow_no_competition",
                                 "flow_no_allocation", "softmax", "linear"}) {
    config.attention = Choice(name);
    FlowGpt model(config, Initializer(MakeGenerator(8)));
    model.Train(false);
    const at::Tensor a = model.Forward(tokens, MakeGenerator(9));
    const at::Tensor b = model.Forward(changed, MakeGenerator(9));
    EXPECT_EQ(a.sizes(), at::IntArrayRef({2, 8, 11}));
    EXPECT_THAT(b.narrow(1, 0, 6), IsCloseTo(a.narrow(1, 0, 6), 1e-4, 1e-6))
        << name;
    EXPECT_THAT(b.narrow(1, 6, 1), Not(IsCloseTo(a.narrow(1, 6, 1), 1e-3, 0)))
        << name;
  }
  EXPECT_THAT(std::string(GptConfig::Named("huge", 1, 1).status().message()),
              HasSubstr("mini, micro, nano"));
}

TEST(ModelsTest, SequenceClassifierReadsTheClassToken) {
  SequenceClassifierConfig config;
  config.vocabulary = 16;
  config.max_len = 12;
  config.dim = 8;
  config.hidden = 16;
  for (const std::string& name : AttentionChoice::Names()) {
    config.attention = Choice(name);
    SequenceClassifier model(config, Initializer(MakeGenerator(10)));
    model.Train(false);
    const at::Tensor tokens =
        at::randint(16, {3, 12}, MakeGenerator(11), at::kLong);
    const at::Tensor logits = model.Forward(tokens, MakeGenerator(12));
    EXPECT_EQ(logits.sizes(), at::IntArrayRef({3, 10})) << name;
    logits.sum().backward();
    for (const auto& [parameter, tensor] : model.NamedParameters()) {
      EXPECT_TRUE(tensor.grad().defined()) << name << " " << parameter;
    }
  }
}

// softmax(q k / sqrt(d)) v by LibTorch is common/nn's; the fourth rival has no
// other implementation here, so it is compared with its definition.
TEST(ModelsTest, CosformerEqualsItsDefinition) {
  const at::Tensor q = at::randn({5, 3}, MakeGenerator(13), at::kDouble),
                   k = at::randn({7, 3}, MakeGenerator(14), at::kDouble),
                   v = at::randn({7, 2}, MakeGenerator(15), at::kDouble);
  at::Tensor expected = at::zeros({5, 2}, at::kDouble);
  for (int64_t i = 0; i < 5; ++i) {
    double mass = 0;
    at::Tensor sum = at::zeros({2}, at::kDouble);
    for (int64_t j = 0; j < 7; ++j) {
      const double weight = (q[i].relu() * k[j].relu()).sum().item<double>() *
                            std::cos(std::acos(-1.0) / 2 * (i - j) / 7);
      mass += weight;
      sum = sum + weight * v[j];
    }
    expected[i] = sum / std::max(mass, 1e-6);
  }
  EXPECT_THAT(CosformerAttention(q, k, v), IsCloseTo(expected, 1e-10, 1e-12));
}

TEST(ModelsTest, UnknownAttention) {
  const auto choice = AttentionChoice::Named("flw", FlowOptions::Core());
  EXPECT_THAT(std::string(choice.status().message()),
              HasSubstr("flow_no_allocation"));
  EXPECT_THROW(Attend(Choice("cosformer"), true, Random({1, 1, 2, 2}, 1),
                      Random({1, 1, 2, 2}, 2), Random({1, 1, 2, 2}, 3)),
               c10::Error);
}

}  // namespace
}  // namespace repro::flowformer
