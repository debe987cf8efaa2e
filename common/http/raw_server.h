// A server whose answers are bytes that the test writes itself, for clients
// that must bear with any.
#ifndef REPRO_COMMON_HTTP_RAW_SERVER_H_
#define REPRO_COMMON_HTTP_RAW_SERVER_H_

#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"

namespace repro::http {

class RawServer {
 public:
  struct Reply {
    std::string bytes;
    // Then keeps the connection open in silence until the client leaves.
    bool hang = false;
  };
  // Gets the head and the body of one request; called by one thread at a time.
  using Handler = std::function<Reply(const std::string& request)>;

  // Listens on a free port of 127.0.0.1.
  explicit RawServer(Handler handler);
  ~RawServer();

  std::string url() const;  // "http://127.0.0.1:PORT"
  std::vector<std::string> requests() const;

 private:
  void Listen();
  void Serve(int fd);

  const Handler handler_;
  int listener_ = -1;
  int stop_[2] = {-1, -1};  // a pipe: its end wakes all threads
  int port_ = 0;
  mutable absl::Mutex mutex_;
  std::vector<std::string> requests_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::thread> threads_;  // the listener's
  std::thread thread_;
};

// A whole answer, its connection to be closed.
std::string HttpAnswer(int code, absl::string_view content_type,
                       absl::string_view body,
                       absl::string_view more_headers = "");

// Where nobody listens.
std::string RefusingUrl();

}  // namespace repro::http

#endif  // REPRO_COMMON_HTTP_RAW_SERVER_H_
