#include "common/data/code_corpus.h"

#include <zlib.h>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <initializer_list>
#include <numeric>
#include <system_error>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
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

// The authors' parsers' FILTER_PATHS and BLACKLISTED_FUNCTION_NAMES, and the
// reserved words of the languages as their duplicate detector counts them:
// neither true and false nor words that are reserved in some places only.
struct Rules {
  std::vector<std::string> extensions;
  std::vector<std::string> excluded_paths;  // anywhere in the lower-case path
  absl::flat_hash_set<std::string> excluded_names;
  absl::flat_hash_set<std::string> keywords;
};

absl::flat_hash_set<std::string> Words(absl::string_view text) {
  return absl::StrSplit(text, ' ');
}

const Rules* RulesOf(CodeLanguage language) {
  static const auto* const rules = new std::map<CodeLanguage, Rules>{
      {CodeLanguage::kPython,
       {{".py"},
        {"test"},
        {},
        Words("None and as assert async await break class continue def "
              "del elif else except finally for from global if import in "
              "is lambda nonlocal not or pass raise return try while with "
              "yield")}},
      {CodeLanguage::kJava,
       {{".java"},
        {"test"},
        {"toString", "hashCode", "equals", "finalize", "notify", "notifyAll",
         "clone"},
        Words("abstract assert boolean break byte case catch char class "
              "const continue default do double else enum extends final "
              "finally float for goto if implements import instanceof int "
              "interface long native new package private protected public "
              "return short static strictfp super switch synchronized "
              "this throw throws transient try var void volatile while")}},
      {CodeLanguage::kJavaScript,
       {{".js"},
        {"test", "node_modules"},
        {"constructor", "toString", "toLocaleString", "valueOf"},
        Words("break case catch class const continue debugger default "
              "delete do else enum export extends finally for function if "
              "implements import in instanceof interface let new package "
              "private protected public return static super switch this "
              "throw try typeof var void while with yield")}},
      {CodeLanguage::kGo,
       {{".go"},
        {"test", "vendor"},
        {},
        Words("break case chan const continue default defer else "
              "fallthrough for func go goto if import interface map "
              "package range return select struct switch type var")}},
      {CodeLanguage::kPhp,
       {{".php"},
        {"test"},
        {"__construct", "__destruct", "__call", "__callStatic", "__get",
         "__set", "__isset", "__unset", "__sleep", "__wakeup", "__toString",
         "__invoke", "__set_state", "__clone", "__debugInfo", "__serialize",
         "__unserialize"},
        Words("abstract and array break callable case catch class "
              "clone const continue declare default do echo else elseif "
              "enddeclare endfor endforeach endif endswitch endwhile "
              "extends final finally for foreach function global goto if "
              "implements include include_once instanceof insteadof "
              "interface namespace new or print private protected public "
              "require require_once return static switch throw trait try "
              "unset use var while xor yield")}},
      {CodeLanguage::kRuby,
       {{".rb"},
        {"test", "vendor"},
        {"initialize", "to_text", "display", "dup", "clone", "equal?",
         "==", "<=>", "===", "<=", "<", ">", ">=", "between?", "eql?", "hash"},
        Words("alias and begin break case class def defined? do else "
              "elsif end ensure for if in module next nil not or redo "
              "rescue retry return self super then undef unless until "
              "when while yield")}},
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

// Whether a line of a documentation is for a tool.
bool IsDirective(CodeLanguage language, absl::string_view line) {
  const auto begins = [](absl::string_view text,
                         std::initializer_list<absl::string_view> with) {
    return std::any_of(with.begin(), with.end(), [&](absl::string_view prefix) {
      return absl::StartsWith(text, prefix);
    });
  };
  const absl::string_view text = absl::StripAsciiWhitespace(line);
  switch (language) {
    case CodeLanguage::kJavaScript:
      return begins(text, {"eslint-disable", "eslint-enable", "eslint-env",
                           "istanbul ignore", "c8 ignore", "jshint ", "jslint ",
                           "jscs:", "prettier-ignore"});
    case CodeLanguage::kPhp:
      return begins(text, {"phpcs:"});
    case CodeLanguage::kRuby:
      return begins(text, {"rubocop:", ":nodoc:", ":doc:", ":stopdoc:",
                           ":startdoc:", ":nocov:"});
    case CodeLanguage::kGo: {
      // "//go:nosplit" by go/ast's isDirective, "// +build linux" and the like.
      size_t word = 0;
      const auto is_lower_or_digit = [&](size_t at) {
        return at < line.size() &&
               (absl::ascii_islower(line[at]) || absl::ascii_isdigit(line[at]));
      };
      while (is_lower_or_digit(word)) ++word;
      return (word > 0 && word < line.size() && line[word] == ':' &&
              is_lower_or_digit(word + 1)) ||
             (text.size() > 1 && text[0] == '+' &&
              absl::ascii_isalpha(text[1]));
    }
    default:
      return false;
  }
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
    if (function.is_nested && file.language != CodeLanguage::kJavaScript) {
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
    CorpusFunction record;
    record.docstring =
        CleanDocumentation(file.language, function.documentation);
    if (record.docstring.empty()) {
      leave_out(CorpusFilter::kUndocumented);
      continue;
    }
    record.docstring_tokens =
        DocumentationTokens(CorpusSummary(record.docstring));
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

void RemoveDuplicates(const Rules& rules, CorpusCounts* counts,
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

  kept.assign(list->size(), true);
  std::vector<std::vector<std::string>> identifiers;
  for (size_t i = 0; i < list->size(); ++i) {
    std::vector<std::string> own = Identifiers((*list)[i], rules.keywords);
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
      "nested",       "named_test",          "constructor",
      "undocumented", "short_documentation", "short_code",
      "duplicate",    "few_identifiers",     "near_duplicate"};
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

std::string CorpusSummary(absl::string_view documentation) {
  const std::string summary = code::FirstParagraph(documentation);
  // Javadoc's tag, perhaps beside comments of HTML, has no words of its own.
  std::string words = absl::StrReplaceAll(absl::AsciiStrToLower(summary),
                                          {{"{@inheritdoc}", ""}});
  for (size_t begin; (begin = words.find("<!")) != std::string::npos;) {
    const size_t end = words.find("-->", begin);
    words.erase(begin, end == std::string::npos ? end : end + 3 - begin);
  }
  const bool has_words = std::any_of(words.begin(), words.end(), [](char c) {
    return absl::ascii_isalnum(c) || (static_cast<uint8_t>(c) & 0x80) != 0;
  });
  return has_words ? summary : "";
}

std::string CleanDocumentation(CodeLanguage language,
                               absl::string_view documentation) {
  std::vector<absl::string_view> lines;
  bool in_call_sequence = false;
  bool indented = true;
  for (const absl::string_view line : absl::StrSplit(documentation, '\n')) {
    const absl::string_view text = absl::StripAsciiWhitespace(line);
    if (text.empty()) in_call_sequence = false;
    // RDoc's ":call-seq:" is a paragraph of signatures.
    if (language == CodeLanguage::kRuby &&
        (absl::StartsWith(text, ":call-seq:") ||
         absl::StartsWith(text, "call-seq:"))) {
      in_call_sequence = true;
    }
    if (in_call_sequence || IsDirective(language, line)) continue;
    lines.push_back(line);
    indented &= line.empty() || line[0] == ' ';
  }
  // Go's directives have no blank behind the "//", so that prose among them
  // keeps its own.
  if (indented) {
    for (absl::string_view& line : lines) absl::ConsumePrefix(&line, " ");
  }
  return std::string(absl::StripAsciiWhitespace(absl::StrJoin(lines, "\n")));
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
  // As Python reads text, the authors' parsers too.
  std::string source =
      absl::StrReplaceAll(file.content, {{"\r\n", "\n"}, {"\r", "\n"}});
  code::ParseLimits limits;
  limits.max_bytes = options_.max_file_bytes;
  limits.max_seconds = 0;
  const absl::StatusOr<code::SyntaxTree> tree =
      code::SyntaxTree::Parse(file.language, std::move(source), limits);
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
    RemoveDuplicates(*RulesOf(language), &counts, &list);
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

std::vector<CodeLanguage> CorpusLanguages() {
  return {CodeLanguage::kPython, CodeLanguage::kJava, CodeLanguage::kJavaScript,
          CodeLanguage::kGo,     CodeLanguage::kPhp,  CodeLanguage::kRuby};
}

absl::Status CheckCorpusFolder(const std::string& folder,
                               const std::vector<CodeLanguage>& languages) {
  std::error_code error;
  if (!std::filesystem::exists(std::filesystem::status(folder, error))) {
    return absl::OkStatus();
  }
  std::filesystem::directory_iterator entries(folder, error);
  if (error) {
    return absl::InvalidArgumentError(
        absl::StrCat(folder, ": ", error.message()));
  }
  const auto is_one_of = [](const std::vector<CodeLanguage>& list,
                            const std::string& name) {
    return std::any_of(list.begin(), list.end(), [&](CodeLanguage language) {
      return code::LanguageName(language) == name;
    });
  };
  for (const std::filesystem::directory_entry& entry : entries) {
    const std::string name = entry.path().filename().string();
    if (name == "manifest.json" || name == "licenses" ||
        is_one_of(languages, name)) {
      continue;
    }
    if (is_one_of(CorpusLanguages(), name)) {
      return absl::InvalidArgumentError(absl::StrCat(
          folder, " holds a corpus of ", name,
          ", which would not be made anew: choose another folder, or make ",
          name, ", too"));
    }
    return absl::InvalidArgumentError(
        absl::StrCat(folder, " holds ", name,
                     ", which is no part of a corpus: choose a new folder"));
  }
  return absl::OkStatus();
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
