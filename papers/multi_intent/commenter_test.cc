#include "papers/multi_intent/commenter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "common/completion/scripted.h"
#include "papers/multi_intent/comment_samples.h"
#include "papers/multi_intent/demonstrations.h"
#include "papers/multi_intent/intent.h"
#include "papers/multi_intent/similarity.h"

namespace repro::multi_intent {
namespace {

using completion::CompletionRequest;
using completion::ScriptedClient;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

std::vector<int64_t> Ids(const std::vector<ScoredDocument>& ranking) {
  std::vector<int64_t> ids;
  for (const ScoredDocument& document : ranking) ids.push_back(document.id);
  return ids;
}

// ---- Demonstrations ---------------------------------------------------------

std::vector<CommentSample> FourSamples() {
  return {{"0", "read file path", "reads a file .", Intent::kWhat},
          {"1", "read file path line buffer", "reads lines .", Intent::kWhat},
          {"2", "write socket", "writes to a socket .", Intent::kWhat},
          {"3", "read file path", "needed by readers .", Intent::kWhy}};
}

TEST(TokenIndex, RanksAndFilters) {
  const auto samples = FourSamples();
  const auto search = [&](SetMeasure measure, const std::string& code,
                          int64_t count, const SampleFilter& filter) {
    return *TokenIndex::Build(samples, {TokenRules::kPublished, measure})
                ->Search(code, count, filter);
  };
  const std::string code = "read file path buffer";
  // Jaccard: 3/4, 4/5, 0, 3/4; equal ones by number.
  const auto all = search(SetMeasure::kJaccard, code, 9, {});
  EXPECT_THAT(Ids(all), ElementsAre(1, 0, 3, 2));
  EXPECT_DOUBLE_EQ(all[0].score, 0.8);
  EXPECT_DOUBLE_EQ(all[1].score, 0.75);
  EXPECT_DOUBLE_EQ(all[3].score, 0);
  EXPECT_THAT(Ids(search(SetMeasure::kJaccard, code, 2, {Intent::kWhy, {}})),
              ElementsAre(3));
  EXPECT_THAT(Ids(search(SetMeasure::kJaccard, code, 2, {Intent::kWhat, 1})),
              ElementsAre(0, 2));
  // Overlap prefers the long method, Jaccard the equal one.
  EXPECT_THAT(Ids(search(SetMeasure::kOverlap, "read file path", 1, {{}, 0})),
              ElementsAre(1));
  EXPECT_THAT(Ids(search(SetMeasure::kJaccard, "read file path", 1, {{}, 0})),
              ElementsAre(3));
  EXPECT_THAT(search(SetMeasure::kJaccard, code, 0, {}), IsEmpty());
  EXPECT_THAT(search(SetMeasure::kJaccard, code, -1, {}), IsEmpty());
  EXPECT_THAT(search(SetMeasure::kJaccard, code, 1, {Intent::kProperty, {}}),
              IsEmpty());
  EXPECT_THAT(Ids(search(SetMeasure::kJaccard, "", 1, {})), ElementsAre(0));
  EXPECT_TRUE(absl::IsInvalidArgument(TokenIndex::Build({}, {}).status()));
}

// A stand-in for the sentence encoder: how often each letter occurs.
absl::StatusOr<std::vector<float>> CountLetters(absl::string_view text) {
  std::vector<float> counts(26, 0);
  for (const char c : text) {
    if (c >= 'a' && c <= 'z') counts[c - 'a'] += 1;
  }
  return counts;
}

TEST(SemanticIndex, RanksByCosineAndFilters) {
  const auto samples = FourSamples();
  const auto index = SemanticIndex::Build(samples, CountLetters);
  ASSERT_TRUE(index.ok()) << index.status();
  const std::string code = "read file";
  const auto all = index->Search(code, 9, {});
  ASSERT_TRUE(all.ok()) << all.status();
  ASSERT_THAT(*all, SizeIs(4));
  for (size_t i = 0; i < all->size(); ++i) {
    EXPECT_NEAR(
        (*all)[i].score,
        *Cosine(*CountLetters(code), *CountLetters(samples[(*all)[i].id].code)),
        1e-6);
    if (i > 0) {
      EXPECT_GE((*all)[i - 1].score, (*all)[i].score);
    }
  }
  EXPECT_THAT(Ids(*index->Search(code, 1, {Intent::kWhy, {}})), ElementsAre(3));
  EXPECT_THAT(Ids(*index->Search(code, 9, {Intent::kWhy, 3})), IsEmpty());
  EXPECT_THAT(Ids(*index->Search(code, 9, {Intent::kWhat, 0})),
              Not(::testing::Contains(0)));
  EXPECT_THAT(*index->Search(code, 0, {}), IsEmpty());

  EXPECT_TRUE(
      absl::IsInvalidArgument(SemanticIndex::Build({}, CountLetters).status()));
  EXPECT_TRUE(
      absl::IsInvalidArgument(SemanticIndex::Build(samples, nullptr).status()));
  const TextEncoder uneven =
      [](absl::string_view text) -> absl::StatusOr<std::vector<float>> {
    return std::vector<float>(text.size(), 1);
  };
  EXPECT_TRUE(
      absl::IsInvalidArgument(SemanticIndex::Build(samples, uneven).status()));
  const TextEncoder failing =
      [](absl::string_view) -> absl::StatusOr<std::vector<float>> {
    return absl::UnavailableError("no encoder here");
  };
  EXPECT_TRUE(
      absl::IsUnavailable(SemanticIndex::Build(samples, failing).status()));
  // One length for samples, another for the query.
  const auto fixed = SemanticIndex::Build({samples[0]}, uneven);
  ASSERT_TRUE(fixed.ok());
  EXPECT_TRUE(absl::IsInvalidArgument(fixed->Search("read", 1, {}).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(fixed->Search("", 1, {}).status()));
}

TEST(DrawDemonstrations, DistinctWithinTheFilter) {
  const auto samples = FourSamples();
  std::vector<int64_t> first(4, 0);
  for (uint64_t seed = 0; seed < 300; ++seed) {
    std::mt19937_64 generator(seed);
    const auto drawn =
        DrawDemonstrations(samples, 2, {Intent::kWhat, {}}, generator);
    ASSERT_THAT(drawn, SizeIs(2));
    EXPECT_NE(drawn[0], drawn[1]);
    EXPECT_NE(drawn[0], 3);
    EXPECT_NE(drawn[1], 3);
    ++first[drawn[0]];
  }
  // A third each; six standard deviations are 49.
  for (int64_t i = 0; i < 3; ++i) EXPECT_NEAR(first[i], 100, 49);
  std::mt19937_64 generator(1);
  EXPECT_THAT(DrawDemonstrations(samples, 9, {{}, 2}, generator),
              ::testing::UnorderedElementsAre(0, 1, 3));
  EXPECT_THAT(DrawDemonstrations(samples, -1, {}, generator), IsEmpty());
  EXPECT_THAT(DrawDemonstrations({}, 3, {}, generator), IsEmpty());
}

// ---- Prompts ----------------------------------------------------------------

TEST(BuildPrompt, IsTheScripts) {
  EXPECT_EQ(BuildPrompt(Intent::kWhat, {{"a();", "calls a ."}, {"b();", "b ."}},
                        "c();"),
            "# You are an expert Java programmer, please describe the "
            "functionality of the method:\n"
            "\"\"\"\n"
            "#Example Code0:\n"
            "a();\n"
            "# The comment is: calls a .\n"
            "#Example Code1:\n"
            "b();\n"
            "# The comment is: b .\n"
            "#For the test code:\n"
            "c();\n"
            "# The comment is: ");
  EXPECT_EQ(BuildPrompt(Intent::kHowToUse, {}, "c();"),
            absl::StrCat(Instruction(Intent::kHowToUse),
                         "\n\"\"\"\n#For the test code:\nc();\n"
                         "# The comment is: "));
  EXPECT_THAT(BuildPrompt(Intent::kWhy, {{"a();", "x"}, {"b();", "y"}}, "c();",
                          PromptStyle::kFigure),
              HasSubstr("#Example Code1:\na();\n# The comment is: x\n###\n"
                        "#Example Code2:\nb();\n# The comment is: y\n###\n"
                        "#For the test code:"));
}

TEST(BuildPrompt, EndsAsAskedFor) {
  const std::string prompt = BuildPrompt(Intent::kWhy, {{"a();", "x"}}, "c();");
  EXPECT_EQ(prompt, absl::StrCat(
                        BuildPrompt(Intent::kWhy, {{"a();", "x"}}, "c();",
                                    PromptStyle::kScript, PromptEnding::kColon),
                        " "));
}

// ---- Reranking --------------------------------------------------------------

TEST(Rerank, TakesTheNearestAndTheFirstOfEqualOnes) {
  const std::string reference = "returns the name of the file .";
  const std::vector<std::string> comments = {
      "opens a socket .", "returns the file name .", "the file name returns"};
  EXPECT_EQ(*Rerank(comments, reference, RerankByTokens()), 1);
  EXPECT_EQ(*Rerank({"x"}, reference, RerankByTokens()), 0);
  // Overlap with the script's tokens prefers the longer one: 5 common tokens
  // to 4 ("." is none).
  const std::vector<std::string> lengths = {
      "returns the name file", "a long text of name and the file that returns"};
  EXPECT_EQ(*Rerank(lengths, reference, RerankByTokens()), 0);
  EXPECT_EQ(
      *Rerank(lengths, reference, RerankByTokens(TokenSimilarity::Script())),
      1);
  EXPECT_EQ(*Rerank(comments, "sockets open", RerankBySemantics(CountLetters)),
            0);

  EXPECT_TRUE(absl::IsInvalidArgument(
      Rerank({}, reference, RerankByTokens()).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      Rerank(comments, reference, RerankBySemantics(nullptr)).status()));
  const CommentSimilarity nan = [](absl::string_view, absl::string_view) {
    return absl::StatusOr<double>(std::nan(""));
  };
  EXPECT_TRUE(
      absl::IsInvalidArgument(Rerank(comments, reference, nan).status()));
}

TEST(Rerank, NeverLowersTheSimilarityToTheReference) {
  std::mt19937_64 generator(3);
  const auto draw = [&] {
    std::string text;
    for (int i = 0; i < 6; ++i) {
      absl::StrAppend(&text, std::string(1, 'a' + generator() % 8), "x ");
    }
    return text;
  };
  const CommentSimilarity similarity = RerankByTokens();
  for (int round = 0; round < 50; ++round) {
    const std::string reference = draw();
    std::vector<std::string> pool;
    for (int i = 0; i < 10; ++i) pool.push_back(draw());
    const int64_t best = *Rerank(pool, reference, similarity);
    for (const std::string& comment : pool) {
      EXPECT_GE(*similarity(pool[best], reference),
                *similarity(comment, reference));
    }
  }
}

// ---- Generation -------------------------------------------------------------

completion::Completion Choices(const std::vector<std::string>& texts) {
  completion::Completion answer;
  for (const std::string& text : texts) {
    answer.choices.push_back({text, "stop", {}});
  }
  return answer;
}

TEST(GenerateComments, AsksAsThePaperDoes) {
  ScriptedClient client([](const CompletionRequest&) {
    return absl::StatusOr<completion::Completion>(
        Choices({" reads it .\n#Example", "\nlate", "whole"}));
  });
  GenerationOptions options;
  options.samples = 3;
  options.seed = 5;
  const auto comments =
      GenerateComments(client, Intent::kWhy, {{"a();", "x"}}, "c();", options);
  ASSERT_TRUE(comments.ok()) << comments.status();
  EXPECT_THAT(comments->samples, ElementsAre("reads it .", "", "whole"));
  EXPECT_EQ(comments->demonstrations, 1);
  const CompletionRequest request = client.requests().at(0);
  EXPECT_EQ(request.prompt, BuildPrompt(Intent::kWhy, {{"a();", "x"}}, "c();"));
  EXPECT_EQ(request.max_tokens, 30);
  EXPECT_DOUBLE_EQ(request.temperature, 0.5);
  EXPECT_EQ(request.n, 3);
  EXPECT_EQ(request.seed, 5);
  EXPECT_THAT(request.stop, ElementsAre("\n"));
}

TEST(GenerateComments, DropsDemonstrationsThatDoNotFit) {
  ScriptedClient client([](const CompletionRequest& request)
                            -> absl::StatusOr<completion::Completion> {
    if (request.prompt.size() > 200) {
      return absl::InvalidArgumentError("too long");
    }
    return completion::TextCompletion("short");
  });
  const auto comments =
      GenerateComments(client, Intent::kWhat,
                       {{"a();", "x"}, {std::string(300, 'b'), "y"}}, "c", {});
  ASSERT_TRUE(comments.ok()) << comments.status();
  EXPECT_EQ(comments->demonstrations, 1);
  EXPECT_THAT(client.requests(), SizeIs(2));
  EXPECT_TRUE(absl::IsInvalidArgument(
      GenerateComments(client, Intent::kWhat, {{"a();", "x"}},
                       std::string(300, 'c'), {})
          .status()));

  ScriptedClient down([](const CompletionRequest&) {
    return absl::StatusOr<completion::Completion>(
        absl::UnavailableError("down"));
  });
  EXPECT_TRUE(absl::IsUnavailable(
      GenerateComments(down, Intent::kWhat, {{"a", "x"}}, "c", {}).status()));
  EXPECT_THAT(down.requests(), SizeIs(1));
  ScriptedClient silent([](const CompletionRequest&) {
    return absl::StatusOr<completion::Completion>(completion::Completion());
  });
  EXPECT_TRUE(absl::IsDataLoss(
      GenerateComments(silent, Intent::kWhat, {}, "c", {}).status()));
}

TEST(WriteComment, RunsFromSelectionToReranking) {
  const auto samples = FourSamples();
  const auto index = TokenIndex::Build(samples, {});
  ASSERT_TRUE(index.ok());
  ScriptedClient client([](const CompletionRequest&) {
    return absl::StatusOr<completion::Completion>(
        Choices({"writes .", "reads all lines .", "reads ."}));
  });
  CommenterOptions options;
  options.shots = 2;
  options.generation.samples = 3;
  const std::string code = "read file path buffer";
  auto comment =
      WriteComment(client, samples, &*index, code, Intent::kWhat, options);
  ASSERT_TRUE(comment.ok()) << comment.status();
  EXPECT_THAT(comment->demonstrations, ElementsAre(1, 0));
  EXPECT_EQ(comment->text, "writes .");  // not reranked: the first
  const std::string prompt = client.requests().at(0).prompt;
  EXPECT_LT(prompt.find("reads lines ."), prompt.find("reads a file ."));
  EXPECT_THAT(prompt, Not(HasSubstr("needed by readers")));

  // "reads all lines" shares 2 of 3 tokens with "reads lines", "reads" 1 of 2.
  options.rerank = RerankByTokens();
  comment =
      WriteComment(client, samples, &*index, code, Intent::kWhat, options);
  ASSERT_TRUE(comment.ok()) << comment.status();
  EXPECT_EQ(comment->text, "reads all lines .");
  EXPECT_EQ(comment->chosen, 1);
  // The query itself is neither shown nor the reference.
  comment = WriteComment(client, samples, &*index, samples[1].code,
                         Intent::kWhat, options, 1);
  ASSERT_TRUE(comment.ok()) << comment.status();
  EXPECT_THAT(comment->demonstrations, ElementsAre(0, 2));
  EXPECT_THAT(client.requests().back().prompt, Not(HasSubstr("reads lines")));

  // Of any intent, as the script has it.
  options.same_intent = false;
  options.shots = 3;
  comment =
      WriteComment(client, samples, &*index, code, Intent::kWhat, options);
  ASSERT_TRUE(comment.ok()) << comment.status();
  EXPECT_THAT(comment->demonstrations, ElementsAre(1, 0, 3));
}

TEST(WriteComment, BySemanticsAndAtRandom) {
  const auto samples = FourSamples();
  const auto index = SemanticIndex::Build(samples, CountLetters);
  ASSERT_TRUE(index.ok());
  ScriptedClient client([](const CompletionRequest&) {
    return absl::StatusOr<completion::Completion>(
        Choices({"zzz", "writes to a socket"}));
  });
  CommenterOptions options;
  options.shots = 1;
  options.generation.samples = 2;
  options.rerank = RerankBySemantics(CountLetters);
  auto comment = WriteComment(client, samples, &*index, "write socket",
                              Intent::kWhat, options);
  ASSERT_TRUE(comment.ok()) << comment.status();
  EXPECT_THAT(comment->demonstrations, ElementsAre(2));
  EXPECT_EQ(comment->text, "writes to a socket");

  // Random demonstrations, reranked by an index; the same seed, the same ones.
  options.shots = 2;
  options.selection_seed = 4;
  const auto write = [&] {
    return WriteComment(client, samples, nullptr, "write socket", Intent::kWhat,
                        options, std::nullopt, &*index);
  };
  comment = write();
  ASSERT_TRUE(comment.ok()) << comment.status();
  EXPECT_THAT(comment->demonstrations, SizeIs(2));
  EXPECT_EQ(comment->demonstrations, write()->demonstrations);
  EXPECT_EQ(comment->text, "writes to a socket");
}

TEST(WriteComment, RefusesWhatMakesNoSense) {
  const auto samples = FourSamples();
  const auto index = TokenIndex::Build(samples, {});
  ASSERT_TRUE(index.ok());
  ScriptedClient client(std::vector<std::string>(9, "x"));
  CommenterOptions options;
  const auto status = [&](const std::vector<CommentSample>& corpus,
                          const DemonstrationIndex* by, Intent intent) {
    return WriteComment(client, corpus, by, "code", intent, options).status();
  };
  EXPECT_TRUE(absl::IsInvalidArgument(status({}, &*index, Intent::kWhat)));
  EXPECT_TRUE(status(samples, &*index, Intent::kProperty).ok());  // none shown
  options.shots = -1;
  EXPECT_TRUE(absl::IsInvalidArgument(status(samples, &*index, Intent::kWhat)));
  options.shots = 0;
  EXPECT_TRUE(status(samples, nullptr, Intent::kWhat).ok());
  options.rerank = RerankByTokens();
  EXPECT_TRUE(absl::IsInvalidArgument(status(samples, nullptr, Intent::kWhat)));
  EXPECT_TRUE(
      absl::IsFailedPrecondition(status(samples, &*index, Intent::kProperty)));
}

}  // namespace
}  // namespace repro::multi_intent
