#include "papers/code_if/questions.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/data/io.h"
#include "common/data/json.h"
#include "common/data/jsonl.h"
#include "common/status/macros.h"

namespace repro::code_if {
namespace {

using code::CodeLanguage;
using nlohmann::json;

absl::Status CheckCategory(const std::string& category) {
  if (absl::c_linear_search(kCategories, category)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("no category ", Quoted(category), "; there are ",
                   absl::StrJoin(kCategories, ", ")));
}

// Runs `read` and puts `place` before its error, or before that of the JSON
// library.
template <typename Read>
absl::Status At(const std::string& place, const Read& read) {
  absl::Status status;
  try {
    status = read();
  } catch (const json::exception& error) {
    status = absl::InvalidArgumentError(error.what());
  }
  if (status.ok()) return status;
  return absl::InvalidArgumentError(
      absl::StrCat(place, ": ", status.message()));
}

absl::Status ReadTemplate(const json& value, InstructionTemplate* read) {
  read->id = value.at("id").get<int64_t>();
  read->category = value.at("type").get<std::string>();
  read->format = value.at("instruction_format").get<std::string>();
  read->keys = value.at("format_keys").get<std::vector<std::string>>();
  if (value.contains("check_format_list")) {
    read->checks =
        value.at("check_format_list").get<std::vector<std::string>>();
  }
  return CheckCategory(read->category);
}

// A position of an instruction, of `size`.
absl::StatusOr<int64_t> Position(int64_t position, size_t size) {
  if (position >= 0 && position < static_cast<int64_t>(size)) return position;
  return absl::InvalidArgumentError(
      absl::StrCat("instruction_dependence: position ", position,
                   " is none of the ", size, " instructions"));
}

absl::Status ReadQuestion(const json& value, Question* read) {
  read->id = value.at("question_id").get<int64_t>();
  read->text = value.at("question").get<std::string>();
  const json& meta = value.at("meta_info");
  const std::string language =
      meta.at("programming_language").get<std::string>();
  REPRO_ASSIGN_OR_RETURN(read->language, code::ParseLanguageName(language));
  if (read->language != CodeLanguage::kJava &&
      read->language != CodeLanguage::kPython &&
      read->language != CodeLanguage::kCpp &&
      read->language != CodeLanguage::kGo) {
    return absl::InvalidArgumentError(
        absl::StrCat("programming_language: ", Quoted(language),
                     " is none of java, python, cpp, go"));
  }
  const std::string set = meta.at("item_set").get<std::string>();
  if (set != "easy" && set != "hard") {
    return absl::InvalidArgumentError(
        absl::StrCat("item_set: ", Quoted(set), " is neither easy nor hard"));
  }
  read->hard = set == "hard";
  for (const json& entry : value.at("instruction_list")) {
    read->instructions.push_back({entry.at("type").get<std::string>(),
                                  entry.at("instruction").get<std::string>()});
    REPRO_RETURN_IF_ERROR(CheckCategory(read->instructions.back().category));
  }
  if (read->instructions.empty()) {
    return absl::InvalidArgumentError("instruction_list: empty");
  }
  const size_t size = read->instructions.size();
  const json& dependence = value.at("instruction_dependence");
  for (const auto& [key, positions] :
       dependence.get<std::map<std::string, std::vector<int64_t>>>()) {
    int64_t position;
    if (!absl::SimpleAtoi(key, &position)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "instruction_dependence: ", Quoted(key), " is no position"));
    }
    REPRO_ASSIGN_OR_RETURN(position, Position(position, size));
    for (const int64_t other : positions) {
      REPRO_RETURN_IF_ERROR(Position(other, size).status());
    }
    read->dependencies[position] = positions;
  }
  return absl::OkStatus();
}

// Without backticks, doubled white space, and points and white space around.
std::string Normalized(absl::string_view text) {
  std::string words = absl::StrJoin(
      absl::StrSplit(text, absl::ByAnyChar(" \t\r\n`"), absl::SkipWhitespace()),
      " ");
  while (!words.empty() && (words.back() == '.' || words.back() == ' ')) {
    words.pop_back();
  }
  return words;
}

