#include "papers/agent_attention/agent_sd.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>
#include <tuple>
#include <vector>

#include "common/nn/attention.h"
#include "common/tensor/check.h"
#include "papers/agent_attention/agent_attention.h"

namespace repro::agent_attention {
namespace {

// x[b, index[b, i, 0]]: x [batch, n, channels], index [batch, k, 1].
at::Tensor Take(const at::Tensor& x, const at::Tensor& index) {
  return x.gather(1, index.expand({-1, -1, x.size(2)}));
}

int64_t Share(int64_t n, double ratio) {
  return static_cast<int64_t>(static_cast<double>(n) * ratio);
}

}  // namespace

MergePlaces MergePlaces::Of(int64_t n, const at::Tensor& destinations,
                            c10::Device device) {
  CheckShape(destinations, {"cells"}, "destinations");
  CheckDtype(destinations, at::kLong, "destinations");
  const at::Tensor on_cpu = destinations.cpu();
  const int64_t cells = on_cpu.size(0);
  TORCH_CHECK(cells > 0 && on_cpu.min().item<int64_t>() >= 0 &&
                  on_cpu.max().item<int64_t>() < n,
              "destinations: expected places in [0, ", n, ")");
  at::Tensor is_source = at::ones({n}, at::kBool);
  is_source.index_fill_(0, on_cpu, false);
  MergePlaces places;
  places.destinations = is_source.logical_not().nonzero().squeeze(1);
  places.sources = is_source.nonzero().squeeze(1);
  TORCH_CHECK(places.destinations.size(0) == cells,
              "destinations: one place is given twice");
  places.destinations = places.destinations.to(device);
  places.sources = places.sources.to(device);
  return places;
}

MergePlaces MergePlaces::Draw(int64_t height, int64_t width, int64_t cell,
                              at::Generator generator, c10::Device device) {
  TORCH_CHECK(cell > 0 && height >= cell && width >= cell, "cells of ", cell,
              " do not fit into a map of ", height, " x ", width);
  const int64_t rows = height / cell, columns = width / cell;
  const at::TensorOptions integer(at::kLong);
  const at::Tensor within = at::randint(0, cell * cell, {rows, columns},
                                        std::move(generator), integer);
  const at::Tensor row =
      at::arange(rows, integer).unsqueeze(1) * cell + within.div(cell, "floor");
  const at::Tensor column =
      at::arange(columns, integer) * cell + within.remainder(cell);
  return Of(height * width, (row * width + column).flatten(), device);
}

TokenMerge::TokenMerge(const at::Tensor& hidden, const MergePlaces& places,
                       int64_t merged)
    : places_(places), merged_(merged) {
  TORCH_CHECK(places.destinations.defined() && places.sources.defined(),
              "merging needs places");
  const int64_t sources = places.sources.size(0);
  CheckShape(hidden, {"batch", sources + places.destinations.size(0), "dim"},
             "hidden");
  TORCH_CHECK(merged >= 0 && merged <= sources, "merged: ", merged, " of ",
              sources, " tokens");
  const at::Tensor unit = hidden / hidden.norm(2, {2}, /*keepdim=*/true);
  const at::Tensor likeness =
      at::matmul(unit.index_select(1, places.sources),
                 unit.index_select(1, places.destinations).transpose(1, 2));
  const auto [best, nearest] = likeness.max(-1);
  order_ = best.argsort(/*dim=*/-1, /*descending=*/true).unsqueeze(2);
  nearest_ = Take(nearest.unsqueeze(2), order_);
}

at::Tensor TokenMerge::Merge(const at::Tensor& x) const {
  return Merge(x, merged_);
}

at::Tensor TokenMerge::Merge(const at::Tensor& x, int64_t merged) const {
  const int64_t sources = places_.sources.size(0);
  CheckShape(
      x, {order_.size(0), sources + places_.destinations.size(0), "channels"},
      "x");
  TORCH_CHECK(merged >= 0 && merged <= sources, "merged: ", merged, " of ",
              sources, " tokens");
  const at::Tensor ordered = Take(x.index_select(1, places_.sources), order_);
  const at::Tensor into =
      nearest_.narrow(1, 0, merged).expand({-1, -1, x.size(2)});
  const at::Tensor means =
      x.index_select(1, places_.destinations)
          .scatter_reduce(1, into, ordered.narrow(1, 0, merged), "mean",
                          /*include_self=*/true);
  return at::cat({ordered.narrow(1, merged, sources - merged), means}, 1);
}

at::Tensor TokenMerge::Unmerge(const at::Tensor& x) const {
  const int64_t left = places_.sources.size(0) - merged_;
  const int64_t cells = places_.destinations.size(0);
  CheckShape(x, {order_.size(0), left + cells, "channels"}, "x");
  const at::Tensor means = x.narrow(1, left, cells);
  // In the order of order_, then in that of the sources, then in the map's.
  const at::Tensor ordered = at::cat(
      {Take(means, nearest_.narrow(1, 0, merged_)), x.narrow(1, 0, left)}, 1);
  const at::Tensor sources = at::empty_like(ordered).scatter_(
      1, order_.expand({-1, -1, x.size(2)}), ordered);
  return at::empty({x.size(0), merged_ + left + cells, x.size(2)}, x.options())
      .index_copy_(1, places_.sources, sources)
      .index_copy_(1, places_.destinations, means);
}

class SdAttentionBlock::Attention : public Module {
 public:
  Attention(int64_t dim, int64_t num_heads, const Initializer& init)
      : heads_(num_heads) {
    TORCH_CHECK(num_heads > 0 && dim % num_heads == 0, "a width of ", dim,
                " does not divide into ", num_heads, " heads");
    for (const char* name : {"to_q", "to_k", "to_v"}) {
      maps_.push_back(AddModule<Linear>(
          name, init.UniformFanIn({dim, dim}, dim), at::Tensor()));
    }
    out_ = AddModule<Out>("to_out", dim, init);
  }

