#ifndef REPRO_COMMON_RETRIEVAL_ANALYZER_H_
#define REPRO_COMMON_RETRIEVAL_ANALYZER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace repro::retrieval {

// How a text becomes the terms that an index holds. Each is named after the
// program whose rule it is.
enum class AnalyzerKind {
  // text.split(" ") of Python, as in rank_bm25's README: every space separates,
  // so that two in a row give an empty term. Case is kept.
  kSpace,
  // text.split() of Python: runs of Unicode white space separate.
  kWhitespace,
  // Lucene's StandardAnalyzer: the words of Unicode's annex 29 that hold a
  // letter, digit or ideograph, in lower case, cut into pieces of 255 code
  // points. No stop words, as since Lucene 8.
  kLuceneStandard,
  // Lucene's EnglishAnalyzer: the same without "'s" at the end, without
  // Lucene's 33 stop words, and stemmed by Porter's algorithm of 1980.
  kLuceneEnglish,
  // Like kLuceneEnglish with Snowball's English stemmer ("Porter 2").
  kLuceneEnglishPorter2,
  // For source code: the words of its identifiers, keywords and numbers
  // (code::SplitIdentifier: parseHTTPResponse2 gives parse http response 2).
  kCode,
};

// "space", "whitespace", "lucene_standard", "lucene_english",
// "lucene_english_porter2", "code". InvalidArgument lists them.
absl::StatusOr<AnalyzerKind> ParseAnalyzerName(absl::string_view name);
const char* AnalyzerName(AnalyzerKind kind);

// Turns texts into terms:
//
//   const Analyzer analyzer(AnalyzerKind::kLuceneEnglish);
//   analyzer.Terms("The functions' parsing");  // {"function", "pars"}
//
// Every text is accepted. Bytes that are not UTF-8 part words of Lucene's
// analyzers; the others keep them. One Analyzer serves one thread.
class Analyzer {
 public:
  explicit Analyzer(AnalyzerKind kind);
  ~Analyzer();
  Analyzer(Analyzer&&) noexcept;
  Analyzer& operator=(Analyzer&&) noexcept;

  std::vector<std::string> Terms(absl::string_view text) const;
  AnalyzerKind kind() const { return kind_; }

 private:
  struct Tools;  // ICU's break iterator, the stemmer

  AnalyzerKind kind_;
  std::unique_ptr<Tools> tools_;
};

}  // namespace repro::retrieval

#endif  // REPRO_COMMON_RETRIEVAL_ANALYZER_H_
