#include "common/testbed/data.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/DistributionsHelper.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>

#include <algorithm>
#include <mutex>
#include <numeric>
#include <utility>

namespace repro::testbed {
namespace {

constexpr int64_t kLag = 2;
constexpr double kRepeat = 0.25;

int64_t Below(int64_t bound, at::CPUGeneratorImpl* random) {
  return static_cast<int64_t>(random->random64() %
                              static_cast<uint64_t>(bound));
}

double Uniform(at::CPUGeneratorImpl* random) {
  at::uniform_real_distribution<double> uniform(0, 1);
  return uniform(random);
}

// `count` distinct numbers from [0, bound), in random order.
std::vector<int64_t> Distinct(int64_t count, int64_t bound,
                              at::CPUGeneratorImpl* random) {
  std::vector<int64_t> numbers(bound);
  std::iota(numbers.begin(), numbers.end(), 0);
  for (int64_t i = 0; i < count; ++i) {
    std::swap(numbers[i], numbers[i + Below(bound - i, random)]);
  }
  numbers.resize(count);
  return numbers;
}

int64_t Successor(int64_t rank, int64_t previous, int64_t size) {
  return (rank + 7 * previous + 13) % size;
}

bool HasQuestions(Task task) {
  return task == Task::kPasskey || task == Task::kKeyValue;
}

int64_t NumItems(const SequenceConfig& config) {
  if (config.task == Task::kText) return 0;
  return HasQuestions(config.task) ? config.num_items : 1;
}

int64_t NumQuestions(const SequenceConfig& config) {
  if (config.task == Task::kInduction) {
    return (config.length - 2) / config.answer_len;
  }
  return HasQuestions(config.task) && config.num_questions > 0
             ? config.num_questions
             : NumItems(config);
}

// Tokens of an item and of a question with its answer.
int64_t ItemSize(const SequenceConfig& config) {
  return (config.task == Task::kPasskey ? 2 : 1) + config.answer_len;
}

void Validate(const SequenceConfig& config) {
  const Vocabulary& v = config.vocabulary;
  TORCH_CHECK(v.num_keys > 0 && v.num_values > 0 && v.num_text > 0,
              "sequences: ", v.num_keys, " keys, ", v.num_values, " values, ",
              v.num_text, " text symbols: expected at least 1 of each");
  const std::string of = "sequences of " + TaskName(config.task);
  if (HasQuestions(config.task)) {
    const int64_t most =
        config.task == Task::kPasskey ? v.kNumOrdinals : v.num_keys;
    TORCH_CHECK(config.num_items >= 1 && config.num_items <= most, of,
                ": num_items ", config.num_items, ", expected 1 to ", most);
    TORCH_CHECK(config.num_questions >= 0, of, ": num_questions ",
                config.num_questions);
  }
  TORCH_CHECK(config.answer_len >= 1, of, ": answer_len ", config.answer_len);
  TORCH_CHECK(!config.depth || (*config.depth >= 0 && *config.depth <= 1), of,
              ": depth ", config.depth.value_or(0), ", expected 0 to 1");
  const int64_t least = TokensBesidesText(config);
  TORCH_CHECK(config.length >= least, of, ": length ", config.length,
              ", expected at least ", least, " for num_items ",
              config.num_items, ", num_questions ", config.num_questions,
              ", answer_len ", config.answer_len);
}

// One sequence at a time into rows of tensors.
class Writer {
 public:
  Writer(const SequenceConfig& config, at::Generator generator)
      : config_(config),
        v_(config.vocabulary),
        questions_(NumQuestions(config)),
        generator_(std::move(generator)),
        random_(generator_.get<at::CPUGeneratorImpl>()),
        text_(config.vocabulary.num_text) {}

  void Write(int64_t* tokens, int64_t* answers, int64_t* places) {
    tokens_ = tokens;
    answers_ = answers;
    end_ = 0;
    Put(v_.kBegin);
    if (config_.task == Task::kInduction) {
      Induction(places);
    } else {
      ItemsAndQuestions(places);
    }
  }

 private:
  void Put(int64_t token, int64_t answer = -1) {
    tokens_[end_] = token;
    answers_[end_] = answer;
    ++end_;
  }

  int64_t RandomSymbol() {
    return v_.kFirstKey + Below(v_.size() - v_.kFirstKey, random_);
  }

  void Induction(int64_t* places) {
    const int64_t period = config_.answer_len;
    for (int64_t i = 0; i < period; ++i) Put(RandomSymbol());
    while (end_ < config_.length) {
      const int64_t question = (end_ - 1) / period - 1;
      Put(tokens_[end_ - period], end_ == 1 + period ? -1 : question);
    }
    std::fill_n(places, questions_, 1);
  }

  // An item, or with its number a question.
  void Item(int64_t name, const std::vector<int64_t>& content,
            int64_t question = -1) {
    if (config_.task == Task::kPasskey) {
      Put(question < 0 ? v_.kNeedle : v_.kAsk);
    }
    Put(name);
    for (const int64_t token : content) Put(token, question);
  }

