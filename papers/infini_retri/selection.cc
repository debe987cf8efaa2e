#include "papers/infini_retri/selection.h"

#include <ATen/ops/matmul.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "common/tensor/check.h"

namespace repro::infini_retri {
namespace {

std::vector<double> ToVector(const at::Tensor& x) {
  const at::Tensor values = x.to(at::kCPU, at::kDouble).contiguous();
  const double* first = values.const_data_ptr<double>();
  return {first, first + values.numel()};
}

}  // namespace

std::vector<double> QuestionWeights(const at::Tensor& attention) {
  CheckShape(attention, {"rows", "tokens"}, "attention");
  const int64_t rows = attention.size(0), tokens = attention.size(1);
  TORCH_CHECK(rows <= tokens, "question weights: the last ", rows, " of ",
              tokens, " tokens");
  return ToVector(
      attention.narrow(1, tokens - rows, rows).to(at::kDouble).sum(1));
}

std::vector<double> PhraseSums(const std::vector<double>& x, int64_t width) {
  TORCH_CHECK(width >= 1, "phrase sums: width ", width);
  const int64_t n = static_cast<int64_t>(x.size());
  const int64_t left = width / 2, right = (width - 1) / 2;
  std::vector<double> out(n);
  for (int64_t i = 0; i < n; ++i) {
    out[i] = std::accumulate(x.begin() + std::max<int64_t>(0, i - left),
                             x.begin() + std::min(n, i + right + 1), 0.0);
  }
  return out;
}

std::vector<double> TokenScores(const at::Tensor& attention,
                                const std::vector<double>& weights,
                                int64_t begin, int64_t count, int64_t width) {
  CheckShape(attention, {static_cast<int64_t>(weights.size()), "tokens"},
             "attention");
  TORCH_CHECK(begin >= 0 && count >= 0 && begin + count <= attention.size(1),
              "token scores: positions from ", begin, " to ", begin + count,
              " of ", attention.size(1));
  std::vector<double> squares;
  for (const double u : weights) squares.push_back(u * u);
  const at::Tensor weighted =
      at::matmul(at::tensor(squares, at::kDouble),
                 attention.narrow(1, begin, count).to(at::kCPU, at::kDouble));
  return PhraseSums(ToVector(weighted), width);
}

std::vector<int64_t> TopPositions(const std::vector<double>& scores,
                                  int64_t k) {
  TORCH_CHECK(k >= 0, "top positions: the best ", k);
  for (const double score : scores) {
    TORCH_CHECK(!std::isnan(score), "top positions: a score is NaN");
  }
  std::vector<int64_t> positions(scores.size());
  std::iota(positions.begin(), positions.end(), 0);
  if (k >= static_cast<int64_t>(scores.size())) return positions;
  std::nth_element(positions.begin(), positions.begin() + k, positions.end(),
                   [&](int64_t a, int64_t b) {
                     return scores[a] != scores[b] ? scores[a] > scores[b]
                                                   : a < b;
                   });
  positions.resize(k);
  std::sort(positions.begin(), positions.end());
  return positions;
}

std::vector<int64_t> SentencesAt(const std::vector<int64_t>& positions,
                                 const std::vector<int64_t>& lengths) {
  std::vector<int64_t> sentences;
  auto position = positions.begin();
  int64_t end = 0;
  for (size_t i = 0; i < lengths.size() && position != positions.end(); ++i) {
    end += lengths[i];
    if (*position >= end) continue;
    sentences.push_back(static_cast<int64_t>(i));
    position = std::lower_bound(position, positions.end(), end);
  }
  TORCH_CHECK(position == positions.end(), "sentences: position ", *position,
              " of ", end, " tokens");
  return sentences;
}

}  // namespace repro::infini_retri
