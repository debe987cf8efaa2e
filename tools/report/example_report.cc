#include "tools/report/example_report.h"

#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace repro {
namespace {

// A number in [-1, 1] that looks random and is the same everywhere.
double Noise(int i) { return std::sin(12.9898 * i + 78.233 * (i % 7)); }

Paper MakePaper(const char* slug, const std::string& title,
                const std::vector<std::string>& authors, const char* venue,
                int year) {
  Paper paper;
  paper.set_slug(slug);
  paper.set_title(title);
  for (const std::string& author : authors) paper.add_authors(author);
  paper.set_venue(venue);
  paper.set_year(year);
  paper.set_arxiv("0000.00000");
  paper.set_code_url("https://example.org/code");
  paper.set_code_license("Apache-2.0");
  return paper;
}

Claim* AddClaim(Paper& paper, const std::string& table, const std::string& row,
                const std::string& column, const std::string& metric,
                const std::string& reported, const std::string& unit,
                Evidence evidence) {
  Claim* claim = paper.add_claims();
  claim->set_id(absl::StrCat("claim", paper.claims_size()));
  claim->set_table(table);
  claim->set_row(row);
  claim->set_column(column);
  claim->set_metric(metric);
  claim->set_reported(reported);
  claim->set_unit(unit);
  claim->set_evidence(evidence);
  claim->set_origin(PAPER);
  claim->set_version(1);
  return claim;
}

Measurement* Measure(Result& result, const Paper& paper, const Claim& claim,
                     double value, Verdict verdict, const std::string& reason,
                     double seconds) {
  Measurement* measurement = result.add_measurements();
  measurement->set_paper(paper.slug());
  measurement->set_claim(claim.id());
  measurement->set_claim_version(claim.version());
  measurement->set_evidence(claim.evidence());
  measurement->set_reported(claim.reported());
  measurement->set_unit(claim.unit());
  measurement->set_value(value);
  measurement->set_verdict(verdict);
  measurement->set_reason(reason);
  measurement->set_seconds(seconds);
  measurement->set_device(result.device());
  measurement->set_measured_at(result.finished_at());
  return measurement;
}

void AddInterval(Measurement* measurement, double half_width, int seeds) {
  measurement->mutable_interval()->set_low(measurement->value() - half_width);
  measurement->mutable_interval()->set_high(measurement->value() + half_width);
  for (int seed = 0; seed < seeds; ++seed) measurement->add_seeds(seed);
}

Result MakeResult(const char* day, const char* commit, const char* device) {
  Result result;
  result.set_schema_version(1);
  result.set_id(absl::StrCat(day, "-", commit));
  result.set_started_at(absl::StrCat(day, "T10:00:00Z"));
  result.set_finished_at(absl::StrCat(day, "T10:04:12Z"));
  result.set_seconds(252);
  result.set_complete(true);
  result.add_arguments("run");
  result.add_arguments("--all");
  result.set_device(device);
  result.set_threads(2);
  result.mutable_build()->set_commit(commit);
  result.mutable_build()->set_compiler("g++ 12.2");
  result.mutable_build()->set_torch("2.11.0");
  result.mutable_build()->set_mode("opt");
  result.mutable_machine()->set_cpu("Example CPU at 2.4 GHz");
  result.mutable_machine()->set_cores(2);
  result.mutable_machine()->set_memory_gb(24);
  result.mutable_machine()->set_system("Debian GNU/Linux 12");
  return result;
}

constexpr char kRounds[] = "rounded to the printed digits against ";

}  // namespace

