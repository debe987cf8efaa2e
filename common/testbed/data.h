// Synthetic sequences whose later tokens can be predicted only by recalling
// earlier ones: passkeys, key-value pairs, repeated random segments, copies,
// among filler text, of any length, with the answers' places labelled.
//
// Symbols (no tokenizer):
//   0        begin of sequence
//   1        asks for an ordinal's passkey
//   2        begins a needle
//   3        begins a segment to copy, and its copy
//   4 - 7    unused
//   8 - 17   ordinals of passkeys, "first" to "tenth"
//   18 - 43  the 26 words of passkeys
//   44 -     num_keys keys, then num_values values, then num_text text symbols
// Random segments are of all symbols from 44 on.
#ifndef REPRO_COMMON_TESTBED_DATA_H_
#define REPRO_COMMON_TESTBED_DATA_H_

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace repro::testbed {

struct Vocabulary {
  static constexpr int64_t kBegin = 0;
  static constexpr int64_t kAsk = 1;
  static constexpr int64_t kNeedle = 2;
  static constexpr int64_t kCopy = 3;
  static constexpr int64_t kFirstOrdinal = 8;
  static constexpr int64_t kNumOrdinals = 10;
  static constexpr int64_t kFirstWord = 18;
  static constexpr int64_t kNumWords = 26;
  static constexpr int64_t kFirstKey = 44;

  int64_t num_keys = 128;
  int64_t num_values = 128;
  int64_t num_text = 212;

  int64_t first_value() const { return kFirstKey + num_keys; }
  int64_t first_text() const { return first_value() + num_values; }
  int64_t size() const { return first_text() + num_text; }
};

enum class Task {
  // Needles "needle ordinal w1 ... wm" in text; then "ask ordinal w1 ... wm"
  // for each ordinal that is asked for. Ordinals are distinct, in any order.
  kPasskey,
  // Pairs "key v1 ... vm" in text, keys distinct; then the pairs once more.
  kKeyValue,
  // A segment of m random symbols, repeated to the end of the sequence.
  kInduction,
  // "copy s1 ... sm" in text, and once more at the end.
  kCopy,
  // Text alone: nothing to recall.
  kText,
};

// "passkey", "key_value", "induction", "copy", "text".
std::string TaskName(Task task);
// Those that ask for something.
std::vector<Task> RecallTasks();

struct SequenceConfig {
  Vocabulary vocabulary;
  Task task = Task::kKeyValue;
  int64_t length = 128;   // tokens, the first symbol and the answers included
  int64_t num_items = 1;  // needles (1 to 10) or pairs (1 to num_keys)
  // Of the items, in random order; 0: each once. More than num_items: all of
  // them in one random order after the other. Of kPasskey and kKeyValue.
  int64_t num_questions = 0;
  // m: words of a passkey, values of a key, symbols to copy or to repeat.
  int64_t answer_len = 1;
  // Where the item that the first question asks for stands: after this share,
  // in [0, 1], of the text. Others, and without this all, at random places.
  std::optional<double> depth;
};

struct Sequences {
  at::Tensor tokens;  // [count, length] int64
  // [count, length] int64: the number of the question that the token answers,
  // from 0; -1: it answers none. A model predicts it from the tokens before
  // it. kInduction: repetitions after the first count as the questions, and
  // the first symbol of the second one answers none.
  at::Tensor answers;
  at::Tensor places;          // [count, questions] int64: where the item begins
  int64_t prompt_length = 0;  // tokens before the first question
};

// On the CPU. Throws c10::Error naming the size that does not fit.
Sequences MakeSequences(const SequenceConfig& config, int64_t count,
                        at::Generator generator);

// What is not text; a length must not be less. kInduction has no text: the
// least length, at which one symbol is repeated.
int64_t TokensBesidesText(const SequenceConfig& config);

// The filler text. Symbol x_t (numbered from 0) repeats x_{t-2} with
// probability 1/4, from t = 2 on, which takes a look at the previous symbol;
// else it is, with probability 1/2 each, distributed by Zipf's law p(r) ~ 1 /
// (r + 1), r = x_t, or by the same law of r = (x_t - 7 x_{t-1} - 13) mod
// num_text (the former alone at t = 0). Needles and pairs are put into finished
// text, which goes on behind them.
class TextModel {
 public:
  explicit TextModel(int64_t num_symbols);

  // The probability of `next` after `before` (last first), those that there
  // are up to 2. Symbols from 0.
  double Probability(const std::vector<int64_t>& before, int64_t next) const;

  // Draws `count` symbols into `out`. `generator` is of the CPU and locked by
  // the caller.
  void Draw(int64_t count, at::Generator* generator,
            std::vector<int64_t>* out) const;

 private:
  int64_t DrawRank(at::Generator* generator) const;

  int64_t size_;
  std::vector<double> zipf_;  // probabilities of ranks
  std::vector<double> cdf_;
};

}  // namespace repro::testbed

#endif  // REPRO_COMMON_TESTBED_DATA_H_
