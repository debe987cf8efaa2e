#include "common/assets/sha256.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <string.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace repro {
namespace {

class Digest {
 public:
  Digest() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
    Check(context_ != nullptr &&
          EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1);
  }

  void Update(const void* bytes, size_t count) {
    Check(EVP_DigestUpdate(context_.get(), bytes, count) == 1);
  }

  std::string Hex() {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    Check(EVP_DigestFinal_ex(context_.get(), digest, &size) == 1);
    return absl::BytesToHexString(
        absl::string_view(reinterpret_cast<char*>(digest), size));
  }

 private:
  // OpenSSL fails here only without memory.
  static void Check(bool ok) {
    if (!ok) abort();
  }

  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

}  // namespace

std::string Sha256(absl::string_view bytes) {
  Digest digest;
  digest.Update(bytes.data(), bytes.size());
  return digest.Hex();
}

absl::StatusOr<std::string> Sha256File(const std::string& path) {
  const auto error = [&path] {
    return absl::Status(
        absl::ErrnoToStatusCode(errno),
        absl::StrCat("cannot read ", path, ": ", strerror(errno)));
  };
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return error();
  absl::Cleanup close_file = [fd] { close(fd); };
  Digest digest;
  std::vector<char> chunk(size_t{1} << 20);
  while (true) {
    const ssize_t count = read(fd, chunk.data(), chunk.size());
    if (count == 0) return digest.Hex();
    if (count > 0) {
      digest.Update(chunk.data(), count);
    } else if (errno != EINTR) {
      return error();
    }
  }
}

}  // namespace repro
