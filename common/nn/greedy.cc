#include "common/nn/greedy.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/tensor.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <map>

namespace repro {

std::vector<std::vector<int32_t>> WriteGreedily(
    const Llama& model, const std::vector<std::vector<int32_t>>& prompts,
    int32_t end, int64_t max_tokens, c10::Device device) {
  std::map<size_t, std::vector<size_t>> by_length;
  for (size_t i = 0; i < prompts.size(); ++i) {
    TORCH_CHECK(!prompts[i].empty(), "prompt ", i, " is empty");
    by_length[prompts[i].size()].push_back(i);
  }
  std::vector<std::vector<int32_t>> written(prompts.size());
  for (const auto& [length, rows] : by_length) {
    const auto batch = static_cast<int64_t>(rows.size());
    std::vector<int64_t> flat;
    for (const size_t row : rows) {
      flat.insert(flat.end(), prompts[row].begin(), prompts[row].end());
    }
    LlamaCache cache =
        model.MakeCache(batch, static_cast<int64_t>(length) + max_tokens);
    at::Tensor logits = model.Prefill(
        at::tensor(flat, at::kLong).view({batch, -1}).to(device), &cache);
    std::vector<bool> ended(rows.size(), false);
    for (int64_t t = 0; t < max_tokens; ++t) {
      const at::Tensor next = logits.argmax(-1);
      const at::Tensor tokens = next.to(at::kCPU).contiguous();
      const int64_t* const ids = tokens.const_data_ptr<int64_t>();
      for (size_t i = 0; i < rows.size(); ++i) {
        if (ids[i] == end) ended[i] = true;
        if (!ended[i]) {
          written[rows[i]].push_back(static_cast<int32_t>(ids[i]));
        }
      }
      if (t + 1 == max_tokens ||
          std::find(ended.begin(), ended.end(), false) == ended.end()) {
        break;
      }
      logits = model.Step(next, &cache);
    }
  }
  return written;
}

}  // namespace repro
