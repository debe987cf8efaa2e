#include "common/exec/process_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <string>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace repro::exec {
namespace {

// Empty if it cannot be read: the process is gone.
std::string ReadProcFile(const std::string& path) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return "";
  absl::Cleanup close_file = [&] { close(file); };
  std::string text;
  char buffer[4096];
  for (ssize_t size; (size = read(file, buffer, sizeof(buffer))) > 0;) {
    text.append(buffer, size);
  }
  return text;
}

// The number after "\nName:" of /proc/PID/status; 0 if it is not there.
int64_t StatusNumber(absl::string_view status, absl::string_view name) {
  const size_t start = status.find(absl::StrCat("\n", name, ":"));
  if (start == absl::string_view::npos) return 0;
  const size_t digits = status.find_first_of("0123456789", start);
  if (digits == absl::string_view::npos) return 0;
  const size_t end = status.find_first_not_of("0123456789", digits);
  int64_t value = 0;
  return absl::SimpleAtoi(status.substr(digits, end - digits), &value) ? value
                                                                       : 0;
}

// Own and waited-for time of /proc/PID/stat in clock ticks.
void StatTicks(pid_t pid, int64_t* own, int64_t* waited) {
  const std::string stat = ReadProcFile(absl::StrCat("/proc/", pid, "/stat"));
  // The name in parentheses may hold anything; fields 14 to 17 follow it.
  const size_t name_end = stat.rfind(')');
  *own = *waited = 0;
  if (name_end == std::string::npos) return;
  const std::vector<absl::string_view> fields =
      absl::StrSplit(absl::string_view(stat).substr(name_end + 1), ' ');
  int64_t ticks[4] = {};
  for (int i = 0; i < 4; ++i) {
    if (12 + i >= static_cast<int>(fields.size()) ||
        !absl::SimpleAtoi(fields[12 + i], &ticks[i])) {
      return;
    }
  }
  *own = ticks[0] + ticks[1];
  *waited = ticks[2] + ticks[3];
}

void AppendChildrenOfTask(const std::string& task, std::vector<pid_t>* pids) {
  for (absl::string_view child :
       absl::StrSplit(ReadProcFile(absl::StrCat(task, "/children")), ' ')) {
    int pid = 0;
    if (absl::SimpleAtoi(child, &pid)) pids->push_back(pid);
  }
}

}  // namespace

std::vector<pid_t> Children(pid_t pid) {
  std::vector<pid_t> children;
  const std::string folder = absl::StrCat("/proc/", pid, "/task");
  DIR* tasks = opendir(folder.c_str());
  if (tasks == nullptr) return children;
  while (const dirent* entry = readdir(tasks)) {
    if (entry->d_name[0] == '.') continue;
    AppendChildrenOfTask(absl::StrCat(folder, "/", entry->d_name), &children);
  }
  closedir(tasks);
  return children;
}

TreeUsage DescendantsUsage(pid_t pid, int max_tasks) {
  TreeUsage usage;
  int64_t own = 0, ticks = 0;
  StatTicks(pid, &own, &ticks);
  std::vector<pid_t> open = Children(pid);
  while (!open.empty() && usage.tasks <= max_tasks) {
    const pid_t process = open.back();
    open.pop_back();
    const std::string status =
        ReadProcFile(absl::StrCat("/proc/", process, "/status"));
    if (status.empty()) continue;
    // A zombie has no memory fields and counts as one task.
    usage.tasks += StatusNumber(status, "Threads");
    usage.memory_bytes += 1024 * (StatusNumber(status, "RssAnon") +
                                  StatusNumber(status, "RssShmem"));
    int64_t waited = 0;
    StatTicks(process, &own, &waited);
    ticks += own + waited;
    for (const pid_t child : Children(process)) open.push_back(child);
  }
  static const double kTicksPerSecond = sysconf(_SC_CLK_TCK);
  usage.cpu = absl::Seconds(ticks / kTicksPerSecond);
  return usage;
}

}  // namespace repro::exec
