#include "papers/scan_snap/sequence_classes.h"

#include <cmath>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace repro::scan_snap {

double UniformDraw(std::mt19937_64& generator) {
  return static_cast<double>(generator() >> 11) * 0x1p-53;
}

absl::StatusOr<SequenceClasses> SequenceClasses::Create(
    const SequenceClassOptions& options) {
  const auto at_least = [](const char* name, int value, int least) {
    return value >= least
               ? absl::OkStatus()
               : absl::InvalidArgumentError(absl::StrCat(
                     name, " is ", value, ", must be at least ", least));
  };
  const auto positive = [](const char* name, double value) {
    return value > 0 && std::isfinite(value)
               ? absl::OkStatus()
               : absl::InvalidArgumentError(absl::StrCat(
                     name, " is ", value, ", must be positive and finite"));
  };
  for (const absl::Status& status :
       {at_least("num_queries", options.num_queries, 1),
        at_least("next_per_query", options.next_per_query, 1),
        at_least("num_common", options.num_common, 0),
        at_least("num_distinct", options.num_distinct, 1),
        positive("common_weight", options.common_weight),
        positive("distinct_min", options.distinct_min),
        positive("distinct_max", options.distinct_max)}) {
    if (!status.ok()) return status;
  }
  const double classes =
      static_cast<double>(options.num_queries) * options.next_per_query;
  if (options.num_common + classes * (options.num_distinct + 2) > 1 << 20) {
    return absl::InvalidArgumentError("the vocabulary exceeds 2^20 tokens");
  }
  return SequenceClasses(options);
}

SequenceClasses::SequenceClasses(const SequenceClassOptions& options)
    : options_(options) {
  probabilities_.assign(options.num_common, options.common_weight);
  const int last = options.num_distinct - 1;
  for (int i = 0; i <= last; ++i) {
    const double fraction = last == 0 ? 0 : static_cast<double>(i) / last;
    probabilities_.push_back(options.distinct_min +
                             fraction *
                                 (options.distinct_max - options.distinct_min));
  }
  double total = 0;
  for (double weight : probabilities_) total += weight;
  double cumulative = 0;
  for (double& probability : probabilities_) {
    probability /= total;
    cumulative += probability;
    upper_.push_back(static_cast<uint32_t>(
        std::min(std::floor(cumulative * 0x1p32), 0x1p32 - 1)));
  }
  upper_.back() = UINT32_MAX;
  int place = 0;
  for (uint32_t top = 0; top < 256; ++top) {
    while (upper_[place] < top << 24) ++place;
    first_.push_back(place);
  }
}

int SequenceClasses::vocab_size() const {
  return options_.num_common + num_classes() * (options_.num_distinct + 1) +
         options_.num_queries;
}

int SequenceClasses::num_classes() const {
  return options_.num_queries * options_.next_per_query;
}

int SequenceClasses::support_size() const {
  return options_.num_common + options_.num_distinct;
}

int SequenceClasses::Token(int n, int i) const {
  return i < options_.num_common ? i : i + n * options_.num_distinct;
}

int SequenceClasses::Query(int n) const {
  return options_.num_common + num_classes() * options_.num_distinct +
         n / options_.next_per_query;
}

int SequenceClasses::NextToken(int n) const {
  return options_.num_common + num_classes() * options_.num_distinct +
         options_.num_queries + n;
}

int SequenceClasses::Place(uint32_t uniform) const {
  int place = first_[uniform >> 24];
  while (upper_[place] < uniform) ++place;
  return place;
}

template <typename Real>
void SequenceClasses::DrawCounts(int length, std::mt19937_64& generator,
                                 Real* counts) const {
  for (int i = 0; i < length; i += 2) {
    const uint64_t draw = generator();
    counts[Place(static_cast<uint32_t>(draw))] += 1;
    if (i + 1 < length) counts[Place(static_cast<uint32_t>(draw >> 32))] += 1;
  }
}

template <typename Real>
Batch<Real> DrawBatch(const SequenceClasses& classes, int batch_size,
                      int sequence_length, std::mt19937_64& generator) {
  const int support = classes.support_size();
  Batch<Real> batch;
  batch.classes.resize(batch_size);
  batch.counts.assign(static_cast<size_t>(batch_size) * support, 0);
  for (int b = 0; b < batch_size; ++b) {
    batch.classes[b] =
        static_cast<int>(UniformDraw(generator) * classes.num_classes());
    classes.DrawCounts(sequence_length - 1, generator,
                       &batch.counts[static_cast<size_t>(b) * support]);
  }
  return batch;
}

template <typename Real>
Batch<Real> PopulationBatch(const SequenceClasses& classes) {
  Batch<Real> batch;
  for (int n = 0; n < classes.num_classes(); ++n) {
    batch.classes.push_back(n);
    batch.counts.insert(batch.counts.end(), classes.probabilities().begin(),
                        classes.probabilities().end());
  }
  return batch;
}

template void SequenceClasses::DrawCounts(int, std::mt19937_64&, float*) const;
template void SequenceClasses::DrawCounts(int, std::mt19937_64&, double*) const;
template Batch<float> DrawBatch(const SequenceClasses&, int, int,
                                std::mt19937_64&);
template Batch<double> DrawBatch(const SequenceClasses&, int, int,
                                 std::mt19937_64&);
template Batch<float> PopulationBatch(const SequenceClasses&);
template Batch<double> PopulationBatch(const SequenceClasses&);

}  // namespace repro::scan_snap
