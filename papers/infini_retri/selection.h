// From a question's attention to the sentences that are kept (InfiniRetri,
// arXiv 2502.12962, section 3; thoughts.py of the authors' package).
#ifndef REPRO_PAPERS_INFINI_RETRI_SELECTION_H_
#define REPRO_PAPERS_INFINI_RETRI_SELECTION_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace repro::infini_retri {

// Throughout, attention: [rows, tokens] is that of the last `rows` tokens of a
// prompt, summed over heads (SummedAttention). Functions throw c10::Error for
// sizes that cannot be and for NaN.

// u_i: what row i attends to within the rows, sum_j A[i, tokens - rows + j].
std::vector<double> QuestionWeights(const at::Tensor& attention);

// Convolution with `width` ones, as long as x and with zeros around it:
// out[i] = x[i - width/2] + ... + x[i + (width-1)/2], halves rounded down. An
// even width looks one further to the left, as scipy's mode "same" does.
std::vector<double> PhraseSums(const std::vector<double>& x, int64_t width);

// s_j = sum_i u_i^2 sum_t A[i, begin + j + t], 0 <= j < count, with the t of
// PhraseSums inside of [begin, begin + count). The convolution is linear, so
// the rows are summed before it. weights: [rows]; the package multiplies by
// them twice.
std::vector<double> TokenScores(const at::Tensor& attention,
                                const std::vector<double>& weights,
                                int64_t begin, int64_t count, int64_t width);

// The k largest, all if there are fewer, ascending; of equal ones the first.
std::vector<int64_t> TopPositions(const std::vector<double>& scores, int64_t k);

// Numbers of the sentences that hold any of the ascending positions, in order.
// lengths: tokens of each sentence, which follow one another from position 0.
std::vector<int64_t> SentencesAt(const std::vector<int64_t>& positions,
                                 const std::vector<int64_t>& lengths);

}  // namespace repro::infini_retri

#endif  // REPRO_PAPERS_INFINI_RETRI_SELECTION_H_
