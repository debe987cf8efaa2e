#include "common/testbed/testbed.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "common/data/io.h"
#include "common/lm/dense_state.h"
#include "common/tensor/generator.h"
#include "common/tensor/testing.h"
#include "common/testbed/data.h"
#include "common/testbed/evaluate.h"
#include "common/testbed/recipe.h"
#include "common/testbed/training.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace repro::testbed {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string Folder() {
  std::string pattern = testing::TempDir() + "/testbed_XXXXXX";
  EXPECT_NE(mkdtemp(pattern.data()), nullptr);
  return pattern;
}

std::vector<int64_t> Row(const at::Tensor& tensor, int64_t row) {
  const at::Tensor values = tensor[row].contiguous();
  const int64_t* data = values.const_data_ptr<int64_t>();
  return {data, data + values.numel()};
}

// --- Sequences ---

SequenceConfig Config(Task task, int64_t length) {
  SequenceConfig config;
  config.vocabulary.num_keys = 16;
  config.vocabulary.num_values = 12;
  config.vocabulary.num_text = 9;
  config.task = task;
  config.length = length;
  return config;
}

// What a reader finds without knowing how sequences are made: the tokens after
// the earlier occurrence of the question's tokens.
void CheckRecall(const SequenceConfig& config, const Sequences& sequences,
                 int64_t row, const std::vector<int64_t>& lead_symbols) {
  const std::vector<int64_t> tokens = Row(sequences.tokens, row);
  const std::vector<int64_t> answers = Row(sequences.answers, row);
  const std::vector<int64_t> places = Row(sequences.places, row);
  ASSERT_EQ(static_cast<int64_t>(tokens.size()), config.length);
  const int64_t m = config.answer_len;
  const int64_t item = m + static_cast<int64_t>(lead_symbols.size());
  const int64_t questions = places.size();
  ASSERT_EQ(sequences.prompt_length, config.length - questions * item);
  for (int64_t t = 0; t < sequences.prompt_length; ++t) {
    EXPECT_EQ(answers[t], -1);
  }
  for (int64_t q = 0; q < questions; ++q) {
    const int64_t begin = sequences.prompt_length + q * item;
    ASSERT_GE(places[q], 1);
    ASSERT_LE(places[q] + item, sequences.prompt_length);
    for (int64_t i = 0; i < item; ++i) {
      const bool lead = i < item - m;
      EXPECT_EQ(answers[begin + i], lead ? -1 : q);
      if (lead && lead_symbols[i] >= 0) {
        EXPECT_EQ(tokens[places[q] + i], lead_symbols[i]);
        if (i > 0 || lead_symbols[i] != Vocabulary::kNeedle) {
          EXPECT_EQ(tokens[begin + i], lead_symbols[i]);
        }
      } else {
        EXPECT_EQ(tokens[begin + i], tokens[places[q] + i]);
      }
    }
  }
}

TEST(SequencesTest, PasskeysAreAskedForByTheirOrdinals) {
  SequenceConfig config = Config(Task::kPasskey, 200);
  config.num_items = 10;
  config.answer_len = 4;
  const Sequences sequences = MakeSequences(config, 20, MakeGenerator(1));
  for (int64_t row = 0; row < 20; ++row) {
    CheckRecall(config, sequences, row, {Vocabulary::kNeedle, -1});
    const std::vector<int64_t> tokens = Row(sequences.tokens, row);
    EXPECT_EQ(tokens[0], Vocabulary::kBegin);
    EXPECT_EQ(std::count(tokens.begin(), tokens.end(), Vocabulary::kNeedle),
              10);
    EXPECT_EQ(std::count(tokens.begin(), tokens.end(), Vocabulary::kAsk), 10);
    std::map<int64_t, int> ordinals;
    int64_t words = 0, text = 0;
    for (const int64_t token : tokens) {
      if (token >= 8 && token < 18) ++ordinals[token];
      words += token >= 18 && token < 44;
      text += token >= config.vocabulary.first_text();
      EXPECT_LT(token, config.vocabulary.size());
    }
    EXPECT_EQ(ordinals.size(), 10);
    for (const auto& [ordinal, count] : ordinals) EXPECT_EQ(count, 2);
    EXPECT_EQ(words, 2 * 10 * 4);
    EXPECT_EQ(text, 200 - TokensBesidesText(config));
  }
}

