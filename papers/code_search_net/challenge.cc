#include "papers/code_search_net/challenge.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/data/csv.h"
#include "common/metrics/agreement.h"
#include "common/stats/descriptive.h"
#include "common/status/macros.h"
#include "papers/code_search_net/words.h"

namespace repro::code_search_net {
namespace {

// A row's language, query and URL, checked.
absl::StatusOr<Annotation> ReadKey(const CsvTable& table, int64_t row,
                                   const char* language_column,
                                   const char* query_column,
                                   const char* url_column) {
  Annotation key;
  REPRO_ASSIGN_OR_RETURN(key.language, table.Text(row, language_column));
  REPRO_ASSIGN_OR_RETURN(key.query, table.Text(row, query_column));
  REPRO_ASSIGN_OR_RETURN(key.url, table.Text(row, url_column));
  absl::AsciiStrToLower(&key.language);
  absl::AsciiStrToLower(&key.query);
  if (std::find(kLanguages.begin(), kLanguages.end(), key.language) ==
      kLanguages.end()) {
    return table.RowError(
        row, absl::StrCat("column '", language_column, "': \"", key.language,
                          "\" is none of ", absl::StrJoin(kLanguages, ", ")));
  }
  if (key.query.empty()) {
    return table.RowError(row,
                          absl::StrCat("column '", query_column, "' is empty"));
  }
  if (key.url.empty()) {
    return table.RowError(row,
                          absl::StrCat("column '", url_column, "' is empty"));
  }
  return key;
}

// The queries of a language that count.
std::vector<std::pair<std::string, const std::vector<Judged>*>> Relevant(
    const std::map<std::string, std::vector<Judged>>& queries) {
  std::vector<std::pair<std::string, const std::vector<Judged>*>> relevant;
  for (const auto& [query, functions] : queries) {
    if (std::any_of(functions.begin(), functions.end(),
                    [](const Judged& f) { return f.relevance() > 0; })) {
      relevant.emplace_back(query, &functions);
    }
  }
  return relevant;
}

std::vector<double> Relevances(const std::vector<Judged>& functions) {
  std::vector<double> relevances;
  for (const Judged& function : functions) {
    relevances.push_back(function.relevance());
  }
  return relevances;
}

// `score` gives the NDCG of a language's query.
template <typename Score>
absl::StatusOr<ChallengeScores> MeanScores(const Judgements& judgements,
                                           const Score& score) {
  ChallengeScores scores;
  std::vector<double> means;
  for (const auto& [language, queries] : judgements) {
    std::vector<double> values;
    for (const auto& [query, functions] : Relevant(queries)) {
      absl::StatusOr<double> value = score(language, query, *functions);
      if (!value.ok()) {
        return absl::Status(value.status().code(),
                            absl::StrCat(language, ", query \"", query,
                                         "\": ", value.status().message()));
      }
      values.push_back(*value);
    }
    if (values.empty()) {
      return absl::InvalidArgumentError(absl::StrCat(
          language, ": no query has a relevant function in the annotations"));
    }
    REPRO_ASSIGN_OR_RETURN(scores.by_language[language], Mean(values));
    means.push_back(scores.by_language[language]);
  }
  REPRO_ASSIGN_OR_RETURN(scores.mean, Mean(means));
  return scores;
}

double Gain(double relevance) { return std::exp2(relevance) - 1; }

}  // namespace

absl::StatusOr<std::vector<Annotation>> ReadAnnotations(
    const std::string& path) {
  REPRO_ASSIGN_OR_RETURN(const CsvTable table, CsvTable::Read(path));
  std::vector<Annotation> annotations;
  for (int64_t row = 0; row < table.num_rows(); ++row) {
    REPRO_ASSIGN_OR_RETURN(
        Annotation annotation,
        ReadKey(table, row, "Language", "Query", "GitHubUrl"));
    REPRO_ASSIGN_OR_RETURN(annotation.relevance, table.Int(row, "Relevance"));
    if (annotation.relevance < 0 || annotation.relevance > 3) {
      return table.RowError(
          row, absl::StrCat("column 'Relevance': ", annotation.relevance,
                            " is outside 0..3"));
    }
    annotations.push_back(std::move(annotation));
  }
  return annotations;
}

double Judged::relevance() const {
  double sum = 0;
  for (const int64_t grade : grades) sum += static_cast<double>(grade);
  return grades.empty() ? 0 : sum / static_cast<double>(grades.size());
}

Judgements Group(const std::vector<Annotation>& annotations) {
  Judgements judgements;
  for (const Annotation& a : annotations) {
    std::vector<Judged>& functions = judgements[a.language][a.query];
    auto found = std::find_if(functions.begin(), functions.end(),
                              [&](const Judged& f) { return f.url == a.url; });
    if (found == functions.end()) {
      found = functions.insert(found, Judged{a.url, {}});
    }
    found->grades.push_back(a.relevance);
  }
  return judgements;
}

absl::StatusOr<double> AnnotatorKappa(const Judgements& judgements) {
  std::vector<int64_t> first, second;
  for (const auto& [language, queries] : judgements) {
    for (const auto& [query, functions] : queries) {
      for (const Judged& function : functions) {
        if (function.grades.size() < 2) continue;
        first.push_back(function.grades[0]);
        second.push_back(function.grades[1]);
      }
    }
  }
  return metrics::CohenKappa(first, second, metrics::KappaWeights::kQuadratic);
}

absl::StatusOr<Predictions> ReadPredictions(const std::string& path) {
  REPRO_ASSIGN_OR_RETURN(const CsvTable table, CsvTable::Read(path));
  Predictions predictions;
  for (int64_t row = 0; row < table.num_rows(); ++row) {
    REPRO_ASSIGN_OR_RETURN(Annotation key,
                           ReadKey(table, row, "language", "query", "url"));
    std::vector<std::string>& urls = predictions[key.language][key.query];
    if (static_cast<int64_t>(urls.size()) < kMaxPredictions) {
      urls.push_back(std::move(key.url));
    }
  }
  return predictions;
}

absl::StatusOr<ChallengeScores> Evaluate(const Judgements& judgements,
                                         const Predictions& predictions,
                                         metrics::Unjudged unjudged) {
  return MeanScores(
      judgements,
      [&](const std::string& language, const std::string& query,
          const std::vector<Judged>& functions) -> absl::StatusOr<double> {
        absl::flat_hash_map<std::string, double> judged;
        for (const Judged& f : functions) judged[f.url] = f.relevance();
        std::vector<std::optional<double>> ranked;
        std::set<std::string> seen;
        const auto of_language = predictions.find(language);
        if (of_language != predictions.end()) {
          const auto found = of_language->second.find(query);
          if (found != of_language->second.end()) {
            for (const std::string& url : found->second) {
              if (!seen.insert(url).second) {
                return absl::InvalidArgumentError(
                    absl::StrCat("predicts ", url, " twice"));
              }
              const auto relevance = judged.find(url);
              ranked.push_back(relevance == judged.end()
                                   ? std::nullopt
                                   : std::optional<double>(relevance->second));
            }
          }
        }
        return metrics::Ndcg(metrics::JudgedGains(ranked, unjudged),
                             Relevances(functions),
                             metrics::Gain::kExponential);
      });
}

std::string PathOfUrl(absl::string_view url) {
  url = url.substr(0, url.find('#'));
  constexpr absl::string_view kBlob = "/blob/";
  const size_t blob = url.find(kBlob);
  if (blob == absl::string_view::npos) return std::string(url);
  const absl::string_view rest = url.substr(blob + kBlob.size());
  const size_t slash = rest.find('/');
  return std::string(slash == absl::string_view::npos ? rest
                                                      : rest.substr(slash + 1));
}

Predictions PoolPredictions(const Judgements& judgements, PoolOrder order) {
  Predictions predictions;
  for (const auto& [language, queries] : judgements) {
    for (const auto& [query, functions] : queries) {
      std::vector<Judged> ordered = functions;
      if (order == PoolOrder::kWorst) {
        std::stable_sort(ordered.begin(), ordered.end(),
                         [](const Judged& a, const Judged& b) {
                           return a.relevance() < b.relevance();
                         });
      } else if (order == PoolOrder::kPathOverlap) {
        const std::vector<std::string> words = Words(query, /*digits=*/false);
        const std::set<std::string> wanted(words.begin(), words.end());
        std::map<std::string, int64_t> overlap;
        for (const Judged& function : functions) {
          std::set<std::string> common;
          for (const std::string& word :
               Words(PathOfUrl(function.url), /*digits=*/false)) {
            if (wanted.count(word) > 0) common.insert(word);
          }
          overlap[function.url] = static_cast<int64_t>(common.size());
        }
        std::sort(ordered.begin(), ordered.end(),
                  [&](const Judged& a, const Judged& b) {
                    return std::make_pair(-overlap.at(a.url), a.url) <
                           std::make_pair(-overlap.at(b.url), b.url);
                  });
      }
      for (Judged& function : ordered) {
        predictions[language][query].push_back(std::move(function.url));
      }
    }
  }
  return predictions;
}

absl::StatusOr<ChallengeScores> RandomPoolScores(const Judgements& judgements) {
  return MeanScores(
      judgements,
      [](const std::string&, const std::string&,
         const std::vector<Judged>& functions) -> absl::StatusOr<double> {
        std::vector<double> gains;
        for (const double r : Relevances(functions)) gains.push_back(Gain(r));
        std::sort(gains.rbegin(), gains.rend());
        REPRO_ASSIGN_OR_RETURN(const double mean, Mean(gains));
        double expected = 0, ideal = 0;
        for (size_t i = 0; i < gains.size(); ++i) {
          const double discount = std::log2(static_cast<double>(i) + 2);
          expected += mean / discount;
          ideal += gains[i] / discount;
        }
        return expected / ideal;
      });
}

double ChanceReciprocalRank(int64_t n) {
  double sum = 0;
  for (int64_t rank = 1; rank <= n; ++rank) {
    sum += 1 / static_cast<double>(rank);
  }
  return sum / static_cast<double>(n);
}

}  // namespace repro::code_search_net
