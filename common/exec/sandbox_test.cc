#include "common/exec/sandbox.h"

#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/exec/namespaces_permitted.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace repro::exec {
namespace {

using ::testing::HasSubstr;

const Sandbox& TheSandbox() {
  static const auto* sandbox = new absl::StatusOr<Sandbox>(Sandbox::Create());
  return **sandbox;
}

class SandboxTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const absl::Status permitted = NamespacesPermitted();
    if (!permitted.ok()) GTEST_SKIP() << "NOT TESTED: " << permitted;
    const absl::StatusOr<Sandbox> sandbox = Sandbox::Create();
    ASSERT_TRUE(sandbox.ok()) << sandbox.status();
  }

  static ExecRequest Script(const std::string& program) {
    ExecRequest request;
    request.program = program;
    return request;
  }

  static ExecRequest Tests(const std::string& program,
                           const std::string& tests) {
    ExecRequest request = Script(program);
    request.mode = Mode::kTests;
    request.tests = tests;
    return request;
  }

  static ExecResult Run(const ExecRequest& request) {
    return TheSandbox().Run(request);
  }
};

TEST_F(SandboxTest, RunsAScriptWithInputAndFiles) {
  ExecRequest request = Script(
      "import sys, helper\n"
      "print(helper.double(int(input())), open('data/x.txt').read())\n"
      "print('note', file=sys.stderr)\n"
      "print(__name__, sys.argv, __file__)\n");
  request.stdin_text = "21\n";
  request.files = {{"helper.py", "def double(x): return 2 * x\n"},
                   {"data/x.txt", "caf\xc3\xa9"}};
  const ExecResult result = Run(request);
  EXPECT_EQ(result.outcome, Outcome::kPassed) << result.message;
  EXPECT_EQ(result.stdout_text,
            "42 caf\xc3\xa9\n__main__ ['/tmp/main.py'] /tmp/main.py\n");
  EXPECT_EQ(result.stderr_text, "note\n");
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.signal, 0);
}

TEST_F(SandboxTest, AScriptEndsAsUnderPython) {
  // atexit handlers, non-daemon threads and the buffers of the streams.
  const ExecResult result =
      Run(Script("import atexit, threading, time\n"
                 "atexit.register(print, 'at exit')\n"
                 "def late():\n"
                 "    time.sleep(0.05)\n"
                 "    print('late')\n"
                 "threading.Thread(target=late).start()\n"
                 "print('main', end=' ')\n"));
  EXPECT_EQ(result.outcome, Outcome::kPassed);
  EXPECT_EQ(result.stdout_text, "main late\nat exit\n");
}

TEST_F(SandboxTest, ExitStatus) {
  ExecResult result = Run(Script("raise SystemExit('a reason')"));
  EXPECT_EQ(result.outcome, Outcome::kWrong);
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_EQ(result.stderr_text, "a reason\n");
  result = Run(Script("import sys; sys.exit(3)"));
  EXPECT_EQ(result.outcome, Outcome::kWrong);
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_EQ(Run(Script("import sys; sys.exit()")).outcome, Outcome::kPassed);
  EXPECT_EQ(Run(Script("")).outcome, Outcome::kPassed);
}

TEST_F(SandboxTest, ExceptionsAreTyped) {
  ExecResult result = Run(Script("x = [1]\nprint(x[5])\n"));
  EXPECT_EQ(result.outcome, Outcome::kException);
  EXPECT_EQ(result.exception_type, "IndexError");
  EXPECT_EQ(result.message, "list index out of range");
  // The traceback of the program alone, as `python3 main.py` prints it.
  EXPECT_EQ(result.stderr_text,
            "Traceback (most recent call last):\n"
            "  File \"/tmp/main.py\", line 2, in <module>\n"
            "    print(x[5])\n"
            "          ~^^^\n"
            "IndexError: list index out of range\n");

  result = Run(Script("class Mine(Exception): pass\nraise Mine('caf\\u00e9')"));
  EXPECT_EQ(result.exception_type, "Mine");
  EXPECT_EQ(result.message, "caf\xc3\xa9");

  result = Run(Script("import json; json.loads('{')"));
  EXPECT_EQ(result.exception_type, "json.decoder.JSONDecodeError");

  result = Run(Script("def f(:"));
  EXPECT_EQ(result.exception_type, "SyntaxError");
  EXPECT_EQ(result.outcome, Outcome::kException);

  result = Run(Script("raise KeyboardInterrupt"));
  EXPECT_EQ(result.exception_type, "KeyboardInterrupt");
}

