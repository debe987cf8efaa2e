#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/data/io.h"
#include "common/metrics/bleu.h"
#include "common/metrics/chrf.h"
#include "common/metrics/cider.h"
#include "common/metrics/code_bleu.h"
#include "common/metrics/edit_distance.h"
#include "common/metrics/python_text.h"
#include "common/metrics/registry_input.h"
#include "common/metrics/rouge.h"
#include "common/stats/descriptive.h"
#include "common/status/macros.h"

namespace repro::metrics {
namespace {

using nlohmann::json;

struct Tokenized {
  std::vector<Tokens> predictions;
  std::vector<std::vector<Tokens>> references;
};

template <typename Tokenizer>
Tokenized Tokenize(const Texts& texts, const Tokenizer& tokenizer) {
  Tokenized tokenized;
  for (const std::string& text : texts.predictions) {
    tokenized.predictions.push_back(tokenizer(text));
  }
  for (const auto& references : texts.references) {
    auto& tokens = tokenized.references.emplace_back();
    for (const std::string& text : references) {
      tokens.push_back(tokenizer(text));
    }
  }
  return tokenized;
}

absl::StatusOr<json> EvaluateBleu(const JsonlFile& predictions,
                                  const JsonlFile& references,
                                  const Options& options) {
  REPRO_RETURN_IF_ERROR(
      CheckChoice(options, "smoothing", {"none", "add_one", "epsilon"}));
  REPRO_RETURN_IF_ERROR(
      CheckChoice(options, "reference_length", {"closest", "shortest"}));
  const std::string& smoothing = options.at("smoothing");
  REPRO_ASSIGN_OR_RETURN(const Texts texts, ReadTexts(predictions, references));
  const Tokenized tokenized = Tokenize(texts, SplitWhitespace);
  REPRO_ASSIGN_OR_RETURN(
      const BleuScore score,
      CorpusBleu(tokenized.references, tokenized.predictions,
                 smoothing == "none"      ? BleuSmoothing::kNone
                 : smoothing == "add_one" ? BleuSmoothing::kAddOne
                                          : BleuSmoothing::kEpsilon,
                 options.at("reference_length") == "closest"
                     ? ReferenceLength::kClosest
                     : ReferenceLength::kShortest));
  return json{{"value", score.bleu},
              {"n", tokenized.predictions.size()},
              {"precisions", score.precisions},
              {"brevity_penalty", score.brevity_penalty},
              {"prediction_tokens", score.hypothesis_length},
              {"reference_tokens", score.reference_length}};
}

// The mean over items of score(references, prediction).
template <typename Item, typename Score>
absl::StatusOr<json> MeanOverItems(
    const std::vector<std::vector<Item>>& references,
    const std::vector<Item>& predictions, const Score& score) {
  std::vector<double> values;
  for (size_t i = 0; i < predictions.size(); ++i) {
    REPRO_ASSIGN_OR_RETURN(const double value,
                           score(references[i], predictions[i]));
    values.push_back(value);
  }
  REPRO_ASSIGN_OR_RETURN(const double mean, Mean(values));
  return json{{"value", mean}, {"n", values.size()}};
}

absl::StatusOr<json> EvaluateCodeXglueBleu(const JsonlFile& predictions,
                                           const JsonlFile& references,
                                           const Options&) {
  REPRO_ASSIGN_OR_RETURN(const Texts texts, ReadTexts(predictions, references));
  const Tokenized tokenized = Tokenize(texts, CodeXglueTokens);
  return MeanOverItems(tokenized.references, tokenized.predictions,
                       CodeXglueSentenceBleu);
}

absl::StatusOr<json> EvaluateNltkBleu(const JsonlFile& predictions,
                                      const JsonlFile& references,
                                      const Options& options) {
  REPRO_RETURN_IF_ERROR(CheckChoice(options, "method", {"2", "4"}));
  const NltkSmoothing smoothing = options.at("method") == "2"
                                      ? NltkSmoothing::kMethod2
                                      : NltkSmoothing::kMethod4;
  REPRO_ASSIGN_OR_RETURN(const Texts texts, ReadTexts(predictions, references));
  const Tokenized tokenized = Tokenize(texts, SplitWhitespace);
  return MeanOverItems(
      tokenized.references, tokenized.predictions,
      [&](const std::vector<Tokens>& reference, const Tokens& prediction) {
        return NltkSentenceBleu(reference, prediction, smoothing);
      });
}

// The largest score(reference, prediction) over the references.
template <typename Score>
double Best(const std::vector<std::string>& references,
            const std::string& prediction, const Score& score) {
  double best = 0;
  for (const std::string& reference : references) {
    best = std::max(best, static_cast<double>(score(reference, prediction)));
  }
  return best;
}

absl::StatusOr<json> EvaluateRougeL(const JsonlFile& predictions,
                                    const JsonlFile& references,
                                    const Options& options) {
  REPRO_RETURN_IF_ERROR(CheckChoice(
      options, "variant", {"coco", "rouge", "rouge_score", "rouge_score_sum"}));
  const std::string& variant = options.at("variant");
  REPRO_ASSIGN_OR_RETURN(const Texts texts, ReadTexts(predictions, references));
  return MeanOverItems(
      texts.references, texts.predictions,
      [&](const std::vector<std::string>& reference,
          const std::string& prediction) -> absl::StatusOr<double> {
        if (variant == "coco") return CocoRougeL(reference, prediction);
        const auto rouge = variant == "rouge"         ? SetRougeL
                           : variant == "rouge_score" ? GoogleRougeL
                                                      : GoogleRougeLsum;
        return Best(reference, prediction,
                    [&](const std::string& text, const std::string& other) {
                      return rouge(text, other).f1;
                    });
      });
}

absl::StatusOr<json> EvaluateCiderD(const JsonlFile& predictions,
                                    const JsonlFile& references,
                                    const Options&) {
  REPRO_ASSIGN_OR_RETURN(const Texts texts, ReadTexts(predictions, references));
  const Tokenized tokenized = Tokenize(texts, SplitWhitespace);
  REPRO_ASSIGN_OR_RETURN(const CiderScore score,
                         CiderD(tokenized.references, tokenized.predictions));
  return json{{"value", score.mean}, {"n", score.items.size()}};
}

absl::StatusOr<json> EvaluateChrf(const JsonlFile& predictions,
                                  const JsonlFile& references,
                                  const Options& options) {
  ChrfOptions chrf;
  REPRO_ASSIGN_OR_RETURN(chrf.char_order,
                         NumberOption(options, "char_order", 1));
  REPRO_ASSIGN_OR_RETURN(chrf.word_order,
                         NumberOption(options, "word_order", 0));
  if (!absl::SimpleAtod(options.at("beta"), &chrf.beta)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "option beta is \"", options.at("beta"), "\", needed is a number"));
  }
  REPRO_ASSIGN_OR_RETURN(const Texts texts, ReadTexts(predictions, references));
  REPRO_ASSIGN_OR_RETURN(const double value,
                         CorpusChrf(texts.references, texts.predictions, chrf));
  return json{{"value", value}, {"n", texts.predictions.size()}};
}

