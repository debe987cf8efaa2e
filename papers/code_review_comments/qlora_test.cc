#include "papers/code_review_comments/qlora.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/count/parameters.h"
#include "common/nn/llama.h"
#include "common/tensor/generator.h"
#include "common/tensor/testing.h"
#include "papers/code_review_comments/tuning.h"

namespace repro::code_review_comments {
namespace {

using ::testing::HasSubstr;

// The quantile of N(0, 1) by bisection.
double NormalQuantile(double p) {
  double low = -10, high = 10;
  for (int i = 0; i < 200; ++i) {
    const double x = (low + high) / 2;
    (0.5 * std::erfc(-x / std::sqrt(2.0)) < p ? low : high) = x;
  }
  return low;
}

TEST(Nf4Levels, AreScaledNormalQuantiles) {
  // 8 quantiles above the middle and 7 below, evenly spaced in probability
  // between 1/2 and bitsandbytes' offset, scaled by the largest.
  const double offset = 0.9677083;
  std::vector<double> expected = {0};
  for (int i = 0; i < 8; ++i) {
    expected.push_back(NormalQuantile(offset + (0.5 - offset) * i / 8));
  }
  for (int i = 0; i < 7; ++i) {
    expected.push_back(-NormalQuantile(offset + (0.5 - offset) * i / 7));
  }
  std::sort(expected.begin(), expected.end());
  const double largest = expected.back();
  ASSERT_EQ(expected.size(), Nf4Levels().size());
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_NEAR(Nf4Levels()[i], expected[i] / largest, 2e-7) << i;
  }
}

TEST(DynamicLevels, AreBitsandbytes) {
  // Of bitsandbytes' create_dynamic_map().
  const std::vector<float> levels = DynamicLevels();
  ASSERT_EQ(levels.size(), 256);
  EXPECT_TRUE(std::is_sorted(levels.begin(), levels.end()));
  EXPECT_EQ(std::adjacent_find(levels.begin(), levels.end()), levels.end());
  EXPECT_FLOAT_EQ(levels[0], -0.99296875f);
  EXPECT_FLOAT_EQ(levels[1], -0.97890625f);
  EXPECT_FLOAT_EQ(levels[126], -5.5e-7f);
  EXPECT_EQ(levels[127], 0);
  EXPECT_FLOAT_EQ(levels[128], 5.5e-7f);
  EXPECT_FLOAT_EQ(levels[129], 3.25e-6f);
  EXPECT_FLOAT_EQ(levels[254], 0.99296875f);
  EXPECT_EQ(levels[255], 1);
}

// Level by level in float64, without packing or middles.
std::vector<double> QuantizeByHand(const std::vector<double>& weights,
                                   const std::vector<double>& levels,
                                   size_t block) {
  std::vector<double> values;
  for (size_t begin = 0; begin < weights.size(); begin += block) {
    const size_t end = std::min(begin + block, weights.size());
    double maximum = 0;
    for (size_t i = begin; i < end; ++i) {
      maximum = std::max(maximum, std::abs(weights[i]));
    }
    for (size_t i = begin; i < end; ++i) {
      double nearest = 0;
      for (const double level : levels) {
        if (std::abs(level * maximum - weights[i]) <
            std::abs(nearest - weights[i])) {
          nearest = level * maximum;
        }
      }
      values.push_back(nearest);
    }
  }
  return values;
}

std::vector<double> ToVector(const at::Tensor& x) {
  const at::Tensor flat = x.to(at::kDouble).flatten().contiguous();
  return {flat.const_data_ptr<double>(),
          flat.const_data_ptr<double>() + flat.numel()};
}

std::vector<double> Levels(FourBitType type) {
  if (type == FourBitType::kNf4) {
    return {Nf4Levels().begin(), Nf4Levels().end()};
  }
  std::vector<double> levels;
  for (int k = -7; k <= 7; ++k) levels.push_back(k / 7.0);
  return levels;
}

TEST(QuantizedTensor, TakesTheNearestLevel) {
  for (const FourBitType type : {FourBitType::kNf4, FourBitType::kInt4}) {
    // Full and partial blocks, an odd number of weights, one weight.
    for (const std::vector<int64_t>& shape :
         std::vector<std::vector<int64_t>>{{4, 64}, {7, 37}, {1}, {65}}) {
      QuantizationOptions options;
      options.type = type;
      options.double_quantize = false;
      const at::Tensor weight = RandomNormal(shape, 3, at::kFloat);
      const QuantizedTensor quantized(weight, options);
      const at::Tensor back = quantized.Dequantize();
      EXPECT_EQ(back.sizes(), weight.sizes());
      const std::vector<double> expected =
          QuantizeByHand(ToVector(weight), Levels(type), 64);
      const std::vector<double> values = ToVector(back);
      for (size_t i = 0; i < values.size(); ++i) {
        EXPECT_NEAR(values[i], expected[i], 1e-6);
      }
      EXPECT_EQ(quantized.Bytes(), QuantizedBytes(weight.numel(), options));
    }
  }
}

TEST(QuantizedTensor, KeepsZerosAndMaxima) {
  QuantizationOptions options;
  at::Tensor weight = RandomNormal({3, 64}, 4, at::kFloat);
  weight[1].zero_();
  for (const bool twice : {false, true}) {
    options.double_quantize = twice;
    const at::Tensor back = QuantizedTensor(weight, options).Dequantize();
    EXPECT_TRUE((back[1] == 0).all().item<bool>());
    const int64_t largest = weight[0].abs().argmax().item<int64_t>();
    const double error =
        std::abs((back[0][largest] - weight[0][largest]).item<double>());
    if (!twice) {
      EXPECT_EQ(error, 0);
    }
  }
  // A tensor of zeros.
  EXPECT_TRUE((QuantizedTensor(at::zeros({130}), options).Dequantize() == 0)
                  .all()
                  .item<bool>());
}

TEST(QuantizedTensor, DoubleQuantizationMovesConstantsByAnEighthBitStep) {
  // 600 blocks: two full constant blocks and a part of one.
  const at::Tensor weight = RandomNormal({600, 64}, 5, at::kFloat);
  QuantizationOptions options;
  const QuantizedTensor twice(weight, options);
  EXPECT_EQ(twice.Bytes(), 600 * 32 + 600 + 4 * 3 + 4);
  EXPECT_EQ(twice.Bytes(), QuantizedBytes(weight.numel(), options));
  // By hand: the constants, less their mean, by the dynamic levels.
  std::vector<double> maxima = ToVector(weight.abs().amax({1}));
  double mean = 0;
  for (const double m : maxima) mean += m / 600;
  for (double& m : maxima) m -= mean;
  const std::vector<float> levels = DynamicLevels();
  const std::vector<double> constants = QuantizeByHand(
      maxima, std::vector<double>(levels.begin(), levels.end()), 256);
  options.double_quantize = false;
  const at::Tensor once = QuantizedTensor(weight, options).Dequantize();
  const std::vector<double> expected = ToVector(once);
  const std::vector<double> values = ToVector(twice.Dequantize());
  for (size_t i = 0; i < values.size(); ++i) {
    const size_t b = i / 64;
    // The same level times the other constant.
    EXPECT_NEAR(values[i],
                expected[i] / (maxima[b] + mean) * (constants[b] + mean), 1e-5);
  }
}

TEST(QuantizedTensor, RefusesWhatItCannotHold) {
  QuantizationOptions options;
  EXPECT_THROW(QuantizedTensor(at::zeros({0}), options), c10::Error);
  EXPECT_THROW(QuantizedTensor(at::zeros({4}, at::kLong), options), c10::Error);
  EXPECT_THROW(
      QuantizedTensor(at::full({4}, std::numeric_limits<float>::infinity()),
                      options),
      c10::Error);
  options.block = 0;
  EXPECT_THROW(QuantizedTensor(at::zeros({4}), options), c10::Error);
}

LoraOptions SmallLora(bool quantize) {
  LoraOptions options;
  options.rank = 3;
  options.alpha = 6;
  if (quantize) options.quantization.emplace();
  return options;
}

TEST(Projection, BeginsAsItsBaseAndMerges) {
  const at::Tensor weight = RandomNormal({10, 16}, 6, at::kFloat);
  const at::Tensor x = RandomNormal({2, 5, 16}, 7, at::kFloat);
  for (const bool quantize : {false, true}) {
    const Projection projection(weight, SmallLora(quantize),
                                Initializer(MakeGenerator(1)));
    EXPECT_THAT(projection.Forward(x),
                IsIdenticalTo(at::linear(x, projection.BaseWeight())));
    const at::NoGradGuard no_grad;
    auto parameters = projection.NamedParameters();
    ASSERT_EQ(parameters.size(), 2);
    EXPECT_EQ(parameters[1].first, "lora_b");
    parameters[1].second.copy_(RandomNormal({10, 3}, 8, at::kFloat));
    EXPECT_THAT(projection.Forward(x),
                IsCloseTo(at::linear(x.to(at::kDouble),
                                     projection.MergedWeight().to(at::kDouble)),
                          1e-5, 1e-5));
    // W + (alpha / r) B A, one element by hand.
    const at::Tensor a = parameters[0].second, b = parameters[1].second;
    double sum = 0;
    for (int r = 0; r < 3; ++r) {
      sum += b[4][r].item<double>() * a[r][9].item<double>();
    }
    EXPECT_NEAR(projection.MergedWeight()[4][9].item<double>(),
                projection.BaseWeight()[4][9].item<double>() + 2 * sum, 1e-5);
  }
  EXPECT_THROW(Projection(at::zeros({4})), c10::Error);
  LoraOptions none = SmallLora(false);
  none.rank = 0;
  EXPECT_THROW(Projection(weight, none, Initializer(MakeGenerator(1))),
               c10::Error);
}

TEST(Projection, GradientsReachTheAdapterAlone) {
  const at::Tensor weight = RandomNormal({4, 5}, 9);
  Projection projection(
      weight, SmallLora(false),
      Initializer(MakeGenerator(2), at::TensorOptions(at::kDouble)));
  {
    const at::NoGradGuard no_grad;
    projection.Parameters()[1].copy_(RandomNormal({4, 3}, 10));
  }
  const at::Tensor x = RandomNormal({3, 5}, 11);
  // To its input, by differences.
  EXPECT_TRUE(CheckGradients(
      [&](const std::vector<at::Tensor>& v) {
        return projection.Forward(v[0]);
      },
      {x}));
  projection.Parameters()[0].mutable_grad().reset();
  projection.Parameters()[1].mutable_grad().reset();
  projection.Forward(x).sum().backward();
  const auto a = projection.Parameters()[0].detach().clone().requires_grad_();
  const auto b = projection.Parameters()[1].detach().clone().requires_grad_();
  at::linear(x, weight + 2.0 * b.matmul(a)).sum().backward();
  EXPECT_THAT(projection.Parameters()[0].grad(),
              IsCloseTo(a.grad(), 1e-10, 1e-10));
  EXPECT_THAT(projection.Parameters()[1].grad(),
              IsCloseTo(b.grad(), 1e-10, 1e-10));
  EXPECT_FALSE(projection.BaseWeight().requires_grad());
}

DecoderConfig SmallConfig() {
  return {
      /*vocab_size=*/20, /*dim=*/16,         /*num_layers=*/2,
      /*num_heads=*/4,   /*num_kv_heads=*/2, /*ffn_dim=*/24};
}

TEST(Decoder, EqualsTheLlamaOfCommon) {
  const Decoder decoder(SmallConfig(), Initializer(MakeGenerator(3)));
  LlamaConfig config;
  config.vocab_size = 20;
  config.dim = 16;
  config.num_layers = 2;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.ffn_dim = 24;
  config.tie_embeddings = true;
  const Llama llama(config, Initializer(MakeGenerator(4)));
  std::map<std::string, at::Tensor> ours;
  for (const auto& [name, value] : decoder.NamedParameters()) {
    ours[name] = value;
  }
  const at::NoGradGuard no_grad;
  for (auto& [name, value] : llama.NamedParameters()) {
    const std::string layer = name.substr(0, 6);
    if (name == "embedding") {
      value.copy_(ours.at("embedding"));
    } else if (name.find("qkv") != std::string::npos) {
      value.copy_(
          at::cat({ours.at(layer + ".q.weight"), ours.at(layer + ".k.weight"),
                   ours.at(layer + ".v.weight")}));
    } else if (name.find("gate_up") != std::string::npos) {
      value.copy_(at::cat(
          {ours.at(layer + ".gate.weight"), ours.at(layer + ".up.weight")}));
    } else if (name.find("output") != std::string::npos) {
      value.copy_(ours.at(layer + ".o.weight"));
    } else if (name.find("down") != std::string::npos) {
      value.copy_(ours.at(layer + ".down.weight"));
    }
  }
  const at::Tensor tokens =
      at::randint(20, {3, 9}, MakeGenerator(5), at::kLong);
  EXPECT_THAT(decoder.Forward(tokens),
              IsCloseTo(llama.Forward(tokens), 1e-4, 1e-6));
}

TEST(Decoder, AdaptersBeginAtTheBaseAndTrainNothingElse) {
  const Decoder base(SmallConfig(), Initializer(MakeGenerator(3)));
  const at::Tensor tokens = at::arange(12, at::kLong).view({2, 6});
  const Initializer init(MakeGenerator(6));
  Decoder adapted(base, SmallLora(false), init);
  EXPECT_THAT(adapted.Forward(tokens), IsIdenticalTo(base.Forward(tokens)));
  // 2 layers of r (in + out): q, o 32 each; k, v 24 each; gate, up, down 40.
  EXPECT_EQ(CountParameters(adapted), 2 * 3 * (2 * 32 + 2 * 24 + 3 * 40));
  for (const auto& [name, value] : adapted.NamedParameters()) {
    EXPECT_THAT(name, HasSubstr("lora_"));
  }
  adapted.Forward(tokens).sum().backward();
  for (const at::Tensor& parameter : base.Parameters()) {
    EXPECT_FALSE(parameter.grad().defined());
  }
  // A full copy is another model with the same values.
  Decoder copy(base, std::nullopt, init);
  EXPECT_EQ(CountParameters(copy), CountParameters(base));
  EXPECT_THAT(copy.Forward(tokens), IsIdenticalTo(base.Forward(tokens)));
  {
    const at::NoGradGuard no_grad;
    copy.Parameters()[0].zero_();
  }
  EXPECT_NE(base.Parameters()[0].abs().sum().item<double>(), 0);
  // Four bits move the logits a little.
  const Decoder quantized(base, SmallLora(true), init);
  EXPECT_THAT(quantized.Forward(tokens),
              RelativeErrorBelow(base.Forward(tokens), 0.3));
  EXPECT_FALSE(quantized.Forward(tokens).equal(base.Forward(tokens)));
  EXPECT_EQ(quantized.ProjectionWeights().size(), 14);
}

TEST(Decoder, SizesAreChecked) {
  DecoderConfig config = SmallConfig();
  config.num_kv_heads = 3;
  EXPECT_THROW(Decoder(config, Initializer::Meta()), c10::Error);
  config = SmallConfig();
  config.ffn_dim = 0;
  EXPECT_THROW(Decoder(config, Initializer::Meta()), c10::Error);
  const Decoder decoder(SmallConfig(), Initializer(MakeGenerator(3)));
  EXPECT_THROW(decoder.Forward(at::zeros({4}, at::kLong)), c10::Error);
}

TEST(Decoder, LlamasSizes) {
  // LLaMA 2 7B has 6,738,415,616 parameters and Llama 3 8B 8,030,261,248, each
  // with a head of its own.
  const DecoderConfig two = DecoderConfig::Llama2With7B();
  EXPECT_EQ(CountParameters(Decoder(two, Initializer::Meta())) +
                two.vocab_size * two.dim,
            6738415616);
  const DecoderConfig three = DecoderConfig::Llama3With8B();
  EXPECT_EQ(CountParameters(Decoder(three, Initializer::Meta())) +
                three.vocab_size * three.dim,
            8030261248);
}

// ---- Tuning ----------------------------------------------------------------

std::vector<PatchItem> SomePatches(int count) {
  std::vector<PatchItem> patches;
  for (int i = 0; i < count; ++i) {
    const std::string number = std::to_string(i);
    patches.push_back({"@@\n+x" + number, "why x" + number + "?", {}});
  }
  return patches;
}

TEST(InstructionText, HasItsThreeParts) {
  const std::string text = InstructionText("@@\n+a", "why?");
  std::string expected =
      "### Instruction:\nReview this change.\n### Input:\n@@\n+a\n"
      "### Output:\nwhy?\n";
  expected.push_back('\0');
  EXPECT_EQ(text, expected);
}

TEST(MakeTuningData, HoldsOutWhatIsTestedOn) {
  std::vector<PredictedItem> items(12);
  for (int i = 0; i < 12; ++i) {
    items[i].gold = "comment" + std::to_string(i);
  }
  const auto data = MakeTuningData(SomePatches(5), items);
  ASSERT_TRUE(data.ok()) << data.status();
  const auto text = [](const at::Tensor& tokens) {
    std::string bytes;
    for (const double token : ToVector(tokens)) {
      bytes.push_back(static_cast<char>(token));
    }
    return bytes;
  };
  EXPECT_EQ(text(data->pretraining),
            "@@\n+x0\ncomment5\ncomment6\ncomment7\n@@\n+x1\ncomment8\n"
            "comment9\ncomment10\ncomment11\n");
  EXPECT_EQ(text(data->tuning), InstructionText("@@\n+x2", "why x2?") +
                                    InstructionText("@@\n+x3", "why x3?"));
  EXPECT_EQ(text(data->held_out), InstructionText("@@\n+x4", "why x4?"));
  EXPECT_TRUE(
      absl::IsInvalidArgument(MakeTuningData(SomePatches(4), items).status()));
  EXPECT_TRUE(
      absl::IsInvalidArgument(MakeTuningData(SomePatches(12), items).status()));
}

TEST(CompareTuning, LearnsAndRepeats) {
  std::vector<PredictedItem> items(60);
  for (auto& item : items) item.gold = "plain words";
  const auto data = MakeTuningData(SomePatches(50), items);
  ASSERT_TRUE(data.ok());
  TuningOptions options;
  options.decoder = {
      /*vocab_size=*/256, /*dim=*/32,         /*num_layers=*/1,
      /*num_heads=*/2,    /*num_kv_heads=*/2, /*ffn_dim=*/64};
  options.rank = 2;
  options.alpha = 2;
  options.pretraining_steps = 20;
  options.tuning_steps = 30;
  options.full_rate = 5e-3;
  options.seq_len = 32;
  options.batch_size = 4;
  options.held_out_windows = 8;
  Grid grid;
  grid.seeds = {1, 2};
  const auto run = [&](const std::string& folder) {
    grid.checkpoint_dir = ::testing::TempDir() + folder;
    std::filesystem::create_directories(grid.checkpoint_dir);
    const auto outcomes =
        CompareTuning(*data, options, c10::Device(c10::kCPU), grid);
    EXPECT_TRUE(outcomes.ok()) << outcomes.status();
    return outcomes.value_or(std::vector<TuningOutcome>(2));
  };
  const auto outcomes = run("/tuning_a");
  ASSERT_EQ(outcomes.size(), 2);
  for (const TuningOutcome& outcome : outcomes) {
    EXPECT_LT(outcome.base, std::log(256.0) + 0.1);
    EXPECT_LT(outcome.full, outcome.base - 0.1);
    EXPECT_LT(outcome.lora, outcome.base);
    EXPECT_NE(outcome.lora, outcome.lora_nf4);
    EXPECT_NE(outcome.lora_int4, outcome.lora_nf4);
    // 2 (in + out) of q, k, v, o, gate, up, down over everything.
    EXPECT_NEAR(outcome.trained_share,
                2.0 * (4 * 64 + 3 * 96) /
                    (256 * 32 + 3 * 32 + 4 * 32 * 32 + 3 * 32 * 64),
                1e-12);
  }
  EXPECT_NE(outcomes[0].full, outcomes[1].full);
  const auto again = run("/tuning_b");
  EXPECT_EQ(outcomes[0].lora_nf4, again[0].lora_nf4);
  EXPECT_EQ(outcomes[1].base, again[1].base);
}

TEST(CompareTuning, StopsWhenCancelled) {
  std::vector<PredictedItem> items(60);
  for (auto& item : items) item.gold = "plain words";
  const auto data = MakeTuningData(SomePatches(50), items);
  TuningOptions options;
  options.seq_len = 32;
  options.held_out_windows = 2;
  Grid grid;
  grid.seeds = {1};
  grid.checkpoint_dir = ::testing::TempDir() + "/tuning_c";
  std::filesystem::create_directories(grid.checkpoint_dir);
  grid.cancelled = [] { return true; };
  EXPECT_TRUE(absl::IsCancelled(
      CompareTuning(*data, options, c10::Device(c10::kCPU), grid).status()));
}

}  // namespace
}  // namespace repro::code_review_comments
