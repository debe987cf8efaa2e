#include "common/retrieval/inverted_index.h"

#include <gtest/gtest.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstdint>
#include <cstring>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/data/fuzz_check.h"
#include "common/data/io.h"
#include "common/data/mutate.h"
#include "common/retrieval/bm25.h"
#include "common/retrieval/index_file.h"

namespace repro::retrieval {
namespace {

using Texts = std::vector<std::vector<std::string>>;

Texts SmallCorpus() {
  return {{"b", "a", "b"}, {}, {"c", "", "a"}, {"b", "b", "a"}};
}

std::shared_ptr<const InvertedIndex> BuildIndex(const Texts& texts) {
  InvertedIndexBuilder builder;
  for (const auto& text : texts) builder.Add(text);
  return builder.Finish().value();
}

TEST(InvertedIndexTest, PostingsOfASmallCorpus) {
  const auto index = BuildIndex(SmallCorpus());
  EXPECT_EQ(index->num_documents(), 4);
  EXPECT_EQ(index->num_terms(), 4);
  EXPECT_EQ(index->total_length(), 9);
  EXPECT_EQ(index->FindTerm("b"), 0);
  EXPECT_EQ(index->FindTerm("a"), 1);
  EXPECT_EQ(index->FindTerm("c"), 2);
  EXPECT_EQ(index->FindTerm(""), 3);
  EXPECT_EQ(index->FindTerm("d"), InvertedIndex::kNotFound);
  EXPECT_EQ(index->term(2), "c");
  EXPECT_EQ(index->documents(0), (std::vector<uint32_t>{0, 3}));
  EXPECT_EQ(index->documents(1), (std::vector<uint32_t>{0, 2, 3}));
  // Documents 0 and 3 hold b twice among three terms: one code.
  const auto codes = index->codes<uint16_t>(0);
  EXPECT_EQ(codes[0], codes[1]);
  EXPECT_EQ(index->statistics()[codes[0]].occurrences, 2);
  EXPECT_EQ(index->statistics()[codes[0]].document_length, 3);
  EXPECT_EQ(index->statistics().size(), 2);
}

TEST(InvertedIndexTest, ManyTermsAreFound) {
  Texts texts(50);
  for (int64_t i = 0; i < 20000; ++i) {
    texts[i % 50].push_back(absl::StrCat("term", i));
  }
  const auto index = BuildIndex(texts);
  ASSERT_EQ(index->num_terms(), 20000);
  for (int64_t i = 0; i < 20000; ++i) {
    const std::string term = absl::StrCat("term", i);
    const int64_t number = index->FindTerm(term);
    ASSERT_NE(number, InvertedIndex::kNotFound);
    EXPECT_EQ(index->term(number), term);
    EXPECT_EQ(index->documents(number),
              (std::vector<uint32_t>{static_cast<uint32_t>(i % 50)}));
  }
}

TEST(InvertedIndexTest, DigestSeesOrderAndBoundaries) {
  const Texts texts = {{"ab", "c"}, {"d"}};
  EXPECT_EQ(BuildIndex(texts)->corpus_digest(), CorpusDigest(texts));
  for (const Texts& other :
       {Texts{{"c", "ab"}, {"d"}}, Texts{{"a", "bc"}, {"d"}},
        Texts{{"ab"}, {"c", "d"}}, Texts{{"d"}, {"ab", "c"}},
        Texts{{"ab", "c"}, {"d"}, {}}}) {
    EXPECT_NE(CorpusDigest(other), CorpusDigest(texts));
  }
}

TEST(InvertedIndexTest, BuilderIsEmptyAfterFinish) {
  InvertedIndexBuilder builder;
  EXPECT_EQ(builder.Finish().status().code(),
            absl::StatusCode::kInvalidArgument);
  const std::vector<absl::string_view> terms = {"a", "b"};
  builder.Add(terms);
  EXPECT_TRUE(builder.Finish().ok());
  EXPECT_FALSE(builder.Finish().ok());
}

// Without WriteFileAtomically's wait for the disk.
void Write(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

std::string SavedBytes(const std::string& path) {
  EXPECT_TRUE(Bm25Index::Build(SmallCorpus(), {})->Save(path).ok());
  return ReadFile(path).value();
}

// Makes the header's length and checksum right again, so that what comes after
// them has to find the damage.
void Reseal(std::string* bytes) {
  if (bytes->size() < 48) return;
  const uint64_t size = bytes->size();
  std::memcpy(&(*bytes)[32], &size, sizeof(size));
  const uint64_t checksum = XXH3_64bits_withSeed(
      bytes->data() + 48, bytes->size() - 48, XXH3_64bits(bytes->data(), 40));
  std::memcpy(&(*bytes)[40], &checksum, sizeof(checksum));
}

TEST(IndexFileTest, EveryTruncationAndEveryFlippedBitIsFound) {
  const std::string path = testing::TempDir() + "/" + kFuzzedName;
  const std::string bytes = SavedBytes(path);
  ASSERT_TRUE(Bm25Index::Load(path).ok());
  for (size_t size = 0; size < bytes.size(); size += 1 + size / 16) {
    Write(path, bytes.substr(0, size));
    const auto loaded = Bm25Index::Load(path);
    ASSERT_FALSE(loaded.ok()) << size;
    FuzzCheckError(loaded.status());
  }
  std::mt19937_64 random(1);
  for (int i = 0; i < 300; ++i) {
    std::string flipped = bytes;
    flipped[random() % bytes.size()] ^= 1 << random() % 8;
    Write(path, flipped);
    const auto loaded = Bm25Index::Load(path);
    ASSERT_FALSE(loaded.ok());
    FuzzCheckError(loaded.status());
  }
}

// A file whose checksum is right can still be a forgery: it is refused, or it
// answers without leaving its arrays.
TEST(IndexFileTest, MutatedAndResealed) {
  const std::string path = testing::TempDir() + "/" + kFuzzedName;
  const std::string bytes = SavedBytes(path);
  std::mt19937_64 random(2);
  int64_t num_loaded = 0, num_refused = 0;
  for (int i = 0; i < 4000; ++i) {
    std::string mutated = Mutate(
        bytes,
        {Mutation::kFlipBit, Mutation::kFlipBit, Mutation::kPlant,
         Mutation::kPlant, Mutation::kDrop, Mutation::kRepeat, Mutation::kCut},
        [](std::string* target, size_t at, const Below& below) {
          const uint32_t values[] = {0,          1,          4, 0x7fffffff,
                                     0x80000000, 0xffffffff, 64};
          const uint32_t value = values[below(7)];
          at -= at % 4;
          target->replace(at, std::min<size_t>(4, target->size() - at),
                          reinterpret_cast<const char*>(&value),
                          std::min<size_t>(4, target->size() - at));
        },
        &random);
    Reseal(&mutated);
    Write(path, mutated);
    const auto loaded = Bm25Index::Load(path);
    if (!loaded.ok()) {
      ++num_refused;
      FuzzCheckError(loaded.status());
      continue;
    }
    ++num_loaded;
    for (const char* term : {"a", "b", "c", "", "d"}) {
      FuzzCheck(loaded->Search({term, "a"}, 3).size() <= 3, "more than k");
      loaded->Scores({term});
      loaded->ScoresOf({term}, {0}).IgnoreError();
    }
  }
  // Both ends of the test are reached.
  EXPECT_GT(num_loaded, 20);
  EXPECT_GT(num_refused, 1000);
}

TEST(IndexFileTest, OtherFilesAreRefused) {
  const std::string path = testing::TempDir() + "/other";
  ASSERT_TRUE(WriteFileAtomically(path, std::string(1000, 'x')).ok());
  EXPECT_EQ(Bm25Index::Load(path).status().code(),
            absl::StatusCode::kInvalidArgument);
  ASSERT_TRUE(WriteIndexFile(path, IndexFileKind::kDense, 0, {"a"}).ok());
  const auto dense = Bm25Index::Load(path);
  EXPECT_EQ(dense.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(absl::StrContains(dense.status().message(), "kind"));
  // An inverted index that is not of BM25.
  std::string extra;
  ASSERT_TRUE(BuildIndex(SmallCorpus())->Save(path, "mine").ok());
  EXPECT_EQ(Bm25Index::Load(path).status().code(),
            absl::StatusCode::kInvalidArgument);
  const auto index = InvertedIndex::Load(path, std::nullopt, &extra);
  ASSERT_TRUE(index.ok()) << index.status();
  EXPECT_EQ(extra, "mine");
  EXPECT_FALSE(
      BuildIndex(SmallCorpus())->Save("/nonexistent/folder/x", "").ok());
}

}  // namespace
}  // namespace repro::retrieval
