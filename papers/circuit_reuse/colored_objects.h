// The Colored Objects task (Merullo et al. 2024, arXiv 2310.08744): a question
// about the colour of one of three objects, after one answered example.
//
//   Q: On the desk, I see a blue cup, a red bottle, and an orange plate. What
//   color is the bottle?\nA: Red\nQ: On the floor, ... What color is the
//   pen?\nA:
//
// The answer is " Blue": a space and the capitalised colour. The counterfactual
// of a prompt asks for another object. No LibTorch.
#ifndef REPRO_PAPERS_CIRCUIT_REUSE_COLORED_OBJECTS_H_
#define REPRO_PAPERS_CIRCUIT_REUSE_COLORED_OBJECTS_H_

#include <array>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace repro::circuit_reuse {

// The words of the released generator.
absl::Span<const absl::string_view> Surfaces();  // 3
absl::Span<const absl::string_view> Starts();    // 3: "there is", "I see", ...
absl::Span<const absl::string_view> Colors();    // 8, lower case
absl::Span<const absl::string_view> Objects();   // 17

// One question. Words are those of the lists above.
struct ColoredQuestion {
  static constexpr int64_t kItems = 3;

  std::string surface;
  std::string start;
  std::array<std::string, kItems> colors;
  std::array<std::string, kItems> objects;
  int64_t query = 0;  // which object is asked for

  const std::string& color() const { return colors[query]; }
};

// A one-shot prompt.
struct ColoredPrompt {
  ColoredQuestion example;  // answered in the prompt
  ColoredQuestion test;
};

// "Orange" of "orange".
std::string Capitalized(absl::string_view word);

// The prompt as the authors write it, without the test question's answer.
std::string Render(const ColoredPrompt& prompt);

// " Blue": what has to follow.
std::string LabelOf(const ColoredPrompt& prompt);

// The inverse of Render. InvalidArgument, with the byte at which the text is
// not a prompt, for anything that Render does not give; so is an example whose
// answer is wrong, a question for an object that is not there, and an object or
// a colour twice in one question.
absl::StatusOr<ColoredPrompt> ParseColoredPrompt(absl::string_view text);

// The same prompt with `query` asked for. InvalidArgument unless it is the
// index of another object than the one that is asked for.
absl::StatusOr<ColoredPrompt> CounterfactualOf(const ColoredPrompt& prompt,
                                               int64_t query);

// Draws surfaces, starts, colours and objects uniformly; the test question
// shares neither a colour nor an object with the example.
ColoredPrompt DrawColoredPrompt(std::mt19937_64& random);

// Splits at spaces, and makes a token of each mark (. , : ?) and line end: 62
// tokens for every prompt, as GPT-2's vocabulary gives, which has each of these
// words with a space before it.
std::vector<std::string> SplitWords(absl::string_view text);

// Places in SplitWords(Render(prompt)), the same in all prompts.
inline constexpr int64_t kPromptTokens = 62;
// Before the example's answer and before the test's.
inline constexpr int64_t kExampleEnd = 29;
inline constexpr int64_t kEnd = kPromptTokens - 1;
// The test question's colours and the object that is asked for.
inline constexpr std::array<int64_t, ColoredQuestion::kItems> kColorTokens = {
    41, 45, 50};
inline constexpr int64_t kQueryToken = 57;

// One row of the released files.
struct LabelledPrompt {
  std::string text;
  std::string label;
  ColoredPrompt prompt;  // parsed from `text`
};

// Reads a JSON list of [prompt, label] pairs, plain or gzip. InvalidArgument
// "path: prompt 3: ..." for a row that is not a pair of strings, is not a
// prompt or has another label than the prompt's; errors of ReadJson; an empty
// list.
absl::StatusOr<std::vector<LabelledPrompt>> ReadColoredPrompts(
    const std::string& path);

}  // namespace repro::circuit_reuse

#endif  // REPRO_PAPERS_CIRCUIT_REUSE_COLORED_OBJECTS_H_
