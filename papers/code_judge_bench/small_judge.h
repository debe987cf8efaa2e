// Judges that are small enough to train in a second: bags of hashed tokens,
// embedded and compared by one hidden layer.
#ifndef REPRO_PAPERS_CODE_JUDGE_BENCH_SMALL_JUDGE_H_
#define REPRO_PAPERS_CODE_JUDGE_BENCH_SMALL_JUDGE_H_

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"

namespace repro::code_judge_bench {

// Tokens (words, numbers, single marks) and pairs of neighbours, hashed to
// [0, kNumFeatures), with weights log(1 + count) of Euclidean norm 1.
inline constexpr int64_t kNumFeatures = 4096;
struct TextFeatures {
  std::vector<std::pair<uint32_t, double>> weights;  // by feature, ascending
  double log_length = 0;                             // log(1 + tokens) / 5
};
TextFeatures FeaturesOf(absl::string_view text);

// What a network reads: of texts that outlive it, in order.
using Inputs = std::vector<const TextFeatures*>;

// e(x) = [sum_f w_f E_f; log_length], h = ReLU(W [e(x_1); ...; e(x_n)] + b),
// output u h + c. E: [kNumFeatures, embedding_dim], W: [hidden_dim,
// n (embedding_dim + 1)].
class Network {
 public:
  Network(int64_t num_texts, int64_t embedding_dim, int64_t hidden_dim,
          uint64_t seed);

  // As many inputs as num_texts.
  double Output(const Inputs& inputs) const;
  // Adds scale * (gradient of the output) to the pending gradient.
  void AddGradient(const Inputs& inputs, double scale);
  // One Adagrad step against the pending gradient, which becomes zero.
  void Step(double rate);

  // For tests: all parameters in a row, and the pending gradient.
  std::vector<double>& parameters() { return parameters_; }
  const std::vector<double>& gradient() const { return gradient_; }

 private:
  struct Forward {
    std::vector<double> input;   // [e(x_1); ...; e(x_n)]
    std::vector<double> hidden;  // after the ReLU
    double output = 0;
  };
  Forward Run(const Inputs& inputs) const;
  void Add(size_t index, double value);

  int64_t num_texts_, embedding_dim_, hidden_dim_;
  size_t weights_, biases_, head_;  // where W, b, and u with c begin
  std::vector<double> parameters_;
  std::vector<double> gradient_;
  std::vector<double> squares_;
  std::vector<size_t> touched_;
};

enum class Design {
  kPointwise,     // s(question, answer), trained on right and wrong answers
  kConcatenated,  // z(question, A, B), trained to say which is right
  kDifference,    // s(question, A) - s(question, B), trained likewise
};

struct SmallJudgeOptions {
  Design design = Design::kConcatenated;
  // kConcatenated: each pair in both orders, or twice in one order that was
  // drawn for it.
  bool both_orders = true;
  int64_t embedding_dim = 8;
  int64_t hidden_dim = 16;
  int64_t epochs = 5;
  double rate = 0.05;
};

struct TrainingPair {
  const TextFeatures* question = nullptr;
  const TextFeatures* correct = nullptr;
  const TextFeatures* wrong = nullptr;
};

class SmallJudge {
 public:
  // Minimises the logistic loss. Each design sees each answer of each pair
  // twice an epoch: pointwise as two answers twice, concatenated as two
  // orders, the difference as two pairs.
  static SmallJudge Train(const std::vector<TrainingPair>& pairs,
                          const SmallJudgeOptions& options, uint64_t seed);

  // Positive where A is better; in nats.
  double Preference(const TextFeatures& question, const TextFeatures& a,
                    const TextFeatures& b) const;

 private:
  SmallJudge(Design design, Network network)
      : design_(design), network_(std::move(network)) {}

  Design design_;
  Network network_;
};

}  // namespace repro::code_judge_bench

#endif  // REPRO_PAPERS_CODE_JUDGE_BENCH_SMALL_JUDGE_H_
