#include "common/tokenizer/pre_tokenizer.h"

#include <utf8proc.h>

#include <utility>

#include "absl/strings/ascii.h"
#include "common/status/macros.h"
#include "common/text/utf8.h"

namespace repro {
namespace {

// As BERT has it: ASCII symbols ("$", "^") count.
bool IsPunctuation(int32_t c) {
  if (c < 0x80) return absl::ascii_ispunct(static_cast<unsigned char>(c));
  const utf8proc_category_t category = utf8proc_category(c);
  return category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO;
}

enum class Class { kOther, kAlone, kRun, kGone };

// Cuts a piece by the class of each character.
template <typename Classify>
void CutByClass(absl::string_view piece, const Classify& classify,
                std::vector<absl::string_view>* out) {
  size_t begin = 0;
  Class previous = Class::kOther;
  for (size_t at = 0; at < piece.size();) {
    const size_t here = at;
    const Class current = classify(NextCodePoint(piece, &at));
    const bool cut = current != previous || current == Class::kAlone;
    if (cut && here > begin && previous != Class::kGone) {
      out->push_back(piece.substr(begin, here - begin));
    }
    if (cut) begin = here;
    previous = current;
  }
  if (begin < piece.size() && previous != Class::kGone) {
    out->push_back(piece.substr(begin));
  }
}

}  // namespace

absl::Status PreTokenize(const PreTokenizer& step,
                         std::vector<absl::string_view>* pieces) {
  using Kind = PreTokenizer::Kind;
  std::vector<absl::string_view> out;
  out.reserve(pieces->size());
  std::vector<std::pair<size_t, size_t>> matches;
  for (const absl::string_view piece : *pieces) {
    switch (step.kind) {
      case Kind::kDigits:
      case Kind::kIndividualDigits: {
        const Class digit =
            step.kind == Kind::kDigits ? Class::kRun : Class::kAlone;
        CutByClass(
            piece,
            [digit](int32_t c) {
              const bool numeric =
                  c < 0x80 ? c >= '0' && c <= '9' : IsNumeric(c);
              return numeric ? digit : Class::kOther;
            },
            &out);
        break;
      }
      case Kind::kBert:
        CutByClass(
            piece,
            [](int32_t c) {
              if (IsWhiteSpace(c)) return Class::kGone;
              return IsPunctuation(c) ? Class::kAlone : Class::kOther;
            },
            &out);
        break;
      case Kind::kIsolate:
      case Kind::kRemove:
      case Kind::kMatches: {
        matches.clear();
        REPRO_RETURN_IF_ERROR(step.regex->FindAll(piece, &matches));
        size_t done = 0;
        for (const auto& [begin, end] : matches) {
          if (begin > done && step.kind != Kind::kMatches) {
            out.push_back(piece.substr(done, begin - done));
          }
          if (step.kind != Kind::kRemove) {
            out.push_back(piece.substr(begin, end - begin));
          }
          done = end;
        }
        if (done < piece.size() && step.kind != Kind::kMatches) {
          out.push_back(piece.substr(done));
        }
        break;
      }
    }
  }
  *pieces = std::move(out);
  return absl::OkStatus();
}

}  // namespace repro
