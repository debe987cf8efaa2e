// How each claim of claims.textproto is measured; arguments come from there.
#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/claims/experiment.h"
#include "common/completion/completion.h"
#include "common/completion/open_client.h"
#include "common/completion/scripted.h"
#include "common/data/jsonl.h"
#include "common/exec/sandbox.h"
#include "common/status/macros.h"
#include "common/threads/parallel_for.h"
#include "papers/chain_of_code/bbh.h"
#include "papers/chain_of_code/countries.h"
#include "papers/chain_of_code/lmulator.h"
#include "papers/chain_of_code/oracle.h"
#include "papers/chain_of_code/programs.h"
#include "papers/chain_of_code/prompts.h"
#include "papers/chain_of_code/table_a1.h"

namespace repro::chain_of_code {
namespace {

using completion::CompletionRequest;
using completion::ScriptedClient;

using Bbh = std::map<std::string, std::vector<Instance>>;

// ------------------------------------------------------ released predictions

absl::Status CodexPredictions(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::string bbh_path, run.AssetPath("bbh"));
  REPRO_ASSIGN_OR_RETURN(const Bbh bbh, ReadBbh(bbh_path));
  std::map<std::string, std::map<std::string, double>> accuracies;
  for (const auto& [prompt, field, answer] :
       {std::tuple("direct", "prediction", &DirectAnswer),
        std::tuple("cot", "tail", &CotAnswer)}) {
    REPRO_ASSIGN_OR_RETURN(const std::string path,
                           run.AssetPath(absl::StrCat("codex_", prompt)));
    REPRO_ASSIGN_OR_RETURN(auto predictions, ReadPredictions(path, field));
    for (auto& [file, texts] : predictions) {
      for (std::string& text : texts) text = answer(text);
      REPRO_ASSIGN_OR_RETURN(accuracies[prompt][file],
                             Accuracy(texts, bbh.at(file)));
    }
  }
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string prompt, run.Arg(*claim, "prompt"));
    const auto by_file = accuracies.find(prompt);
    if (by_file == accuracies.end())
      return UnknownName(*claim, "prompt", prompt);
    const absl::StatusOr<std::string> group = run.Arg(*claim, "group");
    if (group.ok()) {
      REPRO_ASSIGN_OR_RETURN(const double mean,
                             MeanOverTasks(by_file->second, *group));
      run.Record(*claim, mean);
      continue;
    }
    REPRO_ASSIGN_OR_RETURN(const std::string file, run.Arg(*claim, "file"));
    const auto accuracy = by_file->second.find(file);
    if (accuracy == by_file->second.end())
      return UnknownName(*claim, "file", file);
    run.Record(*claim, accuracy->second);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("chain_of_code", "codex_predictions",
                          CodexPredictions);

// ----------------------------------------------------------------- Table A1

absl::Status TableA1(ExperimentRun& run) {
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string statistic,
                           run.Arg(*claim, "statistic"));
    REPRO_ASSIGN_OR_RETURN(const std::string column, run.Arg(*claim, "column"));
    REPRO_ASSIGN_OR_RETURN(const std::vector<double> values,
                           TableA1Column(column));
    if (statistic == "mean") {
      REPRO_ASSIGN_OR_RETURN(const std::string group, run.Arg(*claim, "group"));
      REPRO_ASSIGN_OR_RETURN(const auto in_group, TaskGroup(group));
      double sum = 0, count = 0;
      for (size_t i = 0; i < values.size(); ++i) {
        if (!in_group(Tasks()[i])) continue;
        sum += values[i];
        ++count;
      }
      run.Record(*claim, sum / count);
      continue;
    }
    REPRO_ASSIGN_OR_RETURN(const std::string other_name,
                           run.Arg(*claim, "other"));
    REPRO_ASSIGN_OR_RETURN(const std::vector<double> other,
                           TableA1Column(other_name));
    REPRO_ASSIGN_OR_RETURN(const std::vector<double> python,
                           TableA1Column("python"));
    double count = 0;
    for (size_t i = 0; i < values.size(); ++i) {
      if (statistic == "above") {
        count += values[i] > other[i];
      } else if (statistic == "differs_without_python") {
        // Where Python answers nothing, "try Python except X" is X.
        count += python[i] == 0 && values[i] != other[i];
      } else {
        return UnknownName(*claim, "statistic", statistic);
      }
    }
    run.Record(*claim, count);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("chain_of_code", "table_a1", TableA1);

// ------------------------------------------------- the paper's own examples

// The answer of a program whose helper lines get `reply` of the trace's tail.
absl::StatusOr<std::string> AnswerOf(
    const exec::Sandbox& sandbox, const std::string& program,
    const std::function<std::string(absl::string_view tail)>& reply) {
  ScriptedClient client([&](const CompletionRequest& request)
                            -> absl::StatusOr<completion::Completion> {
    const absl::string_view prompt = request.prompt;
    return completion::TextCompletion(
        reply(prompt.substr(prompt.rfind(kTraceStart))));
  });
  REPRO_ASSIGN_OR_RETURN(
      const Execution execution,
      Lmulator(sandbox, client).Execute(Variant::kInterweave, {}, "", program));
  if (!execution.answered || execution.answer_by_lm) {
    return absl::InternalError(
        absl::StrCat("the example does not run: ", execution.failure));
  }
  return execution.answer;
}

std::string CountriesProgram() {
  std::vector<std::string> places;
  for (const Country& country : CountriesOfFigure1()) {
    for (const std::string& place : country.places) {
      places.push_back(PythonLiteral(place));
    }
  }
  return absl::StrCat("places, countries = [", absl::StrJoin(places, ", "),
                      "], set()\n"
                      "for place in places:\n"
                      "  country = get_country(place)\n"
                      "  countries.add(country)\n"
                      "answer = len(countries)");
}

std::string CountryReply(absl::string_view tail) {
  for (const Country& country : CountriesOfFigure1()) {
    for (const std::string& place : country.places) {
      // Python's repr: single quotes unless the text has one.
      if (absl::StrContains(tail, absl::StrCat("'place': '", place, "'")) ||
          absl::StrContains(tail, absl::StrCat("'place': \"", place, "\""))) {
        return absl::StrCat("{'country': ", PythonLiteral(country.name), "}");
      }
    }
  }
  return "";
}

absl::Status PaperExamples(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const exec::Sandbox sandbox, exec::Sandbox::Create());
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string example,
                           run.Arg(*claim, "example"));
    absl::StatusOr<std::string> answer =
        UnknownName(*claim, "example", example);
    if (example == "sarcasm") {
      answer = AnswerOf(sandbox,
                        "answer = 0\n"
                        "answer += is_sarcastic('you don\\'t say')\n"
                        "answer += 1",
                        [](absl::string_view) { return "{'answer': 1}"; });
    } else if (example == "balls") {
      answer = AnswerOf(sandbox,
                        "num_balls = 5\n"
                        "num_balls += 2 * 3\n"
                        "answer = num_balls",
                        [](absl::string_view) { return ""; });
    } else if (example == "fruits") {
      answer =
          AnswerOf(sandbox,
                   "objects = {\"orange\": 1, \"violin\": 1, \"peaches\": 2, "
                   "\"apple\": 1, \"pepper\": 1, \"plum\": 3}\n"
                   "num_fruits = 0\n"
                   "for object in objects:\n"
                   "  object_is_fruit = is_fruit(object)\n"
                   "  if object_is_fruit:\n"
                   "    num_fruits += objects[object]\n"
                   "answer = num_fruits",
                   [](absl::string_view tail) {
                     const bool fruit = !absl::StrContains(tail, "'violin'") &&
                                        !absl::StrContains(tail, "'pepper'");
                     return absl::StrCat(
                         "{'object_is_fruit': ", fruit ? "True" : "False", "}");
                   });
    } else if (example == "countries") {
      answer = AnswerOf(sandbox, CountriesProgram(), CountryReply);
    }
    REPRO_RETURN_IF_ERROR(answer.status());
    double value = 0;
    if (!absl::SimpleAtod(*answer, &value)) {
      return absl::InternalError(
          absl::StrCat(claim->id(), ": \"", *answer, "\" is not a number"));
    }
    run.Record(*claim, value);
    if (run.Cancelled()) return absl::CancelledError("stopped");
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("chain_of_code", "paper_examples", PaperExamples);

