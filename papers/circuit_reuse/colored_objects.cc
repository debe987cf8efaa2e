#include "papers/circuit_reuse/colored_objects.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/data/io.h"
#include "common/data/json.h"
#include "common/status/macros.h"

namespace repro::circuit_reuse {
namespace {

constexpr absl::string_view kSurfaces[] = {"table", "desk", "floor"};
constexpr absl::string_view kStarts[] = {"there is", "you see", "I see"};
constexpr absl::string_view kColors[] = {"red",  "orange", "yellow", "green",
                                         "blue", "purple", "brown",  "black"};
constexpr absl::string_view kObjects[] = {
    "pencil", "notebook", "pen",      "cup",     "plate",    "jug",
    "mug",    "puzzle",   "textbook", "leash",   "necklace", "bracelet",
    "bottle", "ball",     "envelope", "lighter", "bowl"};

std::string Article(absl::string_view word) {
  return absl::string_view("aeiou").find(word[0]) != absl::string_view::npos
             ? "an"
             : "a";
}

std::string RenderQuestion(const ColoredQuestion& question) {
  std::string items;
  for (int64_t i = 0; i < ColoredQuestion::kItems; ++i) {
    const bool last = i + 1 == ColoredQuestion::kItems;
    absl::StrAppend(&items, i == 0 ? "" : ", ", last ? "and " : "",
                    Article(question.colors[i]), " ", question.colors[i], " ",
                    question.objects[i]);
  }
  return absl::StrCat("Q: On the ", question.surface, ", ", question.start, " ",
                      items, ". What color is the ",
                      question.objects[question.query], "?\nA:");
}

// Reads a text from its beginning.
class Reader {
 public:
  explicit Reader(absl::string_view text) : text_(text), rest_(text) {}

  absl::Status Take(absl::string_view expected) {
    if (!absl::ConsumePrefix(&rest_, expected)) {
      return Error(absl::StrCat("expected ", Quoted(expected)));
    }
    return absl::OkStatus();
  }

  // The longest word of the list that the rest begins with.
  absl::StatusOr<std::string> TakeOneOf(
      absl::Span<const absl::string_view> words, absl::string_view what) {
    absl::string_view best;
    for (const absl::string_view word : words) {
      if (word.size() > best.size() && rest_.substr(0, word.size()) == word) {
        best = word;
      }
    }
    if (best.empty()) return Error(absl::StrCat("expected a ", what));
    rest_.remove_prefix(best.size());
    return std::string(best);
  }

  absl::Status Finish() const {
    return rest_.empty() ? absl::OkStatus() : Error("expected the end");
  }

  absl::Status Error(absl::string_view message) const {
    return absl::InvalidArgumentError(
        absl::StrCat("byte ", text_.size() - rest_.size(), ": ", message,
                     ", found ", Quoted(rest_.substr(0, 20))));
  }

