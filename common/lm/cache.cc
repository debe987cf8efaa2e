#include "common/lm/cache.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/tensor/check.h"
#include "kernels/kv_quantize/kv_quantize.h"

namespace repro::lm {
namespace {

// Fails unless k, v are [num_kv_heads, new_tokens, head_dim].
void CheckNew(const CacheOptions& options, const at::Tensor& k,
              const at::Tensor& v) {
  ShapeChecker check;
  check(k, {options.num_kv_heads, "new_tokens", options.head_dim}, "k");
  check(v, {options.num_kv_heads, "new_tokens", options.head_dim}, "v");
}

bool NeedsGradient(const at::Tensor& k, const at::Tensor& v) {
  return at::GradMode::is_enabled() && (k.requires_grad() || v.requires_grad());
}

// Rows [heads, rows, width] in a buffer with room at its end.
class Rows {
 public:
  Rows(int64_t heads, int64_t width, at::TensorOptions options,
       int64_t capacity)
      : buffer_(at::empty({heads, capacity, width}, options)) {}

  void Append(const at::Tensor& x) {
    const int64_t rows = x.size(1);
    if (at::GradMode::is_enabled() &&
        (x.requires_grad() || buffer_.requires_grad())) {
      // What a backward saved must not be written to.
      buffer_ = at::cat({View(), x.to(buffer_.scalar_type())}, 1);
      begin_ = 0;
      count_ = buffer_.size(1);
      return;
    }
    if (begin_ + count_ + rows > buffer_.size(1)) {
      Reserve(std::max<int64_t>({count_ + rows, count_ + count_ / 2, 64}));
    }
    Write(x);
    count_ += rows;
  }

  // Moves what is kept into a buffer for `capacity` rows.
  void Reserve(int64_t capacity) {
    at::Tensor buffer = at::empty({buffer_.size(0), capacity, buffer_.size(2)},
                                  buffer_.options().requires_grad(false));
    buffer.narrow(1, 0, count_).copy_(View());
    buffer_ = std::move(buffer);
    begin_ = 0;
  }

  // Drops `rows` rows after the first `kept`, which move instead.
  void DropAfter(int64_t kept, int64_t rows) {
    if (buffer_.requires_grad()) {
      const at::Tensor view = View();
      buffer_ = at::cat({view.narrow(1, 0, kept),
                         view.narrow(1, kept + rows, count_ - kept - rows)},
                        1);
      begin_ = 0;
    } else {
      if (kept > 0) {
        at::Tensor head = buffer_.narrow(1, begin_, kept);
        if (rows < kept) head = head.clone();  // the places overlap
        buffer_.narrow(1, begin_ + rows, kept).copy_(head);
      }
      begin_ += rows;
    }
    count_ -= rows;
  }

  at::Tensor View() const { return buffer_.narrow(1, begin_, count_); }
  int64_t count() const { return count_; }
  int64_t capacity() const { return buffer_.size(1); }
  int64_t Bytes() const { return static_cast<int64_t>(buffer_.nbytes()); }

 private:
  // A decode step's few rows by hand: the copy's dispatch costs more.
  void Write(const at::Tensor& x) {
    const int64_t place = begin_ + count_;
    if (!(x.is_cpu() && buffer_.is_cpu() && x.dtype() == buffer_.dtype() &&
          x.size(1) <= 4 && x.stride(2) == 1)) {
      buffer_.narrow(1, place, x.size(1)).copy_(x);
      return;
    }
    const int64_t size = static_cast<int64_t>(x.itemsize());
    const char* from = static_cast<const char*>(x.const_data_ptr());
    char* to = static_cast<char*>(buffer_.data_ptr());
    for (int64_t head = 0; head < x.size(0); ++head) {
      for (int64_t row = 0; row < x.size(1); ++row) {
        std::memcpy(to + (head * buffer_.stride(0) +
                          (place + row) * buffer_.stride(1)) *
                             size,
                    from + (head * x.stride(0) + row * x.stride(1)) * size,
                    x.size(2) * size);
      }
    }
  }

