#ifndef REPRO_COMMON_CLAIMS_PROTO_JSON_H_
#define REPRO_COMMON_CLAIMS_PROTO_JSON_H_

#include <google/protobuf/message.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace repro {

// A message as protobuf JSON, fields named as in the proto.
absl::StatusOr<std::string> ProtoJson(const google::protobuf::Message& message);

// Writes it, in place of what `path` held: readers see
// the old file or the new one, never a part.
absl::Status WriteProtoJson(const google::protobuf::Message& message,
                            const std::string& path);

// Fields that this program does not know are ignored. InvalidArgumentError for
// what is no such message: names the file and `what` it should be.
absl::Status ReadProtoJson(const std::string& path, const std::string& what,
                           google::protobuf::Message* message);

// FailedPreconditionError for a version above the `newest` that this program
// reads, InvalidArgumentError for one below 1.
absl::Status CheckSchemaVersion(const std::string& path,
                                const std::string& what, int version,
                                int newest);

// The paths of the .json files of a folder, sorted. Empty if there is no such
// folder.
std::vector<std::string> ListJsonFiles(const std::string& folder);

}  // namespace repro

#endif  // REPRO_COMMON_CLAIMS_PROTO_JSON_H_
