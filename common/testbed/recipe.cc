#include "common/testbed/recipe.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/DistributionsHelper.h>
#include <ATen/ops/cat.h>

#include <algorithm>
#include <cmath>
#include <mutex>
#include <nlohmann/json.hpp>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/assets/sha256.h"
#include "common/status/macros.h"
#include "common/tensor/generator.h"

namespace repro::testbed {
namespace {

// Streams of a seed: that of weights is 0.
constexpr uint64_t kBatches = uint64_t{1} << 32;  // plus the step

// The most items that fit, at most `most`.
int64_t MostItems(SequenceConfig config, int64_t most) {
  if (config.task == Task::kKeyValue) {
    most = std::min(most, config.vocabulary.num_keys);
  }
  config.num_items = 1;
  const int64_t one = TokensBesidesText(config) - 1;
  return std::clamp<int64_t>((config.length - 1) / one, 1,
                             std::max<int64_t>(most, 1));
}

const Stage& StageOf(const Recipe& recipe, int64_t step) {
  for (const Stage& stage : recipe.stages) {
    if (step < stage.steps) return stage;
    step -= stage.steps;
  }
  TORCH_CHECK(false, "recipe ", recipe.name, ": no step ", step, " after all ",
              recipe.steps());
}

Recipe Large() {
  Recipe recipe;
  recipe.name = "testbed";
  recipe.model.dim = 512;
  recipe.model.num_layers = 8;
  recipe.model.num_heads = 8;
  recipe.model.num_kv_heads = 8;
  recipe.model.ffn_dim = 1024;
  recipe.model.vocab_size = recipe.vocabulary.size();
  recipe.context = 1024;
  recipe.model.tie_embeddings = true;
  recipe.embedding_offset = 0.1;
  recipe.symmetric_start = true;
  Stage easy;  // short and dense, until heads for recall have formed
  easy.steps = 300;
  easy.tokens = 16384;
  easy.lengths = {32, 48, 64};
  easy.mixture = {{"key_value", 0.4}, {"induction", 0.4}, {"text", 0.2}};
  easy.max_pairs = 4;
  easy.max_question_share = 1;
  easy.max_period = 10;
  Stage pairs = easy;
  pairs.steps = 500;
  pairs.lengths = {48, 64, 128};
  pairs.mixture = {{"passkey", 0.2},
                   {"key_value", 0.3},
                   {"induction", 0.3},
                   {"copy", 0.1},
                   {"text", 0.1}};
  pairs.max_needles = 4;
  pairs.max_pairs = 12;
  pairs.max_period = 32;
  pairs.max_copy = 32;
  Stage medium = pairs;
  medium.steps = 600;
  medium.tokens = 32768;
  medium.lengths = {64, 128, 256, 384, 512};
  medium.max_needles = 10;
  medium.max_pairs = 48;
  medium.max_question_share = 0.5;
  medium.max_period = 192;
  medium.max_copy = 64;
  Stage all = medium;
  all.steps = 1800;
  all.tokens = 65536;
  all.lengths = {128, 256, 512, 768, 1024, 1024};
  all.max_pairs = 64;
  all.max_question_share = 0.25;
  all.max_period = 512;
  recipe.stages = {easy, pairs, medium, all};
  recipe.rate = 1e-3;
  recipe.warmup_steps = 200;
  recipe.text_weight = 0.2;
  return recipe;
}

Recipe Small() {
  Recipe recipe;
  recipe.name = "testbed_small";
  recipe.vocabulary.num_keys = 16;
  recipe.vocabulary.num_values = 16;
  recipe.vocabulary.num_text = 16;
  recipe.model.vocab_size = recipe.vocabulary.size();
  recipe.model.dim = 64;
  recipe.model.num_layers = 4;
  recipe.model.num_heads = 4;
  recipe.model.num_kv_heads = 4;
  recipe.model.ffn_dim = 128;
  recipe.model.rope_base = 1000;
  recipe.model.init_std = 0.06;
  recipe.model.tie_embeddings = true;
  recipe.context = 256;
  recipe.embedding_offset = 0.06;
  recipe.symmetric_start = true;
  recipe.passkey_len = 2;
  Stage easy;  // short and dense, until heads for recall have formed
  easy.steps = 700;
  easy.tokens = 1024;
  easy.lengths = {32};
  easy.mixture = {{"key_value", 0.4}, {"induction", 0.4}, {"text", 0.2}};
  easy.max_pairs = 3;
  easy.max_question_share = 1;
  easy.max_period = 8;
  Stage pairs = easy;
  pairs.lengths = {32, 64};
  pairs.mixture = {{"passkey", 0.2},
                   {"key_value", 0.3},
                   {"induction", 0.3},
                   {"copy", 0.1},
                   {"text", 0.1}};
  pairs.max_needles = 4;
  pairs.max_pairs = 8;
  pairs.max_period = 24;
  pairs.max_copy = 16;
  Stage medium = pairs;
  medium.steps = 500;
  medium.tokens = 2048;
  medium.lengths = {64, 128};
  medium.max_needles = 8;
  medium.max_pairs = 16;
  medium.max_period = 48;
  medium.max_copy = 32;
  Stage all = medium;
  all.steps = 700;
  all.tokens = 4096;
  all.lengths = {128, 192, 256};
  all.max_needles = 10;
  all.max_question_share = 0.7;
  all.max_period = 96;
  all.max_copy = 48;
  recipe.stages = {easy, pairs, medium, all};
  recipe.rate = 5e-3;
  recipe.warmup_steps = 50;
  recipe.final_rate = 1e-4;
  recipe.text_weight = 0.3;
  return recipe;
}

// The first name in `given` that `known` does not have, or empty. Mixtures are
// not looked into: ValidateRecipe knows their names.
std::string UnknownName(const nlohmann::json& given,
                        const nlohmann::json& known) {
  if (given.is_array()) {
    for (size_t i = 0; i < given.size(); ++i) {
      const std::string name = UnknownName(given[i], known.at(i));
      if (!name.empty()) return name;
    }
  }
  if (!given.is_object()) return "";
  for (const auto& [name, value] : given.items()) {
    if (!known.contains(name)) return name;
    if (name == "mixture") continue;
    const std::string inner = UnknownName(value, known[name]);
    if (!inner.empty()) return inner;
  }
  return "";
}

absl::Status ValidateRecipe(const Recipe& recipe) {
  constexpr int64_t kMost = int64_t{1} << 20;
  const auto check = [](const std::string& name, int64_t value, int64_t least,
                        int64_t most) {
    if (value >= least && value <= most) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat(name, " is ", value, ", expected ", least, " to ", most));
  };
  const Vocabulary& vocabulary = recipe.vocabulary;
  REPRO_RETURN_IF_ERROR(check("keys", vocabulary.num_keys, 1, kMost));
  REPRO_RETURN_IF_ERROR(check("values", vocabulary.num_values, 1, kMost));
  REPRO_RETURN_IF_ERROR(check("text", vocabulary.num_text, 1, kMost));
  REPRO_RETURN_IF_ERROR(check("context", recipe.context, 32, kMost));
  const int64_t room = recipe.context / 8;
  REPRO_RETURN_IF_ERROR(check("passkey_len", recipe.passkey_len, 1, room));
  REPRO_RETURN_IF_ERROR(check("value_len", recipe.value_len, 1, room));
  if (recipe.name.empty() || recipe.stages.empty()) {
    return absl::InvalidArgumentError("there is no name or no stage");
  }
  // The shortest sequence that holds an item with its question.
  const int64_t least = std::max<int64_t>(
      16, 5 + 2 * std::max(recipe.passkey_len + 1, recipe.value_len));
  for (size_t i = 0; i < recipe.stages.size(); ++i) {
    const Stage& stage = recipe.stages[i];
    const std::string of = absl::StrCat("stage ", i, ": ");
    REPRO_RETURN_IF_ERROR(check(of + "steps", stage.steps, 1, kMost));
    REPRO_RETURN_IF_ERROR(check(of + "tokens", stage.tokens, 1, kMost));
    REPRO_RETURN_IF_ERROR(
        check(of + "number of lengths", stage.lengths.size(), 1, 1000));
    for (const int64_t length : stage.lengths) {
      REPRO_RETURN_IF_ERROR(
          check(of + "length", length, least, recipe.context));
    }
    REPRO_RETURN_IF_ERROR(check(of + "max_needles", stage.max_needles, 1,
                                Vocabulary::kNumOrdinals));
    REPRO_RETURN_IF_ERROR(check(of + "max_pairs", stage.max_pairs, 1, kMost));
    REPRO_RETURN_IF_ERROR(check(of + "max_period", stage.max_period, 4, kMost));
    REPRO_RETURN_IF_ERROR(check(of + "max_copy", stage.max_copy, 4, kMost));
    double total = 0;
    for (const auto& [name, share] : stage.mixture) {
      bool known = name == TaskName(Task::kText);
      for (const Task task : RecallTasks()) known |= name == TaskName(task);
      if (!known || !(share >= 0)) {
        return absl::InvalidArgumentError(
            absl::StrCat(of, "mixture has ", name, " = ", share,
                         ", expected a task and its share >= 0"));
      }
      total += share;
    }
    if (!(total > 0 && std::isfinite(total)) ||
        !(stage.max_question_share >= 0 && stage.max_question_share <= 1)) {
      return absl::InvalidArgumentError(absl::StrCat(
          of, "the mixture's shares sum to ", total, ", max_question_share is ",
          stage.max_question_share, ": expected more than 0, and 0 to 1"));
    }
  }
  if (recipe.symmetric_start &&
      recipe.model.num_kv_heads != recipe.model.num_heads) {
    return absl::InvalidArgumentError(
        "symmetric_start needs kv_heads equal to heads");
  }
  return absl::OkStatus();
}

}  // namespace

