#include "common/count/flops.h"

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/core/ivalue.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/record_function.h>
#include <c10/util/Exception.h>
#include <torch/library.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <tuple>
#include <vector>

namespace repro {
namespace {

using Inputs = c10::ArrayRef<const c10::IValue>;

int64_t Product(at::IntArrayRef sizes) {
  int64_t product = 1;
  for (const int64_t size : sizes) product *= size;
  return product;
}

bool HasTensor(const Inputs& inputs, size_t i) {
  return i < inputs.size() && inputs[i].isTensor() &&
         inputs[i].toTensor().defined();
}

// What one operator costs, before the convention chooses from it.
struct Cost {
  const char* kind;
  int64_t multiply_adds = 0;
  int64_t bias = 0;    // output elements that a bias is added to
  int64_t norm = 0;    // normalised elements
  int64_t fvcore = 0;  // what kFvcore adds to the multiply-adds
};

// [batch, out_channels, sizes...] of a convolution with or without a batch
// axis.
std::vector<int64_t> ConvolutionShape(
    const at::Tensor& x, const at::Tensor& weight, at::IntArrayRef stride,
    at::IntArrayRef padding, at::IntArrayRef dilation, bool transposed,
    at::IntArrayRef output_padding, int64_t groups) {
  // An entry given once stands for every axis.
  const auto at = [](at::IntArrayRef list, size_t i) {
    return list[std::min(i, list.size() - 1)];
  };
  std::vector<int64_t> shape;
  if (x.dim() == weight.dim()) shape.push_back(x.size(0));
  shape.push_back(transposed ? weight.size(1) * groups : weight.size(0));
  for (int64_t axis = 2; axis < weight.dim(); ++axis) {
    const size_t i = axis - 2;
    const int64_t size = x.size(axis - weight.dim());
    const int64_t span = at(dilation, i) * (weight.size(axis) - 1) + 1;
    shape.push_back(
        transposed ? (size - 1) * at(stride, i) - 2 * at(padding, i) + span +
                         at(output_padding, i)
                   : (size + 2 * at(padding, i) - span) / at(stride, i) + 1);
  }
  return shape;
}

// LibTorch leaves these kernels of the meta device to Python.
at::Tensor MetaConvolution(const at::Tensor& x, const at::Tensor& weight,
                           const std::optional<at::Tensor>& /*bias*/,
                           at::IntArrayRef stride, at::IntArrayRef padding,
                           at::IntArrayRef dilation, bool transposed,
                           at::IntArrayRef output_padding, int64_t groups) {
  return at::empty(ConvolutionShape(x, weight, stride, padding, dilation,
                                    transposed, output_padding, groups),
                   x.options());
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> MetaBatchNorm(
    const at::Tensor& x, const std::optional<at::Tensor>& /*weight*/,
    const std::optional<at::Tensor>& /*bias*/,
    const std::optional<at::Tensor>& /*running_mean*/,
    const std::optional<at::Tensor>& /*running_var*/, bool training,
    double /*momentum*/, double /*eps*/) {
  const int64_t saved = training ? x.size(1) : 0;
  return {at::empty_like(x), at::empty({saved}, x.options()),
          at::empty({saved}, x.options())};
}

at::Tensor MetaAdaptiveAvgPool2d(const at::Tensor& x,
                                 at::IntArrayRef output_size) {
  std::vector<int64_t> shape = x.sizes().vec();
  std::copy(output_size.begin(), output_size.end(), shape.end() - 2);
  return at::empty(shape, x.options());
}

at::Tensor MetaRoll(const at::Tensor& x, at::IntArrayRef /*shifts*/,
                    at::IntArrayRef /*dims*/) {
  return at::empty_like(x);
}

TORCH_LIBRARY_IMPL(aten, Meta, library) {
  library.impl("convolution_overrideable", MetaConvolution);
  library.impl("native_batch_norm", MetaBatchNorm);
  library.impl("_adaptive_avg_pool2d", MetaAdaptiveAvgPool2d);
  library.impl("roll", MetaRoll);
}

// aten::convolution(input, weight, bias, stride, padding, dilation, transposed,
//                   output_padding, groups)
// Each output element costs weight.numel() / out multiply-adds; in a transposed
// convolution each input element costs weight.numel() / in.
Cost ConvolutionCost(const Inputs& in) {
  const at::Tensor& x = in[0].toTensor();
  const at::Tensor& weight = in[1].toTensor();
  const bool transposed = in[6].toBool();
  const int64_t outputs = Product(ConvolutionShape(
      x, weight, in[3].toIntVector(), in[4].toIntVector(), in[5].toIntVector(),
      transposed, in[7].toIntVector(), in[8].toInt()));
  Cost cost{"convolution"};
  cost.multiply_adds =
      (transposed ? x.numel() : outputs) * (weight.numel() / weight.size(0));
  cost.bias = HasTensor(in, 2) ? outputs : 0;
  return cost;
}

// aten::linear(input, weight, bias), weight [out, in].
Cost LinearCost(const Inputs& in) {
  const at::Tensor& weight = in[1].toTensor();
  const int64_t rows = in[0].toTensor().numel() / weight.size(-1);
  Cost cost{"linear"};
  cost.multiply_adds = rows * weight.numel();
  cost.bias = HasTensor(in, 2) ? rows * weight.size(0) : 0;
  return cost;
}

// a [..., n, k] times b [..., k, m], either perhaps a vector.
Cost ProductCost(const char* kind, const at::Tensor& a, const at::Tensor& b) {
  Cost cost{kind};
  const int64_t columns = b.dim() == 1 ? 1 : b.size(-1);
  if (b.dim() <= 2 || a.dim() <= 1) {
    const int64_t shared = a.size(-1);
    const int64_t others =
        b.dim() <= 2 ? 1 : b.numel() / (b.size(-1) * b.size(-2));
    cost.multiply_adds =
        shared == 0 ? 0 : a.numel() / shared * others * shared * columns;
    return cost;
  }
  std::vector<int64_t> batch = a.sizes().slice(0, a.dim() - 2).vec();
  const std::vector<int64_t> other = b.sizes().slice(0, b.dim() - 2).vec();
  if (other.size() > batch.size()) {
    batch.insert(batch.begin(), other.size() - batch.size(), 1);
  }
  for (size_t i = 0; i < other.size(); ++i) {
    int64_t& size = batch[batch.size() - other.size() + i];
    if (size == 1) size = other[i];
  }
  cost.multiply_adds = Product(batch) * a.size(-2) * a.size(-1) * columns;
  return cost;
}

// aten::upsample_bilinear2d(x, output_size, align_corners, ...), where the
// overload of that name may have factors, in[3], in place of a size.
int64_t ResizedElements(const Inputs& in) {
  const at::Tensor& x = in[0].toTensor();
  std::vector<int64_t> size;
  if (in[1].isNone()) {
    for (const double factor : in[3].toDoubleVector()) {
      size.push_back(static_cast<int64_t>(
          static_cast<double>(x.size(2 + static_cast<int64_t>(size.size()))) *
          factor));
    }
  } else {
    size = in[1].toIntVector();
  }
  return x.size(0) * x.size(1) * Product(size);
}

// The cost of an operator that is counted; false for one that is not.
bool CostOf(const char* name, const Inputs& in, Cost* cost) {
  const auto is = [name](const char* other) {
    return std::strcmp(name, other) == 0;
  };
  if (is("aten::convolution")) {
    *cost = ConvolutionCost(in);
  } else if (is("aten::linear")) {
    *cost = LinearCost(in);
  } else if (is("aten::addmm") || is("aten::addmm_")) {
    *cost = ProductCost("linear", in[1].toTensor(), in[2].toTensor());
    cost->bias = in[1].toTensor().size(0) * in[2].toTensor().size(1);
  } else if (is("aten::baddbmm") || is("aten::baddbmm_")) {
    *cost = ProductCost("matmul", in[1].toTensor(), in[2].toTensor());
    cost->bias = in[1].toTensor().size(0) * in[1].toTensor().size(1) *
                 in[2].toTensor().size(2);
  } else if (is("aten::matmul") || is("aten::mm") || is("aten::bmm") ||
             is("aten::mv")) {
    *cost = ProductCost("matmul", in[0].toTensor(), in[1].toTensor());
  } else if (is("aten::scaled_dot_product_attention")) {
    // q k^T and the weighted sum of v.
    const at::Tensor& q = in[0].toTensor();
    const at::Tensor& v = in[2].toTensor();
    *cost = ProductCost("matmul", q, in[1].toTensor().transpose(-2, -1));
    cost->multiply_adds += cost->multiply_adds / q.size(-1) * v.size(-1);
  } else if (is("aten::layer_norm")) {
    *cost = Cost{"layer_norm"};
    cost->norm = in[0].toTensor().numel();
    cost->fvcore = cost->norm * (HasTensor(in, 2) ? 5 : 4);
  } else if (is("aten::batch_norm")) {
    *cost = Cost{"batch_norm"};
    cost->norm = in[0].toTensor().numel();
    cost->fvcore =
        cost->norm * ((in[5].toBool() ? 4 : 1) + (HasTensor(in, 1) ? 1 : 0));
  } else if (is("aten::adaptive_avg_pool2d")) {
    *cost = Cost{"pooling"};
    cost->fvcore = in[0].toTensor().numel();
  } else if (is("aten::upsample_bilinear2d")) {
    *cost = Cost{"resize"};
    cost->fvcore = 4 * ResizedElements(in);
  } else {
    return false;
  }
  return true;
}

struct Counter {
  FlopConvention convention;
  FlopCount count;
  // How many counted operators enclose the present one: those that a counted
  // operator calls are part of it.
  int depth = 0;
};

thread_local Counter* counter = nullptr;

struct Context : at::ObserverContext {};

void Add(const Cost& cost) {
  const bool is_matmul = std::strcmp(cost.kind, "matmul") == 0;
  int64_t flops = 0;
  switch (counter->convention) {
    case FlopConvention::kConvLinear:
      flops = is_matmul ? 0 : cost.multiply_adds;
      break;
    case FlopConvention::kConvLinearBiasNorm:
      flops = is_matmul ? 0 : cost.multiply_adds + cost.bias + 2 * cost.norm;
      break;
    case FlopConvention::kConvMatmul:
      flops = cost.multiply_adds;
      break;
    case FlopConvention::kFvcore:
      flops = cost.multiply_adds + cost.fvcore;
      break;
  }
  if (flops == 0) return;
  counter->count.total += flops;
  counter->count.by_operator[cost.kind] += flops;
}

std::unique_ptr<at::ObserverContext> OnStart(const at::RecordFunction& call) {
  if (counter == nullptr) return nullptr;
  Cost cost{""};
  // A context marks the calls that OnEnd must take off the depth.
  if (!CostOf(call.name(), call.inputs(), &cost)) return nullptr;
  if (counter->depth++ == 0) Add(cost);
  return std::make_unique<Context>();
}

void OnEnd(const at::RecordFunction&, at::ObserverContext* context) {
  if (counter != nullptr && context != nullptr) --counter->depth;
}

}  // namespace

FlopCount CountFlops(FlopConvention convention,
                     const std::function<void()>& forward) {
  TORCH_CHECK(counter == nullptr, "CountFlops: a count is already running");
  Counter own{convention};
  counter = &own;
  const at::CallbackHandle handle =
      at::addThreadLocalCallback(at::RecordFunctionCallback(OnStart, OnEnd)
                                     .needsInputs(true)
                                     .scopes({at::RecordScope::FUNCTION}));
  const auto stop = [&] {
    at::removeCallback(handle);
    counter = nullptr;
  };
  try {
    at::NoGradGuard no_grad;
    forward();
  } catch (...) {
    stop();
    throw;
  }
  stop();
  return own.count;
}

}  // namespace repro
