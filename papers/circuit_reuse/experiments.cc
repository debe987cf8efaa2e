// How each claim of claims.textproto is measured. Experiments, and what the
// claims' args mean to them:
//
//   configuration  measure: heads, parameters
//   prompts        measure, see Prompts()
//   small          measure, see SmallStudyMeasures(); minus: another, and the
//                  effect is the difference, which `show` shows, too
//   cost
#include <ATen/ops/randint.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/claims/experiment.h"
#include "common/count/parameters.h"
#include "common/status/macros.h"
#include "common/tensor/device.h"
#include "common/tensor/generator.h"
#include "common/train/experiment.h"
#include "common/train/grid.h"
#include "papers/circuit_reuse/colored_objects.h"
#include "papers/circuit_reuse/hooked_transformer.h"
#include "papers/circuit_reuse/path_patching.h"
#include "papers/circuit_reuse/small_study.h"

namespace repro::circuit_reuse {
namespace {

constexpr char kSlug[] = "circuit_reuse";

absl::Status Configuration(ExperimentRun& run) {
  const TransformerConfig config = TransformerConfig::Gpt2Medium();
  return RecordByName(
      run, "measure",
      {{"heads", static_cast<double>(config.layers * config.heads)},
       {"parameters", static_cast<double>(CountParameters(
                          HookedTransformer(config, Initializer::Meta())))}});
}
REPRO_REGISTER_EXPERIMENT(kSlug, "configuration", Configuration);

bool IsDisjoint(const ColoredPrompt& prompt) {
  const auto lacks = [](const auto& of_example, const auto& of_test) {
    return std::none_of(of_test.begin(), of_test.end(), [&](const auto& word) {
      return std::find(of_example.begin(), of_example.end(), word) !=
             of_example.end();
    });
  };
  return lacks(prompt.example.colors, prompt.test.colors) &&
         lacks(prompt.example.objects, prompt.test.objects);
}

// Measures, counts of prompts unless they say otherwise: prompts; tokens (of
// each prompt; the mean); chance (in percent); label/<colour>; query/<index>;
// surface/<surface>; distinct, regenerated (of both files); partners (that
// differ in the query token alone); color_tokens, query_token (where they are
// expected); disjoint; same_index (as the example's); partner_next (partners
// that ask for the next object); label_chi_square.
absl::Status Prompts(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::string prompts_path,
                         run.AssetPath("prompts"));
  REPRO_ASSIGN_OR_RETURN(const std::string partners_path,
                         run.AssetPath("counterfactuals"));
  REPRO_ASSIGN_OR_RETURN(const std::vector<LabelledPrompt> prompts,
                         ReadColoredPrompts(prompts_path));
  REPRO_ASSIGN_OR_RETURN(const std::vector<LabelledPrompt> partners,
                         ReadColoredPrompts(partners_path));
  if (prompts.size() != partners.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat(partners_path, ": ", partners.size(), " prompts for ",
                     prompts.size(), " in ", prompts_path));
  }
  const double count = static_cast<double>(prompts.size());
  std::map<std::string, double> values;
  for (const char* name :
       {"regenerated", "partners", "color_tokens", "query_token", "disjoint",
        "same_index", "partner_next", "tokens", "chance", "label_chi_square"}) {
    values[name] = 0;
  }
  for (const absl::string_view color : Colors()) {
    values[absl::StrCat("label/", color)] = 0;
  }
  std::set<std::string> distinct;
  for (size_t i = 0; i < prompts.size(); ++i) {
    const ColoredPrompt& prompt = prompts[i].prompt;
    const ColoredPrompt& partner = partners[i].prompt;
    const ColoredQuestion& test = prompt.test;
    const std::vector<std::string> tokens = SplitWords(prompts[i].text);
    const std::vector<std::string> others = SplitWords(partners[i].text);
    distinct.insert(prompts[i].text);
    distinct.insert(partners[i].text);
    values["regenerated"] += Render(prompt) == prompts[i].text;
    values["regenerated"] += Render(partner) == partners[i].text;
    values["tokens"] += static_cast<double>(tokens.size()) / count;
    values["chance"] += 100 / static_cast<double>(test.colors.size()) / count;
    ++values[absl::StrCat("label/", test.color())];
    ++values[absl::StrCat("query/", test.query)];
    ++values[absl::StrCat("surface/", test.surface)];
    values["disjoint"] += IsDisjoint(prompt);
    values["same_index"] += prompt.example.query == test.query;
    values["partner_next"] +=
        partner.test.query == (test.query + 1) % ColoredQuestion::kItems;
    if (tokens.size() != kPromptTokens || others.size() != kPromptTokens) {
      continue;
    }
    bool colors = true;
    for (int64_t item = 0; item < ColoredQuestion::kItems; ++item) {
      colors = colors && tokens[kColorTokens[item]] == test.colors[item];
    }
    values["color_tokens"] += colors;
    values["query_token"] += tokens[kQueryToken] == test.objects[test.query];
    bool alone = tokens[kQueryToken] != others[kQueryToken];
    for (int64_t t = 0; t < kPromptTokens; ++t) {
      alone = alone && (t == kQueryToken || tokens[t] == others[t]);
    }
    values["partners"] += alone;
  }
  const double expected = count / static_cast<double>(Colors().size());
  for (const absl::string_view color : Colors()) {
    const double off = values[absl::StrCat("label/", color)] - expected;
    values["label_chi_square"] += off * off / expected;
  }
  values["prompts"] = count;
  values["distinct"] = static_cast<double>(distinct.size());
  return RecordByName(run, "measure", values);
}
REPRO_REGISTER_EXPERIMENT(kSlug, "prompts", Prompts);

