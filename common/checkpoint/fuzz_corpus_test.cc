// Drives a fuzz target's entry without a fuzzer: over its corpus (the folder
// that CORPUS names), over every prefix of each file, and over seeded
// mutations.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "common/data/io.h"
#include "common/data/mutate.h"
#include "gtest/gtest.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace repro {
namespace {

constexpr int kMutationsOfEach = 20000;

std::vector<std::string> Corpus() {
  std::vector<std::string> files;
  const char* folder = std::getenv("CORPUS");
  if (folder == nullptr) return files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const absl::StatusOr<std::string> content = ReadFile(entry.path().string());
    EXPECT_TRUE(content.ok()) << content.status();
    if (content.ok()) files.push_back(*content);
  }
  std::sort(files.begin(), files.end());
  return files;
}

// In memory of its own size: sanitizers see a read beyond the end.
void RunEntry(const std::string& input) {
  const std::vector<uint8_t> bytes(input.begin(), input.end());
  EXPECT_EQ(LLVMFuzzerTestOneInput(bytes.data(), bytes.size()), 0);
}

// Numbers that a length, count or offset might be afraid of.
void PlantNumber(std::string* bytes, size_t at, const Below& below) {
  constexpr uint64_t kNumbers[] = {0,
                                   1,
                                   8,
                                   255,
                                   uint64_t{1} << 16,
                                   (uint64_t{1} << 31) - 1,
                                   uint64_t{1} << 32,
                                   uint64_t{1} << 60,
                                   (uint64_t{1} << 63) - 1,
                                   uint64_t{1} << 63,
                                   ~uint64_t{0} - 7,
                                   ~uint64_t{0}};
  constexpr size_t kWidths[] = {1, 2, 4, 8};
  const uint64_t number = kNumbers[below(std::size(kNumbers))];
  std::memcpy(&(*bytes)[at], &number,
              std::min(kWidths[below(4)], bytes->size() - at));
}

TEST(FuzzCorpusTest, CorpusAndEveryPrefix) {
  const std::vector<std::string> corpus = Corpus();
  ASSERT_GE(corpus.size(), 2);
  for (const std::string& file : corpus) {
    for (size_t size = 0; size <= file.size(); ++size) {
      RunEntry(file.substr(0, size));
    }
  }
}

TEST(FuzzCorpusTest, Mutations) {
  for (const std::string& file : Corpus()) {
    std::mt19937_64 random(20240501);
    for (int i = 0; i < kMutationsOfEach; ++i) {
      RunEntry(Mutate(file,
                      {Mutation::kFlipBit, Mutation::kPlant, Mutation::kDrop,
                       Mutation::kRepeat, Mutation::kCut},
                      PlantNumber, &random));
    }
  }
}

}  // namespace
}  // namespace repro
