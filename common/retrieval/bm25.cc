#include "common/retrieval/bm25.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status/macros.h"

namespace repro::retrieval {
namespace {

struct VariantName {
  Bm25Variant variant;
  const char* name;
};
constexpr VariantName kVariantNames[] = {
    {Bm25Variant::kOkapiRankBm25, "okapi_rank_bm25"},
    {Bm25Variant::kRankBm25L, "rank_bm25_l"},
    {Bm25Variant::kRankBm25Plus, "rank_bm25_plus"},
    {Bm25Variant::kRobertson, "robertson"},
    {Bm25Variant::kLucene, "lucene"},
    {Bm25Variant::kLuceneAccurate, "lucene_accurate"},
    {Bm25Variant::kAtire, "atire"},
    {Bm25Variant::kBm25L, "bm25_l"},
    {Bm25Variant::kBm25Plus, "bm25_plus"},
};

// SmallFloat.byte4ToInt(SmallFloat.intToByte4(length)) of Lucene: lengths below
// 40 are exact, longer ones keep four binary digits of what is above 24.
uint32_t LuceneLength(uint32_t length) {
  constexpr uint32_t kExact = 24;
  if (length < kExact) return length;
  const uint32_t rest = length - kExact;
  int shift = 0;
  while (rest >> shift >= 16) ++shift;
  return kExact + (rest >> shift << shift);
}

double DefaultDelta(Bm25Variant variant) {
  switch (variant) {
    case Bm25Variant::kRankBm25L:
    case Bm25Variant::kBm25L:
      return 0.5;
    default:
      return 1;
  }
}

// So that no weight overflows or vanishes.
constexpr double kLargest = 1e9;
// What contributes less than this to a score counts as nothing.
constexpr double kNegligible = 1e-250;

absl::Status CheckOption(const char* name, double value, double least,
                         double largest) {
  if (value >= least && value <= largest) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("BM25: ", name, " is ", value,
                                                 "; give a number from ", least,
                                                 " to ", largest));
}

absl::Status CheckOptions(const Bm25Options& options) {
  if (Bm25VariantName(options.variant) == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(
        "BM25: there is no variant ", static_cast<int>(options.variant)));
  }
  REPRO_RETURN_IF_ERROR(CheckOption("k1", options.k1, 0, kLargest));
  REPRO_RETURN_IF_ERROR(CheckOption("b", options.b, 0, 1));
  REPRO_RETURN_IF_ERROR(
      CheckOption("epsilon", options.epsilon, -kLargest, kLargest));
  if (options.delta.has_value()) {
    REPRO_RETURN_IF_ERROR(CheckOption("delta", *options.delta, 0, kLargest));
  }
  return absl::OkStatus();
}

// The options as the file keeps them.
struct StoredOptions {
  uint32_t variant;
  uint32_t has_delta;
  double k1, b, epsilon, delta;
};

}  // namespace

absl::StatusOr<Bm25Variant> ParseBm25VariantName(absl::string_view name) {
  std::string known;
  for (const VariantName& v : kVariantNames) {
    if (name == v.name) return v.variant;
    absl::StrAppend(&known, known.empty() ? "" : ", ", v.name);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("no BM25 variant is named '", name, "'; there are ", known));
}

const char* Bm25VariantName(Bm25Variant variant) {
  for (const VariantName& v : kVariantNames) {
    if (v.variant == variant) return v.name;
  }
  return nullptr;
}

// A distinct term of the query.
struct Bm25Index::QueryTerm {
  int64_t number;
  double weight;  // its occurrences in the query times idf
  double bound;   // the largest contribution to a document
};

absl::StatusOr<Bm25Index> Bm25Index::Build(
    const std::vector<std::vector<std::string>>& documents,
    const Bm25Options& options) {
  REPRO_RETURN_IF_ERROR(CheckOptions(options));
  InvertedIndexBuilder builder;
  for (const std::vector<std::string>& document : documents) {
    builder.Add(document);
  }
  REPRO_ASSIGN_OR_RETURN(std::shared_ptr<const InvertedIndex> index,
                         builder.Finish());
  return Create(std::move(index), options);
}

