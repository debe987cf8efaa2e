#include "kernels/testing/testing.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/zeros_like.h>
#include <c10/util/Exception.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <sstream>
#include <utility>

#include "kernels/runtime/cuda.h"

namespace repro {
namespace {

using testing::MatchResultListener;

// A contiguous float64 copy on the CPU.
at::Tensor Float64(const at::Tensor& x) {
  return x.detach().to(at::kCPU).to(at::kDouble).contiguous();
}

std::string Index(at::IntArrayRef sizes, int64_t flat) {
  std::vector<int64_t> index(sizes.size());
  for (int i = static_cast<int>(sizes.size()) - 1; i >= 0; --i) {
    index[i] = flat % sizes[i];
    flat /= sizes[i];
  }
  std::ostringstream out;
  out << at::IntArrayRef(index);
  return out.str();
}

bool SameShape(const at::Tensor& actual, const at::Tensor& expected,
               MatchResultListener* listener) {
  if (!actual.defined()) {
    *listener << "which is undefined";
    return false;
  }
  if (actual.sizes() == expected.sizes()) return true;
  std::ostringstream text;
  text << "whose shape is " << actual.sizes() << ", expected "
       << expected.sizes();
  *listener << text.str();
  return false;
}

class CloseToMatcher : public testing::MatcherInterface<const at::Tensor&> {
 public:
  CloseToMatcher(at::Tensor expected, double rtol, double atol)
      : expected_(std::move(expected)), rtol_(rtol), atol_(atol) {}

  bool MatchAndExplain(const at::Tensor& actual,
                       MatchResultListener* listener) const override {
    if (!SameShape(actual, expected_, listener)) return false;
    const at::Tensor out = Float64(actual), reference = Float64(expected_);
    const double* a = out.const_data_ptr<double>();
    const double* b = reference.const_data_ptr<double>();
    int64_t failed = 0, first_nan = -1, worst_absolute = 0, worst_relative = 0;
    double max_absolute = -1, max_relative = -1;
    for (int64_t i = 0; i < out.numel(); ++i) {
      if (a[i] == b[i]) continue;
      const double absolute = std::abs(a[i] - b[i]);
      const double relative = absolute / std::abs(b[i]);
      if (std::isnan(absolute) && first_nan < 0) first_nan = i;
      if (absolute > max_absolute) max_absolute = absolute, worst_absolute = i;
      if (relative > max_relative) max_relative = relative, worst_relative = i;
      // An infinite tolerance (rtol times an infinite b) admits nothing.
      const double bound = atol_ + rtol_ * std::abs(b[i]);
      failed += !(absolute <= bound && std::isfinite(b[i]));
    }
    if (failed == 0) return true;
    *listener << "where " << failed << " of " << out.numel()
              << " elements differ";
    const auto show = [&](const char* what, double error, int64_t i) {
      *listener << "; " << what << error << " at " << Index(out.sizes(), i)
                << " (" << a[i] << " against " << b[i] << ")";
    };
    if (max_absolute >= 0) {
      show("max absolute error ", max_absolute, worst_absolute);
    }
    if (max_relative >= 0) {
      show("max relative error ", max_relative, worst_relative);
    }
    if (first_nan >= 0) {
      *listener << "; NaN at " << Index(out.sizes(), first_nan) << " ("
                << a[first_nan] << " against " << b[first_nan] << ")";
    }
    *listener << "; dtype " << c10::toString(actual.scalar_type());
    return false;
  }

  void DescribeTo(std::ostream* os) const override {
    *os << "is within " << atol_ << " + " << rtol_
        << " |expected| of a reference of shape " << expected_.sizes();
  }

 private:
  at::Tensor expected_;
  double rtol_;
  double atol_;
};

class RelativeErrorMatcher
    : public testing::MatcherInterface<const at::Tensor&> {
 public:
  RelativeErrorMatcher(at::Tensor expected, double bound)
      : expected_(std::move(expected)), bound_(bound) {}

  bool MatchAndExplain(const at::Tensor& actual,
                       MatchResultListener* listener) const override {
    if (!SameShape(actual, expected_, listener)) return false;
    const at::Tensor reference = Float64(expected_);
    const double norm = reference.norm().item<double>();
    const double error =
        Float64(actual).sub(reference).norm().item<double>() / norm;
    *listener << "whose relative error is " << error << " (reference norm "
              << norm << ")";
    return error < bound_;
  }

  void DescribeTo(std::ostream* os) const override {
    *os << "has a relative error below " << bound_;
  }

 private:
  at::Tensor expected_;
  double bound_;
};

class IdenticalMatcher : public testing::MatcherInterface<const at::Tensor&> {
 public:
  explicit IdenticalMatcher(at::Tensor expected)
      : expected_(std::move(expected)) {}

