#include "common/metrics/edit_distance.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "common/metrics/python_text.h"

namespace repro::metrics {
namespace {

// pip install rapidfuzz==3.14.6 fuzzywuzzy==0.18.0
// Levenshtein.distance(a, b), Indel.normalized_similarity(a, b) of
// rapidfuzz.distance; difflib.SequenceMatcher(None, a, b).ratio() of CPython
// 3.11; fuzzywuzzy.fuzz.ratio(a, b) without python-Levenshtein.
TEST(EditDistanceTest, AgreesWithRapidfuzzDifflibAndFuzzywuzzy) {
  struct Case {
    std::string a, b;
    int64_t levenshtein;
    double indel, difflib, fuzzywuzzy;
  };
  for (const Case& c : {
           Case{"kitten", "sitting", 3, 0.6153846153846154, 0.6153846153846154,
                0.62},
           Case{"return self.value", "return value", 5, 0.8275862068965517,
                0.8275862068965517, 0.83},
           Case{"", "abc", 3, 0, 0, 0},
           Case{"naïve", "naive", 1, 0.8, 0.8, 0.8},
           Case{"abcabba", "cbabac", 4, 0.6153846153846154, 0.46153846153846156,
                0.46},
           Case{" abcd", "abcd abcd", 4, 0.7142857142857143, 0.7142857142857143,
                0.71},
           Case{"tide", "diet", 3, 0.5, 0.25, 0.25},
           Case{"diet", "tide", 3, 0.5, 0.5, 0.5},
       }) {
    const Symbols a = CodePoints(c.a);
    const Symbols b = CodePoints(c.b);
    EXPECT_EQ(LevenshteinDistance(a, b), c.levenshtein) << c.a << " " << c.b;
    EXPECT_DOUBLE_EQ(
        LevenshteinSimilarity(c.a, c.b),
        1 - static_cast<double>(c.levenshtein) / std::max(a.size(), b.size()));
    EXPECT_NEAR(IndelSimilarity(c.a, c.b), c.indel, 1e-15);
    EXPECT_NEAR(DifflibRatio(c.a, c.b), c.difflib, 1e-15) << c.a << " " << c.b;
    EXPECT_NEAR(FuzzywuzzyRatio(c.a, c.b), c.fuzzywuzzy, 1e-15);
  }
}

// x = (x * 1103515245 + 12345) % 2**31; chr(97 + (x >> 16) % k), n times
std::string Letters(int64_t seed, int n, int k) {
  std::string text;
  for (int i = 0; i < n; ++i) {
    seed = (seed * 1103515245 + 12345) % (int64_t{1} << 31);
    text.push_back(static_cast<char>('a' + (seed >> 16) % k));
  }
  return text;
}

TEST(EditDistanceTest, AgreesOnLongTexts) {
  struct Case {
    int seed_a, n_a, seed_b, n_b, k;
    bool shares_half;  // b starts with the first n_b / 2 letters of a
    int64_t levenshtein, indel;
    double ratio, reversed_ratio;
  };
  // 199 symbols have no junk, 200 do.
  for (const Case& c : {
           Case{1, 300, 2, 250, 26, false, 255, 386, 0.0, 0.0},
           Case{1, 300, 2, 250, 26, true, 146, 214, 0.45454545454545453,
                0.45454545454545453},
           Case{3, 150, 4, 199, 3, false, 90, 117, 0.3954154727793696,
                0.45272206303724927},
           Case{3, 150, 4, 199, 3, true, 55, 61, 0.7965616045845272,
                0.8080229226361032},
           Case{5, 150, 6, 200, 3, false, 94, 118, 0.0, 0.38285714285714284},
           Case{5, 150, 6, 200, 3, true, 56, 60, 0.5771428571428572, 0.76},
           Case{7, 1000, 8, 900, 20, false, 818, 1234, 0.0, 0.0},
           Case{7, 1000, 8, 900, 20, true, 442, 656, 0.47368421052631576,
                0.47368421052631576},
       }) {
    const std::string a = Letters(c.seed_a, c.n_a, c.k);
    std::string b = Letters(c.seed_b, c.n_b, c.k);
    if (c.shares_half) b = a.substr(0, c.n_b / 2) + b.substr(c.n_b / 2);
    EXPECT_EQ(LevenshteinDistance(CodePoints(a), CodePoints(b)), c.levenshtein);
    EXPECT_NEAR(IndelSimilarity(a, b),
                1 - static_cast<double>(c.indel) / (c.n_a + c.n_b), 1e-14);
    EXPECT_NEAR(DifflibRatio(a, b), c.ratio, 1e-14) << c.seed_a;
    EXPECT_NEAR(DifflibRatio(b, a), c.reversed_ratio, 1e-14) << c.seed_a;
  }
}

// The quadratic tables.
TEST(EditDistanceTest, BitParallelIsTheTable) {
  std::mt19937 generator(1);
  for (int trial = 0; trial < 300; ++trial) {
    Symbols a(generator() % 200), b(generator() % 200);
    const int alphabet = 1 + generator() % 6;
    for (int32_t& x : a) x = generator() % alphabet;
    for (int32_t& x : b) x = generator() % alphabet;
    std::vector<std::vector<int64_t>> lcs(
        a.size() + 1, std::vector<int64_t>(b.size() + 1, 0));
    auto edits = lcs;
    for (size_t i = 0; i <= a.size(); ++i) {
      for (size_t j = 0; j <= b.size(); ++j) {
        if (i == 0 || j == 0) {
          edits[i][j] = i + j;
          continue;
        }
        const bool equal = a[i - 1] == b[j - 1];
        lcs[i][j] = equal ? lcs[i - 1][j - 1] + 1
                          : std::max(lcs[i - 1][j], lcs[i][j - 1]);
        edits[i][j] = std::min({edits[i - 1][j] + 1, edits[i][j - 1] + 1,
                                edits[i - 1][j - 1] + (equal ? 0 : 1)});
      }
    }
    ASSERT_EQ(LcsLength(a, b), lcs[a.size()][b.size()]) << trial;
    ASSERT_EQ(LevenshteinDistance(a, b), edits[a.size()][b.size()]) << trial;
  }
}

TEST(MatchingBlocksTest, IsDifflibs) {
  // SequenceMatcher(None, "qabxcd", "abycdf").get_matching_blocks()
  const auto blocks =
      MatchingBlocks(CodePoints("qabxcd"), CodePoints("abycdf"));
  ASSERT_EQ(blocks.size(), 2);
  EXPECT_EQ(blocks[0].a_begin, 1);
  EXPECT_EQ(blocks[0].b_begin, 0);
  EXPECT_EQ(blocks[0].size, 2);
  EXPECT_EQ(blocks[1].a_begin, 4);
  EXPECT_EQ(blocks[1].b_begin, 3);
  EXPECT_EQ(blocks[1].size, 2);
  EXPECT_TRUE(MatchingBlocks({}, {}).empty());
}

TEST(OpcodesTest, AreDifflibs) {
  // SequenceMatcher(None, "qabxcd", "abycdf").get_opcodes()
  const std::vector<Opcode> opcodes =
      Opcodes(CodePoints("qabxcd"), CodePoints("abycdf"));
  const std::vector<Opcode> expected = {{EditKind::kDelete, 0, 1, 0, 0},
                                        {EditKind::kEqual, 1, 3, 0, 2},
                                        {EditKind::kReplace, 3, 4, 2, 3},
                                        {EditKind::kEqual, 4, 6, 3, 5},
                                        {EditKind::kInsert, 6, 6, 5, 6}};
  ASSERT_EQ(opcodes.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(opcodes[i].kind, expected[i].kind) << i;
    EXPECT_EQ(opcodes[i].a_begin, expected[i].a_begin) << i;
    EXPECT_EQ(opcodes[i].a_end, expected[i].a_end) << i;
    EXPECT_EQ(opcodes[i].b_begin, expected[i].b_begin) << i;
    EXPECT_EQ(opcodes[i].b_end, expected[i].b_end) << i;
  }
  EXPECT_TRUE(Opcodes({}, {}).empty());
}

TEST(EditDistanceTest, EmptyTexts) {
  EXPECT_EQ(LevenshteinSimilarity("", ""), 1);
  EXPECT_EQ(IndelSimilarity("", ""), 1);
  EXPECT_EQ(DifflibRatio("", ""), 1);
  EXPECT_EQ(FuzzywuzzyRatio("", ""), 0);
  EXPECT_EQ(FuzzywuzzyRatio("ab", "ab"), 1);
}

}  // namespace
}  // namespace repro::metrics