absl::string_view Unquoted(absl::string_view text) {
  while (true) {
    text = absl::StripAsciiWhitespace(text);
    if (text.size() < 2 || text.front() != text.back() ||
        !absl::StrContains("'\"", text.front())) {
      return text;
    }
    const absl::string_view inside = text.substr(1, text.size() - 2);
    if (absl::StrContains(inside, text.front())) return text;  // 'a', 'b'
    text = inside;
  }
}

// Other wordings of templates in the released questions.
struct OtherWording {
  int64_t id;
  const char* format;
};
constexpr OtherWording kOtherWordings[] = {
    {5, "Your function should have at most {parameter_count} parameter"},
    {6, "Your code should not have more than {function_count} function"},
    {7, "Your code should not have more than {class_count} class"},
    {30,
     "The function names in your code should follow the {naming_convention} "
     "naming convention"},
    {37, "Your code should import the following libraries: {library_list}"},
    {39,
     "Your code should not use the following libraries: "
     "{disallowed_library_list}"},
    {41,
     "You should define an interface named {interface_name} that includes "
     "these methods: {method_name_list}"},
    {43,
     "In your code, the class {class_name} should have these properties: "
     "{properties_name_list}"},
    {44,
     "In your code, the class {class_name} should have these methods: "
     "{method_name_list}"},
    {45,
     "The function {function_name} should take {parameter_name_list} as a "
     "parameter"},
    {45, "The function {function_name} should take {parameter_name_list}"},
    {47,
     "Your code should be organized in a package named {package_name}, which "
     "should contain these classes: {class_name_list}"},
    {48,
     "Your code should be organized in a package named {package_name}, which "
     "should contain these functions: {function_name_list}"},
    {48,
     "Your code should be organized in a package named {package_name}, which "
     "should contain these functions{function_name_list}"},
    {49, "Your function {function_name} should not exceed {line_num} lines"},
};

}  // namespace

absl::StatusOr<std::vector<InstructionTemplate>> ReadTemplates(
    const std::string& path) {
  REPRO_ASSIGN_OR_RETURN(const json values, ReadJson(path));
  if (!values.is_array() || values.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": is no list of templates"));
  }
  std::vector<InstructionTemplate> templates;
  for (const json& value : values) {
    InstructionTemplate read;
    REPRO_RETURN_IF_ERROR(
        At(absl::StrCat(path, ": template ", templates.size() + 1),
           [&] { return ReadTemplate(value, &read); }));
    templates.push_back(std::move(read));
  }
  absl::c_sort(templates,
               [](const auto& a, const auto& b) { return a.id < b.id; });
  for (size_t i = 1; i < templates.size(); ++i) {
    if (templates[i].id == templates[i - 1].id) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": template id ", templates[i].id, " twice"));
    }
  }
  return templates;
}

absl::StatusOr<std::vector<Question>> ReadQuestions(const std::string& path) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<JsonLine> lines, ReadJsonl(path));
  if (lines.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": no records"));
  }
  std::vector<Question> questions;
  std::set<int64_t> ids;
  for (const JsonLine& line : lines) {
    Question read;
    REPRO_RETURN_IF_ERROR(At(absl::StrCat(path, ":", line.line), [&] {
      REPRO_RETURN_IF_ERROR(ReadQuestion(line.value, &read));
      if (ids.insert(read.id).second) return absl::OkStatus();
      return absl::InvalidArgumentError(
          absl::StrCat("question_id ", read.id, " twice"));
    }));
    questions.push_back(std::move(read));
  }
  return questions;
}