TEST_F(SandboxTest, TestsDecide) {
  const std::string program = "def inc(x):\n    return x + 1\n";
  EXPECT_EQ(Run(Tests(program, "assert inc(1) == 2")).outcome,
            Outcome::kPassed);
  ExecResult result = Run(Tests(program, "assert inc(1) == 3, 'not 3'"));
  EXPECT_EQ(result.outcome, Outcome::kWrong);
  EXPECT_EQ(result.exception_type, "AssertionError");
  EXPECT_EQ(result.message, "not 3");
  result = Run(Tests(program, "inc('a')"));
  EXPECT_EQ(result.outcome, Outcome::kException);
  EXPECT_EQ(result.exception_type, "TypeError");
  // An assert of the program's own is not the tests' verdict.
  result = Run(Tests("assert False", "pass"));
  EXPECT_EQ(result.outcome, Outcome::kException);
  // An end before the tests' end.
  result = Run(Tests("import sys; sys.exit(0)", "pass"));
  EXPECT_EQ(result.outcome, Outcome::kWrong);
  EXPECT_EQ(Run(Tests("x = 1", "")).outcome, Outcome::kPassed);
}

TEST_F(SandboxTest, MeasuresTimeAndMemory) {
  const ExecResult result =
      Run(Script("import time\n"
                 "block = bytearray(b'x') * (100 << 20)\n"
                 "time.sleep(0.3)\n"
                 "while time.process_time() < 0.3: pass\n"));
  EXPECT_EQ(result.outcome, Outcome::kPassed);
  EXPECT_GE(result.wall, absl::Seconds(0.5));
  EXPECT_GE(result.cpu, absl::Seconds(0.3));
  EXPECT_GE(result.peak_memory_bytes, 100 << 20);
  EXPECT_LT(result.peak_memory_bytes, 130 << 20);
}

TEST_F(SandboxTest, Limits) {
  ExecRequest request = Script("while True: pass");
  request.limits.cpu = absl::Seconds(0.3);
  ExecResult result = Run(request);
  EXPECT_EQ(result.outcome, Outcome::kTime);
  EXPECT_EQ(result.message, "CPU time limit");

  request = Script("import time; print('before', flush=True); time.sleep(60)");
  request.limits.wall = absl::Seconds(0.5);
  result = Run(request);
  EXPECT_EQ(result.outcome, Outcome::kTime);
  EXPECT_EQ(result.message, "wall time limit");
  EXPECT_EQ(result.stdout_text, "before\n");

  request = Script("x = bytearray(80 << 20)");
  request.limits.memory_bytes = 64 << 20;
  result = Run(request);
  EXPECT_EQ(result.outcome, Outcome::kMemory);
  request.limits.memory_bytes = 160 << 20;
  EXPECT_EQ(Run(request).outcome, Outcome::kPassed);

  request = Script("print('x' * 999)");
  request.limits.output_bytes = 1000;
  result = Run(request);
  EXPECT_EQ(result.outcome, Outcome::kPassed);
  EXPECT_EQ(result.stdout_text.size(), 1000);
  request.limits.output_bytes = 999;
  result = Run(request);
  EXPECT_EQ(result.stdout_text, std::string(999, 'x'));

  request = Script("import os; os.kill(os.getpid(), 15)");
  result = Run(request);
  EXPECT_EQ(result.outcome, Outcome::kKilled);
  EXPECT_EQ(result.signal, 15);
}

TEST_F(SandboxTest, AsManyProcessesAsAllowedAndNotOneMore) {
  // `children` children that wait until the parent has forked them all.
  const auto request = [](int children) {
    ExecRequest request =
        Script(absl::StrCat("import os\n"
                            "reader, writer = os.pipe()\n"
                            "for i in range(",
                            children,
                            "):\n"
                            "    if os.fork() == 0:\n"
                            "        os.close(writer)\n"
                            "        os.read(reader, 1)\n"
                            "        os._exit(0)\n"
                            "import time\n"
                            "time.sleep(0.2)\n"));
    request.limits.processes = 6;
    return request;
  };
  EXPECT_EQ(Run(request(5)).outcome, Outcome::kPassed);
  const ExecResult result = Run(request(6));
  if (TheSandbox().kernel_limits_processes()) {
    EXPECT_EQ(result.exception_type, "BlockingIOError");
  } else {
    EXPECT_EQ(result.outcome, Outcome::kKilled);
    EXPECT_EQ(result.message, "more than 6 processes");
  }
}

