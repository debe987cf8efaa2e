#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/assets/test_asset.h"
#include "common/data/io.h"
#include "papers/probing_code_models/mini_language.h"
#include "papers/probing_code_models/released_scores.h"
#include "papers/probing_code_models/spans.h"

namespace repro::probing_code_models {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::UnorderedElementsAre;

// ---- Released scores --------------------------------------------------------

// The examples of limit_denominator in CPython's documentation of fractions.
TEST(NearestFraction, KnownValues) {
  const auto nearest = [](double value, int64_t limit) {
    const auto fraction = NearestFraction(value, limit);
    EXPECT_TRUE(fraction.ok()) << fraction.status();
    return std::make_pair(fraction->numerator, fraction->denominator);
  };
  EXPECT_EQ(nearest(M_PI / 4, 1000),
            std::make_pair(int64_t{355}, int64_t{452}));
  EXPECT_EQ(nearest(std::cos(M_PI / 3), 1000000),
            std::make_pair(int64_t{1}, int64_t{2}));
  EXPECT_EQ(nearest(0.1, 1000000), std::make_pair(int64_t{1}, int64_t{10}));
  EXPECT_EQ(nearest(0, 7), std::make_pair(int64_t{0}, int64_t{1}));
  EXPECT_EQ(nearest(1, 7), std::make_pair(int64_t{1}, int64_t{1}));
  // The first released accuracy.
  EXPECT_EQ(nearest(0.9253856355133664, 200000),
            std::make_pair(int64_t{13258}, int64_t{14327}));
}

TEST(NearestFraction, IsTheNearestOfAll) {
  std::mt19937_64 random(1);
  std::uniform_real_distribution<double> uniform(1e-6, 1);
  for (int trial = 0; trial < 2000; ++trial) {
    const double value = uniform(random);
    const int64_t limit = 1 + static_cast<int64_t>(random() % 60);
    long double best = 2;
    for (int64_t q = 1; q <= limit; ++q) {
      const auto p = std::llround(value * static_cast<double>(q));
      best = std::min(best, std::fabs(static_cast<long double>(p) / q - value));
    }
    const auto fraction = NearestFraction(value, limit);
    ASSERT_TRUE(fraction.ok());
    EXPECT_LE(fraction->denominator, limit);
    EXPECT_NEAR(static_cast<double>(
                    std::fabs(static_cast<long double>(fraction->numerator) /
                                  fraction->denominator -
                              value)),
                static_cast<double>(best), 1e-17)
        << value << " " << limit;
  }
}

TEST(NearestFraction, RefusesWhatHasNone) {
  for (const double value : {-0.1, 1.1, 1e-13, std::nan("")}) {
    EXPECT_TRUE(absl::IsInvalidArgument(NearestFraction(value, 10).status()))
        << value;
  }
  EXPECT_TRUE(absl::IsInvalidArgument(NearestFraction(0.5, 0).status()));
  EXPECT_TRUE(
      absl::IsInvalidArgument(NearestFraction(0.5, int64_t{1} << 31).status()));
}

Confusion DrawCounts(std::mt19937_64& random) {
  const auto draw = [&] { return 1 + static_cast<int64_t>(random() % 9000); };
  Confusion counts;
  counts.true_positives = draw();
  counts.false_positives = draw();
  counts.false_negatives = draw();
  counts.true_negatives = draw();
  return counts;
}

TEST(RecoverConfusion, GivesBackWhatWasCounted) {
  std::mt19937_64 random(2);
  for (int trial = 0; trial < 500; ++trial) {
    const Confusion counts = DrawCounts(random);
    const auto again = RecoverConfusion(ScoreOf(counts), counts.items());
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(again->true_positives, counts.true_positives);
    EXPECT_EQ(again->false_positives, counts.false_positives);
    EXPECT_EQ(again->false_negatives, counts.false_negatives);
    EXPECT_EQ(again->true_negatives, counts.true_negatives);
  }
}

TEST(RecoverTestSize, GivesBackWhatWasCounted) {
  std::mt19937_64 random(3);
  for (int trial = 0; trial < 200; ++trial) {
    const int64_t items = 2 + static_cast<int64_t>(random() % 50000);
    std::vector<double> accuracies;
    for (int i = 0; i < 60; ++i) {
      accuracies.push_back(
          static_cast<double>(random() % static_cast<uint64_t>(items + 1)) /
          static_cast<double>(items));
    }
    const auto recovered = RecoverTestSize(accuracies);
    ASSERT_TRUE(recovered.ok()) << recovered.status();
    EXPECT_EQ(*recovered, items);
  }
}

TEST(RecoverTestSize, RefusesWhatIsOfNoSet) {
  const auto error = [](const std::vector<double>& accuracies, int64_t limit) {
    const auto items = RecoverTestSize(accuracies, limit);
    EXPECT_TRUE(absl::IsInvalidArgument(items.status()));
    return std::string(items.status().message());
  };
  EXPECT_THAT(error({}, 10), HasSubstr("no accuracies"));
  EXPECT_THAT(error({std::sqrt(0.5)}, 200000), HasSubstr("is not a share"));
  EXPECT_THAT(error({1.0 / 7, 1.0 / 11}, 76), HasSubstr("not of one set"));
  EXPECT_EQ(*RecoverTestSize({1.0 / 7, 1.0 / 11}, 77), 77);
}

TEST(RecoverConfusion, RefusesWhatDoesNotDetermineIt) {
  const auto recover = [](double a, double p, double r, int64_t items) {
    Score score;
    score.accuracy = a;
    score.precision = p;
    score.recall = r;
    return RecoverConfusion(score, items).status();
  };
  EXPECT_TRUE(absl::IsInvalidArgument(recover(0.5, 0, 0, 10)));
  EXPECT_TRUE(absl::IsInvalidArgument(recover(1, 1, 1, 10)));
  // 9 errors of 10, of which hardly any can come from so good a precision.
  EXPECT_TRUE(absl::IsInvalidArgument(recover(0.1, 0.99, 0.99, 10)));
}

// TP 6846, FP 756, FN 313, TN 6412 of the first released run.
TEST(ScoreOf, IsTheFirstReleasedRun) {
  Confusion counts;
  counts.true_positives = 6846;
  counts.false_positives = 756;
  counts.false_negatives = 313;
  counts.true_negatives = 6412;
  EXPECT_EQ(counts.items(), 14327);
  EXPECT_EQ(counts.positives(), 7159);
  const Score score = ScoreOf(counts);
  EXPECT_EQ(score.accuracy, 0.9253856355133664);
  EXPECT_EQ(score.precision, 0.9005524861878453);
  EXPECT_EQ(score.recall, 0.9562788098896494);
  EXPECT_EQ(score.f1, 0.9275794322877854);
  EXPECT_EQ(score.mcc, 0.8524083962524117);
}

TEST(ScoreOf, MccIsTheCorrelationOfTheIndicators) {
  std::mt19937_64 random(4);
  for (int trial = 0; trial < 100; ++trial) {
    const Confusion c = DrawCounts(random);
    // Pearson's r of two 0/1 vectors by its definition.
    const auto n = static_cast<double>(c.items());
    const double predicted = (c.true_positives + c.false_positives) / n;
    const double actual = (c.true_positives + c.false_negatives) / n;
    const double covariance = c.true_positives / n - predicted * actual;
    EXPECT_NEAR(ScoreOf(c).mcc,
                covariance / std::sqrt(predicted * (1 - predicted) * actual *
                                       (1 - actual)),
                1e-12);
  }
  const auto mcc = [](int64_t tp, int64_t fp, int64_t fn, int64_t tn) {
    return ScoreOf({tp, fp, fn, tn}).mcc;
  };
  EXPECT_EQ(mcc(5, 0, 0, 7), 1);
  EXPECT_EQ(mcc(0, 7, 5, 0), -1);
  EXPECT_EQ(mcc(5, 7, 0, 0), 0);
  EXPECT_EQ(mcc(0, 0, 0, 0), 0);
}

constexpr char kHeader[] =
    "task,dataset,init,model,graph,layer,repeat,acc,precision,recall,f1,mcc\n";

std::string TempFile(const std::string& content) {
  const std::string path = absl::StrCat(testing::TempDir(), "/scores.csv");
  EXPECT_TRUE(WriteFileAtomically(path, content).ok());
  return path;
}

TEST(ReadScores, OrdersAndAverages) {
  const auto scores = ReadScores(TempFile(absl::StrCat(
      kHeader, "isInGraph,poj,plm,codebert,cdg,0,1,.5,.5,.5,.5,.2\n",
      "isInGraph,poj,plm,codebert,cdg,0,2,.5,.5,.5,.7,.4\n",
      "isInGraph,poj,plm,codebert,cdg,1,1,.5,.5,.5,.5,.25\n",
      "isInGraph,poj,plm,codebert,cdg,3,1,.5,.5,.5,.5,-1\n",
      "isInGraph,poj,random,codebert,cdg,0,1,.5,.5,.5,.5,.3\n")));
  ASSERT_TRUE(scores.ok()) << scores.status();
  const Layers& layers =
      scores->at({"isInGraph", "poj", "cdg", "codebert", "plm"});
  EXPECT_EQ(layers.size(), 3u);
  EXPECT_NEAR(MeanOf(layers.at(0), &Score::f1), 0.6, 1e-15);
  // .3 of layer 0 is above .25 of layer 1.
  EXPECT_EQ(BestLayer(layers), 0);
  EXPECT_EQ(scores->size(), 2u);
}

TEST(ReadScores, SaysWhatIsWrongAndWhere) {
  const auto error = [](const std::string& content) {
    const auto scores = ReadScores(TempFile(content));
    EXPECT_TRUE(absl::IsInvalidArgument(scores.status())) << content;
    return std::string(scores.status().message());
  };
  const auto row = [](const std::string& end) {
    return absl::StrCat(kHeader, "isInGraph,poj,plm,codebert,cdg,", end, "\n");
  };
  EXPECT_THAT(error(kHeader), HasSubstr("no scores"));
  EXPECT_THAT(error(row("-1,1,.5,.5,.5,.5,.2")),
              HasSubstr(":2: column 'layer'"));
  EXPECT_THAT(error(row("0,2,.5,.5,.5,.5,.2")),
              HasSubstr(":2: column 'repeat'"));
  EXPECT_THAT(error(row("0,1,1.5,.5,.5,.5,.2")), HasSubstr(":2: column 'acc'"));
  EXPECT_THAT(error(row("0,1,.5,.5,.5,nan,.2")), HasSubstr("'f1'"));
  EXPECT_THAT(error(row("0,1,.5,.5,.5,.5,-2")), HasSubstr(":2: column 'mcc'"));
  EXPECT_THAT(error(row("0,1,.5,.5,.5,.5,x")), HasSubstr(":2: column 'mcc'"));
  EXPECT_THAT(error(row("0,1,.5")), HasSubstr(":2: "));
  EXPECT_THAT(error(""), HasSubstr("scores.csv"));
  EXPECT_FALSE(ReadScores(TempFile("task,dataset\na,b\n")).ok());
  EXPECT_TRUE(absl::IsNotFound(ReadScores("/none/such.csv").status()));
}

TEST(ReadScores, ReadsTheReleasedTable) {
  const std::string path =
      FindTestAsset("probing_code_models/layer_scores.csv.gz");
  if (path.empty()) GTEST_SKIP() << "no released scores on this machine";
  const auto scores = ReadScores(path);
  ASSERT_TRUE(scores.ok()) << scores.status();
  // 7 tasks, 2 corpora, 4 encoders, trained and random.
  EXPECT_EQ(scores->size(), 112u);
  for (const auto& [probe, layers] : *scores) {
    EXPECT_EQ(layers.size(), 13u);
    for (const auto& [layer, repeats] : layers) {
      EXPECT_EQ(repeats.size(), probe.task == "link_prediction" ? 3u : 4u);
    }
  }
}

// ---- Spans and tags ---------------------------------------------------------

PairPieces Resolve(Span a, Span b,
                   OverlapRule rule = OverlapRule::kAsPublished) {
  const auto pair = ResolveOverlap(a, b, rule);
  EXPECT_TRUE(pair.ok()) << pair.status();
  return pair->value();
}

TEST(ResolveOverlap, WorkedExamples) {
  EXPECT_THAT(Resolve({2, 9}, {4, 6}).first,
              ElementsAre(Span{2, 3}, Span{7, 9}));
  EXPECT_THAT(Resolve({2, 9}, {4, 6}).second, ElementsAre(Span{4, 6}));
  // A tie cuts the second.
  EXPECT_THAT(Resolve({2, 6}, {5, 9}).first, ElementsAre(Span{2, 6}));
  EXPECT_THAT(Resolve({2, 6}, {5, 9}).second, ElementsAre(Span{7, 9}));
  EXPECT_THAT(Resolve({0, 3}, {4, 9}).second, ElementsAre(Span{4, 9}));
  EXPECT_EQ(*ResolveOverlap({3, 5}, {3, 5}), std::nullopt);
  // As coded for inGraph: only where the first is the longer.
  EXPECT_THAT(Resolve({2, 9}, {4, 6}, OverlapRule::kInGraphAsCoded).second,
              ElementsAre(Span{4, 6}, Span{4, 6}));
  EXPECT_THAT(Resolve({4, 6}, {2, 9}, OverlapRule::kInGraphAsCoded).first,
              ElementsAre(Span{4, 6}));
  EXPECT_THAT(Resolve({0, 3}, {4, 5}, OverlapRule::kInGraphAsCoded).second,
              ElementsAre(Span{4, 5}));
}

// All pairs of spans of seven tokens, as sets of tokens.
TEST(ResolveOverlap, LeavesEveryTokenToOneNode) {
  const auto tokens = [](const Pieces& pieces) {
    std::set<int64_t> set;
    for (const Span& span : pieces) {
      EXPECT_LE(span.begin, span.end);
      for (int64_t t = span.begin; t <= span.end; ++t) set.insert(t);
    }
    return set;
  };
  std::vector<Span> spans;
  for (int64_t begin = 0; begin < 7; ++begin) {
    for (int64_t end = begin; end < 7; ++end) spans.push_back({begin, end});
  }
  for (const Span& a : spans) {
    for (const Span& b : spans) {
      if (a == b) continue;
      const PairPieces pair = Resolve(a, b);
      const std::set<int64_t> of_a = tokens({a}), of_b = tokens({b});
      std::set<int64_t> expected_a = of_a, expected_b = of_b;
      std::set<int64_t>& cut =
          of_a.size() > of_b.size() ? expected_a : expected_b;
      for (const int64_t t : of_a.size() > of_b.size() ? of_b : of_a) {
        cut.erase(t);
      }
      EXPECT_EQ(tokens(pair.first), expected_a);
      EXPECT_EQ(tokens(pair.second), expected_b);
      EXPECT_FALSE(pair.first.empty() || pair.second.empty());
    }
  }
}

TEST(ResolveOverlap, RefusesWhatIsNoSpan) {
  EXPECT_TRUE(absl::IsInvalidArgument(ResolveOverlap({3, 2}, {0, 1}).status()));
  EXPECT_TRUE(
      absl::IsInvalidArgument(ResolveOverlap({0, 1}, {-1, 1}).status()));
}

TEST(TagTokens, WorkedExample) {
  // "ab cd  e": token 1 "ab", token 2 "c", token 3 "d", token 4 "e".
  const std::vector<int64_t> token_of = {1, 1, -1, 2, 3, -1, -1, 4};
  const auto tags = [&](const std::vector<Annotation>& annotations) {
    const auto result = TagTokens(annotations, token_of, 6, 3);
    EXPECT_TRUE(result.ok()) << result.status();
    return *result;
  };
  EXPECT_THAT(tags({}), ElementsAre(0, 0, 0, 0, 0, 0));
  // Type 1 over all: B, I, I, L are 5, 6, 6, 7.
  EXPECT_THAT(tags({{0, 7, 1}}), ElementsAre(0, 5, 6, 6, 7, 0));
  // A later annotation of one token: U of type 0 is 4.
  EXPECT_THAT(tags({{0, 7, 1}, {3, 3, 0}}), ElementsAre(0, 5, 4, 6, 7, 0));
  // Two tokens: B and L. Part of a token's characters is the token.
  EXPECT_THAT(tags({{1, 3, 2}}), ElementsAre(0, 9, 11, 0, 0, 0));
  // Blanks alone.
  EXPECT_THAT(tags({{5, 6, 2}}), ElementsAre(0, 0, 0, 0, 0, 0));
  EXPECT_EQ(NumTags(3), 13);
}

TEST(TagTokens, RefusesWhatDoesNotFit) {
  const std::vector<int64_t> token_of = {0, 1};
  const auto fails = [&](const Annotation& annotation) {
    return absl::IsInvalidArgument(
        TagTokens({annotation}, token_of, 2, 3).status());
  };
  EXPECT_FALSE(fails({0, 1, 2}));
  EXPECT_TRUE(fails({0, 2, 0}));
  EXPECT_TRUE(fails({-1, 1, 0}));
  EXPECT_TRUE(fails({1, 0, 0}));
  EXPECT_TRUE(fails({0, 1, 3}));
  EXPECT_TRUE(absl::IsInvalidArgument(TagTokens({}, {1, 0}, 2, 3).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(TagTokens({}, {2}, 2, 3).status()));
}

// ---- The mini-language ------------------------------------------------------

// Nodes of a kind, in order.
std::vector<int64_t> Of(const Program& program, NodeKind kind) {
  std::vector<int64_t> nodes;
  for (size_t i = 0; i < program.nodes.size(); ++i) {
    if (program.nodes[i].kind == kind) nodes.push_back(i);
  }
  return nodes;
}

TEST(ParseProgram, WorkedExample) {
  // Tokens 1 to 33.
  const auto parsed = ParseProgram(
      "a = 3 ; while ( a < b ) { if ( a > 1 ) { b = a ; } a = a + 1 ; } "
      "print b ;");
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  const Program& program = *parsed;
  ASSERT_EQ(program.statements.size(), 6u);
  const int64_t init = program.statements[0], loop = program.statements[1],
                branch = program.statements[2], copy = program.statements[3],
                step = program.statements[4], print = program.statements[5];
  EXPECT_THAT(program.control_flow,
              UnorderedElementsAre(
                  std::make_pair(init, loop), std::make_pair(loop, branch),
                  std::make_pair(branch, copy), std::make_pair(copy, step),
                  std::make_pair(branch, step), std::make_pair(step, loop),
                  std::make_pair(loop, print)));
  EXPECT_THAT(program.control_dependence,
              UnorderedElementsAre(std::make_pair(loop, branch),
                                   std::make_pair(loop, step),
                                   std::make_pair(branch, copy)));
  EXPECT_THAT(program.data_dependence,
              UnorderedElementsAre(
                  std::make_pair(init, loop), std::make_pair(init, branch),
                  std::make_pair(init, copy), std::make_pair(init, step),
                  std::make_pair(step, loop), std::make_pair(step, branch),
                  std::make_pair(step, copy), std::make_pair(copy, loop),
                  std::make_pair(copy, print)));
  // Between tokens the loop's own a = a + 1 counts too.
  const int64_t step_target = program.nodes[step].tokens.begin;
  EXPECT_EQ(program.token_data_flow.count({step_target, step_target + 2}), 1u);

  EXPECT_EQ(program.nodes[0].tokens, (Span{1, 33}));
  EXPECT_EQ(program.nodes[loop].tokens, (Span{6, 10}));
  EXPECT_EQ(program.nodes[Of(program, NodeKind::kWhile)[0]].tokens,
            (Span{5, 30}));
  EXPECT_EQ(program.nodes[Of(program, NodeKind::kBlock)[0]].tokens,
            (Span{11, 30}));
  EXPECT_EQ(program.nodes[Of(program, NodeKind::kBinary)[0]].tokens,
            (Span{26, 28}));
  EXPECT_EQ(program.ast.size(), program.nodes.size() - 1);
}

TEST(ParseProgram, SaysWhatIsWrong) {
  const auto error = [](const std::string& text) {
    const auto program = ParseProgram(text);
    EXPECT_TRUE(absl::IsInvalidArgument(program.status())) << text;
    return std::string(program.status().message());
  };
  EXPECT_THAT(error(""),
              HasSubstr("token 0: expected a statement, got the end"));
  EXPECT_THAT(error("a = ;"), HasSubstr("token 2: expected a variable"));
  EXPECT_THAT(error("a = 1"), HasSubstr("token 3: expected ';', got the end"));
  EXPECT_THAT(error("a = z ;"), HasSubstr("token 2: expected a token of the"));
  EXPECT_THAT(error("a = [MASK] ;"), HasSubstr("expected a token of the"));
  EXPECT_THAT(error("if ( a < 1 ) { }"), HasSubstr("token 7"));
  EXPECT_THAT(error("if ( 1 < a ) { a = 1 ; }"), HasSubstr("token 2"));
  EXPECT_THAT(error("a = 1 ; }"), HasSubstr("token 4"));
  EXPECT_THAT(error("print 1 ;"), HasSubstr("token 1: expected a variable"));
  std::string deep;
  for (int i = 0; i < 100000; ++i) deep += "while ( a < 1 ) { ";
  EXPECT_THAT(error(deep), HasSubstr("less nesting"));
}

// Statements that follow each other when programs are run with random
// decisions: an interpreter of the syntax tree, which knows no graph.
class RandomRun {
 public:
  RandomRun(const Program& program, std::mt19937_64& random)
      : program_(program), random_(random) {
    for (size_t i = 1; i < program.nodes.size(); ++i) {
      children_[program.nodes[i].parent].push_back(i);
    }
  }
  Edges Run() {
    for (int run = 0; run < 300; ++run) {
      last_ = -1;
      for (const int64_t statement : children_[0]) Execute(statement);
    }
    return followed_;
  }

 private:
  void Visit(int64_t node) {
    if (last_ >= 0 && last_ != node) followed_.insert({last_, node});
    last_ = node;
  }
  void Block(int64_t node) {
    for (const int64_t statement : children_[node]) Execute(statement);
  }
  void Execute(int64_t node) {
    const std::vector<int64_t>& parts = children_[node];
    switch (program_.nodes[node].kind) {
      case NodeKind::kIf:
        Visit(parts[0]);
        if (random_() % 2 == 0) {
          Block(parts[1]);
        } else if (parts.size() > 2) {
          Block(parts[2]);
        }
        break;
      case NodeKind::kWhile:
        Visit(parts[0]);
        while (random_() % 2 == 0) {
          Block(parts[1]);
          Visit(parts[0]);
        }
        break;
      default:
        Visit(node);
    }
  }
  const Program& program_;
  std::mt19937_64& random_;
  std::map<int64_t, std::vector<int64_t>> children_;
  int64_t last_ = -1;
  Edges followed_;
};

// Statements that are reached from `from` by at least one step without leaving
// one of `closed`.
std::set<int64_t> Reached(const Edges& flow, int64_t from,
                          const std::set<int64_t>& closed) {
  std::set<int64_t> reached;
  std::vector<int64_t> open = {from};
  while (!open.empty()) {
    const int64_t node = open.back();
    open.pop_back();
    for (const auto& [a, b] : flow) {
      if (a == node && reached.insert(b).second && closed.count(b) == 0) {
        open.push_back(b);
      }
    }
  }
  return reached;
}

TEST(DrawProgram, GraphsAreThoseOfTheirDefinitions) {
  std::mt19937_64 random(5);
  ProgramOptions options;
  options.max_depth = 3;
  options.max_tokens = 90;
  constexpr int64_t kExit = -1;
  for (int trial = 0; trial < 60; ++trial) {
    const Program program = DrawProgram(options, random);
    EXPECT_EQ(RandomRun(program, random).Run(), program.control_flow);

    // Where a run can end: behind the last top-level statement.
    Edges flow = program.control_flow;
    const std::string text = AnnotateProgram(program).text;
    const auto longer = ParseProgram(absl::StrCat(text, " print a ;"));
    ASSERT_TRUE(longer.ok()) << longer.status();
    const int64_t added = longer->statements.back();
    for (const auto& [from, to] : longer->control_flow) {
      if (to == added) flow.insert({from, kExit});
    }
    // b is a post-dominator of a if no way from a to the exit avoids it.
    const auto post_dominates = [&](int64_t b, int64_t a) {
      return a == b || Reached(flow, a, {b, kExit}).count(kExit) == 0;
    };
    // Ferrante, Ottenstein, Warren 1987: b depends on a if it post-dominates a
    // successor of a, and not a itself (strictly).
    Edges control;
    for (const int64_t a : program.statements) {
      for (const int64_t b : program.statements) {
        if (a == b || post_dominates(b, a)) continue;
        for (const auto& [from, to] : flow) {
          if (from == a && to != kExit && post_dominates(b, to)) {
            control.insert({a, b});
          }
        }
      }
    }
    EXPECT_EQ(control, program.control_dependence) << text;

    // A value reaches a reader by a way on which its variable is not assigned
    // again.
    const auto variable = [&](int64_t node) {
      return program.ids[program.nodes[node].tokens.begin];
    };
    Edges data, tokens;
    for (const int64_t target : Of(program, NodeKind::kTarget)) {
      const int64_t definition = program.nodes[target].parent;
      std::set<int64_t> closed;
      for (const int64_t other : Of(program, NodeKind::kTarget)) {
        if (variable(other) == variable(target)) {
          closed.insert(program.nodes[other].parent);
        }
      }
      const std::set<int64_t> reached =
          Reached(program.control_flow, definition, closed);
      for (const NodeKind kind :
           {NodeKind::kOperand, NodeKind::kTested, NodeKind::kPrinted}) {
        for (const int64_t read : Of(program, kind)) {
          int64_t statement = program.nodes[read].parent;
          if (program.nodes[statement].kind == NodeKind::kBinary) {
            statement = program.nodes[statement].parent;
          }
          if (variable(read) != variable(target) ||
              reached.count(statement) == 0) {
            continue;
          }
          tokens.insert({program.nodes[target].tokens.begin,
                         program.nodes[read].tokens.begin});
          if (statement != definition) data.insert({definition, statement});
        }
      }
    }
    EXPECT_EQ(data, program.data_dependence) << text;
    EXPECT_EQ(tokens, program.token_data_flow) << text;
  }
}

TEST(DrawProgram, KeepsToItsOptions) {
  std::mt19937_64 random(6), same(6);
  const ProgramOptions options;
  std::set<std::vector<int64_t>> different;
  for (int trial = 0; trial < 200; ++trial) {
    const Program program = DrawProgram(options, random);
    const auto size = static_cast<int64_t>(program.ids.size());
    EXPECT_GE(size, options.min_tokens);
    EXPECT_LE(size, options.max_tokens);
    EXPECT_EQ(program.ids.front(), kStartId);
    EXPECT_EQ(program.ids.back(), kEndId);
    EXPECT_EQ(DrawProgram(options, same).ids, program.ids);
    different.insert(program.ids);
    // Two groups of variables never meet in one statement, so that the data
    // dependence falls into at least two parts.
    const std::vector<int64_t> parts =
        Components(program.data_dependence, program.nodes.size());
    EXPECT_NE(parts[program.statements[0]], parts[program.statements[1]]);
    std::set<int64_t> variables;
    for (const int64_t id : program.ids) {
      if (id >= static_cast<int64_t>(Vocabulary().size()) - 12) {
        variables.insert(id);
      }
    }
    EXPECT_LE(variables.size(), 6u);
  }
  EXPECT_GT(different.size(), 195u);
  EXPECT_EQ(Vocabulary().size(), 42u);
}

TEST(Components, WorkedExample) {
  EXPECT_THAT(Components({{1, 2}, {4, 2}, {5, 3}}, 7),
              ElementsAre(0, 1, 1, 3, 1, 3, 6));
  EXPECT_THAT(Components({}, 0), ElementsAre());
}

TEST(AnnotateProgram, TagsByRole) {
  const auto program = ParseProgram("if ( a == 1 ) { b = a + 2 ; }");
  ASSERT_TRUE(program.ok());
  const TaggedText tagged = AnnotateProgram(*program);
  EXPECT_EQ(tagged.text, "if ( a == 1 ) { b = a + 2 ; }");
  const auto tags =
      TagTokens(tagged.annotations, tagged.token_of,
                static_cast<int64_t>(program->ids.size()), kNumTagTypes);
  ASSERT_TRUE(tags.ok()) << tags.status();
  using Position = TagPosition;
  EXPECT_THAT(
      *tags,
      ElementsAre(0, 0, Tag(1, Position::kBegin), Tag(4, Position::kUnit),
                  Tag(8, Position::kUnit), Tag(6, Position::kUnit),
                  Tag(1, Position::kLast), Tag(0, Position::kBegin),
                  Tag(2, Position::kUnit), Tag(0, Position::kInside),
                  Tag(3, Position::kUnit), Tag(7, Position::kUnit),
                  Tag(6, Position::kUnit), Tag(0, Position::kInside),
                  Tag(0, Position::kLast), 0));
}

TEST(SamplePairs, BalancedMatchedAndTrue) {
  std::mt19937_64 random(7);
  std::map<bool, double> distance;
  int64_t in_order = 0, total = 0;
  for (int trial = 0; trial < 300; ++trial) {
    const Program program = DrawProgram({}, random);
    std::vector<int64_t> nodes(program.nodes.size());
    for (size_t i = 0; i < nodes.size(); ++i) nodes[i] = i;
    const auto pairs = SamplePairs(program, program.ast, nodes, 6, random);
    EXPECT_LE(pairs.size(), 12u);
    int64_t linked = 0;
    std::set<std::pair<int64_t, int64_t>> seen;
    for (const NodePair& pair : pairs) {
      const auto [a, b, label] = pair;
      EXPECT_EQ(label,
                program.nodes[b].parent == a || program.nodes[a].parent == b);
      EXPECT_TRUE(seen.insert({std::min(a, b), std::max(a, b)}).second);
      linked += label;
      in_order += a < b;
      ++total;
      distance[label] += std::abs(static_cast<double>(
          program.nodes[a].tokens.begin - program.nodes[b].tokens.begin));
    }
    EXPECT_EQ(2 * linked, static_cast<int64_t>(pairs.size()));
  }
  // Unmatched pairs are more than twice as far apart.
  EXPECT_NEAR(distance[true] / distance[false], 1, 0.1);
  // A coin of `total` throws, four standard deviations.
  EXPECT_NEAR(static_cast<double>(in_order), total / 2.0, 2 * std::sqrt(total));
}

TEST(SamplePairs, NothingToChooseFrom) {
  std::mt19937_64 random(8);
  const auto program = ParseProgram("a = 1 ;");
  ASSERT_TRUE(program.ok());
  EXPECT_TRUE(
      SamplePairs(*program, {}, program->statements, 5, random).empty());
  EXPECT_TRUE(SamplePairs(*program, program->ast, {}, 5, random).empty());
}

}  // namespace
}  // namespace repro::probing_code_models
