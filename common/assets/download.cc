#include "common/assets/download.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace repro {
namespace {

// One transfer into the part file; libcurl's callbacks get a pointer to it.
struct Transfer {
  CURL* curl;
  int fd;
  int64_t offset;  // Asked for from here.
  int64_t size;    // Of the part file.
  const DownloadOptions* options;
  bool started = false;
  bool too_large = false;
  int write_error = 0;
};

size_t OnBody(char* bytes, size_t one, size_t count, void* data) {
  Transfer* transfer = static_cast<Transfer*>(data);
  if (!transfer->started) {
    transfer->started = true;
    long code = 0;
    curl_easy_getinfo(transfer->curl, CURLINFO_RESPONSE_CODE, &code);
    // 200 where 206 was asked for: the whole file, so the part is of no use.
    if (transfer->offset > 0 && code == 200) {
      if (ftruncate(transfer->fd, 0) != 0 ||
          lseek(transfer->fd, 0, SEEK_SET) != 0) {
        transfer->write_error = errno;
        return 0;
      }
      transfer->offset = transfer->size = 0;
    }
  }
  size_t done = 0;
  while (done < count) {
    const ssize_t written = write(transfer->fd, bytes + done, count - done);
    if (written < 0) {
      if (errno == EINTR) continue;
      transfer->write_error = errno;
      return 0;
    }
    done += written;
    transfer->size += written;
  }
  const int64_t expected = transfer->options->expected_bytes;
  if (expected > 0 && transfer->size > expected) {
    transfer->too_large = true;
    return 0;
  }
  return count;
}

int OnProgress(void* data, curl_off_t total, curl_off_t, curl_off_t,
               curl_off_t) {
  const Transfer* transfer = static_cast<Transfer*>(data);
  if (!transfer->options->progress) return 0;
  int64_t whole = transfer->options->expected_bytes;
  if (whole == 0 && total > 0) whole = transfer->offset + total;
  return transfer->options->progress(transfer->size, whole) ? 0 : 1;
}

struct Outcome {
  absl::Status status;
  bool may_pass = false;  // Worth another try.
};

Outcome StatusOfHttp(const std::string& url, long code) {
  const std::string message = absl::StrCat(url, ": HTTP ", code);
  if (code == 404 || code == 410) {
    return {
        absl::NotFoundError(absl::StrCat(message, ", the file is not there"))};
  }
  if (code == 401 || code == 403) {
    return {absl::PermissionDeniedError(
        absl::StrCat(message, ", the server does not give it to you"))};
  }
  return {absl::UnavailableError(message),
          code == 408 || code == 416 || code == 429 || code >= 500};
}

Outcome StatusOf(const std::string& url, CURLcode result, const char* detail,
                 const Transfer& transfer) {
  const std::string message = absl::StrCat(
      url, ": ", detail[0] != '\0' ? detail : curl_easy_strerror(result));
  switch (result) {
    case CURLE_OK:
      return {absl::OkStatus()};
    case CURLE_ABORTED_BY_CALLBACK:
      return {absl::CancelledError(absl::StrCat(url, ": stopped"))};
    case CURLE_FILE_COULDNT_READ_FILE:
      return {absl::NotFoundError(message)};
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
      return {absl::InvalidArgumentError(message)};
    case CURLE_HTTP_RETURNED_ERROR: {
      long code = 0;
      curl_easy_getinfo(transfer.curl, CURLINFO_RESPONSE_CODE, &code);
      return StatusOfHttp(url, code);
    }
    case CURLE_WRITE_ERROR:
      if (transfer.too_large) {
        return {absl::DataLossError(
            absl::StrCat(url, ": gives more than the ",
                         transfer.options->expected_bytes, " bytes expected"))};
      }
      return {absl::Status(
          absl::ErrnoToStatusCode(transfer.write_error),
          absl::StrCat("cannot write what ", url,
                       " gives: ", strerror(transfer.write_error),
                       "; make room in the cache folder and try again"))};
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_TOO_MANY_REDIRECTS:
      return {absl::UnavailableError(message)};
    default:  // Of the network.
      return {absl::UnavailableError(message), true};
  }
}

Outcome TryOnce(const std::string& url, const std::string& part_path,
                const DownloadOptions& options, int64_t* size) {
  const auto file_error = [&part_path] {
    return Outcome{absl::Status(
        absl::ErrnoToStatusCode(errno),
        absl::StrCat("cannot write ", part_path, ": ", strerror(errno)))};
  };
  const int fd = open(part_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (fd < 0) return file_error();
  absl::Cleanup close_file = [fd] { close(fd); };
  int64_t offset = lseek(fd, 0, SEEK_END);
  if (offset < 0) return file_error();
  if (options.expected_bytes > 0 && offset > options.expected_bytes) {
    if (ftruncate(fd, 0) != 0) return file_error();
    offset = lseek(fd, 0, SEEK_SET);
  }
  *size = offset;
  if (options.expected_bytes > 0 && offset == options.expected_bytes) {
    return {absl::OkStatus()};
  }

  CURL* curl = curl_easy_init();
  if (curl == nullptr) return {absl::InternalError("curl_easy_init failed")};
  absl::Cleanup free_curl = [curl] { curl_easy_cleanup(curl); };
  Transfer transfer = {curl, fd, offset, offset, &options};
  char detail[CURL_ERROR_SIZE] = "";
  const std::string range = absl::StrCat(offset, "-");
  curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https,file");
  curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
  curl_easy_setopt(curl, CURLOPT_MAXREDIRS, 10L);
  curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, 30L);
  // Less than a byte a second for a minute is a dead connection.
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, 60L);
  curl_easy_setopt(curl, CURLOPT_USERAGENT, "repro");
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, detail);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, OnBody);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &transfer);
  curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, OnProgress);
  curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &transfer);
  curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  // Not CURLOPT_RESUME_FROM: libcurl then refuses an answer without a range.
  if (offset > 0) curl_easy_setopt(curl, CURLOPT_RANGE, range.c_str());

  const CURLcode result = curl_easy_perform(curl);
  Outcome outcome = StatusOf(url, result, detail, transfer);
  *size = transfer.size;
  long code = 0;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &code);
  // 416: the part is as long as the file or longer, so not a part of it. A 200
  // without a body leaves the old part, which is no part of it either.
  const bool useless_part =
      (result == CURLE_HTTP_RETURNED_ERROR && code == 416) ||
      (offset > 0 && code == 200 && !transfer.started);
  if (useless_part && ftruncate(fd, 0) == 0) *size = 0;
  if (transfer.too_large) unlink(part_path.c_str());
  return outcome;
}

}  // namespace

absl::Status Download(const std::string& url, const std::string& part_path,
                      const DownloadOptions& options) {
  static const CURLcode initialised = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (initialised != CURLE_OK) {
    return absl::InternalError(curl_easy_strerror(initialised));
  }
  int64_t most = -1;
  absl::Duration pause = options.backoff;
  for (int attempt = 1;; ++attempt) {
    int64_t size = 0;
    Outcome outcome = TryOnce(url, part_path, options, &size);
    if (outcome.status.ok() || !outcome.may_pass) return outcome.status;
    // A transfer that got further than any before has earned fresh attempts:
    // a large file may take many cut connections.
    if (most >= 0 && size > most) {
      attempt = 1;
      pause = options.backoff;
    }
    most = std::max(most, size);
    if (attempt >= options.attempts) return outcome.status;
    // In small steps, so that the caller may stop it.
    for (const absl::Time end = absl::Now() + pause; absl::Now() < end;) {
      if (options.progress && !options.progress(size, options.expected_bytes)) {
        return absl::CancelledError(absl::StrCat(url, ": stopped"));
      }
      absl::SleepFor(std::min(end - absl::Now(), absl::Milliseconds(100)));
    }
    pause *= 2;
  }
}

}  // namespace repro
