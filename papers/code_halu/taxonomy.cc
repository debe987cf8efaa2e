#include "papers/code_halu/taxonomy.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/data/csv.h"
#include "common/data/io.h"
#include "common/status/macros.h"

namespace repro::code_halu {

HallucinationType TypeOf(Category category) {
  switch (category) {
    case Category::kDataCompliance:
    case Category::kStructuralAccess:
      return HallucinationType::kMapping;
    case Category::kIdentification:
    case Category::kExternalSource:
      return HallucinationType::kNaming;
    case Category::kPhysicalConstraint:
    case Category::kCalculateBoundary:
      return HallucinationType::kResource;
    case Category::kLogicDeviation:
    case Category::kLogicBreakdown:
      break;
  }
  return HallucinationType::kLogic;
}

const char* CategoryName(Category category) {
  switch (category) {
    case Category::kDataCompliance:
      return "Data_Compliance_Hallucination";
    case Category::kStructuralAccess:
      return "Structural_Access_Hallucination";
    case Category::kIdentification:
      return "Identification_Hallucination";
    case Category::kExternalSource:
      return "External_Source_Hallucination";
    case Category::kPhysicalConstraint:
      return "Physical_Constraint_Hallucination";
    case Category::kCalculateBoundary:
      return "Calculate_Boundary_Hallucination";
    case Category::kLogicDeviation:
      return "Logic_Deviation";
    case Category::kLogicBreakdown:
      break;
  }
  return "Logic_Breakdown";
}

absl::StatusOr<Category> ParseCategory(absl::string_view name) {
  for (const Category category : kCategories) {
    if (name == CategoryName(category)) return category;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("no hallucination category is called ", Quoted(name)));
}

std::optional<Category> CategoryOf(absl::string_view verdict,
                                   BreakdownRule rule) {
  static const auto* const kOfName = new std::map<absl::string_view, Category>{
      {"TypeError", Category::kDataCompliance},
      {"ValueError", Category::kDataCompliance},
      {"ZeroDivisionError", Category::kDataCompliance},
      {"IndexError", Category::kStructuralAccess},
      {"KeyError", Category::kStructuralAccess},
      {"NameError", Category::kIdentification},
      {"AttributeError", Category::kIdentification},
      {"UnboundLocalError", Category::kIdentification},
      {"ImportError", Category::kExternalSource},
      {"ModuleNotFoundError", Category::kExternalSource},
      {"RecursionError", Category::kPhysicalConstraint},
      {"MemoryError", Category::kPhysicalConstraint},
      {"OverflowError", Category::kCalculateBoundary},
      {"StopIteration", Category::kCalculateBoundary},
      {kLogicDeviation, Category::kLogicDeviation},
      {"Logic_Breakdown", Category::kLogicBreakdown},
  };
  if (rule == BreakdownRule::kAsPublished && verdict == kLogicBreakdown) {
    return Category::kLogicBreakdown;
  }
  const auto found = kOfName->find(verdict);
  if (found == kOfName->end()) return std::nullopt;
  return found->second;
}

int64_t FileCounts::total() const {
  int64_t sum = 0;
  for (const auto& [verdict, count] : by_verdict) sum += count;
  return sum;
}

int64_t FileCounts::Of(absl::string_view verdict) const {
  const auto found = by_verdict.find(std::string(verdict));
  return found == by_verdict.end() ? 0 : found->second;
}

int64_t FileCounts::Of(Category category, BreakdownRule rule) const {
  int64_t sum = 0;
  for (const auto& [verdict, count] : by_verdict) {
    if (CategoryOf(verdict, rule) == category) sum += count;
  }
  return sum;
}

absl::StatusOr<VerdictCounts> ReadVerdictCounts(const std::string& path) {
  REPRO_ASSIGN_OR_RETURN(const CsvTable table, CsvTable::Read(path));
  VerdictCounts counts;
  for (int64_t row = 0; row < table.num_rows(); ++row) {
    REPRO_ASSIGN_OR_RETURN(const std::string type,
                           table.Text(row, "halu_type"));
    REPRO_ASSIGN_OR_RETURN(const std::string name,
                           table.Text(row, "error_name"));
    REPRO_ASSIGN_OR_RETURN(const int64_t count, table.Int(row, "count"));
    const absl::StatusOr<Category> category = ParseCategory(type);
    if (!category.ok()) return table.RowError(row, category.status().message());
    if (name.empty()) return table.RowError(row, "error_name is empty");
    if (count < 1) return table.RowError(row, absl::StrCat("count is ", count));
    if (!counts[*category].by_verdict.emplace(name, count).second) {
      return table.RowError(
          row, absl::StrCat(type, " has ", Quoted(name), " twice"));
    }
  }
  if (counts.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": no counts"));
  }
  return counts;
}

absl::StatusOr<double> HallucinationRate(const FileCounts& counts,
                                         Category category, int64_t records,
                                         BreakdownRule rule) {
  const int64_t total = counts.total();
  if (total == 0 || records < total) {
    return absl::InvalidArgumentError(absl::StrCat(
        CategoryName(category), ": ", total, " verdicts of ", records,
        " records: there must be at least one, and no more than records"));
  }
  return 100 * static_cast<double>(counts.Of(category, rule)) /
         static_cast<double>(records);
}

}  // namespace repro::code_halu
