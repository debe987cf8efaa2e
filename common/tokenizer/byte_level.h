// GPT-2's printable stand-ins for bytes.
#ifndef REPRO_COMMON_TOKENIZER_BYTE_LEVEL_H_
#define REPRO_COMMON_TOKENIZER_BYTE_LEVEL_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace repro {

// The character of a byte as UTF-8: itself where Latin-1 prints it, otherwise
// one from U+0100 on ("Ġ" for the space).
const std::string& ByteLevelCharacter(uint8_t byte);

// The bytes that such characters stand for; `text` itself if one of its
// characters stands for none.
std::string ByteLevelBytes(absl::string_view text);

}  // namespace repro

#endif  // REPRO_COMMON_TOKENIZER_BYTE_LEVEL_H_
