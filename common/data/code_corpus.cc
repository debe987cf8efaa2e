#include "common/data/code_corpus.h"

#include <zlib.h>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <numeric>
#include <system_error>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/assets/sha256.h"
#include "common/code/functions.h"
#include "common/code/syntax_tree.h"
#include "common/code/tokens.h"
#include "common/data/io.h"
#include "common/status/macros.h"
#include "common/text/utf8.h"

namespace repro {
namespace {

using code::CodeLanguage;

constexpr int64_t kMinDocumentationTokens = 3;
constexpr int64_t kMinCodeLines = 3;
constexpr int64_t kMinIdentifiers = 10;
constexpr double kSetSimilarity = 0.8;
constexpr double kMultisetSimilarity = 0.7;

// The authors' parsers' FILTER_PATHS and BLACKLISTED_FUNCTION_NAMES.
struct Rules {
  std::vector<std::string> extensions;
  std::vector<std::string> excluded_paths;  // anywhere in the lower-case path
  absl::flat_hash_set<std::string> excluded_names;
};

const Rules* RulesOf(CodeLanguage language) {
  static const auto* const rules = new std::map<CodeLanguage, Rules>{
      {CodeLanguage::kPython, {{".py"}, {"test"}, {}}},
      {CodeLanguage::kJava,
       {{".java"},
        {"test"},
        {"toString", "hashCode", "equals", "finalize", "notify", "notifyAll",
         "clone"}}},
      {CodeLanguage::kJavaScript,
       {{".js"},
        {"test", "node_modules"},
        {"constructor", "toString", "toLocaleString", "valueOf"}}},
      {CodeLanguage::kGo, {{".go"}, {"test", "vendor"}, {}}},
      {CodeLanguage::kPhp,
       {{".php"},
        {"test"},
        {"__construct", "__destruct", "__call", "__callStatic", "__get",
         "__set", "__isset", "__unset", "__sleep", "__wakeup", "__toString",
         "__invoke", "__set_state", "__clone", "__debugInfo", "__serialize",
         "__unserialize"}}},
      {CodeLanguage::kRuby,
       {{".rb"},
        {"test", "vendor"},
        {"initialize", "to_text", "display", "dup", "clone", "equal?", "==",
         "<=>", "===", "<=", "<", ">", ">=", "between?", "eql?", "hash"}}},
  };
  const auto found = rules->find(language);
  return found == rules->end() ? nullptr : &found->second;
}

bool IsExcludedName(const code::Function& function, const Rules& rules,
                    CodeLanguage language) {
  if (rules.excluded_names.contains(function.name)) return true;
  if (language == CodeLanguage::kPython) {
    return function.name.size() > 4 && absl::StartsWith(function.name, "__") &&
           absl::EndsWith(function.name, "__");
  }
  return language == CodeLanguage::kJava &&
         !function.enclosing_classes.empty() &&
         function.enclosing_classes.back() == function.name;
}

// Lines that are not blank.
int64_t CountLines(absl::string_view text) {
  int64_t lines = 0;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    lines += !absl::StripAsciiWhitespace(line).empty();
  }
  return lines;
}

bool IsIdentifierText(absl::string_view text) {
  return !text.empty() && (absl::ascii_isalpha(text[0]) || text[0] == '_');
}

std::vector<std::string> Identifiers(
    const CorpusFunction& function,
    const absl::flat_hash_set<std::string>& keywords) {
  std::vector<std::string> out;
  for (const std::string& token : function.code_tokens) {
    if (IsIdentifierText(token) && !keywords.contains(token)) {
      out.push_back(token);
    }
  }
  return out;
}

absl::StatusOr<std::string> Gzip(absl::string_view text) {
  z_stream stream = {};
  // 15 bits of window, and 16 for gzip's header. No time is in it, so that the
  // same corpus is the same file.
  if (deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED, 15 + 16, 9,
                   Z_DEFAULT_STRATEGY) != Z_OK) {
    return absl::ResourceExhaustedError("no memory to compress");
  }
  std::string out(deflateBound(&stream, text.size()), '\0');
  if (text.size() > UINT32_MAX || out.size() > UINT32_MAX) {
    deflateEnd(&stream);
    return absl::ResourceExhaustedError(
        absl::StrCat(text.size(), " bytes are too many for one file"));
  }
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  const int result = deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  if (result != Z_STREAM_END)
    return absl::InternalError("zlib: deflate failed");
  return out;
}

