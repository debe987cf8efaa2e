#include "common/assets/test_asset.h"

#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace repro {

std::string FindTestAsset(absl::string_view path) {
  const char* const folders = std::getenv("REPRO_ASSETS");
  if (folders == nullptr) return "";
  for (const absl::string_view folder :
       absl::StrSplit(folders, ':', absl::SkipEmpty())) {
    std::string candidate = absl::StrCat(folder, "/", path);
    std::error_code error;
    if (std::filesystem::is_regular_file(candidate, error)) return candidate;
  }
  return "";
}

}  // namespace repro
