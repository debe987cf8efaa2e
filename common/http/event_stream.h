#ifndef REPRO_COMMON_HTTP_EVENT_STREAM_H_
#define REPRO_COMMON_HTTP_EVENT_STREAM_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace repro::http {

// The data of each whole event of a text/event-stream (HTML standard, section
// 9.2.6): the lines of `data` of an event are joined by "\n"; comments, other
// fields and an event that the text breaks off in are left out.
std::vector<std::string> EventData(absl::string_view text);

}  // namespace repro::http

#endif  // REPRO_COMMON_HTTP_EVENT_STREAM_H_
