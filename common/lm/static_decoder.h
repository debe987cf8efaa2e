// Greedy decoding with nothing left to the CPU: a whole step of a language
// model over a cache of fixed size, recorded once on a GPU (kernels/graph) and
// replayed for each token. On the CPU it computes the same, step by step.
//
//   StaticDecoder decoder(*model, /*batch=*/1, /*capacity=*/4096);
//   decoder.Prefill(0, prompt);
//   for (...) { decoder.Step(); use decoder.tokens(); }
#ifndef REPRO_COMMON_LM_STATIC_DECODER_H_
#define REPRO_COMMON_LM_STATIC_DECODER_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "common/lm/model.h"
#include "kernels/graph/graph.h"

namespace repro::lm {

class StaticDecoder {
 public:
  // Room for `capacity` tokens of each of `batch` sequences, which are empty at
  // first. The model outlives the decoder and its weights are dense. Throws
  // c10::Error (out of memory, a quantised weight).
  StaticDecoder(const LanguageModel& model, int64_t batch, int64_t capacity);
  StaticDecoder(const StaticDecoder&) = delete;
  StaticDecoder& operator=(const StaticDecoder&) = delete;

  // Empties sequence `sequence` and reads tokens [n] int64, 0 < n <= capacity,
  // into it, `chunk` at a time. tokens() and logits() of the sequence are then
  // those that follow.
  void Prefill(int64_t sequence, const at::Tensor& tokens,
               int64_t chunk = 8192);

  // Takes tokens() in and replaces tokens() and logits() by what follows, for
  // all sequences. No sequence may be full: that is checked by the steps
  // counted since Prefill, without waiting for the device.
  void Step();

  const at::Tensor& tokens() const { return tokens_; }  // [batch] int64
  const at::Tensor& logits() const {
    return logits_;
  }  // [batch, vocab] float32
  const at::Tensor& lengths() const { return lengths_; }  // [batch] int32

  // Declares that each sequence holds `length` tokens, whatever lies in
  // caches(): for measurements, which need no prompt.
  void SetLength(int64_t length);

  // Keys and values of each layer in turn, [batch, capacity, num_kv_heads,
  // head_dim] each.
  const std::vector<at::Tensor>& caches() const { return caches_; }

 private:
  void RunStep();

  const LanguageModel& model_;
  const int64_t batch_, capacity_;
  std::vector<int64_t> known_lengths_;
  std::vector<at::Tensor> caches_;
  at::Tensor page_table_, lengths_, tokens_, logits_;
  at::Tensor qkv_, hidden_, cos_, sin_;
  std::unique_ptr<CapturedGraph> graph_;
};

}  // namespace repro::lm

#endif  // REPRO_COMMON_LM_STATIC_DECODER_H_
