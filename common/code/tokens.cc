#include "common/code/tokens.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/code/identifiers.h"
#include "common/metrics/python_text.h"

namespace repro::code {
namespace {

// Literals that a grammar takes apart into quotes and content.
bool IsString(absl::string_view type) {
  return type == "string" || type == "string_literal" ||
         type == "character_literal" || type == "char_literal" ||
         type == "interpreted_string_literal" || type == "encapsed_string" ||
         type == "verbatim_string_literal" || type == "raw_string_literal";
}

std::string WithoutBlankLines(absl::string_view text) {
  std::string out;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    if (metrics::Strip(line).empty()) continue;
    if (!out.empty()) out += '\n';
    absl::StrAppend(&out, line);
  }
  return out;
}

// Where a '…' or "…" that begins at `begin` ends; npos if it does not.
size_t QuotedEnd(absl::string_view text, size_t begin) {
  for (size_t i = begin + 1; i < text.size(); ++i) {
    if (text[i] == '\\') {
      ++i;
    } else if (text[i] == text[begin]) {
      return i + 1;
    }
  }
  return absl::string_view::npos;
}

std::string RemoveCStyleComments(absl::string_view source) {
  std::string out;
  out.reserve(source.size());
  // What did not close once does not close later on either; without this, many
  // of them would take quadratic time.
  bool may_close[256] = {};
  may_close['\''] = may_close['"'] = may_close['*'] = true;
  for (size_t i = 0; i < source.size();) {
    const char c = source[i];
    if (c == '/' && i + 1 < source.size() && source[i + 1] == '/') {
      out += ' ';
      i = std::min(source.find('\n', i), source.size());
      continue;
    }
    if (c == '/' && i + 1 < source.size() && source[i + 1] == '*' &&
        may_close['*']) {
      const size_t end = source.find("*/", i + 2);
      if (end != absl::string_view::npos) {
        out += ' ';
        i = end + 2;
        continue;
      }
      may_close['*'] = false;
    }
    if ((c == '\'' || c == '"') && may_close[static_cast<uint8_t>(c)]) {
      const size_t end = QuotedEnd(source, i);
      if (end != absl::string_view::npos) {
        absl::StrAppend(&out, source.substr(i, end - i));
        i = end;
        continue;
      }
      may_close[static_cast<uint8_t>(c)] = false;
    }
    out += c;
    ++i;
  }
  return WithoutBlankLines(out);
}

// Python's lexical grammar as far as strings, comments and the ends of
// statements go; what Python's `tokenize` rejects gives false.
class PythonCommentRemover {
 public:
  explicit PythonCommentRemover(absl::string_view source) : source_(source) {}

  bool Run(std::string* out) {
    out_ = out;
    while (at_ < source_.size()) {
      if (depth_ == 0 && !continued_) {
        if (!Indentation()) return false;
        if (at_ == source_.size()) break;
      } else {
        Blanks();
        continued_ = false;
      }
      if (!RestOfLine()) return false;
    }
    return depth_ == 0 && !continued_;
  }

 private:
  enum class Previous { kIndent, kNewline, kOther };

  void Blanks() {
    while (at_ < source_.size() && IsBlank(source_[at_])) {
      *out_ += ' ';
      ++at_;
    }
  }

  static bool IsBlank(char c) { return c == ' ' || c == '\t' || c == '\f'; }

  // At the start of a statement's line: indentation and blank lines.
  bool Indentation() {
    line_start_ = at_;
    int column = 0;
    size_t i = at_;
    for (; i < source_.size() && IsBlank(source_[i]); ++i) {
      column = source_[i] == ' '    ? column + 1
               : source_[i] == '\t' ? (column / 8 + 1) * 8
                                    : 0;
    }
    const absl::string_view blanks = source_.substr(at_, i - at_);
    at_ = i;
    if (i == source_.size()) return true;
    const char c = source_[i];
    if (c == '#' || c == '\n' || c == '\r') {
      out_->append(blanks.size(), ' ');
      previous_ = Previous::kOther;
      return true;
    }
    if (column > indents_.back()) {
      indents_.push_back(column);
      absl::StrAppend(out_, blanks);
      previous_ = Previous::kIndent;
      return true;
    }
    out_->append(blanks.size(), ' ');
    while (column < indents_.back()) {
      if (!std::binary_search(indents_.begin(), indents_.end(), column)) {
        return false;
      }
      indents_.pop_back();
      previous_ = Previous::kOther;
    }
    return true;
  }

