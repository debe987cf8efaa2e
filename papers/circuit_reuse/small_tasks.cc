#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/status/macros.h"
#include "papers/circuit_reuse/colored_objects.h"
#include "papers/circuit_reuse/small_study.h"

namespace repro::circuit_reuse {
namespace {

constexpr std::array<absl::string_view, 20> kNames = {
    "Mary",  "John",  "Anna",  "Paul",  "Lucy", "Mark",  "Sara",
    "Peter", "Emma",  "James", "Alice", "Tom",  "Julia", "Simon",
    "Clara", "Henry", "Laura", "David", "Rose", "Adam"};
constexpr std::array<absl::string_view, 6> kPlaces = {
    "park", "store", "school", "station", "garden", "house"};
constexpr std::array<absl::string_view, 6> kGifts = {"ring",  "book", "drink",
                                                     "snack", "kiss", "basket"};
constexpr std::array<absl::string_view, 6> kEvents = {
    "war", "siege", "reign", "trial", "plague", "voyage"};

int64_t Below(int64_t n, std::mt19937_64& random) {
  return std::uniform_int_distribution<int64_t>(0, n - 1)(random);
}

template <size_t kSize>
std::string OneOf(const std::array<absl::string_view, kSize>& words,
                  std::mt19937_64& random) {
  return std::string(words[Below(kSize, random)]);
}

TaskPrompt DrawColoredTask(std::mt19937_64& random) {
  const ColoredPrompt prompt = DrawColoredPrompt(random);
  ColoredPrompt other = prompt;
  other.test.query =
      (prompt.test.query + 1 + Below(2, random)) % ColoredQuestion::kItems;
  TaskPrompt task;
  task.text = Render(prompt);
  task.answer = Capitalized(prompt.test.color());
  task.counterfactual = Render(other);
  task.wrong = Capitalized(other.test.color());
  task.source = kQueryToken;
  for (int64_t i = 0; i < ColoredQuestion::kItems; ++i) {
    if (i != prompt.test.query) task.distractors.push_back(kColorTokens[i]);
  }
  return task;
}

TaskPrompt DrawIndirectObject(std::mt19937_64& random) {
  std::vector<absl::string_view> names(kNames.begin(), kNames.end());
  std::shuffle(names.begin(), names.end(), random);
  // Either of the two may come first ("ABBA" and "BABA").
  const bool subject_first = Below(2, random) == 0;
  const std::string place = OneOf(kPlaces, random);
  const std::string gift = OneOf(kGifts, random);
  const auto render = [&](absl::string_view giver) {
    return absl::StrCat("Then, ", names[0], " and ", names[1], " went to the ",
                        place, ". ", giver, " gave a ", gift, " to");
  };
  const std::string subject(names[subject_first ? 0 : 1]);
  const std::string object(names[subject_first ? 1 : 0]);
  TaskPrompt task;
  task.text = render(subject);
  task.answer = object;
  task.counterfactual = render(object);
  task.wrong = subject;
  task.source = 10;
  task.distractors = {subject_first ? 2 : 4};
  return task;
}

TaskPrompt DrawGreaterThan(std::mt19937_64& random) {
  // other < wrong < year < answer.
  std::set<int64_t> drawn;
  while (drawn.size() < 4) {
    drawn.insert(kFirstYear + Below(kLastYear - kFirstYear + 1, random));
  }
  const std::vector<int64_t> years(drawn.begin(), drawn.end());
  const std::string event = OneOf(kEvents, random);
  const auto render = [&](int64_t year) {
    return absl::StrCat("The ", event, " lasted from the year 17 ", year,
                        " to the year 17");
  };
  TaskPrompt task;
  task.text = render(years[2]);
  task.answer = absl::StrCat(years[3]);
  task.counterfactual = render(years[0]);
  task.wrong = absl::StrCat(years[1]);
  task.source = 7;
  task.distractors = {7};
  return task;
}

}  // namespace

WordVocabulary::WordVocabulary() {
  std::set<std::string> words;
  const auto add = [&](const auto& list) {
    for (const absl::string_view word : list) words.emplace(word);
  };
  for (const absl::string_view text :
       {"Q: On the, is a an, and. What color is the?\nA:", "there is you see I",
        "Then, and went to the. gave a to",
        "The lasted from the year 17 to the year 17"}) {
    add(SplitWords(text));
  }
  for (const auto& list : {Surfaces(), Colors(), Objects()}) add(list);
  for (const absl::string_view color : Colors())
    words.insert(Capitalized(color));
  add(kNames);
  add(kPlaces);
  add(kGifts);
  add(kEvents);
  for (int64_t year = kFirstYear; year <= kLastYear; ++year) {
    words.insert(absl::StrCat(year));
  }
  words_.assign(words.begin(), words.end());
  for (size_t i = 0; i < words_.size(); ++i) {
    ids_[words_[i]] = static_cast<int64_t>(i);
  }
}

absl::StatusOr<int64_t> WordVocabulary::Id(absl::string_view word) const {
  const auto found = ids_.find(word);
  if (found == ids_.end()) {
    return absl::NotFoundError(absl::StrCat("no word '", word, "'"));
  }
  return found->second;
}

absl::StatusOr<std::vector<int64_t>> WordVocabulary::Encode(
    absl::string_view text) const {
  std::vector<int64_t> ids;
  for (const std::string& word : SplitWords(text)) {
    REPRO_ASSIGN_OR_RETURN(const int64_t id, Id(word));
    ids.push_back(id);
  }
  return ids;
}

TaskPrompt DrawTaskPrompt(Task task, std::mt19937_64& random) {
  switch (task) {
    case Task::kColoredObjects:
      return DrawColoredTask(random);
    case Task::kIndirectObject:
      return DrawIndirectObject(random);
    case Task::kGreaterThan:
      break;
  }
  return DrawGreaterThan(random);
}

TaskBatch DrawTaskBatch(Task task, const WordVocabulary& vocabulary,
                        int64_t count, std::mt19937_64& random) {
  TORCH_CHECK(count >= 1, "task batch: ", count, " prompts");
  const at::TensorOptions whole = at::TensorOptions().dtype(at::kLong);
  // The vocabulary has all words of all tasks.
  const auto id = [&](absl::string_view word) {
    return vocabulary.Id(word).value();
  };
  TaskBatch batch;
  for (int64_t i = 0; i < count; ++i) {
    const TaskPrompt prompt = DrawTaskPrompt(task, random);
    const std::vector<int64_t> tokens = vocabulary.Encode(prompt.text).value();
    const std::vector<int64_t> other =
        vocabulary.Encode(prompt.counterfactual).value();
    const int64_t length = static_cast<int64_t>(tokens.size());
    const int64_t distractors = static_cast<int64_t>(prompt.distractors.size());
    if (i == 0) {
      batch.prompts.tokens = at::empty({count, length}, whole);
      batch.prompts.counterfactual = at::empty({count, length}, whole);
      batch.prompts.answers = at::empty({count}, whole);
      batch.prompts.wrong = at::empty({count}, whole);
      batch.sources = at::empty({count}, whole);
      batch.distractors = at::empty({count, distractors}, whole);
      batch.distractor_answers = at::empty({count, distractors}, whole);
    }
    const auto copy = [&](const std::vector<int64_t>& from, at::Tensor to) {
      TORCH_CHECK(static_cast<int64_t>(from.size()) == to.size(1),
                  "task batch: prompts of different lengths");
      std::copy(from.begin(), from.end(),
                to.mutable_data_ptr<int64_t>() + i * to.size(1));
    };
    copy(tokens, batch.prompts.tokens);
    copy(other, batch.prompts.counterfactual);
    copy(prompt.distractors, batch.distractors);
    std::vector<int64_t> answers;
    for (const int64_t place : prompt.distractors) {
      const std::string& word = vocabulary.word(tokens[place]);
      answers.push_back(id(Capitalized(word)));
    }
    copy(answers, batch.distractor_answers);
    batch.prompts.answers.select(0, i).fill_(id(prompt.answer));
    batch.prompts.wrong.select(0, i).fill_(id(prompt.wrong));
    batch.sources.select(0, i).fill_(prompt.source);
  }
  return batch;
}

at::Tensor DrawDescriptions(const WordVocabulary& vocabulary, int64_t count,
                            std::mt19937_64& random) {
  constexpr int64_t kLength = 30;
  TORCH_CHECK(count >= 1, "descriptions: ", count);
  at::Tensor tokens =
      at::empty({count, kLength}, at::TensorOptions().dtype(at::kLong));
  for (int64_t i = 0; i < count; ++i) {
    const ColoredPrompt prompt = DrawColoredPrompt(random);
    const std::string whole = Render(prompt);
    // The example's first sentence, without "Q: ".
    std::string text = whole.substr(3, whole.find('.') - 2);
    std::array<int64_t, ColoredQuestion::kItems> order = {0, 1, 2};
    std::shuffle(order.begin(), order.end(), random);
    for (const int64_t item : order) {
      absl::StrAppend(&text, item == order[0] ? " " : ". ",
                      prompt.example.objects[item], ": ",
                      Capitalized(prompt.example.colors[item]));
    }
    const std::vector<int64_t> ids = vocabulary.Encode(text).value();
    TORCH_CHECK(ids.size() == kLength, "descriptions: ", text);
    std::copy(ids.begin(), ids.end(),
              tokens.mutable_data_ptr<int64_t>() + i * kLength);
  }
  return tokens;
}

}  // namespace repro::circuit_reuse
