#include "common/tensor/check.h"

#include <c10/util/Exception.h>

#include <sstream>

namespace repro {
int ShapeChecker::Find(const char* dim) const {
  for (size_t i = 0; i < sizes_.size(); ++i) {
    if (sizes_[i].first == dim) return static_cast<int>(i);
  }
  return -1;
}

int64_t ShapeChecker::size(const char* dim) const {
  const int index = Find(dim);
  TORCH_CHECK(index >= 0, "no checked tensor has an axis named ", dim);
  return sizes_[index].second;
}

void ShapeChecker::operator()(const at::Tensor& tensor,
                              std::initializer_list<Dim> dims,
                              const char* name) {
  TORCH_CHECK(tensor.defined(), name, ": undefined tensor");
  const at::IntArrayRef sizes = tensor.sizes();
  const size_t bound_before = sizes_.size();
  bool matches = sizes.size() == dims.size();
  std::ostringstream expected;
  size_t axis = 0;
  for (const Dim& dim : dims) {
    const int64_t size = axis < sizes.size() ? sizes[axis] : -1;
    expected << (axis ? ", " : "");
    ++axis;
    if (dim.name() == nullptr) {
      matches &= size == dim.size();
      expected << dim.size();
      continue;
    }
    expected << dim.name();
    const int index = Find(dim.name());
    if (index >= 0) {
      matches &= size == sizes_[index].second;
      expected << "=" << sizes_[index].second;
    } else if (size >= 0) {
      sizes_.emplace_back(dim.name(), size);
    }
  }
  if (!matches) sizes_.resize(bound_before);
  TORCH_CHECK(matches, name, ": expected [", expected.str(), "], got ", sizes);
}

void CheckShape(const at::Tensor& tensor, std::initializer_list<Dim> dims,
                const char* name) {
  ShapeChecker()(tensor, dims, name);
}

void CheckFloating(const at::Tensor& tensor, const char* name) {
  TORCH_CHECK(tensor.defined(), name, ": undefined tensor");
  TORCH_CHECK(at::isFloatingType(tensor.scalar_type()), name,
              ": expected a floating dtype, got ", tensor.scalar_type());
}

void CheckDtype(const at::Tensor& tensor, at::ScalarType dtype,
                const char* name) {
  TORCH_CHECK(tensor.defined(), name, ": undefined tensor");
  TORCH_CHECK(tensor.scalar_type() == dtype, name, ": expected ", dtype,
              ", got ", tensor.scalar_type());
}

}  // namespace repro
