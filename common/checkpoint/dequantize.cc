#include "common/checkpoint/dequantize.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>

namespace repro {

at::Tensor Dequantize(const GgufTensor& tensor) {
  const GgmlTypeInfo info = Info(tensor.type);
  const int64_t numel = tensor.numel();
  const int64_t blocks = numel / info.block_size;
  TORCH_CHECK(
      numel % info.block_size == 0 &&
          static_cast<int64_t>(tensor.data.size()) == blocks * info.block_bytes,
      "tensor ", tensor.name, ": ", tensor.data.size(), " bytes of ", info.name,
      " do not make shape ", at::IntArrayRef(tensor.shape));
  at::Tensor values =
      at::empty(tensor.shape, at::TensorOptions().dtype(at::kFloat));
  float* out = values.mutable_data_ptr<float>();
  constexpr int64_t kGrainElements = 1 << 16;
  at::parallel_for(0, blocks, kGrainElements / info.block_size,
                   [&](int64_t begin, int64_t end) {
                     DequantizeBlocks(
                         tensor.type,
                         tensor.data.data() + begin * info.block_bytes,
                         end - begin, out + begin * info.block_size);
                   });
  return values;
}

}  // namespace repro
