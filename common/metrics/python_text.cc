#include "common/metrics/python_text.h"

#include <utf8proc.h>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_split.h"

namespace repro::metrics {
namespace {

constexpr int32_t kReplacement = 0xFFFD;

bool IsAscii(absl::string_view text) {
  for (const char c : text) {
    if (static_cast<unsigned char>(c) >= 0x80) return false;
  }
  return true;
}

// Takes the first code point off `text`, which is not empty.
int32_t TakeCodePoint(absl::string_view* text) {
  const unsigned char first = text->front();
  if (first < 0x80) {
    text->remove_prefix(1);
    return first;
  }
  utf8proc_int32_t code_point = 0;
  const utf8proc_ssize_t length =
      utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text->data()),
                       text->size(), &code_point);
  if (length <= 0) {
    text->remove_prefix(1);
    return kReplacement;
  }
  text->remove_prefix(length);
  return code_point;
}

// The length of the line end that `text` starts with, in bytes; 0 if there is
// none.
size_t LineEndLength(absl::string_view text) {
  const char first = text.front();
  if (first == '\r') return absl::StartsWith(text, "\r\n") ? 2 : 1;
  if ((first >= '\n' && first <= '\f') || (first >= 0x1C && first <= 0x1E)) {
    return 1;
  }
  for (const absl::string_view end : {"\u0085", "\u2028", "\u2029"}) {
    if (absl::StartsWith(text, end)) return end.size();
  }
  return 0;
}

}  // namespace

Symbols CodePoints(absl::string_view text) {
  Symbols symbols;
  symbols.reserve(text.size());
  while (!text.empty()) symbols.push_back(TakeCodePoint(&text));
  return symbols;
}

bool IsSpace(int32_t code_point) {
  if (code_point < 0x80) {
    return (code_point >= 0x09 && code_point <= 0x0D) ||
           (code_point >= 0x1C && code_point <= 0x20);
  }
  return code_point == 0x85 || code_point == 0x2028 || code_point == 0x2029 ||
         utf8proc_category(code_point) == UTF8PROC_CATEGORY_ZS;
}

bool IsWord(int32_t code_point) {
  if (code_point < 0x80) {
    return absl::ascii_isalnum(static_cast<unsigned char>(code_point)) ||
           code_point == '_';
  }
  const utf8proc_category_t category = utf8proc_category(code_point);
  return (category >= UTF8PROC_CATEGORY_LU &&
          category <= UTF8PROC_CATEGORY_LO) ||
         (category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO);
}

bool IsAsciiPunctuation(int32_t code_point) {
  return code_point < 0x80 &&
         absl::ascii_ispunct(static_cast<unsigned char>(code_point));
}

std::string Lower(absl::string_view text) {
  if (IsAscii(text)) return absl::AsciiStrToLower(text);
  std::string lower;
  lower.reserve(text.size());
  while (!text.empty()) {
    const int32_t code_point = TakeCodePoint(&text);
    if (code_point == 0x130) {
      lower.append("i\u0307");
    } else {
      AppendUtf8(utf8proc_tolower(code_point), &lower);
    }
  }
  return lower;
}

std::string Upper(absl::string_view text) {
  if (IsAscii(text)) return absl::AsciiStrToUpper(text);
  std::string upper;
  upper.reserve(text.size());
  while (!text.empty()) {
    AppendUtf8(utf8proc_toupper(TakeCodePoint(&text)), &upper);
  }
  return upper;
}

Tokens SplitWhitespace(absl::string_view text) {
  Tokens tokens;
  const char* begin = text.data();
  while (!text.empty()) {
    const char* const here = text.data();
    if (IsSpace(TakeCodePoint(&text))) {
      if (here > begin) tokens.emplace_back(begin, here - begin);
      begin = text.data();
    }
  }
  if (text.data() > begin) tokens.emplace_back(begin, text.data() - begin);
  return tokens;
}

std::string Strip(absl::string_view text) {
  const char* first = nullptr;
  const char* last = nullptr;
  while (!text.empty()) {
    const char* const here = text.data();
    if (IsSpace(TakeCodePoint(&text))) continue;
    if (first == nullptr) first = here;
    last = text.data();
  }
  return first == nullptr ? std::string() : std::string(first, last - first);
}

absl::string_view StripTrailing(absl::string_view text) {
  const char* const begin = text.data();
  size_t kept = 0;
  while (!text.empty()) {
    if (!IsSpace(TakeCodePoint(&text))) kept = text.data() - begin;
  }
  return {begin, kept};
}

std::vector<absl::string_view> SplitLines(absl::string_view text,
                                          LineEnds ends) {
  std::vector<absl::string_view> lines;
  size_t begin = 0;
  for (size_t i = 0; i < text.size();) {
    const size_t end_length = LineEndLength(text.substr(i));
    if (end_length == 0) {
      ++i;
      continue;
    }
    const size_t end = ends == LineEnds::kKeep ? i + end_length : i;
    lines.push_back(text.substr(begin, end - begin));
    begin = i += end_length;
  }
  if (begin < text.size()) lines.push_back(text.substr(begin));
  return lines;
}

std::vector<absl::string_view> DigitRuns(absl::string_view text) {
  const auto is_digit = [](char c) {
    return absl::ascii_isdigit(static_cast<unsigned char>(c));
  };
  std::vector<absl::string_view> runs;
  for (size_t i = 0; i < text.size();) {
    const size_t begin = i;
    while (i < text.size() && is_digit(text[i])) ++i;
    if (i > begin) runs.push_back(text.substr(begin, i - begin));
    ++i;
  }
  return runs;
}

Tokens SplitKeepingEmpty(absl::string_view text, char separator) {
  return absl::StrSplit(text, separator);
}

}  // namespace repro::metrics
