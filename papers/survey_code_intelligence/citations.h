#ifndef REPRO_PAPERS_SURVEY_CODE_INTELLIGENCE_CITATIONS_H_
#define REPRO_PAPERS_SURVEY_CODE_INTELLIGENCE_CITATIONS_H_

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "papers/survey_code_intelligence/survey.h"

namespace repro::survey_code_intelligence {

// Which references which pages cite. Pages are the exact level: several
// sections can start on one.
class CitationGraph {
 public:
  explicit CitationGraph(const Survey& survey);

  int64_t num_pairs() const { return num_pairs_; }
  // References by page, rising; only pages that cite.
  const std::map<int, std::vector<int>>& references_on() const {
    return references_on_;
  }

  // On how many pages a reference is cited. OutOfRange: no such reference.
  absl::StatusOr<int64_t> Degree(int reference) const;
  // The k references with the most pages; equal ones by number.
  std::vector<std::pair<int, int64_t>> MostCited(int64_t k) const;

  // Pages that cite both. OutOfRange: no such reference.
  absl::StatusOr<int64_t> CoCitations(int a, int b) const;
  // Unordered pairs of different references that share a page.
  int64_t NumCoCitedPairs() const;

  // The last section that starts on a page or before it; empty before the
  // first one.
  std::string SectionOfPage(int page) const;
  // References by that section.
  std::map<std::string, std::set<int>> ReferencesBySection() const;

 private:
  absl::StatusOr<const std::vector<int>*> PagesOf(int reference) const;

  int64_t num_pairs_ = 0;
  std::vector<std::vector<int>> pages_;  // of reference i + 1
  std::map<int, std::vector<int>> references_on_;
  std::vector<Section> sections_;
};

}  // namespace repro::survey_code_intelligence

#endif  // REPRO_PAPERS_SURVEY_CODE_INTELLIGENCE_CITATIONS_H_
