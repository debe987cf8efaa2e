#include "papers/chain_of_code/lmulator.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/completion/scripted.h"
#include "common/exec/namespaces_permitted.h"
#include "common/exec/sandbox.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "papers/chain_of_code/prompts.h"

namespace repro::chain_of_code {
namespace {

using completion::CompletionRequest;
using completion::ScriptedClient;
using completion::TextCompletion;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

class LmulatorTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const absl::Status permitted = exec::NamespacesPermitted();
    if (!permitted.ok()) GTEST_SKIP() << "NOT TESTED: " << permitted;
    ASSERT_TRUE(sandbox().ok()) << sandbox().status();
  }

  static const absl::StatusOr<exec::Sandbox>& sandbox() {
    static const auto* sandbox =
        new absl::StatusOr<exec::Sandbox>(exec::Sandbox::Create());
    return *sandbox;
  }

  static Execution Run(completion::CompletionClient& client,
                       absl::string_view program,
                       Variant variant = Variant::kInterweave,
                       LmulatorOptions options = {}) {
    const Lmulator lmulator(*sandbox(), client, std::move(options));
    absl::StatusOr<Execution> execution =
        lmulator.Execute(variant, {}, "the question", program);
    EXPECT_TRUE(execution.ok()) << execution.status();
    return execution.ok() ? *std::move(execution) : Execution();
  }

  // Without a single answer of a model.
  static Execution RunAlone(absl::string_view program,
                            LmulatorOptions options = {}) {
    options.behaviour = Behaviour::kAsCoded;  // no rescue by the model
    ScriptedClient nobody(std::vector<std::string>{});
    return Run(nobody, program, Variant::kInterweave, std::move(options));
  }
};

// A client that is asked for the state after a line, and answers by that line;
// asked for an answer, "rescued".
ScriptedClient ByLine(
    std::vector<std::pair<std::string, std::string>> replies) {
  return ScriptedClient([replies](const CompletionRequest& request)
                            -> absl::StatusOr<completion::Completion> {
    if (absl::EndsWith(request.prompt, "Answer:")) {
      return TextCompletion(" rescued\n");
    }
    const size_t at = request.prompt.rfind("\ndelta state: ");
    for (const auto& [part, reply] : replies) {
      if (absl::StrContains(request.prompt.substr(at), part)) {
        return TextCompletion(reply);
      }
    }
    return absl::NotFoundError(request.prompt.substr(at));
  });
}

// Sec. 2.3.
TEST_F(LmulatorTest, SarcasmExampleOfThePaper) {
  ScriptedClient client({" {'answer': 1}"});
  const Execution execution = Run(client,
                                  "answer = 0\n"
                                  "answer += is_sarcastic('you don\\'t say')\n"
                                  "answer += 1");
  EXPECT_EQ(execution.answer, "2");
  EXPECT_FALSE(execution.answer_by_lm);
  EXPECT_THAT(execution.lm_lines, ElementsAre(1));
  EXPECT_EQ(execution.rounds, 2);
  EXPECT_EQ(execution.lm_calls, 1);
  EXPECT_THAT(
      execution.trace,
      ElementsAre("state: {}", "line: answer = 0", "delta state: {'answer': 0}",
                  "line: answer += is_sarcastic('you don\\'t say')",
                  "delta state: {'answer': 1}", "line: answer += 1",
                  "delta state: {'answer': 2}"));
  const std::vector<CompletionRequest> requests = client.requests();
  ASSERT_EQ(requests.size(), 1u);
  EXPECT_THAT(requests[0].prompt,
              EndsWith("# TRACE START\n"
                       "line: answer = 0\n"
                       "delta state: {'answer': 0}\n"
                       "line: answer += is_sarcastic('you don\\'t say')\n"
                       "delta state:"));
  EXPECT_EQ(requests[0].max_tokens, 32);
  EXPECT_EQ(requests[0].temperature, 0);
  EXPECT_THAT(requests[0].stop, Contains("\nline:"));
}