// -------------------------------------------------- programs over questions

// ParallelFor over the run's questions, whose programs run in processes of
// their own.
absl::Status InParallel(ExperimentRun& run, int64_t count,
                        const std::function<absl::Status(int64_t)>& work) {
  return ParallelFor(count, run.threads(), work, [&](int64_t done) {
    run.Progress(static_cast<double>(done), static_cast<double>(count),
                 absl::StrCat(done, " of ", count, " questions"));
    return !run.Cancelled();
  });
}

absl::StatusOr<Variant> VariantArg(const ExperimentRun& run,
                                   const Claim& claim) {
  REPRO_ASSIGN_OR_RETURN(const std::string name, run.Arg(claim, "variant"));
  for (const Variant variant : AllVariants()) {
    if (name == VariantName(variant)) return variant;
  }
  return UnknownName(claim, "variant", name);
}

absl::StatusOr<const Task*> TaskArg(const ExperimentRun& run,
                                    const Claim& claim) {
  REPRO_ASSIGN_OR_RETURN(const std::string name, run.Arg(claim, "task"));
  for (const Task& task : Tasks()) {
    if (task.name == name) return &task;
  }
  return UnknownName(claim, "task", name);
}

// One execution of a task's program: program, variant, file, question.
using Key = std::tuple<std::string, Variant, std::string, size_t>;