  at::Tensor buffer_;
  int64_t begin_ = 0;
  int64_t count_ = 0;
};

at::TensorOptions Options(const CacheOptions& options) {
  return at::TensorOptions().device(options.device).dtype(options.dtype);
}

class ContiguousCache : public LayerCache {
 public:
  ContiguousCache(const CacheOptions& options, int64_t capacity, bool grows)
      : options_(options),
        grows_(grows),
        k_(options.num_kv_heads, options.head_dim, Options(options), capacity),
        v_(options.num_kv_heads, options.head_dim, Options(options), capacity) {
  }

  void Append(const at::Tensor& k, const at::Tensor& v) override {
    CheckNew(options_, k, v);
    TORCH_CHECK(grows_ || k_.count() + k.size(1) <= k_.capacity(),
                "cache: ", k.size(1), " tokens after ", k_.count(),
                " exceed its capacity of ", k_.capacity());
    k_.Append(k);
    v_.Append(v);
  }

  at::Tensor Keys() const override { return k_.View(); }
  at::Tensor Values() const override { return v_.View(); }
  at::Tensor Positions() const override {
    return at::arange(k_.count(), at::kLong);
  }
  int64_t kept() const override { return k_.count(); }
  int64_t length() const override { return k_.count(); }
  int64_t Bytes() const override { return k_.Bytes() + v_.Bytes(); }

 private:
  CacheOptions options_;
  bool grows_;
  Rows k_, v_;
};

class SinkWindowCache : public LayerCache {
 public:
  // Room for twice the window, so that most appends move only the sinks.
  SinkWindowCache(const CacheOptions& options, int64_t sink, int64_t recent)
      : options_(options),
        sink_(sink),
        recent_(recent),
        k_(options.num_kv_heads, options.head_dim, Options(options), 0),
        v_(options.num_kv_heads, options.head_dim, Options(options), 0) {}

  void Append(const at::Tensor& k, const at::Tensor& v) override {
    CheckNew(options_, k, v);
    if (k.size(1) == 0) return;
    // The next query sees `recent` tokens with its own.
    const int64_t excess = k_.count() - (sink_ + recent_ - 1);
    if (excess > 0) {
      k_.DropAfter(sink_, excess);
      v_.DropAfter(sink_, excess);
    }
    k_.Append(k);
    v_.Append(v);
    length_ += k.size(1);
  }

  at::Tensor Keys() const override { return k_.View(); }
  at::Tensor Values() const override { return v_.View(); }
  at::Tensor Positions() const override {
    at::Tensor out = at::arange(k_.count(), at::kLong);
    const int64_t dropped = length_ - k_.count();
    if (dropped > 0) out.narrow(0, sink_, k_.count() - sink_).add_(dropped);
    return out;
  }
  int64_t kept() const override { return k_.count(); }
  int64_t length() const override { return length_; }
  int64_t Bytes() const override { return k_.Bytes() + v_.Bytes(); }

 private:
  CacheOptions options_;
  int64_t sink_, recent_;
  int64_t length_ = 0;
  Rows k_, v_;
};

class QuantizedRows {
 public:
  QuantizedRows(const CacheOptions& options, int bits, int64_t group_size)
      : options_(options),
        bits_(bits),
        group_size_(group_size),
        packed_(options.num_kv_heads, options.head_dim * bits / 8,
                at::TensorOptions().device(options.device).dtype(at::kByte), 0),
        scale_(MakeRanges()),
        zero_(MakeRanges()) {}

  void Append(const at::Tensor& x) {
    const QuantizedKv rows = KvQuantize(x.detach(), bits_, group_size_);
    packed_.Append(rows.packed);
    scale_.Append(rows.scale);
    zero_.Append(rows.zero);
  }

  at::Tensor Dequantized() const {
    return KvDequantize({packed_.View(), scale_.View(), zero_.View()},
                        options_.head_dim, options_.dtype);
  }

  int64_t count() const { return packed_.count(); }
  int64_t Bytes() const {
    return packed_.Bytes() + scale_.Bytes() + zero_.Bytes();
  }

