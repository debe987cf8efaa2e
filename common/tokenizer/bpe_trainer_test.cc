#include "common/tokenizer/bpe_trainer.h"

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/tokenizer/byte_level.h"
#include "common/tokenizer/loader.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace repro {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Merges = std::vector<std::pair<std::string, std::string>>;

std::string Text() {
  const std::string once =
      "the cat sat on the mat; the cats sat on the mats.\n"
      "def getName(self): return self._name  # getName\n"
      "na\u00efve caf\u00e9 \u4f60\u597d \U0001F600 1234 12345\n"
      "int getNameLength() { return getName().length(); }\n";
  return once + once + once;
}

TrainedBpe TrainOn(const std::string& text, const BpeTrainingOptions& options) {
  BpeTrainer trainer;
  EXPECT_TRUE(trainer.AddText(text).ok());
  absl::StatusOr<TrainedBpe> trained = trainer.Train(options);
  EXPECT_TRUE(trained.ok()) << trained.status();
  return *std::move(trained);
}

BpeTrainingOptions Options(int64_t vocab_size) {
  BpeTrainingOptions options;
  options.vocab_size = vocab_size;
  options.special_tokens = {"<s>", "</s>"};
  return options;
}

// tokenizers 0.22.1, with text as Text():
//
//   t = Tokenizer(models.BPE())
//   t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
//   t.train_from_iterator([text], trainers.BpeTrainer(
//       vocab_size=318, special_tokens=["<s>", "</s>"],
//       initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
//   print(json.loads(t.to_str())["model"]["merges"])
//   print(t.encode("the cat's getName() na\u00efve \u4f60\u597d").ids)
//
// Most of these merges are ties in count, which ids decide.
TEST(BpeTrainerTest, LearnsTheMergesOfHuggingFace) {
  const Merges expected = {
      {"a", "t"},     {"e", "t"},       {"t", "h"},   {"a", "m"},
      {"am", "e"},    {"N", "ame"},     {"g", "et"},  {"Ġ", "get"},
      {"th", "e"},    {"Ġget", "Name"}, {"(", ")"},   {"Ġ", "c"},
      {"Ġ", "s"},     {"Ġ", "the"},     {"1", "2"},   {"3", "4"},
      {"e", "l"},     {"e", "n"},       {"g", "th"},  {"m", "at"},
      {"o", "n"},     {"r", "n"},       {"r", "et"},  {"u", "rn"},
      {"Ġ", "12"},    {"Ġ", "mat"},     {"Ġ", "on"},  {"Ġ", "ret"},
      {"Ġc", "at"},   {"Ġs", "at"},     {"el", "f"},  {"en", "gth"},
      {"Ġ12", "34"},  {"Ġret", "urn"},  {")", ":"},   {".", "_"},
      {"L", "ength"}, {"a", "f"},       {"a", "Ã"},   {"d", "e"},
      {"i", "n"},     {"l", "ength"},   {"n", "ame"}, {"n", "aÃ"},
      {"s", "elf"},   {"v", "e"},       {"¥", "½"},   {"¯", "ve"},
      {"½", "ł"},     {"Ã", "©"},       {"ä", "½ł"},  {"å", "¥½"},
      {"ð", "Ł"},     {"Ġ", "#"},       {"Ġ", "{"},   {"Ġ", "}"},
      {"Ġ", "ä½ł"},   {"Ġ", "ðŁ"},      {"ĺ", "Ģ"},   {"ĠgetName", "Length"}};
  const TrainedBpe trained = TrainOn(Text(), Options(318));
  EXPECT_EQ(trained.merges, expected);
  ASSERT_EQ(trained.tokens.size(), 316);
  EXPECT_EQ(trained.tokens[0], "!");
  EXPECT_EQ(trained.tokens[256], "at");

  const auto tokenizer =
      ParseTokenizerJson(trained.ToJson(), "", "trained.json");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const std::string text = "the cat's getName() na\u00efve \u4f60\u597d";
  const auto ids = (*tokenizer)->Encode(text);
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_THAT(*ids,
              ElementsAre(266, 286, 8, 84, 267, 268, 222, 301, 305, 314, 309));
  EXPECT_EQ(*(*tokenizer)->Decode(*ids), text);
  EXPECT_EQ((*tokenizer)->vocab_size(), 318);
  EXPECT_EQ(*(*tokenizer)->TokenId("</s>"), 1);
  EXPECT_TRUE((*tokenizer)->IsSpecial(1));
}

