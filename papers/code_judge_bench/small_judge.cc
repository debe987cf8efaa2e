#include "papers/code_judge_bench/small_judge.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <random>

#include "absl/strings/ascii.h"

namespace repro::code_judge_bench {
namespace {

constexpr double kEmbeddingDeviation = 0.5;

// FNV-1a of 64 bits.
uint64_t Hash(absl::string_view text, uint64_t hash = 14695981039346656037u) {
  for (const char c : text) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
  }
  return hash;
}

bool IsWord(char c) { return absl::ascii_isalnum(c) || c == '_'; }

std::vector<absl::string_view> TokensOf(absl::string_view text) {
  std::vector<absl::string_view> tokens;
  for (size_t at = 0; at < text.size();) {
    size_t end = at + 1;
    if (IsWord(text[at])) {
      while (end < text.size() && IsWord(text[end])) ++end;
    }
    if (!absl::ascii_isspace(text[at])) {
      tokens.push_back(text.substr(at, end - at));
    }
    at = end;
  }
  return tokens;
}

double Sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

}  // namespace

TextFeatures FeaturesOf(absl::string_view text) {
  const std::vector<absl::string_view> tokens = TokensOf(text);
  std::map<uint32_t, double> counts;
  for (size_t i = 0; i < tokens.size(); ++i) {
    const uint64_t hash = Hash(tokens[i]);
    ++counts[hash % kNumFeatures];
    if (i + 1 < tokens.size()) {
      ++counts[Hash(tokens[i + 1], Hash(" ", hash)) % kNumFeatures];
    }
  }
  TextFeatures features;
  double norm = 0;
  for (const auto& [feature, count] : counts) {
    features.weights.emplace_back(feature, std::log1p(count));
    norm += features.weights.back().second * features.weights.back().second;
  }
  for (auto& [feature, weight] : features.weights) weight /= std::sqrt(norm);
  features.log_length = std::log1p(static_cast<double>(tokens.size())) / 5;
  return features;
}

Network::Network(int64_t num_texts, int64_t embedding_dim, int64_t hidden_dim,
                 uint64_t seed)
    : num_texts_(num_texts),
      embedding_dim_(embedding_dim),
      hidden_dim_(hidden_dim) {
  const int64_t width = num_texts * (embedding_dim + 1);
  weights_ = kNumFeatures * embedding_dim;
  biases_ = weights_ + hidden_dim * width;
  head_ = biases_ + hidden_dim;
  parameters_.resize(head_ + hidden_dim + 1);
  gradient_.resize(parameters_.size());
  squares_.resize(parameters_.size());
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal;
  const auto fill = [&](size_t begin, size_t end, double deviation) {
    for (size_t i = begin; i < end; ++i) {
      parameters_[i] = deviation * normal(random);
    }
  };
  fill(0, weights_, kEmbeddingDeviation);
  fill(weights_, biases_, 1 / std::sqrt(static_cast<double>(width)));
  fill(head_, head_ + hidden_dim,
       1 / std::sqrt(static_cast<double>(hidden_dim)));
}

Network::Forward Network::Run(const Inputs& inputs) const {
  Forward forward;
  const size_t dim = embedding_dim_;
  forward.input.resize(num_texts_ * (dim + 1));
  double* of_text = forward.input.data();
  for (const TextFeatures* text : inputs) {
    for (const auto& [feature, weight] : text->weights) {
      const double* embedding = &parameters_[feature * dim];
      for (size_t i = 0; i < dim; ++i) of_text[i] += weight * embedding[i];
    }
    of_text[dim] = text->log_length;
    of_text += dim + 1;
  }
  const size_t width = forward.input.size();
  forward.output = parameters_.back();
  for (int64_t h = 0; h < hidden_dim_; ++h) {
    double sum = parameters_[biases_ + h];
    const double* row = &parameters_[weights_ + h * width];
    for (size_t i = 0; i < width; ++i) sum += row[i] * forward.input[i];
    forward.hidden.push_back(std::max(sum, 0.0));
    forward.output += parameters_[head_ + h] * forward.hidden.back();
  }
  return forward;
}

