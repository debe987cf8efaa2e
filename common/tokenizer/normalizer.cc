#include "common/tokenizer/normalizer.h"

#include <utf8proc.h>

#include <cstdlib>
#include <memory>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/text/utf8.h"

namespace repro {
namespace {

bool IsAscii(absl::string_view text) {
  for (const char c : text) {
    if (static_cast<uint8_t>(c) >= 0x80) return false;
  }
  return true;
}

// The blocks that BERT takes for Chinese. Hugging Face's extension E begins at
// U+2B920 instead of U+2B820; vocabularies are used with that.
bool IsChinese(int32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) ||
         (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B73F) ||
         (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
         (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

bool IsControl(int32_t c) {
  const utf8proc_category_t category = utf8proc_category(c);
  return category == UTF8PROC_CATEGORY_CC || category == UTF8PROC_CATEGORY_CF ||
         category == UTF8PROC_CATEGORY_CO;
}

std::string CleanAndPad(const Normalizer& normalizer, absl::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    int32_t c = NextCodePoint(text, &at);
    if (normalizer.clean_text) {
      const bool blank = c == '\t' || c == '\n' || c == '\r';
      if (!blank && (c == 0 || c == 0xFFFD || IsControl(c))) continue;
      if (blank || IsWhiteSpace(c)) c = ' ';
    }
    const bool pad = normalizer.pad_chinese && IsChinese(c);
    if (pad) out += ' ';
    AppendUtf8(c, &out);
    if (pad) out += ' ';
  }
  return out;
}

absl::StatusOr<std::string> ToForm(NormalForm form, const std::string& text) {
  int options = UTF8PROC_STABLE;
  options |= form == NormalForm::kNfc || form == NormalForm::kNfkc
                 ? UTF8PROC_COMPOSE
                 : UTF8PROC_DECOMPOSE;
  if (form == NormalForm::kNfkc || form == NormalForm::kNfkd) {
    options |= UTF8PROC_COMPAT;
  }
  utf8proc_uint8_t* result = nullptr;
  const utf8proc_ssize_t size =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                   static_cast<utf8proc_ssize_t>(text.size()), &result,
                   static_cast<utf8proc_option_t>(options));
  const std::unique_ptr<utf8proc_uint8_t, void (*)(void*)> owner(result,
                                                                 &std::free);
  if (size < 0) {
    return absl::ResourceExhaustedError(
        absl::StrCat("cannot normalise a text of ", text.size(),
                     " bytes: ", utf8proc_errmsg(size)));
  }
  return std::string(reinterpret_cast<const char*>(result),
                     static_cast<size_t>(size));
}

std::string StripAndLower(const Normalizer& normalizer,
                          const std::string& text) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const int32_t c = NextCodePoint(text, &at);
    if (normalizer.strip_accents &&
        utf8proc_category(c) == UTF8PROC_CATEGORY_MN) {
      continue;
    }
    if (!normalizer.lowercase) {
      AppendUtf8(c, &out);
    } else if (c == 0x130) {
      out += "i\xCC\x87";  // the only character whose lower case is two
    } else {
      AppendUtf8(utf8proc_tolower(c), &out);
    }
  }
  return out;
}

}  // namespace

absl::StatusOr<std::string> Normalize(const Normalizer& normalizer,
                                      absl::string_view text) {
  std::string out = normalizer.clean_text || normalizer.pad_chinese
                        ? CleanAndPad(normalizer, text)
                        : std::string(text);
  if (normalizer.form != NormalForm::kNone && !IsAscii(out)) {
    absl::StatusOr<std::string> formed = ToForm(normalizer.form, out);
    if (!formed.ok()) return formed;
    out = *std::move(formed);
  }
  if (normalizer.strip_accents || normalizer.lowercase) {
    out = StripAndLower(normalizer, out);
  }
  return out;
}

}  // namespace repro
