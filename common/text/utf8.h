// UTF-8, and the few character classes that tokenizers use.
#ifndef REPRO_COMMON_TEXT_UTF8_H_
#define REPRO_COMMON_TEXT_UTF8_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace repro {

constexpr int32_t kInvalidUtf8 = -1;

// The code point at text[*at], which must be inside; moves *at behind it. For
// bytes that are not UTF-8: kInvalidUtf8, and *at moves behind the longest
// beginning of a character that they are, at least one byte (Unicode 15,
// section 3.9, "substitution of maximal subparts").
int32_t NextCodePoint(absl::string_view text, size_t* at);

void AppendUtf8(int32_t code_point, std::string* out);

// The offset of the first byte that is not UTF-8; text.size() if all is.
size_t ValidUtf8Prefix(absl::string_view text);

// Whether all of it is UTF-8: no overlong forms, surrogates, or code points
// beyond U+10FFFF.
bool IsUtf8(absl::string_view text);

// How many bytes at the end begin a character without completing it.
size_t IncompleteUtf8Suffix(absl::string_view text);

// U+FFFD for what is not UTF-8, as Python's decode("utf-8", "replace").
std::string ReplaceInvalidUtf8(absl::string_view text);

// The property White_Space.
bool IsWhiteSpace(int32_t code_point);
// Categories Nd, Nl and No.
bool IsNumeric(int32_t code_point);
// \w of regular expressions: letters, marks, digits and connectors.
bool IsWordCharacter(int32_t code_point);

}  // namespace repro

#endif  // REPRO_COMMON_TEXT_UTF8_H_
