#include "tools/history/history.h"

#include <sqlite3.h>

#include <cmath>
#include <cstdio>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status/macros.h"

namespace repro {
namespace {

// Kept in the file as SQLite's user_version. Raise it with every change of
// kSchema.
constexpr int kSchemaVersion = 1;

// A measurement is told from another by what was measured, when and where: the
// same one may stand in several result files.
constexpr char kSchema[] = R"sql(
  CREATE TABLE measurement (
    paper TEXT NOT NULL,
    claim TEXT NOT NULL,
    claim_version INTEGER NOT NULL,
    measured_at TEXT NOT NULL,
    device TEXT NOT NULL,
    commit_id TEXT NOT NULL,
    value REAL,  -- NULL is NaN
    low REAL,
    high REAL,
    verdict INTEGER NOT NULL,
    scale TEXT NOT NULL,
    PRIMARY KEY (paper, claim, claim_version, measured_at, device, commit_id)
  ) WITHOUT ROWID;
)sql";

constexpr char kInsert[] =
    "INSERT OR IGNORE INTO measurement (paper, claim, claim_version, "
    "measured_at, device, commit_id, value, low, high, verdict, scale) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

constexpr char kSelect[] =
    "SELECT value, low, high, verdict, scale, device, commit_id, measured_at "
    "FROM measurement WHERE paper = ? AND claim = ? AND claim_version = ? "
    "ORDER BY measured_at, device, commit_id";

absl::Status SqliteError(sqlite3* database, const std::string& path) {
  return absl::UnavailableError(absl::StrCat(
      path, ": the history database: ", sqlite3_errmsg(database),
      ": check the folder's permissions and free space, or delete the file "
      "(it is rebuilt from the result files)"));
}

// A prepared statement; parameters are bound in order.
class Statement {
 public:
  static absl::StatusOr<Statement> Prepare(sqlite3* database, const char* sql,
                                           const std::string& path) {
    sqlite3_stmt* statement = nullptr;
    if (sqlite3_prepare_v2(database, sql, -1, &statement, nullptr) !=
        SQLITE_OK) {
      return SqliteError(database, path);
    }
    return Statement(database, statement, path);
  }

  void Bind(absl::string_view text) {
    // An empty string_view may hold a null pointer, which would bind NULL.
    Check(sqlite3_bind_text(statement_.get(), ++bound_,
                            text.empty() ? "" : text.data(),
                            static_cast<int>(text.size()), SQLITE_TRANSIENT));
  }
  void Bind(int value) {
    Check(sqlite3_bind_int(statement_.get(), ++bound_, value));
  }
  // NaN binds NULL.
  void Bind(double value) {
    Check(sqlite3_bind_double(statement_.get(), ++bound_, value));
  }

  // True if there is a row to read, false at the end.
  absl::StatusOr<bool> Step() {
    const int code =
        bind_code_ == SQLITE_OK ? sqlite3_step(statement_.get()) : bind_code_;
    if (code == SQLITE_ROW) return true;
    if (code == SQLITE_DONE) return false;
    return SqliteError(database_, path_);
  }

  void Reset() {
    sqlite3_reset(statement_.get());
    bound_ = 0;
  }

  bool IsNull(int column) const {
    return sqlite3_column_type(statement_.get(), column) == SQLITE_NULL;
  }
  int Int(int column) const {
    return sqlite3_column_int(statement_.get(), column);
  }
  double Double(int column) const {
    return IsNull(column) ? std::numeric_limits<double>::quiet_NaN()
                          : sqlite3_column_double(statement_.get(), column);
  }
  std::string Text(int column) const {
    const auto* text = sqlite3_column_text(statement_.get(), column);
    return std::string(reinterpret_cast<const char*>(text),
                       sqlite3_column_bytes(statement_.get(), column));
  }

 private:
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const {
      sqlite3_finalize(statement);
    }
  };

  Statement(sqlite3* database, sqlite3_stmt* statement, std::string path)
      : database_(database), statement_(statement), path_(std::move(path)) {}

  void Check(int code) {
    if (code != SQLITE_OK) bind_code_ = code;
  }

  sqlite3* database_;
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
  std::string path_;
  int bound_ = 0;
  int bind_code_ = SQLITE_OK;
};

absl::Status Execute(sqlite3* database, const std::string& sql,
                     const std::string& path) {
  if (sqlite3_exec(database, sql.c_str(), nullptr, nullptr, nullptr) !=
      SQLITE_OK) {
    return SqliteError(database, path);
  }
  return absl::OkStatus();
}

