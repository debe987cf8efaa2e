#include "common/metrics/rouge.h"

#include <algorithm>
#include <cstdint>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_join.h"
#include "common/metrics/edit_distance.h"
#include "common/metrics/ngrams.h"
#include "common/metrics/python_text.h"

namespace repro::metrics {
namespace {

// table[i * (columns + 1) + j] is the length of the LCS of the first i rows and
// the first j columns.
std::vector<int32_t> LcsTable(const Symbols& rows, const Symbols& columns) {
  const size_t width = columns.size() + 1;
  std::vector<int32_t> table((rows.size() + 1) * width, 0);
  for (size_t i = 1; i <= rows.size(); ++i) {
    for (size_t j = 1; j <= columns.size(); ++j) {
      table[i * width + j] =
          rows[i - 1] == columns[j - 1]
              ? table[(i - 1) * width + j - 1] + 1
              : std::max(table[(i - 1) * width + j], table[i * width + j - 1]);
    }
  }
  return table;
}

// The positions in `rows` of one LCS, last first. Where both neighbours of the
// table are equally good, prefer_up says where the backtracking goes.
std::vector<size_t> LcsPositions(const Symbols& rows, const Symbols& columns,
                                 bool prefer_up) {
  const std::vector<int32_t> table = LcsTable(rows, columns);
  const size_t width = columns.size() + 1;
  std::vector<size_t> positions;
  size_t i = rows.size();
  size_t j = columns.size();
  while (i > 0 && j > 0) {
    if (rows[i - 1] == columns[j - 1]) {
      positions.push_back(--i);
      --j;
      continue;
    }
    const int32_t up = table[(i - 1) * width + j];
    const int32_t left = table[i * width + j - 1];
    if (up > left || (prefer_up && up == left)) {
      --i;
    } else {
      --j;
    }
  }
  return positions;
}

// The sentences of package rouge as word ids.
std::vector<Symbols> StopSentences(absl::string_view text, NGramIndex* index) {
  std::vector<Symbols> sentences;
  for (const std::string& piece : SplitKeepingEmpty(text, '.')) {
    if (piece.empty()) continue;
    sentences.push_back(index->Intern(
        SplitKeepingEmpty(absl::StrJoin(SplitWhitespace(piece), " "), ' ')));
  }
  return sentences;
}

using SymbolSet = absl::flat_hash_set<int32_t>;

SymbolSet Distinct(const std::vector<Symbols>& sentences) {
  SymbolSet words;
  for (const Symbols& sentence : sentences) {
    words.insert(sentence.begin(), sentence.end());
  }
  return words;
}

Tokens GoogleTokens(absl::string_view text) {
  Tokens tokens;
  bool in_token = false;
  for (const char c : Lower(text)) {
    const bool is_valid = absl::ascii_islower(c) || absl::ascii_isdigit(c);
    if (is_valid) {
      if (!in_token) tokens.emplace_back();
      tokens.back().push_back(c);
    }
    in_token = is_valid;
  }
  return tokens;
}

std::vector<Symbols> LineSentences(absl::string_view text, NGramIndex* index) {
  std::vector<Symbols> sentences;
  for (const std::string& line : SplitKeepingEmpty(text, '\n')) {
    if (!line.empty()) sentences.push_back(index->Intern(GoogleTokens(line)));
  }
  return sentences;
}

RougeScore FromHits(double hits, double reference_size,
                    double hypothesis_size) {
  RougeScore score;
  if (reference_size == 0 || hypothesis_size == 0) return score;
  score.precision = hits / hypothesis_size;
  score.recall = hits / reference_size;
  const double sum = score.precision + score.recall;
  if (sum > 0) score.f1 = 2 * score.precision * score.recall / sum;
  return score;
}

}  // namespace

absl::StatusOr<double> CocoRougeL(const std::vector<std::string>& references,
                                  absl::string_view hypothesis) {
  if (references.empty()) {
    return absl::InvalidArgumentError("the hypothesis has no reference");
  }
  NGramIndex index;
  const Symbols words = index.Intern(SplitKeepingEmpty(hypothesis, ' '));
  double precision = 0;
  double recall = 0;
  for (const std::string& reference : references) {
    const Symbols reference_words =
        index.Intern(SplitKeepingEmpty(reference, ' '));
    const double lcs = LcsLength(reference_words, words);
    precision = std::max(precision, lcs / words.size());
    recall = std::max(recall, lcs / reference_words.size());
  }
  if (precision == 0) return 0;
  constexpr double kBetaSquared = 1.2 * 1.2;
  return (1 + kBetaSquared) * precision * recall /
         (recall + kBetaSquared * precision);
}

RougeScore SetRougeL(absl::string_view reference,
                     absl::string_view hypothesis) {
  NGramIndex index;
  const auto reference_sentences = StopSentences(reference, &index);
  const auto hypothesis_sentences = StopSentences(hypothesis, &index);
  RougeScore score;
  if (reference_sentences.empty() || hypothesis_sentences.empty()) return score;
  SymbolSet common;
  for (const Symbols& from : reference_sentences) {
    for (const Symbols& to : hypothesis_sentences) {
      for (const size_t i : LcsPositions(from, to, /*prefer_up=*/false)) {
        common.insert(from[i]);
      }
    }
  }
  score.precision = static_cast<double>(common.size()) /
                    Distinct(hypothesis_sentences).size();
  score.recall =
      static_cast<double>(common.size()) / Distinct(reference_sentences).size();
  score.f1 = 2 * (score.precision * score.recall /
                  (score.precision + score.recall + 1e-8));
  return score;
}

RougeScore GoogleRougeL(absl::string_view reference,
                        absl::string_view hypothesis) {
  NGramIndex index;
  const Symbols from = index.Intern(GoogleTokens(reference));
  const Symbols to = index.Intern(GoogleTokens(hypothesis));
  return FromHits(LcsLength(from, to), from.size(), to.size());
}

RougeScore GoogleRougeLsum(absl::string_view reference,
                           absl::string_view hypothesis) {
  NGramIndex index;
  const auto reference_sentences = LineSentences(reference, &index);
  const auto hypothesis_sentences = LineSentences(hypothesis, &index);
  Counts reference_left, hypothesis_left;
  int64_t reference_size = 0;
  int64_t hypothesis_size = 0;
  for (const Symbols& sentence : reference_sentences) {
    reference_size += sentence.size();
    for (const int32_t word : sentence) ++reference_left[word];
  }
  for (const Symbols& sentence : hypothesis_sentences) {
    hypothesis_size += sentence.size();
    for (const int32_t word : sentence) ++hypothesis_left[word];
  }
  int64_t hits = 0;
  for (const Symbols& from : reference_sentences) {
    std::vector<bool> is_common(from.size(), false);
    for (const Symbols& to : hypothesis_sentences) {
      for (const size_t i : LcsPositions(from, to, /*prefer_up=*/true)) {
        is_common[i] = true;
      }
    }
    for (size_t i = 0; i < from.size(); ++i) {
      if (!is_common[i]) continue;
      int64_t& in_hypothesis = hypothesis_left[from[i]];
      int64_t& in_reference = reference_left[from[i]];
      if (in_hypothesis == 0 || in_reference == 0) continue;
      --in_hypothesis;
      --in_reference;
      ++hits;
    }
  }
  return FromHits(hits, reference_size, hypothesis_size);
}

}  // namespace repro::metrics
