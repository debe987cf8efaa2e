// Sequences of unequal length as batches.
#ifndef REPRO_COMMON_ENCODER_BATCHING_H_
#define REPRO_COMMON_ENCODER_BATCHING_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace repro::encoder {

struct PaddedBatch {
  at::Tensor tokens;  // int64 [batch, seq_len]
  at::Tensor mask;    // bool [batch, seq_len], true for tokens
};

// Sequences cut to max_length (0: not cut) and padded on the right to the
// longest, at least 1; `pad_to` > 0 pads to that length instead.
PaddedBatch PadSequences(const std::vector<std::vector<int32_t>>& sequences,
                         int64_t max_length, int64_t pad_id,
                         int64_t pad_to = 0);

// The same for those of `sequences` that `rows` names.
PaddedBatch PadSequences(const std::vector<std::vector<int32_t>>& sequences,
                         const std::vector<int64_t>& rows, int64_t max_length,
                         int64_t pad_id, int64_t pad_to = 0);

struct LengthBatchingOptions {
  // A batch holds at most batch_size sequences (0: any number) and at most
  // max_tokens tokens with padding (0: any number; a longer sequence is a batch
  // of its own).
  int64_t batch_size = 32;
  int64_t max_tokens = 0;
  // Sequences are sorted by length within buckets of this many batches of a
  // random order: more is less padding, less is more random. 0: no sorting.
  int64_t bucket_batches = 50;
};

// One epoch's batches as indices into `lengths`, each index once, in an order
// that depends on `seed` and `epoch` alone.
std::vector<std::vector<int64_t>> LengthBatches(
    const std::vector<int64_t>& lengths, const LengthBatchingOptions& options,
    uint64_t seed, int64_t epoch);

}  // namespace repro::encoder

#endif  // REPRO_COMMON_ENCODER_BATCHING_H_
