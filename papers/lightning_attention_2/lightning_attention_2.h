// The paper's tiling as it is printed and as it is coded, in readable form, and
// the closed forms of its cost. The fast operator is
// kernels/lightning_attention; models use that one.
//
//   o_t = sum_{j<=t} lambda^(t-j) (q_t . k_j) v_j,   lambda = e^{-s}
//
// without softmax, scale or denominator.
#ifndef REPRO_PAPERS_LIGHTNING_ATTENTION_2_LIGHTNING_ATTENTION_2_H_
#define REPRO_PAPERS_LIGHTNING_ATTENTION_2_LIGHTNING_ATTENTION_2_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <tuple>
#include <vector>

namespace repro::lightning_attention_2 {

// Where the decay of a block's state is counted from. Both give the same
// output: only products of a query's and a key's factor enter it.
enum class Convention {
  // Algorithm 1: rows r = 1 ... B, Lambda = diag(lambda^r); queries times
  // Lambda, keys times lambda^B Lambda^{-1}, so that KV is that after the
  // block's last token.
  kAsPublished,
  // The released kernel: rows r = 0 ... B - 1, queries times lambda^r, keys
  // times lambda^(B - r): KV holds one decay more, that of the next token.
  kAsCoded,
};

// The forward of algorithm 1. q, k: [batch, heads, seq_len, key_dim],
// v: [batch, heads, seq_len, value_dim], of one floating dtype; slopes:
// [heads], s >= 0; blocks of `block_size` rows, the last one possibly shorter.
// Returns the output, v's shape, and the KV that is left, [batch, heads,
// key_dim, value_dim]. Differentiable.
std::tuple<at::Tensor, at::Tensor> TiledForward(
    const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
    const at::Tensor& slopes, int64_t block_size, Convention convention);

// The backward of algorithm 2, in the released kernel's convention: one sweep
// forward for dq, with KV computed anew, and one back for dk and dv, with dKV.
// dout: v's shape. Returns dq, dk, dv.
std::tuple<at::Tensor, at::Tensor, at::Tensor> TiledBackward(
    const at::Tensor& dout, const at::Tensor& q, const at::Tensor& k,
    const at::Tensor& v, const at::Tensor& slopes, int64_t block_size);

// The slopes of the released code (ALiBi's), [heads] float64. For a power of
// two: 2^(-8 (h + 1) / heads), h from 0. Otherwise those of the largest power
// of two below, then every other one of twice that power.
at::Tensor RepositorySlopes(int64_t heads);

// Multiply-adds a token and head of the tiling: B (d + e) inside of the blocks
// and 2 d e for the state.
int64_t MultiplyAdds(int64_t block_size, int64_t key_dim, int64_t value_dim);

// What the repository's benchmark holds at most, in MiB, bfloat16, for equal
// head sizes of keys and values. With t bytes of q and l of the
// log-sum-exp (float32), each tensor rounded up to 512 by the allocator:
//   forward:  Lightning 4 t + slopes; FlashAttention-2 4 t + l + its two
//             scalars of random state;
//   backward: Lightning 8 t + slopes (q, k, v, o and their gradients);
//             FlashAttention-2 8 t + 2 l + 2 t (dq in float32) + random state.
// From the second repetition on the gradients of q, k and v of the one before
// are held too: 3 t, and the benchmark prints the mean of 20 repetitions.
struct BenchmarkShape {
  int64_t batch = 4, heads = 32, seq_len = 0, head_dim = 128;
};
enum class Attention {
  kLightning,
  kFlash,  // FlashAttention-2; here LibTorch's flash kernel
  kCudnn,  // LibTorch's call of cuDNN's, which the paper does not have
};
enum class Phase { kForward, kBackward };
double BenchmarkMebibytes(Attention attention, Phase phase,
                          const BenchmarkShape& shape, int repetitions = 20);

}  // namespace repro::lightning_attention_2

#endif  // REPRO_PAPERS_LIGHTNING_ATTENTION_2_LIGHTNING_ATTENTION_2_H_
