#include "papers/sae_circuits/released.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/data/json.h"
#include "common/data/jsonl.h"
#include "common/status/macros.h"

namespace repro::sae_circuits {
namespace {

using nlohmann::json;

// A value and where it stands, for errors.
struct Place {
  const json* value;
  std::string name;

  absl::Status Error(absl::string_view what) const {
    return absl::InvalidArgumentError(absl::StrCat(name, ": ", what));
  }
};

absl::StatusOr<Place> Field(const Place& place, const std::string& key) {
  if (!place.value->is_object()) return place.Error("expected an object");
  const auto found = place.value->find(key);
  if (found == place.value->end()) {
    return place.Error(absl::StrCat("field \"", key, "\" is missing"));
  }
  return Place{&*found, absl::StrCat(place.name, ": ", key)};
}

absl::StatusOr<std::string> Text(const Place& place) {
  if (!place.value->is_string()) return place.Error("expected a string");
  return place.value->get<std::string>();
}

absl::StatusOr<int64_t> Whole(const Place& place) {
  if (!place.value->is_number_integer()) {
    return place.Error("expected a whole number");
  }
  return place.value->get<int64_t>();
}

absl::StatusOr<double> Number(const Place& place) {
  if (!place.value->is_number()) return place.Error("expected a number");
  return place.value->get<double>();
}

absl::StatusOr<std::string> TextField(const Place& place,
                                      const std::string& key) {
  REPRO_ASSIGN_OR_RETURN(const Place field, Field(place, key));
  return Text(field);
}

absl::StatusOr<int64_t> WholeField(const Place& place, const std::string& key) {
  REPRO_ASSIGN_OR_RETURN(const Place field, Field(place, key));
  return Whole(field);
}

absl::StatusOr<double> NumberField(const Place& place, const std::string& key) {
  REPRO_ASSIGN_OR_RETURN(const Place field, Field(place, key));
  return Number(field);
}

// A list that is not empty, each entry read by `read`.
template <typename T, typename Read>
absl::StatusOr<std::vector<T>> List(const Place& place, const Read& read) {
  if (!place.value->is_array() || place.value->empty()) {
    return place.Error("expected a list that is not empty");
  }
  std::vector<T> list;
  for (size_t i = 0; i < place.value->size(); ++i) {
    REPRO_ASSIGN_OR_RETURN(
        T entry,
        read(Place{&(*place.value)[i], absl::StrCat(place.name, "[", i, "]")}));
    list.push_back(std::move(entry));
  }
  return list;
}

template <typename T, typename Read>
absl::StatusOr<std::vector<T>> ListField(const Place& place,
                                         const std::string& key,
                                         const Read& read) {
  REPRO_ASSIGN_OR_RETURN(const Place field, Field(place, key));
  return List<T>(field, read);
}

// Calls visit(key, place) for every field of an object.
template <typename Visit>
absl::Status ForFields(const Place& place, const Visit& visit) {
  if (!place.value->is_object() || place.value->empty()) {
    return place.Error("expected an object that is not empty");
  }
  for (auto it = place.value->begin(); it != place.value->end(); ++it) {
    REPRO_RETURN_IF_ERROR(
        visit(it.key(),
              Place{&it.value(), absl::StrCat(place.name, ": ", it.key())}));
  }
  return absl::OkStatus();
}

bool Contains(const std::vector<std::string>& list, absl::string_view word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

// Runs of letters, and what lies between them, alternately; the first piece is
// of the latter kind and may be empty.
std::vector<std::string> SplitWords(absl::string_view text) {
  std::vector<std::string> pieces(1);
  for (const char c : text) {
    const bool letter = absl::ascii_isalpha(static_cast<unsigned char>(c));
    if (letter == (pieces.size() % 2 == 1)) pieces.emplace_back();
    pieces.back().push_back(c);
  }
  return pieces;
}

absl::StatusOr<std::map<int64_t, std::vector<double>>> ReadTrials(
    const Place& place) {
  std::map<int64_t, std::vector<double>> trials;
  REPRO_RETURN_IF_ERROR(ForFields(
      place, [&](const std::string& key, const Place& list) -> absl::Status {
        int64_t setting = 0;
        if (!absl::SimpleAtoi(key, &setting) || setting < 1) {
          return list.Error("expected a number above 0 as name");
        }
        REPRO_ASSIGN_OR_RETURN(trials[setting], List<double>(list, Number));
        for (const double area : trials[setting]) {
          if (!(area >= 0 && area <= 1)) {
            return list.Error(absl::StrCat(area, " is not in [0, 1]"));
          }
        }
        return absl::OkStatus();
      }));
  return trials;
}

absl::StatusOr<FaithfulnessCurve> ReadFaithfulness(const Place& place) {
  FaithfulnessCurve curve;
  REPRO_ASSIGN_OR_RETURN(curve.num_heads,
                         ListField<int64_t>(place, "num_nodes", Whole));
  REPRO_ASSIGN_OR_RETURN(
      curve.kl, ListField<double>(place, "ablation_scores_kl", Number));
  REPRO_ASSIGN_OR_RETURN(
      curve.faithfulness,
      ListField<double>(place, "faithfulness_scores_kl", Number));
  if (curve.kl.size() != curve.num_heads.size() ||
      curve.faithfulness.size() != curve.num_heads.size()) {
    return place.Error("lists of different lengths");
  }
  return curve;
}

}  // namespace

absl::StatusOr<std::vector<PromptPair>> ReadPrompts(const std::string& path) {
  REPRO_ASSIGN_OR_RETURN(const std::vector<JsonLine> lines, ReadJsonl(path));
  std::map<int64_t, PromptPair> pairs;
  for (const JsonLine& line : lines) {
    const Place place = {&line.value, absl::StrCat(path, ":", line.line)};
    REPRO_ASSIGN_OR_RETURN(const int64_t pair, WholeField(place, "pair"));
    REPRO_ASSIGN_OR_RETURN(const std::string text, TextField(place, "text"));
    REPRO_ASSIGN_OR_RETURN(const Place positive, Field(place, "positive"));
    if (!positive.value->is_boolean()) {
      return positive.Error("expected true or false");
    }
    if (text.empty()) return place.Error("an empty text");
    PromptPair& prompts = pairs[pair];
    std::string& prompt =
        positive.value->get<bool>() ? prompts.positive : prompts.negative;
    if (!prompt.empty()) {
      return place.Error(absl::StrCat("pair ", pair, " has one already"));
    }
    prompt = text;
  }
  std::vector<PromptPair> prompts;
  for (auto& [number, pair] : pairs) {
    if (pair.positive.empty() || pair.negative.empty()) {
      return absl::InvalidArgumentError(absl::StrCat(
          path, ": pair ", number, " lacks its ",
          pair.positive.empty() ? "positive" : "negative", " prompt"));
    }
    prompts.push_back(std::move(pair));
  }
  if (prompts.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": no prompts"));
  }
  return prompts;
}

