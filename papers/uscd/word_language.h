// A small language of tasks whose words are ambiguous and whose examples settle
// what they mean.
//
//   standard prompt   w7 3 8 w2 4 2 =    two words, an example of each
//   lame prompt       w7 w2 =
//   answer            + 5 * 3 .          (x + 5) * 3, modulo 10
//
// A word means one of three operations on digits; in training they are 0.5, 0.3
// and 0.2 of its uses. An answer is right if it computes the task's
// function on all ten digits.
#ifndef REPRO_PAPERS_USCD_WORD_LANGUAGE_H_
#define REPRO_PAPERS_USCD_WORD_LANGUAGE_H_

#include <array>
#include <cstdint>
#include <random>
#include <utility>
#include <vector>

#include "absl/types/span.h"

namespace repro::uscd {

inline constexpr int kNumWords = 8, kNumMeanings = 3, kNumDigits = 10;
inline constexpr std::array<double, kNumMeanings> kFrequencies = {0.5, 0.3,
                                                                  0.2};
// Token ids.
inline constexpr int32_t kPadToken = 0, kEndToken = 1, kEquals = 2, kDigit = 3,
                         kPlus = kDigit + kNumDigits, kMinus = kPlus + 1,
                         kTimes = kPlus + 2, kWord = kPlus + 3;
inline constexpr int64_t kWordVocabulary = kWord + kNumWords;

struct Operation {
  int32_t token = kPlus;  // kPlus, kMinus or kTimes
  int operand = 0;        // 0 to 9
};
// Of a digit, modulo 10.
int Apply(const Operation& operation, int x);

// A word of the language and which of its meanings holds.
struct WordUse {
  int word = 0;
  int meaning = 0;
};
using WordTask = std::array<WordUse, 2>;  // applied in this order

class WordLanguage {
 public:
  // Meanings drawn by `seed`. Those of a word differ as functions, and each has
  // a digit on which no other one agrees with it.
  explicit WordLanguage(uint64_t seed);

  const Operation& Meaning(const WordUse& use) const {
    return meanings_[use.word][use.meaning];
  }

  // Whether a task is kept out of training: one of five, by a hash.
  static bool HeldOut(const WordTask& task);
  // Two words at random; meanings by kFrequencies, or all equally often.
  // `held_out` or not, as told.
  WordTask Draw(bool frequent, bool held_out, std::mt19937_64& random) const;

  // One example of each word, on one of two digits that settle its meaning.
  std::vector<int32_t> StandardPrompt(const WordTask& task,
                                      std::mt19937_64& random) const;
  static std::vector<int32_t> LamePrompt(const WordTask& task);
  // Ends with kEndToken.
  std::vector<int32_t> Answer(const WordTask& task) const;

  // Whether tokens without an end token are an answer that computes the task's
  // function.
  bool Solves(const WordTask& task, absl::Span<const int32_t> answer) const;

 private:
  std::array<std::array<Operation, kNumMeanings>, kNumWords> meanings_;
  // One or two digits on which a meaning is the only one with its result.
  std::array<std::array<std::vector<int>, kNumMeanings>, kNumWords> settling_;
};

}  // namespace repro::uscd

#endif  // REPRO_PAPERS_USCD_WORD_LANGUAGE_H_
