#include "papers/survey_code_intelligence/facts.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/data/io.h"
#include "common/status/macros.h"

namespace repro::survey_code_intelligence {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
// More digits than a double holds are no number of a table.
constexpr size_t kMaxDigits = 15;

absl::Status Unknown(absl::string_view text, absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat(Quoted(text), " is not ", what));
}

// What K, M, B and T multiply with; 0 for another letter.
double Scale(char suffix) {
  switch (suffix) {
    case 'K':
    case 'k':
      return 1e3;
    case 'M':
      return 1e6;
    case 'B':
    case 'G':
      return 1e9;
    case 'T':
      return 1e12;
    default:
      return 0;
  }
}

// Digits with at most one point and a letter of `suffixes` behind them; the
// value of the last digit's place goes to *last_place.
std::optional<double> PlainNumber(absl::string_view text,
                                  absl::string_view suffixes,
                                  double* last_place) {
  double scale = 1;
  if (!text.empty() && absl::StrContains(suffixes, text.back())) {
    scale = Scale(text.back());
    text.remove_suffix(1);
  }
  const size_t point = text.find('.');
  const size_t decimals =
      point == absl::string_view::npos ? 0 : text.size() - point - 1;
  const bool digits_alone = absl::c_all_of(text, [](char c) {
    return absl::ascii_isdigit(static_cast<unsigned char>(c)) || c == '.';
  });
  double value = 0;
  if (!digits_alone || text.size() > kMaxDigits || text.empty() ||
      text.front() == '.' || text.back() == '.' ||
      !absl::SimpleAtod(text, &value)) {
    return std::nullopt;
  }
  *last_place = scale * std::pow(10.0, -static_cast<double>(decimals));
  return scale * value;
}

constexpr absl::string_view kCountSuffixes = "KkMBT";

// "eight million".
std::optional<double> NumberInWords(absl::string_view text) {
  constexpr absl::string_view kDigits[] = {"one",  "two", "three", "four",
                                           "five", "six", "seven", "eight",
                                           "nine", "ten"};
  const std::pair<absl::string_view, absl::string_view> words =
      absl::StrSplit(text, absl::MaxSplits(' ', 1));
  const auto* const digit = absl::c_find(kDigits, words.first);
  if (digit == std::end(kDigits)) return std::nullopt;
  const double value = static_cast<double>(digit - std::begin(kDigits) + 1);
  if (words.second == "million") return 1e6 * value;
  if (words.second == "thousand") return 1e3 * value;
  return std::nullopt;
}

}  // namespace

absl::StatusOr<Quantity> ParseQuantity(absl::string_view text) {
  absl::string_view rest = absl::StripAsciiWhitespace(text);
  const bool above = absl::ConsumePrefix(&rest, "over ") ||
                     absl::ConsumePrefix(&rest, "more than ") ||
                     absl::ConsumePrefix(&rest, ">") ||
                     absl::ConsumeSuffix(&rest, "+");
  const bool below = !above && absl::ConsumePrefix(&rest, "almost ");
  const bool about = !above && !below && absl::ConsumePrefix(&rest, "around ");
  double last_place = 0;
  std::optional<double> value = PlainNumber(rest, kCountSuffixes, &last_place);
  if (!value.has_value()) {
    value = NumberInWords(rest);
    last_place = value.value_or(0) >= 1e6 ? 1e6 : 1e3;
  }
  if (!value.has_value()) return Unknown(text, "a quantity");
  if (above) return Quantity{*value, *value, kInfinity};
  if (below) return Quantity{*value, 0.9 * *value, *value};
  const double half = about ? last_place : last_place / 2;
  return Quantity{*value, *value - half, *value + half};
}

absl::StatusOr<std::vector<Quantity>> ParseQuantities(absl::string_view text) {
  std::vector<Quantity> quantities;
  for (const absl::string_view part :
       absl::StrSplit(text, absl::ByAnyChar("/;"))) {
    REPRO_ASSIGN_OR_RETURN(const Quantity quantity, ParseQuantity(part));
    quantities.push_back(quantity);
  }
  return quantities;
}

bool Compatible(const Quantity& a, const Quantity& b) {
  return std::max(a.low, b.low) < std::min(a.high, b.high);
}

bool Compatible(const std::vector<Quantity>& a,
                const std::vector<Quantity>& b) {
  const auto& shorter = a.size() <= b.size() ? a : b;
  const auto& longer = a.size() <= b.size() ? b : a;
  return absl::c_all_of(shorter, [&](const Quantity& one) {
    return absl::c_any_of(
        longer, [&](const Quantity& other) { return Compatible(one, other); });
  });
}

