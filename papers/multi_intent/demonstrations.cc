#include "papers/multi_intent/demonstrations.h"

#include <algorithm>
#include <cstddef>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/status/macros.h"

namespace repro::multi_intent {
namespace {

using TokenSet = absl::flat_hash_set<std::string>;

TokenSet SetOfTokens(absl::string_view code, TokenRules rules) {
  const std::vector<std::string> tokens = CodeTokens(code, rules);
  return {tokens.begin(), tokens.end()};
}

// The best `count` in order; the others go.
void KeepBest(int64_t count, std::vector<ScoredDocument>* ranking) {
  const auto size = static_cast<int64_t>(ranking->size());
  const int64_t kept = std::clamp<int64_t>(count, 0, size);
  std::partial_sort(ranking->begin(), ranking->begin() + kept, ranking->end(),
                    retrieval::RanksBefore());
  ranking->resize(kept);
}

}  // namespace

absl::StatusOr<TokenIndex> TokenIndex::Build(
    const std::vector<CommentSample>& samples,
    const TokenSimilarity& similarity) {
  if (samples.empty()) return absl::InvalidArgumentError("no samples to index");
  TokenIndex index;
  index.similarity_ = similarity;
  for (size_t i = 0; i < samples.size(); ++i) {
    const TokenSet tokens = SetOfTokens(samples[i].code, similarity.rules);
    for (const std::string& token : tokens) {
      index.postings_[token].push_back(static_cast<int32_t>(i));
    }
    index.sizes_.push_back(static_cast<double>(tokens.size()));
    index.intents_.push_back(samples[i].intent);
  }
  return index;
}

absl::StatusOr<std::vector<ScoredDocument>> TokenIndex::Search(
    absl::string_view code, int64_t count, const SampleFilter& filter) const {
  const TokenSet tokens = SetOfTokens(code, similarity_.rules);
  std::vector<int32_t> common(sizes_.size(), 0);
  for (const std::string& token : tokens) {
    const auto found = postings_.find(token);
    if (found == postings_.end()) continue;
    for (const int32_t sample : found->second) ++common[sample];
  }
  std::vector<ScoredDocument> ranking;
  for (size_t i = 0; i < sizes_.size(); ++i) {
    const auto id = static_cast<int64_t>(i);
    if (id == filter.except ||
        (filter.intent.has_value() && intents_[i] != *filter.intent)) {
      continue;
    }
    ranking.push_back({id, SetSimilarity(similarity_.measure,
                                         static_cast<double>(tokens.size()),
                                         sizes_[i], common[i])});
  }
  KeepBest(count, &ranking);
  return ranking;
}

absl::StatusOr<SemanticIndex> SemanticIndex::Build(
    const std::vector<CommentSample>& samples, TextEncoder encoder) {
  if (samples.empty()) return absl::InvalidArgumentError("no samples to index");
  if (!encoder) return absl::InvalidArgumentError("no encoder");
  struct Vectors {
    std::vector<int64_t> samples;
    std::vector<float> values;  // [samples, dim]
  };
  std::map<Intent, Vectors> vectors;
  size_t dim = 0;
  for (size_t i = 0; i < samples.size(); ++i) {
    REPRO_ASSIGN_OR_RETURN(const std::vector<float> vector,
                           encoder(samples[i].code));
    if (i == 0) dim = vector.size();
    if (vector.size() != dim || dim == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("the encoder gives sample ", i, " ", vector.size(),
                       " numbers and the first one ", dim));
    }
    Vectors& of_intent = vectors[samples[i].intent];
    of_intent.samples.push_back(static_cast<int64_t>(i));
    of_intent.values.insert(of_intent.values.end(), vector.begin(),
                            vector.end());
  }
  SemanticIndex semantic(std::move(encoder));
  for (auto& [intent, of_intent] : vectors) {
    REPRO_ASSIGN_OR_RETURN(retrieval::DenseIndex index,
                           retrieval::DenseIndex::Build(
                               of_intent.values, static_cast<int64_t>(dim),
                               retrieval::DenseOptions()));
    semantic.groups_.emplace(
        intent, Group{std::move(of_intent.samples), std::move(index)});
  }
  return semantic;
}

absl::StatusOr<std::vector<ScoredDocument>> SemanticIndex::Search(
    absl::string_view code, int64_t count, const SampleFilter& filter) const {
  std::vector<ScoredDocument> ranking;
  if (count < 1) return ranking;
  REPRO_ASSIGN_OR_RETURN(const std::vector<float> query, encoder_(code));
  for (const auto& [intent, group] : groups_) {
    if (filter.intent.has_value() && intent != *filter.intent) continue;
    // One more, for the excepted one.
    const int64_t wanted =
        std::min(count, static_cast<int64_t>(group.samples.size())) + 1;
    REPRO_ASSIGN_OR_RETURN(const auto found, group.index.Search(query, wanted));
    if (found.size() != 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("the encoder gives a query ", query.size(),
                       " numbers and samples ", group.index.dim()));
    }
    for (const ScoredDocument& document : found[0]) {
      const int64_t sample = group.samples[document.id];
      if (sample != filter.except) ranking.push_back({sample, document.score});
    }
  }
  KeepBest(count, &ranking);
  return ranking;
}

std::vector<int64_t> DrawDemonstrations(
    const std::vector<CommentSample>& samples, int64_t count,
    const SampleFilter& filter, std::mt19937_64& generator) {
  std::vector<int64_t> numbers;
  for (size_t i = 0; i < samples.size(); ++i) {
    const auto number = static_cast<int64_t>(i);
    if (number == filter.except ||
        (filter.intent.has_value() && samples[i].intent != *filter.intent)) {
      continue;
    }
    numbers.push_back(number);
  }
  const auto size = static_cast<int64_t>(numbers.size());
  const int64_t drawn = std::clamp<int64_t>(count, 0, size);
  for (int64_t i = 0; i < drawn; ++i) {
    const auto rest = static_cast<uint64_t>(size - i);
    std::swap(numbers[i],
              numbers[i + static_cast<int64_t>(generator() % rest)]);
  }
  numbers.resize(drawn);
  return numbers;
}

}  // namespace repro::multi_intent