// The notebook's example.
TEST_F(LmulatorTest, CountryExampleOfTheNotebook) {
  ScriptedClient client = ByLine({{"Bilbao", "{'country': 'Spain'}"},
                                  {"Death Valley", "{'country': 'USA'}"},
                                  {"Paris", "{'country': 'France'}"},
                                  {"Honolulu", "{'country': 'USA'}"},
                                  {"Skye", "{'country': 'UK'}"}});
  const Execution execution =
      Run(client,
          "places = ['Bilbao', 'Death Valley', 'Paris', 'Honolulu', 'Skye']\n"
          "countries = set()\n"
          "for place in places:\n"
          "  country = get_country(place)\n"
          "  countries.add(country)\n"
          "answer = len(countries)");
  EXPECT_EQ(execution.answer, "4");
  EXPECT_EQ(execution.rounds, 2);
  EXPECT_EQ(execution.lm_calls, 5);
  EXPECT_EQ(execution.lm_requests, 5);
}

// Fig. 3.
TEST_F(LmulatorTest, FruitExampleOfThePaper) {
  ScriptedClient client = ByLine({{"violin", "{'object_is_fruit': False}"},
                                  {"pepper", "{'object_is_fruit': False}"},
                                  {"object", "{'object_is_fruit': True}"}});
  const Execution execution =
      Run(client,
          "objects = {\"orange\": 1, \"violin\": 1, \"peaches\": 2,"
          " \"apple\": 1, \"pepper\": 1, \"plum\": 3}\n"
          "num_fruits = 0\n"
          "for object in objects:\n"
          "  object_is_fruit = is_fruit(object)\n"
          "  if object_is_fruit:\n"
          "    num_fruits += objects[object]\n"
          "answer = num_fruits");
  EXPECT_EQ(execution.answer, "7");
  EXPECT_EQ(execution.lm_calls, 6);
}

TEST_F(LmulatorTest, WorkedTraceIsThatOfItsProgram) {
  ScriptedClient client = ByLine(
      {{"Kyoto", "{'country': 'Japan'}"}, {"city", "{'country': 'Portugal'}"}});
  const Execution execution =
      Run(client,
          "cities = [\"Porto\", \"Kyoto\", \"Lisbon\"]\n"
          "countries = []\n"
          "for city in cities:\n"
          "  country = get_country(city, ret_type=\"str\")\n"
          "  countries.append(country)\n"
          "answer = len(set(countries))");
  EXPECT_EQ(absl::StrJoin(execution.trace, "\n"), WorkedTrace());
}

TEST_F(LmulatorTest, PythonAloneTakesOneRoundAndAsksNobody) {
  ScriptedClient nobody(std::vector<std::string>{});
  const Execution execution =
      Run(nobody, "answer = ((-1 + 2 + 9 * 5) - (-2 + -4 + -4 * -7))");
  EXPECT_EQ(execution.answer, "24");
  EXPECT_EQ(execution.rounds, 1);
  EXPECT_EQ(execution.lm_calls, 0);
  EXPECT_EQ(execution.sandbox_runs, 1);
}

TEST_F(LmulatorTest, DeltaStateHoldsWhatChangedByValue) {
  const Execution execution = RunAlone(
      "xs = [1]\n"
      "ys = xs\n"
      "xs.append(2)\n"
      "xs = [1, 2]\n"
      "import math\n"
      "f = lambda: 0\n"
      "answer = 3");
  EXPECT_THAT(
      execution.trace,
      ElementsAre("state: {}", "line: xs = [1]", "delta state: {'xs': [1]}",
                  "line: ys = xs", "delta state: {'ys': [1]}",
                  "line: xs.append(2)",
                  "delta state: {'xs': [1, 2], 'ys': [1, 2]}",
                  "line: xs = [1, 2]", "delta state: {}", "line: import math",
                  "delta state: {}", "line: f = lambda: 0", "delta state: {}",
                  "line: answer = 3", "delta state: {'answer': 3}"));
}

TEST_F(LmulatorTest, StateHoldsLiteralsOnly) {
  // A subclass shows as its base, its own methods are not called; cycles,
  // objects, infinities and what is too large do not show.
  const Execution execution = RunAlone(
      "from collections import Counter\n"
      "class Trap(str):\n"
      "  def __repr__(self): raise SystemExit\n"
      "  __eq__ = __hash__ = __repr__\n"
      "a, b, c, d = Counter('aab'), object(), float('inf'), Trap('text')\n"
      "e = [1]\n"
      "e.append(e)\n"
      "f = list(range(20000))\n"
      "g = 10 ** 5000\n"
      "h = [(None, {True: 1.5}), {2}]\n"
      "answer = 'done'");
  EXPECT_EQ(execution.answer, "done");
  const std::string trace = absl::StrJoin(execution.trace, "\n");
  EXPECT_THAT(trace, HasSubstr("{'a': {'a': 2, 'b': 1}, 'd': 'text'}"));
  EXPECT_THAT(trace, HasSubstr("delta state: {'e': [1]}"));
  EXPECT_THAT(trace, HasSubstr("{'h': [(None, {True: 1.5}), {2}]}"));
  for (const char* hidden : {"'c':", "'f':", "'g':"}) {
    EXPECT_THAT(trace, Not(HasSubstr(hidden)));
  }
}