ReportInput MakeExampleInput() {
  Result newest =
      MakeResult("2026-11-25", "3f9c2a7d41e0", "Example CPU at 2.4 GHz");
  Result older =
      MakeResult("2026-11-18", "a04be1127c55", "Example CPU at 2.4 GHz");
  Result gpu = MakeResult("2026-11-20", "77d1c0de9b12", "Example GPU 80GB");

  // Architecture tables: exact counts, and accuracies that need a data set.
  Paper net =
      MakePaper("example_net", "Example Network: Large Kernels as Attention",
                {"Ada Example", "Bo Sample", "Cy Placeholder"},
                "Example Conference 2023", 2023);
  for (int i = 0; i < 7; ++i) {
    const std::string row = absl::StrCat("Net-B", i);
    const double params = 4.1058 * std::pow(1.91, i);
    const Claim* claim = AddClaim(net, "Table 5", row, "params", "parameters",
                                  absl::StrFormat("%.1f", params), "M", EXACT);
    for (Result* result : {&newest, &older}) {
      Measure(*result, net, *claim, params, REPRODUCED,
              absl::StrCat(kRounds, claim->reported()), 0.8);
    }
    const double flops = 0.8642 * std::pow(1.88, i);
    claim = AddClaim(net, "Table 5", row, "FLOPs", "FLOPs at 224×224",
                     absl::StrFormat("%.1f", i == 3 ? 5.0 : flops), "G", EXACT);
    Measure(newest, net, *claim, flops, i == 3 ? DIFFERS : REPRODUCED,
            absl::StrCat(kRounds, claim->reported()), 0.8);
    Claim* derived =
        AddClaim(net, "recomputed", row, "params", "trainable parameters",
                 absl::StrFormat("%.0f", 1e6 * params), "count", EXACT);
    derived->set_origin(i % 2 == 0 ? DERIVED : REPOSITORY);
    Measure(newest, net, *derived, std::rint(1e6 * params), REPRODUCED,
            absl::StrCat(kRounds, derived->reported()), 0.8);
    Claim* blocked =
        AddClaim(net, "Table 7", row, "Top-1", "accuracy",
                 absl::StrFormat("%.1f", 75.4 + 1.6 * i), "%", BLOCKED);
    blocked->set_dataset("Example-1K val");
    blocked->mutable_blocker()->set_asset("Example-1K validation images");
    blocked->mutable_blocker()->set_size("6.7 GB");
    blocked->mutable_blocker()->set_granted_by(
        "example.org, on request, for research only");
    Skipped* skipped = newest.add_skipped();
    skipped->set_paper(net.slug());
    skipped->set_claim(blocked->id());
    skipped->set_verdict(VERDICT_BLOCKED);
    skipped->set_reason("needs Example-1K validation images");
  }
  Finding* finding = net.add_findings();
  finding->set_id("flops-b3");
  finding->set_title("The FLOPs of Net-B3 are a misprint");
  finding->set_reported("5.0 G");
  finding->set_recomputed("5.74 G");
  finding->set_corrected("5.7 G");
  finding->set_explanation(
      "All other rows agree with the counting convention of the released "
      "script to the printed digit; this one does not under any convention "
      "that was tried.");
  finding->add_claims("claim14");

  // A grid of 64 cells and a curve, with intervals over seeds.
  Paper dynamics = MakePaper(
      "example_dynamics",
      "Example Dynamics: How One Layer Learns to Look, and What It Forgets on "
      "the Way",
      {"Di Example", "Ed Sample"}, "Example Workshop", 2024);
  for (int i = 0; i < 64; ++i) {
    Claim* claim = AddClaim(
        dynamics, "Fig. 6",
        absl::StrCat("queries ", 1 + i / 16, ", next ", 2 * (1 + i / 16)),
        absl::StrCat("lr_z ", 1 + i / 4 % 4, ", ratio ", 1 + i % 4),
        "mean entropy", absl::StrFormat("%.3f", 1.5 + 0.4 * Noise(i)), "nats",
        EXACT);
    claim->mutable_criterion()->set_statement(
        "The mean over 10 seeds is within 4 standard errors of the printed "
        "one.");
    const bool differs = i % 21 == 20;
    for (Result* result : {&newest, &older}) {
      const int run = result == &newest ? 1 : 2;
      Measurement* measurement = Measure(
          *result, dynamics, *claim,
          1.5 + 0.4 * Noise(i) + 0.01 * Noise(i + 100 * run) +
              (differs ? 0.12 : 0),
          differs ? DIFFERS : REPRODUCED,
          "|difference| 0.0061, below 0.031 needed (10 seeds against the "
          "paper's 10)",
          14);
      AddInterval(measurement, 0.016, 10);
      AssetUse* asset = measurement->add_assets();
      asset->set_name("released_logs");
      asset->set_sha256(std::string(64, 'a'));
    }
  }
  for (int i = 0; i < 13; ++i) {
    const double loss = 5.1 * std::exp(-0.9 * i) + 2e-4;
    const Claim* claim = AddClaim(
        dynamics, "Fig. 4", absl::StrCat("epoch ", 5 * i), "loss",
        "training loss", absl::StrFormat("%.4g", loss), "nats", REPLAY);
    Measure(newest, dynamics, *claim, loss * (1 + 0.0001 * Noise(i)),
            REPRODUCED, absl::StrCat(kRounds, claim->reported()), 2.25);
  }

  // Scaled experiments over decades; some need a GPU, one broke.
  Paper scaled = MakePaper(
      "example_generalisation",
      "Example Generalisation: Positions Alone Decide What Is Compared",
      {"Flo Example", "Gus Sample", "Hal Placeholder", "Ida Instance",
       "Jo Specimen"},
      "Example Letters", 2025);
  const char* const tasks[] = {"sum", "min", "median", "sorting",
                               "cumulative maximum"};
  for (int i = 0; i < 5; ++i) {
    for (int method = 0; method < 2; ++method) {
      const double error = std::pow(10, -3 + i + 2 * method);
      Claim* claim =
          AddClaim(scaled, "out of distribution, n=8", tasks[i],
                   method == 0 ? "positional" : "standard", "median test MSE",
                   absl::StrFormat("%.3g", error), "", SCALED);
      claim->mutable_criterion()->set_statement(
          "The positional architecture's error is at most a tenth of the "
          "standard one's.");
      claim->set_note("The released run uses another seed for each size.");
      Measurement* measurement = Measure(
          newest, scaled, *claim, error * (1.3 + 0.3 * Noise(i)),
          i == 4 ? DIFFERS : HOLDS,
          "effect's 95% interval [0.8, 1.4], at least 1 needed (3 seeds)", 63);
      AddInterval(measurement, 0.4 * error, 3);
      measurement->set_scale("20 of 100 epochs");
      if (i == 0) {
        Measurement* full = Measure(gpu, scaled, *claim, error * 1.02, HOLDS,
                                    "effect's 95% interval [1.6, 1.9]", 1820);
        AddInterval(full, 0.05 * error, 10);
      }
    }
  }
  for (int i = 0; i < 40; ++i) {
    const Claim* claim = AddClaim(
        scaled, "scale n=8", tasks[i % 5], absl::StrCat("c = ", 1 + i / 5),
        "median test MSE", absl::StrFormat("%.4g", std::pow(10, 0.1 * i - 3)),
        "MSE", FULL_SCALE);
    AddInterval(Measure(gpu, scaled, *claim,
                        std::pow(10, 0.1 * i - 3 + 0.03 * Noise(i)), HOLDS,
                        "mean's 95% interval inside [0.9, 1.1]", 412),
                std::pow(10, 0.1 * i - 4), 5);
    Skipped* skipped = newest.add_skipped();
    skipped->set_paper(scaled.slug());
    skipped->set_claim(claim->id());
    skipped->set_verdict(NOT_RUN);
    skipped->set_reason("needs a CUDA device");
  }
  const Claim* nan = AddClaim(scaled, "scale n=8 RoPE", "median", "standard",
                              "median test MSE", "18.79", "MSE", SCALED);
  Measure(newest, scaled, *nan, std::numeric_limits<double>::quiet_NaN(),
          DIFFERS, "measured NaN", 12);
  const Claim* broken = AddClaim(scaled, "scale n=8 RoPE", "min", "standard",
                                 "median test MSE", "19.7", "MSE", SCALED);
  Skipped* failed = newest.add_skipped();
  failed->set_paper(scaled.slug());
  failed->set_claim(broken->id());
  failed->set_verdict(NOT_RUN);
  failed->set_failed(true);
  failed->set_reason("released_runs.csv:12: expected 7 fields, found 3");

  // Text that tries to be markup, and claims that no run has been asked for.
  Paper hostile =
      MakePaper("example_markup", kHostileTitle, {"<b>Kay</b> Example"},
                "</title><script>alert(3)</script>", 2026);
  hostile.set_code_url("javascript:alert(4)");
  for (int i = 0; i < 4; ++i) {
    const Claim* claim =
        AddClaim(hostile, "Table <1>",
                 i == 0 ? std::string(kHostileRow) : absl::StrCat("row ", i),
                 "a & b", "accuracy", absl::StrCat(80 + i, ".0"), "%", EXACT);
    for (Result* result : {&newest, &older}) {
      Measure(*result, hostile, *claim, 80 + i, REPRODUCED,
              "reason with <i>markup</i>", 0.1);
    }
  }
  int total = net.claims_size() + dynamics.claims_size() +
              scaled.claims_size() + hostile.claims_size();
  for (; total < kExampleClaims; ++total) {
    AddClaim(hostile, absl::StrCat("Appendix ", total / 40),
             absl::StrCat("model ", total % 40), "test", "perplexity",
             absl::StrFormat("%.2f", 12 + 3 * Noise(total)), "", EXACT);
  }

  PolicyEvaluation evaluation;
  evaluation.set_measured_at("2026-11-20T10:00:00Z");
  evaluation.set_model("model <b>");
  evaluation.set_device("a device");
  evaluation.set_perplexity_tokens(2048);
  evaluation.add_lengths(1024);
  evaluation.add_lengths(2048);
  evaluation.add_depths(0);
  evaluation.add_depths(1);
  evaluation.set_count(3);
  for (const char* policy : {"dense", "window:sink=4", kHostileRow}) {
    for (const int budget : {128, 256, 512}) {
      const bool dense = absl::string_view(policy) == "dense";
      PolicyScore* score = evaluation.add_scores();
      score->set_policy(policy);
      score->set_budget(dense ? 0 : budget);
      if (!dense) score->set_options(absl::StrCat("sink=4,budget=", budget));
      score->add_needle(dense ? 0.875 : budget / 1024.0);
      score->add_needle(dense ? 0.75 : budget / 2048.0);
      score->set_perplexity(dense ? 15.25 : 15.25 + 128.0 / budget);
      if (dense) break;
    }
  }

  ReportInput input;
  input.evaluations = {evaluation};
  input.papers = {net, dynamics, scaled, hostile};
  input.results = {newest, gpu, older};
  return input;
}

}  // namespace repro
