// How each claim of claims.textproto is measured; arguments come from there.

#include <algorithm>
#include <cmath>
#include <functional>
#include <iterator>
#include <map>
#include <numeric>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "common/claims/experiment.h"
#include "common/claims/printed_number.h"
#include "common/data/csv.h"
#include "common/metrics/ranking.h"
#include "common/retrieval/evaluate.h"
#include "common/stats/descriptive.h"
#include "common/status/macros.h"
#include "common/train/experiment.h"
#include "common/train/grid.h"
#include "papers/code_search_net/challenge.h"
#include "papers/code_search_net/pairs.h"
#include "papers/code_search_net/retriever.h"

namespace repro::code_search_net {
namespace {

constexpr char kSlug[] = "code_search_net";

// ---------------------------------------------------------- printed numbers

absl::Status CorpusTotals(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const Paper* paper,
                         Registry::Global().FindPaper(kSlug));
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string column, run.Arg(*claim, "column"));
    double sum = 0;
    int languages = 0;
    for (const Claim& other : paper->claims()) {
      if (other.table() != claim->table() || other.column() != column ||
          other.evidence() != BLOCKED) {
        continue;
      }
      REPRO_ASSIGN_OR_RETURN(const PrintedNumber printed,
                             ParsePrintedNumber(other.reported()));
      sum += printed.value;
      ++languages;
    }
    if (languages != static_cast<int>(kLanguages.size())) {
      return UnknownName(*claim, "column of six languages", column);
    }
    run.Record(*claim, sum);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "corpus_totals", CorpusTotals);

absl::Status Leaderboard(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::string path, run.AssetPath("leaderboard"));
  REPRO_ASSIGN_OR_RETURN(const CsvTable table, CsvTable::Read(path));
  REPRO_ASSIGN_OR_RETURN(const std::vector<double> scores,
                         table.Doubles("ndcg_score"));
  if (scores.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": no submission"));
  }
  const double best = *std::max_element(scores.begin(), scores.end());
  REPRO_ASSIGN_OR_RETURN(const Paper* paper,
                         Registry::Global().FindPaper(kSlug));
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string measure,
                           run.Arg(*claim, "measure"));
    if (measure == "best") {
      run.Record(*claim, best);
    } else if (measure == "count") {
      run.Record(*claim, static_cast<double>(scores.size()));
    } else if (measure == "best_less") {
      REPRO_ASSIGN_OR_RETURN(const std::string id, run.Arg(*claim, "of"));
      const auto other =
          std::find_if(paper->claims().begin(), paper->claims().end(),
                       [&](const Claim& c) { return c.id() == id; });
      if (other == paper->claims().end())
        return UnknownName(*claim, "claim", id);
      REPRO_ASSIGN_OR_RETURN(const PrintedNumber printed,
                             ParsePrintedNumber(other->reported()));
      run.Record(*claim, best - printed.value);
    } else {
      return UnknownName(*claim, "measure", measure);
    }
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "leaderboard", Leaderboard);

// -------------------------------------------------------------- annotations

