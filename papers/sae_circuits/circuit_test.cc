#include "papers/sae_circuits/circuit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/assets/test_asset.h"
#include "common/data/io.h"
#include "common/metrics/classification.h"
#include "papers/sae_circuits/released.h"

namespace repro::sae_circuits {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr auto kCount = Normalisation::kNone;
constexpr auto kShare = Normalisation::kShare;

HeadCodes RandomCodes(int64_t examples, int64_t heads, int64_t features,
                      std::mt19937_64& random) {
  HeadCodes codes;
  codes.num_examples = examples;
  codes.num_heads = heads;
  for (int64_t i = 0; i < examples * heads; ++i) {
    codes.codes.push_back(static_cast<int64_t>(random() % features));
  }
  return codes;
}

// ---- Scores -----------------------------------------------------------------

// Head 0: P = {1, 2}, Q = {2, 3}. Head 1: P = Q = {5}. Head 2: P = {7, 8},
// Q = {9}.
HeadCodes Worked() { return {4, 3, {1, 5, 7, 2, 5, 8, 2, 5, 9, 3, 5, 9}}; }

TEST(NodeScores, WorkedExample) {
  EXPECT_THAT(*NodeScores(Worked(), kCount), ElementsAre(1, 0, 2));
  EXPECT_THAT(*NodeScores(Worked(), kShare), ElementsAre(1.0 / 3, 0, 2.0 / 3));
}

TEST(DistinctCodes, WorkedExample) {
  EXPECT_THAT(*DistinctCodes(Worked()), ElementsAre(3, 1, 3));
  EXPECT_EQ(*DistinctCodesArea(Worked(), {true, false, true}), 1);
  EXPECT_EQ(*DistinctCodesArea(Worked(), {true, false, false}), 0.75);
  EXPECT_FALSE(DistinctCodes({}).ok());
}

TEST(EdgeScores, WorkedExample) {
  // (0, 1): P = {15, 25}, Q = {25, 35}. (0, 2): {17, 28}, {29, 39}.
  // (1, 2): {57, 58}, {59}.
  EXPECT_THAT(*EdgeScores(Worked(), kCount),
              ElementsAre(0, 1, 2, 1, 0, 2, 2, 2, 0));
  EXPECT_THAT(*EdgeScores(Worked(), kShare),
              ElementsAre(0, 0.25, 0.5, 0.25, 0, 2.0 / 3, 0.5, 2.0 / 3, 0));
}

// Another algorithm: an array of all codes, and of all pairs of codes, counted.
TEST(Scores, AgreeWithCountsOfAllCodes) {
  std::mt19937_64 random(1);
  constexpr int64_t kFeatures = 7, kHeads = 5, kExamples = 24;
  for (int trial = 0; trial < 20; ++trial) {
    const HeadCodes codes = RandomCodes(kExamples, kHeads, kFeatures, random);
    const auto nodes = NodeScores(codes, kCount);
    const auto node_shares = NodeScores(codes, kShare);
    const auto distinct = DistinctCodes(codes);
    const auto edges = EdgeScores(codes, kCount);
    const auto edge_shares = EdgeScores(codes, kShare);
    ASSERT_TRUE(nodes.ok() && edges.ok());
    for (int64_t a = 0; a < kHeads; ++a) {
      for (int64_t b = 0; b < kHeads; ++b) {
        std::vector<int> positive(kFeatures * kFeatures, 0);
        std::vector<int> negative(kFeatures * kFeatures, 0);
        for (int64_t e = 0; e < kExamples; ++e) {
          (2 * e < kExamples
               ? positive
               : negative)[codes.at(e, a) * kFeatures + codes.at(e, b)]++;
        }
        double only = 0, in_any = 0, in_both_kinds = 0;
        for (int64_t i = 0; i < kFeatures * kFeatures; ++i) {
          only += positive[i] > 0 && negative[i] == 0;
          in_any += positive[i] > 0 || negative[i] > 0;
          in_both_kinds += (positive[i] > 0) + (negative[i] > 0);
        }
        if (a == b) {
          // A head's pairs with itself are its codes.
          EXPECT_EQ((*nodes)[a], only);
          EXPECT_EQ((*distinct)[a], in_any);
          EXPECT_EQ((*node_shares)[a], only / in_any);
          EXPECT_LE((*nodes)[a], std::min(kFeatures, kExamples / 2));
          EXPECT_EQ((*edges)[a * kHeads + a], 0);
        } else {
          EXPECT_EQ((*edges)[a * kHeads + b], only);
          EXPECT_EQ((*edge_shares)[a * kHeads + b], only / in_both_kinds);
        }
      }
    }
  }
}

TEST(Scores, DoNotDependOnTheOrderWithinPositivesAndNegatives) {
  std::mt19937_64 random(2);
  const HeadCodes codes = RandomCodes(40, 6, 9, random);
  std::vector<int64_t> order(40);
  for (int64_t i = 0; i < 40; ++i) order[i] = i;
  std::shuffle(order.begin(), order.begin() + 20, random);
  std::shuffle(order.begin() + 20, order.end(), random);
  const auto reordered = ReorderExamples(codes, order);
  ASSERT_TRUE(reordered.ok());
  EXPECT_NE(reordered->codes, codes.codes);
  EXPECT_EQ(*NodeScores(codes, kCount), *NodeScores(*reordered, kCount));
  EXPECT_EQ(*EdgeScores(codes, kCount), *EdgeScores(*reordered, kCount));
}

TEST(Scores, SameCodesInBothGiveAnAreaOfAHalf) {
  HeadCodes codes = {6, 3, {}};
  for (int64_t e = 0; e < 6; ++e) {
    for (int64_t h = 0; h < 3; ++h) codes.codes.push_back(e % 3 + h);
  }
  EXPECT_THAT(*NodeScores(codes, kCount), ElementsAre(0, 0, 0));
  EXPECT_EQ(*NodeArea(codes, {true, false, false}, kCount), 0.5);
  // One private code of the one head of the circuit.
  codes.codes[0] = 99;
  EXPECT_EQ(*NodeArea(codes, {true, false, false}, kCount), 1);
  EXPECT_EQ(*NodeArea(codes, {false, true, true}, kCount), 0);
}

TEST(Scores, RefuseDamagedCodes) {
  const auto error = [](const HeadCodes& codes) {
    const auto nodes = NodeScores(codes, kCount);
    const auto edges = EdgeScores(codes, kCount);
    EXPECT_TRUE(absl::IsInvalidArgument(nodes.status()));
    EXPECT_TRUE(absl::IsInvalidArgument(edges.status()));
    std::mt19937_64 random(1);
    EXPECT_FALSE(ShuffledNodeArea(codes, {true}, 2, random).ok());
    return std::string(nodes.status().message());
  };
  EXPECT_THAT(error({}), HasSubstr("got 0 and 0"));
  EXPECT_THAT(error({3, 1, {1, 2, 3}}), HasSubstr("got 3 and 1"));
  EXPECT_THAT(error({2, 2, {1, 2, 3}}), HasSubstr("3 for 2 examples"));
  EXPECT_THAT(error({2, 1, {1, -1}}), HasSubstr("-1 is not in"));
  EXPECT_THAT(error({2, 1, {1, int64_t{1} << 31}}), HasSubstr("is not in"));
  constexpr int64_t kHuge = std::numeric_limits<int64_t>::max() - 1;
  EXPECT_THAT(error({kHuge, kHuge, {1, 2}}), HasSubstr("2 for"));
}

TEST(ReorderExamples, RefusesWhatIsNoPermutation) {
  const HeadCodes codes = {2, 1, {3, 4}};
  EXPECT_THAT(ReorderExamples(codes, {1, 0})->codes, ElementsAre(4, 3));
  for (const std::vector<int64_t>& order : std::vector<std::vector<int64_t>>{
           {}, {0}, {0, 0}, {0, 2}, {-1, 0}, {0, 1, 2}}) {
    EXPECT_TRUE(
        absl::IsInvalidArgument(ReorderExamples(codes, order).status()));
  }
}

TEST(ShuffledNodeArea, TakesAwayWhatLabelsTell) {
  // Head 0 has a code for each example, head 1 one code for all: whatever the
  // order, head 0 has 10 codes in positives alone.
  HeadCodes codes = {20, 2, {}};
  for (int64_t e = 0; e < 20; ++e) {
    codes.codes.push_back(e);
    codes.codes.push_back(0);
  }
  std::mt19937_64 random(1);
  EXPECT_EQ(*ShuffledNodeArea(codes, {true, false}, 5, random), 1);
  // With the label itself as code labels are all that tells: after a shuffle
  // both classes have both codes almost always, and every score is 0.
  HeadCodes labels = {20, 4, {}};
  for (int64_t e = 0; e < 20; ++e) {
    for (int64_t h = 0; h < 4; ++h) labels.codes.push_back(h < 2 && e < 10);
  }
  EXPECT_EQ(*NodeArea(labels, {true, true, false, false}, kCount), 1);
  EXPECT_NEAR(*ShuffledNodeArea(labels, {true, true, false, false}, 50, random),
              0.5, 0.02);
  EXPECT_FALSE(ShuffledNodeArea(codes, {true, false}, 0, random).ok());
}

TEST(HeadMentions, WorkedExample) {
  // Of the 9 ordered pairs the list's first 4 entries are 2 pairs: the three
  // edges with 2, 2 and 1, read from the last of equals or from the first.
  const std::vector<double> scores = {0, 1, 2, 1, 0, 2, 2, 2, 0};
  // (2, 1), (2, 0)
  EXPECT_THAT(*HeadMentions(scores, 3, TieOrder::kHighestFirst),
              ElementsAre(1, 1, 2));
  // (0, 2), (1, 2)
  EXPECT_THAT(*HeadMentions(scores, 3, TieOrder::kLowestFirst),
              ElementsAre(1, 1, 2));
  // All equal: the last pairs are (2, 2), (2, 1); the first (0, 0), (0, 1).
  const std::vector<double> equal(9, 1);
  EXPECT_THAT(*HeadMentions(equal, 3, TieOrder::kHighestFirst),
              ElementsAre(0, 1, 3));
  EXPECT_THAT(*HeadMentions(equal, 3, TieOrder::kLowestFirst),
              ElementsAre(3, 1, 0));
}

TEST(HeadMentions, ReadAQuarterOfThePairs) {
  std::mt19937_64 random(3);
  const HeadCodes codes = RandomCodes(60, 8, 20, random);
  const auto scores = EdgeScores(codes, kCount);
  const auto mentions = HeadMentions(*scores, 8, TieOrder::kHighestFirst);
  double sum = 0;
  for (const double m : *mentions) sum += m;
  EXPECT_EQ(sum, 32);
  // Another algorithm: an edge's rank is the number of better ones.
  std::vector<double> expected(8, 0);
  for (int64_t i = 0; i < 64; ++i) {
    int64_t better = 0;
    for (int64_t j = 0; j < 64; ++j) {
      better += (*scores)[j] > (*scores)[i] ||
                ((*scores)[j] == (*scores)[i] && j > i);
    }
    if (better < 16) {
      ++expected[i / 8];
      ++expected[i % 8];
    }
  }
  EXPECT_EQ(*mentions, expected);
}

TEST(HeadMentions, RefuseWrongSizesAndNaN) {
  for (const int64_t heads : {0, 1, 3}) {
    EXPECT_TRUE(absl::IsInvalidArgument(
        HeadMentions({1, 2, 3, 4}, heads, TieOrder::kLowestFirst).status()));
  }
  EXPECT_TRUE(absl::IsInvalidArgument(
      HeadMentions({1, std::nan(""), 3, 4}, 2, TieOrder::kLowestFirst)
          .status()));
}

// ---- Curves -----------------------------------------------------------------

// The example of roc_curve and roc_auc_score in scikit-learn's documentation.
TEST(RocCurve, KnownExample) {
  const auto curve =
      MakeRocCurve({false, false, true, true}, {0.1, 0.4, 0.35, 0.8});
  ASSERT_TRUE(curve.ok());
  EXPECT_THAT(curve->fpr, ElementsAre(0, 0, 0.5, 0.5, 1));
  EXPECT_THAT(curve->tpr, ElementsAre(0, 0.5, 0.5, 1, 1));
  EXPECT_EQ(*RocArea(*curve), 0.75);
}

struct Scored {
  std::vector<bool> in_circuit;
  std::vector<double> scores;
};

// Whole scores, so that many are equal.
Scored RandomScores(int64_t size, std::mt19937_64& random) {
  Scored scored;
  for (int64_t i = 0; i < size; ++i) {
    scored.in_circuit.push_back(random() % 3 == 0);
    scored.scores.push_back(static_cast<double>(random() % 12));
  }
  scored.in_circuit[0] = true;
  scored.in_circuit[1] = false;
  return scored;
}

TEST(RocArea, IsTheShareOfRightlyOrderedPairs) {
  std::mt19937_64 random(4);
  for (int trial = 0; trial < 50; ++trial) {
    const Scored scored = RandomScores(30, random);
    const auto area = RocArea(*MakeRocCurve(scored.in_circuit, scored.scores));
    const auto expected = metrics::RocAuc(scored.in_circuit, scored.scores);
    ASSERT_TRUE(area.ok() && expected.ok());
    EXPECT_NEAR(*area, *expected, 1e-14);
    // Reversed, and under the softmax that the authors apply.
    std::vector<double> reversed, softmax;
    for (const double score : scored.scores) {
      reversed.push_back(-score);
      softmax.push_back(std::exp(score) / 1e6);
    }
    EXPECT_NEAR(*RocArea(*MakeRocCurve(scored.in_circuit, reversed)), 1 - *area,
                1e-14);
    EXPECT_EQ(*RocArea(*MakeRocCurve(scored.in_circuit, softmax)), *area);
  }
}

TEST(BestScores, AgreeWithCountsAtEveryThreshold) {
  std::mt19937_64 random(5);
  for (int trial = 0; trial < 50; ++trial) {
    const Scored scored = RandomScores(40, random);
    double best_f1 = 0, best_mean = 0;
    int64_t positives = 0;
    for (const bool b : scored.in_circuit) positives += b;
    for (double threshold = 0; threshold < 13; ++threshold) {
      std::vector<bool> predicted;
      double tp = 0, tn = 0;
      for (size_t i = 0; i < 40; ++i) {
        const bool above = scored.scores[i] >= threshold;
        predicted.push_back(above);
        tp += above && scored.in_circuit[i];
        tn += !above && !scored.in_circuit[i];
      }
      const std::vector<int64_t> references(scored.in_circuit.begin(),
                                            scored.in_circuit.end());
      const std::vector<int64_t> labels(predicted.begin(), predicted.end());
      best_f1 = std::max(best_f1,
                         metrics::Binary(references, labels, int64_t{1})->f1);
      const double tpr = tp / static_cast<double>(positives);
      const double tnr = tn / static_cast<double>(40 - positives);
      if (tpr + tnr > 0) {
        best_mean = std::max(best_mean, 2 * tpr * tnr / (tpr + tnr));
      }
    }
    const auto curve = MakeRocCurve(scored.in_circuit, scored.scores);
    EXPECT_NEAR(*BestF1(*curve, positives, 40 - positives), best_f1, 1e-14);
    EXPECT_NEAR(*BestHarmonicRate(*curve), best_mean, 1e-14);
  }
}

TEST(RocCurve, RefusesWhatHasNone) {
  const auto refused = [](const std::vector<bool>& in_circuit,
                          const std::vector<double>& scores) {
    return absl::IsInvalidArgument(MakeRocCurve(in_circuit, scores).status());
  };
  EXPECT_TRUE(refused({}, {}));
  EXPECT_TRUE(refused({true, true}, {1, 2}));
  EXPECT_TRUE(refused({false}, {1}));
  EXPECT_TRUE(refused({true, false}, {1}));
  EXPECT_TRUE(refused({true, false}, {1, std::nan("")}));
  for (const RocCurve& curve :
       std::vector<RocCurve>{{},
                             {{0}, {0}},
                             {{0, 1}, {0}},
                             {{0, 1}, {0, 0.5}},
                             {{0.1, 1}, {0, 1}},
                             {{0, 0.6, 0.5, 1}, {0, 0.1, 0.2, 1}},
                             {{0, 0.5, 1}, {0, std::nan(""), 1}}}) {
    EXPECT_TRUE(absl::IsInvalidArgument(RocArea(curve).status()));
    EXPECT_TRUE(absl::IsInvalidArgument(BestHarmonicRate(curve).status()));
    EXPECT_TRUE(absl::IsInvalidArgument(BestF1(curve, 1, 1).status()));
  }
  EXPECT_TRUE(absl::IsInvalidArgument(BestF1({{0, 1}, {0, 1}}, 0, 1).status()));
}

// ---- Consistency of means and deviations ------------------------------------

TEST(AreasMayHave, HoldsForAreasAndForLittleElse) {
  std::mt19937_64 random(6);
  constexpr int64_t kP = 9, kN = 135, kTrials = 10;
  int64_t other_divisor = 0, moved = 0;
  for (int trial = 0; trial < 200; ++trial) {
    std::vector<double> areas;
    double mean = 0;
    for (int64_t i = 0; i < kTrials; ++i) {
      areas.push_back(static_cast<double>(1500 + random() % 900) /
                      (2 * kP * kN));
      mean += areas.back() / kTrials;
    }
    double squares = 0;
    for (const double area : areas) squares += (area - mean) * (area - mean);
    const double population = std::sqrt(squares / kTrials);
    const double sample = std::sqrt(squares / (kTrials - 1));
    EXPECT_TRUE(AreasMayHave(mean, population, kTrials, kTrials, kP, kN));
    EXPECT_TRUE(AreasMayHave(mean, sample, kTrials, kTrials - 1, kP, kN));
    other_divisor +=
        AreasMayHave(mean, population, kTrials, kTrials - 1, kP, kN);
    moved += AreasMayHave(mean, population * 1.0003, kTrials, kTrials, kP, kN);
    EXPECT_FALSE(
        AreasMayHave(mean + 1e-5, population, kTrials, kTrials, kP, kN));
  }
  // By chance: one whole number in ten is divisible, half of these have the
  // right parity, few spreads stay whole.
  EXPECT_LT(other_divisor, 20);
  EXPECT_LT(moved, 5);
}

TEST(IsMultiple, OfShares) {
  EXPECT_TRUE(IsMultiple(17.0 / 26, 26));
  EXPECT_TRUE(IsMultiple(0, 26));
  EXPECT_TRUE(IsMultiple(1, 26));
  EXPECT_FALSE(IsMultiple(17.0 / 26, 118));
  EXPECT_FALSE(IsMultiple(17.5 / 26, 26));
}

// ---- Prompts ----------------------------------------------------------------

Lexicon SmallLexicon() {
  Lexicon lexicon;
  lexicon.names = {"Mary", "John", "Ann"};
  lexicon.places = {"store"};
  lexicon.objects = {"ring", "bone"};
  lexicon.templates = {
      "Then, [B] and [A] went to the [PLACE]. [B] gave a [OBJECT] to [A]",
      "When [B] and [A] got a [OBJECT], [B] gave the [OBJECT] to [A]"};
  return lexicon;
}

TEST(SwapFirstNames, ExchangesTheFirstClauseAlone) {
  EXPECT_EQ(*SwapFirstNames(SmallLexicon().templates[0]),
            "Then, [A] and [B] went to the [PLACE]. [B] gave a [OBJECT] to "
            "[A]");
  for (const char* text : {"", "[A] and [B]", "[B] alone", "[B] [B] [A]"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(SwapFirstNames(text).status())) << text;
  }
}

TEST(MatchTemplate, FindsSlots) {
  const Lexicon lexicon = SmallLexicon();
  const auto slots = MatchTemplate(
      "Then, Mary and John went to the store. Mary gave a ring to",
      lexicon.templates[0], lexicon);
  ASSERT_TRUE(slots.has_value());
  EXPECT_THAT(
      *slots,
      ElementsAre(std::pair("A", "John"), std::pair("B", "Mary"),
                  std::pair("OBJECT", "ring"), std::pair("PLACE", "store")));
}

TEST(MatchTemplate, RefusesOtherTexts) {
  const Lexicon lexicon = SmallLexicon();
  const auto matches = [&](const char* text, int number) {
    return MatchTemplate(text, lexicon.templates[number], lexicon).has_value();
  };
  EXPECT_FALSE(matches("", 0));
  // The subject is the other name, a third one, or twice the same.
  EXPECT_FALSE(
      matches("Then, Mary and John went to the store. John gave a ring to", 0));
  EXPECT_FALSE(
      matches("Then, Mary and John went to the store. Ann gave a ring to", 0));
  EXPECT_FALSE(
      matches("Then, Mary and Mary went to the store. Mary gave a ring to", 0));
  // Not in its list; a full stop is missing; a word more.
  EXPECT_FALSE(
      matches("Then, Mary and Bob went to the store. Mary gave a ring to", 0));
  EXPECT_FALSE(
      matches("Then, Mary and John went to the store Mary gave a ring to", 0));
  EXPECT_FALSE(matches(
      "Then, Mary and John went to the store. Mary gave a ring to John", 0));
  // A slot that is repeated has one word.
  EXPECT_TRUE(
      matches("When Mary and John got a ring, Mary gave the ring to", 1));
  EXPECT_FALSE(
      matches("When Mary and John got a ring, Mary gave the bone to", 1));
}

TEST(NegativeOf, KeepsTheSecondMention) {
  // The authors' first pair.
  EXPECT_EQ(NegativeOf("Then, Richard and Nicole went to the garden. Nicole "
                       "gave a bone to",
                       "Richard", "Nicole", "Adam"),
            "Then, Adam and Richard went to the garden. Nicole gave a bone to");
  // Whole words alone.
  EXPECT_EQ(NegativeOf("Jose and Joseph, Joseph to", "Jose", "Joseph", "Ann"),
            "Ann and Jose, Joseph to");
}

TEST(NamesIn, ReadsWholeWords) {
  EXPECT_THAT(NamesIn("Mary's John, Johnny (Ann)Mary", SmallLexicon()),
              ElementsAre("Mary", "John", "Ann", "Mary"));
  EXPECT_THAT(NamesIn("", SmallLexicon()), ElementsAre());
}

// ---- Files ------------------------------------------------------------------

std::string Written(const std::string& content) {
  const std::string path = absl::StrCat(testing::TempDir(), "/released.json");
  EXPECT_TRUE(WriteFileAtomically(path, content).ok());
  return path;
}

TEST(ReadPrompts, PairsUp) {
  const auto pairs = ReadPrompts(
      Written(R"({"id": 0, "positive": false, "pair": 3, "text": "b"})"
              "\n"
              R"({"id": 1, "positive": true, "pair": 3, "text": "a"})"));
  ASSERT_TRUE(pairs.ok()) << pairs.status();
  ASSERT_EQ(pairs->size(), 1u);
  EXPECT_EQ((*pairs)[0].positive, "a");
  EXPECT_EQ((*pairs)[0].negative, "b");
}

TEST(ReadPrompts, RefusesDamage) {
  const auto error = [](const std::string& content) {
    const auto pairs = ReadPrompts(Written(content));
    EXPECT_TRUE(absl::IsInvalidArgument(pairs.status())) << content;
    return std::string(pairs.status().message());
  };
  const std::string good = R"({"positive": true, "pair": 0, "text": "a"})";
  EXPECT_THAT(error(""), HasSubstr("no prompts"));
  EXPECT_THAT(error(good), HasSubstr("pair 0 lacks its negative"));
  EXPECT_THAT(error(good + "\n" + good), HasSubstr(":2: pair 0 has one"));
  EXPECT_THAT(error(R"({"positive": true, "pair": 0})"),
              HasSubstr("\"text\" is missing"));
  EXPECT_THAT(error(R"({"positive": 1, "pair": 0, "text": "a"})"),
              HasSubstr("expected true or false"));
  EXPECT_THAT(error(R"({"positive": true, "pair": 0.5, "text": "a"})"),
              HasSubstr("expected a whole number"));
  EXPECT_THAT(error("[1]"), HasSubstr("expected an object"));
  EXPECT_THAT(error(R"({"positive": true, "pair": 0, "te)"),
              HasSubstr("released.json:1"));
  EXPECT_TRUE(absl::IsNotFound(ReadPrompts("/no/such/file").status()));
}

TEST(ReadLexicon, RefusesDamage) {
  const auto error = [](const std::string& content) {
    const auto lexicon = ReadLexicon(Written(content));
    EXPECT_TRUE(absl::IsInvalidArgument(lexicon.status())) << content;
    return std::string(lexicon.status().message());
  };
  EXPECT_THAT(error("{}"), HasSubstr("\"names\" is missing"));
  EXPECT_THAT(error(R"({"names": []})"), HasSubstr("not empty"));
  EXPECT_THAT(error(R"({"names": ["a", 1]})"), HasSubstr("names[1]"));
  EXPECT_THAT(error(R"({"names": ["a"], "places": ["b"], "objects": ["c"],
                        "baba_templates": ["[A] and [B]"]})"),
              HasSubstr("expected [B] and [A] in turn"));
}

