#include "common/metrics/chrf.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace repro::metrics {
namespace {

TEST(CorpusChrfTest, AgreesWithSacrebleu) {
  // pip install sacrebleu==2.6.0
  // from sacrebleu.metrics import CHRF
  // CHRF(...).corpus_score(hypotheses, [first, second]).score / 100
  const std::vector<std::string> hypotheses = {
      "The cat sat on the mat (yes).", "naïve façade — 東京 タワー", "a b"};
  const std::vector<std::string> first = {"The cat is on the mat (no).",
                                          "naïve facade – 東京タワー", "xyz"};
  const std::vector<std::string> second = {"A cat sat on a mat, yes.",
                                           "a naive façade", "a b c"};
  std::vector<std::vector<std::string>> both, one;
  for (size_t i = 0; i < first.size(); ++i) {
    both.push_back({first[i], second[i]});
    one.push_back({first[i]});
  }
  EXPECT_NEAR(*CorpusChrf(both, hypotheses), 0.5437142770587955, 1e-14);
  EXPECT_NEAR(*CorpusChrf(one, hypotheses), 0.5202057066394461, 1e-14);
  EXPECT_NEAR(*CorpusChrf(both, hypotheses, {6, 2, 2}), 0.5318974044761292,
              1e-14);
  EXPECT_NEAR(*CorpusChrf(one, hypotheses, {6, 2, 2}), 0.49232793278445347,
              1e-14);
  EXPECT_NEAR(*CorpusChrf(both, hypotheses, {3, 0, 1}), 0.7026846282864784,
              1e-14);
  EXPECT_NEAR(*CorpusChrf(one, hypotheses, {3, 0, 1}), 0.6779623505029493,
              1e-14);
}

TEST(CorpusChrfTest, Limits) {
  EXPECT_DOUBLE_EQ(*CorpusChrf({{"a b"}}, {"ab"}), 1);
  EXPECT_EQ(*CorpusChrf({{"a"}}, {"b"}), 0);
  EXPECT_EQ(*CorpusChrf({{"a"}}, {""}), 0);
  EXPECT_EQ(*CorpusChrf({{""}}, {"a"}), 0);
}

TEST(CorpusChrfTest, RejectsBadInput) {
  EXPECT_FALSE(CorpusChrf({}, {}).ok());
  EXPECT_FALSE(CorpusChrf({{"a"}}, {}).ok());
  EXPECT_FALSE(CorpusChrf({{}}, {"a"}).ok());
  EXPECT_FALSE(CorpusChrf({{"a"}}, {"a"}, {0, 0, 2}).ok());
  EXPECT_FALSE(CorpusChrf({{"a"}}, {"a"}, {6, -1, 2}).ok());
  EXPECT_FALSE(CorpusChrf({{"a"}}, {"a"}, {6, 0, 0}).ok());
}

}  // namespace
}  // namespace repro::metrics