absl::StatusOr<json> EvaluateEditSimilarity(const JsonlFile& predictions,
                                            const JsonlFile& references,
                                            const Options& options) {
  REPRO_RETURN_IF_ERROR(CheckChoice(
      options, "variant", {"levenshtein", "indel", "difflib", "fuzzywuzzy"}));
  const std::string& variant = options.at("variant");
  const auto similarity = variant == "levenshtein" ? LevenshteinSimilarity
                          : variant == "indel"     ? IndelSimilarity
                          : variant == "difflib"   ? DifflibRatio
                                                   : FuzzywuzzyRatio;
  REPRO_ASSIGN_OR_RETURN(const Texts texts, ReadTexts(predictions, references));
  return MeanOverItems(
      texts.references, texts.predictions,
      [&](const std::vector<std::string>& reference,
          const std::string& prediction) -> absl::StatusOr<double> {
        return Best(reference, prediction,
                    [&](const std::string& text, const std::string& other) {
                      return similarity(other, text);
                    });
      });
}

absl::StatusOr<json> EvaluateCodeBleuTokens(const JsonlFile& predictions,
                                            const JsonlFile& references,
                                            const Options& options) {
  Keywords keywords;
  if (const std::string& path = options.at("keywords"); !path.empty()) {
    REPRO_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
    keywords = ParseKeywords(text);
  }
  REPRO_ASSIGN_OR_RETURN(const Texts texts, ReadTexts(predictions, references));
  const Tokenized tokenized = Tokenize(texts, SplitWhitespace);
  REPRO_ASSIGN_OR_RETURN(
      const double ngram,
      CodeBleuNgramMatch(tokenized.references, tokenized.predictions));
  REPRO_ASSIGN_OR_RETURN(
      const double weighted,
      CodeBleuWeightedNgramMatch(tokenized.references, tokenized.predictions,
                                 keywords));
  return json{{"value", (ngram + weighted) / 2},
              {"n", tokenized.predictions.size()},
              {"ngram", ngram},
              {"weighted_ngram", weighted}};
}

}  // namespace

