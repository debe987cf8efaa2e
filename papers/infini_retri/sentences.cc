#include "papers/infini_retri/sentences.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/metrics/python_text.h"
#include "common/status/macros.h"
#include "common/text/utf8.h"

namespace repro::infini_retri {
namespace {

bool IsSentenceEnd(int32_t c) {
  return c == 0x3002 || c == 0xff01 || c == 0xff1f || c == '.' || c == '?' ||
         c == '!';
}

absl::Status CheckUtf8(absl::string_view text) {
  const size_t valid = ValidUtf8Prefix(text);
  if (valid == text.size()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the text is not UTF-8 from byte ", valid, " on"));
}

// A run between separators, or a separator.
struct Piece {
  absl::string_view text;
  bool separator = false;
};

// re.split of "(\n\n)|([。！？.?!])" without the empty pieces.
std::vector<Piece> Pieces(absl::string_view text) {
  std::vector<Piece> pieces;
  size_t begin = 0;  // of the run
  const auto cut = [&](size_t from, size_t to) {
    if (from > begin) pieces.push_back({text.substr(begin, from - begin)});
    pieces.push_back({text.substr(from, to - from), /*separator=*/true});
    begin = to;
  };
  for (size_t at = 0; at < text.size();) {
    const size_t from = at;
    const int32_t c = NextCodePoint(text, &at);
    if (c == '\n' && at < text.size() && text[at] == '\n') {
      cut(from, ++at);
    } else if (IsSentenceEnd(c)) {
      cut(from, at);
    }
  }
  if (begin < text.size()) pieces.push_back({text.substr(begin)});
  return pieces;
}

absl::StatusOr<int64_t> CountTokens(const Tokenizer& tokenizer,
                                    absl::string_view text) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<int32_t> ids,
                         tokenizer.Encode(text, {/*add_special_tokens=*/false,
                                                 /*parse_special=*/false}));
  return static_cast<int64_t>(ids.size());
}

// Before each space, or each code point.
std::vector<absl::string_view> Words(absl::string_view text) {
  std::vector<absl::string_view> words;
  while (!text.empty()) {
    const size_t end = std::min(text.find(' ', 1), text.size());
    words.push_back(text.substr(0, end));
    text.remove_prefix(end);
  }
  return words;
}

std::vector<absl::string_view> Characters(absl::string_view text) {
  std::vector<absl::string_view> characters;
  for (size_t at = 0; at < text.size();) {
    const size_t from = at;
    NextCodePoint(text, &at);
    characters.push_back(text.substr(from, at - from));
  }
  return characters;
}

// Packs parts one after the other into chunks.
class Packer {
 public:
  Packer(int64_t chunk_size, int64_t separator)
      : chunk_size_(chunk_size), separator_(separator) {}

  // Whether it is in a chunk now: a part that is too long for one is not.
  bool Add(absl::string_view part, int64_t tokens) {
    if (tokens > chunk_size_) return false;
    const int64_t more = tokens + (current_.empty() ? 0 : separator_);
    if (total_ + more > chunk_size_) {
      Flush();
      total_ = tokens;
    } else {
      total_ += more;
    }
    current_.append(part.data(), part.size());
    return true;
  }

  void Flush() {
    if (!current_.empty()) chunks_.push_back(std::move(current_));
    current_.clear();
    total_ = 0;
  }

  std::vector<std::string> Take() {
    Flush();
    return std::move(chunks_);
  }

 private:
  int64_t chunk_size_, separator_;
  std::string current_;
  int64_t total_ = 0;  // tokens of current_, separators included
  std::vector<std::string> chunks_;
};

// Of a sentence or word that is longer than a chunk.
absl::StatusOr<std::vector<std::string>> CutLong(absl::string_view text,
                                                 bool at_spaces,
                                                 const Tokenizer& tokenizer,
                                                 int64_t chunk_size) {
  Packer packer(chunk_size, /*separator=*/0);
  std::vector<std::string> chunks;
  for (const absl::string_view part :
       at_spaces ? Words(text) : Characters(text)) {
    REPRO_ASSIGN_OR_RETURN(const int64_t tokens, CountTokens(tokenizer, part));
    if (packer.Add(part, tokens)) continue;
    if (!at_spaces) {
      return absl::InvalidArgumentError(
          absl::StrCat("chunk_size ", chunk_size, " is less than the ", tokens,
                       " tokens of the character '", part, "'"));
    }
    REPRO_ASSIGN_OR_RETURN(
        const std::vector<std::string> of_word,
        CutLong(part, /*at_spaces=*/false, tokenizer, chunk_size));
    for (std::string& chunk : packer.Take()) chunks.push_back(std::move(chunk));
    chunks.insert(chunks.end(), of_word.begin(), of_word.end());
  }
  for (std::string& chunk : packer.Take()) chunks.push_back(std::move(chunk));
  return chunks;
}

}  // namespace

absl::StatusOr<std::vector<std::string>> SplitSentences(absl::string_view text,
                                                        int64_t joined) {
  REPRO_RETURN_IF_ERROR(CheckUtf8(text));
  const auto is_blank = [](absl::string_view s) {
    return metrics::Strip(s).empty();
  };
  std::vector<std::string> sentences;
  std::string current;
  bool blank = true;  // the current one
  for (const Piece& piece : Pieces(text)) {
    const bool goes_on =
        blank || piece.separator || is_blank(piece.text) ||
        (current.back() == '.' &&
         static_cast<int64_t>(
             metrics::CodePoints(metrics::Strip(piece.text)).size()) <= joined);
    if (!goes_on) {
      sentences.push_back(std::move(current));
      current.clear();
      blank = true;
    }
    current.append(piece.text.data(), piece.text.size());
    blank = blank && is_blank(piece.text);
  }
  if (!blank) sentences.push_back(std::move(current));
  return sentences;
}

absl::StatusOr<std::vector<std::string>> SplitChunks(absl::string_view text,
                                                     const Tokenizer& tokenizer,
                                                     int64_t chunk_size) {
  if (chunk_size < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("chunk_size is ", chunk_size, ", expected at least 1"));
  }
  REPRO_ASSIGN_OR_RETURN(const std::vector<std::string> sentences,
                         SplitSentences(text, kJoinedByChunks));
  std::vector<std::string> chunks;
  Packer packer(chunk_size, /*separator=*/1);
  const auto flush = [&] {
    for (std::string& chunk : packer.Take()) chunks.push_back(std::move(chunk));
  };
  for (const std::string& sentence : sentences) {
    REPRO_ASSIGN_OR_RETURN(const int64_t tokens,
                           CountTokens(tokenizer, sentence));
    if (packer.Add(sentence, tokens)) continue;
    flush();
    REPRO_ASSIGN_OR_RETURN(
        const std::vector<std::string> parts,
        CutLong(sentence, /*at_spaces=*/true, tokenizer, chunk_size));
    chunks.insert(chunks.end(), parts.begin(), parts.end());
  }
  flush();
  return chunks;
}

}  // namespace repro::infini_retri