// A file's functions, in source order.
void AddFunctions(const CorpusFile& file, const code::SyntaxTree& tree,
                  const Rules& rules, CorpusCounts* counts,
                  std::vector<CorpusFunction>* out) {
  const auto leave_out = [&](CorpusFilter filter) {
    ++counts->left_out[static_cast<int>(filter)];
  };
  code::TokenOptions token_options;
  token_options.drop_comments = false;
  token_options.drop_docstrings = true;
  const std::vector<code::CodeToken> tokens = Tokens(tree, token_options);

  for (const code::Function& function : ExtractFunctions(tree)) {
    ++counts->functions;
    if (function.is_nested) {
      leave_out(CorpusFilter::kNested);
      continue;
    }
    if (absl::StrContains(absl::AsciiStrToLower(function.name), "test")) {
      leave_out(CorpusFilter::kTest);
      continue;
    }
    if (IsExcludedName(function, rules, file.language)) {
      leave_out(CorpusFilter::kConstructor);
      continue;
    }
    if (function.documentation.empty()) {
      leave_out(CorpusFilter::kUndocumented);
      continue;
    }
    CorpusFunction record;
    record.docstring = function.documentation;
    record.docstring_tokens =
        DocumentationTokens(CodeSearchNetSummary(function.documentation));
    if (record.docstring_tokens.size() < kMinDocumentationTokens) {
      leave_out(CorpusFilter::kShortDocumentation);
      continue;
    }
    record.code = std::string(absl::StripAsciiWhitespace(function.node.text()));
    int64_t lines = CountLines(record.code);
    if (file.language == CodeLanguage::kPython) {
      const code::SyntaxNode docstring = code::PythonDocstring(function.node);
      if (docstring) lines -= CountLines(docstring.text());
    }
    if (lines < kMinCodeLines) {
      leave_out(CorpusFilter::kShortCode);
      continue;
    }
    const auto begin =
        std::lower_bound(tokens.begin(), tokens.end(), function.node.index(),
                         [](const code::CodeToken& token, uint32_t index) {
                           return token.node.index() < index;
                         });
    for (auto token = begin; token != tokens.end() &&
                             token->node.index() < function.node.subtree_end();
         ++token) {
      record.code_tokens.emplace_back(token->text);
    }
    record.language = file.language;
    record.repository = file.repository;
    record.path = file.path;
    record.sha = file.sha;
    record.func_name = function.qualified_name;
    record.url = absl::StrCat(file.url, "#L", function.node.start_row() + 1,
                              "-L", function.node.end_row() + 1);
    record.partition = CorpusPartition(file.repository, file.path);
    out->push_back(std::move(record));
  }
}

// Keeps the marked ones, in order.
void Keep(const std::vector<bool>& kept, std::vector<CorpusFunction>* list) {
  size_t to = 0;
  for (size_t i = 0; i < list->size(); ++i) {
    if (!kept[i]) continue;
    if (to != i) (*list)[to] = std::move((*list)[i]);
    ++to;
  }
  list->resize(to);
}

