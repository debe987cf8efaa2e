#include "common/checkpoint/utf8.h"

#include <cstddef>
#include <cstdint>

namespace repro {

bool IsUtf8(absl::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    const uint8_t lead = text[i++];
    if (lead < 0x80) continue;
    // The first continuation byte's range shuts out what is not well-formed.
    uint8_t low = 0x80, high = 0xbf;
    int continuations = 0;
    if (lead >= 0xc2 && lead <= 0xdf) {
      continuations = 1;
    } else if (lead >= 0xe0 && lead <= 0xef) {
      continuations = 2;
      if (lead == 0xe0) low = 0xa0;
      if (lead == 0xed) high = 0x9f;
    } else if (lead >= 0xf0 && lead <= 0xf4) {
      continuations = 3;
      if (lead == 0xf0) low = 0x90;
      if (lead == 0xf4) high = 0x8f;
    } else {
      return false;
    }
    for (; continuations > 0; --continuations) {
      if (i == text.size()) return false;
      const uint8_t byte = text[i++];
      if (byte < low || byte > high) return false;
      low = 0x80;
      high = 0xbf;
    }
  }
  return true;
}

}  // namespace repro
