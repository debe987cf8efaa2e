#ifndef REPRO_COMMON_CHECKPOINT_UTF8_H_
#define REPRO_COMMON_CHECKPOINT_UTF8_H_

#include "absl/strings/string_view.h"

namespace repro {

// Whether `text` is well-formed UTF-8 (Unicode 15, table 3-7): no overlong
// forms, surrogates, or code points beyond U+10FFFF.
bool IsUtf8(absl::string_view text);

}  // namespace repro

#endif  // REPRO_COMMON_CHECKPOINT_UTF8_H_
