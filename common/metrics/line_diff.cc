#include "common/metrics/line_diff.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "common/metrics/python_text.h"

namespace repro::metrics {
namespace {

using Lines = absl::Span<const absl::string_view>;

// SequenceMatcher.get_grouped_opcodes(context).
std::vector<std::vector<Opcode>> Groups(std::vector<Opcode> opcodes,
                                        int64_t context) {
  std::vector<std::vector<Opcode>> groups;
  if (opcodes.empty()) return groups;
  Opcode& first = opcodes.front();
  if (first.kind == EditKind::kEqual) {
    first.a_begin = std::max(first.a_begin, first.a_end - context);
    first.b_begin = std::max(first.b_begin, first.b_end - context);
  }
  Opcode& last = opcodes.back();
  if (last.kind == EditKind::kEqual) {
    last.a_end = std::min(last.a_end, last.a_begin + context);
    last.b_end = std::min(last.b_end, last.b_begin + context);
  }
  std::vector<Opcode> group;
  for (Opcode opcode : opcodes) {
    if (opcode.kind == EditKind::kEqual &&
        opcode.a_end - opcode.a_begin > 2 * context) {
      group.push_back({EditKind::kEqual, opcode.a_begin,
                       opcode.a_begin + context, opcode.b_begin,
                       opcode.b_begin + context});
      groups.push_back(std::exchange(group, {}));
      opcode.a_begin = opcode.a_end - context;
      opcode.b_begin = opcode.b_end - context;
    }
    group.push_back(opcode);
  }
  groups.push_back(std::move(group));
  const auto changes_nothing = [](const std::vector<Opcode>& opcodes) {
    return opcodes.size() == 1 && opcodes[0].kind == EditKind::kEqual;
  };
  if (changes_nothing(groups.back())) groups.pop_back();
  return groups;
}

std::string RangeText(int64_t begin, int64_t end) {
  const int64_t length = end - begin;
  if (length == 1) return absl::StrCat(begin + 1);
  return absl::StrCat(length == 0 ? begin : begin + 1, ",", length);
}

}  // namespace

std::vector<Opcode> LineOpcodes(Lines a, Lines b) {
  absl::flat_hash_map<absl::string_view, int32_t> numbers;
  const auto symbols = [&](Lines lines) {
    Symbols symbols;
    symbols.reserve(lines.size());
    for (const absl::string_view line : lines) {
      symbols.push_back(
          numbers.try_emplace(line, static_cast<int32_t>(numbers.size()))
              .first->second);
    }
    return symbols;
  };
  const Symbols from = symbols(a);
  return Opcodes(from, symbols(b));
}

std::string Hunk::Header() const {
  return absl::StrCat("@@ -", RangeText(a_begin, a_end), " +",
                      RangeText(b_begin, b_end), " @@");
}

std::vector<Hunk> Hunks(Lines a, Lines b, int64_t context) {
  std::vector<Hunk> hunks;
  for (const std::vector<Opcode>& group : Groups(LineOpcodes(a, b), context)) {
    Hunk hunk{group.front().a_begin,
              group.back().a_end,
              group.front().b_begin,
              group.back().b_end,
              {}};
    const auto append = [&](char mark, Lines lines) {
      for (const absl::string_view line : lines) {
        hunk.lines.push_back(absl::StrCat(absl::string_view(&mark, 1), line));
      }
    };
    for (const Opcode& opcode : group) {
      const Lines removed =
          a.subspan(opcode.a_begin, opcode.a_end - opcode.a_begin);
      if (opcode.kind == EditKind::kEqual) {
        append(' ', removed);
      } else {
        append('-', removed);
        append('+', b.subspan(opcode.b_begin, opcode.b_end - opcode.b_begin));
      }
    }
    hunks.push_back(std::move(hunk));
  }
  return hunks;
}

std::vector<std::string> UnifiedDiff(Lines a, Lines b,
                                     absl::string_view from_file,
                                     absl::string_view to_file,
                                     int64_t context) {
  std::vector<std::string> diff;
  for (Hunk& hunk : Hunks(a, b, context)) {
    if (diff.empty()) {
      diff.push_back(absl::StrCat("--- ", from_file));
      diff.push_back(absl::StrCat("+++ ", to_file));
    }
    diff.push_back(hunk.Header());
    std::move(hunk.lines.begin(), hunk.lines.end(), std::back_inserter(diff));
  }
  return diff;
}

}  // namespace repro::metrics
