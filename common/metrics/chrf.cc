#include "common/metrics/chrf.h"

#include <algorithm>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/metrics/ngrams.h"
#include "common/metrics/python_text.h"

namespace repro::metrics {
namespace {

// Of one order.
struct Statistics {
  int64_t hypothesis = 0;
  int64_t reference = 0;
  int64_t matches = 0;
};

double FScore(const std::vector<Statistics>& orders, double beta) {
  double precision = 0;
  double recall = 0;
  int num_orders = 0;
  for (const Statistics& order : orders) {
    if (order.hypothesis == 0 || order.reference == 0) continue;
    precision += static_cast<double>(order.matches) / order.hypothesis;
    recall += static_cast<double>(order.matches) / order.reference;
    ++num_orders;
  }
  if (precision + recall == 0) return 0;
  precision /= num_orders;
  recall /= num_orders;
  const double factor = beta * beta;
  return (1 + factor) * precision * recall / (factor * precision + recall);
}

Tokens WordsAndMarks(const std::string& text) {
  Tokens tokens;
  for (const std::string& word : SplitWhitespace(text)) {
    if (word.size() > 1 && IsAsciiPunctuation(word.back())) {
      tokens.push_back(word.substr(0, word.size() - 1));
      tokens.push_back(word.substr(word.size() - 1));
    } else if (word.size() > 1 && IsAsciiPunctuation(word.front())) {
      tokens.push_back(word.substr(0, 1));
      tokens.push_back(word.substr(1));
    } else {
      tokens.push_back(word);
    }
  }
  return tokens;
}

class Segment {
 public:
  explicit Segment(const ChrfOptions& options) : options_(options) {}

  // The n-grams of each order, of characters and then of words.
  std::vector<Symbols> Grams(const std::string& text) {
    Symbols characters;
    for (const int32_t code_point : CodePoints(text)) {
      if (!IsSpace(code_point)) characters.push_back(code_point);
    }
    std::vector<Symbols> grams =
        characters_.Grams(characters, options_.char_order);
    if (options_.word_order > 0) {
      for (Symbols& order : words_.Grams(words_.Intern(WordsAndMarks(text)),
                                         options_.word_order)) {
        grams.push_back(std::move(order));
      }
    }
    return grams;
  }

  int64_t NumIds(int order) const {
    return order < options_.char_order
               ? characters_.size(order + 1)
               : words_.size(order - options_.char_order + 1);
  }

 private:
  ChrfOptions options_;
  NGramIndex characters_;
  NGramIndex words_;
};

std::vector<Statistics> Compare(const std::vector<Symbols>& hypothesis,
                                const std::vector<Symbols>& reference,
                                const Segment& segment) {
  std::vector<Statistics> orders(hypothesis.size());
  std::vector<int64_t> left;
  for (size_t order = 0; order < orders.size(); ++order) {
    Statistics& statistics = orders[order];
    statistics.reference = reference[order].size();
    if (statistics.reference == 0) continue;
    statistics.hypothesis = hypothesis[order].size();
    left.assign(segment.NumIds(order), 0);
    for (const int32_t id : reference[order]) ++left[id];
    for (const int32_t id : hypothesis[order]) {
      if (left[id] == 0) continue;
      --left[id];
      ++statistics.matches;
    }
  }
  return orders;
}

}  // namespace

absl::StatusOr<double> CorpusChrf(
    const std::vector<std::vector<std::string>>& references,
    const std::vector<std::string>& hypotheses, const ChrfOptions& options) {
  if (options.char_order < 1 || options.word_order < 0 || !(options.beta > 0)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "char_order ", options.char_order, ", word_order ", options.word_order,
        ", beta ", options.beta, ": needed are at least 1, at least 0, and ",
        "more than 0"));
  }
  if (references.size() != hypotheses.size() || hypotheses.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        references.size(), " segments with references and ", hypotheses.size(),
        " hypotheses: they must be equally many and at least one"));
  }
  std::vector<Statistics> total(options.char_order + options.word_order);
  for (size_t i = 0; i < hypotheses.size(); ++i) {
    if (references[i].empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("segment ", i, " has no reference"));
    }
    Segment segment(options);
    const std::vector<Symbols> hypothesis = segment.Grams(hypotheses[i]);
    std::vector<Statistics> best;
    double best_score = -1;
    for (const std::string& reference : references[i]) {
      const std::vector<Symbols> grams = segment.Grams(reference);
      std::vector<Statistics> statistics = Compare(hypothesis, grams, segment);
      const double score = FScore(statistics, options.beta);
      if (score > best_score) {
        best_score = score;
        best = std::move(statistics);
      }
    }
    for (size_t order = 0; order < total.size(); ++order) {
      total[order].hypothesis += best[order].hypothesis;
      total[order].reference += best[order].reference;
      total[order].matches += best[order].matches;
    }
  }
  return FScore(total, options.beta);
}

}  // namespace repro::metrics
