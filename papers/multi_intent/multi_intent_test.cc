// Expected values marked "Python" are those of Python 3.11 with NLTK 3.10.4 and
// the expressions of the authors' script (github.com/gmy2013/
// LLM_Comment_Generation at b4c0e0a), written anew for this purpose.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/assets/sha256.h"
#include "common/assets/test_asset.h"
#include "common/data/io.h"
#include "papers/multi_intent/comment_samples.h"
#include "papers/multi_intent/comment_scores.h"
#include "papers/multi_intent/demonstrations.h"
#include "papers/multi_intent/intent.h"
#include "papers/multi_intent/similarity.h"

namespace repro::multi_intent {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

std::string TempFile(const std::string& name, const std::string& content) {
  const std::string path =
      absl::StrCat(::testing::TempDir(), "/multi_intent_", name);
  EXPECT_TRUE(WriteFileAtomically(path, content).ok());
  return path;
}

// ---- Intents and samples ----------------------------------------------------

TEST(Intent, LabelsAreThoseOfTheData) {
  EXPECT_EQ(*ParseLabel("what"), Intent::kWhat);
  EXPECT_EQ(*ParseLabel("why"), Intent::kWhy);
  EXPECT_EQ(*ParseLabel("usage"), Intent::kHowToUse);
  EXPECT_EQ(*ParseLabel("done"), Intent::kHowItIsDone);
  EXPECT_EQ(*ParseLabel("property"), Intent::kProperty);
  // The script asks for "use", the paper drops "others".
  for (const char* label : {"use", "others", "", "What"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ParseLabel(label).status())) << label;
  }
  EXPECT_THAT(ParseLabel("use").status().ToString(),
              HasSubstr("what, why, usage, done, property"));
  EXPECT_STREQ(IntentName(Intent::kHowToUse), "how_to_use");
}

TEST(ReadCommentSamples, ReadsAndNamesWhatIsWrong) {
  const std::string good =
      R"({"id":"7","raw_code":"int f(){}","comment":"gets f .","label":"done"})";
  const auto samples =
      ReadCommentSamples(TempFile("good.jsonl", good + "\n\n" + good + "\n"));
  ASSERT_TRUE(samples.ok()) << samples.status();
  ASSERT_THAT(*samples, SizeIs(2));
  EXPECT_EQ((*samples)[1].id, "7");
  EXPECT_EQ((*samples)[1].code, "int f(){}");
  EXPECT_EQ((*samples)[1].comment, "gets f .");
  EXPECT_EQ((*samples)[1].intent, Intent::kHowItIsDone);

  const auto error = [](const std::string& name, const std::string& content) {
    return ReadCommentSamples(TempFile(name, content)).status();
  };
  EXPECT_THAT(error("empty.jsonl", "").ToString(), HasSubstr("no records"));
  EXPECT_THAT(error("lacks.jsonl", good + "\n{\"id\":\"7\"}\n").ToString(),
              HasSubstr("lacks.jsonl:2: field \"raw_code\""));
  EXPECT_THAT(error("kind.jsonl",
                    R"({"id":"7","raw_code":"f","comment":3,"label":"done"})")
                  .ToString(),
              HasSubstr("kind.jsonl:1: field \"comment\""));
  EXPECT_THAT(error("label.jsonl",
                    R"({"id":"7","raw_code":"f","comment":"c","label":"use"})")
                  .ToString(),
              HasSubstr("label.jsonl:1: field \"label\": no label \"use\""));
  EXPECT_THAT(error("blank.jsonl",
                    R"({"id":"7","raw_code":"f","comment":"","label":"why"})")
                  .ToString(),
              HasSubstr("blank.jsonl:1: field \"comment\" is empty"));
  EXPECT_TRUE(absl::IsInvalidArgument(error("array.jsonl", "[1]\n")));
  EXPECT_TRUE(absl::IsInvalidArgument(error("cut.jsonl", good.substr(0, 30))));
  EXPECT_TRUE(absl::IsDataLoss(
      error("cut.jsonl.gz", std::string("\x1f\x8b\x08\x00\x00\x00", 6))));
  EXPECT_TRUE(
      absl::IsNotFound(ReadCommentSamples("/none/such.jsonl").status()));
}

