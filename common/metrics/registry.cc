#include "common/metrics/registry.h"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/metrics/agreement.h"
#include "common/metrics/classification.h"
#include "common/metrics/generation.h"
#include "common/metrics/ranking.h"
#include "common/metrics/registry_input.h"
#include "common/stats/descriptive.h"
#include "common/status/macros.h"

namespace repro::metrics {
namespace {

using nlohmann::json;

// The option k: a number from 1, or no limit if it is empty.
absl::StatusOr<int64_t> CutoffOption(const Options& options) {
  if (options.at("k").empty()) return kWholeRanking;
  return NumberOption(options, "k", 1);
}

struct LabelPairs {
  std::vector<std::string> references;
  std::vector<std::string> predictions;
};

absl::StatusOr<LabelPairs> ReadLabels(const JsonlFile& predictions,
                                      const JsonlFile& references) {
  REPRO_ASSIGN_OR_RETURN(const auto pairs, Match(predictions, references));
  LabelPairs labels;
  for (const Pair& pair : pairs) {
    REPRO_ASSIGN_OR_RETURN(std::string prediction,
                           TextField(pair.prediction, "label"));
    REPRO_ASSIGN_OR_RETURN(std::string reference,
                           TextField(pair.reference, "label"));
    labels.predictions.push_back(std::move(prediction));
    labels.references.push_back(std::move(reference));
  }
  return labels;
}

absl::StatusOr<json> EvaluateAccuracy(const JsonlFile& predictions,
                                      const JsonlFile& references,
                                      const Options&) {
  REPRO_ASSIGN_OR_RETURN(const auto labels,
                         ReadLabels(predictions, references));
  REPRO_ASSIGN_OR_RETURN(const double value,
                         Accuracy(labels.references, labels.predictions));
  return json{{"value", value}, {"n", labels.references.size()}};
}

absl::StatusOr<json> EvaluateMcc(const JsonlFile& predictions,
                                 const JsonlFile& references, const Options&) {
  REPRO_ASSIGN_OR_RETURN(const auto labels,
                         ReadLabels(predictions, references));
  REPRO_ASSIGN_OR_RETURN(
      const double value,
      MatthewsCorrelation(labels.references, labels.predictions));
  return json{{"value", value}, {"n", labels.references.size()}};
}

absl::StatusOr<json> EvaluateKappa(const JsonlFile& predictions,
                                   const JsonlFile& references,
                                   const Options& options) {
  REPRO_RETURN_IF_ERROR(
      CheckChoice(options, "weights", {"none", "linear", "quadratic"}));
  const std::string& weights = options.at("weights");
  REPRO_ASSIGN_OR_RETURN(const auto pairs, Match(predictions, references));
  std::vector<int64_t> first;
  std::vector<int64_t> second;
  const auto append = [](const Line& line,
                         std::vector<int64_t>* grades) -> absl::Status {
    REPRO_ASSIGN_OR_RETURN(const json* value, Field(line, "grade"));
    if (!value->is_number_integer()) {
      return WrongType(line, "grade", *value, "an integer");
    }
    grades->push_back(value->get<int64_t>());
    return absl::OkStatus();
  };
  for (const Pair& pair : pairs) {
    REPRO_RETURN_IF_ERROR(append(pair.prediction, &first));
    REPRO_RETURN_IF_ERROR(append(pair.reference, &second));
  }
  REPRO_ASSIGN_OR_RETURN(
      const double value,
      CohenKappa(first, second,
                 weights == "none"     ? KappaWeights::kNone
                 : weights == "linear" ? KappaWeights::kLinear
                                       : KappaWeights::kQuadratic));
  return json{{"value", value}, {"n", first.size()}};
}

// Precision, recall or F1: `part` says which one is the value.
absl::StatusOr<json> EvaluateRates(const JsonlFile& predictions,
                                   const JsonlFile& references,
                                   const Options& options,
                                   double PrecisionRecallF1::*part) {
  REPRO_RETURN_IF_ERROR(
      CheckChoice(options, "average", {"binary", "micro", "macro"}));
  REPRO_RETURN_IF_ERROR(CheckChoice(options, "per_class", {"false", "true"}));
  REPRO_ASSIGN_OR_RETURN(const auto labels,
                         ReadLabels(predictions, references));
  const std::string& average = options.at("average");
  REPRO_ASSIGN_OR_RETURN(
      const PrecisionRecallF1 rates,
      average == "binary"  ? Binary(labels.references, labels.predictions,
                                    options.at("positive"))
      : average == "micro" ? Micro(labels.references, labels.predictions)
                           : Macro(labels.references, labels.predictions));
  json result = {{"value", rates.*part}, {"n", labels.references.size()}};
  if (options.at("per_class") == "true") {
    REPRO_ASSIGN_OR_RETURN(const auto per_class,
                           PerClass(labels.references, labels.predictions));
    for (const auto& [label, rate] : per_class) {
      result["per_class"][label] = {{"precision", rate.precision},
                                    {"recall", rate.recall},
                                    {"f1", rate.f1},
                                    {"support", rate.support}};
    }
  }
  return result;
}

absl::StatusOr<json> EvaluateRocAuc(const JsonlFile& predictions,
                                    const JsonlFile& references,
                                    const Options& options) {
  REPRO_ASSIGN_OR_RETURN(const auto pairs, Match(predictions, references));
  const std::string& positive = options.at("positive");
  std::vector<bool> is_positive;
  std::vector<double> scores;
  std::set<std::string> labels;
  for (const Pair& pair : pairs) {
    REPRO_ASSIGN_OR_RETURN(const json* score, Field(pair.prediction, "score"));
    REPRO_ASSIGN_OR_RETURN(const double number,
                           AsNumber(pair.prediction, "score", *score));
    REPRO_ASSIGN_OR_RETURN(std::string label,
                           TextField(pair.reference, "label"));
    scores.push_back(number);
    is_positive.push_back(label == positive);
    labels.insert(std::move(label));
    if (labels.size() > 2) {
      return ErrorAt(pair.reference, "a third label, ROC-AUC needs two");
    }
  }
  if (labels.size() == 2 && labels.count(positive) == 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        references.name, ": the labels are ", absl::StrJoin(labels, " and "),
        ", none is the positive label \"", positive, "\""));
  }
  REPRO_ASSIGN_OR_RETURN(const double value, RocAuc(is_positive, scores));
  return json{{"value", value}, {"n", scores.size()}};
}

