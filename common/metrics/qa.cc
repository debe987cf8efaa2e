#include "common/metrics/qa.h"

#include <cstdint>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_join.h"

namespace repro::metrics {
namespace {

// The list of LongBench and InfiniteBench.
constexpr char kChinesePunctuation[] =
    "！？｡。＂＃＄％＆＇（）＊＋，－／：；＜＝＞＠［＼］＾＿｀｛｜｝～｟｠｢｣､、"
    "〃》「」『』【】〔〕〖〗〘〙〚〛〜〝〞〟〰〾〿–—‘’‛“”„‟…‧﹏.";

bool IsChinesePunctuation(int32_t code_point) {
  static const auto* const marks = [] {
    const Symbols symbols = CodePoints(kChinesePunctuation);
    return new absl::flat_hash_set<int32_t>(symbols.begin(), symbols.end());
  }();
  return marks->contains(code_point);
}

Tokens Characters(absl::string_view text) {
  Tokens characters;
  for (const int32_t code_point : CodePoints(text)) {
    AppendUtf8(code_point, &characters.emplace_back());
  }
  return characters;
}

}  // namespace

std::string NormalizeAnswer(absl::string_view text) {
  std::string kept;
  std::string word;
  const auto flush = [&] {
    kept += word == "a" || word == "an" || word == "the" ? " " : word;
    word.clear();
  };
  for (const int32_t code_point : CodePoints(Lower(text))) {
    if (IsAsciiPunctuation(code_point)) continue;
    if (IsWord(code_point)) {
      AppendUtf8(code_point, &word);
    } else {
      flush();
      AppendUtf8(code_point, &kept);
    }
  }
  flush();
  return absl::StrJoin(SplitWhitespace(kept), " ");
}

std::string NormalizeChineseAnswer(absl::string_view text) {
  std::string kept;
  for (const int32_t code_point : CodePoints(Lower(text))) {
    if (IsAsciiPunctuation(code_point) || IsSpace(code_point) ||
        IsChinesePunctuation(code_point)) {
      continue;
    }
    AppendUtf8(code_point, &kept);
  }
  return kept;
}

double TokenF1(const Tokens& prediction, const Tokens& reference) {
  absl::flat_hash_map<absl::string_view, int64_t> left;
  for (const std::string& token : reference) ++left[token];
  double common = 0;
  for (const std::string& token : prediction) {
    const auto found = left.find(token);
    if (found == left.end() || found->second == 0) continue;
    --found->second;
    ++common;
  }
  if (common == 0) return 0;
  const double precision = common / prediction.size();
  const double recall = common / reference.size();
  return 2 * precision * recall / (precision + recall);
}

double QaF1(absl::string_view prediction, absl::string_view reference) {
  return TokenF1(SplitWhitespace(NormalizeAnswer(prediction)),
                 SplitWhitespace(NormalizeAnswer(reference)));
}

double ChineseQaF1(const Tokens& prediction, const Tokens& reference) {
  const auto normalized = [](const Tokens& tokens) {
    Tokens kept;
    for (const std::string& token : tokens) {
      std::string normal = NormalizeChineseAnswer(token);
      if (!normal.empty()) kept.push_back(std::move(normal));
    }
    return kept;
  };
  return TokenF1(normalized(prediction), normalized(reference));
}

double ChineseCharacterF1(absl::string_view prediction,
                          absl::string_view reference) {
  return TokenF1(Characters(NormalizeChineseAnswer(prediction)),
                 Characters(NormalizeChineseAnswer(reference)));
}

}  // namespace repro::metrics
