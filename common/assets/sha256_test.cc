#include "common/assets/sha256.h"

#include <fstream>
#include <string>

#include "absl/status/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace repro {
namespace {

using ::testing::HasSubstr;

// NIST, examples for FIPS 180-4, and the empty message.
constexpr char kEmpty[] =
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
constexpr char kAbc[] =
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
constexpr char kMillionAs[] =
    "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";

TEST(Sha256Test, KnownDigests) {
  EXPECT_EQ(Sha256(""), kEmpty);
  EXPECT_EQ(Sha256("abc"), kAbc);
  EXPECT_EQ(Sha256(std::string(1'000'000, 'a')), kMillionAs);
}

TEST(Sha256Test, Files) {
  const std::string path = ::testing::TempDir() + "/sha256_test";
  std::ofstream(path).flush();
  EXPECT_EQ(Sha256File(path).value(), kEmpty);
  std::ofstream(path) << std::string(1'000'000, 'a');
  EXPECT_EQ(Sha256File(path).value(), kMillionAs);
}

TEST(Sha256Test, UnreadableFilesAreNamed) {
  const absl::Status missing = Sha256File("/none/at/all").status();
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(missing.message()), HasSubstr("/none/at/all"));
  EXPECT_FALSE(Sha256File(::testing::TempDir()).ok());
}

}  // namespace
}  // namespace repro