absl::StatusOr<Bm25Index> Bm25Index::Create(
    std::shared_ptr<const InvertedIndex> index, const Bm25Options& options) {
  REPRO_RETURN_IF_ERROR(CheckOptions(options));
  Bm25Index bm25(std::move(index), options);
  REPRO_RETURN_IF_ERROR(bm25.ComputeWeights());
  return bm25;
}

absl::StatusOr<Bm25Index> Bm25Index::WithOptions(
    const Bm25Options& options) const {
  return Create(index_, options);
}

absl::Status Bm25Index::ComputeWeights() {
  const Bm25Variant variant = options_.variant;
  const double n = index_->num_documents();
  const int64_t num_terms = index_->num_terms();
  idf_.resize(num_terms);
  for (int64_t t = 0; t < num_terms; ++t) {
    const double df = index_->document_frequency(t);
    switch (variant) {
      case Bm25Variant::kOkapiRankBm25:
        idf_[t] = std::log(n - df + 0.5) - std::log(df + 0.5);
        break;
      case Bm25Variant::kRankBm25L:
        idf_[t] = std::log(n + 1) - std::log(df + 0.5);
        break;
      case Bm25Variant::kBm25L:
        idf_[t] = std::log((n + 1) / (df + 0.5));
        break;
      case Bm25Variant::kRankBm25Plus:
      case Bm25Variant::kBm25Plus:
        idf_[t] = std::log((n + 1) / df);
        break;
      case Bm25Variant::kRobertson:
        idf_[t] = std::log((n - df + 0.5) / (df + 0.5));
        break;
      case Bm25Variant::kLucene:
      case Bm25Variant::kLuceneAccurate:
        idf_[t] = std::log(1 + (n - df + 0.5) / (df + 0.5));
        break;
      case Bm25Variant::kAtire:
        idf_[t] = std::log(n / df);
        break;
    }
  }
  if (variant == Bm25Variant::kOkapiRankBm25) {
    // Terms are numbered as rank_bm25 meets them, so that this sum is its sum
    // to the last bit.
    double sum = 0;
    for (const double idf : idf_) sum += idf;
    const double floor = options_.epsilon * (sum / num_terms);
    for (double& idf : idf_) {
      if (idf < 0) idf = floor;
    }
  }

  const double k1 = options_.k1, b = options_.b;
  const double delta = options_.delta.value_or(DefaultDelta(variant));
  const double average_length = index_->total_length() / n;
  weight_of_absence_ = variant == Bm25Variant::kRankBm25Plus ? delta : 0;
  const auto statistics = index_->statistics();
  weights_.resize(statistics.size());
  for (size_t code = 0; code < statistics.size(); ++code) {
    const double tf = statistics[code].occurrences;
    const uint32_t whole_length = statistics[code].document_length;
    const double length = variant == Bm25Variant::kLucene
                              ? LuceneLength(whole_length)
                              : whole_length;
    const double normalized = 1 - b + b * length / average_length;  // B
    double weight = 0;
    switch (variant) {
      case Bm25Variant::kOkapiRankBm25:
      case Bm25Variant::kAtire:
      case Bm25Variant::kRankBm25Plus:
        weight = tf * (k1 + 1) / (tf + k1 * normalized);
        break;
      case Bm25Variant::kBm25Plus:
        weight = delta + tf * (k1 + 1) / (tf + k1 * normalized);
        break;
      case Bm25Variant::kRobertson:
      case Bm25Variant::kLucene:
      case Bm25Variant::kLuceneAccurate:
        weight = tf / (tf + k1 * normalized);
        break;
      case Bm25Variant::kRankBm25L:
      case Bm25Variant::kBm25L: {
        const double c = tf / normalized + delta;
        weight = (k1 + 1) * c / (k1 + c);
        if (variant == Bm25Variant::kRankBm25L) weight *= tf;
        break;
      }
    }
    weights_[code] = weight;
  }

  max_weights_.resize(num_terms);
  const auto find_largest = [&](auto code_type) {
    for (int64_t t = 0; t < num_terms; ++t) {
      double largest = 0;
      for (const auto code : index_->codes<decltype(code_type)>(t)) {
        largest = std::max(largest, weights_[code]);
      }
      max_weights_[t] = largest;
    }
  };
  index_->wide_codes() ? find_largest(uint32_t{}) : find_largest(uint16_t{});
  return absl::OkStatus();
}

