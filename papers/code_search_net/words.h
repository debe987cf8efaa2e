#ifndef REPRO_PAPERS_CODE_SEARCH_NET_WORDS_H_
#define REPRO_PAPERS_CODE_SEARCH_NET_WORDS_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace repro::code_search_net {

// The words of a text of prose, code or a path, in lower case: runs of ASCII
// letters (and digits, if `digits`), parted also where an upper-case letter
// follows a lower-case one or a digit. "readHTTPFile2" gives read, httpfile2.
std::vector<std::string> Words(absl::string_view text, bool digits);

// The same of all tokens, one after the other.
std::vector<std::string> Words(const std::vector<std::string>& tokens,
                               bool digits);

}  // namespace repro::code_search_net

#endif  // REPRO_PAPERS_CODE_SEARCH_NET_WORDS_H_
