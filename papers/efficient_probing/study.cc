#include "papers/efficient_probing/study.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/randperm.h>

#include <algorithm>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/status/macros.h"
#include "common/tensor/generator.h"
#include "common/train/optimizer.h"
#include "common/train/schedule.h"
#include "common/train/trainer.h"
#include "papers/efficient_probing/probes.h"
#include "papers/efficient_probing/stripes.h"

namespace repro::efficient_probing {
namespace {

// Streams of a seed.
constexpr uint64_t kMaeWeights = 0, kContrastiveWeights = 1, kMasks = 2,
                   kProbeWeights = 3, kLoraWeights = 4, kTrainImages = 5,
                   kTestImages = 6, kOrder = 1000, kPretraining = 1000000;

using Progress = std::function<void(double, const std::string&)>;

// What all parts share.
struct Context {
  const StudyOptions& options;
  uint64_t seed;
  at::Device device;
  const Progress& progress;
  const std::function<bool()>& cancelled;

  std::mt19937_64 Random(uint64_t stream) const {
    return std::mt19937_64(MixSeed(seed, stream));
  }
  Initializer Init(uint64_t stream) const {
    return Initializer(MakeGenerator(seed, stream), device);
  }
};

// Minimises `loss`; the metrics of `evaluate` at its best, or none.
absl::StatusOr<Metrics> Minimize(const Context& context,
                                 const std::string& name, Module& model,
                                 Optimizer& optimizer, double rate,
                                 int64_t steps, int64_t evaluate_every,
                                 const LossFunction& loss,
                                 const EvaluateFunction& evaluate) {
  TrainOptions options;
  options.num_steps = steps;
  options.rate =
      WarmupCosineRate(rate, std::max<int64_t>(1, steps / 10), steps);
  options.log_every = 50;
  options.evaluate_every = evaluate_every;
  if (evaluate) {
    options.selection_metric = "accuracy";
    options.higher_is_better = true;
  }
  options.cancelled = context.cancelled;
  options.progress = [&](int64_t done, int64_t total, const std::string&) {
    context.progress(static_cast<double>(done) / static_cast<double>(total),
                     name);
  };
  TrainState state;
  state.model = &model;
  state.optimizer = &optimizer;
  REPRO_ASSIGN_OR_RETURN(const TrainResult result,
                         Train(options, state, loss, evaluate));
  if (result.cancelled) return absl::CancelledError("stopped");
  return result.best;
}

template <typename Model, typename Loss>
absl::Status Pretrain(const Context& context, const std::string& name,
                      Model& model, int64_t steps, bool two_views, Loss loss) {
  AdamOptions adam;
  adam.weight_decay = 0.05;
  const auto optimizer = MakeAdamW(model.Parameters(), adam);
  return Minimize(
             context, name, model, *optimizer, context.options.rate, steps, 0,
             [&](int64_t step) {
               std::mt19937_64 random = context.Random(kPretraining + step);
               Images images =
                   DrawImages(context.options.batch, two_views, random);
               return loss(images, step);
             },
             nullptr)
      .status();
}

struct Labelled {
  at::Tensor inputs;  // images or tokens, [n, ...]
  at::Tensor labels;  // [n]
};

Labelled Draw(const Context& context, uint64_t stream, int64_t count) {
  std::mt19937_64 random = context.Random(stream);
  const Images images = DrawImages(count, /*two_views=*/false, random);
  return {images.view.to(context.device), images.labels.to(context.device)};
}

// The tokens of all images.
Labelled Encode(const Vit& encoder, const Labelled& images) {
  at::NoGradGuard no_grad;
  std::vector<at::Tensor> tokens;
  for (const at::Tensor& part : images.inputs.split(500)) {
    tokens.push_back(encoder.Forward(part));
  }
  return {at::cat(tokens), images.labels};
}

double Accuracy(const at::Tensor& predicted, const at::Tensor& labels) {
  return 100 * (predicted == labels).to(at::kDouble).mean().item<double>();
}

struct Fit {
  std::vector<at::Tensor> parameters;
  bool lars = true;
  double rate = 0;  // for a batch of 256 if LARS
  int64_t epochs = 0;
  int64_t batch = 0;
};

// Trains what `fit` names on cross-entropy of `logits`; the test accuracy at
// the best epoch.
absl::StatusOr<double> FitAndTest(
    const Context& context, const std::string& name, const Fit& fit,
    Module& model, const Labelled& train, const Labelled& test,
    const std::function<at::Tensor(const at::Tensor&)>& logits) {
  const int64_t n = train.labels.size(0);
  const int64_t batch = fit.batch;
  const int64_t steps_per_epoch = n / batch;
  std::unique_ptr<Optimizer> optimizer =
      fit.lars ? MakeLars(fit.parameters, {})
               : MakeAdamW(fit.parameters, AdamOptions());
  const double rate =
      fit.rate * (fit.lars ? static_cast<double>(batch) / 256 : 1);
  REPRO_ASSIGN_OR_RETURN(
      const Metrics best,
      Minimize(
          context, name, model, *optimizer, rate, fit.epochs * steps_per_epoch,
          steps_per_epoch,
          [&](int64_t step) {
            const at::Tensor order =
                at::randperm(n,
                             MakeGenerator(context.seed,
                                           kOrder + step / steps_per_epoch),
                             at::TensorOptions().dtype(at::kLong))
                    .narrow(0, step % steps_per_epoch * batch, batch)
                    .to(context.device);
            return at::cross_entropy_loss(
                logits(train.inputs.index_select(0, order)),
                train.labels.index_select(0, order));
          },
          [&](int64_t) -> Metrics {
            std::vector<at::Tensor> predicted;
            for (const at::Tensor& part : test.inputs.split(500)) {
              predicted.push_back(logits(part).argmax(1));
            }
            return {{"accuracy", Accuracy(at::cat(predicted), test.labels)}};
          }));
  return best.at("accuracy");
}

struct Arm {
  const char* name;
  PoolingConfig pooling;  // dim is the encoder's
  bool patches_only;
};

absl::StatusOr<double> Probe(const Context& context, const std::string& name,
                             Arm arm, const Labelled& train,
                             const Labelled& test, Fit fit) {
  arm.pooling.dim = train.inputs.size(2);
  ProbeHead head(arm.pooling, kNumClasses, context.Init(kProbeWeights));
  fit.parameters = head.Parameters();
  return FitAndTest(
      context, name, fit, head, train, test, [&](const at::Tensor& tokens) {
        return head.Forward(arm.patches_only
                                ? tokens.narrow(1, 1, tokens.size(1) - 1)
                                : tokens);
      });
}

// An encoder with its head, so that one call switches the mode of both.
class Adapted : public Module {
 public:
  Adapted(const Vit& trained, const PoolingConfig& pooling, bool patches_only,
          const Initializer& init)
      : encoder_(AddModule<Vit>("encoder", trained.config(), init)),
        head_(AddModule<ProbeHead>("head", pooling, kNumClasses, init)),
        patches_only_(patches_only) {
    at::NoGradGuard no_grad;
    const std::vector<at::Tensor> from = trained.Parameters();
    std::vector<at::Tensor> to = encoder_->Parameters();
    for (size_t i = 0; i < from.size(); ++i) to[i].copy_(from[i]);
  }

