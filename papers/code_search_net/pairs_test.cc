#include "papers/code_search_net/pairs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/data/io.h"

namespace repro::code_search_net {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

std::string WriteTemporary(const std::string& name,
                           const std::string& content) {
  const std::string path = absl::StrCat(testing::TempDir(), "/", name);
  EXPECT_TRUE(WriteFileAtomically(path, content).ok());
  return path;
}

TEST(ReadPairsTest, TakesBothSchemas) {
  const auto pairs = ReadPairs(WriteTemporary(
      "pairs.jsonl",
      R"({"nl": ["Adds", "one"], "pl": ["return", "x"]})"
      "\n"
      R"({"docstring_tokens": ["Empty"], "code_tokens": [], "url": "u"})"));
  ASSERT_TRUE(pairs.ok()) << pairs.status();
  ASSERT_EQ(pairs->size(), 2);
  EXPECT_THAT((*pairs)[0].documentation, ElementsAre("Adds", "one"));
  EXPECT_THAT((*pairs)[0].code, ElementsAre("return", "x"));
  EXPECT_THAT((*pairs)[1].documentation, ElementsAre("Empty"));
}

TEST(ReadPairsTest, SaysWhereTheInputIsWrong) {
  const auto error = [](const std::string& content) {
    const auto pairs = ReadPairs(WriteTemporary("bad.jsonl", content));
    EXPECT_FALSE(pairs.ok()) << content;
    return std::string(pairs.status().message());
  };
  EXPECT_THAT(error("{\"nl\": [], \"pl\": []}\n{\"nl\": []}\n"),
              HasSubstr("bad.jsonl:2: neither"));
  EXPECT_THAT(error("[1]\n"), HasSubstr("neither"));
  EXPECT_THAT(error("{\"nl\": \"text\", \"pl\": []}\n"),
              HasSubstr("nl is not a list"));
  EXPECT_THAT(error("{\"nl\": [], \"pl\": [1]}\n"),
              HasSubstr("pl holds something but strings"));
  EXPECT_THAT(error("{\"nl\": [\n"), HasSubstr("bad.jsonl:1"));
}

TEST(DistinctDocumentationTest, KeepsTheFirst) {
  const std::vector<Pair> distinct =
      DistinctDocumentation({{{"a"}, {"1"}}, {{"b"}, {"2"}}, {{"a"}, {"3"}}});
  ASSERT_EQ(distinct.size(), 2);
  EXPECT_THAT(distinct[0].code, ElementsAre("1"));
  EXPECT_THAT(distinct[1].code, ElementsAre("2"));
}

TEST(ReadCosqaTest, PartsDocumentationFromCode) {
  const std::string codebase = WriteTemporary(
      "codebase.jsonl",
      R"("def add(a, b):\n    \"\"\"Adds numbers.\n\n    More.\"\"\"\n    return a + b")"
      "\n"
      R"("x = 1")"
      "\n");
  const std::string queries = WriteTemporary(
      "queries.tsv", "idx\tquery\tretrieval_idx\nc-1\tpython sum two\t0\n");
  const auto cosqa = ReadCosqa(codebase, {queries});
  ASSERT_TRUE(cosqa.ok()) << cosqa.status();
  ASSERT_EQ(cosqa->functions.size(), 2);
  EXPECT_THAT(cosqa->functions[0].documentation, Contains("numbers"));
  EXPECT_THAT(cosqa->functions[0].documentation, Not(Contains("More")));
  EXPECT_THAT(cosqa->functions[0].code,
              ElementsAre("def", "add", "(", "a", ",", "b", ")", ":", "return",
                          "a", "+", "b"));
  EXPECT_TRUE(cosqa->functions[1].documentation.empty());
  ASSERT_EQ(cosqa->queries.size(), 1);
  EXPECT_EQ(cosqa->queries[0].text, "python sum two");
  EXPECT_EQ(cosqa->queries[0].function, 0);

  const auto error = [&](const std::string& table) {
    return std::string(ReadCosqa(codebase, {WriteTemporary("bad.tsv", table)})
                           .status()
                           .message());
  };
  EXPECT_THAT(error("idx\tquery\tretrieval_idx\na\tq\t2\n"),
              HasSubstr("bad.tsv:2: no function '2'"));
  EXPECT_THAT(error("idx\tquery\tretrieval_idx\na\tq\t-1\n"),
              HasSubstr("no function"));
  EXPECT_THAT(error("idx\tquery\n"), HasSubstr("2 fields, expected 3"));
  EXPECT_THAT(error("a\tb\tc\n"), HasSubstr("expected idx"));
  EXPECT_FALSE(ReadCosqa(WriteTemporary("bad.jsonl", "{\"a\": 1}\n"), {}).ok());
}

TEST(Bm25Test, RanksBySharedWordsAndTiesByPosition) {
  // The second documentation shares no word with any function: all tie.
  const auto ranks =
      Bm25ReciprocalRanks({{{"parse", "JSON"}, {"def", "parseJson", "(", ")"}},
                           {{"nothing"}, {"def", "close", "(", ")"}},
                           {{"sort"}, {"def", "sort_list", "(", ")"}}},
                          LuceneOptions());
  ASSERT_TRUE(ranks.ok()) << ranks.status();
  EXPECT_THAT(*ranks, ElementsAre(1, 0.5, 1));
  EXPECT_FALSE(Bm25ReciprocalRanks({}, LuceneOptions()).ok());
}

}  // namespace
}  // namespace repro::code_search_net