// Whether each execution gives the question's target, the helpers of the
// programs being answered by the oracle. Interweave does not let the model
// answer by itself: what counts is the program's answer.
absl::StatusOr<std::map<Key, bool>> ExecuteAll(ExperimentRun& run,
                                               const Bbh& bbh,
                                               const std::set<Key>& keys) {
  REPRO_ASSIGN_OR_RETURN(const exec::Sandbox sandbox, exec::Sandbox::Create());
  OracleClient oracle;
  const Lmulator lmulator(sandbox, oracle);
  const std::vector<Key> list(keys.begin(), keys.end());
  std::vector<char> right(list.size());
  REPRO_RETURN_IF_ERROR(InParallel(
      run, static_cast<int64_t>(list.size()), [&](int64_t i) -> absl::Status {
        const auto& [program_name, variant, file, index] = list[i];
        const Instance& instance = bbh.at(file)[index];
        REPRO_ASSIGN_OR_RETURN(const std::string program,
                               ProgramFor(program_name, instance.input));
        REPRO_ASSIGN_OR_RETURN(
            const Execution execution,
            lmulator.Execute(variant, {}, instance.input, program));
        right[i] = execution.answered && !execution.answer_by_lm &&
                   execution.answer == instance.target;
        return absl::OkStatus();
      }));
  std::map<Key, bool> result;
  for (size_t i = 0; i < list.size(); ++i) result[list[i]] = right[i] != 0;
  return result;
}

// `questions` of each file of a task: all of them, or a sample by the seed.
std::vector<size_t> Questions(size_t available, size_t wanted, uint64_t seed) {
  std::vector<size_t> indices(available);
  for (size_t i = 0; i < available; ++i) indices[i] = i;
  if (wanted >= available) return indices;
  std::mt19937_64 generator(seed);
  std::shuffle(indices.begin(), indices.end(), generator);
  indices.resize(wanted);
  return indices;
}

