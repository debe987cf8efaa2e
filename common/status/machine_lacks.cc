#include "common/status/machine_lacks.h"

#include "absl/strings/cord.h"

namespace repro {
namespace {

constexpr char kPayload[] = "repro/machine_lacks";

}  // namespace

absl::Status MachineLacksError(absl::string_view message) {
  absl::Status status = absl::FailedPreconditionError(message);
  status.SetPayload(kPayload, absl::Cord());
  return status;
}

bool IsMachineLacks(const absl::Status& status) {
  return status.GetPayload(kPayload).has_value();
}

}  // namespace repro