TEST_F(LmulatorTest, ExceptionInTheMiddleOfALoop) {
  // Python manages i = 2 and 1, and fails at 0. From then on the model is asked
  // at each visit, and Python's own value wins where it has one.
  ScriptedClient client({"{'x': -1}", "{'x': -1}", "{'x': 100}"});
  const Execution execution = Run(client,
                                  "answer = []\n"
                                  "for i in [2, 1, 0]:\n"
                                  "  x = 6 // i\n"
                                  "  answer.append(x)");
  EXPECT_EQ(execution.answer, "[3, 6, 100]");
  EXPECT_THAT(execution.lm_lines, ElementsAre(2));
  EXPECT_EQ(execution.rounds, 2);
  EXPECT_EQ(execution.lm_calls, 3);
}

TEST_F(LmulatorTest, RestartForgetsTheFirstAttempt) {
  ScriptedClient client =
      ByLine({{"first", "{'a': 1}"}, {"second", "{'b': 2}"}});
  const Execution execution = Run(client,
                                  "import os\n"
                                  "log = [os.path.exists('mark')]\n"
                                  "open('mark', 'w').close()\n"
                                  "a = first()\n"
                                  "log.append(a)\n"
                                  "b = second()\n"
                                  "log.append(b)\n"
                                  "answer = log");
  EXPECT_EQ(execution.answer, "[False, 1, 2]");
  EXPECT_EQ(execution.rounds, 3);
  EXPECT_THAT(execution.lm_lines, ElementsAre(3, 5));
  // first() in rounds 2 and 3, second() in round 3; equal questions go to the
  // model once.
  EXPECT_EQ(execution.lm_calls, 3);
  EXPECT_EQ(execution.lm_requests, 2);
}

TEST_F(LmulatorTest, ControlFlowTakesTheModelsValues) {
  ScriptedClient client = ByLine({{"{'last': 3}", "{'n': 1, 'extra': [2]}"},
                                  {"{'last': 1}", "{'n': 2}"},
                                  {"decide", "{'go': True, 'n': 3}"}});
  const Execution execution = Run(client,
                                  "go = False\n"
                                  "go = decide()\n"
                                  "answer = 0\n"
                                  "while go:\n"
                                  "  answer += n\n"
                                  "  last = n\n"
                                  "  n = smaller(n)\n"
                                  "  go = last > n");
  EXPECT_EQ(execution.answer, "4");
  EXPECT_THAT(execution.lm_lines, ElementsAre(1, 6));
}

TEST_F(LmulatorTest, RoundsAreBounded) {
  const auto program = [](int bad_lines) {
    std::string text = "answer = 0\n";
    for (int i = 0; i < bad_lines; ++i) {
      absl::StrAppend(&text, "answer += f", i, "()\n");
    }
    return text + "answer += 0";
  };
  ScriptedClient client(
      [](const CompletionRequest&) { return TextCompletion("{'answer': 7}"); });
  LmulatorOptions options;
  options.behaviour = Behaviour::kAsCoded;
  const Execution more =
      Run(client, program(21), Variant::kInterweave, options);
  EXPECT_FALSE(more.answered);
  EXPECT_EQ(more.rounds, 20);
  EXPECT_EQ(more.lm_lines.size(), 20u);
  EXPECT_THAT(more.failure, HasSubstr("20 rounds"));
  options.max_rounds = 4;
  const Execution most = Run(client, program(3), Variant::kInterweave, options);
  EXPECT_EQ(most.answer, "7");
  EXPECT_EQ(most.rounds, 4);
  EXPECT_EQ(most.lm_calls, 1 + 2 + 3);
}