double Bm25Index::Idf(absl::string_view term) const {
  const int64_t number = index_->FindTerm(term);
  return number == InvertedIndex::kNotFound ? 0 : idf_[number];
}

std::vector<Bm25Index::QueryTerm> Bm25Index::QueryTerms(
    absl::Span<const std::string> query, double* base) const {
  std::vector<int64_t> numbers;
  numbers.reserve(query.size());
  for (const std::string& term : query) {
    const int64_t number = index_->FindTerm(term);
    if (number != InvertedIndex::kNotFound) numbers.push_back(number);
  }
  std::sort(numbers.begin(), numbers.end());
  std::vector<QueryTerm> terms;
  terms.reserve(numbers.size());
  *base = 0;
  for (size_t begin = 0, end; begin < numbers.size(); begin = end) {
    end = begin;
    while (end < numbers.size() && numbers[end] == numbers[begin]) ++end;
    const int64_t t = numbers[begin];
    const double weight = static_cast<double>(end - begin) * idf_[t];
    *base += weight * weight_of_absence_;
    if (std::abs(weight) * max_weights_[t] < kNegligible) continue;
    terms.push_back({t, weight, std::max(0.0, weight * max_weights_[t])});
  }
  std::stable_sort(
      terms.begin(), terms.end(),
      [](const QueryTerm& a, const QueryTerm& b) { return a.bound > b.bound; });
  return terms;
}

template <typename Code>
void Bm25Index::AddScores(const QueryTerm& term,
                          std::vector<double>* scores) const {
  const auto documents = index_->documents(term.number);
  const auto codes = index_->codes<Code>(term.number);
  for (size_t i = 0; i < documents.size(); ++i) {
    (*scores)[documents[i]] += term.weight * weights_[codes[i]];
  }
}

std::vector<double> Bm25Index::Scores(
    absl::Span<const std::string> query) const {
  double base;
  const std::vector<QueryTerm> terms = QueryTerms(query, &base);
  std::vector<double> scores(size());
  for (const QueryTerm& term : terms) {
    index_->wide_codes() ? AddScores<uint32_t>(term, &scores)
                         : AddScores<uint16_t>(term, &scores);
  }
  if (base != 0) {
    for (double& score : scores) score += base;
  }
  return scores;
}

absl::StatusOr<std::vector<double>> Bm25Index::ScoresOf(
    absl::Span<const std::string> query,
    absl::Span<const int64_t> documents) const {
  for (const int64_t d : documents) {
    if (d < 0 || d >= size()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "BM25: there is no document ", d, "; ids are 0 to ", size() - 1));
    }
  }
  double base;
  const std::vector<QueryTerm> terms = QueryTerms(query, &base);
  std::vector<double> scores(documents.size());
  for (const QueryTerm& term : terms) {
    const auto postings = index_->documents(term.number);
    for (size_t i = 0; i < documents.size(); ++i) {
      const auto found =
          std::lower_bound(postings.begin(), postings.end(), documents[i]);
      if (found == postings.end() || *found != documents[i]) continue;
      const size_t at = found - postings.begin();
      const uint32_t code = index_->wide_codes()
                                ? index_->codes<uint32_t>(term.number)[at]
                                : index_->codes<uint16_t>(term.number)[at];
      scores[i] += term.weight * weights_[code];
    }
  }
  for (double& score : scores) score += base;
  return scores;
}

namespace {

// The best k of the documents offered, whose scores are above 0 and at most
// `largest`. A histogram of the scores gives a threshold close to the k-th best
// in a few predictable instructions a document, where a heap or a partition
// would branch at random.
class TopK {
 public:
  TopK(size_t k, double largest)
      : k_(k), scale_(largest > 0 ? kNumBuckets / largest : 0) {
    kept_.reserve(2 * k);
    counts_.fill(0);
  }

