#include "common/metrics/rouge.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace repro::metrics {
namespace {

TEST(CocoRougeLTest, AgreesWithPycocoevalcap) {
  // pip install pycocoevalcap==1.2
  // from pycocoevalcap.rouge.rouge import Rouge
  // Rouge().calc_score([hypothesis], references)
  EXPECT_NEAR(*CocoRougeL({"the cat sat on the mat"}, "the cat sat on mat"),
              0.8944281524926685, 1e-14);
  EXPECT_NEAR(*CocoRougeL({"a b c d e"}, "a x c d"), 0.6535714285714286, 1e-14);
  EXPECT_NEAR(
      *CocoRougeL({"It is a guide to action that ensures that the military "
                   "will forever heed Party commands",
                   "It is the guiding principle which guarantees the military "
                   "forces always being under the command of the Party",
                   "It is the practical guide for the army always to heed the "
                   "directions of the party"},
                  "It is a guide to action which ensures that the military "
                  "always obeys the commands of the party"),
      0.6539961013645226, 1e-14);
  EXPECT_NEAR(*CocoRougeL({"the the cat"}, "the the the the dog"),
              0.5236051502145923, 1e-14);
  EXPECT_NEAR(*CocoRougeL({"the cat sat on the mat"}, "the cat sat"),
              0.628865979, 5e-10);
  // Empty words count.
  EXPECT_NEAR(*CocoRougeL({"a b"}, "a  b"), 0.8299319727891156, 1e-14);
  EXPECT_EQ(*CocoRougeL({"a"}, ""), 0);
  EXPECT_EQ(*CocoRougeL({"x y z"}, "a b c"), 0);
  EXPECT_FALSE(CocoRougeL({}, "a").ok());
}

TEST(SetRougeLTest, AgreesWithPackageRouge) {
  // pip install rouge==1.0.1
  // Rouge().get_scores([hypothesis], [reference])[0]["rouge-l"]
  struct Case {
    std::string reference, hypothesis;
    double recall, precision, f1;
  };
  for (const Case& c : {
           Case{"The cat sat on the mat. The dog barked. It was late.",
                "The dog sat on the mat. It was very late.", 0.8181818181818182,
                0.9, 0.8571428521541952},
           Case{"to be or not to be", "to be to be to be", 0.5, 1.0,
                0.6666666622222223},
           Case{"a b. c d . e", "e d c. b a", 0.6, 0.6, 0.5999999950000001},
           Case{"one two", "three", 0, 0, 0},
           Case{"x. .y", "x y. ", 1.0, 1.0, 0.999999995},
       }) {
    const RougeScore score = SetRougeL(c.reference, c.hypothesis);
    EXPECT_NEAR(score.recall, c.recall, 1e-14) << c.reference;
    EXPECT_NEAR(score.precision, c.precision, 1e-14) << c.reference;
    EXPECT_NEAR(score.f1, c.f1, 1e-14) << c.reference;
  }
  // Where the package raises "Hypothesis is empty.".
  EXPECT_EQ(SetRougeL("a", "").f1, 0);
  EXPECT_EQ(SetRougeL("a", "...").f1, 0);
  EXPECT_EQ(SetRougeL("", "a").f1, 0);
}

TEST(GoogleRougeTest, AgreesWithRougeScore) {
  // pip install rouge-score==0.1.2
  // RougeScorer(["rougeL", "rougeLsum"]).score(reference, hypothesis)
  struct Case {
    std::string reference, hypothesis;
    double precision, recall, f1;              // rougeL
    double sum_precision, sum_recall, sum_f1;  // rougeLsum
  };
  for (const Case& c : {
           Case{"The cat sat on the mat. The dog barked. It was late.",
                "The dog sat on the mat. It was very late.", 0.8,
                0.6666666666666666, 0.7272727272727272, 0.8, 0.6666666666666666,
                0.7272727272727272},
           Case{"a b. c d . e", "e d c. b a", 0.2, 0.2, 0.20000000000000004,
                0.2, 0.2, 0.20000000000000004},
           Case{"one two", "three", 0, 0, 0, 0, 0, 0},
           Case{"The cat sat.\nThe dog, it barked!\nthe the end",
                "the end: the dog barked\n\nA cat sat.", 0.5, 0.4,
                0.4444444444444445, 0.75, 0.6, 0.6666666666666665},
           Case{"Ärger 3x", "rger 3X", 1, 1, 1, 1, 1, 1},
           Case{"a b a\nc b a", "a b\nb a c a", 0.8333333333333334,
                0.8333333333333334, 0.8333333333333334, 1, 1, 1},
       }) {
    const RougeScore whole = GoogleRougeL(c.reference, c.hypothesis);
    EXPECT_NEAR(whole.precision, c.precision, 1e-14) << c.reference;
    EXPECT_NEAR(whole.recall, c.recall, 1e-14) << c.reference;
    EXPECT_NEAR(whole.f1, c.f1, 1e-14) << c.reference;
    const RougeScore sum = GoogleRougeLsum(c.reference, c.hypothesis);
    EXPECT_NEAR(sum.precision, c.sum_precision, 1e-14) << c.reference;
    EXPECT_NEAR(sum.recall, c.sum_recall, 1e-14) << c.reference;
    EXPECT_NEAR(sum.f1, c.sum_f1, 1e-14) << c.reference;
  }
  EXPECT_EQ(GoogleRougeL("", "a").f1, 0);
  EXPECT_EQ(GoogleRougeLsum("!\n", "a").f1, 0);
}

}  // namespace
}  // namespace repro::metrics