absl::StatusOr<Lexicon> ReadLexicon(const std::string& path) {
  REPRO_ASSIGN_OR_RETURN(const json root, ReadJson(path));
  const Place place = {&root, path};
  Lexicon lexicon;
  REPRO_ASSIGN_OR_RETURN(lexicon.names,
                         ListField<std::string>(place, "names", Text));
  REPRO_ASSIGN_OR_RETURN(lexicon.places,
                         ListField<std::string>(place, "places", Text));
  REPRO_ASSIGN_OR_RETURN(lexicon.objects,
                         ListField<std::string>(place, "objects", Text));
  REPRO_ASSIGN_OR_RETURN(lexicon.templates,
                         ListField<std::string>(place, "baba_templates", Text));
  for (const std::string& text : lexicon.templates) {
    REPRO_RETURN_IF_ERROR(SwapFirstNames(text).status());
  }
  return lexicon;
}

absl::StatusOr<std::string> SwapFirstNames(absl::string_view name_template) {
  const size_t b = name_template.find("[B]");
  const size_t a = name_template.find("[A]");
  if (a == absl::string_view::npos || b == absl::string_view::npos || a < b ||
      name_template.find("[B]", b + 1) < a) {
    return absl::InvalidArgumentError(absl::StrCat(
        "template \"", name_template, "\": expected [B] and [A] in turn"));
  }
  std::string swapped(name_template);
  swapped[b + 1] = 'A';
  swapped[a + 1] = 'B';
  return swapped;
}

