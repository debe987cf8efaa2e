// What a question's tokens attend to in one layer, at the cost of a normal
// pass: the layers before it use fused attention, and of this one only the
// question's rows are made (InfiniRetri, arXiv 2502.12962, section 3).
#ifndef REPRO_PAPERS_INFINI_RETRI_QUESTION_ATTENTION_H_
#define REPRO_PAPERS_INFINI_RETRI_QUESTION_ATTENTION_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "common/lm/model.h"

namespace repro::infini_retri {

// sum_h softmax(q_h k^T / sqrt(head_dim)), causal: [rows, tokens], float32 (or
// float64 of such inputs). q: [num_heads, rows, head_dim], the last rows; k:
// [num_kv_heads, tokens, head_dim], tokens >= rows; both rotated.
at::Tensor SummedAttention(const at::Tensor& q, const at::Tensor& k);

// The same of the last `rows` of the prompt's tokens in `layer` (-1: the last
// one), on the model's device. One pass, no cache. Throws c10::Error: rows not
// in [1, tokens], no such layer, a token that the model lacks, no memory.
at::Tensor QuestionAttention(const lm::LanguageModel& model,
                             const std::vector<int32_t>& tokens, int64_t rows,
                             int64_t layer = -1);

}  // namespace repro::infini_retri

#endif  // REPRO_PAPERS_INFINI_RETRI_QUESTION_ATTENTION_H_