  bool RestOfLine() {
    bool has_token = false;
    while (at_ < source_.size()) {
      const char c = source_[at_];
      if (IsBlank(c)) {
        Blanks();
      } else if (c == '\n' ||
                 (c == '\r' && absl::StartsWith(source_.substr(at_), "\r\n"))) {
        const size_t length = c == '\n' ? 1 : 2;
        absl::StrAppend(out_, source_.substr(at_, length));
        at_ += length;
        previous_ =
            depth_ == 0 && has_token ? Previous::kNewline : Previous::kOther;
        line_start_ = at_;
        return true;
      } else if (c == '#') {
        while (at_ < source_.size() && source_[at_] != '\n' &&
               source_[at_] != '\r') {
          ++at_;
        }
        previous_ = Previous::kOther;
      } else if (c == '\\' && absl::StartsWith(source_.substr(at_), "\\\n")) {
        // There is no token that the blanks before it would lead to.
        for (size_t i = at_; i > line_start_ && IsBlank(source_[i - 1]); --i) {
          out_->pop_back();
        }
        at_ += 2;
        line_start_ = at_;
        continued_ = true;
        return true;
      } else if (const size_t quote = StringStart(); quote != kNone) {
        has_token = true;
        if (!String(quote)) return false;
      } else {
        has_token = true;
        Token();
      }
    }
    return true;
  }

  static constexpr size_t kNone = absl::string_view::npos;

  // Where the quote of a string that begins here is.
  size_t StringStart() const {
    size_t i = at_;
    while (i < source_.size() && i - at_ < 2 &&
           absl::StrContains("rbuf", absl::ascii_tolower(source_[i]))) {
      ++i;
    }
    if (i == source_.size() || (source_[i] != '"' && source_[i] != '\'')) {
      return kNone;
    }
    const std::string prefix =
        absl::AsciiStrToLower(source_.substr(at_, i - at_));
    for (const char* known : {"", "r", "b", "u", "f", "rb", "br", "rf", "fr"}) {
      if (prefix == known) return i;
    }
    return kNone;
  }

  bool String(size_t quote) {
    const absl::string_view rest = source_.substr(quote);
    const std::string triple(3, source_[quote]);
    size_t end = quote + 1;
    if (absl::StartsWith(rest, triple)) {
      end = quote + 3;
      while (end < source_.size() &&
             !absl::StartsWith(source_.substr(end), triple)) {
        end += source_[end] == '\\' ? 2 : 1;
      }
      if (end >= source_.size()) return false;
      end += 3;
    } else {
      // What did not close on its line does not from a later place on it.
      size_t& never_closes = never_closes_before_[source_[quote] == '"'];
      bool closes = false;
      if (quote >= never_closes) {
        while (end < source_.size() && source_[end] != source_[quote] &&
               source_[end] != '\n') {
          end += source_[end] == '\\' ? 2 : 1;
        }
        closes = end < source_.size() && source_[end] != '\n';
        if (!closes) never_closes = std::min(end, source_.size());
      }
      if (!closes) {
        // An error token of one character, and on with the rest.
        absl::StrAppend(out_, source_.substr(at_, quote + 1 - at_));
        at_ = quote + 1;
        previous_ = Previous::kOther;
        return true;
      }
      ++end;
    }
    const absl::string_view text = source_.substr(at_, end - at_);
    if (previous_ == Previous::kOther && at_ > line_start_) {
      absl::StrAppend(out_, text);
    }
    at_ = end;
    const size_t last_line = text.rfind('\n');
    if (last_line != kNone) line_start_ = end - (text.size() - last_line - 1);
    previous_ = Previous::kOther;
    return true;
  }

