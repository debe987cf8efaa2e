#ifndef REPRO_TOOLS_REPORT_EXAMPLE_REPORT_H_
#define REPRO_TOOLS_REPORT_EXAMPLE_REPORT_H_

#include "tools/report/report.h"

namespace repro {

// Four invented papers with 350 claims and three runs of them, with all that a
// report can meet: every verdict and kind of evidence, long tables, recorded
// measurements, intervals, a NaN, values over decades, findings, an experiment
// that failed, and text that tries to be markup. Numbers mean nothing.
// `history` is left null.
ReportInput MakeExampleInput();

// What MakeExampleInput() holds, for tests.
inline constexpr int kExamplePapers = 4;
inline constexpr int kExampleClaims = 350;
// The title of the last paper and a row of its first table.
inline constexpr char kHostileTitle[] =
    "Attention <script>alert(\"title\")</script> & `Markup` | Considered "
    "*Harmful*";
inline constexpr char kHostileRow[] =
    "<script>alert(1)</script><img src=x onerror=alert(2)> \"@0@' `id` | b";

}  // namespace repro

#endif  // REPRO_TOOLS_REPORT_EXAMPLE_REPORT_H_
