#ifndef REPRO_COMMON_STATUS_MACROS_H_
#define REPRO_COMMON_STATUS_MACROS_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// Returns from the enclosing function if `expression` is an error.
#define REPRO_RETURN_IF_ERROR(expression)                                   \
  do {                                                                      \
    if (::absl::Status repro_status_ = (expression); !repro_status_.ok()) { \
      return repro_status_;                                                 \
    }                                                                       \
  } while (false)

// Assigns the value of a StatusOr, or returns its error:
//   REPRO_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
#define REPRO_ASSIGN_OR_RETURN(lhs, expression)                          \
  REPRO_ASSIGN_OR_RETURN_(REPRO_CONCAT_(repro_statusor_, __LINE__), lhs, \
                          expression)

#define REPRO_CONCAT_INNER_(a, b) a##b
#define REPRO_CONCAT_(a, b) REPRO_CONCAT_INNER_(a, b)
#define REPRO_ASSIGN_OR_RETURN_(temporary, lhs, expression) \
  auto temporary = (expression);                            \
  if (!temporary.ok()) return temporary.status();           \
  lhs = *std::move(temporary)

#endif  // REPRO_COMMON_STATUS_MACROS_H_
