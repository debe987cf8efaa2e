#include "papers/duo_attention/heads.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randperm.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/data/io.h"
#include "common/lm/attention.h"
#include "common/lm/attention_state.h"
#include "common/status/macros.h"

namespace repro::duo {
namespace {

HeadSet ToSet(const std::vector<bool>& full, int64_t layers, int64_t heads) {
  HeadSet out(layers);
  for (int64_t i = 0; i < layers * heads; ++i) {
    if (full[i]) out[i / heads].push_back(i % heads);
  }
  return out;
}

void CheckGates(const at::Tensor& gates) {
  TORCH_CHECK(gates.dim() == 2 && gates.numel() > 0, "gates: ", gates.sizes(),
              ", expected [layers, num_kv_heads]");
}

// Dense attention of one sequence that also sums what heads give to keys out
// of a streaming head's sight.
class ProfileState : public lm::AttentionState {
 public:
  ProfileState(at::Tensor places, int64_t sink, int64_t recent, at::Tensor sums)
      : places_(std::move(places)),
        sink_(sink),
        recent_(recent),
        sums_(std::move(sums)) {}

  at::Tensor Attend(const lm::AttentionInput& input) override {
    const at::Tensor q = input.rope->Apply(input.q, 0);
    const at::Tensor k = input.rope->Apply(input.k, 0);
    const int64_t group = q.size(0) / k.size(0);
    const at::Tensor rows = q.index_select(1, places_);
    const at::Tensor key = at::arange(k.size(1), places_.options());
    const at::Tensor query = places_.unsqueeze(1);
    const at::Tensor logits =
        at::matmul(
            rows.to(at::kFloat),
            k.repeat_interleave(group, 0).transpose(1, 2).to(at::kFloat)) /
        std::sqrt(static_cast<double>(q.size(2)));
    const at::Tensor weights =
        at::softmax(logits.masked_fill(key > query, -INFINITY), -1);
    const at::Tensor unseen =
        (key >= sink_).logical_and(key <= query - recent_);
    const at::Tensor mass = (weights * unseen).sum(-1).mean(-1);  // [heads]
    sums_[input.layer] +=
        mass.view({k.size(0), group}).amax(1).to(at::kCPU).to(at::kDouble);
    return lm::DenseAttention(q, k, input.v);
  }

  int64_t Bytes() const override { return 0; }

 private:
  at::Tensor places_;
  int64_t sink_, recent_;
  at::Tensor sums_;
};

}  // namespace

absl::StatusOr<at::Tensor> ParseGates(absl::string_view text,
                                      const std::string& path) {
  std::vector<std::vector<double>> rows;
  LineReader lines(text);
  absl::string_view line;
  while (lines.Next(&line)) {
    if (absl::StripAsciiWhitespace(line).empty()) continue;
    std::vector<double>& row = rows.emplace_back();
    for (const absl::string_view cell : absl::StrSplit(line, '\t')) {
      double value = 0;
      if (!absl::SimpleAtod(cell, &value) || !std::isfinite(value)) {
        return absl::InvalidArgumentError(absl::StrCat(
            path, ":", lines.line_number(), ": column ", row.size() + 1, ", ",
            Quoted(cell), ", is not a gate's value"));
      }
      row.push_back(value);
    }
    if (row.size() != rows[0].size()) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ":", lines.line_number(), ": ", row.size(),
                       " gates, but the first layer has ", rows[0].size()));
    }
  }
  if (rows.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": there are no gates; want one line a layer"));
  }
  const auto layers = static_cast<int64_t>(rows.size());
  const auto heads = static_cast<int64_t>(rows[0].size());
  at::Tensor gates = at::empty({layers, heads}, at::kDouble);
  for (int64_t l = 0; l < layers; ++l) {
    std::copy(rows[l].begin(), rows[l].end(),
              gates.data_ptr<double>() + l * heads);
  }
  return gates;
}

