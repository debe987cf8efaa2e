// The discrete sparse autoencoder of O'Neill and Bui 2024 (arXiv 2405.12522):
// what heads write, averaged over positions, becomes one integer code a head
// and example. As in the authors' code (src/sae.py, src/train.py).
//
//   auto model = TrainAutoencoder(vectors, {}, /*seed=*/0);
//   HeadCodes codes = FindCodes(*model, vectors);
//
// Wrong shapes and sizes throw c10::Error.
#ifndef REPRO_PAPERS_SAE_CIRCUITS_SPARSE_AUTOENCODER_H_
#define REPRO_PAPERS_SAE_CIRCUITS_SPARSE_AUTOENCODER_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

#include "common/nn/initializer.h"
#include "common/nn/module.h"
#include "papers/sae_circuits/circuit.h"

namespace repro::sae_circuits {

// a = relu(W_e (x - b) + b_e), x^ = W_d a + b. W_e: [num_features, dim], W_d:
// [dim, num_features], both with *rows* of norm 1 (in W_d these are not the
// dictionary's vectors, which are its columns). b starts at 0, b_e as
// torch.nn.Linear's bias, the matrices normal.
class SparseAutoencoder : public Module {
 public:
  SparseAutoencoder(int64_t dim, int64_t num_features, const Initializer& init);

  struct Output {
    at::Tensor activations;     // [..., num_features], not negative
    at::Tensor reconstruction;  // [..., dim]
  };
  // x: [..., dim]. First gives the rows norm 1 again, in place.
  Output Forward(const at::Tensor& x);

  // After backward: takes from each row's gradient its part along the row,
  // which only changes the norm.
  void ProjectGradients();

  int64_t dim() const { return decoder_.size(0); }
  int64_t num_features() const { return encoder_.size(0); }

 private:
  at::Tensor shared_bias_;   // "shared_bias": b [dim]
  at::Tensor encoder_;       // "encoder": W_e
  at::Tensor encoder_bias_;  // "encoder_bias": b_e [num_features]
  at::Tensor decoder_;       // "decoder": W_d
};

// Mean squared error over all entries + lambda * mean over vectors of |a|_1.
at::Tensor AutoencoderLoss(const SparseAutoencoder::Output& output,
                           const at::Tensor& x, double lambda);

// Defaults: the authors' main results for IOI and Greater-than; Docstring has
// lambda 0.05.
struct AutoencoderOptions {
  int64_t num_features = 200;
  int64_t train_examples = 10;
  int64_t steps = 500;  // of Adam, each on all vectors of those examples
  double rate = 1e-3;
  double lambda = 0.02;
};

// vectors: [examples, heads, dim]. `train_examples` of the examples are drawn,
// whatever their labels; on the vectors' device.
std::unique_ptr<SparseAutoencoder> TrainAutoencoder(
    const at::Tensor& vectors, const AutoencoderOptions& options,
    uint64_t seed);

// The feature with the largest activation, the first of equals: 0 where none is
// active. vectors: [examples, heads, dim], of which the first half are positive
// examples.
HeadCodes FindCodes(SparseAutoencoder& model, const at::Tensor& vectors);

}  // namespace repro::sae_circuits

#endif  // REPRO_PAPERS_SAE_CIRCUITS_SPARSE_AUTOENCODER_H_