  // A document that scores less is not among the best k. 0 at first.
  double threshold() const { return threshold_; }

  // Announces the score of a document, once. It is offered afterwards, unless
  // it is below the threshold by then.
  void Count(double score) {
    const size_t bucket = std::min<size_t>(score * scale_, kNumBuckets - 1);
    ++counts_[bucket];
    num_counted_ += bucket >= lowest_ ? 1 : 0;
    if (num_counted_ - counts_[lowest_] >= k_) Raise();
  }

  void Offer(int64_t id, double score) {
    kept_.push_back({id, score});
    if (kept_.size() == kept_.capacity()) Shrink();
  }

  // Sorted.
  std::vector<ScoredDocument> Take() {
    if (kept_.size() > k_) Shrink();
    std::sort(kept_.begin(), kept_.end(), RanksBefore());
    return std::move(kept_);
  }

 private:
  static constexpr size_t kNumBuckets = 1024;

  // At least k scores stay in the bucket `lowest_` and above.
  void Raise() {
    while (num_counted_ - counts_[lowest_] >= k_) {
      num_counted_ -= counts_[lowest_++];
    }
    // The factor covers the rounding of score * scale.
    threshold_ = std::max(
        threshold_,
        lowest_ / scale_ * (1 - 4 * std::numeric_limits<double>::epsilon()));
  }

  void Shrink() {
    std::nth_element(kept_.begin(), kept_.begin() + (k_ - 1), kept_.end(),
                     RanksBefore());
    kept_.resize(k_);
    threshold_ = std::max(threshold_, kept_.back().score);
  }

  size_t k_;
  double scale_;
  double threshold_ = 0;
  size_t lowest_ = 0;
  size_t num_counted_ = 0;  // in the bucket lowest_ and above
  std::array<uint32_t, kNumBuckets> counts_;
  std::vector<ScoredDocument> kept_;
};

// Adds the first documents by id that are not in `ranking`, which is to have k.
void FillWithOthers(int64_t k, double score,
                    std::vector<ScoredDocument>* ranking) {
  std::vector<int64_t> taken;
  taken.reserve(ranking->size());
  for (const ScoredDocument& d : *ranking) taken.push_back(d.id);
  std::sort(taken.begin(), taken.end());
  auto next_taken = taken.begin();
  for (int64_t id = 0; ranking->size() < k; ++id) {
    if (next_taken != taken.end() && *next_taken == id) {
      ++next_taken;
    } else {
      ranking->push_back({id, score});
    }
  }
}

// The number of values below `bound` in a sorted array, without branches that
// a processor would guess wrong.
size_t CountBelow(const uint32_t* values, size_t n, uint64_t bound) {
  const uint32_t* at = values;
  while (n > 1) {
    const size_t half = n / 2;
    at += at[half - 1] < bound ? half : 0;
    n -= half;
  }
  return at - values + (n == 1 && *at < bound ? 1 : 0);
}

// The postings of one term that are in a window of documents.
template <typename Code>
struct Cursor {
  absl::Span<const uint32_t> documents;
  const Code* codes;
  double weight;
  size_t begin = 0;
  size_t end = 0;

  // To a window at or after the last one. Doubles its steps from there.
  void MoveTo(uint64_t window, uint64_t window_end) {
    begin = FirstAtLeast(window, end);
    end = FirstAtLeast(window_end, begin);
  }
  size_t size() const { return end - begin; }

 private:
  size_t FirstAtLeast(uint64_t document, size_t from) const {
    size_t step = 1;
    size_t to = from;
    while (to < documents.size() && documents[to] < document) {
      from = to + 1;
      to += step;
      step *= 2;
    }
    to = std::min(to, documents.size());
    return from + CountBelow(documents.data() + from, to - from, document);
  }
};

}  // namespace

