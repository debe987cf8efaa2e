#include "common/encoder/batching.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/randperm.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "common/tensor/generator.h"

namespace repro::encoder {
namespace {

// Streams of a seed.
constexpr uint64_t kSequences = 0;
constexpr uint64_t kBatches = 1;

std::vector<int64_t> Permutation(int64_t size, uint64_t seed, int64_t epoch,
                                 uint64_t use) {
  const at::Tensor order =
      at::randperm(size, MakeGenerator(MixSeed(seed, use), epoch), at::kLong);
  const int64_t* values = order.const_data_ptr<int64_t>();
  return {values, values + size};
}

}  // namespace

PaddedBatch PadSequences(const std::vector<std::vector<int32_t>>& sequences,
                         const std::vector<int64_t>& rows, int64_t max_length,
                         int64_t pad_id, int64_t pad_to) {
  const auto length = [&](int64_t row) {
    TORCH_CHECK(row >= 0 && row < static_cast<int64_t>(sequences.size()),
                "sequence ", row, " of ", sequences.size());
    const int64_t size = static_cast<int64_t>(sequences[row].size());
    return max_length > 0 ? std::min(size, max_length) : size;
  };
  int64_t longest = 1;
  for (const int64_t row : rows) longest = std::max(longest, length(row));
  if (pad_to > 0) {
    TORCH_CHECK(longest <= pad_to, "a sequence of ", longest,
                " tokens does not fit ", pad_to);
    longest = pad_to;
  }
  const int64_t batch = static_cast<int64_t>(rows.size());
  PaddedBatch out = {at::full({batch, longest}, pad_id, at::kLong),
                     at::zeros({batch, longest}, at::kBool)};
  int64_t* tokens = out.tokens.mutable_data_ptr<int64_t>();
  bool* mask = out.mask.mutable_data_ptr<bool>();
  for (const int64_t row : rows) {
    const int64_t size = length(row);
    std::copy_n(sequences[row].begin(), size, tokens);
    std::fill_n(mask, size, true);
    tokens += longest;
    mask += longest;
  }
  return out;
}

PaddedBatch PadSequences(const std::vector<std::vector<int32_t>>& sequences,
                         int64_t max_length, int64_t pad_id, int64_t pad_to) {
  std::vector<int64_t> rows(sequences.size());
  std::iota(rows.begin(), rows.end(), 0);
  return PadSequences(sequences, rows, max_length, pad_id, pad_to);
}

std::vector<std::vector<int64_t>> LengthBatches(
    const std::vector<int64_t>& lengths, const LengthBatchingOptions& options,
    uint64_t seed, int64_t epoch) {
  TORCH_CHECK(options.batch_size >= 0 && options.max_tokens >= 0 &&
                  options.batch_size + options.max_tokens > 0 &&
                  options.bucket_batches >= 0 && epoch >= 0,
              "batching: give batch_size or max_tokens, got ",
              options.batch_size, " and ", options.max_tokens,
              ", bucket_batches ", options.bucket_batches, ", epoch ", epoch);
  const int64_t count = static_cast<int64_t>(lengths.size());
  if (count == 0) return {};
  std::vector<int64_t> order = Permutation(count, seed, epoch, kSequences);

  int64_t batch_estimate = options.batch_size;
  if (batch_estimate == 0) {
    const int64_t total =
        std::accumulate(lengths.begin(), lengths.end(), int64_t{0});
    batch_estimate = std::max<int64_t>(
        1, options.max_tokens / std::max<int64_t>(1, total / count));
  }
  const int64_t bucket =
      std::min(count, options.bucket_batches * std::min(count, batch_estimate));
  for (int64_t begin = 0; bucket > 0 && begin < count; begin += bucket) {
    std::stable_sort(
        order.begin() + begin, order.begin() + std::min(count, begin + bucket),
        [&](int64_t a, int64_t b) { return lengths[a] < lengths[b]; });
  }

  std::vector<std::vector<int64_t>> batches(1);
  int64_t longest = 0;
  for (const int64_t i : order) {
    const int64_t size = static_cast<int64_t>(batches.back().size());
    const int64_t with = std::max(longest, lengths[i]);
    const bool full =
        (options.batch_size > 0 && size == options.batch_size) ||
        (options.max_tokens > 0 && (size + 1) * with > options.max_tokens);
    if (full && size > 0) {
      batches.emplace_back();
      longest = 0;
    }
    longest = std::max(longest, lengths[i]);
    batches.back().push_back(i);
  }

  std::vector<std::vector<int64_t>> out;
  out.reserve(batches.size());
  for (const int64_t i : Permutation(static_cast<int64_t>(batches.size()), seed,
                                     epoch, kBatches)) {
    out.push_back(std::move(batches[i]));
  }
  return out;
}

}  // namespace repro::encoder
