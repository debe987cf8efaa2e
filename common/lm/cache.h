// Keys and values of one layer of one sequence, kept in different ways behind
// one interface. All hold rotated or unrotated keys as given; none rotates.
#ifndef REPRO_COMMON_LM_CACHE_H_
#define REPRO_COMMON_LM_CACHE_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "common/lm/config.h"

namespace repro::lm {

class LayerCache {
 public:
  virtual ~LayerCache() = default;

  // Appends k, v: [num_kv_heads, new_tokens, head_dim].
  virtual void Append(const at::Tensor& k, const at::Tensor& v) = 0;

  // What is kept, oldest first: [num_kv_heads, kept, head_dim], dequantised or
  // gathered where it is not stored so. Valid until the next Append.
  virtual at::Tensor Keys() const = 0;
  virtual at::Tensor Values() const = 0;

  // The position of the entry at each place: [kept] int64, on the CPU. Entries
  // that were dropped leave gaps.
  virtual at::Tensor Positions() const = 0;

  virtual int64_t kept() const = 0;    // entries a head
  virtual int64_t length() const = 0;  // tokens appended so far
  virtual int64_t Bytes() const = 0;   // allocated
};

// Where tensors are made.
struct CacheOptions {
  int64_t num_kv_heads = 0;
  int64_t head_dim = 0;
  c10::Device device = c10::kCPU;
  at::ScalarType dtype = at::kFloat;
};

// Grows by half when full.
std::unique_ptr<LayerCache> MakeContiguousCache(const CacheOptions& options);

// Room for `capacity` tokens from the start; Append throws beyond it.
std::unique_ptr<LayerCache> MakeStaticCache(const CacheOptions& options,
                                            int64_t capacity);

// Pages shared by the sequences of one layer; pages come and go by reference
// count. k_pages(), v_pages(): [num_pages, page_size, num_kv_heads, head_dim],
// the layout of kernels/paged_attention_decode.
class PagePool {
 public:
  PagePool(const CacheOptions& options, int64_t num_pages, int64_t page_size);

  int64_t page_size() const { return page_size_; }
  int64_t free_pages() const { return static_cast<int64_t>(free_.size()); }
  const at::Tensor& k_pages() const { return k_pages_; }
  const at::Tensor& v_pages() const { return v_pages_; }
  const CacheOptions& options() const { return options_; }

  // A page's number; throws c10::OutOfMemoryError when none is left.
  int32_t Allocate();
  void Free(int32_t page);

 private:
  CacheOptions options_;
  int64_t page_size_;
  at::Tensor k_pages_, v_pages_;
  std::vector<int32_t> free_;
};

class PagedCache : public LayerCache {
 public:
  explicit PagedCache(std::shared_ptr<PagePool> pool);
  ~PagedCache() override;  // gives the pages back
  PagedCache(PagedCache&& other) = default;

  // Makes room for more tokens, which the caller writes into the pages.
  void Extend(int64_t count);

  void Append(const at::Tensor& k, const at::Tensor& v) override;
  at::Tensor Keys() const override;
  at::Tensor Values() const override;
  at::Tensor Positions() const override;
  int64_t kept() const override { return length_; }
  int64_t length() const override { return length_; }
  int64_t Bytes() const override;

  const PagePool& pool() const { return *pool_; }
  const std::vector<int32_t>& pages() const { return pages_; }

 private:
  std::shared_ptr<PagePool> pool_;
  std::vector<int32_t> pages_;
  int64_t length_ = 0;
};

// The first `sink` and the last `recent` tokens (StreamingLLM's kept set, keys
// at their absolute positions). The new tokens of one Append are all visible
// through Keys() until the next one, so that a chunk sees itself; what falls
// out of the window is dropped before the next Append.
std::unique_ptr<LayerCache> MakeSinkWindowCache(const CacheOptions& options,
                                                int64_t sink, int64_t recent);

// Keys and values quantised to 8 or 4 bits in groups along head_dim, each with
// a float16 scale and minimum (kernels/kv_quantize).
std::unique_ptr<LayerCache> MakeQuantizedCache(const CacheOptions& options,
                                               int bits, int64_t group_size);

// The heads in two sets, each with a cache of its own: of full_heads (ascending
// numbers of key-value heads) everything, of the others sinks and a window.
class SplitCache {
 public:
  SplitCache(const CacheOptions& options, std::vector<int64_t> full_heads,
             int64_t sink, int64_t recent);

  void Append(const at::Tensor& k, const at::Tensor& v);

  const std::vector<int64_t>& full_heads() const { return full_heads_; }
  const std::vector<int64_t>& streaming_heads() const {
    return streaming_heads_;
  }
  const LayerCache& full() const { return *full_; }
  const LayerCache& streaming() const { return *streaming_; }
  int64_t Bytes() const { return full_->Bytes() + streaming_->Bytes(); }

 private:
  std::vector<int64_t> full_heads_, streaming_heads_;
  at::Tensor full_index_, streaming_index_;  // on the device
  std::unique_ptr<LayerCache> full_, streaming_;
};

}  // namespace repro::lm

#endif  // REPRO_COMMON_LM_CACHE_H_