absl::StatusOr<std::vector<int64_t>> ParseParameterCounts(
    absl::string_view text) {
  std::vector<int64_t> counts;
  for (const absl::string_view part : absl::StrSplit(text, '/')) {
    double last_place = 0;
    const auto value = PlainNumber(part, "MB", &last_place);
    // No model has as many; above 2^63 no int64 has.
    if (!value.has_value() || *value < 1 || *value > 1e15) {
      return Unknown(text, "a list of numbers of parameters");
    }
    counts.push_back(std::llround(*value));
  }
  return counts;
}

absl::StatusOr<ContextLength> ParseContextLength(absl::string_view text) {
  const std::vector<absl::string_view> parts = absl::StrSplit(text, '+');
  ContextLength context;
  const bool two = parts.size() == 2;
  if (parts.size() > 2 || !absl::SimpleAtoi(parts.back(), &context.decoder) ||
      context.decoder < 1 ||
      (two && (!absl::SimpleAtoi(parts.front(), &context.encoder) ||
               context.encoder < 1))) {
    return Unknown(text, "a context length");
  }
  return context;
}

absl::StatusOr<DataScale> ParseDataScale(absl::string_view text) {
  DataScale scale;
  for (absl::string_view part : absl::StrSplit(text, '/')) {
    part = absl::StripAsciiWhitespace(part);
    const bool files = absl::ConsumeSuffix(&part, " files");
    const bool bytes = !files && part.size() > 2 && part.back() == 'B' &&
                       absl::StrContains("KMGT", part[part.size() - 2]);
    if (bytes) part.remove_suffix(1);
    double last_place = 0;
    const auto value =
        PlainNumber(part, bytes ? "KMGT" : kCountSuffixes, &last_place);
    if (!value.has_value()) return Unknown(text, "a scale of data");
    (bytes ? scale.bytes : scale.items).push_back(*value);
  }
  return scale;
}

absl::StatusOr<YearMonth> ParseArxivNumber(absl::string_view text) {
  YearMonth date;
  const bool digits = absl::c_all_of(text, [](char c) {
    return absl::ascii_isdigit(static_cast<unsigned char>(c)) || c == '.';
  });
  if (!digits || (text.size() != 9 && text.size() != 10) || text[4] != '.' ||
      absl::c_count(text, '.') != 1 ||
      !absl::SimpleAtoi(text.substr(0, 2), &date.year) ||
      !absl::SimpleAtoi(text.substr(2, 2), &date.month) || date.year < 7 ||
      date.month < 1 || date.month > 12) {
    return Unknown(text, "an arXiv number");
  }
  date.year += 2000;
  return date;
}

MetricFamily FamilyOf(absl::string_view metric) {
  const std::string name =
      absl::AsciiStrToLower(absl::StripAsciiWhitespace(metric));
  const auto has = [&](absl::string_view part) {
    return absl::StrContains(name, part);
  };
  if (has("pass") || has("resolve rate")) return MetricFamily::kExecution;
  // NIM, ISM and PM of DotPrompts match identifiers and prefixes; its CR
  // compiles and does not run.
  if (has("bleu") || has("rouge") || has("meteor") || has("cider") ||
      has("edit sim") || name == "em" || absl::StartsWith(name, "b-") ||
      name == "nim" || name == "ism" || name == "pm") {
    return MetricFamily::kMatch;
  }
  if (name == "mrr" || name == "frank" || name == "successrate") {
    return MetricFamily::kRanking;
  }
  if (name == "acc." || absl::StartsWith(name, "f1") || name == "precision" ||
      name == "recall") {
    return MetricFamily::kClassification;
  }
  return MetricFamily::kOther;
}

std::vector<std::string> SplitMetrics(absl::string_view metrics) {
  std::vector<std::string> parts;
  for (const absl::string_view part : absl::StrSplit(metrics, '/')) {
    const absl::string_view name = absl::StripAsciiWhitespace(part);
    if (!name.empty() && name != "-") parts.emplace_back(name);
  }
  return parts;
}

bool HasFamily(absl::string_view metrics, MetricFamily family) {
  return absl::c_any_of(SplitMetrics(metrics), [&](const std::string& metric) {
    return FamilyOf(metric) == family;
  });
}

std::string NormalizedName(absl::string_view name) {
  std::string normalized;
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    if (absl::ascii_isalnum(byte) || c == '+' || byte >= 0x80) {
      normalized.push_back(absl::ascii_tolower(byte));
    }
  }
  return normalized;
}

}  // namespace repro::survey_code_intelligence
