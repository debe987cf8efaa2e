// Requests over HTTP that end in time, whatever the server does.
//
//   http::Client client;
//   http::Request request;
//   request.url = "https://example.org/v1/models";
//   REPRO_ASSIGN_OR_RETURN(http::Response response, client.Send(request));
#ifndef REPRO_COMMON_HTTP_CLIENT_H_
#define REPRO_COMMON_HTTP_CLIENT_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace repro::http {

using Headers = std::vector<std::pair<std::string, std::string>>;

struct Request {
  std::string url;  // http or https
  Headers headers;
  std::string body;  // posted unless empty
  absl::Duration connect_timeout = absl::Seconds(10);
  // The longest silence: of a server that works on an answer, too.
  absl::Duration read_timeout = absl::Minutes(2);
  absl::Duration total_timeout = absl::Minutes(10);
  int64_t max_response_bytes = int64_t{64} << 20;
  // Asked several times a second; true: give up.
  std::function<bool()> cancelled;
};

struct Response {
  int code = 0;     // whatever it is: 404 is no error of Send
  Headers headers;  // names in lower case
  std::string body;

  // The last value of a header, named in lower case; empty if there is none.
  std::string Header(const std::string& name) const;
};

// Threads may share one. Keeps connections open and uses them again. Redirects
// are not followed: a request may hold a secret that is for its host alone.
class Client {
 public:
  Client();
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // OK only for a whole answer. Unavailable: no connection, or it ended in the
  // middle of an answer; DeadlineExceeded: which of the timeouts;
  // ResourceExhausted: more than max_response_bytes; Cancelled;
  // InvalidArgument: not an http URL, or a line break in a header;
  // FailedPrecondition: what answers does not speak HTTP, or its certificate is
  // not trusted. Messages name the URL and no header.
  absl::StatusOr<Response> Send(const Request& request);

 private:
  class Pool;
  std::unique_ptr<Pool> pool_;
};

}  // namespace repro::http

#endif  // REPRO_COMMON_HTTP_CLIENT_H_