// A claim's accuracy over `wanted` questions of its task, shared out over the
// task's files, for each seed.
absl::Status MeasurePrograms(ExperimentRun& run,
                             const std::vector<uint64_t>& seeds,
                             size_t wanted) {
  REPRO_ASSIGN_OR_RETURN(const std::string path, run.AssetPath("bbh"));
  REPRO_ASSIGN_OR_RETURN(const Bbh bbh, ReadBbh(path));
  // By claim, seed and file.
  std::vector<std::vector<std::vector<std::vector<Key>>>> plan;
  std::set<Key> keys;
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const Task* task, TaskArg(run, *claim));
    REPRO_ASSIGN_OR_RETURN(const Variant variant, VariantArg(run, *claim));
    REPRO_ASSIGN_OR_RETURN(const std::string program,
                           run.Arg(*claim, "program"));
    auto& of_claim = plan.emplace_back();
    for (const uint64_t seed : seeds) {
      auto& of_seed = of_claim.emplace_back();
      for (const std::string& file : task->files) {
        auto& of_file = of_seed.emplace_back();
        const size_t share = wanted / task->files.size();
        for (const size_t i : Questions(bbh.at(file).size(), share, seed)) {
          of_file.emplace_back(program, variant, file, i);
        }
        keys.insert(of_file.begin(), of_file.end());
      }
    }
  }
  REPRO_ASSIGN_OR_RETURN(const auto right, ExecuteAll(run, bbh, keys));
  for (size_t c = 0; c < plan.size(); ++c) {
    Observation observation;
    size_t questions = 0;
    for (const auto& of_seed : plan[c]) {
      double sum = 0;
      questions = 0;
      for (const auto& of_file : of_seed) {
        double hits = 0;
        for (const Key& key : of_file) hits += right.at(key);
        sum += 100 * hits / static_cast<double>(of_file.size());
        questions += of_file.size();
      }
      observation.samples.push_back(sum / static_cast<double>(of_seed.size()));
    }
    if (seeds.size() == 1) {
      run.Record(*run.claims()[c], observation.samples[0]);
      continue;
    }
    observation.scale = absl::StrCat(
        questions, " questions a seed; program and helpers written here");
    run.Record(*run.claims()[c], std::move(observation));
  }
  return absl::OkStatus();
}

absl::Status TaskPrograms(ExperimentRun& run) {
  return MeasurePrograms(run, {0}, SIZE_MAX);
}
REPRO_REGISTER_EXPERIMENT("chain_of_code", "task_programs", TaskPrograms);

absl::Status SampledPrograms(ExperimentRun& run) {
  return MeasurePrograms(run, run.seeds(), 30);
}
REPRO_REGISTER_EXPERIMENT("chain_of_code", "sampled_programs", SampledPrograms);

// ------------------------------------------------------- errors of the model

// Questions a seed.
constexpr size_t kNoisyQuestions = 15;

struct NoisyRun {
  int interweave = 0;    // right
  int lm_state = 0;      // right
  int python = 0;        // answered
  int as_the_flips = 0;  // Interweave's answer follows from the flips
};

// Executes a question of object counting with a model that errs.
absl::StatusOr<NoisyRun> ExecuteNoisily(const exec::Sandbox& sandbox,
                                        const Instance& instance,
                                        double error_rate, uint64_t seed,
                                        const Replies& clean) {
  REPRO_ASSIGN_OR_RETURN(const std::string program,
                         ProgramFor("object_counting", instance.input));
  OracleClient model(error_rate, seed);
  const Lmulator lmulator(sandbox, model);
  Replies replies;
  for (const auto& [tail, reply] : clean) {
    REPRO_ASSIGN_OR_RETURN(
        completion::Completion noisy,
        model.Complete(GreedyRequest(StatePrompt(WorkedTrace(), tail),
                                     kStateTokens, {"\nline:"}, false)));
    replies[tail] = std::move(noisy.choices[0].text);
  }
  REPRO_ASSIGN_OR_RETURN(const Execution interweave,
                         lmulator.Execute(Variant::kInterweave, {},
                                          instance.input, program, &replies));
  // Python comes to no answer, so that this is LM state, too.
  REPRO_ASSIGN_OR_RETURN(const Execution lm_state,
                         lmulator.Execute(Variant::kTryPythonExceptLmState, {},
                                          instance.input, program));
  REPRO_ASSIGN_OR_RETURN(const std::vector<Thing> things,
                         ParseThings(instance.input));
  int count = 0;
  for (const Thing& thing : things) {
    if (thing.counted != model.Flips(thing)) count += thing.count;
  }
  NoisyRun result;
  result.interweave = interweave.answer == instance.target;
  result.lm_state = lm_state.answer == instance.target;
  result.python = lm_state.answered && !lm_state.answer_by_lm;
  result.as_the_flips = interweave.answered && !interweave.answer_by_lm &&
                        interweave.answer == absl::StrCat(count);
  return result;
}

