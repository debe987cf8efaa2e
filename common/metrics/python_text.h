#ifndef REPRO_COMMON_METRICS_PYTHON_TEXT_H_
#define REPRO_COMMON_METRICS_PYTHON_TEXT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "common/text/utf8.h"

// Text as Python's str handles it: the reference implementations of the text
// metrics are Python programs, and their numbers depend on its Unicode rules.
// Text is UTF-8; a byte that is not part of a valid sequence counts as U+FFFD.
namespace repro::metrics {

using Tokens = std::vector<std::string>;

// The code points of a text, or any other sequence of symbols to compare.
using Symbols = std::vector<int32_t>;

Symbols CodePoints(absl::string_view text);

// str.isspace, and \s and \w of the module re.
bool IsSpace(int32_t code_point);
bool IsWord(int32_t code_point);

// One of string.punctuation.
bool IsAsciiPunctuation(int32_t code_point);

// text.lower() and text.upper() by simple case mappings. Python also maps to
// several letters (upper of U+00DF) and a final capital sigma to U+03C2; here
// only the one-letter form is known, and U+0130 in lower.
std::string Lower(absl::string_view text);
std::string Upper(absl::string_view text);

// text.split(), text.strip() and text.rstrip().
Tokens SplitWhitespace(absl::string_view text);
std::string Strip(absl::string_view text);
absl::string_view StripTrailing(absl::string_view text);

// text.splitlines() and text.splitlines(keepends=True): a line ends at "\n",
// "\r", "\r\n", "\v", "\f", U+001C to U+001E, U+0085, U+2028 or U+2029, and
// nothing follows the last end. Views into `text`.
enum class LineEnds { kDrop, kKeep };
std::vector<absl::string_view> SplitLines(absl::string_view text,
                                          LineEnds ends);

// The maximal runs of the digits 0 to 9: re.findall("[0-9]+", text). Views into
// `text`.
std::vector<absl::string_view> DigitRuns(absl::string_view text);

// text.split(separator): empty pieces are kept, an empty text is one of them.
Tokens SplitKeepingEmpty(absl::string_view text, char separator);

}  // namespace repro::metrics

#endif  // REPRO_COMMON_METRICS_PYTHON_TEXT_H_
