#include "kernels/lightning_attention/lightning_attention_cuda.h"

#include <ATen/cuda/CUDAContextLight.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/library.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <tuple>
#include <vector>

namespace repro {
namespace {

using OptionalTensor = std::optional<at::Tensor>;

LightningType TypeOf(const at::Tensor& q) {
  TORCH_CHECK(q.scalar_type() == at::kHalf || q.scalar_type() == at::kBFloat16,
              "lightning_attention: ", q.dtype(),
              " on CUDA; supported are half and bfloat16");
  return q.scalar_type() == at::kHalf ? LightningType::kHalf
                                      : LightningType::kBFloat16;
}

// A dense last axis, and rows of whole 16-byte vectors.
bool Fits(const at::Tensor& x) {
  if (x.stride(-1) != 1 ||
      reinterpret_cast<uintptr_t>(x.const_data_ptr()) % 16 != 0) {
    return false;
  }
  for (int64_t axis = 0; axis < x.dim() - 1; ++axis) {
    if (x.size(axis) > 1 && (x.stride(axis) <= 0 || x.stride(axis) % 8 != 0)) {
      return false;
    }
  }
  return true;
}

// Columns [first, first + size) of x, zeros up to `padded`.
at::Tensor Columns(const at::Tensor& x, int64_t first, int64_t size,
                   int64_t padded) {
  at::Tensor part = x.narrow(-1, first, size);
  if (size < padded) return at::constant_pad_nd(part, {0, padded - size});
  return Fits(part) ? part : part.clone(at::MemoryFormat::Contiguous);
}

LightningTensor Describe(const at::Tensor& x) {
  LightningTensor result;
  result.data = x.data_ptr();
  result.batch_stride = x.stride(0);
  result.head_stride = x.stride(1);
  result.row_stride = x.stride(2);
  return result;
}

// The kernel's head sizes.
constexpr int64_t kLargest = 128;
int64_t Padded(int64_t dim) { return dim <= 64 ? 64 : kLargest; }

at::Tensor EmptyLike(const at::Tensor& x) {
  const at::Tensor result = at::empty_like(x);
  return Fits(result) ? result : at::empty(x.sizes(), x.options());
}

bool IsHopper() {
  const cudaDeviceProp* const device = at::cuda::getCurrentDeviceProperties();
  return device->major == 9 && device->minor == 0;
}

// One launch: q, k and v of the kernel's head sizes. initial: [sequences,
// heads, key_dim, value_dim] in float32, dense either in this order of axes or
// in that of its transpose; final: dense in the same order. second_q: for the
// pair of sweeps, or undefined. Returns the output and the second output.
std::tuple<at::Tensor, at::Tensor> Launch(
    const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
    const at::Tensor& second_q, const at::Tensor& decay,
    const OptionalTensor& cu_seqlens, bool reverse, const at::Tensor& initial,
    const at::Tensor& final) {
  const at::Tensor out = EmptyLike(v);
  const cudaDeviceProp* const device = at::cuda::getCurrentDeviceProperties();
  TORCH_CHECK(device->major >= 8, "lightning_attention: compute capability ",
              device->major, ".", device->minor, ", at least 8.0 is needed");
  LightningSweepParams params = {};
  params.q = Describe(q);
  params.k = Describe(k);
  params.v = Describe(v);
  params.out = Describe(out);
  at::Tensor second_out;
  if (second_q.defined()) {
    second_out = EmptyLike(k);
    params.second_q = Describe(second_q);
    params.second_out = Describe(second_out);
  }
  params.batch = static_cast<int>(q.size(0));
  params.heads = static_cast<int>(q.size(1));
  params.length = static_cast<int>(q.size(2));
  params.key_dim = static_cast<int>(q.size(3));
  params.value_dim = static_cast<int>(v.size(3));
  params.decay = decay.const_data_ptr<float>();
  params.reverse = reverse;
  params.initial_state =
      initial.defined() ? initial.const_data_ptr<float>() : nullptr;
  params.final_state =
      final.defined() ? final.mutable_data_ptr<float>() : nullptr;
  const bool transposed = initial.defined()
                              ? !initial.is_contiguous()
                              : final.defined() && !final.is_contiguous();
  params.state_key_stride = transposed ? 1 : params.value_dim;
  params.state_value_stride = transposed ? params.key_dim : 1;
  params.cu_seqlens =
      cu_seqlens.has_value() ? cu_seqlens->const_data_ptr() : nullptr;
  params.cu_seqlens_is_64 =
      cu_seqlens.has_value() && cu_seqlens->scalar_type() == at::kLong;
  params.sequences = cu_seqlens.has_value()
                         ? static_cast<int>(cu_seqlens->size(0)) - 1
                         : params.batch;
  params.multiprocessors = device->multiProcessorCount;
  params.hopper = IsHopper();
  params.type = TypeOf(q);
  params.stream = c10::cuda::getCurrentCUDAStream();
  at::Tensor workspace;
  const size_t bytes = LightningSweepWorkspace(params);
  if (bytes > 0) {
    workspace =
        at::empty({static_cast<int64_t>(bytes)}, q.options().dtype(at::kByte));
  }
  params.workspace = bytes > 0 ? workspace.mutable_data_ptr() : nullptr;
  C10_CUDA_CHECK(LightningSweepLaunch(params));
  return {out, second_out};
}

// What fits int in the kernel's arithmetic.
void CheckSize(const at::Tensor& q, int64_t sequences) {
  constexpr int64_t kMost = std::numeric_limits<int>::max() / 8;
  TORCH_CHECK(
      q.size(2) < kMost && (q.size(2) / 64 + 1 + sequences) * q.size(1) < kMost,
      "lightning_attention: q is ", q.sizes(), ", which is too large");
}

// A sweep over any head sizes, in parts of at most 128: over the values of v
// they are apart, over the keys their outputs add up. initial: any strides, or
// undefined. Returns the output and the state where it is wanted.
std::tuple<at::Tensor, at::Tensor> Sweep(
    const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
    const at::Tensor& decay, const OptionalTensor& cu_seqlens, bool reverse,
    const at::Tensor& initial, bool want_final) {
  TypeOf(q);
  const int64_t batch = q.size(0), heads = q.size(1);
  const int64_t key_dim = q.size(3), value_dim = v.size(3);
  const int64_t sequences =
      cu_seqlens.has_value() ? cu_seqlens->size(0) - 1 : batch;
  TORCH_CHECK(sequences > 0 || q.size(2) == 0 || batch == 0,
              "lightning_attention: cu_seqlens has no sequence for q ",
              q.sizes());
  CheckSize(q, sequences);
  const at::TensorOptions float_options = q.options().dtype(at::kFloat);
  const std::vector<int64_t> state_sizes = {sequences, heads, key_dim,
                                            value_dim};
  if (q.numel() == 0 || v.numel() == 0) {
    at::Tensor state;
    if (want_final) {
      state = initial.defined() ? initial.clone(at::MemoryFormat::Contiguous)
                                : at::zeros(state_sizes, float_options);
    }
    return {at::zeros_like(v), state};
  }
  const at::Tensor slopes = decay.contiguous();
  OptionalTensor bounds;
  if (cu_seqlens.has_value()) bounds = cu_seqlens->contiguous();

  std::vector<at::Tensor> outs, states;
  for (int64_t value = 0; value < value_dim; value += kLargest) {
    const int64_t values = std::min(kLargest, value_dim - value);
    const at::Tensor v_part = Columns(v, value, values, Padded(values));
    at::Tensor out;
    std::vector<at::Tensor> key_states;
    for (int64_t key = 0; key < key_dim; key += kLargest) {
      const int64_t keys = std::min(kLargest, key_dim - key);
      at::Tensor initial_part;
      if (initial.defined()) {
        initial_part = initial.narrow(2, key, keys).narrow(3, value, values);
        if (keys < Padded(keys) || values < Padded(values)) {
          initial_part = at::constant_pad_nd(
              initial_part,
              {0, Padded(values) - values, 0, Padded(keys) - keys});
        }
        if (want_final || !initial_part.transpose(2, 3).is_contiguous()) {
          initial_part = initial_part.contiguous();
        }
      }
      at::Tensor final_part;
      if (want_final) {
        final_part = at::empty({sequences, heads, Padded(keys), Padded(values)},
                               float_options);
      }
      const at::Tensor part =
          std::get<0>(Launch(Columns(q, key, keys, Padded(keys)),
                             Columns(k, key, keys, Padded(keys)), v_part,
                             /*second_q=*/at::Tensor(), slopes, bounds, reverse,
                             initial_part, final_part));
      if (key_dim <= kLargest) {
        out = part;
      } else {
        out = out.defined() ? out.add_(part) : part.to(at::kFloat);
      }
      if (want_final) {
        key_states.push_back(
            final_part.narrow(2, 0, keys).narrow(3, 0, values));
      }
    }
    outs.push_back(out.to(v.scalar_type()).narrow(3, 0, values));
    if (want_final) {
      states.push_back(key_states.size() == 1 ? key_states[0]
                                              : at::cat(key_states, 2));
    }
  }
  at::Tensor state;
  if (want_final) {
    state = states.size() == 1 ? states[0].contiguous() : at::cat(states, 3);
  }
  return {outs.size() == 1 ? outs[0] : at::cat(outs, 3), state};
}

at::Tensor OrEmpty(const at::Tensor& x, const at::Tensor& like) {
  return x.defined() ? x : at::empty({0}, like.options().dtype(at::kFloat));
}

std::tuple<at::Tensor, at::Tensor> Forward(
    const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
    const at::Tensor& decay, const OptionalTensor& initial_state,
    const OptionalTensor& cu_seqlens, bool output_final_state) {
  const c10::cuda::CUDAGuard guard(q.device());
  const auto [out, state] =
      Sweep(q, k, v, decay, cu_seqlens, /*reverse=*/false,
            initial_state.value_or(at::Tensor()), output_final_state);
  return {out, OrEmpty(state, q)};
}

// dk = R(v, dO, q) and dv = R(k, q, dO) in one launch; the state is the
// transpose of dKV. Returns what Backward does.
std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor>
GradientsOfKeysAndValues(const at::Tensor& dout, const at::Tensor& dq,
                         const at::Tensor& q, const at::Tensor& k,
                         const at::Tensor& v, const at::Tensor& decay,
                         const OptionalTensor& dstate, bool want_initial,
                         const OptionalTensor& cu_seqlens) {
  const auto whole = [](const at::Tensor& x) {
    return Columns(x, 0, kLargest, kLargest);
  };
  OptionalTensor bounds;
  if (cu_seqlens.has_value()) bounds = cu_seqlens->contiguous();
  at::Tensor state;
  if (dstate.has_value()) state = dstate->contiguous().transpose(2, 3);
  at::Tensor dinitial;
  if (want_initial) {
    dinitial =
        at::empty({cu_seqlens.has_value() ? cu_seqlens->size(0) - 1 : q.size(0),
                   q.size(1), kLargest, kLargest},
                  q.options().dtype(at::kFloat));
  }
  const auto [dk, dv] =
      Launch(whole(v), whole(dout), whole(q), whole(k), decay.contiguous(),
             bounds, /*reverse=*/true, state,
             want_initial ? dinitial.transpose(2, 3) : at::Tensor());
  return {dq, dk, dv, OrEmpty(dinitial, q)};
}

// As lightning_attention_cpu.cc's: the sweep on other operands.
std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor> Backward(
    const OptionalTensor& dout, const OptionalTensor& dstate,
    const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
    const at::Tensor& decay, const OptionalTensor& initial_state,
    const OptionalTensor& cu_seqlens) {
  const c10::cuda::CUDAGuard guard(q.device());
  const at::Tensor gradient = dout.has_value() ? *dout : at::zeros_like(v);
  const auto transposed = [](const OptionalTensor& x) {
    return x.has_value() ? x->transpose(2, 3) : at::Tensor();
  };
  const at::Tensor dq =
      std::get<0>(Sweep(gradient, v, k, decay, cu_seqlens, /*reverse=*/false,
                        transposed(initial_state), /*want_final=*/false));
  if (IsHopper() && q.size(3) == kLargest && v.size(3) == kLargest &&
      q.numel() > 0) {
    return GradientsOfKeysAndValues(gradient, dq, q, k, v, decay, dstate,
                                    initial_state.has_value(), cu_seqlens);
  }
  const at::Tensor dk =
      std::get<0>(Sweep(v, gradient, q, decay, cu_seqlens, /*reverse=*/true,
                        transposed(dstate), /*want_final=*/false));
  const auto [dv, dinitial_state] =
      Sweep(k, q, gradient, decay, cu_seqlens, /*reverse=*/true,
            dstate.value_or(at::Tensor()), initial_state.has_value());
  return {dq, dk, dv, OrEmpty(dinitial_state, q)};
}

at::Tensor Step(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                const at::Tensor& decay, at::Tensor state) {
  const c10::cuda::CUDAGuard guard(q.device());
  const at::Tensor out = at::empty(v.sizes(), v.options());
  const int64_t blocks = q.size(0) * q.size(1);
  TORCH_CHECK(blocks <= std::numeric_limits<int>::max() &&
                  state.numel() / std::max<int64_t>(blocks, 1) <=
                      std::numeric_limits<int>::max(),
              "lightning_attention_step: state is ", state.sizes(),
              ", which is too large");
  if (v.numel() == 0) return out;
  const auto dense = [](const at::Tensor& x) {
    return x.stride(-1) == 1 ? x : x.contiguous();
  };
  const at::Tensor dense_q = dense(q), dense_k = dense(k), dense_v = dense(v);
  const at::Tensor slopes = decay.contiguous();
  const auto describe = [](const at::Tensor& x) {
    return LightningTensor{x.data_ptr(), x.stride(0), x.stride(1), 0};
  };
  LightningStepParams params;
  params.q = describe(dense_q);
  params.k = describe(dense_k);
  params.v = describe(dense_v);
  params.out = out.mutable_data_ptr();
  params.state = state.mutable_data_ptr<float>();
  params.decay = slopes.const_data_ptr<float>();
  params.batch = static_cast<int>(q.size(0));
  params.heads = static_cast<int>(q.size(1));
  params.key_dim = static_cast<int>(q.size(2));
  params.value_dim = static_cast<int>(v.size(2));
  params.type = TypeOf(q);
  params.stream = c10::cuda::getCurrentCUDAStream();
  C10_CUDA_CHECK(LightningStepLaunch(params));
  return out;
}

TORCH_LIBRARY_IMPL(repro, CUDA, m) {
  m.impl("lightning_attention_forward", Forward);
  m.impl("lightning_attention_backward", Backward);
  m.impl("lightning_attention_step_unchecked", Step);
}

}  // namespace
}  // namespace repro