absl::Status Annotations(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::string path, run.AssetPath("annotations"));
  REPRO_ASSIGN_OR_RETURN(const std::string queries_path,
                         run.AssetPath("queries"));
  REPRO_ASSIGN_OR_RETURN(const std::vector<Annotation> annotations,
                         ReadAnnotations(path));
  REPRO_ASSIGN_OR_RETURN(const CsvTable queries, CsvTable::Read(queries_path));
  const Judgements judgements = Group(annotations);
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string measure,
                           run.Arg(*claim, "measure"));
    std::string language;
    if (claim->args().count("language") > 0) {
      REPRO_ASSIGN_OR_RETURN(language, run.Arg(*claim, "language"));
      if (judgements.count(language) == 0) {
        return UnknownName(*claim, "language", language);
      }
    }
    const auto wanted = [&](const std::string& l) {
      return language.empty() || l == language;
    };
    if (measure == "kappa") {
      REPRO_ASSIGN_OR_RETURN(const double kappa, AnnotatorKappa(judgements));
      run.Record(*claim, kappa);
      continue;
    }
    if (measure == "queries_file") {
      std::set<std::string> distinct;
      for (int64_t row = 0; row < queries.num_rows(); ++row) {
        REPRO_ASSIGN_OR_RETURN(const std::string query,
                               queries.Text(row, "query"));
        distinct.insert(query);
      }
      run.Record(*claim, static_cast<double>(distinct.size()));
      continue;
    }
    int64_t count = 0;
    if (measure == "annotations") {
      for (const Annotation& a : annotations) count += wanted(a.language);
    } else if (measure == "grade") {
      REPRO_ASSIGN_OR_RETURN(const int64_t grade, run.IntArg(*claim, "grade"));
      for (const Annotation& a : annotations) {
        count += wanted(a.language) && a.relevance == grade;
      }
    } else {
      int64_t times = 0;
      if (measure == "times") {
        REPRO_ASSIGN_OR_RETURN(times, run.IntArg(*claim, "times"));
      } else if (measure != "distinct" && measure != "several" &&
                 measure != "queries" && measure != "positive_queries") {
        return UnknownName(*claim, "measure", measure);
      }
      for (const auto& [l, by_query] : judgements) {
        if (!wanted(l)) continue;
        for (const auto& [query, functions] : by_query) {
          bool positive = false;
          for (const Judged& function : functions) {
            const auto grades = static_cast<int64_t>(function.grades.size());
            positive |= function.relevance() > 0;
            count += measure == "distinct" ||
                     (measure == "several" && grades > 1) ||
                     (measure == "times" && grades == times);
          }
          count += measure == "queries" ||
                   (measure == "positive_queries" && positive);
        }
      }
    }
    run.Record(*claim, static_cast<double>(count));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "annotations", Annotations);

absl::Status PoolOrders(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::string path, run.AssetPath("annotations"));
  REPRO_ASSIGN_OR_RETURN(const std::vector<Annotation> annotations,
                         ReadAnnotations(path));
  const Judgements judgements = Group(annotations);
  std::map<std::string, ChallengeScores> scores;
  REPRO_ASSIGN_OR_RETURN(scores["random_expected"],
                         RandomPoolScores(judgements));
  for (const auto& [name, order] : std::map<std::string, PoolOrder>{
           {"file_order", PoolOrder::kFile},
           {"worst_order", PoolOrder::kWorst},
           {"path_lexical_overlap", PoolOrder::kPathOverlap}}) {
    REPRO_ASSIGN_OR_RETURN(
        scores[name], Evaluate(judgements, PoolPredictions(judgements, order),
                               metrics::Unjudged::kGainZero));
  }
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string order, run.Arg(*claim, "order"));
    REPRO_ASSIGN_OR_RETURN(const std::string language,
                           run.Arg(*claim, "language"));
    const auto found = scores.find(order);
    if (found == scores.end()) return UnknownName(*claim, "order", order);
    if (language == "mean") {
      run.Record(*claim, found->second.mean);
      continue;
    }
    const auto score = found->second.by_language.find(language);
    if (score == found->second.by_language.end()) {
      return UnknownName(*claim, "language", language);
    }
    run.Record(*claim, score->second);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "pool_orders", PoolOrders);

// ------------------------------------------------------------------ oracles

// The MRR of 1,000 queries whose candidates' scores `score` gives.
template <typename Score>
absl::StatusOr<double> MrrOf(const Score& score) {
  REPRO_ASSIGN_OR_RETURN(
      const std::vector<double> ranks,
      retrieval::ReciprocalRanksInBatches(
          1000, 1000, retrieval::LastBatch::kDrop,
          [&](int64_t query, absl::Span<const int64_t> documents)
              -> absl::StatusOr<std::vector<double>> {
            std::vector<double> scores;
            for (const int64_t d : documents) scores.push_back(score(query, d));
            return scores;
          }));
  return Mean(ranks);
}