  std::vector<at::Tensor> AddLora(int64_t blocks, int64_t rank,
                                  const Initializer& init) {
    std::vector<at::Tensor> all =
        encoder_->FreezeAndAddLora(blocks, rank, init);
    for (const at::Tensor& tensor : head_->Parameters()) all.push_back(tensor);
    return all;
  }

  at::Tensor Forward(const at::Tensor& images) {
    const at::Tensor tokens = encoder_->Forward(images);
    return head_->Forward(
        patches_only_ ? tokens.narrow(1, 1, tokens.size(1) - 1) : tokens);
  }

 private:
  Vit* encoder_;
  ProbeHead* head_;
  const bool patches_only_;
};

// The best of the protocol's temperatures and numbers of neighbours.
double BestNearestNeighbours(const Labelled& train, const Labelled& test) {
  double best = 0;
  for (const int64_t k : {5, 10, 15, 20, 50, 100, 200}) {
    for (const double temperature : {0.07, 0.1, 0.2}) {
      const at::Tensor predicted = NearestNeighbours(
          train.inputs.select(1, 0), train.labels, test.inputs.select(1, 0), k,
          temperature, kNumClasses);
      best = std::max(best, Accuracy(predicted, test.labels));
    }
  }
  return best;
}

absl::Status MeasureEncoder(const Context& context, const std::string& prefix,
                            const Vit& encoder, const std::vector<Arm>& arms,
                            const Labelled& train_images,
                            const Labelled& test_images,
                            std::map<std::string, double>* out) {
  const Labelled train = Encode(encoder, train_images);
  const Labelled test = Encode(encoder, test_images);
  Fit fit;
  fit.rate = context.options.probe_rate;
  fit.epochs = context.options.probe_epochs;
  fit.batch = context.options.probe_batch;
  for (const Arm& arm : arms) {
    const std::string name = absl::StrCat(prefix, "/", arm.name);
    REPRO_ASSIGN_OR_RETURN((*out)[name],
                           Probe(context, name, arm, train, test, fit));
  }
  (*out)[prefix + "/knn"] = BestNearestNeighbours(train, test);
  return absl::OkStatus();
}

absl::Status MeasureLora(const Context& context, const Vit& encoder,
                         const Labelled& train_images,
                         const Labelled& test_images,
                         std::map<std::string, double>* out) {
  Fit fit;
  fit.lars = false;
  fit.rate = context.options.lora_rate;
  fit.epochs = context.options.lora_epochs;
  fit.batch = context.options.lora_batch;
  const Arm ep = {"ep8", {"ep", 0, 8}, true};
  REPRO_ASSIGN_OR_RETURN(
      (*out)["lora/ep_frozen"],
      Probe(context, "lora/ep_frozen", ep, Encode(encoder, train_images),
            Encode(encoder, test_images), fit));
  const int64_t dim = encoder.config().dim, depth = encoder.config().depth;
  const auto adapt = [&](const std::string& name, const PoolingConfig& pooling,
                         bool patches_only, int64_t blocks) -> absl::Status {
    const Initializer init = context.Init(kLoraWeights);
    Adapted model(encoder, pooling, patches_only, init);
    fit.parameters = model.AddLora(blocks, context.options.lora_rank, init);
    REPRO_ASSIGN_OR_RETURN(
        (*out)[name],
        FitAndTest(context, name, fit, model, train_images, test_images,
                   [&](const at::Tensor& x) { return model.Forward(x); }));
    return absl::OkStatus();
  };
  REPRO_RETURN_IF_ERROR(adapt("lora/ep", {"ep", dim, 8}, true, depth / 2));
  return adapt("lora/cls", {"first", dim}, false, depth);
}

}  // namespace

absl::StatusOr<std::map<std::string, double>> RunStudy(
    const StudyOptions& options, uint64_t seed, c10::Device device,
    const Progress& progress, const std::function<bool()>& cancelled) {
  if (options.vit.side != kImageSide || options.vit.dim % 32 != 0 ||
      options.mae_steps < 1 || options.contrastive_steps < 1 ||
      options.batch < 2 || options.probe_batch < 2 ||
      options.train_images < options.probe_batch || options.test_images < 1 ||
      options.probe_epochs < 1 || options.lora_epochs < 1 ||
      options.lora_batch < 2 || options.train_images < options.lora_batch) {
    return absl::InvalidArgumentError(
        absl::StrCat("study: images of ", kImageSide,
                     " pixels, a width in 32s, at least one step, epoch and "
                     "test image, batches of at least 2 and no larger than "
                     "the training set are needed"));
  }
  const Context context = {options, seed, device, progress, cancelled};
  const Labelled train = Draw(context, kTrainImages, options.train_images);
  const Labelled test = Draw(context, kTestImages, options.test_images);
  std::map<std::string, double> out;

  MaskedAutoencoder mae(options.vit, context.Init(kMaeWeights));
  REPRO_RETURN_IF_ERROR(
      Pretrain(context, "masked autoencoder", mae, options.mae_steps, false,
               [&](const Images& images, int64_t step) {
                 return mae.Loss(images.view.to(device),
                                 MakeGenerator(MixSeed(seed, kMasks), step));
               }));
  const int64_t narrow = options.vit.dim / 8;
  REPRO_RETURN_IF_ERROR(
      MeasureEncoder(context, "mae", mae.encoder(),
                     {{"cls", {"first"}, false},
                      {"mean", {"mean"}, true},
                      {"mean_v", {"mean_v"}, true},
                      {"ep1", {"ep", 0, 1}, true},
                      {"ep4", {"ep", 0, 4}, true},
                      {"ep8", {"ep", 0, 8}, true},
                      {"ep16", {"ep", 0, 16}, true},
                      {"ep8_all", {"ep", 0, 8}, false},
                      {"ep4_no_v", {"ep_no_v", 0, 4}, true},
                      {"ep4_narrow", {"ep", 0, 4, narrow}, true},
                      {"aim4", {"aim", 0, 4}, true},
                      {"mhca4_no_k", {"mhca_no_k", 0, 4}, true},
                      {"averaged4", {"averaged", 0, 4}, true}},
                     train, test, &out));
  REPRO_RETURN_IF_ERROR(MeasureLora(context, mae.encoder(), train, test, &out));

  ContrastiveModel contrastive(options.vit, context.Init(kContrastiveWeights));
  REPRO_RETURN_IF_ERROR(Pretrain(
      context, "contrastive encoder", contrastive, options.contrastive_steps,
      true, [&](const Images& images, int64_t) {
        return contrastive.Loss(images.view.to(device),
                                images.other_view.to(device));
      }));
  REPRO_RETURN_IF_ERROR(MeasureEncoder(context, "contrastive",
                                       contrastive.encoder(),
                                       {{"cls", {"first"}, false},
                                        {"mean", {"mean"}, true},
                                        {"ep8", {"ep", 0, 8}, true},
                                        {"ep8_all", {"ep", 0, 8}, false}},
                                       train, test, &out));
  return out;
}

const std::vector<std::string>& MeasureNames() {
  static const auto* const kNames = new std::vector<std::string>{
      "contrastive/cls", "contrastive/ep8",  "contrastive/ep8_all",
      "contrastive/knn", "contrastive/mean", "lora/cls",
      "lora/ep",         "lora/ep_frozen",   "mae/aim4",
      "mae/averaged4",   "mae/cls",          "mae/ep1",
      "mae/ep16",        "mae/ep4",          "mae/ep4_narrow",
      "mae/ep4_no_v",    "mae/ep8",          "mae/ep8_all",
      "mae/knn",         "mae/mean",         "mae/mean_v",
      "mae/mhca4_no_k"};
  return *kNames;
}

}  // namespace repro::efficient_probing