absl::StatusOr<TemplateMatcher> TemplateMatcher::Make(
    const std::vector<InstructionTemplate>& templates) {
  TemplateMatcher matcher;
  const auto add = [&](const InstructionTemplate& from,
                       absl::string_view format) -> absl::Status {
    Wording wording{from.id, from.category, {}, {}};
    std::string rest = Normalized(format);
    for (size_t open; (open = rest.find('{')) != std::string::npos;) {
      const size_t close = rest.find('}', open);
      if (close == std::string::npos) {
        return absl::InvalidArgumentError(
            absl::StrCat("template ", from.id, ": { without }"));
      }
      wording.fixed.push_back(rest.substr(0, open));
      wording.keys.push_back(rest.substr(open + 1, close - open - 1));
      rest = rest.substr(close + 1);
    }
    wording.fixed.push_back(rest);
    matcher.wordings_.push_back(std::move(wording));
    return absl::OkStatus();
  };
  for (const InstructionTemplate& one : templates) {
    REPRO_RETURN_IF_ERROR(add(one, one.format));
    if (matcher.wordings_.back().keys != one.keys) {
      return absl::InvalidArgumentError(
          absl::StrCat("template ", one.id, ": format_keys are ",
                       absl::StrJoin(one.keys, ", "), ", the braces hold ",
                       absl::StrJoin(matcher.wordings_.back().keys, ", ")));
    }
    for (const OtherWording& other : kOtherWordings) {
      if (other.id == one.id) REPRO_RETURN_IF_ERROR(add(one, other.format));
    }
  }
  // The most fixed text first.
  absl::c_stable_sort(matcher.wordings_, [](const auto& a, const auto& b) {
    const auto size = [](const Wording& wording) {
      size_t sum = 0;
      for (const std::string& text : wording.fixed) sum += text.size();
      return sum;
    };
    return size(a) > size(b);
  });
  return matcher;
}

std::optional<MatchedInstruction> TemplateMatcher::Match(
    const Instruction& instruction) const {
  const std::string text = Normalized(instruction.text);
  for (const Wording& wording : wordings_) {
    if (wording.category != instruction.category) continue;
    absl::string_view rest = text;
    if (!absl::ConsumePrefix(&rest, wording.fixed[0])) continue;
    MatchedInstruction matched;
    matched.id = wording.id;
    bool fits = wording.keys.empty() ? rest.empty() : true;
    for (size_t i = 0; fits && i < wording.keys.size(); ++i) {
      const std::string& next = wording.fixed[i + 1];
      const bool last = i + 1 == wording.keys.size();
      size_t end = last ? rest.size() : rest.find(next);
      if (last && absl::EndsWith(rest, next)) {
        end -= next.size();
      } else if (last || end == absl::string_view::npos) {
        fits = false;
        break;
      }
      matched.values[wording.keys[i]] =
          std::string(Unquoted(rest.substr(0, end)));
      rest.remove_prefix(end + next.size());
    }
    if (fits) return matched;
  }
  return std::nullopt;
}

std::vector<std::string> SplitList(absl::string_view value) {
  value = Unquoted(value);
  if (absl::ConsumePrefix(&value, "[")) absl::ConsumeSuffix(&value, "]");
  if (absl::StartsWith(value, "no ") || value == "none") return {};
  std::vector<std::string> items;
  const auto add = [&](absl::string_view item) {
    item = absl::StripAsciiWhitespace(item);
    absl::ConsumePrefix(&item, "and ");
    // "a and b"
    const size_t conjunction = item.find(" and ");
    for (absl::string_view part :
         {item.substr(0, conjunction), conjunction == absl::string_view::npos
                                           ? absl::string_view()
                                           : item.substr(conjunction + 5)}) {
      part = Unquoted(part);
      if (!part.empty()) items.emplace_back(part);
    }
  };
  int depth = 0;
  size_t begin = 0;
  for (size_t i = 0; i < value.size(); ++i) {
    const char c = value[i];
    depth += c == '<' || c == '(' || c == '[';
    depth -= depth > 0 && (c == '>' || c == ')' || c == ']');
    if (c == ',' && depth == 0) {
      add(value.substr(begin, i - begin));
      begin = i + 1;
    }
  }
  add(value.substr(std::min(begin, value.size())));
  return items;
}

}  // namespace repro::code_if
