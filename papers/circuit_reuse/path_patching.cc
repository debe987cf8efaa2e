#include "papers/circuit_reuse/path_patching.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status/macros.h"

namespace repro::circuit_reuse {
namespace {

// x: [batch, length, ...], positions: [batch] -> [batch, ...].
at::Tensor AtPositions(const at::Tensor& x, const at::Tensor& positions) {
  const at::Tensor flat = x.flatten(2);
  const at::Tensor index =
      positions.view({-1, 1, 1}).expand({-1, 1, flat.size(2)});
  std::vector<int64_t> shape = x.sizes().vec();
  shape.erase(shape.begin() + 1);
  return flat.gather(1, index).reshape(shape);
}

// What a hook gets for heads, [batch, heads, length, head_dim], at positions:
// [batch, heads, head_dim].
at::Tensor HeadsAt(const at::Tensor& value, const at::Tensor& positions) {
  return AtPositions(value.transpose(1, 2), positions);
}

// [batch, length] bool: true at positions.
at::Tensor MaskOf(const at::Tensor& positions, int64_t length) {
  return at::arange(length, positions.options()) == positions.unsqueeze(1);
}

// `value` [batch, length, dim] with `row` [batch, dim] where the mask is true.
at::Tensor PutAt(const at::Tensor& value, const at::Tensor& mask,
                 const at::Tensor& row) {
  return at::where(mask.unsqueeze(-1), row.unsqueeze(1), value);
}

// The inner values of a run at one position a prompt.
struct Cache {
  std::vector<at::Tensor> residual;  // layers + 1 of [batch, dim]
  std::vector<at::Tensor> z;         // layers of [batch, heads, head_dim]
  std::vector<at::Tensor> mlp;       // layers of [batch, dim]
  at::Tensor entry;        // residual before `entry_layer` [batch, length, dim]
  at::Tensor last_logits;  // [batch, vocabulary]
};

at::Tensor LastLogits(const HookedTransformer& model, const at::Tensor& x) {
  return model.Unembed(x.select(1, x.size(1) - 1));
}

Cache RunAndKeep(const HookedTransformer& model, const at::Tensor& tokens,
                 const at::Tensor& positions, int64_t entry_layer) {
  Cache cache;
  const at::Tensor x =
      model.Run(model.Embed(tokens), 0,
                [&](HookPoint point, int64_t layer, const at::Tensor& value) {
                  if (point == HookPoint::kResidual) {
                    cache.residual.push_back(AtPositions(value, positions));
                    if (layer == entry_layer) cache.entry = value;
                  } else if (point == HookPoint::kZ) {
                    cache.z.push_back(HeadsAt(value, positions));
                  } else if (point == HookPoint::kMlp) {
                    cache.mlp.push_back(AtPositions(value, positions));
                  }
                  return value;
                });
  cache.last_logits = LastLogits(model, x);
  return cache;
}

// Mean over the last axis; logits: [..., batch, vocabulary] -> [...].
at::Tensor MeanDifference(const at::Tensor& logits, const at::Tensor& answers,
                          const at::Tensor& wrong) {
  const auto of = [&](const at::Tensor& tokens) {
    std::vector<int64_t> shape = logits.sizes().vec();
    shape.back() = 1;
    return logits.gather(-1, tokens.unsqueeze(-1).expand(shape)).squeeze(-1);
  };
  return (of(answers) - of(wrong)).to(at::kDouble).mean(-1);
}

absl::Status CheckTokens(const at::Tensor& tokens, at::IntArrayRef shape,
                         int64_t below, const char* name) {
  if (!tokens.defined() || tokens.scalar_type() != at::kLong ||
      tokens.sizes() != shape) {
    return absl::InvalidArgumentError(absl::StrCat(
        name, ": expected int64 [", absl::StrJoin(shape, ", "), "], got [",
        tokens.defined() ? absl::StrJoin(tokens.sizes(), ", ") : "undefined",
        "]"));
  }
  if (tokens.numel() > 0 && (tokens.min().item<int64_t>() < 0 ||
                             tokens.max().item<int64_t>() >= below)) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": expected values in [0, ", below, ")"));
  }
  return absl::OkStatus();
}

absl::Status CheckHead(const Head& head, int64_t layers, int64_t heads) {
  if (head.layer < 0 || head.layer >= layers || head.head < 0 ||
      head.head >= heads) {
    return absl::InvalidArgumentError(absl::StrCat("head ", head.layer, ".",
                                                   head.head, " in ", layers,
                                                   " layers of ", heads));
  }
  return absl::OkStatus();
}

