#ifndef REPRO_COMMON_DATA_MUTATE_H_
#define REPRO_COMMON_DATA_MUTATE_H_

#include <cstddef>
#include <functional>
#include <random>
#include <string>
#include <vector>

namespace repro {

// Draws below n, 0 for n = 0.
using Below = std::function<size_t(size_t n)>;

enum class Mutation {
  kFlipBit,
  kPlant,  // writes what the format cares about
  kDrop,   // a range of at most 20 bytes
  kRepeat,
  kCut,  // the end off
};

// One to four mutations of `kinds`, each as likely as it stands there, at
// random places. plant(&bytes, at, below) writes at `at`, which is inside.
std::string Mutate(
    std::string bytes, const std::vector<Mutation>& kinds,
    const std::function<void(std::string*, size_t, const Below&)>& plant,
    std::mt19937_64* random);

}  // namespace repro

#endif  // REPRO_COMMON_DATA_MUTATE_H_
