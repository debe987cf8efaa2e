#include "common/retrieval/analyzer.h"

#include <libstemmer.h>
#include <unicode/ubrk.h>
#include <unicode/uchar.h>
#include <unicode/utext.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/code/identifiers.h"
#include "common/text/utf8.h"

namespace repro::retrieval {
namespace {

struct KindName {
  AnalyzerKind kind;
  const char* name;
};
constexpr KindName kKindNames[] = {
    {AnalyzerKind::kSpace, "space"},
    {AnalyzerKind::kWhitespace, "whitespace"},
    {AnalyzerKind::kLuceneStandard, "lucene_standard"},
    {AnalyzerKind::kLuceneEnglish, "lucene_english"},
    {AnalyzerKind::kLuceneEnglishPorter2, "lucene_english_porter2"},
    {AnalyzerKind::kCode, "code"},
};

// EnglishAnalyzer.ENGLISH_STOP_WORDS_SET of Lucene, sorted.
constexpr absl::string_view kStopWords[] = {
    "a",    "an",   "and",  "are",  "as",   "at",    "be",   "but",   "by",
    "for",  "if",   "in",   "into", "is",   "it",    "no",   "not",   "of",
    "on",   "or",   "such", "that", "the",  "their", "then", "there", "these",
    "they", "this", "to",   "was",  "will", "with"};

// StandardTokenizer.MAX_TOKEN_LENGTH_DEFAULT; of Lucene's UTF-16 units, which
// differ from code points beyond U+FFFF.
constexpr int64_t kMaxWordLength = 255;

// What str.split() of Python parts at: White_Space and four control characters.
bool IsPythonSpace(int32_t code_point) {
  return IsWhiteSpace(code_point) || (code_point >= 0x1c && code_point <= 0x1f);
}

std::vector<std::string> PythonSplit(absl::string_view text) {
  std::vector<std::string> terms;
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t character = at;
    if (!IsPythonSpace(NextCodePoint(text, &at))) continue;
    if (character > begin) {
      terms.emplace_back(text.substr(begin, character - begin));
    }
    begin = at;
  }
  if (begin < text.size()) terms.emplace_back(text.substr(begin));
  return terms;
}

// Cuts after every `length` code points.
void AppendPieces(absl::string_view word, int64_t length,
                  std::vector<std::string>* words) {
  size_t begin = 0, at = 0;
  for (int64_t n = 1; at < word.size(); ++n) {
    NextCodePoint(word, &at);
    if (n % length == 0 || at == word.size()) {
      words->emplace_back(word.substr(begin, at - begin));
      begin = at;
    }
  }
}

// Appends the words between the boundaries of Unicode's annex 29. ICU joins
// ideographs by a dictionary; Lucene does not.
void AppendUnicodeWords(absl::string_view text, UBreakIterator* boundaries,
                        std::vector<std::string>* words) {
  UErrorCode error = U_ZERO_ERROR;
  UText utext = UTEXT_INITIALIZER;
  utext_openUTF8(&utext, text.data(), text.size(), &error);
  ubrk_setUText(boundaries, &utext, &error);
  if (U_SUCCESS(error)) {
    int32_t begin = ubrk_first(boundaries);
    for (int32_t end; (end = ubrk_next(boundaries)) != UBRK_DONE; begin = end) {
      const int32_t status = ubrk_getRuleStatus(boundaries);
      if (status < UBRK_WORD_NONE_LIMIT) continue;
      AppendPieces(text.substr(begin, end - begin),
                   status >= UBRK_WORD_IDEO ? 1 : kMaxWordLength, words);
    }
  }
  utext_close(&utext);
}

std::vector<std::string> UnicodeWords(absl::string_view text,
                                      UBreakIterator* boundaries) {
  constexpr size_t kPiece = size_t{1} << 30;  // ICU counts bytes in 32 bits
  std::vector<std::string> words;
  for (size_t begin = 0; begin < text.size(); begin += kPiece) {
    AppendUnicodeWords(text.substr(begin, kPiece), boundaries, &words);
  }
  return words;
}

std::string LowerCase(absl::string_view word) {
  std::string lower;
  for (size_t at = 0; at < word.size();) {
    const int32_t code_point = NextCodePoint(word, &at);
    AppendUtf8(code_point == kInvalidUtf8 ? 0xfffd : u_tolower(code_point),
               &lower);
  }
  return lower;
}

// EnglishPossessiveFilter of Lucene.
absl::string_view WithoutPossessive(absl::string_view word) {
  for (const absl::string_view apostrophe :
       {"'", "\u2019" /* right quotation mark */, "\uff07" /* full width */}) {
    for (const char s : {'s', 'S'}) {
      if (absl::EndsWith(word, absl::StrCat(apostrophe, std::string(1, s)))) {
        return word.substr(0, word.size() - apostrophe.size() - 1);
      }
    }
  }
  return word;
}

}  // namespace