absl::Status Small(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const c10::Device device, ParseDevice(run.device()));
  const SmallStudyOptions options;
  const std::vector<std::string> measures = SmallStudyMeasures();
  Grid grid = GridOfRun(run);
  grid.names = {"small"};
  REPRO_ASSIGN_OR_RETURN(
      const GridOutcomes outcomes,
      TrainGrid(
          grid,
          [&](const GridCell& cell) -> absl::StatusOr<std::vector<double>> {
            try {
              REPRO_ASSIGN_OR_RETURN(
                  const auto measured,
                  RunSmallStudy(options, cell.seed, device,
                                [&](double share, const std::string& text) {
                                  cell.progress(
                                      static_cast<int64_t>(1000 * share), 1000,
                                      absl::StrCat("seed ", cell.seed, ", ",
                                                   text));
                                  return !cell.cancelled();
                                }));
              std::vector<double> list;
              for (const std::string& name : measures) {
                list.push_back(measured.at(name));
              }
              return list;
            } catch (const c10::Error& error) {
              return absl::InternalError(error.what_without_backtrace());
            }
          }));
  std::map<std::string, std::vector<double>> values;
  for (const std::vector<double>& of_seed : outcomes.at("small")) {
    if (of_seed.size() != measures.size()) {
      return absl::DataLossError("a kept result of another version");
    }
    for (size_t i = 0; i < of_seed.size(); ++i) {
      values[measures[i]].push_back(of_seed[i]);
    }
  }
  const auto named =
      [&](const Claim& claim,
          const char* arg) -> absl::StatusOr<std::vector<double>> {
    REPRO_ASSIGN_OR_RETURN(const std::string name, run.Arg(claim, arg));
    const auto found = values.find(name);
    if (found == values.end()) return UnknownName(claim, arg, name);
    return found->second;
  };
  for (const Claim* claim : run.claims()) {
    Observation observation;
    REPRO_ASSIGN_OR_RETURN(observation.samples, named(*claim, "measure"));
    observation.scale = absl::StrCat(
        "a model of ", options.layers, " layers of ", options.heads,
        " heads, dim ", options.dim, ", trained on three tasks alone");
    if (run.Arg(*claim, "minus").ok()) {
      REPRO_ASSIGN_OR_RETURN(const std::vector<double> minus,
                             named(*claim, "minus"));
      for (size_t i = 0; i < minus.size(); ++i) {
        observation.effects.push_back(observation.samples[i] - minus[i]);
      }
      // A difference is shown where the claim is about one.
      if (run.Arg(*claim, "show").ok()) {
        observation.samples = observation.effects;
      }
    }
    run.Record(*claim, std::move(observation));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "small", Small);

// The values of weights and tokens don't matter to the time.
absl::Status Cost(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const c10::Device device, ParseDevice(run.device()));
  const TransformerConfig config = TransformerConfig::Gpt2Medium();
  const PathPatchingOptions options;
  Observation observation;
  observation.scale = "random weights and tokens, one batch";
  try {
    const HookedTransformer model(config,
                                  Initializer(MakeGenerator(0), device));
    for (const uint64_t seed : run.seeds()) {
      if (run.Cancelled()) return absl::CancelledError("stopped");
      run.Progress(static_cast<double>(observation.samples.size()),
                   static_cast<double>(run.seeds().size()),
                   absl::StrCat("seed ", seed));
      at::Generator generator = MakeGenerator(seed, 1);
      const auto tokens = [&](at::IntArrayRef shape) {
        return at::randint(config.vocabulary, shape, generator,
                           at::TensorOptions().dtype(at::kLong))
            .to(device);
      };
      PatchingPrompts prompts;
      prompts.tokens = tokens({options.batch, kPromptTokens});
      prompts.counterfactual = tokens({options.batch, kPromptTokens});
      prompts.answers = tokens({options.batch});
      prompts.wrong = tokens({options.batch});
      const auto seconds = [&](const auto& patch) -> absl::StatusOr<double> {
        Synchronize(device);
        const auto start = std::chrono::steady_clock::now();
        const absl::StatusOr<Importance> importance =
            patch(model, prompts, Receivers{}, options);
        if (!importance.ok()) return importance.status();
        Synchronize(device);
        return std::chrono::duration<double>(std::chrono::steady_clock::now() -
                                             start)
            .count();
      };
      // The first one warms up.
      REPRO_RETURN_IF_ERROR(seconds(PathPatch).status());
      REPRO_ASSIGN_OR_RETURN(const double shortcut, seconds(PathPatch));
      REPRO_ASSIGN_OR_RETURN(const double whole,
                             seconds(PathPatchByDefinition));
      observation.samples.push_back(whole / shortcut);
    }
  } catch (const c10::Error& error) {
    return absl::InternalError(error.what_without_backtrace());
  }
  for (const Claim* claim : run.claims()) run.Record(*claim, observation);
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT(kSlug, "cost", Cost);

}  // namespace
}  // namespace repro::circuit_reuse
