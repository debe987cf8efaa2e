#include "papers/code_tree/parse.h"

#include <cstddef>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace repro::code_tree {
namespace {

using Lines = std::vector<absl::string_view>;

Lines SplitLines(absl::string_view text) {
  Lines lines = absl::StrSplit(text, '\n');
  for (absl::string_view& line : lines) absl::ConsumeSuffix(&line, "\r");
  if (!lines.empty() && lines.back().empty()) lines.pop_back();
  return lines;
}

bool IsBlank(absl::string_view line) {
  return absl::StripAsciiWhitespace(line).empty();
}

// What follows the line's number; nothing if it has none.
std::optional<absl::string_view> NumberedItem(absl::string_view line) {
  const absl::string_view trimmed = absl::StripAsciiWhitespace(line);
  const auto skip_digits = [&](size_t at) {
    while (at < trimmed.size() && absl::ascii_isdigit(trimmed[at])) ++at;
    return at;
  };
  if (absl::StartsWith(trimmed, "<")) {
    const size_t end = skip_digits(1);
    if (end > 1 && end < trimmed.size() && trimmed[end] == '>') {
      return trimmed.substr(end + 1);
    }
  }
  for (size_t at = 0; at < trimmed.size(); ++at) {
    const size_t end = skip_digits(at);
    if (end > at && end < trimmed.size() && trimmed[end] == '.') {
      return trimmed.substr(end + 1);
    }
    if (end > at) at = end - 1;
  }
  return std::nullopt;
}

struct Block {
  std::string mark;  // "python", "" ...
  std::string code;
  bool closed = false;
};

std::vector<Block> FencedBlocks(const Lines& lines) {
  std::vector<Block> blocks;
  std::optional<Block> open;
  Lines code;
  const auto close = [&](bool closed) {
    open->code = absl::StrJoin(code, "\n");
    open->closed = closed;
    blocks.push_back(*std::exchange(open, std::nullopt));
    code.clear();
  };
  for (const absl::string_view line : lines) {
    absl::string_view trimmed = absl::StripAsciiWhitespace(line);
    const bool fence = absl::ConsumePrefix(&trimmed, "```");
    if (!open && fence) {
      open.emplace();
      open->mark = absl::AsciiStrToLower(absl::StripAsciiWhitespace(trimmed));
    } else if (open && fence && trimmed.empty()) {
      close(true);
    } else if (open && absl::EndsWith(line, "```")) {  // no line of its own
      code.push_back(line.substr(0, line.size() - 3));
      close(true);
    } else if (open) {
      code.push_back(line);
    }
  }
  if (open) close(false);
  return blocks;
}

bool IsPython(absl::string_view mark) {
  return mark == "python" || mark == "python3" || mark == "py";
}

bool IsImport(absl::string_view line) {
  return absl::StartsWith(line, "import ") || absl::StartsWith(line, "from ");
}

// From the imports before the first function to the last line that can belong
// to it or to what follows it: functions, classes, decorators.
std::string FirstFunction(const Lines& lines) {
  size_t first = 0;
  while (first < lines.size() && !absl::StartsWith(lines[first], "def ")) {
    ++first;
  }
  if (first == lines.size()) return "";
  size_t end = first;
  const auto belongs = [](absl::string_view line) {
    return IsBlank(line) || absl::StartsWith(line, " ") ||
           absl::StartsWith(line, "\t") || absl::StartsWith(line, "def ") ||
           absl::StartsWith(line, "class ") || absl::StartsWith(line, "@") ||
           absl::StartsWith(line, "#") || absl::StartsWith(line, ")") ||
           IsImport(line);
  };
  while (end < lines.size() && belongs(lines[end])) ++end;
  while (first > 0 &&
         (IsBlank(lines[first - 1]) || IsImport(lines[first - 1]))) {
    --first;
  }
  return absl::StrJoin(lines.begin() + static_cast<std::ptrdiff_t>(first),
                       lines.begin() + static_cast<std::ptrdiff_t>(end), "\n");
}

// The place of the last line that is not blank; lines.size() if all are.
size_t LastLine(const Lines& lines) {
  for (size_t i = lines.size(); i > 0; --i) {
    if (!IsBlank(lines[i - 1])) return i - 1;
  }
  return lines.size();
}

}  // namespace

std::vector<std::string> ParseNumberedList(absl::string_view reply,
                                           int max_items) {
  constexpr size_t kShortestLine = 5;
  std::vector<std::string> items;
  for (const absl::string_view line : SplitLines(reply)) {
    if (static_cast<int>(items.size()) >= max_items) break;
    if (line.size() < kShortestLine) continue;
    const auto item = NumberedItem(line);
    if (!item || IsBlank(*item)) continue;
    items.emplace_back(absl::StripAsciiWhitespace(*item));
  }
  return items;
}

std::optional<std::string> ExtractCode(absl::string_view reply) {
  const Lines lines = SplitLines(reply);
  const std::vector<Block> blocks = FencedBlocks(lines);
  const auto first = [&](const auto& wanted) -> std::optional<std::string> {
    for (const Block& block : blocks) {
      if (wanted(block) && !IsBlank(block.code)) return block.code;
    }
    return std::nullopt;
  };
  auto code =
      first([](const Block& b) { return b.closed && IsPython(b.mark); });
  if (!code) {
    code = first([](const Block& b) { return b.closed && b.mark.empty(); });
  }
  if (!code) {
    code = first([](const Block& b) {
      return !b.closed && (IsPython(b.mark) || b.mark.empty());
    });
  }
  if (!code) {
    std::string function = FirstFunction(lines);
    if (!function.empty()) code = std::move(function);
  }
  return code;
}

std::optional<int> ParseScore(absl::string_view reply) {
  const Lines lines = SplitLines(reply);
  const size_t last = LastLine(lines);
  if (last == lines.size()) return std::nullopt;
  for (int score = 5; score >= 0; --score) {
    if (absl::StrContains(lines[last], static_cast<char>('0' + score))) {
      return score;
    }
  }
  return std::nullopt;
}

Review ParseReview(absl::string_view reply) {
  const Lines lines = SplitLines(reply);
  const size_t last = LastLine(lines);
  Review review;
  if (last == lines.size()) return review;
  review.accepted =
      !absl::StrContains(absl::AsciiStrToLower(lines[last]), "false");
  Lines kept;
  for (const absl::string_view line : lines) {
    if (!IsBlank(line)) kept.push_back(line);
  }
  if (kept.size() > 2) kept.pop_back();
  review.text = absl::StrJoin(kept, "\n");
  return review;
}

}  // namespace repro::code_tree