  bool MatchAndExplain(const at::Tensor& actual,
                       MatchResultListener* listener) const override {
    if (!SameShape(actual, expected_, listener)) return false;
    if (actual.scalar_type() != expected_.scalar_type()) {
      *listener << "whose dtype is " << c10::toString(actual.scalar_type());
      return false;
    }
    const at::Tensor a = actual.detach().to(at::kCPU).contiguous();
    const at::Tensor b = expected_.detach().to(at::kCPU).contiguous();
    const auto* a_bytes = static_cast<const char*>(a.const_data_ptr());
    const auto* b_bytes = static_cast<const char*>(b.const_data_ptr());
    const size_t size = a.itemsize();
    for (int64_t i = 0; i < a.numel(); ++i) {
      if (std::memcmp(a_bytes + i * size, b_bytes + i * size, size) != 0) {
        *listener << "which differs first at " << Index(a.sizes(), i) << ": "
                  << Float64(a.flatten()[i]).item<double>() << " against "
                  << Float64(b.flatten()[i]).item<double>();
        return false;
      }
    }
    return true;
  }

  void DescribeTo(std::ostream* os) const override {
    *os << "is bit-identical to a reference of shape " << expected_.sizes()
        << " and dtype " << c10::toString(expected_.scalar_type());
  }

 private:
  at::Tensor expected_;
};

// Why there is no GPU with our kernels; empty if there is.
const std::string& CudaProblem() {
  static const std::string& problem = *new std::string([]() -> std::string {
    if (!LoadCuda().empty()) return "no libtorch_cuda.so:" + LoadCuda();
    if (!at::globalContext().hasCUDA()) return "no usable GPU";
    return LoadCudaKernels();
  }());
  return problem;
}

}  // namespace

testing::Matcher<const at::Tensor&> IsCloseTo(at::Tensor expected, double rtol,
                                              double atol) {
  return testing::MakeMatcher(
      new CloseToMatcher(std::move(expected), rtol, atol));
}

testing::Matcher<const at::Tensor&> RelativeErrorBelow(at::Tensor expected,
                                                       double bound) {
  return testing::MakeMatcher(
      new RelativeErrorMatcher(std::move(expected), bound));
}

testing::Matcher<const at::Tensor&> IsIdenticalTo(at::Tensor expected) {
  return testing::MakeMatcher(new IdenticalMatcher(std::move(expected)));
}

testing::AssertionResult CheckGradients(
    const std::function<at::Tensor(const std::vector<at::Tensor>&)>& function,
    const std::vector<at::Tensor>& inputs, double step, double rtol,
    double atol) {
  std::vector<at::Tensor> leaves;
  for (const at::Tensor& input : inputs) {
    if (!input.device().is_cpu() || input.scalar_type() != at::kDouble) {
      return testing::AssertionFailure()
             << "inputs must be float64 tensors on the CPU";
    }
    leaves.push_back(input.detach().clone().contiguous().requires_grad_());
  }
  const at::Tensor output = function(leaves);
  const at::Tensor weight =
      at::randn(output.sizes(), at::detail::createCPUGenerator(20240607),
                output.options());
  if (!output.requires_grad()) {
    return testing::AssertionFailure() << "the output has no gradient";
  }
  at::sum(output.mul(weight)).backward();

  at::NoGradGuard no_grad;
  const auto value = [&] {
    return at::sum(function(leaves).mul(weight)).item<double>();
  };
  for (size_t n = 0; n < leaves.size(); ++n) {
    at::Tensor gradient = leaves[n].grad();
    if (!gradient.defined()) gradient = at::zeros_like(leaves[n]);
    gradient = gradient.contiguous();
    double* x = leaves[n].data_ptr<double>();
    const double* g = gradient.const_data_ptr<double>();
    for (int64_t i = 0; i < leaves[n].numel(); ++i) {
      const double saved = x[i];
      x[i] = saved + step;
      const double above = value();
      x[i] = saved - step;
      const double below = value();
      x[i] = saved;
      const double quotient = (above - below) / (2 * step);
      if (!(std::abs(g[i] - quotient) <= atol + rtol * std::abs(quotient))) {
        return testing::AssertionFailure()
               << "input " << n << " at " << Index(leaves[n].sizes(), i)
               << ": autograd gives " << g[i] << ", central differences "
               << quotient;
      }
    }
  }
  return testing::AssertionSuccess();
}

at::Tensor RandomNormal(at::IntArrayRef sizes, uint64_t seed,
                        at::TensorOptions options) {
  const at::Generator generator = at::detail::createCPUGenerator(seed);
  return at::randn(sizes, generator, at::kDouble).to(options);
}

bool HasCuda() { return CudaProblem().empty(); }

const char* HasCudaReason() { return CudaProblem().c_str(); }

void PoisonCudaMemory(int64_t bytes) {
  at::full({bytes / 4}, std::numeric_limits<float>::quiet_NaN(),
           at::TensorOptions(at::kCUDA).dtype(at::kFloat));
}

}  // namespace repro
