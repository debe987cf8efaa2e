#include "common/retrieval/bm25.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace repro::retrieval {
namespace {

using Texts = std::vector<std::vector<std::string>>;

constexpr Bm25Variant kVariants[] = {
    Bm25Variant::kOkapiRankBm25, Bm25Variant::kRankBm25L,
    Bm25Variant::kRankBm25Plus,  Bm25Variant::kRobertson,
    Bm25Variant::kLucene,        Bm25Variant::kLuceneAccurate,
    Bm25Variant::kAtire,         Bm25Variant::kBm25L,
    Bm25Variant::kBm25Plus,
};

Bm25Options Options(Bm25Variant variant) {
  Bm25Options options;
  options.variant = variant;
  return options;
}

Texts Split(const std::vector<std::string>& texts) {
  Texts split;
  for (const std::string& text : texts) {
    split.push_back(absl::StrSplit(text, ' ', absl::SkipEmpty()));
  }
  return split;
}

// Lengths that Lucene's byte stands for, by the definition in SmallFloat.java
// written as a search: the largest that is not above the length.
double StoredLuceneLength(int64_t length) {
  int64_t best = 0;
  for (int64_t code = 0; code < 232; ++code) {
    // int4ToLong
    const int64_t bits = code & 7, shift = (code >> 3) - 1;
    const int64_t decoded = shift < 0 ? bits : (bits | 8) << shift;
    if (decoded + 24 <= length) best = std::max(best, decoded + 24);
  }
  return length < 24 ? length : best;
}

// The formulas of bm25.h for each document and word of the query, from the
// texts.
std::vector<double> BruteForce(const Texts& documents,
                               const std::vector<std::string>& query,
                               const Bm25Options& o) {
  const double n = documents.size();
  double total = 0;
  std::vector<std::string> words;  // in order of first occurrence
  absl::flat_hash_map<std::string, double> df;
  for (const auto& document : documents) {
    total += document.size();
    std::vector<std::string> seen;
    for (const std::string& word : document) {
      if (std::count(seen.begin(), seen.end(), word) > 0) continue;
      seen.push_back(word);
      if (df[word]++ == 0) words.push_back(word);
    }
  }
  const auto okapi = [&](double f) {
    return std::log(n - f + 0.5) - std::log(f + 0.5);
  };
  double mean_idf = 0;
  for (const std::string& word : words) mean_idf += okapi(df[word]);
  mean_idf /= words.size();

  std::vector<double> scores(documents.size());
  for (const std::string& word : query) {
    if (!df.contains(word)) continue;
    const double f = df[word];
    for (size_t d = 0; d < documents.size(); ++d) {
      const double tf =
          std::count(documents[d].begin(), documents[d].end(), word);
      double length = documents[d].size();
      if (o.variant == Bm25Variant::kLucene)
        length = StoredLuceneLength(length);
      const double norm = 1 - o.b + o.b * length / (total / n);
      const double saturated =
          tf == 0 ? 0 : tf * (o.k1 + 1) / (tf + o.k1 * norm);
      double delta = 1;
      switch (o.variant) {
        case Bm25Variant::kOkapiRankBm25:
          scores[d] +=
              (okapi(f) < 0 ? o.epsilon * mean_idf : okapi(f)) * saturated;
          break;
        case Bm25Variant::kRobertson:
          scores[d] += okapi(f) * saturated / (o.k1 + 1);
          break;
        case Bm25Variant::kLucene:
        case Bm25Variant::kLuceneAccurate:
          scores[d] +=
              std::log1p((n - f + 0.5) / (f + 0.5)) * saturated / (o.k1 + 1);
          break;
        case Bm25Variant::kAtire:
          scores[d] += std::log(n / f) * saturated;
          break;
        case Bm25Variant::kRankBm25L:
        case Bm25Variant::kBm25L: {
          if (tf == 0) break;
          delta = o.delta.value_or(0.5);
          const double c = tf / norm + delta;
          scores[d] += std::log((n + 1) / (f + 0.5)) * (o.k1 + 1) * c /
                       (o.k1 + c) *
                       (o.variant == Bm25Variant::kRankBm25L ? tf : 1);
          break;
        }
        case Bm25Variant::kBm25Plus:
          if (tf == 0) break;
          [[fallthrough]];
        case Bm25Variant::kRankBm25Plus:
          scores[d] +=
              std::log((n + 1) / f) * (o.delta.value_or(delta) + saturated);
          break;
      }
    }
  }
  return scores;
}

// Words w0, w1, ... where early ones are frequent: w0 is in most documents.
Texts RandomTexts(int64_t num, int64_t max_length, int64_t num_words,
                  std::mt19937_64* random) {
  Texts texts(num);
  for (auto& text : texts) {
    const int64_t length =
        std::uniform_int_distribution<int64_t>(0, max_length)(*random);
    for (int64_t i = 0; i < length; ++i) {
      const double u = std::uniform_real_distribution<double>(0, 1)(*random);
      text.push_back(
          absl::StrCat("w", static_cast<int64_t>(std::pow(num_words, u)) - 1));
    }
  }
  return texts;
}

std::vector<ScoredDocument> SortedByScore(const std::vector<double>& scores,
                                          int64_t k) {
  std::vector<ScoredDocument> ranking;
  for (size_t d = 0; d < scores.size(); ++d) {
    ranking.push_back({static_cast<int64_t>(d), scores[d]});
  }
  std::sort(ranking.begin(), ranking.end(), RanksBefore());
  ranking.resize(std::min<size_t>(std::max<int64_t>(k, 0), ranking.size()));
  return ranking;
}

void ExpectClose(const std::vector<double>& a, const std::vector<double>& b,
                 const std::string& what) {
  ASSERT_EQ(a.size(), b.size()) << what;
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_NEAR(a[i], b[i], 1e-13 * std::max(1.0, std::abs(b[i])))
        << what << " document " << i;
  }
}