std::vector<Metric> TextMetrics() {
  const std::string text = R"({"text": string})";
  const std::string texts =
      R"({"text": string, or [strings] that are all right})";
  const auto entry = [&](const std::string& name, const std::string& help,
                         std::vector<OptionInfo> options, auto evaluate) {
    return Metric{{name, help, text, texts, true, std::move(options)},
                  evaluate};
  };
  return {
      entry("bleu", "corpus BLEU-4 of white-space tokens",
            {{"smoothing", "none",
              "none (multi-bleu), add_one (CodeXGLUE's code tasks) or epsilon "
              "(NLTK's method 1)"},
             {"reference_length", "closest",
              "closest (multi-bleu, NLTK) or shortest (CodeXGLUE)"}},
            EvaluateBleu),
      entry("codexglue_bleu",
            "mean smoothed sentence BLEU-4 of CodeXGLUE's summaries", {},
            EvaluateCodeXglueBleu),
      entry("nltk_bleu", "mean sentence BLEU-4 of NLTK, white-space tokens",
            {{"method", "4", "smoothing method, 2 or 4"}}, EvaluateNltkBleu),
      entry("rouge_l", "mean ROUGE-L F score",
            {{"variant", "coco",
              "coco (pycocoevalcap), rouge (package rouge 1.0.1, LongBench), "
              "rouge_score (rougeL) or rouge_score_sum (rougeLsum)"}},
            EvaluateRougeL),
      entry("cider_d", "CIDEr-D of pycocoevalcap, 0 to 10", {}, EvaluateCiderD),
      entry("chrf", "chrF of sacrebleu",
            {{"char_order", "6", "longest character n-grams"},
             {"word_order", "0", "longest word n-grams; 2 is chrF++"},
             {"beta", "2", "weight of recall"}},
            EvaluateChrf),
      entry("edit_similarity", "mean similarity of characters",
            {{"variant", "levenshtein",
              "levenshtein, indel (rapidfuzz's fuzz.ratio), difflib (Python's "
              "SequenceMatcher) or fuzzywuzzy (difflib in whole percent)"}},
            EvaluateEditSimilarity),
      entry("code_bleu_tokens",
            "mean of CodeBLEU's n-gram and weighted n-gram parts",
            {{"keywords", "", "file of the language's keywords, one a line"}},
            EvaluateCodeBleuTokens),
  };
}

}  // namespace repro::metrics