// What both ways of patching need.
struct Task {
  int64_t lowest = 0;   // layer of the lowest receiver; layers for the logits
  int64_t highest = 0;  // of the highest one
  std::map<int64_t, std::vector<int64_t>> heads_of_layer;  // receivers
  std::set<Head> receivers;
  at::Tensor positions;  // [count]

  bool IsSender(const Head& head, const PathPatchingOptions& options) const {
    return head.layer < highest && receivers.count(head) == 0 &&
           (!options.up_to_lowest_receiver || head.layer <= lowest);
  }
};

absl::StatusOr<Task> CheckTask(const HookedTransformer& model,
                               const PatchingPrompts& prompts,
                               const Receivers& receivers,
                               const PathPatchingOptions& options) {
  const TransformerConfig& config = model.config();
  if (!prompts.tokens.defined() || prompts.tokens.dim() != 2 ||
      prompts.tokens.size(0) < 1 || prompts.tokens.size(1) < 1 ||
      prompts.tokens.size(1) > config.positions) {
    return absl::InvalidArgumentError(absl::StrCat(
        "tokens: expected [count, length], 1 to ", config.positions, " long"));
  }
  if (options.batch < 1) return absl::InvalidArgumentError("batch: below 1");
  const int64_t count = prompts.tokens.size(0);
  const int64_t length = prompts.tokens.size(1);
  REPRO_RETURN_IF_ERROR(CheckTokens(prompts.tokens, {count, length},
                                    config.vocabulary, "tokens"));
  REPRO_RETURN_IF_ERROR(CheckTokens(prompts.counterfactual, {count, length},
                                    config.vocabulary, "counterfactual"));
  REPRO_RETURN_IF_ERROR(
      CheckTokens(prompts.answers, {count}, config.vocabulary, "answers"));
  REPRO_RETURN_IF_ERROR(
      CheckTokens(prompts.wrong, {count}, config.vocabulary, "wrong"));
  Task task;
  task.positions = at::full({count}, length - 1, prompts.tokens.options());
  if (options.positions.defined()) {
    REPRO_RETURN_IF_ERROR(
        CheckTokens(options.positions, {count}, length, "positions"));
    if (receivers.heads.empty() && !options.positions.equal(task.positions)) {
      return absl::InvalidArgumentError(
          "positions: what reaches the logits is read at the last position");
    }
    task.positions = options.positions;
  }
  task.lowest = task.highest = config.layers;
  if (!receivers.heads.empty()) {
    if (receivers.component != HookPoint::kQuery &&
        receivers.component != HookPoint::kKey &&
        receivers.component != HookPoint::kValue) {
      return absl::InvalidArgumentError(
          "receivers: expected queries, keys or values");
    }
    task.highest = 0;
  }
  for (const Head& head : receivers.heads) {
    REPRO_RETURN_IF_ERROR(CheckHead(head, config.layers, config.heads));
    if (!task.receivers.insert(head).second) continue;
    task.heads_of_layer[head.layer].push_back(head.head);
    task.lowest = std::min(task.lowest, head.layer);
    task.highest = std::max(task.highest, head.layer);
  }
  return task;
}

// Calls `patch` for each batch with its prompts, positions and first
// differences and averages what it returns, (d - d0) / (d1 - d0) of each
// sender.
template <typename Patch>
absl::StatusOr<Importance> OverBatches(const HookedTransformer& model,
                                       const PatchingPrompts& prompts,
                                       const Task& task,
                                       const PathPatchingOptions& options,
                                       const Patch& patch) {
  const at::NoGradGuard no_grad;
  const TransformerConfig& config = model.config();
  Importance sum(config.layers, std::vector<double>(config.heads, 0));
  const int64_t count = prompts.tokens.size(0);
  int64_t batches = 0;
  for (int64_t first = 0; first < count; first += options.batch) {
    const int64_t size = std::min(options.batch, count - first);
    const auto part = [&](const at::Tensor& of) {
      return of.narrow(0, first, size);
    };
    const PatchingPrompts some = {part(prompts.tokens),
                                  part(prompts.counterfactual),
                                  part(prompts.answers), part(prompts.wrong)};
    const at::Tensor positions = part(task.positions);
    const Cache clean = RunAndKeep(model, some.tokens, positions, task.lowest);
    const Cache other =
        RunAndKeep(model, some.counterfactual, positions, task.lowest);
    const auto difference = [&](const at::Tensor& logits) {
      return MeanDifference(logits, some.answers, some.wrong).item<double>();
    };
    const double d0 = difference(clean.last_logits);
    const double d1 = difference(other.last_logits);
    if (!(std::abs(d1 - d0) > 0) || !std::isfinite(d1 - d0)) {
      return absl::FailedPreconditionError(absl::StrCat(
          "prompts ", first, " to ", first + size - 1, ": logit difference ",
          d0, " clean, ", d1, " counterfactual"));
    }
    patch(some, positions, clean, other, [&](const Head& sender, double d) {
      sum[sender.layer][sender.head] += (d - d0) / (d1 - d0);
    });
    ++batches;
  }
  for (std::vector<double>& of_layer : sum) {
    for (double& value : of_layer) value /= static_cast<double>(batches);
  }
  return sum;
}

