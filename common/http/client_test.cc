#include "common/http/client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/http/raw_server.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace repro::http {
namespace {

using ::testing::HasSubstr;

// Short enough to wait for, long enough for what should not time out.
constexpr absl::Duration kShort = absl::Milliseconds(150);

Request To(const std::string& url) {
  Request request;
  request.url = url + "/v1/thing";
  return request;
}

absl::Status ErrorOf(const RawServer::Reply& reply,
                     const std::function<void(Request*)>& change = nullptr) {
  RawServer server([&](const std::string&) { return reply; });
  Request request = To(server.url());
  if (change) change(&request);
  Client client;
  const absl::StatusOr<Response> response = client.Send(request);
  EXPECT_FALSE(response.ok()) << response->body;
  return response.status();
}

TEST(ClientTest, GetsAndPosts) {
  RawServer server([](const std::string&) -> RawServer::Reply {
    return {HttpAnswer(404, "text/plain", "nothing", "X-A: 1\r\nx-a:  2 \r\n")};
  });
  Client client;
  Request request = To(server.url());
  request.headers = {{"X-Key", "abc"}};
  absl::StatusOr<Response> response = client.Send(request);
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->code, 404);
  EXPECT_EQ(response->body, "nothing");
  EXPECT_EQ(response->Header("x-a"), "2");
  EXPECT_EQ(response->Header("x-b"), "");
  request.body = std::string("a\0b", 3);
  ASSERT_TRUE(client.Send(request).ok());
  ASSERT_EQ(server.requests().size(), 2);
  EXPECT_THAT(server.requests()[0], HasSubstr("GET /v1/thing HTTP/1.1\r\n"));
  EXPECT_THAT(server.requests()[0], HasSubstr("X-Key: abc\r\n"));
  EXPECT_THAT(server.requests()[1], HasSubstr("POST /v1/thing HTTP/1.1\r\n"));
  EXPECT_THAT(server.requests()[1], HasSubstr(std::string("\r\n\r\na\0b", 7)));
}

TEST(ClientTest, NobodyListens) {
  Client client;
  const absl::Status status = client.Send(To(RefusingUrl())).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr("127.0.0.1"));
}

// A queue of connections that is full lets nobody in and refuses nobody.
TEST(ClientTest, ConnectTimeout) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  ASSERT_EQ(bind(fd, any, size), 0);
  ASSERT_EQ(getsockname(fd, any, &size), 0);
  ASSERT_EQ(listen(fd, 0), 0);
  std::vector<int> waiting;
  for (int i = 0; i < 4; ++i) {
    waiting.push_back(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    static_cast<void>(connect(waiting.back(), any, size));  // still going on
  }
  Request request =
      To(absl::StrCat("http://127.0.0.1:", ntohs(address.sin_port)));
  request.connect_timeout = kShort;
  Client client;
  EXPECT_EQ(client.Send(request).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  for (const int other : waiting) close(other);
  close(fd);
}

TEST(ClientTest, SilenceIsTimedOut) {
  for (const char* bytes :
       {"", "HTTP/1.1 200 OK\r\nConte", "HTTP/1.1 200 OK\r\n\r\npart",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart"}) {
    const absl::Status status =
        ErrorOf({bytes, true}, [](Request* r) { r->read_timeout = kShort; });
    EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded) << bytes;
    EXPECT_THAT(std::string(status.message()), HasSubstr("silent for 150ms"));
  }
}

TEST(ClientTest, TotalTimeout) {
  const absl::Status status =
      ErrorOf({"", true}, [](Request* r) { r->total_timeout = kShort; });
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
}

TEST(ClientTest, AConnectionThatEndsEarly) {
  for (const char* bytes :
       {"", "HTTP/1.1 200 OK\r\nConte",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"}) {
    EXPECT_EQ(ErrorOf({bytes}).code(), absl::StatusCode::kUnavailable) << bytes;
  }
}

TEST(ClientTest, NoHttpAtAll) {
  EXPECT_EQ(ErrorOf({"220 mail.example ESMTP\r\n"}).code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST(ClientTest, TooMuch) {
  const auto limit = [](Request* r) { r->max_response_bytes = 1000; };
  EXPECT_EQ(
      ErrorOf({HttpAnswer(200, "text/plain", std::string(1001, 'x'))}, limit)
          .code(),
      absl::StatusCode::kResourceExhausted);
  // Without a length, for ever.
  EXPECT_EQ(
      ErrorOf({"HTTP/1.1 200 OK\r\n\r\n" + std::string(1 << 20, 'x')}, limit)
          .code(),
      absl::StatusCode::kResourceExhausted);
  std::string headers = "HTTP/1.1 200 OK\r\n";
  for (int i = 0; i < 5000; ++i) {
    absl::StrAppend(&headers, "X-", i, ": ", std::string(90, 'x'), "\r\n");
  }
  EXPECT_FALSE(ErrorOf({headers + "\r\n"}).ok());
}

TEST(ClientTest, CancelsWhileItWaits) {
  std::atomic<int> asked{0};
  const absl::Status status = ErrorOf({"", true}, [&](Request* r) {
    r->cancelled = [&asked] { return ++asked >= 3; };
  });
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
}

TEST(ClientTest, RedirectsAreNotFollowed) {
  RawServer server([](const std::string&) -> RawServer::Reply {
    return {HttpAnswer(302, "text/plain", "", "Location: /other\r\n")};
  });
  Client client;
  const absl::StatusOr<Response> response = client.Send(To(server.url()));
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->code, 302);
  EXPECT_EQ(response->Header("location"), "/other");
  EXPECT_EQ(server.requests().size(), 1);
}

TEST(ClientTest, WrongRequests) {
  Client client;
  for (const char* url : {"", "file:///etc/passwd", "ftp://a/b", "//a"}) {
    Request request;
    request.url = url;
    EXPECT_EQ(client.Send(request).status().code(),
              absl::StatusCode::kInvalidArgument)
        << url;
  }
  Request request = To("http://127.0.0.1:1");
  request.headers = {{"A", "secret\r\nB: 2"}};
  const absl::Status status = client.Send(request).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              ::testing::Not(HasSubstr("secret")));
}

TEST(ClientTest, ManyThreadsShareOne) {
  RawServer server([](const std::string& request) -> RawServer::Reply {
    return {HttpAnswer(200, "text/plain",
                       request.substr(request.find("\r\n\r\n") + 4))};
  });
  Client client;
  std::vector<std::thread> threads;
  std::atomic<int> right{0};
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] {
      for (int j = 0; j < 5; ++j) {
        Request request = To(server.url());
        request.body = absl::StrCat(i, ",", j);
        const absl::StatusOr<Response> response = client.Send(request);
        right += response.ok() && response->body == request.body;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, 40);
}

}  // namespace
}  // namespace repro::http