std::string CircuitsJson(const std::string& heads) {
  std::string text = "{";
  for (const char* task : {"ioi", "greater_than", "docstring"}) {
    absl::StrAppend(&text, text.size() > 1 ? "," : "", "\"", task,
                    R"(": {"model": "m", "layers": 2, "heads_per_layer": 3,)",
                    "\"heads\": ", heads, "}");
  }
  return text + "}";
}

TEST(ReadCircuits, ReadsHeads) {
  const auto circuits = ReadCircuits(Written(CircuitsJson("[[0,2],[1,0]]")));
  ASSERT_TRUE(circuits.ok()) << circuits.status();
  EXPECT_EQ(circuits->at("gt").positives(), 2);
  EXPECT_EQ(circuits->at("gt").negatives(), 4);
  EXPECT_THAT(circuits->at("ds").heads,
              ElementsAre(std::pair(0, 2), std::pair(1, 0)));
}

TEST(ReadCircuits, RefusesDamage) {
  for (const char* heads : {"[[0,3]]", "[[2,0]]", "[[-1,0]]", "[[0,0],[0,0]]",
                            "[[0]]", "[[0,1,2]]", "[]", "[0]", "null"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(
        ReadCircuits(Written(CircuitsJson(heads))).status()))
        << heads;
  }
  EXPECT_THAT(ReadCircuits(Written("{}")).status().message(),
              HasSubstr("\"ioi\" is missing"));
}

