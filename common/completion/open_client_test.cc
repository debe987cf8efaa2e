#include "common/completion/open_client.h"

#include <filesystem>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace repro::completion {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(OpenClientTest, Names) {
  const std::string folder = ::testing::TempDir() + "/open_client";
  fs::remove_all(folder);
  const std::string openai = "openai:org/m@v1@https://host:8080/v1";
  for (const auto& [spec, name] :
       std::vector<std::pair<std::string, std::string>>{
           {"local", "local:smollm2-135m-instruct"},
           {"local:smollm2-135m-instruct", "local:smollm2-135m-instruct"},
           {openai, openai},
           {absl::StrCat("record:", folder, ":", openai), openai},
           {absl::StrCat("record:", folder, ":local"),
            "local:smollm2-135m-instruct"},
           {"replay:" + folder, "replay:" + folder}}) {
    const auto client = OpenClient(spec);
    ASSERT_TRUE(client.ok()) << client.status();
    EXPECT_EQ((*client)->name(), name);
  }
  EXPECT_TRUE(fs::is_directory(folder));
}

TEST(OpenClientTest, WrongSpecsGetTheListOfKinds) {
  for (const char* spec :
       {"", "gpt-4", "Local", "local:", "openai:", "openai:m",
        "openai:@http://h", "openai:m@host", "replay:", "record:", "record:dir",
        "record::local", "record:dir:", "record:dir:gpt"}) {
    const absl::Status status = OpenClient(spec).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << spec;
    EXPECT_THAT(std::string(status.message()), HasSubstr("record:DIR:SPEC"));
  }
  EXPECT_FALSE(fs::exists("dir"));  // nothing was made for a wrong spec
  EXPECT_EQ(OpenClient("replay:/no/such/folder").status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(OpenClient("local:/no/such/model").status().code(),
            absl::StatusCode::kNotFound);
  const absl::Status status =
      OpenClient("openai:m@https://me:secret@host").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), Not(HasSubstr("secret")));
}

}  // namespace
}  // namespace repro::completion