// Puts recorded[layer, head] [batch, head_dim] into receivers at the mask.
Hook PatchReceivers(const Task& task, HookPoint component,
                    const std::map<Head, at::Tensor>& recorded,
                    const at::Tensor& mask) {
  return [&task, component, &recorded, mask](HookPoint point, int64_t layer,
                                             const at::Tensor& value) {
    const auto found = task.heads_of_layer.find(layer);
    if (point != component || found == task.heads_of_layer.end()) return value;
    at::Tensor out;
    for (const int64_t head : found->second) {
      const auto own = recorded.find({layer, head});
      if (own == recorded.end()) continue;
      if (!out.defined()) out = value.clone();
      out.select(1, head).copy_(
          PutAt(value.select(1, head), mask, own->second));
    }
    return out.defined() ? out : value;
  };
}

int64_t IndexOf(HookPoint component) {
  return component == HookPoint::kQuery ? 0
         : component == HookPoint::kKey ? 1
                                        : 2;
}

}  // namespace

absl::StatusOr<Importance> PathPatchByDefinition(
    const HookedTransformer& model, const PatchingPrompts& prompts,
    const Receivers& receivers, const PathPatchingOptions& options) {
  REPRO_ASSIGN_OR_RETURN(const Task task,
                         CheckTask(model, prompts, receivers, options));
  const TransformerConfig& config = model.config();
  const auto patch = [&](const PatchingPrompts& some,
                         const at::Tensor& positions, const Cache& clean,
                         const Cache& other, const auto& add) {
    const at::Tensor mask = MaskOf(positions, some.tokens.size(1));
    for (int64_t l = 0; l < config.layers; ++l) {
      for (int64_t h = 0; h < config.heads; ++h) {
        const Head sender = {l, h};
        if (!task.IsSender(sender, options)) continue;
        // Step 2: the sender changed, all other heads as they were.
        std::map<Head, at::Tensor> recorded;
        at::Tensor recorded_residual;
        const Hook record = [&](HookPoint point, int64_t layer,
                                const at::Tensor& value) {
          if (point == HookPoint::kResidual && layer == config.layers) {
            recorded_residual = value;
          }
          const auto found = task.heads_of_layer.find(layer);
          if (point == receivers.component &&
              found != task.heads_of_layer.end()) {
            const at::Tensor at_position = HeadsAt(value, positions);
            for (const int64_t head : found->second) {
              recorded[{layer, head}] = at_position.select(1, head);
            }
          }
          return value;
        };
        const Hook freeze = [&](HookPoint point, int64_t layer,
                                const at::Tensor& value) {
          if (point == HookPoint::kZ) {
            at::Tensor out = value.clone();
            for (int64_t head = 0; head < config.heads; ++head) {
              const Cache& from = Head{layer, head} == sender ? other : clean;
              out.select(1, head).copy_(PutAt(value.select(1, head), mask,
                                              from.z[layer].select(1, head)));
            }
            return out;
          }
          if (point == HookPoint::kMlp && options.freeze_mlps) {
            return PutAt(value, mask, clean.mlp[layer]);
          }
          return value;
        };
        model.Forward(some.tokens, ComposeHooks({record, freeze}));
        // Step 3: a clean run but for what the receivers got.
        const Hook replace =
            receivers.heads.empty() ? Hook([&](HookPoint point, int64_t layer,
                                               const at::Tensor& value) {
              if (point != HookPoint::kResidual || layer != config.layers) {
                return value;
              }
              return PutAt(value, mask,
                           AtPositions(recorded_residual, positions));
            })
                                    : PatchReceivers(task, receivers.component,
                                                     recorded, mask);
        const at::Tensor logits = model.Forward(some.tokens, replace);
        add(sender, MeanDifference(logits.select(1, logits.size(1) - 1),
                                   some.answers, some.wrong)
                        .item<double>());
      }
    }
  };
  return OverBatches(model, prompts, task, options, patch);
}

