// The taxonomy of CodeHalu (Tian et al., AAAI 2025, arXiv 2405.00253): how a
// program fails a test says which hallucination it is. What counts as one, and
// how often a model has them, by the authors' eval.py.
//
//   REPRO_ASSIGN_OR_RETURN(const VerdictCounts counts,
//                          ReadVerdictCounts("codellama7b_error_counts.csv"));
//   HallucinationRate(counts.at(category), category, 941,
//                     BreakdownRule::kAsCoded)  // in percent
#ifndef REPRO_PAPERS_CODE_HALU_TAXONOMY_H_
#define REPRO_PAPERS_CODE_HALU_TAXONOMY_H_

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace repro::code_halu {

enum class HallucinationType { kMapping, kNaming, kResource, kLogic };

// The subcategories. Each has a file of the benchmark to itself.
enum class Category {
  kDataCompliance,      // TypeError, ValueError, ZeroDivisionError
  kStructuralAccess,    // IndexError, KeyError
  kIdentification,      // NameError, AttributeError, UnboundLocalError
  kExternalSource,      // ImportError, ModuleNotFoundError
  kPhysicalConstraint,  // RecursionError, MemoryError
  kCalculateBoundary,   // OverflowError, StopIteration
  kLogicDeviation,      // ran, with a wrong output
  kLogicBreakdown,      // the text is too long to be a program
};
inline constexpr std::array<Category, 8> kCategories = {
    Category::kDataCompliance,     Category::kStructuralAccess,
    Category::kIdentification,     Category::kExternalSource,
    Category::kPhysicalConstraint, Category::kCalculateBoundary,
    Category::kLogicDeviation,     Category::kLogicBreakdown};

HallucinationType TypeOf(Category category);

// As the benchmark spells them: "Data_Compliance_Hallucination".
const char* CategoryName(Category category);
absl::StatusOr<Category> ParseCategory(absl::string_view name);

// A verdict is the name of the exception that ended the program, or one of
// these.
inline constexpr char kCorrect[] = "Correct";
inline constexpr char kLogicDeviation[] = "Logic_Deviation";
inline constexpr char kLogicBreakdown[] = "Logic Breakdown";
inline constexpr char kTestTimeout[] = "TimeoutException";  // of a test's alarm
inline constexpr char kNoAnswer[] = "TimeError";  // no word from the process

// eval.py stores "Logic Breakdown" and looks for "Logic_Breakdown".
enum class BreakdownRule {
  kAsCoded,      // "Logic Breakdown" is in no category
  kAsPublished,  // it is Category::kLogicBreakdown
};

// None for a correct program, a timeout, and exceptions of no category
// (EOFError, AssertionError, SyntaxError and others).
std::optional<Category> CategoryOf(absl::string_view verdict,
                                   BreakdownRule rule);

// How often each verdict came, of the distinct (task, test) pairs of one file.
struct FileCounts {
  std::map<std::string, int64_t> by_verdict;

  int64_t total() const;
  int64_t Of(absl::string_view verdict) const;
  int64_t Of(Category category, BreakdownRule rule) const;
};
using VerdictCounts = std::map<Category, FileCounts>;

// CSV, plain or gzip, with halu_type, error_name and count. Errors: those of
// CsvTable; InvalidArgument "path:line: ..." for an unknown halu_type, an empty
// error_name, a pair that comes twice, and a count below 1; "path: no counts".
absl::StatusOr<VerdictCounts> ReadVerdictCounts(const std::string& path);

// 100 times the verdicts of the file's own category over `records`, the
// generations in it. Pairs that come twice merge into one verdict but count
// twice here. InvalidArgument if there are more verdicts than records, or none.
absl::StatusOr<double> HallucinationRate(const FileCounts& counts,
                                         Category category, int64_t records,
                                         BreakdownRule rule);

}  // namespace repro::code_halu

#endif  // REPRO_PAPERS_CODE_HALU_TAXONOMY_H_
