#include "tools/bundle/bundle.h"

#include <archive.h>
#include <archive_entry.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace repro {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

std::string Content(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::string ThisProgram() { return fs::canonical("/proc/self/exe"); }

// path -> "mode content"
std::map<std::string, std::string> Unpacked(const std::string& path) {
  std::map<std::string, std::string> files;
  archive* tar = archive_read_new();
  archive_read_support_filter_all(tar);
  archive_read_support_format_tar(tar);
  EXPECT_EQ(archive_read_open_filename(tar, path.c_str(), 1 << 16), ARCHIVE_OK);
  archive_entry* entry;
  while (archive_read_next_header(tar, &entry) == ARCHIVE_OK) {
    std::string content(archive_entry_size(entry), 0);
    EXPECT_EQ(archive_read_data(tar, content.data(), content.size()),
              static_cast<la_ssize_t>(content.size()));
    EXPECT_EQ(archive_entry_mtime(entry), 0);
    files[archive_entry_pathname(entry)] =
        (archive_entry_perm(entry) == 0755 ? "x " : "- ") + content;
  }
  archive_read_free(tar);
  return files;
}

class BundleTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "/bundle";
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  std::string Path(const std::string& name) { return folder_ + "/" + name; }

  std::string folder_;
};

TEST_F(BundleTest, WritesSortedFilesInOneFolder) {
  std::ofstream(Path("data")) << "some data";
  const BundleFile data = {"assets/toy/data", Path("data"), "", false};
  const BundleFile run = {"run.sh", "", "#!/bin/sh\n", true};
  const std::map<std::string, std::string> expected = {
      {"toy/assets/toy/data", "- some data"}, {"toy/run.sh", "x #!/bin/sh\n"}};
  for (const char* name : {"toy.tar.gz", "toy.tgz", "toy.tar.zst", "toy.tar"}) {
    ASSERT_TRUE(WriteBundle({data, run}, Path(name)).ok());
    EXPECT_EQ(Unpacked(Path(name)), expected) << name;
    const std::string bytes = Content(Path(name));
    // The magic bytes of gzip, of zstd, and the first name of a plain tar.
    const std::string start = bytes.substr(0, 2);
    EXPECT_TRUE(start == "\x1f\x8b" || start == "\x28\xb5" || start == "to");

    fs::last_write_time(
        Path("data"), fs::file_time_type::clock::now() + std::chrono::hours(1));
    ASSERT_TRUE(WriteBundle({run, data}, Path(name)).ok());
    EXPECT_EQ(Content(Path(name)), bytes) << name;
  }
}

TEST_F(BundleTest, AnErrorLeavesNothingBehind) {
  const absl::Status no_folder =
      WriteBundle({{"a", "", "x", false}}, Path("none/b.tar.gz"));
  EXPECT_THAT(std::string(no_folder.message()), HasSubstr("none/b.tar.gz"));

  std::ofstream(Path("b.tar")) << "old";
  const absl::Status no_source =
      WriteBundle({{"a", Path("missing"), "", false}}, Path("b.tar"));
  EXPECT_THAT(std::string(no_source.message()), HasSubstr("missing"));
  EXPECT_EQ(Content(Path("b.tar")), "old");
  EXPECT_EQ(
      std::distance(fs::directory_iterator(folder_), fs::directory_iterator()),
      1);
}

TEST_F(BundleTest, NamesHaveAnEndingThatTellsTheCompression) {
  for (const char* name : {"", "x", "x.zip", ".tar.gz", "folder/.tgz"}) {
    EXPECT_THAT(std::string(CheckBundleName(name).message()),
                HasSubstr("NAME.tar.gz"))
        << name;
  }
  EXPECT_TRUE(CheckBundleName("folder/x.tar.zst").ok());
}

TEST_F(BundleTest, SharedLibrariesLeaveOutTheSystems) {
  // This test links libarchive, which links libzstd, and the C++ runtime.
  const auto libraries = SharedLibraries(ThisProgram());
  ASSERT_TRUE(libraries.ok()) << libraries.status();
  ASSERT_EQ(libraries->count("libarchive.so.13"), 1);
  EXPECT_TRUE(fs::exists(libraries->at("libarchive.so.13")));
  EXPECT_EQ(libraries->count("libzstd.so.1"), 1);
  for (const auto& [name, path] : *libraries) {
    EXPECT_THAT(name,
                testing::Not(testing::AnyOf(testing::StartsWith("libc."),
                                            testing::StartsWith("libstdc++"),
                                            testing::StartsWith("libtorch"))));
  }
  EXPECT_FALSE(SharedLibraries(Path("missing")).ok());
}

TEST_F(BundleTest, StrippedProgramsAreSmallerAndOtherFilesAsTheyAre) {
  const auto stripped = StrippedContent(ThisProgram());
  ASSERT_TRUE(stripped.ok());
  EXPECT_EQ(stripped->substr(1, 3), "ELF");
  EXPECT_LE(stripped->size(), fs::file_size(ThisProgram()));

  std::ofstream(Path("it's text")) << "text";
  const auto text = StrippedContent(Path("it's text"));
  ASSERT_TRUE(text.ok());
  EXPECT_EQ(*text, "text");
  EXPECT_FALSE(StrippedContent(Path("missing")).ok());
}

TEST_F(BundleTest, ScriptNamesTheLibTorchOfTheBuild) {
  const std::string script = RunScript("2.11.0");
  EXPECT_THAT(script, testing::StartsWith("#!/bin/sh\n"));
  EXPECT_THAT(script, HasSubstr("\nbuilt_with=2.11.0\n"));
}

}  // namespace
}  // namespace repro
