// The `repro` program: measures what the papers report. See README.md.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <iostream>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/claims/experiment.h"
#include "tools/commands.h"

namespace repro {
namespace {

const std::map<std::string, Format> kFormats = {
    {"table", Format::kTable},
    {"json", Format::kJson},
    {"markdown", Format::kMarkdown},
};

// "90", "90s", "10m", "1.5h" as seconds.
std::string ParseDuration(const std::string& text, double* seconds) {
  if (text.empty()) return "an empty duration";
  std::string number = text;
  double unit = 1;
  switch (text.back()) {
    case 'h':
      unit = 3600;
      break;
    case 'm':
      unit = 60;
      break;
    case 's':
      break;
    default:
      number += 's';
  }
  number.pop_back();
  if (!absl::SimpleAtod(number, seconds) || !(*seconds > 0)) {
    return absl::StrCat("\"", text, "\" is not a duration such as 90s or 10m");
  }
  *seconds *= unit;
  return "";
}

void AddFormat(CLI::App* command, Format* format) {
  command->add_option("--format", *format, "table, json or markdown")
      ->transform(CLI::CheckedTransformer(kFormats, CLI::ignore_case))
      ->type_name("FORMAT");
}

void AddOut(CLI::App* command, std::string* out_dir) {
  command->add_option("--out", *out_dir, "folder of results and reports")
      ->capture_default_str()
      ->type_name("DIR");
}

// What `generate` and `serve` have in common.
void AddModel(CLI::App* command, ModelOptions* options) {
  command
      ->add_option("--model", options->model,
                   "a .gguf file, a folder with config.json, or the default")
      ->capture_default_str()
      ->type_name("MODEL");
  command
      ->add_option(
          "--policy", options->policy,
          "how tokens attend and what is kept; a wrong name lists them")
      ->capture_default_str()
      ->type_name("NAME");
  command
      ->add_option("--policy-options", options->policy_options,
                   "as sink=4,recent=256")
      ->type_name("A=1,B=2");
  command->add_option("--device", options->device, "cpu, cuda or cuda:N")
      ->capture_default_str()
      ->type_name("DEVICE");
  command->add_option("--threads", options->threads, "default: all cores")
      ->check(CLI::Range(1, 1024))
      ->type_name("N");
}

int Main(int argc, char** argv) {
  CLI::App app(
      "Reproduces research papers: every number that a paper reports beside "
      "the number that this code measures.",
      "repro");
  app.require_subcommand(1);
  app.footer(
      "Exit codes: 0 done, 1 a regression or a failure, 2 wrong use or bad "
      "input, 3 an asset is missing.\n"
      "`./repro test [PAPER...]` and the set-up are done by the script.");

  absl::StatusOr<int> code = kExitOk;
  Format format = Format::kTable;
  std::string out_dir = "out";

  RunOptions run;
  std::string budget;
  CLI::App* run_command = app.add_subcommand(
      "run", "Measure claims; with no paper, the default set (minutes)");
  run_command->add_option("papers", run.papers, "papers to measure")
      ->type_name("PAPER");
  run_command->add_flag("--all", run.all, "all papers, all experiments");
  run_command
      ->add_option("--claims", run.claim_globs,
                   "only claims that match, as 'table5/*' or 'van/table5/*'")
      ->type_name("GLOB")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  run_command
      ->add_option("--budget", budget,
                   "what fits this time, cheapest evidence first")
      ->type_name("10m");
  run_command->add_option("--device", run.device, "cpu, cuda or cuda:N")
      ->capture_default_str()
      ->type_name("DEVICE");
  run_command
      ->add_option("--model", run.model_spec,
                   "what experiments ask that need a language model: local, "
                   "local:PATH, openai:MODEL@URL, record:DIR:SPEC (kept, and "
                   "gone on with) or replay:DIR")
      ->capture_default_str()
      ->type_name("SPEC");
  run_command
      ->add_option("--seeds", run.num_seeds,
                   "seeds for each experiment (default: what it declares)")
      ->check(CLI::Range(1, 1000))
      ->type_name("N");
  run_command->add_option("--first-seed", run.first_seed, "the first seed")
      ->capture_default_str()
      ->type_name("SEED");
  run_command
      ->add_option("--threads", run.threads, "threads (default: all cores)")
      ->check(CLI::Range(1, 1024))
      ->type_name("N");
  run_command->add_flag("--resume", run.resume,
                        "go on with the last unfinished run of this request");
  run_command->add_flag("--offline", run.offline, "download no asset");
  AddFormat(run_command, &format);
  AddOut(run_command, &out_dir);
  run_command->callback([&] {
    run.out_dir = out_dir;
    if (!budget.empty()) {
      double seconds = 0;
      const std::string error = ParseDuration(budget, &seconds);
      if (!error.empty()) throw CLI::ValidationError("--budget", error);
      run.budget_seconds = seconds;
    }
    code = RunCommand(run, format);
  });

  CLI::App* list_command =
      app.add_subcommand("list", "Papers with their claims by verdict");
  AddFormat(list_command, &format);
  AddOut(list_command, &out_dir);
  list_command->callback([&] { code = ListCommand(format, out_dir); });

  std::string paper;
  CLI::App* show_command = app.add_subcommand(
      "show", "A paper's claims, experiments, assets and findings");
  show_command->add_option("paper", paper, "the paper")
      ->required()
      ->type_name("PAPER");
  AddFormat(show_command, &format);
  AddOut(show_command, &out_dir);
  show_command->callback([&] { code = ShowCommand(paper, format, out_dir); });

  std::vector<std::string> fetch_papers;
  bool fetch_all = false;
  CLI::App* fetch_command = app.add_subcommand(
      "fetch", "Download a paper's assets from their public homes");
  fetch_command->add_option("papers", fetch_papers, "papers")
      ->type_name("PAPER");
  fetch_command->add_flag("--all", fetch_all, "of all papers");
  fetch_command->callback([&] {
    if (fetch_papers.empty() && !fetch_all) {
      throw CLI::ValidationError("fetch", "name a paper, or give --all");
    }
    code = FetchCommand(fetch_papers, fetch_all);
  });

  CLI::App* report_command = app.add_subcommand(
      "report", "Write report.html and report.md from all results");
  AddOut(report_command, &out_dir);
  report_command->callback([&] {
    code = ReportCommand(out_dir);
    if (code.ok()) std::cout << out_dir << "/report.html\n";
  });

  CompareOptions compare;
  CLI::App* compare_command = app.add_subcommand(
      "compare", "What moved between two results, or against the baselines");
  compare_command
      ->add_option("results", compare.results, "result files, or their ids")
      ->type_name("RESULT");
  compare_command->add_flag("--baseline", compare.baseline,
                            "compare one result (default: the newest) with "
                            "the baselines");
  compare_command->add_flag("--update", compare.update,
                            "put the result into the baselines instead");
  compare_command
      ->add_option("--baseline-dir", compare.baseline_dir, "the baselines")
      ->capture_default_str()
      ->type_name("DIR");
  compare_command->add_flag("--everything", compare.everything,
                            "list what did not change, too");
  AddFormat(compare_command, &format);
  AddOut(compare_command, &out_dir);
  compare_command->callback([&] {
    compare.format = format;
    compare.out_dir = out_dir;
    code = CompareCommand(compare);
  });

  std::string metric, predictions, references;
  bool list_metrics = false;
  std::vector<std::string> settings;
  CLI::App* metric_command = app.add_subcommand(
      "metric", "A metric on your own files; with no name, the list of them");
  metric_command->add_option("name", metric, "the metric")->type_name("NAME");
  metric_command
      ->add_option("--predictions", predictions, "JSON Lines, plain or gzip")
      ->type_name("FILE");
  metric_command
      ->add_option("--references", references, "JSON Lines, plain or gzip")
      ->type_name("FILE");
  metric_command
      ->add_option("--set", settings, "an option of the metric, as k=10")
      ->type_name("NAME=VALUE")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  metric_command->add_flag("--list", list_metrics,
                           "the metrics, what their files hold, their options");
  metric_command->callback([&] {
    if (list_metrics && !metric.empty()) {
      throw CLI::ValidationError("metric", "give a NAME or --list, not both");
    }
    if (metric.empty()) {
      code = ListMetricsCommand();
      return;
    }
    if (predictions.empty()) {
      throw CLI::ValidationError("metric", "--predictions is missing");
    }
    std::map<std::string, std::string> options;
    for (const std::string& setting : settings) {
      const size_t equals = setting.find('=');
      if (equals == std::string::npos) {
        throw CLI::ValidationError(
            "--set", "NAME=VALUE is expected, not \"" + setting + "\"");
      }
      options[setting.substr(0, equals)] = setting.substr(equals + 1);
    }
    code = MetricCommand(metric, predictions, references, options);
  });

  std::vector<std::string> bundle_papers;
  std::string bundle_out;
  CLI::App* bundle_command = app.add_subcommand(
      "bundle",
      "Pack the program, the kernels and papers' assets for a machine that "
      "has LibTorch and no Bazel");
  bundle_command
      ->add_option("papers", bundle_papers,
                   "papers whose assets go along, or 'kernels'")
      ->required()
      ->type_name("PAPER");
  bundle_command
      ->add_option("--out", bundle_out,
                   "NAME.tar.gz, .tgz, .tar.zst or .tar; unpacks to NAME/")
      ->required()
      ->type_name("FILE");
  bundle_command->callback(
      [&] { code = BundleCommand(bundle_papers, bundle_out); });

  CorpusCommandOptions corpus;
  CLI::App* corpus_command =
      app.add_subcommand("corpus", "Make a corpus from what installs by name");
  corpus_command->require_subcommand(1);
  CLI::App* corpus_code = corpus_command->add_subcommand(
      "code",
      "Documented functions of six languages by CodeSearchNet's rules, out of "
      "Debian packages (downloaded, not installed)");
  corpus_code->add_option("--out", corpus.out_dir, "folder of the corpus")
      ->required()
      ->type_name("DIR");
  corpus_code
      ->add_option("--languages", corpus.languages,
                   "python, java, javascript, go, php, ruby (default: all)")
      ->delimiter(',')
      ->type_name("NAME,...");
  corpus_code
      ->add_option("--limit", corpus.limit,
                   "functions of a language that are kept (default: all)")
      ->check(CLI::PositiveNumber)
      ->type_name("N");
  corpus_code->add_flag("--offline", corpus.offline,
                        "download nothing: packages are in the cache");
  AddFormat(corpus_code, &format);
  corpus_code->callback([&] { code = CorpusCommand(corpus, format); });

  TestbedCommandOptions testbed;
  CLI::App* testbed_command = app.add_subcommand(
      "testbed", "The small language models of experiments on recall");
  testbed_command->require_subcommand(1);
  CLI::App* testbed_train = testbed_command->add_subcommand(
      "train", "Train one (an interrupted training goes on)");
  CLI::App* testbed_info = testbed_command->add_subcommand(
      "info", "How a trained one was made and how well it recalls");
  for (CLI::App* command : {testbed_train, testbed_info}) {
    command
        ->add_option("name", testbed.name,
                     "testbed (a GPU's, minutes) or testbed_small (a CPU's)")
        ->capture_default_str()
        ->type_name("NAME");
    command
        ->add_option("--recipe", testbed.recipe_path,
                     "a recipe.json of your own instead of a named one")
        ->type_name("FILE");
    command
        ->add_option("--folder", testbed.folder,
                     "of the trained model (default: in the cache)")
        ->type_name("DIR");
    command->add_option("--device", testbed.device, "cpu, cuda or cuda:N")
        ->capture_default_str()
        ->type_name("DEVICE");
    command->add_option("--threads", testbed.threads, "default: all cores")
        ->check(CLI::Range(1, 1024))
        ->type_name("N");
  }
  testbed_train
      ->add_option("--evaluate-every", testbed.evaluate_every,
                   "steps between measurements (default: at the end)")
      ->check(CLI::NonNegativeNumber)
      ->type_name("STEPS");
  testbed_train
      ->add_option("--metrics", testbed.metrics_path,
                   "losses and measurements as JSON lines")
      ->type_name("FILE");
  testbed_train->callback([&] {
    testbed.train = true;
    code = TestbedCommand(testbed);
  });
  testbed_info->callback([&] { code = TestbedCommand(testbed); });

  ExecCommandOptions exec;
  CLI::App* exec_command = app.add_subcommand(
      "exec",
      "Run an untrusted Python program in a sandbox; the result as JSON");
  exec_command->add_option("file", exec.file, "the program; - is stdin")
      ->type_name("FILE");
  exec_command->add_option("--stdin", exec.stdin_file, "what it reads")
      ->type_name("FILE");
  exec_command
      ->add_option("--tests", exec.tests_file,
                   "asserts, run after the program in its globals")
      ->type_name("FILE");
  exec_command->add_option("--time", exec.time, "limit of wall and CPU time")
      ->capture_default_str()
      ->type_name("2s");
  exec_command
      ->add_option("--memory", exec.memory, "limit, of all processes together")
      ->capture_default_str()
      ->type_name("256M");
  exec_command->add_option("--output", exec.output, "limit of each stream")
      ->capture_default_str()
      ->type_name("1M");
  exec_command
      ->add_option("--scratch", exec.scratch, "limit of the scratch folder")
      ->capture_default_str()
      ->type_name("64M");
  exec_command->add_option("--processes", exec.processes, "limit, with threads")
      ->capture_default_str()
      ->check(CLI::Range(1, 1024))
      ->type_name("N");
  exec_command->add_flag("--hostile", exec.hostile,
                         "run the suite of hostile programs: a table of what "
                         "was expected and what came");
  AddFormat(exec_command, &format);
  exec_command->callback([&] {
    if (exec.file.empty() != exec.hostile) {
      throw CLI::ValidationError("exec", "give a FILE, or --hostile");
    }
    code = ExecCommand(exec, format);
  });

  EvaluateCommandOptions evaluate;
  CLI::App* evaluate_command = app.add_subcommand(
      "evaluate",
      "Needle-in-a-haystack scores and perplexity of a language model under "
      "attention policies");
  evaluate_command
      ->add_option("--model", evaluate.model,
                   "a .gguf file or a folder (default: SmolLM2-135M-Instruct)")
      ->type_name("PATH");
  evaluate_command
      ->add_option("--policy", evaluate.policies,
                   "NAME or NAME:option=value,... (several: give it again)")
      ->type_name("POLICY")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->capture_default_str();
  evaluate_command
      ->add_option("--budget", evaluate.budgets,
                   "tokens that a query sees, as 128,256")
      ->delimiter(',')
      ->type_name("N")
      ->capture_default_str();
  evaluate_command
      ->add_option("--lengths", evaluate.lengths, "tokens of the prompts")
      ->delimiter(',')
      ->type_name("N")
      ->capture_default_str();
  evaluate_command
      ->add_option("--depths", evaluate.depths, "places of the needle, 0 to 1")
      ->delimiter(',')
      ->type_name("D")
      ->capture_default_str();
  evaluate_command
      ->add_option("--count", evaluate.count, "keys of each length and depth")
      ->check(CLI::Range(1, 1000))
      ->type_name("N")
      ->capture_default_str();
  evaluate_command
      ->add_option("--text", evaluate.text_path,
                   "a text file: the haystack, and what perplexity is of")
      ->type_name("FILE");
  evaluate_command
      ->add_option("--record", evaluate.record_path,
                   "keep the evaluation as JSON, after each policy; those of "
                   "ci/evaluations are part of the report")
      ->type_name("FILE");
  evaluate_command->add_flag("--resume", evaluate.resume,
                             "go on with the file of --record: what it has of "
                             "the same evaluation is not measured again");
  evaluate_command->add_option("--device", evaluate.device, "cpu, cuda, cuda:N")
      ->capture_default_str()
      ->type_name("DEVICE");
  evaluate_command
      ->add_option("--threads", evaluate.threads, "default: all cores")
      ->check(CLI::Range(1, 1024))
      ->type_name("N");
  AddFormat(evaluate_command, &format);
  evaluate_command->callback([&] { code = EvaluateCommand(evaluate, format); });

  GenerateCommandOptions generate;
  int64_t top_logprobs = -1;
  CLI::App* generate_command = app.add_subcommand(
      "generate", "Text from a local language model under a policy");
  generate_command
      ->add_option("prompt", generate.prompt,
                   "what a user says; - is the standard input")
      ->required()
      ->type_name("PROMPT");
  AddModel(generate_command, &generate.model);
  generate_command->add_flag(
      "--raw,!--chat", generate.raw,
      "go on with the prompt as it is; else it is a user's turn, written as "
      "the model's chat template has it");
  generate_command
      ->add_option("--system", generate.system, "system message of the chat")
      ->type_name("TEXT");
  generate_command
      ->add_option("--max-tokens", generate.max_tokens, "of the answer")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 24))
      ->capture_default_str()
      ->type_name("N");
  generate_command
      ->add_option("--stop", generate.stop,
                   "end before this text (several: give it again)")
      ->type_name("TEXT")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  generate_command
      ->add_option("--temperature", generate.sampling.temperature,
                   "of the draw; 0: the most likely token")
      ->capture_default_str()
      ->type_name("T");
  generate_command
      ->add_option("--top-k", generate.sampling.top_k,
                   "draw from the k most likely; 0: all")
      ->capture_default_str()
      ->type_name("K");
  generate_command
      ->add_option("--top-p", generate.sampling.top_p,
                   "from the most likely that reach this sum")
      ->capture_default_str()
      ->type_name("P");
  generate_command
      ->add_option("--min-p", generate.sampling.min_p,
                   "from those at least this often as likely as the first")
      ->capture_default_str()
      ->type_name("P");
  generate_command
      ->add_option("--repetition-penalty", generate.sampling.repetition_penalty,
                   "above 1: seen tokens become less likely")
      ->capture_default_str()
      ->type_name("X");
  generate_command->add_option("--seed", generate.sampling.seed, "of the draw")
      ->capture_default_str()
      ->type_name("SEED");
  generate_command
      ->add_option("--logprobs", top_logprobs,
                   "print each token's log-probability beside those of the N "
                   "most likely")
      ->check(CLI::Range(0, 100))
      ->type_name("N");
  AddFormat(generate_command, &format);
  generate_command->callback([&] {
    generate.logprobs = top_logprobs >= 0;
    generate.sampling.top_logprobs = std::max<int64_t>(top_logprobs, 0);
    code = GenerateCommand(generate, format);
  });