int64_t Recipe::steps() const {
  int64_t sum = 0;
  for (const Stage& stage : stages) sum += stage.steps;
  return sum;
}

absl::StatusOr<Recipe> FindRecipe(absl::string_view name) {
  if (name == "testbed") return Large();
  if (name == "testbed_small") return Small();
  return absl::InvalidArgumentError(absl::StrCat(
      "there is no recipe ", name, "; known: testbed, testbed_small"));
}

std::string RecipeJson(const Recipe& recipe) {
  nlohmann::json stages = nlohmann::json::array();
  for (const Stage& stage : recipe.stages) {
    stages.push_back({{"steps", stage.steps},
                      {"tokens", stage.tokens},
                      {"lengths", stage.lengths},
                      {"mixture", stage.mixture},
                      {"max_needles", stage.max_needles},
                      {"max_pairs", stage.max_pairs},
                      {"max_question_share", stage.max_question_share},
                      {"max_period", stage.max_period},
                      {"max_copy", stage.max_copy}});
  }
  const LlamaConfig& model = recipe.model;
  const nlohmann::json json = {
      {"version", 1},  // of the data and the training code
      {"name", recipe.name},
      {"vocabulary",
       {{"keys", recipe.vocabulary.num_keys},
        {"values", recipe.vocabulary.num_values},
        {"text", recipe.vocabulary.num_text}}},
      {"model",
       {{"dim", model.dim},
        {"layers", model.num_layers},
        {"heads", model.num_heads},
        {"kv_heads", model.num_kv_heads},
        {"ffn_dim", model.ffn_dim},
        {"rope_base", model.rope_base},
        {"norm_eps", model.norm_eps},
        {"init_std", model.init_std},
        {"tie_embeddings", model.tie_embeddings}}},
      {"context", recipe.context},
      {"embedding_offset", recipe.embedding_offset},
      {"symmetric_start", recipe.symmetric_start},
      {"passkey_len", recipe.passkey_len},
      {"value_len", recipe.value_len},
      {"stages", stages},
      {"text_weight", recipe.text_weight},
      {"rate", recipe.rate},
      {"beta2", recipe.beta2},
      {"weight_decay", recipe.weight_decay},
      {"warmup_steps", recipe.warmup_steps},
      {"final_rate", recipe.final_rate},
      {"clip_norm", recipe.clip_norm},
      {"seed", recipe.seed}};
  return json.dump(2);
}

