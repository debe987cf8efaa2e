#define PCRE2_CODE_UNIT_WIDTH 8
#include "common/tokenizer/regex.h"

#include <pcre2.h>

#include <cstdint>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/text/utf8.h"

namespace repro {
namespace {

constexpr size_t kMaxPatternBytes = 10000;
// Of backtracking in one match: beyond what a text of some megabytes takes in
// the patterns of real tokenizers, and little enough that a hostile one ends.
constexpr uint32_t kMatchLimit = 50'000'000;

std::string Message(int error) {
  PCRE2_UCHAR buffer[256];
  if (pcre2_get_error_message(error, buffer, sizeof(buffer)) < 0) {
    return absl::StrCat("error ", error);
  }
  return reinterpret_cast<const char*>(buffer);
}

// PCRE2's \s counts U+180E, which is no white space any more.
absl::StatusOr<std::string> Translate(absl::string_view pattern) {
  std::string out;
  for (size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] != '\\' || i + 1 == pattern.size()) {
      out += pattern[i];
      continue;
    }
    const char c = pattern[++i];
    if (c == 's') {
      out += "\\p{White_Space}";
    } else if (c == 'S') {
      out += "\\P{White_Space}";
    } else if (c == 'w' || c == 'W' || c == 'b' || c == 'B') {
      return absl::UnimplementedError(absl::StrCat(
          "the regular expression \"", absl::Utf8SafeCEscape(pattern),
          "\" has \\", std::string(1, c), " at byte ", i - 1,
          ", which is not supported"));
    } else {
      out += '\\';
      out += c;
    }
  }
  return out;
}

struct FreeMatchData {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};
struct FreeMatchContext {
  void operator()(pcre2_match_context* context) const {
    pcre2_match_context_free(context);
  }
};

absl::StatusOr<pcre2_code*> Compile(absl::string_view pattern,
                                    absl::string_view shown, uint32_t options) {
  if (pattern.size() > kMaxPatternBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("a regular expression of ", pattern.size(),
                     " bytes: at most ", kMaxPatternBytes, " are supported"));
  }
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code = pcre2_compile(
      reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
      options | PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C |
          PCRE2_NO_AUTO_CAPTURE,
      &error, &offset, nullptr);
  if (code == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("the regular expression \"", absl::Utf8SafeCEscape(shown),
                     "\" is wrong near byte ", offset, ": ", Message(error)));
  }
  // Where there is no JIT compiler, PCRE2 interprets.
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
  return code;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Regex>> Regex::Create(
    absl::string_view pattern) {
  absl::StatusOr<std::string> translated = Translate(pattern);
  if (!translated.ok()) return translated.status();
  absl::StatusOr<pcre2_code*> code = Compile(*translated, pattern, 0);
  if (!code.ok()) return code.status();
  return std::shared_ptr<const Regex>(new Regex(*code, std::string(pattern)));
}

absl::StatusOr<std::shared_ptr<const Regex>> Regex::CreateLiteral(
    absl::string_view text) {
  if (text.empty()) {
    return absl::InvalidArgumentError("an empty text matches nothing");
  }
  absl::StatusOr<pcre2_code*> code = Compile(text, text, PCRE2_LITERAL);
  if (!code.ok()) return code.status();
  return std::shared_ptr<const Regex>(new Regex(*code, std::string(text)));
}

Regex::~Regex() { pcre2_code_free(code_); }

absl::Status Regex::FindAll(
    absl::string_view text,
    std::vector<std::pair<size_t, size_t>>* matches) const {
  // Every thread has its own: they are written to.
  static thread_local const std::unique_ptr<pcre2_match_data, FreeMatchData>
      data(pcre2_match_data_create(1, nullptr));
  static thread_local const std::unique_ptr<pcre2_match_context,
                                            FreeMatchContext>
      context(pcre2_match_context_create(nullptr));
  if (data == nullptr || context == nullptr) {
    return absl::ResourceExhaustedError("no memory for PCRE2");
  }
  pcre2_set_match_limit(context.get(), kMatchLimit);
  const PCRE2_SPTR subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  size_t at = 0;
  while (at < text.size()) {
    int count = pcre2_match(code_, subject, text.size(), at, PCRE2_NO_UTF_CHECK,
                            data.get(), context.get());
    if (count == PCRE2_ERROR_JIT_STACKLIMIT) {
      // The interpreter keeps its state on the heap.
      count = pcre2_match(code_, subject, text.size(), at,
                          PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, data.get(),
                          context.get());
    }
    if (count == PCRE2_ERROR_NOMATCH) break;
    if (count < 0) {
      const std::string message = absl::StrCat(
          "the regular expression \"", absl::Utf8SafeCEscape(pattern_),
          "\" fails on a text of ", text.size(), " bytes: ", Message(count));
      return count == PCRE2_ERROR_MATCHLIMIT ||
                     count == PCRE2_ERROR_HEAPLIMIT ||
                     count == PCRE2_ERROR_NOMEMORY
                 ? absl::ResourceExhaustedError(message)
                 : absl::InternalError(message);
    }
    const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(data.get());
    // \K in a lookaround can put the begin behind the end or before `at`.
    const size_t begin = bounds[0] < at ? at : bounds[0];
    const size_t end = bounds[1];
    if (begin < end) {
      matches->emplace_back(begin, end);
      at = end;
    } else {
      at = end > at ? end : at;
      if (at < text.size()) NextCodePoint(text, &at);
    }
  }
  return absl::OkStatus();
}

}  // namespace repro