using QueryMetric = std::function<absl::StatusOr<double>(
    const std::vector<bool>& relevant, int64_t num_relevant, int64_t k)>;

// The mean of `metric` over queries.
absl::StatusOr<json> EvaluateQueries(const JsonlFile& predictions,
                                     const JsonlFile& references,
                                     const Options& options,
                                     const QueryMetric& metric) {
  REPRO_ASSIGN_OR_RETURN(const int64_t k, CutoffOption(options));
  REPRO_ASSIGN_OR_RETURN(const auto pairs, Match(predictions, references));
  std::vector<double> values;
  for (const Pair& pair : pairs) {
    REPRO_ASSIGN_OR_RETURN(const auto ranking,
                           IdsField(pair.prediction, "ranking"));
    REPRO_ASSIGN_OR_RETURN(const auto relevant_ids,
                           IdsField(pair.reference, "relevant"));
    const std::set<std::string> relevant_set(relevant_ids.begin(),
                                             relevant_ids.end());
    std::vector<bool> relevant;
    for (const std::string& id : ranking) {
      relevant.push_back(relevant_set.count(id) > 0);
    }
    REPRO_ASSIGN_OR_RETURN(const double value,
                           metric(relevant, relevant_ids.size(), k));
    values.push_back(value);
  }
  REPRO_ASSIGN_OR_RETURN(const double mean, Mean(values));
  return json{{"value", mean}, {"n", values.size()}};
}