// a is in two of three documents of lengths 2, 3, 1 (mean 2), k1 = 1, b = 0.5.
// By hand: idf(a) = ln(3/2), B = 1, 1.25, 0.75; document 1 has a twice.
TEST(Bm25Test, ThreeDocumentsByHand) {
  Bm25Options options = Options(Bm25Variant::kAtire);
  options.k1 = 1;
  options.b = 0.5;
  const auto index = Bm25Index::Build(Split({"a b", "a a c", "d"}), options);
  ASSERT_TRUE(index.ok()) << index.status();
  const double idf = std::log(1.5);
  EXPECT_DOUBLE_EQ(index->Idf("a"), idf);
  const std::vector<double> scores = index->Scores({"a"});
  EXPECT_DOUBLE_EQ(scores[0], idf * 1 * 2 / (1 + 1));
  EXPECT_DOUBLE_EQ(scores[1], idf * 2 * 2 / (2 + 1.25));
  EXPECT_EQ(scores[2], 0);
  EXPECT_EQ(index->Search({"a"}, 2),
            (std::vector<ScoredDocument>{{1, scores[1]}, {0, scores[0]}}));
}

// pip install rank-bm25==0.2.2 numpy==2.4.6
// python3 -c 'import rank_bm25
// docs = ["hello there good man", "it is quite windy in london",
//         "how is the weather today", "the weather in london is windy is
//         windy"]
// for c in rank_bm25.BM25Okapi, rank_bm25.BM25L, rank_bm25.BM25Plus:
//   s = c([d.split(" ") for d in docs]).get_scores("is windy london
//   is".split()) print([repr(float(x)) for x in s])'
TEST(Bm25Test, ValuesOfRankBm25) {
  const Texts documents = Split(
      {"hello there good man", "it is quite windy in london",
       "how is the weather today", "the weather in london is windy is windy"});
  const std::vector<std::string> query = {"is", "windy", "london", "is"};
  const struct {
    Bm25Variant variant;
    std::vector<double> scores;
  } expected[] = {
      {Bm25Variant::kOkapiRankBm25,
       {0.0, 0.20775960329323756, 0.22503291904048134, 0.2687979419159405}},
      {Bm25Variant::kRankBm25L,
       {0.0, 2.596634510063218, 0.9227927328647432, 4.853387953527845}},
      {Bm25Variant::kRankBm25Plus,
       {2.854232711280291, 5.653693366267358, 3.9395896948015654,
        6.0925154343857875}},
  };
  for (const auto& e : expected) {
    const auto index = Bm25Index::Build(documents, Options(e.variant));
    ASSERT_TRUE(index.ok()) << index.status();
    ExpectClose(index->Scores(query), e.scores, Bm25VariantName(e.variant));
  }
}

