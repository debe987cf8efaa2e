// Expected texts and numbers marked "Python" are the output of the authors'
// scripts where they are public (prompt and identifiers: generate_contexts/ of
// github.com/yuvrajvirk/CalibrationLLMsCodeSummaries; BLEU.py and process.py of
// github.com/toufiqueparag/few_shot_code_summarization), of GraphCodeBERT's
// parser/DFG.py, with the grammars of tree-sitter-language-pack 0.4.0, and of
// rank_bm25 0.2.2, on the same input under Python 3.11. DFG.py was changed in
// two places: a string_literal is one token, as it was in GraphCodeBERT's
// grammars, and assignments do not look for parts inside of a string (a
// KeyError for 9 of the Python functions).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/assets/sha256.h"
#include "common/assets/test_asset.h"
#include "common/code/syntax_tree.h"
#include "common/completion/scripted.h"
#include "common/data/io.h"
#include "papers/asap/code_samples.h"
#include "papers/asap/exemplars.h"
#include "papers/asap/facts.h"
#include "papers/asap/prompt.h"
#include "papers/asap/replication.h"
#include "papers/asap/summarizer.h"
#include "papers/asap/summary_bleu.h"

namespace repro::asap {
namespace {

using code::CodeLanguage;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string TempFile(const std::string& name, const std::string& content) {
  const std::string path = absl::StrCat(::testing::TempDir(), "/asap_", name);
  EXPECT_TRUE(WriteFileAtomically(path, content).ok());
  return path;
}

// ---- Functions -------------------------------------------------------------

struct ShownCase {
  std::string code, docstring, shown;
};

TEST(ShownCode, PythonRemovesDocstringsAsTheScriptDoes) {
  for (const ShownCase& c : std::vector<ShownCase>{
           {"def f():\n  \"\"\"One line.\"\"\"\n  return 1", "One line.",
            "def f():\n  \n  return 1"},
           // The quotes of several lines stay; other strings go too.
           {"def f():\n  \"\"\"Two\n  lines.\"\"\"\n  return \"\"\"x\"\"\"",
            "Two\n  lines.", "def f():\n  \"\"\"\"\"\"\n  return "},
           // Nothing between the quotes is no string.
           {"a = \"\"\"\"\"\"\nb = \"\"\"\"\"\" c", "",
            "a = \"\"\"\"\"\"\nb = \"\"\"\"\"\" c"},
           {"\"\"\"\"x\"\"\"\" '''y''''z", "", "\" 'z"},
           {"\"\"\"\n\"\"\"a\"\"\"", "", "\"\"\"\n"},
           {"\"\"\"\xC3\xA9\"\"\" '''\n''' '''q", "", " '''\nq"},
           {"doc doc", "doc", " "},
           {"", "", ""}}) {
    EXPECT_EQ(ShownCode(c.code, c.docstring, CodeLanguage::kPython), c.shown)
        << c.code;
  }
}

TEST(ShownCode, OtherLanguagesStayAsTheyAre) {
  EXPECT_EQ(ShownCode("/* doc */ f('''x''')", "doc", CodeLanguage::kJava),
            "/* doc */ f('''x''')");
}

TEST(ReadCodeSamples, ReadsAndNamesWhatIsWrong) {
  const std::string good =
      R"({"repo":"r","path":"p","func_name":"f","code":"x = '''d'''",)"
      R"("docstring":"d","docstring_tokens":["A","b","."," "]})";
  const auto samples = ReadCodeSamples(TempFile("good.jsonl", good + "\n"),
                                       CodeLanguage::kPython);
  ASSERT_TRUE(samples.ok()) << samples.status();
  ASSERT_EQ(samples->size(), 1);
  EXPECT_EQ((*samples)[0].repo, "r");
  EXPECT_EQ((*samples)[0].original, "x = '''d'''");
  EXPECT_EQ((*samples)[0].code, "x = ");
  EXPECT_EQ((*samples)[0].comment, "A b .");

  const auto error = [](const std::string& name, const std::string& content) {
    return ReadCodeSamples(TempFile(name, content), CodeLanguage::kJava)
        .status();
  };
  EXPECT_THAT(error("empty.jsonl", "\n").ToString(), HasSubstr("no records"));
  EXPECT_THAT(error("field.jsonl", good + "\n{\"repo\":\"r\"}\n").ToString(),
              HasSubstr("field.jsonl:2: field \"path\""));
  EXPECT_THAT(
      error(
          "kind.jsonl",
          R"({"repo":"r","path":"p","func_name":"f","code":"","docstring":"",)"
          R"("docstring_tokens":[1]})")
          .ToString(),
      HasSubstr("field \"docstring_tokens\""));
  EXPECT_TRUE(absl::IsInvalidArgument(error("array.jsonl", "[]\n")));
  EXPECT_TRUE(absl::IsInvalidArgument(error("cut.jsonl", good.substr(0, 40))));
  EXPECT_TRUE(absl::IsNotFound(
      ReadCodeSamples("/none/such.jsonl", CodeLanguage::kJava).status()));
}

// ---- BLEU ------------------------------------------------------------------

TEST(SummaryBleu, IsTheEvaluationScripts) {
  // Python, times 100.
  EXPECT_NEAR(SummaryBleu("the cat sat on the mat", "the cat sat"), 47.236655,
              1e-6);
  EXPECT_NEAR(SummaryBleu("a b c d e", "a x c d"), 40.936538, 1e-6);
  EXPECT_NEAR(SummaryBleu("Sets the name.", "sets  THE name."), 100, 1e-9);
  // Nothing scores exp(-r), r the comment's tokens: the script's logarithms of
  // 0 cancel, and the brevity penalty is left.
  EXPECT_NEAR(SummaryBleu("Sets the name.", ""), 100 * std::exp(-4), 1e-9);
}

TEST(ScoreSets, AveragesEachSet) {
  const auto scores = ScoreSets(TempFile(
      "sets.jsonl",
      R"({"set":"A","gold":"the cat sat on the mat","pred":"the cat sat"})"
      "\n"
      R"({"set":"A","gold":"one two three","pred":"one two three"})"
      "\n"
      R"({"set":"B","gold":"a b c d e","pred":"a x c d"})"
      "\n"));
  ASSERT_TRUE(scores.ok()) << scores.status();
  ASSERT_EQ(scores->size(), 2);
  EXPECT_NEAR(scores->at("A"), (47.236655 + 100) / 2, 1e-6);
  EXPECT_NEAR(scores->at("B"), 40.936538, 1e-6);
  EXPECT_THAT(ScoreSets(TempFile("set.jsonl", R"({"set":"A","gold":"x"})"))
                  .status()
                  .ToString(),
              HasSubstr("set.jsonl:1: field \"pred\""));
}

TEST(ScoreFiles, MatchesLinesById) {
  const std::string gold = TempFile("gold.txt",
                                    "0\tthe cat sat on the mat\n"
                                    "1\tone two three\n"
                                    "2\ta b c d e\n");
  // 1 is missing and does not count; what follows a second tab does not.
  const auto score = ScoreFiles(
      gold, TempFile("output.txt", "2\ta x c d\tb e\n0\tthe cat sat\n7\tx\n"));
  ASSERT_TRUE(score.ok()) << score.status();
  EXPECT_NEAR(*score, (47.236655 + 40.936538) / 2, 1e-6);
  // An id without text is an empty prediction.
  const auto empty =
      ScoreFiles(gold, TempFile("output2.txt", "0\tthe cat sat\n1\t\n"));
  ASSERT_TRUE(empty.ok()) << empty.status();
  EXPECT_NEAR(*empty, (47.236655 + 100 * std::exp(-3)) / 2, 1e-6);

  EXPECT_THAT(
      ScoreFiles(gold, TempFile("output3.txt", "9\tx\n")).status().ToString(),
      HasSubstr("no id of"));
  EXPECT_THAT(ScoreFiles(TempFile("gold2.txt", "0\tx\nno tab\n"),
                         TempFile("output4.txt", "0\tx\n"))
                  .status()
                  .ToString(),
              HasSubstr("gold2.txt:2: wanted"));
  EXPECT_TRUE(absl::IsNotFound(ScoreFiles(gold, "/none/such").status()));
}

// ---- The replication -------------------------------------------------------

TEST(Replication, Statistics) {
  const std::vector<double> runs = {1, 2, 3, 6};
  EXPECT_DOUBLE_EQ(*RunStatistic(runs, "mean"), 3);
  EXPECT_DOUBLE_EQ(*RunStatistic(runs, "median"), 2.5);
  EXPECT_DOUBLE_EQ(*RunStatistic(runs, "minimum"), 1);
  EXPECT_DOUBLE_EQ(*RunStatistic(runs, "maximum"), 6);
  // sqrt((4 + 1 + 0 + 9) / 3)
  EXPECT_NEAR(*RunStatistic(runs, "standard deviation"), 2.160246899469287,
              1e-12);
  EXPECT_EQ(RunsBelow(runs, 1), 0);  // equal is not below
  EXPECT_EQ(RunsBelow(runs, 3.5), 3);
  EXPECT_EQ(RunsBelow(runs, 7), 4);
  EXPECT_TRUE(absl::IsInvalidArgument(RunStatistic(runs, "mode").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(RunStatistic({}, "mean").status()));
}

// ---- Facts -----------------------------------------------------------------

constexpr char kPython[] = R"(def scale(values, factor=2, *, base: int):
    """Scale values."""
    # multiply
    result = []
    total: int = 0
    for value in values:
        result.append(factor * value)
    total += base
    key = lambda item: item
    return result
)";

constexpr char kJava[] = R"(@Override
public List<String> names(final Map<String, Item> items) throws Error {
    List<String> out = new ArrayList<>(); // names
    for (Item item : items.values()) {
        out.add(item.name.trim());
    }
    int[] sizes = new int[2];
    sizes[0] = out.size();
    return out;
}
)";

constexpr char kIdentifierLine[] =
    "We categorized the identifiers into different classes. Please find the "
    "information below.\n";
constexpr char kDataFlowLine[] =
    "Please find the dataflow of the function. We present the source and list "
    "of target indices.\n";

std::string Identifiers(CodeLanguage language, const std::string& code,
                        const std::string& name) {
  const auto tree = code::SyntaxTree::Parse(language, code);
  EXPECT_TRUE(tree.ok()) << tree.status();
  const auto fact = IdentifierFact(*tree, name);
  EXPECT_TRUE(fact.ok()) << fact.status();
  return fact.value_or("");
}

std::string DataFlowText(CodeLanguage language, const std::string& code,
                         DataFlowGrammar grammar = DataFlowGrammar::kOwn) {
  const auto fact = DataFlowFact(language, code, grammar);
  EXPECT_TRUE(fact.ok()) << fact.status();
  return fact.value_or("");
}

// Python. Default, typed and lambda's parameters, annotated and augmented
// targets: only what has a role by its direct parent is there.
TEST(IdentifierFact, OfPython) {
  EXPECT_EQ(
      Identifiers(CodeLanguage::kPython, kPython, "Tools.scale"),
      absl::StrCat(
          kIdentifierLine,
          "Function name: Tools.scale\n"
          "Parameters of the function: ['values']\n"
          "Identifier to be returned: ['result']\n"
          "Assigments: ['result', 'total', 'key']\n"
          "Identifier to access attribute/dotted name: ['result', 'append']"));
}

// The same rules for Java, in Python.
TEST(IdentifierFact, OfJava) {
  EXPECT_EQ(Identifiers(CodeLanguage::kJava, kJava, "Items.names"),
            absl::StrCat(
                kIdentifierLine,
                "Function name: Items.names\n"
                "Parameters of the function: ['items']\n"
                "Identifier to be returned: ['out']\n"
                "Method Invocation: ['items', 'values', 'out', 'add', 'trim', "
                "'size']\n"
                "Variable declaration: ['out', 'sizes']\n"
                "Identifier to access field/array: ['item', 'name', 'sizes']"));
}

TEST(IdentifierFact, OwnNameIsTheSecondPart) {
  EXPECT_EQ(OwnName("f"), "f");
  EXPECT_EQ(OwnName("A.f"), "f");
  EXPECT_EQ(OwnName("A.B.f"), "B");
  EXPECT_EQ(OwnName(""), "");
  const std::string code = "def f(a):\n  return f(a)\n";
  EXPECT_THAT(Identifiers(CodeLanguage::kPython, code, "A.B.f"),
              HasSubstr("Method Invocation: ['f']"));
  EXPECT_THAT(Identifiers(CodeLanguage::kPython, code, "A.f"),
              Not(HasSubstr("Method Invocation")));
}

TEST(IdentifierFact, NothingOrNoSenseIsNoError) {
  EXPECT_EQ(Identifiers(CodeLanguage::kPython, "", "f"),
            absl::StrCat(kIdentifierLine, "Function name: f"));
  EXPECT_THAT(Identifiers(CodeLanguage::kJava, "}}{ int (a.b( \xFF", "f"),
              HasSubstr("Function name: f"));
  const auto tree = code::SyntaxTree::Parse(CodeLanguage::kGo, "func f() {}");
  ASSERT_TRUE(tree.ok());
  EXPECT_TRUE(absl::IsUnimplemented(IdentifierFact(*tree, "f").status()));
}

TEST(DataFlowFact, OfPython) {  // Python
  EXPECT_EQ(DataFlowText(CodeLanguage::kPython, kPython),
            absl::StrCat(kDataFlowLine,
                         "factor-[7] [5]\n"
                         "total-[24] [20]\n"
                         "value-[28] [26]\n"
                         "values-[3] [28]\n"
                         "result-[16] [30, 48]\n"
                         "append-[32] [32]\n"
                         "factor-[5] [34]\n"
                         "value-[26] [36]\n"
                         "total-[40] [38]\n"
                         "base-[11] [40]\n"
                         "key-[44, 46] [41]\n"
                         "item-[44] [46]"));
}

TEST(DataFlowFact, OfJava) {  // Python
  EXPECT_EQ(DataFlowText(CodeLanguage::kJava, kJava),
            absl::StrCat(kDataFlowLine,
                         "out-[28] [25]\n"
                         "item-[39, 41] [37]\n"
                         "items-[16] [39]\n"
                         "values-[41] [41]\n"
                         "out-[25] [46, 76, 83]\n"
                         "add-[48] [48]\n"
                         "item-[37] [50]\n"
                         "name-[52] [52]\n"
                         "trim-[54] [54]\n"
                         "sizes-[68] [63]\n"
                         "sizes-[76] [71]\n"
                         "sizes-[78] [71]\n"
                         "0-[76] [73]\n"
                         "0-[78] [73]"));
}

TEST(DataFlowFact, AsCodedReadsJavaScript) {  // Python
  EXPECT_EQ(DataFlowText(CodeLanguage::kPython, kPython,
                         DataFlowGrammar::kJavaScript),
            absl::StrCat(kDataFlowLine,
                         "int-[13] [28]\n"
                         "values-[3] [34]\n"
                         "result-[22] [36, 55]\n"
                         "factor-[5] [40]\n"
                         "value-[32] [42]\n"
                         "total-[46] [44]\n"
                         "base-[11] [46]"));
  EXPECT_EQ(
      DataFlowText(CodeLanguage::kJava, kJava, DataFlowGrammar::kJavaScript),
      absl::StrCat(kDataFlowLine,
                   "String-[5] [9, 17]\n"
                   "List-[3] [15]\n"
                   "out-[19] [40]\n"
                   "item-[31] [44]"));
}

TEST(DataFlowFact, NoneAndMany) {
  EXPECT_EQ(DataFlowText(CodeLanguage::kPython, "def f():\n  pass\n"),
            absl::StrCat(kDataFlowLine, "No DFG available"));
  EXPECT_EQ(DataFlowText(CodeLanguage::kPython, ""),
            absl::StrCat(kDataFlowLine, "No DFG available"));
  std::string many = "def f(a):\n";
  for (int i = 0; i < 40; ++i) absl::StrAppend(&many, "  v", i, " = a\n");
  const std::vector<std::string> lines =
      absl::StrSplit(DataFlowText(CodeLanguage::kPython, many), '\n');
  EXPECT_EQ(lines.size(), 31);
  EXPECT_FALSE(DataFlowFact(CodeLanguage::kCpp, "int f();").ok());
}

// ---- Prompts ---------------------------------------------------------------

PromptFunction Named(const std::string& name) {
  PromptFunction function;
  function.code = absl::StrCat(" code ", name, "\n\n");
  function.comment = absl::StrCat("Comment of ", name, " .");
  function.facts.repository = absl::StrCat("repo ", name);
  function.facts.identifiers = absl::StrCat("ids ", name);
  function.facts.data_flow = absl::StrCat("flow ", name, "\n");
  return function;
}

TEST(RepositoryFact, Text) {
  CodeSample sample;
  sample.repo = "owner/name";
  sample.path = "a/b.py";
  sample.func_name = "C.f";
  EXPECT_EQ(
      RepositoryFact(sample),
      "Please find some info about the location of the function in the repo.\n"
      "Repo: owner/name\nPath: a/b.py\nFunction_name: C.f");
}

TEST(BuildPrompt, AsapHasTheQuerysFactsInAnotherOrder) {
  EXPECT_EQ(BuildPrompt({Named("A"), Named("B")}, Named("Q"), FactSet::Asap()),
            "code A\nrepo A\nids A\nflow A\n"
            "Write down the original comment written by the developer.\n"
            "Comment: Comment of A .\n\n"
            "code B\nrepo B\nids B\nflow B\n"
            "Write down the original comment written by the developer.\n"
            "Comment: Comment of B .\n\n"
            "code Q\nrepo Q\nflow Q\nids Q\n"
            "Write down the original comment written by the developer.\n"
            "Comment:");
}

TEST(BuildPrompt, Bm25AndOneFactAlone) {
  EXPECT_EQ(BuildPrompt({Named("A")}, Named("Q"), FactSet::Bm25(),
                        PromptEnding::kColonAndSpace),
            "code A\n"
            "Write down the original comment written by the developer.\n"
            "Comment: Comment of A .\n\n"
            "code Q\n"
            "Write down the original comment written by the developer.\n"
            "Comment: ");
  FactSet flow = FactSet::Bm25();
  flow.data_flow = true;
  EXPECT_EQ(BuildPrompt({}, Named("Q"), flow),
            "code Q\nflow Q\n"
            "Write down the original comment written by the developer.\n"
            "Comment:");
}

TEST(BuildTenShotPrompt, SpacesAndTheCut) {
  EXPECT_EQ(BuildTenShotPrompt("int f ( )\t<s> Gives one . </s>\n",
                               {"int", "g", "(", ")"}),
            "int f ( ) <s> Gives one . </s> int g ( ) <s> ");
  // 2,997 words, 2 tokens and the mark are 3,000: not cut. One more is.
  const std::vector<std::string> tokens = {"y", "z"};
  std::vector<std::string> words(2997, "x");
  words[200] = "first";
  const auto count = [](const std::string& prompt) {
    return std::vector<std::string>(
               absl::StrSplit(prompt, ' ', absl::SkipEmpty()))
        .size();
  };
  EXPECT_EQ(count(BuildTenShotPrompt(absl::StrJoin(words, " ") + "\n", tokens)),
            3000);
  words.push_back("x");
  const std::string cut =
      BuildTenShotPrompt(absl::StrJoin(words, " ") + "\n", tokens);
  EXPECT_EQ(count(cut), 2801);
  EXPECT_EQ(cut.substr(0, 7), "first x");
}

TEST(Answers, FirstLineAndEndOfSummary) {
  EXPECT_EQ(FirstLine(" Sets it .\nComment: next"), "Sets it .");
  EXPECT_EQ(FirstLine("\nSets it ."), "");
  EXPECT_EQ(FirstLine(""), "");
  EXPECT_EQ(BeforeEndOfSummary(" Sets\nit </s> more </s>"), "Sets\nit");
  EXPECT_EQ(BeforeEndOfSummary("Sets it"), "Sets it");
}

// ---- Summaries by a client -------------------------------------------------

// Refuses prompts of more than `exemplars` exemplars, as a model with a short
// context does.
completion::ScriptedClient Shorter(int exemplars) {
  return completion::ScriptedClient(
      [=](const completion::CompletionRequest& request)
          -> absl::StatusOr<completion::Completion> {
        const std::vector<std::string> parts =
            absl::StrSplit(request.prompt, "Comment: ");
        if (static_cast<int>(parts.size()) - 1 > exemplars) {
          return absl::InvalidArgumentError("prompt is too long");
        }
        return completion::TextCompletion(" Sums it .\nand more");
      });
}

TEST(Summarize, AsksOnceAndTakesTheFirstLine) {
  completion::ScriptedClient client = Shorter(3);
  SummarizerOptions options;
  options.max_tokens = 64;
  const auto summary = Summarize(client, {Named("A"), Named("B"), Named("C")},
                                 Named("Q"), options);
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_EQ(summary->text, "Sums it .");
  EXPECT_EQ(summary->exemplars, 3);
  ASSERT_EQ(client.requests().size(), 1);
  const completion::CompletionRequest request = client.requests()[0];
  EXPECT_EQ(request.prompt,
            BuildPrompt({Named("A"), Named("B"), Named("C")}, Named("Q"), {}));
  EXPECT_EQ(request.temperature, 0);
  EXPECT_EQ(request.max_tokens, 64);
  EXPECT_THAT(request.stop, ElementsAre("\n"));
}

TEST(Summarize, DropsTheLastExemplars) {
  completion::ScriptedClient client = Shorter(1);
  const auto summary =
      Summarize(client, {Named("A"), Named("B"), Named("C")}, Named("Q"), {});
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_EQ(summary->exemplars, 1);
  ASSERT_EQ(client.requests().size(), 3);
  EXPECT_THAT(client.requests()[2].prompt, HasSubstr("Comment of A ."));
  EXPECT_THAT(client.requests()[2].prompt, Not(HasSubstr("Comment of B .")));
}

TEST(Summarize, GivesUpWhereOneExemplarIsTooMuch) {
  completion::ScriptedClient client = Shorter(0);
  const auto summary =
      Summarize(client, {Named("A"), Named("B")}, Named("Q"), {});
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_EQ(summary->text, "");
  EXPECT_EQ(summary->exemplars, 0);
  EXPECT_EQ(client.requests().size(), 2);
}

TEST(Summarize, ChatAndErrors) {
  completion::ScriptedClient client({"Sums it ."});
  SummarizerOptions options;
  options.chat = true;
  ASSERT_TRUE(Summarize(client, {}, Named("Q"), options).ok());
  ASSERT_EQ(client.requests()[0].messages.size(), 1);
  EXPECT_EQ(client.requests()[0].messages[0].role, "user");
  EXPECT_EQ(client.requests()[0].prompt, "");
  // The script is at its end.
  EXPECT_TRUE(absl::IsResourceExhausted(
      Summarize(client, {}, Named("Q"), options).status()));
  completion::ScriptedClient silent([](const completion::CompletionRequest&) {
    return absl::StatusOr<completion::Completion>(completion::Completion());
  });
  EXPECT_TRUE(absl::IsDataLoss(Summarize(silent, {}, Named("Q"), {}).status()));
}

// ---- Exemplars -------------------------------------------------------------

std::vector<CodeSample> Samples(const std::vector<std::string>& codes) {
  std::vector<CodeSample> samples;
  for (const std::string& code : codes) {
    samples.emplace_back();
    samples.back().code = code;
    samples.back().comment = absl::StrCat("comment of ", code);
  }
  return samples;
}

TEST(ExemplarIndex, SpacesMakeTermsAndTiesGoToTheFirst) {
  EXPECT_THAT(Bm25Terms("a  b\n c"), ElementsAre("a", "", "b\n", "c"));
  const auto index = ExemplarIndex::Build(
      Samples({"a  b", "a b", "b c", "a  b", "d\n e", "a c  "}));
  ASSERT_TRUE(index.ok()) << index.status();
  // Python: 0.15864137, 0.18880557, 0.09440278, 0.15864137, 0, 0.06839385
  const std::vector<double> scores = index->bm25().Scores(Bm25Terms("a  b"));
  EXPECT_NEAR(scores[0], 0.15864137, 1e-8);
  EXPECT_NEAR(scores[1], 0.18880557, 1e-8);
  EXPECT_NEAR(scores[5], 0.06839385, 1e-8);
  EXPECT_THAT(index->Search("a  b", 3), ElementsAre(1, 0, 3));
  EXPECT_THAT(index->Search("a  b", 3, /*excluded=*/0), ElementsAre(1, 3, 2));
  EXPECT_THAT(index->Search("a  b", 3, /*excluded=*/4), ElementsAre(1, 0, 3));
  EXPECT_THAT(index->Search("a  b", 10, /*excluded=*/1),
              ElementsAre(0, 3, 2, 5, 4));
  EXPECT_THAT(index->Search("a  b", 0), IsEmpty());
  EXPECT_TRUE(absl::IsInvalidArgument(ExemplarIndex::Build({}).status()));
}

TEST(CopiedCommentBleu, TakesTheBestOther) {
  std::vector<CodeSample> samples = Samples({"a b", "a b", "x y"});
  samples[0].comment = "the cat sat on the mat";
  samples[1].comment = "the cat sat";
  samples[2].comment = "one";
  // Each of the first two says the other's comment; the third, which shares no
  // term with any, the first's.
  const double expected =
      (47.236655 + SummaryBleu(samples[1].comment, samples[0].comment) +
       SummaryBleu("one", samples[0].comment)) /
      3;
  const auto bleu = CopiedCommentBleu(samples);
  ASSERT_TRUE(bleu.ok()) << bleu.status();
  EXPECT_NEAR(*bleu, expected, 1e-6);
  EXPECT_TRUE(absl::IsInvalidArgument(
      CopiedCommentBleu(Samples({"one alone"})).status()));
}

// ---- 1,000 functions against the scripts -----------------------------------

struct Corpus {
  // SHA-256 of all texts with "\n" or, prompts, "\0" between them. Python. What
  // the wrong grammar reads depends on how a version of tree-sitter recovers
  // from errors, and is compared on single functions only.
  std::string identifiers, data_flow, asap, bm25;
  std::string asset;
  CodeLanguage language;
};

void PrintTo(const Corpus& corpus, std::ostream* out) { *out << corpus.asset; }

class CorpusTest : public ::testing::TestWithParam<Corpus> {};

TEST_P(CorpusTest, FactsAndPromptsAreTheScripts) {
  const Corpus& corpus = GetParam();
  const std::string path = FindTestAsset(absl::StrCat("asap/", corpus.asset));
  if (path.empty()) {
    GTEST_SKIP() << "asap/" << corpus.asset
                 << " is not below a folder of REPRO_ASSETS";
  }
  const auto samples = ReadCodeSamples(path, corpus.language);
  ASSERT_TRUE(samples.ok()) << samples.status();
  ASSERT_EQ(samples->size(), 1000);
  std::vector<PromptFunction> functions;
  std::vector<std::string> identifiers, data_flow;
  for (const CodeSample& sample : *samples) {
    auto facts = ExtractFacts(sample, corpus.language);
    ASSERT_TRUE(facts.ok()) << facts.status();
    identifiers.push_back(facts->identifiers);
    data_flow.push_back(facts->data_flow);
    functions.push_back({sample.code, sample.comment, *std::move(facts)});
  }
  EXPECT_EQ(Sha256(absl::StrJoin(identifiers, "\n")), corpus.identifiers);
  EXPECT_EQ(Sha256(absl::StrJoin(data_flow, "\n")), corpus.data_flow);

  const auto index = ExemplarIndex::Build(*samples);
  ASSERT_TRUE(index.ok()) << index.status();
  std::vector<std::string> asap, bm25;
  for (size_t i = 0; i < samples->size(); ++i) {
    std::vector<PromptFunction> exemplars;
    for (const int64_t id :
         index->Search((*samples)[i].code, kNumExemplars, i)) {
      exemplars.push_back(functions[id]);
    }
    asap.push_back(BuildPrompt(exemplars, functions[i], FactSet::Asap()));
    bm25.push_back(BuildPrompt(exemplars, functions[i], FactSet::Bm25()));
  }
  const std::string zero(1, '\0');
  EXPECT_EQ(Sha256(absl::StrJoin(asap, zero)), corpus.asap);
  EXPECT_EQ(Sha256(absl::StrJoin(bm25, zero)), corpus.bm25);
}

INSTANTIATE_TEST_SUITE_P(
    Languages, CorpusTest,
    ::testing::Values(
        Corpus{
            "cbeade92a7bb31dd60dfd62f70ae865d400d18a032b80eb1e31f7632472ce482",
            "60c5cb694a6822a3c25750c9ea812822d303dc1d470736ece54f4df7541ce19d",
            "acd0e5f1ae1ffb717c3539607fea57f57b6e16ea9f560f4ef51a36aa0dddcd0c",
            "01fea2413b32f4294da86dc5fe58ef7380f76fde8e93def4354c7d23cf50b7f2",
            "functions_java.jsonl.gz", CodeLanguage::kJava},
        Corpus{
            "bbaf46e6e52bf8db2b8c1049ea44a9558becbeb2678ae867c4050c6239e1400e",
            "4d4e91bd9a948686e28762a7adbd26c8aaee52eddc3bc4a2b35a9d13b6518755",
            "6b02f05f8fd5975c856eada99583f8dac2f8d2a6a9f366f12fecf0b3ebf3c603",
            "3d95c8aa142c9f7214d57c5c675caf004c1117633b0a50eee6ef798e05f9c740",
            "functions_python.jsonl.gz", CodeLanguage::kPython}),
    [](const auto& info) {
      return std::string(code::LanguageName(info.param.language));
    });

}  // namespace
}  // namespace repro::asap
