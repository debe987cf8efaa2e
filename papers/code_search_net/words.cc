#include "papers/code_search_net/words.h"

#include "absl/strings/ascii.h"

namespace repro::code_search_net {

std::vector<std::string> Words(absl::string_view text, bool digits) {
  std::vector<std::string> words;
  bool inside = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (!absl::ascii_isalpha(c) && !(digits && absl::ascii_isdigit(c))) {
      inside = false;
      continue;
    }
    const bool hump =
        i > 0 && absl::ascii_isupper(c) &&
        (absl::ascii_islower(text[i - 1]) || absl::ascii_isdigit(text[i - 1]));
    if (!inside || hump) words.emplace_back();
    inside = true;
    words.back().push_back(absl::ascii_tolower(c));
  }
  return words;
}

std::vector<std::string> Words(const std::vector<std::string>& tokens,
                               bool digits) {
  std::vector<std::string> words;
  for (const std::string& token : tokens) {
    for (std::string& word : Words(token, digits)) {
      words.push_back(std::move(word));
    }
  }
  return words;
}

}  // namespace repro::code_search_net
