#include "common/assets/wheel.h"

#include <archive.h>
#include <archive_entry.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace repro {
namespace {

using ::testing::HasSubstr;

namespace fs = std::filesystem;

std::string Get(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

void Put(const std::string& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

void WriteZip(const std::string& path,
              const std::vector<std::pair<std::string, std::string>>& files) {
  struct archive* writer = archive_write_new();
  ASSERT_EQ(archive_write_set_format_zip(writer), ARCHIVE_OK);
  ASSERT_EQ(archive_write_open_filename(writer, path.c_str()), ARCHIVE_OK);
  for (const auto& [name, content] : files) {
    struct archive_entry* entry = archive_entry_new();
    archive_entry_set_pathname(entry, name.c_str());
    archive_entry_set_size(entry, content.size());
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, 0644);
    ASSERT_EQ(archive_write_header(writer, entry), ARCHIVE_OK);
    ASSERT_EQ(archive_write_data(writer, content.data(), content.size()),
              content.size());
    archive_entry_free(entry);
  }
  ASSERT_EQ(archive_write_close(writer), ARCHIVE_OK);
  archive_write_free(writer);
}

class WheelTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = ::testing::TempDir() + "/wheel_test_" +
              ::testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    zip_ = folder_ + "/a.zip";
    out_ = folder_ + "/out";
    for (int i = 0; i < 20000; ++i) large_ += std::to_string(i * 7919 % 10007);
    WriteZip(zip_, {{"pkg/a.ts", "content of a"},
                    {"pkg/large", large_},
                    {"../outside", "bad"},
                    {"pkg/empty", ""}});
  }
  void TearDown() override { fs::remove_all(folder_); }

  absl::Status Extract(const std::string& member, int64_t max_bytes = 1 << 20) {
    return ExtractZipMember(zip_, member, out_, max_bytes);
  }

  std::string folder_, zip_, out_, large_;
};

TEST_F(WheelTest, IsPathBelow) {
  for (const char* good : {"a", "a/b.c", "..a/b..", "a/...", ".hidden"}) {
    EXPECT_TRUE(IsPathBelow(good)) << good;
  }
  for (const char* bad : {"", "/", "/a", "a/", "a//b", ".", "..", "a/../b",
                          "../a", "a/..", "./a"}) {
    EXPECT_FALSE(IsPathBelow(bad)) << bad;
  }
  EXPECT_FALSE(IsPathBelow(absl::string_view("a\0b", 3)));
}

TEST_F(WheelTest, ExtractsMembers) {
  ASSERT_TRUE(Extract("pkg/large").ok());
  EXPECT_EQ(Get(out_), large_);
  ASSERT_TRUE(Extract("pkg/a.ts").ok());  // Replaces the longer file.
  EXPECT_EQ(Get(out_), "content of a");
  ASSERT_TRUE(Extract("pkg/empty").ok());
  EXPECT_EQ(Get(out_), "");
}

TEST_F(WheelTest, MissingMember) {
  const absl::Status status = Extract("pkg/b.ts");
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("pkg/b.ts"));
  EXPECT_FALSE(fs::exists(out_));
}

