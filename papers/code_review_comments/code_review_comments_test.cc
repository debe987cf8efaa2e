// Scores and digests marked "Python" are the output of CodeReviewer's
// evaluator (smooth_bleu.py with nltk 3.10.4's wordpunct_tokenize), of
// rank_bm25 0.2.2 and of scipy's spearmanr on the same input under Python 3.11.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/assets/sha256.h"
#include "common/assets/test_asset.h"
#include "common/code/syntax_tree.h"
#include "common/completion/completion.h"
#include "common/completion/scripted.h"
#include "common/data/io.h"
#include "papers/code_review_comments/prompting.h"
#include "papers/code_review_comments/review_bleu.h"
#include "papers/code_review_comments/reviews.h"
#include "papers/code_review_comments/selection.h"

namespace repro::code_review_comments {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

std::string TempFile(const std::string& name, const std::string& content) {
  const std::string path =
      absl::StrCat(::testing::TempDir(), "/reviews_", name);
  EXPECT_TRUE(WriteFileAtomically(path, content).ok());
  return path;
}

template <typename T>
void ExpectInvalid(const absl::StatusOr<T>& result, const std::string& text) {
  EXPECT_TRUE(absl::IsInvalidArgument(result.status())) << result.status();
  EXPECT_THAT(std::string(result.status().message()), HasSubstr(text));
}

// ---- BLEU ------------------------------------------------------------------

// Those of the evaluator's list that stand in the texts below.
const StopWords& SomeStopWords() {
  static const StopWords words = {"the", "are", "is",  "can",
                                  "we",  "use", "not", "that"};
  return words;
}

struct BleuCase {
  std::string gold, comment;
  double kept, removed;
};

TEST(ReviewBleu, EqualsTheEvaluator) {
  for (const BleuCase& c : std::vector<BleuCase>{
           {"The tests are failing.", "The test is failing.", 37.60603093086393,
            50.0},
           {"Nit: the space", "nit : space", 59.1760626991058, 100.0},
           {"naïve café ½ über", "Naive café ½ ÜBER", 65.80370064762462,
            65.80370064762462},
           {"x<y && z>1 &lt;tag&gt;", "x < y & z", 15.882481735499008,
            15.882481735499008},
           {"v1.2.3-rc4, 1,000", "v1.2.3 rc 4 1000", 41.41504811836961,
            41.41504811836961},
           // Only the word in lower case goes.
           {"The THE the", "the", 36.787944117144235, 13.53352832366127},
           {"same", "same", 100, 100}}) {
    EXPECT_NEAR(ReviewBleu(c.gold, c.comment, nullptr), c.kept, 1e-10)
        << c.gold;
    EXPECT_NEAR(ReviewBleu(c.gold, c.comment, &SomeStopWords()), c.removed,
                1e-10)
        << c.gold;
  }
}

TEST(ReviewBleu, EmptyComments) {
  EXPECT_NEAR(ReviewBleu("a b c", "", nullptr), 100 * std::exp(-3), 1e-10);
  EXPECT_DOUBLE_EQ(ReviewBleu("", "", nullptr), 100);
  EXPECT_LT(ReviewBleu("", "a b c", nullptr), 1e-60);
  EXPECT_DOUBLE_EQ(ReviewBleu("the", "we", &SomeStopWords()), 100);
}

TEST(ReviewTokens, StopWordsAreWholeRunsAsWritten) {
  EXPECT_THAT(ReviewTokens("Is the_x the?! the", &SomeStopWords()),
              ElementsAre("is", "the", "_", "x", "?", "!"));
  EXPECT_THAT(ReviewTokens("Is the_x the?!", nullptr),
              ElementsAre("is", "the", "_", "x", "the", "?", "!"));
  EXPECT_THAT(ReviewTokens("the \t\n", &SomeStopWords()), IsEmpty());
}

TEST(ReadStopWords, Files) {
  const auto words = ReadStopWords(TempFile("stop", " a \n\nb's\r\n"));
  ASSERT_TRUE(words.ok());
  EXPECT_EQ(*words, (StopWords{"a", "b's"}));
  ExpectInvalid(ReadStopWords(TempFile("no_stop", "\n \n")), "no words");
  EXPECT_TRUE(absl::IsNotFound(ReadStopWords("/nowhere/stop").status()));
}

// ---- Selection -------------------------------------------------------------

TEST(Selection, FirstMeanBest) {
  const auto selection = Select({2, 7, 3});
  ASSERT_TRUE(selection.ok());
  EXPECT_EQ(selection->first, 2);
  EXPECT_EQ(selection->mean, 4);
  EXPECT_EQ(selection->best, 7);
  const auto one = Select({5});
  EXPECT_EQ(one->first, one->best);
  ExpectInvalid(Select({}), "no scores");
  ExpectInvalid(Select({1, std::nan("")}), "score 1 is NaN");
}

TEST(Selection, ExpectedBestAgainstAllSubsets) {
  const std::vector<double> scores = {0.5, 3, -1, 8, 8, 2.25};
  double last = -std::numeric_limits<double>::infinity();
  for (int n = 1; n <= 6; ++n) {
    double sum = 0;
    int subsets = 0;
    for (int mask = 1; mask < 64; ++mask) {
      if (__builtin_popcount(mask) != n) continue;
      double best = -100;
      for (int i = 0; i < 6; ++i) {
        if ((mask >> i & 1) != 0) best = std::max(best, scores[i]);
      }
      sum += best;
      ++subsets;
    }
    const auto expected = ExpectedBestOf(scores, n);
    ASSERT_TRUE(expected.ok());
    EXPECT_NEAR(*expected, sum / subsets, 1e-12) << n;
    EXPECT_GE(*expected, last);
    last = *expected;
  }
  EXPECT_EQ(last, 8);
  ExpectInvalid(ExpectedBestOf(scores, 0), "best of 0 of 6");
  ExpectInvalid(ExpectedBestOf(scores, 7), "best of 7 of 6");
  ExpectInvalid(ExpectedBestOf({std::nan("")}, 1), "NaN");
}

// ---- Files -----------------------------------------------------------------

TEST(ReadPredictions, RecordsAndErrors) {
  const auto items = ReadPredictions(
      TempFile("p",
               "{\"i\":0,\"gold\":\"g\",\"codereviewer\":\"c\"}\n"
               "{\"i\":1,\"gold\":\"\",\"codereviewer\":\"d\"}\n"));
  ASSERT_TRUE(items.ok()) << items.status();
  ASSERT_EQ(items->size(), 2);
  EXPECT_EQ((*items)[1].codereviewer, "d");
  ExpectInvalid(ReadPredictions(TempFile("p0", "")), "no records");
  ExpectInvalid(ReadPredictions(TempFile("p1", "{\"i\":1,\"gold\":\"g\"}\n")),
                ":1: field \"i\" is not 0");
  ExpectInvalid(ReadPredictions(TempFile("p2", "{\"i\":0,\"gold\":3}\n")),
                ":1: field \"gold\" is not a text");
  ExpectInvalid(ReadPredictions(TempFile("p3", "{\"i\":0,\"gold\":\"g\"}\n")),
                "field \"codereviewer\"");
  ExpectInvalid(ReadPredictions(TempFile("p4", "[0]\n")), "field \"i\"");
  ExpectInvalid(ReadPredictions(TempFile("p5", "{\"i\":0,\"go")), ":1: ");
}

TEST(ReadPatches, RecordsAndErrors) {
  const std::string line =
      "{\"i\":0,\"patch\":\"@@\",\"gold\":\"g\",\"gpt35_3shot\":\"a\","
      "\"gpt35_0shot\":\"b\",\"davinci003_3shot\":\"c\"}\n";
  const auto patches = ReadPatches(TempFile("k", line));
  ASSERT_TRUE(patches.ok()) << patches.status();
  EXPECT_THAT((*patches)[0].comments, ElementsAre("a", "b", "c"));
  ExpectInvalid(ReadPatches(TempFile("k1", line + line)), ":2: field \"i\"");
  ExpectInvalid(
      ReadPatches(TempFile("k2", "{\"i\":0,\"patch\":\"\",\"gold\":\"\"}\n")),
      "field \"gpt35_3shot\"");
}

TEST(ReadRetrieved, PairsAndErrors) {
  const auto comments =
      ReadRetrieved(TempFile("r", "[[\"a\", 1.5], [\"\", 2]]"));
  ASSERT_TRUE(comments.ok()) << comments.status();
  EXPECT_THAT(*comments, ElementsAre("a", ""));
  ExpectInvalid(ReadRetrieved(TempFile("r0", "[]")), "not an array");
  ExpectInvalid(ReadRetrieved(TempFile("r1", "{}")), "not an array");
  ExpectInvalid(ReadRetrieved(TempFile("r2", "[[\"a\", 1], [\"a\"]]")),
                "element 1");
  ExpectInvalid(ReadRetrieved(TempFile("r3", "[[1, 1]]")), "element 0");
  ExpectInvalid(ReadRetrieved(TempFile("r4", "[[\"a\", 1")), "r4");
}

constexpr char kRatingsHeader[] =
    "lang,id,test_index,system,review,concise,comprehensive,relevant\n";

TEST(ReadRatings, RowsAndErrors) {
  const auto reviews = ReadRatings(
      TempFile("h", absl::StrCat(kRatingsHeader, "py,1,7,msg,\"a, b\",4,,2.5\n",
                                 "py,1,7,x_pred,c,1,5,3\n")));
  ASSERT_TRUE(reviews.ok()) << reviews.status();
  EXPECT_EQ((*reviews)[0].review, "a, b");
  EXPECT_EQ((*reviews)[0].ratings[0], 4);
  EXPECT_FALSE((*reviews)[0].ratings[1].has_value());
  EXPECT_EQ(RatingOf(*reviews, "msg", "relevant")->mean, 2.5);
  ExpectInvalid(RatingOf(*reviews, "msg", "comprehensive"), "no rating");
  ExpectInvalid(RatingOf(*reviews, "msg", "funny"), "concise, comprehensive");
  ExpectInvalid(RatingOf(*reviews, "y", "concise"), "no rating of \"y\"");
  const auto bad = [](const std::string& name, const std::string& rows) {
    return ReadRatings(TempFile(name, absl::StrCat(kRatingsHeader, rows)));
  };
  ExpectInvalid(bad("h0", ""), "no rows");
  ExpectInvalid(bad("h1", "py,1,7,msg,a,6,1,1\n"), ":2: concise is 6");
  ExpectInvalid(bad("h2", "py,1,7,msg,a,1,0,1\n"), "comprehensive is 0");
  ExpectInvalid(bad("h3", "py,1,7,msg,a,1,1,1\npy,1,7,msg,b,1,1,1\n"),
                ":3: a second review of msg");
  ExpectInvalid(bad("h4", "py,1,7,x,a,1,1,1\n"),
                ":2: no human comment (msg) for py 1 7");
  ExpectInvalid(bad("h8", "py,1,x,msg,a,1,1,1\n"), "test_index");
  ExpectInvalid(bad("h5", "py,1,7,msg,a,nan,1,1\n"), "concise");
  ExpectInvalid(bad("h6", "py,1,7,msg,\"a,1,1,1\n"), "quote");
  EXPECT_FALSE(ReadRatings(TempFile("h7", "lang,id\npy,1\n")).ok());
}

// Three systems whose BLEU falls as their rating rises, over two diffs.
std::vector<RatedReview> OppositeReviews() {
  std::vector<RatedReview> reviews;
  for (const std::string id : {"1", "2"}) {
    reviews.push_back(
        {"py", id, 7, "msg", "please add a test here", {5, 5, 5}});
    reviews.push_back(
        {"py", id, 7, "same", "please add a test here", {1, 1, 1}});
    reviews.push_back({"py", id, 7, "near", "please add a note", {3, 3, 2}});
    reviews.push_back({"py", id, 7, "far", "why", {4, {}, 5}});
  }
  return reviews;
}

TEST(Ratings, BleuAgainstPeople) {
  const auto reviews = OppositeReviews();
  const auto bleu = BleuBySystem(reviews, nullptr);
  ASSERT_EQ(bleu.size(), 3);
  EXPECT_DOUBLE_EQ(bleu.at("same"), 100);
  EXPECT_GT(bleu.at("near"), bleu.at("far"));
  EXPECT_DOUBLE_EQ(*SystemCorrelation(reviews, "relevant", nullptr), -1);
  EXPECT_DOUBLE_EQ(*ReviewCorrelation(reviews, "relevant", nullptr), -1);
  // "far" has no rating of it: no system may be missing, reviews may.
  ExpectInvalid(SystemCorrelation(reviews, "comprehensive", nullptr), "far");
  EXPECT_DOUBLE_EQ(*ReviewCorrelation(reviews, "comprehensive", nullptr), -1);
  EXPECT_FALSE(SystemCorrelation({}, "relevant", nullptr).ok());
}

// ---- Prompts ---------------------------------------------------------------

TEST(ProcessPatch, LinesByTheirFirstCharacter) {
  EXPECT_EQ(ProcessPatch("@@ -1,2 +1,2 @@ f()\n a\n+b\n-c"),
            "<keep>a<add>b<delete>c");
  EXPECT_EQ(ProcessPatch("@@\n+  x = 1;  \n \n\n\t y\n"
                         "\\ No newline at end of file\n+\n"),
            "<add>x = 1;<keep>y<keep>No newline at end of file<add>");
  EXPECT_EQ(ProcessPatch("@@ only a header"), "");
  EXPECT_EQ(ProcessPatch(""), "");
}

TEST(CallGraphText, CallersAndCallees) {
  const auto graph = [](code::CodeLanguage language,
                        const std::string& source) {
    const auto tree = code::SyntaxTree::Parse(language, source);
    EXPECT_TRUE(tree.ok());
    return CallGraphText(*tree);
  };
  EXPECT_EQ(graph(code::CodeLanguage::kPython,
                  "main()\n"
                  "def f(x):\n  g(x)\n  os.path.join(h(x))\n  g(1)\n"
                  "def quiet():\n  return 1\n"
                  "class C:\n  def m(self):\n    return (lambda: f(2))()\n"),
            "[f->[g,join,h],m->[f]]");
  EXPECT_EQ(graph(code::CodeLanguage::kJava,
                  "class A { int f() { return new B().g(h(1)); } }"),
            "[f->[g,B,h]]");
  EXPECT_EQ(graph(code::CodeLanguage::kGo, ""), "[]");
  EXPECT_EQ(graph(code::CodeLanguage::kPython, "def f(:\n  ((("), "[]");
}

TEST(BuildPrompt, TheFourVariants) {
  const ReviewedChange exemplar = {"<add>a", "sums", "[f->[g]]", "why?"};
  const ReviewedChange query = {"<add>q", "zero", "[]", "hidden"};
  EXPECT_EQ(BuildPrompt({exemplar}, query, PromptFacts::kBoth),
            "Code To Be Reviewed:\n<add>a\nSummary:\nsums\nCallgraph:\n"
            "[f->[g]]\nReview Comment:\n<s> why? </s>\n\n"
            "Code To Be Reviewed:\n<add>q\nSummary:\nzero\nCallgraph:\n[]\n"
            "Review Comment:\n<s>");
  EXPECT_EQ(BuildPrompt({}, query, PromptFacts::kSummary),
            "Code To Be Reviewed:\n<add>q\nSummary:\nzero\nReview Comment:\n"
            "<s>");
  EXPECT_EQ(BuildPrompt({}, query, PromptFacts::kCallGraph),
            "Code To Be Reviewed:\n<add>q\nCallgraph:\n[]\nReview Comment:\n"
            "<s>");
  for (const PromptFacts facts :
       {PromptFacts::kWithout, PromptFacts::kSummary, PromptFacts::kCallGraph,
        PromptFacts::kBoth}) {
    const std::string prompt = BuildPrompt({exemplar, exemplar}, query, facts);
    EXPECT_THAT(prompt, Not(HasSubstr("hidden")));
    EXPECT_THAT(prompt, EndsWith("Review Comment:\n<s>"));
  }
  EXPECT_THAT(BuildPrompt({exemplar}, query, PromptFacts::kWithout),
              Not(HasSubstr("sums")));
}

TEST(ExemplarIndex, LeavesTheQueryOut) {
  const auto index = ExemplarIndex::Build(
      {"<add>int x;", "<add>int y;", "<keep>return total;", "<add>int x;",
       "<keep>a", "<keep>b", "<keep>c", "<keep>d"});
  ASSERT_TRUE(index.ok());
  EXPECT_THAT(index->Search("<add>int x;", 3), ElementsAre(0, 3, 1));
  EXPECT_THAT(index->Search("<add>int x;", 2, 0), ElementsAre(3, 1));
  EXPECT_THAT(index->Search("<add>int x;", 9, 3),
              ElementsAre(0, 1, 2, 4, 5, 6, 7));
  EXPECT_THAT(index->Search("<add>int x;", 0), IsEmpty());
  ExpectInvalid(ExemplarIndex::Build({}), "");
}

TEST(GenerateComments, AsksAsThePaperDoes) {
  completion::ScriptedClient client(
      [](const completion::CompletionRequest& request)
          -> absl::StatusOr<completion::Completion> {
        completion::Completion answer;
        for (int i = 0; i < request.n; ++i) {
          answer.choices.push_back({absl::StrCat(" c", i, " \n"), "stop", {}});
        }
        return answer;
      });
  const auto comments =
      GenerateComments(client, {{"e", "", "", "x"}}, {"q", "", "", ""}, {});
  ASSERT_TRUE(comments.ok());
  EXPECT_THAT(comments->samples, ElementsAre("c0", "c1", "c2", "c3", "c4"));
  EXPECT_EQ(comments->exemplars, 1);
  const auto request = client.requests().at(0);
  EXPECT_EQ(request.temperature, 0.5);
  EXPECT_EQ(request.max_tokens, 250);
  EXPECT_THAT(request.stop, ElementsAre("</s>"));
}

TEST(GenerateComments, DropsAnExemplarAtEachError) {
  int calls = 0;
  completion::ScriptedClient client(
      [&](const completion::CompletionRequest& request)
          -> absl::StatusOr<completion::Completion> {
        ++calls;
        if (request.prompt.size() > 100) {
          return absl::InvalidArgumentError("too long");
        }
        return completion::TextCompletion("fine");
      });
  const std::vector<ReviewedChange> exemplars(
      3, {std::string(30, 'e'), "", "", "x"});
  const auto comments =
      GenerateComments(client, exemplars, {"q", "", "", ""}, {});
  ASSERT_TRUE(comments.ok());
  EXPECT_EQ(comments->exemplars, 0);
  EXPECT_EQ(calls, 4);
  // The query alone is too long: ten times, then the error.
  calls = 0;
  EXPECT_TRUE(absl::IsInvalidArgument(
      GenerateComments(client, exemplars, {std::string(200, 'q'), "", "", ""},
                       {})
          .status()));
  EXPECT_EQ(calls, 10);
}

TEST(GenerateComments, ReturnsWhatNoShorterPromptMends) {
  for (const absl::Status& status :
       {absl::UnauthenticatedError("key"), absl::PermissionDeniedError("no"),
        absl::NotFoundError("model"), absl::CancelledError("stop")}) {
    int calls = 0;
    completion::ScriptedClient client(
        [&](const completion::CompletionRequest&)
            -> absl::StatusOr<completion::Completion> {
          ++calls;
          return status;
        });
    EXPECT_EQ(
        GenerateComments(client, {{"e", "", "", ""}}, {"q", "", "", ""}, {})
            .status(),
        status);
    EXPECT_EQ(calls, 1);
  }
}

// ---- Released files --------------------------------------------------------

TEST(Released, PatchesAndExemplarsEqualPython) {
  const std::string path = FindTestAsset(
      "code_review_comments/test_first1000_patches_and_llm_reviews.jsonl.gz");
  if (path.empty()) GTEST_SKIP() << "no file of patches";
  const auto patches = ReadPatches(path);
  ASSERT_TRUE(patches.ok()) << patches.status();
  std::vector<std::string> processed;
  for (const PatchItem& item : *patches) {
    processed.push_back(ProcessPatch(item.patch));
  }
  EXPECT_EQ(Sha256(absl::StrJoin(processed, "\n")),
            "79b98840aa57e4a18d08ca60a172996b9c60293ffe2f3a60a78f32b9d9ca544b");
  const auto index = ExemplarIndex::Build(processed);
  ASSERT_TRUE(index.ok());
  EXPECT_EQ(index->bm25().inverted_index().num_terms(), 14447);
  EXPECT_EQ(index->bm25().inverted_index().total_length(), 32082);
  std::vector<std::string> best;
  for (int64_t i = 0; i < 1000; ++i) {
    best.push_back(absl::StrJoin(index->Search(processed[i], 5, i), " "));
  }
  EXPECT_EQ(best[0], "187 815 577 133 970");
  EXPECT_EQ(Sha256(absl::StrJoin(best, "\n")),
            "23b99c010707ee6e54439c1bf6e76cafc8080e4ff5c88697ac637a4b3bbdd728");
}

TEST(Released, RatingsHaveAllCriteriaOrNone) {
  const std::string path =
      FindTestAsset("code_review_comments/crscore_human_ratings.csv.gz");
  if (path.empty()) GTEST_SKIP() << "no ratings";
  const auto reviews = ReadRatings(path);
  ASSERT_TRUE(reviews.ok()) << reviews.status();
  EXPECT_EQ(reviews->size(), 3000);
  int64_t rated = 0;
  for (const RatedReview& review : *reviews) {
    const bool first = review.ratings[0].has_value();
    rated += first;
    // All criteria or none.
    EXPECT_EQ(review.ratings[1].has_value(), first);
    EXPECT_EQ(review.ratings[2].has_value(), first);
  }
  EXPECT_EQ(rated, 2909);
  EXPECT_EQ(BleuBySystem(*reviews, nullptr).size(), 9);
}

}  // namespace
}  // namespace repro::code_review_comments
