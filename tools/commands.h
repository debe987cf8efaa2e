#ifndef REPRO_TOOLS_COMMANDS_H_
#define REPRO_TOOLS_COMMANDS_H_

#include <atomic>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/claims/runner.h"
#include "common/lm/default_model.h"
#include "common/lm/sampler.h"

// The commands of the `repro` program, one function each. They print to stdout,
// tell progress on stderr and return the exit code, or an error that main()
// prints as one line and turns into an exit code by ExitCode().
namespace repro {

inline constexpr int kExitOk = 0;
inline constexpr int kExitRegression = 1;  // or a failed experiment or test
inline constexpr int kExitUsage = 2;       // wrong use or bad input
inline constexpr int kExitMissingAsset = 3;
inline constexpr int kExitInterrupted = 130;

// Of an error that a command returned.
int ExitCode(const absl::Status& status);

enum class Format { kTable, kJson, kMarkdown };

// Set by Ctrl-C; the first makes a command end soon, the second kills it.
extern std::atomic<bool> g_stop;

absl::StatusOr<int> RunCommand(const RunOptions& options, Format format);
absl::StatusOr<int> ListCommand(Format format, const std::string& out_dir);
absl::StatusOr<int> ShowCommand(const std::string& paper, Format format,
                                const std::string& out_dir);
absl::StatusOr<int> FetchCommand(const std::vector<std::string>& papers,
                                 bool all);
absl::StatusOr<int> ReportCommand(const std::string& out_dir);

struct CompareOptions {
  std::vector<std::string> results;  // paths or ids
  bool baseline = false;
  bool update = false;
  std::string baseline_dir = "ci/baselines";
  std::string out_dir = "out";
  Format format = Format::kTable;
  bool everything = false;  // list what did not change, too
};
absl::StatusOr<int> CompareCommand(const CompareOptions& options);

absl::StatusOr<int> MetricCommand(
    const std::string& name, const std::string& predictions,
    const std::string& references,
    const std::map<std::string, std::string>& options);
// With no name: the list of metrics and what their files hold.
absl::StatusOr<int> ListMetricsCommand();

struct ExecCommandOptions {
  bool hostile = false;  // the suite of hostile programs instead of a file
  std::string file;      // "-": the standard input
  std::string stdin_file;
  std::string tests_file;  // Python, run after the program in its globals
  std::string time = "10s";
  std::string memory = "256M";
  std::string output = "1M";
  std::string scratch = "64M";
  int processes = 32;
};
// Runs an untrusted Python program in the sandbox of common/exec and prints the
// typed result as JSON, whatever it is; or the table of hostile programs, with
// exit code 1 if one does not come out as expected.
absl::StatusOr<int> ExecCommand(const ExecCommandOptions& options,
                                Format format);

absl::StatusOr<int> DoctorCommand(Format format);

struct CorpusCommandOptions {
  std::string out_dir;
  std::vector<std::string> languages;  // empty: CodeSearchNet's six
  int64_t limit = 0;                   // functions of a language; 0: all
  bool offline = false;
};
// Makes a corpus of documented functions by CodeSearchNet's rules out of Debian
// packages, which are downloaded and not installed: <out_dir>/<language>/
// {train,valid,test}.jsonl.gz, manifest.json and licenses/.
absl::StatusOr<int> CorpusCommand(const CorpusCommandOptions& options,
                                  Format format);

struct TestbedCommandOptions {
  bool train = false;  // else: what the trained model is
  std::string name = "testbed";
  std::string recipe_path;  // a recipe of your own instead; empty: none
  std::string folder;       // empty: in the cache
  std::string device = "cpu";
  int threads = 0;
  int64_t evaluate_every = 0;  // steps; 0: at the end
  std::string metrics_path;    // JSON lines; empty: none
};
// Trains a small language model for experiments on recall (common/testbed), or
// tells what it is and how well it recalls.
absl::StatusOr<int> TestbedCommand(const TestbedCommandOptions& options);

struct EvaluateCommandOptions {
  std::string model;  // .gguf or a folder; empty: the default model
  // NAME or NAME:option=value,...
  std::vector<std::string> policies = {"dense", "window", "exact_topk",
                                       "random"};
  std::vector<int64_t> budgets = {128, 256, 512};  // tokens a query sees
  std::vector<int64_t> lengths = {512, 1024};      // tokens of prompts
  std::vector<double> depths = {0, 0.25, 0.5, 0.75, 1};
  int64_t count = 2;      // keys of each length and depth
  std::string text_path;  // of the haystack, and of the perplexity
  std::string device = "cpu";
  int threads = 0;
  std::string record_path;  // of the evaluation as JSON; empty: none
  bool resume = false;      // go on with what is at record_path
};
// A table of needle-in-a-haystack scores and perplexity of a language model
// under each policy at each budget.
absl::StatusOr<int> EvaluateCommand(const EvaluateCommandOptions& options,
                                    Format format);

// A language model under a policy.
struct ModelOptions {
  std::string model = lm::kDefaultModelName;  // or a .gguf file or a folder
  std::string policy = "dense";
  std::string policy_options;  // "a=1,b=2"
  std::string device = "cpu";
  int threads = 0;
};

struct GenerateCommandOptions {
  ModelOptions model;
  std::string prompt;  // "-": the standard input
  bool raw = false;    // the prompt as it is, not as a user's turn of a chat
  std::string system;  // message of the chat; empty: the template's own
  int64_t max_tokens = 256;
  std::vector<std::string> stop;
  lm::SamplingOptions sampling;
  bool logprobs = false;  // of each token, and sampling.top_logprobs others
};
// Prints the text as it comes, tokens a second on stderr.
absl::StatusOr<int> GenerateCommand(const GenerateCommandOptions& options,
                                    Format format);

struct ServeCommandOptions {
  ModelOptions model;
  std::string host = "127.0.0.1";
  int port = 8080;      // 0: any free one
  std::string api_key;  // empty: none is asked for
  int64_t max_running = 16;
  int64_t max_waiting = 64;
  int64_t max_cached_tokens = 32768;  // of all that run
  int64_t max_tokens = 4096;          // that a request may ask for
  int64_t max_seconds = 600;          // of one answer
};
// An OpenAI-compatible server until g_stop.
absl::StatusOr<int> ServeCommand(const ServeCommandOptions& options);

// Packs this program, the kernels that were built beside it and the assets of
// `papers` ("kernels": none) for a machine without Bazel, as `out`.
absl::StatusOr<int> BundleCommand(const std::vector<std::string>& papers,
                                  const std::string& out);

}  // namespace repro

#endif  // REPRO_TOOLS_COMMANDS_H_
