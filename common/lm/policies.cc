// The policies that are no paper's own.
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/lm/dense_state.h"
#include "common/lm/policy.h"
#include "common/status/macros.h"

namespace repro::lm {
namespace {

struct Place {
  explicit Place(const LanguageModel& model)
      : config(model.config()), device(model.device()), dtype(model.dtype()) {}
  ModelConfig config;
  c10::Device device;
  at::ScalarType dtype;
};

Policy Dense(std::string name, std::string help, CacheKind kind) {
  return {std::move(name),
          std::move(help),
          {},
          [kind](const LanguageModel& model,
                 const PolicyOptions&) -> absl::StatusOr<StateFactory> {
            return StateFactory([kind, at = Place(model)] {
              return MakeDenseState(at.config, at.device, at.dtype, kind);
            });
          }};
}

absl::StatusOr<StateFactory> Window(const LanguageModel& model,
                                    const PolicyOptions& options) {
  constexpr int64_t kMost = int64_t{1} << 30;
  REPRO_ASSIGN_OR_RETURN(const int64_t sink, options.Int("sink", 4, 0, kMost));
  REPRO_ASSIGN_OR_RETURN(const int64_t recent,
                         options.Int("recent", 256, 1, kMost));
  return StateFactory([sink, recent, at = Place(model)] {
    return MakeWindowState(at.config, at.device, at.dtype, sink, recent);
  });
}

absl::StatusOr<StateFactory> Paged(const LanguageModel& model,
                                   const PolicyOptions& options) {
  constexpr int64_t kMost = int64_t{1} << 30;
  REPRO_ASSIGN_OR_RETURN(const int64_t page_size,
                         options.Int("page_size", 16, 1, kMost));
  REPRO_ASSIGN_OR_RETURN(
      const int64_t tokens,
      options.Int("tokens", model.config().max_positions, 1, kMost));
  return StateFactory(
      [pools = MakePagePools(model.config(), model.device(), model.dtype(),
                             (tokens + page_size - 1) / page_size, page_size)] {
        return MakePagedState(pools);
      });
}

const bool registered =
    RegisterPolicy(Dense("dense", "exact attention over everything",
                         CacheKind::kContiguous)) &&
    RegisterPolicy(Dense("int8", "dense over keys and values of 8 bits",
                         CacheKind::kInt8)) &&
    RegisterPolicy(Dense("int4", "dense over keys and values of 4 bits",
                         CacheKind::kInt4)) &&
    RegisterPolicy(
        {"window",
         "the first and the last tokens (StreamingLLM, arXiv 2309.17453, at "
         "absolute positions)",
         {{"sink", "first tokens kept (4)"},
          {"recent", "last tokens kept (256)"}},
         Window}) &&
    RegisterPolicy({"paged",
                    "dense over pages that all sequences share",
                    {{"page_size", "tokens a page (16)"},
                     {"tokens", "room in all (the model's context)"}},
                    Paged});

}  // namespace
}  // namespace repro::lm
