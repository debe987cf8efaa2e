// Retrieval with one encoder of queries and one of code that meet in one space
// (Husain et al. 2019, section 4.1).
#ifndef REPRO_PAPERS_CODE_SEARCH_NET_RETRIEVER_H_
#define REPRO_PAPERS_CODE_SEARCH_NET_RETRIEVER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "common/encoder/sequence_encoder.h"
#include "papers/code_search_net/pairs.h"

namespace repro::code_search_net {

// The most frequent words of a corpus; ids 0 and 1 are padding and other words.
class Vocabulary {
 public:
  static constexpr int32_t kPadding = 0;
  static constexpr int32_t kUnknown = 1;

  // At most `size` entries with the two; of equally frequent words the smaller
  // one goes first.
  Vocabulary(const std::vector<std::vector<std::string>>& texts, int64_t size);

  int64_t size() const { return static_cast<int64_t>(ids_.size()) + 2; }
  std::vector<int32_t> Ids(const std::vector<std::string>& words) const;

 private:
  absl::flat_hash_map<std::string, int32_t> ids_;
};

struct RetrieverOptions {
  // SequenceEncoderConfig::ByName's. Learning rate, batch and loss are those of
  // the query encoder in the authors' hyperparameters: Adam 0.01 and the cosine
  // margin for the bag of words, 0.0005 for what has convolutions or
  // self-attention, 0.01 for the recurrent one, softmax for all of these.
  std::string query_encoder = "nbow";
  std::string code_encoder = "nbow";
  int64_t vocab_size = 10000;  // of each encoder
  int64_t max_query_length = 30;
  int64_t max_code_length = 200;
  int64_t max_epochs = 100;  // 500 in the paper
  int64_t patience = 5;      // epochs without a better validation MRR
  // Of a batch; the paper has 1000, and 450 with self-attention.
  int64_t batch_size = 450;
  double gradient_norm = 1;
  std::string device = "cpu";
  uint64_t seed = 0;
  // After each epoch; true stops with CancelledError.
  std::function<bool(int64_t epoch, double validation_mrr)> stop;
};

class Retriever {
 public:
  // Trains on the pairs' words (documentation against code) and keeps the
  // parameters of the epoch with the best MRR on `valid`, which is one batch of
  // candidates. InvalidArgument: an unknown encoder, fewer than two pairs in
  // either set, a size below 1. Errors of ParseDevice.
  static absl::StatusOr<Retriever> Train(const std::vector<Pair>& train,
                                         const std::vector<Pair>& valid,
                                         const RetrieverOptions& options);

  // Unit vectors, [texts, dim] row by row: of queries and of functions, whose
  // tokens are taken as in training.
  std::vector<float> EncodeQueries(
      const std::vector<std::vector<std::string>>& texts) const;
  std::vector<float> EncodeCode(
      const std::vector<std::vector<std::string>>& texts) const;
  int64_t dim() const;

  // The mean reciprocal rank in batches of `batch_size` pairs, the last one
  // dropped if it is not full; equal scores count against. `as_coded`: each
  // function ranks the batch's documentations, as the authors' released call
  // does; otherwise each documentation ranks the functions.
  absl::StatusOr<double> MeanReciprocalRank(const std::vector<Pair>& pairs,
                                            int64_t batch_size,
                                            bool as_coded) const;

  int64_t epochs() const { return epochs_; }

 private:
  Retriever() = default;

  RetrieverOptions options_;
  std::unique_ptr<Vocabulary> query_words_, code_words_;
  std::unique_ptr<encoder::SequenceEncoder> query_encoder_, code_encoder_;
  int64_t epochs_ = 0;
};

}  // namespace repro::code_search_net

#endif  // REPRO_PAPERS_CODE_SEARCH_NET_RETRIEVER_H_