// The same with min_frequency=6: 34 merges; and without: all 73 there are.
TEST(BpeTrainerTest, StopsWhereHuggingFaceStops) {
  BpeTrainingOptions options;
  options.vocab_size = 1000;
  EXPECT_EQ(TrainOn(Text(), options).merges.size(), 73);
  options.min_frequency = 6;
  EXPECT_EQ(TrainOn(Text(), options).merges.size(), 34);
}

// The worked example of Sennrich et al. 2016, algorithm 1, without its mark of
// a word's end: "e s", "es t" and "l o", "lo w" are its first merges there.
TEST(BpeTrainerTest, WorkedExampleOfThePaper) {
  BpeTrainer trainer;
  trainer.AddWord("low", 5);
  trainer.AddWord("lower", 2);
  trainer.AddWord("newest", 6);
  trainer.AddWord("widest", 3);
  BpeTrainingOptions options;
  options.vocab_size = 256 + 4;
  const auto trained = trainer.Train(options);
  ASSERT_TRUE(trained.ok()) << trained.status();
  EXPECT_THAT(trained->merges,
              ElementsAre(std::pair("e", "s"), std::pair("es", "t"),
                          std::pair("l", "o"), std::pair("lo", "w")));
}

// The algorithm as the paper writes it: count all pairs anew for each merge.
Merges PlainTraining(const std::map<std::string, int64_t>& words,
                     size_t num_merges) {
  std::map<std::string, int> ids;
  {
    std::vector<std::string> characters;
    for (int byte = 0; byte < 256; ++byte) {
      characters.push_back(ByteLevelCharacter(static_cast<uint8_t>(byte)));
    }
    std::sort(characters.begin(), characters.end());
    for (const std::string& c : characters) {
      ids.emplace(c, static_cast<int>(ids.size()));
    }
  }
  std::vector<std::pair<std::vector<std::string>, int64_t>> split;
  for (const auto& [word, count] : words) {
    split.emplace_back();
    for (const char c : word) {
      split.back().first.push_back(ByteLevelCharacter(static_cast<uint8_t>(c)));
    }
    split.back().second = count;
  }
  Merges merges;
  while (merges.size() < num_merges) {
    std::map<std::pair<int, int>, std::pair<int64_t, Merges::value_type>>
        counts;
    for (const auto& [word, count] : split) {
      for (size_t i = 0; i + 1 < word.size(); ++i) {
        auto& entry = counts[{ids[word[i]], ids[word[i + 1]]}];
        entry.first += count;
        entry.second = {word[i], word[i + 1]};
      }
    }
    if (counts.empty()) break;
    // The first of the most frequent ones, in the order of ids.
    const auto best = std::max_element(counts.begin(), counts.end(),
                                       [](const auto& a, const auto& b) {
                                         return a.second.first < b.second.first;
                                       });
    const auto [left, right] = best->second.second;
    merges.emplace_back(left, right);
    ids.emplace(left + right, static_cast<int>(ids.size()));
    for (auto& [word, count] : split) {
      std::vector<std::string> merged;
      for (size_t i = 0; i < word.size(); ++i) {
        if (i + 1 < word.size() && word[i] == left && word[i + 1] == right) {
          merged.push_back(left + right);
          ++i;
        } else {
          merged.push_back(word[i]);
        }
      }
      word = merged;
    }
  }
  return merges;
}