absl::StatusOr<Recipe> ParseRecipe(absl::string_view json,
                                   const std::string& path) {
  Recipe recipe;
  try {
    const nlohmann::json given = nlohmann::json::parse(json);
    const auto read = [](const nlohmann::json& from, const char* name,
                         auto* value) {
      if (from.contains(name)) from.at(name).get_to(*value);
    };
    read(given, "name", &recipe.name);
    const nlohmann::json none = nlohmann::json::object();
    const nlohmann::json vocabulary = given.value("vocabulary", none);
    read(vocabulary, "keys", &recipe.vocabulary.num_keys);
    read(vocabulary, "values", &recipe.vocabulary.num_values);
    read(vocabulary, "text", &recipe.vocabulary.num_text);
    const nlohmann::json from = given.value("model", none);
    LlamaConfig& model = recipe.model;
    read(from, "dim", &model.dim);
    read(from, "layers", &model.num_layers);
    read(from, "heads", &model.num_heads);
    model.num_kv_heads = model.num_heads;
    read(from, "kv_heads", &model.num_kv_heads);
    read(from, "ffn_dim", &model.ffn_dim);
    read(from, "rope_base", &model.rope_base);
    read(from, "norm_eps", &model.norm_eps);
    read(from, "init_std", &model.init_std);
    read(from, "tie_embeddings", &model.tie_embeddings);
    model.vocab_size = recipe.vocabulary.size();
    read(given, "context", &recipe.context);
    read(given, "embedding_offset", &recipe.embedding_offset);
    read(given, "symmetric_start", &recipe.symmetric_start);
    read(given, "passkey_len", &recipe.passkey_len);
    read(given, "value_len", &recipe.value_len);
    for (const nlohmann::json& one :
         given.value("stages", nlohmann::json::array())) {
      Stage& stage = recipe.stages.emplace_back();
      read(one, "steps", &stage.steps);
      read(one, "tokens", &stage.tokens);
      read(one, "lengths", &stage.lengths);
      read(one, "mixture", &stage.mixture);
      read(one, "max_needles", &stage.max_needles);
      read(one, "max_pairs", &stage.max_pairs);
      read(one, "max_question_share", &stage.max_question_share);
      read(one, "max_period", &stage.max_period);
      read(one, "max_copy", &stage.max_copy);
    }
    read(given, "text_weight", &recipe.text_weight);
    read(given, "rate", &recipe.rate);
    read(given, "beta2", &recipe.beta2);
    read(given, "weight_decay", &recipe.weight_decay);
    read(given, "warmup_steps", &recipe.warmup_steps);
    read(given, "final_rate", &recipe.final_rate);
    read(given, "clip_norm", &recipe.clip_norm);
    read(given, "seed", &recipe.seed);
    // A name that was not read would silently do nothing.
    const std::string unknown =
        UnknownName(given, nlohmann::json::parse(RecipeJson(recipe)));
    if (!unknown.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": a recipe has no \"", unknown, "\""));
    }
  } catch (const nlohmann::json::exception& error) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", error.what()));
  }
  const absl::Status status = ValidateRecipe(recipe);
  if (!status.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": ", status.message()));
  }
  return recipe;
}

