#include "kernels/taylor_linear_attention/taylor_linear_attention_cuda.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <tuple>

namespace repro {
namespace {

using OptionalTensor = std::optional<at::Tensor>;

constexpr int64_t kVector = 8;  // values of 16 bytes

TaylorType TypeOf(const at::Tensor& q) {
  TORCH_CHECK(q.scalar_type() == at::kHalf || q.scalar_type() == at::kBFloat16,
              "taylor_linear_attention: q is ", q.dtype(),
              ", expected bfloat16 or float16 on CUDA");
  return q.scalar_type() == at::kHalf ? TaylorType::kHalf
                                      : TaylorType::kBFloat16;
}

void CheckSizes(const at::Tensor& q) {
  TORCH_CHECK(q.size(-1) <= kTaylorKeyDim, "taylor_linear_attention: q is ",
              q.sizes(), ", on CUDA key_dim is at most ", kTaylorKeyDim);
  TORCH_CHECK(q.size(0) * q.size(1) <= std::numeric_limits<int32_t>::max(),
              "taylor_linear_attention: q is ", q.sizes(),
              ", on CUDA batch times heads is at most 2^31 - 1");
}

int64_t PaddedValueDim(const at::Tensor& v) {
  return std::max((v.size(-1) + kVector - 1) / kVector * kVector, kVector);
}

// x with zeros up to `width` on the last axis.
at::Tensor Padded(const at::Tensor& x, int64_t width) {
  return x.size(-1) == width
             ? x
             : at::constant_pad_nd(x, {0, width - x.size(-1)}, 0);
}

// The same as 16-byte vectors: itself if it can be read so.
at::Tensor Vectors(const at::Tensor& x, int64_t width) {
  at::Tensor out = Padded(x, width);
  bool aligned = out.stride(-1) == 1 &&
                 reinterpret_cast<uintptr_t>(out.const_data_ptr()) % 16 == 0;
  for (int64_t axis = 0; axis < 3; ++axis) {
    aligned &= out.size(axis) <= 1 || out.stride(axis) % kVector == 0;
  }
  return aligned ? out : out.clone(at::MemoryFormat::Contiguous);
}

TaylorMatrix Matrix(const at::Tensor& x) {
  const auto stride = [&](int64_t axis) {
    return x.size(axis) <= 1 ? 0 : x.stride(axis);
  };
  return {x.const_data_ptr(), stride(0), stride(1), stride(2)};
}

// From the last token to the first.
TaylorMatrix Reversed(const at::Tensor& x) {
  TaylorMatrix m = Matrix(x);
  m.data = static_cast<const char*>(m.data) +
           (x.size(2) - 1) * m.token_stride * x.itemsize();
  m.token_stride = -m.token_stride;
  return m;
}

TaylorSizes Sizes(const at::Tensor& q, const at::Tensor& v) {
  TaylorSizes sizes;
  sizes.batch = q.size(0);
  sizes.heads = q.size(1);
  sizes.seq_len = q.size(2);
  sizes.key_dim = static_cast<int>(q.size(3));
  sizes.value_dim = static_cast<int>(PaddedValueDim(v));
  sizes.type = TypeOf(q);
  sizes.stream = c10::cuda::getCurrentCUDAStream();
  return sizes;
}

// The initial state, its columns padded as v's; keeps what it points to.
struct InitialState {
  InitialState(const OptionalTensor& initial_kv,
               const OptionalTensor& initial_k, const at::Tensor& v) {
    if (!initial_kv.has_value()) return;
    kv = Padded(*initial_kv, PaddedValueDim(v)).contiguous();
    k = initial_k->contiguous();
    sums = {kv.mutable_data_ptr<float>(), k.mutable_data_ptr<float>()};
  }
  at::Tensor kv, k;
  TaylorSums sums = {nullptr, nullptr};
};

at::Tensor Workspace(const TaylorSegments& segments, const at::Tensor& q) {
  return at::empty({segments.workspace}, q.options().dtype(at::kFloat));
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> Forward(
    const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
    bool normalize, double eps, const OptionalTensor& initial_kv,
    const OptionalTensor& initial_k) {
  CheckSizes(q);
  const c10::cuda::CUDAGuard guard(q.device());
  const int64_t batch = q.size(0), heads = q.size(1), length = q.size(2);
  const int64_t d = q.size(3), value_dim = v.size(3);
  const int64_t features = 1 + d + d * d, padded = PaddedValueDim(v);
  TaylorForwardParams params;
  params.sizes = Sizes(q, v);
  const at::TensorOptions wide = q.options().dtype(at::kFloat);
  at::Tensor y = at::empty({batch, heads, length, padded}, v.options());
  at::Tensor denominator = at::empty({0}, wide);
  if (normalize) denominator = at::empty({batch, heads, length}, wide);
  if (batch * heads * length == 0) {
    const auto copy = [&](const OptionalTensor& state, at::IntArrayRef sizes) {
      return state.has_value() ? state->clone(at::MemoryFormat::Contiguous)
                               : at::zeros(sizes, wide);
    };
    return {at::empty(v.sizes(), v.options()), denominator,
            copy(initial_kv, {batch, heads, features, value_dim}),
            copy(initial_k, {batch, heads, features})};
  }
  at::Tensor kv = at::empty({batch, heads, features, padded}, wide);
  const at::Tensor k_sum = at::empty({batch, heads, features}, wide);
  const at::Tensor queries = Vectors(q, kTaylorKeyDim),
                   keys = Vectors(k, kTaylorKeyDim),
                   values = Vectors(v, padded);
  const InitialState initial(initial_kv, initial_k, v);
  params.q = Matrix(queries);
  params.k = Matrix(keys);
  params.v = Matrix(values);
  params.y = Matrix(y);
  params.denominator =
      normalize ? denominator.mutable_data_ptr<float>() : nullptr;
  params.initial = initial.sums;
  params.last = {kv.mutable_data_ptr<float>(), k_sum.mutable_data_ptr<float>()};
  params.scale = 1 / std::sqrt(static_cast<float>(d));
  params.eps = static_cast<float>(eps);
  params.normalize = normalize;
  params.segments = TaylorForwardSegments(params.sizes);
  const at::Tensor workspace = Workspace(params.segments, q);
  params.workspace = workspace.mutable_data_ptr<float>();
  C10_CUDA_CHECK(TaylorForwardLaunch(params));
  if (padded != value_dim) {
    y = y.narrow(-1, 0, value_dim).contiguous();
    kv = kv.narrow(-1, 0, value_dim).contiguous();
  }
  return {y, denominator, kv, k_sum};
}

// dq or, over reversed sequences, dk: see TaylorGradientParams.
at::Tensor KeyGradient(TaylorGradientParams params, const at::Tensor& q,
                       bool reversed) {
  const TaylorSizes& sizes = params.sizes;
  const at::Tensor x =
      at::empty({TaylorValueBlocks(sizes.value_dim), sizes.batch, sizes.heads,
                 sizes.seq_len, kTaylorKeyDim},
                q.options().dtype(at::kFloat));
  params.x = x.mutable_data_ptr<float>();
  params.x_stride = reversed ? -kTaylorKeyDim : kTaylorKeyDim;
  params.scalar_stride = reversed ? -1 : 1;
  params.segments = TaylorGradientSegments(sizes);
  const at::Tensor workspace = Workspace(params.segments, q);
  params.workspace = workspace.mutable_data_ptr<float>();
  C10_CUDA_CHECK(TaylorGradientLaunch(params));
  const at::Tensor sum = x.size(0) == 1 ? x[0] : x.sum(0);
  return sum.narrow(-1, 0, q.size(-1))
      .to(q.scalar_type(), /*non_blocking=*/false, /*copy=*/false,
          at::MemoryFormat::Contiguous);
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> Backward(
    const at::Tensor& dy, const at::Tensor& q, const at::Tensor& k,
    const at::Tensor& v, const at::Tensor& y, const at::Tensor& denominator,
    bool normalize, const OptionalTensor& initial_kv,
    const OptionalTensor& initial_k) {
  CheckSizes(q);
  const c10::cuda::CUDAGuard guard(q.device());
  if (q.numel() == 0 || v.numel() == 0) {
    return {at::zeros_like(q), at::zeros_like(k), at::zeros_like(v)};
  }
  const TaylorSizes sizes = Sizes(q, v);
  const int64_t padded = sizes.value_dim;
  const float scale = 1 / std::sqrt(static_cast<float>(q.size(-1)));
  const at::Tensor queries = Vectors(q, kTaylorKeyDim),
                   keys = Vectors(k, kTaylorKeyDim),
                   values = Vectors(v, padded);
  at::Tensor g = Vectors(dy, padded), dz;
  if (normalize) {
    const at::Tensor dense_dy = g.contiguous(),
                     dense_y = Vectors(y, padded).contiguous(),
                     dense_denominator = denominator.contiguous();
    g = at::empty(dense_dy.sizes(), dense_dy.options());
    dz = at::empty(denominator.sizes(), denominator.options());
    TaylorScaleParams params;
    params.dy = dense_dy.const_data_ptr();
    params.y = dense_y.const_data_ptr();
    params.denominator = dense_denominator.const_data_ptr<float>();
    params.g = g.mutable_data_ptr();
    params.dz = dz.mutable_data_ptr<float>();
    params.rows = dz.numel();
    params.value_dim = sizes.value_dim;
    params.type = sizes.type;
    params.stream = sizes.stream;
    C10_CUDA_CHECK(TaylorScaleLaunch(params));
  }
  const float* scalars = normalize ? dz.const_data_ptr<float>() : nullptr;

  const InitialState initial(initial_kv, initial_k, v);
  TaylorGradientParams of_q;
  of_q.sizes = sizes;
  of_q.q = Matrix(queries);
  of_q.k = Matrix(keys);
  of_q.g = Matrix(g);
  of_q.w = Matrix(values);
  of_q.a = scalars;
  of_q.b = nullptr;
  of_q.has_scalars = normalize;
  of_q.initial = initial.sums;
  of_q.q_scale = scale;
  of_q.k_scale = 1;
  of_q.out_scale = scale;

  TaylorGradientParams of_k = of_q;
  of_k.q = Reversed(keys);
  of_k.k = Reversed(queries);
  of_k.g = Reversed(values);
  of_k.w = Reversed(g);
  of_k.a = nullptr;
  of_k.b = scalars;
  of_k.initial = {nullptr, nullptr};
  of_k.q_scale = 1;
  of_k.k_scale = scale;
  of_k.out_scale = 1;

  at::Tensor dv =
      at::empty({sizes.batch, sizes.heads, sizes.seq_len, padded}, v.options());
  TaylorForwardParams of_v;
  of_v.sizes = sizes;
  of_v.q = Reversed(keys);
  of_v.k = Reversed(queries);
  of_v.v = Reversed(g);
  of_v.y = Reversed(dv);
  of_v.denominator = nullptr;
  of_v.initial = {nullptr, nullptr};
  of_v.last = {nullptr, nullptr};
  of_v.scale = scale;
  of_v.eps = 0;
  of_v.normalize = false;
  of_v.segments = TaylorForwardSegments(sizes);
  const at::Tensor workspace = Workspace(of_v.segments, q);
  of_v.workspace = workspace.mutable_data_ptr<float>();
  C10_CUDA_CHECK(TaylorForwardLaunch(of_v));
  if (padded != v.size(-1)) dv = dv.narrow(-1, 0, v.size(-1)).contiguous();
  return {KeyGradient(of_q, q, /*reversed=*/false),
          KeyGradient(of_k, k, /*reversed=*/true), dv};
}

at::Tensor Step(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                const at::Tensor& kv, const at::Tensor& k_sum, bool normalize,
                double eps) {
  CheckSizes(q);
  const c10::cuda::CUDAGuard guard(q.device());
  const TaylorType type = TypeOf(q);
  at::Tensor y = at::empty(v.sizes(), v.options());
  if (q.numel() == 0) return y;
  const at::Tensor dense_q = q.contiguous(), dense_k = k.contiguous(),
                   dense_v = v.contiguous();
  TaylorStepParams params;
  params.q = dense_q.const_data_ptr();
  params.k = dense_k.const_data_ptr();
  params.v = dense_v.const_data_ptr();
  params.y = y.mutable_data_ptr();
  params.state = {kv.mutable_data_ptr<float>(),
                  k_sum.mutable_data_ptr<float>()};
  params.heads = q.size(0) * q.size(1);
  params.key_dim = static_cast<int>(q.size(-1));
  params.value_dim = static_cast<int>(v.size(-1));
  params.eps = static_cast<float>(eps);
  params.normalize = normalize;
  params.type = type;
  params.stream = c10::cuda::getCurrentCUDAStream();
  C10_CUDA_CHECK(TaylorStepLaunch(params));
  return y;
}

TORCH_LIBRARY_IMPL(repro, CUDA, m) {
  m.impl("taylor_linear_attention_forward", Forward);
  m.impl("taylor_linear_attention_backward", Backward);
  m.impl("taylor_linear_attention_step_unchecked", Step);
}

}  // namespace
}  // namespace repro
