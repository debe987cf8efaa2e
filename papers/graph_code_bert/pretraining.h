// A small GraphCodeBERT: pre-training on CodeTrans' functions, and what it is
// worth for finding a function's translation.
#ifndef REPRO_PAPERS_GRAPH_CODE_BERT_PRETRAINING_H_
#define REPRO_PAPERS_GRAPH_CODE_BERT_PRETRAINING_H_

#include <c10/core/Device.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "papers/graph_code_bert/graph_input.h"
#include "papers/graph_code_bert/released.h"

namespace repro::graph_code_bert {

// What is left out of the full model.
enum class Arm {
  kFull,
  kNoEdgePrediction,
  kNoNodeAlignment,
  kNoDataFlow,     // no nodes at all: masked language model alone
  kShuffledEdges,  // the control: edges between nodes drawn at random
};

// "full", "no_edge_prediction", "no_node_alignment", "no_data_flow",
// "shuffled_edges".
const char* ArmName(Arm arm);
absl::StatusOr<Arm> ParseArm(const std::string& name);

struct PretrainingOptions {
  int64_t vocab_size = 8000;
  int64_t dim = 256;
  int64_t num_layers = 4;
  int64_t num_heads = 4;
  int64_t code_length = 192;
  int64_t data_flow_length = 64;
  double dropout = 0.1;
  double node_share = 0.2;  // V_s of the structure objectives
  // Their inner products over sqrt(dim); the paper's are not scaled.
  bool scaled_products = false;
  int64_t batch_size = 64;
  int64_t pretraining_steps = 1500;
  double pretraining_rate = 5e-4;
  int64_t search_steps = 300;
  double search_rate = 2e-4;
  double warmup = 0.1;  // of the steps, then linearly to 0
};

// Functions of both languages, each pair at one index.
struct PretrainingData {
  int64_t vocab_size = 0;
  std::vector<GraphInput> train_java, train_cs, test_java, test_cs;
};

// Trains the vocabulary on the training functions and reads all graphs. A
// function whose graph takes too long becomes an empty input. Errors: those of
// BpeTrainer.
absl::StatusOr<PretrainingData> PreparePretraining(
    const Columns& train, const Columns& test,
    const PretrainingOptions& options);

// Pre-trains an arm, trains its search vectors on the training pairs, and
// returns the mean reciprocal rank of each Java test function's translation
// among all C# test functions. Arms of one seed share initial values and the
// order of batches. progress(share done) is called now and then; false cancels.
absl::StatusOr<double> RetrievalAfterPretraining(
    const PretrainingData& data, Arm arm, const PretrainingOptions& options,
    uint64_t seed, c10::Device device,
    const std::function<bool(double)>& progress);

}  // namespace repro::graph_code_bert

#endif  // REPRO_PAPERS_GRAPH_CODE_BERT_PRETRAINING_H_