// The graded relevance of a reference line: "gains", or 1 for each "relevant".
absl::StatusOr<std::map<std::string, double>> ReadGains(const Line& line) {
  std::map<std::string, double> gains;
  if (!HasField(line, "gains")) {
    if (!HasField(line, "relevant")) {
      REPRO_RETURN_IF_ERROR(Field(line, "gains").status());
    }
    REPRO_ASSIGN_OR_RETURN(const auto ids, IdsField(line, "relevant"));
    for (const std::string& id : ids) gains[id] = 1;
    return gains;
  }
  REPRO_ASSIGN_OR_RETURN(const json* field, Field(line, "gains"));
  if (!field->is_object()) return WrongType(line, "gains", *field, "an object");
  for (const auto& [id, value] : field->items()) {
    REPRO_ASSIGN_OR_RETURN(gains[id], AsNumber(line, "gains", value));
  }
  return gains;
}

absl::StatusOr<json> EvaluateNdcg(const JsonlFile& predictions,
                                  const JsonlFile& references,
                                  const Options& options) {
  REPRO_ASSIGN_OR_RETURN(const int64_t k, CutoffOption(options));
  REPRO_RETURN_IF_ERROR(
      CheckChoice(options, "gain", {"linear", "exponential"}));
  const Gain gain =
      options.at("gain") == "linear" ? Gain::kLinear : Gain::kExponential;
  REPRO_RETURN_IF_ERROR(CheckChoice(options, "unjudged", {"zero", "skip"}));
  const Unjudged unjudged =
      options.at("unjudged") == "skip" ? Unjudged::kSkip : Unjudged::kGainZero;
  REPRO_RETURN_IF_ERROR(CheckChoice(options, "no_gain", {"zero", "skip"}));
  const bool skip_no_gain = options.at("no_gain") == "skip";
  REPRO_ASSIGN_OR_RETURN(const auto pairs, Match(predictions, references));
  std::vector<double> values;
  for (const Pair& pair : pairs) {
    REPRO_ASSIGN_OR_RETURN(const auto ranking,
                           IdsField(pair.prediction, "ranking"));
    REPRO_ASSIGN_OR_RETURN(const auto gains, ReadGains(pair.reference));
    std::vector<std::optional<double>> ranked;
    for (const std::string& id : ranking) {
      const auto found = gains.find(id);
      ranked.push_back(found == gains.end()
                           ? std::nullopt
                           : std::optional<double>(found->second));
    }
    std::vector<double> judged;
    for (const auto& [id, value] : gains) judged.push_back(value);
    const auto value = Ndcg(JudgedGains(ranked, unjudged), judged, gain, k);
    if (!value.ok()) return ErrorAt(pair.reference, value.status().message());
    const bool has_gain = std::any_of(judged.begin(), judged.end(),
                                      [](double g) { return g > 0; });
    if (has_gain || !skip_no_gain) values.push_back(*value);
  }
  if (values.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(references.name, ": no query has an item with a gain"));
  }
  REPRO_ASSIGN_OR_RETURN(const double mean, Mean(values));
  return json{{"value", mean}, {"n", values.size()}};
}

absl::StatusOr<int64_t> SampleCount(const Line& line, const std::string& name) {
  REPRO_ASSIGN_OR_RETURN(const json* value, Field(line, name));
  if (value->is_number_unsigned() && *value <= 1000000000) {
    return value->get<int64_t>();
  }
  return WrongType(line, name, *value, "a whole number from 0 to 10^9");
}