std::string ResultsJson(const std::string& curve, const std::string& mean,
                        const std::string& trials, const std::string& kl) {
  const std::string main = R"({"mean_roc": )" + mean + R"(, "std_roc": 0.1})";
  std::string text = R"({"roc_points": {"ioi": )" + curve +
                     R"(}, "main_results": {"ioi": {"node": )" + main +
                     R"(, "edge": )" + main +
                     R"(}}, "auc_by_num_examples": {"ioi": )" + trials + "}";
  for (const char* name : {"ioi", "gt", "ds", "node"}) {
    absl::StrAppend(&text, ", \"auc_by_num_codes_", name, "\": ", trials);
  }
  return text + R"(, "induction_node_faithfulness": {"m": {"num_nodes": [4, 2],
      "faithfulness_scores_kl": [1, 0.75], "ablation_scores_kl": )" +
         kl + "}}}";
}

constexpr char kCurve[] = R"({"fpr": [0, 0.5, 1], "tpr": [0, 1, 1]})";

TEST(ReadResults, ReadsAll) {
  const auto results = ReadResults(
      Written(ResultsJson(kCurve, "0.5", R"({"10": [0.5, 0.7]})", "[0, 1]")));
  ASSERT_TRUE(results.ok()) << results.status();
  EXPECT_EQ(*RocArea(results->curves.at("ioi")), 0.75);
  EXPECT_EQ(results->main_results.at("ioi").at("edge").mean, 0.5);
  EXPECT_THAT(results->trials.at("codes/node").at(10), ElementsAre(0.5, 0.7));
  EXPECT_THAT(results->trials.at("examples/ioi").at(10), ElementsAre(0.5, 0.7));
  const auto scale = FitAblationScale(results->induction.at("m"));
  ASSERT_TRUE(scale.ok());
  EXPECT_EQ(scale->kl, 4);
  EXPECT_EQ(scale->largest_residual, 0);
}

