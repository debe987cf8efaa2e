#include "common/exec/hostile.h"

#include <set>
#include <string>

#include "common/exec/namespaces_permitted.h"
#include "gtest/gtest.h"

namespace repro::exec {
namespace {

TEST(HostileTest, NothingGetsOutAndTheNextTaskRuns) {
  const absl::Status permitted = NamespacesPermitted();
  if (!permitted.ok()) GTEST_SKIP() << "NOT TESTED: " << permitted;
  const absl::StatusOr<Sandbox> sandbox = Sandbox::Create();
  ASSERT_TRUE(sandbox.ok()) << sandbox.status();
  const absl::StatusOr<std::vector<HostileResult>> results =
      RunHostilePrograms(*sandbox);
  ASSERT_TRUE(results.ok()) << results.status();
  EXPECT_EQ(results->size(), HostilePrograms().size());
  for (const HostileResult& result : *results) {
    EXPECT_TRUE(result.as_expected)
        << result.program->name << ": expected " << result.program->expected
        << ", got " << result.got << ": " << result.result.message << "\n"
        << result.result.stdout_text.substr(0, 1000)
        << result.result.stderr_text.substr(0, 1000);
    EXPECT_EQ(result.leak, "") << result.program->name;
  }
}

TEST(HostileTest, ProgramsHaveNamesOfTheirOwn) {
  std::set<std::string> names;
  for (const HostileProgram& program : HostilePrograms()) {
    EXPECT_TRUE(names.insert(program.name).second) << program.name;
  }
  EXPECT_GE(names.size(), 60);
}

}  // namespace
}  // namespace repro::exec
