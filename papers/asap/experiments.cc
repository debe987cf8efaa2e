// How each claim of claims.textproto is measured; arguments come from there.

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/claims/experiment.h"
#include "common/code/data_flow.h"
#include "common/code/syntax_tree.h"
#include "common/completion/completion.h"
#include "common/completion/open_client.h"
#include "common/completion/record_replay.h"
#include "common/data/csv.h"
#include "common/stats/descriptive.h"
#include "common/stats/hypothesis.h"
#include "common/status/macros.h"
#include "papers/asap/code_samples.h"
#include "papers/asap/exemplars.h"
#include "papers/asap/facts.h"
#include "papers/asap/prompt.h"
#include "papers/asap/replication.h"
#include "papers/asap/summarizer.h"
#include "papers/asap/summary_bleu.h"

namespace repro::asap {
namespace {

using code::CodeLanguage;

absl::StatusOr<std::vector<CodeSample>> Functions(ExperimentRun& run,
                                                  CodeLanguage language) {
  REPRO_ASSIGN_OR_RETURN(
      const std::string path,
      run.AssetPath(absl::StrCat("functions_", code::LanguageName(language))));
  return ReadCodeSamples(path, language);
}

// Records what `measure(claim, language)` gives for each claim, by the
// argument "language".
template <typename Measure>
absl::Status RecordByLanguage(ExperimentRun& run, const Measure& measure) {
  for (const Claim* claim : run.claims()) {
    if (run.Cancelled()) return absl::CancelledError("stopped");
    REPRO_ASSIGN_OR_RETURN(const std::string name, run.Arg(*claim, "language"));
    REPRO_ASSIGN_OR_RETURN(const CodeLanguage language,
                           code::ParseLanguageName(name));
    REPRO_ASSIGN_OR_RETURN(const double value, measure(*claim, language));
    run.Record(*claim, value);
  }
  return absl::OkStatus();
}

// ------------------------------------------------------- released outputs

absl::Status ReleasedSummaries(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::string path,
                         run.AssetPath("codex_predictions"));
  REPRO_ASSIGN_OR_RETURN(auto scores, ScoreSets(path));
  double sum = 0;
  const std::vector<std::string> languages = {"Java", "Python", "Ruby",
                                              "JS",   "Go",     "PHP"};
  for (const std::string& language : languages) {
    if (scores.count(language) == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": no set \"", language, "\""));
    }
    sum += scores[language];
  }
  scores["mean_of_languages"] = sum / static_cast<double>(languages.size());
  return RecordByName(run, "set", scores);
}
REPRO_REGISTER_EXPERIMENT("asap", "released_summaries", ReleasedSummaries);

absl::Status Replication(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::string path, run.AssetPath("replication"));
  REPRO_ASSIGN_OR_RETURN(const CsvTable table, CsvTable::Read(path));
  const auto column =
      [&](const Claim& claim,
          const std::string& arg) -> absl::StatusOr<std::vector<double>> {
    REPRO_ASSIGN_OR_RETURN(const std::string name, run.Arg(claim, arg));
    return table.Doubles(name);
  };
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string report, run.Arg(*claim, "report"));
    REPRO_ASSIGN_OR_RETURN(const std::vector<double> runs,
                           column(*claim, "runs"));
    double value = 0;
    if (report == "below") {
      REPRO_ASSIGN_OR_RETURN(const double claimed,
                             run.DoubleArg(*claim, "claimed"));
      value = RunsBelow(runs, claimed);
    } else if (report == "gain") {
      REPRO_ASSIGN_OR_RETURN(const std::vector<double> against,
                             column(*claim, "against"));
      REPRO_ASSIGN_OR_RETURN(const double ours, Median(runs));
      REPRO_ASSIGN_OR_RETURN(const double theirs, Median(against));
      value = ours - theirs;
    } else if (report == "superiority") {
      REPRO_ASSIGN_OR_RETURN(const std::vector<double> against,
                             column(*claim, "against"));
      REPRO_ASSIGN_OR_RETURN(const TestResult test,
                             MannWhitneyTest(runs, against));
      value = 100 * test.statistic /
              static_cast<double>(runs.size() * against.size());
    } else {
      REPRO_ASSIGN_OR_RETURN(value, RunStatistic(runs, report));
    }
    run.Record(*claim, value);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("asap", "replication", Replication);

// ------------------------------------------------------------- retrieval

