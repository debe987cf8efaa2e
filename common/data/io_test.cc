#include "common/data/io.h"

#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace repro {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// printf 'hello\n' | gzip -n -9 | xxd -p
constexpr unsigned char kHelloGzip[] = {
    0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02,
    0x03, 0xcb, 0x48, 0xcd, 0xc9, 0xc9, 0xe7, 0x02, 0x00,
    0x20, 0x30, 0x3a, 0x36, 0x06, 0x00, 0x00, 0x00};

std::string HelloGzip() {
  return std::string(reinterpret_cast<const char*>(kHelloGzip),
                     sizeof(kHelloGzip));
}

class IoTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = ::testing::TempDir() + "/io_test_" +
              ::testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string Put(const std::string& name, const std::string& content) {
    const std::string path = folder_ + "/" + name;
    std::ofstream(path, std::ios::binary) << content;
    return path;
  }

  std::vector<std::string> Names() {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
      names.push_back(entry.path().filename());
    }
    return names;
  }

  std::string folder_;
};

TEST_F(IoTest, ReadsPlainFile) {
  const std::string content("a\0b\n", 4);
  EXPECT_EQ(ReadFile(Put("plain", content)).value(), content);
  EXPECT_EQ(ReadFile(Put("empty", "")).value(), "");
  EXPECT_EQ(ReadFile(Put("one_byte", "\x1f")).value(), "\x1f");
}

TEST_F(IoTest, ReadsGzipByMagicWhateverTheName) {
  EXPECT_EQ(ReadFile(Put("a.txt", HelloGzip())).value(), "hello\n");
}

TEST_F(IoTest, ReadsConcatenatedMembersAndZeroPadding) {
  EXPECT_EQ(
      ReadFile(Put("a.gz", HelloGzip() + HelloGzip() + std::string(512, '\0')))
          .value(),
      "hello\nhello\n");
}

TEST_F(IoTest, ReadsGzipLargerThanOneChunk) {
  const std::string path = folder_ + "/large.gz";
  const std::string content(5'000'000, 'x');
  gzFile file = gzopen(path.c_str(), "wb");
  ASSERT_NE(file, nullptr);
  ASSERT_EQ(gzwrite(file, content.data(), content.size()), content.size());
  ASSERT_EQ(gzclose(file), Z_OK);
  EXPECT_EQ(ReadFile(path).value(), content);
  // A few kilobytes that unfold to more than is allowed.
  const absl::Status status = ReadFile(path, 1'000'000).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), HasSubstr(path));
  EXPECT_EQ(ReadFile(path, 5'000'000).value().size(), 5'000'000);
}

TEST_F(IoTest, PlainFileOverTheLimit) {
  const std::string path = Put("plain", "12345");
  EXPECT_EQ(ReadFile(path, 4).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReadFile(path, 5).value(), "12345");
}

TEST_F(IoTest, EveryTruncationOfGzipIsDataLossThatNamesTheFile) {
  const std::string whole = HelloGzip();
  for (size_t size = 2; size < whole.size(); ++size) {
    const std::string path = Put("cut.gz", whole.substr(0, size));
    const absl::Status status = ReadFile(path).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << size;
    EXPECT_THAT(std::string(status.message()), HasSubstr(path));
    EXPECT_THAT(std::string(status.message()), HasSubstr("truncated"));
  }
}

TEST_F(IoTest, WrongChecksumAndTrailingBytesAreDataLoss) {
  std::string damaged = HelloGzip();
  damaged[18] ^= 1;
  EXPECT_EQ(ReadFile(Put("a.gz", damaged)).status().code(),
            absl::StatusCode::kDataLoss);
  EXPECT_EQ(ReadFile(Put("b.gz", HelloGzip() + "junk")).status().code(),
            absl::StatusCode::kDataLoss);
}

