#include "common/code/identifiers.h"

#include <cstdint>

#include "absl/strings/ascii.h"

namespace repro::code {
namespace {

enum class Kind { kLower, kUpper, kDigit, kSeparator };

Kind KindOf(char c) {
  if (absl::ascii_isupper(c)) return Kind::kUpper;
  if (absl::ascii_isdigit(c)) return Kind::kDigit;
  if (absl::ascii_islower(c) || static_cast<uint8_t>(c) >= 0x80) {
    return Kind::kLower;
  }
  return Kind::kSeparator;
}

}  // namespace

std::vector<std::string> SplitIdentifier(absl::string_view identifier,
                                         const SplitOptions& options) {
  std::vector<std::string> words;
  std::string word;
  const auto flush = [&] {
    if (!word.empty()) words.push_back(std::move(word));
    word.clear();
  };
  Kind previous = Kind::kSeparator;
  for (size_t i = 0; i < identifier.size(); ++i) {
    const Kind kind = KindOf(identifier[i]);
    const bool lower_follows =
        i + 1 < identifier.size() && KindOf(identifier[i + 1]) == Kind::kLower;
    const bool digit_change =
        options.split_digits &&
        (kind == Kind::kDigit) != (previous == Kind::kDigit);
    const bool begins_word =
        kind == Kind::kUpper && (previous != Kind::kUpper ||
                                 (previous == Kind::kUpper && lower_follows));
    if (kind == Kind::kSeparator || digit_change || begins_word) flush();
    if (kind != Kind::kSeparator) {
      word += options.lower_case ? absl::ascii_tolower(identifier[i])
                                 : identifier[i];
    }
    previous = kind;
  }
  flush();
  return words;
}

bool IsIdentifier(SyntaxNode leaf) {
  if (!leaf.is_named()) return false;
  const absl::string_view type = leaf.type();
  static constexpr absl::string_view kTypes[] = {
      "identifier",
      "type_identifier",
      "field_identifier",
      "property_identifier",
      "private_property_identifier",
      "shorthand_property_identifier",
      "shorthand_property_identifier_pattern",
      "statement_identifier",
      "namespace_identifier",
      "package_identifier",
      "label_name",
      "constant",
      "instance_variable",
      "class_variable",
      "global_variable",
      "name",
      "variable_name",
  };
  for (const absl::string_view known : kTypes) {
    if (type == known) return leaf.is_leaf() || type == "variable_name";
  }
  return false;
}

}  // namespace repro::code