absl::Status Oracles(ExperimentRun& run) {
  const Judgements judgements =
      Group({{"go", "q", "u1", 3}, {"go", "q", "u2", 1}, {"go", "q", "u3", 0}});
  const Predictions predictions = {{"go", {{"q", {"x", "u2", "u1"}}}}};
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string measure,
                           run.Arg(*claim, "measure"));
    absl::StatusOr<double> value = 0.0;
    if (measure == "ndcg_within" || measure == "ndcg_all") {
      REPRO_ASSIGN_OR_RETURN(
          const ChallengeScores scores,
          Evaluate(judgements, predictions,
                   measure == "ndcg_all" ? metrics::Unjudged::kGainZero
                                         : metrics::Unjudged::kSkip));
      value = scores.mean;
    } else if (measure == "gain_of_2_and_3") {
      value = std::exp2(Judged{"u", {2, 3}}.relevance()) - 1;
    } else if (measure == "mrr_tied") {
      value = MrrOf([](int64_t, int64_t) { return 0.0; });
    } else if (measure == "mrr_chance") {
      // Query q's own document is the one of rank q + 1: each rank once.
      value = MrrOf([](int64_t query, int64_t document) {
        return document == query
                   ? -static_cast<double>(query)
                   : -static_cast<double>(document < query ? document
                                                           : document + 0.5);
      });
    } else {
      return UnknownName(*claim, "measure", measure);
    }
    REPRO_RETURN_IF_ERROR(value.status());
    run.Record(*claim, *value);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "oracles", Oracles);

// --------------------------------------------------------------------- BM25

absl::Status Bm25(ExperimentRun& run) {
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string language,
                           run.Arg(*claim, "language"));
    REPRO_ASSIGN_OR_RETURN(const std::string path,
                           run.AssetPath(absl::StrCat("pairs_", language)));
    REPRO_ASSIGN_OR_RETURN(const std::vector<Pair> pairs, ReadPairs(path));
    REPRO_ASSIGN_OR_RETURN(
        const std::vector<double> ranks,
        Bm25ReciprocalRanks(DistinctDocumentation(pairs), LuceneOptions()));
    REPRO_ASSIGN_OR_RETURN(const double mrr, Mean(ranks));
    run.Record(*claim, mrr);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "bm25", Bm25);

// ----------------------------------------------------------------- encoders

constexpr int64_t kValidation = 500;

struct Split {
  std::vector<Pair> train, valid, test;
  std::vector<Pair> web_test;  // test's functions with web queries
};

// The test part: every function that answers a web query and has
// documentation, in a random order, with one of its queries. What has the same
// documentation as one of them is not trained on.
Split MakeSplit(const Cosqa& cosqa, const std::vector<Pair>& others,
                uint64_t seed) {
  std::mt19937_64 random(seed);
  std::map<int64_t, std::string> query_of;
  for (const CosqaQuery& query : cosqa.queries) {
    const Pair& function = cosqa.functions[query.function];
    if (!function.documentation.empty() && !function.code.empty()) {
      query_of.emplace(query.function, query.text);
    }
  }
  std::vector<std::pair<int64_t, std::string>> queries(query_of.begin(),
                                                       query_of.end());
  std::shuffle(queries.begin(), queries.end(), random);
  Split split;
  std::set<std::vector<std::string>> held_out;
  for (const auto& [function, text] : queries) {
    split.test.push_back(cosqa.functions[function]);
    split.web_test.push_back({{text}, cosqa.functions[function].code});
    held_out.insert(cosqa.functions[function].documentation);
  }
  std::vector<Pair> rest;
  std::vector<Pair> all = cosqa.functions;
  all.insert(all.end(), others.begin(), others.end());
  for (Pair& pair : DistinctDocumentation(all)) {
    if (!pair.documentation.empty() && !pair.code.empty() &&
        held_out.count(pair.documentation) == 0) {
      rest.push_back(std::move(pair));
    }
  }
  std::shuffle(rest.begin(), rest.end(), random);
  const size_t num_valid = std::min<size_t>(kValidation, rest.size() / 2);
  split.valid.assign(rest.begin(), rest.begin() + num_valid);
  split.train.assign(rest.begin() + num_valid, rest.end());
  return split;
}