TEST(ReadResults, RefusesDamage) {
  const std::string trials = R"({"10": [0.5]})";
  const auto error = [](const std::string& content) {
    const auto results = ReadResults(Written(content));
    EXPECT_TRUE(absl::IsInvalidArgument(results.status())) << content;
    return std::string(results.status().message());
  };
  EXPECT_THAT(error(ResultsJson(R"({"fpr": [0, 1], "tpr": [0, 0.5]})", "0.5",
                                trials, "[0, 1]")),
              HasSubstr("roc_points: ioi: ROC curve: tpr"));
  EXPECT_THAT(error(ResultsJson(kCurve, "1.5", trials, "[0, 1]")),
              HasSubstr("main_results: ioi: node"));
  EXPECT_THAT(error(ResultsJson(kCurve, "\"x\"", trials, "[0, 1]")),
              HasSubstr("mean_roc: expected a number"));
  EXPECT_THAT(error(ResultsJson(kCurve, "0.5", R"({"ten": [0.5]})", "[0, 1]")),
              HasSubstr("ten: expected a number above 0"));
  EXPECT_THAT(error(ResultsJson(kCurve, "0.5", R"({"10": [1.5]})", "[0, 1]")),
              HasSubstr("1.5 is not in [0, 1]"));
  EXPECT_THAT(error(ResultsJson(kCurve, "0.5", R"({"10": []})", "[0, 1]")),
              HasSubstr("not empty"));
  EXPECT_THAT(error(ResultsJson(kCurve, "0.5", trials, "[0]")),
              HasSubstr("different lengths"));
  const std::string good = ResultsJson(kCurve, "0.5", trials, "[0, 1]");
  EXPECT_THAT(error(good.substr(0, good.size() / 2)), HasSubstr("json:"));
  EXPECT_THAT(error("[]"), HasSubstr("expected an object"));
}