 private:
  Rows MakeRanges() const {
    return Rows(options_.num_kv_heads, options_.head_dim / group_size_,
                at::TensorOptions().device(options_.device).dtype(at::kHalf),
                0);
  }

  CacheOptions options_;
  int bits_;
  int64_t group_size_;
  Rows packed_, scale_, zero_;
};

class QuantizedCache : public LayerCache {
 public:
  QuantizedCache(const CacheOptions& options, int bits, int64_t group_size)
      : options_(options),
        k_(options, bits, group_size),
        v_(options, bits, group_size) {}

  void Append(const at::Tensor& k, const at::Tensor& v) override {
    CheckNew(options_, k, v);
    if (k.size(1) == 0) return;
    k_.Append(k);
    v_.Append(v);
  }

  at::Tensor Keys() const override { return k_.Dequantized(); }
  at::Tensor Values() const override { return v_.Dequantized(); }
  at::Tensor Positions() const override {
    return at::arange(k_.count(), at::kLong);
  }
  int64_t kept() const override { return k_.count(); }
  int64_t length() const override { return k_.count(); }
  int64_t Bytes() const override { return k_.Bytes() + v_.Bytes(); }

 private:
  CacheOptions options_;
  QuantizedRows k_, v_;
};

}  // namespace

std::unique_ptr<LayerCache> MakeContiguousCache(const CacheOptions& options) {
  return std::make_unique<ContiguousCache>(options, 0, /*grows=*/true);
}

std::unique_ptr<LayerCache> MakeStaticCache(const CacheOptions& options,
                                            int64_t capacity) {
  TORCH_CHECK(capacity >= 0, "cache: capacity ", capacity);
  return std::make_unique<ContiguousCache>(options, capacity, /*grows=*/false);
}

std::unique_ptr<LayerCache> MakeSinkWindowCache(const CacheOptions& options,
                                                int64_t sink, int64_t recent) {
  TORCH_CHECK(sink >= 0 && recent > 0, "cache: sink ", sink, ", recent ",
              recent);
  return std::make_unique<SinkWindowCache>(options, sink, recent);
}

std::unique_ptr<LayerCache> MakeQuantizedCache(const CacheOptions& options,
                                               int bits, int64_t group_size) {
  TORCH_CHECK(bits == 4 || bits == 8, "cache: ", bits, " bits");
  TORCH_CHECK(group_size > 0 && options.head_dim % group_size == 0,
              "cache: head_dim ", options.head_dim, " in groups of ",
              group_size);
  TORCH_CHECK(bits == 8 || group_size % 2 == 0, "cache: groups of ", group_size,
              ", of 4 bits");
  return std::make_unique<QuantizedCache>(options, bits, group_size);
}

PagePool::PagePool(const CacheOptions& options, int64_t num_pages,
                   int64_t page_size)
    : options_(options), page_size_(page_size) {
  TORCH_CHECK(num_pages > 0 && num_pages < (int64_t{1} << 31) && page_size > 0,
              "page pool: ", num_pages, " pages of ", page_size);
  const std::vector<int64_t> shape = {num_pages, page_size,
                                      options.num_kv_heads, options.head_dim};
  k_pages_ = at::empty(shape, Options(options));
  v_pages_ = at::empty(shape, Options(options));
  free_.reserve(num_pages);
  for (int64_t page = num_pages - 1; page >= 0; --page) {
    free_.push_back(static_cast<int32_t>(page));
  }
}

int32_t PagePool::Allocate() {
  TORCH_CHECK_WITH(OutOfMemoryError, !free_.empty(), "page pool: all ",
                   k_pages_.size(0), " pages of ", page_size_,
                   " tokens are in use");
  const int32_t page = free_.back();
  free_.pop_back();
  return page;
}

void PagePool::Free(int32_t page) { free_.push_back(page); }

PagedCache::PagedCache(std::shared_ptr<PagePool> pool)
    : pool_(std::move(pool)) {}

PagedCache::~PagedCache() {
  for (int32_t page : pages_) pool_->Free(page);
}

namespace {

// Places in the pool, counted in tokens, of tokens [first, first + count).
at::Tensor Slots(const std::vector<int32_t>& pages, int64_t page_size,
                 int64_t first, int64_t count, c10::Device device) {
  std::vector<int64_t> slots(count);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t token = first + i;
    slots[i] = pages[token / page_size] * page_size + token % page_size;
  }
  return at::from_blob(slots.data(), {count}, at::kLong).to(device).clone();
}

}  // namespace