std::optional<Slots> MatchTemplate(absl::string_view prompt,
                                   absl::string_view name_template,
                                   const Lexicon& lexicon) {
  const std::vector<absl::string_view> words = absl::StrSplit(prompt, ' ');
  std::vector<absl::string_view> parts = absl::StrSplit(name_template, ' ');
  parts.pop_back();
  if (words.size() != parts.size()) return std::nullopt;
  Slots slots;
  for (size_t i = 0; i < words.size(); ++i) {
    const size_t open = parts[i].find('['), close = parts[i].find(']');
    if (open == absl::string_view::npos || close == absl::string_view::npos) {
      if (words[i] != parts[i]) return std::nullopt;
      continue;
    }
    absl::string_view word = words[i];
    if (!absl::ConsumePrefix(&word, parts[i].substr(0, open)) ||
        !absl::ConsumeSuffix(&word, parts[i].substr(close + 1))) {
      return std::nullopt;
    }
    const std::string slot(parts[i].substr(open + 1, close - open - 1));
    const std::vector<std::string>& list = slot == "PLACE"    ? lexicon.places
                                           : slot == "OBJECT" ? lexicon.objects
                                                              : lexicon.names;
    if (!Contains(list, word)) return std::nullopt;
    const auto [it, added] = slots.emplace(slot, word);
    if (!added && it->second != word) return std::nullopt;
  }
  if (slots.count("A") == 0 || slots.count("B") == 0 ||
      slots["A"] == slots["B"]) {
    return std::nullopt;
  }
  return slots;
}

std::vector<std::string> NamesIn(absl::string_view text,
                                 const Lexicon& lexicon) {
  std::vector<std::string> names;
  const std::vector<std::string> pieces = SplitWords(text);
  for (size_t i = 1; i < pieces.size(); i += 2) {
    if (Contains(lexicon.names, pieces[i])) names.push_back(pieces[i]);
  }
  return names;
}

std::string NegativeOf(absl::string_view positive, absl::string_view object,
                       absl::string_view subject, absl::string_view third) {
  std::vector<std::string> pieces = SplitWords(positive);
  bool subject_seen = false;
  for (size_t i = 1; i < pieces.size(); i += 2) {
    if (pieces[i] == object) {
      pieces[i] = std::string(third);
    } else if (pieces[i] == subject && !subject_seen) {
      subject_seen = true;
      pieces[i] = std::string(object);
    }
  }
  std::string negative;
  for (const std::string& piece : pieces) negative += piece;
  return negative;
}

absl::StatusOr<std::map<std::string, Circuit>> ReadCircuits(
    const std::string& path) {
  REPRO_ASSIGN_OR_RETURN(const json root, ReadJson(path));
  const Place place = {&root, path};
  std::map<std::string, Circuit> circuits;
  for (const auto& [task, key] :
       {std::pair("ioi", "ioi"), std::pair("gt", "greater_than"),
        std::pair("ds", "docstring")}) {
    REPRO_ASSIGN_OR_RETURN(const Place field, Field(place, key));
    Circuit circuit;
    REPRO_ASSIGN_OR_RETURN(circuit.model, TextField(field, "model"));
    REPRO_ASSIGN_OR_RETURN(circuit.layers, WholeField(field, "layers"));
    REPRO_ASSIGN_OR_RETURN(circuit.heads_per_layer,
                           WholeField(field, "heads_per_layer"));
    constexpr int64_t kMost = 1 << 20;
    if (circuit.layers < 1 || circuit.layers > kMost ||
        circuit.heads_per_layer < 1 || circuit.heads_per_layer > kMost) {
      return field.Error("layers or heads out of range");
    }
    using Pair = std::vector<int64_t>;
    REPRO_ASSIGN_OR_RETURN(
        const std::vector<Pair> heads,
        ListField<Pair>(field, "heads", [](const Place& head) {
          return List<int64_t>(head, Whole);
        }));
    std::set<Pair> distinct;
    for (const Pair& head : heads) {
      if (head.size() != 2 || head[0] < 0 || head[0] >= circuit.layers ||
          head[1] < 0 || head[1] >= circuit.heads_per_layer ||
          !distinct.insert(head).second) {
        return field.Error("heads: expected distinct [layer, head] in range");
      }
      circuit.heads.emplace_back(head[0], head[1]);
    }
    circuits[task] = std::move(circuit);
  }
  return circuits;
}