TEST(SequencesTest, PairsHaveDistinctKeys) {
  SequenceConfig config = Config(Task::kKeyValue, 90);
  config.num_items = 16;
  config.num_questions = 5;
  config.answer_len = 2;
  const Sequences sequences = MakeSequences(config, 20, MakeGenerator(2));
  for (int64_t row = 0; row < 20; ++row) {
    CheckRecall(config, sequences, row, {-1});
    std::set<int64_t> keys;
    const std::vector<int64_t> tokens = Row(sequences.tokens, row);
    for (int64_t t = 0; t < sequences.prompt_length; ++t) {
      if (tokens[t] >= 44 && tokens[t] < 60) {
        EXPECT_TRUE(keys.insert(tokens[t]).second);
      }
    }
    EXPECT_EQ(keys.size(), 16);
    const std::vector<int64_t> places = Row(sequences.places, row);
    EXPECT_EQ(std::set<int64_t>(places.begin(), places.end()).size(), 5);
  }
}

TEST(SequencesTest, MoreQuestionsThanItemsGoRound) {
  SequenceConfig config = Config(Task::kKeyValue, 60);
  config.num_items = 4;
  config.num_questions = 10;
  const Sequences sequences = MakeSequences(config, 5, MakeGenerator(3));
  for (int64_t row = 0; row < 5; ++row) {
    CheckRecall(config, sequences, row, {-1});
    const std::vector<int64_t> places = Row(sequences.places, row);
    for (int64_t round = 0; round < 2; ++round) {
      EXPECT_EQ(std::set<int64_t>(places.begin() + 4 * round,
                                  places.begin() + 4 * round + 4)
                    .size(),
                4);
    }
  }
}

TEST(SequencesTest, CopyRepeatsTheMarkedSegment) {
  SequenceConfig config = Config(Task::kCopy, 80);
  config.answer_len = 30;
  const Sequences sequences = MakeSequences(config, 10, MakeGenerator(4));
  for (int64_t row = 0; row < 10; ++row) {
    CheckRecall(config, sequences, row, {Vocabulary::kCopy});
  }
}

TEST(SequencesTest, InductionRepeatsToTheEnd) {
  SequenceConfig config = Config(Task::kInduction, 24);
  config.answer_len = 7;
  const Sequences sequences = MakeSequences(config, 10, MakeGenerator(5));
  EXPECT_EQ(sequences.prompt_length, 8);
  EXPECT_EQ(sequences.places.sizes(), at::IntArrayRef({10, 3}));
  for (int64_t row = 0; row < 10; ++row) {
    const std::vector<int64_t> tokens = Row(sequences.tokens, row);
    const std::vector<int64_t> answers = Row(sequences.answers, row);
    for (int64_t t = 1; t < 24; ++t) {
      EXPECT_GE(tokens[t], Vocabulary::kFirstKey);
      if (t >= 8) {
        EXPECT_EQ(tokens[t], tokens[t - 7]);
      }
      // Positions 1-7, 8-14, 15-21, 22-23; 8 can't be known.
      EXPECT_EQ(answers[t], t < 9 ? -1 : (t - 1) / 7 - 1) << t;
    }
  }
}