  void ItemsAndQuestions(int64_t* places) {
    const int64_t items = NumItems(config_);
    const int64_t text_len = config_.length - TokensBesidesText(config_);
    std::vector<int64_t> names(1, v_.kCopy);
    if (HasQuestions(config_.task)) {
      const bool passkey = config_.task == Task::kPasskey;
      names = Distinct(items, passkey ? v_.kNumOrdinals : v_.num_keys, random_);
      for (int64_t& name : names) {
        name += passkey ? v_.kFirstOrdinal : v_.kFirstKey;
      }
    }
    std::vector<std::vector<int64_t>> contents(items);
    for (std::vector<int64_t>& content : contents) {
      for (int64_t i = 0; i < config_.answer_len; ++i) {
        content.push_back(config_.task == Task::kPasskey
                              ? v_.kFirstWord + Below(v_.kNumWords, random_)
                          : config_.task == Task::kKeyValue
                              ? v_.first_value() + Below(v_.num_values, random_)
                              : RandomSymbol());
      }
    }
    std::vector<int64_t> asked;
    while (static_cast<int64_t>(asked.size()) < questions_) {
      for (const int64_t item : Distinct(items, items, random_)) {
        asked.push_back(item);
      }
    }
    // Text before each item; equal ones stand in a random order, since names
    // are random.
    std::vector<std::pair<int64_t, int64_t>> order(items);
    for (int64_t i = 0; i < items; ++i) {
      order[i] = {Below(text_len + 1, random_), i};
    }
    if (config_.depth && items > 0) {
      order[asked[0]].first = static_cast<int64_t>(*config_.depth * text_len);
    }
    std::sort(order.begin(), order.end());

    text_.Draw(text_len, &generator_, &filler_);
    std::vector<int64_t> item_places(items);
    int64_t done = 0;
    const auto put_text = [&](int64_t until) {
      for (; done < until; ++done) Put(v_.first_text() + filler_[done]);
    };
    for (const auto& [before, item] : order) {
      put_text(before);
      item_places[item] = end_;
      Item(names[item], contents[item]);
    }
    put_text(text_len);
    for (int64_t q = 0; q < questions_; ++q) {
      places[q] = item_places[asked[q]];
      Item(names[asked[q]], contents[asked[q]], q);
    }
  }

  const SequenceConfig& config_;
  const Vocabulary& v_;
  const int64_t questions_;
  at::Generator generator_;
  at::CPUGeneratorImpl* random_;
  TextModel text_;
  std::vector<int64_t> filler_;
  int64_t* tokens_ = nullptr;
  int64_t* answers_ = nullptr;
  int64_t end_ = 0;
};

}  // namespace

std::string TaskName(Task task) {
  switch (task) {
    case Task::kPasskey:
      return "passkey";
    case Task::kKeyValue:
      return "key_value";
    case Task::kInduction:
      return "induction";
    case Task::kCopy:
      return "copy";
    case Task::kText:
      return "text";
  }
  return "";
}

std::vector<Task> RecallTasks() {
  return {Task::kPasskey, Task::kKeyValue, Task::kInduction, Task::kCopy};
}

int64_t TokensBesidesText(const SequenceConfig& config) {
  if (config.task == Task::kInduction) return 2 + config.answer_len;
  return 1 + (NumItems(config) + NumQuestions(config)) * ItemSize(config);
}

Sequences MakeSequences(const SequenceConfig& config, int64_t count,
                        at::Generator generator) {
  Validate(config);
  TORCH_CHECK(count >= 0, "sequences: count ", count);
  const int64_t length = config.length, questions = NumQuestions(config);
  Sequences out;
  out.tokens = at::empty({count, length}, at::kLong);
  out.answers = at::empty({count, length}, at::kLong);
  out.places = at::empty({count, questions}, at::kLong);
  out.prompt_length = config.task == Task::kInduction
                          ? 1 + config.answer_len
                          : length - questions * ItemSize(config);
  const std::lock_guard<std::mutex> lock(generator.mutex());
  Writer writer(config, std::move(generator));
  for (int64_t i = 0; i < count; ++i) {
    writer.Write(out.tokens.data_ptr<int64_t>() + i * length,
                 out.answers.data_ptr<int64_t>() + i * length,
                 out.places.data_ptr<int64_t>() + i * questions);
  }
  return out;
}

TextModel::TextModel(int64_t num_symbols) : size_(num_symbols) {
  TORCH_CHECK(num_symbols > 0, "text of ", num_symbols, " symbols");
  double sum = 0;
  for (int64_t r = 0; r < size_; ++r) {
    zipf_.push_back(1.0 / static_cast<double>(r + 1));
    sum += zipf_.back();
  }
  double running = 0;
  for (double& p : zipf_) {
    p /= sum;
    running += p;
    cdf_.push_back(running);
  }
}

double TextModel::Probability(const std::vector<int64_t>& before,
                              int64_t next) const {
  if (before.empty()) return zipf_[next];
  // Successor is a permutation in the rank: invert it.
  const int64_t shift = Successor(0, before[0], size_);
  const double fresh =
      0.5 * zipf_[next] + 0.5 * zipf_[(next - shift + size_) % size_];
  if (static_cast<int64_t>(before.size()) < kLag) return fresh;
  return (1 - kRepeat) * fresh + (before[kLag - 1] == next ? kRepeat : 0);
}

int64_t TextModel::DrawRank(at::Generator* generator) const {
  const double u = Uniform(generator->get<at::CPUGeneratorImpl>());
  return std::min<int64_t>(
      std::upper_bound(cdf_.begin(), cdf_.end(), u) - cdf_.begin(), size_ - 1);
}

void TextModel::Draw(int64_t count, at::Generator* generator,
                     std::vector<int64_t>* out) const {
  auto* random = generator->get<at::CPUGeneratorImpl>();
  out->resize(count);
  for (int64_t t = 0; t < count; ++t) {
    if (t >= kLag && Uniform(random) < kRepeat) {
      (*out)[t] = (*out)[t - kLag];
      continue;
    }
    const bool follows = t > 0 && Uniform(random) < 0.5;
    const int64_t rank = DrawRank(generator);
    (*out)[t] = follows ? Successor(rank, (*out)[t - 1], size_) : rank;
  }
}

}  // namespace repro::testbed
