#include "common/claims/paper.h"

#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/text_format.h>

#include <set>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/assets/asset_store.h"
#include "common/claims/printed_number.h"

namespace repro {
namespace {

using ::google::protobuf::TextFormat;

// Gathers problems with their place in the file.
class Problems : public google::protobuf::io::ErrorCollector {
 public:
  explicit Problems(absl::string_view file) : file_(file) {}

  // Lines and columns count from 0; -1 is unknown.
  void AddError(int line, int column, const std::string& message) override {
    lines_.push_back(line < 0 ? absl::StrCat(file_, ": ", message)
                              : absl::StrCat(file_, ":", line + 1, ":",
                                             column + 1, ": ", message));
  }
  bool empty() const { return lines_.empty(); }
  absl::Status ToStatus() const {
    return absl::InvalidArgumentError(absl::StrJoin(lines_, "\n"));
  }

 private:
  std::string file_;
  std::vector<std::string> lines_;
};

// Checks one paper against the rules that the schema cannot state.
class Validator {
 public:
  Validator(const Paper& paper, TextFormat::ParseInfoTree& tree,
            Problems& problems)
      : paper_(paper), tree_(tree), problems_(problems) {}

  void Validate() {
    Require(nullptr, "paper", "slug", !paper_.slug().empty(), "is missing");
    Require(nullptr, "paper", "title", !paper_.title().empty(), "is missing");
    Require(nullptr, "paper", "authors", paper_.authors_size() > 0,
            "is missing");
    for (int i = 0; i < paper_.assets_size(); ++i) ValidateAsset(i);
    for (int i = 0; i < paper_.experiments_size(); ++i) ValidateExperiment(i);
    for (int i = 0; i < paper_.claims_size(); ++i) ValidateClaim(i);
    for (int i = 0; i < paper_.findings_size(); ++i) ValidateFinding(i);
  }

 private:
  using Tree = TextFormat::ParseInfoTree;

  Tree* Child(const char* field, int index) {
    return tree_.GetTreeForNested(Paper::descriptor()->FindFieldByName(field),
                                  index);
  }

  // Reports `what` about `field` of the element that `tree` describes, at the
  // field's place if it is set and at the element's otherwise.
  void Report(Tree* tree, const google::protobuf::Descriptor* type,
              const std::string& element, const char* field,
              const std::string& what) {
    TextFormat::ParseLocation location;
    if (tree != nullptr && type != nullptr) {
      const auto* descriptor = type->FindFieldByName(field);
      const int index = descriptor->is_repeated() ? 0 : -1;
      location = tree->GetLocation(descriptor, index);
      for (int i = 0; location.line < 0 && i < type->field_count(); ++i) {
        const auto* other = type->field(i);
        location = tree->GetLocation(other, other->is_repeated() ? 0 : -1);
      }
    }
    problems_.AddError(location.line, location.column,
                       absl::StrCat(element, ": ", field, ": ", what));
  }

  void Require(Tree* tree, const std::string& element, const char* field,
               bool holds, const std::string& what,
               const google::protobuf::Descriptor* type = nullptr) {
    if (!holds) Report(tree, type, element, field, what);
  }

  void ValidateAsset(int i) {
    const Asset& asset = paper_.assets(i);
    const std::string element =
        absl::StrCat("assets[", i, "] \"", asset.name(), "\"");
    const auto require = [&](const char* field, bool holds,
                             const std::string& what) {
      Require(Child("assets", i), element, field, holds, what,
              Asset::descriptor());
    };
    require("name", !asset.name().empty(), "is missing");
    require("name", asset_names_.insert(asset.name()).second,
            "is used by an earlier asset");
    const absl::Status valid = ::repro::ValidateAsset(asset);
    require("sources", valid.ok(), std::string(valid.message()));
  }

  void ValidateExperiment(int i) {
    const Experiment& experiment = paper_.experiments(i);
    const std::string element =
        absl::StrCat("experiments[", i, "] \"", experiment.id(), "\"");
    const auto require = [&](const char* field, bool holds,
                             const std::string& what) {
      Require(Child("experiments", i), element, field, holds, what,
              Experiment::descriptor());
    };
    require("id", !experiment.id().empty(), "is missing");
    require("id", experiment_ids_.insert(experiment.id()).second,
            "is used by an earlier experiment");
    require("description", !experiment.description().empty(), "is missing");
    require("seconds", experiment.seconds() > 0,
            "give the expected wall time, above 0");
    for (const std::string& asset : experiment.assets()) {
      require("assets", asset_names_.count(asset) > 0,
              absl::StrCat("unknown asset \"", asset, "\""));
    }
  }