absl::Status NoisyHelper(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::string path, run.AssetPath("bbh"));
  REPRO_ASSIGN_OR_RETURN(const Bbh bbh, ReadBbh(path));
  const std::vector<Instance>& instances = bbh.at("object_counting");
  REPRO_ASSIGN_OR_RETURN(const exec::Sandbox sandbox, exec::Sandbox::Create());
  std::set<double> rates;
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const double rate,
                           run.DoubleArg(*claim, "error_rate"));
    rates.insert(rate);
  }
  struct Job {
    size_t seed;
    size_t question;
    std::map<double, NoisyRun> runs;
  };
  std::vector<Job> jobs;
  for (size_t s = 0; s < run.seeds().size(); ++s) {
    for (const size_t i :
         Questions(instances.size(), kNoisyQuestions, run.seeds()[s])) {
      jobs.push_back({s, i, {}});
    }
  }
  REPRO_RETURN_IF_ERROR(InParallel(
      run, static_cast<int64_t>(jobs.size()), [&](int64_t j) -> absl::Status {
        Job& job = jobs[j];
        const Instance& instance = instances[job.question];
        REPRO_ASSIGN_OR_RETURN(const std::string program,
                               ProgramFor("object_counting", instance.input));
        // What the program asks does not depend on the answers: a run without
        // errors gives the questions of all others.
        OracleClient oracle;
        Replies clean;
        REPRO_RETURN_IF_ERROR(Lmulator(sandbox, oracle)
                                  .Execute(Variant::kInterweave, {},
                                           instance.input, program, &clean)
                                  .status());
        for (const double rate : rates) {
          REPRO_ASSIGN_OR_RETURN(
              job.runs[rate],
              ExecuteNoisily(sandbox, instance, rate,
                             run.seeds()[job.seed] * 1000 + job.question,
                             clean));
        }
        return absl::OkStatus();
      }));
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const double rate,
                           run.DoubleArg(*claim, "error_rate"));
    REPRO_ASSIGN_OR_RETURN(const std::string quantity,
                           run.Arg(*claim, "quantity"));
    std::vector<double> samples(run.seeds().size());
    for (const Job& job : jobs) {
      const NoisyRun& noisy = job.runs.at(rate);
      double value = 0;
      if (quantity == "interweave") {
        value = noisy.interweave;
      } else if (quantity == "lm_state") {
        value = noisy.lm_state;
      } else if (quantity == "interweave_minus_lm_state") {
        value = noisy.interweave - noisy.lm_state;
      } else if (quantity == "python") {
        value = noisy.python;
      } else if (quantity == "as_the_flips") {
        value = noisy.as_the_flips;
      } else {
        return UnknownName(*claim, "quantity", quantity);
      }
      samples[job.seed] += 100 * value / static_cast<double>(kNoisyQuestions);
    }
    Observation observation;
    observation.samples = std::move(samples);
    observation.scale = absl::StrCat(
        "object counting, ", kNoisyQuestions,
        " questions a seed, the model replaced by a table with errors");
    run.Record(*claim, std::move(observation));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("chain_of_code", "noisy_helper", NoisyHelper);

// -------------------------------------------------------- a model end to end

// Three worked examples of a task: the questions of its chain-of-thought
// prompt, with the task's program.
absl::StatusOr<std::vector<Example>> ExamplesOf(const std::string& file,
                                                const std::string& prompts) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<JsonLine> lines, ReadJsonl(prompts));
  for (const auto& [value, line] : lines) {
    if (!value.is_object() || value.value("task", "") != file) continue;
    REPRO_ASSIGN_OR_RETURN(const std::vector<Instance> worked,
                           ParseCotPrompt(value.value("text", "")));
    std::vector<Example> examples;
    for (const Instance& instance : worked) {
      REPRO_ASSIGN_OR_RETURN(std::string program,
                             ProgramFor(file, instance.input));
      examples.push_back(
          {instance.input, std::move(program), {}, instance.target});
    }
    return examples;
  }
  return absl::NotFoundError(
      absl::StrCat(prompts, ": no prompt of task \"", file, "\""));
}

