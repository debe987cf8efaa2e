#include "papers/survey_code_intelligence/citations.h"

#include <algorithm>
#include <iterator>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/status/macros.h"

namespace repro::survey_code_intelligence {

CitationGraph::CitationGraph(const Survey& survey)
    : sections_(survey.sections) {
  for (const Reference& reference : survey.references) {
    pages_.push_back(reference.pages);
    num_pairs_ += static_cast<int64_t>(reference.pages.size());
    for (const int page : reference.pages) {
      references_on_[page].push_back(reference.number);
    }
  }
}

absl::StatusOr<const std::vector<int>*> CitationGraph::PagesOf(
    int reference) const {
  if (reference < 1 || static_cast<size_t>(reference) > pages_.size()) {
    return absl::OutOfRangeError(absl::StrCat(
        "no reference ", reference, "; there are 1 to ", pages_.size()));
  }
  return &pages_[static_cast<size_t>(reference) - 1];
}

absl::StatusOr<int64_t> CitationGraph::Degree(int reference) const {
  REPRO_ASSIGN_OR_RETURN(const auto* pages, PagesOf(reference));
  return static_cast<int64_t>(pages->size());
}

std::vector<std::pair<int, int64_t>> CitationGraph::MostCited(int64_t k) const {
  std::vector<std::pair<int, int64_t>> degrees;
  for (size_t i = 0; i < pages_.size(); ++i) {
    degrees.emplace_back(static_cast<int>(i) + 1,
                         static_cast<int64_t>(pages_[i].size()));
  }
  absl::c_stable_sort(degrees, [](const auto& a, const auto& b) {
    return a.second > b.second;
  });
  const int64_t size = static_cast<int64_t>(degrees.size());
  degrees.resize(std::clamp<int64_t>(k, 0, size));
  return degrees;
}

absl::StatusOr<int64_t> CitationGraph::CoCitations(int a, int b) const {
  REPRO_ASSIGN_OR_RETURN(const auto* pages_a, PagesOf(a));
  REPRO_ASSIGN_OR_RETURN(const auto* pages_b, PagesOf(b));
  std::vector<int> shared;
  absl::c_set_intersection(*pages_a, *pages_b, std::back_inserter(shared));
  return static_cast<int64_t>(shared.size());
}

int64_t CitationGraph::NumCoCitedPairs() const {
  std::set<std::pair<int, int>> pairs;
  for (const auto& [page, references] : references_on_) {
    for (size_t i = 0; i < references.size(); ++i) {
      for (size_t j = i + 1; j < references.size(); ++j) {
        pairs.emplace(references[i], references[j]);
      }
    }
  }
  return static_cast<int64_t>(pairs.size());
}

std::string CitationGraph::SectionOfPage(int page) const {
  std::string id;
  for (const Section& section : sections_) {
    if (section.first_page > page) break;
    id = section.id;
  }
  return id;
}

std::map<std::string, std::set<int>> CitationGraph::ReferencesBySection()
    const {
  std::map<std::string, std::set<int>> by_section;
  for (const auto& [page, references] : references_on_) {
    by_section[SectionOfPage(page)].insert(references.begin(),
                                           references.end());
  }
  return by_section;
}

}  // namespace repro::survey_code_intelligence
