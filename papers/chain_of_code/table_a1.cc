#include "papers/chain_of_code/table_a1.h"

#include <algorithm>
#include <array>
#include <iterator>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "papers/chain_of_code/bbh.h"

namespace repro::chain_of_code {
namespace {

constexpr int kNumTasks = 23, kNumColumns = 11;

// In the order of Tasks() and TableA1Columns().
// clang-format off
constexpr std::array<std::array<int, kNumColumns>, kNumTasks> kRows = {{
    { 50,  79, 100,  88,  89, 100, 100, 100, 100,  95,  90},  // Boolean Expressions
    { 50,  70, 100,  64,  64,  56,  57,  63,   0,  57,  60},  // Causal Judgement
    { 17,  77, 100,  61,  84,  75,  72,  74,  59,  66,  57},  // Date Understanding
    { 33,  67,  93,  70,  68,  71,  67,  68,   0,  67,  68},  // Disambiguation QA
    {  1,  48, 100,   6,  50, 100, 100,  99,  99,   1,   7},  // Dyck Languages
    { 25,  91, 100,  56,  56,  55,  54,  55,   0,  54,  56},  // Formal Fallacies
    { 12,  54, 100,  48,  66, 100, 100, 100, 100,  13,  44},  // Geometric Shapes
    { 50,  75, 100,  63,  64,  98,  62,  55,   0,  62,  55},  // Hyperbaton
    { 23,  40,  89,  49,  66,  68,  79,  57,   0,  79,  58},  // Logical Deduction
    { 25,  61,  90,  85,  81,  80,  83,  80,   0,  83,  79},  // Movie Recommendation
    {  0,  10,  25,   0,  48, 100, 100, 100, 100,   0,   1},  // Multi-Step Arithmetic
    { 50,  82, 100,  58,  94,  86,  84,  68,   0,  84,  68},  // Navigate
    {  0,  86, 100,  30,  82,  96,  98,  98,  98,  57,  50},  // Object Counting
    {  0,  78, 100,  62,  82,  90,  88,  90,  88,  71,  59},  // Penguins in a Table
    { 12,  75, 100,  64,  87,  78,  74,  78,  64,  64,  70},  // Reasoning about Colored Objects
    { 25,  78, 100,  76,  70,  55,  56,  46,   0,  56,  47},  // Ruin Names
    { 17,  37,  80,  66,  61,  58,  63,  64,   0,  63,  64},  // Salient Translation Error Detection
    { 50,  77, 100,  70,  71,  76,  76,  66,   0,  76,  66},  // Snarks
    { 50,  71, 100,  72,  96,  91,  93,  75,   0,  93,  74},  // Sports Understanding
    { 25,  91, 100,  38,  60,  98,  93,  99,  93,  93,  99},  // Temporal Sequences
    { 23,  65, 100,  25,  72, 100,  96,  96,  96,  71,  24},  // Tracking Shuffled Objects
    { 50,  81, 100,  54, 100,  97,  96,  96,  97,  96,  50},  // Web of Lies
    {  0,  63, 100,  51,  50,  99, 100,  99, 100,  54,  54},  // Word Sorting
}};
// clang-format on

}  // namespace

const std::vector<std::string>& TableA1Columns() {
  static const auto& names =
      *new std::vector<std::string>{"random",
                                    "human_average",
                                    "human_maximum",
                                    "direct",
                                    "cot",
                                    "interweave",
                                    "try_python_except_lm_state",
                                    "try_python_except_lm",
                                    "python",
                                    "lm_state",
                                    "lm"};
  return names;
}

absl::StatusOr<std::vector<double>> TableA1Column(absl::string_view name) {
  const std::vector<std::string>& names = TableA1Columns();
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) {
    return absl::NotFoundError(absl::StrCat("no column \"", name,
                                            "\" in Table A1: use ",
                                            absl::StrJoin(names, ", ")));
  }
  const auto column = std::distance(names.begin(), found);
  std::vector<double> values;
  for (const auto& row : kRows) {
    values.push_back(row[static_cast<size_t>(column)]);
  }
  return values;
}

}  // namespace repro::chain_of_code