TEST(Bm25Test, EveryVariantAgreesWithBruteForce) {
  std::mt19937_64 random(1);
  for (const Bm25Variant variant : kVariants) {
    for (const double b : {0.0, 0.75, 1.0}) {
      const Texts documents = RandomTexts(150, 60, 80, &random);
      Bm25Options options = Options(variant);
      options.b = b;
      options.k1 = b == 0 ? 0 : 1.2;
      if (b == 1) options.delta = 0.3;
      const auto index = Bm25Index::Build(documents, options);
      ASSERT_TRUE(index.ok()) << index.status();
      for (const auto& query : RandomTexts(10, 12, 100, &random)) {
        ExpectClose(index->Scores(query), BruteForce(documents, query, options),
                    absl::StrCat(Bm25VariantName(variant), " b=", b));
      }
    }
  }
}

// Search skips what it can; it must give what sorting all scores gives, to the
// last bit, over several windows of documents, in corpora where many scores are
// equal too (short documents of few words).
TEST(Bm25Test, SearchIsTheSortedScores) {
  std::mt19937_64 random(2);
  const struct {
    int64_t num_documents, max_length, num_words;
  } corpora[] = {{9000, 20, 3000}, {5000, 3, 6}, {300, 400, 5000}, {1, 5, 3}};
  for (const auto& c : corpora) {
    const Texts documents =
        RandomTexts(c.num_documents, c.max_length, c.num_words, &random);
    for (const Bm25Variant variant : kVariants) {
      const auto index = Bm25Index::Build(documents, Options(variant));
      ASSERT_TRUE(index.ok()) << index.status();
      for (const auto& query : RandomTexts(12, 9, c.num_words * 2, &random)) {
        const std::vector<double> scores = index->Scores(query);
        for (const int64_t k : {1, 10, 150, 100000}) {
          EXPECT_EQ(index->Search(query, k), SortedByScore(scores, k))
              << Bm25VariantName(variant) << ", " << c.num_documents
              << " documents, k = " << k << ", query of " << query.size();
        }
      }
    }
  }
}