// True if the file is a sound database of this schema version or a new one.
bool IsUsable(sqlite3* database, const std::string& path) {
  auto check = Statement::Prepare(database, "PRAGMA quick_check(1)", path);
  if (!check.ok()) return false;
  const auto row = check->Step();
  if (!row.ok() || !*row || check->Text(0) != "ok") return false;

  auto version = Statement::Prepare(
      database,
      "SELECT user_version, (SELECT count(*) FROM sqlite_master) "
      "FROM pragma_user_version",
      path);
  if (!version.ok()) return false;
  const auto version_row = version->Step();
  if (!version_row.ok() || !*version_row) return false;
  const bool is_new = version->Int(0) == 0 && version->Int(1) == 0;
  return is_new || version->Int(0) == kSchemaVersion;
}

}  // namespace

void History::Close::operator()(sqlite3* database) const {
  sqlite3_close(database);
}

absl::StatusOr<History::Database> History::OpenFile(const std::string& path) {
  sqlite3* raw = nullptr;
  const int code = sqlite3_open(path.c_str(), &raw);
  Database database(raw);
  if (code != SQLITE_OK) return SqliteError(raw, path);
  sqlite3_busy_timeout(raw, /*milliseconds=*/10000);
  return database;
}

absl::StatusOr<History> History::Open(const std::string& path) {
  REPRO_ASSIGN_OR_RETURN(Database database, OpenFile(path));
  if (!IsUsable(database.get(), path)) {
    database.reset();
    for (const char* suffix : {"", "-journal", "-wal", "-shm"}) {
      std::remove(absl::StrCat(path, suffix).c_str());
    }
    REPRO_ASSIGN_OR_RETURN(database, OpenFile(path));
  }
  // IF NOT EXISTS would hide a table of another shape; IsUsable() has told the
  // two cases apart.
  auto has_table = Statement::Prepare(
      database.get(), "SELECT 1 FROM sqlite_master WHERE name='measurement'",
      path);
  if (!has_table.ok()) return has_table.status();
  REPRO_ASSIGN_OR_RETURN(const bool exists, has_table->Step());
  has_table->Reset();
  if (!exists) {
    REPRO_RETURN_IF_ERROR(Execute(
        database.get(),
        absl::StrCat("BEGIN;", kSchema,
                     "PRAGMA user_version = ", kSchemaVersion, "; COMMIT;"),
        path));
  }
  return History(std::move(database), path);
}

absl::Status History::Rebuild(const std::vector<Result>& results) {
  const auto rebuild = [&]() -> absl::Status {
    REPRO_RETURN_IF_ERROR(
        Execute(database_.get(), "DELETE FROM measurement", path_));
    REPRO_ASSIGN_OR_RETURN(Statement insert,
                           Statement::Prepare(database_.get(), kInsert, path_));
    constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
    for (const Result& result : results) {
      for (const Measurement& measurement : result.measurements()) {
        const bool has_interval = measurement.has_interval();
        insert.Reset();
        insert.Bind(measurement.paper());
        insert.Bind(measurement.claim());
        insert.Bind(measurement.claim_version());
        insert.Bind(measurement.measured_at());
        insert.Bind(measurement.device());
        insert.Bind(result.build().commit());
        insert.Bind(measurement.value());
        insert.Bind(has_interval ? measurement.interval().low() : kNone);
        insert.Bind(has_interval ? measurement.interval().high() : kNone);
        insert.Bind(static_cast<int>(measurement.verdict()));
        insert.Bind(measurement.scale());
        REPRO_RETURN_IF_ERROR(insert.Step().status());
      }
    }
    return absl::OkStatus();
  };

  REPRO_RETURN_IF_ERROR(Execute(database_.get(), "BEGIN IMMEDIATE", path_));
  absl::Status status = rebuild();
  if (status.ok()) status = Execute(database_.get(), "COMMIT", path_);
  if (!status.ok()) {
    // Fails only where SQLite has rolled back by itself.
    sqlite3_exec(database_.get(), "ROLLBACK", nullptr, nullptr, nullptr);
  }
  return status;
}

absl::StatusOr<std::vector<HistoryEntry>> History::Measurements(
    absl::string_view paper, absl::string_view claim, int claim_version) const {
  REPRO_ASSIGN_OR_RETURN(Statement select,
                         Statement::Prepare(database_.get(), kSelect, path_));
  select.Bind(paper);
  select.Bind(claim);
  select.Bind(claim_version);
  std::vector<HistoryEntry> entries;
  while (true) {
    REPRO_ASSIGN_OR_RETURN(const bool has_row, select.Step());
    if (!has_row) return entries;
    HistoryEntry& entry = entries.emplace_back();
    entry.value = select.Double(0);
    if (!select.IsNull(1) && !select.IsNull(2)) {
      entry.interval.emplace();
      entry.interval->set_low(select.Double(1));
      entry.interval->set_high(select.Double(2));
    }
    entry.verdict = static_cast<Verdict>(select.Int(3));
    entry.scale = select.Text(4);
    entry.device = select.Text(5);
    entry.commit = select.Text(6);
    entry.measured_at = select.Text(7);
  }
}

}  // namespace repro