// The answer of a chain of code; empty if there is none.
absl::StatusOr<std::string> ChainOfCode(const Lmulator& lmulator,
                                        completion::CompletionClient& client,
                                        const std::vector<Example>& examples,
                                        const std::string& question) {
  constexpr int64_t kTokens = 256;  // our programs are short
  REPRO_ASSIGN_OR_RETURN(
      const completion::Completion reply,
      client.Complete(GreedyRequest(GenerationPrompt(examples, question),
                                    kTokens, {std::string(kCodeEnd)}, false)));
  const absl::StatusOr<std::string> program =
      ExtractProgram(reply.choices[0].text);
  if (!program.ok()) return std::string();
  REPRO_ASSIGN_OR_RETURN(
      const Execution execution,
      lmulator.Execute(Variant::kInterweave, examples, question, *program));
  return execution.answer;
}

absl::Status LocalModel(ExperimentRun& run) {
  const std::vector<std::string> files = {"boolean_expressions", "word_sorting",
                                          "object_counting"};
  constexpr size_t kQuestions = 4;  // of each task, a seed
  // Other questions than those of the pilot that set the sample's size.
  constexpr uint64_t kFirstSeed = 1000;
  REPRO_ASSIGN_OR_RETURN(const std::string bbh_path, run.AssetPath("bbh"));
  REPRO_ASSIGN_OR_RETURN(const std::string prompts,
                         run.AssetPath("cot_prompts"));
  REPRO_ASSIGN_OR_RETURN(const Bbh bbh, ReadBbh(bbh_path));
  REPRO_ASSIGN_OR_RETURN(const exec::Sandbox sandbox, exec::Sandbox::Create());
  completion::OpenOptions options;
  options.cancelled = [&run] { return run.Cancelled(); };
  REPRO_ASSIGN_OR_RETURN(
      const std::unique_ptr<completion::CompletionClient> client,
      completion::OpenClient(run.model_spec(), options));
  const Lmulator lmulator(sandbox, *client);
  std::map<std::string, std::vector<double>> accuracies;
  double done = 0;
  const double total =
      static_cast<double>(run.seeds().size() * files.size() * kQuestions);
  for (const uint64_t seed : run.seeds()) {
    double direct = 0, chain_of_code = 0;
    for (const std::string& file : files) {
      REPRO_ASSIGN_OR_RETURN(const std::vector<Example> examples,
                             ExamplesOf(file, prompts));
      for (const size_t i :
           Questions(bbh.at(file).size(), kQuestions, kFirstSeed + seed)) {
        const Instance& instance = bbh.at(file)[i];
        REPRO_ASSIGN_OR_RETURN(const completion::Completion reply,
                               client->Complete(GreedyRequest(
                                   DirectPrompt(examples, instance.input),
                                   kAnswerTokens, {"\n"}, false)));
        direct += DirectAnswer(reply.choices[0].text) == instance.target;
        REPRO_ASSIGN_OR_RETURN(
            const std::string answer,
            ChainOfCode(lmulator, *client, examples, instance.input));
        chain_of_code += answer == instance.target;
        run.Progress(++done, total, file);
        if (run.Cancelled()) return absl::CancelledError("stopped");
      }
    }
    const double questions = static_cast<double>(files.size() * kQuestions);
    accuracies["direct"].push_back(100 * direct / questions);
    accuracies["chain_of_code"].push_back(100 * chain_of_code / questions);
    accuracies["difference"].push_back(100 * (chain_of_code - direct) /
                                       questions);
  }
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string quantity,
                           run.Arg(*claim, "quantity"));
    const auto samples = accuracies.find(quantity);
    if (samples == accuracies.end()) {
      return UnknownName(*claim, "quantity", quantity);
    }
    Observation observation;
    observation.samples = samples->second;
    observation.scale =
        absl::StrCat(client->name(), ", ", files.size(), " of 23 tasks, ",
                     kQuestions, " questions of each a seed");
    run.Record(*claim, std::move(observation));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("chain_of_code", "local_model", LocalModel);

}  // namespace
}  // namespace repro::chain_of_code