absl::StatusOr<ReleasedResults> ReadResults(const std::string& path) {
  REPRO_ASSIGN_OR_RETURN(const json root, ReadJson(path));
  const Place place = {&root, path};
  ReleasedResults results;

  REPRO_ASSIGN_OR_RETURN(const Place curves, Field(place, "roc_points"));
  REPRO_RETURN_IF_ERROR(ForFields(
      curves, [&](const std::string& task, const Place& field) -> absl::Status {
        RocCurve curve;
        REPRO_ASSIGN_OR_RETURN(curve.fpr,
                               ListField<double>(field, "fpr", Number));
        REPRO_ASSIGN_OR_RETURN(curve.tpr,
                               ListField<double>(field, "tpr", Number));
        const absl::Status status = CheckCurve(curve);
        if (!status.ok()) return field.Error(status.message());
        results.curves[task] = std::move(curve);
        return absl::OkStatus();
      }));

  REPRO_ASSIGN_OR_RETURN(const Place main, Field(place, "main_results"));
  REPRO_RETURN_IF_ERROR(ForFields(
      main, [&](const std::string& task, const Place& field) -> absl::Status {
        for (const char* kind : {"node", "edge"}) {
          REPRO_ASSIGN_OR_RETURN(const Place of_kind, Field(field, kind));
          MeanAndDeviation& result = results.main_results[task][kind];
          REPRO_ASSIGN_OR_RETURN(result.mean, NumberField(of_kind, "mean_roc"));
          REPRO_ASSIGN_OR_RETURN(result.standard_deviation,
                                 NumberField(of_kind, "std_roc"));
          if (!(result.mean >= 0 && result.mean <= 1 &&
                result.standard_deviation >= 0 &&
                result.standard_deviation <= 1)) {
            return of_kind.Error("expected mean and deviation in [0, 1]");
          }
        }
        return absl::OkStatus();
      }));

  REPRO_ASSIGN_OR_RETURN(const Place examples,
                         Field(place, "auc_by_num_examples"));
  REPRO_RETURN_IF_ERROR(ForFields(
      examples,
      [&](const std::string& task, const Place& field) -> absl::Status {
        REPRO_ASSIGN_OR_RETURN(results.trials["examples/" + task],
                               ReadTrials(field));
        return absl::OkStatus();
      }));
  for (const char* name : {"ioi", "gt", "ds", "node"}) {
    REPRO_ASSIGN_OR_RETURN(
        const Place field,
        Field(place, absl::StrCat("auc_by_num_codes_", name)));
    REPRO_ASSIGN_OR_RETURN(results.trials[absl::StrCat("codes/", name)],
                           ReadTrials(field));
  }

  REPRO_ASSIGN_OR_RETURN(const Place induction,
                         Field(place, "induction_node_faithfulness"));
  REPRO_RETURN_IF_ERROR(ForFields(
      induction,
      [&](const std::string& model, const Place& field) -> absl::Status {
        REPRO_ASSIGN_OR_RETURN(results.induction[model],
                               ReadFaithfulness(field));
        return absl::OkStatus();
      }));
  return results;
}

absl::StatusOr<AblationScale> FitAblationScale(const FaithfulnessCurve& curve) {
  if (curve.kl.size() != curve.faithfulness.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("faithfulness: ", curve.faithfulness.size(),
                     " values for ", curve.kl.size(), " divergences"));
  }
  // Least squares of 1 - faithfulness = KL (1 / K).
  double squares = 0, products = 0;
  for (size_t i = 0; i < curve.kl.size(); ++i) {
    squares += curve.kl[i] * curve.kl[i];
    products += curve.kl[i] * (1 - curve.faithfulness[i]);
  }
  if (!(squares > 0) || !(products > 0)) {
    return absl::InvalidArgumentError(
        "faithfulness: no points that determine the scale");
  }
  AblationScale scale;
  scale.kl = squares / products;
  for (size_t i = 0; i < curve.kl.size(); ++i) {
    scale.largest_residual =
        std::max(scale.largest_residual,
                 std::abs(1 - curve.kl[i] / scale.kl - curve.faithfulness[i]));
  }
  return scale;
}

}  // namespace repro::sae_circuits
