#ifndef REPRO_COMMON_METRICS_QA_H_
#define REPRO_COMMON_METRICS_QA_H_

#include <string>

#include "absl/strings/string_view.h"
#include "common/metrics/python_text.h"

// Scores of free answers to questions, in [0, 1]. Where several answers are
// right, the score is the best one's.
namespace repro::metrics {

// SQuAD's normalisation: lower case, without ASCII punctuation and the words a,
// an, the, white space collapsed.
std::string NormalizeAnswer(absl::string_view text);

// For Chinese: lower case, without ASCII and CJK punctuation and white space.
std::string NormalizeChineseAnswer(absl::string_view text);

// 2 P R / (P + R) over two multisets of tokens; 0 without a common token.
double TokenF1(const Tokens& prediction, const Tokens& reference);

// TokenF1 of the words of the normalised texts: SQuAD, LongBench (qa_f1),
// InfiniteBench (longbook_qa_eng).
double QaF1(absl::string_view prediction, absl::string_view reference);

// LongBench (qa_f1_zh): TokenF1 of texts that a segmenter has cut into words,
// each normalised as Chinese, empty ones dropped.
double ChineseQaF1(const Tokens& prediction, const Tokens& reference);

// InfiniteBench (longbook_qa_chn): TokenF1 of the characters of the normalised
// texts.
double ChineseCharacterF1(absl::string_view prediction,
                          absl::string_view reference);

}  // namespace repro::metrics

#endif  // REPRO_COMMON_METRICS_QA_H_