std::string RecipeDigest(const Recipe& recipe) {
  return Sha256(RecipeJson(recipe));
}

TrainingBatch MakeTrainingBatch(const Recipe& recipe, int64_t step) {
  const Stage& stage = StageOf(recipe, step);
  at::Generator generator = MakeGenerator(recipe.seed, kBatches + step);
  auto* random = generator.get<at::CPUGeneratorImpl>();
  at::uniform_real_distribution<double> uniform(0, 1);
  // One of 1 ... most.
  const auto draw = [&] {
    const std::lock_guard<std::mutex> lock(random->mutex_);
    return uniform(random);
  };
  const auto up_to = [&](int64_t most) {
    return 1 + std::min(static_cast<int64_t>(draw() * most), most - 1);
  };
  SequenceConfig config;
  config.vocabulary = recipe.vocabulary;
  config.length = stage.lengths.at(up_to(stage.lengths.size()) - 1);
  const int64_t rows = std::max<int64_t>(1, stage.tokens / config.length);
  double total = 0;
  for (const auto& [name, share] : stage.mixture) total += share;
  std::vector<Task> tasks = RecallTasks();
  tasks.push_back(Task::kText);
  std::vector<at::Tensor> tokens, answers;
  for (int64_t row = 0; row < rows; ++row) {
    double at = draw() * total;
    config.task = Task::kText;
    for (const Task task : tasks) {
      const auto share = stage.mixture.find(TaskName(task));
      if (share == stage.mixture.end()) continue;
      config.task = task;
      if (at < share->second) break;
      at -= share->second;
    }
    config.num_items = 1;
    config.num_questions = 0;
    config.answer_len = 1;
    switch (config.task) {
      case Task::kPasskey:
      case Task::kKeyValue: {
        const bool passkey = config.task == Task::kPasskey;
        config.answer_len = passkey ? recipe.passkey_len : recipe.value_len;
        config.num_items = up_to(
            MostItems(config, passkey ? stage.max_needles : stage.max_pairs));
        const int64_t items = TokensBesidesText(config) - 1;
        const int64_t room = config.length - 1 - items / 2;
        const int64_t want =
            static_cast<int64_t>((draw() * stage.max_question_share) *
                                 static_cast<double>(config.length));
        config.num_questions =
            std::max(config.num_items,
                     std::min(room, want) * 2 * config.num_items / items);
        break;
      }
      case Task::kInduction:
        config.answer_len =
            3 + up_to(std::min(stage.max_period, (config.length - 1) / 2) - 3);
        break;
      case Task::kCopy:
        config.answer_len =
            3 +
            up_to(std::min(stage.max_copy, (config.length - 1) / 2 - 1) - 3);
        break;
      case Task::kText:
        break;
    }
    Sequences one = MakeSequences(config, 1, generator);
    tokens.push_back(std::move(one.tokens));
    answers.push_back(std::move(one.answers));
  }
  return {at::cat(tokens), at::cat(answers).ge(0)};
}

SequenceConfig EvaluationConfig(const Recipe& recipe, Task task, int64_t length,
                                int64_t num_questions) {
  TORCH_CHECK(!recipe.stages.empty(), "recipe ", recipe.name, ": no stage");
  const Stage& last = recipe.stages.back();
  SequenceConfig config;
  config.vocabulary = recipe.vocabulary;
  config.task = task;
  config.length = length;
  switch (task) {
    case Task::kPasskey:
    case Task::kKeyValue: {
      const bool passkey = task == Task::kPasskey;
      config.answer_len = passkey ? recipe.passkey_len : recipe.value_len;
      config.num_items =
          MostItems(config, passkey ? last.max_needles : last.max_pairs);
      config.num_questions = num_questions;
      break;
    }
    case Task::kInduction:
      config.answer_len = std::max<int64_t>(1, (length - 1) / 4);
      break;
    case Task::kCopy:
      config.answer_len = std::clamp<int64_t>(length / 8, 1, last.max_copy);
      break;
    case Task::kText:
      break;
  }
  return config;
}

}  // namespace repro::testbed