// MaxScore (Turtle and Flood 1995) over windows of documents. Terms are sorted
// by the largest contribution that they can make. Once the k-th best score is
// known, the last terms together cannot bring a document up to it: only the
// terms before them are summed for a window, into an array that fits the
// first-level cache, and the last ones are added for the documents that can
// still get there. Every sum is in the order of terms.
template <typename Code>
std::vector<ScoredDocument> Bm25Index::SearchCodes(
    absl::Span<const QueryTerm> terms, double base, int64_t k) const {
  constexpr size_t kWindow = 2048;
  // A look-up costs about as much as adding this many postings.
  constexpr size_t kLookUp = 8;
  const double* const weights = weights_.data();

  std::vector<Cursor<Code>> cursors;
  cursors.reserve(terms.size());
  for (const QueryTerm& t : terms) {
    cursors.push_back({index_->documents(t.number),
                       index_->codes<Code>(t.number).data(), t.weight});
  }
  // rest[i]: at most this much from terms i, i + 1, ... The slack covers the
  // rounding of sums in another order.
  std::vector<double> rest(terms.size() + 1);
  for (size_t i = terms.size(); i-- > 0;) {
    rest[i] = rest[i + 1] + terms[i].bound;
  }
  if (terms.size() > 1) {
    const double slack =
        4 * terms.size() * std::numeric_limits<double>::epsilon() * rest[0];
    for (size_t i = 0; i < terms.size(); ++i) rest[i] += slack;
  }

  TopK top(k, rest[0]);
  size_t num_summed = terms.size();
  std::array<double, kWindow> sums;  // zeros between windows
  sums.fill(0);
  // Places in the window; one more for what is written and not counted.
  std::array<uint32_t, kWindow + 1> candidates, touched;

  for (uint64_t window = 0; window < size(); window += kWindow) {
    while (num_summed > 0 && rest[num_summed - 1] < top.threshold()) {
      --num_summed;
    }
    if (num_summed == 0) break;
    size_t num_postings = 0;
    double bound = rest[num_summed];
    for (size_t i = 0; i < num_summed; ++i) {
      cursors[i].MoveTo(window, window + kWindow);
      if (cursors[i].size() > 0) bound += terms[i].bound;
      num_postings += cursors[i].size();
    }
    if (num_postings == 0 || bound < top.threshold()) continue;

    const double needed = std::max(top.threshold() - rest[num_summed],
                                   std::numeric_limits<double>::min());
    size_t num_candidates = 0;
    bool must_clear = num_postings >= kWindow / 4;
    if (must_clear) {
      for (size_t i = 0; i < num_summed; ++i) {
        const Cursor<Code> c = cursors[i];
        for (size_t p = c.begin; p < c.end; ++p) {
          sums[c.documents[p] - window] += c.weight * weights[c.codes[p]];
        }
      }
      constexpr size_t kStep = 8;
      for (size_t begin = 0; begin < kWindow; begin += kStep) {
        double largest = 0;
        for (size_t i = begin; i < begin + kStep; ++i) {
          largest = std::max(largest, sums[i]);
        }
        if (largest < needed) continue;
        for (size_t i = begin; i < begin + kStep; ++i) {
          candidates[num_candidates] = i;
          num_candidates += sums[i] >= needed;
        }
      }
    } else {
      for (size_t i = 0; i < num_summed; ++i) {
        const Cursor<Code> c = cursors[i];
        for (size_t p = c.begin; p < c.end; ++p) {
          const size_t at = c.documents[p] - window;
          candidates[num_candidates] = at;
          num_candidates += sums[at] == 0;
          sums[at] += c.weight * weights[c.codes[p]];
        }
      }
    }

    const size_t num_touched = num_candidates;
    if (!must_clear) {
      std::copy_n(candidates.begin(), num_touched, touched.begin());
    }
    const auto keep_from = [&](double least) {
      size_t num_kept = 0;
      for (size_t j = 0; j < num_candidates; ++j) {
        const uint32_t at = candidates[j];
        candidates[num_kept] = at;
        num_kept += sums[at] >= least;
      }
      num_candidates = num_kept;
    };
    for (size_t i = num_summed; i < cursors.size() && num_candidates > 0; ++i) {
      keep_from(top.threshold() - rest[i]);
      Cursor<Code>& c = cursors[i];
      c.MoveTo(window, window + kWindow);
      if (c.size() < num_candidates * kLookUp) {
        for (size_t p = c.begin; p < c.end; ++p) {
          sums[c.documents[p] - window] += c.weight * weights[c.codes[p]];
        }
        must_clear |= c.size() > 0;
        continue;
      }
      const uint32_t* const documents = c.documents.data() + c.begin;
      for (size_t j = 0; j < num_candidates; ++j) {
        const uint32_t document = window + candidates[j];
        const size_t p = CountBelow(documents, c.size(), document);
        if (p < c.size() && documents[p] == document) {
          sums[candidates[j]] += c.weight * weights[c.codes[c.begin + p]];
        }
      }
    }
    keep_from(top.threshold());
    for (size_t j = 0; j < num_candidates; ++j) top.Count(sums[candidates[j]]);
    keep_from(top.threshold());
    for (size_t j = 0; j < num_candidates; ++j) {
      top.Offer(window + candidates[j], sums[candidates[j]]);
    }
    if (must_clear) {
      sums.fill(0);
    } else {
      for (size_t j = 0; j < num_touched; ++j) sums[touched[j]] = 0;
    }
  }
  std::vector<ScoredDocument> ranking = top.Take();
  if (base != 0) {
    for (ScoredDocument& d : ranking) d.score += base;
  }
  if (ranking.size() < k) FillWithOthers(k, base, &ranking);
  return ranking;
}