absl::Status CopiedComment(ExperimentRun& run) {
  return RecordByLanguage(
      run, [&](const Claim&, CodeLanguage language) -> absl::StatusOr<double> {
        REPRO_ASSIGN_OR_RETURN(const std::vector<CodeSample> samples,
                               Functions(run, language));
        return CopiedCommentBleu(samples);
      });
}
REPRO_REGISTER_EXPERIMENT("asap", "copied_comment", CopiedComment);

// In % of the samples.
double SameRepository(const std::vector<CodeSample>& samples,
                      const ExemplarIndex& index) {
  double same = 0;
  for (size_t i = 0; i < samples.size(); ++i) {
    const std::vector<int64_t> best =
        index.Search(samples[i].code, 1, static_cast<int64_t>(i));
    same += !best.empty() && samples[best[0]].repo == samples[i].repo;
  }
  return 100 * same / static_cast<double>(samples.size());
}

absl::Status Retrieval(ExperimentRun& run) {
  std::map<CodeLanguage, std::vector<CodeSample>> samples;
  std::map<CodeLanguage, ExemplarIndex> indexes;
  return RecordByLanguage(
      run,
      [&](const Claim& claim, CodeLanguage language) -> absl::StatusOr<double> {
        if (samples.count(language) == 0) {
          REPRO_ASSIGN_OR_RETURN(samples[language], Functions(run, language));
          REPRO_ASSIGN_OR_RETURN(ExemplarIndex built,
                                 ExemplarIndex::Build(samples[language]));
          indexes.emplace(language, std::move(built));
        }
        const ExemplarIndex& index = indexes.at(language);
        const auto& inverted = index.bm25().inverted_index();
        REPRO_ASSIGN_OR_RETURN(const std::string report,
                               run.Arg(claim, "report"));
        if (report == "vocabulary") {
          return static_cast<double>(inverted.num_terms());
        }
        if (report == "average_length") {
          return static_cast<double>(inverted.total_length()) /
                 static_cast<double>(inverted.num_documents());
        }
        if (report == "same_repository") {
          return SameRepository(samples[language], index);
        }
        REPRO_ASSIGN_OR_RETURN(const int64_t rank, run.IntArg(claim, "rank"));
        const auto ranking =
            index.bm25().Search(Bm25Terms(samples[language][0].code), rank + 1);
        if (rank < 0 || rank >= static_cast<int64_t>(ranking.size())) {
          return UnknownName(claim, "rank", absl::StrCat(rank));
        }
        if (report == "score") return ranking[rank].score;
        if (report == "document") return static_cast<double>(ranking[rank].id);
        return UnknownName(claim, "report", report);
      });
}
REPRO_REGISTER_EXPERIMENT("asap", "retrieval", Retrieval);

// ------------------------------------------------------- facts and prompts

// Shares in % of the functions, and edges a function, as the claims call them.
absl::StatusOr<std::map<std::string, double>> CountFacts(
    const std::vector<CodeSample>& samples, CodeLanguage language) {
  // In the order of IdentifierRole.
  static constexpr const char* kNames[] = {"parameters",  "returned",
                                           "invocations", "arguments",
                                           "assignments", "accesses"};
  std::map<std::string, double> counts;
  for (const char* name : kNames) counts[name] = 0;
  const double one = 100.0 / static_cast<double>(samples.size());
  for (const CodeSample& sample : samples) {
    REPRO_ASSIGN_OR_RETURN(const code::SyntaxTree tree,
                           code::SyntaxTree::Parse(language, sample.original));
    REPRO_ASSIGN_OR_RETURN(const std::vector<RoleIdentifiers> roles,
                           IdentifiersByRole(tree, OwnName(sample.func_name)));
    for (const RoleIdentifiers& role : roles) {
      counts[kNames[static_cast<size_t>(role.role)]] += one;
    }
    for (const auto& [name, read_as] :
         {std::make_pair("edges", language),
          std::make_pair("edges_as_javascript", CodeLanguage::kJavaScript)}) {
      REPRO_ASSIGN_OR_RETURN(const code::DataFlowGraph graph,
                             code::DataFlow(read_as, sample.original));
      for (const code::DataFlowEdge& edge : graph.edges) {
        if (!edge.source_indexes.empty()) counts[name] += one / 100;
      }
    }
    REPRO_ASSIGN_OR_RETURN(const std::string own,
                           DataFlowFact(language, sample.original));
    REPRO_ASSIGN_OR_RETURN(
        const std::string javascript,
        DataFlowFact(language, sample.original, DataFlowGrammar::kJavaScript));
    counts["data_flow"] += absl::EndsWith(own, kNoDataFlow) ? 0 : one;
    counts["same_as_javascript"] += own == javascript ? one : 0;
  }
  return counts;
}