absl::StatusOr<Importance> PathPatch(const HookedTransformer& model,
                                     const PatchingPrompts& prompts,
                                     const Receivers& receivers,
                                     const PathPatchingOptions& options) {
  REPRO_ASSIGN_OR_RETURN(const Task task,
                         CheckTask(model, prompts, receivers, options));
  const TransformerConfig& config = model.config();
  const int64_t heads = config.heads;
  const auto patch = [&](const PatchingPrompts& some,
                         const at::Tensor& positions, const Cache& clean,
                         const Cache& other, const auto& add) {
    const int64_t batch = some.tokens.size(0), length = some.tokens.size(1);
    const at::Tensor mask = MaskOf(positions, length).repeat({heads, 1});
    const int64_t last_sender = options.up_to_lowest_receiver
                                    ? std::min(task.lowest, task.highest - 1)
                                    : task.highest - 1;
    for (int64_t l = 0; l <= last_sender; ++l) {
      // z: [senders, batch, heads, head_dim], sender s has head s changed.
      at::Tensor z = clean.z[l].unsqueeze(0).repeat({heads, 1, 1, 1});
      for (int64_t s = 0; s < heads; ++s) {
        z.select(0, s).select(1, s).copy_(other.z[l].select(1, s));
      }
      // The residual stream at the position: [senders, batch, dim].
      at::Tensor x = clean.residual[l].unsqueeze(0);
      std::map<Head, at::Tensor> recorded;
      for (int64_t r = l; r < config.layers && r <= task.highest; ++r) {
        const auto found = task.heads_of_layer.find(r);
        if (r > l && found != task.heads_of_layer.end()) {
          const at::Tensor own =
              model.QueryKeyValue(r, x).select(2, IndexOf(receivers.component));
          for (const int64_t head : found->second) {
            recorded[{r, head}] = own.select(2, head).flatten(0, 1);
          }
        }
        if (r == task.highest) break;  // nobody reads what comes after
        x = x + model.Project(r, r == l ? z : clean.z[r].unsqueeze(0));
        x = x +
            (options.freeze_mlps ? clean.mlp[r].unsqueeze(0) : model.Mlp(r, x));
      }
      at::Tensor logits;
      if (receivers.heads.empty()) {
        logits = model.Unembed(x);
      } else {
        // senders * batch prompts, from the lowest receiver's layer on.
        logits =
            LastLogits(model,
                       model.Run(clean.entry.repeat({heads, 1, 1}), task.lowest,
                                 PatchReceivers(task, receivers.component,
                                                recorded, mask)))
                .view({heads, batch, -1});
      }
      const at::Tensor d = MeanDifference(logits, some.answers, some.wrong);
      for (int64_t s = 0; s < heads; ++s) {
        if (task.IsSender({l, s}, options)) add({l, s}, d[s].item<double>());
      }
    }
  };
  return OverBatches(model, prompts, task, options, patch);
}

std::vector<Head> TopHeads(const Importance& importance, int64_t count) {
  std::vector<Head> heads;
  for (size_t l = 0; l < importance.size(); ++l) {
    for (size_t h = 0; h < importance[l].size(); ++h) {
      if (importance[l][h] != 0) {
        heads.push_back({static_cast<int64_t>(l), static_cast<int64_t>(h)});
      }
    }
  }
  std::stable_sort(heads.begin(), heads.end(),
                   [&](const Head& a, const Head& b) {
                     return std::abs(importance[a.layer][a.head]) >
                            std::abs(importance[b.layer][b.head]);
                   });
  if (static_cast<int64_t>(heads.size()) > count) {
    heads.resize(std::max<int64_t>(count, 0));
  }
  return heads;
}

int64_t SharedHeads(const std::vector<Head>& a, const std::vector<Head>& b) {
  const std::set<Head> of_a(a.begin(), a.end());
  const std::set<Head> of_b(b.begin(), b.end());
  return std::count_if(of_a.begin(), of_a.end(),
                       [&](const Head& head) { return of_b.count(head) > 0; });
}

absl::StatusOr<double> Overlap(const std::vector<Head>& a,
                               const std::vector<Head>& b) {
  if (a.empty() && b.empty()) {
    return absl::InvalidArgumentError("overlap: no heads");
  }
  const size_t sizes = std::set<Head>(a.begin(), a.end()).size() +
                       std::set<Head>(b.begin(), b.end()).size();
  return 2 * static_cast<double>(SharedHeads(a, b)) /
         static_cast<double>(sizes);
}