 private:
  absl::string_view text_;
  absl::string_view rest_;
};

absl::StatusOr<ColoredQuestion> ParseQuestion(Reader& reader) {
  ColoredQuestion question;
  REPRO_RETURN_IF_ERROR(reader.Take("Q: On the "));
  REPRO_ASSIGN_OR_RETURN(question.surface,
                         reader.TakeOneOf(kSurfaces, "surface"));
  REPRO_RETURN_IF_ERROR(reader.Take(", "));
  REPRO_ASSIGN_OR_RETURN(question.start, reader.TakeOneOf(kStarts, "start"));
  REPRO_RETURN_IF_ERROR(reader.Take(" "));
  for (int64_t i = 0; i < ColoredQuestion::kItems; ++i) {
    if (i > 0) REPRO_RETURN_IF_ERROR(reader.Take(", "));
    if (i + 1 == ColoredQuestion::kItems) {
      REPRO_RETURN_IF_ERROR(reader.Take("and "));
    }
    // "an" is read before the colour says whether it had to be.
    REPRO_ASSIGN_OR_RETURN(const std::string article,
                           reader.TakeOneOf({"a", "an"}, "article"));
    REPRO_RETURN_IF_ERROR(reader.Take(" "));
    REPRO_ASSIGN_OR_RETURN(question.colors[i],
                           reader.TakeOneOf(kColors, "colour"));
    if (article != Article(question.colors[i])) {
      return reader.Error(absl::StrCat("expected another article than ",
                                       article, " before ",
                                       question.colors[i]));
    }
    REPRO_RETURN_IF_ERROR(reader.Take(" "));
    REPRO_ASSIGN_OR_RETURN(question.objects[i],
                           reader.TakeOneOf(kObjects, "object"));
    for (int64_t j = 0; j < i; ++j) {
      if (question.colors[i] == question.colors[j] ||
          question.objects[i] == question.objects[j]) {
        return reader.Error("a colour or an object that was there before");
      }
    }
  }
  REPRO_RETURN_IF_ERROR(reader.Take(". What color is the "));
  REPRO_ASSIGN_OR_RETURN(const std::string object,
                         reader.TakeOneOf(kObjects, "object"));
  const auto found =
      std::find(question.objects.begin(), question.objects.end(), object);
  if (found == question.objects.end()) {
    return reader.Error(absl::StrCat("there is no ", object));
  }
  question.query = found - question.objects.begin();
  REPRO_RETURN_IF_ERROR(reader.Take("?\nA:"));
  return question;
}

// `count` different words of a list, in random order.
std::vector<std::string> DrawWords(absl::Span<const absl::string_view> words,
                                   int64_t count, std::mt19937_64& random) {
  std::vector<std::string> drawn(words.begin(), words.end());
  std::shuffle(drawn.begin(), drawn.end(), random);
  drawn.resize(count);
  return drawn;
}

}  // namespace

absl::Span<const absl::string_view> Surfaces() { return kSurfaces; }
absl::Span<const absl::string_view> Starts() { return kStarts; }
absl::Span<const absl::string_view> Colors() { return kColors; }
absl::Span<const absl::string_view> Objects() { return kObjects; }

std::string Capitalized(absl::string_view word) {
  std::string out(word);
  if (!out.empty()) out[0] = absl::ascii_toupper(out[0]);
  return out;
}

std::string Render(const ColoredPrompt& prompt) {
  return absl::StrCat(RenderQuestion(prompt.example), " ",
                      Capitalized(prompt.example.color()), "\n",
                      RenderQuestion(prompt.test));
}

std::string LabelOf(const ColoredPrompt& prompt) {
  return absl::StrCat(" ", Capitalized(prompt.test.color()));
}

absl::StatusOr<ColoredPrompt> ParseColoredPrompt(absl::string_view text) {
  Reader reader(text);
  ColoredPrompt prompt;
  REPRO_ASSIGN_OR_RETURN(prompt.example, ParseQuestion(reader));
  REPRO_RETURN_IF_ERROR(
      reader.Take(absl::StrCat(" ", Capitalized(prompt.example.color()))));
  REPRO_RETURN_IF_ERROR(reader.Take("\n"));
  REPRO_ASSIGN_OR_RETURN(prompt.test, ParseQuestion(reader));
  REPRO_RETURN_IF_ERROR(reader.Finish());
  return prompt;
}

absl::StatusOr<ColoredPrompt> CounterfactualOf(const ColoredPrompt& prompt,
                                               int64_t query) {
  if (query < 0 || query >= ColoredQuestion::kItems ||
      query == prompt.test.query) {
    return absl::InvalidArgumentError(absl::StrCat(
        "counterfactual: object ", query, " of ", ColoredQuestion::kItems,
        ", asked for is object ", prompt.test.query));
  }
  ColoredPrompt other = prompt;
  other.test.query = query;
  return other;
}

ColoredPrompt DrawColoredPrompt(std::mt19937_64& random) {
  constexpr int64_t kItems = ColoredQuestion::kItems;
  const std::vector<std::string> colors =
      DrawWords(kColors, 2 * kItems, random);
  const std::vector<std::string> objects =
      DrawWords(kObjects, 2 * kItems, random);
  const auto question = [&](int64_t first) {
    ColoredQuestion drawn;
    drawn.surface = DrawWords(kSurfaces, 1, random)[0];
    drawn.start = DrawWords(kStarts, 1, random)[0];
    for (int64_t i = 0; i < kItems; ++i) {
      drawn.colors[i] = colors[first + i];
      drawn.objects[i] = objects[first + i];
    }
    drawn.query = std::uniform_int_distribution<int64_t>(0, kItems - 1)(random);
    return drawn;
  };
  ColoredPrompt prompt;
  prompt.example = question(0);
  prompt.test = question(kItems);
  return prompt;
}

std::vector<std::string> SplitWords(absl::string_view text) {
  constexpr absl::string_view kMarks = ".,:?\n";
  std::vector<std::string> words;
  bool open = false;
  for (const char c : text) {
    if (kMarks.find(c) != absl::string_view::npos) {
      words.emplace_back(1, c);
      open = false;
    } else if (c == ' ') {
      open = false;
    } else {
      if (!open) words.emplace_back();
      words.back().push_back(c);
      open = true;
    }
  }
  return words;
}

absl::StatusOr<std::vector<LabelledPrompt>> ReadColoredPrompts(
    const std::string& path) {
  REPRO_ASSIGN_OR_RETURN(const nlohmann::json root, ReadJson(path));
  if (!root.is_array() || root.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": expected a list of [prompt, label] pairs"));
  }
  std::vector<LabelledPrompt> prompts;
  prompts.reserve(root.size());
  for (const nlohmann::json& row : root) {
    const auto error = [&](absl::string_view message) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": prompt ", prompts.size(), ": ", message));
    };
    if (!row.is_array() || row.size() != 2 || !row[0].is_string() ||
        !row[1].is_string()) {
      return error("expected a [prompt, label] pair of strings");
    }
    LabelledPrompt labelled;
    labelled.text = row[0].get<std::string>();
    labelled.label = row[1].get<std::string>();
    absl::StatusOr<ColoredPrompt> prompt = ParseColoredPrompt(labelled.text);
    if (!prompt.ok()) return error(prompt.status().message());
    labelled.prompt = *std::move(prompt);
    if (labelled.label != LabelOf(labelled.prompt)) {
      return error(absl::StrCat("label ", Quoted(labelled.label),
                                " in place of ",
                                Quoted(LabelOf(labelled.prompt))));
    }
    prompts.push_back(std::move(labelled));
  }
  return prompts;
}

}  // namespace repro::circuit_reuse