TEST(FitAblationScale, LeastSquares) {
  FaithfulnessCurve curve;
  curve.kl = {1, 2, 3};
  curve.faithfulness = {0.8, 0.7, 0.2};
  // 1 / K = (1 * 0.2 + 2 * 0.3 + 3 * 0.8) / 14.
  const auto scale = FitAblationScale(curve);
  ASSERT_TRUE(scale.ok());
  EXPECT_NEAR(scale->kl, 14 / 3.2, 1e-12);
  EXPECT_NEAR(scale->largest_residual, std::abs(1 - 2 * 3.2 / 14 - 0.7), 1e-12);
  curve.kl = {0, 0, 0};
  EXPECT_TRUE(absl::IsInvalidArgument(FitAblationScale(curve).status()));
  curve.kl = {0, 0};
  EXPECT_TRUE(absl::IsInvalidArgument(FitAblationScale(curve).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(FitAblationScale({}).status()));
}

// The released files, where they are at hand.
TEST(Released, FitsItsOwnSizes) {
  const std::string results_path =
      FindTestAsset("sae_circuits/released_results.json.gz");
  const std::string circuits_path =
      FindTestAsset("sae_circuits/ground_truth_heads.json.gz");
  if (results_path.empty() || circuits_path.empty()) {
    GTEST_SKIP() << "needs sae_circuits of REPRO_ASSETS";
  }
  const auto results = ReadResults(results_path);
  const auto circuits = ReadCircuits(circuits_path);
  ASSERT_TRUE(results.ok()) << results.status();
  ASSERT_TRUE(circuits.ok()) << circuits.status();
  for (const auto& [task, circuit] : *circuits) {
    EXPECT_EQ(results->trials.at("examples/" + task).size(), 6u);
    for (const auto& [setting, areas] : results->trials.at("codes/" + task)) {
      EXPECT_EQ(areas.size(), 5u);
      for (const double area : areas) {
        EXPECT_TRUE(
            IsMultiple(area, 2 * circuit.positives() * circuit.negatives()));
      }
    }
  }
}

}  // namespace
}  // namespace repro::sae_circuits
