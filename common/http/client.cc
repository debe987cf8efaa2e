#include "common/http/client.h"

#include <curl/curl.h>

#include <algorithm>

#include "absl/base/thread_annotations.h"
#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "common/status/macros.h"

namespace repro::http {
namespace {

// How long a thread waits before it looks at the clock and `cancelled`.
constexpr int kLookMilliseconds = 50;
constexpr int64_t kMaxHeaderBytes = int64_t{1} << 18;

// One request on its way; libcurl's callbacks get a pointer to it.
struct Transfer {
  const Request* request;
  Response response;
  absl::Time last_byte;
  int64_t header_bytes = 0;
  bool headers_ended = false;
  bool too_large = false;
};

size_t OnHeader(char* bytes, size_t one, size_t count, void* data) {
  Transfer* transfer = static_cast<Transfer*>(data);
  transfer->last_byte = absl::Now();
  transfer->header_bytes += static_cast<int64_t>(count);
  if (transfer->header_bytes > kMaxHeaderBytes) {
    transfer->too_large = true;
    return 0;
  }
  const absl::string_view line(bytes, one * count);
  if (absl::StartsWith(line, "HTTP/")) {
    transfer->response.headers.clear();  // of a 100 before the answer
    transfer->headers_ended = false;
    return count;
  }
  if (line == "\r\n" || line == "\n") transfer->headers_ended = true;
  const size_t colon = line.find(':');
  if (colon != absl::string_view::npos) {
    transfer->response.headers.emplace_back(
        absl::AsciiStrToLower(line.substr(0, colon)),
        absl::StripAsciiWhitespace(line.substr(colon + 1)));
  }
  return count;
}

size_t OnBody(char* bytes, size_t one, size_t count, void* data) {
  Transfer* transfer = static_cast<Transfer*>(data);
  transfer->last_byte = absl::Now();
  std::string& body = transfer->response.body;
  if (static_cast<int64_t>(body.size() + count) >
      transfer->request->max_response_bytes) {
    transfer->too_large = true;
    return 0;
  }
  body.append(bytes, one * count);
  return count;
}

int64_t Milliseconds(absl::Duration duration) {
  return std::max<int64_t>(1, absl::ToInt64Milliseconds(duration));
}

absl::Status CheckRequest(const Request& request) {
  if (!absl::StartsWith(request.url, "http://") &&
      !absl::StartsWith(request.url, "https://")) {
    return absl::InvalidArgumentError(
        "the URL of a request must begin with http:// or https://");
  }
  const std::string kBreaks("\r\n\0", 3);
  for (const auto& [name, value] : request.headers) {
    const std::string line = name + value;
    if (name.empty() || line.find_first_of(kBreaks) != line.npos) {
      return absl::InvalidArgumentError(absl::StrCat(
          request.url, ": the header ", absl::Utf8SafeCEscape(name),
          " holds a line break or has no name"));
    }
  }
  return absl::OkStatus();
}

absl::Status StatusOf(CURLcode result, const char* detail,
                      const Transfer& transfer) {
  const Request& request = *transfer.request;
  const std::string message =
      absl::StrCat(request.url, ": ",
                   detail[0] != '\0' ? detail : curl_easy_strerror(result));
  switch (result) {
    case CURLE_OK:
      if (!transfer.headers_ended) {
        return absl::UnavailableError(absl::StrCat(
            request.url, ": the connection ended in the answer's headers"));
      }
      return absl::OkStatus();
    case CURLE_URL_MALFORMAT:
      return absl::InvalidArgumentError(message);
    case CURLE_OPERATION_TIMEDOUT:
      return absl::DeadlineExceededError(message);
    case CURLE_WRITE_ERROR:
      if (transfer.too_large) {
        return absl::ResourceExhaustedError(
            absl::StrCat(request.url, ": the answer is larger than ",
                         request.max_response_bytes,
                         " bytes, or its headers than ", kMaxHeaderBytes));
      }
      return absl::UnavailableError(message);
    case CURLE_UNSUPPORTED_PROTOCOL:  // The scheme is known: of the answer.
    case CURLE_PEER_FAILED_VERIFICATION:
      return absl::FailedPreconditionError(message);
    default:  // Of the network.
      return absl::UnavailableError(message);
  }
}

}  // namespace

// A connection is kept by its multi handle, which one thread uses at a time.
struct Handle {
  Handle() : multi(curl_multi_init()), easy(curl_easy_init()) {}
  ~Handle() {
    if (easy != nullptr) curl_easy_cleanup(easy);
    if (multi != nullptr) curl_multi_cleanup(multi);
  }
  CURLM* const multi;
  CURL* const easy;
};

class Client::Pool {
 public:
  std::unique_ptr<Handle> Take() {
    {
      absl::MutexLock lock(&mutex_);
      if (!free_.empty()) {
        std::unique_ptr<Handle> handle = std::move(free_.back());
        free_.pop_back();
        return handle;
      }
    }
    return std::make_unique<Handle>();
  }