TEST_F(LmulatorTest, RepliesAreParsedNeverEvaluated) {
  for (const std::string& reply :
       {std::string("{'answer': __import__('os').getpid()}"),
        std::string("__import__('os')._exit(0)"),
        std::string("{'answer': (lambda: 1)()}"), std::string("{'answer': 1"),
        std::string("[1]"), std::string("{1: 2}"), std::string(),
        std::string("the answer is 3"), std::string("{'answer': 1} # \0", 17),
        "{'answer': " + std::string(5000, '(') + std::string(5000, ')') + "}",
        "{'answer': " + std::string(60000, '-') + "1}",
        "{'answer': '" + std::string(100000, 'x') + "'}"}) {
    ScriptedClient client = ByLine({{"f()", reply}});
    const Execution execution = Run(client, "answer = 0\nanswer = f()");
    EXPECT_EQ(execution.answer, "rescued") << reply.substr(0, 60);
    EXPECT_TRUE(execution.answer_by_lm);
    EXPECT_THAT(execution.failure, Not(IsEmpty()));
  }
  // The longest that is still taken, and blanks around.
  ScriptedClient client =
      ByLine({{"f()", "\n  {'answer': '" + std::string(60000, 'x') + "'} "}});
  const Execution execution =
      Run(client, "answer = 0\nanswer = f()\nanswer = len(answer)");
  EXPECT_EQ(execution.answer, "60000");
}

TEST_F(LmulatorTest, LimitsHold) {
  LmulatorOptions options;
  options.max_steps = 1000;
  EXPECT_EQ(RunAlone("while True:\n  x = 1", options).failure,
            "too many steps");
  options.sandbox.wall = absl::Seconds(1);
  EXPECT_THAT(
      RunAlone("def f():\n  while True: pass\nanswer = f()", options).failure,
      HasSubstr("time"));

  options = LmulatorOptions();
  options.behaviour = Behaviour::kAsCoded;
  ScriptedClient client(
      [](const CompletionRequest&) { return TextCompletion("{'y': 1}"); });
  // Memory that the sandbox does not give is one more thing that Python cannot
  // do: the model is asked for the line.
  const Execution memory = Run(client, "y = 'x' * 10 ** 10\nanswer = y",
                               Variant::kInterweave, options);
  EXPECT_EQ(memory.answer, "1");
  EXPECT_THAT(memory.lm_lines, ElementsAre(0));
  options.max_questions = 3;
  EXPECT_THAT(Run(client, "for x in range(9):\n  y = f(x)",
                  Variant::kInterweave, options)
                  .failure,
              HasSubstr("3 questions"));
  // Each variable is small enough to show, together they are not.
  options.max_tail_characters = 10000;
  EXPECT_THAT(Run(client, "a, b, c = 'a' * 4000, 'b' * 4000, 'c' * 4000\nf()",
                  Variant::kInterweave, options)
                  .failure,
              HasSubstr("too large"));
}

TEST_F(LmulatorTest, LongTracesAreCut) {
  // Each line shows 9,000 new characters: more than a report holds.
  const Execution execution = RunAlone(
      "answer = ''\n"
      "for i in range(300):\n"
      "  text = str(i).rjust(9000)\n"
      "answer = i");
  EXPECT_EQ(execution.answer, "299");
  EXPECT_THAT(execution.trace, Not(IsEmpty()));
  EXPECT_EQ(execution.trace.back(), "delta state: {'answer': 299}");
  EXPECT_LE(absl::StrJoin(execution.trace, "").size(), size_t{64} << 10);
}

TEST_F(LmulatorTest, WhatCannotBeRescuedGoesToTheModel) {
  // Neither a compound statement's head nor half a statement can be wrapped,
  // and a syntax error has no line.
  for (const auto& [program, failure] :
       std::vector<std::pair<std::string, std::string>>{
           {"if is_fruit('plum'):\n  answer = 1", "cannot be wrapped"},
           {"answer = (1 +\n  f() +\n  2)", "cannot be wrapped"},
           {"answer = 1 +", "syntax error"},
           {"x = 1", "no answer"},
           {"answer = None", "no answer"},
           {"import os\nos._exit(0)", "ended the interpreter"},
           {"", "no answer"}}) {
    ScriptedClient client = ByLine({});
    const Execution execution = Run(client, program);
    EXPECT_EQ(execution.answer, "rescued") << program;
    EXPECT_THAT(execution.failure, HasSubstr(failure)) << program;
    EXPECT_THAT(client.requests().back().prompt,
                EndsWith(absl::StrCat("Q: the question\nA:\n# CODE START\n",
                                      program, "\n# CODE END\nAnswer:")));
  }
}