absl::Status Facts(ExperimentRun& run) {
  std::map<CodeLanguage, std::map<std::string, double>> counts;
  return RecordByLanguage(
      run,
      [&](const Claim& claim, CodeLanguage language) -> absl::StatusOr<double> {
        if (counts.count(language) == 0) {
          REPRO_ASSIGN_OR_RETURN(const std::vector<CodeSample> samples,
                                 Functions(run, language));
          REPRO_ASSIGN_OR_RETURN(counts[language],
                                 CountFacts(samples, language));
        }
        REPRO_ASSIGN_OR_RETURN(const std::string report,
                               run.Arg(claim, "report"));
        const auto found = counts[language].find(report);
        if (found == counts[language].end()) {
          return UnknownName(claim, "report", report);
        }
        return found->second;
      });
}
REPRO_REGISTER_EXPERIMENT("asap", "facts", Facts);

// The functions of a language as prompts show them, with their exemplars.
struct PromptPool {
  std::vector<PromptFunction> functions;
  std::vector<CodeSample> samples;
  std::unique_ptr<ExemplarIndex> index;

  std::vector<PromptFunction> Exemplars(int64_t query) const {
    std::vector<PromptFunction> exemplars;
    for (const int64_t id :
         index->Search(samples[query].code, kNumExemplars, query)) {
      exemplars.push_back(functions[id]);
    }
    return exemplars;
  }
};

absl::StatusOr<PromptPool> MakePromptPool(ExperimentRun& run,
                                          CodeLanguage language) {
  PromptPool pool;
  REPRO_ASSIGN_OR_RETURN(pool.samples, Functions(run, language));
  for (const CodeSample& sample : pool.samples) {
    PromptFunction function;
    function.code = sample.code;
    function.comment = sample.comment;
    REPRO_ASSIGN_OR_RETURN(function.facts, ExtractFacts(sample, language));
    pool.functions.push_back(std::move(function));
  }
  REPRO_ASSIGN_OR_RETURN(ExemplarIndex index,
                         ExemplarIndex::Build(pool.samples));
  pool.index = std::make_unique<ExemplarIndex>(std::move(index));
  return pool;
}

absl::Status PromptLength(ExperimentRun& run) {
  return RecordByLanguage(
      run, [&](const Claim&, CodeLanguage language) -> absl::StatusOr<double> {
        REPRO_ASSIGN_OR_RETURN(const PromptPool pool,
                               MakePromptPool(run, language));
        double asap = 0, bm25 = 0;
        for (size_t i = 0; i < pool.functions.size(); ++i) {
          const auto exemplars = pool.Exemplars(static_cast<int64_t>(i));
          asap += static_cast<double>(
              BuildPrompt(exemplars, pool.functions[i], FactSet::Asap())
                  .size());
          bm25 += static_cast<double>(
              BuildPrompt(exemplars, pool.functions[i], FactSet::Bm25())
                  .size());
        }
        return asap / bm25;
      });
}
REPRO_REGISTER_EXPERIMENT("asap", "prompt_length", PromptLength);

// --------------------------------------------------------- a small model

constexpr size_t kFunctionsASeed = 20;  // of each language

// `count` of 0 ... size - 1, distinct, in the order drawn.
std::vector<int64_t> Draw(int64_t size, int64_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<int64_t> numbers(size);
  std::iota(numbers.begin(), numbers.end(), 0);
  for (int64_t i = 0; i < count; ++i) {
    std::swap(numbers[i],
              numbers[i + static_cast<int64_t>(random() % (size - i))]);
  }
  numbers.resize(count);
  return numbers;
}

// BLEU over the functions of one language and seed.
struct SeedScores {
  double asap = 0;
  double bm25 = 0;
  double copied = 0;  // the best exemplar's comment
  int64_t exemplars_dropped = 0;
};

