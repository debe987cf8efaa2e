// Checks of shapes and dtypes whose errors name the argument and its axes.
//
//   ShapeChecker check;
//   check(q, {"batch", "heads", "seq_len", "head_dim"}, "q");
//   check(k, {"batch", "heads", "source_len", "head_dim"}, "k");
//
// fails, when k's head_dim differs from q's, with
//   k: expected [batch=2, heads=8, source_len, head_dim=64],
//      got [2, 8, 10, 32]
#ifndef REPRO_COMMON_TENSOR_CHECK_H_
#define REPRO_COMMON_TENSOR_CHECK_H_

#include <ATen/core/Tensor.h>

#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

namespace repro {

// One axis of an expected shape: a size, or a name that stands for one size.
class Dim {
 public:
  Dim(int64_t size) : size_(size) {}      // NOLINT: written inside {...}
  Dim(int size) : size_(size) {}          // NOLINT
  Dim(const char* name) : name_(name) {}  // NOLINT

  const char* name() const { return name_; }  // null for a fixed size
  int64_t size() const { return size_; }

 private:
  const char* name_ = nullptr;
  int64_t size_ = -1;
};

// Binds names to sizes: the first tensor that has an axis of a name fixes its
// size for all later calls on the same checker. A failed check binds nothing.
class ShapeChecker {
 public:
  // Fails through TORCH_CHECK (c10::Error) unless `tensor` is defined and has
  // this shape.
  void operator()(const at::Tensor& tensor, std::initializer_list<Dim> dims,
                  const char* name);

  // The size bound to a name. Fails when nothing bound it.
  int64_t size(const char* dim) const;

 private:
  int Find(const char* dim) const;  // -1: not bound

  std::vector<std::pair<std::string, int64_t>> sizes_;
};

// One tensor alone; a repeated name asks for equal sizes ({"n", "n"}).
void CheckShape(const at::Tensor& tensor, std::initializer_list<Dim> dims,
                const char* name);

// Fails through TORCH_CHECK unless the dtype is a floating one (not complex);
// or is exactly `dtype`.
void CheckFloating(const at::Tensor& tensor, const char* name);
void CheckDtype(const at::Tensor& tensor, at::ScalarType dtype,
                const char* name);

}  // namespace repro

#endif  // REPRO_COMMON_TENSOR_CHECK_H_
