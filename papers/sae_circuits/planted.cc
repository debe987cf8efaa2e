#include "papers/sae_circuits/planted.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/randperm.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <random>

#include "common/status/macros.h"
#include "common/tensor/generator.h"
#include "papers/sae_circuits/circuit.h"

namespace repro::sae_circuits {
namespace {

constexpr int64_t kShuffles = 20;
// Streams of a seed.
constexpr uint64_t kMain = 0, kNone = 1, kQuiet = 2, kDiverse = 3,
                   kAutoencoder = 100, kOrder = 200;

HeadCodes CodesOf(const Planted& planted, const AutoencoderOptions& options,
                  uint64_t seed, uint64_t stream) {
  return FindCodes(*TrainAutoencoder(planted.vectors, options,
                                     MixSeed(seed, kAutoencoder + stream)),
                   planted.vectors);
}

}  // namespace

Planted DrawPlanted(const PlantedOptions& options, uint64_t seed) {
  TORCH_CHECK(
      options.examples >= 2 && options.examples % 2 == 0 && options.dim >= 1 &&
          options.shared_clusters >= 1 && options.private_clusters >= 1 &&
          options.circuit_heads >= 0 && options.diverse_heads >= 0 &&
          options.circuit_heads + options.diverse_heads <= options.heads,
      "planted: ", options.examples, " examples, ", options.heads, " heads, ",
      options.circuit_heads, " of them in the circuit and ",
      options.diverse_heads, " diverse, ", options.shared_clusters, " and ",
      options.private_clusters, " clusters of dim ", options.dim);
  const at::Generator generator = MakeGenerator(seed);
  const at::TensorOptions floats = at::TensorOptions().dtype(at::kFloat);
  const at::TensorOptions whole = at::TensorOptions().dtype(at::kLong);
  const int64_t n = options.examples, half = n / 2;
  const at::Tensor order = at::randperm(options.heads, generator, whole);
  const at::Tensor positive =
      at::cat({at::zeros({half}, whole) + 1, at::zeros({half}, whole)});

  Planted planted;
  planted.in_circuit.resize(options.heads, false);
  std::vector<at::Tensor> vectors(options.heads);
  for (int64_t i = 0; i < options.heads; ++i) {
    const int64_t head = order[i].item<int64_t>();
    const bool in_circuit = i < options.circuit_heads;
    planted.in_circuit[head] = in_circuit;
    if (!in_circuit && i >= options.heads - options.diverse_heads) {
      vectors[head] = at::randn({n, options.dim}, generator, floats);
      continue;
    }
    const at::Tensor centres = at::randn(
        {options.shared_clusters + options.private_clusters, options.dim},
        generator, floats);
    at::Tensor cluster =
        at::randint(options.shared_clusters, {n}, generator, whole);
    if (in_circuit) {
      const at::Tensor own =
          options.shared_clusters +
          at::randint(options.private_clusters, {n}, generator, whole);
      const at::Tensor chosen =
          at::rand({n}, generator, floats) < options.private_share;
      cluster = at::where(chosen.logical_and(positive == 1), own, cluster);
    }
    at::Tensor x =
        centres.index_select(0, cluster) +
        options.noise * at::randn({n, options.dim}, generator, floats);
    if (in_circuit) x = x * options.circuit_scale;
    vectors[head] = x;
  }
  planted.vectors = at::stack(vectors, 1);
  return planted;
}

absl::StatusOr<std::map<std::string, double>> RunPlantedStudy(
    const PlantedOptions& planted, const AutoencoderOptions& autoencoder,
    uint64_t seed) {
  std::map<std::string, double> areas;
  std::mt19937_64 random(MixSeed(seed, kOrder));
  {
    const Planted data = DrawPlanted(planted, MixSeed(seed, kMain));
    const HeadCodes codes = CodesOf(data, autoencoder, seed, kMain);
    REPRO_ASSIGN_OR_RETURN(
        areas["node"], NodeArea(codes, data.in_circuit, Normalisation::kNone));
    REPRO_ASSIGN_OR_RETURN(areas["edge"], EdgeArea(codes, data.in_circuit,
                                                   TieOrder::kHighestFirst));
    REPRO_ASSIGN_OR_RETURN(
        areas["node_shuffled"],
        ShuffledNodeArea(codes, data.in_circuit, kShuffles, random));
    REPRO_ASSIGN_OR_RETURN(areas["distinct"],
                           DistinctCodesArea(codes, data.in_circuit));
    std::vector<int64_t> order(planted.examples);
    std::iota(order.begin(), order.end(), 0);
    std::rotate(order.begin(), order.begin() + planted.examples / 2,
                order.end());
    REPRO_ASSIGN_OR_RETURN(const HeadCodes swapped,
                           ReorderExamples(codes, order));
    REPRO_ASSIGN_OR_RETURN(
        areas["node_swapped"],
        NodeArea(swapped, data.in_circuit, Normalisation::kNone));
  }
  {
    PlantedOptions none = planted;
    none.private_share = 0;
    const Planted data = DrawPlanted(none, MixSeed(seed, kNone));
    const HeadCodes codes = CodesOf(data, autoencoder, seed, kNone);
    std::vector<bool> in_circuit = data.in_circuit;
    for (int64_t i = 0; i < kShuffles; ++i) {
      std::shuffle(in_circuit.begin(), in_circuit.end(), random);
      REPRO_ASSIGN_OR_RETURN(const double area,
                             NodeArea(codes, in_circuit, Normalisation::kNone));
      areas["none"] += area / kShuffles;
    }
  }
  {
    PlantedOptions quiet = planted;
    quiet.circuit_scale = 0.05;
    const Planted data = DrawPlanted(quiet, MixSeed(seed, kQuiet));
    REPRO_ASSIGN_OR_RETURN(areas["quiet"],
                           NodeArea(CodesOf(data, autoencoder, seed, kQuiet),
                                    data.in_circuit, Normalisation::kNone));
  }
  {
    PlantedOptions diverse = planted;
    diverse.diverse_heads = 6;
    const Planted data = DrawPlanted(diverse, MixSeed(seed, kDiverse));
    const HeadCodes codes = CodesOf(data, autoencoder, seed, kDiverse);
    REPRO_ASSIGN_OR_RETURN(areas["diverse"], NodeArea(codes, data.in_circuit,
                                                      Normalisation::kNone));
    REPRO_ASSIGN_OR_RETURN(
        areas["diverse_share"],
        NodeArea(codes, data.in_circuit, Normalisation::kShare));
  }
  return areas;
}

}  // namespace repro::sae_circuits