// What is kept of a trained retriever.
enum Outcome : size_t { kDocumentation, kWeb, kCandidates, kTrained };

// What encoders are trained and searched on.
struct SearchTask {
  std::function<const Split&(uint64_t seed)> split;
  int64_t candidates = 0;  // of a query; 0: all of the test part
  std::function<int64_t(const std::string& query_encoder)> batch_size;
};

using Encoders = std::pair<std::string, std::string>;  // text, code

std::string Name(const Encoders& encoders) {
  return absl::StrCat(encoders.first, ".", encoders.second);
}

// Trains each pair of encoders that a claim of the run names, and the bag of
// words; the value is its MRR, the effect as the claim's argument says.
absl::Status CompareEncoders(ExperimentRun& run, const SearchTask& task) {
  const Encoders bag_of_words = {"nbow", "nbow"};
  const Encoders self_attention = {"selfatt", "selfatt"};
  std::set<Encoders> needed = {bag_of_words};
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string text, run.Arg(*claim, "text"));
    REPRO_ASSIGN_OR_RETURN(const std::string code, run.Arg(*claim, "code"));
    REPRO_ASSIGN_OR_RETURN(const std::string effect, run.Arg(*claim, "effect"));
    needed.emplace(text, code);
    if (effect == "above_self_attention") needed.insert(self_attention);
  }

  std::map<std::string, Encoders> by_name;
  Grid grid = GridOfRun(run);
  for (const Encoders& encoders : needed) {
    grid.names.push_back(Name(encoders));
    by_name[Name(encoders)] = encoders;
  }
  const auto train =
      [&](const GridCell& cell) -> absl::StatusOr<std::vector<double>> {
    const Encoders& encoders = by_name.at(cell.name);
    const Split& split = task.split(cell.seed);
    RetrieverOptions options;
    options.query_encoder = encoders.first;
    options.code_encoder = encoders.second;
    options.batch_size = task.batch_size(encoders.first);
    options.device = run.device();
    options.seed = cell.seed;
    options.stop = [&](int64_t epoch, double mrr) {
      cell.progress(epoch, options.max_epochs,
                    absl::StrCat("epoch ", epoch, ", validation MRR ", mrr));
      return cell.cancelled();
    };
    REPRO_ASSIGN_OR_RETURN(const Retriever retriever,
                           Retriever::Train(split.train, split.valid, options));
    const int64_t candidates = task.candidates > 0
                                   ? task.candidates
                                   : static_cast<int64_t>(split.test.size());
    REPRO_ASSIGN_OR_RETURN(double documentation,
                           retriever.MeanReciprocalRank(split.test, candidates,
                                                        /*as_coded=*/false));
    double web = 0;
    if (!split.web_test.empty()) {
      REPRO_ASSIGN_OR_RETURN(
          web, retriever.MeanReciprocalRank(split.web_test, candidates,
                                            /*as_coded=*/false));
    }
    return std::vector<double>{documentation, web,
                               static_cast<double>(candidates),
                               static_cast<double>(split.train.size())};
  };
  REPRO_ASSIGN_OR_RETURN(const GridOutcomes outcomes, TrainGrid(grid, train));
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string text, run.Arg(*claim, "text"));
    REPRO_ASSIGN_OR_RETURN(const std::string code, run.Arg(*claim, "code"));
    REPRO_ASSIGN_OR_RETURN(const std::string queries,
                           run.Arg(*claim, "queries"));
    REPRO_ASSIGN_OR_RETURN(const std::string effect, run.Arg(*claim, "effect"));
    if (queries != "documentation" && queries != "web") {
      return UnknownName(*claim, "kind of queries", queries);
    }
    const Outcome field = queries == "web" ? kWeb : kDocumentation;
    Observation observation;
    const auto& own = outcomes.at(Name({text, code}));
    const int64_t candidates = std::llround(own[0][kCandidates]);
    for (size_t i = 0; i < own.size(); ++i) {
      const double mrr = own[i][field];
      observation.samples.push_back(mrr);
      const double bag = outcomes.at(Name(bag_of_words))[i][field];
      if (effect == "above_chance") {
        observation.effects.push_back(mrr - ChanceReciprocalRank(candidates));
      } else if (effect == "above_bag_of_words") {
        observation.effects.push_back(mrr - bag);
      } else if (effect == "below_bag_of_words") {
        observation.effects.push_back(bag - mrr);
      } else if (effect == "above_self_attention") {
        observation.effects.push_back(
            mrr - outcomes.at(Name(self_attention))[i][field]);
      } else {
        return UnknownName(*claim, "effect", effect);
      }
    }
    if (absl::StartsWith(effect, "above_self")) {
      // The claim is of the difference itself.
      observation.samples = observation.effects;
    }
    observation.scale =
        absl::StrCat(std::llround(own[0][kTrained]), " pairs of 1.9 million, ",
                     candidates, " candidates, at most 100 of 500 epochs");
    run.Record(*claim, std::move(observation));
  }
  return absl::OkStatus();
}