TEST_F(LmulatorTest, ForgedReportsAreCheckedLikeAnyText) {
  const auto forge = [](const std::string& report) {
    return RunAlone(absl::StrCat("import os\nos.write(1, b'''", report,
                                 "''')\nos._exit(0)"));
  };
  for (const char* report :
       {R"({"event": "error", "line": 99})",
        R"({"event": "error", "line": -1})",
        R"({"event": "error", "line": "0"})", R"({"event": "nonsense"})",
        R"({"event": 3})", "[]", "{", "\\xff\\xfe"}) {
    const Execution execution = forge(report);
    EXPECT_FALSE(execution.answered) << report;
    EXPECT_THAT(execution.failure, Not(IsEmpty())) << report;
  }
  // What `answer = 42` says, too.
  EXPECT_EQ(
      forge(R"({"event": "answer", "answer": "42", "visits": -5})").answer,
      "42");
}

TEST_F(LmulatorTest, ProgramsAreConfinedAndRepeat) {
  ScriptedClient client = ByLine({{"open(", "{'text': 'kept out'}"}});
  EXPECT_EQ(
      Run(client, "text = open('/etc/hostname').read()\nanswer = text").answer,
      "kept out");
  const std::string random =
      "import random\nprint('noise')\nanswer = (random.random(), hash('x'))";
  EXPECT_EQ(RunAlone(random).answer, RunAlone(random).answer);
  EXPECT_THAT(RunAlone(random).answer, StartsWith("(0."));
}

TEST_F(LmulatorTest, AllOfTheTraceIfAskedFor) {
  ScriptedClient client = ByLine({{"f(x)", "{'answer': 5}"}});
  LmulatorOptions options;
  options.context_lines = 0;
  options.worked_trace = "(worked)";
  Run(client, "x = 1\ny = 2\nz = 3\nanswer = f(x)", Variant::kInterweave,
      options);
  EXPECT_EQ(client.requests()[0].prompt,
            "# TRACE START\n(worked)\n# TRACE END\n\n# TRACE START\n"
            "state: {}\nline: x = 1\ndelta state: {'x': 1}\nline: y = 2\n"
            "delta state: {'y': 2}\nline: z = 3\ndelta state: {'z': 3}\n"
            "line: answer = f(x)\ndelta state:");
}

TEST_F(LmulatorTest, KnownRepliesAreNotAskedFor) {
  Replies replies;
  ScriptedClient client({"{'answer': 1}"});
  const Lmulator lmulator(*sandbox(), client);
  const std::string program = "answer = 0\nanswer += f()";
  for (int i = 0; i < 2; ++i) {
    const absl::StatusOr<Execution> execution =
        lmulator.Execute(Variant::kInterweave, {}, "", program, &replies);
    ASSERT_TRUE(execution.ok()) << execution.status();
    EXPECT_EQ(execution->answer, "1");
    EXPECT_EQ(execution->lm_calls, 1);
    EXPECT_EQ(execution->lm_requests, 1 - i);
    EXPECT_EQ(execution->sandbox_runs, 3 - i);
  }
  ASSERT_EQ(replies.size(), 1u);
  EXPECT_EQ(replies.begin()->second, "{'answer': 1}");
}

TEST_F(LmulatorTest, VariantsAskForWhatTheirNamesSay) {
  const std::string good = "answer = 2 + 2", bad = "answer = f()";
  ScriptedClient client([](const CompletionRequest& request)
                            -> absl::StatusOr<completion::Completion> {
    if (absl::EndsWith(request.prompt, "\nline: answer = f()\ndelta state:")) {
      return TextCompletion(
          absl::StrContains(request.prompt, "# CODE END")
              ? " {'answer': 'traced'}\n# TRACE END\nAnswer: traced\n"
              : "{'answer': 'interwoven'}");
    }
    if (absl::EndsWith(request.prompt, "line: answer = 2 + 2\ndelta state:")) {
      return TextCompletion(" {'answer': 5}\n# TRACE END\nAnswer: 5");
    }
    return TextCompletion(" told\nmore");
  });
  const auto answer = [&](Variant variant, const std::string& program) {
    const Execution execution = Run(client, program, variant);
    return execution.answered ? execution.answer : "";
  };
  EXPECT_EQ(answer(Variant::kInterweave, good), "4");
  EXPECT_EQ(answer(Variant::kTryPythonExceptLmState, good), "4");
  EXPECT_EQ(answer(Variant::kTryPythonExceptLm, good), "4");
  EXPECT_EQ(answer(Variant::kPython, good), "4");
  EXPECT_EQ(answer(Variant::kLmState, good), "5");
  EXPECT_THAT(answer(Variant::kLm, good), StartsWith("told"));
  EXPECT_EQ(answer(Variant::kInterweave, bad), "interwoven");
  EXPECT_EQ(answer(Variant::kTryPythonExceptLmState, bad), "traced");
  EXPECT_THAT(answer(Variant::kTryPythonExceptLm, bad), StartsWith("told"));
  EXPECT_EQ(answer(Variant::kPython, bad), "");
  EXPECT_EQ(answer(Variant::kLmState, bad), "traced");
}