// ---- Tokens -----------------------------------------------------------------

TEST(Tokens, ScriptRules) {
  // Python.
  EXPECT_THAT(CodeTokens("int parseXMLFile(String s_x){ // c\n"
                         " return a1+=b; /* d */ }",
                         TokenRules::kScript),
              ElementsAre("int", "parse", "x", "m", "l", "File", "String", "s",
                          "x", "return", "a", "1", "+=", "b"));
  // U+00E9 is a word character outside of all alternatives, U+2192 a symbol.
  EXPECT_THAT(CodeTokens("fooA bB C D \xC3\xA9"
                         "a\xE2\x86\x92"
                         "b _x",
                         TokenRules::kScript),
              ElementsAre("foo", "a", "b", "b", "c", "d", "a", "\xE2\x86\x92",
                          "b", "x"));
  EXPECT_THAT(CodeTokens("", TokenRules::kScript), IsEmpty());
  EXPECT_THAT(CodeTokens("a/* b", TokenRules::kScript),
              ElementsAre("a", "/*", "b"));
  EXPECT_THAT(CodeTokens("a/**/b /*/ c */ d", TokenRules::kScript),
              ElementsAre("ab", "d"));
  EXPECT_THAT(CodeTokens("\xFF\xFE", TokenRules::kScript), SizeIs(1));
}

TEST(Tokens, PublishedRules) {
  EXPECT_THAT(CodeTokens("HTTPServer utf8 get_x1 aB1C $this return",
                         TokenRules::kPublished),
              ElementsAre("http", "server", "utf", "8", "get", "x", "1", "a",
                          "b", "1", "c", "this"));
  EXPECT_THAT(CodeTokens("public static int f(Public p){ return this; }",
                         TokenRules::kPublished),
              ElementsAre("f", "public", "p"));
  EXPECT_THAT(
      CodeTokens("// all\n/* gone */ \"http://x", TokenRules::kPublished),
      ElementsAre("http"));
  EXPECT_THAT(CommentTokens("return this for all .", TokenRules::kPublished),
              ElementsAre("return", "this", "for", "all"));
}

TEST(Tokens, OfTheReleasedMethodsAreThoseOfPython) {
  const std::string path =
      FindTestAsset("multi_intent/tlcodesum_test.jsonl.gz");
  if (path.empty()) GTEST_SKIP() << "no multi_intent/tlcodesum_test.jsonl.gz";
  const auto samples = ReadCommentSamples(path);
  ASSERT_TRUE(samples.ok()) << samples.status();
  std::string script, published;
  for (const CommentSample& sample : *samples) {
    absl::StrAppend(
        &script,
        absl::StrJoin(CodeTokens(sample.code, TokenRules::kScript), " "), "\n");
    absl::StrAppend(
        &published,
        absl::StrJoin(CodeTokens(sample.code, TokenRules::kPublished), " "),
        "\n");
  }
  // Python: one line of tokens a method.
  EXPECT_EQ(Sha256(script),
            "757703bc0ecbe86cc26d81a5dd04a39b048641b68c73e38daa8727af740f7c6a");
  EXPECT_EQ(Sha256(published),
            "3dc8bde75074fc17dfea8bfa5b068d321c28afbcdc2f37712cc0e99238b5ed90");

  // The first five methods' nearest others, Python, and a scan by pairs.
  for (const auto& [measure, expected] :
       {std::make_pair(SetMeasure::kOverlap,
                       std::vector<int64_t>{1295, 3176, 1295, 3512, 3015}),
        std::make_pair(SetMeasure::kJaccard,
                       std::vector<int64_t>{1295, 3153, 207, 1676, 3377})}) {
    const auto index =
        TokenIndex::Build(*samples, {TokenRules::kScript, measure});
    ASSERT_TRUE(index.ok());
    EXPECT_EQ(index->vocabulary_size(), 9977);
    for (int64_t i = 0; i < 5; ++i) {
      SampleFilter filter;
      filter.except = i;
      const auto found = index->Search((*samples)[i].code, 1, filter);
      ASSERT_TRUE(found.ok());
      EXPECT_EQ(found->at(0).id, expected[i]);
      EXPECT_DOUBLE_EQ(
          found->at(0).score,
          TokenListSimilarity(
              measure, CodeTokens((*samples)[i].code, TokenRules::kScript),
              CodeTokens((*samples)[expected[i]].code, TokenRules::kScript)));
    }
  }
}

