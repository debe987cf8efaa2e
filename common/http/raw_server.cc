#include "common/http/raw_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace repro::http {
namespace {

// The socket, on a free port of 127.0.0.1.
int Bind(int* port) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  if (fd < 0 ||
      bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0 ||
      getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    abort();
  }
  *port = ntohs(address.sin_port);
  return fd;
}

bool Whole(const std::string& request) {
  const size_t end = request.find("\r\n\r\n");
  if (end == std::string::npos) return false;
  const std::string head = absl::AsciiStrToLower(request.substr(0, end));
  const size_t at = head.find("content-length:");
  size_t length = 0;
  if (at != std::string::npos) {
    const size_t begin = at + 15;
    if (!absl::SimpleAtoi(head.substr(begin, head.find('\r', begin) - begin),
                          &length)) {
      return true;
    }
  }
  return request.size() >= end + 4 + length;
}

}  // namespace

RawServer::RawServer(Handler handler) : handler_(std::move(handler)) {
  listener_ = Bind(&port_);
  if (listen(listener_, 64) != 0 || pipe(stop_) != 0) abort();
  thread_ = std::thread([this] { Listen(); });
}

RawServer::~RawServer() {
  close(stop_[1]);
  thread_.join();
  for (std::thread& thread : threads_) thread.join();
  close(listener_);
  close(stop_[0]);
}

std::string RawServer::url() const {
  return absl::StrCat("http://127.0.0.1:", port_);
}

std::vector<std::string> RawServer::requests() const {
  absl::MutexLock lock(&mutex_);
  return requests_;
}

void RawServer::Listen() {
  while (true) {
    pollfd waits[] = {{listener_, POLLIN, 0}, {stop_[0], POLLIN, 0}};
    poll(waits, 2, -1);
    if (waits[1].revents != 0) return;
    const int fd = accept(listener_, nullptr, nullptr);
    if (fd >= 0) threads_.emplace_back([this, fd] { Serve(fd); });
  }
}

void RawServer::Serve(int fd) {
  std::string request;
  char buffer[4096];
  // False: the client is gone, or the test is over.
  const auto read_more = [&] {
    pollfd waits[] = {{fd, POLLIN, 0}, {stop_[0], POLLIN, 0}};
    poll(waits, 2, -1);
    if (waits[1].revents != 0) return false;
    const ssize_t got = read(fd, buffer, sizeof(buffer));
    if (got > 0) request.append(buffer, got);
    return got > 0;
  };
  bool open = true;
  while (open && !Whole(request)) open = read_more();
  if (open) {
    Reply reply;
    {
      absl::MutexLock lock(&mutex_);
      requests_.push_back(request);
      reply = handler_(request);
    }
    for (size_t at = 0; at < reply.bytes.size();) {
      const ssize_t sent = send(fd, reply.bytes.data() + at,
                                reply.bytes.size() - at, MSG_NOSIGNAL);
      if (sent <= 0) break;
      at += sent;
    }
    while (reply.hang && read_more()) {
    }
  }
  close(fd);
}

std::string HttpAnswer(int code, absl::string_view content_type,
                       absl::string_view body, absl::string_view more_headers) {
  return absl::StrCat("HTTP/1.1 ", code, " X\r\nContent-Type: ", content_type,
                      "\r\nContent-Length: ", body.size(),
                      "\r\nConnection: close\r\n", more_headers, "\r\n", body);
}

std::string RefusingUrl() {
  int port = 0;
  close(Bind(&port));
  return absl::StrCat("http://127.0.0.1:", port);
}

}  // namespace repro::http
