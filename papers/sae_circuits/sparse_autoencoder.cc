#include "papers/sae_circuits/sparse_autoencoder.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/randperm.h>
#include <ATen/ops/relu.h>
#include <c10/util/Exception.h>

#include <vector>

#include "common/tensor/check.h"
#include "common/tensor/generator.h"
#include "common/train/optimizer.h"

namespace repro::sae_circuits {
namespace {

// Streams of a seed.
constexpr uint64_t kWeights = 0, kExamples = 1;

// As torch.nn.functional.normalize.
at::Tensor UnitRows(const at::Tensor& rows) {
  return rows / rows.norm(2, {-1}, /*keepdim=*/true).clamp_min(1e-12);
}

}  // namespace

SparseAutoencoder::SparseAutoencoder(int64_t dim, int64_t num_features,
                                     const Initializer& init) {
  TORCH_CHECK(dim > 0 && num_features > 0, "autoencoder: ", num_features,
              " features of dim ", dim);
  shared_bias_ = AddParameter("shared_bias", init.Zeros({dim}));
  encoder_ =
      AddParameter("encoder", UnitRows(init.Normal({num_features, dim}, 1)));
  encoder_bias_ =
      AddParameter("encoder_bias", init.UniformFanIn({num_features}, dim));
  decoder_ =
      AddParameter("decoder", UnitRows(init.Normal({dim, num_features}, 1)));
}

SparseAutoencoder::Output SparseAutoencoder::Forward(const at::Tensor& x) {
  TORCH_CHECK(x.dim() >= 1 && x.size(-1) == dim(),
              "x: expected [..., dim=", dim(), "], got ", x.sizes());
  {
    at::NoGradGuard no_grad;
    for (const at::Tensor* matrix : {&encoder_, &decoder_}) {
      matrix->copy_(UnitRows(*matrix));
    }
  }
  Output output;
  output.activations =
      at::relu(at::linear(x - shared_bias_, encoder_, encoder_bias_));
  output.reconstruction =
      at::linear(output.activations, decoder_) + shared_bias_;
  return output;
}

void SparseAutoencoder::ProjectGradients() {
  at::NoGradGuard no_grad;
  for (const at::Tensor* matrix : {&encoder_, &decoder_}) {
    at::Tensor gradient = matrix->grad();
    TORCH_CHECK(gradient.defined(), "ProjectGradients: backward comes first");
    const at::Tensor along = (gradient * *matrix).sum(-1, /*keepdim=*/true);
    gradient.sub_(along * UnitRows(*matrix));
  }
}

at::Tensor AutoencoderLoss(const SparseAutoencoder::Output& output,
                           const at::Tensor& x, double lambda) {
  return (output.reconstruction - x).square().mean() +
         lambda * output.activations.abs().sum(-1).mean();
}

std::unique_ptr<SparseAutoencoder> TrainAutoencoder(
    const at::Tensor& vectors, const AutoencoderOptions& options,
    uint64_t seed) {
  CheckShape(vectors, {"examples", "heads", "dim"}, "vectors");
  CheckFloating(vectors, "vectors");
  TORCH_CHECK(options.train_examples >= 1 &&
                  options.train_examples <= vectors.size(0) &&
                  options.steps >= 0,
              "autoencoder: ", options.train_examples, " training examples of ",
              vectors.size(0), ", ", options.steps, " steps");
  auto model = std::make_unique<SparseAutoencoder>(
      vectors.size(2), options.num_features,
      Initializer(MakeGenerator(seed, kWeights), vectors.options()));
  const at::Tensor order =
      at::randperm(vectors.size(0), MakeGenerator(seed, kExamples),
                   at::TensorOptions().dtype(at::kLong));
  const at::Tensor x =
      vectors
          .index_select(
              0,
              order.narrow(0, 0, options.train_examples).to(vectors.device()))
          .flatten(0, 1);
  AdamOptions adam;
  adam.rate = options.rate;
  const std::unique_ptr<Optimizer> optimizer =
      MakeAdam(model->Parameters(), adam);
  for (int64_t step = 0; step < options.steps; ++step) {
    optimizer->ZeroGradients();
    AutoencoderLoss(model->Forward(x), x, options.lambda).backward();
    model->ProjectGradients();
    optimizer->Step();
  }
  return model;
}

HeadCodes FindCodes(SparseAutoencoder& model, const at::Tensor& vectors) {
  CheckShape(vectors, {"examples", "heads", model.dim()}, "vectors");
  at::NoGradGuard no_grad;
  HeadCodes codes;
  codes.num_examples = vectors.size(0);
  codes.num_heads = vectors.size(1);
  if (vectors.numel() == 0) return codes;
  std::vector<at::Tensor> parts;
  for (const at::Tensor& part : vectors.split(64)) {
    parts.push_back(model.Forward(part).activations.argmax(-1));
  }
  const at::Tensor all = at::cat(parts).to(at::kCPU).contiguous();
  codes.codes.assign(all.const_data_ptr<int64_t>(),
                     all.const_data_ptr<int64_t>() + all.numel());
  return codes;
}

}  // namespace repro::sae_circuits
