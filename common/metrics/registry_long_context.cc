#include <algorithm>
#include <functional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/metrics/infinite_bench.h"
#include "common/metrics/long_bench.h"
#include "common/metrics/needle.h"
#include "common/metrics/qa.h"
#include "common/metrics/registry_input.h"
#include "common/metrics/rouge.h"
#include "common/stats/descriptive.h"
#include "common/status/macros.h"

namespace repro::metrics {
namespace {

using nlohmann::json;
using PairScore = std::function<absl::StatusOr<double>(const Pair& pair)>;

absl::StatusOr<json> MeanOverPairs(const JsonlFile& predictions,
                                   const JsonlFile& references,
                                   const PairScore& score) {
  REPRO_ASSIGN_OR_RETURN(const auto pairs, Match(predictions, references));
  std::vector<double> values;
  for (const Pair& pair : pairs) {
    REPRO_ASSIGN_OR_RETURN(const double value, score(pair));
    values.push_back(value);
  }
  REPRO_ASSIGN_OR_RETURN(const double mean, Mean(values));
  return json{{"value", mean}, {"n", values.size()}};
}

// The best score(prediction, reference) over the references' texts.
template <typename Score>
PairScore BestOfTexts(Score score) {
  return [score](const Pair& pair) -> absl::StatusOr<double> {
    REPRO_ASSIGN_OR_RETURN(const std::string prediction,
                           StringField(pair.prediction, "text"));
    REPRO_ASSIGN_OR_RETURN(const auto references,
                           StringsField(pair.reference, "text"));
    double best = 0;
    for (const std::string& reference : references) {
      best = std::max<double>(best, score(prediction, reference));
    }
    return best;
  };
}

absl::StatusOr<Tokens> TokensOf(const Line& line, const json& value) {
  constexpr char kNeeded[] = "an array of strings";
  if (!value.is_array()) return WrongType(line, "tokens", value, kNeeded);
  Tokens tokens;
  for (const json& token : value) {
    if (!token.is_string()) return WrongType(line, "tokens", value, kNeeded);
    tokens.push_back(token.get<std::string>());
  }
  return tokens;
}

// The same for texts that a segmenter has cut into words.
template <typename Score>
PairScore BestOfTokens(Score score) {
  return [score](const Pair& pair) -> absl::StatusOr<double> {
    REPRO_ASSIGN_OR_RETURN(const json* predicted,
                           Field(pair.prediction, "tokens"));
    REPRO_ASSIGN_OR_RETURN(const Tokens prediction,
                           TokensOf(pair.prediction, *predicted));
    REPRO_ASSIGN_OR_RETURN(const json* wanted, Field(pair.reference, "tokens"));
    if (!wanted->is_array() || wanted->empty()) {
      return WrongType(pair.reference, "tokens", *wanted,
                       "an array of one or more arrays of strings");
    }
    double best = 0;
    for (const json& element : *wanted) {
      REPRO_ASSIGN_OR_RETURN(const Tokens reference,
                             TokensOf(pair.reference, element));
      best = std::max<double>(best, score(prediction, reference));
    }
    return best;
  };
}

double SetRougeLOfTokens(const Tokens& prediction, const Tokens& reference) {
  return SetRougeL(absl::StrJoin(reference, " "),
                   absl::StrJoin(prediction, " "))
      .f1;
}

absl::StatusOr<double> ClassificationOf(const Pair& pair, bool first_line) {
  REPRO_ASSIGN_OR_RETURN(std::string prediction,
                         StringField(pair.prediction, "text"));
  REPRO_ASSIGN_OR_RETURN(const auto references,
                         StringsField(pair.reference, "text"));
  REPRO_ASSIGN_OR_RETURN(const auto classes,
                         StringsField(pair.reference, "classes"));
  if (first_line) prediction = FirstLine(prediction);
  double best = 0;
  for (const std::string& reference : references) {
    best = std::max(best, ClassificationScore(prediction, reference, classes));
  }
  return best;
}

absl::StatusOr<json> EvaluateLongBench(const JsonlFile& predictions,
                                       const JsonlFile& references,
                                       const Options& options) {
  REPRO_RETURN_IF_ERROR(CheckChoice(
      options, "score",
      {"qa_f1", "qa_f1_zh", "rouge_l", "rouge_l_zh", "classification",
       "retrieval", "retrieval_zh", "count", "code_sim"}));
  REPRO_RETURN_IF_ERROR(CheckChoice(options, "first_line", {"false", "true"}));
  const bool first_line = options.at("first_line") == "true";
  const std::string& score = options.at("score");
  const auto scored = [first_line](absl::string_view text) {
    return first_line ? FirstLine(text) : std::string(text);
  };
  PairScore pair_score;
  if (score == "qa_f1") {
    pair_score = BestOfTexts(
        [&](absl::string_view prediction, absl::string_view reference) {
          return QaF1(scored(prediction), reference);
        });
  } else if (score == "rouge_l") {
    pair_score = BestOfTexts(
        [&](absl::string_view prediction, absl::string_view reference) {
          return SetRougeL(reference, scored(prediction)).f1;
        });
  } else if (score == "code_sim") {
    pair_score = BestOfTexts(CodeSimilarity);
  } else if (score == "retrieval" || score == "retrieval_zh" ||
             score == "count") {
    pair_score = BestOfTexts(DigitRunScore);
  } else if (score == "qa_f1_zh") {
    pair_score = BestOfTokens(ChineseQaF1);
  } else if (score == "rouge_l_zh") {
    pair_score = BestOfTokens(SetRougeLOfTokens);
  } else {
    pair_score = [&](const Pair& pair) {
      return ClassificationOf(pair, first_line);
    };
  }
  return MeanOverPairs(predictions, references, pair_score);
}

// A label that may stand alone or first in an array.
absl::StatusOr<const json*> FirstLabel(const Line& line) {
  REPRO_ASSIGN_OR_RETURN(const json* label, Field(line, "label"));
  if (!label->is_array()) return label;
  if (label->empty()) return WrongType(line, "label", *label, "not empty");
  return &label->front();
}

absl::StatusOr<std::string> LabelText(const Line& line) {
  REPRO_ASSIGN_OR_RETURN(const json* label, FirstLabel(line));
  return AsText(line, "label", *label);
}

absl::StatusOr<int64_t> LabelInteger(const Line& line) {
  REPRO_ASSIGN_OR_RETURN(const json* label, FirstLabel(line));
  if (label->is_number_integer()) return label->get<int64_t>();
  return WrongType(line, "label", *label, "an integer");
}

using InfiniteBenchScore = std::function<absl::StatusOr<double>(
    const std::string& text, const Line& reference, InfiniteBenchRules rules)>;

const std::vector<std::pair<std::string, InfiniteBenchScore>>&
InfiniteBenchTasks() {
  using Rules = InfiniteBenchRules;
  const auto digits = [](const std::string& text, const Line& reference,
                         Rules) -> absl::StatusOr<double> {
    REPRO_ASSIGN_OR_RETURN(const std::string label, LabelText(reference));
    return FirstDigitsMatch(text, label);
  };
  const auto best = [](const auto& score) -> InfiniteBenchScore {
    return [score](const std::string& text, const Line& reference,
                   Rules) -> absl::StatusOr<double> {
      REPRO_ASSIGN_OR_RETURN(const auto labels,
                             StringsField(reference, "label"));
      double value = 0;
      for (const std::string& label : labels) {
        value = std::max<double>(value, score(text, label));
      }
      return value;
    };
  };
  static const auto* const tasks =
      new std::vector<std::pair<std::string, InfiniteBenchScore>>{
          {"passkey", digits},
          {"number_string", digits},
          {"kv_retrieval",
           [](const std::string& text, const Line& reference,
              Rules) -> absl::StatusOr<double> {
             REPRO_ASSIGN_OR_RETURN(const std::string label,
                                    LabelText(reference));
             return ContainsWord(text, label);
           }},
          {"longbook_qa_eng", best(QaF1)},
          {"longbook_qa_chn", best(ChineseCharacterF1)},
          {"longbook_sum_eng",
           best([](absl::string_view text, absl::string_view label) {
             return GoogleRougeLsum(label, text).f1;
           })},
          {"longbook_choice_eng",
           [](const std::string& text, const Line& reference,
              Rules rules) -> absl::StatusOr<double> {
             REPRO_ASSIGN_OR_RETURN(const auto labels,
                                    StringsField(reference, "label"));
             return ChoiceIsRight(text, labels, rules);
           }},
          {"longdialogue_qa_eng",
           [](const std::string& text, const Line& reference,
              Rules rules) -> absl::StatusOr<double> {
             REPRO_ASSIGN_OR_RETURN(const auto labels,
                                    StringsField(reference, "label"));
             return DialogueIsRight(text, labels, rules);
           }},
          {"code_debug",
           [](const std::string& text, const Line& reference,
              Rules rules) -> absl::StatusOr<double> {
             REPRO_ASSIGN_OR_RETURN(const auto labels,
                                    StringsField(reference, "label"));
             if (labels.size() != 2) {
               return ErrorAt(reference,
                              "field \"label\" must hold a function and the "
                              "letter of its option");
             }
             return CodeDebugIsRight(text, labels[0], labels[1], rules);
           }},
          {"code_run",
           [](const std::string& text, const Line& reference,
              Rules) -> absl::StatusOr<double> {
             REPRO_ASSIGN_OR_RETURN(const int64_t label,
                                    LabelInteger(reference));
             return LastWordIsInteger(text, label);
           }},
          {"math_find",
           [](const std::string& text, const Line& reference,
              Rules) -> absl::StatusOr<double> {
             REPRO_ASSIGN_OR_RETURN(const json* label, FirstLabel(reference));
             if (label->is_number_float()) {
               return FirstNumberIs(text, label->get<double>());
             }
             REPRO_ASSIGN_OR_RETURN(const int64_t integer,
                                    LabelInteger(reference));
             return FirstNumberIs(text, integer);
           }},
          {"math_calc",
           [](const std::string& text, const Line& reference,
              Rules) -> absl::StatusOr<double> {
             REPRO_ASSIGN_OR_RETURN(const json* label,
                                    Field(reference, "label"));
             if (label->is_array() && !label->empty() &&
                 label->front().is_array()) {
               label = &label->front();
             }
             std::vector<int64_t> values;
             for (const json& value : *label) {
               if (!label->is_array() || !value.is_number_integer()) {
                 return WrongType(reference, "label", *label,
                                  "an array of integers");
               }
               values.push_back(value.get<int64_t>());
             }
             return CommonPrefixShare(text, values);
           }},
      };
  return *tasks;
}

absl::StatusOr<json> EvaluateInfiniteBench(const JsonlFile& predictions,
                                           const JsonlFile& references,
                                           const Options& options) {
  REPRO_RETURN_IF_ERROR(CheckChoice(options, "rules", {"original", "revised"}));
  std::vector<std::string> names;
  const InfiniteBenchScore* score = nullptr;
  for (const auto& [name, of_task] : InfiniteBenchTasks()) {
    names.push_back(name);
    if (name == options.at("task")) score = &of_task;
  }
  REPRO_RETURN_IF_ERROR(CheckChoice(options, "task", names));
  const InfiniteBenchRules rules = options.at("rules") == "original"
                                       ? InfiniteBenchRules::kOriginal
                                       : InfiniteBenchRules::kRevised;
  return MeanOverPairs(
      predictions, references, [&](const Pair& pair) -> absl::StatusOr<double> {
        REPRO_ASSIGN_OR_RETURN(const std::string text,
                               StringField(pair.prediction, "text"));
        return (*score)(text, pair.reference, rules);
      });
}

absl::StatusOr<json> EvaluateRuler(const JsonlFile& predictions,
                                   const JsonlFile& references,
                                   const Options& options) {
  REPRO_RETURN_IF_ERROR(CheckChoice(options, "match", {"all", "part"}));
  const bool all = options.at("match") == "all";
  return MeanOverPairs(
      predictions, references,
      [all](const Pair& pair) -> absl::StatusOr<double> {
        REPRO_ASSIGN_OR_RETURN(const std::string text,
                               StringField(pair.prediction, "text"));
        REPRO_ASSIGN_OR_RETURN(const auto wanted,
                               StringsField(pair.reference, "text"));
        return all ? ContainedShare(text, wanted) : ContainsAny(text, wanted);
      });
}

absl::StatusOr<json> EvaluateDigitAccuracy(const JsonlFile& predictions,
                                           const JsonlFile& references,
                                           const Options&) {
  return MeanOverPairs(
      predictions, references, [](const Pair& pair) -> absl::StatusOr<double> {
        REPRO_ASSIGN_OR_RETURN(const std::string text,
                               StringField(pair.prediction, "text"));
        REPRO_ASSIGN_OR_RETURN(const std::string key,
                               TextField(pair.reference, "key"));
        const auto value = DigitAccuracy(text, key);
        if (value.ok()) return *value;
        return ErrorAt(pair.reference, value.status().message());
      });
}

}  // namespace

std::vector<Metric> LongContextMetrics() {
  const std::string text = R"({"text": string})";
  std::string tasks;
  for (const auto& [name, score] : InfiniteBenchTasks()) {
    absl::StrAppend(&tasks, tasks.empty() ? "" : ", ", name);
  }
  return {
      {{"longbench",
        "mean score of one LongBench task, the best reference counts",
        R"({"text": string}; of *_zh {"tokens": [words]})",
        R"({"text": string or [strings]}; of *_zh {"tokens": [[words]]}; of )"
        R"(classification also {"classes": [names]})",
        true,
        {{"score", "qa_f1",
          "qa_f1, qa_f1_zh, rouge_l, rouge_l_zh, classification, retrieval, "
          "retrieval_zh, "
          "count or code_sim"},
         {"first_line", "false",
          "true scores the first line only: trec, triviaqa, samsum, lsht"}}},
       EvaluateLongBench},
      {{"infinitebench",
        "mean score of one InfiniteBench task",
        text,
        R"({"label": as in the benchmark's files})",
        true,
        {{"task", "passkey", tasks},
         {"rules", "revised",
          "revised (the later, more lenient one) or original (the benchmark's "
          "authors); they differ on longbook_choice_eng, longdialogue_qa_eng "
          "and code_debug"}}},
       EvaluateInfiniteBench},
      {{"ruler",
        "mean share of the references that RULER's predictions contain",
        text,
        R"({"text": string or [strings]})",
        true,
        {{"match", "all", "all, or part: 1 if any is contained (qa)"}}},
       EvaluateRuler},
      {{"digit_accuracy",
        "share of a passkey's digits that are right at their position",
        text,
        R"({"key": digits as string or integer})",
        true,
        {}},
       EvaluateDigitAccuracy},
  };
}

}  // namespace repro::metrics