  void ValidateClaim(int i) {
    const Claim& claim = paper_.claims(i);
    const std::string element =
        absl::StrCat("claims[", i, "] \"", claim.id(), "\"");
    const auto require = [&](const char* field, bool holds,
                             const std::string& what) {
      Require(Child("claims", i), element, field, holds, what,
              Claim::descriptor());
    };
    require("id", !claim.id().empty(), "is missing");
    require("id", claim_ids_.insert(claim.id()).second,
            "is used by an earlier claim");
    require("table", !claim.table().empty(),
            "is missing (the table, figure or section of the paper)");
    require("metric", !claim.metric().empty(), "is missing");
    require("evidence", claim.evidence() != EVIDENCE_UNSPECIFIED, "is missing");
    require("origin", claim.origin() != ORIGIN_UNSPECIFIED, "is missing");
    const auto printed = ParsePrintedNumber(claim.reported());
    if (!printed.ok()) {
      require("reported", false, std::string(printed.status().message()));
    }

    if (claim.evidence() == BLOCKED) {
      require("blocker",
              !claim.blocker().asset().empty() &&
                  !claim.blocker().granted_by().empty(),
              "a BLOCKED claim says which asset is missing and who grants it");
    } else {
      require("experiment", !claim.experiment().empty(), "is missing");
      require("blocker", !claim.has_blocker(), "only a BLOCKED claim has one");
    }
    if (!claim.experiment().empty()) {
      require("experiment", experiment_ids_.count(claim.experiment()) > 0,
              absl::StrCat("unknown experiment \"", claim.experiment(), "\""));
    }
    ValidateCriterion(claim, require);
  }

  template <typename RequireFn>
  void ValidateCriterion(const Claim& claim, const RequireFn& require) {
    const Criterion& criterion = claim.criterion();
    const auto rule = criterion.rule_case();
    const bool default_rule =
        rule == Criterion::RULE_NOT_SET || rule == Criterion::kRounding;
    if (claim.evidence() == SCALED || claim.evidence() == FULL_SCALE) {
      require("criterion",
              rule == Criterion::kEffect || rule == Criterion::kWithin,
              absl::StrCat(Evidence_Name(claim.evidence()),
                           " needs an effect or a within criterion"));
    }
    if (!default_rule && claim.evidence() != BLOCKED) {
      require("criterion", !criterion.statement().empty(),
              "needs a statement of what must hold, in words");
    }
    switch (rule) {
      case Criterion::kTolerance:
        require("criterion",
                criterion.tolerance().absolute() > 0 ||
                    criterion.tolerance().relative() > 0,
                "a tolerance is above 0 (leave it out for rounding)");
        require("criterion", !criterion.tolerance().reason().empty(),
                "a tolerance needs a reason");
        break;
      case Criterion::kSampling:
        require("criterion",
                criterion.sampling().reported_sd() > 0 &&
                    criterion.sampling().reported_seeds() > 1 &&
                    criterion.sampling().sigmas() > 0,
                "sampling needs reported_sd, reported_seeds and sigmas");
        break;
      case Criterion::kEffect:
        require(
            "criterion",
            criterion.effect().bound_case() != Criterion::Effect::BOUND_NOT_SET,
            "an effect needs at_least or at_most");
        break;
      case Criterion::kWithin:
        require("criterion",
                criterion.within().low() < criterion.within().high(),
                "within needs low below high");
        break;
      case Criterion::kRankTest:
        require("criterion",
                criterion.rank_test().min_p() > 0 &&
                    criterion.rank_test().min_p() < 1,
                "min_p is between 0 and 1");
        break;
      default:
        break;
    }
  }

  void ValidateFinding(int i) {
    const Finding& finding = paper_.findings(i);
    const std::string element =
        absl::StrCat("findings[", i, "] \"", finding.id(), "\"");
    const auto require = [&](const char* field, bool holds,
                             const std::string& what) {
      Require(Child("findings", i), element, field, holds, what,
              Finding::descriptor());
    };
    require("id", !finding.id().empty(), "is missing");
    require("title", !finding.title().empty(), "is missing");
    require("explanation", !finding.explanation().empty(), "is missing");
    for (const std::string& id : finding.claims()) {
      require("claims", claim_ids_.count(id) > 0,
              absl::StrCat("unknown claim \"", id, "\""));
    }
  }

  const Paper& paper_;
  Tree& tree_;
  Problems& problems_;
  std::set<std::string> asset_names_;
  std::set<std::string> experiment_ids_;
  std::set<std::string> claim_ids_;
};

template <typename List>
auto FindBy(const List& list, absl::string_view name,
            const std::string& (List::value_type::*key)() const) -> const
    typename List::value_type* {
  for (const auto& element : list) {
    if ((element.*key)() == name) return &element;
  }
  return nullptr;
}

}  // namespace

absl::StatusOr<Paper> ParsePaper(absl::string_view text,
                                 absl::string_view file) {
  Problems problems(file);
  TextFormat::ParseInfoTree tree;
  TextFormat::Parser parser;
  parser.RecordErrorsTo(&problems);
  parser.WriteLocationsTo(&tree);
  Paper paper;
  if (!parser.ParseFromString(std::string(text), &paper)) {
    return problems.ToStatus();
  }
  Validator(paper, tree, problems).Validate();
  if (!problems.empty()) return problems.ToStatus();
  return paper;
}

const Experiment* FindExperiment(const Paper& paper, absl::string_view id) {
  return FindBy(paper.experiments(), id, &Experiment::id);
}

const Claim* FindClaim(const Paper& paper, absl::string_view id) {
  return FindBy(paper.claims(), id, &Claim::id);
}

const Asset* FindAsset(const Paper& paper, absl::string_view name) {
  return FindBy(paper.assets(), name, &Asset::name);
}

double UnitScale(absl::string_view unit) {
  if (unit == "%") return 0.01;
  if (unit == "k") return 1e3;
  if (unit == "M") return 1e6;
  if (unit == "G") return 1e9;
  return 1;
}

}  // namespace repro