void RemoveDuplicates(CodeLanguage language, CorpusCounts* counts,
                      std::vector<CorpusFunction>* list) {
  std::vector<bool> kept(list->size(), true);
  const auto leave_out = [&](size_t i, CorpusFilter filter) {
    kept[i] = false;
    ++counts->left_out[static_cast<int>(filter)];
  };
  absl::flat_hash_set<std::string> seen;
  for (size_t i = 0; i < list->size(); ++i) {
    if (!seen.insert(Sha256(absl::StrJoin((*list)[i].code_tokens, " ")))
             .second) {
      leave_out(i, CorpusFilter::kDuplicate);
    }
  }
  Keep(kept, list);

  const std::vector<std::string> literals = code::LiteralTokens(language);
  const absl::flat_hash_set<std::string> keywords(literals.begin(),
                                                  literals.end());
  kept.assign(list->size(), true);
  std::vector<std::vector<std::string>> identifiers;
  for (size_t i = 0; i < list->size(); ++i) {
    std::vector<std::string> own = Identifiers((*list)[i], keywords);
    if (own.size() < kMinIdentifiers) {
      leave_out(i, CorpusFilter::kFewIdentifiers);
    } else {
      identifiers.push_back(std::move(own));
    }
  }
  Keep(kept, list);

  kept.assign(list->size(), true);
  for (const int64_t i : NearDuplicates(identifiers)) {
    leave_out(i, CorpusFilter::kNearDuplicate);
  }
  Keep(kept, list);
}

void Limit(int64_t limit, CorpusCounts* counts,
           std::vector<CorpusFunction>* list) {
  if (limit <= 0 || static_cast<int64_t>(list->size()) <= limit) return;
  std::vector<std::pair<std::string, size_t>> digests;
  for (size_t i = 0; i < list->size(); ++i) {
    digests.emplace_back(Sha256((*list)[i].url), i);
  }
  std::nth_element(digests.begin(), digests.begin() + limit, digests.end());
  std::vector<bool> kept(list->size(), false);
  for (int64_t i = 0; i < limit; ++i) kept[digests[i].second] = true;
  counts->beyond_limit = static_cast<int64_t>(list->size()) - limit;
  Keep(kept, list);
}

// Tokens as numbers in the order of rarity, with how often each occurs.
using Bag = std::vector<std::pair<int32_t, int32_t>>;

std::vector<Bag> MakeBags(
    const std::vector<std::vector<std::string>>& identifiers) {
  absl::flat_hash_map<absl::string_view, int64_t> documents;
  std::vector<std::map<absl::string_view, int32_t>> counted;
  for (const std::vector<std::string>& tokens : identifiers) {
    counted.emplace_back();
    for (const std::string& token : tokens) ++counted.back()[token];
    for (const auto& [token, count] : counted.back()) ++documents[token];
  }
  std::vector<std::pair<int64_t, absl::string_view>> by_rarity;
  for (const auto& [token, count] : documents) {
    by_rarity.emplace_back(count, token);
  }
  std::sort(by_rarity.begin(), by_rarity.end());
  absl::flat_hash_map<absl::string_view, int32_t> numbers;
  for (const auto& [count, token] : by_rarity) {
    numbers.emplace(token, static_cast<int32_t>(numbers.size()));
  }
  std::vector<Bag> bags;
  for (const auto& tokens : counted) {
    bags.emplace_back();
    for (const auto& [token, count] : tokens) {
      bags.back().emplace_back(numbers[token], count);
    }
    std::sort(bags.back().begin(), bags.back().end());
  }
  return bags;
}

bool AreSimilar(const Bag& a, const Bag& b) {
  int64_t both = 0, least = 0, most = 0;
  size_t i = 0, j = 0;
  while (i < a.size() || j < b.size()) {
    if (j == b.size() || (i < a.size() && a[i].first < b[j].first)) {
      most += a[i++].second;
    } else if (i == a.size() || b[j].first < a[i].first) {
      most += b[j++].second;
    } else {
      ++both;
      least += std::min(a[i].second, b[j].second);
      most += std::max(a[i].second, b[j].second);
      ++i;
      ++j;
    }
  }
  const double either = static_cast<double>(a.size() + b.size() - both);
  return static_cast<double>(both) / either >= kSetSimilarity &&
         static_cast<double>(least) / static_cast<double>(most) >=
             kMultisetSimilarity;
}

}  // namespace

const char* CorpusFilterName(CorpusFilter filter) {
  static constexpr const char* kNames[kNumCorpusFilters] = {
      "nested",
      "test",
      "constructor",
      "undocumented",
      "short_documentation",
      "short_code",
      "duplicate",
      "few_identifiers",
      "near_duplicate"};
  return kNames[static_cast<int>(filter)];
}