TEST(SequencesTest, DepthPlacesTheFirstQuestionsItem) {
  for (const double depth : {0.0, 0.25, 1.0}) {
    SequenceConfig config = Config(Task::kKeyValue, 103);
    config.num_items = 1;
    config.depth = depth;
    const Sequences sequences = MakeSequences(config, 3, MakeGenerator(6));
    const int64_t text = 103 - TokensBesidesText(config);
    for (int64_t row = 0; row < 3; ++row) {
      EXPECT_THAT(Row(sequences.places, row),
                  ElementsAre(1 + static_cast<int64_t>(depth * text)));
    }
  }
  // Among others at random places, the first one stays within their room.
  SequenceConfig config = Config(Task::kPasskey, 300);
  config.num_items = 10;
  config.depth = 0;
  const Sequences sequences = MakeSequences(config, 3, MakeGenerator(7));
  for (int64_t row = 0; row < 3; ++row) {
    EXPECT_LE(sequences.places[row][0].item<int64_t>(), 1 + 9 * 3);
  }
}

TEST(SequencesTest, TextHasNoQuestions) {
  const Sequences sequences =
      MakeSequences(Config(Task::kText, 50), 4, MakeGenerator(8));
  EXPECT_EQ(sequences.prompt_length, 50);
  EXPECT_EQ(sequences.places.size(1), 0);
  EXPECT_EQ((sequences.answers >= 0).sum().item<int64_t>(), 0);
}

TEST(SequencesTest, SeedsDecide) {
  SequenceConfig config = Config(Task::kPasskey, 64);
  config.num_items = 3;
  const auto make = [&](uint64_t seed) {
    return MakeSequences(config, 8, MakeGenerator(seed)).tokens;
  };
  EXPECT_THAT(make(9), IsIdenticalTo(make(9)));
  EXPECT_FALSE(make(9).equal(make(10)));
}

TEST(SequencesTest, ExactFitHasNoText) {
  SequenceConfig config = Config(Task::kKeyValue, 1 + 2 * 8 * 2);
  config.num_items = 8;
  EXPECT_EQ(TokensBesidesText(config), config.length);
  CheckRecall(config, MakeSequences(config, 1, MakeGenerator(11)), 0, {-1});
}

TEST(SequencesTest, BadSizes) {
  const auto error = [](const SequenceConfig& config,
                        int64_t count = 1) -> std::string {
    try {
      MakeSequences(config, count, MakeGenerator(1));
    } catch (const c10::Error& e) {
      return e.what_without_backtrace();
    }
    return "no error";
  };
  SequenceConfig config = Config(Task::kKeyValue, 32);
  config.num_items = 8;
  EXPECT_THAT(error(config), HasSubstr("length 32, expected at least 33"));
  config.num_items = 17;
  EXPECT_THAT(error(config), HasSubstr("num_items 17, expected 1 to 16"));
  config.num_items = 0;
  EXPECT_THAT(error(config), HasSubstr("num_items 0, expected 1 to 16"));
  config = Config(Task::kPasskey, 500);
  config.num_items = 11;
  EXPECT_THAT(error(config), HasSubstr("num_items 11, expected 1 to 10"));
  config.num_items = 2;
  config.num_questions = -1;
  EXPECT_THAT(error(config), HasSubstr("num_questions -1"));
  config.num_questions = 1;
  config.answer_len = 0;
  EXPECT_THAT(error(config), HasSubstr("answer_len 0"));
  config.answer_len = 1;
  config.depth = 1.5;
  EXPECT_THAT(error(config), HasSubstr("depth 1.5"));
  config.depth = NAN;
  EXPECT_THAT(error(config), HasSubstr("depth nan"));
  EXPECT_THAT(error(Config(Task::kText, 0)), HasSubstr("length 0"));
  EXPECT_THAT(error(Config(Task::kText, 5), -1), HasSubstr("count -1"));
  config = Config(Task::kInduction, 9);
  config.answer_len = 8;
  EXPECT_THAT(error(config), HasSubstr("length 9, expected at least 10"));
  config = Config(Task::kText, 5);
  config.vocabulary.num_text = 0;
  EXPECT_THAT(error(config), HasSubstr("0 text symbols"));
}

