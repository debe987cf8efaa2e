#include "papers/code_search_net/retriever.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace repro::code_search_net {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// Words of documentation and code correspond one to one.
std::vector<Pair> Toy(int first, int count) {
  const char* words[] = {"red", "blue", "green", "black", "white", "grey"};
  std::vector<Pair> pairs;
  for (int i = first; i < first + count; ++i) {
    const std::string a = words[i % 6], b = words[(i / 6) % 6];
    pairs.push_back({{a, b}, {absl::StrCat("x", a), absl::StrCat("x", b)}});
  }
  return pairs;
}

RetrieverOptions ToyOptions(const std::string& encoder) {
  RetrieverOptions options;
  options.query_encoder = options.code_encoder = encoder;
  options.batch_size = 12;
  options.max_epochs = 8;
  options.max_query_length = options.max_code_length = 4;
  return options;
}

TEST(VocabularyTest, KeepsTheMostFrequent) {
  const Vocabulary vocabulary({{"b", "a", "c"}, {"c", "b"}, {"c"}}, 4);
  EXPECT_EQ(vocabulary.size(), 4);
  EXPECT_THAT(vocabulary.Ids({"c", "b", "a", "zzz"}),
              ElementsAre(2, 3, Vocabulary::kUnknown, Vocabulary::kUnknown));
}

TEST(RetrieverTest, BagOfWordsLearnsCorrespondences) {
  const auto retriever =
      Retriever::Train(Toy(0, 24), Toy(24, 12), ToyOptions("nbow"));
  ASSERT_TRUE(retriever.ok()) << retriever.status();
  for (const bool as_coded : {false, true}) {
    const auto mrr = retriever->MeanReciprocalRank(Toy(0, 24), 12, as_coded);
    ASSERT_TRUE(mrr.ok()) << mrr.status();
    // A random order has 0.259.
    EXPECT_GT(*mrr, 0.5);
  }
}

TEST(RetrieverTest, VectorsHaveLengthOneAndFollowTheSeed) {
  RetrieverOptions options = ToyOptions("selfatt");
  options.max_epochs = 1;
  const auto encode = [&] {
    const auto retriever = Retriever::Train(Toy(0, 12), Toy(24, 6), options);
    EXPECT_TRUE(retriever.ok()) << retriever.status();
    return retriever->EncodeQueries({{"red", "blue"}});
  };
  const std::vector<float> first = encode();
  ASSERT_EQ(first.size(), 128);
  double norm = 0;
  for (const float x : first) norm += static_cast<double>(x) * x;
  EXPECT_NEAR(norm, 1, 1e-5);
  EXPECT_EQ(encode(), first);
  options.seed = 1;
  EXPECT_NE(encode(), first);
}

TEST(RetrieverTest, RefusesWhatCannotBeTrained) {
  EXPECT_EQ(Retriever::Train({}, Toy(0, 6), ToyOptions("nbow")).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(
      std::string(Retriever::Train(Toy(0, 6), Toy(6, 6), ToyOptions("gpt"))
                      .status()
                      .message()),
      HasSubstr("selfatt"));
  RetrieverOptions options = ToyOptions("nbow");
  options.batch_size = 1;
  EXPECT_FALSE(Retriever::Train(Toy(0, 6), Toy(6, 6), options).ok());
  options = ToyOptions("nbow");
  options.stop = [](int64_t, double) { return true; };
  EXPECT_EQ(Retriever::Train(Toy(0, 6), Toy(6, 6), options).status().code(),
            absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace repro::code_search_net