TEST_F(SandboxTest, ResultsAreTheSameEveryTime) {
  // The order of a set of strings depends on the seed of their hashes.
  const ExecRequest request =
      Script("print({str(i) for i in range(100)}, hash('x'))");
  EXPECT_EQ(Run(request).stdout_text, Run(request).stdout_text);
}

TEST_F(SandboxTest, OtherLanguages) {
  ExecRequest request;
  request.language.name = "sh";
  request.language.file_name = "main.sh";
  request.language.command = {"/bin/sh", "{file}", "an argument"};
  request.program = "read x\necho $x $1\nexit 4\n";
  request.stdin_text = "in\n";
  ExecResult result = Run(request);
  EXPECT_EQ(result.outcome, Outcome::kWrong);
  EXPECT_EQ(result.exit_code, 4);
  EXPECT_EQ(result.stdout_text, "in an argument\n");

  request.program = "kill -SEGV $$";
  result = Run(request);
  EXPECT_EQ(result.outcome, Outcome::kKilled);
  EXPECT_EQ(result.signal, 11);

  request.language.command = {"/usr/bin/no_such_program"};
  result = Run(request);
  EXPECT_EQ(result.outcome, Outcome::kException);
  EXPECT_THAT(result.message, HasSubstr("/usr/bin/no_such_program"));

  request.mode = Mode::kTests;
  result = Run(request);
  EXPECT_EQ(result.outcome, Outcome::kSandboxError);
  EXPECT_THAT(result.message, HasSubstr("Python only"));
}

TEST_F(SandboxTest, MountsAreSeenAndReadOnly) {
  // Not under TempDir(): that may be inside of a home that only root enters,
  // which root is not in the sandbox.
  std::string folder = "/tmp/sandbox_test.XXXXXX";
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  chmod(folder.c_str(), 0755);
  std::ofstream(folder + "/mounted.py") << "value = 7\n";
  ExecRequest request = Script(
      "import mounted\n"
      "print(mounted.value)\n"
      "open('/opt/modules/x', 'w')\n");
  request.language.mounts = {{folder, "/opt/modules"}};
  request.language.import_paths = {"/opt/modules"};
  const ExecResult result = Run(request);
  EXPECT_EQ(result.stdout_text, "7\n");
  EXPECT_EQ(result.exception_type, "OSError") << result.message;
  EXPECT_THAT(result.message, HasSubstr("Read-only file system"));

  request.language.mounts = {{folder + "/missing", "/opt/modules"}};
  EXPECT_EQ(Run(request).outcome, Outcome::kSandboxError);
  std::filesystem::remove_all(folder);
}

TEST_F(SandboxTest, BadRequestsSayWhatIsWrong) {
  for (const char* path : {"/etc/x", "../x", "a/../../x", "", "a//b", "a\nb"}) {
    ExecRequest request = Script("print(1)");
    request.files = {{path, ""}};
    const ExecResult result = Run(request);
    EXPECT_EQ(result.outcome, Outcome::kSandboxError) << path;
    EXPECT_THAT(result.message, HasSubstr("inside the scratch folder"));
  }
  ExecRequest request = Script("print(1)");
  request.limits.memory_bytes = 0;
  EXPECT_THAT(Run(request).message, HasSubstr("memory_bytes is 0"));
  request = Script("print(1)");
  request.files = {{"large", std::string(2 << 20, 'x')}};
  request.limits.scratch_bytes = 1 << 20;
  const ExecResult result = Run(request);
  EXPECT_EQ(result.outcome, Outcome::kSandboxError);
  EXPECT_THAT(result.message, HasSubstr("No space left"));
}

TEST_F(SandboxTest, RunAllKeepsTheOrder) {
  std::vector<ExecRequest> requests;
  for (int i = 0; i < 12; ++i) {
    requests.push_back(Script(absl::StrCat("import time; time.sleep(",
                                           i % 3 * 0.05, "); print(", i, ")")));
  }
  std::vector<int> seen;
  const auto results =
      TheSandbox().RunAll(requests, 3, [&](int done, int total) {
        EXPECT_EQ(total, 12);
        seen.push_back(done);
        return true;
      });
  ASSERT_TRUE(results.ok()) << results.status();
  ASSERT_EQ(results->size(), 12);
  for (int i = 0; i < 12; ++i) {
    EXPECT_EQ((*results)[i].stdout_text, absl::StrCat(i, "\n"));
    EXPECT_EQ(seen[i], i + 1);
  }
  EXPECT_TRUE(TheSandbox().RunAll({}, 2)->empty());
}