std::vector<ScoredDocument> Bm25Index::Search(
    absl::Span<const std::string> query, int64_t k) const {
  k = std::min(k, size());
  if (k < 1) return {};
  double base;
  const std::vector<QueryTerm> terms = QueryTerms(query, &base);
  const bool has_negative =
      std::any_of(terms.begin(), terms.end(),
                  [](const QueryTerm& term) { return term.weight < 0; });
  if (!has_negative) {
    return index_->wide_codes() ? SearchCodes<uint32_t>(terms, base, k)
                                : SearchCodes<uint16_t>(terms, base, k);
  }
  // Bounds from above need contributions of at least 0.
  std::vector<ScoredDocument> ranking;
  ranking.reserve(size());
  for (const double score : Scores(query)) {
    ranking.push_back({static_cast<int64_t>(ranking.size()), score});
  }
  std::partial_sort(ranking.begin(), ranking.begin() + k, ranking.end(),
                    RanksBefore());
  ranking.resize(k);
  return ranking;
}

absl::Status Bm25Index::Save(const std::string& path) const {
  const StoredOptions stored = {static_cast<uint32_t>(options_.variant),
                                options_.delta.has_value(),
                                options_.k1,
                                options_.b,
                                options_.epsilon,
                                options_.delta.value_or(0)};
  return index_->Save(path,
                      absl::string_view(reinterpret_cast<const char*>(&stored),
                                        sizeof(stored)));
}

absl::StatusOr<Bm25Index> Bm25Index::Load(
    const std::string& path, std::optional<uint64_t> corpus_digest) {
  std::string extra;
  REPRO_ASSIGN_OR_RETURN(std::shared_ptr<const InvertedIndex> index,
                         InvertedIndex::Load(path, corpus_digest, &extra));
  StoredOptions stored;
  if (extra.size() != sizeof(stored)) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": not a BM25 index (it has ", extra.size(),
                     " bytes of options, not ", sizeof(stored), ")"));
  }
  std::memcpy(&stored, extra.data(), sizeof(stored));
  Bm25Options options;
  options.variant = static_cast<Bm25Variant>(stored.variant);
  options.k1 = stored.k1;
  options.b = stored.b;
  options.epsilon = stored.epsilon;
  if (stored.has_delta != 0) options.delta = stored.delta;
  absl::StatusOr<Bm25Index> bm25 = Create(std::move(index), options);
  if (!bm25.ok()) {
    return absl::DataLossError(
        absl::StrCat(path, ": damaged index: ", bm25.status().message(),
                     "; build the index again"));
  }
  return bm25;
}

}  // namespace repro::retrieval
