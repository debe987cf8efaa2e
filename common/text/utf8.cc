#include "common/text/utf8.h"

#include <utf8proc.h>

namespace repro {
namespace {

bool IsContinuation(absl::string_view text, size_t at) {
  return at < text.size() && (static_cast<uint8_t>(text[at]) & 0xC0) == 0x80;
}

// One to four bytes and their well-formed first and second ones (Unicode 15,
// table 3-7).
int32_t Decode(absl::string_view text, size_t* at, bool* incomplete) {
  const uint8_t lead = text[(*at)++];
  *incomplete = false;
  if (lead < 0x80) return lead;
  if (lead < 0xC2 || lead > 0xF4) return kInvalidUtf8;
  const int left = lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;
  int32_t code_point = lead & (0x3F >> left);
  for (int i = 0; i < left; ++i) {
    if (!IsContinuation(text, *at)) {
      *incomplete = *at == text.size();
      return kInvalidUtf8;
    }
    const uint8_t byte = text[*at];
    if (i == 0 &&
        ((lead == 0xE0 && byte < 0xA0) || (lead == 0xED && byte > 0x9F) ||
         (lead == 0xF0 && byte < 0x90) || (lead == 0xF4 && byte > 0x8F))) {
      return kInvalidUtf8;
    }
    code_point = code_point << 6 | (byte & 0x3F);
    ++*at;
  }
  return code_point;
}

}  // namespace

int32_t NextCodePoint(absl::string_view text, size_t* at) {
  bool incomplete;
  return Decode(text, at, &incomplete);
}

void AppendUtf8(int32_t code_point, std::string* out) {
  utf8proc_uint8_t bytes[4];
  const utf8proc_ssize_t count = utf8proc_encode_char(code_point, bytes);
  out->append(reinterpret_cast<const char*>(bytes), count);
}

size_t ValidUtf8Prefix(absl::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    const size_t begin = at;
    if (NextCodePoint(text, &at) == kInvalidUtf8) return begin;
  }
  return at;
}

bool IsUtf8(absl::string_view text) {
  return ValidUtf8Prefix(text) == text.size();
}

size_t IncompleteUtf8Suffix(absl::string_view text) {
  // A character's beginning is at most three bytes long.
  size_t begin = text.size();
  for (int i = 0; i < 3 && begin > 0; ++i) {
    if (!IsContinuation(text, --begin)) break;
  }
  if (begin == text.size()) return 0;
  size_t at = begin;
  bool incomplete;
  Decode(text, &at, &incomplete);
  return incomplete ? text.size() - begin : 0;
}

std::string ReplaceInvalidUtf8(absl::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    if (NextCodePoint(text, &at) == kInvalidUtf8) {
      out += "\xEF\xBF\xBD";
    } else {
      out.append(text.data() + begin, at - begin);
    }
  }
  return out;
}

bool IsWhiteSpace(int32_t c) {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
         c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool IsNumeric(int32_t code_point) {
  const utf8proc_category_t category = utf8proc_category(code_point);
  return category == UTF8PROC_CATEGORY_ND || category == UTF8PROC_CATEGORY_NL ||
         category == UTF8PROC_CATEGORY_NO;
}

bool IsWordCharacter(int32_t code_point) {
  const utf8proc_category_t category = utf8proc_category(code_point);
  return (category >= UTF8PROC_CATEGORY_LU &&
          category <= UTF8PROC_CATEGORY_NL) ||
         category == UTF8PROC_CATEGORY_PC;
}

}  // namespace repro