TEST_F(SandboxTest, CancelEndsRunningProgramsAndStartsNoMore) {
  std::atomic<bool> cancel{false};
  Sandbox::Options options;
  options.cancel = &cancel;
  const absl::StatusOr<Sandbox> sandbox = Sandbox::Create(options);
  ASSERT_TRUE(sandbox.ok());
  ExecRequest request = Script("import time; time.sleep(600)");
  request.limits.wall = absl::Seconds(600);
  std::thread canceller([&] {
    absl::SleepFor(absl::Milliseconds(300));
    cancel.store(true);
  });
  const auto results = sandbox->RunAll(std::vector<ExecRequest>(4, request), 2);
  canceller.join();
  EXPECT_TRUE(absl::IsCancelled(results.status())) << results.status();
  EXPECT_EQ(sandbox->Run(request).outcome, Outcome::kCancelled);
}

TEST_F(SandboxTest, ProgressEndsRunningProgramsAndStartsNoMore) {
  ExecRequest sleep = Script("import time; time.sleep(600)");
  sleep.limits.wall = absl::Seconds(600);
  std::vector<ExecRequest> requests(4, sleep);
  requests[0] = Script("print(1)");
  int calls = 0;
  const auto results = TheSandbox().RunAll(requests, 2, [&](int, int) {
    ++calls;
    return false;
  });
  EXPECT_TRUE(absl::IsCancelled(results.status())) << results.status();
  EXPECT_EQ(calls, 1);
}

TEST_F(SandboxTest, RunAllFailsWhereAProgramCannotBeRun) {
  std::vector<ExecRequest> requests(3, Script("print(1)"));
  requests[1].files = {{"large", std::string(2 << 20, 'x')}};
  requests[1].limits.scratch_bytes = 1 << 20;
  const absl::Status status = TheSandbox().RunAll(requests, 1).status();
  EXPECT_TRUE(absl::IsInternal(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("No space left"));
}

// A bubblewrap that leaves a layer out is found by the self-test.
class WeakSandboxTest : public SandboxTest {
 protected:
  static absl::Status CreateWith(const std::string& script) {
    const std::string path = absl::StrCat(::testing::TempDir(), "/weak_bwrap");
    std::ofstream(path) << "#!/bin/bash\n" << script;
    chmod(path.c_str(), 0755);
    Sandbox::Options options;
    options.bwrap = path;
    return Sandbox::Create(options).status();
  }

  static std::string Without(const std::string& removed) {
    return absl::StrCat(
        "args=()\n"
        "while [ $# -gt 0 ]; do\n"
        "  case \"$1\" in\n"
        "    ",
        removed,
        "\n"
        "    *) args+=(\"$1\"); shift ;;\n"
        "  esac\n"
        "done\n"
        "exec /usr/bin/bwrap \"${args[@]}\"\n");
  }
};

TEST_F(WeakSandboxTest, TheScriptItselfIsNoReasonToRefuse) {
  EXPECT_TRUE(CreateWith(Without("--none) shift ;;")).ok());
}

TEST_F(WeakSandboxTest, WithoutBubblewrap) {
  Sandbox::Options options;
  options.bwrap = "/usr/bin/no_such_bwrap";
  const absl::Status status = Sandbox::Create(options).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("apt-get install bubblewrap"));
}

TEST_F(WeakSandboxTest, WithoutIsolation) {
  const absl::Status status = CreateWith(
      "while [ \"$1\" != -- ]; do shift; done; shift; exec \"$@\"\n");
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("not pid 1"));
}

TEST_F(WeakSandboxTest, WithoutANetworkNamespace) {
  const absl::Status status = CreateWith(Without("--unshare-net) shift ;;"));
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("not isolated"));
}

TEST_F(WeakSandboxTest, WithAWritableRoot) {
  const absl::Status status = CreateWith(Without("--remount-ro) shift 2 ;;"));
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("not isolated"));
}

TEST_F(WeakSandboxTest, WithoutSeccomp) {
  const absl::Status status = CreateWith(Without("--seccomp) shift 2 ;;"));
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("seccomp"));
}

TEST_F(WeakSandboxTest, APythonOutsideUsr) {
  Sandbox::Options options;
  options.python = "/opt/python/bin/python3";
  EXPECT_EQ(Sandbox::Create(options).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace repro::exec