TEST(SetSimilarity, JaccardAndOverlap) {
  EXPECT_DOUBLE_EQ(SetSimilarity(SetMeasure::kJaccard, 3, 3, 3), 1);
  EXPECT_DOUBLE_EQ(SetSimilarity(SetMeasure::kJaccard, 3, 2, 0), 0);
  EXPECT_DOUBLE_EQ(SetSimilarity(SetMeasure::kJaccard, 0, 0, 0), 1);
  EXPECT_DOUBLE_EQ(SetSimilarity(SetMeasure::kOverlap, 3, 2, 2), 2);
  // Repeated tokens count once.
  EXPECT_DOUBLE_EQ(TokenListSimilarity(SetMeasure::kJaccard, {"a", "a", "b"},
                                       {"b", "c", "b"}),
                   1.0 / 3);
}

TEST(Cosine, AndItsErrors) {
  EXPECT_NEAR(*Cosine({3, 4}, {4, 3}), 24.0 / 25, 1e-12);
  EXPECT_NEAR(*Cosine({1, 2}, {-2, -4}), -1, 1e-12);
  EXPECT_EQ(*Cosine({0, 0}, {1, 1}), 0);
  EXPECT_EQ(*Cosine({}, {}), 0);
  EXPECT_TRUE(absl::IsInvalidArgument(Cosine({1}, {1, 2}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      Cosine({std::numeric_limits<float>::quiet_NaN()}, {1}).status()));
}

// ---- Scores -----------------------------------------------------------------

TEST(ScoreComment, IsNltksAndPycocoevalcaps) {
  // Python.
  EXPECT_NEAR(ScoreComment("a b c d e", "a x c d").bleu, 14.4985347, 1e-6);
  EXPECT_NEAR(ScoreComment("a b c d e", "a x c d").rouge_l, 65.3571429, 1e-6);
  EXPECT_NEAR(ScoreComment("the cat sat on the mat", "the cat sat on mat").bleu,
              57.8930067, 1e-6);
  EXPECT_NEAR(ScoreComment("the cat sat on the mat", "the cat sat").rouge_l,
              62.8865979, 1e-6);
  EXPECT_NEAR(ScoreComment("gets the name .", "gets the name .").bleu, 100,
              1e-9);
  EXPECT_EQ(ScoreComment("gets the name .", "").bleu, 0);
  EXPECT_EQ(ScoreComment("gets the name .", "").rouge_l, 0);
}

TEST(ScoreCommentAsScript, ReadsTextsAsLists) {
  // Python.
  EXPECT_NEAR(ScoreCommentAsScript("a b c d e", "a x c d").bleu, 36.7414549,
              1e-6);
  EXPECT_NEAR(
      ScoreCommentAsScript("the cat sat on the mat", "the cat sat on mat").bleu,
      76.0231670, 1e-6);
  // Nothing in common but a letter.
  EXPECT_NEAR(ScoreCommentAsScript("gets it", "sum").rouge_l, 100, 1e-9);
  EXPECT_EQ(ScoreCommentAsScript("gets it", "returns it").rouge_l, 0);
  EXPECT_EQ(ScoreCommentAsScript("gets it", "Gets it").rouge_l, 0);
  EXPECT_NEAR(ScoreCommentAsScript("ab cd", " x").rouge_l, 100, 1e-9);
  EXPECT_EQ(ScoreCommentAsScript("abcd", " x").rouge_l, 0);
  EXPECT_EQ(ScoreCommentAsScript("abcd", "").rouge_l, 0);
  EXPECT_EQ(ScoreCommentAsScript("", "abcd").rouge_l, 0);
}

}  // namespace
}  // namespace repro::multi_intent
