#ifndef REPRO_COMMON_METRICS_INFINITE_BENCH_H_
#define REPRO_COMMON_METRICS_INFINITE_BENCH_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

// InfiniteBench's scorers (Zhang et al. 2024) besides question answering (QaF1
// and ChineseCharacterF1 of qa.h) and summaries (GoogleRougeLsum of rouge.h).
// Two rule sets are in use, and their numbers are not comparable: kOriginal is
// that of the benchmark's authors, kRevised the more lenient one of the papers
// after it. Runs of digits are ASCII ones.
namespace repro::metrics {

enum class InfiniteBenchRules { kOriginal, kRevised };

// passkey, number_string: the prediction's first run of digits is the label.
bool FirstDigitsMatch(absl::string_view prediction, absl::string_view label);

// kv_retrieval: the label is a word of the prediction, of which line feeds and
// : " ' . , ? ! { } became spaces.
bool ContainsWord(absl::string_view prediction, absl::string_view label);

// code_run: the last word, after line feeds and . ` ' " : became spaces, reads
// as the label in Python's int().
bool LastWordIsInteger(absl::string_view prediction, int64_t label);

// math_find: the first number without sign, "12" or "12.5". With an integer as
// the label, a number with a decimal point is wrong (where the original raises
// an error).
bool FirstNumberIs(absl::string_view prediction, int64_t label);
bool FirstNumberIs(absl::string_view prediction, double label);

// math_calc: the share of the label's values before the first that differs
// from the prediction's runs of digits, of which `skip` are left out at the
// front (the original skips one for GPT-4, which repeats the first value). 0
// for an empty label.
double CommonPrefixShare(absl::string_view prediction,
                         const std::vector<int64_t>& label, int64_t skip = 0);

// code_debug: the label is a function's name and the letter of its option.
// kOriginal: the prediction starts with "X." or "X:", or after the first of
// "answer is:", "is:", "answer:" in this order comes the letter or the name.
// kRevised: the last stand-alone letter A to J of the first line that has one,
// or the start of the text, or as above.
bool CodeDebugIsRight(absl::string_view prediction, absl::string_view function,
                      absl::string_view letter, InfiniteBenchRules rules);

// longbook_choice_eng: the labels are the answer's text and its letter.
// kOriginal: the first character if it is one of A to D, else the whole
// prediction is a label, or what follows the first of "answer is:", "answer:",
// "answer is", "option is" starts with one, else the first word made of A to D.
// kRevised: before all that, the last stand-alone letter of the first line that
// has one.
bool ChoiceIsRight(absl::string_view prediction,
                   const std::vector<std::string>& labels,
                   InfiniteBenchRules rules);

// longdialogue_qa_eng. kOriginal: the first label is a word of the upper-cased
// prediction (see ContainsWord), so that names of two words never match.
// kRevised: any label is a substring, without case.
bool DialogueIsRight(absl::string_view prediction,
                     const std::vector<std::string>& labels,
                     InfiniteBenchRules rules);

}  // namespace repro::metrics

#endif  // REPRO_COMMON_METRICS_INFINITE_BENCH_H_
