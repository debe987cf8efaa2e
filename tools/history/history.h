#ifndef REPRO_TOOLS_HISTORY_HISTORY_H_
#define REPRO_TOOLS_HISTORY_HISTORY_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/claims/result.pb.h"

struct sqlite3;

namespace repro {

// One measurement of a claim, as the history keeps it.
struct HistoryEntry {
  double value = 0;  // in the claim's unit; NaN if NaN was measured
  std::optional<ConfidenceInterval> interval;
  Verdict verdict = VERDICT_UNSPECIFIED;
  std::string scale;  // empty at full scale
  std::string device;
  std::string commit;       // of the run; empty if it was not known
  std::string measured_at;  // RFC 3339, UTC
};

// All measurements of all claims over time, in an SQLite database. The database
// is a cache of the result files and is rebuilt from them at any time: nothing
// is lost with it.
class History {
 public:
  // Opens or creates the database. A file that is corrupt, no database, or of
  // another version of this program is replaced by an empty one. ":memory:"
  // leaves no file. Errors (a folder that is missing or read-only) name `path`.
  static absl::StatusOr<History> Open(const std::string& path);

  // Replaces the content by the measurements of `results`, in one transaction:
  // after an error the content is as before. A measurement that several files
  // hold (a resumed run, a recorded copy) counts once.
  absl::Status Rebuild(const std::vector<Result>& results);

  // The measurements of one version of a claim, the oldest first; empty if it
  // was never measured. Other versions measure something else.
  absl::StatusOr<std::vector<HistoryEntry>> Measurements(
      absl::string_view paper, absl::string_view claim,
      int claim_version) const;

 private:
  struct Close {
    void operator()(sqlite3* database) const;
  };
  using Database = std::unique_ptr<sqlite3, Close>;

  History(Database database, std::string path)
      : database_(std::move(database)), path_(std::move(path)) {}

  static absl::StatusOr<Database> OpenFile(const std::string& path);

  Database database_;
  std::string path_;
};

}  // namespace repro

#endif  // REPRO_TOOLS_HISTORY_HISTORY_H_
