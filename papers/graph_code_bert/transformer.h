// The baseline of translation and refinement that is not pre-trained.
#ifndef REPRO_PAPERS_GRAPH_CODE_BERT_TRANSFORMER_H_
#define REPRO_PAPERS_GRAPH_CODE_BERT_TRANSFORMER_H_

#include <c10/core/Device.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace repro::graph_code_bert {

struct TransformerOptions {
  int64_t vocab_size = 8000;
  int64_t dim = 256;
  int64_t num_layers = 2;  // of encoder and decoder each
  int64_t max_length = 200;
  int64_t batch_size = 32;
  int64_t steps = 4000;
  double rate = 5e-4;
};

// An encoder-decoder trained from scratch on pairs of lines, and what it makes
// of other lines, greedily. Longer texts are cut. progress(share done) is
// called now and then; false cancels. InvalidArgument: unequally many sources
// and targets, or none.
absl::StatusOr<std::vector<std::string>> TrainAndTranslate(
    const std::vector<std::string>& sources,
    const std::vector<std::string>& targets,
    const std::vector<std::string>& to_translate,
    const TransformerOptions& options, uint64_t seed, c10::Device device,
    const std::function<bool(double)>& progress);

}  // namespace repro::graph_code_bert

#endif  // REPRO_PAPERS_GRAPH_CODE_BERT_TRANSFORMER_H_
