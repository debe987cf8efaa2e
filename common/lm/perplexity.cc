#include "common/lm/perplexity.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <memory>

namespace repro::lm {

double Likelihood::perplexity() const {
  return std::exp(negative_log_likelihood / static_cast<double>(predicted));
}

Likelihood Perplexity(const LanguageModel& model, const StateFactory& factory,
                      const at::Tensor& tokens, int64_t stride) {
  at::NoGradGuard no_grad;
  TORCH_CHECK(tokens.dim() == 1 && tokens.size(0) >= 2 && stride > 0,
              "perplexity: tokens ", tokens.sizes(), " by ", stride);
  const int64_t count = tokens.size(0) - 1;
  const at::Tensor targets = tokens.to(model.device());
  const std::unique_ptr<AttentionState> state = factory();
  Likelihood out;
  for (int64_t begin = 0; begin < count; begin += stride) {
    const int64_t size = std::min(stride, count - begin);
    const at::Tensor hidden =
        model.Hidden({{tokens.narrow(0, begin, size), state.get(), begin}});
    // Logits of a long stride and a large vocabulary would not fit.
    constexpr int64_t kRows = 256;
    for (int64_t row = 0; row < size; row += kRows) {
      const int64_t rows = std::min(kRows, size - row);
      out.negative_log_likelihood -=
          model.Logits(hidden.narrow(0, row, rows))
              .log_softmax(-1)
              .gather(1, targets.narrow(0, begin + row + 1, rows).unsqueeze(1))
              .sum(at::kDouble)
              .item<double>();
    }
    out.predicted += size;
  }
  return out;
}

}  // namespace repro::lm
