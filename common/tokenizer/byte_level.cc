#include "common/tokenizer/byte_level.h"

#include <array>

#include "common/text/utf8.h"

namespace repro {
namespace {

bool IsPrintable(int byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) ||
         (byte >= 0xAE && byte <= 0xFF);
}

struct ByteTable {
  std::array<std::string, 256> characters;
  std::array<int16_t, 0x200> bytes;  // by code point; -1: none

  ByteTable() {
    bytes.fill(-1);
    int32_t next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      const int32_t code_point = IsPrintable(byte) ? byte : next++;
      AppendUtf8(code_point, &characters[byte]);
      bytes[code_point] = static_cast<int16_t>(byte);
    }
  }
};

const ByteTable& Table() {
  static const ByteTable* const table = new ByteTable;
  return *table;
}

}  // namespace

const std::string& ByteLevelCharacter(uint8_t byte) {
  return Table().characters[byte];
}

std::string ByteLevelBytes(absl::string_view text) {
  std::string bytes;
  for (size_t at = 0; at < text.size();) {
    const int32_t code_point = NextCodePoint(text, &at);
    if (code_point < 0 || code_point >= 0x200 ||
        Table().bytes[code_point] < 0) {
      return std::string(text);
    }
    bytes += static_cast<char>(Table().bytes[code_point]);
  }
  return bytes;
}

}  // namespace repro
