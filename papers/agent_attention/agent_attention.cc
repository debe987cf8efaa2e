#include "papers/agent_attention/agent_attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/adaptive_avg_pool2d.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/upsample_bilinear2d.h>
#include <c10/util/Exception.h>

#include <cmath>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/nn/attention.h"
#include "common/status/macros.h"
#include "common/tensor/check.h"

namespace repro::agent_attention {
namespace {

constexpr double kBiasStd = 0.02;
constexpr int64_t kBiasSide = 7;  // of an_bias and na_bias

struct Model {
  const char* name;
  const char* vision;
  int64_t image_side;
  std::vector<int64_t> depths;  // empty: the vision configuration's
  int64_t window;               // of softmax blocks; 0: likewise
  std::vector<int64_t> num_agents;
  std::vector<int64_t> agent_blocks;
};

const std::vector<Model>& Models() {
  const std::vector<int64_t> agents = {9, 16, 49, 49};
  const std::vector<int64_t> cswin_t = {2, 4, 18, 1}, cswin = {3, 6, 29, 2};
  static const auto* const kAll = new std::vector<Model>{
      {"deit_t", "deit_t", 224, {}, 0, {49}, {12}},
      {"deit_s", "deit_s", 224, {}, 0, {49}, {12}},
      {"deit_s_448", "deit_s", 448, {}, 0, {49}, {12}},
      {"deit_b", "deit_b", 224, {}, 0, {81}, {4}},
      {"pvt_t", "pvt_t", 224, {}, 0, agents, {2, 2, 2, 2}},
      {"pvt_s", "pvt_s", 224, {}, 0, agents, {3, 4, 6, 3}},
      {"pvt_m", "pvt_m", 224, {}, 0, agents, {3, 4, 18, 3}},
      {"pvt_m_256", "pvt_m", 256, {}, 0, agents, {3, 4, 18, 3}},
      {"pvt_l", "pvt_l", 224, {}, 0, agents, {3, 8, 27, 3}},
      {"swin_t", "swin_t", 224, {}, 0, agents, {2, 2, 6, 0}},
      {"swin_s", "swin_s", 224, {}, 0, agents, {2, 2, 0, 0}},
      {"swin_s_288", "swin_s", 288, {}, 9, agents, {2, 2, 0, 0}},
      {"swin_b", "swin_b", 224, {}, 0, agents, {2, 2, 2, 0}},
      {"swin_b_384", "swin_b", 384, {}, 12, agents, {2, 2, 2, 0}},
      {"cswin_t", "cswin_t", 224, cswin_t, 0, agents, {2, 4, 0, 0}},
      {"cswin_s", "cswin_s", 224, cswin, 0, agents, {3, 6, 0, 0}},
      {"cswin_b", "cswin_b", 224, cswin, 0, agents, {3, 6, 0, 0}},
      {"cswin_b_384", "cswin_b", 384, cswin, 12, agents, {3, 6, 0, 0}},
  };
  return *kAll;
}

at::Tensor AddBias(const at::Tensor& logits, const at::Tensor& bias) {
  return bias.defined() ? logits + bias : logits;
}

// [heads, n_a, 7, 7] -> [1, heads, n_a, side^2].
at::Tensor Resize(const at::Tensor& bias, int64_t side) {
  return at::upsample_bilinear2d(bias, {side, side}, /*align_corners=*/false)
      .flatten(2)
      .unsqueeze(0);
}

}  // namespace

at::Tensor AgentAttend(const at::Tensor& q, const at::Tensor& k,
                       const at::Tensor& v, const at::Tensor& agents,
                       const at::Tensor& aggregation_bias,
                       const at::Tensor& broadcast_bias,
                       double aggregation_scale, double broadcast_scale) {
  TORCH_CHECK(
      q.dim() >= 2 && k.dim() >= 2 && v.dim() >= 2 && agents.dim() >= 2 &&
          k.size(-1) == q.size(-1) && agents.size(-1) == q.size(-1) &&
          v.size(-2) == k.size(-2),
      "q, k, v, agents: expected [..., n, head_dim], [..., m, head_dim], "
      "[..., m, value_dim] and [..., n_a, head_dim], got ",
      q.sizes(), ", ", k.sizes(), ", ", v.sizes(), " and ", agents.sizes());
  const at::Tensor aggregation = at::softmax(
      AddBias(at::matmul(agents * aggregation_scale, k.transpose(-2, -1)),
              aggregation_bias),
      -1);
  const at::Tensor broadcast = at::softmax(
      AddBias(at::matmul(q * broadcast_scale, agents.transpose(-2, -1)),
              broadcast_bias),
      -1);
  return at::matmul(broadcast, at::matmul(aggregation, v));
}

at::Tensor PoolAgents(const at::Tensor& x, int64_t side, int64_t pool_side) {
  CheckShape(x, {"batch", side * side, "dim"}, "x");
  TORCH_CHECK(pool_side > 0 && pool_side <= side, "a map of side ", side,
              " is not pooled to ", pool_side);
  return at::adaptive_avg_pool2d(x.transpose(1, 2).unflatten(2, {side, side}),
                                 {pool_side, pool_side})
      .flatten(2)
      .transpose(1, 2);
}

AgentAttention::AgentAttention(const AttentionSite& site,
                               const AgentOptions& options,
                               const Initializer& init)
    : BlockAttention(site, init),
      options_(options),
      pool_side_(
          std::llround(std::sqrt(static_cast<double>(options.num_agents)))) {
  TORCH_CHECK(options.num_agents > 0 &&
                  pool_side_ * pool_side_ == options.num_agents &&
                  pool_side_ <= site.side,
              options.num_agents, " agents are no square map within a side of ",
              site.side);
  if (options.convolution) {
    convolution_ = AddModule<TokenConvolution>(
        site.backbone == VisionBackbone::kCswin ? "get_v" : "dwc", site.dim,
        init);
  }
  if (!options.bias) return;
  const int64_t heads = site.num_heads, agents = options.num_agents,
                side = site.side;
  const auto add = [&](const char* name, at::IntArrayRef shape) {
    return AddParameter(name, init.TruncatedNormal(shape, kBiasStd));
  };
  an_ = add("an_bias", {heads, agents, kBiasSide, kBiasSide});
  na_ = add("na_bias", {heads, agents, kBiasSide, kBiasSide});
  ah_ = add("ah_bias", {1, heads, agents, side, 1});
  aw_ = add("aw_bias", {1, heads, agents, 1, side});
  ha_ = add("ha_bias", {1, heads, side, 1, agents});
  wa_ = add("wa_bias", {1, heads, 1, side, agents});
  if (site.prefix == 0) return;
  ac_ = add("ac_bias", {1, heads, agents, site.prefix});
  ca_ = add("ca_bias", {1, heads, site.prefix, agents});
}

at::Tensor AgentAttention::AggregationBias() const {
  if (!an_.defined()) return {};
  const at::Tensor map = Resize(an_, site().side) + (ah_ + aw_).flatten(3);
  return ac_.defined() ? at::cat({ac_, map}, -1) : map;
}

at::Tensor AgentAttention::BroadcastBias() const {
  if (!na_.defined()) return {};
  const at::Tensor map =
      Resize(na_, site().side).transpose(-2, -1) + (ha_ + wa_).flatten(2, 3);
  return ca_.defined() ? at::cat({ca_, map}, -2) : map;
}

at::Tensor AgentAttention::Forward(const at::Tensor& x,
                                   const at::Tensor& /*input*/) const {
  CheckTokens(x);
  const int64_t heads = site().num_heads, prefix = site().prefix,
                side = site().side;
  const Qkv t = Project(x);
  const at::Tensor agents =
      PoolAgents(t.q.narrow(1, prefix, side * side), side, pool_side_);
  const double scale = 1 / std::sqrt(static_cast<double>(site().dim) /
                                     static_cast<double>(heads));
  at::Tensor out = MergeHeads(AgentAttend(
      SplitHeads(t.q, heads), SplitHeads(t.k, heads), SplitHeads(t.v, heads),
      SplitHeads(agents, heads), AggregationBias(), BroadcastBias(), scale,
      std::pow(scale, options_.broadcast_exponent)));
  if (options_.shortcut != 0) out = out + options_.shortcut * t.v;
  if (convolution_ != nullptr) {
    const at::Tensor map =
        convolution_->Forward(t.v.narrow(1, prefix, side * side), side, side);
    out = prefix == 0 ? out + map
                      : at::cat({out.narrow(1, 0, prefix),
                                 out.narrow(1, prefix, side * side) + map},
                                1);
  }
  return Output(out);
}

absl::StatusOr<AgentModelConfig> AgentModelConfig::Named(
    absl::string_view name) {
  for (const Model& model : Models()) {
    if (name != model.name) continue;
    AgentModelConfig config;
    REPRO_ASSIGN_OR_RETURN(config.vision, VisionConfig::Named(model.vision));
    config.vision.image_side = model.image_side;
    if (!model.depths.empty()) config.vision.depths = model.depths;
    if (model.window != 0) {
      for (int64_t& window : config.vision.windows) {
        // CSWin's narrow stripes stay.
        if (window >= 7) window = model.window;
      }
    }
    config.num_agents = model.num_agents;
    config.agent_blocks = model.agent_blocks;
    return config;
  }
  return absl::NotFoundError(absl::StrCat("no agent model \"", name,
                                          "\"; there are ",
                                          absl::StrJoin(Names(), ", ")));
}

std::vector<std::string> AgentModelConfig::Names() {
  std::vector<std::string> names;
  for (const Model& model : Models()) names.emplace_back(model.name);
  return names;
}

std::unique_ptr<VisionTransformer> MakeAgentModel(
    const AgentModelConfig& config, const Initializer& init) {
  TORCH_CHECK(
      config.num_agents.size() == config.vision.dims.size() &&
          config.agent_blocks.size() == config.vision.dims.size(),
      "agent model: num_agents and agent_blocks have one entry a stage");
  return std::make_unique<VisionTransformer>(
      config.vision, init,
      [&](const AttentionSite& site, const Initializer& init,
          VisionBlock* block) -> BlockAttention* {
        if (site.block >= config.agent_blocks[site.stage]) return nullptr;
        AgentOptions options;
        options.num_agents = config.num_agents[site.stage];
        return block->AddAttention<AgentAttention>(site, options, init);
      });
}

}  // namespace repro::agent_attention