  void Token() {
    const size_t begin = at_;
    const auto is_word = [&](size_t i) {
      return absl::ascii_isalnum(source_[i]) || source_[i] == '_' ||
             static_cast<uint8_t>(source_[i]) >= 0x80;
    };
    if (is_word(at_)) {
      while (at_ < source_.size() && is_word(at_)) ++at_;
    } else {
      if (absl::StrContains("([{", source_[at_])) ++depth_;
      if (absl::StrContains(")]}", source_[at_])) --depth_;
      ++at_;
    }
    absl::StrAppend(out_, source_.substr(begin, at_ - begin));
    previous_ = Previous::kOther;
  }

  const absl::string_view source_;
  std::string* out_ = nullptr;
  size_t at_ = 0;
  size_t line_start_ = 0;
  int depth_ = 0;
  bool continued_ = false;
  std::vector<int> indents_ = {0};
  size_t never_closes_before_[2] = {0, 0};  // of ' and "
  Previous previous_ = Previous::kIndent;
};

}  // namespace

bool IsComment(SyntaxNode node) {
  const absl::string_view type = node.type();
  return type == "comment" || type == "line_comment" ||
         type == "block_comment" || type == "html_comment";
}

SyntaxNode PythonDocstring(SyntaxNode node) {
  const absl::string_view type = node.type();
  SyntaxNode body;
  if (type == "module") {
    body = node;
  } else if (type == "class_definition" || type == "function_definition") {
    body = node.ChildByField("body");
  }
  if (!body) return SyntaxNode();
  for (const SyntaxNode statement : body.children()) {
    if (IsComment(statement)) continue;
    if (statement.type() != "expression_statement") break;
    const SyntaxNode value = statement.child(0);
    if (!value || statement.child(1)) break;
    std::vector<SyntaxNode> parts;
    if (value.type() == "string") {
      parts.push_back(value);
    } else if (value.type() == "concatenated_string") {
      for (const SyntaxNode part : value.children()) {
        if (part.type() == "string") parts.push_back(part);
      }
    }
    for (const SyntaxNode part : parts) {
      const absl::string_view text = part.text();
      const absl::string_view prefix =
          text.substr(0, std::min(text.find_first_of("'\""), text.size()));
      if (prefix.find_first_of("bBfF") != absl::string_view::npos) {
        return SyntaxNode();
      }
    }
    return parts.empty() ? SyntaxNode() : value;
  }
  return SyntaxNode();
}

std::vector<CodeToken> Tokens(const SyntaxTree& tree,
                              const TokenOptions& options) {
  std::vector<std::pair<uint32_t, uint32_t>> docstrings;
  if (options.drop_docstrings && tree.language() == CodeLanguage::kPython) {
    for (const SyntaxNode node : tree.nodes()) {
      if (const SyntaxNode docstring = PythonDocstring(node)) {
        docstrings.emplace_back(docstring.index(), docstring.subtree_end());
      }
    }
  }
  // A module's docstring comes before those inside of it; so do a class's.
  std::sort(docstrings.begin(), docstrings.end());
  auto docstring = docstrings.begin();
  std::vector<CodeToken> tokens;
  for (uint32_t i = 0; i < tree.node_count();) {
    const SyntaxNode node = tree.node(i);
    while (docstring != docstrings.end() && docstring->first < i) ++docstring;
    if (docstring != docstrings.end() && docstring->first == i) {
      i = docstring->second;
      continue;
    }
    const bool comment = IsComment(node);
    const bool whole = node.is_leaf() || comment ||
                       (options.keep_strings_whole && IsString(node.type()));
    if (whole && node.start_byte() < node.end_byte() &&
        !(comment && options.drop_comments)) {
      tokens.push_back({node.text(), node.type(), node});
    }
    i = whole ? node.subtree_end() : i + 1;
  }
  return tokens;
}

