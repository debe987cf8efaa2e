// The claims in small: similar against random comments, without a model and
// with a small one.

#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/claims/experiment.h"
#include "common/completion/completion.h"
#include "common/completion/open_client.h"
#include "common/completion/record_replay.h"
#include "common/status/macros.h"
#include "papers/multi_intent/comment_samples.h"
#include "papers/multi_intent/comment_scores.h"
#include "papers/multi_intent/commenter.h"
#include "papers/multi_intent/demonstrations.h"
#include "papers/multi_intent/similarity.h"
#include "papers/multi_intent/test_split.h"

namespace repro::multi_intent {
namespace {

// Mean scores of one seed, by name.
using Scores = std::map<std::string, double>;

double Bleu(const CommentSample& sample, absl::string_view comment) {
  return ScoreComment(sample.comment, comment).bleu;
}

// The samples with the comments of each intent dealt out anew: none keeps its
// own where there are two or more.
std::vector<CommentSample> ExchangeComments(
    const std::vector<CommentSample>& samples, std::mt19937_64& generator) {
  std::vector<CommentSample> exchanged = samples;
  for (const Intent intent : kIntents) {
    SampleFilter filter;
    filter.intent = intent;
    const std::vector<int64_t> numbers = DrawDemonstrations(
        samples, static_cast<int64_t>(samples.size()), filter, generator);
    for (size_t i = 0; i < numbers.size(); ++i) {
      exchanged[numbers[i]].comment =
          samples[numbers[(i + 1) % numbers.size()]].comment;
    }
  }
  return exchanged;
}

// Records for each claim the difference of two scores, by the argument
// "report": "similar_over_random" is similar less random.
absl::Status RecordDifferences(ExperimentRun& run,
                               const std::vector<Scores>& seeds,
                               const std::string& scale) {
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string report, run.Arg(*claim, "report"));
    const size_t over = report.find("_over_");
    Observation observation;
    for (const Scores& scores : seeds) {
      const auto high = scores.find(report.substr(0, over));
      const auto low =
          scores.find(over == std::string::npos ? "" : report.substr(over + 6));
      if (high == scores.end() || low == scores.end()) {
        return UnknownName(*claim, "report", report);
      }
      observation.samples.push_back(high->second - low->second);
    }
    observation.effects = observation.samples;
    observation.scale = scale;
    run.Record(*claim, std::move(observation));
  }
  return absl::OkStatus();
}

// "random 1.92, similar 8.80": means over the seeds.
std::string DescribeMeans(const std::vector<Scores>& seeds) {
  Scores means;
  for (const Scores& scores : seeds) {
    for (const auto& [name, score] : scores) {
      means[name] += score / static_cast<double>(seeds.size());
    }
  }
  std::string text;
  for (const auto& [name, mean] : means) {
    absl::StrAppendFormat(&text, "%s%s %.2f", text.empty() ? "" : ", ", name,
                          mean);
  }
  return text;
}

// ------------------------------------------------------------ without a model

constexpr size_t kCopyQueries = 1000;
constexpr int64_t kCopyPool = 10;

