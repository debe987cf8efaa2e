#ifndef REPRO_COMMON_ASSETS_TEST_ASSET_H_
#define REPRO_COMMON_ASSETS_TEST_ASSET_H_

#include <string>

#include "absl/strings/string_view.h"

namespace repro {

// The file at `path` below the first folder of REPRO_ASSETS that has it, for
// tests that read real data where it is at hand; empty if none has. Its digest
// is not checked: experiments use AssetStore.
std::string FindTestAsset(absl::string_view path);

}  // namespace repro

#endif  // REPRO_COMMON_ASSETS_TEST_ASSET_H_