absl::Status MeasureEncoders(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::string codebase,
                         run.AssetPath("cosqa_codebase"));
  REPRO_ASSIGN_OR_RETURN(const std::string dev, run.AssetPath("cosqa_dev"));
  REPRO_ASSIGN_OR_RETURN(const std::string test, run.AssetPath("cosqa_test"));
  REPRO_ASSIGN_OR_RETURN(const Cosqa cosqa, ReadCosqa(codebase, {dev, test}));
  std::vector<Pair> others;
  for (const char* language : kLanguages) {
    REPRO_ASSIGN_OR_RETURN(const std::string path,
                           run.AssetPath(absl::StrCat("pairs_", language)));
    REPRO_ASSIGN_OR_RETURN(const std::vector<Pair> pairs, ReadPairs(path));
    others.insert(others.end(), pairs.begin(), pairs.end());
  }
  Split split;
  SearchTask task;
  task.split = [&](uint64_t seed) -> const Split& {
    split = MakeSplit(cosqa, others, seed);
    return split;
  };
  task.batch_size = [](const std::string&) { return 450; };
  return CompareEncoders(run, task);
}
REPRO_REGISTER_EXPERIMENT(kSlug, "encoders", MeasureEncoders);

// The corpus of `repro corpus code`, with the paper's batches and candidates.
absl::Status MeasureCorpusEncoders(ExperimentRun& run) {
  Split split;
  for (const auto& [part, pairs] :
       std::map<std::string, std::vector<Pair>*>{{"train", &split.train},
                                                 {"valid", &split.valid},
                                                 {"test", &split.test}}) {
    for (const char* language : kLanguages) {
      REPRO_ASSIGN_OR_RETURN(
          const std::string path,
          run.AssetPath(absl::StrCat("corpus_", language, "_", part)));
      REPRO_ASSIGN_OR_RETURN(std::vector<Pair> read, ReadPairs(path));
      std::move(read.begin(), read.end(), std::back_inserter(*pairs));
    }
  }
  const std::vector<Pair> valid = split.valid, test = split.test;
  SearchTask task;
  task.candidates = 1000;
  task.batch_size = [](const std::string& query_encoder) {
    return query_encoder == "selfatt" ? 450 : 1000;
  };
  task.split = [&](uint64_t seed) -> const Split& {
    std::mt19937_64 random(seed);
    split.valid = valid;
    split.test = test;
    std::shuffle(split.valid.begin(), split.valid.end(), random);
    std::shuffle(split.test.begin(), split.test.end(), random);
    return split;
  };
  return CompareEncoders(run, task);
}
REPRO_REGISTER_EXPERIMENT(kSlug, "corpus_encoders", MeasureCorpusEncoders);

}  // namespace
}  // namespace repro::code_search_net