TEST(Bm25Test, ScoresOfSomeDocuments) {
  std::mt19937_64 random(3);
  const auto index = Bm25Index::Build(RandomTexts(500, 30, 100, &random),
                                      Options(Bm25Variant::kRankBm25Plus));
  ASSERT_TRUE(index.ok()) << index.status();
  const std::vector<std::string> query = {"w0", "w3", "w3", "w20", "none"};
  const std::vector<double> all = index->Scores(query);
  const auto some = index->ScoresOf(query, {499, 0, 7, 7});
  ASSERT_TRUE(some.ok()) << some.status();
  EXPECT_EQ(*some, (std::vector<double>{all[499], all[0], all[7], all[7]}));
  for (const int64_t id : {-1, 500}) {
    EXPECT_EQ(index->ScoresOf(query, {id}).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
}

TEST(Bm25Test, OtherOptionsShareThePostings) {
  std::mt19937_64 random(4);
  const Texts documents = RandomTexts(200, 30, 100, &random);
  const auto okapi = Bm25Index::Build(documents, {});
  ASSERT_TRUE(okapi.ok());
  for (const Bm25Variant variant : kVariants) {
    const auto changed = okapi->WithOptions(Options(variant));
    const auto built = Bm25Index::Build(documents, Options(variant));
    ASSERT_TRUE(changed.ok() && built.ok());
    EXPECT_EQ(&changed->inverted_index(), &okapi->inverted_index());
    EXPECT_EQ(changed->Scores({"w1", "w5"}), built->Scores({"w1", "w5"}));
  }
}

// More pairs of occurrences and length than 16 bits number.
TEST(Bm25Test, WideCodes) {
  std::mt19937_64 random(5);
  Texts documents;
  for (int64_t length = 1; length <= 400; ++length) {
    documents.emplace_back();
    for (int64_t i = 0, word = 0; i < length; ++word) {
      for (int64_t n = 0; n <= word && i < length; ++n, ++i) {
        documents.back().push_back(absl::StrCat("w", word));
      }
    }
  }
  // Lengths of 10,000 and up, each with 20 numbers of occurrences.
  for (int64_t d = 0; d < 4000; ++d) {
    documents.emplace_back(d + 250, "w0");
    for (int64_t word = 1, at = 0; word <= 20; ++word) {
      for (int64_t n = 0; n < word; ++n) {
        documents.back()[at++] = absl::StrCat("w", word);
      }
    }
  }
  const auto index = Bm25Index::Build(documents, {});
  ASSERT_TRUE(index.ok()) << index.status();
  ASSERT_TRUE(index->inverted_index().wide_codes());
  const std::vector<std::string> query = {"w3", "w7", "w0", "w25"};
  EXPECT_EQ(index->Search(query, 50), SortedByScore(index->Scores(query), 50));
  const auto some = index->ScoresOf(query, {4399});
  ASSERT_TRUE(some.ok());
  EXPECT_EQ(some->front(), index->Scores(query)[4399]);
  const std::string path = testing::TempDir() + "/wide.index";
  ASSERT_TRUE(index->Save(path).ok());
  const auto loaded = Bm25Index::Load(path, CorpusDigest(documents));
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->Search(query, 50), index->Search(query, 50));
}

TEST(Bm25Test, EmptyAndUnknown) {
  EXPECT_EQ(Bm25Index::Build({}, {}).status().code(),
            absl::StatusCode::kInvalidArgument);
  const auto nothing = Bm25Index::Build({{}, {}}, {});
  ASSERT_TRUE(nothing.ok()) << nothing.status();
  EXPECT_EQ(nothing->Search({"a"}, 5),
            (std::vector<ScoredDocument>{{0, 0}, {1, 0}}));

  const auto index = Bm25Index::Build(Split({"a b", "c", "b b"}), {});
  ASSERT_TRUE(index.ok());
  const std::vector<ScoredDocument> zeros = {{0, 0}, {1, 0}, {2, 0}};
  EXPECT_EQ(index->Search({}, 5), zeros);
  EXPECT_EQ(index->Search({"unknown", ""}, 5), zeros);
  EXPECT_TRUE(index->Search({"a"}, 0).empty());
  EXPECT_TRUE(index->Search({"a"}, -1).empty());
  EXPECT_EQ(index->Search({"a"}, std::numeric_limits<int64_t>::max()).size(),
            3);
  EXPECT_EQ(index->Idf("unknown"), 0);
}

TEST(Bm25Test, OptionsOutOfRange) {
  const double nan = std::nan("");
  const double infinity = std::numeric_limits<double>::infinity();
  for (const double k1 : {-0.1, nan, infinity, 1e300}) {
    Bm25Options options;
    options.k1 = k1;
    const auto index = Bm25Index::Build(Split({"a"}), options);
    EXPECT_EQ(index.status().code(), absl::StatusCode::kInvalidArgument) << k1;
    EXPECT_TRUE(absl::StrContains(index.status().message(), "k1"));
  }
  for (const double b : {-0.1, 1.1, nan}) {
    Bm25Options options;
    options.b = b;
    EXPECT_FALSE(Bm25Index::Build(Split({"a"}), options).ok()) << b;
  }
  Bm25Options huge;
  huge.k1 = 1e9;
  const Texts documents = Split({"a a b", "b", "c"});
  const auto index = Bm25Index::Build(documents, huge);
  ASSERT_TRUE(index.ok()) << index.status();
  ExpectClose(index->Scores({"a"}), BruteForce(documents, {"a"}, huge), "huge");
}

TEST(Bm25Test, Names) {
  for (const Bm25Variant variant : kVariants) {
    const auto parsed = ParseBm25VariantName(Bm25VariantName(variant));
    ASSERT_TRUE(parsed.ok());
    EXPECT_EQ(*parsed, variant);
  }
  EXPECT_TRUE(absl::StrContains(ParseBm25VariantName("bm26").status().message(),
                                "okapi_rank_bm25"));
}

TEST(Bm25Test, SavedAndLoaded) {
  std::mt19937_64 random(6);
  const Texts documents = RandomTexts(300, 30, 200, &random);
  Bm25Options options = Options(Bm25Variant::kBm25L);
  options.delta = 0.25;
  options.k1 = 0.9;
  const auto built = Bm25Index::Build(documents, options);
  ASSERT_TRUE(built.ok());
  const std::string path = testing::TempDir() + "/bm25.index";
  ASSERT_TRUE(built->Save(path).ok());
  const auto loaded = Bm25Index::Load(path, CorpusDigest(documents));
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->options().delta, 0.25);
  EXPECT_EQ(loaded->options().k1, 0.9);
  for (const auto& query : RandomTexts(20, 8, 200, &random)) {
    EXPECT_EQ(loaded->Search(query, 20), built->Search(query, 20));
  }

  Texts changed = documents;
  changed[7].push_back("more");
  const auto refused = Bm25Index::Load(path, CorpusDigest(changed));
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(absl::StrContains(refused.status().message(), path));
  EXPECT_TRUE(absl::StrContains(refused.status().message(), "another corpus"));
  EXPECT_EQ(Bm25Index::Load(path + ".none").status().code(),
            absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace repro::retrieval