// Few letters give long runs, overlaps ("aaa") and tokens that several merges
// make.
TEST(BpeTrainerTest, AgreesWithCountingAnew) {
  std::mt19937 random(1);
  for (int round = 0; round < 200; ++round) {
    std::map<std::string, int64_t> words;
    const int letters = 2 + round % 4;
    for (int i = 0; i < 12; ++i) {
      std::string word;
      for (int n = 1 + static_cast<int>(random() % 12); n > 0; --n) {
        word += "ab\xff "[random() % letters % 4];
      }
      words[word] += 1 + static_cast<int64_t>(random() % 5);
    }
    BpeTrainer trainer;
    for (const auto& [word, count] : words) trainer.AddWord(word, count);
    BpeTrainingOptions options;
    options.vocab_size = 256 + 40;
    const auto trained = trainer.Train(options);
    ASSERT_TRUE(trained.ok()) << trained.status();
    const size_t compared = trained->merges.size();
    EXPECT_EQ(trained->merges, PlainTraining(words, compared)) << round;
  }
}

TEST(BpeTrainerTest, OrderOfTextsDoesNotMatter) {
  const std::vector<std::string> texts = {"a b c abc abd", "xyz abc", "b b ab"};
  BpeTrainer forward, backward;
  for (size_t i = 0; i < texts.size(); ++i) {
    ASSERT_TRUE(forward.AddText(texts[i]).ok());
    ASSERT_TRUE(backward.AddText(texts[texts.size() - 1 - i]).ok());
  }
  BpeTrainingOptions options;
  options.vocab_size = 300;
  EXPECT_EQ(forward.Train(options)->ToJson(),
            backward.Train(options)->ToJson());
}

TEST(BpeTrainerTest, TextNeverBecomesASpecialToken) {
  BpeTrainer trainer;
  trainer.AddWord("<s>", 100);
  const auto trained = trainer.Train(Options(400));
  ASSERT_TRUE(trained.ok());
  for (const auto& [left, right] : trained->merges) {
    EXPECT_NE(left + right, "<s>");
  }
}

TEST(BpeTrainerTest, BoundsTokens) {
  BpeTrainer trainer;
  trainer.AddWord(std::string(64, 'a'), 10);
  BpeTrainingOptions options;
  options.vocab_size = 300;
  options.max_token_bytes = 4;
  const auto trained = trainer.Train(options);
  ASSERT_TRUE(trained.ok());
  EXPECT_FALSE(trained->merges.empty());
  for (const std::string& token : trained->tokens) {
    EXPECT_LE(ByteLevelBytes(token).size(), 4);
  }
}

TEST(BpeTrainerTest, NothingToLearn) {
  const auto trained = BpeTrainer().Train(Options(258));
  ASSERT_TRUE(trained.ok());
  EXPECT_THAT(trained->merges, IsEmpty());
  const auto tokenizer =
      ParseTokenizerJson(trained->ToJson(), "", "bytes.json");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->Encode("\u00e9!")->size(), 3);
}

TEST(BpeTrainerTest, RejectsWhatMakesNoSense) {
  BpeTrainer trainer;
  EXPECT_THAT(std::string(trainer.AddText("ab\xff").message()),
              HasSubstr("byte 2"));
  EXPECT_TRUE(trainer.AddText("").ok());
  EXPECT_FALSE(trainer.Train(Options(257)).ok());
  for (const std::vector<std::string>& special :
       std::vector<std::vector<std::string>>{
           {""}, {"<s>", "<s>"}, {"a"}, {"\xff"}}) {
    BpeTrainingOptions options = Options(1000);
    options.special_tokens = special;
    EXPECT_EQ(trainer.Train(options).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
  BpeTrainingOptions options = Options(1000);
  options.min_frequency = -1;
  EXPECT_FALSE(trainer.Train(options).ok());
  options = Options(1000);
  options.progress = [](int64_t, int64_t) { return false; };
  EXPECT_EQ(trainer.Train(options).status().code(),
            absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace repro
