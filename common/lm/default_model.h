#ifndef REPRO_COMMON_LM_DEFAULT_MODEL_H_
#define REPRO_COMMON_LM_DEFAULT_MODEL_H_

#include "common/assets/asset.pb.h"

namespace repro::lm {

// What command lines call it.
inline constexpr char kDefaultModelName[] = "smollm2-135m-instruct";

// SmolLM2-135M-Instruct (Ben Allal et al. 2025, arXiv 2502.02737) as a GGUF
// file with its tokenizer, 98 MB, for AssetStore::Locate and Fetch.
Asset DefaultModel();

}  // namespace repro::lm

#endif  // REPRO_COMMON_LM_DEFAULT_MODEL_H_