absl::StatusOr<double> ExpectedOverlap(const std::vector<Head>& a,
                                       const std::vector<Head>& b,
                                       int64_t layers,
                                       int64_t heads_per_layer) {
  if (a.empty() && b.empty()) {
    return absl::InvalidArgumentError("overlap: no heads");
  }
  std::vector<double> in_a(std::max<int64_t>(layers, 0), 0), in_b = in_a;
  double sizes = 0;
  const auto add = [&](const std::vector<Head>& heads,
                       std::vector<double>& in) -> absl::Status {
    for (const Head& head : std::set<Head>(heads.begin(), heads.end())) {
      REPRO_RETURN_IF_ERROR(CheckHead(head, layers, heads_per_layer));
      ++in[head.layer];
      ++sizes;
    }
    return absl::OkStatus();
  };
  REPRO_RETURN_IF_ERROR(add(a, in_a));
  REPRO_RETURN_IF_ERROR(add(b, in_b));
  return 2 * std::inner_product(in_a.begin(), in_a.end(), in_b.begin(), 0.0) /
         static_cast<double>(heads_per_layer) / sizes;
}

namespace {

// Calls change(row [batch, length]) -> row for the last query of the heads.
template <typename Change>
Hook ChangeLastRow(std::vector<Head> heads, Change change) {
  return [heads = std::move(heads), change = std::move(change)](
             HookPoint point, int64_t layer, const at::Tensor& value) {
    if (point != HookPoint::kAttention) return value;
    at::Tensor out;
    for (const Head& head : heads) {
      if (head.layer != layer) continue;
      if (!out.defined()) out = value.clone();
      const at::Tensor row =
          out.select(1, head.head).select(1, value.size(2) - 1);
      row.copy_(change(row));
    }
    return out.defined() ? out : value;
  };
}

}  // namespace

Hook AttendOnly(std::vector<Head> heads, at::Tensor targets) {
  return ChangeLastRow(
      std::move(heads), [targets = std::move(targets)](const at::Tensor& row) {
        return at::zeros(row.sizes(), row.options())
            .scatter(1, targets, 1 / static_cast<double>(targets.size(1)));
      });
}

Hook BlockAttention(std::vector<Head> heads, at::Tensor targets) {
  return ChangeLastRow(std::move(heads),
                       [targets = std::move(targets)](const at::Tensor& row) {
                         return row.scatter(1, targets, 0);
                       });
}

at::Tensor LogitAttribution(const HookedTransformer& model,
                            const at::Tensor& tokens, const at::Tensor& answers,
                            const at::Tensor& others, const Hook& hook) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> written;  // [batch, heads, dim] of each layer
  const auto keep = [&](HookPoint point, int64_t layer,
                        const at::Tensor& value) {
    if (point == HookPoint::kZ) {
      written.push_back(
          model.ProjectEach(layer, value.select(2, value.size(2) - 1)));
    }
    return value;
  };
  const at::Tensor x = model.Run(
      model.Embed(tokens), 0, hook ? ComposeHooks({hook, keep}) : Hook(keep));
  const at::Tensor whole = x.select(1, x.size(1) - 1);
  const at::Tensor unembedding = model.unembedding();
  // [batch, dim]
  const at::Tensor direction = unembedding.index_select(0, answers) -
                               unembedding.index_select(0, others.flatten())
                                   .unflatten(0, others.sizes())
                                   .mean(1);
  const at::Tensor parts =
      model.NormPart(at::stack(written, 1), whole.unsqueeze(1).unsqueeze(1));
  return (parts * direction.unsqueeze(1).unsqueeze(1)).sum(-1);
}

at::Tensor AttentionTo(const HookedTransformer& model, const at::Tensor& tokens,
                       const at::Tensor& targets, const Hook& hook) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> found;  // [batch, heads] of each layer
  const auto keep = [&](HookPoint point, int64_t, const at::Tensor& value) {
    if (point == HookPoint::kAttention) {
      const at::Tensor row = value.select(2, value.size(2) - 1);
      found.push_back(row.gather(2, targets.unsqueeze(1).expand(
                                        {-1, row.size(1), targets.size(1)}))
                          .sum(-1));
    }
    return value;
  };
  model.Run(model.Embed(tokens), 0,
            hook ? ComposeHooks({hook, keep}) : Hook(keep));
  return at::stack(found, 1);
}

at::Tensor IsRight(const HookedTransformer& model, const at::Tensor& tokens,
                   const at::Tensor& answers, const Hook& hook) {
  const at::NoGradGuard no_grad;
  return LastLogits(model, model.Run(model.Embed(tokens), 0, hook)).argmax(1) ==
         answers;
}

}  // namespace repro::circuit_reuse