// --- Text ---

TEST(TextModelTest, ProbabilitiesSumToOne) {
  const TextModel text(7);
  for (const std::vector<int64_t>& before :
       std::vector<std::vector<int64_t>>{{}, {3}, {3, 6}}) {
    double sum = 0;
    for (int64_t next = 0; next < 7; ++next) {
      sum += text.Probability(before, next);
    }
    EXPECT_NEAR(sum, 1, 1e-12);
  }
}

TEST(TextModelTest, WorkedProbability) {
  // 3 symbols: Zipf 6/11, 3/11, 2/11. After 2 (and 1 before it), rank of 0 in
  // the second law: (0 - 14 - 13) mod 3 = 0.
  const TextModel text(3);
  EXPECT_NEAR(text.Probability({}, 1), 3.0 / 11, 1e-12);
  EXPECT_NEAR(text.Probability({2}, 0), 0.5 * 6 / 11 + 0.5 * 6 / 11, 1e-12);
  EXPECT_NEAR(text.Probability({2, 1}, 1), 0.75 * (3.0 / 11) + 0.25, 1e-12);
  // After 1: (0 - 7 - 13) mod 3 = 1.
  EXPECT_NEAR(text.Probability({1, 2}, 0), 0.75 * 0.5 * (6.0 + 3) / 11, 1e-12);
}

TEST(TextModelTest, DrawsFollowTheProbabilities) {
  constexpr int64_t kCount = 40000;
  const TextModel text(5);
  at::Generator generator = MakeGenerator(12);
  std::vector<int64_t> drawn;
  text.Draw(kCount, &generator, &drawn);
  std::map<std::vector<int64_t>, std::map<int64_t, int64_t>> counts;
  for (int64_t t = 2; t < kCount; ++t) {
    ++counts[{drawn[t - 1], drawn[t - 2]}][drawn[t]];
  }
  EXPECT_EQ(counts.size(), 25);
  for (const auto& [before, next] : counts) {
    int64_t total = 0;
    for (const auto& [symbol, count] : next) total += count;
    for (int64_t symbol = 0; symbol < 5; ++symbol) {
      const double p = text.Probability(before, symbol);
      const auto it = next.find(symbol);
      const double seen = it == next.end() ? 0 : it->second;
      EXPECT_NEAR(seen / total, p, 5 * std::sqrt(p * (1 - p) / total));
    }
  }
}

// --- Recipes ---

// A model that a test trains in a second.
Recipe Tiny() {
  Recipe recipe;
  recipe.name = "tiny";
  recipe.vocabulary.num_keys = 4;
  recipe.vocabulary.num_values = 4;
  recipe.vocabulary.num_text = 4;
  recipe.model.vocab_size = recipe.vocabulary.size();
  recipe.model.dim = 16;
  recipe.model.num_layers = 2;
  recipe.model.num_heads = 2;
  recipe.model.num_kv_heads = 2;
  recipe.model.ffn_dim = 16;
  recipe.context = 32;
  recipe.passkey_len = 1;
  Stage stage;
  stage.steps = 12;
  stage.tokens = 256;
  stage.lengths = {16, 32};
  stage.mixture = {{"passkey", 1},
                   {"key_value", 1},
                   {"induction", 1},
                   {"copy", 1},
                   {"text", 1}};
  stage.max_pairs = 4;
  stage.max_question_share = 0.5;
  recipe.stages = {stage, stage};
  recipe.rate = 1e-2;
  recipe.warmup_steps = 2;
  return recipe;
}