  // agents: [batch, n_a, dim] hidden states, or undefined for plain attention.
  at::Tensor Forward(const at::Tensor& x, const at::Tensor& agents,
                     const AgentSdOptions& options) const {
    const at::Tensor q = SplitHeads(maps_[0]->Forward(x), heads_);
    const at::Tensor k = SplitHeads(maps_[1]->Forward(x), heads_);
    const at::Tensor v = SplitHeads(maps_[2]->Forward(x), heads_);
    at::Tensor out;
    if (agents.defined()) {
      const double scale = 1 / std::sqrt(static_cast<double>(q.size(-1)));
      out = AgentAttend(q, k, v, SplitHeads(maps_[0]->Forward(agents), heads_),
                        {}, {}, scale,
                        std::pow(scale, options.broadcast_exponent)) +
            options.shortcut * v;
    } else if (options.fused_softmax) {
      out = at::scaled_dot_product_attention(q, k, v);
    } else {
      out = SoftmaxAttention(q, k, v);
    }
    return out_->linear->Forward(MergeHeads(out));
  }

 private:
  // Gives the layer its name, "to_out.0".
  class Out : public Module {
   public:
    Out(int64_t dim, const Initializer& init)
        : linear(AddModule<Linear>("0", dim, dim, init)) {}
    Linear* const linear;
  };

  int64_t heads_;
  std::vector<Linear*> maps_;
  Out* out_;
};

SdAttentionBlock::SdAttentionBlock(int64_t dim, int64_t num_heads,
                                   const Initializer& init)
    : norm_(AddModule<LayerNorm>("norm1", dim, init)),
      attention_(AddModule<Attention>("attn1", dim, num_heads, init)) {}

at::Tensor SdAttentionBlock::Forward(const at::Tensor& x,
                                     const AgentSdOptions& options,
                                     const MergePlaces& places) const {
  CheckShape(x, {"batch", "n", "dim"}, "x");
  TORCH_CHECK(options.merge_ratio >= 0 && options.merge_ratio < 1 &&
                  options.agent_ratio >= 0 && options.agent_ratio <= 1,
              "ratios: ", options.merge_ratio, " and ", options.agent_ratio);
  const int64_t n = x.size(1);
  const at::Tensor y = norm_->Forward(x);
  if (Share(n, options.merge_ratio) == 0) {
    return x + attention_->Forward(y, {}, options);
  }
  TORCH_CHECK(places.sources.defined(), "merging needs places");
  const int64_t sources = places.sources.size(0);
  const int64_t merged = std::min(Share(n, options.merge_ratio), sources);
  const int64_t into_agents = std::min(Share(n, options.agent_ratio), sources);
  const TokenMerge merge(x, places, merged);
  at::Tensor agents;
  if (2 * (n - into_agents) < n - merged) agents = merge.Merge(y, into_agents);
  return x +
         merge.Unmerge(attention_->Forward(merge.Merge(y), agents, options));
}

}  // namespace repro::agent_attention