absl::StatusOr<Scores> ScoreCopying(ExperimentRun& run,
                                    std::vector<CommentSample> samples,
                                    uint64_t seed) {
  std::mt19937_64 generator(seed);
  for (size_t i = samples.size() - 1; i > 0; --i) {
    std::swap(samples[i], samples[generator() % (i + 1)]);
  }
  const std::vector<CommentSample> corpus(samples.begin() + kCopyQueries,
                                          samples.end());
  const std::vector<CommentSample> exchanged =
      ExchangeComments(corpus, generator);
  REPRO_ASSIGN_OR_RETURN(
      const TokenIndex index,
      TokenIndex::Build(corpus, TokenSimilarity::Published()));
  const CommentSimilarity nearness = RerankByTokens();
  const CommentSimilarity distance =
      [&nearness](absl::string_view comment,
                  absl::string_view reference) -> absl::StatusOr<double> {
    REPRO_ASSIGN_OR_RETURN(const double near, nearness(comment, reference));
    return -near;
  };
  Scores scores;
  for (size_t i = 0; i < kCopyQueries; ++i) {
    if (run.Cancelled()) return absl::CancelledError("stopped");
    const CommentSample& query = samples[i];
    SampleFilter filter;
    filter.intent = query.intent;
    REPRO_ASSIGN_OR_RETURN(const std::vector<ScoredDocument> nearest,
                           index.Search(query.code, kCopyPool + 1, filter));
    const std::vector<int64_t> random =
        DrawDemonstrations(corpus, 1, filter, generator);
    if (nearest.size() < 2 || random.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("seed ", seed, ": too few samples of ",
                       IntentName(query.intent), " to copy from"));
    }
    const std::string& reference = corpus[nearest[0].id].comment;
    std::vector<std::string> pool;
    double pool_sum = 0;
    for (size_t rank = 1; rank < nearest.size(); ++rank) {
      pool.push_back(corpus[nearest[rank].id].comment);
      pool_sum += Bleu(query, pool.back());
    }
    REPRO_ASSIGN_OR_RETURN(const int64_t reranked,
                           Rerank(pool, reference, nearness));
    REPRO_ASSIGN_OR_RETURN(const int64_t farthest,
                           Rerank(pool, reference, distance));
    constexpr double kShare = 1.0 / kCopyQueries;
    scores["similar"] += kShare * Bleu(query, reference);
    scores["random"] += kShare * Bleu(query, corpus[random[0]].comment);
    scores["mismatched"] +=
        kShare * Bleu(query, exchanged[nearest[0].id].comment);
    scores["pool"] += kShare * pool_sum / static_cast<double>(pool.size());
    scores["reranked"] += kShare * Bleu(query, pool[reranked]);
    scores["farthest"] += kShare * Bleu(query, pool[farthest]);
  }
  return scores;
}

absl::Status MeasureCopy(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<CommentSample> samples,
                         TestSplit(run));
  if (samples.size() <= kCopyQueries) {
    return absl::InvalidArgumentError(
        absl::StrCat("more than ", kCopyQueries, " samples are needed, ",
                     samples.size(), " are there"));
  }
  std::vector<Scores> seeds;
  for (const uint64_t seed : run.seeds()) {
    run.Progress(static_cast<double>(seeds.size()),
                 static_cast<double>(run.seeds().size()), "seeds");
    REPRO_ASSIGN_OR_RETURN(seeds.emplace_back(),
                           ScoreCopying(run, samples, seed));
  }
  return RecordDifferences(
      run, seeds,
      absl::StrFormat("no model: comments copied from %d methods for %d, in "
                      "place of Codex with 52,258; BLEU %s",
                      samples.size() - kCopyQueries, kCopyQueries,
                      DescribeMeans(seeds)));
}
REPRO_REGISTER_EXPERIMENT(kSlug, "copy", MeasureCopy);

// -------------------------------------------------------------- a small model

constexpr int64_t kQueriesAnIntent = 2;
constexpr int64_t kShots = 5;
constexpr int kSamples = 3;

struct Query {
  int64_t sample = 0;
  Intent intent = Intent::kWhat;
};

// kQueriesAnIntent samples of each intent.
std::vector<Query> DrawQueries(const std::vector<CommentSample>& samples,
                               std::mt19937_64& generator) {
  std::vector<Query> queries;
  for (const Intent intent : kIntents) {
    SampleFilter filter;
    filter.intent = intent;
    for (const int64_t sample :
         DrawDemonstrations(samples, kQueriesAnIntent, filter, generator)) {
      queries.push_back({sample, intent});
    }
  }
  return queries;
}

struct SmallModel {
  completion::CompletionClient& client;
  const std::vector<CommentSample>& samples;
  const TokenIndex& index;
};

