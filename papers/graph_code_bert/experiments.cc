// How each claim of claims.textproto is measured; arguments come from there.

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/claims/experiment.h"
#include "common/code/language.h"
#include "common/count/parameters.h"
#include "common/data/io.h"
#include "common/encoder/transformer_encoder.h"
#include "common/metrics/code_bleu.h"
#include "common/nn/initializer.h"
#include "common/nn/module.h"
#include "common/status/macros.h"
#include "common/tensor/device.h"
#include "papers/graph_code_bert/pretraining.h"
#include "papers/graph_code_bert/released.h"
#include "papers/graph_code_bert/speed.h"
#include "papers/graph_code_bert/transformer.h"

namespace repro::graph_code_bert {
namespace {

// -------------------------------------------------------- without any data

class EncoderAndPooler : public Module {
 public:
  explicit EncoderAndPooler(const encoder::TransformerConfig& config) {
    const Initializer init = Initializer::Meta();
    AddModule<encoder::TransformerEncoder>("encoder", config, init);
    AddModule<encoder::Pooler>("pooler", config.dim, init);
  }
};

absl::Status Parameters(ExperimentRun& run) {
  const int64_t count = CountParameters(
      EncoderAndPooler(encoder::TransformerConfig::RobertaBase()));
  for (const Claim* claim : run.claims()) {
    run.Record(*claim, static_cast<double>(count));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("graph_code_bert", "parameters", Parameters);

absl::Status MacroMeans(ExperimentRun& run) {
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string text, run.Arg(*claim, "scores"));
    double sum = 0;
    int count = 0;
    for (const auto& word : absl::StrSplit(text, ' ', absl::SkipEmpty())) {
      double score = 0;
      if (!absl::SimpleAtod(word, &score)) {
        return UnknownName(*claim, "list of scores", text);
      }
      sum += score;
      ++count;
    }
    if (count == 0) return UnknownName(*claim, "list of scores", text);
    run.Record(*claim, sum / count);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("graph_code_bert", "macro_means", MacroMeans);

// ------------------------------------------------------- released outputs

// Scores of one output; CodeBLEU's parts are computed once they are asked for.
class Scored {
 public:
  Scored(std::vector<std::string> references,
         std::vector<std::string> hypotheses)
      : references_(std::move(references)),
        hypotheses_(std::move(hypotheses)) {}

  absl::StatusOr<double> Generation(const Claim& claim,
                                    const std::string& measure) {
    if (generation_ == nullptr) {
      REPRO_ASSIGN_OR_RETURN(const GenerationScore score,
                             ScoreGeneration(references_, hypotheses_));
      generation_ = std::make_unique<GenerationScore>(score);
    }
    if (measure == "bleu") return generation_->bleu;
    if (measure == "exact_match") return generation_->exact_match;
    return UnknownName(claim, "measure", measure);
  }

  absl::StatusOr<CodeBleuParts> CodeBleu(code::CodeLanguage language,
                                         const metrics::Keywords& keywords) {
    if (parts_ == nullptr) {
      REPRO_ASSIGN_OR_RETURN(
          const CodeBleuParts parts,
          ScoreCodeBleu(language, references_, hypotheses_, keywords));
      parts_ = std::make_unique<CodeBleuParts>(parts);
    }
    return *parts_;
  }

 private:
  std::vector<std::string> references_, hypotheses_;
  std::unique_ptr<GenerationScore> generation_;
  std::unique_ptr<CodeBleuParts> parts_;
};

absl::Status Translation(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::string path,
                         run.AssetPath("codetrans_test"));
  REPRO_ASSIGN_OR_RETURN(
      const Columns columns,
      ReadColumns(path, {"java", "cs", "pred_java2cs", "pred_cs2java"}));
  std::map<std::string, Scored> scored;
  for (const Claim* claim : run.claims()) {
    if (run.Cancelled()) return absl::CancelledError("stopped");
    REPRO_ASSIGN_OR_RETURN(const std::string direction,
                           run.Arg(*claim, "direction"));
    REPRO_ASSIGN_OR_RETURN(const std::string output, run.Arg(*claim, "output"));
    REPRO_ASSIGN_OR_RETURN(const std::string measure,
                           run.Arg(*claim, "measure"));
    const bool to_cs = direction == "java_to_cs";
    if (!to_cs && direction != "cs_to_java") {
      return UnknownName(*claim, "direction", direction);
    }
    const std::string target = to_cs ? "cs" : "java";
    const std::map<std::string, std::string> sources = {
        {"copy", to_cs ? "java" : "cs"},
        {"released", to_cs ? "pred_java2cs" : "pred_cs2java"},
        {"reference", target}};
    const auto source = sources.find(output);
    if (source == sources.end()) return UnknownName(*claim, "output", output);
    Scored& scores =
        scored
            .try_emplace(absl::StrCat(direction, " ", output),
                         columns.at(target), columns.at(source->second))
            .first->second;
    if (measure == "bleu" || measure == "exact_match") {
      REPRO_ASSIGN_OR_RETURN(const double value,
                             scores.Generation(*claim, measure));
      run.Record(*claim, value);
      continue;
    }
    REPRO_ASSIGN_OR_RETURN(
        const std::string keywords_path,
        run.AssetPath(to_cs ? "keywords_c_sharp" : "keywords_java"));
    REPRO_ASSIGN_OR_RETURN(const std::string keywords, ReadFile(keywords_path));
    REPRO_ASSIGN_OR_RETURN(const CodeBleuParts parts,
                           scores.CodeBleu(to_cs ? code::CodeLanguage::kCSharp
                                                 : code::CodeLanguage::kJava,
                                           metrics::ParseKeywords(keywords)));
    const std::map<std::string, double> values = {
        {"ngram", parts.ngram},
        {"weighted_ngram", parts.weighted_ngram},
        {"code_bleu", parts.code_bleu}};
    const auto value = values.find(measure);
    if (value == values.end()) return UnknownName(*claim, "measure", measure);
    run.Record(*claim,
               claim->unit() == "%" ? value->second : value->second / 100);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("graph_code_bert", "translation", Translation);

absl::Status Refinement(ExperimentRun& run) {
  std::map<std::string, Columns> subsets;
  for (const std::string subset : {"small", "medium"}) {
    REPRO_ASSIGN_OR_RETURN(
        const std::string path,
        run.AssetPath(absl::StrCat("refine_", subset, "_test")));
    REPRO_ASSIGN_OR_RETURN(subsets[subset],
                           ReadColumns(path, {"buggy", "fixed", "pred"}));
  }
  std::map<std::string, Scored> scored;
  for (const Claim* claim : run.claims()) {
    if (run.Cancelled()) return absl::CancelledError("stopped");
    REPRO_ASSIGN_OR_RETURN(const std::string subset, run.Arg(*claim, "subset"));
    REPRO_ASSIGN_OR_RETURN(const std::string output, run.Arg(*claim, "output"));
    REPRO_ASSIGN_OR_RETURN(const std::string measure,
                           run.Arg(*claim, "measure"));
    const auto columns = subsets.find(subset);
    if (columns == subsets.end()) return UnknownName(*claim, "subset", subset);
    if (output != "copy" && output != "released") {
      return UnknownName(*claim, "output", output);
    }
    Scored& scores =
        scored
            .try_emplace(
                absl::StrCat(subset, " ", output), columns->second.at("fixed"),
                columns->second.at(output == "copy" ? "buggy" : "pred"))
            .first->second;
    REPRO_ASSIGN_OR_RETURN(const double value,
                           scores.Generation(*claim, measure));
    run.Record(*claim, value);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("graph_code_bert", "refinement", Refinement);

absl::Status Sizes(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const std::string path,
                         run.AssetPath("codetrans_test"));
  REPRO_ASSIGN_OR_RETURN(const Columns columns,
                         ReadColumns(path, {"java", "cs"}));
  std::map<std::string, DataFlowSizes> sizes;
  REPRO_ASSIGN_OR_RETURN(
      sizes["java"],
      MeanDataFlowSizes(code::CodeLanguage::kJava, columns.at("java")));
  REPRO_ASSIGN_OR_RETURN(
      sizes["c_sharp"],
      MeanDataFlowSizes(code::CodeLanguage::kCSharp, columns.at("cs")));
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string language,
                           run.Arg(*claim, "language"));
    REPRO_ASSIGN_OR_RETURN(const std::string count, run.Arg(*claim, "count"));
    const auto found = sizes.find(language);
    if (found == sizes.end()) return UnknownName(*claim, "language", language);
    const std::map<std::string, double> values = {
        {"tokens", found->second.tokens},
        {"nodes", found->second.nodes},
        {"edges", found->second.edges}};
    const auto value = values.find(count);
    if (value == values.end()) return UnknownName(*claim, "count", count);
    run.Record(*claim, value->second);
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("graph_code_bert", "data_flow_sizes", Sizes);

// ------------------------------------------------------------ on a device

absl::Status Speed(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const c10::Device device, ParseDevice(run.device()));
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const int64_t positions,
                           run.IntArg(*claim, "positions"));
    Observation observation;
    for (const uint64_t seed : run.seeds()) {
      if (run.Cancelled()) return absl::CancelledError("stopped");
      try {
        observation.samples.push_back(
            TimeMaskedAttention(positions, /*batch=*/32, device, seed)
                .MaskedOverDense());
      } catch (const c10::Error& error) {
        return absl::InternalError(
            absl::StrCat(claim->id(), ": ", error.what_without_backtrace()));
      }
    }
    run.Record(*claim, std::move(observation));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("graph_code_bert", "masked_attention_speed", Speed);

absl::Status ComparePretraining(ExperimentRun& run,
                                const PretrainingOptions& options) {
  REPRO_ASSIGN_OR_RETURN(const c10::Device device, ParseDevice(run.device()));
  REPRO_ASSIGN_OR_RETURN(const std::string train_path,
                         run.AssetPath("codetrans_train"));
  REPRO_ASSIGN_OR_RETURN(const std::string test_path,
                         run.AssetPath("codetrans_test"));
  REPRO_ASSIGN_OR_RETURN(const Columns train,
                         ReadColumns(train_path, {"java", "cs"}));
  REPRO_ASSIGN_OR_RETURN(const Columns test,
                         ReadColumns(test_path, {"java", "cs"}));
  REPRO_ASSIGN_OR_RETURN(const PretrainingData data,
                         PreparePretraining(train, test, options));
  std::map<Arm, std::vector<double>> scores;
  std::map<const Claim*, Arm> arms;
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string name, run.Arg(*claim, "minus"));
    REPRO_ASSIGN_OR_RETURN(arms[claim], ParseArm(name));
    scores[arms[claim]];
  }
  scores[Arm::kFull];
  const auto total = static_cast<double>(scores.size() * run.seeds().size());
  double done = 0;
  for (const uint64_t seed : run.seeds()) {
    for (auto& entry : scores) {
      const Arm arm = entry.first;
      try {
        REPRO_ASSIGN_OR_RETURN(
            const double score,
            RetrievalAfterPretraining(
                data, arm, options, seed, device, [&](double share) {
                  run.Progress(done + share, total, ArmName(arm));
                  return !run.Cancelled();
                }));
        entry.second.push_back(score);
      } catch (const c10::Error& error) {
        return absl::InternalError(
            absl::StrCat(ArmName(arm), ": ", error.what_without_backtrace()));
      }
      ++done;
    }
  }
  for (const Claim* claim : run.claims()) {
    Observation observation;
    observation.samples = scores[arms[claim]];
    for (size_t i = 0; i < observation.samples.size(); ++i) {
      observation.effects.push_back(scores[Arm::kFull][i] -
                                    observation.samples[i]);
    }
    observation.scale =
        absl::StrCat(options.num_layers, " layers of ", options.dim, ", ",
                     options.pretraining_steps, " steps on 20,600 functions");
    run.Record(*claim, std::move(observation));
  }
  return absl::OkStatus();
}

absl::Status Pretraining(ExperimentRun& run) {
  return ComparePretraining(run, {});
}
REPRO_REGISTER_EXPERIMENT("graph_code_bert", "pretraining", Pretraining);

absl::Status PretrainingScaledProducts(ExperimentRun& run) {
  PretrainingOptions options;
  options.scaled_products = true;
  return ComparePretraining(run, options);
}
REPRO_REGISTER_EXPERIMENT("graph_code_bert", "pretraining_scaled_products",
                          PretrainingScaledProducts);

absl::Status Transformer(ExperimentRun& run) {
  REPRO_ASSIGN_OR_RETURN(const c10::Device device, ParseDevice(run.device()));
  struct Task {
    const char* train;
    const char* test;
    const char* source;
    const char* target;
  };
  const std::map<std::string, Task> tasks = {
      {"java_to_cs", {"codetrans_train", "codetrans_test", "java", "cs"}},
      {"cs_to_java", {"codetrans_train", "codetrans_test", "cs", "java"}},
      {"refine_small",
       {"refine_small_valid", "refine_small_test", "buggy", "fixed"}}};
  // By task, the gains over the naive copy, one a seed.
  std::map<std::string, std::vector<GenerationScore>> models;
  std::map<std::string, GenerationScore> copies;
  const TransformerOptions options;
  for (const Claim* claim : run.claims()) {
    REPRO_ASSIGN_OR_RETURN(const std::string name, run.Arg(*claim, "task"));
    REPRO_ASSIGN_OR_RETURN(const std::string measure,
                           run.Arg(*claim, "measure"));
    const auto task = tasks.find(name);
    if (task == tasks.end()) return UnknownName(*claim, "task", name);
    if (measure != "bleu" && measure != "exact_match") {
      return UnknownName(*claim, "measure", measure);
    }
    if (models.count(name) == 0) {
      const auto& [train_asset, test_asset, source, target] = task->second;
      REPRO_ASSIGN_OR_RETURN(const std::string train_path,
                             run.AssetPath(train_asset));
      REPRO_ASSIGN_OR_RETURN(const std::string test_path,
                             run.AssetPath(test_asset));
      REPRO_ASSIGN_OR_RETURN(const Columns train,
                             ReadColumns(train_path, {source, target}));
      REPRO_ASSIGN_OR_RETURN(const Columns test,
                             ReadColumns(test_path, {source, target}));
      REPRO_ASSIGN_OR_RETURN(copies[name],
                             ScoreGeneration(test.at(target), test.at(source)));
      std::vector<GenerationScore>& scores = models[name];
      for (const uint64_t seed : run.seeds()) {
        try {
          REPRO_ASSIGN_OR_RETURN(
              const std::vector<std::string> outputs,
              TrainAndTranslate(
                  train.at(source), train.at(target), test.at(source), options,
                  seed, device, [&](double share) {
                    run.Progress(static_cast<double>(scores.size()) + share,
                                 static_cast<double>(run.seeds().size()), name);
                    return !run.Cancelled();
                  }));
          REPRO_ASSIGN_OR_RETURN(const GenerationScore score,
                                 ScoreGeneration(test.at(target), outputs));
          scores.push_back(score);
        } catch (const c10::Error& error) {
          return absl::InternalError(
              absl::StrCat(name, ": ", error.what_without_backtrace()));
        }
      }
    }
    Observation observation;
    for (const GenerationScore& score : models[name]) {
      const bool bleu = measure == "bleu";
      const double value = bleu ? score.bleu : score.exact_match;
      observation.samples.push_back(value);
      observation.effects.push_back(
          value - (bleu ? copies[name].bleu : copies[name].exact_match));
    }
    observation.scale = absl::StrCat("2 + 2 layers of ", options.dim, ", ",
                                     options.steps, " steps, greedy");
    run.Record(*claim, std::move(observation));
  }
  return absl::OkStatus();
}
REPRO_REGISTER_EXPERIMENT("graph_code_bert", "transformer", Transformer);

}  // namespace
}  // namespace repro::graph_code_bert
