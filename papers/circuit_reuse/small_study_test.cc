#include "papers/circuit_reuse/small_study.h"

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "papers/circuit_reuse/colored_objects.h"
#include "papers/circuit_reuse/testing.h"

namespace repro::circuit_reuse {
namespace {

using ::testing::Contains;

TEST(WordVocabulary, HasEveryWordOnce) {
  const WordVocabulary vocabulary;
  std::set<std::string> words;
  for (int64_t i = 0; i < vocabulary.size(); ++i) {
    words.insert(vocabulary.word(i));
    EXPECT_EQ(vocabulary.Id(vocabulary.word(i)).value(), i);
  }
  EXPECT_EQ(static_cast<int64_t>(words.size()), vocabulary.size());
  EXPECT_THAT(words, Contains("Blue"));
  EXPECT_EQ(vocabulary.Id("unheard").status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_FALSE(vocabulary.Encode("Q: On the moon").ok());
  EXPECT_EQ(vocabulary.Encode("").value().size(), 0);
  // Years in a row, so that a larger id is a later year.
  for (int64_t year = kFirstYear; year < kLastYear; ++year) {
    EXPECT_EQ(vocabulary.Id(std::to_string(year)).value() + 1,
              vocabulary.Id(std::to_string(year + 1)).value());
  }
}

TEST(DrawTaskPrompt, OneWordDiffersAndTurnsTheAnswer) {
  std::mt19937_64 random(1);
  for (const Task task :
       {Task::kColoredObjects, Task::kIndirectObject, Task::kGreaterThan}) {
    for (int i = 0; i < 200; ++i) {
      const TaskPrompt prompt = DrawTaskPrompt(task, random);
      const std::vector<std::string> words = SplitWords(prompt.text);
      const std::vector<std::string> other = SplitWords(prompt.counterfactual);
      ASSERT_EQ(words.size(), other.size());
      for (size_t t = 0; t < words.size(); ++t) {
        EXPECT_EQ(words[t] != other[t],
                  static_cast<int64_t>(t) == prompt.source)
            << prompt.text << " " << t;
      }
      EXPECT_NE(prompt.answer, prompt.wrong);
      if (task == Task::kGreaterThan) {
        int64_t year = 0, answer = 0, before = 0, wrong = 0;
        ASSERT_TRUE(absl::SimpleAtoi(words[prompt.source], &year));
        ASSERT_TRUE(absl::SimpleAtoi(other[prompt.source], &before));
        ASSERT_TRUE(absl::SimpleAtoi(prompt.answer, &answer));
        ASSERT_TRUE(absl::SimpleAtoi(prompt.wrong, &wrong));
        EXPECT_LT(before, wrong);
        EXPECT_LT(wrong, year);
        EXPECT_LT(year, answer);
      } else if (task == Task::kIndirectObject) {
        // The answer stands once, the subject twice; in the counterfactual the
        // other way round.
        EXPECT_EQ(std::count(words.begin(), words.end(), prompt.answer), 1);
        EXPECT_EQ(std::count(words.begin(), words.end(), prompt.wrong), 2);
        EXPECT_EQ(std::count(other.begin(), other.end(), prompt.answer), 2);
        EXPECT_EQ(words[prompt.distractors[0]], prompt.wrong);
        EXPECT_LT(prompt.distractors[0], prompt.source);
      } else {
        EXPECT_EQ(LabelOf(*ParseColoredPrompt(prompt.text)),
                  " " + prompt.answer);
        EXPECT_EQ(LabelOf(*ParseColoredPrompt(prompt.counterfactual)),
                  " " + prompt.wrong);
        for (const int64_t place : prompt.distractors) {
          EXPECT_THAT(Colors(), Contains(words[place]));
          EXPECT_NE(Capitalized(words[place]), prompt.answer);
        }
      }
    }
  }
}

TEST(DrawTaskBatch, IsThePromptsAsTensors) {
  const WordVocabulary vocabulary;
  std::mt19937_64 random(1), again(1);
  const TaskBatch batch =
      DrawTaskBatch(Task::kColoredObjects, vocabulary, 3, random);
  EXPECT_EQ(batch.prompts.tokens.sizes(),
            (std::vector<int64_t>{3, kPromptTokens}));
  for (int64_t i = 0; i < 3; ++i) {
    const TaskPrompt prompt = DrawTaskPrompt(Task::kColoredObjects, again);
    const std::vector<int64_t> tokens = vocabulary.Encode(prompt.text).value();
    for (int64_t t = 0; t < kPromptTokens; ++t) {
      EXPECT_EQ(batch.prompts.tokens[i][t].item<int64_t>(), tokens[t]);
    }
    const auto word = [&](const at::Tensor& id) {
      return vocabulary.word(id.item<int64_t>());
    };
    EXPECT_EQ(word(batch.prompts.answers[i]), prompt.answer);
    EXPECT_EQ(word(batch.prompts.wrong[i]), prompt.wrong);
    EXPECT_EQ(batch.sources[i].item<int64_t>(), kQueryToken);
    for (int64_t d = 0; d < 2; ++d) {
      EXPECT_EQ(word(batch.distractor_answers[i][d]),
                Capitalized(vocabulary.word(tokens[prompt.distractors[d]])));
    }
  }
  EXPECT_THROW(DrawTaskBatch(Task::kGreaterThan, vocabulary, 0, random),
               c10::Error);
}

TEST(DrawDescriptions, EveryObjectGetsItsColor) {
  const WordVocabulary vocabulary;
  std::mt19937_64 random(1);
  const at::Tensor tokens = DrawDescriptions(vocabulary, 50, random);
  for (int64_t i = 0; i < 50; ++i) {
    const auto word = [&](int64_t place) {
      return vocabulary.word(tokens[i][place].item<int64_t>());
    };
    std::map<std::string, std::string> color_of;
    for (const int64_t place : {7, 11, 16}) {
      color_of[word(place + 1)] = Capitalized(word(place));
    }
    std::set<std::string> asked;
    for (const int64_t place : kDescribed) {
      EXPECT_EQ(word(place), ":");
      EXPECT_EQ(color_of[word(place - 1)], word(place + 1));
      asked.insert(word(place - 1));
    }
    EXPECT_EQ(asked.size(), 3);
  }
  EXPECT_THROW(DrawDescriptions(vocabulary, 0, random), c10::Error);
}

SmallStudyOptions TinyStudy() {
  SmallStudyOptions options;
  options.layers = 2;
  options.heads = 2;
  options.dim = 8;
  options.mlp_dim = 8;
  options.max_steps = 3;
  options.batch = 2;
  options.evaluate_every = 2;
  options.patching_prompts = 4;
  options.test_prompts = 8;
  options.heads_per_stage = 1;
  options.random_sets = 2;
  return options;
}

TEST(FindCircuit, StagesAreThoseOfPathPatching) {
  TransformerConfig config = SmallConfig();
  const WordVocabulary vocabulary;
  config.vocabulary = vocabulary.size();
  config.positions = kPromptTokens;
  const HookedTransformer model(config, DoubleInitializer(1));
  Randomize(model, 2);
  std::mt19937_64 random(1);
  const TaskBatch batch =
      DrawTaskBatch(Task::kIndirectObject, vocabulary, 5, random);
  const auto circuit = FindCircuit(model, batch, 4);
  ASSERT_TRUE(circuit.ok()) << circuit.status();
  const auto first = PathPatchByDefinition(model, batch.prompts, {});
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(circuit->stages[0], TopHeads(*first, 4));
  ASSERT_EQ(circuit->stages.size(), 3);
  PathPatchingOptions options;
  options.up_to_lowest_receiver = false;
  const auto second = PathPatchByDefinition(
      model, batch.prompts, {circuit->stages[0], HookPoint::kQuery}, options);
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(circuit->stages[1], TopHeads(*second, 4));
  options.positions = batch.sources;
  const auto third = PathPatchByDefinition(
      model, batch.prompts, {circuit->stages[1], HookPoint::kValue}, options);
  ASSERT_TRUE(third.ok());
  EXPECT_EQ(circuit->stages[2], TopHeads(*third, 4));
  // Each head once.
  std::set<Head> all;
  for (const auto& stage : circuit->stages)
    all.insert(stage.begin(), stage.end());
  EXPECT_EQ(circuit->heads().size(), all.size());
}

TEST(RunSmallStudy, SameSeedSameNumbers) {
  const auto go_on = [](double, const std::string&) { return true; };
  const auto first = RunSmallStudy(TinyStudy(), 1, at::kCPU, go_on);
  const auto again = RunSmallStudy(TinyStudy(), 1, at::kCPU, go_on);
  ASSERT_TRUE(first.ok()) << first.status();
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(*first, *again);
  std::vector<std::string> names;
  for (const auto& [name, value] : *first) names.push_back(name);
  EXPECT_EQ(names, SmallStudyMeasures());
  EXPECT_EQ(first->at("steps"), 3);
  for (const char* name : {"overlap", "overlap_control", "both", "blocked"}) {
    EXPECT_GE(first->at(name), 0) << name;
    EXPECT_LE(first->at(name), 100) << name;
  }
}

TEST(RunSmallStudy, StopsAndRefuses) {
  EXPECT_EQ(RunSmallStudy(TinyStudy(), 1, at::kCPU,
                          [](double, const std::string&) { return false; })
                .status()
                .code(),
            absl::StatusCode::kCancelled);
  SmallStudyOptions options = TinyStudy();
  options.batch = 0;
  EXPECT_EQ(RunSmallStudy(options, 1, at::kCPU,
                          [](double, const std::string&) { return true; })
                .status()
                .code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace repro::circuit_reuse
