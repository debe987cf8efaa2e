// Writes config.json and model.safetensors of the tiny model into a folder.

#include <iostream>

#include "absl/status/status.h"
#include "common/lm/model.h"
#include "common/lm/tiny_model.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: save_tiny_model FOLDER\n";
    return 2;
  }
  constexpr int64_t kPositions = 32768;
  const absl::Status status =
      repro::lm::SaveModel(*repro::lm::TinyModel(kPositions), argv[1]);
  if (!status.ok()) std::cerr << status << "\n";
  return status.ok() ? 0 : 1;
}
