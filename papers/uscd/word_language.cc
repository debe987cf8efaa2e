#include "papers/uscd/word_language.h"

#include <cstddef>

#include "common/tensor/generator.h"

namespace repro::uscd {
namespace {

constexpr uint64_t kHeldOutOneOf = 5;
// Of a meaning; few, so that small decoders learn them.
constexpr size_t kMostExamples = 2;

// In [0, 1).
double Uniform(std::mt19937_64& random) {
  return static_cast<double>(random() >> 11) * 0x1p-53;
}

int Below(int bound, std::mt19937_64& random) {
  return static_cast<int>(random() % static_cast<uint64_t>(bound));
}

// + and - of 1 to 9, * of 2 to 9.
Operation DrawOperation(std::mt19937_64& random) {
  Operation operation;
  operation.token = kPlus + Below(3, random);
  const int least = operation.token == kTimes ? 2 : 1;
  operation.operand = least + Below(kNumDigits - least, random);
  return operation;
}

// For each meaning the first digits on which no other one has the same result.
std::array<std::vector<int>, kNumMeanings> SettlingDigits(
    const std::array<Operation, kNumMeanings>& meanings) {
  std::array<std::vector<int>, kNumMeanings> digits;
  for (int x = 0; x < kNumDigits; ++x) {
    std::array<int, kNumDigits> count = {};
    for (const Operation& meaning : meanings) ++count[Apply(meaning, x)];
    for (int m = 0; m < kNumMeanings; ++m) {
      if (count[Apply(meanings[m], x)] == 1 &&
          digits[m].size() < kMostExamples) {
        digits[m].push_back(x);
      }
    }
  }
  return digits;
}

}  // namespace

int Apply(const Operation& operation, int x) {
  switch (operation.token) {
    case kPlus:
      return (x + operation.operand) % kNumDigits;
    case kMinus:
      return (x - operation.operand + kNumDigits) % kNumDigits;
    default:
      return x * operation.operand % kNumDigits;
  }
}

WordLanguage::WordLanguage(uint64_t seed) {
  std::mt19937_64 random(seed);
  for (int w = 0; w < kNumWords; ++w) {
    bool settled = false;
    while (!settled) {
      for (Operation& meaning : meanings_[w]) meaning = DrawOperation(random);
      settling_[w] = SettlingDigits(meanings_[w]);
      settled = true;
      for (const std::vector<int>& digits : settling_[w]) {
        settled = settled && !digits.empty();
      }
    }
  }
}

bool WordLanguage::HeldOut(const WordTask& task) {
  uint64_t code = 0;
  for (const WordUse& use : task) {
    code = (code * kNumWords + static_cast<uint64_t>(use.word)) * kNumMeanings +
           static_cast<uint64_t>(use.meaning);
  }
  return MixSeed(code, 0) % kHeldOutOneOf == 0;
}

WordTask WordLanguage::Draw(bool frequent, bool held_out,
                            std::mt19937_64& random) const {
  WordTask task;
  do {
    for (WordUse& use : task) {
      use.word = Below(kNumWords, random);
      use.meaning = Below(kNumMeanings, random);
      if (frequent) {
        double rest = Uniform(random);
        use.meaning = 0;
        while (use.meaning + 1 < kNumMeanings &&
               rest >= kFrequencies[use.meaning]) {
          rest -= kFrequencies[use.meaning++];
        }
      }
    }
  } while (HeldOut(task) != held_out);
  return task;
}

std::vector<int32_t> WordLanguage::StandardPrompt(
    const WordTask& task, std::mt19937_64& random) const {
  std::vector<int32_t> prompt;
  for (const WordUse& use : task) {
    const std::vector<int>& digits = settling_[use.word][use.meaning];
    const int x = digits[random() % digits.size()];
    const int y = Apply(Meaning(use), x);
    prompt.insert(prompt.end(), {kWord + use.word, kDigit + x, kDigit + y});
  }
  prompt.push_back(kEquals);
  return prompt;
}

std::vector<int32_t> WordLanguage::LamePrompt(const WordTask& task) {
  return {kWord + task[0].word, kWord + task[1].word, kEquals};
}

std::vector<int32_t> WordLanguage::Answer(const WordTask& task) const {
  std::vector<int32_t> answer;
  for (const WordUse& use : task) {
    const Operation& operation = Meaning(use);
    answer.push_back(operation.token);
    answer.push_back(kDigit + operation.operand);
  }
  answer.push_back(kEndToken);
  return answer;
}

bool WordLanguage::Solves(const WordTask& task,
                          absl::Span<const int32_t> answer) const {
  if (answer.size() % 2 != 0) return false;
  std::vector<Operation> written;
  for (size_t i = 0; i < answer.size(); i += 2) {
    if (answer[i] < kPlus || answer[i] > kTimes || answer[i + 1] < kDigit ||
        answer[i + 1] >= kDigit + kNumDigits) {
      return false;
    }
    written.push_back({answer[i], answer[i + 1] - kDigit});
  }
  for (int x = 0; x < kNumDigits; ++x) {
    int expected = x, computed = x;
    for (const WordUse& use : task) expected = Apply(Meaning(use), expected);
    for (const Operation& operation : written) {
      computed = Apply(operation, computed);
    }
    if (computed != expected) return false;
  }
  return true;
}

}  // namespace repro::uscd