// Two answers a function; `asked` is called before each pair.
absl::StatusOr<SeedScores> ScoreSeed(
    completion::CompletionClient& client, const PromptPool& pool, uint64_t seed,
    const std::function<absl::Status()>& asked) {
  if (pool.functions.size() <= kFunctionsASeed) {
    return absl::InvalidArgumentError(
        absl::StrCat("more than ", kFunctionsASeed, " functions are needed, ",
                     pool.functions.size(), " are there"));
  }
  SeedScores scores;
  for (const int64_t query : Draw(static_cast<int64_t>(pool.functions.size()),
                                  kFunctionsASeed, seed)) {
    REPRO_RETURN_IF_ERROR(asked());
    const PromptFunction& function = pool.functions[query];
    const auto exemplars = pool.Exemplars(query);
    const auto bleu = [&](const FactSet& facts) -> absl::StatusOr<double> {
      SummarizerOptions options;
      options.facts = facts;
      options.max_tokens = 64;
      REPRO_ASSIGN_OR_RETURN(const Summary summary,
                             Summarize(client, exemplars, function, options));
      scores.exemplars_dropped +=
          static_cast<int64_t>(exemplars.size()) - summary.exemplars;
      return SummaryBleu(function.comment, summary.text) / kFunctionsASeed;
    };
    REPRO_ASSIGN_OR_RETURN(const double asap, bleu(FactSet::Asap()));
    REPRO_ASSIGN_OR_RETURN(const double bm25, bleu(FactSet::Bm25()));
    scores.asap += asap;
    scores.bm25 += bm25;
    scores.copied += SummaryBleu(function.comment, exemplars.at(0).comment) /
                     kFunctionsASeed;
  }
  return scores;
}

absl::Status Summaries(ExperimentRun& run) {
  // Answers are kept, so that a run that was killed goes on.
  completion::OpenOptions open;
  open.cancelled = [&run] { return run.Cancelled(); };
  REPRO_ASSIGN_OR_RETURN(std::unique_ptr<completion::CompletionClient> model,
                         completion::OpenClient(run.model_spec(), open));
  REPRO_ASSIGN_OR_RETURN(const auto client,
                         completion::RecordingClient::Create(
                             std::move(model), run.checkpoint_dir()));
  const std::map<std::string, std::vector<CodeLanguage>> languages_of = {
      {"java", {CodeLanguage::kJava}},
      {"python", {CodeLanguage::kPython}},
      {"both", {CodeLanguage::kJava, CodeLanguage::kPython}}};
  const auto languages_asked_for =
      [&](const Claim& claim) -> absl::StatusOr<std::vector<CodeLanguage>> {
    REPRO_ASSIGN_OR_RETURN(const std::string name, run.Arg(claim, "language"));
    const auto found = languages_of.find(name);
    if (found == languages_of.end())
      return UnknownName(claim, "language", name);
    return found->second;
  };
  // By the place of the seed.
  std::map<CodeLanguage, std::vector<SeedScores>> scores;
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const auto languages, languages_asked_for(*claim));
    for (const CodeLanguage language : languages) scores[language];
  }
  const double total =
      static_cast<double>(scores.size() * kFunctionsASeed * run.seeds().size());
  double done = 0;
  for (auto& [language, of_language] : scores) {
    const char* const name = code::LanguageName(language);
    REPRO_ASSIGN_OR_RETURN(const PromptPool pool,
                           MakePromptPool(run, language));
    for (const uint64_t seed : run.seeds()) {
      REPRO_ASSIGN_OR_RETURN(
          const SeedScores of_seed,
          ScoreSeed(*client, pool, seed, [&]() -> absl::Status {
            if (run.Cancelled()) return absl::CancelledError("stopped");
            run.Progress(done++, total, absl::StrCat(name, ", seed ", seed));
            return absl::OkStatus();
          }));
      of_language.push_back(of_seed);
    }
  }
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const auto languages, languages_asked_for(*claim));
    Observation observation;
    SeedScores mean;
    const double num_languages = static_cast<double>(languages.size());
    const double parts =
        num_languages * static_cast<double>(run.seeds().size());
    for (size_t i = 0; i < run.seeds().size(); ++i) {
      double gain = 0;
      for (const CodeLanguage language : languages) {
        const SeedScores& of_seed = scores[language][i];
        gain += (of_seed.asap - of_seed.bm25) / num_languages;
        mean.asap += of_seed.asap / parts;
        mean.bm25 += of_seed.bm25 / parts;
        mean.copied += of_seed.copied / parts;
        mean.exemplars_dropped += of_seed.exemplars_dropped;
      }
      observation.samples.push_back(gain);
    }
    observation.effects = observation.samples;
    observation.scale = absl::StrFormat(
        "%s, %d functions, exemplars from 1,000 functions in place of the "
        "training set; BLEU %.2f with ASAP's prompts, %.2f with BM25's, %.2f "
        "for the best exemplar's comment; %d exemplars dropped",
        client->name(), kFunctionsASeed * languages.size() * run.seeds().size(),
        mean.asap, mean.bm25, mean.copied, mean.exemplars_dropped);
    run.Record(*claim, std::move(observation));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("asap", "summaries", Summaries);

}  // namespace
}  // namespace repro::asap