TEST(RecipeTest, NamedOnesSurviveJson) {
  for (const char* name : {"testbed", "testbed_small"}) {
    const absl::StatusOr<Recipe> recipe = FindRecipe(name);
    ASSERT_TRUE(recipe.ok());
    const absl::StatusOr<Recipe> parsed =
        ParseRecipe(RecipeJson(*recipe), "file");
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(RecipeJson(*parsed), RecipeJson(*recipe));
    EXPECT_EQ(RecipeDigest(*parsed), RecipeDigest(*recipe));
  }
  // 64 heads in all, as studies of heads want them.
  const Recipe large = *FindRecipe("testbed");
  EXPECT_EQ(large.model.num_layers * large.model.num_kv_heads, 64);
  EXPECT_EQ(large.vocabulary.size(), 512);
  EXPECT_EQ(FindRecipe("other").status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(RecipeTest, DigestDependsOnEveryNumber) {
  const Recipe recipe = Tiny();
  Recipe other = recipe;
  other.stages[1].max_copy += 1;
  EXPECT_NE(RecipeDigest(other), RecipeDigest(recipe));
  EXPECT_EQ(RecipeDigest(recipe).size(), 64);
}

TEST(RecipeTest, BadJson) {
  const auto error = [](const std::string& json) {
    const absl::StatusOr<Recipe> recipe = ParseRecipe(json, "r.json");
    EXPECT_EQ(recipe.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(recipe.status().message());
  };
  std::string good = RecipeJson(Tiny());
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string json = good;
    const size_t at = json.find(from);
    EXPECT_NE(at, std::string::npos);
    return json.replace(at, from.size(), to);
  };
  EXPECT_THAT(error(""), HasSubstr("r.json"));
  EXPECT_THAT(error("[1"), HasSubstr("r.json"));
  EXPECT_THAT(error("[]"), HasSubstr("r.json"));
  EXPECT_THAT(error("{}"), HasSubstr("context is 0"));
  EXPECT_THAT(error(with("\"rate\"", "\"rat\"")), HasSubstr("\"rat\""));
  EXPECT_THAT(error(with("\"steps\": 12", "\"steps\": 0")),
              HasSubstr("stage 0: steps is 0"));
  EXPECT_THAT(error(with("\"steps\": 12", "\"steps\": \"x\"")),
              HasSubstr("r.json"));
  EXPECT_THAT(error(with("\"copy\"", "\"coyp\"")), HasSubstr("coyp"));
  EXPECT_THAT(error(with("\"context\": 32", "\"context\": 40000000")),
              HasSubstr("context is 40000000"));
}

TEST(RecipeTest, BatchesComeFromTheStepAlone) {
  const Recipe recipe = Tiny();
  std::set<int64_t> lengths;
  for (int64_t step = 0; step < recipe.steps(); ++step) {
    const TrainingBatch batch = MakeTrainingBatch(recipe, step);
    const TrainingBatch again = MakeTrainingBatch(recipe, step);
    EXPECT_THAT(batch.tokens, IsIdenticalTo(again.tokens));
    EXPECT_THAT(batch.answers, IsIdenticalTo(again.answers));
    const int64_t length = batch.tokens.size(1);
    lengths.insert(length);
    EXPECT_EQ(batch.tokens.size(0), 256 / length);
    EXPECT_LT(batch.tokens.max().item<int64_t>(), recipe.vocabulary.size());
  }
  EXPECT_THAT(lengths, ElementsAre(16, 32));
  EXPECT_FALSE(MakeTrainingBatch(recipe, 0).tokens.equal(
      MakeTrainingBatch(recipe, recipe.stages[0].steps).tokens));
}

// --- Training ---

TEST(TrainingTest, LossIsThatOfItsParts) {
  const Recipe recipe = Tiny();
  const Llama model(recipe.model, Initializer(MakeGenerator(1)));
  TrainingBatch batch = MakeTrainingBatch(recipe, 0);
  const double answers = RecallLoss(model, batch, 0).item<double>();
  const double both = RecallLoss(model, batch, 0.5).item<double>();
  batch.answers = batch.answers.logical_not();
  batch.answers.select(1, 0).fill_(false);
  const double others = RecallLoss(model, batch, 0).item<double>();
  EXPECT_NEAR(both, answers + 0.5 * others, 1e-5);
  // Small weights predict every symbol with about the same probability.
  EXPECT_NEAR(answers, std::log(recipe.vocabulary.size()), 0.1);
}

TEST(TrainingTest, LossFallsAndResumeGivesTheSameModel) {
  const Recipe recipe = Tiny();
  TrainingOptions options;
  std::vector<double> losses;
  const absl::StatusOr<Trained> whole = TrainTestbed(recipe, options);
  ASSERT_TRUE(whole.ok()) << whole.status();
  EXPECT_EQ(whole->steps, 24);
  const Llama fresh(recipe.model, Initializer(MakeGenerator(recipe.seed)));
  const TrainingBatch batch = MakeTrainingBatch(recipe, 3);
  EXPECT_LT(RecallLoss(*whole->model, batch, 1).item<double>(),
            RecallLoss(fresh, batch, 1).item<double>() - 0.3);

  options.checkpoint_path = Folder() + "/c";
  int asked = 0;
  options.cancelled = [&] { return ++asked == 10; };
  EXPECT_EQ(TrainTestbed(recipe, options).status().code(),
            absl::StatusCode::kCancelled);
  options.cancelled = nullptr;
  const absl::StatusOr<Trained> resumed = TrainTestbed(recipe, options);
  ASSERT_TRUE(resumed.ok()) << resumed.status();
  const NamedTensors expected = whole->model->NamedParameters();
  const NamedTensors got = resumed->model->NamedParameters();
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i) {
    EXPECT_THAT(got[i].second, IsIdenticalTo(expected[i].second))
        << got[i].first;
  }
  EXPECT_EQ(resumed->metrics, whole->metrics);
}

TEST(TrainingTest, SymmetricStartTiesHeads) {
  Recipe recipe = Tiny();
  recipe.symmetric_start = true;
  recipe.embedding_offset = 3;
  recipe.rate = 0;
  recipe.final_rate = 0;
  recipe.stages.resize(1);
  recipe.stages[0].steps = 3;
  const absl::StatusOr<Trained> trained = TrainTestbed(recipe, {});
  ASSERT_TRUE(trained.ok()) << trained.status();
  at::Tensor qkv, output, embedding;
  for (const auto& [name, tensor] : trained->model->NamedParameters()) {
    if (name == "embedding") embedding = tensor;
    if (name == "layer1.qkv.weight") qkv = tensor;
    if (name == "layer1.output.weight") output = tensor;
  }
  EXPECT_THAT(qkv.narrow(0, 16, 16), IsIdenticalTo(qkv.narrow(0, 0, 16)));
  EXPECT_THAT(output, IsIdenticalTo(qkv.narrow(0, 32, 16).t()));
  EXPECT_NEAR(embedding.select(1, 0).mean().item<double>(), 3, 0.02);
}

// --- Saved models and recall under a policy ---

TEST(TestbedTest, SavedModelIsTheTrainedOne) {
  const Recipe recipe = Tiny();
  const std::string folder = Folder();
  EXPECT_EQ(LoadTestbed(recipe, folder, at::kCPU).status().code(),
            absl::StatusCode::kNotFound);
  const absl::Status saved = TrainAndSaveTestbed(recipe, folder, {});
  ASSERT_TRUE(saved.ok()) << saved;
  const absl::StatusOr<Testbed> testbed = LoadTestbed(recipe, folder, at::kCPU);
  ASSERT_TRUE(testbed.ok()) << testbed.status();
  EXPECT_EQ(testbed->model->config().max_positions, recipe.context);
  EXPECT_NE(access((folder + "/recipe.json").c_str(), R_OK), -1);
  EXPECT_EQ(access((folder + "/training.pt").c_str(), F_OK), -1);

  const absl::StatusOr<Trained> trained = TrainTestbed(recipe, {});
  ASSERT_TRUE(trained.ok());
  for (const auto& [name, value] : trained->metrics) {
    EXPECT_EQ(testbed->metrics.at(name), value) << name;
  }
  // Weights were rounded to bfloat16 (8 bits): logits are near.
  const at::Tensor tokens = MakeTrainingBatch(recipe, 0).tokens[0];
  const auto state = lm::MakeDenseState(testbed->model->config(), at::kCPU,
                                        testbed->model->dtype());
  EXPECT_THAT(
      testbed->model->Logits(
          testbed->model->Hidden({{tokens, state.get(), 0}})),
      IsCloseTo(trained->model->Forward(tokens.unsqueeze(0))[0], 2e-2, 2e-2));

  Recipe other = recipe;
  other.rate *= 2;
  const absl::Status status = LoadTestbed(other, folder, at::kCPU).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(status.message(), HasSubstr("another recipe"));
  ASSERT_TRUE(WriteFileAtomically(folder + "/training.json", "{").ok());
  EXPECT_EQ(LoadTestbed(recipe, folder, at::kCPU).status().code(),
            absl::StatusCode::kDataLoss);
}

class RecallTest : public testing::Test {
 protected:
  RecallTest() {
    lm::ModelConfig config;
    config.vocab_size = Tiny().vocabulary.size();
    config.hidden_size = 16;
    config.intermediate_size = 16;
    config.num_layers = 2;
    config.num_heads = 4;
    config.num_kv_heads = 2;
    config.head_dim = 4;
    config.max_positions = 64;
    model_ = lm::RandomModel(config, MakeGenerator(3), at::kCPU, at::kFloat);
    model_->mutable_weights().head.dense.mul_(100);
    factory_ = [this] {
      return lm::MakeDenseState(model_->config(), at::kCPU, at::kFloat);
    };
    sequences_.vocabulary = Tiny().vocabulary;
    sequences_.task = Task::kKeyValue;
    sequences_.num_items = 3;
    sequences_.length = 40;
  }

  std::unique_ptr<lm::LanguageModel> model_;
  lm::StateFactory factory_;
  SequenceConfig sequences_;
};

// One whole pass of the model is what reading in chunks and decoding amount to.
TEST_F(RecallTest, IsThatOfOnePass) {
  for (const Task task : RecallTasks()) {
    sequences_.task = task;
    sequences_.answer_len = task == Task::kInduction ? 15 : 2;
    const Sequences sequences = MakeSequences(sequences_, 5, MakeGenerator(4));
    ReadingOptions reading;
    reading.prompt_chunk = 7;
    reading.batch = 2;
    const absl::StatusOr<std::vector<Answer>> answers =
        AnswerQuestions(*model_, factory_, sequences, reading);
    ASSERT_TRUE(answers.ok()) << answers.status();
    ASSERT_EQ(static_cast<int64_t>(answers->size()), sequences.places.numel());
    int64_t right = 0;
    for (const Answer& answer : *answers) {
      const auto state = factory_();
      const at::Tensor tokens = sequences.tokens[answer.sequence];
      const at::Tensor log_p =
          model_->Logits(model_->Hidden({{tokens, state.get(), 0}}))
              .log_softmax(-1);
      double nats = 0;
      int64_t count = 0, good = 0;
      for (int64_t t = 1; t < sequences_.length; ++t) {
        if (sequences.answers[answer.sequence][t].item<int64_t>() !=
            answer.question) {
          continue;
        }
        const int64_t token = tokens[t].item<int64_t>();
        nats -= log_p[t - 1][token].item<double>();
        good += log_p[t - 1].argmax().item<int64_t>() == token;
        ++count;
      }
      EXPECT_EQ(answer.tokens, count);
      EXPECT_EQ(answer.right, good);
      EXPECT_NEAR(answer.nats, nats, 1e-3 * (1 + nats));
      right += good;
    }
    EXPECT_GE(right, 0);
  }
}

TEST_F(RecallTest, QuestionsOfAllTasksCountAlike) {
  SequenceConfig passkeys = sequences_;
  passkeys.task = Task::kPasskey;
  passkeys.answer_len = 2;
  const std::vector<Sequences> tasks = {
      MakeSequences(sequences_, 5, MakeGenerator(4)),
      MakeSequences(passkeys, 2, MakeGenerator(5))};
  RecallCell all;
  for (const Sequences& sequences : tasks) {
    const auto answers = AnswerQuestions(*model_, factory_, sequences);
    ASSERT_TRUE(answers.ok()) << answers.status();
    all.answers.insert(all.answers.end(), answers->begin(), answers->end());
  }
  const auto factory_of = [&](const Sequences&) { return factory_; };
  const auto recall = MeasureRecall(*model_, tasks, factory_of, {});
  ASSERT_TRUE(recall.ok()) << recall.status();
  EXPECT_DOUBLE_EQ(recall->accuracy, 100 * all.accuracy());
  EXPECT_DOUBLE_EQ(recall->nats, all.nats());
  EXPECT_EQ(MeasureRecall(*model_, {}, factory_of, {}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(RecallTest, CellsOfLengthsAndDepths) {
  RecallEvaluation evaluation;
  evaluation.sequences = sequences_;
  evaluation.lengths = {24, 40};
  evaluation.depths = {0, 1};
  evaluation.count = 3;
  const auto cells = EvaluateRecall(*model_, factory_, evaluation);
  ASSERT_TRUE(cells.ok()) << cells.status();
  ASSERT_EQ(cells->size(), 4);
  EXPECT_EQ((*cells)[1].length, 24);
  EXPECT_EQ((*cells)[1].depth, 1);
  for (const RecallCell& cell : *cells) {
    EXPECT_EQ(cell.answers.size(), 3);  // first questions only
    EXPECT_GT(cell.nats(), 0);
    EXPECT_GE(cell.token_accuracy(), cell.accuracy());
  }
  evaluation.depths.clear();
  const auto random = EvaluateRecall(*model_, factory_, evaluation);
  ASSERT_TRUE(random.ok());
  ASSERT_EQ(random->size(), 2);
  EXPECT_EQ((*random)[0].answers.size(), 9);
}

TEST_F(RecallTest, BadInput) {
  RecallEvaluation evaluation;
  evaluation.sequences = sequences_;
  evaluation.lengths = {4};
  EXPECT_EQ(EvaluateRecall(*model_, factory_, evaluation).status().code(),
            absl::StatusCode::kInvalidArgument);
  evaluation.lengths = {40};
  evaluation.reading.batch = 0;
  EXPECT_EQ(EvaluateRecall(*model_, factory_, evaluation).status().code(),
            absl::StatusCode::kInvalidArgument);
  evaluation.reading.batch = 1;
  evaluation.sequences.vocabulary = Vocabulary();
  const absl::Status status =
      EvaluateRecall(*model_, factory_, evaluation).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("vocabulary"));
  EXPECT_EQ(EvaluateRecall(*model_, [this] { return lm::MakePagedState({}); },
                           {sequences_, {40}, {}, 1})
                .status()
                .code(),
            absl::StatusCode::kInternal);
}

TEST(RecallCellTest, Shares) {
  RecallCell cell;
  cell.answers = {{0, 0, 0.1, 2, 2, 1.0}, {0, 1, 0.2, 2, 1, 3.0}};
  EXPECT_EQ(cell.accuracy(), 0.5);
  EXPECT_EQ(cell.token_accuracy(), 0.75);
  EXPECT_EQ(cell.nats(), 1);
  EXPECT_EQ(MeanAccuracy({cell, cell}), 0.5);
}

}  // namespace
}  // namespace repro::testbed
