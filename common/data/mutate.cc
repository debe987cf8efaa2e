#include "common/data/mutate.h"

#include <algorithm>

namespace repro {

std::string Mutate(
    std::string bytes, const std::vector<Mutation>& kinds,
    const std::function<void(std::string*, size_t, const Below&)>& plant,
    std::mt19937_64* random) {
  const Below below = [random](size_t n) {
    return n == 0 ? 0 : static_cast<size_t>((*random)() % n);
  };
  for (size_t left = 1 + below(4); left > 0; --left) {
    if (bytes.empty()) return bytes;
    const size_t at = below(bytes.size());
    const size_t count = 1 + below(std::min<size_t>(20, bytes.size() - at));
    switch (kinds[below(kinds.size())]) {
      case Mutation::kFlipBit:
        bytes[at] ^= static_cast<char>(1 << below(8));
        break;
      case Mutation::kPlant:
        plant(&bytes, at, below);
        break;
      case Mutation::kDrop:
        bytes.erase(at, count);
        break;
      case Mutation::kRepeat:
        bytes.insert(at, bytes.substr(at, count));
        break;
      case Mutation::kCut:
        bytes.resize(at);
        break;
    }
  }
  return bytes;
}

}  // namespace repro