absl::StatusOr<AnalyzerKind> ParseAnalyzerName(absl::string_view name) {
  std::string known;
  for (const KindName& k : kKindNames) {
    if (name == k.name) return k.kind;
    absl::StrAppend(&known, known.empty() ? "" : ", ", k.name);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("no analyzer is named '", name, "'; there are ", known));
}

const char* AnalyzerName(AnalyzerKind kind) {
  for (const KindName& k : kKindNames) {
    if (k.kind == kind) return k.name;
  }
  return "unknown";
}

struct Analyzer::Tools {
  UBreakIterator* boundaries = nullptr;
  sb_stemmer* stemmer = nullptr;

  ~Tools() {
    if (boundaries != nullptr) ubrk_close(boundaries);
    if (stemmer != nullptr) sb_stemmer_delete(stemmer);
  }
};

Analyzer::Analyzer(AnalyzerKind kind)
    : kind_(kind), tools_(std::make_unique<Tools>()) {
  switch (kind) {
    case AnalyzerKind::kLuceneEnglish:
      tools_->stemmer = sb_stemmer_new("porter", "UTF_8");
      break;
    case AnalyzerKind::kLuceneEnglishPorter2:
      tools_->stemmer = sb_stemmer_new("english", "UTF_8");
      break;
    case AnalyzerKind::kLuceneStandard:
      break;
    default:
      return;
  }
  UErrorCode error = U_ZERO_ERROR;
  tools_->boundaries = ubrk_open(UBRK_WORD, "", nullptr, 0, &error);
  // The root locale's rules are a part of ICU's library.
  if (U_FAILURE(error)) std::abort();
}

Analyzer::~Analyzer() = default;
Analyzer::Analyzer(Analyzer&&) noexcept = default;
Analyzer& Analyzer::operator=(Analyzer&&) noexcept = default;

std::vector<std::string> Analyzer::Terms(absl::string_view text) const {
  switch (kind_) {
    case AnalyzerKind::kSpace:
      return absl::StrSplit(text, ' ');
    case AnalyzerKind::kWhitespace:
      return PythonSplit(text);
    case AnalyzerKind::kCode:
      return code::SplitIdentifier(text);
    default:
      break;
  }
  std::vector<std::string> terms;
  for (const std::string& word : UnicodeWords(text, tools_->boundaries)) {
    if (tools_->stemmer == nullptr) {
      terms.push_back(LowerCase(word));
      continue;
    }
    const std::string lower = LowerCase(WithoutPossessive(word));
    if (std::binary_search(std::begin(kStopWords), std::end(kStopWords),
                           lower)) {
      continue;
    }
    const sb_symbol* const stem = sb_stemmer_stem(
        tools_->stemmer, reinterpret_cast<const sb_symbol*>(lower.data()),
        lower.size());
    if (stem == nullptr) {  // no memory
      terms.push_back(lower);
      continue;
    }
    terms.emplace_back(reinterpret_cast<const char*>(stem),
                       sb_stemmer_length(tools_->stemmer));
  }
  return terms;
}

}  // namespace repro::retrieval
