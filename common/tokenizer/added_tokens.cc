#include "common/tokenizer/added_tokens.h"

#include "common/text/utf8.h"

namespace repro {
namespace {

// The last code point of valid UTF-8 that is not empty, and where it begins.
int32_t LastCodePoint(absl::string_view text, size_t* begin) {
  *begin = text.size();
  do {
    --*begin;
  } while (*begin > 0 && (static_cast<uint8_t>(text[*begin]) & 0xC0) == 0x80);
  size_t at = *begin;
  return NextCodePoint(text, &at);
}

bool StandsAlone(absl::string_view before, absl::string_view behind) {
  size_t at = 0;
  if (!before.empty() && IsWordCharacter(LastCodePoint(before, &at))) {
    return false;
  }
  at = 0;
  return behind.empty() || !IsWordCharacter(NextCodePoint(behind, &at));
}

size_t SpaceAtEnd(absl::string_view text) {
  size_t end = text.size();
  while (end > 0) {
    size_t begin;
    if (!IsWhiteSpace(LastCodePoint(text.substr(0, end), &begin))) break;
    end = begin;
  }
  return text.size() - end;
}

size_t SpaceAtBegin(absl::string_view text) {
  size_t end = 0;
  while (end < text.size()) {
    size_t at = end;
    if (!IsWhiteSpace(NextCodePoint(text, &at))) break;
    end = at;
  }
  return end;
}

uint64_t Edge(uint32_t node, char byte) {
  return uint64_t{node} << 8 | static_cast<uint8_t>(byte);
}

}  // namespace

void AddedTokenFinder::Add(const AddedToken& token) {
  first_bytes_[static_cast<uint8_t>(token.content[0])] = true;
  uint32_t node = 0;
  for (const char byte : token.content) {
    const auto [child, added] =
        children_.try_emplace(Edge(node, byte), num_nodes_);
    if (added) ++num_nodes_;
    node = child->second;
  }
  ends_[node] = static_cast<uint32_t>(tokens_.size());
  tokens_.push_back(token);
}

std::vector<TextPart> AddedTokenFinder::Split(absl::string_view text,
                                              bool parse_special) const {
  std::vector<TextPart> parts;
  size_t done = 0;
  for (size_t at = 0; at < text.size();) {
    if (!first_bytes_[static_cast<uint8_t>(text[at])]) {
      ++at;
      continue;
    }
    const AddedToken* found = nullptr;
    uint32_t node = 0;
    for (size_t i = at; i < text.size(); ++i) {
      const auto child = children_.find(Edge(node, text[i]));
      if (child == children_.end()) break;
      node = child->second;
      const auto end = ends_.find(node);
      if (end != ends_.end()) found = &tokens_[end->second];
    }
    if (found == nullptr) {
      ++at;
      continue;
    }
    size_t begin = at;
    size_t end = at + found->content.size();
    at = end;  // also where the token is passed over
    if (found->special && !parse_special) continue;
    if (found->single_word &&
        !StandsAlone(text.substr(0, begin), text.substr(end))) {
      continue;
    }
    if (found->lstrip && begin > done) {
      begin -= SpaceAtEnd(text.substr(done, begin - done));
    }
    if (found->rstrip) end += SpaceAtBegin(text.substr(end));
    if (begin > done) parts.push_back({text.substr(done, begin - done), -1});
    parts.push_back({text.substr(begin, end - begin), found->id});
    // The next token may begin in the space that this one took: as in Hugging
    // Face's, it then ends this one's.
    done = end;
  }
  if (done < text.size()) parts.push_back({text.substr(done), -1});
  return parts;
}

}  // namespace repro
