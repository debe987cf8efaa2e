#include "common/metrics/code_bleu.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace repro::metrics {
namespace {

// pip install codebleu==0.7.0, from codebleu import bleu, weighted_ngram_match
// bleu.corpus_bleu(references, hypotheses) and
// weighted_ngram_match.corpus_bleu with [tokens, {token: 1 if it is a keyword
// else 0.2}] for each reference; keywords int, return, if.
TEST(CodeBleuTest, TokenPartsAgreeWithTheEvaluator) {
  const std::vector<std::vector<Tokens>> references = {
      {SplitWhitespace("int f ( int a ) { return a + 1 ; }")},
      {SplitWhitespace("if ( x ) return y ;"),
       SplitWhitespace("return x ? y : z ;")},
      {{"a"}}};
  const std::vector<Tokens> hypotheses = {
      SplitWhitespace("int f ( int b ) { return b + 1 ; }"),
      SplitWhitespace("if ( x ) return z ;"),
      {"a", "b"}};
  const Keywords keywords = ParseKeywords("int\n return \r\n\nif");
  EXPECT_EQ(keywords.size(), 3);
  EXPECT_NEAR(*CodeBleuNgramMatch(references, hypotheses), 0.5218342947181621,
              1e-14);
  EXPECT_NEAR(*CodeBleuWeightedNgramMatch(references, hypotheses, keywords),
              0.4252425475002534, 1e-14);
  EXPECT_NEAR(*CodeBleuWeightedNgramMatch({{{"a"}}}, {{"a", "b"}}, keywords),
              0.11892071150027214, 1e-14);
  // One token is shorter than the 2 that the evaluator measures.
  EXPECT_NEAR(*CodeBleuWeightedNgramMatch({{{"a", "b"}}}, {{"a"}}, keywords),
              0.04374848489043043, 1e-14);
  EXPECT_EQ(*CodeBleuWeightedNgramMatch({{{"a"}}}, {{"b"}}, keywords), 0);
  EXPECT_EQ(*CodeBleuWeightedNgramMatch({{{"a"}}}, {{}}, keywords), 0);
}

TEST(CodeBleuTest, Assembly) {
  EXPECT_DOUBLE_EQ(*CodeBleu(1, 0.5, 0.25, 0.25), 0.5);
  EXPECT_DOUBLE_EQ(*CodeBleu(1, 0.5, 0.25, 0.25, {0.1, 0.1, 0.4, 0.4}), 0.35);
  EXPECT_FALSE(CodeBleu(1, 0.5, 83.07, 0.25).ok());
  EXPECT_FALSE(CodeBleu(1, 0.5, -1, 0.25).ok());
}

TEST(CodeBleuTest, RejectsBadInput) {
  EXPECT_FALSE(CodeBleuNgramMatch({}, {}).ok());
  EXPECT_FALSE(CodeBleuWeightedNgramMatch({}, {}, {}).ok());
  EXPECT_FALSE(CodeBleuWeightedNgramMatch({{}}, {{"a"}}, {}).ok());
}

}  // namespace
}  // namespace repro::metrics
