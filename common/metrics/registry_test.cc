#include "common/metrics/registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"

namespace repro::metrics {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::StartsWith;

JsonlFile File(const std::string& name, const std::string& text) {
  auto lines = ParseJsonl(text, name);
  EXPECT_TRUE(lines.ok()) << lines.status();
  return {name, *std::move(lines)};
}

absl::StatusOr<json> Measure(const std::string& name,
                             const std::string& predictions,
                             const std::string& references,
                             const Options& options = {}) {
  return EvaluateLines(name, File("predictions.jsonl", predictions),
                       File("references.jsonl", references), options);
}

// The error of a run that must fail.
std::string Error(const std::string& name, const std::string& predictions,
                  const std::string& references, const Options& options = {}) {
  const auto result = Measure(name, predictions, references, options);
  EXPECT_FALSE(result.ok()) << *result;
  return std::string(result.status().message());
}

double Value(const absl::StatusOr<json>& result) {
  EXPECT_TRUE(result.ok()) << result.status();
  return result.ok() ? result->at("value").get<double>() : -1;
}

// One line {"label": x} for each x.
std::string Labels(const std::vector<json>& labels) {
  std::string text;
  for (const json& label : labels) {
    absl::StrAppend(&text, json{{"label", label}}.dump(), "\n");
  }
  return text;
}

// yt and yp, ct and cp of classification_test.cc, where the values are from.
const std::string& References() {
  static const auto* const text =
      new std::string(Labels({1, 0, 1, 1, 0, 0, 1, 0, 1, 1}));
  return *text;
}
const std::string& Predictions() {
  static const auto* const text =
      new std::string(Labels({1, 0, 0, 1, 0, 1, 1, 0, 1, 0}));
  return *text;
}
const std::string& Animals() {
  static const auto* const text = new std::string(Labels(
      {"cat", "dog", "dog", "bird", "cat", "bird", "dog", "cat", "dog"}));
  return *text;
}
const std::string& Guesses() {
  static const auto* const text = new std::string(Labels(
      {"cat", "dog", "cat", "bird", "dog", "cat", "dog", "cat", "fish"}));
  return *text;
}

TEST(RegistryTest, EveryMetricIsDescribed) {
  const auto metrics = ListMetrics();
  EXPECT_EQ(metrics.size(), 28);
  std::set<std::string> names;
  for (const MetricInfo& metric : metrics) {
    EXPECT_TRUE(names.insert(metric.name).second) << metric.name;
    EXPECT_FALSE(metric.help.empty()) << metric.name;
    EXPECT_THAT(metric.help, ::testing::Not(HasSubstr("\n"))) << metric.name;
    EXPECT_FALSE(metric.predictions_format.empty()) << metric.name;
    EXPECT_FALSE(metric.references_format.empty()) << metric.name;
  }
}

TEST(RegistryTest, Accuracy) {
  EXPECT_EQ(*Measure("accuracy", Predictions(), References()),
            json::parse(R"({"metric": "accuracy", "value": 0.7, "n": 10,
                            "options": {}})"));
  EXPECT_DOUBLE_EQ(Value(Measure("accuracy", Guesses(), Animals())), 5 / 9.0);
}

TEST(RegistryTest, PrecisionRecallF1) {
  EXPECT_DOUBLE_EQ(Value(Measure("precision", Predictions(), References())),
                   0.8);
  EXPECT_DOUBLE_EQ(Value(Measure("recall", Predictions(), References())),
                   2 / 3.0);
  EXPECT_DOUBLE_EQ(Value(Measure("f1", Predictions(), References())),
                   0.7272727272727273);
  // M.f1_score(yt, yp, pos_label=0)
  EXPECT_DOUBLE_EQ(
      Value(Measure("f1", Predictions(), References(), {{"positive", "0"}})),
      0.6666666666666666);
  const Options macro = {{"average", "macro"}, {"per_class", "true"}};
  const auto result = Measure("f1", Guesses(), Animals(), macro);
  EXPECT_DOUBLE_EQ(Value(result), 0.4523809523809524);
  EXPECT_EQ(result->at("per_class").at("fish"),
            json::parse(R"({"precision": 0.0, "recall": 0.0, "f1": 0.0,
                            "support": 0})"));
  EXPECT_EQ(result->at("per_class").at("cat").at("precision"), 0.5);
  EXPECT_EQ(result->at("options"),
            json::parse(R"({"average": "macro", "per_class": "true",
                            "positive": "1"})"));
  EXPECT_DOUBLE_EQ(
      Value(Measure("recall", Guesses(), Animals(), {{"average", "micro"}})),
      5 / 9.0);

  EXPECT_THAT(Error("f1", Guesses(), Animals()), HasSubstr("4 labels occur"));
  EXPECT_THAT(Error("f1", Guesses(), Animals(), {{"average", "weighted"}}),
              HasSubstr("needed is one of binary, micro, macro"));
  EXPECT_THAT(Error("f1", Predictions(), References(), {{"per_class", "1"}}),
              HasSubstr("option per_class is \"1\""));
  EXPECT_THAT(Error("f1", Predictions(), References(), {{"positive", "yes"}}),
              HasSubstr("the positive label is yes"));
}

TEST(RegistryTest, LabelsCompareAsText) {
  EXPECT_EQ(Value(Measure("accuracy", Labels({1, "0", true}),
                          Labels({"1", 0, "true"}))),
            1);
}

TEST(RegistryTest, RocAuc) {
  std::string scores;
  for (const double score :
       {0.9, 0.4, 0.35, 0.8, 0.4, 0.1, 0.7, 0.35, 0.4, 0.6}) {
    absl::StrAppend(&scores, json{{"score", score}}.dump(), "\n");
  }
  EXPECT_DOUBLE_EQ(Value(Measure("roc_auc", scores, References())),
                   0.8541666666666667);
  EXPECT_DOUBLE_EQ(
      Value(Measure("roc_auc", scores, References(), {{"positive", "0"}})),
      1 - 0.8541666666666667);
  EXPECT_THAT(Error("roc_auc", scores, References(), {{"positive", "yes"}}),
              HasSubstr("the labels are 0 and 1, none is the positive label"));
  const std::string two_scores = "{\"score\": 1}\n{\"score\": 2}\n";
  EXPECT_THAT(Error("roc_auc", two_scores, Labels({1, 1})),
              HasSubstr("all 2 items are positive"));
  EXPECT_EQ(Error("roc_auc", two_scores + "{\"score\": 3}", Labels({1, 0, 2})),
            "references.jsonl:3: a third label, ROC-AUC needs two");
  EXPECT_EQ(Error("roc_auc", "{\"score\": \"1\"}", Labels({1})),
            "predictions.jsonl:1: field \"score\" holds string, needed is a "
            "number");
}

TEST(RegistryTest, Mcc) {
  EXPECT_DOUBLE_EQ(Value(Measure("mcc", Guesses(), Animals())),
                   0.35855439414578866);
}

// Relevance 0 1 0 1 1 0 1 with all four relevant items retrieved, whose average
// precision is in ranking_test.cc; and a query whose one item is not retrieved.
constexpr char kRankings[] =
    "{\"id\": 1, \"ranking\": [\"a\", \"b\", \"c\", \"d\", \"e\", \"f\", "
    "\"g\"]}\n"
    "{\"id\": 2, \"ranking\": [7, 8]}\n";
constexpr char kRelevant[] =
    "{\"id\": 2, \"relevant\": [9]}\n"
    "{\"id\": 1, \"relevant\": [\"g\", \"e\", \"d\", \"b\"]}\n";

TEST(RegistryTest, RankingMetrics) {
  const auto run = [](const std::string& name, const Options& options = {}) {
    return Value(Measure(name, kRankings, kRelevant, options));
  };
  EXPECT_DOUBLE_EQ(run("mrr"), 0.5 / 2);
  EXPECT_DOUBLE_EQ(run("mrr", {{"k", "1"}}), 0);
  EXPECT_DOUBLE_EQ(run("recall_at_k"), 1 / 2.0);
  EXPECT_DOUBLE_EQ(run("recall_at_k", {{"k", "4"}}), 0.5 / 2);
  EXPECT_DOUBLE_EQ(run("precision_at_k"), 0.4 / 2);
  EXPECT_DOUBLE_EQ(run("precision_at_k", {{"k", "5"}}), 0.6 / 2);
  EXPECT_DOUBLE_EQ(run("map"), 0.5428571428571428 / 2);
  EXPECT_EQ(Measure("map", kRankings, kRelevant)->at("n"), 2);
  // "relevant" is a gain of 1 for each:
  // M.ndcg_score([[0,1,0,1,1,0,1]], [[7,6,5,4,3,2,1]])
  EXPECT_NEAR(run("ndcg"), 0.6955762265703532 / 2, 1e-14);

  for (const char* k : {"0", "-1", "ten", "1.5"}) {
    EXPECT_THAT(Error("mrr", kRankings, kRelevant, {{"k", k}}),
                HasSubstr("needed is a whole number from 1"));
  }
  EXPECT_EQ(Error("mrr", "{\"ranking\": [1, 2, \"1\"]}", "{\"relevant\": [1]}"),
            "predictions.jsonl:1: field \"ranking\" holds 1 twice");
  EXPECT_EQ(Error("map", "{\"ranking\": 1}", "{\"relevant\": [1]}"),
            "predictions.jsonl:1: field \"ranking\" holds number, needed is an "
            "array");
  EXPECT_EQ(Error("map", "{\"ranking\": [1]}", "{\"relevant\": [[1]]}"),
            "references.jsonl:1: field \"relevant\" holds array, needed is a "
            "string, an integer or a boolean");
}

TEST(RegistryTest, NdcgWithGains) {
  // ndcg_score(g, s, k=3) of ranking_test.cc
  const std::string ranking = R"({"ranking": ["a", "b", "c", "d", "e", "f"]})";
  const std::string gains =
      R"({"gains": {"a": 3, "c": 2, "d": 1, "f": 2, "b": 0}})";
  EXPECT_NEAR(Value(Measure("ndcg", ranking, gains, {{"k", "3"}})),
              0.7601875334318686, 1e-14);
  EXPECT_NEAR(Value(Measure("ndcg", ranking, gains,
                            {{"k", "3"}, {"gain", "exponential"}})),
              0.8178747578506881, 1e-14);
  EXPECT_THAT(Error("ndcg", ranking, gains, {{"gain", "log"}}),
              HasSubstr("needed is one of linear, exponential"));
  EXPECT_EQ(Error("ndcg", ranking, R"({"gains": {"a": -1}})"),
            "references.jsonl:1: gain -1 must be a finite number of at least "
            "0");
  EXPECT_THAT(Error("ndcg", ranking, R"({"gains": [1]})"),
              HasSubstr("needed is an object"));
  EXPECT_EQ(Error("ndcg", ranking, R"({"labels": [1]})"),
            "references.jsonl:1: field \"gains\" is missing");
}

TEST(RegistryTest, NdcgOfUnjudgedItems) {
  // "Within" and "All" of ranking_test.cc, and a query without any gain.
  const std::string rankings =
      "{\"ranking\": [\"x\", \"b\", \"a\"]}\n{\"ranking\": [\"a\"]}\n";
  const std::string gains =
      "{\"gains\": {\"a\": 3, \"b\": 1, \"c\": 0}}\n{\"gains\": {\"a\": "
      "0}}\n";
  const auto ndcg = [&](const std::string& unjudged,
                        const std::string& no_gain) {
    return Value(Measure("ndcg", rankings, gains,
                         {{"gain", "exponential"},
                          {"unjudged", unjudged},
                          {"no_gain", no_gain}}));
  };
  EXPECT_NEAR(ndcg("skip", "skip"), 0.70981, 5e-6);
  EXPECT_NEAR(ndcg("zero", "skip"), 0.54134, 5e-6);
  EXPECT_NEAR(ndcg("zero", "zero"), 0.54134 / 2, 5e-6);
  EXPECT_EQ(Error("ndcg", "{\"ranking\": [1]}", "{\"gains\": {\"1\": 0}}",
                  {{"no_gain", "skip"}}),
            "references.jsonl: no query has an item with a gain");
  EXPECT_THAT(Error("ndcg", rankings, gains, {{"unjudged", "x"}}),
              HasSubstr("needed is one of zero, skip"));
}

TEST(RegistryTest, Kappa) {
  const auto grades = [](const std::vector<int>& values) {
    std::string text;
    for (const int value : values) {
      absl::StrAppend(&text, json{{"grade", value}}.dump(), "\n");
    }
    return text;
  };
  const std::string first = grades({0, 1, 2, 3, 3, 1, 0, 2, 5});
  const std::string second = grades({0, 1, 1, 3, 2, 1, 1, 2, 0});
  EXPECT_NEAR(Value(Measure("kappa", first, second)), 0.4285714285714286,
              1e-14);
  EXPECT_NEAR(
      Value(Measure("kappa", first, second, {{"weights", "quadratic"}})),
      0.2660944206008583, 1e-14);
  EXPECT_EQ(Error("kappa", "{\"grade\": 0.5}", "{\"grade\": 1}"),
            "predictions.jsonl:1: field \"grade\" holds number, needed is an "
            "integer");
}

// One line {"text": x} for each x.
std::string TextLines(const std::vector<json>& texts) {
  std::string lines;
  for (const json& text : texts) {
    absl::StrAppend(&lines, json{{"text", text}}.dump(), "\n");
  }
  return lines;
}

// The values are those of the metrics' own tests.
TEST(RegistryTest, TextMetrics) {
  const std::string cat = TextLines({"the cat sat on mat"});
  const std::string mat = TextLines({"the cat sat on the mat"});
  EXPECT_NEAR(Value(Measure("nltk_bleu", cat, mat)), 0.5789300674674098, 1e-14);
  EXPECT_NEAR(Value(Measure("nltk_bleu", cat, mat, {{"method", "2"}})),
              0.6511126026643229, 1e-14);
  EXPECT_NEAR(Value(Measure("rouge_l", cat, mat)), 0.8944281524926685, 1e-14);
  EXPECT_NEAR(Value(Measure("codexglue_bleu", TextLines({"the cat sat"}), mat)),
              0.47236655, 5e-9);
  const std::string letters = TextLines({"a x c d"});
  const std::string alphabet = TextLines({"a b c d e"});
  const auto bleu =
      Measure("bleu", letters, alphabet,
              {{"smoothing", "add_one"}, {"reference_length", "shortest"}});
  // math.exp(-1 / 4) * (4 / 5 * 2 / 4 * 1 / 3 * 1 / 2) ** 0.25
  EXPECT_NEAR(Value(bleu), 0.39573418216703893, 1e-14);
  EXPECT_EQ(bleu->at("reference_tokens"), 5);
  EXPECT_EQ(Value(Measure("bleu", letters, alphabet)), 0);
  EXPECT_NEAR(
      Value(Measure("rouge_l", TextLines({"to be to be to be"}),
                    TextLines({"to be or not to be"}), {{"variant", "rouge"}})),
      0.6666666622222223, 1e-14);
  const std::string lines = TextLines({"a b\nb a c a"});
  const std::string other = TextLines({"a b a\nc b a"});
  EXPECT_NEAR(
      Value(Measure("rouge_l", lines, other, {{"variant", "rouge_score"}})),
      0.8333333333333334, 1e-14);
  EXPECT_EQ(
      Value(Measure("rouge_l", lines, other, {{"variant", "rouge_score_sum"}})),
      1);
  EXPECT_NEAR(Value(Measure("cider_d", TextLines({"a b c d", "e f g h"}),
                            TextLines({"a b c d", "e f g h"}))),
              10, 1e-13);
  EXPECT_DOUBLE_EQ(Value(Measure("chrf", TextLines({"ab"}),
                                 TextLines({json::array({"x", "a b"})}))),
                   1);
  const auto similarity = [&](const std::string& variant) {
    return Value(Measure("edit_similarity", TextLines({"tide"}),
                         TextLines({"diet"}), {{"variant", variant}}));
  };
  EXPECT_EQ(similarity("levenshtein"), 0.25);
  EXPECT_EQ(similarity("indel"), 0.5);
  EXPECT_EQ(similarity("difflib"), 0.25);
  EXPECT_EQ(similarity("fuzzywuzzy"), 0.25);
}

TEST(RegistryTest, TextMetricsTakeSeveralReferences) {
  const std::string prediction = TextLines({"a b c d"});
  const std::string references =
      TextLines({json::array({"x y z v w", "a b c d"})});
  for (const std::string name : {"bleu", "codexglue_bleu", "nltk_bleu",
                                 "rouge_l", "chrf", "edit_similarity"}) {
    EXPECT_DOUBLE_EQ(Value(Measure(name, prediction, references)), 1) << name;
  }
}

TEST(RegistryTest, TextMetricsNameBadLines) {
  for (const std::string name :
       {"bleu", "codexglue_bleu", "nltk_bleu", "rouge_l", "cider_d", "chrf",
        "edit_similarity", "code_bleu_tokens", "ruler", "longbench"}) {
    EXPECT_EQ(Error(name, TextLines({"a", "b"}), TextLines({"a", 1})),
              "references.jsonl:2: field \"text\" holds number, needed is a "
              "string or an array of one or more strings")
        << name;
    EXPECT_THAT(Error(name, TextLines({"a"}), TextLines({json::array()})),
                StartsWith("references.jsonl:1: field \"text\" holds array"))
        << name;
    EXPECT_EQ(Error(name, TextLines({"a"}) + "{\"txt\": \"a\"}\n",
                    TextLines({"a", "b"})),
              "predictions.jsonl:2: field \"text\" is missing")
        << name;
    EXPECT_THAT(Error(name, TextLines({"a"}), TextLines({"a", "b"})),
                StartsWith("predictions.jsonl holds 1 lines"))
        << name;
    EXPECT_EQ(Error(name, "", TextLines({"a"})),
              "predictions.jsonl: the file holds no lines")
        << name;
  }
  const std::string a = TextLines({"a"});
  EXPECT_THAT(Error("bleu", a, a, {{"smoothing", "x"}}),
              HasSubstr("needed is one of none, add_one, epsilon"));
  EXPECT_THAT(Error("nltk_bleu", a, a, {{"method", "7"}}),
              HasSubstr("needed is one of 2, 4"));
  EXPECT_THAT(Error("chrf", a, a, {{"char_order", "0"}}),
              HasSubstr("needed is a whole number from 1"));
  EXPECT_THAT(Error("chrf", a, a, {{"beta", "x"}}),
              HasSubstr("needed is a number"));
  EXPECT_THAT(Error("code_bleu_tokens", a, a, {{"keywords", "/absent"}}),
              HasSubstr("/absent"));
}

TEST(RegistryTest, CodeBleu) {
  const std::string text =
      TextLines({"int f ( int a ) { int b = a ; return b ; }"});
  const auto result = Measure("codebleu", text, text, {{"language", "java"}});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_DOUBLE_EQ(result->at("value").get<double>(), 1);
  EXPECT_DOUBLE_EQ(result->at("syntax").get<double>(), 1);
  // a, b from a, a from a, b from b: CodeXGLUE counts a value without a source
  // if another has it as its source.
  EXPECT_EQ(result->at("data_flow_edges"), 4);
  EXPECT_THAT(Error("codebleu", text, text, {{"language", "cobol"}}),
              HasSubstr("no programming language \"cobol\""));
  EXPECT_THAT(Error("codebleu", text, text, {{"language", "c"}}),
              HasSubstr("no data-flow rules for c"));
  EXPECT_THAT(Error("codebleu", text, text), HasSubstr("language"));
}

TEST(RegistryTest, CodeBleuTokens) {
  const auto result =
      Measure("code_bleu_tokens", TextLines({"a b"}), TextLines({"a"}));
  EXPECT_NEAR(result->at("weighted_ngram").get<double>(), 0.11892071150027214,
              1e-14);
  EXPECT_DOUBLE_EQ(
      Value(result),
      (result->at("ngram").get<double>() + 0.11892071150027214) / 2);
}

TEST(RegistryTest, LongBench) {
  const auto score = [](const std::string& name, const std::string& prediction,
                        const std::string& reference,
                        const std::string& first_line = "false") {
    return Value(Measure("longbench", prediction, reference,
                         {{"score", name}, {"first_line", first_line}}));
  };
  EXPECT_EQ(score("qa_f1", TextLines({"x\ncat"}), TextLines({"cat"}), "true"),
            0);
  EXPECT_EQ(score("qa_f1", TextLines({"The cat"}),
                  TextLines({json::array({"dog", "cat"})})),
            1);
  EXPECT_NEAR(score("rouge_l", TextLines({"to be to be to be"}),
                    TextLines({"to be or not to be"})),
              0.6666666622222223, 1e-14);
  EXPECT_EQ(
      score("retrieval", TextLines({"12 and 3"}), TextLines({"Paragraph 12"})),
      0.5);
  EXPECT_EQ(score("count", TextLines({"7"}), TextLines({"7"})), 1);
  EXPECT_DOUBLE_EQ(score("code_sim", TextLines({"return self.value"}),
                         TextLines({"return value"})),
                   0.83);
  EXPECT_EQ(score("classification", TextLines({"City"}),
                  R"({"text": "City", "classes": ["City", "State"]})"),
            1);
  EXPECT_EQ(score("qa_f1_zh", R"({"tokens": ["热诚", "。"]})",
                  R"({"tokens": [["x"], ["热诚"]]})"),
            1);
  EXPECT_NEAR(score("rouge_l_zh", R"({"tokens": ["热诚", "传说"]})",
                    R"({"tokens": [["热诚", "传说"]]})"),
              1, 1e-8);
  EXPECT_EQ(Error("longbench", R"({"tokens": ["a"]})", R"({"tokens": ["a"]})",
                  {{"score", "qa_f1_zh"}}),
            "references.jsonl:1: field \"tokens\" holds string, needed is an "
            "array of strings");
  EXPECT_EQ(Error("longbench", TextLines({"a"}), TextLines({"a"}),
                  {{"score", "classification"}}),
            "references.jsonl:1: field \"classes\" is missing");
}

TEST(RegistryTest, InfiniteBench) {
  const auto score = [](const std::string& task, const std::string& prediction,
                        const json& label,
                        const std::string& rules = "revised") {
    return Value(Measure("infinitebench", TextLines({prediction}),
                         json{{"label", label}}.dump(),
                         {{"task", task}, {"rules", rules}}));
  };
  EXPECT_EQ(score("passkey", "It is 71432.", "71432"), 1);
  EXPECT_EQ(score("number_string", "It is 71.", json::array({"71"})), 1);
  EXPECT_EQ(score("kv_retrieval", "\"a-1\"", "a-1"), 1);
  EXPECT_EQ(score("code_run", "is -14.", -14), 1);
  EXPECT_EQ(score("math_find", "88.5", json::array({88.5})), 1);
  EXPECT_EQ(score("math_find", "88", 88), 1);
  EXPECT_EQ(score("math_calc", "1 2 4", json::array({1, 2, 3, 4})), 0.5);
  EXPECT_EQ(score("longbook_qa_eng", "the cat", json::array({"dog", "cat"})),
            1);
  EXPECT_EQ(score("longbook_qa_chn", "胡一刀", json::array({"胡一刀。"})), 1);
  EXPECT_EQ(score("longbook_sum_eng", "a b", "a b"), 1);
  const json choice = json::array({"Farm", "B"});
  EXPECT_EQ(score("longbook_choice_eng", "A, no: B", choice), 1);
  EXPECT_EQ(score("longbook_choice_eng", "A, no: B", choice, "original"), 0);
  EXPECT_EQ(score("longdialogue_qa_eng", "x", json::array({"ACE", "X"})), 1);
  EXPECT_EQ(
      score("longdialogue_qa_eng", "x", json::array({"ACE", "X"}), "original"),
      0);
  EXPECT_EQ(score("code_debug", "C) f", json::array({"f", "C"})), 1);
  EXPECT_EQ(score("code_debug", "C) f", json::array({"f", "C"}), "original"),
            0);

  const auto error = [](const std::string& task, const json& label) {
    return Error("infinitebench", TextLines({"x"}),
                 json{{"label", label}}.dump(), {{"task", task}});
  };
  EXPECT_THAT(error("pass", "1"), HasSubstr("needed is one of passkey, "));
  EXPECT_THAT(error("code_run", "1"),
              StartsWith("references.jsonl:1: field \"label\" holds string"));
  EXPECT_THAT(error("code_debug", json::array({"f"})),
              HasSubstr("a function and the letter"));
  EXPECT_THAT(error("passkey", json::array()), HasSubstr("needed is"));
  EXPECT_THAT(error("math_calc", 3), HasSubstr("needed is an array of"));
}

TEST(RegistryTest, RulerAndDigitAccuracy) {
  const std::string text = TextLines({"It is ABC and 1 2 9 4"});
  const std::string wanted = TextLines({json::array({"abc", "zz"})});
  EXPECT_EQ(Value(Measure("ruler", text, wanted)), 0.5);
  EXPECT_EQ(Value(Measure("ruler", text, wanted, {{"match", "part"}})), 1);
  EXPECT_EQ(Value(Measure("digit_accuracy", text, R"({"key": 12345})")), 0.6);
  EXPECT_EQ(Error("digit_accuracy", text, R"({"key": "1x"})"),
            "references.jsonl:1: the key is \"1x\", needed are digits");
}

TEST(RegistryTest, PassAtK) {
  const std::string samples =
      "{\"task_id\": \"HumanEval/0\", \"passed\": true}\n"
      "{\"task_id\": \"HumanEval/1\", \"passed\": false}\n"
      "{\"task_id\": \"HumanEval/0\", \"passed\": false}\n"
      "{\"task_id\": \"HumanEval/1\", \"passed\": false}\n";
  const std::string counts = "{\"task_id\": \"x\", \"n\": 200, \"c\": 13}\n";
  auto result = EvaluateLines("pass_at_k", File("p", samples), {}, {});
  EXPECT_DOUBLE_EQ(Value(result), 0.25);
  EXPECT_EQ(result->at("n"), 2);
  EXPECT_EQ(result->at("num_samples"), 4);
  EXPECT_DOUBLE_EQ(
      Value(EvaluateLines("pass_at_k", File("p", samples), {}, {{"k", "2"}})),
      0.5);
  EXPECT_NEAR(
      Value(EvaluateLines("pass_at_k", File("p", counts), {}, {{"k", "10"}})),
      0.4975511147306061, 1e-14);

  const std::string tasks =
      "{\"task_id\": \"HumanEval/0\"}\n{\"task_id\": \"HumanEval/1\"}\n";
  EXPECT_DOUBLE_EQ(Value(Measure("pass_at_k", samples, tasks)), 0.25);
  EXPECT_EQ(
      Error("pass_at_k", samples, tasks + "{\"task_id\": \"HumanEval/2\"}"),
      "references.jsonl:3: task_id \"HumanEval/2\" has no line in "
      "predictions.jsonl");
  EXPECT_EQ(Error("pass_at_k", samples + counts, tasks),
            "predictions.jsonl:5: task_id \"x\" has no line in "
            "references.jsonl");
  EXPECT_THAT(Error("pass_at_k", samples, tasks + tasks),
              StartsWith("references.jsonl:3: task_id \"HumanEval/0\" repeats "
                         "line 1"));
  EXPECT_THAT(Error("pass_at_k", counts + counts, tasks),
              StartsWith("predictions.jsonl:2: task_id \"x\" repeats line 1"));
  EXPECT_THAT(Error("pass_at_k", samples, tasks, {{"k", "3"}}),
              StartsWith("predictions.jsonl:1: task_id \"HumanEval/0\": k is "
                         "3"));
  const auto error = [](const std::string& line) {
    return std::string(
        EvaluateLines("pass_at_k", File("p", line), {}, {}).status().message());
  };
  EXPECT_THAT(error("{\"task_id\": 1, \"n\": 2, \"c\": 3}"),
              HasSubstr("3 correct of 2 samples"));
  EXPECT_THAT(error("{\"task_id\": 1, \"n\": -2, \"c\": 3}"),
              HasSubstr("a whole number from 0"));
  EXPECT_THAT(error("{\"task_id\": 1, \"n\": 1e99, \"c\": 3}"),
              HasSubstr("a whole number from 0"));
  EXPECT_EQ(error("{\"task_id\": 1, \"n\": 2}"), "p:1: field \"c\" is missing");
  EXPECT_EQ(error("{\"task_id\": 1}"), "p:1: field \"passed\" is missing");
  EXPECT_THAT(error("{\"task_id\": 1, \"passed\": 1}"),
              HasSubstr("needed is true or false"));
  EXPECT_THAT(error(""), HasSubstr("the file holds no lines"));
}

TEST(RegistryTest, ExactMatch) {
  const std::string predictions = R"({"text": "a  b\n"})"
                                  "\n"
                                  R"({"text": "c"})"
                                  "\n";
  const std::string references = R"({"text": "a b"})"
                                 "\n"
                                 R"({"text": "c"})"
                                 "\n";
  EXPECT_EQ(Value(Measure("exact_match", predictions, references)), 0.5);
  EXPECT_EQ(Value(Measure("exact_match", predictions, references,
                          {{"normalize", "whitespace"}})),
            1);
  EXPECT_THAT(
      Error("exact_match", predictions, references, {{"normalize", "x"}}),
      HasSubstr("needed is one of none, whitespace"));
  EXPECT_EQ(Error("exact_match", "{\"text\": 1}", "{\"text\": \"1\"}"),
            "predictions.jsonl:1: field \"text\" holds number, needed is a "
            "string");
}

TEST(RegistryTest, Perplexity) {
  const std::string lines =
      "{\"nll\": [2.3, 0.1, 4.7]}\n{\"nll\": 1.05}\n{\"nll\": []}\n"
      "{\"nll\": [0.0, 3.3]}\n";
  const auto result = EvaluateLines("perplexity", File("p", lines), {}, {});
  EXPECT_NEAR(Value(result), 6.741843024615186, 1e-13);
  EXPECT_EQ(result->at("n"), 6);
  EXPECT_THAT(Error("perplexity", lines, "{\"text\": \"\"}"),
              HasSubstr("predictions.jsonl holds 4 lines and references.jsonl "
                        "holds 1"));
  const auto error = [](const std::string& line) {
    return std::string(EvaluateLines("perplexity", File("p", line), {}, {})
                           .status()
                           .message());
  };
  EXPECT_THAT(error("{\"nll\": 1}\n{\"nll\": [1, -3]}"),
              StartsWith("p:2: value 0 is -3"));
  EXPECT_THAT(error("{\"nll\": [1, null]}"), HasSubstr("needed is a number"));
  EXPECT_THAT(error("{\"nll\": []}"), HasSubstr("no line holds a token"));
  EXPECT_THAT(error("{\"nll\": 1000}"), HasSubstr("too large"));
  EXPECT_THAT(error(""), HasSubstr("the file holds no lines"));
}

TEST(RegistryTest, LinesMatchByIdOrOrder) {
  const std::string swapped =
      "{\"id\": \"a\", \"label\": 1}\n{\"id\": \"b\", \"label\": 0}\n";
  const std::string references =
      "{\"id\": \"b\", \"label\": 0}\n{\"id\": \"a\", \"label\": 1}\n";
  EXPECT_EQ(Value(Measure("accuracy", swapped, references)), 1);
  // Only one file has ids: by order.
  EXPECT_EQ(Value(Measure("accuracy", swapped, Labels({0, 1}))), 0);
}

TEST(RegistryTest, BadLinesAreNamed) {
  const std::string two = Labels({1, 0});
  EXPECT_EQ(Error("accuracy", "{\"label\": 1}\n\n{\"lable\": 1}\n", two),
            "predictions.jsonl:3: field \"label\" is missing");
  EXPECT_EQ(Error("accuracy", two, "{\"label\": 1}\n[1]\n"),
            "references.jsonl:2: the line is not a JSON object");
  EXPECT_EQ(Error("accuracy", two, Labels({1, 0.5})),
            "references.jsonl:2: field \"label\" holds number, needed is a "
            "string, an integer or a boolean");
  EXPECT_EQ(Error("accuracy", two, ""),
            "references.jsonl: the file holds no lines");
  EXPECT_EQ(Error("accuracy", "", two),
            "predictions.jsonl: the file holds no lines");
  EXPECT_THAT(Error("accuracy", two, Labels({1, 0, 1})),
              StartsWith("predictions.jsonl holds 2 lines and "
                         "references.jsonl holds 3"));
}

TEST(RegistryTest, BadIdsAreNamed) {
  const auto line = [](const std::string& id) {
    return absl::StrCat("{\"id\": ", id, ", \"label\": 1}\n");
  };
  EXPECT_EQ(Error("accuracy", line("1") + line("2"), line("1") + line("1")),
            "references.jsonl:2: id \"1\" repeats line 1");
  EXPECT_EQ(Error("accuracy", line("1") + line("2"), line("1") + line("3")),
            "predictions.jsonl:2: id \"2\" has no line in references.jsonl");
  EXPECT_EQ(Error("accuracy", line("1"), line("1") + line("3")),
            "references.jsonl:2: id \"3\" has no line in predictions.jsonl");
  EXPECT_EQ(Error("accuracy", line("1") + "{\"label\": 1}", line("1")),
            "predictions.jsonl:2: field \"id\" is missing");
  EXPECT_THAT(Error("accuracy", line("1.5"), line("1")),
              HasSubstr("field \"id\" holds number"));
}

TEST(RegistryTest, UnknownNamesAreListed) {
  const auto unknown = Measure("acuracy", Predictions(), References());
  EXPECT_EQ(unknown.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(unknown.status().message()),
              StartsWith("no metric \"acuracy\"; there are accuracy, "));
  EXPECT_EQ(Error("f1", Predictions(), References(), {{"avg", "micro"}}),
            "metric f1 has no option \"avg\"; it has average, positive, "
            "per_class");
  EXPECT_EQ(Error("accuracy", Predictions(), References(), {{"k", "1"}}),
            "metric accuracy has no option \"k\"; it has none");
  EXPECT_EQ(EvaluateLines("accuracy", File("p", Predictions()), {}, {})
                .status()
                .message(),
            "metric accuracy needs references");
}

class EvaluateFilesTest : public ::testing::Test {
 protected:
  std::string Write(const std::string& name, const std::string& text) {
    const std::string path = absl::StrCat(::testing::TempDir(), "/", name);
    std::ofstream(path) << text;
    return path;
  }
};

TEST_F(EvaluateFilesTest, ReadsFiles) {
  const std::string predictions = Write("predictions.jsonl", Predictions());
  const std::string references = Write("references.jsonl", References());
  EXPECT_DOUBLE_EQ(Value(Evaluate("accuracy", predictions, references, {})),
                   0.7);
  EXPECT_DOUBLE_EQ(
      Value(Evaluate(
          "pass_at_k",
          Write("samples.jsonl", "{\"task_id\": 1, \"n\": 4, \"c\": 1}\n"), "",
          {})),
      0.25);
}

TEST_F(EvaluateFilesTest, ErrorsNameFileAndLine) {
  const std::string references = Write("references.jsonl", References());
  const std::string broken =
      Write("broken.jsonl", "{\"label\": 1}\n{\"label\": \n");
  const auto parse = Evaluate("accuracy", broken, references, {});
  EXPECT_EQ(parse.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(parse.status().message()),
              StartsWith(absl::StrCat(broken, ":2: ")));
  const std::string absent = absl::StrCat(::testing::TempDir(), "/absent");
  EXPECT_THAT(
      std::string(
          Evaluate("accuracy", references, absent, {}).status().message()),
      HasSubstr(absent));
  EXPECT_THAT(
      std::string(Evaluate("accuracy", references, "", {}).status().message()),
      HasSubstr("needs references"));
}

}  // namespace
}  // namespace repro::metrics