absl::StatusOr<json> EvaluatePassAtK(const JsonlFile& predictions,
                                     const JsonlFile& references,
                                     const Options& options) {
  REPRO_ASSIGN_OR_RETURN(const int64_t k, CutoffOption(options));
  REPRO_RETURN_IF_ERROR(CheckNotEmpty(predictions));
  struct Task {
    SampledProblem problem;
    Line first_line;
    bool is_counted;  // given as "n" and "c"
  };
  std::map<std::string, Task> tasks;
  int64_t num_samples = 0;
  for (const Line& line : Lines(predictions)) {
    REPRO_ASSIGN_OR_RETURN(const std::string id, TextField(line, "task_id"));
    const bool is_counted = HasField(line, "n") || HasField(line, "c");
    SampledProblem drawn{1, 0};
    if (is_counted) {
      REPRO_ASSIGN_OR_RETURN(drawn.samples, SampleCount(line, "n"));
      REPRO_ASSIGN_OR_RETURN(drawn.correct, SampleCount(line, "c"));
    } else {
      REPRO_ASSIGN_OR_RETURN(const json* passed, Field(line, "passed"));
      if (!passed->is_boolean()) {
        return WrongType(line, "passed", *passed, "true or false");
      }
      drawn.correct = passed->get<bool>();
    }
    const auto [found, is_new] = tasks.emplace(id, Task{{}, line, is_counted});
    if (!is_new && (is_counted || found->second.is_counted)) {
      return ErrorAt(
          line, absl::StrCat("task_id \"", id, "\" repeats line ",
                             found->second.first_line.json->line,
                             ": a task with \"n\" and \"c\" has one line"));
    }
    found->second.problem.samples += drawn.samples;
    found->second.problem.correct += drawn.correct;
    num_samples += drawn.samples;
  }
  if (!references.name.empty()) {
    REPRO_RETURN_IF_ERROR(CheckNotEmpty(references));
    REPRO_ASSIGN_OR_RETURN(const LinesById wanted,
                           IndexBy(references, "task_id"));
    for (const auto& [id, task] : tasks) {
      if (wanted.count(id) == 0) {
        return NoPartner(task.first_line, "task_id", id, references);
      }
    }
    for (const Line& line : Lines(references)) {
      REPRO_ASSIGN_OR_RETURN(const std::string id, TextField(line, "task_id"));
      if (tasks.count(id) == 0) {
        return NoPartner(line, "task_id", id, predictions);
      }
    }
  }
  std::vector<double> values;
  for (const auto& [id, task] : tasks) {
    const auto value = PassAtK(task.problem, k);
    if (!value.ok()) {
      return ErrorAt(
          task.first_line,
          absl::StrCat("task_id \"", id, "\": ", value.status().message()));
    }
    values.push_back(*value);
  }
  REPRO_ASSIGN_OR_RETURN(const double mean, Mean(values));
  return json{
      {"value", mean}, {"n", values.size()}, {"num_samples", num_samples}};
}

absl::StatusOr<json> EvaluateExactMatch(const JsonlFile& predictions,
                                        const JsonlFile& references,
                                        const Options& options) {
  REPRO_RETURN_IF_ERROR(
      CheckChoice(options, "normalize", {"none", "whitespace"}));
  const bool collapse = options.at("normalize") == "whitespace";
  REPRO_ASSIGN_OR_RETURN(const auto pairs, Match(predictions, references));
  std::vector<std::string> predicted;
  std::vector<std::string> expected;
  for (const Pair& pair : pairs) {
    REPRO_ASSIGN_OR_RETURN(std::string prediction,
                           StringField(pair.prediction, "text"));
    REPRO_ASSIGN_OR_RETURN(std::string reference,
                           StringField(pair.reference, "text"));
    predicted.push_back(collapse ? CollapseWhitespace(prediction)
                                 : std::move(prediction));
    expected.push_back(collapse ? CollapseWhitespace(reference)
                                : std::move(reference));
  }
  REPRO_ASSIGN_OR_RETURN(const double value, ExactMatch(expected, predicted));
  return json{{"value", value}, {"n", predicted.size()}};
}

absl::StatusOr<json> EvaluatePerplexity(const JsonlFile& predictions,
                                        const JsonlFile& references,
                                        const Options&) {
  REPRO_RETURN_IF_ERROR(CheckNotEmpty(predictions));
  if (!references.name.empty()) {
    REPRO_RETURN_IF_ERROR(Match(predictions, references).status());
  }
  std::vector<double> values;
  for (const Line& line : Lines(predictions)) {
    REPRO_ASSIGN_OR_RETURN(const json* field, Field(line, "nll"));
    const auto append = [&](const json& element) -> absl::Status {
      REPRO_ASSIGN_OR_RETURN(const double value,
                             AsNumber(line, "nll", element));
      // The rule for one value is that of a sequence of length one.
      if (const auto perplexity = Perplexity({value});
          absl::IsInvalidArgument(perplexity.status())) {
        return ErrorAt(line, perplexity.status().message());
      }
      values.push_back(value);
      return absl::OkStatus();
    };
    if (field->is_array()) {
      for (const json& element : *field) REPRO_RETURN_IF_ERROR(append(element));
    } else {
      REPRO_RETURN_IF_ERROR(append(*field));
    }
  }
  if (values.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(predictions.name, ": no line holds a token"));
  }
  REPRO_ASSIGN_OR_RETURN(const double value, Perplexity(values));
  return json{{"value", value}, {"n", values.size()}};
}

