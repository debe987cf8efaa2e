// CodeIF's questions and instruction templates (Yan et al. 2025, arXiv
// 2502.19166), and which template each instruction was made from.
//
//   REPRO_ASSIGN_OR_RETURN(const auto templates, ReadTemplates(json_path));
//   REPRO_ASSIGN_OR_RETURN(const TemplateMatcher matcher,
//                          TemplateMatcher::Make(templates));
//   REPRO_ASSIGN_OR_RETURN(const auto questions, ReadQuestions(jsonl_path));
//   matcher.Match(questions[0].instructions[0])->id;  // 1, the language
#ifndef REPRO_PAPERS_CODE_IF_QUESTIONS_H_
#define REPRO_PAPERS_CODE_IF_QUESTIONS_H_

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/code/language.h"

namespace repro::code_if {

// What instructions are about, as the files spell it.
inline constexpr std::array<const char*, 8> kCategories = {
    "global",    "structural control", "variable",
    "interface", "function",           "class",
    "file",      "combination"};

struct InstructionTemplate {
  int64_t id = 0;                   // 1 to 50
  std::string category;             // one of kCategories
  std::string format;               // "... a variable named {variable_name}."
  std::vector<std::string> keys;    // the names in braces, in order
  std::vector<std::string> checks;  // yes/no questions; none for 49 and 50
};

// data/instruction/en.json of the authors' repository, plain or gzip, by id.
// InvalidArgument, with the file and the line or the template's place, for what
// is not JSON, lacks a field, has another category, an id twice or none.
absl::StatusOr<std::vector<InstructionTemplate>> ReadTemplates(
    const std::string& path);

struct Instruction {
  std::string category;  // one of kCategories
  std::string text;
};

// Of an instruction's position, those of the instructions that it depends on,
// all from 0. Positions without an entry depend on nothing.
using Dependencies = std::map<int64_t, std::vector<int64_t>>;

struct Question {
  int64_t id = 0;
  std::string text;
  // kJava, kPython, kCpp or kGo.
  code::CodeLanguage language = code::CodeLanguage::kJava;
  bool hard = false;
  std::vector<Instruction> instructions;
  Dependencies dependencies;  // as released: instruction_dependence
};

// final_release_1200.jsonl, plain or gzip, in the file's order.
// InvalidArgument "path:line: ..." for a record that lacks a field or has one
// of another kind, another language or category, no instructions, an id twice
// or a position that is no instruction's, and for a file without records.
absl::StatusOr<std::vector<Question>> ReadQuestions(const std::string& path);

// An instruction as template and values.
struct MatchedInstruction {
  int64_t id = 0;  // of the template
  // By the template's keys, without quotes, backticks and white space around.
  // A list stays one text: SplitList. Template 49 has "function_name" too where
  // the instruction names one function.
  std::map<std::string, std::string> values;
};

// Recognises the instructions of the released questions. They are not the bare
// templates: reviewers put singulars ("1 class"), colons and backticks, and
// some placeholders are empty.
class TemplateMatcher {
 public:
  // InvalidArgument: a template whose keys are not the names in its braces.
  static absl::StatusOr<TemplateMatcher> Make(
      const std::vector<InstructionTemplate>& templates);

  // The template of the instruction's category whose fixed words are the
  // instruction's, each placeholder taking as little as it can; of several the
  // one with the most fixed words. Nothing if there is none.
  std::optional<MatchedInstruction> Match(const Instruction& instruction) const;

 private:
  struct Wording {
    int64_t id;
    std::string category;
    // Fixed text around the values: one more than keys.
    std::vector<std::string> fixed;
    std::vector<std::string> keys;
  };
  std::vector<Wording> wordings_;
};

// The items of a list value: "['a', 'b']", "a, b and c", "[]", "no parameters".
// Quotes, backticks and white space around items are dropped, and so are empty
// items. Commas inside of brackets part nothing: "map<int, int> m, k".
std::vector<std::string> SplitList(absl::string_view value);

}  // namespace repro::code_if

#endif  // REPRO_PAPERS_CODE_IF_QUESTIONS_H_
