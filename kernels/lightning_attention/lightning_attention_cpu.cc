// The chunked form: inside a chunk of C tokens the masked quadratic product,
// between chunks the state KV. With i, j = 0 ... C-1 the rows of a chunk,
//
//   O  = [(Q K^T) o M] V + diag(e^{-s(i+1)}) Q KV,  M_ij = e^{-s(i-j)} (i >= j)
//   KV <- e^{-sC} KV + (diag(e^{-s(C-1-i)}) K)^T V.
//
// Only differences of positions are exponentiated, so nothing overflows. The
// gradients are the same map on other operands (Backward).
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/baddbmm.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <torch/library.h>

#include <algorithm>
#include <optional>
#include <tuple>
#include <vector>

namespace repro {
namespace {

using OptionalTensor = std::optional<at::Tensor>;

constexpr int64_t kChunk = 64;

at::ScalarType AccumulationType(const at::Tensor& x) {
  return x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

// e^{-s |i - j|} on and below the diagonal (reverse: above) and the factors of
// queries and keys, for all heads: [heads, rows, rows], [heads, rows, 1] twice.
struct Decays {
  Decays(const at::Tensor& slopes, int64_t rows, bool reverse) {
    const at::Tensor s = slopes.view({-1, 1, 1});
    const at::Tensor i = at::arange(rows, slopes.options());
    const at::Tensor distance = i.unsqueeze(1) - i;
    mask = at::exp(s * -distance.abs());
    mask = reverse ? mask.triu() : mask.tril();
    from_start = at::exp(-s * (i + 1).unsqueeze(1));
    to_end = at::exp(-s * (rows - 1 - i).unsqueeze(1));
    all = at::exp(-s * rows);
  }
  at::Tensor mask, from_start, to_end, all;
};

// One sweep over sequences of equal length. q, k: [batch, heads, n, key_dim],
// v: [batch, heads, n, value_dim], slopes: [heads], all of one dtype; updates
// state [batch, heads, key_dim, value_dim] and writes out, v's shape.
//
//   forward: S_t = e^{-s} S_{t-1} + k_t^T v_t,     o_t = q_t S_t
//   reverse: o_t = q_t (S_{t+1} + k_t^T v_t),      S_t = e^{-s} (S_{t+1} + ...)
//
// In reverse, state starts as S_n and ends as S_0: the gradient of the final
// and of the initial state.
void Sweep(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
           const at::Tensor& slopes, bool reverse, at::Tensor state,
           at::Tensor out) {
  const int64_t heads = q.size(1), length = q.size(2);
  if (q.numel() == 0 || v.numel() == 0) {
    if (v.numel() > 0) out.zero_();  // no key to sum over
    return;
  }
  const auto flat = [](const at::Tensor& x) {
    return x.contiguous().view({-1, x.size(-2), x.size(-1)});
  };
  // x [batch * heads, a, b] times factors [heads, ...], in place.
  const auto scale = [heads](const at::Tensor& x, const at::Tensor& factors) {
    x.view({-1, heads, x.size(-2), x.size(-1)}).mul_(factors);
  };
  const at::Tensor q_rows = flat(q), k_rows = flat(k), v_rows = flat(v);
  at::Tensor kv = flat(state);
  at::Tensor rows_out = at::empty_like(v_rows);
  const int64_t chunks = (length + kChunk - 1) / kChunk;
  const Decays full(slopes, std::min(kChunk, length), reverse);
  const Decays last(slopes, length - (chunks - 1) * kChunk, reverse);
  for (int64_t c = 0; c < chunks; ++c) {
    const int64_t chunk = reverse ? chunks - 1 - c : c;
    const int64_t start = chunk * kChunk;
    const int64_t rows = std::min(kChunk, length - start);
    const Decays& decays = chunk == chunks - 1 ? last : full;
    const at::Tensor queries = q_rows.narrow(1, start, rows);
    const at::Tensor keys = k_rows.narrow(1, start, rows);
    const at::Tensor values = v_rows.narrow(1, start, rows);
    const at::Tensor scores = at::bmm(queries, keys.transpose(1, 2));
    scale(scores, decays.mask);
    const at::Tensor inter = at::bmm(queries, kv);
    scale(inter, reverse ? decays.to_end : decays.from_start);
    rows_out.narrow(1, start, rows).copy_(at::baddbmm(inter, scores, values));
    const at::Tensor scaled_keys = keys.contiguous().clone();
    scale(scaled_keys, reverse ? decays.from_start : decays.to_end);
    scale(kv, decays.all);
    kv.baddbmm_(scaled_keys.transpose(1, 2), values);
  }
  out.copy_(rows_out.view(out.sizes()));
  state.copy_(kv.view(state.sizes()));
}

// [first, last) of every sequence, from cu_seqlens.
std::vector<std::pair<int64_t, int64_t>> Sequences(const at::Tensor& cu_seqlens,
                                                   int64_t length) {
  const at::Tensor bounds = cu_seqlens.to(at::kLong).contiguous();
  const int64_t* bound = bounds.const_data_ptr<int64_t>();
  const int64_t sequences = bounds.numel() - 1;
  TORCH_CHECK(bound[0] == 0 && bound[sequences] == length,
              "lightning_attention: cu_seqlens runs from ", bound[0], " to ",
              bound[sequences], ", expected 0 to ", length);
  std::vector<std::pair<int64_t, int64_t>> result;
  for (int64_t i = 0; i < sequences; ++i) {
    TORCH_CHECK(bound[i] <= bound[i + 1],
                "lightning_attention: cu_seqlens descends from ", bound[i],
                " to ", bound[i + 1], " at ", i + 1);
    result.emplace_back(bound[i], bound[i + 1]);
  }
  return result;
}

// Sweep over the whole batch, or over each sequence of cu_seqlens.
void SweepAll(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
              const at::Tensor& slopes, const OptionalTensor& cu_seqlens,
              bool reverse, const at::Tensor& state, const at::Tensor& out) {
  if (!cu_seqlens.has_value()) {
    Sweep(q, k, v, slopes, reverse, state, out);
    return;
  }
  const auto sequences = Sequences(*cu_seqlens, q.size(2));
  for (size_t i = 0; i < sequences.size(); ++i) {
    const auto [first, last] = sequences[i];
    const auto part = [first = first, last = last](const at::Tensor& x) {
      return x.narrow(2, first, last - first);
    };
    Sweep(part(q), part(k), part(v), slopes, reverse, state.narrow(0, i, 1),
          part(out));
  }
}

// A new state: a copy of `initial` or zeros.
at::Tensor NewState(const OptionalTensor& initial, const at::Tensor& q,
                    const at::Tensor& v, const OptionalTensor& cu_seqlens) {
  const at::ScalarType type = AccumulationType(q);
  if (initial.has_value()) {
    return initial->to(type, /*non_blocking=*/false, /*copy=*/true)
        .contiguous();
  }
  const int64_t sequences =
      cu_seqlens.has_value() ? cu_seqlens->size(0) - 1 : q.size(0);
  return at::zeros({sequences, q.size(1), q.size(3), v.size(3)},
                   q.options().dtype(type));
}

std::tuple<at::Tensor, at::Tensor> Forward(
    const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
    const at::Tensor& decay, const OptionalTensor& initial_state,
    const OptionalTensor& cu_seqlens, bool output_final_state) {
  const at::ScalarType type = AccumulationType(q);
  at::Tensor state = NewState(initial_state, q, v, cu_seqlens);
  at::Tensor out = at::empty_like(v);
  SweepAll(q.to(type), k.to(type), v.to(type), decay.to(type), cu_seqlens,
           /*reverse=*/false, state, out);
  if (!output_final_state) state = at::empty({0}, state.options());
  return {out, state};
}

// With L the forward sweep and R the reverse one, and G the gradient that
// reaches the state: dq = L(dO, v, k) from KV_0^T, dv = R(k, q, dO) from dKV_n,
// dk = R(v, dO, q) from dKV_n^T; both end in dKV_0.
std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> Backward(
    const OptionalTensor& dout, const OptionalTensor& dstate,
    const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
    const at::Tensor& decay, const OptionalTensor& initial_state,
    const OptionalTensor& cu_seqlens) {
  const at::ScalarType type = AccumulationType(q);
  const at::Tensor wide_q = q.to(type), wide_k = k.to(type),
                   wide_v = v.to(type), slopes = decay.to(type);
  const at::Tensor wide_dout =
      dout.has_value() ? dout->to(type) : at::zeros_like(wide_v);
  const auto transposed = [](const at::Tensor& x) {
    return x.transpose(2, 3).clone(at::MemoryFormat::Contiguous);
  };
  at::Tensor dq = at::empty_like(q);
  at::Tensor dk = at::empty_like(k);
  at::Tensor dv = at::empty_like(v);
  SweepAll(wide_dout, wide_v, wide_k, slopes, cu_seqlens, /*reverse=*/false,
           transposed(NewState(initial_state, q, v, cu_seqlens)), dq);
  at::Tensor dkv = NewState(dstate, q, v, cu_seqlens);
  SweepAll(wide_v, wide_dout, wide_q, slopes, cu_seqlens, /*reverse=*/true,
           transposed(dkv), dk);
  SweepAll(wide_k, wide_q, wide_dout, slopes, cu_seqlens, /*reverse=*/true, dkv,
           dv);
  if (initial_state.has_value()) dkv = dkv.to(initial_state->scalar_type());
  return {dq, dk, dv, dkv};
}

at::Tensor Step(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                const at::Tensor& decay, at::Tensor state) {
  const at::ScalarType type = state.scalar_type();
  state.mul_(at::exp(decay.to(type).neg()).view({1, -1, 1, 1}));
  state.addcmul_(k.to(type).unsqueeze(3), v.to(type).unsqueeze(2));
  return at::matmul(q.to(type).unsqueeze(2), state)
      .squeeze(2)
      .to(q.scalar_type());
}

TORCH_LIBRARY_IMPL(repro, CPU, m) {
  m.impl("lightning_attention_forward", Forward);
  m.impl("lightning_attention_backward", Backward);
  m.impl("lightning_attention_step_unchecked", Step);
}

}  // namespace
}  // namespace repro