TEST_F(IoTest, MissingFileAndFolder) {
  const absl::Status missing = ReadFile(folder_ + "/none").status();
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(missing.message()), HasSubstr(folder_ + "/none"));
  EXPECT_EQ(ReadFile(folder_).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(IoTest, WritesAndReplaces) {
  const std::string path = folder_ + "/out";
  ASSERT_TRUE(WriteFileAtomically(path, "first, and longer").ok());
  EXPECT_EQ(ReadFile(path).value(), "first, and longer");
  ASSERT_TRUE(WriteFileAtomically(path, "second").ok());
  EXPECT_EQ(ReadFile(path).value(), "second");
  EXPECT_THAT(Names(), ElementsAre("out"));
}

TEST_F(IoTest, WriteIntoMissingFolderSaysToCreateIt) {
  const absl::Status status = WriteFileAtomically(folder_ + "/none/out", "x");
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr(folder_ + "/none/out"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("create the folder"));
}

TEST_F(IoTest, WriteOverFolderLeavesNothingBehind) {
  std::filesystem::create_directory(folder_ + "/out");
  const absl::Status status = WriteFileAtomically(folder_ + "/out", "x");
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), HasSubstr("file"));
  EXPECT_THAT(Names(), ElementsAre("out"));
}

// /proc takes no new files from anyone, root included.
TEST_F(IoTest, WriteIntoReadOnlyFolder) {
  const absl::Status status = WriteFileAtomically("/proc/repro_io_test", "x");
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), HasSubstr("/proc/repro_io_test"));
  EXPECT_THAT(std::string(status.message()), HasSubstr(";"));
}

TEST_F(IoTest, FileSizeLimitKeepsTheOldFile) {
  const std::string path = folder_ + "/out";
  ASSERT_TRUE(WriteFileAtomically(path, "old").ok());
  struct rlimit old_limit;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old_limit), 0);
  struct rlimit limit = {1000, old_limit.rlim_max};
  signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  const absl::Status status = WriteFileAtomically(path, std::string(5000, 'x'));
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &old_limit), 0);
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(std::string(status.message()), HasSubstr(path));
  EXPECT_THAT(std::string(status.message()), HasSubstr("ulimit"));
  EXPECT_EQ(ReadFile(path).value(), "old");
  EXPECT_THAT(Names(), ElementsAre("out"));
}

TEST_F(IoTest, FullDiskKeepsTheOldFile) {
  if (mount("tmpfs", folder_.c_str(), "tmpfs", 0, "size=64k") != 0) {
    GTEST_SKIP() << "may not mount a small tmpfs here";
  }
  const std::string path = folder_ + "/out";
  EXPECT_TRUE(WriteFileAtomically(path, "old").ok());
  const absl::Status status =
      WriteFileAtomically(path, std::string(1 << 20, 'x'));
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), HasSubstr(path));
  EXPECT_THAT(std::string(status.message()), HasSubstr("free some space"));
  EXPECT_EQ(ReadFile(path).value(), "old");
  EXPECT_THAT(Names(), ElementsAre("out"));
  EXPECT_EQ(umount2(folder_.c_str(), MNT_DETACH), 0);
  EXPECT_THAT(Names(), IsEmpty());
}

TEST(LineReaderTest, LineEndsAndNumbers) {
  LineReader reader("\xef\xbb\xbfone\r\n\ntwo\nthree");
  absl::string_view line;
  std::vector<std::string> lines;
  while (reader.Next(&line)) {
    lines.push_back(std::to_string(reader.line_number()) + std::string(line));
  }
  EXPECT_THAT(lines, ElementsAre("1one", "2", "3two", "4three"));
  LineReader none("");
  EXPECT_FALSE(none.Next(&line));
}

TEST(QuotedTest, EscapesAndShortens) {
  EXPECT_EQ(Quoted("a\n\xff"), "'a\\n\\xff'");
  EXPECT_EQ(Quoted(std::string(100, 'x')), "'" + std::string(40, 'x') + "...'");
}

}  // namespace
}  // namespace repro
