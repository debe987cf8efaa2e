#include "papers/code_if/construction.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/status/macros.h"

namespace repro::code_if {
namespace {

bool HasConflict(const std::vector<int64_t>& ids) {
  return FindConflict(ids).first != 0;
}

}  // namespace

const std::vector<std::pair<int64_t, int64_t>>& ConflictingPairs() {
  static const auto* const pairs = new std::vector<std::pair<int64_t, int64_t>>{
      {3, 4},   {8, 9},   {10, 11}, {12, 13}, {14, 15},
      {16, 17}, {18, 19}, {24, 25}, {27, 28}, {24, 4}};
  return *pairs;
}

const std::vector<int64_t>& Prerequisites(int64_t id) {
  static const auto* const needed = new std::map<int64_t, std::vector<int64_t>>{
      {22, {20}}, {23, {20}}, {24, {20}}, {25, {20}},     {26, {20}},
      {27, {20}}, {28, {20}}, {30, {29}}, {33, {32}},     {35, {34}},
      {38, {37}}, {40, {34}}, {41, {32}}, {42, {34, 32}}, {43, {34}},
      {44, {34}}, {45, {29}}, {46, {29}}, {47, {36, 34}}, {48, {36}}};
  static const auto* const none = new std::vector<int64_t>;
  const auto found = needed->find(id);
  return found == needed->end() ? *none : found->second;
}

std::pair<int64_t, int64_t> FindConflict(const std::vector<int64_t>& ids) {
  for (const auto& pair : ConflictingPairs()) {
    if (absl::c_linear_search(ids, pair.first) &&
        absl::c_linear_search(ids, pair.second)) {
      return pair;
    }
  }
  return {0, 0};
}

std::vector<int64_t> WithPrerequisites(const std::vector<int64_t>& ids) {
  std::set<int64_t> all;
  std::vector<int64_t> open = ids;
  while (!open.empty()) {
    const int64_t id = open.back();
    open.pop_back();
    if (!all.insert(id).second) continue;
    const std::vector<int64_t>& needed = Prerequisites(id);
    open.insert(open.end(), needed.begin(), needed.end());
  }
  return {all.begin(), all.end()};
}

absl::StatusOr<std::vector<int64_t>> DrawTemplates(
    const std::vector<InstructionTemplate>& templates, int64_t count,
    std::mt19937_64& random) {
  std::vector<int64_t> left;
  bool has_language = false;
  for (const InstructionTemplate& one : templates) {
    if (one.id == 1) {
      has_language = true;
    } else {
      left.push_back(one.id);
    }
  }
  if (!has_language) {
    return absl::InvalidArgumentError("there is no template 1, the language");
  }
  std::vector<int64_t> chosen = {1};
  while (static_cast<int64_t>(chosen.size()) < count) {
    // What conflicts now always will.
    left.erase(std::remove_if(left.begin(), left.end(),
                              [&](int64_t id) {
                                std::vector<int64_t> with = chosen;
                                with.push_back(id);
                                return HasConflict(with);
                              }),
               left.end());
    if (left.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("no ", count, " of the templates go together"));
    }
    const size_t place =
        std::uniform_int_distribution<size_t>(0, left.size() - 1)(random);
    chosen.push_back(left[place]);
    left.erase(left.begin() + static_cast<int64_t>(place));
  }
  return WithPrerequisites(chosen);
}

Dependencies RebuildDependencies(const std::vector<int64_t>& ids,
                                 const std::vector<std::string>& categories,
                                 Repeated repeated) {
  const auto position = [&](size_t i) {
    if (repeated == Repeated::kEach) return static_cast<int64_t>(i);
    size_t last = i;
    for (size_t j = i; j < ids.size(); ++j) {
      if (ids[j] == ids[i]) last = j;
    }
    return static_cast<int64_t>(last);
  };
  Dependencies dependencies;
  for (size_t i = 0; i < ids.size(); ++i) {
    const std::vector<int64_t>& needed = Prerequisites(ids[i]);
    if (needed.empty()) continue;
    std::vector<int64_t> list;
    for (size_t j = 0; j < ids.size(); ++j) {
      if (ids[j] != ids[i] && (absl::c_linear_search(needed, ids[j]) ||
                               categories[j] == "global")) {
        list.push_back(position(j));
      }
    }
    dependencies[position(i)] = std::move(list);
  }
  return dependencies;
}

}  // namespace repro::code_if
