#include "common/metrics/bleu.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

namespace repro::metrics {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// The texts of nltk's doctest of corpus_bleu.
const std::vector<Tokens>& FirstReferences() {
  static const auto* const references = new std::vector<Tokens>{
      SplitWhitespace("It is a guide to action that ensures that the military "
                      "will forever heed Party commands"),
      SplitWhitespace("It is the guiding principle which guarantees the "
                      "military forces always being under the command of the "
                      "Party"),
      SplitWhitespace("It is the practical guide for the army always to heed "
                      "the directions of the party")};
  return *references;
}
const Tokens& FirstHypothesis() {
  static const auto* const hypothesis = new Tokens(SplitWhitespace(
      "It is a guide to action which ensures that the military always obeys "
      "the commands of the party"));
  return *hypothesis;
}

TEST(CorpusBleuTest, AgreesWithNltk) {
  // pip install nltk==3.10.4
  // from nltk.translate.bleu_score import *
  // corpus_bleu([[r1a, r1b, r1c], [r2a]], [h1, h2])
  const std::vector<Tokens> second = {SplitWhitespace(
      "he was interested in world history because he read the book")};
  const auto score = CorpusBleu(
      {FirstReferences(), second},
      {FirstHypothesis(),
       SplitWhitespace(
           "he read the book because he was interested in world history")},
      BleuSmoothing::kNone, ReferenceLength::kClosest);
  EXPECT_NEAR(score->bleu, 0.5920778868801042, 1e-14);
  EXPECT_EQ(score->hypothesis_length, 29);
  // 18 of 18, 16 and 16 is nearer to 16 than to 18, and 11.
  EXPECT_EQ(score->reference_length, 29);

  // smoothing_function=SmoothingFunction().method1
  const auto epsilon = [](const std::vector<std::vector<Tokens>>& references,
                          const std::vector<Tokens>& hypotheses) {
    return CorpusBleu(references, hypotheses, BleuSmoothing::kEpsilon,
                      ReferenceLength::kClosest)
        ->bleu;
  };
  EXPECT_NEAR(epsilon({{SplitWhitespace("a b c d e")}, {{"x", "y"}}},
                      {SplitWhitespace("a x c d"), {"x", "z"}}),
              0.10928032077900922, 1e-14);
  EXPECT_NEAR(epsilon({FirstReferences(), {{"x", "y"}}},
                      {FirstHypothesis(), {"x", "z"}}),
              0.4763100914774508, 1e-14);
  EXPECT_EQ(epsilon({{{"a"}}}, {{"b"}}), 0);
}

TEST(CorpusBleuTest, AddOneAtEveryOrder) {
  // Precisions (3+1)/(4+1), (1+1)/(3+1), (0+1)/(2+1), (0+1)/(1+1); c = 4, r =
  // 5.
  const auto score =
      CorpusBleu({{SplitWhitespace("a b c d e")}}, {SplitWhitespace("a x c d")},
                 BleuSmoothing::kAddOne, ReferenceLength::kShortest);
  EXPECT_NEAR(score->bleu,
              std::exp(1 - 5 / 4.0) *
                  std::pow(4 / 5.0 * 2 / 4.0 * 1 / 3.0 * 1 / 2.0, 0.25),
              1e-14);
  // A text against itself is 1, also where it is shorter than an n-gram.
  EXPECT_DOUBLE_EQ(
      CorpusBleu({{{"a", "b"}}}, {{"a", "b"}}, BleuSmoothing::kAddOne,
                 ReferenceLength::kShortest)
          ->bleu,
      1);
}

TEST(CorpusBleuTest, ReferenceLengths) {
  const std::vector<std::vector<Tokens>> references = {
      {Tokens(3, "a"), Tokens(7, "a"), Tokens(9, "a")}};
  const auto length = [&](ReferenceLength choice) {
    return CorpusBleu(references, {Tokens(8, "a")}, BleuSmoothing::kNone,
                      choice)
        ->reference_length;
  };
  EXPECT_EQ(length(ReferenceLength::kClosest), 7);  // of a tie the shorter
  EXPECT_EQ(length(ReferenceLength::kShortest), 3);
}

TEST(CorpusBleuTest, DegenerateCases) {
  const auto bleu = [](const Tokens& reference, const Tokens& hypothesis,
                       BleuSmoothing smoothing) {
    return CorpusBleu({{reference}}, {hypothesis}, smoothing,
                      ReferenceLength::kClosest)
        ->bleu;
  };
  EXPECT_EQ(bleu({"a"}, {}, BleuSmoothing::kNone), 0);
  EXPECT_EQ(bleu({"a"}, {}, BleuSmoothing::kAddOne), 0);
  EXPECT_EQ(bleu({"a", "b"}, {"a", "b"}, BleuSmoothing::kNone), 0);
  EXPECT_FALSE(
      CorpusBleu({}, {}, BleuSmoothing::kNone, ReferenceLength::kClosest).ok());
  EXPECT_FALSE(
      CorpusBleu({{{"a"}}}, {}, BleuSmoothing::kNone, ReferenceLength::kClosest)
          .ok());
  EXPECT_THAT(
      std::string(CorpusBleu({{{"a"}}, {}}, {{"a"}, {"a"}},
                             BleuSmoothing::kNone, ReferenceLength::kClosest)
                      .status()
                      .message()),
      HasSubstr("segment 1 has no reference"));
}

TEST(CodeXglueTest, Tokens) {
  // re.findall(r"[\w]+|[^\s\w]", line.strip().lower()), then "_" by itself.
  EXPECT_THAT(CodeXglueTokens(" Don't parse_xml(3.5)\u00a0\u00c9t\u00e9! "),
              ElementsAre("don", "'", "t", "parse", "_", "xml", "(", "3", ".",
                          "5", ")", "\u00e9t\u00e9", "!"));
  EXPECT_THAT(CodeXglueTokens("__a"), ElementsAre("_", "_", "a"));
  EXPECT_THAT(CodeXglueTokens(" "), ::testing::IsEmpty());
}

double CodeXglue(const std::string& reference, const std::string& hypothesis) {
  return *CodeXglueSentenceBleu({CodeXglueTokens(reference)},
                                CodeXglueTokens(hypothesis));
}

TEST(CodeXglueTest, AgreesWithTheEvaluator) {
  // bleu.py of CodeXGLUE's code-to-text at commit ac74a62 on the first five
  // lines of its evaluator example.
  EXPECT_NEAR(CodeXglue("Outputs the deferred summary information saved via",
                        "Prints a summary message"),
              0.17532970520619642, 1e-15);
  EXPECT_NEAR(CodeXglue("Inspect the file referenced in the kubectl stderr to "
                        "make it easier for developer to understand what s "
                        "going on",
                        "Finds the output from the output file"),
              0.04185260040000591, 1e-15);
  EXPECT_NEAR(CodeXglue("make sure to never prune the ejson - keys secret",
                        "Verify that the given JSON element is present ."),
              0.11025601466574559, 1e-15);
  EXPECT_NEAR(CodeXglue("Determine the best compressor for the current system "
                        ". This method returns the class not an instance of "
                        "the class .",
                        "Determines the specified compression compression ."),
              0.02693353402521573, 1e-15);
  EXPECT_NEAR(CodeXglue("Create the bff file using + mkinstallp + .",
                        "Creates a new project ."),
              0.12336445138236936, 1e-15);
}

TEST(CodeXglueTest, ClosedForms) {
  EXPECT_NEAR(CodeXglue("the cat sat on the mat", "the cat sat"), 0.47236655,
              5e-9);
  EXPECT_NEAR(CodeXglue("a b c d e", "a x c d"), 0.40936538, 5e-9);
  EXPECT_DOUBLE_EQ(CodeXglue("a", "A"), 1);
  // No token: the terms of all orders are 0, the penalty is 1 - (r + 1) / 1.
  EXPECT_NEAR(CodeXglue("a b c", ""), std::exp(-3), 1e-15);
  EXPECT_LT(CodeXglue("a b c", "x y z"), 1e-70);
  // The shortest reference sets the penalty, all give matches.
  EXPECT_DOUBLE_EQ(
      *CodeXglueSentenceBleu({{"a", "b", "c", "d"}, {"x"}}, {"a", "b", "c"}),
      1);
  EXPECT_FALSE(CodeXglueSentenceBleu({}, {"a"}).ok());
}

TEST(NltkSentenceBleuTest, AgreesWithNltk) {
  // sentence_bleu(references, hypothesis, smoothing_function=
  // SmoothingFunction().method2) and method4, nltk 3.10.4
  struct Case {
    std::vector<Tokens> references;
    Tokens hypothesis;
    double method2;
    double method4;
  };
  for (const Case& c : {
           Case{{SplitWhitespace("the cat sat on the mat")},
                SplitWhitespace("the cat sat on mat"),
                0.6511126026643229,
                0.5789300674674098},
           Case{{SplitWhitespace("a b c d e")},
                SplitWhitespace("a x c d"),
                0.38940039153570244,
                0.14498534696702547},
           Case{FirstReferences(), FirstHypothesis(), 0.539755306744061,
                0.5045666840058485},
           Case{{{"a", "b"}}, {"a"}, 0.21874242445215208, 0.36787944117144233},
           Case{{{"x", "y", "z"}}, {"a", "b", "c"}, 0, 0},
           Case{{SplitWhitespace("the the cat")},
                SplitWhitespace("the the the the dog"),
                0.33980884896942454,
                0.12121093525642128},
       }) {
    EXPECT_NEAR(
        *NltkSentenceBleu(c.references, c.hypothesis, NltkSmoothing::kMethod2),
        c.method2, 1e-14);
    EXPECT_NEAR(
        *NltkSentenceBleu(c.references, c.hypothesis, NltkSmoothing::kMethod4),
        c.method4, 1e-14);
  }
  EXPECT_EQ(*NltkSentenceBleu({{"a"}}, {}, NltkSmoothing::kMethod4), 0);
  EXPECT_FALSE(NltkSentenceBleu({}, {"a"}, NltkSmoothing::kMethod4).ok());
}

}  // namespace
}  // namespace repro::metrics