TEST_F(WheelTest, MembersThatLeaveTheirFolderAreRefused) {
  EXPECT_EQ(Extract("../outside").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Extract("/etc/passwd").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE(fs::exists(out_));
}

TEST_F(WheelTest, MemberLargerThanAllowed) {
  EXPECT_EQ(Extract("pkg/a.ts", 11).code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_FALSE(fs::exists(out_));
  EXPECT_TRUE(Extract("pkg/a.ts", 12).ok());
}

TEST_F(WheelTest, DoesNotWriteThroughALink) {
  Put(folder_ + "/target", "kept");
  fs::create_symlink(folder_ + "/target", out_);
  EXPECT_FALSE(Extract("pkg/a.ts").ok());
  EXPECT_EQ(Get(folder_ + "/target"), "kept");
}

TEST_F(WheelTest, DamagedArchives) {
  const std::string whole = Get(zip_);
  Put(zip_, "");
  EXPECT_FALSE(Extract("pkg/a.ts").ok());
  Put(zip_, "this is no zip file, only some text that is long enough");
  EXPECT_EQ(Extract("pkg/a.ts").code(), absl::StatusCode::kDataLoss);
  // A flipped byte in the middle of the compressed data of pkg/large.
  std::string damaged = whole;
  damaged[damaged.size() / 2] ^= 0x55;
  Put(zip_, damaged);
  EXPECT_EQ(Extract("pkg/large").code(), absl::StatusCode::kDataLoss);
  EXPECT_FALSE(fs::exists(out_));
  for (size_t size = 0; size < whole.size(); size += 997) {
    Put(zip_, whole.substr(0, size));
    const absl::Status status = Extract("pkg/large");
    if (status.ok()) {
      EXPECT_EQ(Get(out_), large_) << size;
    } else {
      EXPECT_FALSE(fs::exists(out_)) << size;
    }
    fs::remove(out_);
  }
}

TEST_F(WheelTest, MissingArchive) {
  EXPECT_FALSE(ExtractZipMember(zip_ + ".none", "a", out_, 10).ok());
}

// A stand-in for python3, first in PATH, that does what `script` says.
class FakePip {
 public:
  FakePip(const std::string& folder, const std::string& script)
      : old_path_(getenv("PATH")) {
    fs::create_directories(folder + "/bin");
    Put(folder + "/bin/python3", "#!/bin/sh\n" + script);
    fs::permissions(folder + "/bin/python3", fs::perms::owner_all);
    setenv("PATH", (folder + "/bin:" + old_path_).c_str(), 1);
  }
  ~FakePip() { setenv("PATH", old_path_.c_str(), 1); }

 private:
  std::string old_path_;
};

PypiMember SomeWheel() {
  PypiMember wheel;
  wheel.set_package("pkg");
  wheel.set_version("1.0");
  wheel.set_wheel_sha256(std::string(64, 'a'));
  return wheel;
}

TEST_F(WheelTest, PipGetsTheRequirementWithItsHash) {
  // The last argument is the folder for wheels.
  FakePip pip(
      folder_,
      "echo \"$*\" > " + folder_ + "/arguments\n" +
          "for last; do :; done\n"
          "mkdir -p \"$last\" && : > \"$last/pkg-1.0-py3-none-any.whl\"\n");
  const std::string wheel =
      DownloadWheel(SomeWheel(), folder_, nullptr).value();
  EXPECT_EQ(fs::path(wheel).filename(), "pkg-1.0-py3-none-any.whl");
  EXPECT_TRUE(fs::exists(wheel));
  EXPECT_EQ(Get(folder_ + "/requirements.txt"),
            "pkg==1.0 --hash=sha256:" + std::string(64, 'a') + "\n");
  EXPECT_THAT(Get(folder_ + "/arguments"),
              HasSubstr("-m pip download --no-deps --require-hashes "
                        "--only-binary=:all:"));
}

TEST_F(WheelTest, PipWithoutNetwork) {
  FakePip pip(folder_,
              "echo 'ERROR: No matching distribution found' >&2\n"
              "exit 1\n");
  const absl::Status status =
      DownloadWheel(SomeWheel(), folder_, nullptr).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("ERROR: No matching distribution found"));
}

TEST_F(WheelTest, PipFindsAnotherHash) {
  FakePip pip(folder_,
              "echo 'ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE "
              "REQUIREMENTS FILE.' >&2\nexit 1\n");
  EXPECT_EQ(DownloadWheel(SomeWheel(), folder_, nullptr).status().code(),
            absl::StatusCode::kDataLoss);
}

TEST_F(WheelTest, PipLeavesNothing) {
  FakePip pip(folder_, "exit 0\n");
  EXPECT_EQ(DownloadWheel(SomeWheel(), folder_, nullptr).status().code(),
            absl::StatusCode::kUnavailable);
}

TEST_F(WheelTest, PipIsStopped) {
  FakePip pip(folder_, "exec sleep 600\n");
  EXPECT_EQ(
      DownloadWheel(SomeWheel(), folder_, [] { return false; }).status().code(),
      absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace repro
