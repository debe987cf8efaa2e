#include "common/http/event_stream.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/strip.h"

namespace repro::http {

std::vector<std::string> EventData(absl::string_view text) {
  std::vector<std::string> events;
  absl::ConsumePrefix(&text, "\xef\xbb\xbf");
  std::string data;
  bool has_data = false;
  for (size_t end; (end = text.find_first_of("\r\n")) != text.npos;) {
    absl::string_view line = text.substr(0, end);
    const bool both = absl::StartsWith(text.substr(end), "\r\n");
    text.remove_prefix(end + (both ? 2 : 1));
    if (line.empty()) {
      if (has_data) events.push_back(std::move(data));
      data.clear();
      has_data = false;
      continue;
    }
    if (line != "data" && !absl::ConsumePrefix(&line, "data:")) continue;
    if (line == "data") line = "";
    absl::ConsumePrefix(&line, " ");
    if (has_data) data += '\n';
    data.append(line.data(), line.size());
    has_data = true;
  }
  return events;
}

}  // namespace repro::http