absl::StatusOr<at::Tensor> ReadGates(const std::string& path) {
  REPRO_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, 1 << 24));
  return ParseGates(text, path);
}

std::string FormatGates(const at::Tensor& gates) {
  CheckGates(gates);
  const at::Tensor values = gates.to(at::kDouble).contiguous();
  const double* data = values.const_data_ptr<double>();
  std::string out;
  for (int64_t l = 0; l < values.size(0); ++l) {
    for (int64_t h = 0; h < values.size(1); ++h) {
      absl::StrAppendFormat(&out, "%s%.17g", h == 0 ? "" : "\t", *data++);
    }
    out += "\n";
  }
  return out;
}

double ShareAbove(const at::Tensor& gates, double threshold) {
  CheckGates(gates);
  return (gates > threshold).to(at::kDouble).mean().item<double>();
}

int64_t CountHeads(const HeadSet& heads) {
  int64_t count = 0;
  for (const auto& layer : heads) count += static_cast<int64_t>(layer.size());
  return count;
}

HeadSet SelectHeads(const at::Tensor& gates, double sparsity,
                    const at::Generator* generator) {
  CheckGates(gates);
  TORCH_CHECK(sparsity >= 0 && sparsity <= 1, "sparsity ", sparsity);
  at::Tensor noisy = gates.to(at::kDouble).flatten().clone();
  if (generator != nullptr) {
    noisy += 1e-6 * at::rand(noisy.sizes(), *generator, noisy.options());
  }
  const int64_t count = noisy.numel();
  std::vector<double> values(noisy.const_data_ptr<double>(),
                             noisy.const_data_ptr<double>() + count);
  std::vector<double> sorted = values;
  std::sort(sorted.begin(), sorted.end());
  const double place = sparsity * static_cast<double>(count - 1);
  const auto low = static_cast<int64_t>(std::floor(place));
  const int64_t high = std::min(low + 1, count - 1);
  const double threshold = sorted[low] + (place - static_cast<double>(low)) *
                                             (sorted[high] - sorted[low]);
  std::vector<bool> full(count);
  for (int64_t i = 0; i < count; ++i) {
    full[i] = sparsity < 1 && values[i] >= threshold;
  }
  return ToSet(full, gates.size(0), gates.size(1));
}

HeadSet RandomHeads(int64_t layers, int64_t num_kv_heads, int64_t count,
                    at::Generator generator) {
  TORCH_CHECK(count >= 0 && count <= layers * num_kv_heads,
              "random heads: ", count, " of ", layers * num_kv_heads);
  const at::Tensor order =
      at::randperm(layers * num_kv_heads, std::move(generator), at::kLong);
  std::vector<bool> full(layers * num_kv_heads);
  for (int64_t i = 0; i < count; ++i) full[order[i].item<int64_t>()] = true;
  return ToSet(full, layers, num_kv_heads);
}

at::Tensor AttentionProfile(const lm::LanguageModel& model,
                            const at::Tensor& tokens,
                            const at::Tensor& query_places, int64_t sink,
                            int64_t recent) {
  TORCH_CHECK(tokens.dim() == 2 && tokens.size(0) > 0 &&
                  query_places.sizes() == tokens.sizes(),
              "attention profile: tokens ", tokens.sizes(), ", places ",
              query_places.sizes());
  const at::NoGradGuard no_grad;
  const lm::ModelConfig& c = model.config();
  const at::Tensor sums =
      at::zeros({c.num_layers, c.num_kv_heads}, at::TensorOptions(at::kDouble));
  for (int64_t i = 0; i < tokens.size(0); ++i) {
    const at::Tensor places =
        query_places[i].nonzero().squeeze(1).to(model.device());
    TORCH_CHECK(places.numel() > 0, "attention profile: sequence ", i,
                " has no query");
    ProfileState state(places, sink, recent, sums);
    model.Hidden({{tokens[i], &state, 0}});
  }
  return sums / static_cast<double>(tokens.size(0));
}

}  // namespace repro::duo