std::vector<std::string> CorpusExtensions(CodeLanguage language) {
  const Rules* rules = RulesOf(language);
  return rules == nullptr ? std::vector<std::string>() : rules->extensions;
}

std::string CodeSearchNetSummary(absl::string_view documentation) {
  const size_t blank = documentation.find("\n\n");
  if (blank != absl::string_view::npos) {
    return std::string(documentation.substr(0, blank));
  }
  return std::string(documentation.substr(0, documentation.find('@')));
}

std::vector<std::string> DocumentationTokens(absl::string_view text) {
  constexpr absl::string_view kMarks = ".():[]=*;>{}+-/\\";
  constexpr absl::string_view kSkipped = ",'\"`";
  const auto is_mark = [&](char c) {
    return kMarks.find(c) != absl::string_view::npos;
  };
  std::vector<std::string> tokens;
  for (size_t at = 0; at < text.size();) {
    size_t next = at;
    const int32_t code_point = NextCodePoint(text, &next);
    const char c = text[at];
    if (IsWhiteSpace(code_point) || kSkipped.find(c) != kSkipped.npos) {
      at = next;
      continue;
    }
    size_t end = at + 1;
    if (is_mark(c)) {
      const absl::string_view two = text.substr(at, 2);
      if (two == "()" || two == "{}" || two == "[]") {
        end = at + 2;
      } else {
        while (end < text.size() && text[end] == c) ++end;
      }
    } else {
      for (end = next; end < text.size(); end = next) {
        next = end;
        if (is_mark(text[end]) || kSkipped.find(text[end]) != kSkipped.npos ||
            IsWhiteSpace(NextCodePoint(text, &next))) {
          break;
        }
      }
    }
    tokens.emplace_back(text.substr(at, end - at));
    at = end;
  }
  return tokens;
}

std::string CorpusPartition(absl::string_view repository,
                            absl::string_view path) {
  const size_t slash = path.rfind('/');
  const absl::string_view folder =
      slash == absl::string_view::npos ? "" : path.substr(0, slash);
  const std::string digest = Sha256(absl::StrCat(repository, "\n", folder));
  const uint64_t value = std::stoull(digest.substr(0, 8), nullptr, 16);
  const uint64_t tenth = value % 10;
  return tenth < 8 ? "train" : tenth == 8 ? "valid" : "test";
}

// Sets with a Jaccard similarity of t or more share one of their n - ceil(t n)
// + 1 rarest tokens each, so that only those are looked up (Bayardo et al.
// 2007).
std::vector<int64_t> NearDuplicates(
    const std::vector<std::vector<std::string>>& identifiers) {
  const std::vector<Bag> bags = MakeBags(identifiers);
  std::vector<int64_t> parent(bags.size());  // of a union-find forest
  std::iota(parent.begin(), parent.end(), 0);
  const auto root = [&](int64_t i) {
    while (parent[i] != i) i = parent[i] = parent[parent[i]];
    return i;
  };
  absl::flat_hash_map<int32_t, std::vector<int32_t>> holders;
  std::vector<int64_t> looked_at(bags.size(), -1);
  for (size_t i = 0; i < bags.size(); ++i) {
    const Bag& bag = bags[i];
    const size_t shared =
        static_cast<size_t>(kSetSimilarity * static_cast<double>(bag.size()));
    const size_t prefix = std::min(bag.size(), bag.size() - shared + 1);
    for (size_t p = 0; p < prefix; ++p) {
      std::vector<int32_t>& list = holders[bag[p].first];
      for (const int32_t other : list) {
        const size_t small = std::min(bag.size(), bags[other].size());
        const size_t large = std::max(bag.size(), bags[other].size());
        if (looked_at[other] == static_cast<int64_t>(i) ||
            static_cast<double>(small) <
                kSetSimilarity * static_cast<double>(large)) {
          continue;
        }
        looked_at[other] = static_cast<int64_t>(i);
        const int64_t a = root(static_cast<int64_t>(i)), b = root(other);
        if (a != b && AreSimilar(bag, bags[other])) {
          parent[std::max(a, b)] = std::min(a, b);
        }
      }
      list.push_back(static_cast<int32_t>(i));
    }
  }
  std::vector<int64_t> out;
  for (int64_t i = 0; i < static_cast<int64_t>(bags.size()); ++i) {
    if (root(i) != i) out.push_back(i);
  }
  return out;
}