void PagedCache::Extend(int64_t count) {
  const int64_t page_size = pool_->page_size();
  const int64_t pages = (length_ + count + page_size - 1) / page_size;
  const int64_t wanted = pages - static_cast<int64_t>(pages_.size());
  // All or none, so that a refusal changes nothing.
  TORCH_CHECK_WITH(OutOfMemoryError, wanted <= pool_->free_pages(),
                   "page pool: ", wanted, " pages wanted, ",
                   pool_->free_pages(), " free");
  for (int64_t i = 0; i < wanted; ++i) pages_.push_back(pool_->Allocate());
  length_ += count;
}

void PagedCache::Append(const at::Tensor& k, const at::Tensor& v) {
  const CacheOptions& options = pool_->options();
  CheckNew(options, k, v);
  TORCH_CHECK(!NeedsGradient(k, v), "a paged cache has no gradient");
  const int64_t count = k.size(1);
  Extend(count);
  const at::Tensor slots =
      Slots(pages_, pool_->page_size(), length_ - count, count, options.device);
  const auto write = [&](const at::Tensor& into, const at::Tensor& x) {
    into.flatten(0, 1).index_copy_(0, slots,
                                   x.transpose(0, 1).to(options.dtype));
  };
  write(pool_->k_pages(), k);
  write(pool_->v_pages(), v);
}

at::Tensor PagedCache::Keys() const {
  return pool_->k_pages()
      .flatten(0, 1)
      .index_select(0, Slots(pages_, pool_->page_size(), 0, length_,
                             pool_->options().device))
      .transpose(0, 1);
}

at::Tensor PagedCache::Values() const {
  return pool_->v_pages()
      .flatten(0, 1)
      .index_select(0, Slots(pages_, pool_->page_size(), 0, length_,
                             pool_->options().device))
      .transpose(0, 1);
}

at::Tensor PagedCache::Positions() const {
  return at::arange(length_, at::kLong);
}

int64_t PagedCache::Bytes() const {
  const CacheOptions& options = pool_->options();
  return 2 * static_cast<int64_t>(pages_.size()) * pool_->page_size() *
         options.num_kv_heads * options.head_dim *
         static_cast<int64_t>(c10::elementSize(options.dtype));
}

SplitCache::SplitCache(const CacheOptions& options,
                       std::vector<int64_t> full_heads, int64_t sink,
                       int64_t recent)
    : full_heads_(std::move(full_heads)) {
  int64_t next = 0;
  for (int64_t head : full_heads_) {
    TORCH_CHECK(head >= next && head < options.num_kv_heads,
                "split cache: full heads must be ascending and below ",
                options.num_kv_heads, ", got ", at::IntArrayRef(full_heads_));
    for (; next < head; ++next) streaming_heads_.push_back(next);
    ++next;
  }
  for (; next < options.num_kv_heads; ++next) streaming_heads_.push_back(next);
  full_index_ = at::tensor(full_heads_, at::kLong).to(options.device);
  streaming_index_ = at::tensor(streaming_heads_, at::kLong).to(options.device);
  CacheOptions part = options;
  part.num_kv_heads = static_cast<int64_t>(full_heads_.size());
  full_ = MakeContiguousCache(part);
  part.num_kv_heads = static_cast<int64_t>(streaming_heads_.size());
  streaming_ = MakeSinkWindowCache(part, sink, recent);
}

void SplitCache::Append(const at::Tensor& k, const at::Tensor& v) {
  full_->Append(k.index_select(0, full_index_), v.index_select(0, full_index_));
  streaming_->Append(k.index_select(0, streaming_index_),
                     v.index_select(0, streaming_index_));
}

}  // namespace repro::lm
