#include "papers/multi_intent/similarity.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/code/identifiers.h"
#include "common/metrics/python_text.h"
#include "common/text/utf8.h"

namespace repro::multi_intent {
namespace {

// The Java Language Specification, section 3.9, without the words that are
// keywords in some places only.
bool IsKeyword(absl::string_view word) {
  static const auto* const kKeywords =
      new absl::flat_hash_set<absl::string_view>{
          "abstract",   "assert",       "boolean",   "break",      "byte",
          "case",       "catch",        "char",      "class",      "const",
          "continue",   "default",      "do",        "double",     "else",
          "enum",       "extends",      "final",     "finally",    "float",
          "for",        "goto",         "if",        "implements", "import",
          "instanceof", "int",          "interface", "long",       "native",
          "new",        "package",      "private",   "protected",  "public",
          "return",     "short",        "static",    "strictfp",   "super",
          "switch",     "synchronized", "this",      "throw",      "throws",
          "transient",  "try",          "void",      "volatile",   "while"};
  return kKeywords->contains(word);
}

// With `replacement` for each match of //.*|/\*[\s\S]*?\*/.
std::string RemoveComments(absl::string_view code,
                           absl::string_view replacement) {
  constexpr size_t kNone = absl::string_view::npos;
  std::string kept;
  size_t kept_to = 0;
  const size_t last_close = code.rfind("*/");
  for (size_t at = code.find('/'); at != kNone; at = code.find('/', at)) {
    size_t end = kNone;
    if (code.substr(at, 2) == "//") {
      end = std::min(code.find('\n', at), code.size());
    } else if (code.substr(at, 2) == "/*" && last_close != kNone &&
               last_close >= at + 2) {
      end = code.find("*/", at + 2) + 2;
    }
    if (end == kNone) {
      ++at;
      continue;
    }
    absl::StrAppend(&kept, code.substr(kept_to, at - kept_to), replacement);
    kept_to = at = end;
  }
  return absl::StrCat(kept, code.substr(kept_to));
}

bool IsLowerWord(absl::string_view token) {
  return !token.empty() && absl::ascii_islower(token[0]);
}

// What a character can be part of by the script's expression.
enum class Kind { kLower, kUpper, kDigit, kSymbol, kNothing };

Kind KindOf(int32_t c) {
  if (c < 0x80) {
    const auto ascii = static_cast<unsigned char>(c);
    if (absl::ascii_islower(ascii)) return Kind::kLower;
    if (absl::ascii_isupper(ascii)) return Kind::kUpper;
    if (absl::ascii_isdigit(ascii)) return Kind::kDigit;
    if (absl::string_view(".,;:(){}[]").find(static_cast<char>(c)) !=
        absl::string_view::npos) {
      return Kind::kNothing;
    }
  }
  return metrics::IsWord(c) || metrics::IsSpace(c) ? Kind::kNothing
                                                   : Kind::kSymbol;
}

std::vector<std::string> ScriptTokens(absl::string_view text) {
  std::vector<std::string> tokens;
  Kind last = Kind::kNothing;
  for (const int32_t c : metrics::CodePoints(RemoveComments(text, ""))) {
    const Kind kind = KindOf(c);
    const bool goes_on = kind == Kind::kLower
                             ? last == Kind::kLower || last == Kind::kUpper
                             : kind == last && kind != Kind::kUpper;
    if (kind != Kind::kNothing) {
      if (!goes_on) tokens.emplace_back();
      AppendUtf8(c, &tokens.back());
    }
    last = kind;
  }
  for (size_t i = 1; i < tokens.size(); ++i) {
    if (tokens[i].size() == 1 && IsLowerWord(tokens[i - 1])) {
      absl::AsciiStrToLower(&tokens[i]);
    }
  }
  return tokens;
}

std::vector<std::string> PublishedTokens(absl::string_view text,
                                         bool drop_keywords) {
  const std::string without_comments = RemoveComments(text, " ");
  std::vector<std::string> tokens;
  const auto is_word = [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_' ||
           c == '$';
  };
  const char* const end = without_comments.data() + without_comments.size();
  for (const char* at = without_comments.data(); at != end;) {
    const char* const word = std::find_if(at, end, is_word);
    at = std::find_if_not(word, end, is_word);
    const absl::string_view found(word, static_cast<size_t>(at - word));
    if (drop_keywords && IsKeyword(found)) continue;
    std::vector<std::string> parts = code::SplitIdentifier(found);
    std::move(parts.begin(), parts.end(), std::back_inserter(tokens));
  }
  return tokens;
}

void SortUnique(std::vector<std::string>* tokens) {
  std::sort(tokens->begin(), tokens->end());
  tokens->erase(std::unique(tokens->begin(), tokens->end()), tokens->end());
}

}  // namespace

std::vector<std::string> CodeTokens(absl::string_view code, TokenRules rules) {
  return rules == TokenRules::kScript
             ? ScriptTokens(code)
             : PublishedTokens(code, /*drop_keywords=*/true);
}

std::vector<std::string> CommentTokens(absl::string_view comment,
                                       TokenRules rules) {
  return rules == TokenRules::kScript
             ? ScriptTokens(comment)
             : PublishedTokens(comment, /*drop_keywords=*/false);
}

double SetSimilarity(SetMeasure measure, double size_a, double size_b,
                     double common) {
  if (measure == SetMeasure::kOverlap) return common;
  const double both = size_a + size_b - common;
  return both > 0 ? common / both : 1;
}

double TokenListSimilarity(SetMeasure measure, std::vector<std::string> a,
                           std::vector<std::string> b) {
  SortUnique(&a);
  SortUnique(&b);
  std::vector<std::string> common;
  std::set_intersection(a.begin(), a.end(), b.begin(), b.end(),
                        std::back_inserter(common));
  return SetSimilarity(measure, static_cast<double>(a.size()),
                       static_cast<double>(b.size()),
                       static_cast<double>(common.size()));
}

absl::StatusOr<double> Cosine(absl::Span<const float> a,
                              absl::Span<const float> b) {
  if (a.size() != b.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("vectors of ", a.size(), " and ", b.size(), " numbers"));
  }
  double product = 0;
  double squares_a = 0;
  double squares_b = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!std::isfinite(a[i]) || !std::isfinite(b[i])) {
      return absl::InvalidArgumentError(
          absl::StrCat("number ", i, " of a vector is not finite"));
    }
    product += static_cast<double>(a[i]) * b[i];
    squares_a += static_cast<double>(a[i]) * a[i];
    squares_b += static_cast<double>(b[i]) * b[i];
  }
  const double norms = std::sqrt(squares_a) * std::sqrt(squares_b);
  return norms > 0 ? product / norms : 0;
}

}  // namespace repro::multi_intent
