// Whatever the bytes, reading them as tokenizer.json ends with an error of one
// line that names the input, or with a tokenizer that encodes and decodes.

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "common/data/fuzz_check.h"
#include "common/text/utf8.h"
#include "common/tokenizer/loader.h"

namespace repro {
namespace {

constexpr absl::string_view kTexts[] = {
    "", "Hello, world! It's 12345 <s>x</s> [CLS]",
    "caf\xC3\xA9 e\xCC\x81 \xE6\x97\xA5\xE6\x9C\xAC "
    "\xF0\x9F\x98\x80\xE2\x80\x8D",
    "  \n\n\t x  aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};

void CheckTokenizer(const Tokenizer& tokenizer) {
  for (const absl::string_view text : kTexts) {
    for (const bool parse_special : {true, false}) {
      EncodeOptions options;
      options.parse_special = parse_special;
      const auto ids = tokenizer.Encode(text, options);
      if (!ids.ok()) {  // a regex that backtracks without end
        FuzzCheck(!absl::IsInvalidArgument(ids.status()),
                  "valid UTF-8 is refused");
        continue;
      }
      const auto decoded = tokenizer.Decode(*ids, /*skip_special=*/false);
      FuzzCheck(decoded.ok(), "ids that cannot be decoded");
      FuzzCheck(IsUtf8(*decoded), "a text that is not UTF-8");
      StreamDecoder stream(&tokenizer, /*skip_special=*/false);
      std::string streamed;
      for (const int32_t id : *ids) streamed += *stream.Next(id);
      FuzzCheck(streamed + stream.Finish() == *decoded,
                "a stream that is not the whole");
    }
  }
}

}  // namespace
}  // namespace repro

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view json(reinterpret_cast<const char*>(data), size);
  const auto tokenizer =
      repro::ParseTokenizerJson(json, "", repro::kFuzzedName);
  if (tokenizer.ok()) {
    repro::CheckTokenizer(**tokenizer);
    return 0;
  }
  repro::FuzzCheckError(tokenizer.status());
  repro::FuzzCheck(repro::IsUtf8(tokenizer.status().message()),
                   "an error that is not UTF-8");
  return 0;
}