double Network::Output(const Inputs& inputs) const {
  return Run(inputs).output;
}

void Network::Add(size_t index, double value) {
  if (gradient_[index] == 0) touched_.push_back(index);
  gradient_[index] += value;
}

void Network::AddGradient(const Inputs& inputs, double scale) {
  const Forward forward = Run(inputs);
  const size_t width = forward.input.size();
  std::vector<double> input_gradient(width);
  Add(parameters_.size() - 1, scale);
  for (int64_t h = 0; h < hidden_dim_; ++h) {
    if (forward.hidden[h] <= 0) continue;
    Add(head_ + h, scale * forward.hidden[h]);
    const double of_hidden = scale * parameters_[head_ + h];
    Add(biases_ + h, of_hidden);
    const size_t row = weights_ + h * width;
    for (size_t i = 0; i < width; ++i) {
      Add(row + i, of_hidden * forward.input[i]);
      input_gradient[i] += of_hidden * parameters_[row + i];
    }
  }
  const size_t dim = embedding_dim_;
  const double* of_text = input_gradient.data();
  for (const TextFeatures* text : inputs) {
    for (const auto& [feature, weight] : text->weights) {
      for (size_t i = 0; i < dim; ++i) {
        Add(feature * dim + i, weight * of_text[i]);
      }
    }
    of_text += dim + 1;
  }
}

void Network::Step(double rate) {
  // An index may stand here twice; its gradient is zero the second time.
  for (const size_t index : touched_) {
    const double gradient = gradient_[index];
    if (gradient == 0) continue;
    squares_[index] += gradient * gradient;
    parameters_[index] -= rate * gradient / std::sqrt(squares_[index]);
    gradient_[index] = 0;
  }
  touched_.clear();
}

SmallJudge SmallJudge::Train(const std::vector<TrainingPair>& pairs,
                             const SmallJudgeOptions& options, uint64_t seed) {
  const bool concatenated = options.design == Design::kConcatenated;
  Network network(concatenated ? 3 : 2, options.embedding_dim,
                  options.hidden_dim, seed);
  std::mt19937_64 random(seed + 1);
  // Each pair twice, with whether the correct answer is A.
  struct Example {
    const TrainingPair* pair;
    bool correct_first;
  };
  std::vector<Example> examples;
  for (const TrainingPair& pair : pairs) {
    const bool first = random() % 2 == 0;
    examples.push_back({&pair, first});
    examples.push_back({&pair, first != options.both_orders});
  }
  for (int64_t epoch = 0; epoch < options.epochs; ++epoch) {
    std::shuffle(examples.begin(), examples.end(), random);
    for (const auto& [pair, correct_first] : examples) {
      const Inputs correct = {pair->question, pair->correct};
      const Inputs wrong = {pair->question, pair->wrong};
      switch (options.design) {
        case Design::kConcatenated: {
          const Inputs inputs = {pair->question,
                                 correct_first ? pair->correct : pair->wrong,
                                 correct_first ? pair->wrong : pair->correct};
          // The derivative of -log sigmoid(+-z).
          const double target = correct_first ? 1 : 0;
          network.AddGradient(inputs, Sigmoid(network.Output(inputs)) - target);
          break;
        }
        case Design::kPointwise:
          network.AddGradient(correct, Sigmoid(network.Output(correct)) - 1);
          network.AddGradient(wrong, Sigmoid(network.Output(wrong)));
          break;
        case Design::kDifference: {
          const double slope =
              Sigmoid(network.Output(correct) - network.Output(wrong)) - 1;
          network.AddGradient(correct, slope);
          network.AddGradient(wrong, -slope);
          break;
        }
      }
      network.Step(options.rate);
    }
  }
  return SmallJudge(options.design, std::move(network));
}

double SmallJudge::Preference(const TextFeatures& question,
                              const TextFeatures& a,
                              const TextFeatures& b) const {
  if (design_ == Design::kConcatenated) {
    return network_.Output({&question, &a, &b});
  }
  return network_.Output({&question, &a}) - network_.Output({&question, &b});
}

}  // namespace repro::code_judge_bench