// Adds what one query scores, `share` of it, to the scores of its seed.
absl::Status ScoreQuery(const SmallModel& model,
                        const std::vector<CommentSample>& exchanged,
                        const Query& query, uint64_t seed, double share,
                        Scores* scores) {
  const CommentSample& sample = model.samples[query.sample];
  CommenterOptions options;
  options.generation.seed = seed;
  options.generation.ending = PromptEnding::kColon;
  // Other demonstrations for each query.
  options.selection_seed = seed * 1000003 + static_cast<uint64_t>(query.sample);
  const auto write = [&](const std::vector<CommentSample>& shown,
                         const DemonstrationIndex* index) {
    return WriteComment(model.client, shown, index, sample.code, query.intent,
                        options, query.sample, &model.index);
  };
  options.shots = 0;
  REPRO_ASSIGN_OR_RETURN(const Comment zero, write(model.samples, nullptr));
  options.shots = kShots;
  REPRO_ASSIGN_OR_RETURN(const Comment random, write(model.samples, nullptr));
  REPRO_ASSIGN_OR_RETURN(const Comment mismatched,
                         write(exchanged, &model.index));
  options.generation.samples = kSamples;
  options.rerank = RerankByTokens();
  REPRO_ASSIGN_OR_RETURN(const Comment similar,
                         write(model.samples, &model.index));
  const std::vector<std::string>& drawn = similar.generated.samples;
  for (const std::string& text : drawn) {
    (*scores)["samples"] +=
        share * Bleu(sample, text) / static_cast<double>(drawn.size());
  }
  (*scores)["zero"] += share * Bleu(sample, zero.text);
  (*scores)["random"] += share * Bleu(sample, random.text);
  (*scores)["mismatched"] += share * Bleu(sample, mismatched.text);
  (*scores)["similar"] += share * Bleu(sample, drawn[0]);
  (*scores)["reranked"] += share * Bleu(sample, similar.text);
  (*scores)["copied"] +=
      share * Bleu(sample, model.samples[similar.demonstrations.at(0)].comment);
  return absl::OkStatus();
}

absl::Status MeasureSummaries(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<CommentSample> samples,
                         TestSplit(run));
  REPRO_ASSIGN_OR_RETURN(
      const TokenIndex index,
      TokenIndex::Build(samples, TokenSimilarity::Published()));
  // Answers are kept, so that a run that was killed goes on.
  completion::OpenOptions open;
  open.cancelled = [&run] { return run.Cancelled(); };
  REPRO_ASSIGN_OR_RETURN(std::unique_ptr<completion::CompletionClient> opened,
                         completion::OpenClient(run.model_spec(), open));
  REPRO_ASSIGN_OR_RETURN(const auto client,
                         completion::RecordingClient::Create(
                             std::move(opened), run.checkpoint_dir()));
  const SmallModel model = {*client, samples, index};
  std::vector<Scores> seeds;
  double done = 0;
  for (const uint64_t seed : run.seeds()) {
    Scores& scores = seeds.emplace_back();
    std::mt19937_64 generator(seed);
    const std::vector<Query> queries = DrawQueries(samples, generator);
    const std::vector<CommentSample> exchanged =
        ExchangeComments(samples, generator);
    const auto count = static_cast<double>(queries.size());
    for (const Query& query : queries) {
      if (run.Cancelled()) return absl::CancelledError("stopped");
      run.Progress(done++, count * static_cast<double>(run.seeds().size()),
                   absl::StrCat("methods, seed ", seed));
      REPRO_RETURN_IF_ERROR(
          ScoreQuery(model, exchanged, query, seed, 1 / count, &scores));
    }
  }
  return RecordDifferences(
      run, seeds,
      absl::StrFormat("%s, %.0f methods, demonstrations from the other methods "
                      "of the test split; BLEU %s",
                      client->name(), done, DescribeMeans(seeds)));
}
REPRO_REGISTER_EXPERIMENT(kSlug, "summaries", MeasureSummaries);

}  // namespace
}  // namespace repro::multi_intent
