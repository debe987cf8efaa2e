#include "common/code/code_bleu.h"
#include "common/code/language.h"
#include "common/data/io.h"
#include "common/metrics/registry_input.h"
#include "common/status/macros.h"

namespace repro::metrics {
namespace {

using nlohmann::json;

absl::StatusOr<json> EvaluateCodeBleu(const JsonlFile& predictions,
                                      const JsonlFile& references,
                                      const Options& options) {
  REPRO_ASSIGN_OR_RETURN(const code::CodeLanguage language,
                         code::ParseLanguageName(options.at("language")));
  Keywords keywords = code::KeywordsOf(language);
  if (const std::string& path = options.at("keywords"); !path.empty()) {
    REPRO_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
    keywords = ParseKeywords(text);
  }
  REPRO_ASSIGN_OR_RETURN(const Texts texts, ReadTexts(predictions, references));
  REPRO_ASSIGN_OR_RETURN(const code::CodeBleuScore score,
                         code::EvaluateCodeBleu(language, texts.references,
                                                texts.predictions, keywords));
  return json{{"value", score.code_bleu},
              {"n", texts.predictions.size()},
              {"ngram", score.ngram},
              {"weighted_ngram", score.weighted_ngram},
              {"syntax", score.syntax.score},
              {"data_flow", score.data_flow.score},
              {"syntax_subtrees", score.syntax.total},
              {"data_flow_edges", score.data_flow.total}};
}

}  // namespace

std::vector<Metric> CodeMetrics() {
  return {
      {{"codebleu",
        "CodeBLEU: n-grams, weighted n-grams, syntax and data flow",
        R"({"text": string})",
        R"({"text": string, or [strings] that are all right})",
        true,
        {{"language", "", "python, java, javascript, go, php, ruby or c_sharp"},
         {"keywords", "",
          "file of the language's keywords, one a line; those of its "
          "grammar without"}}},
       EvaluateCodeBleu}};
}

}  // namespace repro::metrics