const std::vector<Metric>& Registry() {
  static const auto* const registry = [] {
    const std::string label = R"({"label": string, integer or boolean})";
    const std::string ranking =
        R"({"ranking": [item ids, best first]}, one line a query)";
    const std::string relevant =
        R"({"relevant": [ids of all relevant items]}, one line a query)";
    const OptionInfo positive = {"positive", "1", "the positive label"};
    const std::vector<OptionInfo> averaging = {
        {"average", "binary", "binary, micro or macro"},
        positive,
        {"per_class", "false", "true adds the rates of each label"}};
    const OptionInfo cutoff = {"k", "", "ranks considered; default all"};
    const OptionInfo at_k = {"k", "10", "ranks considered"};

    const auto rates = [&](const std::string& name, const std::string& help,
                           double PrecisionRecallF1::*part) {
      return Metric{
          {name, help, label, label, true, averaging},
          [part](const JsonlFile& predictions, const JsonlFile& references,
                 const Options& options) {
            return EvaluateRates(predictions, references, options, part);
          }};
    };
    const auto queries = [&](const std::string& name, const std::string& help,
                             const OptionInfo& k, const QueryMetric& metric) {
      return Metric{
          {name, help, ranking, relevant, true, {k}},
          [metric](const JsonlFile& predictions, const JsonlFile& references,
                   const Options& options) {
            return EvaluateQueries(predictions, references, options, metric);
          }};
    };
    auto* const metrics = new std::vector<Metric>{
        {{"accuracy", "share of labels that are right", label, label, true, {}},
         EvaluateAccuracy},
        rates("precision", "share of predicted labels that are right",
              &PrecisionRecallF1::precision),
        rates("recall", "share of labels that are found",
              &PrecisionRecallF1::recall),
        rates("f1", "harmonic mean of precision and recall",
              &PrecisionRecallF1::f1),
        {{"roc_auc",
          "area under the ROC curve, ties counting one half",
          R"({"score": number, higher means more likely positive})",
          label,
          true,
          {positive}},
         EvaluateRocAuc},
        {{"mcc",
          "Matthews' correlation coefficient, two or more classes",
          label,
          label,
          true,
          {}},
         EvaluateMcc},
        {{"kappa",
          "Cohen's kappa of two raters",
          R"({"grade": integer} of the first rater)",
          R"({"grade": integer} of the second)",
          true,
          {{"weights", "none",
            "none, linear or quadratic, for ranked grades"}}},
         EvaluateKappa},
        queries("mrr", "mean of 1 / rank of the first relevant item", cutoff,
                [](const std::vector<bool>& relevant, int64_t, int64_t k) {
                  return ReciprocalRank(relevant, k);
                }),
        queries("recall_at_k", "share of the relevant items in the top k", at_k,
                RecallAtK),
        queries("precision_at_k", "relevant items in the top k over k", at_k,
                [](const std::vector<bool>& relevant, int64_t, int64_t k) {
                  return PrecisionAtK(relevant, k);
                }),
        queries("map", "mean average precision", cutoff, AveragePrecision),
        {{"ndcg",
          "normalised discounted cumulative gain",
          ranking,
          R"({"gains": {item id: number}}, or {"relevant": [ids]} for gains )"
          R"(of 1; one line a query)",
          true,
          {cutoff,
           {"gain", "linear", "linear (g) or exponential (2^g - 1)"},
           {"unjudged", "zero",
            "zero: a ranked item without a gain gains 0; skip: it takes no "
            "rank"},
           {"no_gain", "zero",
            "zero: a query without any gain scores 0; skip: it is left out"}}},
         EvaluateNdcg},
        {{"pass_at_k",
          "unbiased estimate that one of k samples passes (HumanEval)",
          R"({"task_id": id, "passed": boolean}, one line a sample; or )"
          R"({"task_id": id, "n": samples, "c": passed}, one line a task)",
          R"(optional: {"task_id": id}, one line a task, to check that none )"
          R"(is missing)",
          false,
          {{"k", "1", "samples that may be tried"}}},
         EvaluatePassAtK},
        {{"exact_match",
          "share of texts that equal their reference",
          R"({"text": string})",
          R"({"text": string})",
          true,
          {{"normalize", "none",
            "none, or whitespace: trim and collapse it first"}}},
         EvaluateExactMatch},
        {{"perplexity",
          "exp of the mean negative log-likelihood of all tokens",
          R"({"nll": nats of one token, or [nats of each token]})",
          "optional: any objects, matched to check that none is missing",
          false,
          {}},
         EvaluatePerplexity},
    };
    for (auto& more : {TextMetrics(), CodeMetrics(), LongContextMetrics()}) {
      metrics->insert(metrics->end(), more.begin(), more.end());
    }
    return metrics;
  }();
  return *registry;
}