  void Put(std::unique_ptr<Handle> handle) {
    absl::MutexLock lock(&mutex_);
    free_.push_back(std::move(handle));
  }

 private:
  absl::Mutex mutex_;
  std::vector<std::unique_ptr<Handle>> free_ ABSL_GUARDED_BY(mutex_);
};

std::string Response::Header(const std::string& name) const {
  for (auto it = headers.rbegin(); it != headers.rend(); ++it) {
    if (it->first == name) return it->second;
  }
  return "";
}

Client::Client() : pool_(std::make_unique<Pool>()) {}
Client::~Client() = default;

absl::StatusOr<Response> Client::Send(const Request& request) {
  static const CURLcode initialised = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (initialised != CURLE_OK) {
    return absl::InternalError(curl_easy_strerror(initialised));
  }
  REPRO_RETURN_IF_ERROR(CheckRequest(request));
  std::unique_ptr<Handle> handle = pool_->Take();
  CURL* const easy = handle->easy;
  CURLM* const multi = handle->multi;
  if (easy == nullptr || multi == nullptr) {
    return absl::InternalError("libcurl makes no handle");
  }
  curl_slist* headers = nullptr;
  absl::Cleanup free_headers = [&headers] { curl_slist_free_all(headers); };
  const auto add_header = [&headers](const std::string& line) {
    headers = curl_slist_append(headers, line.c_str());
  };
  for (const auto& [name, value] : request.headers) {
    add_header(absl::StrCat(name, ": ", value));
  }
  // libcurl would wait for a 100 Continue that small servers never send.
  if (!request.body.empty()) add_header("Expect:");

  Transfer transfer;
  transfer.request = &request;
  transfer.last_byte = absl::Now();
  char detail[CURL_ERROR_SIZE] = "";
  curl_easy_reset(easy);
  curl_easy_setopt(easy, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                   static_cast<long>(Milliseconds(request.connect_timeout)));
  curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS,
                   static_cast<long>(Milliseconds(request.total_timeout)));
  curl_easy_setopt(easy, CURLOPT_USERAGENT, "repro");
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, detail);
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, OnHeader);
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, &transfer);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, OnBody);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, &transfer);
  if (!request.body.empty()) {
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request.body.data());
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
                     static_cast<curl_off_t>(request.body.size()));
  }

  if (const CURLMcode code = curl_multi_add_handle(multi, easy);
      code != CURLM_OK) {
    return absl::InternalError(curl_multi_strerror(code));
  }
  absl::Status status;
  for (int running = 1;;) {
    CURLMcode code = curl_multi_perform(multi, &running);
    if (code == CURLM_OK && running == 0) break;
    if (code == CURLM_OK) {
      code = curl_multi_poll(multi, nullptr, 0, kLookMilliseconds, nullptr);
    }
    if (code != CURLM_OK) {
      status = absl::InternalError(curl_multi_strerror(code));
      break;
    }
    if (request.cancelled && request.cancelled()) {
      status = absl::CancelledError(absl::StrCat(request.url, ": stopped"));
      break;
    }
    if (absl::Now() - transfer.last_byte > request.read_timeout) {
      status = absl::DeadlineExceededError(
          absl::StrCat(request.url, ": silent for ",
                       absl::FormatDuration(request.read_timeout)));
      break;
    }
  }
  if (status.ok()) {
    CURLcode result = CURLE_FAILED_INIT;
    int left = 0;
    while (const CURLMsg* message = curl_multi_info_read(multi, &left)) {
      if (message->msg == CURLMSG_DONE) result = message->data.result;
    }
    status = StatusOf(result, detail, transfer);
  }
  long code = 0;
  curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &code);
  // Also closes the connection of a request that is not done.
  curl_multi_remove_handle(multi, easy);
  curl_easy_reset(easy);  // It points at what ends with this function.
  pool_->Put(std::move(handle));
  REPRO_RETURN_IF_ERROR(status);
  transfer.response.code = static_cast<int>(code);
  return std::move(transfer.response);
}

}  // namespace repro::http