  ServeCommandOptions serve;
  CLI::App* serve_command = app.add_subcommand(
      "serve", "An OpenAI-compatible server of a local language model");
  AddModel(serve_command, &serve.model);
  serve_command
      ->add_option("--host", serve.host,
                   "address to listen on; 0.0.0.0 is the whole network")
      ->capture_default_str()
      ->type_name("HOST");
  serve_command->add_option("--port", serve.port, "0: any free one")
      ->check(CLI::Range(0, 65535))
      ->capture_default_str()
      ->type_name("PORT");
  serve_command
      ->add_option(
          "--api-key", serve.api_key,
          "what clients must give as a Bearer token (default: nothing)")
      ->envname("REPRO_API_KEY")
      ->type_name("KEY");
  const auto limit = [&](const char* name, int64_t* value, const char* help) {
    serve_command->add_option(name, *value, help)
        ->check(CLI::Range(int64_t{1}, int64_t{1} << 40))
        ->capture_default_str()
        ->type_name("N");
  };
  limit("--max-running", &serve.max_running, "sequences in one step");
  limit("--max-waiting", &serve.max_waiting,
        "requests that wait; more are refused");
  limit("--max-cached-tokens", &serve.max_cached_tokens,
        "of all that run, prompts and answers; others wait");
  limit("--max-tokens", &serve.max_tokens, "that a request may ask for");
  limit("--max-seconds", &serve.max_seconds, "of one answer");
  serve_command->callback([&] { code = ServeCommand(serve); });

  CLI::App* doctor_command = app.add_subcommand(
      "doctor", "What this machine has and lacks, and what that rules out");
  AddFormat(doctor_command, &format);
  doctor_command->callback([&] { code = DoctorCommand(format); });

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // Help is not an error; everything else is wrong use.
    return app.exit(error) == 0 ? kExitOk : kExitUsage;
  }
  if (!code.ok()) {
    std::cerr << "repro: " << code.status().message() << "\n";
    return ExitCode(code.status());
  }
  return *code;
}

}  // namespace

std::atomic<bool> g_stop{false};

int ExitCode(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return kExitOk;
    case absl::StatusCode::kCancelled:
      return kExitInterrupted;
    default:
      return kExitUsage;
  }
}

}  // namespace repro

int main(int argc, char** argv) {
  // The first Ctrl-C lets the run end cleanly; the handler is then gone, so the
  // second kills.
  struct sigaction action = {};
  action.sa_handler = [](int) { repro::g_stop.store(true); };
  action.sa_flags = SA_RESETHAND;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  return repro::Main(argc, argv);
}
