#include "papers/lightning_attention_2/lightning_attention_2.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>

#include "common/tensor/check.h"

namespace repro::lightning_attention_2 {
namespace {

void CheckInputs(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                 const at::Tensor& slopes, int64_t block_size) {
  ShapeChecker check;
  check(q, {"batch", "heads", "seq_len", "key_dim"}, "q");
  check(k, {"batch", "heads", "seq_len", "key_dim"}, "k");
  check(v, {"batch", "heads", "seq_len", "value_dim"}, "v");
  check(slopes, {"heads"}, "slopes");
  TORCH_CHECK(block_size >= 1, "block_size ", block_size,
              ", expected at least 1");
}

at::Tensor Transposed(const at::Tensor& x) { return x.transpose(-1, -2); }

// The factors of a block of `rows` rows, each broadcasting over
// [batch, heads, rows, dim]. Only differences that are not negative are
// exponentiated.
struct Factors {
  Factors(const at::Tensor& slopes, int64_t rows, Convention convention) {
    const int64_t first = convention == Convention::kAsPublished ? 1 : 0;
    const at::Tensor s = slopes.view({-1, 1, 1});
    const at::Tensor r = at::arange(first, first + rows, slopes.options());
    const at::Tensor difference = r.unsqueeze(1) - r;
    mask = at::exp(-s * difference.clamp_min(0)).tril();
    query = at::exp(-s * r.unsqueeze(1));
    key = at::exp(-s * (rows - r).unsqueeze(1));
    block = at::exp(-s * rows);
  }
  at::Tensor mask;   // M: lambda^(i - j) for i >= j, else 0
  at::Tensor query;  // Lambda
  at::Tensor key;    // lambda^B Lambda^{-1}
  at::Tensor block;  // lambda^B
};

}  // namespace

std::tuple<at::Tensor, at::Tensor> TiledForward(
    const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
    const at::Tensor& slopes, int64_t block_size, Convention convention) {
  CheckInputs(q, k, v, slopes, block_size);
  const at::Tensor s = slopes.to(q.options());
  at::Tensor kv =
      at::zeros({q.size(0), q.size(1), q.size(3), v.size(3)}, q.options());
  std::vector<at::Tensor> blocks = {v.narrow(2, 0, 0)};
  for (int64_t begin = 0; begin < q.size(2); begin += block_size) {
    const int64_t rows = std::min(block_size, q.size(2) - begin);
    const Factors factors(s, rows, convention);
    const at::Tensor q_block = q.narrow(2, begin, rows);
    const at::Tensor k_block = k.narrow(2, begin, rows);
    const at::Tensor v_block = v.narrow(2, begin, rows);
    const at::Tensor intra = at::matmul(
        at::matmul(q_block, Transposed(k_block)) * factors.mask, v_block);
    const at::Tensor inter = factors.query * at::matmul(q_block, kv);
    blocks.push_back(intra + inter);
    kv = factors.block * kv +
         at::matmul(Transposed(factors.key * k_block), v_block);
  }
  return {at::cat(blocks, 2), kv};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> TiledBackward(
    const at::Tensor& dout, const at::Tensor& q, const at::Tensor& k,
    const at::Tensor& v, const at::Tensor& slopes, int64_t block_size) {
  CheckInputs(q, k, v, slopes, block_size);
  TORCH_CHECK(dout.sizes() == v.sizes(), "dout is ", dout.sizes(),
              ", expected v's ", v.sizes());
  const at::Tensor s = slopes.to(q.options());
  const at::Tensor dq = at::zeros_like(q), dk = at::zeros_like(k),
                   dv = at::zeros_like(v);
  at::Tensor kv =
      at::zeros({q.size(0), q.size(1), q.size(3), v.size(3)}, q.options());
  at::Tensor dkv = kv;
  const int64_t blocks = (q.size(2) + block_size - 1) / block_size;
  const auto of_block = [&](int64_t index, const auto& visit) {
    const int64_t begin = index * block_size;
    const int64_t rows = std::min(block_size, q.size(2) - begin);
    const auto part = [&](const at::Tensor& x) {
      return x.narrow(2, begin, rows);
    };
    visit(Factors(s, rows, Convention::kAsCoded), part);
  };
  for (int64_t i = 0; i < blocks; ++i) {
    of_block(i, [&](const Factors& factors, const auto& part) {
      const at::Tensor pairs =
          at::matmul(part(dout), Transposed(part(v))) * factors.mask;
      part(dq).copy_(at::matmul(pairs, part(k)) +
                     factors.query * at::matmul(part(dout), Transposed(kv)));
      kv = factors.block * kv +
           at::matmul(Transposed(factors.key * part(k)), part(v));
    });
  }
  for (int64_t i = blocks - 1; i >= 0; --i) {
    of_block(i, [&](const Factors& factors, const auto& part) {
      const at::Tensor dpairs =
          at::matmul(part(dout), Transposed(part(v))) * factors.mask;
      const at::Tensor pairs =
          at::matmul(part(q), Transposed(part(k))) * factors.mask;
      part(dk).copy_(at::matmul(Transposed(dpairs), part(q)) +
                     factors.key * at::matmul(part(v), Transposed(dkv)));
      part(dv).copy_(at::matmul(Transposed(pairs), part(dout)) +
                     factors.key * at::matmul(part(k), dkv));
      dkv = factors.block * dkv +
            at::matmul(Transposed(factors.query * part(q)), part(dout));
    });
  }
  return {dq, dk, dv};
}

at::Tensor RepositorySlopes(int64_t heads) {
  TORCH_CHECK(heads >= 1, "slopes of ", heads, " heads, expected at least 1");
  int64_t power = 1;
  while (2 * power <= heads) power *= 2;
  std::vector<double> slopes;
  for (int64_t h = 0; h < power; ++h) {
    slopes.push_back(std::exp2(-8.0 * (h + 1) / power));
  }
  for (int64_t h = 0; slopes.size() < heads; h += 2) {
    slopes.push_back(std::exp2(-8.0 * (h + 1) / (2 * power)));
  }
  return at::tensor(slopes, at::kDouble);
}

int64_t MultiplyAdds(int64_t block_size, int64_t key_dim, int64_t value_dim) {
  return block_size * (key_dim + value_dim) + 2 * key_dim * value_dim;
}

double BenchmarkMebibytes(Attention attention, Phase phase,
                          const BenchmarkShape& shape, int repetitions) {
  TORCH_CHECK(attention != Attention::kCudnn,
              "the benchmark's memory has a closed form for Lightning "
              "Attention-2 and FlashAttention-2 alone");
  TORCH_CHECK(repetitions >= 1, "repetitions ", repetitions,
              ", expected at least 1");
  const auto allocated = [](int64_t bytes) {
    return static_cast<double>((bytes + 511) / 512 * 512);
  };
  const int64_t rows = shape.batch * shape.heads * shape.seq_len;
  const double t = allocated(rows * shape.head_dim * 2);
  const double l = allocated(rows * 4);
  const bool flash = attention == Attention::kFlash;
  // Both benchmarks make the slopes; one block of the allocator each.
  const double slopes = allocated(shape.heads * 4);
  const double random_state = flash ? allocated(8) : 0;
  const double small = slopes + random_state;
  if (phase == Phase::kForward) {
    return (4 * t + (flash ? l : 0) + small) / (1 << 20);
  }
  const double first = 8 * t + (flash ? 2 * l + 2 * t : 0) + small;
  return (first + 3 * t * (repetitions - 1) / repetitions) / (1 << 20);
}

}  // namespace repro::lightning_attention_2
