// Head vectors with a known circuit, to see what the method finds and what it
// takes for a circuit. Not the authors'.
#ifndef REPRO_PAPERS_SAE_CIRCUITS_PLANTED_H_
#define REPRO_PAPERS_SAE_CIRCUITS_PLANTED_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "papers/sae_circuits/sparse_autoencoder.h"

namespace repro::sae_circuits {

// Each head has clusters of its own around normal centres of unit variance.
// Examples fall into `shared_clusters` at random, whatever their label; in
// heads of the circuit a positive example falls with probability
// `private_share` into one of `private_clusters` instead, which no negative
// one does.
struct PlantedOptions {
  int64_t examples = 500;  // the first half positive
  int64_t heads = 24;
  int64_t dim = 64;
  int64_t circuit_heads = 6;
  int64_t shared_clusters = 4;
  int64_t private_clusters = 4;
  double private_share = 0.5;
  double noise = 0.1;         // standard deviation around a centre
  double circuit_scale = 1;   // of the circuit's heads' vectors
  int64_t diverse_heads = 0;  // outside the circuit: normal vectors, no
                              // clusters, labels play no part
};

struct Planted {
  at::Tensor vectors;            // [examples, heads, dim]
  std::vector<bool> in_circuit;  // [heads]
};

// Throws c10::Error for sizes that make no sense.
Planted DrawPlanted(const PlantedOptions& options, uint64_t seed);

// Areas under the ROC curve, by name, of one autoencoder for each data set:
//   node, edge                the circuit of `planted`
//   node_shuffled             the same codes, labels permuted (mean of 20)
//   distinct                  the same codes, counted without labels
//   node_swapped              the same codes, positives taken for negatives
//   none                      no private clusters; 20 circuits drawn at random
//   quiet                     the circuit's vectors 1/20 as long
//   diverse, diverse_share    6 diverse heads outside the circuit
absl::StatusOr<std::map<std::string, double>> RunPlantedStudy(
    const PlantedOptions& planted, const AutoencoderOptions& autoencoder,
    uint64_t seed);

}  // namespace repro::sae_circuits

#endif  // REPRO_PAPERS_SAE_CIRCUITS_PLANTED_H_