TEST_F(LmulatorTest, ErrorsOfTheClientComeBack) {
  ScriptedClient client([](const CompletionRequest&) {
    return absl::UnavailableError("no network");
  });
  const Lmulator lmulator(*sandbox(), client);
  EXPECT_TRUE(absl::IsUnavailable(
      lmulator.Execute(Variant::kInterweave, {}, "", "answer = f()").status()));
}

// Where the notebook departs from the paper.

TEST_F(LmulatorTest, AsCodedAMalformedReplyEndsTheTracing) {
  const std::string program =
      "answer = 0\nanswer += f()\nanswer += g()\nanswer += 1";
  ScriptedClient client =
      ByLine({{"f()", "nonsense"}, {"g()", "{'answer': 9}"}});
  LmulatorOptions options;
  options.behaviour = Behaviour::kAsCoded;
  // Round 2: f()'s reply raises inside the program's try, tracing is off, g()
  // raises untraced: no line is recorded, and the attempt ends.
  const Execution two = Run(client, program, Variant::kInterweave, options);
  EXPECT_FALSE(two.answered);
  // With f() alone the wrong answer comes out without a word.
  const Execution one = Run(client, "answer = 0\nanswer += f()\nanswer += 1",
                            Variant::kInterweave, options);
  EXPECT_TRUE(one.answered);
  EXPECT_EQ(one.answer, "1");
  EXPECT_EQ(Run(client, "answer = 0\nanswer += f()\nanswer += 1").answer,
            "rescued");
}

TEST_F(LmulatorTest, AsCodedALineAboveMakesTheOthersStale) {
  // The second branch fails first.
  const std::string program =
      "answer = []\n"
      "for i in range(2):\n"
      "  x = None\n"
      "  if i == 1:\n"
      "    x = upper(i)\n"
      "  else:\n"
      "    x = lower(i)\n"
      "  answer.append(x)";
  ScriptedClient client =
      ByLine({{"upper", "{'x': 'u'}"}, {"lower", "{'x': 'l'}"}});
  EXPECT_EQ(Run(client, program).answer, "['l', 'u']");
  LmulatorOptions options;
  options.behaviour = Behaviour::kAsCoded;
  EXPECT_EQ(Run(client, program, Variant::kInterweave, options).answer,
            "[None, 'u']");
}

TEST_F(LmulatorTest, AsCodedAHandledExceptionIsTakenForTheFailure) {
  const std::string program =
      "try:\n"
      "  x = int('one')\n"
      "except ValueError:\n"
      "  x = 1\n"
      "answer = x + f()";
  ScriptedClient client =
      ByLine({{"f()", "{'answer': 3}"}, {"int('one')", "{'x': 50}"}});
  const Execution published = Run(client, program);
  EXPECT_EQ(published.answer, "3");
  EXPECT_THAT(published.lm_lines, ElementsAre(4));
  LmulatorOptions options;
  options.behaviour = Behaviour::kAsCoded;
  const Execution coded = Run(client, program, Variant::kInterweave, options);
  EXPECT_THAT(coded.lm_lines, ElementsAre(1, 4));
}

TEST(PythonLiteralTest, IsReadBackByPython) {
  EXPECT_EQ(PythonLiteral("a \"b\"\\ \n\x01 \xc3\xa9"),
            "\"a \\\"b\\\"\\\\ \\n\\u0001 \xc3\xa9\"");
  EXPECT_EQ(PythonLiteral("\xff"), "\"\xef\xbf\xbd\"");
}

}  // namespace
}  // namespace repro::chain_of_code