absl::StatusOr<const Metric*> FindMetric(absl::string_view name) {
  std::vector<std::string> names;
  for (const Metric& metric : Registry()) {
    if (metric.info.name == name) return &metric;
    names.push_back(metric.info.name);
  }
  return absl::NotFoundError(absl::StrCat(
      "no metric \"", name, "\"; there are ", absl::StrJoin(names, ", ")));
}

absl::StatusOr<Options> WithDefaults(const MetricInfo& info,
                                     const Options& options) {
  Options complete;
  std::vector<std::string> names;
  for (const OptionInfo& option : info.options) {
    complete[option.name] = option.default_value;
    names.push_back(option.name);
  }
  for (const auto& [name, value] : options) {
    const auto found = complete.find(name);
    if (found == complete.end()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "metric ", info.name, " has no option \"", name, "\"; it has ",
          names.empty() ? "none" : absl::StrJoin(names, ", ")));
    }
    found->second = value;
  }
  return complete;
}

}  // namespace

std::vector<MetricInfo> ListMetrics() {
  std::vector<MetricInfo> infos;
  for (const Metric& metric : Registry()) infos.push_back(metric.info);
  return infos;
}

absl::StatusOr<json> EvaluateLines(absl::string_view name,
                                   const JsonlFile& predictions,
                                   const JsonlFile& references,
                                   const Options& options) {
  REPRO_ASSIGN_OR_RETURN(const Metric* metric, FindMetric(name));
  if (metric->info.needs_references && references.name.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("metric ", name, " needs references"));
  }
  REPRO_ASSIGN_OR_RETURN(const Options complete,
                         WithDefaults(metric->info, options));
  REPRO_ASSIGN_OR_RETURN(json result,
                         metric->evaluate(predictions, references, complete));
  result["metric"] = metric->info.name;
  result["options"] = json::object();
  for (const auto& [option, value] : complete) {
    if (!value.empty()) result["options"][option] = value;
  }
  return result;
}

absl::StatusOr<json> Evaluate(absl::string_view name,
                              const std::string& predictions_path,
                              const std::string& references_path,
                              const Options& options) {
  REPRO_ASSIGN_OR_RETURN(const Metric* metric, FindMetric(name));
  REPRO_RETURN_IF_ERROR(WithDefaults(metric->info, options).status());
  JsonlFile predictions{predictions_path, {}};
  REPRO_ASSIGN_OR_RETURN(predictions.lines, ReadJsonl(predictions_path));
  JsonlFile references{references_path, {}};
  if (!references_path.empty()) {
    REPRO_ASSIGN_OR_RETURN(references.lines, ReadJsonl(references_path));
  }
  return EvaluateLines(name, predictions, references, options);
}

}  // namespace repro::metrics