absl::Status CodeCorpusBuilder::Add(const CorpusFile& file) {
  const Rules* rules = RulesOf(file.language);
  if (rules == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(
        file.path, ": ", code::LanguageName(file.language),
        " is not a language of CodeSearchNet: python, java, javascript, go, "
        "php and ruby are"));
  }
  CorpusCounts& counts = counts_[file.language];
  ++counts.files;
  const std::string lower = absl::AsciiStrToLower(file.path);
  for (const std::string& part : rules->excluded_paths) {
    if (absl::StrContains(lower, part)) {
      ++counts.files_of_tests;
      return absl::OkStatus();
    }
  }
  if (!IsUtf8(file.content)) {
    ++counts.files_not_utf8;
    return absl::OkStatus();
  }
  const absl::StatusOr<code::SyntaxTree> tree =
      code::SyntaxTree::Parse(file.language, file.content);
  if (absl::IsResourceExhausted(tree.status())) {
    ++counts.files_too_large;
    return absl::OkStatus();
  }
  REPRO_RETURN_IF_ERROR(tree.status());
  counts.files_with_errors += tree->error_count() > 0;
  AddFunctions(file, *tree, *rules, &counts, &functions_[file.language]);
  return absl::OkStatus();
}

CodeCorpus CodeCorpusBuilder::Finish() {
  CodeCorpus corpus;
  for (auto& [language, counts] : counts_) {
    std::vector<CorpusFunction>& list = functions_[language];
    RemoveDuplicates(language, &counts, &list);
    Limit(options_.limit, &counts, &list);
    counts.kept = static_cast<int64_t>(list.size());
    for (CorpusFunction& function : list) {
      ++counts.partitions[function.partition];
      corpus.functions.push_back(std::move(function));
    }
  }
  corpus.counts = std::move(counts_);
  counts_.clear();
  functions_.clear();
  return corpus;
}

nlohmann::json ToJson(const CorpusFunction& function) {
  return {{"repo", function.repository},
          {"path", function.path},
          {"func_name", function.func_name},
          {"original_string", function.code},
          {"language", code::LanguageName(function.language)},
          {"code", function.code},
          {"code_tokens", function.code_tokens},
          {"docstring", function.docstring},
          {"docstring_tokens", function.docstring_tokens},
          {"sha", function.sha},
          {"url", function.url},
          {"partition", function.partition}};
}

absl::Status WriteCodeCorpus(const CodeCorpus& corpus,
                             const std::string& out_dir) {
  std::map<std::string, std::string> files;
  for (const auto& [language, counts] : corpus.counts) {
    for (const char* partition : {"train", "valid", "test"}) {
      files[absl::StrCat(code::LanguageName(language), "/", partition,
                         ".jsonl.gz")];
    }
  }
  for (const CorpusFunction& function : corpus.functions) {
    absl::StrAppend(
        &files[absl::StrCat(code::LanguageName(function.language), "/",
                            function.partition, ".jsonl.gz")],
        ToJson(function).dump(-1, ' ', false,
                              nlohmann::json::error_handler_t::replace),
        "\n");
  }
  for (const auto& [name, text] : files) {
    const std::string path = absl::StrCat(out_dir, "/", name);
    std::error_code error;
    std::filesystem::create_directories(
        std::filesystem::path(path).parent_path(), error);
    if (error) {
      return absl::UnavailableError(absl::StrCat("cannot make the folder of ",
                                                 path, ": ", error.message()));
    }
    REPRO_ASSIGN_OR_RETURN(const std::string bytes, Gzip(text));
    REPRO_RETURN_IF_ERROR(WriteFileAtomically(path, bytes));
  }
  return absl::OkStatus();
}

}  // namespace repro