TokenClass ClassOf(const CodeToken& token) {
  if (IsComment(token.node)) return TokenClass::kComment;
  const absl::string_view type = token.type;
  if (token.node.is_named()) {
    if (IsString(type) || absl::StrContains(type, "string") ||
        type == "heredoc_body" || type == "escape_sequence") {
      return TokenClass::kString;
    }
    if (absl::StrContains(type, "integer") ||
        absl::StrContains(type, "float") || absl::StrContains(type, "number") ||
        absl::StrContains(type, "int_") || type == "real_literal" ||
        type == "imaginary_literal") {
      return TokenClass::kNumber;
    }
    if (IsIdentifier(token.node)) return TokenClass::kIdentifier;
  }
  const char first = token.text.empty() ? ' ' : token.text[0];
  if (absl::ascii_isalpha(first) || first == '_' || first == '@' ||
      (first == '#' && token.text.size() > 1)) {
    return TokenClass::kKeyword;
  }
  return absl::StrContains("()[]{};,.:", first) && token.text.size() == 1
             ? TokenClass::kPunctuation
             : TokenClass::kOperator;
}

std::string RemoveComments(const SyntaxTree& tree) {
  struct Cut {
    uint32_t begin;
    uint32_t end;
    const char* instead;
  };
  std::vector<Cut> cuts;
  for (const SyntaxNode node : tree.nodes()) {
    if (IsComment(node))
      cuts.push_back({node.start_byte(), node.end_byte(), " "});
    if (tree.language() != CodeLanguage::kPython) continue;
    if (const SyntaxNode docstring = PythonDocstring(node)) {
      const SyntaxNode statement = docstring.parent();
      int statements = 0;
      for (const SyntaxNode other : statement.parent().children()) {
        statements += !IsComment(other);
      }
      cuts.push_back(
          {docstring.start_byte(), docstring.end_byte(),
           statements == 1 && node.type() != "module" ? "pass" : ""});
    }
  }
  std::sort(cuts.begin(), cuts.end(),
            [](const Cut& a, const Cut& b) { return a.begin < b.begin; });
  const absl::string_view source = tree.source();
  std::string out;
  uint32_t at = 0;
  // Lines that a cut touches end at a mark if nothing is left of them.
  size_t line = 0;  // where the output's last line begins
  bool touched = false;
  const auto copy = [&](uint32_t end) {
    while (at < end) {
      const uint32_t line_end = std::min<size_t>(source.find('\n', at), end);
      absl::StrAppend(&out, source.substr(at, line_end - at));
      at = line_end;
      if (at == end) return;
      const bool blank =
          metrics::Strip(absl::string_view(out).substr(line)).empty();
      if (touched && blank) {
        out.resize(line);
      } else {
        out += '\n';
      }
      ++at;
      line = out.size();
      touched = false;
    }
  };
  for (const Cut& cut : cuts) {
    if (cut.begin < at) continue;
    copy(cut.begin);
    out += cut.instead;
    at = cut.end;
    touched = true;
    // A grammar may count the end of the line to the comment.
    if (at > cut.begin && source[at - 1] == '\n') --at;
  }
  copy(source.size());
  if (touched && metrics::Strip(absl::string_view(out).substr(line)).empty()) {
    out.resize(line);
  }
  return out;
}

std::string RemoveCommentsLexically(CodeLanguage language,
                                    absl::string_view source) {
  switch (language) {
    case CodeLanguage::kRuby:
      return std::string(source);
    case CodeLanguage::kPython: {
      std::string out;
      if (!PythonCommentRemover(source).Run(&out)) return std::string(source);
      return WithoutBlankLines(out);
    }
    default:
      return RemoveCStyleComments(source);
  }
}

}  // namespace repro::code
